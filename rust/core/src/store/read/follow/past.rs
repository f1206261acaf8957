//! A past with more points than anybody wants to judge anew: thinned evenly in time, but for its last stretch.
//!
//! What decides by the course of a whole run must not see some of it densely and the rest not at all. The rows of a layout
//! are taken so that a certain time lies between them: a metric that comes seldom keeps all of its points.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::Connection;

use super::Origins;
use super::wanted::Wanted;
use crate::store::error::StoreError;
use crate::store::registry::load_dictionary;
use crate::store::source::Dictionary;

/// The narrowest spacing that is tried, in nanoseconds; each further one is twice as wide.
const FIRST_SPACING_NS: i64 = 1 << 10;
const MOST_SPACINGS: u32 = 48;

/// How many points of the past are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinning {
    /// With so many points of wanted keys, or fewer, all of them.
    pub all: u64,
    /// Else the last so many, and those since,
    pub last: u64,
    /// Wall clock in nanoseconds: what was logged from here on is not thinned, if that is no more than `all`. `None`: no
    /// such time.
    pub since_ns: Option<i64>,
    /// and of those before them about so many.
    pub thinned: u64,
}

/// What of a run is thinned.
#[derive(Debug, Clone, Copy)]
pub(super) struct Past {
    /// Wall clock: it ends there.
    pub until_ns: i64,
    /// So far apart are the points that are taken, at least.
    pub spacing_ns: i64,
}

/// What of one producer is thinned.
#[derive(Debug, Clone, Copy)]
pub(super) struct PastOf {
    /// Its boottime.
    until_ns: i64,
    spacing_ns: i64,
}

/// The stretch of time in which the last row of each layout was taken.
pub(super) type Slots = HashMap<Option<u32>, i64>;

/// A group, as far as it matters here.
struct Extent {
    first_ns: i64,
    last_ns: i64,
    rows: u64,
    wanted: u64,
}

/// Whether a row is looked at.
pub(super) fn is_kept(kept: Option<&[bool]>, row: usize) -> bool {
    kept.is_none_or(|kept| kept.get(row).copied().unwrap_or(true))
}

impl Past {
    pub(super) fn of(self, origins: &Origins, origin: u32) -> PastOf {
        // The clock may have been set; that of the end counts.
        let guess = self.until_ns.saturating_sub(origins.wall_ns(origin, 0));
        let offset = origins.wall_ns(origin, guess).saturating_sub(guess);
        PastOf {
            until_ns: self.until_ns.saturating_sub(offset),
            spacing_ns: self.spacing_ns,
        }
    }
}

impl PastOf {
    /// Which rows of a group are looked at; `last` is the stretch of the row before them.
    pub(super) fn kept(&self, times: &[i64], from_ns: i64, last: &mut i64) -> Vec<bool> {
        let is_kept = |time: &i64| {
            if *time <= from_ns {
                return false;
            }
            let slot = time.div_euclid(self.spacing_ns);
            let is_new = *time >= self.until_ns || slot != *last;
            *last = slot;
            is_new
        };
        times.iter().map(is_kept).collect()
    }
}

/// Find what is to be thinned. `None`: nothing.
pub(super) fn find(
    conn: &Connection,
    origins: &Origins,
    wanted: &Wanted,
    thinning: Thinning,
) -> Result<Option<Past>, StoreError> {
    let mut groups = extents(conn, origins, wanted)?;
    let points = |groups: &[Extent]| groups.iter().map(|one| one.rows * one.wanted).sum::<u64>();
    if points(&groups) <= thinning.all {
        return Ok(None);
    }
    groups.sort_by_key(|one| std::cmp::Reverse(one.last_ns));
    let mut seen = 0;
    let mut until_ns = i64::MAX;
    groups.retain(|one| {
        let is_new = thinning.since_ns.is_some_and(|since| one.last_ns >= since);
        let is_past = seen >= if is_new { thinning.all } else { thinning.last };
        seen += one.rows * one.wanted;
        until_ns = if is_past {
            until_ns
        } else {
            until_ns.min(one.first_ns)
        };
        is_past
    });
    let mut spacing_ns = FIRST_SPACING_NS;
    for _ in 0..MOST_SPACINGS {
        if taken(&groups, spacing_ns) <= thinning.thinned {
            break;
        }
        spacing_ns *= 2;
    }
    Ok(Some(Past {
        until_ns,
        spacing_ns,
    }))
}

/// About how many points are taken at this spacing.
fn taken(groups: &[Extent], spacing_ns: i64) -> u64 {
    let of = |one: &Extent| {
        let stretches = (one.last_ns - one.first_ns).max(0) / spacing_ns;
        one.rows.min(stretches.unsigned_abs()) * one.wanted
    };
    groups.iter().map(of).sum()
}

fn extents(
    conn: &Connection,
    origins: &Origins,
    wanted: &Wanted,
) -> Result<Vec<Extent>, StoreError> {
    let mut known: HashMap<i64, Dictionary> = HashMap::new();
    let mut select =
        conn.prepare_cached("SELECT producer, layout, n, time_min, time_max FROM groups")?;
    let mut rows = select.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let producer = row.get(0)?;
        let Some(origin) = origins.index(producer) else {
            continue;
        };
        let dictionary = match known.entry(producer) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(load_dictionary(conn, producer)?),
        };
        let layout: Option<u32> = row.get(1)?;
        let keys = layout.and_then(|layout| dictionary.layout(layout));
        // Of frames of pairs nobody knows without reading them.
        let count = keys.map_or(wanted.keys.len(), |keys| {
            keys.iter().filter(|key| wanted.has(**key)).count()
        });
        found.push(Extent {
            first_ns: origins.wall_ns(origin, row.get(3)?),
            last_ns: origins.wall_ns(origin, row.get(4)?),
            rows: row.get::<_, u32>(2)?.into(),
            wanted: count as u64,
        });
    }
    Ok(found)
}
