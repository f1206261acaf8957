//! Folding a stretch of a series into its statistics.

use super::ema::{Alphas, Average};
use super::moments::Moments;
use super::sketch::Slots;
use super::{Stamp, Statistics};

/// Numbers looked at together: what the first-level cache holds beside a sketch.
const CHUNK: usize = 1024;

/// Where a value stands.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Training step.
    pub step: i64,
    /// Counted from 1.
    pub attempt: u32,
    /// Grows from point to point of an attempt, on whatever machine; no wall clock, which may be set back.
    pub order_ns: i64,
}

/// A stretch of a series, in the order of time.
#[derive(Debug, Clone, Copy)]
pub struct Fold<'a> {
    /// What is no number is NaN.
    pub values: &'a [f64],
    /// Where the first of them stands.
    pub first: Place,
    /// Where the last of them stands.
    pub last: Place,
}

/// Folds one stretch after the other; keeps what it needs for that.
#[derive(Debug, Default)]
pub struct Folder {
    alphas: Alphas,
    slots: Slots,
    finite: Vec<f64>,
}

impl Folder {
    /// A folder that makes the averages like this.
    #[must_use]
    pub fn new(alphas: Alphas) -> Self {
        Self {
            alphas,
            ..Self::default()
        }
    }

    /// How it makes the averages.
    #[must_use]
    pub fn alphas(&self) -> Alphas {
        self.alphas
    }

    /// Add a stretch that came after everything in `statistics`.
    pub fn fold(&mut self, statistics: &mut Statistics, stretch: &Fold<'_>) {
        let stamp = |place: Place, value: Option<&f64>| {
            value.map(|value| Stamp {
                step: place.step,
                attempt: place.attempt,
                order_ns: place.order_ns,
                value: *value,
            })
        };
        statistics.note_ends(
            stamp(stretch.first, stretch.values.first()),
            stamp(stretch.last, stretch.values.last()),
        );
        statistics.count += stretch.values.len() as u64;
        for chunk in stretch.values.chunks(CHUNK) {
            if all_finite(chunk) {
                add_finite(statistics, chunk, self.alphas, &mut self.slots);
                continue;
            }
            self.finite.clear();
            self.finite
                .extend(chunk.iter().copied().filter(|v| v.is_finite()));
            statistics.non_finite += (chunk.len() - self.finite.len()) as u64;
            add_finite(statistics, &self.finite, self.alphas, &mut self.slots);
        }
    }
}

/// Without a branch per value: a finite value times zero is zero, all others give NaN.
pub(crate) fn all_finite(values: &[f64]) -> bool {
    let (blocks, rest) = values.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for block in blocks {
        for lane in 0..8 {
            sums[lane] += block[lane] * 0.0;
        }
    }
    sums.iter().all(|sum| *sum == 0.0) && rest.iter().all(|value| value.is_finite())
}

fn add_finite(statistics: &mut Statistics, values: &[f64], alphas: Alphas, slots: &mut Slots) {
    if values.is_empty() {
        return;
    }
    statistics.moments.merge(&Moments::of(values));
    statistics.short.append(&Average::of(values, alphas.short));
    statistics.long.append(&Average::of(values, alphas.long));
    statistics.sketch.add(values, slots);
}
