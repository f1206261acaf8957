//! The points of a run in chunks, on one state of the database: what `points` and export read.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ToSql};

use super::guard::Guard;
use super::spans::{KnownSpans, Spans};
use crate::merge::{Selection, select};
use crate::store::error::StoreError;
use crate::store::read::gather::{listed_groups, texts};
use crate::store::read::points::{Points, Wanted};
use crate::store::read::series::firsts_of;
use crate::store::read::{Origins, RunReader};

/// Chunks kept for the next look: a join comes back to the same ones, step by step.
const KEPT_CHUNKS: usize = 8;

/// A key by number and name.
pub(super) type Key = (u32, Arc<str>);

/// Which points of one key a chunk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChunkId {
    pub key: u32,
    /// Counted from 0, by step.
    pub window: usize,
    /// Everything that was stored, in the order of time.
    pub raw: bool,
    /// `None`: all ranks.
    pub rank: Option<u32>,
    pub after_ns: i64,
    pub before_ns: i64,
}

/// The points of one key within a window of steps: merged by step and rank, raw by attempt and time.
#[derive(Debug)]
pub(super) struct KeyChunk {
    pub points: Points,
    /// `None`: all of them, as they are stored.
    chosen: Option<Vec<u32>>,
}

impl KeyChunk {
    pub(super) fn len(&self) -> usize {
        self.chosen
            .as_ref()
            .map_or(self.points.placed.step.len(), Vec::len)
    }

    /// Where the point at `position` lies in `points`.
    pub(super) fn at(&self, position: usize) -> u32 {
        match &self.chosen {
            Some(chosen) => chosen.get(position).copied().unwrap_or_default(),
            None => position as u32,
        }
    }

    pub(super) fn step(&self, position: usize) -> i64 {
        let at = self.at(position) as usize;
        self.points.placed.step.get(at).copied().unwrap_or_default()
    }

    /// The positions whose steps lie between these, both included; the chunk is merged, so it is sorted.
    pub(super) fn positions(&self, from: i64, to: i64) -> Range<usize> {
        let first = partition(self.len(), |at| self.step(at) < from);
        first..partition(self.len(), |at| self.step(at) <= to).max(first)
    }
}

/// The first position of `0..len` that is not `before`; those that are come first.
fn partition(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A reader that stays on one state of the database, with what it has gathered.
pub(super) struct Pool {
    pub origins: Origins,
    /// Points stored when it was opened.
    pub total: u64,
    /// How many keys there are.
    pub keys: u64,
    /// Whether no two keys look the same; those that are not UTF-8 may.
    pub unique_names: bool,
    /// Points decoded so far; read by whoever says how far a query came.
    decoded: AtomicU64,
    state: Mutex<State>,
}

struct State {
    reader: RunReader,
    /// What is not sealed, by key. `None`: not looked at yet.
    fresh: Option<HashMap<u32, Points>>,
    windows: HashMap<u32, Arc<[i64]>>,
    spans: KnownSpans,
    /// The window of each key that was last read in part.
    touched: HashMap<u32, ChunkId>,
    /// The last one used stands first.
    chunks: VecDeque<(ChunkId, Arc<KeyChunk>)>,
}

impl Pool {
    /// Open a reader of its own and hold it on the present state.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let reader = RunReader::open(path)?;
        reader.conn.execute_batch("BEGIN")?;
        let origins = Origins::load(&reader.conn)?;
        let number = |sql: &str| -> Result<u64, StoreError> {
            let number: i64 = reader.conn.query_row(sql, [], |row| row.get(0))?;
            Ok(u64::try_from(number).unwrap_or(0))
        };
        Ok(Self {
            total: number("SELECT coalesce(sum(points), 0) FROM producers")?,
            keys: number("SELECT count(*) FROM keys")?,
            unique_names: number("SELECT count(*) FROM keys WHERE raw IS NOT NULL")? == 0,
            origins,
            decoded: AtomicU64::new(0),
            state: Mutex::new(State {
                reader,
                fresh: None,
                windows: HashMap::new(),
                spans: KnownSpans::default(),
                touched: HashMap::new(),
                chunks: VecDeque::new(),
            }),
        })
    }

    /// What changes with every commit: two readers that see the same are on the same state.
    pub(super) fn fingerprint(&self) -> Result<String, StoreError> {
        fingerprint(&self.state().reader.conn)
    }

    /// Let nothing be read any more once the guard says that it is over.
    pub(super) fn limit_time(&self, guard: &Arc<Guard>) -> Result<(), StoreError> {
        Ok(guard.limit_time(&mut self.state().reader.conn)?)
    }

    /// How many points were decoded so far.
    pub(super) fn decoded(&self) -> u64 {
        self.decoded.load(Ordering::Relaxed)
    }

    /// The keys whose names meet a condition of SQL on `name`, by name.
    pub(super) fn keys_where(
        &self,
        condition: &str,
        values: &[&dyn ToSql],
    ) -> Result<Vec<Key>, StoreError> {
        let state = self.state();
        let sql = format!("SELECT id, name FROM keys WHERE {condition} ORDER BY name, id");
        let mut select = state.reader.conn.prepare_cached(&sql)?;
        let rows = select.query_map(values, |row| {
            Ok((row.get(0)?, Arc::from(row.get::<_, String>(1)?)))
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The two columns of a key's name.
    pub(super) fn name_columns(&self, key: u32) -> Result<(String, Option<Vec<u8>>), StoreError> {
        let state = self.state();
        let mut select = state
            .reader
            .conn
            .prepare_cached("SELECT name, raw FROM keys WHERE id = ?1")?;
        Ok(select.query_row([key], |row| Ok((row.get(0)?, row.get(1)?)))?)
    }

    /// The first steps of the windows into which a key falls; the first one is the lowest number.
    pub(super) fn windows(&self, key: u32) -> Result<Arc<[i64]>, StoreError> {
        let mut state = self.state();
        if let Some(known) = state.windows.get(&key) {
            return Ok(known.clone());
        }
        let (spans, windows) = Spans::load(&state.reader.conn, key)?;
        let windows: Arc<[i64]> = windows.into();
        state.spans.keep(key, Arc::new(spans));
        state.windows.insert(key, windows.clone());
        Ok(windows)
    }

    /// The points of one window of a key; at least those whose steps lie between these, both included.
    pub(super) fn chunk(
        &self,
        id: ChunkId,
        (from_step, to_step): (i64, i64),
    ) -> Result<Arc<KeyChunk>, StoreError> {
        let windows = self.windows(id.key)?;
        let mut state = self.state();
        if let Some(at) = state.chunks.iter().position(|(known, _)| *known == id) {
            state.chunks.swap(0, at);
            if let Some((_, chunk)) = state.chunks.front() {
                return Ok(chunk.clone());
            }
        }
        let from = windows.get(id.window).copied().unwrap_or(i64::MAX);
        let next = windows.get(id.window + 1);
        let to = next.map_or(i64::MAX, |first| first.saturating_sub(1));
        // A scan for a few steps of many keys needs few groups of each; a join comes back to the window.
        let in_part = (from_step > from || to_step < to) && state.touched.get(&id.key) != Some(&id);
        let chunk = if in_part {
            state.touched.insert(id.key, id);
            self.load(&mut state, id, from.max(from_step), to.min(to_step))?
        } else {
            self.load(&mut state, id, from, to)?
        };
        let chunk = Arc::new(chunk);
        self.decoded
            .fetch_add(chunk.points.placed.step.len() as u64, Ordering::Relaxed);
        if !in_part {
            state.chunks.push_front((id, chunk.clone()));
            state.chunks.truncate(KEPT_CHUNKS);
        }
        Ok(chunk)
    }

    fn load(
        &self,
        state: &mut State,
        id: ChunkId,
        from: i64,
        to: i64,
    ) -> Result<KeyChunk, StoreError> {
        let wanted = Wanted {
            key: id.key,
            since: from,
            until: to,
            rank: id.rank,
            after_ns: id.after_ns,
            before_ns: id.before_ns,
        };
        if state.fresh.is_none() {
            state.fresh = Some(state.reader.fresh_points(&self.origins)?);
        }
        let conn = &state.reader.conn;
        let mut points = Points::default();
        let groups = state.spans.of(conn, id.key)?.between(from, to);
        listed_groups(conn, &self.origins, wanted, &groups, &mut points)?;
        texts(conn, &self.origins, wanted, &mut points)?;
        if let Some(fresh) = state.fresh.as_ref().and_then(|fresh| fresh.get(&id.key)) {
            points.append_fresh(id.key, fresh, from, to);
        }
        let firsts = firsts_of(conn, id.key)?;
        let selection = Selection {
            rank: id.rank,
            since: None,
            raw: id.raw,
        };
        let chosen = select(&points.placed, &self.origins.list, &firsts, selection);
        Ok(KeyChunk {
            chosen: within(&points.placed.step, chosen, from, to),
            points,
        })
    }

    /// A panic leaves a read-only state, at worst with a chunk less.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What changes with every commit.
pub(super) fn fingerprint(conn: &Connection) -> Result<String, StoreError> {
    Ok(conn.query_row(
        "SELECT coalesce((SELECT sum(mark_lsn) || '/' || sum(sealed_lsn) FROM lanes), '') || ' '
             || coalesce((SELECT max(id) || '/' || count(*) FROM groups), '') || ' '
             || coalesce((SELECT max(id) || '/' || count(*) FROM fresh), '') || ' '
             || coalesce((SELECT max(id) FROM events), 0) || ' '
             || coalesce((SELECT max(time_ns) FROM latest), 0)",
        [],
        |row| row.get(0),
    )?)
}

/// Drop what groups hold outside of the window.
fn within(steps: &[i64], chosen: Option<Vec<u32>>, from: i64, to: i64) -> Option<Vec<u32>> {
    if steps.iter().all(|step| (from..=to).contains(step)) {
        return chosen;
    }
    let inside = |at: &u32| {
        let step = steps.get(*at as usize);
        step.is_some_and(|step| (from..=to).contains(step))
    };
    let mut chosen = chosen.unwrap_or_else(|| (0..steps.len() as u32).collect());
    chosen.retain(inside);
    Some(chosen)
}
