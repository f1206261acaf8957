//! Values that are no numbers any more.

use crate::event::{Event, Point, What};

/// So many finite values in a row say that it is over.
const CALM: u32 = 20;

/// Tells when a series stops being finite, and when it is finite again.
#[derive(Debug, Clone, Default)]
pub struct Finite {
    last: Option<f64>,
    /// Since when it is not. `None`: it is.
    since: Option<i64>,
    calm: u32,
}

impl Finite {
    /// Look at a point; NaN and infinities are told once, until twenty finite values came.
    pub fn push(&mut self, point: Point) -> Option<Event> {
        let is_finite = point.value.is_finite();
        let event = |what, since, reference| Event {
            what,
            at: point,
            since,
            reference,
            sigma: f64::NAN,
            threshold: f64::NAN,
        };
        let reference = self.last.unwrap_or(f64::NAN);
        match (is_finite, self.since) {
            (false, None) => {
                (self.since, self.calm) = (Some(point.step), 0);
                Some(event(What::NonFinite, point.step, reference))
            }
            (false, Some(_)) => {
                self.calm = 0;
                None
            }
            (true, since) => {
                self.last = Some(point.value);
                let since = since?;
                self.calm += 1;
                (self.calm >= CALM).then(|| {
                    self.since = None;
                    event(What::FiniteAgain, since, reference)
                })
            }
        }
    }
}
