//! Count, least, greatest, mean and variance: chunk by chunk, merged as Chan, Golub and LeVeque do.

/// What a set of finite numbers amounts to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// How many.
    pub count: u64,
    /// Their mean; 0 when there are none.
    pub mean: f64,
    /// The sum of the squared distances from the mean.
    pub squares: f64,
    least: f64,
    greatest: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0,
            mean: 0.0,
            squares: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
        }
    }
}

/// So many sums run side by side: each waits only for itself.
const LANES: usize = 8;

impl Moments {
    /// From what was stored. `None`: these are not moments of anything.
    pub(crate) fn restore(
        count: u64,
        mean: f64,
        squares: f64,
        least: f64,
        greatest: f64,
    ) -> Option<Self> {
        let sound = mean.is_finite() && squares >= 0.0 && least <= greatest;
        sound.then_some(Self {
            count,
            mean,
            squares,
            least,
            greatest,
        })
    }

    /// Of a chunk of finite numbers, in two passes over it.
    pub(crate) fn of(values: &[f64]) -> Self {
        if values.is_empty() {
            return Self::default();
        }
        let (blocks, rest) = values.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        let mut least = [f64::INFINITY; LANES];
        let mut greatest = [f64::NEG_INFINITY; LANES];
        for block in blocks {
            for lane in 0..LANES {
                sums[lane] += block[lane];
                least[lane] = if block[lane] < least[lane] {
                    block[lane]
                } else {
                    least[lane]
                };
                greatest[lane] = if block[lane] > greatest[lane] {
                    block[lane]
                } else {
                    greatest[lane]
                };
            }
        }
        let sum = sums.iter().sum::<f64>() + rest.iter().sum::<f64>();
        let smallest = |some: &[f64]| some.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = |some: &[f64]| some.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let count = values.len() as f64;
        let mean = if sum.is_finite() {
            sum / count
        } else {
            values.iter().map(|value| value / count).sum()
        };
        Self {
            count: values.len() as u64,
            mean,
            squares: squares(blocks, rest, mean),
            least: smallest(&least).min(smallest(rest)),
            greatest: largest(&greatest).max(largest(rest)),
        }
    }

    /// Take in other numbers.
    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (ours, theirs) = (self.count as f64, other.count as f64);
        let (all, apart) = (ours + theirs, other.mean - self.mean);
        // Means at both ends of the range are further apart than a float can say.
        self.mean = if apart.is_finite() {
            self.mean + apart * (theirs / all)
        } else {
            self.mean * (ours / all) + other.mean * (theirs / all)
        };
        self.squares += other.squares + apart * apart * (ours * theirs / all);
        self.count += other.count;
        self.least = self.least.min(other.least);
        self.greatest = self.greatest.max(other.greatest);
    }

    /// The least number. `None`: there is none.
    #[must_use]
    pub fn min(&self) -> Option<f64> {
        (self.count > 0).then_some(self.least)
    }

    /// The greatest number. `None`: there is none.
    #[must_use]
    pub fn max(&self) -> Option<f64> {
        (self.count > 0).then_some(self.greatest)
    }

    /// The mean. `None`: there is no number.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then_some(self.mean)
    }

    /// The variance of these numbers as a whole (divided by their count). `None`: there is no number.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        (self.count > 0).then(|| self.squares / self.count as f64)
    }
}

fn squares(blocks: &[[f64; LANES]], rest: &[f64], mean: f64) -> f64 {
    let mut sums = [0.0; LANES];
    for block in blocks {
        for lane in 0..LANES {
            let apart = block[lane] - mean;
            sums[lane] += apart * apart;
        }
    }
    let far = |value: &f64| (value - mean) * (value - mean);
    sums.iter().sum::<f64>() + rest.iter().map(far).sum::<f64>()
}
