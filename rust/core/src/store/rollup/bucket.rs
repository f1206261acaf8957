//! A stretch of one series in a few numbers, with the places of its extremes.

use tm_spool::ValueType;

use crate::stats::{Moments, all_finite};
use crate::store::bytes::ByteReader;
use crate::store::columns::Column;

/// A value and where it stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Mark {
    pub step: i64,
    pub boottime_ns: i64,
    pub kind: u8,
    /// The 64 bits of the value.
    pub slot: u64,
}

impl Mark {
    /// As a number; None is NaN.
    pub(crate) fn number(&self) -> f64 {
        match ValueType::from_u8(self.kind) {
            Some(ValueType::F64) => f64::from_bits(self.slot),
            Some(ValueType::I64) => self.slot as i64 as f64,
            Some(ValueType::Bool) => f64::from(u8::from(self.slot != 0)),
            _ => f64::NAN,
        }
    }
}

/// The places of a bucket that a picture must show, in the order of [`Bucket::marks`].
const MARKS: usize = 7;
const FIRST: usize = 0;
const LAST: usize = 1;
const LEAST: usize = 2;
const GREATEST: usize = 3;
const NAN: usize = 4;
const ABOVE: usize = 5;
const BELOW: usize = 6;

/// What a stretch of a series amounts to. Nothing with a finite value is left out of `sum`, of the least and
/// of the greatest; what has none is counted in `not_finite`, and the first of each kind is marked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Bucket {
    pub n: u64,
    pub not_finite: u64,
    pub sum: f64,
    pub step_min: i64,
    pub step_max: i64,
    /// Steps only grow and times never fall.
    pub ordered: bool,
    /// Every value fits into a mark: there is no integer of more than 64 bits.
    pub plain: bool,
    marks: [Option<Mark>; MARKS],
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            n: 0,
            not_finite: 0,
            sum: 0.0,
            step_min: i64::MAX,
            step_max: i64::MIN,
            ordered: true,
            plain: true,
            marks: [None; MARKS],
        }
    }
}

impl Bucket {
    /// Of one value.
    pub(crate) fn of_mark(mark: Mark) -> Self {
        let mut bucket = Self {
            n: 1,
            step_min: mark.step,
            step_max: mark.step,
            ..Self::default()
        };
        bucket.marks[FIRST] = Some(mark);
        bucket.marks[LAST] = Some(mark);
        let value = mark.number();
        if value.is_finite() {
            bucket.sum = value;
            bucket.marks[LEAST] = Some(mark);
            bucket.marks[GREATEST] = Some(mark);
        } else {
            bucket.not_finite = 1;
            bucket.marks[kind_of(value)] = Some(mark);
        }
        bucket
    }

    /// Its value, when [`Bucket::of_mark`] makes the same bucket of it again. `None`: there are more, or it is too big.
    pub(crate) fn only(&self) -> Option<Mark> {
        let mark = self.marks[FIRST].filter(|_| self.n == 1)?;
        (Self::of_mark(mark) == *self).then_some(mark)
    }

    /// Of the values of a column, which are `values` as numbers.
    pub(crate) fn of(column: &Column, values: &[f64], rows: &Rows<'_>) -> Self {
        let mark = |at: usize| {
            let kind = column.kind(at);
            let slot = column.slots.get(at).copied()?;
            let number = values.get(at)?.to_bits();
            let (step, boottime_ns) = rows.place(column.row(at));
            let big = kind == ValueType::BigInt as u8;
            Some(Mark {
                step,
                boottime_ns,
                kind: if big { ValueType::F64 as u8 } else { kind },
                slot: if big { number } else { slot },
            })
        };
        let extent = match &column.rows {
            None => rows.extent,
            Some(numbers) => Extent::of(numbers.iter().map(|row| rows.place(*row as usize))),
        };
        let found = Places::of(values);
        let mut bucket = Self {
            n: values.len() as u64,
            not_finite: found.not_finite,
            sum: found.sum,
            step_min: extent.step_min,
            step_max: extent.step_max,
            ordered: extent.ordered,
            plain: column.bigs.is_empty(),
            marks: [None; MARKS],
        };
        bucket.marks[FIRST] = mark(0);
        bucket.marks[LAST] = values.len().checked_sub(1).and_then(mark);
        for (slot, at) in bucket.marks.iter_mut().skip(LEAST).zip(found.at) {
            *slot = at.and_then(mark);
        }
        bucket
    }

    /// Put what came later behind this.
    pub(crate) fn append(&mut self, later: &Self) {
        if later.n == 0 {
            return;
        }
        if self.n == 0 {
            *self = later.clone();
            return;
        }
        let joined = match (self.last(), later.first()) {
            (Some(a), Some(b)) => a.boottime_ns <= b.boottime_ns,
            _ => false,
        };
        self.ordered &= later.ordered && joined && self.step_max < later.step_min;
        self.plain &= later.plain;
        self.n += later.n;
        self.not_finite += later.not_finite;
        self.sum += later.sum;
        self.step_min = self.step_min.min(later.step_min);
        self.step_max = self.step_max.max(later.step_max);
        self.marks[LAST] = later.marks[LAST];
        let lower = |a: &Mark, b: &Mark| b.number() < a.number();
        let higher = |a: &Mark, b: &Mark| b.number() > a.number();
        self.replace(LEAST, later, lower);
        self.replace(GREATEST, later, higher);
        for kind in [NAN, ABOVE, BELOW] {
            self.replace(kind, later, |_, _| false);
        }
    }

    fn replace(&mut self, at: usize, later: &Self, better: impl Fn(&Mark, &Mark) -> bool) {
        let theirs = later.marks[at];
        if let Some(theirs) = theirs
            && self.marks[at].is_none_or(|ours| better(&ours, &theirs))
        {
            self.marks[at] = Some(theirs);
        }
    }

    pub(crate) fn first(&self) -> Option<Mark> {
        self.marks[FIRST]
    }

    pub(crate) fn last(&self) -> Option<Mark> {
        self.marks[LAST]
    }

    /// The least finite value. `None`: there is none.
    pub(crate) fn least(&self) -> Option<Mark> {
        self.marks[LEAST]
    }

    /// The greatest finite value. `None`: there is none.
    pub(crate) fn greatest(&self) -> Option<Mark> {
        self.marks[GREATEST]
    }

    /// The first NaN or None, the first infinity above, the first below.
    pub(crate) fn not_finite_marks(&self) -> impl Iterator<Item = Mark> {
        self.marks.into_iter().skip(NAN).flatten()
    }

    /// The mean of the finite values. `None`: there are none.
    pub(crate) fn mean(&self) -> Option<f64> {
        let finite = self.n - self.not_finite;
        (finite > 0).then(|| self.sum / finite as f64)
    }

    /// Append this to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let mut flags = u16::from(self.ordered) << 8 | u16::from(self.plain) << 9;
        for (at, mark) in self.marks.iter().enumerate() {
            flags |= u16::from(mark.is_some()) << at;
        }
        out.extend_from_slice(&flags.to_le_bytes());
        for number in [
            self.n,
            self.not_finite,
            self.sum.to_bits(),
            self.step_min as u64,
            self.step_max as u64,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for mark in self.marks.iter().flatten() {
            out.extend_from_slice(&mark.step.to_le_bytes());
            out.extend_from_slice(&mark.boottime_ns.to_le_bytes());
            out.push(mark.kind);
            out.extend_from_slice(&mark.slot.to_le_bytes());
        }
    }

    /// Of points of which only the range of their steps is known.
    pub(crate) fn unknown(step_min: i64, step_max: i64) -> Self {
        Self {
            step_min,
            step_max,
            ordered: false,
            plain: false,
            ..Self::default()
        }
    }

    /// All buckets that [`Bucket::encode`] appended. `None`: the bytes are none.
    pub(crate) fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let mut input = ByteReader::new(bytes);
        let mut buckets = Vec::new();
        while !input.is_empty() {
            buckets.push(Self::decode(&mut input)?);
        }
        Some(buckets)
    }

    fn decode(input: &mut ByteReader<'_>) -> Option<Self> {
        let flags = u16::from(input.take_u8()?) | u16::from(input.take_u8()?) << 8;
        let mut bucket = Self {
            n: input.take_u64()?,
            not_finite: input.take_u64()?,
            sum: f64::from_bits(input.take_u64()?),
            step_min: input.take_u64()? as i64,
            step_max: input.take_u64()? as i64,
            ordered: flags & 1 << 8 != 0,
            plain: flags & 1 << 9 != 0,
            marks: [None; MARKS],
        };
        for (at, mark) in bucket.marks.iter_mut().enumerate() {
            if flags & 1 << at != 0 {
                *mark = Some(Mark {
                    step: input.take_u64()? as i64,
                    boottime_ns: input.take_u64()? as i64,
                    kind: input.take_u8()?,
                    slot: input.take_u64()?,
                });
            }
        }
        (bucket.not_finite <= bucket.n).then_some(bucket)
    }
}

fn kind_of(value: f64) -> usize {
    if value.is_nan() {
        NAN
    } else if value > 0.0 {
        ABOVE
    } else {
        BELOW
    }
}

/// Steps and times of the rows of a group.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    pub steps: &'a [i64],
    pub times: &'a [i64],
    extent: Extent,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(steps: &'a [i64], times: &'a [i64]) -> Self {
        let places = steps.iter().copied().zip(times.iter().copied());
        Self {
            steps,
            times,
            extent: Extent::of(places),
        }
    }

    /// Step and time of a row.
    pub(crate) fn place(&self, row: usize) -> (i64, i64) {
        let of = |values: &[i64]| values.get(row).copied().unwrap_or_default();
        (of(self.steps), of(self.times))
    }
}

/// How far some places reach, and whether they lie in order.
#[derive(Debug, Clone, Copy)]
struct Extent {
    step_min: i64,
    step_max: i64,
    ordered: bool,
}

impl Extent {
    fn of(places: impl Iterator<Item = (i64, i64)>) -> Self {
        let mut extent = Self {
            step_min: i64::MAX,
            step_max: i64::MIN,
            ordered: true,
        };
        let mut before: Option<(i64, i64)> = None;
        for (step, time) in places {
            extent.step_min = extent.step_min.min(step);
            extent.step_max = extent.step_max.max(step);
            extent.ordered &= before.is_none_or(|(s, t)| s < step && t <= time);
            before = Some((step, time));
        }
        extent
    }
}

/// Where the extremes of some values are.
#[derive(Default)]
struct Places {
    not_finite: u64,
    sum: f64,
    /// Least, greatest, NaN, above, below.
    at: [Option<usize>; MARKS - LEAST],
}

impl Places {
    fn of(values: &[f64]) -> Self {
        let mut found = Self::default();
        let moments = if all_finite(values) {
            Moments::of(values)
        } else {
            let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
            for (at, value) in values.iter().enumerate().filter(|(_, v)| !v.is_finite()) {
                found.not_finite += 1;
                if let Some(first) = found.at.get_mut(kind_of(*value) - LEAST) {
                    first.get_or_insert(at);
                }
            }
            Moments::of(&finite)
        };
        found.sum = moments.mean * moments.count as f64;
        for (slot, wanted) in found.at.iter_mut().zip([moments.min(), moments.max()]) {
            *slot = wanted.and_then(|wanted| values.iter().position(|value| *value == wanted));
        }
        found
    }
}
