//! Jumps of a series, judged by its own noise.
//!
//! The expected value is the best of four simple predictors (medians of the last 9, 5 and 3 points, and that of 9 with
//! the drift of the last 64 added), chosen by how well each did over the last 64 points; the noise is the median absolute
//! error of that one. A series that jumps by itself now and then raises its own bound, and one that jumps all the time,
//! as a loss over batches of two sorts, has a bound from its first points on: most of a tenth of its errors lie beyond it.

use crate::event::{Event, Point, What};
use crate::window::{Ring, Window, middle, newest_median};

/// The bounds of [`Spike`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpikeLimits {
    /// In sigma: a point beyond it counts when one of the next two is beyond `next`.
    pub sigma: f64,
    /// In sigma: a point beyond it counts at once.
    pub at_once: f64,
    /// See `sigma`.
    pub next: f64,
    /// The least jump, as a share of what was expected.
    pub least: f64,
    /// In sigma of the logarithm, for series that are positive: noise may grow with the value.
    pub log_sigma: f64,
    /// The fourth largest excursion of the last 300 points, times this, is a bound too.
    pub habit: f64,
}

impl Default for SpikeLimits {
    fn default() -> Self {
        Self {
            sigma: 5.5,
            at_once: 8.0,
            next: 3.5,
            least: 0.03,
            log_sigma: 2.5,
            habit: 1.3,
        }
    }
}

const RECENT: usize = 9;
const NOISE: usize = 64;
const DRIFT: usize = 64;
const HABIT: usize = 300;
const HABIT_RANK: usize = 4;
/// One in ten errors is larger than the tail. A jump is larger than the tail by this factor: of normal noise that asks for
/// two sigma, of a series with two levels for more than the way from one to the other.
const TAIL_SHARE: f64 = 0.9;
const TAIL: f64 = 1.2;
/// Excursions beyond this teach no more.
const HABIT_CAP: f64 = 30.0;
/// Before so many points nothing is known of the noise.
const WARM_UP: usize = 25;
/// Points after the first one that may confirm it.
const CONFIRM: u32 = 2;
const SOON: u32 = 10;
const GIVE_UP: u32 = 50;
const BACK: usize = 5;
/// The median absolute deviation of a normal distribution, times this, is its standard deviation.
const MAD: f64 = 1.4826;
const PREDICTORS: usize = 4;

/// What is expected of the next point, how far off such an expectation usually is, and how far one in ten is.
#[derive(Debug, Clone, Copy)]
struct Expected {
    reference: f64,
    noise: f64,
    tail: f64,
}

/// A point that was far off, and what was expected of it.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    step: i64,
    reference: f64,
    noise: f64,
    sigma: f64,
    bound: f64,
    age: u32,
}

/// A spike that was told.
#[derive(Debug, Clone)]
struct Open {
    suspect: Suspect,
    points: u32,
    last: Window,
}

/// Finds spikes upward.
#[derive(Debug, Clone)]
pub struct Spike {
    limits: SpikeLimits,
    /// The last few, the oldest first.
    recent: Vec<f64>,
    values: Ring,
    steps: Window,
    errors: [Window; PREDICTORS],
    habits: Ring,
    seen: usize,
    last: f64,
    suspect: Option<Suspect>,
    open: Option<Open>,
}

impl Spike {
    /// A detector with these bounds.
    #[must_use]
    pub fn new(limits: SpikeLimits) -> Self {
        Self {
            limits,
            recent: Vec::with_capacity(RECENT),
            values: Ring::new(NOISE),
            steps: Window::new(DRIFT),
            errors: std::array::from_fn(|_| Window::new(NOISE)),
            habits: Ring::new(HABIT),
            seen: 0,
            last: f64::NAN,
            suspect: None,
            open: None,
        }
    }

    /// Look at a finite point.
    pub fn push(&mut self, point: Point) -> Option<Event> {
        if let Some(open) = self.open.take() {
            return self.follow(open, point);
        }
        let Some(expected) = self.predict() else {
            self.learn(point.value, None);
            return None;
        };
        let best = self.best(&expected);
        let sigma = (point.value - best.reference) / best.noise;
        let confirmed = self.confirm(point);
        if confirmed.is_none() && self.seen >= WARM_UP {
            self.suspect_point(point, best, sigma);
        }
        let told = confirmed.or_else(|| self.suspect.filter(|s| s.age == 0 && self.is_strong(s)));
        if let Some(suspect) = told {
            return Some(self.tell(suspect, point));
        }
        self.habits.push(sigma.clamp(0.0, HABIT_CAP));
        self.learn(point.value, Some(expected));
        None
    }

    /// What each predictor expects. `None`: it is too early to say.
    fn predict(&self) -> Option<[f64; PREDICTORS]> {
        if self.recent.len() < 3 {
            return None;
        }
        let nine = newest_median::<9>(&self.recent)?;
        let five = newest_median::<5>(&self.recent)?;
        let three = newest_median::<3>(&self.recent)?;
        // The median of nine lies five points back.
        let drift = 5.0 * self.steps.median().unwrap_or(0.0);
        Some([nine, five, three, nine + drift])
    }

    /// What the predictor expects that erred least.
    fn best(&self, expected: &[f64; PREDICTORS]) -> Expected {
        let judged = self.errors.iter().zip(expected).map(|(errors, expected)| {
            (errors.median().unwrap_or(f64::INFINITY), errors, *expected)
        });
        let best = judged.min_by(|a, b| f64::total_cmp(&a.0, &b.0));
        let (error, tail, reference) = best.map_or(
            (f64::INFINITY, 0.0, f64::NAN),
            |(error, errors, reference)| {
                let tail = errors.quantile(TAIL_SHARE).unwrap_or(0.0);
                (error, tail, reference)
            },
        );
        // A constant series has no noise: then the least jump decides alone.
        let least = (1e-12 * reference.abs()).max(f64::MIN_POSITIVE);
        Expected {
            reference,
            noise: (MAD * error).max(least),
            tail,
        }
    }

    fn suspect_point(&mut self, point: Point, best: Expected, sigma: f64) {
        let Expected {
            reference,
            noise,
            tail,
        } = best;
        let jump = point.value - reference;
        let least = (self.limits.least * reference.abs()).max(TAIL * tail);
        if sigma <= self.limits.sigma || jump <= least {
            return;
        }
        let habit = self.limits.habit * self.habits.greatest(HABIT_RANK).unwrap_or(0.0);
        let bound = self.limits.sigma.max(habit);
        if sigma > bound && self.is_far_in_logs(point.value, reference) {
            self.suspect = Some(Suspect {
                step: point.step,
                reference,
                noise,
                sigma,
                bound,
                age: 0,
            });
        }
    }

    fn is_strong(&self, suspect: &Suspect) -> bool {
        suspect.sigma > self.limits.at_once.max(suspect.bound)
    }

    /// For a positive series: whether the jump is large beside the noise of its logarithm.
    fn is_far_in_logs(&self, value: f64, reference: f64) -> bool {
        if reference <= 0.0 || self.values.in_order().any(|known| known <= 0.0) {
            return true;
        }
        let logs = || self.values.in_order().map(f64::ln);
        let mut steps: Vec<f64> = logs()
            .skip(1)
            .zip(logs())
            .map(|(next, before)| (next - before).abs())
            .collect();
        steps.sort_unstable_by(f64::total_cmp);
        let noise = MAD * middle(&steps).unwrap_or(0.0) / std::f64::consts::SQRT_2;
        (value / reference).ln() > self.limits.log_sigma * noise
    }

    /// Whether this point confirms an earlier one.
    fn confirm(&mut self, point: Point) -> Option<Suspect> {
        let suspect = self.suspect.as_mut()?;
        suspect.age += 1;
        let known = *suspect;
        if known.age >= CONFIRM {
            self.suspect = None;
        }
        let sigma = (point.value - known.reference) / known.noise;
        (sigma > self.limits.next).then_some(known)
    }

    fn tell(&mut self, suspect: Suspect, point: Point) -> Event {
        self.suspect = None;
        // What comes again and again is how this run is: only worse is told again.
        self.habits.push(suspect.sigma.min(HABIT_CAP));
        let mut last = Window::new(BACK);
        last.push(point.value);
        let sigma = suspect
            .sigma
            .max((point.value - suspect.reference) / suspect.noise);
        self.open = Some(Open {
            suspect,
            points: 1,
            last,
        });
        Event {
            what: What::Spike,
            at: point,
            since: suspect.step,
            reference: suspect.reference,
            sigma,
            threshold: suspect.bound,
        }
    }

    /// The points after a spike, until it is known how it ended.
    fn follow(&mut self, mut open: Open, point: Point) -> Option<Event> {
        open.points += 1;
        open.last.push(point.value);
        let known = open.suspect;
        let level = open.last.median().unwrap_or(point.value);
        let is_back =
            open.last.len() >= 3 && level <= known.reference + self.limits.next * known.noise;
        let what = match open.points {
            _ if !is_back && open.points < GIVE_UP => {
                self.open = Some(open);
                return None;
            }
            _ if !is_back => What::NotRecovered,
            points if points <= SOON => What::Recovered,
            _ => What::RecoveredLate,
        };
        if what == What::NotRecovered {
            // A new level: its noise is another one. That it jumps now and then is how the run is.
            let habits = std::mem::replace(&mut self.habits, Ring::new(HABIT));
            self.restart();
            self.habits = habits;
        }
        Some(Event {
            what,
            at: point,
            since: known.step,
            reference: known.reference,
            sigma: (level - known.reference) / known.noise,
            threshold: self.limits.next,
        })
    }

    fn learn(&mut self, value: f64, expected: Option<[f64; PREDICTORS]>) {
        for (errors, expected) in self
            .errors
            .iter_mut()
            .zip(expected.unwrap_or([f64::NAN; PREDICTORS]))
        {
            let error = (value - expected).abs();
            if error.is_finite() {
                errors.push(error);
            }
        }
        let step = value - self.last;
        if step.is_finite() {
            self.steps.push(step);
        }
        if self.recent.len() == RECENT {
            self.recent.remove(0);
        }
        self.recent.push(value);
        self.values.push(value);
        self.last = value;
        self.seen += 1;
    }

    /// Forget what was: another level, or another attempt.
    pub fn restart(&mut self) {
        *self = Self::new(self.limits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(values: &[f64]) -> Vec<(What, i64)> {
        let mut detector = Spike::new(SpikeLimits::default());
        (0..)
            .zip(values)
            .filter_map(|(step, value)| {
                detector.push(Point {
                    step,
                    time: 0.0,
                    value: *value,
                })
            })
            .map(|event| (event.what, event.at.step))
            .collect()
    }

    /// Numbers between -1 and 1, the same every time.
    fn wobble(count: usize) -> Vec<f64> {
        let mut state = 7_u64;
        (0..count)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / (1_u64 << 23) as f64 - 1.0
            })
            .collect()
    }

    #[test]
    fn a_loss_over_batches_of_two_sorts_has_no_spikes() {
        let values: Vec<f64> = wobble(600)
            .iter()
            .enumerate()
            .map(|(at, wobble)| if at % 5 == 3 { 4.5 } else { 2.5 } + 0.1 * wobble)
            .collect();
        assert_eq!(told(&values), []);
    }

    #[test]
    fn a_jump_beyond_the_noise_of_now_is_told_although_it_was_louder_before() {
        let mut values: Vec<f64> = wobble(300)
            .iter()
            .enumerate()
            .map(|(at, wobble)| 3.0 + if at < 200 { 0.5 } else { 0.05 } * wobble)
            .collect();
        values[280] += 0.6;
        assert_eq!(told(&values), [(What::Spike, 280), (What::Recovered, 282)]);
    }

    #[test]
    fn what_jumps_now_and_then_is_still_known_at_another_level() {
        let mut values: Vec<f64> = wobble(900)
            .iter()
            .map(|wobble| 2.0 + 0.05 * wobble)
            .collect();
        for at in (60..400).step_by(45) {
            values[at] += 1.0;
        }
        for value in &mut values[450..] {
            *value += 3.0;
        }
        for at in (600..700).step_by(45) {
            values[at] += 1.0;
        }
        let after = told(&values)
            .into_iter()
            .filter(|(what, at)| *what == What::Spike && *at > 520);
        assert_eq!(after.count(), 0, "{:?}", told(&values));
    }
}
