//! One metric over the steps.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::points::{Points, Wanted};
use super::{Origins, RunReader};
use crate::merge::{Selection, select, thin};
use crate::store::cell::Cell;
use crate::store::error::StoreError;
use crate::store::keys::readable;

/// Before everything is read to find the last points: each guess is four times the one before.
const GUESSES: u32 = 4;

/// Which part of a series to read, and how.
#[derive(Debug, Clone, Copy, Default)]
pub struct SeriesOptions {
    /// Only steps from here on. `None`: from the beginning.
    pub since: Option<i64>,
    /// Only this rank. `None`: all ranks.
    pub rank: Option<u32>,
    /// Only so many points from the end. `None`: all points.
    pub last: Option<usize>,
    /// Thin to so many points, keeping extremes. `None`: all points.
    pub max_points: Option<usize>,
    /// Everything that was stored, repeated and hidden steps too, in the order of time.
    pub raw: bool,
}

/// The values of a series.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// All are floats.
    F64(Vec<f64>),
    /// At least one is not.
    Mixed(Vec<Cell>),
}

impl Values {
    /// Of cells that may all be floats.
    pub(super) fn of(cells: Vec<Cell>) -> Self {
        let float = |cell: &Cell| match cell {
            Cell::F64(value) => Some(*value),
            _ => None,
        };
        let floats: Option<Vec<f64>> = cells.iter().map(float).collect();
        floats.map_or(Self::Mixed(cells), Self::F64)
    }
}

/// One metric as columns of equal length, by step and rank; with `raw` by attempt and time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Training step.
    pub step: Vec<i64>,
    /// Wall clock, seconds since 1970.
    pub time: Vec<f64>,
    /// The values.
    pub value: Values,
    /// Who logged it.
    pub rank: Vec<u32>,
    /// In which attempt of the run.
    pub attempt: Vec<u32>,
}

impl RunReader {
    /// Read one metric. `key` is its name as bytes (names that are not UTF-8 exist).
    ///
    /// # Errors
    /// [`StoreError::NoSuchMetric`] when nobody has logged it.
    pub fn series(&self, key: &[u8], options: &SeriesOptions) -> Result<Series, StoreError> {
        match options.last {
            Some(last) => self.last_points(key, last, options),
            None => self.points_of(key, options),
        }
    }

    /// The end of a series: some of its newest groups are read, then ever more, until they hold enough.
    fn last_points(
        &self,
        key: &[u8],
        last: usize,
        options: &SeriesOptions,
    ) -> Result<Series, StoreError> {
        let mut near = SeriesOptions {
            max_points: None,
            ..*options
        };
        // Raw points end in the order of time, which says nothing about their steps.
        for round in 0..if options.raw { 0 } else { GUESSES } {
            let since = self.guessed_start(key, last << (2 * round))?;
            near.since = options.since.max(since);
            let series = self.points_of(key, &near)?;
            if series.step.len() >= last || near.since == options.since {
                return match options.max_points {
                    None => Ok(series),
                    max_points => self.points_of(key, &SeriesOptions { max_points, ..near }),
                };
            }
        }
        self.points_of(key, options)
    }

    /// The lowest step of the newest groups that hold so many values. `None`: all groups do not.
    fn guessed_start(&self, key: &[u8], values: usize) -> Result<Option<i64>, StoreError> {
        let Some(id) = key_id(&self.conn, key)? else {
            return Ok(None);
        };
        let mut select = self.conn.prepare_cached(
            "SELECT groups.step_min, cols.n FROM cols JOIN groups ON groups.id = cols.grp
             WHERE cols.key = ?1 ORDER BY cols.grp DESC",
        )?;
        let mut rows = select.query([id])?;
        let (mut found, mut start) = (0, i64::MAX);
        while let Some(row) = rows.next()? {
            start = start.min(row.get(0)?);
            found += row.get::<_, u32>(1)? as usize;
            if found >= values {
                return Ok(Some(start));
            }
        }
        Ok(None)
    }

    fn points_of(&self, key: &[u8], options: &SeriesOptions) -> Result<Series, StoreError> {
        self.reading(|conn| {
            let id = key_id(conn, key)?.ok_or_else(|| StoreError::NoSuchMetric {
                name: readable(key),
            })?;
            let origins = Origins::load(conn)?;
            if let (Some(most), None, false) = (options.max_points, options.last, options.raw) {
                return self.thinned(conn, &origins, id, options, most);
            }
            let firsts = firsts_of(conn, id)?;
            let wanted = Wanted {
                since: options.since.unwrap_or(i64::MIN),
                rank: options.rank,
                ..Wanted::all(id)
            };
            let points = self.points(conn, &origins, wanted)?;
            let selection = Selection {
                rank: options.rank,
                since: options.since,
                raw: options.raw,
            };
            let mut chosen = select(&points.placed, &origins.list, &firsts, selection);
            let all = || (0..points.placed.step.len() as u32).collect();
            if let Some(last) = options.last {
                let mut end: Vec<u32> = chosen.unwrap_or_else(all);
                end.drain(..end.len().saturating_sub(last));
                chosen = Some(end);
            }
            if let Some(max_points) = options.max_points {
                let thinned = thin(chosen.unwrap_or_else(all), max_points, &|at| {
                    points.number(at)
                });
                chosen = Some(thinned);
            }
            Ok(match chosen {
                Some(chosen) => series_of(&points, &origins, &chosen),
                None => whole_series(points, &origins),
            })
        })
    }
}

/// All points of one producer in the order in which they are stored.
fn whole_series(mut points: Points, origins: &Origins) -> Series {
    let origin = points.placed.origin.first().copied().unwrap_or_default();
    let from = origins.list.get(origin as usize);
    let (rank, attempt) = from.map_or((0, 0), |o| (o.rank, o.attempt));
    let placed = &mut points.placed;
    let time = origins.wall_secs(origin, std::mem::take(&mut placed.boottime_ns));
    let attempts = vec![attempt; placed.origin.len()];
    let ranks = std::mem::take(&mut placed.origin)
        .into_iter()
        .map(|_| rank)
        .collect();
    let (step, value) = points.into_values();
    Series {
        step,
        time,
        value,
        rank: ranks,
        attempt: attempts,
    }
}

/// Those of the points whose places are `chosen`.
pub(super) fn series_of(points: &Points, origins: &Origins, chosen: &[u32]) -> Series {
    let placed = &points.placed;
    let origin = |at: &u32| placed.origin.get(*at as usize).copied().unwrap_or_default();
    let of = |at: &u32| origins.list.get(origin(at) as usize);
    let time = |at: &u32| {
        let boottime_ns = placed
            .boottime_ns
            .get(*at as usize)
            .copied()
            .unwrap_or_default();
        origins.wall_ns(origin(at), boottime_ns) as f64 / 1e9
    };
    Series {
        step: chosen
            .iter()
            .filter_map(|at| placed.step.get(*at as usize).copied())
            .collect(),
        time: chosen.iter().map(time).collect(),
        value: if points.is_float() {
            Values::F64(chosen.iter().map(|at| points.float(*at)).collect())
        } else {
            Values::Mixed(chosen.iter().map(|at| points.cell(*at)).collect())
        },
        rank: chosen
            .iter()
            .map(|at| of(at).map_or(0, |o| o.rank))
            .collect(),
        attempt: chosen
            .iter()
            .map(|at| of(at).map_or(0, |o| o.attempt))
            .collect(),
    }
}

/// The number of a metric. `None`: nobody has logged it.
pub(super) fn key_id(conn: &Connection, name: &[u8]) -> Result<Option<u32>, StoreError> {
    let found = match std::str::from_utf8(name) {
        Ok(text) => conn
            .prepare_cached("SELECT id FROM keys WHERE name = ?1 AND raw IS NULL")?
            .query_row([text], |row| row.get(0))
            .optional()?,
        Err(_) => conn
            .prepare_cached("SELECT id FROM keys WHERE name = ?1 AND raw = ?2")?
            .query_row(params![readable(name), name], |row| row.get(0))
            .optional()?,
    };
    Ok(found)
}

/// The key's first step in each attempt.
pub(super) fn firsts_of(conn: &Connection, key: u32) -> Result<BTreeMap<u32, i64>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT attempt, step FROM firsts WHERE key = ?1 AND attempt IN (SELECT id FROM attempts)",
    )?;
    let rows = select.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
