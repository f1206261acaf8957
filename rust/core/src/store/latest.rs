//! The plain tables for people: the last value of every key, the last steps as JSON.
//!
//! Frames are only remembered when they come; rows are written once a second, or with a seal, so that
//! `latest` always covers everything that is in groups.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension, params};
use serde_json::{Map, Value as Json};
use tm_spool::{Frame, Lsn, frames};

use super::cell::Cell;
use super::error::StoreError;
use super::keys::{KeyTable, readable};
use super::scan::{Row, Scan};
use super::source::{Dictionary, ProducerRow};

/// Steps kept in `recent` per rank.
const RECENT_STEPS: usize = 64;
/// Raw frames remembered for `recent` until the next flush.
const RECENT_BYTES: usize = 256 * 1024;
/// A frame with more values than this is not shown in `recent`.
const RECENT_KEYS: u32 = 1024;

/// The newest frames of a producer since the last flush.
#[derive(Debug, Default)]
pub(crate) struct Latest {
    /// The last frame of each layout, as bytes.
    dense: HashMap<u32, Remembered>,
    /// The last value of each key logged in key/value frames.
    pairs: HashMap<u32, (i64, i64, Cell)>,
    /// The last frames, oldest first.
    recent: Vec<Remembered>,
}

#[derive(Debug)]
struct Remembered {
    boottime_ns: i64,
    lane: u8,
    lsn: u64,
    bytes: Vec<u8>,
}

impl Remembered {
    fn new(row: &Row<'_>) -> Self {
        Self {
            boottime_ns: row.frame.boottime_ns,
            lane: row.lane,
            lsn: row.frame.lsn.0,
            bytes: row.raw.to_vec(),
        }
    }

    fn place(&self) -> (i64, u8, u64) {
        (self.boottime_ns, self.lane, self.lsn)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        frames(&self.bytes, Lsn(self.lsn)).next()
    }
}

impl Latest {
    /// Remember the newest of these frames. Doing it twice with the same frames changes nothing.
    pub(crate) fn observe(&mut self, dictionary: &Dictionary, scan: &Scan<'_>) {
        for (layout, rows) in scan.layouts() {
            match layout {
                Some(layout) => self.observe_dense(layout, rows),
                None => self.observe_pairs(dictionary, rows),
            }
            let shown = rows.iter().rev().filter(|row| row.frame.n <= RECENT_KEYS);
            self.recent
                .extend(shown.take(RECENT_STEPS).map(Remembered::new));
        }
        self.recent.sort_by_key(Remembered::place);
        self.recent.dedup_by_key(|r| r.place());
        let mut bytes = 0;
        let newest = self.recent.iter().rev().take(RECENT_STEPS);
        let kept = newest.take_while(|r| {
            bytes += r.bytes.len();
            bytes <= RECENT_BYTES
        });
        let surplus = self.recent.len() - kept.count();
        self.recent.drain(..surplus);
    }

    fn observe_dense(&mut self, layout: u32, rows: &[Row<'_>]) {
        let newest = rows
            .iter()
            .max_by_key(|r| (r.frame.boottime_ns, r.lane, r.frame.lsn));
        let Some(row) = newest else { return };
        let known = self.dense.get(&layout);
        if known.is_none_or(|known| known.boottime_ns <= row.frame.boottime_ns) {
            self.dense.insert(layout, Remembered::new(row));
        }
    }

    fn observe_pairs(&mut self, dictionary: &Dictionary, rows: &[Row<'_>]) {
        for row in rows {
            let (time, step) = (row.frame.boottime_ns, row.frame.step.0);
            for i in 0..row.frame.n as usize {
                let key = row
                    .frame
                    .pair_key(i)
                    .and_then(|local| dictionary.key(local.0));
                let (Some(key), Some(value)) = (key, row.frame.value(i)) else {
                    continue;
                };
                if self.pairs.get(&key).is_none_or(|known| known.0 <= time) {
                    self.pairs
                        .insert(key, (time, step, Cell::from_value(value)));
                }
            }
        }
    }

    /// Whether there is anything to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.dense.is_empty() && self.pairs.is_empty() && self.recent.is_empty()
    }

    /// The rows are durable: start anew.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Write what was remembered, inside the caller's transaction.
    pub(crate) fn write(
        &self,
        conn: &Connection,
        row: &ProducerRow,
        dictionary: &Dictionary,
        keys: &KeyTable,
    ) -> Result<(), StoreError> {
        let mut newest: Vec<&Remembered> = self.dense.values().collect();
        newest.sort_by_key(|r| r.place());
        for remembered in newest {
            let Some(frame) = remembered.frame() else {
                continue;
            };
            let Some(layout) = dictionary.layout(frame.layout.0) else {
                continue;
            };
            for (i, key) in layout.iter().enumerate() {
                let Some(value) = frame.value(i) else {
                    continue;
                };
                let cell = Cell::from_value(value);
                upsert(conn, row, *key, frame.step.0, frame.boottime_ns, &cell)?;
            }
        }
        for (key, (time, step, cell)) in &self.pairs {
            upsert(conn, row, *key, *step, *time, cell)?;
        }
        self.write_recent(conn, row, dictionary, keys)
    }

    fn write_recent(
        &self,
        conn: &Connection,
        row: &ProducerRow,
        dictionary: &Dictionary,
        keys: &KeyTable,
    ) -> Result<(), StoreError> {
        let mut steps: BTreeMap<i64, (i64, Map<String, Json>)> = BTreeMap::new();
        for frame in self.recent.iter().filter_map(Remembered::frame) {
            let entry = match steps.entry(frame.step.0) {
                Entry::Occupied(e) => e.into_mut(),
                Entry::Vacant(e) => e.insert((0, stored_step(conn, row, frame.step.0)?)),
            };
            entry.0 = frame.boottime_ns;
            add_values(&mut entry.1, dictionary, keys, &frame);
        }
        if steps.is_empty() {
            return Ok(());
        }
        let mut insert = conn.prepare_cached(
            "INSERT OR REPLACE INTO recent(attempt, rank, step, time_ns, metrics, order_ns)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        for (step, (boottime_ns, metrics)) in steps {
            let json = Json::Object(metrics).to_string();
            let (wall_ns, order_ns) = (boottime_ns + row.wall_offset_ns, row.order_ns(boottime_ns));
            insert.execute(params![
                row.attempt,
                row.rank,
                step,
                wall_ns,
                json,
                order_ns
            ])?;
        }
        prune(conn, row)
    }
}

fn upsert(
    conn: &Connection,
    row: &ProducerRow,
    key: u32,
    step: i64,
    boottime_ns: i64,
    cell: &Cell,
) -> Result<(), StoreError> {
    let mut statement = conn.prepare_cached(
        "INSERT INTO latest(key, rank, attempt, step, time_ns, value, kind, order_ns)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT(key, rank) DO UPDATE SET attempt = excluded.attempt, step = excluded.step,
             time_ns = excluded.time_ns, value = excluded.value, kind = excluded.kind,
             order_ns = excluded.order_ns
         WHERE (excluded.attempt, excluded.order_ns) >= (latest.attempt, latest.order_ns)",
    )?;
    let time = boottime_ns + row.wall_offset_ns;
    statement.execute(params![
        key,
        row.rank,
        row.attempt,
        step,
        time,
        cell,
        cell.kind() as u8,
        row.order_ns(boottime_ns),
    ])?;
    Ok(())
}

/// What `recent` already holds of this step: a second `log()` of a step adds to the first.
fn stored_step(
    conn: &Connection,
    row: &ProducerRow,
    step: i64,
) -> Result<Map<String, Json>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT metrics FROM recent WHERE attempt = ?1 AND rank = ?2 AND step = ?3",
    )?;
    let found: Option<String> = select
        .query_row(params![row.attempt, row.rank, step], |r| r.get(0))
        .optional()?;
    Ok(found
        .and_then(|json| serde_json::from_str(&json).ok())
        .unwrap_or_default())
}

fn add_values(
    metrics: &mut Map<String, Json>,
    dictionary: &Dictionary,
    keys: &KeyTable,
    frame: &Frame<'_>,
) {
    let layout = dictionary.layout(frame.layout.0);
    for i in 0..frame.n as usize {
        let key = match frame.pair_key(i) {
            Some(local) => dictionary.key(local.0),
            None => layout.and_then(|keys| keys.get(i).copied()),
        };
        let (Some(name), Some(value)) = (key.and_then(|k| keys.name(k)), frame.value(i)) else {
            continue;
        };
        metrics.insert(readable(name), Cell::from_value(value).to_json());
    }
}

fn prune(conn: &Connection, row: &ProducerRow) -> Result<(), StoreError> {
    let mut old = conn.prepare_cached("DELETE FROM recent WHERE attempt < ?1")?;
    old.execute([row.attempt])?;
    let mut delete = conn.prepare_cached(
        "DELETE FROM recent WHERE attempt = ?1 AND rank = ?2 AND step NOT IN
         (SELECT step FROM recent WHERE attempt = ?1 AND rank = ?2
          ORDER BY order_ns DESC, step DESC LIMIT ?3)",
    )?;
    delete.execute(params![row.attempt, row.rank, RECENT_STEPS as i64])?;
    Ok(())
}
