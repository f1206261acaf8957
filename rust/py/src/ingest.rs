//! `_core.Ingest`: the ingest thread as the monitor drives it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tm_core::stats::Alphas;
use tm_core::{IngestOptions, IngestStatus, RelayStatus};

use crate::errors;
use crate::relay::{Addressed, addressed};

/// Brings the lanes of a run into its database, on a thread of its own that never needs the interpreter.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct Ingest {
    /// Never held while Python code runs.
    state: Mutex<State>,
}

enum State {
    Running(tm_core::Ingest),
    /// How it ended.
    Finished(IngestStatus),
}

impl Ingest {
    fn with<T>(
        &self,
        running: impl FnOnce(&tm_core::Ingest) -> T,
        finished: impl FnOnce(&IngestStatus) -> T,
    ) -> T {
        // The state is whole whatever panicked: it is only ever replaced.
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Running(ingest) => running(ingest),
            State::Finished(status) => finished(status),
        }
    }
}

#[pymethods]
impl Ingest {
    #[new]
    #[pyo3(signature = (run_dir, *, node_limit_bytes = None, commit_interval_secs = None, idle_seal_secs = None, ema_alpha_short = None, ema_alpha_long = None, from_copy = false, recovery_max_age_secs = None))]
    #[allow(clippy::too_many_arguments)] // named at the only call, where the monitor has them at hand
    fn new(
        py: Python<'_>,
        run_dir: PathBuf,
        node_limit_bytes: Option<u64>,
        commit_interval_secs: Option<f64>,
        idle_seal_secs: Option<f64>,
        ema_alpha_short: Option<f64>,
        ema_alpha_long: Option<f64>,
        from_copy: bool,
        recovery_max_age_secs: Option<f64>,
    ) -> PyResult<Self> {
        let usual = IngestOptions::default();
        let secs = |given: Option<f64>, usual| {
            given.map_or(usual, |secs| {
                Duration::try_from_secs_f64(secs).unwrap_or(usual)
            })
        };
        let alpha = |given: Option<f64>, usual| {
            given
                .filter(|alpha| *alpha > 0.0 && *alpha <= 1.0)
                .unwrap_or(usual)
        };
        let options = IngestOptions {
            node_limit_bytes: node_limit_bytes.unwrap_or(usual.node_limit_bytes),
            commit_interval: secs(commit_interval_secs, usual.commit_interval),
            idle_seal: secs(idle_seal_secs, usual.idle_seal),
            alphas: Alphas {
                short: alpha(ema_alpha_short, usual.alphas.short),
                long: alpha(ema_alpha_long, usual.alphas.long),
            },
            stuck_after: stuck_after().unwrap_or(usual.stuck_after),
            from_copy,
            recovery_max_age: secs(recovery_max_age_secs, usual.recovery_max_age),
        };
        let started = py.detach(|| tm_core::Ingest::start(&run_dir, options));
        let ingest = started.map_err(|error| errors::store(py, error))?;
        Ok(Self {
            state: Mutex::new(State::Running(ingest)),
        })
    }

    /// Tells how it goes.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let status = py.detach(|| self.with(tm_core::Ingest::status, IngestStatus::clone));
        status_dict(py, status)
    }

    /// Returns the configs that became known since the last call, with their attempts.
    fn configs(&self, py: Python<'_>) -> Vec<(u32, String)> {
        py.detach(|| self.with(tm_core::Ingest::configs, |_| Vec::new()))
    }

    /// Stores lines of the poller with the next commit; returns whether all of them were such lines.
    fn add_system(&self, py: Python<'_>, lines: &[u8]) -> bool {
        py.detach(|| self.with(|ingest| ingest.add_system(lines).is_ok(), |_| true))
    }

    /// A message of a relay came by the connection of this name; returns the bytes of lanes in it.
    fn receive(&self, py: Python<'_>, connection: &[u8], message: &[u8]) -> u64 {
        py.detach(|| self.with(|ingest| ingest.receive(connection, message), |_| 0))
    }

    /// Returns the messages to send, each with the name of its connection.
    fn answers<'py>(&self, py: Python<'py>) -> Vec<Addressed<'py>> {
        let answers = py.detach(|| self.with(tm_core::Ingest::answers, |_| Vec::new()));
        addressed(py, answers)
    }

    /// Tells which relays are connected: host, seconds of silence, producers, bytes that wait there.
    fn relays(&self, py: Python<'_>) -> Vec<(String, f64, u32, u64)> {
        let relays = py.detach(|| self.with(tm_core::Ingest::relays, |_| Vec::new()));
        let row = |relay: RelayStatus| {
            let RelayStatus {
                host,
                silent_s,
                producers,
                backlog_bytes,
            } = relay;
            (host, silent_s, producers, backlog_bytes)
        };
        relays.into_iter().map(row).collect()
    }

    /// Tells what happened with relays since the last call, in words.
    fn relay_news(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.with(tm_core::Ingest::relay_news, |_| Vec::new()))
    }

    /// Asks the trainers of this run to stop.
    fn set_stop(&self, py: Python<'_>, reason: &str) {
        py.detach(|| self.with(|ingest| ingest.set_stop(reason), |_| ()));
    }

    /// Stores what the lanes hold now, closes the database, and tells how it ended.
    fn finish<'py>(&self, py: Python<'py>, timeout_s: f64) -> PyResult<Bound<'py, PyDict>> {
        let patience = Duration::try_from_secs_f64(timeout_s).unwrap_or(Duration::ZERO);
        let ended = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let last = match &*state {
                State::Running(ingest) => ingest.status(),
                State::Finished(status) => return Ok(status.clone()),
            };
            let State::Running(ingest) =
                std::mem::replace(&mut *state, State::Finished(last.clone()))
            else {
                return Ok(last);
            };
            let status = ingest.finish(patience)?;
            *state = State::Finished(status.clone());
            Ok(status)
        });
        status_dict(py, ended.map_err(|error| errors::store(py, error))?)
    }
}

/// `TM_STUCK_SECS` lets tests see a silence soon; it is no setting.
fn stuck_after() -> Option<Duration> {
    let text = std::env::var("TM_STUCK_SECS").ok()?;
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

fn status_dict(py: Python<'_>, status: IngestStatus) -> PyResult<Bound<'_, PyDict>> {
    // Taken apart by name: a new field does not compile until somebody shows it.
    let IngestStatus {
        producers_alive,
        producers,
        durable_points,
        points_per_s,
        lag_s,
        backlog_bytes,
        last_step,
        idle,
        last_error,
        attempts,
        stuck_ns,
        quarantined,
        set_aside,
        gaps,
        dropped_samples,
        ended,
    } = status;
    let facts = PyDict::new(py);
    facts.set_item("producers_alive", producers_alive)?;
    facts.set_item("producers", producers)?;
    facts.set_item("durable_points", durable_points)?;
    facts.set_item("points_per_s", points_per_s)?;
    facts.set_item("lag_s", lag_s)?;
    facts.set_item("backlog_bytes", backlog_bytes)?;
    facts.set_item("last_step", last_step)?;
    facts.set_item("idle", idle)?;
    facts.set_item("last_error", last_error)?;
    facts.set_item("attempts", attempts)?;
    facts.set_item("stuck_ns", stuck_ns)?;
    facts.set_item("quarantined", quarantined)?;
    facts.set_item("set_aside", set_aside)?;
    facts.set_item("gaps", gaps)?;
    facts.set_item("dropped_samples", dropped_samples)?;
    facts.set_item("ended", ended)?;
    Ok(facts)
}
