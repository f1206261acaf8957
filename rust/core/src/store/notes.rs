//! Frames that are not points: alerts, config, close, events, calls the producer had to reject.

use rusqlite::{Connection, params};
use serde_json::Value as Json;
use tm_spool::Kind;

use super::error::StoreError;
use super::scan::Row;
use super::source::ProducerRow;
use super::write::Committed;

/// Store one frame that is not points.
pub(crate) fn record(
    conn: &Connection,
    producer: &ProducerRow,
    row: &Row<'_>,
    committed: &mut Committed,
) -> Result<(), StoreError> {
    let json = String::from_utf8_lossy(row.frame.blob());
    let parsed: Json = serde_json::from_str(&json).unwrap_or(Json::Null);
    match row.frame.kind {
        Kind::Alert => alert(conn, producer, row, &parsed),
        Kind::Control => control(conn, producer, row, &json, &parsed, committed),
        Kind::Gap => rejected(conn, producer, row, &json, &parsed),
        Kind::Event => event(
            conn,
            producer,
            row,
            parsed["kind"].as_str().unwrap_or("event"),
            &json,
        ),
        Kind::Text => event(conn, producer, row, "text_sample", &json),
        Kind::Histogram => event(conn, producer, row, "histogram", &json),
        Kind::System => event(conn, producer, row, "system", &json),
        Kind::Points => Ok(()),
    }
}

/// An alert the user sent with `tm.alert()`.
fn alert(
    conn: &Connection,
    producer: &ProducerRow,
    row: &Row<'_>,
    parsed: &Json,
) -> Result<(), StoreError> {
    let text = |field: &str| parsed[field].as_str().unwrap_or_default();
    let mut insert = conn.prepare_cached(
        "INSERT INTO alerts(producer, step, time_ns, level, title, text, wait_duration)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![
        producer.id,
        row.frame.step.0,
        row.frame.boottime_ns + producer.wall_offset_ns,
        parsed["level"].as_str().unwrap_or("WARN"),
        text("title"),
        text("text"),
        parsed["wait_duration"].as_f64().unwrap_or(60.0),
    ])?;
    Ok(())
}

fn control(
    conn: &Connection,
    producer: &ProducerRow,
    row: &Row<'_>,
    json: &str,
    parsed: &Json,
    committed: &mut Committed,
) -> Result<(), StoreError> {
    match parsed["type"].as_str() {
        Some("config") => {
            // The first to come speaks until rank 0 does.
            let mut update = conn.prepare_cached(
                "UPDATE attempts SET config = ?2 WHERE id = ?1 AND (config IS NULL
                 OR ?3 < iif(json_valid(config), coalesce(json_extract(config, '$.rank'), 0), 0))",
            )?;
            let rank = parsed["rank"].as_i64().unwrap_or(0);
            if update.execute(params![producer.attempt, json, rank])? > 0 {
                committed.configs.push((producer.attempt, json.to_owned()));
            }
            Ok(())
        }
        Some("close") => {
            let closed_ns = row.frame.boottime_ns + producer.wall_offset_ns;
            let mut update =
                conn.prepare_cached("UPDATE producers SET closed_ns = ?2 WHERE id = ?1")?;
            update.execute(params![producer.id, closed_ns])?;
            Ok(())
        }
        _ => event(conn, producer, row, "control", json),
    }
}

/// Calls the producer rejected and counted while there was no space.
fn rejected(
    conn: &Connection,
    producer: &ProducerRow,
    row: &Row<'_>,
    json: &str,
    parsed: &Json,
) -> Result<(), StoreError> {
    let frames = parsed["rejected_frames"].as_i64();
    let noticed_ns = row.frame.boottime_ns + producer.wall_offset_ns;
    let mut insert = conn.prepare_cached(
        "INSERT INTO gaps(producer, lane, frames_lost, reason, noticed_ns, detail)
         VALUES(?1, ?2, ?3, 'rejected', ?4, ?5)",
    )?;
    insert.execute(params![producer.id, row.lane, frames, noticed_ns, json])?;
    Ok(())
}

fn event(
    conn: &Connection,
    producer: &ProducerRow,
    row: &Row<'_>,
    kind: &str,
    json: &str,
) -> Result<(), StoreError> {
    let time_ns = row.frame.boottime_ns + producer.wall_offset_ns;
    insert_event(
        conn,
        producer.id,
        kind,
        row.frame.step.0,
        time_ns,
        Some(json),
    )
}

/// A row in `events`.
pub(crate) fn insert_event(
    conn: &Connection,
    producer: i64,
    kind: &str,
    step: i64,
    time_ns: i64,
    detail: Option<&str>,
) -> Result<(), StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO events(producer, kind, step, time_ns, detail) VALUES(?1, ?2, ?3, ?4, ?5)",
    )?;
    insert.execute(params![producer, kind, step, time_ns, detail])?;
    Ok(())
}
