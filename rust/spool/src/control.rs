//! The control words of `meta`: written by the monitor or the relay, read by the producer.

use crate::clock;
use crate::meta::{Meta, cut};

const HEARTBEAT: usize = 256;
const STOP: usize = 257;
const GRANT: usize = 258;
const DURABLE_POINTS: usize = 259;
const LOST: usize = 260;
const SYNC_SLOW: usize = 261;
const REASON: usize = 264;
const REASON_BYTES: usize = 512;

/// The words of `meta` that the monitor writes and the producer reads.
#[derive(Clone, Copy, Debug)]
pub struct Control<'a> {
    meta: &'a Meta,
}

impl<'a> Control<'a> {
    pub(crate) fn new(meta: &'a Meta) -> Self {
        Self { meta }
    }

    /// Say that the monitor lives, by CLOCK_BOOTTIME.
    pub fn beat(&self) {
        self.meta
            .medium
            .store(HEARTBEAT, clock::boottime_ns() as u64);
    }

    /// When the monitor last said that it lives. `None`: never.
    #[must_use]
    pub fn heartbeat_ns(&self) -> Option<i64> {
        match self.meta.medium.load(HEARTBEAT) as i64 {
            0 => None,
            ns => Some(ns),
        }
    }

    /// Ask the training to stop; `reason` is cut at 504 bytes.
    pub fn stop(&self, reason: &str) {
        let reason = cut(reason, REASON_BYTES - 8);
        self.meta.store_text(REASON + 1, reason);
        self.meta.medium.store(REASON, reason.len() as u64);
        self.meta.medium.store(STOP, 1);
    }

    /// Whether the training is asked to stop.
    #[inline]
    #[must_use]
    pub fn should_stop(&self) -> bool {
        self.meta.medium.load(STOP) != 0
    }

    /// Why. `None`: nobody asked.
    #[must_use]
    pub fn stop_reason(&self) -> Option<String> {
        let bytes = (self.meta.medium.load(REASON) as usize).min(REASON_BYTES - 8);
        self.should_stop()
            .then(|| self.meta.load_text(REASON + 1, bytes))
    }

    /// How many bytes of chain files this producer may hold.
    pub fn set_grant_bytes(&self, bytes: u64) {
        self.meta.medium.store(GRANT, bytes);
    }

    /// The grant. `None`: none was given yet.
    #[must_use]
    pub fn grant_bytes(&self) -> Option<u64> {
        match self.meta.medium.load(GRANT) {
            0 => None,
            bytes => Some(bytes),
        }
    }

    /// Points of this producer that are in the database for good.
    pub fn set_durable_points(&self, points: u64) {
        self.meta.medium.store(DURABLE_POINTS, points);
    }

    /// Points of this producer that are in the database for good.
    #[must_use]
    pub fn durable_points(&self) -> u64 {
        self.meta.medium.load(DURABLE_POINTS)
    }

    /// Tell the producer that its files were deleted: it makes new ones.
    pub fn set_lost(&self) {
        self.meta.medium.store(LOST, 1);
    }

    /// Whether the producer's files were deleted.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.meta.medium.load(LOST) != 0
    }

    /// Say whether syncs take so long that the promise for power loss is suspended.
    pub fn set_sync_slow(&self, slow: bool) {
        self.meta.medium.store(SYNC_SLOW, u64::from(slow));
    }

    /// Whether the promise for power loss is suspended.
    #[must_use]
    pub fn is_sync_slow(&self) -> bool {
        self.meta.medium.load(SYNC_SLOW) != 0
    }
}
