//! The metrics of the machine, read back: fresh rows, packed chunks and thinned minutes as one series.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::RunReader;
use crate::merge::thin;
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;
use crate::store::system::{samples, unpack};

const NS: f64 = 1e9;

/// A series and its newest value.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemLatest {
    /// The machine.
    pub host: String,
    /// host, cgroup, disk:/, gpu0, rank0.
    pub source: String,
    /// With its unit: power_watts.
    pub metric: String,
    /// What does not change about the source, as JSON. `None`: nothing was said.
    pub facts: Option<String>,
    /// Wall clock, seconds since 1970.
    pub time: f64,
    /// The newest value.
    pub value: f64,
}

/// Which points of which series.
#[derive(Debug, Clone, Default)]
pub struct SystemQuery {
    /// The machine.
    pub host: String,
    /// The source on it.
    pub source: String,
    /// The metric of the source.
    pub metric: String,
    /// Wall clock in seconds: only from then on. `None`: all.
    pub since: Option<f64>,
    /// At most about so many; the lowest and the highest stay. `None`: all.
    pub max_points: Option<usize>,
}

/// A series as columns of one length.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SystemPoints {
    /// Wall clock, seconds since 1970, ascending.
    pub time: Vec<f64>,
    /// The sample; of a minute that is older than a day the mean.
    pub value: Vec<f64>,
    /// The least value behind it.
    pub low: Vec<f64>,
    /// The greatest value behind it.
    pub high: Vec<f64>,
}

/// Something that happened, as a finding or a stack that was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct EventRow {
    /// Wall clock, seconds since 1970.
    pub time: f64,
    /// JSON: of a finding finding, host, source, text, by; of a stack host, rank, pid, how, text.
    pub detail: String,
}

/// One point before it is put into its place.
#[derive(Debug, Clone, Copy)]
struct Point {
    time_ns: i64,
    value: f64,
    low: f64,
    high: f64,
}

impl RunReader {
    /// Every series of the machine with its newest value, by host, source and metric.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn system_latest(&self) -> Result<Vec<SystemLatest>, StoreError> {
        self.reading(|conn| {
            if !has_system(conn)? {
                return Ok(Vec::new());
            }
            let newest = newest(conn)?;
            let mut select = conn.prepare_cached(
                "SELECT s.id, o.host, o.name, s.metric, o.facts
                 FROM system_series s JOIN system_sources o ON o.id = s.source
                 ORDER BY o.host, o.name, s.metric",
            )?;
            let mut rows = select.query([])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let Some((time_ns, value)) = newest.get(&row.get(0)?) else {
                    continue;
                };
                all.push(SystemLatest {
                    host: row.get(1)?,
                    source: row.get(2)?,
                    metric: row.get(3)?,
                    facts: row.get(4)?,
                    time: *time_ns as f64 / NS,
                    value: *value,
                });
            }
            Ok(all)
        })
    }

    /// The points of one series of the machine; none when there is no such series.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn system(&self, query: &SystemQuery) -> Result<SystemPoints, StoreError> {
        self.reading(|conn| {
            if !has_system(conn)? {
                return Ok(SystemPoints::default());
            }
            let Some(series) = series_id(conn, query)? else {
                return Ok(SystemPoints::default());
            };
            // Samples stand at whole milliseconds: the time of one, as a float, must mean that one.
            let since_ns = query.since.map_or(i64::MIN, |secs| {
                ((secs * 1e3).round() as i64).saturating_mul(1_000_000)
            });
            let mut points = packed(conn, series, since_ns)?;
            points.extend(fresh(conn, series, since_ns)?);
            points.sort_by_key(|point| point.time_ns);
            Ok(chosen(&points, query.max_points))
        })
    }

    /// What a person should know, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn findings(&self) -> Result<Vec<EventRow>, StoreError> {
        self.events("finding")
    }

    /// Where processes were in their code when they were asked, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stacks(&self) -> Result<Vec<EventRow>, StoreError> {
        self.events("stack")
    }

    /// What happened of this kind, the oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn events(&self, kind: &str) -> Result<Vec<EventRow>, StoreError> {
        let mut select = self.conn.prepare_cached(
            "SELECT time_ns, coalesce(detail, '') FROM events WHERE kind = ?1 ORDER BY id",
        )?;
        let rows = select.query_map([kind], |row| {
            Ok(EventRow {
                time: row.get::<_, i64>(0)? as f64 / NS,
                detail: row.get(1)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Whether the database has these tables: the first format had none.
fn has_system(conn: &Connection) -> Result<bool, StoreError> {
    let mut select =
        conn.prepare_cached("SELECT count(*) FROM sqlite_schema WHERE name = 'system_series'")?;
    Ok(select.query_row([], |row| row.get::<_, i64>(0))? > 0)
}

fn series_id(conn: &Connection, query: &SystemQuery) -> Result<Option<u32>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT s.id FROM system_series s JOIN system_sources o ON o.id = s.source
         WHERE o.host = ?1 AND o.name = ?2 AND s.metric = ?3",
    )?;
    let found = select.query_row([&query.host, &query.source, &query.metric], |row| {
        row.get(0)
    });
    Ok(found.optional()?)
}

/// The newest time and value by series: those of the last chunk of each probe, then the fresh rows.
///
/// A series that a probe stopped to report, as that of a rank that has ended, may lie further back.
fn newest(conn: &Connection) -> Result<HashMap<u32, (i64, f64)>, StoreError> {
    let mut newest = HashMap::new();
    let mut select = conn.prepare_cached(
        "SELECT k.series, max(c.last_ns), k.last FROM system_cols k
         JOIN system_chunks c ON c.id = k.chunk GROUP BY k.series",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        newest.insert(row.get(0)?, (row.get(1)?, row.get(2)?));
    }
    let mut select =
        conn.prepare_cached("SELECT time_ns, numbers FROM system_fresh ORDER BY id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let time_ns = row.get(0)?;
        let numbers = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        newest.extend(unpack(numbers).map(|(series, value)| (series, (time_ns, value))));
    }
    Ok(newest)
}

fn packed(conn: &Connection, series: u32, since_ns: i64) -> Result<Vec<Point>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT c.n, c.times, k.data, k.lows, k.highs
         FROM system_chunks c JOIN system_cols k ON k.chunk = c.id AND k.series = ?1
         WHERE c.last_ns >= ?2",
    )?;
    let mut rows = select.query(params![series, since_ns])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let n = row.get::<_, i64>(0)? as usize;
        let blob = |at| {
            row.get_ref(at)?
                .as_blob_or_null()
                .map_err(rusqlite::Error::from)
        };
        let times_ns = decode_ints(blob(1)?.unwrap_or_default(), n)?;
        let data = Column::decode(blob(2)?.unwrap_or_default(), n)?;
        let bounds = match (blob(3)?, blob(4)?) {
            (Some(lows), Some(highs)) => {
                let n = data.slots.len();
                Some((Column::decode(lows, n)?, Column::decode(highs, n)?))
            }
            _ => None,
        };
        for (place, (at, value)) in samples(&data).enumerate() {
            let (low, high) = match &bounds {
                Some((lows, highs)) => (lows.number(place), highs.number(place)),
                None => (None, None),
            };
            let Some(time_ns) = times_ns.get(at).filter(|time| **time >= since_ns) else {
                continue;
            };
            points.push(Point {
                time_ns: *time_ns,
                value,
                low: low.unwrap_or(value),
                high: high.unwrap_or(value),
            });
        }
    }
    Ok(points)
}

fn fresh(conn: &Connection, series: u32, since_ns: i64) -> Result<Vec<Point>, StoreError> {
    let mut select =
        conn.prepare_cached("SELECT time_ns, numbers FROM system_fresh WHERE time_ns >= ?1")?;
    let mut rows = select.query([since_ns])?;
    let mut points = Vec::new();
    while let Some(row) = rows.next()? {
        let time_ns = row.get(0)?;
        let numbers = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let found = unpack(numbers).find(|(id, _)| *id == series);
        points.extend(found.map(|(_, value)| Point {
            time_ns,
            value,
            low: value,
            high: value,
        }));
    }
    Ok(points)
}

/// The points as columns, thinned to about `max_points`: what is left out is no extreme of its neighbourhood.
fn chosen(points: &[Point], max_points: Option<usize>) -> SystemPoints {
    let mut kept: Vec<u32> = (0..points.len() as u32).collect();
    if let Some(max_points) = max_points {
        let at = |at: u32| points.get(at as usize);
        let low = |i: u32| at(i).map_or(f64::NAN, |p| p.low);
        let high = |i: u32| at(i).map_or(f64::NAN, |p| p.high);
        if points.iter().all(|p| p.low == p.high) {
            kept = thin(kept, max_points, &low);
        } else {
            let mut both = thin(kept.clone(), max_points / 2, &low);
            both.extend(thin(kept, max_points / 2, &high));
            both.sort_unstable();
            both.dedup();
            kept = both;
        }
    }
    let mut columns = SystemPoints::default();
    for point in kept.iter().filter_map(|at| points.get(*at as usize)) {
        columns.time.push(point.time_ns as f64 / NS);
        columns.value.push(point.value);
        columns.low.push(point.low);
        columns.high.push(point.high);
    }
    columns
}
