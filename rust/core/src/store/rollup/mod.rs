//! The rollup: rows that sum up stretches of a series, so that a picture of any width reads few rows.
//!
//! Level 1 sums up some 8,192 frames of one layout, level n + 1 eight rows of level n. A bucket is written when
//! it is full or its producer has ended; until then its groups stand open, and readers decode them.

mod bucket;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, params};

use super::checked::BUCKET;
use super::columns::Column;
use super::error::StoreError;

pub(crate) use bucket::{Bucket, Mark, Rows};

/// Frames of a full bucket of level 1.
pub(crate) const BUCKET_FRAMES: u64 = 8192;
/// Points of a part of it.
const PART_POINTS: u64 = 1024;
/// Rows of a level in one of the next.
const FAN_OUT: u32 = 8;

/// A layout of a producer; -1: its frames of key/value pairs.
pub(crate) type Chain = (i64, i64);

/// The layout as it stands in `rollup`.
pub(crate) fn chain_of(producer: i64, layout: Option<u32>) -> Chain {
    (producer, layout.map_or(-1, i64::from))
}

/// The buckets that are not full, and how many rows of each level wait for the next.
#[derive(Debug, Default)]
pub(crate) struct Rollup {
    open: HashMap<Chain, Open>,
    levels: HashMap<Chain, Vec<Level>>,
}

/// A bucket of level 1 that grows, for all keys of a layout.
#[derive(Debug, Default)]
struct Open {
    groups: Vec<i64>,
    frames: u64,
    keys: BTreeMap<u32, Parts>,
}

/// The parts of one key. There may be very many keys that were logged once: those take a mark each.
#[derive(Debug, Default)]
enum Parts {
    #[default]
    Empty,
    /// The bucket of one value, see [`Bucket::of_mark`].
    One(Mark),
    More(Box<Growing>),
}

/// The parts that are done as bytes, and the one that grows.
#[derive(Debug, Default)]
struct Growing {
    done: Vec<u8>,
    last: Bucket,
}

/// Rows of one level that no row of the next has.
#[derive(Debug, Default)]
struct Level {
    rows: u32,
    /// The last group of the first of them.
    from_grp: i64,
    keys: BTreeSet<u32>,
}

impl Parts {
    fn add(&mut self, bucket: &Bucket) {
        if matches!(self, Self::Empty)
            && let Some(mark) = bucket.only()
        {
            *self = Self::One(mark);
            return;
        }
        let mut growing = std::mem::take(self).into_growing();
        growing.add(bucket);
        *self = Self::More(growing);
    }

    fn into_growing(self) -> Box<Growing> {
        match self {
            Self::Empty => Box::default(),
            Self::One(mark) => Box::new(Growing {
                done: Vec::new(),
                last: Bucket::of_mark(mark),
            }),
            Self::More(growing) => growing,
        }
    }

    /// The whole, and its parts when there are several.
    fn finish(self) -> Result<(Bucket, Option<Vec<u8>>), StoreError> {
        self.into_growing().finish()
    }
}

impl Growing {
    fn add(&mut self, bucket: &Bucket) {
        if self.last.n > 0 && self.last.n + bucket.n > PART_POINTS {
            self.last.encode(&mut self.done);
            self.last = Bucket::default();
        }
        self.last.append(bucket);
    }

    fn finish(mut self) -> Result<(Bucket, Option<Vec<u8>>), StoreError> {
        if self.done.is_empty() {
            return Ok((self.last, None));
        }
        self.last.encode(&mut self.done);
        let mut whole = Bucket::default();
        for part in decoded(&self.done)? {
            whole.append(&part);
        }
        Ok((whole, Some(self.done)))
    }
}

/// The buckets in a blob of `rollup`.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Vec<Bucket>, StoreError> {
    Bucket::decode_all(BUCKET.open(bytes)?)
        .ok_or_else(|| StoreError::Unexpected("a bucket of the rollup cannot be read".into()))
}

impl Rollup {
    /// A column of a group that is being sealed.
    pub(crate) fn add(&mut self, chain: Chain, key: u32, bucket: &Bucket) {
        let open = self.open.entry(chain).or_default();
        open.keys.entry(key).or_default().add(bucket);
    }

    /// All columns of a group were added. A bucket that is full now is written.
    pub(crate) fn end_group(
        &mut self,
        conn: &Connection,
        chain: Chain,
        group: i64,
        frames: u64,
    ) -> Result<(), StoreError> {
        let open = self.open.entry(chain).or_default();
        open.groups.push(group);
        open.frames += frames;
        if open.frames >= BUCKET_FRAMES {
            self.close(conn, chain)?;
        }
        Ok(())
    }

    /// The producer has ended: its buckets will not get fuller.
    pub(crate) fn end_producer(
        &mut self,
        conn: &Connection,
        producer: i64,
    ) -> Result<(), StoreError> {
        let chains: Vec<Chain> = self
            .open
            .keys()
            .filter(|chain| chain.0 == producer)
            .copied()
            .collect();
        for chain in chains {
            self.close(conn, chain)?;
        }
        self.levels.retain(|chain, _| chain.0 != producer);
        Ok(())
    }

    /// The first group of the bucket that grows. `None`: there is no such bucket.
    pub(crate) fn open_from(&self, chain: Chain) -> Option<i64> {
        self.open.get(&chain)?.groups.first().copied()
    }

    /// Write a bucket that was made elsewhere, of groups that no bucket has.
    pub(crate) fn write_bucket(
        &mut self,
        conn: &Connection,
        chain: Chain,
        groups: &[i64],
        buckets: Vec<(u32, Vec<Bucket>)>,
    ) -> Result<(), StoreError> {
        let mut open = Open {
            groups: groups.to_vec(),
            ..Open::default()
        };
        for (key, parts) in buckets {
            let sum = open.keys.entry(key).or_default();
            parts.iter().for_each(|part| sum.add(part));
        }
        self.write_open(conn, chain, open)
    }

    fn close(&mut self, conn: &Connection, chain: Chain) -> Result<(), StoreError> {
        match self.open.remove(&chain) {
            Some(open) => self.write_open(conn, chain, open),
            None => Ok(()),
        }
    }

    fn write_open(
        &mut self,
        conn: &Connection,
        chain: Chain,
        open: Open,
    ) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (open.groups.first(), open.groups.last()) else {
            return Ok(());
        };
        let keys: BTreeSet<u32> = open.keys.keys().copied().collect();
        for (key, parts) in open.keys {
            let (bucket, parts) = parts.finish()?;
            insert(
                conn,
                (key, chain),
                1,
                (*first, *last),
                &bucket,
                parts.as_deref(),
            )?;
        }
        let mut mark = conn.prepare_cached("UPDATE groups SET rollup_grp = ?2 WHERE id = ?1")?;
        for group in &open.groups {
            mark.execute([group, last])?;
        }
        self.lift(conn, chain, *last, keys)
    }

    /// A row of level 1 was written for these keys: when eight wait, they become one of the next level.
    fn lift(
        &mut self,
        conn: &Connection,
        chain: Chain,
        last: i64,
        keys: BTreeSet<u32>,
    ) -> Result<(), StoreError> {
        let levels = self.levels.entry(chain).or_default();
        let mut keys = keys;
        for at in 0.. {
            if levels.len() <= at {
                levels.push(Level::default());
            }
            let Some(level) = levels.get_mut(at) else {
                return Ok(());
            };
            if level.rows == 0 {
                level.from_grp = last;
            }
            level.rows += 1;
            level.keys.append(&mut keys);
            if level.rows < FAN_OUT {
                return Ok(());
            }
            let full = std::mem::take(level);
            for key in &full.keys {
                lift_key(conn, (*key, chain), at as i64 + 1, (full.from_grp, last))?;
            }
            keys = full.keys;
        }
        Ok(())
    }
}

/// Sum up the rows of a level whose last groups lie between these, both included.
fn lift_key(
    conn: &Connection,
    (key, chain): (u32, Chain),
    level: i64,
    (from_grp, to_grp): (i64, i64),
) -> Result<(), StoreError> {
    let range = params![key, level, chain.0, chain.1, from_grp, to_grp];
    let mut select = conn.prepare_cached(
        "SELECT first_grp, last_grp, bucket FROM rollup
         WHERE key = ?1 AND covered = 0 AND level = ?2 AND producer = ?3 AND layout = ?4
             AND last_grp BETWEEN ?5 AND ?6 ORDER BY last_grp",
    )?;
    let mut rows = select.query(range)?;
    let mut whole = Bucket::default();
    let mut groups: Option<(i64, i64)> = None;
    while let Some(row) = rows.next()? {
        let first = groups.map_or(row.get(0)?, |(first, _)| first);
        groups = Some((first, row.get(1)?));
        let blob = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        let Ok(buckets) = decoded(blob) else {
            // The rows of this level stay what readers see.
            return Ok(());
        };
        buckets.iter().for_each(|bucket| whole.append(bucket));
    }
    drop(rows);
    let Some(groups) = groups else {
        return Ok(());
    };
    conn.prepare_cached(
        "UPDATE rollup SET covered = 1
         WHERE key = ?1 AND covered = 0 AND level = ?2 AND producer = ?3 AND layout = ?4
             AND last_grp BETWEEN ?5 AND ?6",
    )?
    .execute(range)?;
    insert(conn, (key, chain), level + 1, groups, &whole, None)
}

fn insert(
    conn: &Connection,
    (key, chain): (u32, Chain),
    level: i64,
    (first_grp, last_grp): (i64, i64),
    bucket: &Bucket,
    parts: Option<&[u8]>,
) -> Result<(), StoreError> {
    if bucket.n == 0 {
        return Ok(());
    }
    let number = |mark: Option<Mark>| mark.map(|mark| mark.number());
    let mut bytes = Vec::new();
    bucket.encode(&mut bytes);
    BUCKET.close(&mut bytes);
    let parts = parts.map(|parts| {
        let mut parts = parts.to_vec();
        BUCKET.close(&mut parts);
        parts
    });
    let mut insert = conn.prepare_cached(
        "INSERT INTO rollup(key, covered, level, producer, layout, last_grp, first_grp, n, n_nan,
             min, max, sum, first, last, step_min, step_max, bucket, parts)
         VALUES(?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)",
    )?;
    insert.execute(params![
        key,
        level,
        chain.0,
        chain.1,
        last_grp,
        first_grp,
        bucket.n as i64,
        bucket.not_finite as i64,
        number(bucket.least()),
        number(bucket.greatest()),
        bucket.least().map(|_| bucket.sum),
        number(bucket.first()),
        number(bucket.last()),
        bucket.step_min,
        bucket.step_max,
        bytes,
        parts,
    ])?;
    Ok(())
}

/// The buckets of a column of many rows, part by part.
pub(crate) fn parts_of(column: &Column, rows: &Rows<'_>) -> Vec<Bucket> {
    let mut values = Vec::new();
    let count = column.slots.len();
    let pieces = count.div_ceil(PART_POINTS as usize).max(1);
    (0..pieces)
        .map(|piece| {
            let range = piece * count / pieces..(piece + 1) * count / pieces;
            let part = column.slice(range);
            part.numbers(&mut values);
            Bucket::of(&part, &values, rows)
        })
        .filter(|bucket| bucket.n > 0)
        .collect()
}

#[cfg(test)]
mod tests;
