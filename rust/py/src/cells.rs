//! Values and names of the store as Python objects.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyString};
use tm_core::store::Cell;
use tm_spool::ValueType;

/// Text that was stored as it came: lone surrogates come back as they were.
pub fn text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text).into_any()),
        Err(_) => PyBytes::new(py, bytes).call_method1("decode", ("utf-8", "surrogatepass")),
    }
}

/// One value, of the type it was logged with.
pub fn value<'py>(py: Python<'py>, cell: &Cell) -> PyResult<Bound<'py, PyAny>> {
    Ok(match cell {
        Cell::F64(value) => value.into_pyobject(py)?.into_any(),
        Cell::I64(value) => value.into_pyobject(py)?.into_any(),
        Cell::Bool(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Cell::BigInt(digits) => py.get_type::<PyInt>().call1((digits,))?,
        Cell::None => py.None().into_bound(py),
        Cell::Text(bytes) => text(py, bytes)?,
    })
}

/// Many values.
pub fn values<'py>(py: Python<'py>, cells: &[Cell]) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for cell in cells {
        list.append(value(py, cell)?)?;
    }
    Ok(list)
}

/// The word for a type of value.
pub fn kind(kind: ValueType) -> &'static str {
    match kind {
        ValueType::F64 => "float",
        ValueType::I64 | ValueType::BigInt => "int",
        ValueType::Bool => "bool",
        ValueType::None => "none",
        ValueType::Text => "text",
    }
}
