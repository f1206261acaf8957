//! Questions in SQL, and all points in chunks.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use tm_core::store::{Datum, QueryError, QueryOptions, StreamOptions};

use crate::log::utf8;
use crate::reader::{Columns, series_columns};
use crate::{cells, errors};

/// Answers one SELECT over `points` and the tables of a database: columns, rows, whether there were more.
#[pyfunction]
#[pyo3(signature = (path, sql, *, limit, timeout_s))]
pub fn query<'py>(
    py: Python<'py>,
    path: PathBuf,
    sql: &str,
    limit: Option<usize>,
    timeout_s: f64,
) -> PyResult<(Vec<String>, Bound<'py, PyList>, bool)> {
    let options = QueryOptions {
        rows: limit,
        time_limit: Duration::try_from_secs_f64(timeout_s).unwrap_or(Duration::MAX),
        // Ctrl-C in a notebook ends the query; the handler's exception is raised anew below.
        interrupted: Some(Box::new(|| {
            Python::attach(|py| py.check_signals().is_err())
        })),
    };
    let answer = py.detach(|| -> Result<_, QueryError> {
        tm_core::RunReader::open(&path)?.query(sql, options)
    });
    let table = answer.map_err(|error| errors::query(py, error))?;
    let rows = PyList::empty(py);
    for row in &table.rows {
        let cells = row.iter().map(|datum| object(py, datum));
        rows.append(PyTuple::new(py, cells.collect::<PyResult<Vec<_>>>()?)?)?;
    }
    Ok((table.columns, rows, table.truncated))
}

fn object<'py>(py: Python<'py>, datum: &Datum) -> PyResult<Bound<'py, PyAny>> {
    Ok(match datum {
        Datum::Null => py.None().into_bound(py),
        Datum::Integer(value) => value.into_pyobject(py)?.into_any(),
        Datum::Real(value) => value.into_pyobject(py)?.into_any(),
        Datum::Text(text) => cells::text(py, text)?,
        Datum::Blob(bytes) => PyBytes::new(py, bytes).into_any(),
    })
}

/// The points of some keys or of all, chunk by chunk, on one state of the database.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct PointStream {
    /// One chunk at a time; never held while Python code runs.
    stream: Mutex<tm_core::store::PointStream>,
    #[pyo3(get)]
    total: u64,
}

#[pymethods]
impl PointStream {
    #[new]
    #[pyo3(signature = (path, *, keys = None, since = None, raw = false))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        keys: Option<Vec<Bound<'_, PyString>>>,
        since: Option<i64>,
        raw: bool,
    ) -> PyResult<Self> {
        let bytes = |key: &Bound<'_, PyString>| Ok(utf8(key)?.to_vec());
        let keys = keys
            .map(|keys| keys.iter().map(bytes).collect::<PyResult<Vec<_>>>())
            .transpose()?;
        let options = StreamOptions { keys, since, raw };
        let opened = py.detach(|| tm_core::RunReader::open(&path)?.stream(&options));
        let stream = opened.map_err(|error| errors::store(py, error))?;
        Ok(Self {
            total: stream.total(),
            stream: Mutex::new(stream),
        })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    /// Returns the key, the columns as `RunReader.series` has them, and how many points were read so far.
    fn __next__<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Option<(Bound<'py, PyAny>, Columns<'py>, u64)>> {
        let next = py.detach(|| {
            let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
            stream.next_chunk()
        });
        let Some(chunk) = next.map_err(|error| errors::store(py, error))? else {
            return Ok(None);
        };
        let columns = series_columns(py, &chunk.series)?;
        Ok(Some((cells::text(py, &chunk.key)?, columns, chunk.read)))
    }
}

/// Copies a database while it is written; returns whether the copy is whole.
///
/// `progress` is called with the pages copied and the pages in all; what it raises ends the copy.
#[pyfunction]
pub fn backup_database(
    py: Python<'_>,
    path: PathBuf,
    to: PathBuf,
    progress: Option<Py<PyAny>>,
) -> PyResult<bool> {
    let mut raised = None;
    let copied = py.detach(|| {
        tm_core::RunReader::open(&path)?.backup(&to, |at| {
            let told = Python::attach(|py| {
                py.check_signals()?;
                match &progress {
                    Some(progress) => progress.call1(py, (at.done, at.total)).map(drop),
                    None => Ok(()),
                }
            });
            raised = told.err();
            raised.is_none()
        })
    });
    match (raised, copied) {
        (Some(error), _) => Err(error),
        (None, copied) => copied.map_err(|error| errors::store(py, error)),
    }
}
