//! What the user is told of: once per kind of trouble, as a warning at the line that called `log()`, never more.

use std::ffi::CString;

use pyo3::exceptions::PyException;
use pyo3::prelude::*;
use tm_spool::Reject;

use super::active::{Active, Idle};
use super::flat::Note;
use crate::errors;

/// Counts what was refused and tells the user once per reason and kind of value.
///
/// # Errors
/// KeyboardInterrupt and its like, out of a user's warning hook.
pub fn notes(py: Python<'_>, active: &Active, notes: &[Note]) -> PyResult<()> {
    for note in notes {
        active.reject(note.refusal.why);
        if active.first_time(&format!(
            "{}:{}",
            note.refusal.why.name(),
            kind_of(&note.refusal.what)
        )) {
            warn(
                py,
                &format!(
                    "log(): {} (told once per kind; counted in health())",
                    sentence(note)
                ),
            )?;
        }
    }
    Ok(())
}

/// One sentence about one thing that was not recorded.
pub fn sentence(note: &Note) -> String {
    let Note { key, refusal } = note;
    let place = if key.is_empty() {
        String::new()
    } else {
        format!("{key:?}: ")
    };
    match refusal.why {
        Reject::BadValue => format!(
            "{place}{} cannot be recorded; {}",
            refusal.what,
            advice(&refusal.what)
        ),
        Reject::DeviceTensor => format!(
            "{place}{} is not fetched, as device_tensors=\"reject\"",
            refusal.what
        ),
        Reject::BadStep => format!(
            "{place}step is {}, not a 64-bit integer; the call is not recorded",
            refusal.what
        ),
        Reject::BadKey
        | Reject::TooDeep
        | Reject::TooLarge
        | Reject::KeyTooLong
        | Reject::TooManyKeys
        | Reject::NoSpace
        | Reject::LanesBusy
        | Reject::TooManyLayouts
        | Reject::Closed
        | Reject::NoProducer
        | Reject::Forked => format!("{place}{}", refusal.what),
    }
}

/// Exceptions say something new each time; the kind of trouble is what stands before.
fn kind_of(what: &str) -> &str {
    what.split_once(" whose ")
        .or_else(|| what.split_once(" (shape"))
        .map_or(what, |(kind, _)| kind)
}

fn advice(what: &str) -> &'static str {
    if what.contains("list") || what.contains("tuple") || what.contains("shape") {
        "log one number, such as its mean, or each element under a name of its own"
    } else if what.contains("complex") {
        "log its .real and .imag"
    } else {
        "log a number, a bool, a text or None"
    }
}

/// Says that `log()` found no run to write to.
///
/// # Errors
/// See [`warn`].
pub fn homeless(py: Python<'_>, why: Idle) -> PyResult<()> {
    let text = match why {
        Idle::Fresh => "log() before init(): nothing is recorded until init() is called",
        Idle::Closed => "log() after close(): nothing is recorded until init() is called again",
        Idle::ChildFailed => {
            "log() in a forked process: its spool could not be made, so nothing is recorded here"
        }
        Idle::Disabled => return Ok(()),
    };
    warn(py, text)
}

/// Warns at the user's line. Where warnings are errors the text goes to stderr instead: training goes on.
///
/// # Errors
/// KeyboardInterrupt and its like, out of a user's warning hook.
pub fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let Ok(message) = CString::new(text.replace('\0', "")) else {
        return Ok(());
    };
    // A builtin has no frame of its own: level 1 is the line that called it.
    match PyErr::warn(py, &errors::warning(py), &message, 1) {
        Ok(()) => Ok(()),
        Err(error) if !error.is_instance_of::<PyException>(py) => Err(error),
        Err(_) => {
            let line = format!("training_monitor: {text}\n");
            let stderr = py.import("sys").and_then(|sys| sys.getattr("stderr"));
            // Without a stderr nobody can be told; health() still counts.
            let _ = stderr.and_then(|stderr| stderr.call_method1("write", (line,)));
            Ok(())
        }
    }
}
