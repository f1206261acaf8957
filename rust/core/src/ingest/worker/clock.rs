//! Watches the offset between the boot clock and the wall clock.

use std::time::{Duration, Instant};

use tm_spool::clock;

use crate::store::ClockSample;

const LOOK_EVERY: Duration = Duration::from_secs(10);
/// A smaller change is the drift of a disciplined clock and not worth a row.
const MOVED_NS: i64 = 1_000_000;

/// Remembers the offset that was stored last.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    /// `None`: nothing stored yet.
    stored_ns: Option<i64>,
    /// `None`: never looked.
    looked: Option<Instant>,
}

impl ClockWatch {
    /// A sample for the database. `None`: it is too early, or the offset did not move.
    pub(super) fn sample(&mut self, now: Instant) -> Option<ClockSample> {
        if self
            .looked
            .is_some_and(|at| now.duration_since(at) < LOOK_EVERY)
        {
            return None;
        }
        self.looked = Some(now);
        let (boottime_ns, wall_ns) = (clock::boottime_ns(), clock::wall_ns());
        let offset = wall_ns - boottime_ns;
        if self
            .stored_ns
            .is_some_and(|stored| (stored - offset).abs() < MOVED_NS)
        {
            return None;
        }
        self.stored_ns = Some(offset);
        Some(ClockSample {
            host: clock::host_name(),
            boottime_ns,
            wall_ns,
        })
    }

    /// The sample was not stored: take it again at the next commit.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}
