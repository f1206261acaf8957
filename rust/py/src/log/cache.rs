//! The caches of one producer behind a word that is claimed, never waited for.

use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

use super::layouts::Layouts;
use super::names::Names;

/// What a call looks up: by address, then by name.
pub struct Tables {
    pub layouts: Layouts,
    pub names: Names,
}

/// [`Tables`] and the word that says whether somebody is at them.
///
/// No Python code runs while they are claimed, so with a GIL the claim never fails; without one a thread that finds
/// them taken goes the slow way, to the producer's own dictionary.
pub struct Cache {
    claimed: AtomicBool,
    tables: UnsafeCell<Tables>,
}

// SAFETY: the tables are reached only through a claim, and there is one claim at a time.
unsafe impl Sync for Cache {}
// SAFETY: the references the tables own belong to the interpreter, not to a thread.
unsafe impl Send for Cache {}

/// The only access to the tables.
pub struct Claim<'a>(&'a Cache);

impl Cache {
    /// Empty tables.
    pub fn new() -> Self {
        let tables = Tables {
            layouts: Layouts::new(),
            names: Names::default(),
        };
        Self {
            claimed: AtomicBool::new(false),
            tables: UnsafeCell::new(tables),
        }
    }

    /// The tables, or nothing when another thread is at them.
    #[inline(always)]
    pub fn claim(&self) -> Option<Claim<'_>> {
        // Acquire pairs with the Release in Claim::drop.
        #[cfg(Py_GIL_DISABLED)]
        let taken = self.claimed.swap(true, Ordering::Acquire);
        // The GIL is held from here to the release, so a plain exchange is one.
        #[cfg(not(Py_GIL_DISABLED))]
        let taken = self.claimed.load(Ordering::Acquire) || {
            self.claimed.store(true, Ordering::Relaxed);
            false
        };
        (!taken).then_some(Claim(self))
    }
}

impl Deref for Claim<'_> {
    type Target = Tables;
    #[inline(always)]
    fn deref(&self) -> &Tables {
        // SAFETY: this is the only claim.
        unsafe { &*self.0.tables.get() }
    }
}

impl DerefMut for Claim<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Tables {
        // SAFETY: this is the only claim, borrowed for writing.
        unsafe { &mut *self.0.tables.get() }
    }
}

impl Drop for Claim<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.claimed.store(false, Ordering::Release);
    }
}
