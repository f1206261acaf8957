//! The points of a run as they come: each call gives what was stored since the last one.

mod groups;

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};
use tm_spool::Value;

use groups::read_group;

use super::{Origins, RunReader, scan_blobs};
use crate::store::error::StoreError;
use crate::store::registry::load_dictionary;
use crate::store::rows::FreshBlob;
use crate::store::scan::Row;
use crate::store::source::Dictionary;

/// How far somebody has followed a run, and what he wants to see of it.
#[derive(Debug, Default)]
pub struct Following {
    producers: HashMap<i64, Seen>,
    wanted: Wanted,
    last_key: u32,
    /// What SQLite said of the state that was read to its end. `None`: none was.
    version: Option<i64>,
    /// Boottimes before this are not of interest in producers met for the first time. `None`: all are.
    since_ns: Option<i64>,
}

/// Keys by number: each value of each frame asks.
#[derive(Debug, Default)]
struct Wanted {
    flags: Vec<bool>,
    keys: Vec<u32>,
    last_told: u32,
}

impl Wanted {
    fn add(&mut self, key: u32) {
        let at = key as usize;
        if self.flags.len() <= at {
            self.flags.resize(at + 1, false);
        }
        if let Some(flag) = self.flags.get_mut(at).filter(|flag| !**flag) {
            *flag = true;
            self.keys.push(key);
        }
    }

    /// A key that nobody was told of yet counts as wanted.
    fn has(&self, key: u32) -> bool {
        let flag = self.flags.get(key as usize).copied();
        flag.unwrap_or(key > self.last_told)
    }
}

/// What was seen of one producer.
#[derive(Debug, Clone, Default)]
struct Seen {
    lanes: BTreeMap<u8, u64>,
    /// The newest boottime that was seen: up to there nothing is looked at in groups any more.
    last_ns: i64,
    /// The last group there was when all of them had been seen: compaction gives old numbers anew.
    last_grp: i64,
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
    /// Of producers met for the first time, what was logged before this boottime is not of interest; `None`: all is.
    #[must_use]
    pub fn new(since_ns: Option<i64>) -> Self {
        Self {
            since_ns,
            ..Self::default()
        }
    }

    /// Give the points of this key from now on.
    pub fn want(&mut self, key: u32) {
        self.version = None;
        self.wanted.add(key);
    }
}

/// Gathers while one producer is read.
struct Gathering<'f> {
    wanted: &'f Wanted,
    news: BTreeMap<u32, Columns>,
    odd: BTreeMap<u32, (i64, i64, f64)>,
    points: usize,
    last_ns: i64,
}

impl Gathering<'_> {
    fn push(&mut self, key: u32, step: i64, boottime_ns: i64, value: f64) {
        if self.wanted.has(key) {
            let (steps, times, values) = self.news.entry(key).or_default();
            steps.push(step);
            times.push(boottime_ns);
            values.push(value);
            self.points += 1;
        } else if !value.is_finite() {
            self.odd.entry(key).or_insert((step, boottime_ns, value));
        }
    }

    fn push_frame(&mut self, row: &Row<'_>, keys: Option<&[u32]>, dictionary: &Dictionary) {
        let (step, time) = (row.frame.step.0, row.frame.boottime_ns);
        self.last_ns = self.last_ns.max(time);
        if let Some(keys) = keys.filter(|_| !row.frame.is_typed()) {
            for (at, key) in keys.iter().enumerate() {
                self.push(*key, step, time, f64::from_bits(row.frame.slot(at)));
            }
            return;
        }
        for at in 0..row.frame.n as usize {
            let key = match keys {
                Some(keys) => keys.get(at).copied(),
                None => row
                    .frame
                    .pair_key(at)
                    .and_then(|local| dictionary.key(local.0)),
            };
            let number = row.frame.value(at).and_then(|value| number(&value));
            if let (Some(key), Some(number)) = (key, number) {
                self.push(key, step, time, number);
            }
        }
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
        let rows = select.query_map([following.last_key], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let keys: Vec<(u32, String)> = rows.collect::<Result<_, _>>()?;
        if let Some((last, _)) = keys.last() {
            following.last_key = *last;
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
            let mut left = most;
            for (producer, marks) in marks(conn)? {
                let Some(origin) = origins.index(producer) else {
                    continue;
                };
                let known = following.producers.get(&producer).cloned();
                let mut seen = known.unwrap_or_else(|| Seen {
                    last_ns: following.since_ns.unwrap_or(i64::MIN),
                    ..Seen::default()
                });
                if !marks.iter().any(|(lane, mark, _)| seen.at(*lane) < *mark) {
                    continue;
                }
                let mut gathering = Gathering {
                    wanted: &following.wanted,
                    news: BTreeMap::new(),
                    odd: BTreeMap::new(),
                    points: 0,
                    last_ns: seen.last_ns,
                };
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
        let mut known = self.dictionaries.borrow_mut();
        let mut dictionary = known.remove(&producer).unwrap_or_default();
        let mut scan = scan_blobs(&dictionary, blobs);
        if scan.undefined > 0 {
            dictionary = load_dictionary(conn, producer)?;
            scan = scan_blobs(&dictionary, blobs);
        }
        for (layout, rows) in scan.sorted_layouts() {
            let keys = layout
                .and_then(|id| dictionary.layout(id))
                .map(|keys| &keys[..]);
            for row in rows
                .iter()
                .filter(|row| row.frame.lsn.0 >= seen.at(row.lane))
            {
                gathering.push_frame(row, keys, &dictionary);
            }
        }
        drop(scan);
        known.insert(producer, dictionary);
        Ok(())
    }
}

impl Seen {
    fn at(&self, lane: u8) -> u64 {
        self.lanes.get(&lane).copied().unwrap_or(0)
    }
}

impl Gathering<'_> {
    fn hand_on(self, origins: &Origins, origin: u32, followed: &mut Followed) {
        let rank = origins.rank(origin);
        let attempt = origins.list.get(origin as usize).map_or(0, |o| o.attempt);
        for (key, columns) in self.news {
            // A key of several layouts comes layout by layout.
            let (steps, times, values) = in_order_of_time(columns);
            let times = origins.wall_secs(origin, times);
            followed.news.push(News {
                key,
                rank,
                attempt,
                steps,
                times,
                values,
            });
        }
        for (key, (step, boottime_ns, value)) in self.odd {
            let time = origins.wall_ns(origin, boottime_ns) as f64 / 1e9;
            followed.odd.push(Odd {
                key,
                rank,
                step,
                time,
                value,
            });
        }
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

/// Steps, boottimes and values of one key.
type Columns = (Vec<i64>, Vec<i64>, Vec<f64>);

fn in_order_of_time((steps, times, values): Columns) -> Columns {
    if times.is_sorted() {
        return (steps, times, values);
    }
    let mut rows: Vec<_> = steps.into_iter().zip(times).zip(values).collect();
    rows.sort_by_key(|((_, time), _)| *time);
    let mut columns = Columns::default();
    for ((step, time), value) in rows {
        columns.0.push(step);
        columns.1.push(time);
        columns.2.push(value);
    }
    columns
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

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::F64(number) => Some(*number),
        Value::I64(number) => Some(*number as f64),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::BigInt(digits) => {
            let number: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            // Finite, but for us.
            number.is_finite().then_some(number)
        }
        Value::None | Value::Text(_) => None,
    }
}

impl RunReader {
    /// Groups of a producer behind what was seen, in the order of time. Returns whether these were all.
    fn read_groups(
        &self,
        conn: &Connection,
        (producer, last_grp): (i64, i64),
        most: usize,
        gathering: &mut Gathering<'_>,
    ) -> Result<bool, StoreError> {
        let from_ns = gathering.last_ns;
        let dictionary = load_dictionary(conn, producer)?;
        let mut list = conn.prepare_cached(
            "SELECT id, time_min FROM groups WHERE id > ?3 AND producer = ?1 AND time_max > ?2
             ORDER BY time_min, id",
        )?;
        let mut groups = list.query(params![producer, from_ns, last_grp])?;
        while let Some(row) = groups.next()? {
            // Groups of several layouts lie beside each other: between them nothing could be put in order.
            if gathering.points >= most && row.get::<_, i64>(1)? > gathering.last_ns {
                return Ok(false);
            }
            read_group(conn, row.get(0)?, from_ns, &dictionary, gathering)?;
        }
        Ok(true)
    }
}
