//! The metrics of the machine: from lines of the poller to rows, packed columns and thinned history.
//!
//! Every sample is kept for a day, in chunks of ten minutes; after that the least, the mean and the greatest
//! value of each minute, as long as the run.

mod line;
mod pack;
mod thin;

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use line::NoteLine;
pub use line::{BadLine, StackLine, SystemFinding, SystemLine, SystemSample, SystemSource};
pub(super) use pack::unpack;
pub(super) use thin::samples;

use super::Store;
use super::bytes::ByteWriter;
use super::error::StoreError;

/// More than anybody reads of one run: whatever goes wrong, the table does not fill the disk.
const MOST_NOTES: usize = 100_000;

/// What the numbers of the tables are, and how much is not packed. Everything here is in the database too:
/// after a transaction that failed it is forgotten and found again.
#[derive(Debug, Default)]
pub(crate) struct SystemTable {
    /// Host and source to the number of the source and its metrics.
    sources: HashMap<(String, String), Known>,
    /// Rows in `system_fresh` by probe. `None`: not counted yet.
    fresh: Option<HashMap<String, u32>>,
    /// The notes there are: kind and id. `None`: not looked up yet.
    notes: Option<HashSet<(String, String)>>,
}

#[derive(Debug, Default)]
struct Known {
    id: i64,
    metrics: HashMap<String, u32>,
}

impl SystemTable {
    /// Store what the poller saw, pack what is enough, thin what is old.
    pub(crate) fn write(
        &mut self,
        tx: &Transaction<'_>,
        lines: &[SystemLine],
    ) -> Result<(), StoreError> {
        for line in lines {
            match line {
                SystemLine::Sample(sample) => self.insert(tx, sample)?,
                SystemLine::Finding(finding) => record(tx, finding)?,
                SystemLine::Stack(stack) => record_stack(tx, stack)?,
                SystemLine::Note(note) => self.record_note(tx, note)?,
            }
        }
        if !lines.is_empty() && pack::pack_full(tx, self.fresh(tx)?)? {
            thin::thin_old(tx)?;
        }
        Ok(())
    }

    /// The transaction failed: numbers given out in it may not exist.
    pub(crate) fn rolled_back(&mut self) {
        *self = Self::default();
    }

    fn insert(&mut self, conn: &Connection, sample: &SystemSample) -> Result<(), StoreError> {
        let mut numbers = Vec::new();
        for source in &sample.sources {
            let known = self.source(conn, &sample.host, &source.name)?;
            if let Some(facts) = &source.facts {
                let mut update =
                    conn.prepare_cached("UPDATE system_sources SET facts = ?2 WHERE id = ?1")?;
                update.execute(params![known.id, facts])?;
            }
            for (metric, value) in &source.values {
                numbers.put_u32(known.metric(conn, metric)?);
                numbers.extend_from_slice(&value.to_le_bytes());
            }
        }
        if numbers.is_empty() {
            return Ok(());
        }
        let probe = format!("{}/{}", sample.host, sample.probe);
        *self.fresh(conn)?.entry(probe.clone()).or_default() += 1;
        let mut insert = conn.prepare_cached(
            "INSERT INTO system_fresh(probe, time_ns, numbers) VALUES(?1, ?2, ?3)",
        )?;
        insert.execute(params![probe, sample.time_ns, numbers])?;
        Ok(())
    }

    /// Who starts anew notices the same things again: what is known is not stored twice.
    fn record_note(&mut self, conn: &Connection, note: &NoteLine) -> Result<(), StoreError> {
        if self.notes.is_none() {
            self.notes = Some(stored_notes(conn)?);
        }
        let notes = self.notes.get_or_insert_default();
        if notes.len() >= MOST_NOTES || !notes.insert((note.kind.clone(), note.id.clone())) {
            return Ok(());
        }
        conn.prepare_cached(
            "INSERT INTO events(kind, step, time_ns, detail) VALUES(?1, ?2, ?3, ?4)",
        )?
        .execute(params![note.kind, note.step, note.time_ns, note.detail])?;
        Ok(())
    }

    fn source(
        &mut self,
        conn: &Connection,
        host: &str,
        name: &str,
    ) -> Result<&mut Known, StoreError> {
        let key = (host.to_owned(), name.to_owned());
        Ok(match self.sources.entry(key) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) => {
                conn.prepare_cached(
                    "INSERT OR IGNORE INTO system_sources(host, name) VALUES(?1, ?2)",
                )?
                .execute([host, name])?;
                let id = conn
                    .prepare_cached("SELECT id FROM system_sources WHERE host = ?1 AND name = ?2")?
                    .query_row([host, name], |row| row.get(0))?;
                place.insert(Known {
                    id,
                    metrics: HashMap::new(),
                })
            }
        })
    }

    fn fresh(&mut self, conn: &Connection) -> Result<&mut HashMap<String, u32>, StoreError> {
        if self.fresh.is_none() {
            let mut select =
                conn.prepare_cached("SELECT probe, count(*) FROM system_fresh GROUP BY probe")?;
            let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            self.fresh = Some(rows.collect::<Result<_, _>>()?);
        }
        Ok(self.fresh.get_or_insert_default())
    }
}

impl Known {
    fn metric(&mut self, conn: &Connection, metric: &str) -> Result<u32, StoreError> {
        if let Some(id) = self.metrics.get(metric) {
            return Ok(*id);
        }
        conn.prepare_cached("INSERT OR IGNORE INTO system_series(source, metric) VALUES(?1, ?2)")?
            .execute(params![self.id, metric])?;
        let id = conn
            .prepare_cached("SELECT id FROM system_series WHERE source = ?1 AND metric = ?2")?
            .query_row(params![self.id, metric], |row| row.get(0))?;
        self.metrics.insert(metric.to_owned(), id);
        Ok(id)
    }
}

fn stored_notes(conn: &Connection) -> Result<HashSet<(String, String)>, StoreError> {
    let mut select = conn.prepare(
        "SELECT kind, coalesce(json_extract(detail, '$.id'), '') FROM events
         WHERE kind IN ('detected', 'phase', 'told')",
    )?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A finding is told once: the same one again, with nothing else found about that source in between, is not
/// stored. A poller that starts anew finds the same machine.
fn record(conn: &Connection, finding: &SystemFinding) -> Result<(), StoreError> {
    let mut last = conn.prepare_cached(
        "SELECT json_extract(detail, '$.finding') FROM events
         WHERE kind = 'finding' AND json_extract(detail, '$.host') = ?1
             AND json_extract(detail, '$.source') = ?2
         ORDER BY id DESC LIMIT 1",
    )?;
    let known: Option<String> = last
        .query_row([&finding.host, &finding.source], |row| row.get(0))
        .optional()?;
    // What nobody was told of cannot be over.
    if known.as_deref().unwrap_or("over") == finding.name {
        return Ok(());
    }
    Ok(insert_finding(conn, finding.time_ns, &finding.json())?)
}

/// Stacks are taken because of a silence: while the finding about it stands, it names them.
fn record_stack(conn: &Connection, stack: &StackLine) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO events(producer, kind, time_ns, detail)
         VALUES((SELECT id FROM producers WHERE uuid = ?1), 'stack', ?2, ?3)",
    )?
    .execute(params![stack.producer, stack.time_ns, stack.detail])?;
    conn.prepare_cached(
        "UPDATE events SET detail = json_set(detail, '$.stacks_ns', ?1)
         WHERE id = (SELECT max(id) FROM events
                     WHERE kind = 'finding' AND json_extract(detail, '$.source') = 'steps')
             AND json_extract(detail, '$.finding') = 'stuck'",
    )?
    .execute([stack.time_ns])?;
    Ok(())
}

/// A finding that is told whatever was told before.
pub(super) fn insert_finding(conn: &Connection, time_ns: i64, json: &str) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT INTO events(kind, time_ns, detail) VALUES('finding', ?1, ?2)")?
        .execute(params![time_ns, json])?;
    Ok(())
}

impl Store {
    /// Pack what has gathered, so that a run that ended is small.
    pub(crate) fn pack_system(&mut self) -> Result<(), StoreError> {
        let tx = self.conn.transaction()?;
        pack::pack_rest(&tx, self.system.fresh(&tx)?)?;
        tx.commit()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
