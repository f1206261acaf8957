//! The stored points of one key, gathered from groups, raw frames and text.

use rusqlite::{Connection, Rows, params};
use tm_spool::{Value, ValueType};

use super::{Origins, RunReader, Values};
use crate::merge::Placed;
use crate::store::cell::Cell;
use crate::store::columns::{Column, decode_ints};
use crate::store::error::StoreError;
use crate::store::rollup::{Chain, Mark};
use crate::store::scan::Row;

const F64: u8 = ValueType::F64 as u8;

/// Room is made for at most so many points at once, whatever a damaged database says.
const MOST_RESERVED: usize = 1 << 27;

/// Points of one key in the order in which they are stored.
#[derive(Debug, Default)]
pub(crate) struct Points {
    pub placed: Placed,
    slots: Vec<u64>,
    /// One per point. `None`: all are f64.
    kinds: Option<Vec<u8>>,
    /// Big integers and text; their slot is the index here.
    blobs: Vec<Box<[u8]>>,
}

impl Points {
    /// Whether every value is an f64.
    pub(super) fn is_float(&self) -> bool {
        self.kinds.is_none()
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
    fn reserve(&mut self, count: usize) {
        self.slots.reserve(count);
        self.placed.step.reserve(count);
        self.placed.boottime_ns.reserve(count);
        self.placed.origin.reserve(count);
    }

    fn place(&mut self, step: i64, boottime_ns: i64, origin: u32) {
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

    fn push_value(&mut self, value: &Value<'_>, raw_slot: u64) {
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

    fn push_group(
        &mut self,
        origin: u32,
        (steps, times): (&[i64], &[i64]),
        column: Column,
    ) -> Result<(), StoreError> {
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

impl RunReader {
    /// Gather the points of a key from all tiers.
    pub(super) fn points(
        &self,
        conn: &Connection,
        origins: &Origins,
        wanted: Wanted,
    ) -> Result<Points, StoreError> {
        let mut points = stored_points(conn, origins, wanted)?;
        self.add_fresh(conn, origins, wanted, &mut points)?;
        Ok(points)
    }

    /// Gather those that are not sealed.
    pub(super) fn add_fresh(
        &self,
        conn: &Connection,
        origins: &Origins,
        wanted: Wanted,
        points: &mut Points,
    ) -> Result<(), StoreError> {
        self.visit_fresh(conn, |producer, dictionary, scan| {
            let Some(origin) = origins.index(producer) else {
                return Ok(());
            };
            for (layout, rows) in scan.layouts() {
                match layout.and_then(|id| dictionary.layout(id)) {
                    Some(keys) => {
                        if let Some(at) = keys.iter().position(|key| *key == wanted.key) {
                            rows.iter().for_each(|row| points.push_row(row, at, origin));
                        }
                    }
                    None => {
                        let is_key = |row: &Row<'_>, i: usize| {
                            let local = row.frame.pair_key(i);
                            local.and_then(|l| dictionary.key(l.0)) == Some(wanted.key)
                        };
                        for row in rows {
                            let at = (0..row.frame.n as usize).find(|i| is_key(row, *i));
                            at.into_iter()
                                .for_each(|at| points.push_row(row, at, origin));
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// The points of a key that lie in groups and in rows of text; those of `fresh` are not among them.
pub(super) fn stored_points(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
) -> Result<Points, StoreError> {
    let mut points = Points::default();
    sealed(conn, origins, wanted, &mut points)?;
    texts(conn, origins, wanted, &mut points)?;
    Ok(points)
}

impl Points {
    /// Append those points of another set whose steps lie between these, both included.
    pub(super) fn append_steps(&mut self, other: &Self, from: i64, to: i64) {
        for (at, step) in other.placed.step.iter().enumerate() {
            let place = (
                other.placed.boottime_ns.get(at),
                other.placed.origin.get(at),
            );
            let (true, (Some(time), Some(origin))) = ((from..=to).contains(step), place) else {
                continue;
            };
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

fn sealed(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    if wanted.since == i64::MIN && wanted.until == i64::MAX {
        points.reserve(stored(conn, wanted.key)?);
    }
    let mut select = conn.prepare_cached(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max
         FROM cols JOIN groups ON groups.id = cols.grp
         WHERE cols.key = ?1 AND groups.step_max >= ?2 AND groups.step_min <= ?3 ORDER BY cols.grp",
    )?;
    let rows = select.query(params![wanted.key, wanted.since, wanted.until])?;
    push_rows(origins, wanted, rows, points)
}

/// The points of groups that no row of the rollup has yet.
pub(super) fn open_groups(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max
         FROM groups CROSS JOIN cols ON cols.key = ?1 AND cols.grp = groups.id
         WHERE groups.rollup_grp = 0 AND groups.step_max >= ?2 ORDER BY groups.id",
    )?;
    let rows = select.query(params![wanted.key, wanted.since])?;
    push_rows(origins, wanted, rows, points)
}

/// The points of the groups of one layout between these two, both included.
pub(super) fn groups_between(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    (chain, groups): (Chain, (i64, i64)),
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max
         FROM cols JOIN groups ON groups.id = cols.grp
         WHERE cols.key = ?1 AND cols.grp BETWEEN ?2 AND ?3 AND groups.producer = ?4
             AND coalesce(groups.layout, -1) = ?5 ORDER BY cols.grp",
    )?;
    let rows = select.query(params![wanted.key, groups.0, groups.1, chain.0, chain.1])?;
    push_rows(origins, wanted, rows, points)
}

fn push_rows(
    origins: &Origins,
    wanted: Wanted,
    mut rows: Rows<'_>,
    points: &mut Points,
) -> Result<(), StoreError> {
    while let Some(row) = rows.next()? {
        let Some(origin) = origins.index(row.get(0)?) else {
            continue;
        };
        let (earliest, latest) = origins.wall_range_ns(origin, row.get(5)?, row.get(6)?);
        let is_rank = wanted.rank.is_none_or(|rank| origins.rank(origin) == rank);
        if !is_rank || latest < wanted.after_ns || earliest > wanted.before_ns {
            continue;
        }
        let blob = |at| {
            row.get_ref(at)
                .and_then(|v| v.as_blob().map_err(Into::into))
        };
        let n = row.get::<_, u32>(1)? as usize;
        let (steps, times) = (decode_ints(blob(2)?, n)?, decode_ints(blob(3)?, n)?);
        points.push_group(origin, (&steps, &times), Column::decode(blob(4)?, n)?)?;
    }
    Ok(())
}

/// How many values of a key lie in groups.
fn stored(conn: &Connection, key: u32) -> Result<usize, StoreError> {
    let mut select = conn.prepare_cached("SELECT sum(n) FROM cols WHERE key = ?1")?;
    let sum: Option<i64> = select.query_row([key], |row| row.get(0))?;
    Ok(usize::try_from(sum.unwrap_or(0))
        .unwrap_or(0)
        .min(MOST_RESERVED))
}

pub(super) fn texts(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT producer, step, time, value FROM text
         WHERE key = ?1 AND step >= ?2 AND step <= ?3 ORDER BY id",
    )?;
    let mut rows = select.query(params![wanted.key, wanted.since, wanted.until])?;
    while let Some(row) = rows.next()? {
        let Some(origin) = origins.index(row.get(0)?) else {
            continue;
        };
        points.place(row.get(1)?, row.get(2)?, origin);
        let bytes = row.get_ref(3)?.as_bytes().map_err(rusqlite::Error::from)?;
        points.push_value(&Value::Text(bytes), 0);
    }
    Ok(())
}
