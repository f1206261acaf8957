//! The list of metrics: how many points each has, and its last value.

use std::collections::HashMap;

use rusqlite::Connection;
use tm_spool::{Value, ValueType};

use super::statistics::MetricExtent;
use super::{Origins, RunReader};
use crate::store::cell::Cell;
use crate::store::error::StoreError;
use crate::store::keys::raw_name;
use crate::store::schema;

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
    /// The lowest step. `None`: not known.
    pub first_step: Option<i64>,
    /// The least finite value stored. `None`: there is none.
    pub min: Option<f64>,
    /// The greatest finite value stored. `None`: there is none.
    pub max: Option<f64>,
}

/// The newest value of a key.
#[derive(Debug)]
struct Newest {
    /// Attempt, then its place there.
    age: (u32, i64),
    wall_ns: i64,
    step: i64,
    cell: Cell,
}

#[derive(Debug, Default)]
struct Tally {
    extents: HashMap<u32, MetricExtent>,
    newest: HashMap<u32, Newest>,
}

impl Tally {
    fn offer(&mut self, key: u32, age: (u32, i64), newest: impl FnOnce() -> Newest) {
        if self.newest.get(&key).is_none_or(|known| known.age <= age) {
            self.newest.insert(key, newest());
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
            let mut tally = Tally {
                extents: self.extents(conn)?,
                newest: HashMap::new(),
            };
            count_texts(conn, &mut tally)?;
            load_latest(conn, &mut tally)?;
            let origins = Origins::load(conn)?;
            self.tally_fresh(conn, &origins, &mut tally)?;
            let mut metrics = named(conn, tally)?;
            metrics.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(metrics)
        })
    }

    fn tally_fresh(
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
                    let age = (attempt, origins.order_ns(at, row.frame.boottime_ns));
                    for i in 0..row.frame.n as usize {
                        let pair = || row.frame.pair_key(i).and_then(|l| dictionary.key(l.0));
                        let key = keys.map_or_else(pair, |keys| keys.get(i).copied());
                        let (Some(key), Some(value)) = (key, row.frame.value(i)) else {
                            continue;
                        };
                        // Text was counted in its own table.
                        if !matches!(value, Value::Text(_)) {
                            let finite = number(&value).filter(|value| value.is_finite());
                            tally
                                .extents
                                .entry(key)
                                .or_default()
                                .widen(1, finite, finite);
                        }
                        tally.offer(key, age, || Newest {
                            age,
                            wall_ns: origins.wall_ns(at, row.frame.boottime_ns),
                            step: row.frame.step.0,
                            cell: Cell::from_value(value),
                        });
                    }
                }
            }
            Ok(())
        })
    }
}

fn count_texts(conn: &Connection, tally: &mut Tally) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached("SELECT key, count(*) FROM text GROUP BY key")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let count = row.get::<_, i64>(1)? as u64;
        tally
            .extents
            .entry(row.get(0)?)
            .or_default()
            .widen(count, None, None);
    }
    Ok(())
}

/// A value as a number. `None`: it is none.
fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::F64(value) => Some(*value),
        Value::I64(value) => Some(*value as f64),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::BigInt(digits) => std::str::from_utf8(digits).ok()?.parse().ok(),
        Value::None | Value::Text(_) => None,
    }
}

fn load_latest(conn: &Connection, tally: &mut Tally) -> Result<(), StoreError> {
    // Earlier formats have but the wall clock.
    let mut select = conn.prepare_cached(if schema::user_version(conn)? < 3 {
        "SELECT key, attempt, time_ns, time_ns, step, value, kind FROM latest"
    } else {
        "SELECT key, attempt, order_ns, time_ns, step, value, kind FROM latest"
    })?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let newest = Newest {
            age: (row.get(1)?, row.get(2)?),
            wall_ns: row.get(3)?,
            step: row.get(4)?,
            cell: Cell::from_sql(row.get_ref(5)?, row.get(6)?),
        };
        tally.offer(row.get(0)?, newest.age, || newest);
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
        let extent = tally.extents.get(&key).copied().unwrap_or_default();
        metrics.push(MetricInfo {
            name: raw_name(row.get(1)?, row.get(2)?),
            kind: newest.cell.kind(),
            count: extent.count,
            last_step: newest.step,
            last_time: newest.wall_ns as f64 / 1e9,
            last_value: newest.cell,
            first_step: extent.first_step,
            min: extent.min,
            max: extent.max,
        });
    }
    Ok(metrics)
}
