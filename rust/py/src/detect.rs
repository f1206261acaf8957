//! `_core.Screen` and `_core.Follower`: the detectors of single series, and the points of a run as they come.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tm_core::store::{Following, News, Odd, Thinning};
use tm_core::{RunReader, StoreError};
use tm_detect::{DivergenceLimits, Event, Limits, Point, SlowdownLimits, SpikeLimits};

use crate::column::{Column, Numbers};
use crate::errors;

/// What, step, time, value, the step at which it began, reference, sigma, threshold.
type Noticed = (&'static str, i64, f64, f64, i64, f64, f64, f64);

/// The detectors of one series. NaN and infinities are always looked for; the others when they have bounds.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct Screen {
    /// Never held while Python code runs.
    screen: Mutex<tm_detect::Screen>,
}

#[pymethods]
impl Screen {
    /// Each argument holds the bounds of a detector, in the order of its fields; None: it does not look.
    #[new]
    #[pyo3(signature = (*, spike = None, divergence = None, slowdown = None))]
    fn new(
        spike: Option<(f64, f64, f64, f64, f64, f64)>,
        divergence: Option<(f64, f64, f64)>,
        slowdown: Option<(f64, f64, f64)>,
    ) -> Self {
        let limits = Limits {
            spike: spike.map(
                |(sigma, at_once, next, least, log_sigma, habit)| SpikeLimits {
                    sigma,
                    at_once,
                    next,
                    least,
                    log_sigma,
                    habit,
                },
            ),
            divergence: divergence.map(|(sigma, least, gained)| DivergenceLimits {
                sigma,
                least,
                gained,
            }),
            slowdown: slowdown.map(|(ratio, bound, lasts_secs)| SlowdownLimits {
                ratio,
                bound,
                lasts_secs,
            }),
        };
        Self {
            screen: Mutex::new(tm_detect::Screen::new(limits)),
        }
    }

    /// Looks at columns of one length: steps as i64, times and values as f64, in the order of the machine.
    fn feed(
        &self,
        py: Python<'_>,
        steps: &[u8],
        times: &[u8],
        values: &[u8],
    ) -> PyResult<Vec<Noticed>> {
        let (steps, times, values) = (words(steps)?, words(times)?, words(values)?);
        if steps.len() != times.len() || steps.len() != values.len() {
            return Err(PyValueError::new_err(format!(
                "{} steps, {} times and {} values: expected as many of each",
                steps.len(),
                times.len(),
                values.len()
            )));
        }
        let columns = steps.iter().zip(times).zip(values);
        let points = columns.map(|((step, time), value)| Point {
            step: i64::from_ne_bytes(*step),
            time: f64::from_ne_bytes(*time),
            value: f64::from_ne_bytes(*value),
        });
        Ok(py.detach(|| {
            let mut screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = Vec::new();
            points.for_each(|point| screen.push(point, |event| found.push(noticed(event))));
            found
        }))
    }
}

fn words(bytes: &[u8]) -> PyResult<&[[u8; 8]]> {
    let (words, rest) = bytes.as_chunks();
    if rest.is_empty() {
        Ok(words)
    } else {
        Err(PyValueError::new_err(format!(
            "{} bytes: expected a multiple of 8",
            bytes.len()
        )))
    }
}

fn noticed(event: Event) -> Noticed {
    let Point { step, time, value } = event.at;
    let (reference, sigma, threshold) = (event.reference, event.sigma, event.threshold);
    let what = event.what.name();
    (
        what,
        step,
        time,
        value,
        event.since,
        reference,
        sigma,
        threshold,
    )
}

/// Key, rank, attempt, steps, times and values.
type NewsRow = (u32, u32, u32, Column, Column, Column);
/// Key, rank, step, time and value.
type OddRow = (u32, u32, i64, f64, f64);

/// Gives what was stored in a run since the last call.
#[pyclass(module = "training_monitor._core", frozen)]
pub struct Follower {
    /// Never held while Python code runs.
    state: Mutex<(RunReader, Following)>,
}

#[pymethods]
impl Follower {
    /// `thinning`: with more points than the first number only the last ones, of the second number, and of those before
    /// them about the third number, evenly in time; None: all. What was logged since `since`, in seconds of the wall clock,
    /// is not thinned if it is no more than the first number.
    #[new]
    #[pyo3(signature = (path, *, thinning = None, since = None))]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        thinning: Option<(u64, u64, u64)>,
        since: Option<f64>,
    ) -> PyResult<Self> {
        let reader = py
            .detach(|| RunReader::open(&path))
            .map_err(|error| errors::store(py, error))?;
        let following = Following::new(thinning.map(|(all, last, thinned)| Thinning {
            all,
            last,
            since_ns: since.map(|secs| (secs * 1e9) as i64),
            thinned,
        }));
        Ok(Self {
            state: Mutex::new((reader, following)),
        })
    }

    /// Returns the numbers and names of keys that are new since the last call.
    fn new_keys(&self, py: Python<'_>) -> PyResult<Vec<(u32, String)>> {
        self.ask(py, |reader, following| {
            reader.refresh()?;
            reader.new_keys(following)
        })
    }

    /// Gives the points of this key from now on.
    fn want(&self, key: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.1.want(key);
    }

    /// The seconds between points of a past that is thinned, and when it ends; None: it is not, or nothing was asked yet.
    #[getter]
    fn thinned(&self) -> Option<(f64, f64)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let secs = |ns: i64| ns as f64 / 1e9;
        let (spacing, until) = state.1.thinned_ns()?;
        Some((secs(spacing), secs(until)))
    }

    /// Returns the new points of the wanted keys, what is not finite in others, and whether there is more at once.
    fn poll(&self, py: Python<'_>, most: usize) -> PyResult<(Vec<NewsRow>, Vec<OddRow>, bool)> {
        let followed = self.ask(py, |reader, following| reader.follow(following, most))?;
        let news = followed.news.into_iter().map(|news| {
            let News {
                key,
                rank,
                attempt,
                steps,
                times,
                values,
            } = news;
            let floats = |numbers| Column::new(Numbers::F64(numbers));
            let steps = Column::new(Numbers::I64(steps));
            (key, rank, attempt, steps, floats(times), floats(values))
        });
        let odd = followed
            .odd
            .into_iter()
            .map(|odd: Odd| (odd.key, odd.rank, odd.step, odd.time, odd.value));
        Ok((news.collect(), odd.collect(), followed.more))
    }
}

impl Follower {
    fn ask<T: Send>(
        &self,
        py: Python<'_>,
        question: impl FnOnce(&mut RunReader, &mut Following) -> Result<T, StoreError> + Send,
    ) -> PyResult<T> {
        let answer = py.detach(|| {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let (reader, following) = &mut *state;
            question(reader, following)
        });
        answer.map_err(|error| errors::store(py, error))
    }
}
