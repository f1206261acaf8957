//! The stored points of one key, gathered from groups, raw frames and text.

use tm_spool::{Value, ValueType};

use super::Values;
use super::place::{self, Numbers};
use crate::merge::Placed;
use crate::store::cell::Cell;
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::rollup::Mark;
use crate::store::scan::Row;

const F64: u8 = ValueType::F64 as u8;

/// Points of one key in the order in which they are stored.
#[derive(Debug, Default)]
pub(crate) struct Points {
    pub placed: Placed,
    slots: Vec<u64>,
    /// One per point. `None`: all are f64.
    kinds: Option<Vec<u8>>,
    /// Big integers and text; their slot is the index here.
    blobs: Vec<Box<[u8]>>,
    /// Those of points straight from `fresh` are not in it.
    numbers: Numbers,
}

impl Points {
    /// Whether every value is an f64.
    pub(super) fn is_float(&self) -> bool {
        self.kinds.is_none()
    }

    /// The number of point `at`, the same whatever was gathered beside it.
    pub(super) fn number_stored(&self, at: u32) -> i64 {
        self.numbers.of(at as usize)
    }

    /// The next points have the numbers from `first` on.
    pub(super) fn begin_numbers(&mut self, first: i64) {
        self.numbers.begin(self.placed.step.len(), first);
    }

    /// Value `at` as a float bit for bit; only meaningful with [`Points::is_float`].
    pub(super) fn float(&self, at: u32) -> f64 {
        f64::from_bits(self.slots.get(at as usize).copied().unwrap_or_default())
    }

    /// Value `at`.
    pub(super) fn cell(&self, at: u32) -> Cell {
        let at = at as usize;
        let slot = self.slots.get(at).copied().unwrap_or_default();
        let kind = self
            .kinds
            .as_ref()
            .map_or(F64, |k| k.get(at).copied().unwrap_or(F64));
        let blob = || self.blobs.get(slot as usize).map_or(&[][..], |b| b);
        match ValueType::from_u8(kind) {
            Some(ValueType::F64) => Cell::F64(f64::from_bits(slot)),
            Some(ValueType::I64) => Cell::I64(slot as i64),
            Some(ValueType::Bool) => Cell::Bool(slot != 0),
            Some(ValueType::BigInt) => Cell::BigInt(String::from_utf8_lossy(blob()).into_owned()),
            Some(ValueType::Text) => Cell::Text(blob().to_vec()),
            Some(ValueType::None) | None => Cell::None,
        }
    }

    /// All steps and values, in the order in which they are stored; the memory is reused.
    pub(super) fn into_values(self) -> (Vec<i64>, Values) {
        let values = if self.is_float() {
            Values::F64(
                self.slots
                    .iter()
                    .map(|slot| f64::from_bits(*slot))
                    .collect(),
            )
        } else {
            Values::Mixed(
                (0..self.slots.len() as u32)
                    .map(|at| self.cell(at))
                    .collect(),
            )
        };
        (self.placed.step, values)
    }

    /// Value `at` as a number, for thinning: what has none is NaN.
    pub(super) fn number(&self, at: u32) -> f64 {
        match self.cell(at) {
            Cell::F64(v) => v,
            Cell::I64(v) => v as f64,
            Cell::Bool(v) => f64::from(u8::from(v)),
            Cell::BigInt(digits) => digits.parse().unwrap_or(f64::NAN),
            Cell::None | Cell::Text(_) => f64::NAN,
        }
    }

    /// Value `at` with its place; what fits into no mark is a number, or None.
    pub(super) fn mark(&self, at: u32) -> Mark {
        let place = at as usize;
        let kind = self
            .kinds
            .as_ref()
            .map_or(F64, |k| k.get(place).copied().unwrap_or(F64));
        let (kind, slot) = match ValueType::from_u8(kind) {
            Some(ValueType::BigInt) => (F64, self.number(at).to_bits()),
            Some(ValueType::Text) => (ValueType::None as u8, 0),
            _ => (kind, self.slots.get(place).copied().unwrap_or_default()),
        };
        Mark {
            step: self.placed.step.get(place).copied().unwrap_or_default(),
            boottime_ns: self
                .placed
                .boottime_ns
                .get(place)
                .copied()
                .unwrap_or_default(),
            kind,
            slot,
        }
    }

    /// Growing step by step would copy everything several times.
    pub(super) fn reserve(&mut self, count: usize) {
        self.slots.reserve(count);
        self.placed.step.reserve(count);
        self.placed.boottime_ns.reserve(count);
        self.placed.origin.reserve(count);
    }

    pub(super) fn place(&mut self, step: i64, boottime_ns: i64, origin: u32) {
        self.placed.step.push(step);
        self.placed.boottime_ns.push(boottime_ns);
        self.placed.origin.push(origin);
    }

    fn push(&mut self, kind: u8, slot: u64) {
        if kind != F64 && self.kinds.is_none() {
            self.kinds = Some(vec![F64; self.slots.len()]);
        }
        if let Some(kinds) = &mut self.kinds {
            kinds.push(kind);
        }
        self.slots.push(slot);
    }

    pub(super) fn push_value(&mut self, value: &Value<'_>, raw_slot: u64) {
        let mut blob = |bytes: &[u8]| {
            self.blobs.push(bytes.into());
            self.blobs.len() as u64 - 1
        };
        match value {
            Value::F64(_) => self.push(F64, raw_slot),
            Value::I64(_) => self.push(ValueType::I64 as u8, raw_slot),
            Value::Bool(v) => self.push(ValueType::Bool as u8, u64::from(*v)),
            Value::None => self.push(ValueType::None as u8, 0),
            Value::BigInt(digits) => {
                let slot = blob(digits);
                self.push(ValueType::BigInt as u8, slot);
            }
            Value::Text(bytes) => {
                let slot = blob(bytes);
                self.push(ValueType::Text as u8, slot);
            }
        }
    }

    fn push_column(&mut self, column: Column) {
        let shift = self.blobs.len() as u64;
        match &column.types {
            None if self.kinds.is_none() => self.slots.extend_from_slice(&column.slots),
            _ => {
                for (i, slot) in column.slots.iter().enumerate() {
                    let kind = column.kind(i);
                    let big = kind == ValueType::BigInt as u8;
                    self.push(kind, if big { slot + shift } else { *slot });
                }
            }
        }
        self.blobs.extend(column.bigs);
    }

    pub(super) fn push_group(
        &mut self,
        origin: u32,
        (steps, times): (&[i64], &[i64]),
        (id, column): (i64, Column),
    ) -> Result<(), StoreError> {
        self.begin_numbers(place::in_column(id));
        match &column.rows {
            None => {
                self.placed.step.extend_from_slice(steps);
                self.placed.boottime_ns.extend_from_slice(times);
                self.placed.origin.resize(self.placed.step.len(), origin);
            }
            Some(rows) => {
                for row in rows {
                    let at = *row as usize;
                    let (Some(step), Some(time)) = (steps.get(at), times.get(at)) else {
                        return Err(StoreError::Unexpected("a row past its group".into()));
                    };
                    self.place(*step, *time, origin);
                }
            }
        }
        self.push_column(column);
        Ok(())
    }
}

/// What to gather. Leaving points out here must not change what the merge shows of the others. Groups are
/// left out as a whole: some of what comes may still lie outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub key: u32,
    /// Only steps from here on.
    pub since: i64,
    /// Only steps up to here.
    pub until: i64,
    /// Only this rank. `None`: all.
    pub rank: Option<u32>,
    /// Only from this wall clock on.
    pub after_ns: i64,
    /// Only up to this wall clock. Sound for raw reading alone: the value that replaces another is later.
    pub before_ns: i64,
}

impl Wanted {
    /// Everything of a key.
    pub(crate) fn all(key: u32) -> Self {
        Self {
            key,
            since: i64::MIN,
            until: i64::MAX,
            rank: None,
            after_ns: i64::MIN,
            before_ns: i64::MAX,
        }
    }
}

impl Points {
    /// Append those of a key's points that are not sealed whose steps lie between these, both included.
    pub(super) fn append_fresh(&mut self, key: u32, other: &Self, from: i64, to: i64) {
        for (at, step) in other.placed.step.iter().enumerate() {
            let place = (
                other.placed.boottime_ns.get(at),
                other.placed.origin.get(at),
            );
            let (true, (Some(time), Some(origin))) = ((from..=to).contains(step), place) else {
                continue;
            };
            self.begin_numbers(place::in_fresh(key) + at as i64);
            self.place(*step, *time, *origin);
            let slot = other.slots.get(at).copied().unwrap_or_default();
            let kind = other
                .kinds
                .as_ref()
                .map_or(F64, |kinds| kinds.get(at).copied().unwrap_or(F64));
            match (ValueType::from_u8(kind), other.blobs.get(slot as usize)) {
                (Some(ValueType::BigInt), Some(digits)) => {
                    self.push_value(&Value::BigInt(digits), slot);
                }
                (Some(ValueType::Text), Some(text)) => self.push_value(&Value::Text(text), slot),
                _ => self.push(kind, slot),
            }
        }
    }

    /// Text is left out: it has rows of its own already.
    pub(super) fn push_row(&mut self, row: &Row<'_>, at: usize, origin: u32) {
        match row.frame.value(at) {
            None | Some(Value::Text(_)) => {}
            Some(value) => {
                self.place(row.frame.step.0, row.frame.boottime_ns, origin);
                self.push_value(&value, row.frame.slot(at));
            }
        }
    }
}
