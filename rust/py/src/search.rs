//! What is asked of kept code: lines that hold a pattern, names that globs mean, differences, secrets by place.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tm_core::search::{Hit, Names, Pattern, Search, search, unified};

use crate::errors;

/// Hits as file, line and text; whether there are more; whether the time was over; files that could not be read.
type Found = (Vec<(usize, usize, String)>, bool, bool, Vec<usize>);

/// Lines of a .gitignore, or of a list of code.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct PathPatterns {
    names: Names,
}

#[pymethods]
impl PathPatterns {
    #[new]
    fn new(py: Python<'_>, lines: Vec<String>) -> Self {
        let names = py.detach(|| Names::new(lines.iter().map(String::as_str)));
        Self { names }
    }

    /// Returns whether a line means this path, or takes it out again; None where no line says anything.
    #[pyo3(signature = (path, *, is_dir = false, whole = false))]
    fn means(&self, path: PathBuf, is_dir: bool, whole: bool) -> Option<bool> {
        self.names.means(&path, is_dir, whole)
    }
}

/// Looks for a pattern in files, line by line.
#[pyfunction]
#[pyo3(signature = (files, pattern, *, regex, ignore_case, limit, most_file_bytes, timeout_s))]
pub fn search_files(
    py: Python<'_>,
    files: Vec<PathBuf>,
    pattern: &str,
    regex: bool,
    ignore_case: bool,
    limit: usize,
    most_file_bytes: u64,
    timeout_s: f64,
) -> PyResult<Found> {
    let within = Duration::try_from_secs_f64(timeout_s).unwrap_or(Duration::ZERO);
    let bounds = Search {
        limit,
        most_file_bytes,
        within,
    };
    let found = py.detach(|| {
        let mut pattern = Pattern::new(pattern, regex, ignore_case)?;
        Ok(search(&files, &mut pattern, bounds))
    });
    let found = found.map_err(|error| errors::pattern(py, &error))?;
    let hits = found.hits.into_iter();
    let hits = hits.map(|Hit { file, line, text }| (file, line, text));
    Ok((hits.collect(), found.more, found.timed_out, found.unread))
}

/// Returns the unified diff of two texts; after the time limit the rest counts as replaced.
#[pyfunction]
#[pyo3(signature = (old, new, *, old_name, new_name, timeout_s))]
pub fn unified_diff(
    py: Python<'_>,
    old: &str,
    new: &str,
    old_name: &str,
    new_name: &str,
    timeout_s: f64,
) -> String {
    let within = Duration::try_from_secs_f64(timeout_s).unwrap_or(Duration::ZERO);
    py.detach(|| unified(old, new, (old_name, new_name), within))
}

/// Leaves out what looks like a secret and keeps every line where it is; returns line and kind of each.
#[pyfunction]
pub fn redact_places<'py>(
    py: Python<'py>,
    data: &[u8],
) -> (Bound<'py, PyBytes>, Vec<(usize, &'static str)>) {
    let (clean, places) = py.detach(|| crate::redact::redact_places(data));
    (PyBytes::new(py, &clean), places)
}
