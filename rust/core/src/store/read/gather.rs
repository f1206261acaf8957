//! Gathers the points of a key from all tiers: groups, whole or a stretch of them, rows of text, and `fresh`.

use rusqlite::{CachedStatement, Connection, Row, Rows, params};
use tm_spool::Value;

use super::ahead::{Ahead, Packed};
use super::points::{Points, Wanted};
use super::{Origins, RunReader, place};
use crate::store::error::StoreError;
use crate::store::rollup::Chain;
use crate::store::scan::Row as Frame;

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
        let mut points = Points::default();
        sealed(conn, origins, wanted, &mut points)?;
        texts(conn, origins, wanted, &mut points)?;
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
                        let is_key = |row: &Frame<'_>, i: usize| {
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

fn sealed(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    if wanted.since == i64::MIN {
        points.reserve(stored(conn, wanted.key)?);
    }
    let mut select = columns_of(
        conn,
        "FROM cols JOIN groups ON groups.id = cols.grp
         WHERE cols.key = ?1 AND groups.step_max >= ?2 ORDER BY cols.grp",
    )?;
    let rows = select.query(params![wanted.key, wanted.since])?;
    push_rows(conn, origins, wanted, rows, points)
}

/// The points of groups that no row of the rollup has yet.
pub(super) fn open_groups(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = columns_of(
        conn,
        "FROM groups CROSS JOIN cols ON cols.key = ?1 AND cols.grp = groups.id
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
    let mut select = columns_of(
        conn,
        "FROM cols JOIN groups ON groups.id = cols.grp
         WHERE cols.key = ?1 AND cols.grp BETWEEN ?2 AND ?3 AND groups.producer = ?4
             AND coalesce(groups.layout, -1) = ?5 ORDER BY cols.grp",
    )?;
    let rows = select.query(params![wanted.key, groups.0, groups.1, chain.0, chain.1])?;
    push_rows(conn, origins, wanted, rows, points)
}

/// In this form the index gives the order; otherwise all blobs would go through a sorter first.
const LISTED: &str = "FROM cols CROSS JOIN groups ON groups.id = cols.grp
     WHERE cols.key = ?1 AND cols.grp IN (SELECT value FROM json_each(?2)) ORDER BY cols.grp";

/// The points of these groups, in the order of their numbers.
pub(super) fn listed_groups(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    groups: &[i64],
    points: &mut Points,
) -> Result<(), StoreError> {
    let mut select = columns_of(conn, LISTED)?;
    let rows = select.query(params![wanted.key, serde_json::json!(groups).to_string()])?;
    push_rows(conn, origins, wanted, rows, points)
}

/// One column of a key per row, with what [`packed`] needs of its group.
fn columns_of<'c>(conn: &'c Connection, from: &str) -> Result<CachedStatement<'c>, StoreError> {
    Ok(conn.prepare_cached(&format!(
        "SELECT groups.producer, groups.n, groups.steps, groups.times, cols.data,
             groups.time_min, groups.time_max, cols.id, groups.id {from}"
    ))?)
}

fn push_rows(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    mut rows: Rows<'_>,
    points: &mut Points,
) -> Result<(), StoreError> {
    std::thread::scope(|scope| {
        // In here, so that it goes before the scope waits for its thread.
        let mut ahead = Ahead::default();
        while let Some(row) = rows.next()? {
            let Some(packed) = packed(origins, wanted, row)? else {
                continue;
            };
            match ahead.worker(scope) {
                Some(worker) => worker.give(conn, packed, points)?,
                None => packed.unpack().push_to(conn, points)?,
            }
        }
        ahead.finish(conn, points)
    })
}

/// `None`: the group has nothing that is wanted.
fn packed(origins: &Origins, wanted: Wanted, row: &Row<'_>) -> Result<Option<Packed>, StoreError> {
    let Some(origin) = origins.index(row.get(0)?) else {
        return Ok(None);
    };
    let (earliest, latest) = origins.wall_range_ns(origin, row.get(5)?, row.get(6)?);
    let is_rank = wanted.rank.is_none_or(|rank| origins.rank(origin) == rank);
    if !is_rank || latest < wanted.after_ns || earliest > wanted.before_ns {
        return Ok(None);
    }
    Ok(Some(Packed {
        origin,
        n: row.get::<_, u32>(1)? as usize,
        steps: row.get(2)?,
        times: row.get(3)?,
        data: row.get(4)?,
        id: row.get(7)?,
        key: wanted.key,
        group: row.get(8)?,
    }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Alphas;
    use crate::store::{DATABASE_NAME, Store};

    #[test]
    fn listed_groups_are_not_sorted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(DATABASE_NAME);
        drop(Store::open(&path, Alphas::default()).unwrap());
        let reader = RunReader::open(&path).unwrap();
        let explain = format!("EXPLAIN QUERY PLAN SELECT cols.data {LISTED}");
        let mut select = reader.conn.prepare(&explain).unwrap();
        let plan = select.query_map(params![1, "[1]"], |row| row.get::<_, String>(3));
        let plan: Vec<String> = plan.unwrap().map(Result::unwrap).collect();
        assert!(
            plan.iter().any(|line| line.contains("cols_by_key")),
            "{plan:?}"
        );
        assert!(
            !plan.iter().any(|line| line.contains("TEMP B-TREE")),
            "{plan:?}"
        );
    }
}
