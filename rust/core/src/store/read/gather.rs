//! Gathers the points of a key from all tiers: groups, whole or a stretch of them, rows of text, and `fresh`.

use rusqlite::{Connection, Rows, params};
use tm_spool::Value;

use super::points::{Points, Wanted};
use super::{Origins, RunReader, place};
use crate::store::checked::damaged;
use crate::store::columns::{Column, decode_ints};
use crate::store::error::StoreError;
use crate::store::rollup::Chain;
use crate::store::scan::Row;

/// Room is made for at most so many points at once, whatever a damaged database says.
const MOST_RESERVED: usize = 1 << 27;

impl RunReader {
    /// Gather the points of a key from all tiers.
    pub(super) fn points(
        &self,
        conn: &Connection,
        origins: &Origins,
        wanted: Wanted,
    ) -> Result<Points, StoreError> {
        let mut points = stored_points(conn, origins, wanted)?;
        self.add_fresh(conn, origins, wanted, &mut points)?;
        Ok(points)
    }

    /// Gather those that are not sealed.
    pub(super) fn add_fresh(
        &self,
        conn: &Connection,
        origins: &Origins,
        wanted: Wanted,
        points: &mut Points,
    ) -> Result<(), StoreError> {
        self.visit_fresh(conn, |producer, dictionary, scan| {
            let Some(origin) = origins.index(producer) else {
                return Ok(());
            };
            for (layout, rows) in scan.layouts() {
                match layout.and_then(|id| dictionary.layout(id)) {
                    Some(keys) => {
                        if let Some(at) = keys.iter().position(|key| *key == wanted.key) {
                            rows.iter().for_each(|row| points.push_row(row, at, origin));
                        }
                    }
                    None => {
                        let is_key = |row: &Row<'_>, i: usize| {
                            let local = row.frame.pair_key(i);
                            local.and_then(|l| dictionary.key(l.0)) == Some(wanted.key)
                        };
                        for row in rows {
                            let at = (0..row.frame.n as usize).find(|i| is_key(row, *i));
                            at.into_iter()
                                .for_each(|at| points.push_row(row, at, origin));
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// The points of a key that lie in groups and in rows of text; those of `fresh` are not among them.
pub(super) fn stored_points(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
) -> Result<Points, StoreError> {
    let mut points = Points::default();
    sealed(conn, origins, wanted, &mut points)?;
    texts(conn, origins, wanted, &mut points)?;
    Ok(points)
}

fn sealed(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    if wanted.since == i64::MIN && wanted.until == i64::MAX {
        points.reserve(stored(conn, wanted.key)?);
    }
    let mut select = conn.prepare_cached(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max, cols.id, groups.id
         FROM cols JOIN groups ON groups.id = cols.grp
         WHERE cols.key = ?1 AND groups.step_max >= ?2 AND groups.step_min <= ?3 ORDER BY cols.grp",
    )?;
    let rows = select.query(params![wanted.key, wanted.since, wanted.until])?;
    push_rows(conn, origins, wanted, rows, points)
}

/// The points of groups that no row of the rollup has yet.
pub(super) fn open_groups(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max, cols.id, groups.id
         FROM groups CROSS JOIN cols ON cols.key = ?1 AND cols.grp = groups.id
         WHERE groups.rollup_grp = 0 AND groups.step_max >= ?2 ORDER BY groups.id",
    )?;
    let rows = select.query(params![wanted.key, wanted.since])?;
    push_rows(conn, origins, wanted, rows, points)
}

/// The points of the groups of one layout between these two, both included.
pub(super) fn groups_between(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    (chain, groups): (Chain, (i64, i64)),
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max, cols.id, groups.id
         FROM cols JOIN groups ON groups.id = cols.grp
         WHERE cols.key = ?1 AND cols.grp BETWEEN ?2 AND ?3 AND groups.producer = ?4
             AND coalesce(groups.layout, -1) = ?5 ORDER BY cols.grp",
    )?;
    let rows = select.query(params![wanted.key, groups.0, groups.1, chain.0, chain.1])?;
    push_rows(conn, origins, wanted, rows, points)
}

fn push_rows(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    mut rows: Rows<'_>,
    points: &mut Points,
) -> Result<(), StoreError> {
    while let Some(row) = rows.next()? {
        let Some(origin) = origins.index(row.get(0)?) else {
            continue;
        };
        let (earliest, latest) = origins.wall_range_ns(origin, row.get(5)?, row.get(6)?);
        let is_rank = wanted.rank.is_none_or(|rank| origins.rank(origin) == rank);
        if !is_rank || latest < wanted.after_ns || earliest > wanted.before_ns {
            continue;
        }
        let blob = |at| {
            row.get_ref(at)
                .and_then(|v| v.as_blob().map_err(Into::into))
        };
        let n = row.get::<_, u32>(1)? as usize;
        let group = row.get(8)?;
        let named = |error| damaged(conn, wanted.key, group, &error);
        let steps = decode_ints(blob(2)?, n).map_err(named)?;
        let times = decode_ints(blob(3)?, n).map_err(named)?;
        let column = Column::decode(blob(4)?, n).map_err(named)?;
        points.push_group(origin, (&steps, &times), (row.get(7)?, column))?;
    }
    Ok(())
}

/// How many values of a key lie in groups.
fn stored(conn: &Connection, key: u32) -> Result<usize, StoreError> {
    let mut select = conn.prepare_cached("SELECT sum(n) FROM cols WHERE key = ?1")?;
    let sum: Option<i64> = select.query_row([key], |row| row.get(0))?;
    Ok(usize::try_from(sum.unwrap_or(0))
        .unwrap_or(0)
        .min(MOST_RESERVED))
}

pub(super) fn texts(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT producer, step, time, value, id FROM text
         WHERE key = ?1 AND step >= ?2 AND step <= ?3 ORDER BY id",
    )?;
    let mut rows = select.query(params![wanted.key, wanted.since, wanted.until])?;
    while let Some(row) = rows.next()? {
        let Some(origin) = origins.index(row.get(0)?) else {
            continue;
        };
        points.begin_numbers(place::in_text(row.get(4)?));
        points.place(row.get(1)?, row.get(2)?, origin);
        let bytes = row.get_ref(3)?.as_bytes().map_err(rusqlite::Error::from)?;
        points.push_value(&Value::Text(bytes), 0);
    }
    Ok(())
}
