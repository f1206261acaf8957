//! All detectors of one series.

use crate::divergence::{Divergence, DivergenceLimits};
use crate::event::{Event, Point};
use crate::finite::Finite;
use crate::slowdown::{Slowdown, SlowdownLimits};
use crate::spike::{Spike, SpikeLimits};

/// Which detectors look at a series, and their bounds. NaN and infinities are always looked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// `None`: jumps are nothing to tell.
    pub spike: Option<SpikeLimits>,
    /// `None`: it may go where it will.
    pub divergence: Option<DivergenceLimits>,
    /// `None`: these are no times.
    pub slowdown: Option<SlowdownLimits>,
}

/// The detectors of one series.
#[derive(Debug, Clone)]
pub struct Screen {
    finite: Finite,
    spike: Option<Box<Spike>>,
    divergence: Option<Box<Divergence>>,
    slowdown: Option<Box<Slowdown>>,
    last_step: i64,
}

impl Screen {
    /// Look for what `limits` names.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            finite: Finite::default(),
            spike: limits.spike.map(|limits| Box::new(Spike::new(limits))),
            divergence: limits
                .divergence
                .map(|limits| Box::new(Divergence::new(limits))),
            slowdown: limits
                .slowdown
                .map(|limits| Box::new(Slowdown::new(limits))),
            last_step: i64::MIN,
        }
    }

    /// Look at a point, and hand on what was noticed.
    pub fn push(&mut self, point: Point, mut tell: impl FnMut(Event)) {
        if point.step < self.last_step {
            // Back to a checkpoint: what is expected now was some steps ago.
            self.restart();
        }
        self.last_step = point.step;
        if let Some(event) = self.finite.push(point) {
            tell(event);
        }
        if !point.value.is_finite() {
            return;
        }
        let spike = self.spike.as_mut().and_then(|d| d.push(point));
        let divergence = self.divergence.as_mut().and_then(|d| d.push(point));
        let slowdown = self.slowdown.as_mut().and_then(|d| d.push(point));
        [spike, divergence, slowdown]
            .into_iter()
            .flatten()
            .for_each(tell);
    }

    fn restart(&mut self) {
        if let Some(spike) = &mut self.spike {
            spike.restart();
        }
        if let Some(divergence) = &mut self.divergence {
            divergence.restart();
        }
        if let Some(slowdown) = &mut self.slowdown {
            slowdown.restart();
        }
    }
}
