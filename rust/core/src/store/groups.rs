//! Sealing: frames of one layout become a group, each of their keys a compressed column.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tm_spool::{Value, ValueType};

use super::columns::{Column, encode_ints};
use super::error::StoreError;
use super::scan::{Row, Scan};
use super::source::Dictionary;

/// A layout with this many frames is sealed.
pub(crate) const SEAL_FRAMES: usize = 1024;
/// A layout of more keys than [`WIDE_KEYS`] is sealed at this many.
pub(crate) const SEAL_FRAMES_WIDE: usize = 256;
const WIDE_KEYS: usize = 256;

/// How many frames of a layout make a group.
pub(crate) fn seal_frames(keys: usize) -> usize {
    if keys > WIDE_KEYS {
        SEAL_FRAMES_WIDE
    } else {
        SEAL_FRAMES
    }
}

/// Writes the groups of one producer; keeps its buffers between columns.
pub(crate) struct GroupWriter<'c> {
    conn: &'c Connection,
    producer: i64,
    column: Column,
    block: Block,
    data: Vec<u8>,
}

impl<'c> GroupWriter<'c> {
    pub(super) fn new(conn: &'c Connection, producer: i64) -> Self {
        Self {
            conn,
            producer,
            column: Column::default(),
            block: Block::default(),
            data: Vec::new(),
        }
    }

    /// Seal everything that was scanned.
    pub(super) fn write(
        &mut self,
        dictionary: &Dictionary,
        scan: &mut Scan<'_>,
    ) -> Result<(), StoreError> {
        for (layout, rows) in scan.sorted_layouts() {
            let keys = layout.and_then(|id| dictionary.layout(id));
            let target = seal_frames(keys.map_or(1, |k| k.len()));
            let pieces = (rows.len() / target).max(1);
            for piece in 0..pieces {
                let (from, to) = (
                    piece * rows.len() / pieces,
                    (piece + 1) * rows.len() / pieces,
                );
                let rows = rows.get(from..to).unwrap_or_default();
                match keys {
                    Some(keys) => self.write_dense(layout, keys, rows)?,
                    None => self.write_pairs(dictionary, rows)?,
                }
            }
        }
        Ok(())
    }

    fn write_dense(
        &mut self,
        layout: Option<u32>,
        keys: &[u32],
        rows: &[Row<'_>],
    ) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let group = self.write_group(layout, rows)?;
        let floats = rows.iter().all(|row| !row.frame.is_typed());
        for (number, keys) in keys.chunks(BLOCK).enumerate() {
            let base = number * BLOCK;
            if floats {
                self.block.gather(rows, base, keys.len());
            }
            for (index, key) in keys.iter().enumerate() {
                if floats {
                    self.column.clear();
                    self.block.swap(index, &mut self.column.slots);
                } else {
                    gather(rows, base + index, &mut self.column);
                }
                self.write_column(group, *key)?;
            }
        }
        Ok(())
    }

    fn write_pairs(&mut self, dictionary: &Dictionary, rows: &[Row<'_>]) -> Result<(), StoreError> {
        let group = self.write_group(None, rows)?;
        let mut columns: BTreeMap<u32, Column> = BTreeMap::new();
        for (at, row) in rows.iter().enumerate() {
            for index in 0..row.frame.n as usize {
                let key = row
                    .frame
                    .pair_key(index)
                    .and_then(|local| dictionary.key(local.0));
                let Some(key) = key else { continue };
                push_typed(columns.entry(key).or_default(), at, row, index);
            }
        }
        for (key, mut column) in columns {
            settle(&mut column, rows.len());
            self.column = column;
            self.write_column(group, key)?;
        }
        Ok(())
    }

    fn write_group(&self, layout: Option<u32>, rows: &[Row<'_>]) -> Result<i64, StoreError> {
        let steps: Vec<i64> = rows.iter().map(|row| row.frame.step.0).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.frame.boottime_ns).collect();
        let range = |values: &[i64]| {
            (
                values.iter().min().copied().unwrap_or(0),
                values.iter().max().copied().unwrap_or(0),
            )
        };
        let ((step_min, step_max), (time_min, time_max)) = (range(&steps), range(&times));
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO groups(producer, layout, n, step_min, step_max, time_min, time_max, steps, times)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        insert.execute(params![
            self.producer,
            layout,
            rows.len() as i64,
            step_min,
            step_max,
            time_min,
            time_max,
            encode_ints(&steps)?,
            encode_ints(&times)?,
        ])?;
        Ok(self.conn.last_insert_rowid())
    }

    fn write_column(&mut self, group: i64, key: u32) -> Result<(), StoreError> {
        if self.column.slots.is_empty() {
            return Ok(());
        }
        let summary = Summary::of(&self.column);
        self.column.encode(&mut self.data)?;
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO cols(key, grp, n, n_nan, min, max, sum, first, last, data)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        insert.execute(params![
            key,
            group,
            self.column.slots.len() as i64,
            summary.not_finite as i64,
            summary.min,
            summary.max,
            summary.sum,
            self.column.number(0),
            self.column.number(self.column.slots.len() - 1),
            self.data,
        ])?;
        Ok(())
    }
}

/// Columns gathered together: what one cache line of a frame holds.
const BLOCK: usize = 8;

/// Neighbouring columns, gathered in one walk over the frames: column by column each value would cost a
/// cache line, with wide frames a page.
#[derive(Default)]
struct Block {
    columns: [Vec<u64>; BLOCK],
}

impl Block {
    fn gather(&mut self, rows: &[Row<'_>], base: usize, count: usize) {
        let columns = self.columns.get_mut(..count).unwrap_or_default();
        columns.iter_mut().for_each(Vec::clear);
        for row in rows {
            for (index, column) in columns.iter_mut().enumerate() {
                column.push(row.frame.slot(base + index));
            }
        }
    }

    fn swap(&mut self, index: usize, slots: &mut Vec<u64>) {
        if let Some(column) = self.columns.get_mut(index) {
            std::mem::swap(column, slots);
        }
    }
}

/// The values at `index` of every row; rows with text are left out.
fn gather(rows: &[Row<'_>], index: usize, column: &mut Column) {
    column.clear();
    if rows
        .iter()
        .all(|row| row.frame.value_type(index) == ValueType::F64)
    {
        column
            .slots
            .extend(rows.iter().map(|row| row.frame.slot(index)));
        return;
    }
    for (at, row) in rows.iter().enumerate() {
        push_typed(column, at, row, index);
    }
    settle(column, rows.len());
}

/// Append one value with its row and type, unless it is text.
pub(crate) fn push_typed(column: &mut Column, at: usize, row: &Row<'_>, index: usize) {
    let kind = row.frame.value_type(index);
    let slot = match row.frame.value(index) {
        None | Some(Value::Text(_)) => return,
        Some(Value::F64(_) | Value::I64(_)) => row.frame.slot(index),
        Some(Value::Bool(value)) => u64::from(value),
        Some(Value::None) => 0,
        Some(Value::BigInt(digits)) => {
            column.bigs.push(digits.into());
            column.bigs.len() as u64 - 1
        }
    };
    column.rows.get_or_insert_default().push(at as u32);
    column.types.get_or_insert_default().push(kind as u8);
    column.slots.push(slot);
}

/// Drop the row numbers and types that say nothing.
pub(crate) fn settle(column: &mut Column, rows: usize) {
    if column.slots.len() == rows {
        column.rows = None;
    }
    let float = ValueType::F64 as u8;
    if column
        .types
        .as_ref()
        .is_some_and(|types| types.iter().all(|t| *t == float))
    {
        column.types = None;
    }
}

/// What the column row says without decoding.
struct Summary {
    not_finite: usize,
    min: Option<f64>,
    max: Option<f64>,
    sum: Option<f64>,
}

impl Summary {
    fn of(column: &Column) -> Self {
        let (mut finite, mut sum) = (0, 0.0);
        let (mut min, mut max) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut take = |value: f64| {
            if value.is_finite() {
                finite += 1;
                sum += value;
                min = min.min(value);
                max = max.max(value);
            }
        };
        if column.types.is_none() {
            column
                .slots
                .iter()
                .for_each(|slot| take(f64::from_bits(*slot)));
        } else {
            (0..column.slots.len())
                .filter_map(|i| column.number(i))
                .for_each(take);
        }
        let known = finite > 0;
        Self {
            not_finite: column.slots.len() - finite,
            min: known.then_some(min),
            max: known.then_some(max),
            sum: known.then_some(sum),
        }
    }
}
