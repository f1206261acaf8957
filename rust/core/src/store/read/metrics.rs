//! The list of metrics: how many points each has, and its last value.

use std::collections::HashMap;

use rusqlite::Connection;
use tm_spool::ValueType;

use super::{Origins, RunReader};
use crate::store::cell::Cell;
use crate::store::error::StoreError;
use crate::store::keys::raw_name;

/// One metric at a glance.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricInfo {
    /// Its name; names that are not UTF-8 exist.
    pub name: Vec<u8>,
    /// The type of its last value.
    pub kind: ValueType,
    /// How many values are stored, repeated and hidden steps too.
    pub count: u64,
    /// The step of its last value.
    pub last_step: i64,
    /// When that was: wall clock, seconds since 1970.
    pub last_time: f64,
    /// The value logged last, by whatever rank.
    pub last_value: Cell,
}

/// The newest value of a key.
#[derive(Debug)]
struct Newest {
    /// Attempt, then wall clock.
    age: (u32, i64),
    step: i64,
    cell: Cell,
}

#[derive(Debug, Default)]
struct Tally {
    count: HashMap<u32, u64>,
    newest: HashMap<u32, Newest>,
}

impl Tally {
    fn offer(&mut self, key: u32, age: (u32, i64), step: i64, cell: impl FnOnce() -> Cell) {
        if self.newest.get(&key).is_none_or(|known| known.age <= age) {
            self.newest.insert(
                key,
                Newest {
                    age,
                    step,
                    cell: cell(),
                },
            );
        }
    }
}

impl RunReader {
    /// Every metric of the run, by name.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn metrics(&self) -> Result<Vec<MetricInfo>, StoreError> {
        self.reading(|conn| {
            let mut tally = Tally::default();
            count_stored(conn, &mut tally)?;
            load_latest(conn, &mut tally)?;
            let origins = Origins::load(conn)?;
            self.add_fresh(conn, &origins, &mut tally)?;
            let mut metrics = named(conn, tally)?;
            metrics.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(metrics)
        })
    }

    fn add_fresh(
        &self,
        conn: &Connection,
        origins: &Origins,
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        self.visit_fresh(conn, |producer, dictionary, scan| {
            let Some(at) = origins.index(producer) else {
                return Ok(());
            };
            let attempt = origins.list.get(at as usize).map_or(0, |o| o.attempt);
            for (layout, rows) in scan.layouts() {
                let keys = layout.and_then(|id| dictionary.layout(id));
                for row in rows {
                    let age = (attempt, origins.wall_ns(at, row.frame.boottime_ns));
                    for i in 0..row.frame.n as usize {
                        let pair = || row.frame.pair_key(i).and_then(|l| dictionary.key(l.0));
                        let key = keys.map_or_else(pair, |keys| keys.get(i).copied());
                        let (Some(key), Some(value)) = (key, row.frame.value(i)) else {
                            continue;
                        };
                        // Text was counted in its own table.
                        let counted = row.frame.value_type(i) != ValueType::Text;
                        *tally.count.entry(key).or_default() += u64::from(counted);
                        tally.offer(key, age, row.frame.step.0, || Cell::from_value(value));
                    }
                }
            }
            Ok(())
        })
    }
}

fn count_stored(conn: &Connection, tally: &mut Tally) -> Result<(), StoreError> {
    for sql in [
        "SELECT key, sum(n) FROM cols GROUP BY key",
        "SELECT key, count(*) FROM text GROUP BY key",
    ] {
        let mut select = conn.prepare_cached(sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            *tally.count.entry(row.get(0)?).or_default() += row.get::<_, i64>(1)? as u64;
        }
    }
    Ok(())
}

fn load_latest(conn: &Connection, tally: &mut Tally) -> Result<(), StoreError> {
    let mut select =
        conn.prepare_cached("SELECT key, attempt, time_ns, step, value, kind FROM latest")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let cell = Cell::from_sql(row.get_ref(4)?, row.get(5)?);
        tally.offer(row.get(0)?, (row.get(1)?, row.get(2)?), row.get(3)?, || {
            cell
        });
    }
    Ok(())
}

fn named(conn: &Connection, mut tally: Tally) -> Result<Vec<MetricInfo>, StoreError> {
    let mut select = conn.prepare_cached("SELECT id, name, raw FROM keys")?;
    let mut rows = select.query([])?;
    let mut metrics = Vec::new();
    while let Some(row) = rows.next()? {
        let key = row.get(0)?;
        // A key that was only named, never logged, is no metric yet.
        let Some(newest) = tally.newest.remove(&key) else {
            continue;
        };
        metrics.push(MetricInfo {
            name: raw_name(row.get(1)?, row.get(2)?),
            kind: newest.cell.kind(),
            count: tally.count.get(&key).copied().unwrap_or(0),
            last_step: newest.step,
            last_time: newest.age.1 as f64 / 1e9,
            last_value: newest.cell,
        });
    }
    Ok(metrics)
}
