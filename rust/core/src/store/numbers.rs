//! Numbers of one type as bytes and back, by pco.

use pco::data_types::Number;
use pco::standalone::{simple_compress, simple_decompress_into};
use pco::{ChunkConfig, DeltaSpec};

/// What is sealed while somebody waits.
pub(crate) const QUICK_LEVEL: usize = 4;
/// What is packed in the background.
pub(crate) const PACKED_LEVEL: usize = 8;

/// Bytes that are not a column: the database was damaged, or written by a newer version.
#[derive(Debug, Clone, thiserror::Error)]
#[error("a stored column cannot be decoded: {0}")]
pub struct ColumnError(pub String);

impl ColumnError {
    pub(super) fn new(what: &str) -> Self {
        Self(what.to_owned())
    }
}

/// More rows than any group has; keeps a damaged count from asking for all memory.
const MAX_ROWS: usize = 1 << 20;

pub(super) fn check_rows(n: usize) -> Result<(), ColumnError> {
    if n > MAX_ROWS {
        return Err(ColumnError(format!("{n} rows in a group")));
    }
    Ok(())
}

/// Compress with pco. Where somebody waits it does not try out which differences to take, which would cost more
/// than the rest.
pub(super) fn compress<T: Ordered>(values: &[T], level: usize) -> Result<Vec<u8>, ColumnError> {
    let delta = match level {
        QUICK_LEVEL => differences(values),
        _ => DeltaSpec::Auto,
    };
    let config = ChunkConfig::default()
        .with_compression_level(level)
        .with_delta_spec(delta);
    simple_compress(values, &config).map_err(|e| ColumnError(e.to_string()))
}

/// A number that pco takes, and its position among all numbers of its type.
pub(super) trait Ordered: Number {
    /// Grows as the numbers grow.
    fn ordinal(self) -> i64;
}

impl Ordered for f64 {
    fn ordinal(self) -> i64 {
        // As `f64::total_cmp` does it.
        let bits = self.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    }
}

impl Ordered for f32 {
    fn ordinal(self) -> i64 {
        let bits = self.to_bits() as i32;
        i64::from(bits ^ (((bits >> 31) as u32) >> 1) as i32)
    }
}

impl Ordered for i64 {
    fn ordinal(self) -> i64 {
        self
    }
}

impl Ordered for u32 {
    fn ordinal(self) -> i64 {
        i64::from(self)
    }
}

/// Of a long column one of so many values is looked at for what is usual.
const SAMPLE_OF: usize = 8;
/// pco goes no further.
const HIGHEST_ORDER: usize = 7;

/// How often differences are to be taken until they take hardly fewer bits, each counted alone. Where values come
/// again pco finds out by itself: it may be better to look back.
fn differences<T: Ordered>(values: &[T]) -> DeltaSpec {
    let mut places: Vec<i64> = values.iter().map(|value| value.ordinal()).collect();
    let mut sample = Vec::with_capacity(places.len() / SAMPLE_OF + 1);
    let mut least = bits_around_the_middle(&places, &mut sample);
    sample.sort_unstable();
    if sample
        .windows(2)
        .filter(|pair| pair.first() == pair.last())
        .count()
        > sample.len() / 8
    {
        return DeltaSpec::Auto;
    }
    for order in 0..HIGHEST_ORDER {
        let Some(rest) = places.get_mut(order..) else {
            break;
        };
        let mut before = 0;
        for place in &mut *rest {
            let difference = place.wrapping_sub(before);
            before = std::mem::replace(place, difference);
        }
        // The first one is no difference.
        let cost = bits_around_the_middle(rest.get(1..).unwrap_or_default(), &mut sample);
        // Differences of noise take half a bit more than the noise, and what is gained must be more than that.
        if cost + rest.len() as u64 / 2 >= least {
            return DeltaSpec::TryConsecutive(order);
        }
        least = cost;
    }
    DeltaSpec::TryConsecutive(HIGHEST_ORDER)
}

/// The bits of all distances to the middle of a sample.
fn bits_around_the_middle(values: &[i64], sample: &mut Vec<i64>) -> u64 {
    sample.clear();
    sample.extend(values.iter().step_by(SAMPLE_OF));
    let at = sample.len() / 2;
    if sample.is_empty() {
        return 0;
    }
    let middle = *sample.select_nth_unstable(at).1;
    let bits =
        |value: &i64| u64::from(64 - value.wrapping_sub(middle).unsigned_abs().leading_zeros());
    values.iter().map(bits).sum()
}

/// Decompress at most `n` numbers. The bytes may claim any count; what they claim is never allocated.
pub(super) fn decompress<T: Number + Default>(
    bytes: &[u8],
    n: usize,
) -> Result<Vec<T>, ColumnError> {
    check_rows(n)?;
    let mut numbers = vec![T::default(); n];
    let progress =
        simple_decompress_into(bytes, &mut numbers).map_err(|e| ColumnError(e.to_string()))?;
    if !progress.finished {
        return Err(ColumnError::new("more values than the group has rows"));
    }
    numbers.truncate(progress.n_processed);
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64) -> impl FnMut() -> f64 {
        let mut x = seed;
        move || {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (x >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    type Curve = (&'static str, Box<dyn FnMut(f64) -> f64>);

    fn curves() -> Vec<Curve> {
        let (mut r, mut signed, mut loss, mut steps) = (noise(7), noise(8), noise(9), noise(10));
        let (mut round, mut few, mut times, mut walk) =
            (noise(11), noise(12), noise(13), noise(14));
        let (mut at, mut count, mut time) = (0.0, 0.0, 0.0);
        vec![
            ("noise", Box::new(move |_| r())),
            ("of either sign", Box::new(move |_| signed() - 0.5)),
            (
                "a loss",
                Box::new(move |i| 4.0 * (-i / 200.0).exp() + 0.1 * loss()),
            ),
            (
                "a walk",
                Box::new(move |_| {
                    at += walk() - 0.5;
                    at
                }),
            ),
            ("a schedule", Box::new(|i| 1e-3 * (1.0 + (i / 326.0).cos()))),
            (
                "hundredths",
                Box::new(move |_| (round() * 100.0).round() / 100.0),
            ),
            ("few values", Box::new(move |_| (few() * 3.0).floor())),
            ("a counter", Box::new(|i| i * 4096.0)),
            ("a period of 97", Box::new(|i| ((i % 97.0) * 0.37).sin())),
            (
                "a sawtooth",
                Box::new(|i| 1e-3 * (1.0 - (i % 128.0) / 128.0)),
            ),
            (
                "steps with gaps",
                Box::new(move |_| {
                    count += if steps() < 0.5 { 1.0 } else { 2.0 };
                    count
                }),
            ),
            (
                "times",
                Box::new(move |_| {
                    time += 1e7 + (1e5 * times()).round();
                    time
                }),
            ),
        ]
    }

    fn check<T: Ordered>(name: &str, values: &[T]) {
        let quick = compress(values, QUICK_LEVEL).unwrap().len();
        let auto = ChunkConfig::default().with_compression_level(QUICK_LEVEL);
        let tried = simple_compress(values, &auto).unwrap().len();
        assert!(
            quick * 10 <= tried * 11 + 1000,
            "{name}: {quick} and {tried}"
        );
    }

    #[test]
    fn counting_bits_chooses_hardly_worse_than_trying() {
        for (name, mut curve) in curves() {
            let values: Vec<f64> = (0..1024).map(|i| curve(f64::from(i))).collect();
            check(name, &values);
            check(name, &values.iter().map(|v| *v as f32).collect::<Vec<_>>());
            check(name, &values.iter().map(|v| *v as i64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn ordinals_grow_with_the_numbers() {
        let floats = [
            f64::NEG_INFINITY,
            -1e300,
            -1.0,
            -0.0,
            0.0,
            5e-324,
            1.0,
            f64::INFINITY,
        ];
        assert!(floats.windows(2).all(|w| w[0].ordinal() < w[1].ordinal()));
        let singles = floats.map(|float| float as f32);
        assert!(singles.windows(2).all(|w| w[0].ordinal() <= w[1].ordinal()));
    }

    #[test]
    fn a_column_of_any_length_is_packed() {
        for n in 1..20u32 {
            let values: Vec<u32> = (0..n).map(|i| i * i).collect();
            let packed = compress(&values, QUICK_LEVEL).unwrap();
            assert_eq!(decompress::<u32>(&packed, n as usize).unwrap(), values);
        }
    }
}
