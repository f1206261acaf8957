//! Where the groups of a key lie among its steps, and the windows that its points are read in.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::Connection;

use crate::store::error::StoreError;

/// A window has about so many points, more only where the steps of its groups overlap.
const WINDOW_POINTS: u64 = 64 * 1024;
/// Of so many groups it is kept where they lie; beyond, of the last key alone.
const KEPT_GROUPS: usize = 1 << 20;

/// The steps of one group, both included, and its number.
type Span = (i64, i64, i64);

/// The groups of one key, by their first steps.
#[derive(Debug, Default)]
pub(super) struct Spans {
    spans: Vec<Span>,
    /// The highest step of the groups up to here.
    highest: Vec<i64>,
}

impl Spans {
    /// Look where the groups of a key lie; also the first steps of its windows, of which the first one is the
    /// lowest number. Few groups lie on both sides of a cut.
    pub(super) fn load(conn: &Connection, key: u32) -> Result<(Self, Vec<i64>), StoreError> {
        let mut select = conn.prepare_cached(
            "SELECT groups.step_min, groups.step_max, cols.n, groups.id
             FROM cols JOIN groups ON groups.id = cols.grp WHERE cols.key = ?1
             ORDER BY groups.step_min",
        )?;
        let mut rows = select.query([key])?;
        let (mut found, mut cuts) = (Self::default(), Cuts::default());
        while let Some(row) = rows.next()? {
            let (first, last): (i64, i64) = (row.get(0)?, row.get(1)?);
            cuts.add(first, last, row.get(2)?);
            let highest = found.highest.last().map_or(last, |high| last.max(*high));
            found.spans.push((first, last, row.get(3)?));
            found.highest.push(highest);
        }
        Ok((found, cuts.starts))
    }

    /// The groups that have steps between these, both included, in the order in which they were sealed.
    pub(super) fn between(&self, from: i64, to: i64) -> Vec<i64> {
        let begin = self.highest.partition_point(|highest| *highest < from);
        let mut groups: Vec<i64> = (self.spans.iter().skip(begin))
            .take_while(|(first, _, _)| *first <= to)
            .filter(|(_, last, _)| *last >= from)
            .map(|(_, _, group)| *group)
            .collect();
        groups.sort_unstable();
        groups
    }
}

/// Cuts the steps of a key, group by group.
struct Cuts {
    starts: Vec<i64>,
    points: u64,
    groups: usize,
    /// The last steps of the groups seen so far, the lowest on top.
    open: BinaryHeap<Reverse<i64>>,
}

impl Default for Cuts {
    fn default() -> Self {
        Self {
            starts: vec![i64::MIN],
            points: 0,
            groups: 0,
            open: BinaryHeap::new(),
        }
    }
}

impl Cuts {
    fn add(&mut self, first: i64, last: i64, points: u32) {
        while self.open.peek().is_some_and(|end| end.0 < first) {
            self.open.pop();
        }
        let is_new = self.starts.last().is_some_and(|start| first > *start);
        if is_new && self.points >= WINDOW_POINTS && self.open.len() <= self.groups {
            self.starts.push(first);
            (self.points, self.groups) = (0, 0);
        }
        self.points += u64::from(points);
        self.groups += 1;
        self.open.push(Reverse(last));
    }
}

/// The spans of the keys that were looked at last.
#[derive(Debug, Default)]
pub(super) struct KnownSpans {
    known: HashMap<u32, Arc<Spans>>,
    /// The keys in the order in which they came.
    order: VecDeque<u32>,
    groups: usize,
}

impl KnownSpans {
    /// Those of a key, which are loaded if they are not known.
    pub(super) fn of(&mut self, conn: &Connection, key: u32) -> Result<Arc<Spans>, StoreError> {
        if let Some(spans) = self.known.get(&key) {
            return Ok(spans.clone());
        }
        let (spans, _) = Spans::load(conn, key)?;
        Ok(self.keep(key, spans))
    }

    /// Keep what was loaded, and forget what came first where it is too much.
    pub(super) fn keep(&mut self, key: u32, spans: Spans) -> Arc<Spans> {
        let spans = Arc::new(spans);
        self.forget(key);
        self.groups += spans.spans.len();
        self.known.insert(key, spans.clone());
        self.order.push_back(key);
        while self.groups > KEPT_GROUPS && self.order.len() > 1 {
            let Some(first) = self.order.pop_front() else {
                break;
            };
            self.forget(first);
        }
        spans
    }

    fn forget(&mut self, key: u32) {
        if let Some(spans) = self.known.remove(&key) {
            self.groups -= spans.spans.len();
        }
    }
}
