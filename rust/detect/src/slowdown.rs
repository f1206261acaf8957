//! Steps that take longer than they did.
//!
//! A CUSUM (Page, 1954) on the logarithm of the time of a step finds a change, and the median of the last nine steps
//! has to confirm it (as FALCON verifies its change points, arXiv 2410.12588). Single long steps, which are evaluations
//! and checkpoints, count little: they are capped, and the medians do not see them.

use crate::event::{Event, Point, What};
use crate::window::Window;

/// The bounds of [`Slowdown`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowdownLimits {
    /// How many times longer the steps have to be at least.
    pub ratio: f64,
    /// The bound of the CUSUM.
    pub bound: f64,
}

impl Default for SlowdownLimits {
    fn default() -> Self {
        Self {
            ratio: 1.1,
            bound: 8.0,
        }
    }
}

const LEVEL: usize = 9;
/// Compilation, caches that are cold: these are no steps as the others.
const SKIPPED: usize = 5;
const BASE: usize = 30;
const SLACK: f64 = 0.5;
const CAP: f64 = 4.0;
const MAD: f64 = 1.4826;
/// How fast the expectation follows steps that are in order.
const FOLLOW: f64 = 0.01;
/// What was told is told again when it is so many times worse, as a logarithm.
const WORSE: f64 = 2.0;
/// Steps that differ by less are alike, however steady they are: timers and schedulers do that.
const LEAST_NOISE: f64 = 0.02;

/// Finds steps that became slower; a rate is to be given as its inverse.
#[derive(Debug, Clone)]
pub struct Slowdown {
    limits: SlowdownLimits,
    base: Window,
    errors: Window,
    level: Window,
    seen: usize,
    /// The logarithm of what a step takes. `None`: not known yet.
    expected: Option<f64>,
    sum: f64,
    since: i64,
    /// The logarithm of what a step took when that was told. `None`: they are not slow.
    told: Option<f64>,
    /// Points in a row that were in order again.
    calm: u32,
}

impl Slowdown {
    /// A detector with these bounds.
    #[must_use]
    pub fn new(limits: SlowdownLimits) -> Self {
        Self {
            limits,
            base: Window::new(BASE),
            errors: Window::new(3 * BASE),
            level: Window::new(LEVEL),
            seen: 0,
            expected: None,
            sum: 0.0,
            since: 0,
            told: None,
            calm: 0,
        }
    }

    /// Look at the time that a step took: a finite number above zero, in any unit.
    pub fn push(&mut self, point: Point) -> Option<Event> {
        if point.value <= 0.0 {
            return None;
        }
        let log = point.value.ln();
        self.seen += 1;
        if self.seen <= SKIPPED {
            return None;
        }
        self.level.push(log);
        let Some(expected) = self.expected else {
            self.base.push(log);
            if self.base.len() == BASE {
                self.expected = self.base.median();
                let middle = self.expected.unwrap_or(log);
                for known in self.base.values() {
                    self.errors.push((known - middle).abs());
                }
            }
            return None;
        };
        let noise = (MAD * self.errors.median().unwrap_or(0.0)).max(LEAST_NOISE);
        let sigma = (log - expected) / noise;
        if let Some(told) = self.told {
            return self.wait_for_end(point, told, expected, noise);
        }
        self.count(point.step, sigma);
        self.follow(log, expected, noise);
        let level = self.level.median()?;
        let is_slow = level - expected >= self.limits.ratio.ln();
        if self.sum > self.limits.bound && is_slow {
            return Some(self.tell(point, level, expected, noise));
        }
        None
    }

    fn count(&mut self, step: i64, sigma: f64) {
        if self.sum == 0.0 {
            self.since = step;
        }
        self.sum = (self.sum + sigma.clamp(-CAP, CAP) - SLACK).max(0.0);
    }

    fn tell(&mut self, point: Point, level: f64, before: f64, noise: f64) -> Event {
        let event = self.event(What::Slowdown, point, level, before, noise);
        (self.told, self.calm, self.sum) = (Some(level), 0, 0.0);
        event
    }

    /// What is expected follows slowly what is in order, and what became faster at once.
    fn follow(&mut self, log: f64, expected: f64, noise: f64) {
        let error = log - expected;
        if error.abs() < 3.0 * noise {
            self.expected = Some(expected + FOLLOW * error);
            self.errors.push(error.abs());
        } else if let Some(level) = self
            .level
            .median()
            .filter(|level| level - expected < -3.0 * noise)
        {
            self.expected = Some(level);
            self.sum = 0.0;
        }
    }

    /// Slow steps may be over, or become slower yet: then what was told is what they are held against.
    fn wait_for_end(
        &mut self,
        point: Point,
        told: f64,
        expected: f64,
        noise: f64,
    ) -> Option<Event> {
        let level = self.level.median()?;
        let is_back = level - expected < self.limits.ratio.ln() / 2.0;
        self.calm = if is_back { self.calm + 1 } else { 0 };
        if self.calm < LEVEL as u32 {
            let error = point.value.ln() - told;
            self.count(point.step, error / noise);
            if error.abs() < 3.0 * noise {
                // Steps that grow longer little by little, as answers do, are told already.
                self.told = Some(told + FOLLOW * error);
            }
            let is_slower = level - expected >= WORSE * (told - expected)
                && level - told >= self.limits.ratio.ln();
            return (self.sum > self.limits.bound && is_slower)
                .then(|| self.tell(point, level, told, noise));
        }
        (self.told, self.sum) = (None, 0.0);
        Some(self.event(What::UpToSpeed, point, level, expected, noise))
    }

    fn event(&self, what: What, point: Point, level: f64, expected: f64, noise: f64) -> Event {
        Event {
            what,
            at: Point {
                value: level.exp(),
                ..point
            },
            since: self.since,
            reference: expected.exp(),
            sigma: (level - expected) / noise,
            threshold: self.limits.ratio,
        }
    }

    /// Forget what was: another attempt, on other machines perhaps.
    pub fn restart(&mut self) {
        *self = Self::new(self.limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(times: impl IntoIterator<Item = f64>) -> Vec<(What, i64, f64)> {
        let mut detector = Slowdown::new(SlowdownLimits::default());
        (0..)
            .zip(times)
            .filter_map(|(step, value)| {
                detector.push(Point {
                    step,
                    time: 0.0,
                    value,
                })
            })
            .map(|event| (event.what, event.at.step, event.reference))
            .collect()
    }

    /// Times that wobble by two per cent.
    fn times(count: usize, usual: f64) -> impl Iterator<Item = f64> {
        (0..count).map(move |at| usual * [0.98, 1.0, 1.02, 1.01, 0.99][at % 5])
    }

    #[test]
    fn steps_that_become_slower_yet_are_told_again_against_what_was_told() {
        let found = told(
            times(100, 1.0)
                .chain(times(200, 1.3))
                .chain(times(100, 2.6)),
        );
        let [
            (What::Slowdown, first, before),
            (What::Slowdown, second, then),
        ] = found[..]
        else {
            panic!("{found:?}");
        };
        assert!(
            (100..125).contains(&first) && (0.97..1.03).contains(&before),
            "{found:?}"
        );
        assert!(
            (300..325).contains(&second) && (1.2..1.35).contains(&then),
            "{found:?}"
        );
    }

    #[test]
    fn slow_steps_that_stay_as_slow_are_told_once_and_their_end_once() {
        let found = told(
            times(100, 1.0)
                .chain(times(2000, 1.4))
                .chain(times(100, 1.0)),
        );
        let kinds: Vec<What> = found.iter().map(|one| one.0).collect();
        assert_eq!(kinds, [What::Slowdown, What::UpToSpeed], "{found:?}");
    }

    #[test]
    fn steps_that_grow_longer_little_by_little_are_told_a_few_times_at_most() {
        let growing = times(900, 1.0)
            .enumerate()
            .map(|(at, time)| time * (1.0 + at as f64 / 300.0));
        let found = told(growing);
        assert!((1..=4).contains(&found.len()), "{found:?}");
    }
}
