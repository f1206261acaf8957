//! From the addresses of a dict's keys to a layout: the reason a warm `log()` never looks at a name.
//!
//! An address says which key it is only as long as the object lives, so an entry *owns* a reference to each of its
//! keys (a borrowed one is silently wrong: the allocator hands the address of a dead string to the next one). It is
//! bounded, and entries are made only of keys that live elsewhere too: names built anew for each call would push out
//! the ones that come back.

use pyo3::ffi;

use super::names::Target;
use super::object::{self, Object};

/// Sets of two entries.
const SETS: usize = 256;
const WAYS: usize = 2;
/// All entries together hold at most this many key references: 1 MiB of pointers.
const MOST_KEYS: usize = 1 << 17;

/// References that were owned by entries now gone. They are to be released when no lane is held.
#[must_use]
#[derive(Default)]
pub struct Dropped(Vec<Object>);

impl Dropped {
    /// Releases the references.
    ///
    /// # Safety
    /// The caller is attached to the interpreter and holds no lane.
    pub unsafe fn release(self) {
        for object in self.0 {
            // SAFETY: each came out of an entry that owned it. Exact strings run no code when they die.
            unsafe { ffi::Py_DecRef(object) };
        }
    }
}

struct Entry {
    hash: u64,
    keys: Box<[Object]>,
    target: Target,
}

/// The cache of one producer. See the file's comment.
pub struct Layouts {
    sets: Box<[[Option<Entry>; WAYS]]>,
    held: usize,
}

// SAFETY: the pointers are owned references, touched only by threads that are attached to the interpreter and hold
// the claim on the cache.
unsafe impl Send for Layouts {}

impl Layouts {
    /// An empty cache.
    pub fn new() -> Self {
        Self {
            sets: (0..SETS).map(|_| [const { None }; WAYS]).collect(),
            held: 0,
        }
    }

    /// The layout of exactly these key objects in this order, if they were seen before.
    #[inline]
    pub fn find(&self, hash: u64, keys: &[Object]) -> Option<&Target> {
        let [first, second] = self.sets.get(Self::set_of(hash))?;
        let fits = |entry: &&Entry| entry.hash == hash && *entry.keys == *keys;
        first
            .as_ref()
            .filter(fits)
            .or_else(|| second.as_ref().filter(fits))
            .map(|entry| &entry.target)
    }

    /// Remembers a layout, if all its keys live elsewhere too, and hands out what was pushed out.
    ///
    /// # Safety
    /// Each key is alive and an exact `str`; the caller is attached to the interpreter.
    pub unsafe fn insert(&mut self, hash: u64, keys: &[Object], target: &Target) -> Dropped {
        let mut dropped = Dropped::default();
        // SAFETY: the keys are alive.
        let shared = keys
            .iter()
            .all(|&key| unsafe { object::references(key) } > 1);
        if !shared || keys.len() > MOST_KEYS {
            return dropped;
        }
        if self.held + keys.len() > MOST_KEYS {
            dropped = self.clear();
        }
        for &key in keys {
            // SAFETY: the keys are alive; the entry owns this new reference.
            unsafe { ffi::Py_IncRef(key) };
        }
        self.held += keys.len();
        if let Some(set) = self.sets.get_mut(Self::set_of(hash)) {
            // The newer entry comes first; the older of the two leaves.
            set.rotate_right(1);
            let before = set[0].replace(Entry {
                hash,
                keys: keys.into(),
                target: target.clone(),
            });
            if let Some(before) = before {
                self.held -= before.keys.len();
                dropped.0.extend(before.keys);
            }
        }
        dropped
    }

    /// Forgets everything and hands out the references.
    pub fn clear(&mut self) -> Dropped {
        self.held = 0;
        let entries = self.sets.iter_mut().flatten().filter_map(Option::take);
        Dropped(entries.flat_map(|entry| entry.keys).collect())
    }

    fn set_of(hash: u64) -> usize {
        (hash >> 56) as usize % SETS
    }
}

/// Starts a running hash over key addresses.
pub const START: u64 = 0x243F_6A88_85A3_08D3;

/// Folds one key into the running hash of a walk.
#[inline(always)]
pub fn fold(hash: u64, key: Object) -> u64 {
    // The low four bits of an address say nothing.
    super::hash::fold(hash, key as u64 >> 4)
}
