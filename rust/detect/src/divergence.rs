//! A series that leaves its best for good, without a jump that would tell.
//!
//! Two conditions, both for a while: the median of the last nine points is above the best that such a median ever was
//! by both sigmas and a share, and a one-sided CUSUM (Page, 1954) of the distance says that it is no excursion.

use crate::event::{Event, Point, What};
use crate::window::Window;

/// The bounds of [`Divergence`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DivergenceLimits {
    /// The least distance from the best, in sigma.
    pub sigma: f64,
    /// The least distance from the best, as a share of it.
    pub least: f64,
    /// The bound of the CUSUM.
    pub bound: f64,
}

impl Default for DivergenceLimits {
    fn default() -> Self {
        Self {
            sigma: 6.0,
            least: 0.1,
            bound: 40.0,
        }
    }
}

const LEVEL: usize = 9;
const NOISE: usize = 100;
const WARM_UP: usize = 30;
const SLACK: f64 = 0.5;
/// One point counts no more than this.
const CAP: f64 = 4.0;
const MAD: f64 = 1.4826;

/// Finds slow divergence upward.
#[derive(Debug, Clone)]
pub struct Divergence {
    limits: DivergenceLimits,
    level: Window,
    errors: Window,
    seen: usize,
    best: f64,
    sum: f64,
    since: i64,
    told: bool,
}

impl Divergence {
    /// A detector with these bounds.
    #[must_use]
    pub fn new(limits: DivergenceLimits) -> Self {
        Self {
            limits,
            level: Window::new(LEVEL),
            errors: Window::new(NOISE),
            seen: 0,
            best: f64::INFINITY,
            sum: 0.0,
            since: 0,
            told: false,
        }
    }

    /// Look at a finite point.
    pub fn push(&mut self, point: Point) -> Option<Event> {
        let before = self.level.median();
        self.level.push(point.value);
        self.seen += 1;
        let level = self.level.median()?;
        if let Some(before) = before {
            // The noise of the run as it was before it went astray.
            if self.sum == 0.0 || self.errors.len() < WARM_UP {
                self.errors.push((point.value - before).abs());
            }
        }
        if self.seen < WARM_UP {
            return None;
        }
        if level < self.best {
            self.best = level;
        }
        let noise = MAD * self.errors.median()?;
        let distance = level - self.best;
        let least = (self.limits.sigma * noise).max(self.limits.least * self.best.abs());
        self.add(
            point,
            (distance - least) / noise.max(least / CAP).max(f64::MIN_POSITIVE),
        );
        self.judge(point, distance / noise.max(f64::MIN_POSITIVE), least)
    }

    /// The CUSUM of how far the level is beyond the least distance.
    fn add(&mut self, point: Point, excess: f64) {
        if self.sum == 0.0 {
            self.since = point.step;
        }
        let gain = if excess > 0.0 { excess + 2.0 } else { excess };
        self.sum = (self.sum + gain.clamp(-CAP, CAP) - SLACK).clamp(0.0, 4.0 * self.limits.bound);
    }

    fn judge(&mut self, point: Point, sigma: f64, least: f64) -> Option<Event> {
        let what = if !self.told && self.sum > self.limits.bound {
            What::Divergence
        } else if self.told && self.sum == 0.0 {
            What::Converging
        } else {
            return None;
        };
        self.told = what == What::Divergence;
        Some(Event {
            what,
            at: point,
            since: self.since,
            reference: self.best,
            sigma,
            threshold: least,
        })
    }

    /// Forget what was: another attempt.
    pub fn restart(&mut self) {
        *self = Self::new(self.limits);
    }
}
