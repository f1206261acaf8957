//! Statistics of a series in bounded memory: mergeable, so that parts may be folded in any grouping.

mod ema;
mod fold;
mod moments;
mod sketch;

pub use ema::Alphas;
pub(crate) use fold::all_finite;
pub use fold::{Fold, Folder, Place};
pub use moments::Moments;
pub use sketch::{DamagedSketch, Sketch};

pub(crate) use ema::Average;

/// A value with its place in the series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// Training step.
    pub step: i64,
    /// Counted from 1.
    pub attempt: u32,
    /// Tells the order within an attempt: see [`Place::order_ns`].
    pub order_ns: i64,
    /// As a number; what is none is NaN.
    pub value: f64,
}

impl Stamp {
    fn age(&self) -> (u32, i64) {
        (self.attempt, self.order_ns)
    }
}

/// Everything that is kept of a series. Text is not counted; what has no finite number (NaN, infinities,
/// None) is counted apart and in nothing else.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Statistics {
    /// Values, those without a finite number too.
    pub count: u64,
    /// Those without a finite number.
    pub non_finite: u64,
    /// The oldest value. `None`: there is none.
    pub first: Option<Stamp>,
    /// The newest value. `None`: there is none.
    pub last: Option<Stamp>,
    /// Least, greatest, mean and variance.
    pub moments: Moments,
    /// The average that forgets soon.
    pub(crate) short: Average,
    /// The average that forgets late.
    pub(crate) long: Average,
    /// The distribution.
    pub sketch: Sketch,
}

impl Statistics {
    /// Add what came after these. The moments, the counts and the sketch do not care for the order.
    pub fn append(&mut self, later: &Self) {
        self.count += later.count;
        self.non_finite += later.non_finite;
        self.note_ends(later.first, later.last);
        self.moments.merge(&later.moments);
        self.short.append(&later.short);
        self.long.append(&later.long);
        self.sketch.merge(&later.sketch);
    }

    /// Take in the statistics of another rank: the averages become those of both, by their counts.
    pub fn merge_rank(&mut self, other: &Self) {
        let weights = (self.moments.count, other.moments.count);
        let (short, long) = (
            self.short.between(&other.short, weights),
            self.long.between(&other.long, weights),
        );
        self.append(other);
        (self.short, self.long) = (short, long);
    }

    /// The moving average with the short memory. `None`: there was no finite value.
    #[must_use]
    pub fn ema_short(&self) -> Option<f64> {
        self.short.value()
    }

    /// The moving average with the long memory. `None`: there was no finite value.
    #[must_use]
    pub fn ema_long(&self) -> Option<f64> {
        self.long.value()
    }

    /// The value below which the share `q` of the finite values lies. `None`: there are none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let (min, max) = (self.moments.min()?, self.moments.max()?);
        self.sketch.quantile(q).map(|value| value.clamp(min, max))
    }

    fn note_ends(&mut self, first: Option<Stamp>, last: Option<Stamp>) {
        if let Some(stamp) = first
            && self.first.is_none_or(|known| stamp.age() < known.age())
        {
            self.first = first;
        }
        if let Some(stamp) = last
            && self.last.is_none_or(|known| stamp.age() >= known.age())
        {
            self.last = last;
        }
    }
}

#[cfg(test)]
mod tests;
