//! The arguments of `log(metrics, step=None, *, force_analysis=False)`, taken apart without building anything.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use super::object::{self, Object};

/// Borrowed from the caller's frame for the length of the call; null means not given.
pub struct Args {
    pub metrics: Object,
    pub step: Object,
    pub force_analysis: Object,
    /// The first keyword `log()` does not know, or null.
    pub unknown: Object,
    /// More positional arguments than there are parameters.
    pub surplus: bool,
}

/// Interned names, owned for ever. Stored once by [`intern`] during import, before any call.
static STEP: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());
static FORCE: AtomicPtr<ffi::PyObject> = AtomicPtr::new(ptr::null_mut());

/// Makes the parameter names that call sites pass by address. Called once by the import.
pub fn intern(py: Python<'_>) {
    let make = |name| pyo3::types::PyString::intern(py, name).into_ptr();
    STEP.store(make("step"), Ordering::Relaxed);
    FORCE.store(make("force_analysis"), Ordering::Relaxed);
}

/// Takes the arguments of a vectorcall apart.
///
/// # Safety
/// As CPython calls a `METH_FASTCALL | METH_KEYWORDS` function.
#[inline(always)]
pub unsafe fn parse(args: *const Object, positional: usize, names: Object) -> Args {
    let null = ptr::null_mut;
    let mut parsed = Args {
        metrics: null(),
        step: null(),
        force_analysis: null(),
        unknown: null(),
        surplus: positional > 2,
    };
    // SAFETY: there are `positional` arguments, then one per keyword name.
    unsafe {
        if positional > 0 {
            parsed.metrics = *args;
        }
        if positional > 1 {
            parsed.step = *args.add(1);
        }
        if !names.is_null() {
            keywords(&mut parsed, args.add(positional), names);
        }
    }
    parsed
}

/// # Safety
/// `names` is a living tuple of exact strings with one value each in `values`.
#[inline]
unsafe fn keywords(parsed: &mut Args, values: *const Object, names: Object) {
    // SAFETY: indices stay below the size of the tuple; its items live as long as it does.
    unsafe {
        for index in 0..object::tuple_size(names) {
            let name = object::tuple_item(names, index);
            let value = *values.add(index);
            if name == STEP.load(Ordering::Relaxed) {
                parsed.step = value;
            } else if name == FORCE.load(Ordering::Relaxed) {
                parsed.force_analysis = value;
            } else {
                uncommon(parsed, name, value);
            }
        }
    }
}

/// A name that is not interned (`log(**{...})`), `metrics=`, or one that is not a parameter.
///
/// # Safety
/// `name` is a living exact string.
#[cold]
unsafe fn uncommon(parsed: &mut Args, name: Object, value: Object) {
    // SAFETY: as promised; comparing with ASCII cannot fail.
    let is = |text: &std::ffi::CStr| unsafe {
        ffi::PyUnicode_CompareWithASCIIString(name, text.as_ptr()) == 0
    };
    if is(c"step") {
        parsed.step = value;
    } else if is(c"force_analysis") {
        parsed.force_analysis = value;
    } else if is(c"metrics") && parsed.metrics.is_null() {
        parsed.metrics = value;
    } else if parsed.unknown.is_null() {
        parsed.unknown = name;
    }
}
