//! The statistics of all keys as the writer keeps them: folded in as groups are sealed, written as a snapshot
//! now and then, brought up to date from the groups behind the snapshot.

mod replay;
mod table;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::columns::Column;
use super::error::StoreError;
use super::rollup::Rows;
use super::source::ProducerRow;
use crate::stats::{Alphas, Fold, Folder, Place, Statistics};

pub(super) use table::has_tables;

/// How often a snapshot is written.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(30);
/// Earlier, when a reader would have to fold in more than so many values of its own…
const MOST_BEHIND: u64 = 4_000_000;
/// …but only after so many for each row of the snapshot, or the snapshots would cost more than the values.
const LEAST_BEHIND_EACH: u64 = 2048;

/// Key and rank.
pub(crate) type Series = (u32, u32);

/// The statistics of every key and rank.
#[derive(Debug)]
pub(crate) struct Board {
    /// In boxes, or the empty places of the table would be as large as they.
    entries: HashMap<Series, Box<Entry>>,
    folder: Folder,
    /// Values of keys that stand in several layouts, until they can be put in the order of time.
    deferred: BTreeMap<u32, Vec<Timed>>,
    /// Values in all entries.
    count: u64,
    /// Values folded in since the last snapshot.
    behind: u64,
    saved_at: Instant,
    /// The groups up to here are in the entries.
    last_grp: i64,
    /// The groups up to here are in the snapshot.
    saved_grp: i64,
    /// Columns that are left out because they cannot be decoded: of which producer, and what is wrong.
    unreadable: Vec<(i64, String)>,
}

#[derive(Debug, Default)]
struct Entry {
    statistics: Statistics,
    /// The snapshot does not have this yet.
    is_new: bool,
}

/// A value with its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timed {
    pub order_ns: i64,
    pub step: i64,
    pub attempt: u32,
    pub value: f64,
}

impl Timed {
    fn place(&self) -> Place {
        Place {
            step: self.step,
            attempt: self.attempt,
            order_ns: self.order_ns,
        }
    }
}

/// The values of a column with their places.
pub(crate) fn timed<'a>(
    producer: &'a ProducerRow,
    column: &'a Column,
    values: &'a [f64],
    rows: &'a Rows<'_>,
) -> impl Iterator<Item = Timed> + 'a {
    values.iter().enumerate().map(|(at, value)| {
        let (step, boottime_ns) = rows.place(column.row(at));
        Timed {
            order_ns: producer.order_ns(boottime_ns),
            step,
            attempt: producer.attempt,
            value: *value,
        }
    })
}

impl Board {
    fn new(alphas: Alphas) -> Self {
        Self {
            entries: HashMap::new(),
            folder: Folder::new(alphas),
            deferred: BTreeMap::new(),
            count: 0,
            behind: 0,
            saved_at: Instant::now(),
            last_grp: 0,
            saved_grp: 0,
            unreadable: Vec::new(),
        }
    }

    /// The snapshot, and what the groups behind it hold. A snapshot that is missing or does not fit itself
    /// is left alone: then everything comes from the groups.
    pub(crate) fn load(conn: &Connection, alphas: Alphas) -> Result<Self, StoreError> {
        let mut board = Self::new(alphas);
        board.restore(conn, None)?;
        board.replay(conn, None)?;
        Ok(board)
    }

    /// The same for a reader, with the averages as the writer makes them. `key`: only this one.
    pub(crate) fn read(conn: &Connection, key: Option<u32>) -> Result<Self, StoreError> {
        let mut board = Self::new(table::alphas(conn)?.unwrap_or_default());
        board.restore(conn, key)?;
        board.replay(conn, key)?;
        Ok(board)
    }

    /// Columns that were left out because they cannot be decoded: of which producer, and what is wrong.
    pub(crate) fn unreadable(&self) -> &[(i64, String)] {
        &self.unreadable
    }

    fn restore(&mut self, conn: &Connection, key: Option<u32>) -> Result<(), StoreError> {
        let Some(snapshot) = table::load(conn, key)? else {
            return Ok(());
        };
        for (series, statistics) in snapshot.rows {
            let entry = Entry {
                statistics,
                is_new: false,
            };
            self.entries.insert(series, Box::new(entry));
        }
        (self.count, self.last_grp) = (snapshot.count, snapshot.last_grp);
        self.saved_grp = snapshot.last_grp;
        Ok(())
    }

    /// A stretch of one series, in the order of time.
    fn fold(&mut self, series: Series, values: &[f64], first: Place, last: Place) {
        let entry = self.entries.entry(series).or_default();
        entry.is_new = true;
        let stretch = Fold {
            values,
            first,
            last,
        };
        self.folder.fold(&mut entry.statistics, &stretch);
        self.count += values.len() as u64;
        self.behind += values.len() as u64;
    }

    /// A column of a group that is being sealed, and its values as numbers.
    pub(crate) fn add(
        &mut self,
        producer: &ProducerRow,
        key: u32,
        column: &Column,
        values: &[f64],
        rows: &Rows<'_>,
    ) {
        let place = |at: usize| {
            let (step, boottime_ns) = rows.place(column.row(at));
            Place {
                step,
                attempt: producer.attempt,
                order_ns: producer.order_ns(boottime_ns),
            }
        };
        if let Some(last) = values.len().checked_sub(1) {
            self.fold((key, producer.rank), values, place(0), place(last));
        }
    }

    /// The same for a key that other layouts of this seal hold too: see [`Board::fold_deferred`].
    pub(crate) fn defer(
        &mut self,
        producer: &ProducerRow,
        key: u32,
        column: &Column,
        values: &[f64],
        rows: &Rows<'_>,
    ) {
        let waiting = self.deferred.entry(key).or_default();
        waiting.extend(timed(producer, column, values, rows));
    }

    /// Everything of this seal is there: fold what was deferred, in the order of time.
    pub(crate) fn fold_deferred(&mut self, rank: u32) {
        for (key, mut waiting) in std::mem::take(&mut self.deferred) {
            self.fold_timed((key, rank), &mut waiting);
        }
    }

    /// Values of one series in any order.
    pub(crate) fn fold_timed(&mut self, series: Series, values: &mut [Timed]) {
        values.sort_by_key(|timed| (timed.attempt, timed.order_ns));
        let (Some(first), Some(last)) = (values.first(), values.last()) else {
            return;
        };
        let numbers: Vec<f64> = values.iter().map(|timed| timed.value).collect();
        self.fold(series, &numbers, first.place(), last.place());
    }

    /// A group was written; its columns come through [`Board::add`].
    pub(crate) fn note_group(&mut self, group: i64) {
        self.last_grp = self.last_grp.max(group);
    }

    /// Whether it is time for a snapshot.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        let many = MOST_BEHIND.max(LEAST_BEHIND_EACH * self.entries.len() as u64);
        self.behind > 0
            && (self.behind >= many || now.duration_since(self.saved_at) >= SNAPSHOT_EVERY)
    }

    /// Whether the snapshot lacks something.
    pub(crate) fn is_behind(&self) -> bool {
        self.last_grp > self.saved_grp
    }

    /// Whether the snapshot has a group.
    pub(crate) fn has_saved(&self, group: i64) -> bool {
        group <= self.saved_grp
    }

    /// Write what is new, inside the caller's transaction. When that fails this board is to be thrown away.
    pub(crate) fn save(&mut self, conn: &Connection) -> Result<(), StoreError> {
        let mut new: Vec<(&Series, &mut Box<Entry>)> = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.is_new)
            .collect();
        new.sort_by_key(|(series, _)| **series);
        for (series, entry) in new {
            table::save(conn, *series, &entry.statistics)?;
            entry.is_new = false;
        }
        table::save_state(conn, self.last_grp, self.count, self.folder.alphas())?;
        (self.behind, self.saved_grp) = (0, self.last_grp);
        self.saved_at = Instant::now();
        Ok(())
    }

    /// All series, by key and rank.
    pub(crate) fn into_statistics(self) -> BTreeMap<Series, Statistics> {
        let entries = self.entries.into_iter();
        entries
            .map(|(series, entry)| (series, entry.statistics))
            .collect()
    }
}
