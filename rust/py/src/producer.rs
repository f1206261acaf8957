//! The write side but `log()`: open, alert, stop, health, close, and starting the monitor.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tm_spool::{
    Flags, Kind, LANE_BYTES, Mode, ProducerOptions, ProducerStats, Reject, Step, filesystem,
};

use crate::errors;
use crate::log::active::{self, Active, DeviceTensors, Idle, Policy};
use crate::log::spawn::Command;
use crate::log::{respawn, slow};

/// A monitor whose heartbeat is older is taken for dead.
const ALIVE_NS: i64 = 5_000_000_000;
/// How long Ctrl-C waits in close().
const CTRL_C_EVERY: Duration = Duration::from_millis(50);

/// Makes the producer of this process, in the place of one that was closed. Returns what the file system of its lanes
/// is called when that makes every call a system call; else None.
#[pyfunction]
#[pyo3(signature = (*, run_dir, job_key, rank, local_rank, world, local_world, strict, device_tensors,
    node_limit_bytes, config_json))]
#[allow(clippy::too_many_arguments)] // named at the only call, where init() has them at hand
pub fn open_producer(
    py: Python<'_>,
    run_dir: PathBuf,
    job_key: String,
    rank: u32,
    local_rank: u32,
    world: u32,
    local_world: u32,
    strict: bool,
    device_tensors: &str,
    node_limit_bytes: u64,
    config_json: &str,
) -> PyResult<Option<&'static str>> {
    let options = ProducerOptions {
        run_dir,
        job_key,
        rank,
        local_rank,
        world,
        local_world,
        node_limit_bytes,
        parent: None,
        lane_bytes: lane_bytes(),
        force_mode: None,
    };
    let policy = Policy {
        strict,
        device_tensors: device_tensors_of(device_tensors)?,
    };
    let before = active::end(Idle::Closed);
    let opened = py.detach(|| {
        if let Some(before) = before
            .as_deref()
            .filter(|before| !before.producer.in_forked_child())
        {
            before.producer.close(Duration::ZERO);
        }
        let active = active::open(options, policy)?;
        active.say_config(tagged("type", "config", config_json));
        let producer = &active.producer;
        Ok((producer.mode() == Mode::Pwrite).then(|| filesystem(producer.dir()).name))
    });
    before
        .into_iter()
        .for_each(|before| active::retire(py, before));
    opened.map_err(|error| errors::create(py, error))
}

fn device_tensors_of(text: &str) -> PyResult<DeviceTensors> {
    match text {
        "sync" => Ok(DeviceTensors::Sync),
        "reject" => Ok(DeviceTensors::Reject),
        other => {
            let text =
                format!("device_tensors={other:?} is not valid: expected \"sync\" or \"reject\"");
            Err(pyo3::exceptions::PyValueError::new_err(text))
        }
    }
}

/// `TM_LANE_BYTES` lets tests wrap the ring quickly; it is no setting.
fn lane_bytes() -> u64 {
    let asked = std::env::var("TM_LANE_BYTES")
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    asked.map_or(LANE_BYTES, |bytes| {
        bytes.clamp(64 << 10, 1 << 30).next_power_of_two()
    })
}

/// The JSON object with one field more in front.
fn tagged(field: &str, value: &str, json: &str) -> Vec<u8> {
    let value = crate::json::quoted(value);
    let rest = json.trim().strip_prefix('{').map_or("}", str::trim_start);
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{\"{field}\":{value}{comma}{rest}").into_bytes()
}

/// Ends recording for good in this process until the next open_producer(); log() is a cheap no-op.
#[pyfunction]
pub fn disable() {
    active::end(Idle::Disabled);
}

/// Records an alert: a JSON object with title, text, level and wait_duration.
#[pyfunction]
pub fn append_alert(py: Python<'_>, json: &str) -> PyResult<()> {
    append_blob(py, Kind::Alert, json.as_bytes())
}

/// Records an event: a JSON object with its kind, and what belongs to it.
#[pyfunction]
pub fn append_event(py: Python<'_>, json: &str) -> PyResult<()> {
    // A forked child that has not logged does not begin to.
    match active::own() {
        Some(_) => append_blob(py, Kind::Event, json.as_bytes()),
        None => Ok(()),
    }
}

fn append_blob(py: Python<'_>, kind: Kind, bytes: &[u8]) -> PyResult<()> {
    let Some(active) = active::here() else {
        return Ok(());
    };
    let step = Step(active.producer.last_step());
    match py.detach(|| active.producer.append_blob(kind, Flags(0), step, bytes)) {
        Ok(_) => Ok(()),
        Err(why) => slow::unwritten(py, &active, why),
    }
}

/// Whether somebody asked this run to stop.
#[pyfunction]
pub fn should_stop() -> bool {
    active::own().is_some_and(|active| active.producer.should_stop())
}

/// Why the run should stop; None as long as it should not.
#[pyfunction]
pub fn stop_reason() -> Option<String> {
    active::own().and_then(|active| active.producer.stop_reason())
}

/// Ends recording and waits at most this long until all of it is in the database.
#[pyfunction]
pub fn close_producer(py: Python<'_>, timeout_s: f64) -> PyResult<Bound<'_, PyDict>> {
    let patience = Duration::try_from_secs_f64(timeout_s).unwrap_or(Duration::ZERO);
    let ours = active::end(Idle::Closed).filter(|ended| !ended.producer.in_forked_child());
    let (durable, points_left) = match ours {
        None => (true, 0),
        Some(ended) => {
            py.detach(|| respawn::before_close(&ended));
            let outcome = close_interruptibly(py, &ended, patience);
            active::retire(py, ended);
            let outcome = outcome?;
            (outcome.durable, outcome.points_left)
        }
    };
    let result = PyDict::new(py);
    result.set_item("durable", durable)?;
    result.set_item("points_left", points_left)?;
    Ok(result)
}

/// Closes the producer; Ctrl-C ends the waiting, and it is closed all the same.
fn close_interruptibly(
    py: Python<'_>,
    ended: &Active,
    patience: Duration,
) -> PyResult<tm_spool::CloseOutcome> {
    let mut interrupted = Ok(());
    let mut look_at = Instant::now() + CTRL_C_EVERY;
    let outcome = py.detach(|| {
        ended.producer.close_while(patience, || {
            if Instant::now() >= look_at {
                look_at = Instant::now() + CTRL_C_EVERY;
                // It may have been killed a moment ago, and whoever watched it too.
                respawn::before_close(ended);
                interrupted = Python::attach(|py| py.check_signals());
            }
            interrupted.is_ok()
        })
    });
    interrupted.map(|()| outcome)
}

/// Counters of this process: what was taken, what was not and why, and how long log() takes.
#[pyfunction]
pub fn health(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let last = active::facts().unwrap_or_default();
    let stats = last.stats;
    let facts = PyDict::new(py);
    facts.set_item("accepted", stats.accepted_points)?;
    facts.set_item("accepted_frames", stats.accepted_frames)?;
    let rejected_by = rejections(py, &stats)?;
    facts.set_item(
        "rejected",
        rejected_by
            .values()
            .iter()
            .try_fold(0u64, |sum, n| n.extract().map(|n: u64| sum + n))?,
    )?;
    facts.set_item("rejected_by", rejected_by)?;
    facts.set_item("durable", stats.durable_points)?;
    facts.set_item("backlog_bytes", stats.backlog_bytes)?;
    facts.set_item(
        "monitor_alive",
        last.heartbeat_age_ns.is_some_and(|age| age < ALIVE_NS),
    )?;
    let sampled = stats.log_ns.samples > 0;
    facts.set_item("log_p50_ns", sampled.then_some(stats.log_ns.p50))?;
    facts.set_item("log_p99_ns", sampled.then_some(stats.log_ns.p99))?;
    facts.set_item("sampled", "1/64")?;
    facts.set_item("mode", mode_word())?;
    let own = active::own();
    let dir = own.as_ref().map(|active| active.producer.dir().as_os_str());
    facts.set_item("dir", dir)?;
    facts.set_item("device_syncs", last.device_syncs)?;
    Ok(facts)
}

fn rejections<'py>(py: Python<'py>, stats: &ProducerStats) -> PyResult<Bound<'py, PyDict>> {
    let by = PyDict::new(py);
    for (why, &count) in Reject::ALL.iter().zip(&stats.rejected) {
        let homeless = if *why == Reject::NoProducer {
            active::homeless()
        } else {
            0
        };
        if count + homeless > 0 {
            by.set_item(why.name(), count + homeless)?;
        }
    }
    Ok(by)
}

fn mode_word() -> &'static str {
    match active::own().map(|active| active.producer.mode()) {
        Some(Mode::Mmap) => "mmap",
        Some(Mode::Pwrite) => "pwrite",
        None if active::idle() == Idle::Disabled => "disabled",
        None => "closed",
    }
}

/// Remembers how the monitor of this run is started; log() brings it back when nobody else does.
#[pyfunction]
pub fn set_monitor_command(
    argv: Vec<OsString>,
    env: std::collections::HashMap<OsString, OsString>,
    log_path: PathBuf,
    lock_dir: PathBuf,
) -> PyResult<()> {
    if argv.is_empty() {
        respawn::forget();
        return Ok(());
    }
    let environment: Vec<_> = env.into_iter().collect();
    respawn::set(Command::new(&argv, &environment, &log_path)?, &lock_dir);
    Ok(())
}

/// Starts the monitor in a session of its own and returns its process id; 0 when there is no command for it.
#[pyfunction]
pub fn spawn_monitor(py: Python<'_>) -> PyResult<u32> {
    Ok(py.detach(respawn::start)?)
}

/// Starts a command in a session of its own, with nothing of ours open, and returns its process id.
#[pyfunction]
pub fn spawn_detached(
    py: Python<'_>,
    argv: Vec<OsString>,
    env: std::collections::HashMap<OsString, OsString>,
    log_path: PathBuf,
) -> PyResult<u32> {
    let environment: Vec<_> = env.into_iter().collect();
    let command = Command::new(&argv, &environment, &log_path)?;
    Ok(py.detach(|| command.spawn())?)
}
