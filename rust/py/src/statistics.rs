//! Statistics and stretches of a run as plain dicts.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use tm_core::stats::{Stamp, Statistics};
use tm_core::store::{KeyStatistics, Stretch};

use crate::cells;

/// The quantiles that a summary shows.
const QUANTILES: [(&str, f64); 7] = [
    ("p1", 0.01),
    ("p5", 0.05),
    ("p25", 0.25),
    ("p50", 0.50),
    ("p75", 0.75),
    ("p95", 0.95),
    ("p99", 0.99),
];

/// The statistics of one metric, with its name.
pub fn key_dict<'py>(py: Python<'py>, key: &KeyStatistics) -> PyResult<Bound<'py, PyDict>> {
    let facts = statistics_dict(py, &key.statistics)?;
    facts.set_item("name", cells::text(py, &key.name)?)?;
    Ok(facts)
}

/// The statistics of a metric, or of one rank of it.
pub fn statistics_dict<'py>(
    py: Python<'py>,
    statistics: &Statistics,
) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    let step = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.step);
    let value = |stamp: Option<Stamp>| stamp.map(|stamp| stamp.value);
    facts.set_item("count", statistics.count)?;
    facts.set_item("non_finite", statistics.non_finite)?;
    facts.set_item("first_step", step(statistics.first))?;
    facts.set_item("first", value(statistics.first))?;
    facts.set_item("last_step", step(statistics.last))?;
    facts.set_item("last", value(statistics.last))?;
    facts.set_item("min", statistics.moments.min())?;
    facts.set_item("max", statistics.moments.max())?;
    facts.set_item("mean", statistics.moments.mean())?;
    facts.set_item("std", statistics.moments.variance().map(f64::sqrt))?;
    facts.set_item("ema_short", statistics.ema_short())?;
    facts.set_item("ema_long", statistics.ema_long())?;
    for (name, q) in QUANTILES {
        facts.set_item(name, statistics.quantile(q))?;
    }
    facts.set_item("quantile_error", statistics.sketch.relative_error())?;
    Ok(facts)
}

/// One stretch of a metric.
pub fn stretch_dict<'py>(py: Python<'py>, stretch: &Stretch) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("first_step", stretch.steps.0)?;
    facts.set_item("last_step", stretch.steps.1)?;
    facts.set_item("count", stretch.count)?;
    facts.set_item("non_finite", stretch.non_finite)?;
    facts.set_item("min", stretch.min)?;
    facts.set_item("max", stretch.max)?;
    facts.set_item("mean", stretch.mean)?;
    facts.set_item("first", stretch.first)?;
    facts.set_item("last", stretch.last)?;
    Ok(facts)
}
