//! Removing runs: what of a directory is ours, and taking it away.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

use crate::errors;

/// Returns whether a directory is a run: it has a spool or a database of ours.
#[pyfunction]
pub fn is_run(py: Python<'_>, run_dir: PathBuf) -> bool {
    py.detach(|| tm_core::belongings::is_run(&run_dir))
}

/// Returns the names of what in a directory is ours, and of what is not.
#[pyfunction]
pub fn belongings(py: Python<'_>, run_dir: PathBuf) -> PyResult<(Vec<OsString>, Vec<OsString>)> {
    let found = py.detach(|| tm_core::belongings::belongings(&run_dir))?;
    Ok((found.ours, found.foreign))
}

/// Removes a run that is over, with its claims and its spools elsewhere; returns the names of what stays.
#[pyfunction]
#[pyo3(signature = (root, name, *, force = false))]
pub fn remove_run(
    py: Python<'_>,
    root: PathBuf,
    name: &str,
    force: bool,
) -> PyResult<Vec<OsString>> {
    let removed = py.detach(|| tm_core::removal::remove_run(&root, name, force));
    removed.map_err(|error| errors::removal(py, error))
}

/// Deletes what interrupted removals left under a root directory; returns how many.
#[pyfunction]
pub fn sweep_removed(py: Python<'_>, root: PathBuf) -> PyResult<usize> {
    let swept = py.detach(|| tm_core::removal::sweep(&root));
    swept.map_err(|error| errors::removal(py, error))
}
