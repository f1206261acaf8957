//! Compaction: small groups that lie behind each other become one, packed harder, while nobody waits.
//!
//! The work is done key by key in memory; what it made replaces the old groups in one transaction, so that a
//! crash at any moment leaves either of them whole, and readers see either. The new group takes the number
//! of the last old one: what is "up to group n" (statistics, rollup) stays true.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, params};

use super::Store;
use super::checked::damaged;
use super::columns::Column;
use super::error::StoreError;
use super::groups::{NewColumn, insert_column, range};
use super::ints::{decode_ints, encode_ints};
use super::numbers::{ColumnError, PACKED_LEVEL};
use super::registry::keys_of;
use super::rollup::{BUCKET_FRAMES, Bucket, Chain, Rows, chain_of, parts_of};
use super::rows::insert_damaged;

/// Points of a new group at most, over all its keys: what is held in memory meanwhile.
const MOST_POINTS: u64 = 1 << 20;
/// So many small groups of a producer that goes on are worth the work before their bucket is full.
const MANY_GROUPS: usize = 64;
/// Groups looked at to find work.
const LOOKED_AT: usize = 4096;

/// A group that compaction is not done with.
#[derive(Debug, Clone)]
struct Loose {
    id: i64,
    chain: Chain,
    layout: Option<u32>,
    n: u64,
    rollup_grp: i64,
    ended: bool,
    /// It lies before the bucket that grows, and in no other.
    hole: bool,
}

/// Groups that become one, and how far that is.
#[derive(Debug)]
pub(crate) struct Job {
    chain: Chain,
    groups: Vec<Loose>,
    steps: Vec<i64>,
    times: Vec<i64>,
    /// Keys still to do.
    keys: Vec<u32>,
    made: Vec<Made>,
}

/// One column of the new group.
#[derive(Debug)]
struct Made {
    key: u32,
    column: NewColumn,
    parts: Vec<Bucket>,
}

impl Store {
    /// Do some of the work that can wait, until about `deadline`. Returns whether there is more.
    pub(crate) fn tend(&mut self, deadline: Instant) -> Result<bool, StoreError> {
        if self
            .board
            .as_ref()
            .is_none_or(super::statistics::Board::is_behind)
        {
            self.save_statistics()?;
        }
        while Instant::now() < deadline {
            if self.job.is_none() {
                self.job = self.next_job()?;
            }
            let Some(job) = &mut self.job else {
                return Ok(false);
            };
            let Some(key) = job.keys.pop() else {
                self.swap()?;
                continue;
            };
            match job.make(&self.conn, key) {
                Err(StoreError::Column(error)) => {
                    let groups = self.job.take().map(|job| job.groups);
                    self.leave_damaged(&groups.unwrap_or_default(), &error)?;
                }
                made => made?,
            }
        }
        Ok(true)
    }

    /// These groups stay as they are, and are not looked at again.
    fn leave(&self, groups: &[Loose]) -> Result<(), StoreError> {
        let mut done = self
            .conn
            .prepare_cached("UPDATE groups SET compacted = 1 WHERE id = ?1")?;
        for group in groups {
            done.execute([group.id])?;
        }
        Ok(())
    }

    /// Something in these groups cannot be decoded: what is lost is written down.
    fn leave_damaged(&self, groups: &[Loose], error: &ColumnError) -> Result<(), StoreError> {
        if let Some(first) = groups.first() {
            insert_damaged(&self.conn, first.chain.0, &error.to_string())?;
        }
        self.leave(groups)
    }

    fn next_job(&mut self) -> Result<Option<Job>, StoreError> {
        loop {
            let loose = self.loose()?;
            let Some(groups) = self.choose(&loose)? else {
                return Ok(None);
            };
            let [first, ..] = groups.as_slice() else {
                return Ok(None);
            };
            if groups.len() == 1 && first.rollup_grp != 0 {
                self.leave(&groups)?;
                continue;
            }
            match Job::open(&self.conn, groups.clone()) {
                Err(StoreError::Column(error)) => self.leave_damaged(&groups, &error)?,
                job => return job.map(Some),
            }
        }
    }

    fn loose(&self) -> Result<Vec<Loose>, StoreError> {
        let mut select = self.conn.prepare_cached(
            "SELECT groups.id, producer, layout, n, rollup_grp, producers.ended_ns IS NOT NULL
             FROM groups JOIN producers ON producers.id = producer WHERE compacted = 0
             ORDER BY producer, layout, groups.id LIMIT ?1",
        )?;
        let rows = select.query_map([LOOKED_AT as i64], |row| {
            let (producer, layout) = (row.get(1)?, row.get(2)?);
            let (id, chain) = (row.get(0)?, chain_of(producer, layout));
            Ok(Loose {
                id,
                chain,
                hole: self.is_hole(chain, id),
                layout,
                n: row.get::<_, i64>(3)? as u64,
                rollup_grp: row.get(4)?,
                ended: row.get(5)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Neighbours that may become one group. `None`: there are none yet.
    fn choose(&self, loose: &[Loose]) -> Result<Option<Vec<Loose>>, StoreError> {
        let Some(board) = &self.board else {
            return Ok(None);
        };
        let settled: Vec<&Loose> = loose
            .iter()
            .filter(|group| board.has_saved(group.id))
            .collect();
        let of = |group: &Loose| (group.chain, group.rollup_grp, group.hole);
        let same = |a: &&Loose, b: &&Loose| of(a) == of(b);
        for run in settled.chunk_by(same) {
            let Some(first) = run.first() else { continue };
            // More may still belong to groups that no bucket has.
            let is_final = first.rollup_grp != 0 || first.ended || first.hole;
            if !is_final && run.len() < MANY_GROUPS {
                continue;
            }
            let chosen = self.fitting(run)?;
            if is_final || chosen.len() >= MANY_GROUPS {
                return Ok(Some(chosen));
            }
        }
        Ok(None)
    }

    /// The first of these that fit into one group: always one, more as long as frames and points are few.
    fn fitting(&self, run: &[&Loose]) -> Result<Vec<Loose>, StoreError> {
        let mut frames = 0;
        let few_frames = run.iter().take_while(|group| {
            frames += group.n;
            frames <= BUCKET_FRAMES || frames == group.n
        });
        let mut fitting: Vec<Loose> = few_frames.map(|group| (*group).clone()).collect();
        let points_of = self.points_of(&fitting)?;
        let mut points = 0;
        let few_points = points_of.iter().take_while(|count| {
            points += *count;
            points <= MOST_POINTS
        });
        fitting.truncate(few_points.count().max(1));
        Ok(fitting)
    }

    /// The points of each of these groups, which are of one layout.
    fn points_of(&self, groups: &[Loose]) -> Result<Vec<u64>, StoreError> {
        let [first, .., last] = groups else {
            return Ok(vec![0; groups.len()]);
        };
        if first.layout.is_some() {
            let width = self.width(first)?;
            return Ok(groups.iter().map(|group| group.n * width).collect());
        }
        // Frames of pairs have each a width of its own.
        let mut select = self.conn.prepare_cached(
            "SELECT cols.grp, sum(cols.n)
             FROM (SELECT DISTINCT key FROM producer_keys WHERE producer = ?1) AS own
                 CROSS JOIN cols ON cols.key = own.key AND cols.grp BETWEEN ?2 AND ?3
             GROUP BY cols.grp",
        )?;
        let rows = select.query_map(params![first.chain.0, first.id, last.id], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
        })?;
        let points: HashMap<i64, u64> = rows.collect::<Result<_, _>>()?;
        let of = |group: &Loose| points.get(&group.id).copied().unwrap_or_default();
        Ok(groups.iter().map(of).collect())
    }

    /// Whether a group lies before the bucket that grows: none will take it in.
    fn is_hole(&self, chain: Chain, group: i64) -> bool {
        self.rollup
            .open_from(chain)
            .is_some_and(|from| group < from)
    }

    /// Keys of the layout of a group.
    fn width(&self, group: &Loose) -> Result<u64, StoreError> {
        let mut select = self.conn.prepare_cached(
            "SELECT length(keys) / 4 FROM layouts WHERE producer = ?1 AND id = ?2",
        )?;
        let width: Option<i64> = select
            .query_row(params![group.chain.0, group.chain.1], |row| row.get(0))
            .optional()?;
        Ok(width.map_or(1, |width| width as u64))
    }

    /// Replace the old groups by the new one.
    fn swap(&mut self) -> Result<(), StoreError> {
        let Some(job) = self.job.take() else {
            return Ok(());
        };
        let tx = self.conn.transaction()?;
        let new = job.write(&tx)?;
        let Some(first_grp) = job.groups.first().map(|group| group.id) else {
            return Ok(());
        };
        // A bucket may have taken them in meanwhile, or will: then it sums them up.
        let (rollup_grp, ended): (i64, bool) = tx.query_row(
            "SELECT rollup_grp, producers.ended_ns IS NOT NULL
             FROM groups JOIN producers ON producers.id = producer WHERE groups.id = ?1",
            [new],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let open_from = self.rollup.open_from(job.chain);
        let roll = rollup_grp == 0 && open_from.map_or(ended, |from| new < from);
        let rolled = if roll {
            let buckets = job
                .made
                .into_iter()
                .map(|made| (made.key, made.parts))
                .collect();
            self.rollup
                .write_bucket(&tx, job.chain, &[first_grp, new], buckets)
        } else {
            Ok(())
        };
        rolled
            .and_then(|()| tx.commit().map_err(StoreError::from))
            .inspect_err(|_| {
                self.rollup = super::rollup::Rollup::default();
            })
    }
}

impl Job {
    fn open(conn: &Connection, groups: Vec<Loose>) -> Result<Self, StoreError> {
        let (mut steps, mut times) = (Vec::new(), Vec::new());
        for group in &groups {
            let mut select =
                conn.prepare_cached("SELECT n, steps, times FROM groups WHERE id = ?1")?;
            let (n, s, t): (u32, Vec<u8>, Vec<u8>) = select.query_row([group.id], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
            let ints = |packed: &[u8]| {
                let of_group = |error| ColumnError(format!("group {}: {error}", group.id));
                decode_ints(packed, n as usize).map_err(of_group)
            };
            steps.append(&mut ints(&s)?);
            times.append(&mut ints(&t)?);
        }
        let chain = groups.first().map_or((0, 0), |group| group.chain);
        let layout = groups.first().and_then(|group| group.layout);
        let keys = keys_of(conn, chain.0, layout)?;
        Ok(Self {
            chain,
            groups,
            steps,
            times,
            keys,
            made: Vec::new(),
        })
    }

    /// One column of the new group, from those of the old ones.
    fn make(&mut self, conn: &Connection, key: u32) -> Result<(), StoreError> {
        let mut whole = Column::default();
        let mut before = 0;
        for group in &self.groups {
            let mut select =
                conn.prepare_cached("SELECT data FROM cols WHERE key = ?1 AND grp = ?2")?;
            let data: Option<Vec<u8>> = select
                .query_row(params![key, group.id], |row| row.get(0))
                .optional()?;
            if let Some(data) = data {
                let column = Column::decode(&data, group.n as usize)
                    .map_err(|error| damaged(conn, key, group.id, &error))?;
                whole.append(column, before);
            }
            before += group.n as usize;
        }
        if whole.slots.is_empty() {
            return Ok(());
        }
        whole.settle(before);
        let parts = parts_of(&whole, &Rows::new(&self.steps, &self.times));
        let mut sum = Bucket::default();
        parts.iter().for_each(|part| sum.append(part));
        self.made.push(Made {
            key,
            column: NewColumn::new(&whole, &sum, PACKED_LEVEL)?,
            parts,
        });
        Ok(())
    }

    /// Write the new group and delete the old ones. Returns its number.
    fn write(&self, conn: &Connection) -> Result<i64, StoreError> {
        let id = self.groups.last().map_or(0, |group| group.id);
        let mut delete = conn.prepare_cached("DELETE FROM cols WHERE key = ?1 AND grp = ?2")?;
        for made in &self.made {
            for group in &self.groups {
                delete.execute(params![made.key, group.id])?;
            }
            insert_column(conn, id, made.key, &made.column)?;
        }
        let mut delete = conn.prepare_cached("DELETE FROM groups WHERE id = ?1")?;
        for group in self.groups.iter().filter(|group| group.id != id) {
            delete.execute([group.id])?;
        }
        let ((step_min, step_max), (time_min, time_max)) = (range(&self.steps), range(&self.times));
        let settled = self
            .groups
            .first()
            .is_some_and(|g| g.rollup_grp != 0 || g.ended);
        conn.prepare_cached(
            "UPDATE groups SET n = ?2, step_min = ?3, step_max = ?4, time_min = ?5, time_max = ?6,
                 steps = ?7, times = ?8, compacted = ?9 WHERE id = ?1",
        )?
        .execute(params![
            id,
            self.steps.len() as i64,
            step_min,
            step_max,
            time_min,
            time_max,
            encode_ints(&self.steps)?,
            encode_ints(&self.times)?,
            settled,
        ])?;
        Ok(id)
    }
}

#[cfg(test)]
#[path = "compaction_tests.rs"]
mod tests;
