//! Where the groups of a key lie among its steps, and the windows that its points are read in.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::Connection;

use crate::store::error::StoreError;

/// A window has about so many points, more only where the steps of its groups overlap.
const WINDOW_POINTS: u64 = 64 * 1024;
/// Of so many groups it is kept where they lie, and of one key in any case.
const KEPT_GROUPS: usize = 1 << 20;
/// What a key costs besides its groups, in groups.
const KEY_COST: usize = 8;

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
        // A key that stands twice in a layout has two columns in a group.
        groups.dedup();
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

/// The spans of the keys that were loaded last.
#[derive(Debug)]
pub(super) struct KnownSpans {
    known: HashMap<u32, Arc<Spans>>,
    /// The keys in the order in which they came.
    order: VecDeque<u32>,
    cost: usize,
    most: usize,
}

impl Default for KnownSpans {
    fn default() -> Self {
        Self::with_room_for(KEPT_GROUPS)
    }
}

impl KnownSpans {
    fn with_room_for(most: usize) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            cost: 0,
            most,
        }
    }

    /// Those of a key, which are loaded if they are not known.
    pub(super) fn of(&mut self, conn: &Connection, key: u32) -> Result<Arc<Spans>, StoreError> {
        if let Some(spans) = self.known.get(&key) {
            return Ok(spans.clone());
        }
        let spans = Arc::new(Spans::load(conn, key)?.0);
        self.keep(key, spans.clone());
        Ok(spans)
    }

    /// Keep what was loaded of a key, and forget what came first where that is too much.
    pub(super) fn keep(&mut self, key: u32, spans: Arc<Spans>) {
        let cost = |spans: &Spans| spans.spans.len() + KEY_COST;
        self.cost += cost(&spans);
        match self.known.insert(key, spans) {
            Some(before) => self.cost -= cost(&before),
            None => self.order.push_back(key),
        }
        while self.cost > self.most && self.order.len() > 1 {
            let first = self.order.pop_front();
            let gone = first.and_then(|first| self.known.remove(&first));
            self.cost -= gone.map_or(0, |spans| cost(&spans));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn spans(mut list: Vec<Span>) -> Spans {
        list.sort_unstable();
        let mut high = i64::MIN;
        let highest = list.iter().map(|span| {
            high = high.max(span.1);
            high
        });
        Spans {
            highest: highest.collect(),
            spans: list,
        }
    }

    proptest! {
        #[test]
        fn a_stretch_has_the_groups_that_a_plain_look_at_all_of_them_finds(
            list in prop::collection::vec((-50..50i64, 0..40i64, 0..30i64), 0..40),
            from in -60..60i64,
            length in 0..30i64,
        ) {
            let list: Vec<Span> = list.iter().map(|(at, len, group)| (*at, at + len, *group)).collect();
            let to = from + length;
            let hit = |span: &&Span| span.0 <= to && span.1 >= from;
            let mut plain: Vec<i64> = list.iter().filter(hit).map(|span| span.2).collect();
            plain.sort_unstable();
            plain.dedup();
            prop_assert_eq!(spans(list).between(from, to), plain);
        }
    }

    #[test]
    fn what_was_loaded_first_goes_first_and_the_newest_stays() {
        let two = || Arc::new(spans(vec![(0, 1, 1), (2, 3, 2)]));
        let mut known = KnownSpans::with_room_for(3 * (2 + KEY_COST));
        (0..5).for_each(|key| known.keep(key, two()));
        known.keep(4, two());
        let mut left: Vec<u32> = known.known.keys().copied().collect();
        left.sort_unstable();
        assert_eq!((left, known.cost), (vec![2, 3, 4], 3 * (2 + KEY_COST)));
        known.keep(9, Arc::new(spans((0..100).map(|n| (n, n, n)).collect())));
        assert_eq!(known.order, [9]);
        assert_eq!(known.cost, 100 + KEY_COST);
    }
}
