//! `log()` when something in the call needs a closer look: other types, nested dicts, unknown arguments, a fork, no
//! run. The user's code may run at each conversion and may log, close, fork or change the dict, so each step takes
//! what it needs first and trusts nothing it saw before.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use tm_spool::{Flags, KeyId, MAX_KEY_BYTES, MAX_KEYS, Producer, Reject, Step, clock};

use super::active::{self, Active, Held, Idle};
use super::args::Args;
use super::convert::Refusal;
use super::flat::{Flat, Note};
use super::hash::Build;
use super::names::Target;
use super::step::{self, Wanted};
use super::{tick, told};
use crate::errors;

/// Up to so many new names are defined one by one, with a write each; more of them in one write.
const FEW: usize = 16;

/// `log()` in full.
///
/// # Errors
/// In strict mode whatever was not recorded; else only KeyboardInterrupt and its like.
///
/// # Safety
/// The arguments are those of the call under way.
pub unsafe fn call(py: Python<'_>, args: &Args) -> PyResult<()> {
    let begin = clock::boottime_ns();
    // SAFETY: borrowed from the caller's frame, which outlives the call.
    let get = |object| unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
    let Some(active) = current(py)? else {
        return Ok(());
    };
    misuse(py, &active, args, get(args.unknown))?;
    let Some(metrics) = get(args.metrics) else {
        return Ok(());
    };
    let force = get(args.force_analysis).is_some_and(|force| force.is_truthy().unwrap_or(false));
    let flags = Flags(if force { Flags::FORCE_ANALYSIS } else { 0 });
    let wanted = get(args.step).map_or(Ok(Ok(Wanted::Next)), |step| step::convert(&step))?;
    let wanted = match wanted {
        Ok(wanted) => wanted,
        Err(what) => {
            return refuse(
                py,
                &active,
                Refusal {
                    why: Reject::BadStep,
                    what,
                    cause: None,
                },
            );
        }
    };
    let mut flat = Flat::gather(
        &metrics,
        active.policy.device_tensors == active::DeviceTensors::Reject,
    )?;
    // Any of the conversions may have forked, closed or opened.
    let Some(active) = current(py)? else {
        return Ok(());
    };
    let outcome = if active.policy.strict && !flat.notes.is_empty() {
        Ok(())
    } else {
        write(&active, &mut flat, wanted, flags)
    };
    let is_written = outcome.is_ok();
    let settled = settle(py, &active, &flat, outcome);
    // Also after a refusal: a monitor that is gone is what a full spool waits for.
    let looked = tick::after(py, active, begin, is_written);
    settled.and(looked)
}

/// The producer to write to, made now if this is a forked child. Nothing if there is none; the user is told once.
fn current(py: Python<'_>) -> PyResult<Option<Held>> {
    let found = active::here();
    if found.is_none() {
        let why = active::idle();
        if why != Idle::Disabled && active::count_homeless(why) {
            told::homeless(py, why)?;
        }
    }
    Ok(found)
}

/// A call that does not fit the signature: told once, and recorded as far as it makes sense.
fn misuse(
    py: Python<'_>,
    active: &Active,
    args: &Args,
    unknown: Option<Bound<'_, PyAny>>,
) -> PyResult<()> {
    let text = if let Some(name) = unknown {
        format!("log() does not know the keyword {name}; it is ignored")
    } else if args.surplus {
        "log() takes metrics and step by position; the rest is ignored".to_owned()
    } else if args.metrics.is_null() {
        "log() without metrics: nothing to record".to_owned()
    } else {
        return Ok(());
    };
    if active.policy.strict {
        return Err(PyTypeError::new_err(text));
    }
    if args.metrics.is_null() {
        active.reject(Reject::BadValue);
    }
    if active.first_time(&text) {
        told::warn(py, &text)
    } else {
        Ok(())
    }
}

/// Finds keys and layout and appends. Keys that cannot be defined become notes; the frame is written without them.
fn write(active: &Active, flat: &mut Flat, wanted: Wanted, flags: Flags) -> Result<(), Reject> {
    // What is refused before the append is counted here; the spool counts the rest.
    let count = |why: &Reject| active.reject(*why);
    let ids = define(active, flat).inspect_err(count)?;
    if active.policy.strict && !flat.notes.is_empty() {
        return Ok(());
    }
    // An empty frame says something only if it asks for an analysis.
    if ids.is_empty() && !flags.has(Flags::FORCE_ANALYSIS) {
        return Ok(());
    }
    let target = match active.cache.claim() {
        Some(mut tables) => tables
            .names
            .target(&active.producer, &ids)
            .inspect_err(count)?,
        None => match active.producer.layout(&ids) {
            Ok(layout) => Target::Layout(layout),
            Err(Reject::TooManyLayouts) => Target::Pairs(ids.into()),
            Err(why) => {
                active.reject(why);
                return Err(why);
            }
        },
    };
    append(
        &active.producer,
        &target,
        flat,
        wanted.resolve(&active.producer),
        flags,
    )
}

/// Writes the frame.
fn append(
    producer: &Producer,
    target: &Target,
    flat: &Flat,
    step: Step,
    flags: Flags,
) -> Result<(), Reject> {
    let types = (!flat.is_plain()).then_some(flat.types.as_slice());
    let written = match (target, types) {
        (Target::Layout(layout), None) => producer.append_points(flags, step, *layout, &flat.slots),
        (Target::Layout(layout), Some(types)) => {
            producer.append_typed(flags, step, *layout, &flat.slots, types, &flat.side)
        }
        (Target::Pairs(ids), types) => {
            producer.append_pairs(flags, step, ids, &flat.slots, types, &flat.side)
        }
    };
    written.map(|_| ())
}

/// The ids of all names, new ones defined in one go. A name that came up twice (`{"a/b": 1, "a": {"b": 2}}`) keeps
/// its last value.
fn define(active: &Active, flat: &mut Flat) -> Result<Vec<KeyId>, Reject> {
    let ids = match known(active, flat) {
        Some(ids) => ids,
        None => {
            let mut ids = Vec::with_capacity(flat.slots.len());
            match active.producer.keys(flat.names(), &mut ids) {
                Ok(()) => ids,
                Err(_) => one_by_one(active, flat)?,
            }
        }
    };
    let mut place_of: HashMap<KeyId, usize, Build> =
        HashMap::with_capacity_and_hasher(ids.len(), Build::default());
    let mut unique = Vec::with_capacity(ids.len());
    for (index, &id) in ids.iter().enumerate() {
        let place = *place_of.entry(id).or_insert(unique.len());
        if place == unique.len() {
            unique.push(id);
        }
        flat.copy_value(index, place);
    }
    flat.truncate(unique.len());
    Ok(unique)
}

/// The ids, if the caches know every name.
fn known(active: &Active, flat: &Flat) -> Option<Vec<KeyId>> {
    let mut tables = active.cache.claim()?;
    if flat.slots.len() > FEW && !flat.names().all(|name| tables.names.is_known(name)) {
        return None;
    }
    flat.names()
        .map(|name| tables.names.key(&active.producer, name).ok())
        .collect()
}

/// As [`define`], when one of the names is refused: the others are still recorded.
fn one_by_one(active: &Active, flat: &mut Flat) -> Result<Vec<KeyId>, Reject> {
    let names: Vec<Vec<u8>> = flat.names().map(<[u8]>::to_vec).collect();
    let mut ids = Vec::with_capacity(names.len());
    let mut surplus = false;
    for (index, name) in names.iter().enumerate() {
        match active.producer.key(name) {
            Ok(id) => {
                flat.copy_value(index, ids.len());
                ids.push(id);
            }
            Err(why @ Reject::KeyTooLong) => {
                let what = format!("a key of {} bytes, more than {MAX_KEY_BYTES}", name.len());
                flat.note(name, refusal(why, what));
            }
            // Told once a call: there may be a million of them.
            Err(why @ Reject::TooManyKeys) if surplus => active.reject(why),
            Err(why @ Reject::TooManyKeys) => {
                surplus = true;
                let what =
                    format!("a new key, after {MAX_KEYS} others: is a step part of the name?");
                flat.note(name, refusal(why, what));
            }
            Err(why) => return Err(why),
        }
    }
    flat.truncate(ids.len());
    Ok(ids)
}

fn refusal(why: Reject, what: String) -> Refusal {
    Refusal {
        why,
        what,
        cause: None,
    }
}

/// Counts, tells or raises what happened, when nothing of ours is held any more.
fn settle(
    py: Python<'_>,
    active: &Active,
    flat: &Flat,
    outcome: Result<(), Reject>,
) -> PyResult<()> {
    if flat.device_values > 0 {
        device_hint(py, active, flat.device_values)?;
    }
    if active.policy.strict && !flat.notes.is_empty() {
        flat.notes
            .iter()
            .for_each(|note| active.reject(note.refusal.why));
        return Err(errors::rejected(py, &flat.notes));
    }
    told::notes(py, active, &flat.notes)?;
    if let Err(why) = outcome {
        return unwritten(py, active, why);
    }
    Ok(())
}

/// The spool did not take the frame, and has counted it.
///
/// # Errors
/// In strict mode the reason.
#[cold]
pub fn unwritten(py: Python<'_>, active: &Active, why: Reject) -> PyResult<()> {
    let refusal = Refusal {
        why,
        what: format!("the call is not recorded: {why}"),
        cause: None,
    };
    let note = Note {
        key: String::new(),
        refusal,
    };
    if active.policy.strict {
        return Err(errors::rejected(py, std::slice::from_ref(&note)));
    }
    if active.first_time(why.name()) {
        told::warn(
            py,
            &format!(
                "log(): {} (told once; counted in health())",
                told::sentence(&note)
            ),
        )?;
    }
    Ok(())
}

fn refuse(py: Python<'_>, active: &Active, refusal: Refusal) -> PyResult<()> {
    let notes = [Note {
        key: String::new(),
        refusal,
    }];
    if active.policy.strict {
        active.reject(Reject::BadStep);
        return Err(errors::rejected(py, &notes));
    }
    told::notes(py, active, &notes)
}

fn device_hint(py: Python<'_>, active: &Active, values: u64) -> PyResult<()> {
    active.device_syncs.fetch_add(values, Ordering::Relaxed);
    if !active.first_time("device_sync") {
        return Ok(());
    }
    let text = "log() waited for a device to fetch a tensor; log .detach() values less often, \
                or init(device_tensors=\"reject\") (told once; counted in health())";
    told::warn(py, text)
}
