//! The commit: what was read from the lanes and how far, in one durable transaction.

use std::time::Instant;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tm_spool::Lsn;

use super::bytes::pack_u32s;
use super::error::StoreError;
use super::firsts::Firsts;
use super::groups::{GroupWriter, SEAL_FRAMES, seal_frames};
use super::keys::KeyTable;
use super::latest::Latest;
use super::notes;
use super::rollup::Rollup;
use super::scan::Scan;
use super::source::{Dictionary, FreshTally, ProducerRow, Source};
use super::statistics::Board;
use super::system::SystemLine;
use super::{Store, rows};

/// Raw frames of one producer may take this much before they are sealed.
const FRESH_BYTES: u64 = 24 * 1024 * 1024;
/// So many points at most.
const FRESH_POINTS: u64 = 2_000_000;
/// So many frames at most, when many layouts share them and none gets full.
const FRESH_FRAMES: u32 = 8 * SEAL_FRAMES as u32;

/// Both clocks of a machine at one moment.
#[derive(Debug, Clone)]
pub(crate) struct ClockSample {
    pub host: String,
    pub boottime_ns: i64,
    pub wall_ns: i64,
}

/// What a commit does besides storing what is pending.
#[derive(Debug, Default)]
pub(crate) struct CommitOptions {
    /// Write `latest` and `recent` too.
    pub flush_latest: bool,
    /// Write a snapshot of the statistics too.
    pub save_statistics: bool,
    /// A row for the clock table. `None`: the offset did not move.
    pub clock: Option<ClockSample>,
    /// What the machine was found to do.
    pub system: Vec<SystemLine>,
}

/// What became durable, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct Committed {
    pub configs: Vec<(u32, String)>,
    pub points: u64,
    pub frames: u64,
    /// There are new groups.
    pub sealed: bool,
}

/// What changes in memory once the transaction is durable.
struct Outcome {
    fresh: FreshTally,
    latest_written: bool,
    lowered: Firsts,
    points: u64,
}

impl Store {
    /// Store everything pending of these producers. When this returns `Ok` it is on the disk, the
    /// sources are empty and the lanes may be acknowledged; after an error nothing has changed and the
    /// same call may be made again.
    pub(crate) fn commit(
        &mut self,
        sources: &mut [&mut Source],
        options: &CommitOptions,
    ) -> Result<Committed, StoreError> {
        let written = self.write_transaction(sources, options);
        match written {
            Ok((committed, outcomes)) => {
                self.keys.committed();
                for (source, outcome) in sources.iter_mut().zip(outcomes) {
                    source.settle(outcome);
                }
                Ok(committed)
            }
            Err(error) => {
                self.keys.rolled_back();
                self.system.rolled_back();
                // They have taken in what is not stored.
                self.board = None;
                self.rollup = Rollup::default();
                for source in sources.iter_mut() {
                    source.dictionary.rolled_back();
                }
                Err(error)
            }
        }
    }

    fn write_transaction(
        &mut self,
        sources: &mut [&mut Source],
        options: &CommitOptions,
    ) -> Result<(Committed, Vec<Outcome>), StoreError> {
        let tx = self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if self.board.is_none() {
            let board = Board::load(&tx, self.alphas)?;
            for (key, group) in board.unreadable() {
                rows::insert_damaged(&tx, *key, *group)?;
            }
            self.board = Some(board);
        }
        let Some(board) = &mut self.board else {
            return Err(StoreError::Unexpected("there are no statistics".into()));
        };
        let mut derived = Derived {
            board,
            rollup: &mut self.rollup,
        };
        let mut committed = Committed::default();
        let mut outcomes = Vec::with_capacity(sources.len());
        if let Some(sample) = &options.clock {
            rows::insert_clock(&tx, sample)?;
        }
        self.system.write(&tx, &options.system)?;
        for source in sources.iter_mut() {
            outcomes.push(write_source(
                &tx,
                &mut self.keys,
                &mut derived,
                source,
                options,
                &mut committed,
            )?);
        }
        let ended = sources.iter().any(|source| source.pending.end.is_some());
        let due = derived.board.is_due(Instant::now());
        if due || ((options.save_statistics || ended) && derived.board.is_behind()) {
            derived.board.save(&tx)?;
        }
        tx.commit()?;
        Ok((committed, outcomes))
    }
}

impl Source {
    fn settle(&mut self, outcome: Outcome) {
        let pending = std::mem::take(&mut self.pending);
        self.dictionary.committed();
        self.marks.extend(pending.marks);
        self.fresh = outcome.fresh;
        self.points += outcome.points;
        self.firsts.merge(outcome.lowered);
        if outcome.latest_written {
            self.latest.clear();
        }
    }
}

/// What is made of the columns while they are sealed.
struct Derived<'a> {
    board: &'a mut Board,
    rollup: &'a mut Rollup,
}

fn write_source(
    tx: &Transaction<'_>,
    keys: &mut KeyTable,
    derived: &mut Derived<'_>,
    source: &mut Source,
    options: &CommitOptions,
    committed: &mut Committed,
) -> Result<Outcome, StoreError> {
    define(tx, keys, source)?;
    let Source {
        row,
        dictionary,
        pending,
        fresh,
        latest,
        firsts,
        ..
    } = source;
    let mut scan = Scan::default();
    for batch in &pending.batches {
        scan.add(dictionary, batch.lane.0, batch.first, &batch.bytes);
    }
    latest.observe(dictionary, &scan);
    let points = scan.points;
    committed.points += points;
    committed.frames += scan.frames;
    for other in &scan.others {
        notes::record(tx, row, other, committed)?;
    }
    rows::insert_marked(tx, row, dictionary, &scan)?;
    let lowered = firsts.lower(tx, row.attempt, dictionary, &scan)?;
    rows::insert_gaps(tx, row.id, &pending.gaps)?;
    rows::insert_undefined(tx, row.id, scan.undefined)?;
    rows::count(tx, row.id, &scan)?;
    rows::move_marks(tx, row.id, &pending.marks)?;
    if let Some(end) = &pending.end {
        rows::end_producer(tx, row.id, end)?;
    }
    let bytes: usize = pending.batches.iter().map(|batch| batch.bytes.len()).sum();
    let tally = fresh.plus(&scan, bytes as u64);
    let sealing = tally.points > 0 && (pending.seal || tally.is_due(dictionary));
    if sealing {
        committed.sealed = true;
        seal(tx, row, dictionary, scan, latest, derived)?;
    } else if scan.points > 0 {
        rows::insert_fresh(tx, row.id, &pending.batches)?;
    }
    if pending.end.is_some() {
        derived.rollup.end_producer(tx, row.id)?;
    }
    let latest_written = !latest.is_empty() && (options.flush_latest || sealing);
    if latest_written {
        latest.write(tx, row, dictionary, keys)?;
    }
    let fresh = if sealing {
        FreshTally::default()
    } else {
        tally
    };
    Ok(Outcome {
        fresh,
        latest_written,
        lowered,
        points,
    })
}

/// All open layouts of a producer become groups: what lies in `fresh` and what was just scanned.
fn seal(
    tx: &Transaction<'_>,
    row: &ProducerRow,
    dictionary: &Dictionary,
    scan: Scan<'_>,
    latest: &mut Latest,
    derived: &mut Derived<'_>,
) -> Result<(), StoreError> {
    let producer = row.id;
    let blobs = rows::load_fresh(tx, producer)?;
    let mut all = Scan::default();
    all.append(scan);
    for blob in &blobs {
        all.add(dictionary, blob.lane, Lsn(blob.first), &blob.frames);
    }
    // Frames of an earlier writer were never observed by this one.
    latest.observe(dictionary, &all);
    // What nothing defines was counted when it came.
    GroupWriter::new(tx, row, derived.board, derived.rollup).write(dictionary, &mut all)?;
    rows::delete_fresh(tx, producer)
}

impl FreshTally {
    /// What lies in `fresh` once these frames are there too.
    fn plus(&self, scan: &Scan<'_>, bytes: u64) -> Self {
        let mut sum = self.clone();
        for (layout, rows) in scan.layouts() {
            *sum.frames.entry(layout).or_default() += rows.len() as u32;
        }
        sum.points += scan.points;
        sum.bytes += bytes;
        if sum.points > 0 {
            sum.since.get_or_insert_with(Instant::now);
        }
        sum
    }

    /// Whether any layout is full, or all of it is too much.
    fn is_due(&self, dictionary: &Dictionary) -> bool {
        let full = |(layout, frames): (&Option<u32>, &u32)| {
            let keys = layout
                .and_then(|id| dictionary.layout(id))
                .map_or(1, |keys| keys.len());
            *frames as usize >= seal_frames(keys)
        };
        self.bytes >= FRESH_BYTES
            || self.points >= FRESH_POINTS
            || self.frames.values().sum::<u32>() >= FRESH_FRAMES
            || self.frames.iter().any(full)
    }
}

/// Store the definitions that came with the frames, and learn what they mean here.
fn define(conn: &Connection, keys: &mut KeyTable, source: &mut Source) -> Result<(), StoreError> {
    let mut insert_key = conn.prepare_cached(
        "INSERT OR IGNORE INTO producer_keys(producer, id, key) VALUES(?1, ?2, ?3)",
    )?;
    let mut insert_layout = conn
        .prepare_cached("INSERT OR IGNORE INTO layouts(producer, id, keys) VALUES(?1, ?2, ?3)")?;
    for tail in &source.pending.definitions {
        for (local, name) in &tail.keys {
            let key = keys.id(conn, name)?;
            if source.dictionary.key(local.0) != Some(key) {
                insert_key.execute(params![source.row.id, local.0, key])?;
                source.dictionary.define_key(local.0, key);
            }
        }
        for (local, members) in &tail.layouts {
            let known = members.iter().map(|m| source.dictionary.key(m.0));
            let Some(known) = known.collect::<Option<Vec<u32>>>() else {
                continue;
            };
            if source
                .dictionary
                .layout(local.0)
                .is_none_or(|old| **old != *known)
            {
                insert_layout.execute(params![source.row.id, local.0, pack_u32s(&known)])?;
                source.dictionary.define_layout(local.0, known.into());
            }
        }
    }
    Ok(())
}
