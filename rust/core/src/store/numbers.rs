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

/// Compress with pco. Its own way to find out which differences to take, by trying, costs more than the rest.
pub(super) fn compress<T: Ordered>(values: &[T], level: usize) -> Result<Vec<u8>, ColumnError> {
    let config = ChunkConfig::default()
        .with_compression_level(level)
        .with_delta_spec(differences(values));
    simple_compress(values, &config).map_err(|e| ColumnError(e.to_string()))
}

/// A number, and its place among all numbers of its type.
pub(super) trait Ordered: Number {
    /// Grows as the numbers grow; a float's bits grow with it once their sign is dealt with.
    fn place(self) -> u64;
}

impl Ordered for f64 {
    fn place(self) -> u64 {
        let bits = self.to_bits();
        bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
    }
}

impl Ordered for f32 {
    fn place(self) -> u64 {
        let bits = self.to_bits();
        u64::from(bits ^ (((bits as i32 >> 31) as u32) | 1 << 31))
    }
}

impl Ordered for i64 {
    fn place(self) -> u64 {
        self as u64 ^ 1 << 63
    }
}

impl Ordered for u32 {
    fn place(self) -> u64 {
        u64::from(self)
    }
}

/// One of so many values is looked at for the middle of them all.
const MIDDLE_OF: usize = 8;
/// pco goes no further.
const HIGHEST_ORDER: usize = 7;

/// How often differences are to be taken until they take no fewer bits, each counted alone.
fn differences<T: Ordered>(values: &[T]) -> DeltaSpec {
    let mut places: Vec<u64> = values.iter().map(|value| value.place()).collect();
    let mut some: Vec<u64> = places.iter().step_by(MIDDLE_OF).copied().collect();
    if some.is_empty() {
        return DeltaSpec::NoOp;
    }
    let at = some.len() / 2;
    let middle = *some.select_nth_unstable(at).1;
    let bits = |distance: u64| u64::from(64 - (distance as i64).unsigned_abs().leading_zeros());
    let mut least: u64 = places.iter().map(|p| bits(p.wrapping_sub(middle))).sum();
    for order in 0..HIGHEST_ORDER {
        let (mut before, mut cost) = (0, 0);
        for place in &mut places {
            let difference = place.wrapping_sub(before);
            cost += bits(difference);
            before = std::mem::replace(place, difference);
        }
        if cost >= least {
            return DeltaSpec::TryConsecutive(order);
        }
        least = cost;
    }
    DeltaSpec::TryConsecutive(HIGHEST_ORDER)
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

    fn curves() -> Vec<(&'static str, Vec<f64>)> {
        let mut random = noise(7);
        let mut curve = |f: &mut dyn FnMut(f64, f64) -> f64| {
            (0..1024).map(|i| f(f64::from(i), random())).collect()
        };
        let mut walk = 0.0;
        vec![
            ("noise", curve(&mut |_, r| r)),
            ("of either sign", curve(&mut |_, r| r - 0.5)),
            (
                "a loss",
                curve(&mut |i, r| 4.0 * (-i / 200.0).exp() + 0.1 * r),
            ),
            (
                "a walk",
                curve(&mut |_, r| {
                    walk += r - 0.5;
                    walk
                }),
            ),
            (
                "a schedule",
                curve(&mut |i, _| 1e-3 * (1.0 + (i / 326.0).cos())),
            ),
            ("hundredths", curve(&mut |_, r| (r * 100.0).round() / 100.0)),
            ("few values", curve(&mut |_, r| (r * 3.0).floor())),
            ("a counter", curve(&mut |i, _| i * 4096.0)),
        ]
    }

    #[test]
    fn counted_bits_choose_hardly_worse_than_trying() {
        for (name, values) in curves() {
            for level in [QUICK_LEVEL, PACKED_LEVEL] {
                let quick = compress(&values, level).unwrap().len();
                let auto = ChunkConfig::default().with_compression_level(level);
                let thorough = simple_compress(&values, &auto).unwrap().len();
                assert!(
                    quick * 20 <= thorough * 21 + 200,
                    "{name}: {quick} and {thorough}"
                );
            }
        }
    }

    #[test]
    fn places_grow_with_the_numbers() {
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
        assert!(floats.windows(2).all(|w| w[0].place() < w[1].place()));
        let singles = floats.map(|float| float as f32);
        assert!(singles.windows(2).all(|w| w[0].place() <= w[1].place()));
        assert!(
            [i64::MIN, -1, 0, i64::MAX]
                .windows(2)
                .all(|w| w[0].place() < w[1].place())
        );
    }
}
