//! Statistics for readers: the snapshot, the groups behind it, and what is not sealed yet.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;
use tm_spool::ValueType;

use super::points::Points;
use super::series::key_id;
use super::{Origins, RunReader};
use crate::stats::Statistics;
use crate::store::error::StoreError;
use crate::store::keys::{raw_name, readable};
use crate::store::statistics::{Board, Timed, has_tables};

/// The statistics of one key over all ranks and attempts, of everything that was stored.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyStatistics {
    /// Its name; names that are not UTF-8 exist.
    pub name: Vec<u8>,
    /// The statistics; the moving averages are those of the ranks, weighed by their counts.
    pub statistics: Statistics,
    /// The same for each rank.
    pub ranks: BTreeMap<u32, Statistics>,
}

/// How far the values of a key reach.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct MetricExtent {
    /// The lowest step. `None`: nothing is stored.
    pub first_step: Option<i64>,
    /// Values; those of text are added by the caller.
    pub count: u64,
    /// The least finite value. `None`: there is none.
    pub min: Option<f64>,
    /// The greatest finite value. `None`: there is none.
    pub max: Option<f64>,
}

impl MetricExtent {
    pub(super) fn widen(&mut self, count: u64, min: Option<f64>, max: Option<f64>) {
        let both = |a: Option<f64>, b: Option<f64>, f: fn(f64, f64) -> f64| match (a, b) {
            (Some(a), Some(b)) => Some(f(a, b)),
            _ => a.or(b),
        };
        self.count += count;
        self.min = both(self.min, min, f64::min);
        self.max = both(self.max, max, f64::max);
    }
}

impl RunReader {
    /// The statistics of one key.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMetric`] when nobody has logged it.
    pub fn statistics(&self, key: &[u8]) -> Result<KeyStatistics, StoreError> {
        self.reading(|conn| {
            let id = key_id(conn, key)?.ok_or_else(|| StoreError::NoSuchMetric {
                name: readable(key),
            })?;
            let ranks = self
                .all_statistics(conn, Some(id))?
                .remove(&id)
                .unwrap_or_default();
            Ok(KeyStatistics {
                name: key.to_vec(),
                statistics: over_ranks(&ranks),
                ranks,
            })
        })
    }

    /// The statistics of every key that has values other than text, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn summary(&self) -> Result<Vec<KeyStatistics>, StoreError> {
        self.reading(|conn| {
            let mut found = self.all_statistics(conn, None)?;
            let mut select = conn.prepare_cached("SELECT id, name, raw FROM keys")?;
            let mut rows = select.query([])?;
            let mut summary = Vec::new();
            while let Some(row) = rows.next()? {
                if let Some(ranks) = found.remove(&row.get(0)?) {
                    summary.push(KeyStatistics {
                        name: raw_name(row.get(1)?, row.get(2)?),
                        statistics: over_ranks(&ranks),
                        ranks,
                    });
                }
            }
            summary.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(summary)
        })
    }

    fn all_statistics(
        &self,
        conn: &Connection,
        key: Option<u32>,
    ) -> Result<BTreeMap<u32, BTreeMap<u32, Statistics>>, StoreError> {
        let mut board = Board::read(conn, key)?;
        let origins = Origins::load(conn)?;
        for (id, points) in self.fresh_points(&origins)? {
            if key.is_none_or(|key| key == id) {
                for (rank, mut values) in by_rank(&points, &origins) {
                    board.fold_timed((id, rank), &mut values);
                }
            }
        }
        let mut keys: BTreeMap<u32, BTreeMap<u32, Statistics>> = BTreeMap::new();
        for ((key, rank), statistics) in board.into_statistics() {
            keys.entry(key).or_default().insert(rank, statistics);
        }
        Ok(keys)
    }

    /// How far the values of every key reach, without what is not sealed: that is added by the caller.
    pub(super) fn extents(
        &self,
        conn: &Connection,
    ) -> Result<HashMap<u32, MetricExtent>, StoreError> {
        let mut extents: HashMap<u32, MetricExtent> = HashMap::new();
        let mut last_grp = 0;
        if has_tables(conn)? {
            let mut select = conn.prepare_cached("SELECT last_grp FROM stats_state")?;
            let mut rows = select.query([])?;
            if let Some(row) = rows.next()? {
                last_grp = row.get(0)?;
                let all = "SELECT key, count, min, max FROM stats WHERE ?1 = ?1";
                add_rows(conn, &mut extents, all, last_grp)?;
            }
        }
        // Key by key: compaction gives ids of columns out again, only those of groups grow.
        let newer = "SELECT cols.key, cols.n, cols.min, cols.max
            FROM keys CROSS JOIN cols ON cols.key = keys.id AND cols.grp > ?1";
        add_rows(conn, &mut extents, newer, last_grp)?;
        let mut select = conn.prepare_cached("SELECT key, min(step) FROM firsts GROUP BY key")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            extents.entry(row.get(0)?).or_default().first_step = Some(row.get(1)?);
        }
        Ok(extents)
    }
}

fn add_rows(
    conn: &Connection,
    extents: &mut HashMap<u32, MetricExtent>,
    sql: &str,
    last_grp: i64,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query([last_grp])?;
    while let Some(row) = rows.next()? {
        let count = row.get::<_, i64>(1)? as u64;
        extents
            .entry(row.get(0)?)
            .or_default()
            .widen(count, row.get(2)?, row.get(3)?);
    }
    Ok(())
}

fn over_ranks(ranks: &BTreeMap<u32, Statistics>) -> Statistics {
    let mut all = Statistics::default();
    ranks
        .values()
        .for_each(|statistics| all.merge_rank(statistics));
    all
}

/// The values of each rank that count: all but text.
fn by_rank(points: &Points, origins: &Origins) -> BTreeMap<u32, Vec<Timed>> {
    let mut ranks: BTreeMap<u32, Vec<Timed>> = BTreeMap::new();
    for (at, origin) in points.placed.origin.iter().enumerate() {
        let mark = points.mark(at as u32);
        let value = match ValueType::from_u8(mark.kind) {
            Some(ValueType::None) | None => f64::NAN,
            Some(_) => mark.number(),
        };
        ranks.entry(origins.rank(*origin)).or_default().push(Timed {
            order_ns: origins.order_ns(*origin, mark.boottime_ns),
            step: mark.step,
            attempt: origins.list.get(*origin as usize).map_or(0, |o| o.attempt),
            value,
        });
    }
    ranks
}
