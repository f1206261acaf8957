//! `training_monitor._core.log`: one dict of metrics into a lane, bound to CPython without a frame in between.
//!
//! The fast path is [`walk`] (values to bits, keys to addresses), [`layouts`] (addresses to a layout) and the spool's
//! append. It allocates nothing, takes no lock, runs no Python code and cannot raise. What it does not know goes to
//! [`slow`], from the start. No panic crosses into Python, and no exception but KeyboardInterrupt and its like,
//! unless the run is strict.

#![allow(unsafe_code)] // the only room with it, see the comments at each block

pub mod active;
mod args;
mod array;
mod cache;
mod convert;
mod fast;
mod flat;
mod half;
mod hash;
mod layouts;
mod names;
mod object;
pub mod respawn;
mod section;
pub mod slow;
pub mod spawn;
mod step;
mod tensor;
mod tick;
pub mod told;
mod types;
mod walk;

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use active::Idle;
use fast::Outcome;
use object::Object;

pub use convert::utf8;
pub use flat::Note;
pub use told::sentence;

const DOC: &CStr = c"log(metrics, step=None, *, force_analysis=False)
--

Record a dict of metrics.

Takes about a tenth of a microsecond, never blocks and never raises into training; what cannot be recorded is counted
in health() and told once as a warning (with strict=True it raises RejectedError, before anything is recorded).

Args:
    metrics: Names and values: int, float, bool, None, text, scalars and arrays of one element of numpy, torch, jax
        and their like; nested dicts are flattened with \"/\".
    step: The training step; without it, one after the last.
    force_analysis: Ask for an analysis once this step is stored.
";

/// Adds `log` to the module.
///
/// # Errors
/// Out of memory.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    args::intern(py);
    object::prove_layouts();
    let definition = ffi::PyMethodDef {
        ml_name: c"log".as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: log,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: DOC.as_ptr(),
    };
    let name = module.name()?;
    // SAFETY: CPython wants the definition for ever, so it is leaked; the rest are living objects.
    let function = unsafe {
        let definition = Box::into_raw(Box::new(definition));
        let function = ffi::PyCFunction_NewEx(definition, ptr::null_mut(), name.as_ptr());
        Bound::from_owned_ptr_or_err(py, function)?
    };
    module.add("log", function)
}

/// What CPython calls.
///
/// # Safety
/// Called by CPython as a `METH_FASTCALL | METH_KEYWORDS` function.
unsafe extern "C" fn log(
    _module: Object,
    args: *const Object,
    positional: isize,
    names: Object,
) -> Object {
    // SAFETY: the arguments are CPython's.
    let done = catch_unwind(AssertUnwindSafe(|| unsafe {
        enter(args, positional as usize, names)
    }));
    // A panic is a bug of ours; its message went to stderr, and training goes on.
    if done.unwrap_or(true) {
        none()
    } else {
        ptr::null_mut()
    }
}

#[inline(always)]
fn none() -> Object {
    // SAFETY: the caller of log() is attached; the reference is the new one that is returned.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

/// False: an exception is set.
///
/// # Safety
/// As for [`log`].
#[inline(always)]
unsafe fn enter(args: *const Object, positional: usize, names: Object) -> bool {
    // SAFETY: the arguments live in the caller's frame during the call, which holds the interpreter.
    unsafe {
        let args = args::parse(args, positional, names);
        let Some(active) = active::get() else {
            return active::idle() == Idle::Disabled || leave(&args);
        };
        match fast::call(active, &args) {
            Outcome::Done => true,
            Outcome::Due => attached(|py| tick::look_around(py, active::hold(active))),
            Outcome::Unwritten(why) => attached(|py| {
                let held = active::hold(active);
                let told = slow::unwritten(py, &held, why);
                told.and(tick::after_refusal(py, held))
            }),
            Outcome::Slow => leave(&args),
        }
    }
}

/// # Safety
/// As for [`log`].
#[cold]
unsafe fn leave(args: &args::Args) -> bool {
    // SAFETY: as promised by the caller.
    unsafe { attached(|py| slow::call(py, args)) }
}

/// Runs what needs pyo3, and sets the exception it returns.
///
/// # Safety
/// The caller holds the interpreter.
#[cold]
unsafe fn attached(f: impl FnOnce(Python<'_>) -> PyResult<()>) -> bool {
    // SAFETY: as promised by the caller; this only tells pyo3.
    unsafe { Python::attach_unchecked(|py| f(py).map_err(|error| error.restore(py)).is_ok()) }
}
