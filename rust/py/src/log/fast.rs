//! `log()` of an exact dict of numbers under keys that were seen before, or at least under plain text.

use std::ffi::c_char;
use std::mem::MaybeUninit;
use std::slice;

use pyo3::ffi;
use tm_spool::{Flags, KeyId, Reject, ValueType, clock};

use super::active::Active;
use super::args::Args;
use super::cache::Tables;
use super::layouts::Dropped;
use super::names::Target;
use super::object::{self, Object};
use super::section;
use super::step::{self, Wanted};
use super::tick;
use super::walk::{Found, Room, Walk, walk};

/// Dicts of up to so many values need no heap.
const ROOM: usize = 64;

/// How a call went.
pub enum Outcome {
    Done,
    /// Done, and it is time to look around.
    Due,
    /// The spool did not take the frame, and counted it.
    Unwritten(Reject),
    /// Nothing was done: something needs a closer look.
    Slow,
}

/// # Safety
/// The arguments are those of the call under way, whose caller holds the interpreter.
#[inline(always)]
pub unsafe fn call(active: &Active, args: &Args) -> Outcome {
    if active.producer.in_forked_child()
        || args.metrics.is_null()
        || args.surplus
        || !args.unknown.is_null()
    {
        return Outcome::Slow;
    }
    // SAFETY: the arguments live as long as the call.
    unsafe {
        if object::type_of(args.metrics) != &raw mut ffi::PyDict_Type {
            return Outcome::Slow;
        }
        let (Some(wanted), Some(flags)) = (step::quick(args.step), flags(args.force_analysis))
        else {
            return Outcome::Slow;
        };
        let due = tick::is_due(active);
        let begin = if due { clock::boottime_ns() } else { 0 };
        // Whole: the addresses of the keys are good only as long as nobody takes them out of the dict.
        let recorded =
            section::within(args.metrics, || record(active, args.metrics, wanted, flags));
        match recorded {
            done @ (Outcome::Done | Outcome::Due) if due => {
                tick::measure(active, begin);
                done
            }
            Outcome::Slow => {
                tick::undo(active);
                Outcome::Slow
            }
            other => other,
        }
    }
}

/// # Safety
/// Null or a living object.
#[inline(always)]
unsafe fn flags(force: Object) -> Option<Flags> {
    // SAFETY: the addresses of the two constants.
    unsafe {
        if force.is_null() || force == ffi::Py_False() {
            Some(Flags(0))
        } else if force == ffi::Py_True() {
            Some(Flags(Flags::FORCE_ANALYSIS))
        } else {
            None
        }
    }
}

/// # Safety
/// `dict` is a living, exact dict.
#[inline(always)]
unsafe fn record(active: &Active, dict: Object, wanted: Wanted, flags: Flags) -> Outcome {
    let mut keys = [MaybeUninit::uninit(); ROOM];
    let mut slots = [MaybeUninit::uninit(); ROOM];
    let mut types = [MaybeUninit::uninit(); ROOM];
    let mut room = Room {
        keys: &mut keys,
        slots: &mut slots,
        types: &mut types,
    };
    // SAFETY: as promised by the caller.
    unsafe {
        match walk(dict, &mut room) {
            Walk::Whole(found) => publish(active, &found, &room, wanted, flags),
            Walk::Slow => Outcome::Slow,
            Walk::Larger => record_large(active, dict, wanted, flags),
        }
    }
}

/// # Safety
/// As for [`record`].
#[cold]
unsafe fn record_large(active: &Active, dict: Object, wanted: Wanted, flags: Flags) -> Outcome {
    // SAFETY: as promised by the caller.
    unsafe {
        let size = usize::try_from(ffi::PyDict_Size(dict)).unwrap_or(0);
        let mut keys = vec![MaybeUninit::uninit(); size];
        let mut slots = vec![MaybeUninit::uninit(); size];
        let mut types = vec![MaybeUninit::uninit(); size];
        let mut room = Room {
            keys: &mut keys,
            slots: &mut slots,
            types: &mut types,
        };
        match walk(dict, &mut room) {
            Walk::Whole(found) => publish(active, &found, &room, wanted, flags),
            Walk::Slow | Walk::Larger => Outcome::Slow,
        }
    }
}

/// Finds the layout and appends.
///
/// # Safety
/// The first `found.n` places of the room are filled, with keys of a living dict.
#[inline(always)]
unsafe fn publish(
    active: &Active,
    found: &Found,
    room: &Room<'_>,
    wanted: Wanted,
    flags: Flags,
) -> Outcome {
    if found.n == 0 {
        // Nothing to say, unless an analysis is asked for.
        return if flags.has(Flags::FORCE_ANALYSIS) {
            Outcome::Slow
        } else {
            Outcome::Done
        };
    }
    // SAFETY: these places are filled.
    let (keys, slots, types) = unsafe {
        (
            slice::from_raw_parts(room.keys.as_ptr().cast::<Object>(), found.n),
            slice::from_raw_parts(room.slots.as_ptr().cast::<u64>(), found.n),
            slice::from_raw_parts(room.types.as_ptr().cast::<ValueType>(), found.n),
        )
    };
    let Some(mut tables) = active.cache.claim() else {
        return Outcome::Slow;
    };
    let mut dropped = None;
    let target = match tables.layouts.find(found.hash, keys) {
        Some(target) => target.clone(),
        // SAFETY: keys of a living dict; no Python code runs in there.
        None => match unsafe { learn(active, &mut tables, found.hash, keys) } {
            Some((target, gone)) => {
                dropped = Some(gone);
                target
            }
            None => return Outcome::Slow,
        },
    };
    drop(tables);
    let step = wanted.resolve(&active.producer);
    let done = match &target {
        Target::Layout(layout) if !found.typed => {
            active.producer.append_points(flags, step, *layout, slots)
        }
        Target::Layout(layout) => {
            active
                .producer
                .append_typed(flags, step, *layout, slots, types, &[])
        }
        Target::Pairs(ids) => {
            active
                .producer
                .append_pairs(flags, step, ids, slots, found.typed.then_some(types), &[])
        }
    };
    if let Some(dropped) = dropped {
        // SAFETY: attached, and the append has let go of its lane.
        unsafe { dropped.release() };
    }
    match done {
        Ok(now) if tick::is_time_to_look(active, now) => Outcome::Due,
        Ok(_) => Outcome::Done,
        Err(why) => Outcome::Unwritten(why),
    }
}

/// Finds the layout by the text of the keys and remembers their addresses. Nothing: a key is not plain text, or the
/// spool does not take it.
///
/// # Safety
/// Keys of a living dict; the caller holds the interpreter.
#[cold]
unsafe fn learn(
    active: &Active,
    tables: &mut Tables,
    hash: u64,
    keys: &[Object],
) -> Option<(Target, Dropped)> {
    let mut ids: Vec<KeyId> = Vec::with_capacity(keys.len());
    for &key in keys {
        // SAFETY: the key is alive; its text is used before anything else happens.
        let name = unsafe { text(key)? };
        if keys.len() > ROOM && !tables.names.is_known(name) {
            // Thousands of new names are defined in one write, not one each.
            return None;
        }
        ids.push(tables.names.key(&active.producer, name).ok()?);
    }
    let target = tables.names.target(&active.producer, &ids).ok()?;
    // SAFETY: every key was found to be an exact string.
    let dropped = unsafe { tables.layouts.insert(hash, keys, &target) };
    Some((target, dropped))
}

/// The UTF-8 of an exact string without lone surrogates.
///
/// # Safety
/// A living object; the bytes live as long as it does.
unsafe fn text<'a>(key: Object) -> Option<&'a [u8]> {
    let mut length: isize = 0;
    // SAFETY: as promised by the caller.
    unsafe {
        if object::type_of(key) != &raw mut ffi::PyUnicode_Type {
            return None;
        }
        let bytes: *const c_char = ffi::PyUnicode_AsUTF8AndSize(key, &raw mut length);
        if bytes.is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(slice::from_raw_parts(
            bytes.cast::<u8>(),
            usize::try_from(length).ok()?,
        ))
    }
}
