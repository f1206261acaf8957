//! Thinning: what is older than a day becomes the least, the mean and the greatest value of each minute.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::pack::{Chunk, Track, insert};
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;

const SECOND_NS: i64 = 1_000_000_000;
pub(super) const MINUTE_NS: i64 = 60 * SECOND_NS;
/// Every sample is kept for so long.
pub(super) const KEEP_NS: i64 = 24 * 60 * MINUTE_NS;
/// So much is thinned at once: a column of 360 minutes compresses, one of ten does not.
pub(super) const STRETCH_NS: i64 = 6 * 60 * MINUTE_NS;

/// Thin the oldest stretch of a probe, when all of it is older than a day.
///
/// One stretch is enough: this is called once per packed chunk, 36 times as often as a stretch comes due.
pub(super) fn thin_old(conn: &Connection) -> Result<(), StoreError> {
    let Some(stretch) = oldest(conn)? else {
        return Ok(());
    };
    let mut minutes = Minutes::default();
    let ids = load(conn, &stretch, &mut minutes)?;
    insert(conn, &stretch.probe, 60, &minutes.into_chunk())?;
    for id in ids {
        conn.prepare_cached("DELETE FROM system_cols WHERE chunk = ?1")?
            .execute([id])?;
        conn.prepare_cached("DELETE FROM system_chunks WHERE id = ?1")?
            .execute([id])?;
    }
    Ok(())
}

/// Chunks of one probe that begin within these times.
struct Stretch {
    probe: String,
    from_ns: i64,
    to_ns: i64,
}

/// The first stretch of which every sample is old. `None`: there is none.
fn oldest(conn: &Connection) -> Result<Option<Stretch>, StoreError> {
    let newest: Option<i64> = conn
        .prepare_cached("SELECT max(last_ns) FROM system_chunks WHERE every_secs = 0")?
        .query_row([], |row| row.get(0))?;
    let Some(newest) = newest else {
        return Ok(None);
    };
    let mut select = conn.prepare_cached(
        "SELECT probe, min(first_ns) FROM system_chunks WHERE every_secs = 0 GROUP BY probe
         HAVING min(first_ns) < ?1 ORDER BY 2 LIMIT 1",
    )?;
    let found = select
        .query_row([newest - KEEP_NS - STRETCH_NS], |row| {
            Ok((row.get(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    Ok(found.map(|(probe, from_ns)| Stretch {
        probe,
        from_ns,
        to_ns: from_ns + STRETCH_NS,
    }))
}

/// Add all chunks of a stretch to `minutes`; return which they are.
fn load(
    conn: &Connection,
    stretch: &Stretch,
    minutes: &mut Minutes,
) -> Result<Vec<i64>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT id, n, times FROM system_chunks
         WHERE every_secs = 0 AND probe = ?1 AND first_ns >= ?2 AND first_ns < ?3",
    )?;
    let mut chunks = select.query(params![stretch.probe, stretch.from_ns, stretch.to_ns])?;
    let mut ids = Vec::new();
    while let Some(chunk) = chunks.next()? {
        let (id, n): (i64, i64) = (chunk.get(0)?, chunk.get(1)?);
        let times = chunk.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
        // What cannot be decoded has nothing to give to its minutes.
        if let Ok(times_ns) = decode_ints(times, n as usize) {
            minutes.add(conn, id, n as usize, &times_ns)?;
        }
        ids.push(id);
    }
    Ok(ids)
}

/// Least, sum, greatest and count of the samples in one minute.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    low: f64,
    sum: f64,
    high: f64,
    n: u32,
}

#[derive(Debug, Default)]
struct Minutes {
    /// By series and the number of the minute since 1970.
    series: BTreeMap<u32, BTreeMap<i64, Bucket>>,
}

impl Minutes {
    fn add(
        &mut self,
        conn: &Connection,
        chunk: i64,
        n: usize,
        times_ns: &[i64],
    ) -> Result<(), StoreError> {
        let mut select =
            conn.prepare_cached("SELECT series, data FROM system_cols WHERE chunk = ?1")?;
        let mut rows = select.query([chunk])?;
        while let Some(row) = rows.next()? {
            let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let Ok(column) = Column::decode(data, n) else {
                continue;
            };
            let buckets = self.series.entry(row.get(0)?).or_default();
            for (at, value) in samples(&column) {
                let Some(time_ns) = times_ns.get(at) else {
                    continue;
                };
                let bucket = buckets
                    .entry(time_ns.div_euclid(MINUTE_NS))
                    .or_insert(Bucket {
                        low: value,
                        sum: 0.0,
                        high: value,
                        n: 0,
                    });
                bucket.low = bucket.low.min(value);
                bucket.high = bucket.high.max(value);
                bucket.sum += value;
                bucket.n += 1;
            }
        }
        Ok(())
    }

    fn into_chunk(self) -> Chunk {
        let mut all: Vec<i64> = self
            .series
            .values()
            .flat_map(BTreeMap::keys)
            .copied()
            .collect();
        all.sort_unstable();
        all.dedup();
        let row_of: BTreeMap<i64, u32> = all.iter().copied().zip(0..).collect();
        let track = |buckets: BTreeMap<i64, Bucket>| {
            let mut track = Track::default();
            for (minute, bucket) in buckets {
                track.rows.extend(row_of.get(&minute));
                track.values.push(bucket.mean());
                track.lows.push(bucket.low);
                track.highs.push(bucket.high);
            }
            track
        };
        Chunk {
            times_ns: all
                .iter()
                .map(|minute| minute * MINUTE_NS + MINUTE_NS / 2)
                .collect(),
            tracks: self
                .series
                .into_iter()
                .map(|(series, buckets)| (series, track(buckets)))
                .collect(),
        }
    }
}

impl Bucket {
    /// The mean, with no more digits than are worth their bytes; what is constant stays exact.
    fn mean(&self) -> f64 {
        if self.low == self.high {
            return self.low;
        }
        f64::from((self.sum / f64::from(self.n)) as f32)
    }
}

/// The rows of a column and their values.
pub(in crate::store) fn samples(column: &Column) -> impl Iterator<Item = (usize, f64)> + '_ {
    (0..column.slots.len()).filter_map(|i| {
        let row = match &column.rows {
            Some(rows) => *rows.get(i)? as usize,
            None => i,
        };
        Some((row, column.number(i)?))
    })
}
