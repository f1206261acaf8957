//! What is done when there is time: sealing what got old, snapshots of the statistics, compaction.

use std::time::{Duration, Instant};

use super::Worker;

/// Raw frames are sealed after so long, even when their layouts are not full.
const OLDEST_FRESH: Duration = Duration::from_secs(600);
/// Raw frames of all producers together.
const FRESH_BYTES_OF_ALL: u64 = 64 << 20;
/// Work that can wait gives way after so long.
const TEND_SLICE: Duration = Duration::from_millis(15);

impl Worker {
    /// What is raw does not stay so for ever: not of a producer that is quiet, not for too long, not more than
    /// fits over all producers.
    pub(super) fn seal_old(&mut self, now: Instant) {
        for tailed in &mut self.tailed {
            let fresh = &tailed.source.fresh;
            let quiet = now.duration_since(tailed.active) >= self.options.idle_seal;
            let old = fresh
                .since
                .is_some_and(|since| now.duration_since(since) >= OLDEST_FRESH);
            if fresh.points > 0 && (quiet || old) {
                tailed.source.pending.seal = true;
            }
        }
        let bytes: u64 = self.tailed.iter().map(|t| t.source.fresh.bytes).sum();
        let largest = self.tailed.iter_mut().max_by_key(|t| t.source.fresh.bytes);
        if let (true, Some(largest)) = (bytes >= FRESH_BYTES_OF_ALL, largest) {
            largest.source.pending.seal = true;
        }
    }

    /// Do work that can wait, when there is time: all of it while nobody logs, else a little now and then.
    pub(super) fn tend(&mut self, now: Instant, got: usize) {
        let quiet = now.duration_since(self.read_at) >= super::BUSY_FOR;
        let busy = got >= super::NAP_BELOW_BYTES || self.shared.deadline().is_some();
        if self.tended || busy || self.backoff.is_waiting(now) {
            return;
        }
        if !quiet && !self.tend.is_due(now) {
            return;
        }
        let Some(store) = &mut self.store else { return };
        match store.tend(now + TEND_SLICE) {
            Ok(more) => self.tended = !more,
            Err(error) if error.needs_reopen() => self.store_failed(&error),
            // A full disk is told by the commits; the next seal tries again.
            Err(_) => self.tended = true,
        }
    }
}
