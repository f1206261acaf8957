//! Steps that take longer than they did.
//!
//! A CUSUM (Page, 1954) on the logarithm of the time of a step finds a change, and the median of the last nine steps
//! has to confirm it (as FALCON verifies its change points, arXiv 2410.12588). Single long steps, which are evaluations
//! and checkpoints, count little: they are capped, and the medians do not see them.
//!
//! What became faster has to last before anything is slow against it: behind a stall prefetched batches go quickly for a
//! while. And what held for most of the run stays the usual: to go back to it is no slowdown.

use crate::event::{Event, Point, What};
use crate::window::Window;

/// The bounds of [`Slowdown`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowdownLimits {
    /// How many times longer the steps have to be at least.
    pub ratio: f64,
    /// The bound of the CUSUM.
    pub bound: f64,
    /// So many seconds faster steps have to last before slow ones are held against them.
    pub lasts_secs: f64,
}

impl Default for SlowdownLimits {
    fn default() -> Self {
        Self {
            ratio: 1.1,
            bound: 8.0,
            lasts_secs: 3.0,
        }
    }
}

/// How long steps took for a part of the run.
#[derive(Debug, Clone, Copy)]
struct Held {
    /// The logarithm of it.
    log: f64,
    points: u64,
}

/// Since when steps are faster than expected.
#[derive(Debug, Clone, Copy)]
struct Faster {
    time: f64,
    points: usize,
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
    /// So many points that was expected.
    held: u64,
    /// `None`: steps are not faster now.
    faster: Option<Faster>,
    /// What steps took for more points than what is expected has held. `None`: that is what is expected.
    usual: Option<Held>,
    sum: f64,
    since: i64,
    /// The logarithm of what a step took when that was told. `None`: they are not slow.
    told: Option<f64>,
    /// So many points have come since.
    slow: u64,
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
            held: 0,
            faster: None,
            usual: None,
            sum: 0.0,
            since: 0,
            told: None,
            slow: 0,
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
            self.begin(log);
            return None;
        };
        let noise = (MAD * self.errors.median().unwrap_or(0.0)).max(LEAST_NOISE);
        let sigma = (log - expected) / noise;
        if let Some(told) = self.told {
            return self.wait_for_end(point, told, expected, noise);
        }
        self.count(point.step, sigma);
        let level = self.level.median()?;
        self.follow(log, expected, noise);
        self.quicken(point.time, level, expected, noise);
        let is_slow = level - expected >= self.limits.ratio.ln();
        if self.sum <= self.limits.bound || !is_slow {
            return None;
        }
        if let Some(usual) = self.usual_at(level, noise) {
            self.expect(usual);
            return None;
        }
        Some(self.tell(point, level, expected, noise))
    }

    /// Learn from the first steps what they take.
    fn begin(&mut self, log: f64) {
        self.base.push(log);
        if self.base.len() == BASE {
            self.expected = self.base.median();
            self.held = BASE as u64;
            let middle = self.expected.unwrap_or(log);
            for known in self.base.values() {
                self.errors.push((known - middle).abs());
            }
        }
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
        (self.slow, self.faster) = (0, None);
        event
    }

    /// What is expected follows slowly what is in order.
    fn follow(&mut self, log: f64, expected: f64, noise: f64) {
        let error = log - expected;
        if error.abs() < 3.0 * noise {
            self.expected = Some(expected + FOLLOW * error);
            self.errors.push(error.abs());
        }
        self.held += 1;
        self.usual = self.usual.filter(|usual| usual.points >= self.held);
    }

    /// Steps that are faster, and stay so, are what is expected from then on.
    fn quicken(&mut self, time: f64, level: f64, expected: f64, noise: f64) {
        if level - expected >= -3.0 * noise {
            self.faster = None;
            return;
        }
        let faster = self.faster.get_or_insert(Faster { time, points: 0 });
        faster.points += 1;
        // Without times the points alone count.
        let is_short = time - faster.time < self.limits.lasts_secs;
        if faster.points < LEVEL || is_short {
            return;
        }
        let before = Held {
            log: expected,
            points: self.held,
        };
        let usual = self.usual.unwrap_or(before);
        self.expect(Held {
            log: level,
            points: 0,
        });
        self.usual = Some(if usual.points < before.points {
            before
        } else {
            usual
        });
    }

    fn expect(&mut self, held: Held) {
        (self.expected, self.held) = (Some(held.log), held.points);
        (self.usual, self.faster, self.sum) = (None, None, 0.0);
    }

    /// What held for most of the run, if that is where the level is. `None`: it is elsewhere.
    fn usual_at(&self, level: f64, noise: f64) -> Option<Held> {
        let room = self.limits.ratio.ln().max(3.0 * noise);
        self.usual.filter(|usual| (level - usual.log).abs() < room)
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
        self.slow += 1;
        let usual = self.usual_at(level, noise);
        let is_back = level - expected < self.limits.ratio.ln() / 2.0 || usual.is_some();
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
        if let Some(usual) = usual {
            self.expect(usual);
        } else if self.slow > self.held {
            // Slow for most of the run: were they so again, that would be no news.
            self.usual = Some(Held {
                log: told,
                points: self.slow,
            });
        }
        let before = self.expected.unwrap_or(expected);
        Some(self.event(What::UpToSpeed, point, level, before, noise))
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
        let mut time = 0.0;
        (0..)
            .zip(times)
            .filter_map(|(step, value)| {
                time += value;
                detector.push(Point { step, time, value })
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

    #[test]
    fn steps_that_catch_up_behind_a_stall_are_no_new_normal() {
        for stall in [5, 7, 9, 12, 20, 60] {
            let found = told(
                times(1200, 0.02)
                    .chain([0.02 * f64::from(stall + 1)])
                    .chain(times(stall as usize, 0.0009))
                    .chain(times(1800, 0.02)),
            );
            assert_eq!(found, [], "{stall}");
        }
    }

    #[test]
    fn prefetched_batches_behind_evaluations_are_no_new_normal() {
        for batches in [3, 5, 6, 8, 12, 40, 100] {
            let rounds = (0..10).flat_map(|_| {
                times(500, 0.2)
                    .chain([20.0])
                    .chain(times(batches, 0.12))
                    .collect::<Vec<f64>>()
            });
            assert_eq!(told(rounds), [], "{batches}");
        }
    }

    #[test]
    fn what_held_for_most_of_the_run_is_no_slowdown_though_steps_were_faster_for_long() {
        let found = told(
            times(1000, 1.0)
                .chain(times(300, 0.6))
                .chain(times(500, 1.0)),
        );
        assert_eq!(found, []);
        let slow = times(100, 1.0)
            .chain(times(1000, 1.5))
            .chain(times(60, 1.0));
        let kinds: Vec<What> = told(slow.chain(times(500, 1.5)))
            .iter()
            .map(|one| one.0)
            .collect();
        assert_eq!(kinds, [What::Slowdown, What::UpToSpeed]);
    }

    #[test]
    fn faster_steps_that_last_are_the_new_normal() {
        // Slower than these, and not as slow as the first ones; and slow, when they have held longer.
        for (quick, slow) in [(300, 0.75), (1500, 1.0)] {
            let found = told(
                times(1000, 1.0)
                    .chain(times(quick, 0.5))
                    .chain(times(100, slow)),
            );
            let [(What::Slowdown, at, before)] = found[..] else {
                panic!("{found:?}");
            };
            let began = 1000 + quick as i64;
            assert!((began..began + 25).contains(&at), "{found:?}");
            assert!((0.48..0.52).contains(&before), "{found:?}");
        }
    }

    #[test]
    fn without_times_nine_faster_steps_are_enough() {
        let mut detector = Slowdown::new(SlowdownLimits::default());
        let values = times(50, 1.0).chain(times(60, 0.5)).chain(times(30, 0.8));
        let found: Vec<What> = (0..)
            .zip(values)
            .filter_map(|(step, value)| {
                let time = f64::NAN;
                detector.push(Point { step, time, value })
            })
            .map(|event| event.what)
            .collect();
        assert_eq!(found, [What::Slowdown]);
    }
}
