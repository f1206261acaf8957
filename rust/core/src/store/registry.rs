//! Attempts and producers: who logs into this run, and what their numbers meant so far.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Params, params};
use serde_json::json;
use tm_spool::{Mode, ProducerInfo, clock};

use super::bytes::unpack_u32s;
use super::error::StoreError;
use super::firsts::Firsts;
use super::numbers::ColumnError;
use super::rows::insert_gap_once;
use super::source::{Dictionary, FreshTally, Pending, ProducerRow, Source};
use super::write::CommitOptions;
use super::{Store, latest::Latest};

impl Store {
    /// The row of a producer, made on first sight. A new job key is a new attempt: register the
    /// producers of several new jobs in the order of their start.
    pub(crate) fn register(&mut self, info: &ProducerInfo) -> Result<Source, StoreError> {
        let tx = self.conn.transaction()?;
        let attempt = attempt_of(&tx, info)?;
        let uuid = info.id.to_string();
        let known: Option<i64> = tx
            .query_row("SELECT id FROM producers WHERE uuid = ?1", [&uuid], |row| {
                row.get(0)
            })
            .optional()?;
        let id = match known {
            Some(id) => id,
            None => insert_producer(&tx, info, attempt)?,
        };
        let row = producer_rows(&tx, "id = ?1", params![id])?.pop();
        tx.commit()?;
        self.source(row.ok_or_else(|| StoreError::Unexpected("a producer without a row".into()))?)
    }

    fn source(&self, row: ProducerRow) -> Result<Source, StoreError> {
        Ok(Source {
            dictionary: load_dictionary(&self.conn, row.id)?,
            marks: load_marks(&self.conn, row.id)?,
            points: stored_points(&self.conn, Some(row.id))?,
            row,
            pending: Pending::default(),
            fresh: FreshTally::default(),
            latest: Latest::default(),
            firsts: Firsts::default(),
        })
    }

    /// Seal the raw frames an earlier writer left, so that every session starts with none.
    pub(super) fn seal_orphans(&mut self) -> Result<(), StoreError> {
        let left = "id IN (SELECT producer FROM fresh)";
        for row in producer_rows(&self.conn, left, [])? {
            let mut source = self.source(row)?;
            source.fresh = FreshTally::unknown();
            source.pending.seal = true;
            self.commit(&mut [&mut source], &CommitOptions::default())?;
        }
        Ok(())
    }

    /// The configs stored so far, by attempt.
    pub(crate) fn configs(&self) -> Result<Vec<(u32, String)>, StoreError> {
        let mut select = self
            .conn
            .prepare("SELECT id, config FROM attempts WHERE config IS NOT NULL ORDER BY id")?;
        let rows = select.query_map([], |r| Ok((r.get(0)?, r.get(1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The keys of all jobs so far.
    pub(crate) fn job_keys(&self) -> Result<Vec<String>, StoreError> {
        let mut select = self.conn.prepare("SELECT job_key FROM attempts")?;
        let rows = select.query_map([], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Points stored by all producers so far.
    pub(crate) fn points(&self) -> Result<u64, StoreError> {
        stored_points(&self.conn, None)
    }

    /// How many attempts the run has had.
    pub(crate) fn attempts(&self) -> Result<u32, StoreError> {
        Ok(self
            .conn
            .query_row("SELECT count(*) FROM attempts", [], |r| r.get(0))?)
    }
}

/// The producers that meet a condition. All of one boot have the order of the first of them: nothing changes it.
pub(super) fn producer_rows(
    conn: &Connection,
    condition: &str,
    values: impl Params,
) -> Result<Vec<ProducerRow>, StoreError> {
    let mut select = conn.prepare(&format!(
        "SELECT id, attempt, rank, wall_ns - boottime_ns,
             (SELECT first.wall_ns - first.boottime_ns FROM producers AS first
              WHERE first.boot_id = producers.boot_id
                  AND first.time_namespace = producers.time_namespace ORDER BY first.id LIMIT 1)
         FROM producers WHERE {condition}"
    ))?;
    let rows = select.query_map(values, |row| {
        Ok(ProducerRow {
            id: row.get(0)?,
            attempt: row.get(1)?,
            rank: row.get(2)?,
            wall_offset_ns: row.get(3)?,
            order_offset_ns: row.get(4)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn attempt_of(conn: &Connection, info: &ProducerInfo) -> Result<u32, StoreError> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO attempts(job_key, started_ns) VALUES(?1, ?2)
         ON CONFLICT(job_key) DO UPDATE SET started_ns = min(started_ns, excluded.started_ns)
         RETURNING id",
    )?;
    Ok(insert.query_row(params![info.job_key, info.wall_ns], |row| row.get(0))?)
}

fn insert_producer(
    conn: &Connection,
    info: &ProducerInfo,
    attempt: u32,
) -> Result<i64, StoreError> {
    let mode = match info.mode {
        Mode::Mmap => "mmap",
        Mode::Pwrite => "pwrite",
    };
    conn.execute(
        "INSERT INTO producers(uuid, attempt, parent, rank, local_rank, world, host, boot_id,
             time_namespace, pid, mode, boottime_ns, wall_ns)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            info.id.to_string(),
            attempt,
            info.parent.map(|id| id.to_string()),
            info.rank,
            info.local_rank,
            info.world,
            info.host,
            hex(&info.boot_id),
            info.time_ns as i64,
            info.pid,
            mode,
            info.boottime_ns,
            info.wall_ns,
        ],
    )?;
    Ok(conn.last_insert_rowid())
}

fn stored_points(conn: &Connection, producer: Option<i64>) -> Result<u64, StoreError> {
    let sql = "SELECT sum(points) FROM producers WHERE id = coalesce(?1, id)";
    let sum: Option<i64> = conn.query_row(sql, [producer], |row| row.get(0))?;
    Ok(sum.unwrap_or(0) as u64)
}

/// Bytes as lowercase hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What a producer's numbers mean, as far as the database knows.
pub(crate) fn load_dictionary(conn: &Connection, producer: i64) -> Result<Dictionary, StoreError> {
    let mut dictionary = Dictionary::default();
    let mut keys = conn.prepare_cached("SELECT id, key FROM producer_keys WHERE producer = ?1")?;
    let mut rows = keys.query([producer])?;
    while let Some(row) = rows.next()? {
        dictionary.define_key(row.get(0)?, row.get(1)?);
    }
    let mut layouts = conn.prepare_cached("SELECT id, keys FROM layouts WHERE producer = ?1")?;
    let mut rows = layouts.query([producer])?;
    while let Some(row) = rows.next()? {
        let keys = unpack_u32s(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?);
        dictionary.define_layout(row.get(0)?, keys.into());
    }
    dictionary.committed();
    Ok(dictionary)
}

/// The keys that groups of this layout may have, each once; without a layout those of their producer.
///
/// # Errors
/// [`StoreError::Column`] when the layout was lost: its groups cannot be read as rows.
pub(crate) fn keys_of(
    conn: &Connection,
    producer: i64,
    layout: Option<u32>,
) -> Result<Vec<u32>, StoreError> {
    let mut keys: Vec<u32> = match layout {
        None => conn
            .prepare_cached("SELECT key FROM producer_keys WHERE producer = ?1")?
            .query_map([producer], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
        Some(layout) => {
            let packed: Option<Vec<u8>> = conn
                .prepare_cached("SELECT keys FROM layouts WHERE producer = ?1 AND id = ?2")?
                .query_row(params![producer, layout], |row| row.get(0))
                .optional()?;
            let missing =
                || ColumnError(format!("layout {layout} of producer {producer} is missing"));
            unpack_u32s(&packed.ok_or_else(missing)?)
        }
    };
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

fn load_marks(conn: &Connection, producer: i64) -> Result<HashMap<u8, u64>, StoreError> {
    let mut select = conn.prepare("SELECT lane, mark_lsn FROM lanes WHERE producer = ?1")?;
    let rows = select.query_map([producer], |r| Ok((r.get(0)?, r.get::<_, i64>(1)? as u64)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

impl Store {
    /// A gap of nobody we know, of unknown size. The same one is stored once.
    pub(crate) fn record_gap(&self, reason: &str, detail: &str) -> Result<(), StoreError> {
        insert_gap_once(&self.conn, None, reason, detail)
    }

    /// How the wall clock of another host stands to ours: what its relay measured.
    pub(crate) fn record_clock(
        &self,
        host: &str,
        offset_ns: i64,
        error_ns: u64,
    ) -> Result<(), StoreError> {
        let detail = json!({ "host": host, "offset_ns": offset_ns, "error_ns": error_ns });
        self.record_event("relay_clock", &detail.to_string())
    }

    /// A row for something that happened to us, not to a producer.
    pub(crate) fn record_event(&self, kind: &str, detail: &str) -> Result<(), StoreError> {
        self.conn.execute(
            "INSERT INTO events(kind, time_ns, detail) VALUES(?1, ?2, ?3)",
            params![kind, clock::wall_ns(), detail],
        )?;
        Ok(())
    }
}
