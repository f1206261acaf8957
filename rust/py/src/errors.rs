//! The exceptions of the package, and the one place where errors of the core become exceptions.

use pyo3::exceptions::{
    PyFileNotFoundError, PyKeyError, PyKeyboardInterrupt, PyOSError, PyUserWarning, PyValueError,
};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use tm_core::StoreError;
use tm_core::claim::ClaimError;
use tm_core::removal::RemovalError;
use tm_core::search::PatternError;
use tm_core::store::QueryError;
use tm_spool::CreateError;

use crate::log::{Note, sentence};

/// Set once by [`add_to`], before anything can raise.
static TREE: PyOnceLock<Tree> = PyOnceLock::new();

struct Tree {
    base: Py<PyType>,
    store: Py<PyType>,
    spool: Py<PyType>,
    rejected: Py<PyType>,
    query: Py<PyType>,
    warning: Py<PyType>,
}

/// Makes the classes and adds them to the module.
///
/// # Errors
/// Out of memory.
pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let tree = TREE.get_or_try_init(py, || Tree::new(py))?;
    for class in [
        &tree.base,
        &tree.store,
        &tree.spool,
        &tree.rejected,
        &tree.query,
        &tree.warning,
    ] {
        let class = class.bind(py);
        module.add(class.name()?, class)?;
    }
    Ok(())
}

impl Tree {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let exception = py.get_type::<pyo3::exceptions::PyException>();
        let base = class(
            py,
            "TrainingMonitorError",
            "Base of all errors of training_monitor.",
            &[&exception],
        )?;
        Ok(Self {
            store: class(
                py,
                "StoreError",
                "The database could not be read or written.",
                &[&base],
            )?
            .unbind(),
            spool: class(
                py,
                "SpoolError",
                "The lanes could not be made or read.",
                &[&base],
            )?
            .unbind(),
            rejected: class(
                py,
                "RejectedError",
                "log() refused a call; only raised with strict=True.",
                &[&base, &py.get_type::<PyValueError>()],
            )?
            .unbind(),
            query: class(
                py,
                "QueryError",
                "A query is wrong, does more than read, or takes too long.",
                &[&base, &py.get_type::<PyValueError>()],
            )?
            .unbind(),
            warning: class(
                py,
                "TrainingMonitorWarning",
                "Something was ignored or not recorded; training goes on.",
                &[&py.get_type::<PyUserWarning>()],
            )?
            .unbind(),
            base: base.unbind(),
        })
    }
}

/// `type(name, bases, {"__doc__": …})`: the only way to a class with two bases.
fn class<'py>(
    py: Python<'py>,
    name: &str,
    doc: &str,
    bases: &[&Bound<'py, PyType>],
) -> PyResult<Bound<'py, PyType>> {
    let body = PyDict::new(py);
    body.set_item("__doc__", doc)?;
    // Where users import it from, and what a traceback shows.
    body.set_item("__module__", "training_monitor")?;
    let made = py
        .get_type::<PyType>()
        .call1((name, PyTuple::new(py, bases)?, body))?;
    Ok(made.cast_into()?)
}

fn raise(py: Python<'_>, pick: impl Fn(&Tree) -> &Py<PyType>, text: String) -> PyErr {
    match TREE.get(py) {
        Some(tree) => PyErr::from_type(pick(tree).bind(py).clone(), text),
        None => PyValueError::new_err(text),
    }
}

/// The category of our warnings.
pub fn warning(py: Python<'_>) -> Bound<'_, PyAny> {
    match TREE.get(py) {
        Some(tree) => tree.warning.bind(py).clone().into_any(),
        None => py.get_type::<PyUserWarning>().into_any(),
    }
}

/// What strict mode raises for a call that was not recorded.
pub fn rejected(py: Python<'_>, notes: &[Note]) -> PyErr {
    const SHOWN: usize = 5;
    let mut text = notes
        .iter()
        .take(SHOWN)
        .map(sentence)
        .collect::<Vec<_>>()
        .join("; ");
    if notes.len() > SHOWN {
        text.push_str(&format!("; and {} more", notes.len() - SHOWN));
    }
    let error = raise(py, |tree| &tree.rejected, format!("log(): {text}"));
    let cause = notes.iter().find_map(|note| note.refusal.cause.as_ref());
    error.set_cause(py, cause.map(|cause| cause.clone_ref(py)));
    error
}

/// Why the producer could not be made.
pub fn create(py: Python<'_>, error: CreateError) -> PyErr {
    match error {
        CreateError::Io { .. } | CreateError::LaneBytes { .. } => spool(py, &error),
    }
}

/// Why no run directory could be claimed.
pub fn claim(py: Python<'_>, error: ClaimError) -> PyErr {
    match error {
        ClaimError::BadName { .. } | ClaimError::TooMany { .. } => spool(py, &error),
        ClaimError::File { ref source, .. } => system(&error, source),
    }
}

/// Why the database could not be opened, read or written.
pub fn store(py: Python<'_>, error: StoreError) -> PyErr {
    match error {
        StoreError::NoSuchMetric { .. } => PyKeyError::new_err(error.to_string()),
        StoreError::NotFound { .. } => PyFileNotFoundError::new_err(error.to_string()),
        StoreError::TooNew { .. }
        | StoreError::Foreign { .. }
        | StoreError::Elsewhere { .. }
        | StoreError::DiskFull
        | StoreError::Io(_)
        | StoreError::Damaged(_)
        | StoreError::Busy
        | StoreError::LogBusy
        | StoreError::Column(_)
        | StoreError::File { .. }
        | StoreError::Unexpected(_)
        | StoreError::Sql(_) => raise(py, |tree| &tree.store, error.to_string()),
    }
}

/// Why a query has no answer.
pub fn query(py: Python<'_>, error: QueryError) -> PyErr {
    match error {
        QueryError::Store(error) => store(py, error),
        QueryError::Interrupted => PyKeyboardInterrupt::new_err(()),
        QueryError::Sql { .. }
        | QueryError::NotReading
        | QueryError::TooLong { .. }
        | QueryError::TooLarge { .. } => raise(py, |tree| &tree.query, error.to_string()),
    }
}

/// Why nothing can be looked for.
pub fn pattern(py: Python<'_>, error: &PatternError) -> PyErr {
    raise(py, |tree| &tree.query, error.to_string())
}

/// Why a run was not removed.
pub fn removal(py: Python<'_>, error: RemovalError) -> PyErr {
    match error {
        RemovalError::Claim(error) => claim(py, error),
        RemovalError::File { ref source, .. } => system(&error, source),
        RemovalError::Live { .. }
        | RemovalError::Monitored { .. }
        | RemovalError::NotARun { .. }
        | RemovalError::OutOfReach { .. }
        | RemovalError::LiveElsewhere { .. }
        | RemovalError::NotADirectory { .. } => raise(py, |tree| &tree.base, error.to_string()),
    }
}

fn spool(py: Python<'_>, error: &dyn std::error::Error) -> PyErr {
    raise(py, |tree| &tree.spool, error.to_string())
}

/// The system's own refusal: an OSError with its number, so that `except PermissionError` works.
fn system(error: &dyn std::error::Error, source: &std::io::Error) -> PyErr {
    match source.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None => PyOSError::new_err(error.to_string()),
    }
}
