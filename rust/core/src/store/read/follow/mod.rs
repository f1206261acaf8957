//! The points of a run as they come: each call gives what was stored since the last one.

mod gathering;
mod groups;
mod past;
mod wanted;

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use gathering::Gathering;
pub use past::Thinning;
use past::{Past, Slots};
use wanted::Wanted;

use super::{Origins, RunReader};
use crate::store::error::StoreError;
use crate::store::rows::FreshBlob;

/// How far somebody has followed a run, and what he wants to see of it.
#[derive(Debug, Default)]
pub struct Following {
    producers: HashMap<i64, Seen>,
    wanted: Wanted,
    /// What SQLite said of the state that was read to its end. `None`: none was.
    version: Option<i64>,
    /// How the past is to be thinned, until it is known what that is. `None`: it is not, or it is known.
    thinning: Option<Thinning>,
    /// What is thinned. `None`: nothing.
    past: Option<Past>,
}

/// What was seen of one producer.
#[derive(Debug, Clone, Default)]
struct Seen {
    lanes: BTreeMap<u8, u64>,
    /// The newest boottime that was seen: up to there nothing is looked at in groups any more.
    last_ns: i64,
    /// The last group there was when all of them had been seen: compaction gives old numbers anew.
    last_grp: i64,
    /// What of the past was taken last.
    slots: Slots,
}

/// New points of one key from one producer, in the order in which they are stored.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct News {
    /// The number of the key.
    pub key: u32,
    /// Who logged it.
    pub rank: u32,
    /// In which attempt.
    pub attempt: u32,
    /// Steps, one per point.
    pub steps: Vec<i64>,
    /// Wall clock in seconds since 1970, one per point.
    pub times: Vec<f64>,
    /// Values, one per point; text and None are left out.
    pub values: Vec<f64>,
}

/// A value that is not finite, of a key that is not wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Odd {
    /// The number of the key.
    pub key: u32,
    /// Who logged it.
    pub rank: u32,
    /// Where.
    pub step: i64,
    /// Wall clock in seconds since 1970.
    pub time: f64,
    /// NaN or an infinity; NaN where it is only known that there is one.
    pub value: f64,
}

/// What one call gives.
#[derive(Debug, Default)]
pub struct Followed {
    /// Points of the wanted keys.
    pub news: Vec<News>,
    /// What is not finite in the others, the first of each call and key.
    pub odd: Vec<Odd>,
    /// Whether there is more to be had at once.
    pub more: bool,
}

impl Following {
    /// Of a past with more points not all are seen; `None`: all are, however many.
    #[must_use]
    pub fn new(thinning: Option<Thinning>) -> Self {
        Self {
            thinning,
            ..Self::default()
        }
    }

    /// How many nanoseconds lie between the points of the past at least, and when it ends, by the wall clock. `None`: all
    /// points are seen.
    #[must_use]
    pub fn thinned_ns(&self) -> Option<(i64, i64)> {
        self.past.map(|past| (past.spacing_ns, past.until_ns))
    }

    /// Give the points of this key from now on.
    pub fn want(&mut self, key: u32) {
        self.version = None;
        self.wanted.add(key);
    }
}

impl RunReader {
    /// The keys that are new since the last call: number and name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn new_keys(&self, following: &mut Following) -> Result<Vec<(u32, String)>, StoreError> {
        let mut select = self
            .conn
            .prepare_cached("SELECT id, name FROM keys WHERE id > ?1 ORDER BY id")?;
        let rows = select.query_map([following.wanted.last_told], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
        let keys: Vec<(u32, String)> = rows.collect::<Result<_, _>>()?;
        if let Some((last, _)) = keys.last() {
            following.wanted.last_told = *last;
        }
        Ok(keys)
    }

    /// The points that were stored since the last call, about `most` of them.
    ///
    /// # Errors
    /// The database cannot be read; the next call goes on where this one began.
    pub fn follow(&self, following: &mut Following, most: usize) -> Result<Followed, StoreError> {
        let mut followed = Followed::default();
        let version: i64 = self
            .conn
            .pragma_query_value(None, "data_version", |row| row.get(0))?;
        if following.version == Some(version) {
            return Ok(followed);
        }
        self.reading(|conn| {
            let origins = Origins::load(conn)?;
            if let Some(thinning) = following.thinning {
                following.past = past::find(conn, &origins, &following.wanted, thinning)?;
                following.thinning = None;
            }
            let mut left = most;
            for (producer, marks) in marks(conn)? {
                let Some(origin) = origins.index(producer) else {
                    continue;
                };
                let known = following.producers.get(&producer).cloned();
                let mut seen = known.unwrap_or_else(|| Seen {
                    last_ns: i64::MIN,
                    ..Seen::default()
                });
                if !marks.iter().any(|(lane, mark, _)| seen.at(*lane) < *mark) {
                    continue;
                }
                let past = following.past.map(|past| past.of(&origins, origin));
                let slots = std::mem::take(&mut seen.slots);
                let mut gathering = Gathering::new(&following.wanted, seen.last_ns, past, slots);
                let is_behind = marks
                    .iter()
                    .any(|(lane, _, sealed)| seen.at(*lane) < *sealed);
                let is_done = !is_behind
                    || self.read_groups(conn, (producer, seen.last_grp), left, &mut gathering)?;
                if is_done {
                    seen.last_grp = newest_group(conn)?;
                    let blobs = fresh_behind(conn, producer, &marks, &seen)?;
                    self.read_fresh(conn, producer, &blobs, &seen, &mut gathering)?;
                    seen.lanes = marks.iter().map(|(lane, mark, _)| (*lane, *mark)).collect();
                }
                seen.last_ns = gathering.last_ns;
                seen.slots = std::mem::take(&mut gathering.slots);
                left = left.saturating_sub(gathering.points);
                followed.more |= !is_done;
                gathering.hand_on(&origins, origin, &mut followed);
                following.producers.insert(producer, seen);
                if !is_done {
                    // What came later is not to be seen before the rest of it.
                    break;
                }
            }
            Ok(())
        })?;
        following.version = (!followed.more).then_some(version);
        Ok(followed)
    }

    /// The frames that are not sealed and were not seen.
    fn read_fresh(
        &self,
        conn: &Connection,
        producer: i64,
        blobs: &[FreshBlob],
        seen: &Seen,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), StoreError> {
        self.with_scan(conn, producer, blobs, |dictionary, scan| {
            for (layout, rows) in scan.sorted_layouts() {
                let keys = layout
                    .and_then(|id| dictionary.layout(id))
                    .map(|keys| &keys[..]);
                for row in rows
                    .iter()
                    .filter(|row| row.frame.lsn.0 >= seen.at(row.lane))
                {
                    gathering.push_frame(row, keys, dictionary);
                }
            }
            Ok(())
        })
    }
}

impl Seen {
    fn at(&self, lane: u8) -> u64 {
        self.lanes.get(&lane).copied().unwrap_or(0)
    }
}

fn newest_group(conn: &Connection) -> Result<i64, StoreError> {
    let mut select = conn.prepare_cached("SELECT coalesce(max(id), 0) FROM groups")?;
    Ok(select.query_row([], |row| row.get(0))?)
}

/// The raw batches of a producer that reach beyond what was seen; the others are not read.
fn fresh_behind(
    conn: &Connection,
    producer: i64,
    marks: &[(u8, u64, u64)],
    seen: &Seen,
) -> Result<Vec<FreshBlob>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT first_lsn, frames FROM fresh
         WHERE producer = ?1 AND lane = ?2 AND last_lsn > ?3 ORDER BY id",
    )?;
    let mut blobs = Vec::new();
    for (lane, _, _) in marks {
        let mut rows = select.query(params![producer, lane, seen.at(*lane) as i64])?;
        while let Some(row) = rows.next()? {
            blobs.push(FreshBlob {
                lane: *lane,
                first: row.get::<_, i64>(0)? as u64,
                frames: row.get(1)?,
            });
        }
    }
    Ok(blobs)
}

/// How far each lane is stored, and how far sealed, by producer.
type Marks = BTreeMap<i64, Vec<(u8, u64, u64)>>;

fn marks(conn: &Connection) -> Result<Marks, StoreError> {
    let mut select =
        conn.prepare_cached("SELECT producer, lane, mark_lsn, sealed_lsn FROM lanes")?;
    let mut rows = select.query([])?;
    let mut marks = Marks::new();
    while let Some(row) = rows.next()? {
        let lane = (
            row.get(1)?,
            row.get::<_, i64>(2)? as u64,
            row.get::<_, i64>(3)? as u64,
        );
        marks.entry(row.get(0)?).or_default().push(lane);
    }
    Ok(marks)
}
