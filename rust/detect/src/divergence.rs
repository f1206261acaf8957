//! A series that leaves its best for good.
//!
//! Its level, the median of five points, has been far above the best that it ever was for two dozen points, and is not on
//! its way back. Far is by the noise, by a share of the best and by a share of what was gained so far. What comes back, as
//! after a spike or the restart of a learning rate, falls within those points: the last quarter of them is below another.
//! And what is no further up than its points were shortly before is noise: of many thousand points some follow each other.

use crate::event::{Event, Point, What};
use crate::window::{Ring, Window, middle};

/// The bounds of [`Divergence`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DivergenceLimits {
    /// The least distance from the best, in sigma of one point.
    pub sigma: f64,
    /// The least distance from the best, as a share of it.
    pub least: f64,
    /// The least distance from the best, as a share of the way from the first level to the best.
    pub gained: f64,
}

impl Default for DivergenceLimits {
    fn default() -> Self {
        Self {
            sigma: 2.5,
            least: 0.4,
            gained: 0.07,
        }
    }
}

const LEVEL: usize = 5;
/// The noise is that of so many points before the series went astray, or of so many of now: the smaller counts. A blow-up
/// early in a run would hide all that comes after it, and a series that goes wild would hide itself.
const CALM: usize = 100;
const NEW: usize = 20;
const FEW: usize = 10;
/// It is far for so many points: a multiple of four.
const HOLD: usize = 24;
/// A point that is not far takes so many back.
const BACK: usize = 2;
/// A quarter of the levels is on its way back when it is lower than another by this share of sigma,
const FALL: f64 = 0.3;
/// and by this share of the distance: then half of it is gone in 150 points.
const RETURN: f64 = 0.03;
const MAD: f64 = 1.4826;
/// Most of its points were below this quantile of them.
const MOST: f64 = 0.9;

/// Finds divergence upward.
#[derive(Debug, Clone)]
pub struct Divergence {
    limits: DivergenceLimits,
    newest: Window,
    calm: Ring,
    calm_count: usize,
    calm_median: Option<f64>,
    /// The middle of the newest points, and those before that, which come before it goes astray.
    late: Ring,
    values: Ring,
    new: Ring,
    levels: Ring,
    first: f64,
    best: f64,
    far: usize,
    since: i64,
    told: bool,
}

impl Divergence {
    /// A detector with these bounds.
    #[must_use]
    pub fn new(limits: DivergenceLimits) -> Self {
        Self {
            limits,
            newest: Window::new(LEVEL),
            calm: Ring::new(CALM),
            calm_count: 0,
            calm_median: None,
            late: Ring::new(LEVEL / 2 + 1),
            values: Ring::new(CALM),
            new: Ring::new(NEW),
            levels: Ring::new(HOLD),
            first: f64::NAN,
            best: f64::INFINITY,
            far: 0,
            since: 0,
            told: false,
        }
    }

    /// Look at a finite point.
    pub fn push(&mut self, point: Point) -> Option<Event> {
        let before = self.newest.median();
        self.newest.push(point.value);
        self.late.push(point.value);
        let level = self.newest.median()?;
        if self.newest.len() < LEVEL {
            return None;
        }
        self.learn((point.value - before?).abs());
        if self.first.is_nan() {
            self.first = level;
        }
        self.levels.push(level);
        self.best = self.best.min(level);
        let distance = level - self.best;
        let least = (self.limits.least * self.best.abs())
            .max(self.limits.gained * (self.first - self.best));
        // The noise is asked for where it decides alone: elsewhere it would cost more than all the rest.
        let is_far = distance > least && distance > self.limits.sigma * self.noise()?;
        self.count(point.step, is_far);
        if self.far == 0 {
            self.values.push(self.late.in_order().next()?);
        }
        let what = self.judge(is_far, distance)?;
        let noise = self.noise()?;
        Some(Event {
            what,
            at: Point {
                value: level,
                ..point
            },
            since: self.since,
            reference: self.best,
            sigma: distance / noise.max(f64::MIN_POSITIVE),
            threshold: least.max(self.limits.sigma * noise),
        })
    }

    fn learn(&mut self, error: f64) {
        self.new.push(error);
        if self.far == 0 || self.calm_count < FEW {
            self.calm.push(error);
            self.calm_count += 1;
            self.calm_median = None;
        }
    }

    /// Sigma of one point. `None`: it is too early to say.
    fn noise(&mut self) -> Option<f64> {
        let calm = match self.calm_median {
            Some(known) => known,
            None => median(&self.calm)?,
        };
        self.calm_median = Some(calm);
        Some(MAD * calm.min(median(&self.new)?))
    }

    fn count(&mut self, step: i64, is_far: bool) {
        if is_far {
            if self.far == 0 && !self.told {
                self.since = step;
            }
            self.far = HOLD.min(self.far + 1);
        } else {
            self.far = self.far.saturating_sub(BACK);
        }
    }

    fn judge(&mut self, is_far: bool, distance: f64) -> Option<What> {
        if self.told {
            self.told = self.far > 0;
            return (!self.told).then_some(What::Converging);
        }
        if !is_far || self.far < HOLD {
            return None;
        }
        let fall = (FALL * self.noise()?).max(RETURN * distance);
        self.told = self.stays(fall) && self.is_above_most();
        self.told.then_some(What::Divergence)
    }

    /// Whether the levels are higher than most points of the newer half before it went astray: while it learned, the
    /// older ones were higher anyway. Few points do not show where it is mostly.
    fn is_above_most(&self) -> bool {
        let before: Vec<f64> = self.values.in_order().collect();
        if before.len() < CALM {
            return true;
        }
        let mut newer = Window::new(CALM);
        for value in before.iter().skip(before.len() / 2) {
            newer.push(*value);
        }
        let level = median(&self.levels);
        newer
            .quantile(MOST)
            .zip(level)
            .is_none_or(|(most, level)| level > most)
    }

    /// Whether no quarter of the levels is higher than the last one by more than `bound`.
    fn stays(&self, bound: f64) -> bool {
        const QUARTER: usize = HOLD / 4;
        let mut means = [0.0_f64; 4];
        for (at, level) in self.levels.in_order().enumerate() {
            if let Some(mean) = means.get_mut(at / QUARTER) {
                *mean += level / QUARTER as f64;
            }
        }
        let [one, two, three, last] = means;
        one.max(two).max(three) - last <= bound
    }

    /// Forget what was: another attempt.
    pub fn restart(&mut self) {
        *self = Self::new(self.limits);
    }
}

fn median(values: &Ring) -> Option<f64> {
    let mut sorted: Vec<f64> = values.in_order().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    middle(&sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise of sigma one around zero, the same every time.
    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed.wrapping_mul(2) + 1;
        move || {
            let mut sum = 0.0;
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                sum += (state >> 40) as f64 / (1_u64 << 24) as f64;
            }
            sum - 6.0
        }
    }

    /// A loss that falls from 10 to about 3, with noise of one per cent.
    fn healthy(count: usize, seed: u64) -> Vec<f64> {
        let mut noise = noise(seed);
        (0..count)
            .map(|at| (2.5 + 7.5 * (1.0 + at as f64 / 5.0).powf(-0.7)) * (1.0 + 0.01 * noise()))
            .collect()
    }

    fn events(values: &[f64]) -> Vec<(What, usize, i64)> {
        let mut detector = Divergence::new(DivergenceLimits::default());
        let points = values.iter().enumerate().map(|(at, value)| Point {
            step: i64::try_from(at).unwrap(),
            time: 0.0,
            value: *value,
        });
        points
            .filter_map(|point| detector.push(point))
            .map(|event| {
                (
                    event.what,
                    usize::try_from(event.at.step).unwrap(),
                    event.since,
                )
            })
            .collect()
    }

    #[test]
    fn noise_alone_is_no_divergence() {
        for seed in 0..50 {
            assert_eq!(events(&healthy(1000, seed)), []);
            let mut noise = noise(seed);
            let wild: Vec<f64> = (0..1000).map(|_| noise().exp()).collect();
            assert_eq!(events(&wild), [], "seed {seed}");
        }
    }

    #[test]
    fn a_slow_rise_to_the_double_is_told_before_its_end() {
        for (length, seed) in [(50, 1), (50, 2), (200, 3), (200, 4)] {
            let mut values = healthy(800, seed);
            for (at, value) in values.iter_mut().skip(300).enumerate() {
                *value *= 1.0 + (at as f64 / f64::from(length)).min(1.0);
            }
            let told = events(&values);
            let [(What::Divergence, at, since)] = told[..] else {
                panic!("{told:?}");
            };
            assert!((300..310 + length as usize).contains(&at), "{told:?}");
            assert!((300..=300 + i64::from(length)).contains(&since), "{told:?}");
        }
    }

    #[test]
    fn a_jump_that_stays_is_told_once() {
        let mut values = healthy(600, 5);
        for value in values.iter_mut().skip(200) {
            *value *= 2.0;
        }
        let told = events(&values);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!((224..240).contains(&told[0].1), "{told:?}");
    }

    #[test]
    fn a_blow_up_early_in_a_short_run_is_told_where_it_settles() {
        let mut noise = noise(6);
        let mut values = vec![7.0, 5.5, 4.2, 3.4, 2.9, 2.7, 2.5, 2.6, 40.0, 1e5, 3e3, 90.0];
        values.extend((0..60).map(|_| 6.0 + 0.3 * noise()));
        let told = events(&values);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1 < 50, "{told:?}");
    }

    #[test]
    fn growth_without_end_and_a_constant_high_value_are_told() {
        let mut growing = healthy(300, 7);
        let mut stuck = growing.clone();
        for at in 200..300 {
            growing[at] *= 1.15_f64.powi(i32::try_from(at).unwrap() - 199);
            stuck[at] = 10.8;
        }
        assert_eq!(events(&growing).len(), 1);
        assert_eq!(events(&stuck).len(), 1);
    }

    #[test]
    fn a_bounce_that_comes_back_is_no_divergence() {
        // The restart of a learning rate, and a spike that takes its time.
        for (height, decay) in [(0.6, 60.0), (3.0, 40.0), (20.0, 15.0)] {
            let mut values = healthy(800, 8);
            for (at, value) in values.iter_mut().skip(300).enumerate() {
                *value *= 1.0 + height * (-(at as f64) / decay).exp();
            }
            assert_eq!(events(&values), [], "{height} {decay}");
        }
    }

    #[test]
    fn it_is_over_when_the_level_is_near_the_best_again() {
        let mut values = healthy(900, 9);
        for value in values.iter_mut().skip(300).take(200) {
            *value *= 3.0;
        }
        let told = events(&values);
        let [(What::Divergence, ..), (What::Converging, at, _)] = told[..] else {
            panic!("{told:?}");
        };
        assert!((500..540).contains(&at), "{told:?}");
    }

    #[test]
    fn constants_and_few_points_say_nothing() {
        assert_eq!(events(&[0.0; 500]), []);
        assert_eq!(events(&[3.0; 500]), []);
        assert_eq!(events(&[1.0, 9.0]), []);
        assert_eq!(events(&[]), []);
        let ends: Vec<f64> = [f64::MAX, f64::MIN].into_iter().cycle().take(500).collect();
        assert_eq!(events(&ends), []);
    }

    #[test]
    fn negative_losses_and_those_that_cross_zero_are_judged_by_what_was_gained() {
        let mut noise = noise(10);
        let falls = |at: usize| 5.0 - 5.0 * (at as f64 / 400.0).min(1.0);
        let quiet: Vec<f64> = (0..800).map(|at| falls(at) + 0.05 * noise()).collect();
        assert_eq!(events(&quiet), []);
        let mut lost = quiet.clone();
        for value in lost.iter_mut().skip(600) {
            *value += 2.0;
        }
        assert_eq!(events(&lost).len(), 1);
    }

    #[test]
    fn points_anywhere_between_two_bounds_are_no_divergence_however_many_they_are() {
        for seed in 0..2 {
            let mut state: u64 = seed * 2 + 1;
            let uniform: Vec<f64> = (0..300_000)
                .map(|_| {
                    state = state
                        .wrapping_mul(6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (state >> 11) as f64 / (1_u64 << 53) as f64
                })
                .collect();
            assert_eq!(events(&uniform), [], "seed {seed}");
        }
    }

    #[test]
    fn what_is_told_of_it_is_the_level_and_not_a_single_point() {
        let mut values = healthy(600, 11);
        for (at, value) in values.iter_mut().enumerate().skip(300) {
            *value *= if at % 4 == 0 { 0.9 } else { 3.0 };
        }
        let mut detector = Divergence::new(DivergenceLimits::default());
        let told: Vec<Event> = (0..)
            .zip(&values)
            .filter_map(|(step, value)| {
                detector.push(Point {
                    step,
                    time: 0.0,
                    value: *value,
                })
            })
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].at.value > 2.0 * told[0].reference, "{told:?}");
    }
}
