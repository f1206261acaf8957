//! Run directories: claiming one, and looking at who writes there.

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tm_spool::{
    Holds, Life, Mode, ProducerInfo, ProducerStats, Sighting, ask, clock, filesystem, is_here,
    reserve_signal, survey,
};

use crate::errors;

/// Gives this job its run directory: its path, its name, and whether the name needed a suffix.
#[pyfunction]
pub fn claim_run(
    py: Python<'_>,
    root: PathBuf,
    name: &str,
    job_key: &str,
) -> PyResult<(OsString, String, bool)> {
    let claimed = py.detach(|| tm_core::claim::claim_run(&root, name, job_key));
    let claim = claimed.map_err(|error| errors::claim(py, error))?;
    Ok((claim.run_dir.into_os_string(), claim.name, claim.suffixed))
}

/// Returns the database of a run that can be read from here: the live one, or a copy; and what keeps the live one
/// out of reach, when it is on another machine.
#[pyfunction]
pub fn find_database(py: Python<'_>, run_dir: PathBuf) -> (OsString, Option<String>) {
    let found = py.detach(|| tm_core::live::find(&run_dir));
    let elsewhere = found.copy_of.filter(|live| !live.is_of_this_machine());
    let trouble = elsewhere.map(|live| {
        let dir = live.dir.display();
        format!("the live database is on {}, in {dir}", live.host)
    });
    (found.database.into_os_string(), trouble)
}

/// Returns what the file system of a directory is called, and whether a live database may lie on it.
#[pyfunction]
pub fn file_system(py: Python<'_>, path: PathBuf) -> (&'static str, bool) {
    let found = py.detach(|| filesystem(&path));
    (found.name, found.holds >= Holds::Database)
}

/// Lists the processes that have lanes in a run directory, as they are now.
///
/// One whose files cannot be read from here has the life "unknown": it may be alive, and hold what nobody read.
#[pyfunction]
pub fn producers(py: Python<'_>, run_dir: PathBuf) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let found = py.detach(|| survey(&run_dir))?;
    let mut rows = Vec::new();
    for sighting in found {
        rows.push(match &sighting.seen {
            Ok((info, stats, life)) => row(py, info, stats, *life, &sighting.dir)?,
            Err(trouble) => unknown(py, &sighting, trouble)?,
        });
    }
    Ok(rows)
}

/// The same fields as [`row`]; what nobody can know from here is `None`, or nothing counted.
fn unknown<'py>(
    py: Python<'py>,
    sighting: &Sighting,
    trouble: &str,
) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("id", sighting.id.to_string())?;
    facts.set_item("life", "unknown")?;
    facts.set_item("trouble", trouble)?;
    facts.set_item("dir", sighting.dir.as_os_str())?;
    facts.set_item("is_here", false)?;
    for field in [
        "parent",
        "rank",
        "local_rank",
        "world",
        "host",
        "pid",
        "job_key",
        "mode",
        "started",
        "last_step",
        "log_p50_ns",
        "log_p99_ns",
        "heartbeat_age_s",
    ] {
        facts.set_item(field, py.None())?;
    }
    for field in [
        "accepted",
        "accepted_frames",
        "rejected",
        "durable",
        "backlog_bytes",
    ] {
        facts.set_item(field, 0)?;
    }
    Ok(facts)
}

fn row<'py>(
    py: Python<'py>,
    info: &ProducerInfo,
    stats: &ProducerStats,
    life: Life,
    dir: &std::path::Path,
) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("id", info.id.to_string())?;
    facts.set_item("parent", info.parent.map(|parent| parent.to_string()))?;
    facts.set_item("rank", info.rank)?;
    facts.set_item("local_rank", info.local_rank)?;
    facts.set_item("world", info.world)?;
    facts.set_item("host", &info.host)?;
    facts.set_item("pid", info.pid)?;
    facts.set_item("job_key", &info.job_key)?;
    facts.set_item(
        "life",
        match life {
            Life::Alive => "alive",
            Life::Closed => "closed",
            Life::Dead => "dead",
        },
    )?;
    facts.set_item(
        "mode",
        match info.mode {
            Mode::Mmap => "mmap",
            Mode::Pwrite => "pwrite",
        },
    )?;
    facts.set_item("trouble", py.None())?;
    facts.set_item("dir", dir.as_os_str())?;
    facts.set_item("is_here", is_here(info))?;
    facts.set_item("started", info.wall_ns as f64 / 1e9)?;
    facts.set_item("accepted", stats.accepted_points)?;
    facts.set_item("accepted_frames", stats.accepted_frames)?;
    facts.set_item("rejected", stats.rejected.iter().sum::<u64>())?;
    facts.set_item("durable", stats.durable_points)?;
    facts.set_item("backlog_bytes", stats.backlog_bytes)?;
    facts.set_item(
        "last_step",
        (stats.last_step >= 0 || stats.accepted_points > 0).then_some(stats.last_step),
    )?;
    let sampled = stats.log_ns.samples > 0;
    facts.set_item("log_p50_ns", sampled.then_some(stats.log_ns.p50))?;
    facts.set_item("log_p99_ns", sampled.then_some(stats.log_ns.p99))?;
    // A heartbeat is told by the clock of the node it beats on.
    let age = stats
        .heartbeat_ns
        .filter(|_| info.boot_id == clock::boot_id());
    facts.set_item(
        "heartbeat_age_s",
        age.map(|at| (clock::boottime_ns() - at) as f64 / 1e9),
    )?;
    Ok(facts)
}

/// Sets a real-time signal aside, by which this process may be asked something, and returns its number; 0: none is
/// free. Until it is handled, and afterwards, it is ignored.
#[pyfunction]
#[pyo3(name = "reserve_signal")]
pub fn reserved_signal() -> i32 {
    reserve_signal().unwrap_or(0)
}

/// Sends the process of a producer a signal that it catches; returns why that was not possible, None when it was.
#[pyfunction]
#[pyo3(name = "ask_process")]
pub fn asked(py: Python<'_>, producer_dir: PathBuf, number: i32) -> Option<String> {
    let asked = py.detach(|| ask(&producer_dir, number));
    asked.err().map(|error| error.to_string())
}
