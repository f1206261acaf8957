//! What `log()` does now and then, after its frame is written: measure itself, look for the monitor, replace lanes
//! that somebody deleted.

use std::sync::atomic::Ordering;

use pyo3::prelude::*;
use tm_spool::clock;

use super::active::{self, Active, Held};
use super::respawn;

/// One call in so many is measured.
const EVERY: u32 = 64;
/// The first call after so long looks around, however rarely there is one.
const LOOK_EVERY_NS: i64 = 1_000_000_000;

/// Counts a call; true if it is to be measured.
#[inline(always)]
pub fn is_due(active: &Active) -> bool {
    // Two threads may count as one: this is a rhythm, not a number.
    let calls = active.calls.load(Ordering::Relaxed).wrapping_add(1);
    active.calls.store(calls, Ordering::Relaxed);
    calls.is_multiple_of(EVERY)
}

/// Whether a call written at this time is to look around.
#[inline(always)]
pub fn is_time_to_look(active: &Active, now_ns: i64) -> bool {
    now_ns >= active.look_at_ns.load(Ordering::Relaxed)
}

/// Takes a count back: the call goes the slow way and is counted there.
#[cold]
pub fn undo(active: &Active) {
    active.calls.fetch_sub(1, Ordering::Relaxed);
}

/// Adds a call that began at this time to the histogram of `log()`.
#[cold]
pub fn measure(active: &Active, begin_ns: i64) {
    active
        .producer
        .sample(u64::try_from(clock::boottime_ns() - begin_ns).unwrap_or(0));
}

/// For calls of the slow path: counts, measures and looks around if it is time.
///
/// # Errors
/// See [`super::told::warn`].
pub fn after(py: Python<'_>, active: Held, begin_ns: i64, is_written: bool) -> PyResult<()> {
    if is_due(&active) {
        measure(&active, begin_ns);
    }
    if !is_written {
        return after_refusal(py, active);
    }
    if is_time_to_look(&active, begin_ns) {
        return look_around(py, active);
    }
    Ok(())
}

/// For calls that found no place: only a monitor can make some, so one that is gone is brought back.
///
/// # Errors
/// See [`super::told::warn`].
#[cold]
pub fn after_refusal(py: Python<'_>, active: Held) -> PyResult<()> {
    if is_time_to_look(&active, clock::boottime_ns()) {
        return bring_back(py, active);
    }
    Ok(())
}

/// Says what there was no room for, and brings back what is gone.
///
/// # Errors
/// See [`super::told::warn`].
#[cold]
pub fn look_around(py: Python<'_>, active: Held) -> PyResult<()> {
    // Only after a call that found room: a refusal of our own would be counted as one of the user's.
    active.say_again();
    bring_back(py, active)
}

/// Brings back a monitor that is gone, and lanes that are.
///
/// # Errors
/// See [`super::told::warn`].
#[cold]
fn bring_back(py: Python<'_>, active: Held) -> PyResult<()> {
    let next = clock::boottime_ns() + LOOK_EVERY_NS;
    active.look_at_ns.store(next, Ordering::Relaxed);
    if respawn::is_due(&active) {
        py.detach(respawn::try_now);
    }
    if active.producer.is_lost() && active::replace_lost(py, active) {
        super::told::warn(
            py,
            "the spool files of this run were deleted; new ones were made (points not yet stored are lost)",
        )?;
    }
    Ok(())
}
