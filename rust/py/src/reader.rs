//! `_core.RunReader`: the read side, in columns and plain dicts.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict, PyString};
use tm_core::StoreError;
use tm_core::store::{
    AlertRow, AttemptRow, GapRow, MetricInfo, ProducerEntry, RankRow, Series, SeriesOptions,
    StepRow, SystemLatest, SystemQuery, Values,
};

use tm_spool::clock;

use crate::column::{Column, Numbers};
use crate::log::utf8;
use crate::{cells, errors, statistics};

type Rows<'py> = PyResult<Vec<Bound<'py, PyDict>>>;
/// Steps, times, values, ranks and attempts; the values are a list when not all of them are floats.
type Arrays<'py> = (Column, Column, Bound<'py, PyAny>, Column, Column);
/// The same as bytes.
pub type Columns<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyAny>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// A run, opened to be read: live, after a crash, or a copy.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct RunReader {
    /// One query at a time; never held while Python code runs.
    reader: Mutex<tm_core::RunReader>,
}

impl RunReader {
    /// Runs a query without the interpreter.
    fn read<T: Send>(
        &self,
        py: Python<'_>,
        query: impl FnOnce(&tm_core::RunReader) -> Result<T, StoreError> + Send,
    ) -> PyResult<T> {
        // A panic cannot leave a read-only connection half changed.
        let answer = py.detach(|| {
            let mut reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.refresh()?;
            query(&reader)
        });
        answer.map_err(|error| errors::store(py, error))
    }
}

#[pymethods]
impl RunReader {
    #[new]
    fn new(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let opened = py.detach(|| tm_core::RunReader::open(&path));
        Ok(Self {
            reader: Mutex::new(opened.map_err(|error| errors::store(py, error))?),
        })
    }

    /// Returns host, directory and age in seconds, when this is a copy of a live database elsewhere; else None.
    fn copy_of(&self, py: Python<'_>) -> PyResult<Option<(String, PathBuf, f64)>> {
        self.read(py, |reader| {
            Ok(reader.copy_of().map(|(pointer, made)| {
                let age = clock::wall_ns() as f64 / 1e9 - made;
                (pointer.host.clone(), pointer.dir.clone(), age.max(0.0))
            }))
        })
    }

    /// Lists the metrics by name.
    fn metrics<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let metrics = self.read(py, tm_core::RunReader::metrics)?;
        metrics
            .iter()
            .map(|metric| metric_dict(py, metric))
            .collect()
    }

    /// Returns steps, wall clock seconds, values, ranks and attempts of one metric, as columns.
    #[pyo3(signature = (key, *, since = None, rank = None, last = None, max_points = None, raw = false))]
    fn series<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyString>,
        since: Option<i64>,
        rank: Option<u32>,
        last: Option<usize>,
        max_points: Option<usize>,
        raw: bool,
    ) -> PyResult<Arrays<'py>> {
        let key = utf8(key)?;
        let options = SeriesOptions {
            since,
            rank,
            last,
            max_points,
            raw,
        };
        let series = self.read(py, |reader| reader.series(&key, &options))?;
        series_arrays(py, series)
    }

    /// Lists the statistics of all metrics that have values other than text.
    fn summary<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let summary = self.read(py, tm_core::RunReader::summary)?;
        let dict = |key| statistics::key_dict(py, key);
        summary.iter().map(dict).collect()
    }

    /// Returns the statistics of one metric; those of each rank are under "ranks".
    fn statistics<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let key = utf8(key)?;
        let found = self.read(py, |reader| reader.statistics(&key))?;
        let facts = statistics::key_dict(py, &found)?;
        let ranks = PyDict::new(py);
        for (rank, of_rank) in &found.ranks {
            ranks.set_item(rank, statistics::statistics_dict(py, of_rank)?)?;
        }
        facts.set_item("ranks", ranks)?;
        Ok(facts)
    }

    /// Returns a metric in at most `buckets` stretches of about equally many points.
    #[pyo3(signature = (key, buckets, *, since = None, rank = None))]
    fn zoom<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyString>,
        buckets: usize,
        since: Option<i64>,
        rank: Option<u32>,
    ) -> Rows<'py> {
        let key = utf8(key)?;
        let options = SeriesOptions {
            since,
            rank,
            ..SeriesOptions::default()
        };
        let stretches = self.read(py, |reader| reader.zoom(&key, buckets, &options))?;
        let dict = |stretch| statistics::stretch_dict(py, stretch);
        stretches.iter().map(dict).collect()
    }

    /// Returns the last steps, oldest first, with all their metrics.
    fn steps<'py>(&self, py: Python<'py>, last: usize) -> Rows<'py> {
        let steps = self.read(py, |reader| reader.steps(last))?;
        steps.iter().map(|step| step_dict(py, step)).collect()
    }

    /// Lists the launches of this run.
    fn attempts<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let attempts = self.read(py, tm_core::RunReader::attempts)?;
        attempts
            .iter()
            .map(|attempt| attempt_dict(py, attempt))
            .collect()
    }

    /// Lists the processes that logged.
    fn producers<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let producers = self.read(py, tm_core::RunReader::producers)?;
        producers
            .iter()
            .map(|producer| producer_dict(py, producer))
            .collect()
    }

    /// Lists the ranks of the newest attempt.
    fn ranks<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let ranks = self.read(py, tm_core::RunReader::ranks)?;
        ranks.iter().map(|rank| rank_dict(py, rank)).collect()
    }

    /// Lists the alerts.
    fn alerts<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let alerts = self.read(py, tm_core::RunReader::alerts)?;
        alerts.iter().map(|alert| alert_dict(py, alert)).collect()
    }

    /// Lists what is missing, and why.
    fn gaps<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let gaps = self.read(py, tm_core::RunReader::gaps)?;
        gaps.iter().map(|gap| gap_dict(py, gap)).collect()
    }

    /// Returns the last texts of one metric, oldest first.
    fn texts<'py>(&self, py: Python<'py>, key: &Bound<'py, PyString>, last: usize) -> Rows<'py> {
        let key = utf8(key)?;
        let texts = self.read(py, |reader| reader.texts(&key, last))?;
        let row = |row: &tm_core::store::TextRow| {
            let facts = PyDict::new(py);
            facts.set_item("step", row.step)?;
            facts.set_item("rank", row.rank)?;
            facts.set_item("attempt", row.attempt)?;
            facts.set_item("time", row.time)?;
            facts.set_item("value", cells::text(py, &row.value)?)?;
            Ok(facts)
        };
        texts.iter().map(row).collect()
    }

    /// Lists the series of the machine with their newest values.
    fn system_latest<'py>(&self, py: Python<'py>) -> Rows<'py> {
        let latest = self.read(py, tm_core::RunReader::system_latest)?;
        latest
            .iter()
            .map(|series| latest_dict(py, series))
            .collect()
    }

    /// Returns wall clock seconds, values, and the least and greatest value behind each, of one series.
    #[pyo3(signature = (host, source, metric, *, since = None, max_points = None))]
    fn system<'py>(
        &self,
        py: Python<'py>,
        host: String,
        source: String,
        metric: String,
        since: Option<f64>,
        max_points: Option<usize>,
    ) -> PyResult<[Bound<'py, PyBytes>; 4]> {
        let query = SystemQuery {
            host,
            source,
            metric,
            since,
            max_points,
        };
        let points = self.read(py, |reader| reader.system(&query))?;
        let floats = |values: &[f64]| column(py, values.iter().map(|value| value.to_le_bytes()));
        Ok([
            floats(&points.time)?,
            floats(&points.value)?,
            floats(&points.low)?,
            floats(&points.high)?,
        ])
    }

    /// Lists what was found out: wall clock seconds and JSON.
    fn findings(&self, py: Python<'_>) -> PyResult<Vec<(f64, String)>> {
        Ok(timed(self.read(py, tm_core::RunReader::findings)?))
    }

    /// Lists what happened of a kind: wall clock seconds and JSON.
    fn events(&self, py: Python<'_>, kind: &str) -> PyResult<Vec<(f64, String)>> {
        Ok(timed(self.read(py, |reader| reader.events(kind))?))
    }

    /// Lists where processes were in their code when they were asked: wall clock seconds and JSON.
    fn stacks(&self, py: Python<'_>) -> PyResult<Vec<(f64, String)>> {
        Ok(timed(self.read(py, tm_core::RunReader::stacks)?))
    }

    /// Returns the config of the last attempt that has one, as JSON.
    fn config(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.read(py, tm_core::RunReader::config)
    }

    /// Tells how much there is.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (counts, last, rejected) = self.read(py, |reader| {
            Ok((reader.counts()?, reader.steps(1)?, reader.rejected()?))
        })?;
        let facts = PyDict::new(py);
        facts.set_item("rejected_by", rejected.into_py_dict(py)?)?;
        facts.set_item("points", counts.points)?;
        facts.set_item("frames", counts.frames)?;
        facts.set_item("metrics", counts.keys)?;
        facts.set_item("attempts", counts.attempts)?;
        facts.set_item("producers", counts.producers)?;
        facts.set_item("gaps", counts.gaps)?;
        facts.set_item("alerts", counts.alerts)?;
        facts.set_item("texts", counts.texts)?;
        facts.set_item("groups", counts.groups)?;
        facts.set_item("fresh", counts.fresh)?;
        facts.set_item("last_step", last.iter().map(|row| row.step).max())?;
        facts.set_item(
            "last_time",
            last.iter().map(|row| row.time).reduce(f64::max),
        )?;
        Ok(facts)
    }
}

fn series_arrays(py: Python<'_>, series: Series) -> PyResult<Arrays<'_>> {
    let value = match series.value {
        Values::F64(floats) => Bound::new(py, Column::new(Numbers::F64(floats)))?.into_any(),
        Values::Mixed(values) => cells::values(py, &values)?.into_any(),
    };
    Ok((
        Column::new(Numbers::I64(series.step)),
        Column::new(Numbers::F64(series.time)),
        value,
        Column::new(Numbers::U32(series.rank)),
        Column::new(Numbers::U32(series.attempt)),
    ))
}

/// The columns of a series as bytes; the values are bytes when all of them are floats.
pub fn series_columns<'py>(py: Python<'py>, series: &Series) -> PyResult<Columns<'py>> {
    let value = match &series.value {
        Values::F64(floats) => {
            column(py, floats.iter().map(|value| value.to_le_bytes()))?.into_any()
        }
        Values::Mixed(values) => cells::values(py, values)?.into_any(),
    };
    Ok((
        column(py, series.step.iter().map(|step| step.to_le_bytes()))?,
        column(py, series.time.iter().map(|time| time.to_le_bytes()))?,
        value,
        column(py, series.rank.iter().map(|rank| rank.to_le_bytes()))?,
        column(
            py,
            series.attempt.iter().map(|attempt| attempt.to_le_bytes()),
        )?,
    ))
}

/// A column as bytes that numpy takes as they are.
fn column<const N: usize>(
    py: Python<'_>,
    values: impl ExactSizeIterator<Item = [u8; N]>,
) -> PyResult<Bound<'_, PyBytes>> {
    PyBytes::new_with(py, values.len() * N, |bytes| {
        for (place, value) in bytes.chunks_exact_mut(N).zip(values) {
            place.copy_from_slice(&value);
        }
        Ok(())
    })
}

fn metric_dict<'py>(py: Python<'py>, metric: &MetricInfo) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("name", cells::text(py, &metric.name)?)?;
    facts.set_item("kind", cells::kind(metric.kind))?;
    facts.set_item("count", metric.count)?;
    facts.set_item("last_step", metric.last_step)?;
    facts.set_item("last_time", metric.last_time)?;
    facts.set_item("last_value", cells::value(py, &metric.last_value)?)?;
    facts.set_item("first_step", metric.first_step)?;
    facts.set_item("min", metric.min)?;
    facts.set_item("max", metric.max)?;
    Ok(facts)
}

fn step_dict<'py>(py: Python<'py>, row: &StepRow) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("step", row.step)?;
    facts.set_item("rank", row.rank)?;
    facts.set_item("attempt", row.attempt)?;
    facts.set_item("time", row.time)?;
    let metrics = PyDict::new(py);
    for (name, cell) in &row.metrics {
        metrics.set_item(cells::text(py, name)?, cells::value(py, cell)?)?;
    }
    facts.set_item("metrics", metrics)?;
    Ok(facts)
}

fn attempt_dict<'py>(py: Python<'py>, row: &AttemptRow) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("id", row.number)?;
    facts.set_item("job_key", &row.job_key)?;
    facts.set_item("started", row.started)?;
    facts.set_item("ended", row.ended)?;
    facts.set_item("producers", row.producers)?;
    facts.set_item("points", row.points)?;
    facts.set_item("config", row.config.as_deref())?;
    Ok(facts)
}

fn producer_dict<'py>(py: Python<'py>, row: &ProducerEntry) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("id", &row.uuid)?;
    facts.set_item("attempt", row.attempt)?;
    facts.set_item("parent", row.parent.as_deref())?;
    facts.set_item("rank", row.rank)?;
    facts.set_item("local_rank", row.local_rank)?;
    facts.set_item("world", row.world)?;
    facts.set_item("host", &row.host)?;
    facts.set_item("pid", row.pid)?;
    facts.set_item("mode", &row.mode)?;
    facts.set_item("started", row.started)?;
    facts.set_item("ended", row.ended)?;
    facts.set_item("ended_how", row.ended_how.as_deref())?;
    facts.set_item("frames", row.frames)?;
    facts.set_item("points", row.points)?;
    facts.set_item("accepted_points", row.accepted_points)?;
    facts.set_item("rejected", row.rejected.as_deref())?;
    Ok(facts)
}

fn rank_dict<'py>(py: Python<'py>, row: &RankRow) -> PyResult<Bound<'py, PyDict>> {
    let facts = producer_dict(py, &row.process)?;
    facts.set_item("processes", row.processes)?;
    facts.set_item("points", row.points)?;
    facts.set_item("last_step", row.last_step)?;
    facts.set_item("last_time", row.last_time)?;
    facts.set_item("step_secs", row.step_secs)?;
    facts.set_item("lag_secs", row.lag_secs)?;
    facts.set_item("longest_secs", row.longest_secs)?;
    facts.set_item("exit", row.exit.as_deref())?;
    facts.set_item("exception", row.exception.as_deref())?;
    Ok(facts)
}

fn alert_dict<'py>(py: Python<'py>, row: &AlertRow) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("id", row.id)?;
    facts.set_item("attempt", row.attempt)?;
    facts.set_item("rank", row.rank)?;
    facts.set_item("step", row.step)?;
    facts.set_item("time", row.time)?;
    facts.set_item("level", &row.level)?;
    facts.set_item("title", &row.title)?;
    facts.set_item("text", &row.text)?;
    facts.set_item("wait_duration", row.wait_duration_secs)?;
    Ok(facts)
}

fn latest_dict<'py>(py: Python<'py>, row: &SystemLatest) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("host", &row.host)?;
    facts.set_item("source", &row.source)?;
    facts.set_item("metric", &row.metric)?;
    facts.set_item("facts", row.facts.as_deref())?;
    facts.set_item("time", row.time)?;
    facts.set_item("value", row.value)?;
    Ok(facts)
}

fn gap_dict<'py>(py: Python<'py>, row: &GapRow) -> PyResult<Bound<'py, PyDict>> {
    let facts = PyDict::new(py);
    facts.set_item("producer", row.producer.as_deref())?;
    facts.set_item("lane", row.lane)?;
    facts.set_item("first_lsn", row.lsn.map(|(first, _)| first))?;
    facts.set_item("last_lsn", row.lsn.map(|(_, last)| last))?;
    facts.set_item("frames_lost", row.frames_lost)?;
    facts.set_item("reason", &row.reason)?;
    facts.set_item("noticed", row.noticed)?;
    facts.set_item("detail", row.detail.as_deref())?;
    Ok(facts)
}

fn timed(rows: Vec<tm_core::store::EventRow>) -> Vec<(f64, String)> {
    rows.into_iter().map(|row| (row.time, row.detail)).collect()
}
