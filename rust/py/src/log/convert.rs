//! One value of any kind into what a frame can hold. Runs the value's own code, so nothing of ours may be held.

use std::ffi::CStr;

use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyComplex, PyDict, PyFloat, PyInt, PyList, PyMapping, PySet,
    PyString, PyTuple,
};
use tm_spool::{Reject, ValueType};

use super::{tensor, types, walk};

/// What became of a value.
pub enum Converted<'py> {
    F64(f64),
    I64(i64),
    Bool(bool),
    None,
    /// Decimal digits with a sign.
    BigInt(Vec<u8>),
    /// UTF-8; lone surrogates are passed through.
    Text(Vec<u8>),
    /// A mapping, to be flattened.
    Nested(Bound<'py, PyAny>),
    Refused(Refusal),
}

/// Why a value is not recorded.
pub struct Refusal {
    pub why: Reject,
    /// What it is, for people: "a list".
    pub what: String,
    /// The exception its own code raised, if that is the reason.
    pub cause: Option<PyErr>,
}

impl<'py> Converted<'py> {
    /// A value of a kind that is not recorded.
    pub fn bad(what: impl Into<String>) -> Self {
        Self::Refused(Refusal {
            why: Reject::BadValue,
            what: what.into(),
            cause: None,
        })
    }

    fn raised(value: &Bound<'py, PyAny>, cause: PyErr) -> Self {
        let what = format!("{} whose conversion raised {cause}", name_of(value));
        Self::Refused(Refusal {
            why: Reject::BadValue,
            what,
            cause: Some(cause),
        })
    }

    fn from_bits(bits: u64, kind: ValueType) -> Self {
        match kind {
            ValueType::F64 => Self::F64(f64::from_bits(bits)),
            ValueType::I64 => Self::I64(bits as i64),
            ValueType::Bool => Self::Bool(bits != 0),
            ValueType::None => Self::None,
            ValueType::BigInt | ValueType::Text => Self::bad("a value without its text"),
        }
    }
}

/// Turns an exception of the value's own code into a result to look at.
///
/// # Errors
/// Passes KeyboardInterrupt, SystemExit and what else is not an `Exception` through.
pub fn caught<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<Result<T, PyErr>> {
    match result {
        Err(error) if !error.is_instance_of::<PyException>(py) => Err(error),
        other => Ok(other),
    }
}

/// The type of a value as a sentence names it: "a value of type list".
pub fn name_of(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type();
    let name = kind
        .fully_qualified_name()
        .map_or_else(|_| "?".to_owned(), |name| name.to_string());
    format!("a value of type {name}")
}

/// Converts a value, waiting for devices.
///
/// # Errors
/// See [`caught`].
pub fn plain<'py>(value: &Bound<'py, PyAny>) -> PyResult<Converted<'py>> {
    value_of(
        value,
        &mut tensor::Devices {
            reject: false,
            synced: 0,
        },
    )
}

/// Converts a value.
///
/// # Errors
/// See [`caught`].
pub fn value_of<'py>(
    value: &Bound<'py, PyAny>,
    devices: &mut tensor::Devices,
) -> PyResult<Converted<'py>> {
    let py = value.py();
    match caught(py, dispatch(value, devices))? {
        Ok(converted) => Ok(converted),
        Err(error) => Ok(Converted::raised(value, error)),
    }
}

fn dispatch<'py>(
    value: &Bound<'py, PyAny>,
    devices: &mut tensor::Devices,
) -> PyResult<Converted<'py>> {
    if let Ok(text) = value.cast_exact::<PyString>() {
        return utf8(text).map(Converted::Text);
    }
    if let Ok(float) = value.cast_exact::<PyFloat>() {
        return Ok(Converted::F64(float.value()));
    }
    types::learn(&value.get_type());
    // SAFETY: the value is alive and this is its type.
    if let Some((bits, kind)) =
        unsafe { walk::read(value.as_ptr(), value.get_type().as_type_ptr()) }
    {
        return Ok(Converted::from_bits(bits, kind));
    }
    if let Some(converted) = builtin(value)? {
        return Ok(converted);
    }
    if let Some(dtype) = value.getattr_opt(intern!(value.py(), "dtype"))? {
        return tensor::value_of(value, &dtype, devices);
    }
    if value.cast::<PyMapping>().is_ok() {
        return Ok(Converted::Nested(value.clone()));
    }
    number(value)
}

/// Builtin types and their subclasses, without running code of theirs.
pub fn builtin<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Converted<'py>>> {
    if value.is_none() {
        return Ok(Some(Converted::None));
    }
    if value.is_instance_of::<PyBool>() {
        return Ok(Some(Converted::Bool(value.is_truthy()?)));
    }
    if let Ok(float) = value.cast::<PyFloat>() {
        return Ok(Some(Converted::F64(float.value())));
    }
    if let Ok(int) = value.cast::<PyInt>() {
        return integer(int).map(Some);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return utf8(text).map(|bytes| Some(Converted::Text(bytes)));
    }
    if value.is_instance_of::<PyDict>() {
        return Ok(Some(Converted::Nested(value.clone())));
    }
    let never = value.is_instance_of::<PyList>()
        || value.is_instance_of::<PyTuple>()
        || value.is_instance_of::<PySet>()
        || value.is_instance_of::<PyBytes>()
        || value.is_instance_of::<PyByteArray>()
        || value.is_instance_of::<PyComplex>();
    Ok(never.then(|| Converted::bad(name_of(value))))
}

/// An int of any size, exactly.
fn integer<'py>(int: &Bound<'py, PyInt>) -> PyResult<Converted<'py>> {
    // SAFETY: an int that is alive; the text is a new reference or an error.
    unsafe {
        if let Some(value) = super::object::int(int.as_ptr()) {
            return Ok(Converted::I64(value));
        }
        let text = Bound::from_owned_ptr_or_err(int.py(), ffi::PyNumber_ToBase(int.as_ptr(), 10))?;
        Ok(Converted::BigInt(
            text.cast::<PyString>()?.to_str()?.as_bytes().to_vec(),
        ))
    }
}

/// Anything with `__index__`, else `__float__`.
pub fn number<'py>(value: &Bound<'py, PyAny>) -> PyResult<Converted<'py>> {
    let py = value.py();
    let kind = value.get_type();
    if kind.hasattr(intern!(py, "__index__"))? {
        // SAFETY: the value is alive; the result is a new reference or an error.
        let index =
            unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyNumber_Index(value.as_ptr()))? };
        return integer(index.cast::<PyInt>()?);
    }
    if !kind.hasattr(intern!(py, "__float__"))? {
        return Ok(Converted::bad(name_of(value)));
    }
    let float: f64 = value.extract()?;
    let module: String = kind
        .module()
        .and_then(|module| module.extract())
        .unwrap_or_default();
    if matches!(
        module.as_str(),
        "decimal" | "_decimal" | "_pydecimal" | "fractions"
    ) {
        return exactly(value, float);
    }
    Ok(Converted::F64(float))
}

/// The double, if it is all of the value.
pub fn exactly<'py>(value: &Bound<'py, PyAny>, float: f64) -> PyResult<Converted<'py>> {
    if float.is_nan() || value.eq(float)? {
        return Ok(Converted::F64(float));
    }
    Ok(Converted::bad(format!(
        "{} that is not exactly a 64-bit float",
        name_of(value)
    )))
}

/// A string's bytes; lone surrogates are passed through as three bytes each.
pub fn utf8(text: &Bound<'_, PyString>) -> PyResult<Vec<u8>> {
    const UTF8: &CStr = c"utf-8";
    const PASS: &CStr = c"surrogatepass";
    if let Ok(text) = text.to_str() {
        return Ok(text.as_bytes().to_vec());
    }
    // SAFETY: a string that is alive; the codec is built in, so no code of the user's runs.
    let encoded = unsafe {
        let bytes = ffi::PyUnicode_AsEncodedString(text.as_ptr(), UTF8.as_ptr(), PASS.as_ptr());
        Bound::from_owned_ptr_or_err(text.py(), bytes)?
    };
    Ok(encoded.cast::<PyBytes>()?.as_bytes().to_vec())
}
