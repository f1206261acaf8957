//! The plain rows: attempts, producers, gaps, alerts, text, counts.

use rusqlite::{OptionalExtension, Row, params};

use super::series::key_id;
use super::{Origins, RunReader};
use crate::store::error::StoreError;
use crate::store::keys::readable;

/// One launch of the run.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptRow {
    /// Counted from 1.
    pub number: u32,
    /// What its ranks have in common.
    pub job_key: String,
    /// Wall clock of its first producer, seconds since 1970.
    pub started: f64,
    /// Wall clock of its last producer's end. `None`: one of them goes on.
    pub ended: Option<f64>,
    /// How many processes logged.
    pub producers: u32,
    /// Points stored.
    pub points: u64,
    /// JSON. `None`: no producer sent one.
    pub config: Option<String>,
}

/// One process that logged.
#[derive(Debug, Clone, PartialEq)]
pub struct ProducerEntry {
    /// 32 hex digits.
    pub uuid: String,
    /// Its attempt.
    pub attempt: u32,
    /// The producer it was forked from. `None`: it was not forked.
    pub parent: Option<String>,
    /// Global rank.
    pub rank: u32,
    /// Rank on its host.
    pub local_rank: u32,
    /// Ranks in all.
    pub world: u32,
    /// Its host.
    pub host: String,
    /// Its process.
    pub pid: u32,
    /// mmap or pwrite.
    pub mode: String,
    /// Wall clock of its start, seconds since 1970.
    pub started: f64,
    /// Wall clock when it was found ended and everything was stored. `None`: it goes on.
    pub ended: Option<f64>,
    /// closed or died. `None`: it goes on.
    pub ended_how: Option<String>,
    /// Frames stored.
    pub frames: u64,
    /// Points stored.
    pub points: u64,
    /// Its own count of accepted points. `None`: it goes on.
    pub accepted_points: Option<u64>,
    /// JSON: rejected values by reason. `None`: it goes on.
    pub rejected: Option<String>,
}

/// Something that will never be in the database.
#[derive(Debug, Clone, PartialEq)]
pub struct GapRow {
    /// Whose it was, 32 hex digits. `None`: not known.
    pub producer: Option<String>,
    /// In which lane. `None`: not tied to one.
    pub lane: Option<u8>,
    /// The range in the lane. `None`: not tied to one.
    pub lsn: Option<(u64, u64)>,
    /// How many calls are missing. `None`: not known.
    pub frames_lost: Option<u64>,
    /// damaged, damaged_column, database_behind, file_lost, undefined, rejected.
    pub reason: String,
    /// Wall clock when it was noticed, seconds since 1970.
    pub noticed: f64,
    /// JSON. `None`: there is no more to say.
    pub detail: Option<String>,
}

/// An alert sent with `tm.alert()`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRow {
    /// Its number.
    pub id: i64,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// The rank that sent it.
    pub rank: u32,
    /// The step at which it was sent.
    pub step: i64,
    /// Wall clock, seconds since 1970.
    pub time: f64,
    /// INFO, WARN or ERROR.
    pub level: String,
    /// One line.
    pub title: String,
    /// The rest; may be empty.
    pub text: String,
    /// The same title is not told again for this long.
    pub wait_duration_secs: f64,
}

/// A value that is text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRow {
    /// Training step.
    pub step: i64,
    /// Who logged it.
    pub rank: u32,
    /// In which attempt.
    pub attempt: u32,
    /// Wall clock, seconds since 1970.
    pub time: f64,
    /// The text; lone surrogates are passed through (WTF-8).
    pub value: Vec<u8>,
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Points stored.
    pub points: u64,
    /// Frames stored, of every kind.
    pub frames: u64,
    /// Metric names.
    pub keys: u64,
    /// Launches.
    pub attempts: u64,
    /// Processes that logged.
    pub producers: u64,
    /// Rows of `gaps`.
    pub gaps: u64,
    /// Rows of `alerts`.
    pub alerts: u64,
    /// Rows of `text`.
    pub texts: u64,
    /// Sealed groups.
    pub groups: u64,
    /// Batches that are not sealed yet.
    pub fresh: u64,
}

pub(super) const NS: f64 = 1e9;

fn secs(row: &Row<'_>, at: usize) -> rusqlite::Result<f64> {
    Ok(row.get::<_, i64>(at)? as f64 / NS)
}

pub(super) fn secs_or_none(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<f64>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(|ns| ns as f64 / NS))
}

fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, Option<i64>>(at)?.unwrap_or(0) as u64)
}

impl RunReader {
    /// What producers that ended had refused, by reason, over all attempts.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn rejected(&self) -> Result<Vec<(String, u64)>, StoreError> {
        let mut select = self.conn.prepare_cached(
            "SELECT reason.key, sum(reason.value) FROM producers, json_each(producers.rejected) AS reason
             WHERE producers.rejected IS NOT NULL GROUP BY reason.key ORDER BY reason.key",
        )?;
        let rows = select.query_map([], |r| Ok((r.get(0)?, count(r, 1)?)))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn all<T>(
        &self,
        sql: &str,
        map: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select.query_map([], map)?.collect::<Result<_, _>>()?)
    }

    /// Every launch of the run, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn attempts(&self) -> Result<Vec<AttemptRow>, StoreError> {
        self.all(
            "SELECT a.id, a.job_key, a.started_ns,
                 CASE WHEN count(*) = count(p.ended_ns) THEN max(p.ended_ns) END,
                 count(p.id), sum(p.points), a.config
             FROM attempts a LEFT JOIN producers p ON p.attempt = a.id GROUP BY a.id ORDER BY a.id",
            |r| {
                Ok(AttemptRow {
                    number: r.get(0)?,
                    job_key: r.get(1)?,
                    started: secs(r, 2)?,
                    ended: secs_or_none(r, 3)?,
                    producers: r.get(4)?,
                    points: count(r, 5)?,
                    config: r.get(6)?,
                })
            },
        )
    }

    /// Every process that logged, in the order in which they were first seen.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn producers(&self) -> Result<Vec<ProducerEntry>, StoreError> {
        self.all(
            "SELECT uuid, attempt, parent, rank, local_rank, world, host, pid, mode, wall_ns, ended_ns,
                 ended_how, frames, points, accepted_points, rejected FROM producers ORDER BY id",
            |r| {
                Ok(ProducerEntry {
                    uuid: r.get(0)?,
                    attempt: r.get(1)?,
                    parent: r.get(2)?,
                    rank: r.get(3)?,
                    local_rank: r.get(4)?,
                    world: r.get(5)?,
                    host: r.get(6)?,
                    pid: r.get(7)?,
                    mode: r.get(8)?,
                    started: secs(r, 9)?,
                    ended: secs_or_none(r, 10)?,
                    ended_how: r.get(11)?,
                    frames: count(r, 12)?,
                    points: count(r, 13)?,
                    accepted_points: r.get::<_, Option<i64>>(14)?.map(|n| n as u64),
                    rejected: r.get(15)?,
                })
            },
        )
    }

    /// Everything that is known to be missing.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn gaps(&self) -> Result<Vec<GapRow>, StoreError> {
        self.all(
            "SELECT p.uuid, g.lane, g.first_lsn, g.last_lsn, g.frames_lost, g.reason, g.noticed_ns,
                 g.detail FROM gaps g LEFT JOIN producers p ON p.id = g.producer ORDER BY g.id",
            |r| {
                let lsn: (Option<i64>, Option<i64>) = (r.get(2)?, r.get(3)?);
                Ok(GapRow {
                    producer: r.get(0)?,
                    lane: r.get(1)?,
                    lsn: lsn
                        .0
                        .zip(lsn.1)
                        .map(|(first, end)| (first as u64, end as u64)),
                    frames_lost: r.get::<_, Option<i64>>(4)?.map(|n| n as u64),
                    reason: r.get(5)?,
                    noticed: secs(r, 6)?,
                    detail: r.get(7)?,
                })
            },
        )
    }

    /// Every alert the user sent, oldest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn alerts(&self) -> Result<Vec<AlertRow>, StoreError> {
        self.all(
            "SELECT a.id, p.attempt, p.rank, a.step, a.time_ns, a.level, a.title, a.text,
                 a.wait_duration FROM alerts a JOIN producers p ON p.id = a.producer ORDER BY a.id",
            |r| {
                Ok(AlertRow {
                    id: r.get(0)?,
                    attempt: r.get(1)?,
                    rank: r.get(2)?,
                    step: r.get(3)?,
                    time: secs(r, 4)?,
                    level: r.get(5)?,
                    title: r.get(6)?,
                    text: r.get(7)?,
                    wait_duration_secs: r.get(8)?,
                })
            },
        )
    }

    /// The last `last` text values of a metric, oldest first.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMetric`] when nobody has logged it.
    pub fn texts(&self, key: &[u8], last: usize) -> Result<Vec<TextRow>, StoreError> {
        self.reading(|conn| {
            let id = key_id(conn, key)?.ok_or_else(|| StoreError::NoSuchMetric {
                name: readable(key),
            })?;
            let origins = Origins::load(conn)?;
            let mut select = conn.prepare_cached(
                "SELECT producer, step, time, value FROM text WHERE key = ?1
                 ORDER BY id DESC LIMIT ?2",
            )?;
            let mut rows = select.query(params![id, i64::try_from(last).unwrap_or(i64::MAX)])?;
            let mut texts = Vec::new();
            while let Some(row) = rows.next()? {
                let Some(at) = origins.index(row.get(0)?) else {
                    continue;
                };
                let origin = origins.list.get(at as usize);
                let bytes = row.get_ref(3)?.as_bytes().map_err(rusqlite::Error::from)?;
                texts.push(TextRow {
                    step: row.get(1)?,
                    rank: origin.map_or(0, |o| o.rank),
                    attempt: origin.map_or(0, |o| o.attempt),
                    time: origins.wall_ns(at, row.get(2)?) as f64 / NS,
                    value: bytes.to_vec(),
                });
            }
            texts.reverse();
            Ok(texts)
        })
    }

    /// The config of the last attempt that sent one, as JSON. `None`: none did.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn config(&self) -> Result<Option<String>, StoreError> {
        Ok(self
            .conn
            .query_row(
                "SELECT config FROM attempts WHERE config IS NOT NULL ORDER BY id DESC LIMIT 1",
                [],
                |row| row.get(0),
            )
            .optional()?)
    }

    /// How much there is of everything.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        Ok(self.conn.query_row(
            "SELECT (SELECT sum(points) FROM producers), (SELECT sum(frames) FROM producers),
                 (SELECT count(*) FROM keys), (SELECT count(*) FROM attempts),
                 (SELECT count(*) FROM producers), (SELECT count(*) FROM gaps),
                 (SELECT count(*) FROM alerts), (SELECT count(*) FROM text),
                 (SELECT count(*) FROM groups), (SELECT count(*) FROM fresh)",
            [],
            |r| {
                Ok(Counts {
                    points: count(r, 0)?,
                    frames: count(r, 1)?,
                    keys: count(r, 2)?,
                    attempts: count(r, 3)?,
                    producers: count(r, 4)?,
                    gaps: count(r, 5)?,
                    alerts: count(r, 6)?,
                    texts: count(r, 7)?,
                    groups: count(r, 8)?,
                    fresh: count(r, 9)?,
                })
            },
        )?)
    }
}
