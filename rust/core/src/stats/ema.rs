//! Exponential moving averages of parts that can be put behind each other.

/// How fast the two averages forget: the weight of a new value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alphas {
    /// Of the average with the short memory.
    pub short: f64,
    /// Of the one with the long memory.
    pub long: f64,
}

impl Default for Alphas {
    fn default() -> Self {
        Self {
            short: 0.1,
            long: 0.01,
        }
    }
}

/// One average over a stretch of values: `sum + left * origin`, where `sum` weighs the values of the
/// stretch and `left` is the weight that remains for what came before. Before a stretch that starts a
/// series stands its own first value, `origin`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Average {
    pub sum: f64,
    pub left: f64,
    /// `None`: no value yet.
    pub origin: Option<f64>,
}

impl Default for Average {
    fn default() -> Self {
        Self {
            sum: 0.0,
            left: 1.0,
            origin: None,
        }
    }
}

const LANES: usize = 8;

impl Average {
    /// Over a chunk of finite values: eight sums side by side, each over every eighth value.
    pub(super) fn of(values: &[f64], alpha: f64) -> Self {
        let keep = 1.0 - alpha;
        let (blocks, rest) = values.as_chunks::<LANES>();
        let mut powers = [1.0; LANES + 1];
        for at in 0..LANES {
            powers[at + 1] = powers[at] * keep;
        }
        let mut lanes = [0.0; LANES];
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] = lanes[lane] * powers[LANES] + block[lane] * alpha;
            }
        }
        let mut sum = 0.0;
        for lane in 0..LANES {
            sum += lanes[lane] * powers[LANES - 1 - lane];
        }
        for value in rest {
            sum = sum * keep + value * alpha;
        }
        Self {
            sum,
            left: keep.powi(i32::try_from(values.len()).unwrap_or(i32::MAX)),
            origin: values.first().copied(),
        }
    }

    /// An average that was stored. `None`: there was no value.
    pub(crate) fn restore(value: Option<f64>) -> Self {
        value.map_or_else(Self::default, |value| Self {
            sum: value,
            left: 0.0,
            origin: Some(0.0),
        })
    }

    /// Put a later stretch behind this one.
    pub(super) fn append(&mut self, later: &Self) {
        self.sum = later.sum + later.left * self.sum;
        self.left *= later.left;
        self.origin = self.origin.or(later.origin);
    }

    /// The average. `None`: there was no value.
    pub(super) fn value(&self) -> Option<f64> {
        self.origin.map(|origin| self.sum + self.left * origin)
    }

    /// An average between those of two series, by how many values each has.
    pub(super) fn between(&self, other: &Self, (ours, theirs): (u64, u64)) -> Self {
        let (Some(a), Some(b)) = (self.value(), other.value()) else {
            return if self.origin.is_some() { *self } else { *other };
        };
        let share = theirs as f64 / (ours + theirs) as f64;
        Self::restore(Some(a * (1.0 - share) + b * share))
    }
}
