//! `_core.Column`: numbers that numpy takes over without copying them.

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Numbers of one type, read only.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct Column {
    numbers: Numbers,
}

/// What a column may hold.
pub enum Numbers {
    F64(Vec<f64>),
    I64(Vec<i64>),
    U32(Vec<u32>),
}

impl Column {
    pub fn new(numbers: Numbers) -> Self {
        Self { numbers }
    }
}

#[pymethods]
impl Column {
    fn __len__(&self) -> usize {
        match &self.numbers {
            Numbers::F64(numbers) => numbers.len(),
            Numbers::I64(numbers) => numbers.len(),
            Numbers::U32(numbers) => numbers.len(),
        }
    }

    /// Where the numbers are, as numpy's array interface says it (version 3). The array keeps this object alive.
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        // The numbers never move nor change: the object is frozen and owns them.
        let (address, kind) = match &self.numbers {
            Numbers::F64(numbers) => (numbers.as_ptr().addr(), "<f8"),
            Numbers::I64(numbers) => (numbers.as_ptr().addr(), "<i8"),
            Numbers::U32(numbers) => (numbers.as_ptr().addr(), "<u4"),
        };
        let facts = PyDict::new(py);
        facts.set_item("version", 3)?;
        facts.set_item("shape", (self.__len__(),))?;
        facts.set_item("typestr", kind)?;
        facts.set_item("data", (address, true))?;
        Ok(facts)
    }
}
