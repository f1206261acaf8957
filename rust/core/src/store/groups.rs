//! Sealing: frames of one layout become a group, each of their keys a compressed column.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, params};
use tm_spool::{Value, ValueType};

use super::columns::Column;
use super::error::StoreError;
use super::ints::encode_ints;
use super::numbers::QUICK_LEVEL;
use super::rollup::{Bucket, Chain, Rollup, Rows, chain_of};
use super::scan::{Row, Scan};
use super::source::{Dictionary, ProducerRow};
use super::statistics::Board;

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

/// Writes the groups of one producer, and what is derived from their columns; keeps its buffers.
pub(crate) struct GroupWriter<'c> {
    conn: &'c Connection,
    producer: &'c ProducerRow,
    board: &'c mut Board,
    rollup: &'c mut Rollup,
    /// Keys of several layouts of this seal.
    shared: HashSet<u32>,
    column: Column,
    values: Vec<f64>,
    block: Block,
}

/// The group that is being written.
struct Group {
    id: i64,
    chain: Chain,
    steps: Vec<i64>,
    times: Vec<i64>,
}

impl<'c> GroupWriter<'c> {
    pub(super) fn new(
        conn: &'c Connection,
        producer: &'c ProducerRow,
        board: &'c mut Board,
        rollup: &'c mut Rollup,
    ) -> Self {
        Self {
            conn,
            producer,
            board,
            rollup,
            shared: HashSet::new(),
            column: Column::default(),
            values: Vec::new(),
            block: Block::default(),
        }
    }

    /// Seal everything that was scanned.
    pub(super) fn write(
        &mut self,
        dictionary: &Dictionary,
        scan: &mut Scan<'_>,
    ) -> Result<(), StoreError> {
        self.shared = shared_keys(dictionary, scan);
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
        self.board.fold_deferred(self.producer.rank);
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
        let places = Rows::new(&group.steps, &group.times);
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
                self.write_column(&group, &places, *key)?;
            }
        }
        self.end_group(&group)
    }

    fn write_pairs(&mut self, dictionary: &Dictionary, rows: &[Row<'_>]) -> Result<(), StoreError> {
        let group = self.write_group(None, rows)?;
        let places = Rows::new(&group.steps, &group.times);
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
            column.settle(rows.len());
            self.column = column;
            self.write_column(&group, &places, key)?;
        }
        self.end_group(&group)
    }

    fn write_group(&self, layout: Option<u32>, rows: &[Row<'_>]) -> Result<Group, StoreError> {
        let steps: Vec<i64> = rows.iter().map(|row| row.frame.step.0).collect();
        let times: Vec<i64> = rows.iter().map(|row| row.frame.boottime_ns).collect();
        let ((step_min, step_max), (time_min, time_max)) = (range(&steps), range(&times));
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO groups(producer, layout, n, step_min, step_max, time_min, time_max, steps, times)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?;
        insert.execute(params![
            self.producer.id,
            layout,
            rows.len() as i64,
            step_min,
            step_max,
            time_min,
            time_max,
            encode_ints(&steps)?,
            encode_ints(&times)?,
        ])?;
        Ok(Group {
            id: self.conn.last_insert_rowid(),
            chain: chain_of(self.producer.id, layout),
            steps,
            times,
        })
    }

    fn write_column(&mut self, group: &Group, rows: &Rows<'_>, key: u32) -> Result<(), StoreError> {
        if self.column.slots.is_empty() {
            return Ok(());
        }
        self.column.numbers(&mut self.values);
        let bucket = Bucket::of(&self.column, &self.values, rows);
        let column = NewColumn::new(&self.column, &bucket, QUICK_LEVEL)?;
        insert_column(self.conn, group.id, key, &column)?;
        self.rollup.add(group.chain, key, &bucket);
        if self.shared.contains(&key) {
            self.board
                .defer(self.producer, key, &self.column, &self.values, rows);
        } else {
            self.board
                .add(self.producer, key, &self.column, &self.values, rows);
        }
        Ok(())
    }

    fn end_group(&mut self, group: &Group) -> Result<(), StoreError> {
        self.board.note_group(group.id);
        let frames = group.steps.len() as u64;
        self.rollup
            .end_group(self.conn, group.chain, group.id, frames)
    }
}

/// The keys that stand in more than one layout: their values interleave.
fn shared_keys(dictionary: &Dictionary, scan: &Scan<'_>) -> HashSet<u32> {
    let (mut seen, mut shared) = (HashSet::new(), HashSet::new());
    if scan.layouts().count() < 2 {
        return shared;
    }
    let mut note = |key: u32, here: &mut HashSet<u32>| {
        if here.insert(key) && !seen.insert(key) {
            shared.insert(key);
        }
    };
    for (layout, rows) in scan.layouts() {
        let mut here = HashSet::new();
        match layout.and_then(|id| dictionary.layout(id)) {
            Some(keys) => keys.iter().for_each(|key| note(*key, &mut here)),
            None => {
                let locals = |row: &Row<'_>| {
                    let at = 0..row.frame.n as usize;
                    at.filter_map(|i| row.frame.pair_key(i)).collect::<Vec<_>>()
                };
                let keys = rows
                    .iter()
                    .flat_map(locals)
                    .filter_map(|local| dictionary.key(local.0));
                keys.for_each(|key| note(key, &mut here));
            }
        }
    }
    shared
}

/// The lowest and the highest.
pub(crate) fn range(values: &[i64]) -> (i64, i64) {
    (
        values.iter().min().copied().unwrap_or(0),
        values.iter().max().copied().unwrap_or(0),
    )
}

/// A column as it is stored.
#[derive(Debug)]
pub(crate) struct NewColumn {
    n: u64,
    not_finite: u64,
    min: Option<f64>,
    max: Option<f64>,
    sum: Option<f64>,
    first: Option<f64>,
    last: Option<f64>,
    data: Vec<u8>,
}

impl NewColumn {
    pub(crate) fn new(column: &Column, bucket: &Bucket, level: usize) -> Result<Self, StoreError> {
        let mut data = Vec::new();
        column.encode(&mut data, level)?;
        let least = bucket.least().map(|mark| mark.number());
        Ok(Self {
            n: bucket.n,
            not_finite: bucket.not_finite,
            min: least,
            max: bucket.greatest().map(|mark| mark.number()),
            sum: least.map(|_| bucket.sum),
            first: column.number(0),
            last: column
                .slots
                .len()
                .checked_sub(1)
                .and_then(|last| column.number(last)),
            data,
        })
    }
}

pub(crate) fn insert_column(
    conn: &Connection,
    group: i64,
    key: u32,
    column: &NewColumn,
) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO cols(key, grp, n, n_nan, min, max, sum, first, last, data)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    insert.execute(params![
        key,
        group,
        column.n as i64,
        column.not_finite as i64,
        column.min,
        column.max,
        column.sum,
        column.first,
        column.last,
        column.data,
    ])?;
    Ok(())
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
    column.settle(rows.len());
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
