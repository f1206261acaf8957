//! Config values of every kind as strict JSON that a person can read, with secrets left out.

mod text;
mod walk;

pub use text::quoted;

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::log::utf8;

/// Writes any value as strict JSON; what JSON has no form for becomes readable text. Secrets are left out.
#[pyfunction]
#[pyo3(signature = (obj, redact = true))]
pub fn to_json(obj: &Bound<'_, PyAny>, redact: bool) -> PyResult<String> {
    let mut walk = walk::Walk::new(redact);
    walk.value(obj)?;
    Ok(walk.finish())
}

/// Leaves out what looks like a secret: known token formats, private keys, passwords in URLs and assignments.
#[pyfunction]
pub fn redact<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
    let (clean, found) = crate::redact::redact(&utf8(text)?);
    if found == 0 {
        return Ok(text.clone());
    }
    // Pieces of UTF-8 between ASCII marks; lone surrogates, if there were any, are replaced.
    Ok(PyString::new(text.py(), &String::from_utf8_lossy(&clean)))
}

/// How many secrets to_json() and redact() have left out in this process.
#[pyfunction]
pub fn redactions() -> u64 {
    crate::redact::total()
}
