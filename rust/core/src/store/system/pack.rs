//! Packing: rows of samples become one compressed column per series.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::encode_ints;
use crate::store::numbers::{ColumnError, QUICK_LEVEL};

/// Ten minutes at one sample a second: long enough to compress well, short enough to read one series cheaply.
pub(super) const CHUNK_ROWS: u32 = 600;
/// Fewer rows than this are no smaller when they are packed.
const LEAST_ROWS: u32 = 16;

/// One series within a chunk: the rows that have it, and a value for each.
#[derive(Debug, Default)]
pub(super) struct Track {
    pub rows: Vec<u32>,
    pub values: Vec<f64>,
    /// Least and greatest value behind each mean. Empty: the values are samples themselves.
    pub lows: Vec<f64>,
    pub highs: Vec<f64>,
}

/// What becomes one row of `system_chunks` and its columns.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub times_ns: Vec<i64>,
    pub tracks: BTreeMap<u32, Track>,
}

/// Pack each probe that has a chunk full; say whether there was one.
pub(super) fn pack_full(
    conn: &Connection,
    fresh: &mut HashMap<String, u32>,
) -> Result<bool, StoreError> {
    pack(conn, fresh, CHUNK_ROWS)
}

/// Pack what is there.
pub(super) fn pack_rest(
    conn: &Connection,
    fresh: &mut HashMap<String, u32>,
) -> Result<bool, StoreError> {
    pack(conn, fresh, LEAST_ROWS)
}

fn pack(
    conn: &Connection,
    fresh: &mut HashMap<String, u32>,
    at_least: u32,
) -> Result<bool, StoreError> {
    let mut any = false;
    for (probe, rows) in fresh.iter_mut().filter(|(_, rows)| **rows >= at_least) {
        let chunk = load_fresh(conn, probe)?;
        insert(conn, probe, 0, &chunk)?;
        conn.prepare_cached("DELETE FROM system_fresh WHERE probe = ?1")?
            .execute([probe])?;
        *rows = 0;
        any = true;
    }
    Ok(any)
}

fn load_fresh(conn: &Connection, probe: &str) -> Result<Chunk, StoreError> {
    let mut select = conn
        .prepare_cached("SELECT time_ns, numbers FROM system_fresh WHERE probe = ?1 ORDER BY id")?;
    let mut rows = select.query([probe])?;
    let mut chunk = Chunk::default();
    while let Some(row) = rows.next()? {
        let at = chunk.times_ns.len() as u32;
        chunk.times_ns.push(row.get(0)?);
        let numbers = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        for (series, value) in unpack(numbers) {
            let track = chunk.tracks.entry(series).or_default();
            track.rows.push(at);
            track.values.push(value);
        }
    }
    Ok(chunk)
}

/// The series and values of a row of `system_fresh`.
pub(in crate::store) fn unpack(numbers: &[u8]) -> impl Iterator<Item = (u32, f64)> + '_ {
    numbers.as_chunks::<12>().0.iter().filter_map(|pair| {
        let (series, value) = pair.split_first_chunk::<4>()?;
        let value = value.first_chunk::<8>()?;
        Some((u32::from_le_bytes(*series), f64::from_le_bytes(*value)))
    })
}

/// Write a chunk and its columns.
pub(super) fn insert(
    conn: &Connection,
    probe: &str,
    every_secs: i64,
    chunk: &Chunk,
) -> Result<(), StoreError> {
    let n = chunk.times_ns.len();
    // The clock of a machine may be set back.
    let first = chunk.times_ns.iter().min().copied().unwrap_or_default();
    let last = chunk.times_ns.iter().max().copied().unwrap_or_default();
    conn.prepare_cached(
        "INSERT INTO system_chunks(probe, every_secs, n, first_ns, last_ns, times)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        probe,
        every_secs,
        n as i64,
        first,
        last,
        encode_ints(&chunk.times_ns)?
    ])?;
    let id = conn.last_insert_rowid();
    let mut insert = conn.prepare_cached(
        "INSERT INTO system_cols(chunk, series, n, min, max, mean, last, data, lows, highs)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?;
    for (series, track) in &chunk.tracks {
        let is_thin = !track.lows.is_empty();
        let least = if is_thin { &track.lows } else { &track.values };
        let greatest = if is_thin { &track.highs } else { &track.values };
        insert.execute(params![
            id,
            series,
            track.values.len() as i64,
            least.iter().copied().fold(f64::INFINITY, f64::min),
            greatest.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            track.values.iter().sum::<f64>() / track.values.len().max(1) as f64,
            track.values.last(),
            encode(&track.values, Some(&track.rows), n)?,
            is_thin.then(|| encode(&track.lows, None, n)).transpose()?,
            is_thin.then(|| encode(&track.highs, None, n)).transpose()?,
        ])?;
    }
    Ok(())
}

/// Values as a column; `rows` are left out where there is one for each of the `n`.
fn encode(values: &[f64], rows: Option<&[u32]>, n: usize) -> Result<Vec<u8>, ColumnError> {
    let column = Column {
        rows: rows.filter(|rows| rows.len() < n).map(<[u32]>::to_vec),
        slots: values.iter().map(|value| value.to_bits()).collect(),
        ..Column::default()
    };
    let mut out = Vec::new();
    column.encode(&mut out, QUICK_LEVEL)?;
    Ok(out)
}
