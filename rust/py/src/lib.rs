//! The extension module `training_monitor._core`: the door between Python and the Rust rooms, and nothing else.

mod cells;
mod column;
mod detect;
mod errors;
mod ingest;
mod json;
mod log;
mod producer;
mod query;
mod reader;
mod redact;
mod relay;
mod removal;
mod run_dir;
mod search;
mod statistics;

use pyo3::prelude::*;

/// The compiled core of training_monitor.
#[pymodule(gil_used = false)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("build_profile", env!("TM_BUILD_PROFILE"))?;
    module.add("sqlite_version", tm_core::store::sqlite_version())?;
    errors::add_to(module)?;
    log::add_to(module)?;
    module.add_function(wrap_pyfunction!(producer::open_producer, module)?)?;
    module.add_function(wrap_pyfunction!(producer::disable, module)?)?;
    module.add_function(wrap_pyfunction!(producer::append_alert, module)?)?;
    module.add_function(wrap_pyfunction!(producer::append_event, module)?)?;
    module.add_function(wrap_pyfunction!(producer::should_stop, module)?)?;
    module.add_function(wrap_pyfunction!(producer::stop_reason, module)?)?;
    module.add_function(wrap_pyfunction!(producer::close_producer, module)?)?;
    module.add_function(wrap_pyfunction!(producer::health, module)?)?;
    module.add_function(wrap_pyfunction!(producer::set_monitor_command, module)?)?;
    module.add_function(wrap_pyfunction!(producer::spawn_monitor, module)?)?;
    module.add_function(wrap_pyfunction!(producer::spawn_detached, module)?)?;
    module.add_function(wrap_pyfunction!(run_dir::claim_run, module)?)?;
    module.add_function(wrap_pyfunction!(run_dir::producers, module)?)?;
    module.add_function(wrap_pyfunction!(run_dir::find_database, module)?)?;
    module.add_function(wrap_pyfunction!(run_dir::file_system, module)?)?;
    module.add_function(wrap_pyfunction!(run_dir::reserved_signal, module)?)?;
    module.add_function(wrap_pyfunction!(run_dir::asked, module)?)?;
    module.add_class::<ingest::Ingest>()?;
    module.add_class::<relay::Relay>()?;
    module.add_class::<relay::Sink>()?;
    module.add_class::<reader::RunReader>()?;
    module.add_class::<column::Column>()?;
    module.add_class::<detect::Screen>()?;
    module.add_class::<detect::Follower>()?;
    module.add_class::<query::PointStream>()?;
    module.add_function(wrap_pyfunction!(query::query, module)?)?;
    module.add_function(wrap_pyfunction!(query::backup_database, module)?)?;
    module.add_function(wrap_pyfunction!(removal::is_run, module)?)?;
    module.add_function(wrap_pyfunction!(removal::belongings, module)?)?;
    module.add_function(wrap_pyfunction!(removal::remove_run, module)?)?;
    module.add_function(wrap_pyfunction!(removal::sweep_removed, module)?)?;
    module.add_class::<search::PathPatterns>()?;
    module.add_function(wrap_pyfunction!(search::search_files, module)?)?;
    module.add_function(wrap_pyfunction!(search::unified_diff, module)?)?;
    module.add_function(wrap_pyfunction!(search::redact_places, module)?)?;
    module.add_function(wrap_pyfunction!(json::to_json, module)?)?;
    module.add_function(wrap_pyfunction!(json::redact, module)?)?;
    module.add_function(wrap_pyfunction!(json::redactions, module)?)?;
    Ok(())
}
