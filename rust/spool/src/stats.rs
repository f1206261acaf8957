//! What can be read about a producer without claiming anything: counters, backlog, latencies.

use std::path::Path;

use crate::alive;
use crate::files::Dir;
use crate::header;
use crate::histogram::{self, BUCKETS, Histogram};
use crate::lanefile::ring_name;
use crate::lanes::LANES;
use crate::medium::Medium;
use crate::meta::{Meta, OpenError, ProducerInfo};
use crate::types::{LaneId, Reject};

/// Counters of one producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerStats {
    /// Frames accepted, of every kind.
    pub accepted_frames: u64,
    /// Points accepted.
    pub accepted_points: u64,
    /// What was not accepted, by [`Reject`] number.
    pub rejected: [u64; Reject::COUNT],
    /// Bytes written and not yet acknowledged.
    pub backlog_bytes: u64,
    /// The step of the last points; -1 before the first.
    pub last_step: i64,
    /// The sampled cost of `log()`.
    pub log_ns: Histogram,
    /// When the monitor last said that it lives, by CLOCK_BOOTTIME. `None`: never.
    pub heartbeat_ns: Option<i64>,
    /// Points that the monitor has made durable.
    pub durable_points: u64,
    /// Whether slow syncs suspend the promise for power loss.
    pub sync_slow: bool,
}

/// Whether a producer still logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It may log more.
    Alive,
    /// It called `close()`; its process may live on.
    Closed,
    /// Its process is gone.
    Dead,
}

/// Only what is proved ends a producer: where it cannot be told, it is taken to live.
pub(crate) fn life(dir: &Dir, path: &Path, info: &ProducerInfo, meta: &Meta) -> Life {
    if meta.is_closed() {
        Life::Closed
    } else if alive::is_alive(dir, path, info).unwrap_or(true) {
        Life::Alive
    } else {
        Life::Dead
    }
}

fn lane_header(dir: &Dir, lane: usize) -> Option<Medium> {
    dir.open_file(&ring_name(LaneId(lane as u8)))
        .ok()
        .map(Medium::File)
}

pub(crate) fn acked_bytes(dir: &Dir) -> u64 {
    (0..LANES)
        .filter_map(|lane| lane_header(dir, lane))
        .map(|m| m.load(header::ACKED))
        .sum()
}

pub(crate) fn read(dir: &Dir, meta: &Meta) -> ProducerStats {
    let mut stats = ProducerStats {
        last_step: -1,
        rejected: meta.rejected(),
        ..ProducerStats::default()
    };
    let mut counts = [0u64; BUCKETS];
    for medium in (0..LANES).filter_map(|lane| lane_header(dir, lane)) {
        let written = medium.load(header::WRITTEN);
        stats.accepted_frames += medium.load(header::FRAMES);
        stats.accepted_points += medium.load(header::POINTS);
        stats.backlog_bytes += written.saturating_sub(medium.load(header::ACKED));
        if written > 0 {
            stats.last_step = stats.last_step.max(medium.load(header::LAST_STEP) as i64);
        }
        histogram::add_counts(&medium, &mut counts);
    }
    let control = meta.control();
    stats.log_ns = Histogram::from_counts(&counts);
    stats.heartbeat_ns = control.heartbeat_ns();
    stats.durable_points = control.durable_points();
    stats.sync_slow = control.is_sync_slow();
    stats
}

/// Look at a producer from outside; takes no lock and changes nothing.
///
/// # Errors
/// [`OpenError`]: not a producer's directory, or damaged.
pub fn peek(path: &Path) -> Result<(ProducerInfo, ProducerStats, Life), OpenError> {
    let dir = Dir::open(path).map_err(|e| OpenError::io(path, e))?;
    let (meta, info) = Meta::open(&dir, path)?;
    let stats = read(&dir, &meta);
    let life = life(&dir, path, &info, &meta);
    Ok((info, stats, life))
}
