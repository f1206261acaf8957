//! The busy word of a lane: whoever exchanges it writes alone, until it is stored back.

use crate::sync::{AtomicU64, Ordering};

const FREE: u64 = 0;
const TAKEN: u64 = 1;

/// Private memory of the process, not in the file: a killed writer leaves nothing behind.
#[derive(Debug)]
pub(crate) struct Busy(AtomicU64);

impl Busy {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(FREE))
    }

    /// Acquire: pairs with the Release in [`Busy::free`], so the new holder sees the lane as the last one left it.
    #[inline]
    pub(crate) fn claim(&self) -> bool {
        self.0
            .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline]
    pub(crate) fn free(&self) {
        self.0.store(FREE, Ordering::Release);
    }
}
