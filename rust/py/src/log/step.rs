//! The step a call names, if it names one.

use pyo3::ffi;
use pyo3::prelude::*;
use tm_spool::Producer;

use super::convert::{self, Converted};
use super::object::{self, Object};

/// What the `step` argument says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing: one after the last.
    Next,
    At(i64),
}

impl Wanted {
    /// The number to write.
    #[inline(always)]
    pub fn resolve(self, producer: &Producer) -> tm_spool::Step {
        tm_spool::Step(match self {
            Self::At(step) => step,
            Self::Next => producer.last_step().saturating_add(1),
        })
    }
}

/// The step, if it is absent or an exact int of 64 bits; nothing else is looked at. Null means absent.
///
/// # Safety
/// Null or a living object; the caller is attached to the interpreter.
#[inline(always)]
pub unsafe fn quick(step: Object) -> Option<Wanted> {
    // SAFETY: as promised by the caller.
    unsafe {
        if step.is_null() || step == ffi::Py_None() {
            return Some(Wanted::Next);
        }
        if object::type_of(step) == &raw mut ffi::PyLong_Type {
            return object::int(step).map(Wanted::At);
        }
    }
    None
}

/// Any object as a step: integers of every library, and floats without a fraction. `Ok(Err(what))` says what it is
/// instead.
///
/// # Errors
/// KeyboardInterrupt, SystemExit and their like, from the object's own code.
pub fn convert(step: &Bound<'_, PyAny>) -> PyResult<Result<Wanted, String>> {
    let bad = || convert::name_of(step);
    Ok(match convert::plain(step)? {
        Converted::None => Ok(Wanted::Next),
        Converted::I64(step) => Ok(Wanted::At(step)),
        Converted::Bool(step) => Ok(Wanted::At(i64::from(step))),
        Converted::F64(step) => whole(step).map(Wanted::At).ok_or_else(|| format!("{step}")),
        Converted::BigInt(digits) => Err(format!(
            "{}, more than 64 bits",
            String::from_utf8_lossy(&digits)
        )),
        Converted::Text(_) | Converted::Nested(_) => Err(bad()),
        Converted::Refused(refusal) => Err(refusal.what),
    })
}

fn whole(step: f64) -> Option<i64> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    (step.trunc() == step && (-LIMIT..LIMIT).contains(&step)).then_some(step as i64)
}
