//! Latencies in 128 buckets, four per power of two: a quantile is right to within 19 %.

use crate::header::HISTOGRAM;
use crate::medium::Medium;

pub(crate) const BUCKETS: usize = 128;

/// Quantiles of the sampled cost of `log()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many calls were measured.
    pub samples: u64,
    /// Nanoseconds that half of them stayed below.
    pub p50: u64,
    /// Nanoseconds that 99 % stayed below.
    pub p99: u64,
    /// Nanoseconds that 99.9 % stayed below.
    pub p999: u64,
}

pub(crate) fn bucket(ns: u64) -> usize {
    let ns = ns.max(4);
    let power = 63 - ns.leading_zeros() as usize;
    let quarter = (ns >> (power - 2)) as usize & 3;
    ((power - 2) * 4 + quarter).min(BUCKETS - 1)
}

/// The upper end of a bucket.
fn upper(bucket: usize) -> u64 {
    let power = bucket / 4 + 2;
    (1u64 << power) + ((bucket as u64 % 4 + 1) << (power - 2))
}

/// Count one call in a lane's header; a mapping only.
pub(crate) fn record(medium: &Medium, ns: u64) {
    if let Medium::Map(words) = medium {
        words.add(HISTOGRAM + bucket(ns), 1);
    }
}

pub(crate) fn add_counts(medium: &Medium, counts: &mut [u64; BUCKETS]) {
    for (i, count) in counts.iter_mut().enumerate() {
        *count += medium.load(HISTOGRAM + i);
    }
}

impl Histogram {
    pub(crate) fn from_counts(counts: &[u64; BUCKETS]) -> Self {
        let samples: u64 = counts.iter().sum();
        let at = |share: f64| {
            let rank = (samples as f64 * share).ceil() as u64;
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= rank.max(1)
            });
            found.map_or(0, upper)
        };
        Self {
            samples,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_lies_below_the_end_of_its_bucket_and_above_the_one_before() {
        for ns in [4, 5, 100, 106, 1_000, 123_456, 1 << 30] {
            let b = bucket(ns);
            assert!(upper(b) > ns, "{ns}");
            assert!(b == 0 || upper(b - 1) <= ns, "{ns}");
        }
    }

    #[test]
    fn quantiles_come_from_the_counts() {
        let mut counts = [0; BUCKETS];
        counts[bucket(100)] = 990;
        counts[bucket(10_000)] = 10;
        let got = Histogram::from_counts(&counts);
        assert_eq!(got.samples, 1000);
        assert!((100..=128).contains(&got.p50));
        assert!((100..=128).contains(&got.p99));
        assert!((10_000..=12_288).contains(&got.p999));
    }
}
