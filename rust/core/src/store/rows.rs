//! The small rows of a commit: marks, counts, text, gaps, raw frames.

use std::collections::HashMap;

use rusqlite::{Connection, params};
use tm_spool::{Batch, Value, clock};

use super::cell::text_or_blob;
use super::error::StoreError;
use super::exits::record_exit;
use super::notes::insert_event;
use super::registry::hex;
use super::scan::{Row, Scan};
use super::source::{Dictionary, End, Gap, ProducerRow};
use super::write::ClockSample;

/// A row of `fresh`.
pub(crate) struct FreshBlob {
    pub lane: u8,
    pub first: u64,
    pub frames: Vec<u8>,
}

/// The rows that single frames ask for: text values and forced analyses.
pub(crate) fn insert_marked(
    conn: &Connection,
    producer: &ProducerRow,
    dictionary: &Dictionary,
    scan: &Scan<'_>,
) -> Result<(), StoreError> {
    for (step, boottime_ns) in &scan.forced {
        let time_ns = boottime_ns + producer.wall_offset_ns;
        insert_event(conn, producer.id, "force_analysis", *step, time_ns, None)?;
    }
    for (layout, rows) in scan.layouts() {
        let keys = layout.and_then(|id| dictionary.layout(id));
        for row in rows.iter().filter(|row| row.frame.is_typed()) {
            let key_at = |i: usize| match keys {
                Some(keys) => keys.get(i).copied(),
                None => row
                    .frame
                    .pair_key(i)
                    .and_then(|local| dictionary.key(local.0)),
            };
            insert_texts(conn, producer.id, row, &key_at)?;
        }
    }
    Ok(())
}

fn insert_texts(
    conn: &Connection,
    producer: i64,
    row: &Row<'_>,
    key_at: &dyn Fn(usize) -> Option<u32>,
) -> Result<(), StoreError> {
    for i in 0..row.frame.n as usize {
        let (Some(Value::Text(bytes)), Some(key)) = (row.frame.value(i), key_at(i)) else {
            continue;
        };
        let mut insert = conn.prepare_cached(
            "INSERT INTO text(key, producer, step, time, value) VALUES(?1, ?2, ?3, ?4, ?5)",
        )?;
        let (step, time) = (row.frame.step.0, row.frame.boottime_ns);
        insert.execute(params![key, producer, step, time, text_or_blob(bytes)])?;
    }
    Ok(())
}

pub(crate) fn insert_gaps(
    conn: &Connection,
    producer: i64,
    gaps: &[Gap],
) -> Result<(), StoreError> {
    for gap in gaps {
        let mut insert = conn.prepare_cached(
            "INSERT INTO gaps(producer, lane, first_lsn, last_lsn, frames_lost, reason, noticed_ns,
                 detail)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        insert.execute(params![
            producer,
            gap.lane.map(|lane| lane.0),
            gap.first.0 as i64,
            gap.end.0 as i64,
            gap.frames_lost,
            gap.reason,
            clock::wall_ns(),
            gap.detail,
        ])?;
    }
    Ok(())
}

/// Frames whose layout is in no dictionary cannot be understood: say so, count them.
pub(crate) fn insert_undefined(
    conn: &Connection,
    producer: i64,
    frames: u32,
) -> Result<(), StoreError> {
    if frames > 0 {
        conn.execute(
            "INSERT INTO gaps(producer, frames_lost, reason, noticed_ns) VALUES(?1, ?2, 'undefined', ?3)",
            params![producer, frames, clock::wall_ns()],
        )?;
    }
    Ok(())
}

/// A gap of unknown size; with the same producer, reason and detail it is stored once.
pub(crate) fn insert_gap_once(
    conn: &Connection,
    producer: Option<i64>,
    reason: &str,
    detail: &str,
) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO gaps(producer, reason, noticed_ns, detail) SELECT ?1, ?2, ?3, ?4
         WHERE NOT EXISTS (SELECT 1 FROM gaps WHERE producer IS ?1 AND reason = ?2 AND detail = ?4)",
        params![producer, reason, clock::wall_ns(), detail],
    )?;
    Ok(())
}

/// Stored frames of which something cannot be read any more.
pub(crate) fn insert_damaged(
    conn: &Connection,
    producer: i64,
    what: &str,
) -> Result<(), StoreError> {
    insert_gap_once(conn, Some(producer), "damaged_column", what)
}

pub(crate) fn count(conn: &Connection, producer: i64, scan: &Scan<'_>) -> Result<(), StoreError> {
    if scan.frames > 0 {
        let mut update = conn.prepare_cached(
            "UPDATE producers SET frames = frames + ?2, points = points + ?3 WHERE id = ?1",
        )?;
        update.execute(params![producer, scan.frames as i64, scan.points as i64])?;
    }
    Ok(())
}

pub(crate) fn move_marks(
    conn: &Connection,
    producer: i64,
    marks: &HashMap<u8, u64>,
) -> Result<(), StoreError> {
    let mut upsert = conn.prepare_cached(
        "INSERT INTO lanes(producer, lane, mark_lsn, sealed_lsn) VALUES(?1, ?2, ?3, 0)
         ON CONFLICT(producer, lane) DO UPDATE SET mark_lsn = excluded.mark_lsn",
    )?;
    for (lane, mark) in marks {
        upsert.execute(params![producer, lane, *mark as i64])?;
    }
    Ok(())
}

pub(crate) fn insert_fresh(
    conn: &Connection,
    producer: i64,
    batches: &[Batch],
) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO fresh(producer, lane, first_lsn, last_lsn, frames) VALUES(?1, ?2, ?3, ?4, ?5)",
    )?;
    for batch in batches.iter().filter(|batch| !batch.bytes.is_empty()) {
        let (first, last) = (batch.first.0 as i64, batch.end.0 as i64);
        insert.execute(params![producer, batch.lane.0, first, last, batch.bytes])?;
    }
    Ok(())
}

pub(crate) fn load_fresh(conn: &Connection, producer: i64) -> Result<Vec<FreshBlob>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT lane, first_lsn, frames FROM fresh WHERE producer = ?1 ORDER BY id",
    )?;
    let rows = select.query_map([producer], |r| {
        Ok(FreshBlob {
            lane: r.get(0)?,
            first: r.get::<_, i64>(1)? as u64,
            frames: r.get(2)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(crate) fn delete_fresh(conn: &Connection, producer: i64) -> Result<(), StoreError> {
    conn.prepare_cached("DELETE FROM fresh WHERE producer = ?1")?
        .execute([producer])?;
    conn.prepare_cached("UPDATE lanes SET sealed_lsn = mark_lsn WHERE producer = ?1")?
        .execute([producer])?;
    Ok(())
}

pub(crate) fn end_producer(conn: &Connection, producer: i64, end: &End) -> Result<(), StoreError> {
    let was_stored = has_ended(conn, producer)?;
    conn.prepare_cached(
        "UPDATE producers SET ended_ns = coalesce(ended_ns, ?2), ended_how = coalesce(ended_how, ?3),
             accepted_points = ?4, rejected = ?5
         WHERE id = ?1",
    )?
    .execute(params![
        producer,
        clock::wall_ns(),
        end.how,
        end.accepted_points as i64,
        end.rejected
    ])?;
    // A writer that was killed before it had removed the files finds the same end again.
    if !was_stored {
        record_exit(conn, producer, end)?;
    }
    insert_untold(conn, producer, end)
}

fn has_ended(conn: &Connection, producer: i64) -> Result<bool, StoreError> {
    let mut select =
        conn.prepare_cached("SELECT ended_ns IS NOT NULL FROM producers WHERE id = ?1")?;
    Ok(select.query_row([producer], |row| row.get(0))?)
}

/// A gap for the calls that had no place in the lanes and that no later frame could tell of.
fn insert_untold(conn: &Connection, producer: i64, end: &End) -> Result<(), StoreError> {
    let told: i64 = conn
        .prepare_cached(
            "SELECT coalesce(sum(frames_lost), 0) FROM gaps
             WHERE producer = ?1 AND reason = 'rejected'",
        )?
        .query_row([producer], |row| row.get(0))?;
    let untold = (end.homeless_frames as i64).saturating_sub(told);
    if untold > 0 {
        conn.prepare_cached(
            "INSERT INTO gaps(producer, frames_lost, reason, noticed_ns, detail)
             VALUES(?1, ?2, 'rejected', ?3, ?4)",
        )?
        .execute(params![producer, untold, clock::wall_ns(), end.rejected])?;
    }
    Ok(())
}

pub(crate) fn insert_clock(conn: &Connection, sample: &ClockSample) -> Result<(), StoreError> {
    conn.execute(
        "INSERT INTO clock(host, boot_id, time_namespace, boottime_ns, wall_ns)
         VALUES(?1, ?2, ?3, ?4, ?5)",
        params![
            sample.host,
            hex(&clock::boot_id()),
            clock::time_namespace() as i64,
            sample.boottime_ns,
            sample.wall_ns,
        ],
    )?;
    Ok(())
}
