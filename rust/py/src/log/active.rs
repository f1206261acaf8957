//! The producer that `log()` writes to: one per process, found with one load.
//!
//! The fast path borrows it without counting: from the load to the end of the call it keeps the interpreter, and an
//! ended producer is freed only by a thread that has the interpreter too. Whoever lets go of the interpreter in
//! between (user code in a conversion, waiting in `close()`) takes a [`Held`] first; the last of them frees what has
//! ended. In a forked child the parent's producer is never touched or freed, and without a GIL nothing is.

use std::collections::HashSet;
use std::ops::Deref;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering,
};

use pyo3::Python;
use tm_spool::{
    CHILD_LANE_BYTES, CreateError, Flags, Kind, Producer, ProducerOptions, ProducerStats, Reject,
    Step,
};

use super::cache::Cache;

/// What to do with a tensor whose value must be fetched from a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceTensors {
    /// Wait for the device.
    Sync,
    /// Reject the value.
    Reject,
}

/// How values are taken; a forked child takes them as its parent did.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Raise what could not be recorded.
    pub strict: bool,
    pub device_tensors: DeviceTensors,
}

/// A producer and what `log()` keeps beside it.
pub struct Active {
    pub producer: Producer,
    pub policy: Policy,
    pub cache: Cache,
    /// Calls so far, roughly: threads may lose a count to each other.
    pub calls: AtomicU32,
    /// Values that had to be fetched from a device.
    pub device_syncs: AtomicU64,
    pub opened_ns: i64,
    /// The first call from this boottime on looks around.
    pub look_at_ns: AtomicI64,
    /// Kinds of trouble the user was told of. Never held while Python code runs.
    pub told: Mutex<HashSet<String>>,
    options: ProducerOptions,
    /// The config frame, while the spool has no room for it. `None`: it is written.
    unsaid: Mutex<Option<Vec<u8>>>,
    /// How many [`Held`] there are.
    holders: AtomicU32,
    /// It has ended: the last holder frees it. Stored and loaded with the interpreter held.
    retired: AtomicBool,
}

/// An [`Active`] that stays while this is kept. Taken and dropped with the interpreter held.
pub struct Held(&'static Active);

impl Deref for Held {
    type Target = Active;
    fn deref(&self) -> &Active {
        self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Relaxed: the interpreter orders holders among each other.
        let last = self.0.holders.fetch_sub(1, Ordering::Relaxed) == 1;
        if last && self.0.retired.load(Ordering::Relaxed) {
            free(self.0);
        }
    }
}

/// What is known of a producer that has ended.
#[derive(Clone, Copy, Default)]
pub struct Final {
    pub stats: ProducerStats,
    pub heartbeat_age_ns: Option<i64>,
    pub device_syncs: u64,
}

/// Why there is no producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Idle {
    /// `init()` was not called.
    Fresh = 0,
    /// `close()` was called.
    Closed = 1,
    /// `mode="disabled"`.
    Disabled = 2,
    /// This is a forked child, and it could not make a producer of its own.
    ChildFailed = 3,
}

/// Stored with Release by whoever makes or ends a producer; loaded with Acquire by every call.
static ACTIVE: AtomicPtr<Active> = AtomicPtr::new(ptr::null_mut());
/// The facts of the producer that ended last, for `health()`. Held for copies only.
static LAST: Mutex<Option<Final>> = Mutex::new(None);
static IDLE: AtomicU8 = AtomicU8::new(Idle::Fresh as u8);
/// `log()` calls that found no producer.
static HOMELESS: AtomicU64 = AtomicU64::new(0);
/// Whether the user was told that `log()` finds no producer; bit per reason.
static HOMELESS_TOLD: AtomicU8 = AtomicU8::new(0);

fn follow(pointer: *mut Active) -> Option<&'static Active> {
    // SAFETY: null, or a leaked box that is freed as the file's comment says.
    unsafe { pointer.as_ref() }
}

/// The producer of this process, or of its parent if this process was forked and has not logged yet. Good until the
/// caller lets go of the interpreter: see [`hold`].
#[inline(always)]
pub fn get() -> Option<&'static Active> {
    follow(ACTIVE.load(Ordering::Acquire))
}

/// Keeps a producer that was found since the interpreter was taken.
pub fn hold(active: &'static Active) -> Held {
    active.holders.fetch_add(1, Ordering::Relaxed);
    Held(active)
}

/// The producer of this process, made now if this is a forked child that has none yet.
pub fn here() -> Option<Held> {
    let active = get()?;
    let own = if active.producer.in_forked_child() {
        adopt(active)
    } else {
        Some(active)
    };
    own.map(hold)
}

/// The producer of this very process. Nothing in a forked child that has not logged.
pub fn own() -> Option<Held> {
    get()
        .filter(|active| !active.producer.in_forked_child())
        .map(hold)
}

/// The facts of the producer that is active, or was last.
pub fn facts() -> Option<Final> {
    match own() {
        Some(active) => Some(active.facts()),
        None => LAST.lock().map_or(None, |last| *last),
    }
}

/// Lets an ended producer be freed, by its last holder: maps, files and memory. Its facts are kept.
pub fn retire(py: Python<'_>, ended: Held) {
    if ended.producer.in_forked_child() {
        return;
    }
    ended.forget_keys(py);
    if let Ok(mut last) = LAST.lock() {
        *last = Some(ended.facts());
    }
    ended.retired.store(true, Ordering::Relaxed);
}

fn free(ended: &'static Active) {
    // In a child, maps and locks are the parent's; without a GIL another thread may be in the fast path.
    if cfg!(Py_GIL_DISABLED) || ended.producer.in_forked_child() {
        return;
    }
    // SAFETY: it came out of a box; it is in no place where it can be found, nobody holds it, and this thread has
    // the interpreter, so nobody is in the fast path.
    drop(unsafe { Box::from_raw(ptr::from_ref(ended).cast_mut()) });
}

/// Why there is no producer.
pub fn idle() -> Idle {
    match IDLE.load(Ordering::Relaxed) {
        1 => Idle::Closed,
        2 => Idle::Disabled,
        3 => Idle::ChildFailed,
        _ => Idle::Fresh,
    }
}

/// Makes a producer and puts it in the place of the one before, which the caller has ended.
///
/// # Errors
/// The spool's reason.
pub fn open(options: ProducerOptions, policy: Policy) -> Result<&'static Active, CreateError> {
    let active = make(options, policy)?;
    ACTIVE.store(ptr::from_ref(active).cast_mut(), Ordering::Release);
    Ok(active)
}

fn make(options: ProducerOptions, policy: Policy) -> Result<&'static Active, CreateError> {
    Ok(Box::leak(Box::new(Active {
        producer: Producer::create(options.clone())?,
        policy,
        cache: Cache::new(),
        calls: AtomicU32::new(0),
        device_syncs: AtomicU64::new(0),
        opened_ns: tm_spool::clock::boottime_ns(),
        look_at_ns: AtomicI64::new(0),
        told: Mutex::default(),
        options,
        unsaid: Mutex::default(),
        holders: AtomicU32::new(0),
        retired: AtomicBool::new(false),
    })))
}

/// Takes the producer out of its place, so that `log()` finds none, and says why.
pub fn end(why: Idle) -> Option<Held> {
    IDLE.store(why as u8, Ordering::Relaxed);
    follow(ACTIVE.swap(ptr::null_mut(), Ordering::AcqRel)).map(hold)
}

/// Gives a forked child a small producer of its own. The parent's is left lying, untouched: its maps are not there
/// any more, and its locks may be held by threads that do not exist here.
#[cold]
fn adopt(parent: &'static Active) -> Option<&'static Active> {
    let mut options = parent.options.clone();
    options.parent = Some(parent.producer.id());
    options.lane_bytes = options.lane_bytes.min(CHILD_LANE_BYTES);
    if let Ok(child) = replace(parent, options) {
        return child;
    }
    IDLE.store(Idle::ChildFailed as u8, Ordering::Relaxed);
    let before = ptr::from_ref(parent).cast_mut();
    let _ = ACTIVE.compare_exchange(before, ptr::null_mut(), Ordering::AcqRel, Ordering::Acquire);
    None
}

/// Makes a new producer in the place of one whose files somebody deleted. True if this call made it.
#[cold]
pub fn replace_lost(py: Python<'_>, lost: Held) -> bool {
    let before = ptr::from_ref(lost.0);
    let replaced = matches!(replace(lost.0, lost.options.clone()), Ok(Some(_)));
    let in_place = ptr::eq(ACTIVE.load(Ordering::Acquire), before);
    if replaced && !in_place {
        retire(py, lost);
    }
    replaced
}

/// Puts a new producer in the place of another. Threads may race to be first: the loser's stays empty and ends with
/// the process.
fn replace(
    before: &'static Active,
    options: ProducerOptions,
) -> Result<Option<&'static Active>, CreateError> {
    let next = make(options, before.policy)?;
    let (old, new) = (
        ptr::from_ref(before).cast_mut(),
        ptr::from_ref(next).cast_mut(),
    );
    match ACTIVE.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(Some(next)),
        Err(winner) => Ok(follow(winner)),
    }
}

/// Counts a call that found no producer; true when the user is to be told.
pub fn count_homeless(why: Idle) -> bool {
    HOMELESS.fetch_add(1, Ordering::Relaxed);
    let bit = 1 << why as u8;
    HOMELESS_TOLD.fetch_or(bit, Ordering::Relaxed) & bit == 0
}

/// Calls that found no producer, in this process.
pub fn homeless() -> u64 {
    HOMELESS.load(Ordering::Relaxed)
}

impl Active {
    fn facts(&self) -> Final {
        Final {
            stats: self.producer.stats(),
            heartbeat_age_ns: self.producer.heartbeat_age_ns(),
            device_syncs: self.device_syncs.load(Ordering::Relaxed),
        }
    }

    /// Writes the config frame, now or once there is room.
    pub fn say_config(&self, json: Vec<u8>) {
        if let Ok(mut unsaid) = self.unsaid.lock() {
            *unsaid = Some(json);
        }
        self.say_again();
    }

    /// Tries again to write a config frame that the spool had no room for.
    pub fn say_again(&self) {
        let taken = self
            .unsaid
            .try_lock()
            .ok()
            .and_then(|mut unsaid| unsaid.take());
        let Some(json) = taken else { return };
        let (kind, flags) = (Kind::Control, Flags(0));
        let written = self.producer.append_blob(kind, flags, Step(-1), &json);
        // Whatever else it says, it will say again: too large stays too large.
        if matches!(written, Err(Reject::NoSpace | Reject::LanesBusy))
            && let Ok(mut unsaid) = self.unsaid.lock()
        {
            unsaid.get_or_insert(json);
        }
    }

    /// Lets go of the keys that the caches hold on to.
    fn forget_keys(&self, _attached: Python<'_>) {
        let dropped = self.cache.claim().map(|mut tables| tables.layouts.clear());
        if let Some(dropped) = dropped {
            // SAFETY: attached, as the token proves, and no lane is held.
            unsafe { dropped.release() };
        }
    }

    /// True the first time it is asked about this kind of trouble. The set is bounded.
    pub fn first_time(&self, kind: &str) -> bool {
        const MOST: usize = 512;
        let Ok(mut told) = self.told.lock() else {
            return false;
        };
        told.len() < MOST && told.insert(kind.to_owned())
    }

    /// Counts what was rejected outside the spool.
    pub fn reject(&self, why: Reject) {
        self.producer.reject(why);
    }
}
