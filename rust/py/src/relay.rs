//! `_core.Relay`: the relay of a node as its process drives it.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use tm_core::{Packed, RelayOptions, RelayReport};

use crate::errors;

/// Reads the lanes of a run on this node and makes the messages that bring them to the monitor on another one.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct Relay {
    /// Never held while Python code runs.
    relay: Mutex<tm_core::Relay>,
}

impl Relay {
    fn lock(&self) -> MutexGuard<'_, tm_core::Relay> {
        // One thread drives it; after a panic it is dropped with its process.
        self.relay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Relay {
    #[new]
    #[pyo3(signature = (run_dir, *, run, node_limit_bytes, by_name = false))]
    fn new(run_dir: PathBuf, run: String, node_limit_bytes: u64, by_name: bool) -> PyResult<Self> {
        let options = RelayOptions {
            run,
            node_limit_bytes,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            by_name,
        };
        let relay = tm_core::Relay::new(&run_dir, options)?;
        Ok(Self {
            relay: Mutex::new(relay),
        })
    }

    /// A connection was made: what is said from now on goes there.
    fn connected(&self, py: Python<'_>) {
        py.detach(|| self.lock().connected());
    }

    /// The connection is gone.
    fn disconnected(&self, py: Python<'_>) {
        py.detach(|| self.lock().disconnected());
    }

    /// Tells whether the connection has to be made anew.
    fn is_broken(&self) -> bool {
        self.lock().is_broken()
    }

    /// A message of the monitor came.
    fn receive(&self, py: Python<'_>, message: &[u8]) {
        py.detach(|| self.lock().receive(message));
    }

    /// Looks after the lanes; returns the bytes that were read.
    fn turn(&self, py: Python<'_>) -> u64 {
        py.detach(|| self.lock().turn())
    }

    /// Returns the next message to send; None when there is nothing to say.
    fn next_message<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let message = py.detach(|| self.lock().next_message());
        message.map(|message| joined(py, &message)).transpose()
    }

    /// Returns the message that says that we leave.
    fn bye<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.lock().bye())
    }

    /// Sends lines of the poller with what goes next.
    fn add_samples(&self, lines: &[u8]) {
        self.lock().add_samples(lines);
    }

    /// Returns what went wrong last, once; None when nothing has since the last call.
    fn take_trouble(&self) -> Option<String> {
        self.lock().take_trouble()
    }

    /// Tells how it goes.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = py.detach(|| self.lock().report());
        report_dict(py, report)
    }
}

fn joined<'py>(py: Python<'py>, message: &Packed) -> PyResult<Bound<'py, PyBytes>> {
    PyBytes::new_with(py, message.size_bytes(), |bytes| {
        let mut rest = bytes;
        for piece in message.pieces() {
            rest.write_all(piece)?;
        }
        Ok(())
    })
}

/// Stands where the monitor would and stores nothing: for measuring the way between nodes.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct Sink {
    /// Never held while Python code runs.
    sink: Mutex<tm_core::Sink>,
}

impl Sink {
    fn lock(&self) -> MutexGuard<'_, tm_core::Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Sink {
    #[new]
    fn new(run: &str) -> Self {
        Self {
            sink: Mutex::new(tm_core::Sink::new(run)),
        }
    }

    /// A message of a relay came by the connection of this name.
    fn receive(&self, py: Python<'_>, connection: &[u8], message: &[u8]) -> u64 {
        py.detach(|| self.lock().receive(connection, message))
    }

    /// Acknowledges what came, and returns the messages to send.
    fn answers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Addressed<'py>>> {
        let answers = py.detach(|| self.lock().answers());
        let answers = answers.map_err(|error| errors::store(py, error))?;
        Ok(addressed(py, answers))
    }

    /// Tells how many bytes of lanes came.
    fn taken_bytes(&self) -> u64 {
        self.lock().bytes()
    }
}

/// The name of a connection, and a message for it.
pub type Addressed<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub fn addressed(py: Python<'_>, answers: Vec<tm_core::Answer>) -> Vec<Addressed<'_>> {
    let bytes = |bytes: Vec<u8>| PyBytes::new(py, &bytes);
    let pairs = answers.into_iter();
    pairs.map(|(to, what)| (bytes(to), bytes(what))).collect()
}

fn report_dict(py: Python<'_>, report: RelayReport) -> PyResult<Bound<'_, PyDict>> {
    // Taken apart by name: a new field does not compile until somebody shows it.
    let RelayReport {
        run,
        connected,
        silent_s,
        producers,
        producers_alive,
        backlog_bytes,
        written_bytes,
        sent_bytes,
        clock_offset,
        refused,
    } = report;
    let facts = PyDict::new(py);
    facts.set_item("run", run)?;
    facts.set_item("connected", connected)?;
    facts.set_item("silent_s", silent_s)?;
    facts.set_item("producers", producers)?;
    facts.set_item("producers_alive", producers_alive)?;
    facts.set_item("backlog_bytes", backlog_bytes)?;
    facts.set_item("written_bytes", written_bytes)?;
    facts.set_item("sent_bytes", sent_bytes)?;
    let seconds = |ns: f64| ns / 1e9;
    facts.set_item(
        "clock_offset_s",
        clock_offset.map(|(offset, _)| seconds(offset as f64)),
    )?;
    facts.set_item(
        "clock_error_s",
        clock_offset.map(|(_, error)| seconds(error as f64)),
    )?;
    facts.set_item("refused", refused)?;
    Ok(facts)
}
