//! The read side: opens a run read-only, live, after a crash, or on a copy, and merges as it reads.

mod ahead;
mod backup;
mod clocks;
mod follow;
mod fresh;
mod gather;
mod metrics;
mod place;
mod points;
mod query;
mod ranks;
mod series;
mod statistics;
mod steps;
mod system;
mod tables;
mod zoom;

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::error::StoreError;
use super::registry::load_dictionary;
use super::rows::FreshBlob;
use super::scan::Scan;
use super::schema;
use super::source::Dictionary;
use crate::live::{self, Found, Pointer};
use clocks::Origins;

pub use backup::BackupProgress;
pub use follow::{Followed, Following, News, Odd, Thinning};
pub use metrics::MetricInfo;
pub use query::{
    Chunk, Datum, Interrupted, PointStream, QueryError, QueryOptions, StreamOptions, Table,
};
pub use ranks::RankRow;
pub use series::{Series, SeriesOptions, Values};
pub use statistics::KeyStatistics;
pub use steps::StepRow;
pub use system::{EventRow, SystemLatest, SystemPoints, SystemQuery};
pub use tables::{AlertRow, AttemptRow, Counts, GapRow, ProducerEntry, TextRow};
pub use zoom::Stretch;

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A run, opened to be read. Every call is one short read transaction, so a live writer is never held up
/// and every answer is consistent in itself.
#[derive(Debug)]
pub struct RunReader {
    conn: Connection,
    /// As it was named: the run directory, or the file.
    asked: PathBuf,
    path: PathBuf,
    /// Device and inode of the file. `None`: it was gone as soon as it was opened.
    identity: Option<(u64, u64)>,
    copy_of: Option<Pointer>,
    dictionaries: RefCell<HashMap<i64, Dictionary>>,
}

impl RunReader {
    /// Open a run directory or its database file.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is none, [`StoreError::Foreign`] or [`StoreError::TooNew`] when
    /// it is not ours to read.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let found = live::find(path);
        match Self::open_found(path, found.clone()) {
            // A live database goes when its run is over, and the copy stays.
            Err(_) if live::find(path) != found => Self::open_found(path, live::find(path)),
            other => other,
        }
    }

    fn open_found(asked: &Path, found: Found) -> Result<Self, StoreError> {
        let path = found.database;
        if !path.is_file() {
            // A FIFO would be waited for, and a directory is no database that is still to come.
            return Err(if path.exists() {
                StoreError::Foreign { path }
            } else {
                StoreError::NotFound { path }
            });
        }
        // Before it is opened: one that takes its place meanwhile is noticed at the next refresh.
        let identity = identity_of(&path);
        let conn = connect(&path)?;
        Ok(Self {
            conn,
            asked: asked.to_path_buf(),
            path,
            identity,
            copy_of: found.copy_of,
            dictionaries: RefCell::default(),
        })
    }

    /// The database file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the live database is of which this is a copy, and when the copy was made, in seconds of the wall clock.
    /// `None`: this is the live one.
    #[must_use]
    pub fn copy_of(&self) -> Option<(&Pointer, f64)> {
        let pointer = self.copy_of.as_ref()?;
        let made = std::fs::metadata(&self.path).map_or(0, |m| m.mtime());
        Some((pointer, made as f64))
    }

    /// Open the database anew when another one took its place: a newer copy, or the copy of one that is gone.
    ///
    /// # Errors
    /// As [`Self::open`]; the old state stays readable.
    pub fn refresh(&mut self) -> Result<(), StoreError> {
        let found = live::find(&self.asked);
        let identity = identity_of(&found.database);
        self.copy_of.clone_from(&found.copy_of);
        if identity.is_some() && (identity != self.identity || found.database != self.path) {
            match Self::open(&self.asked) {
                Ok(newer) => *self = newer,
                // It is only being made.
                Err(StoreError::NotFound { .. } | StoreError::Busy | StoreError::Io(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Run `body` on one consistent state of the database.
    fn reading<T>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let tx = self.conn.unchecked_transaction()?;
        let answer = body(&tx)?;
        tx.finish()?;
        Ok(answer)
    }

    /// Give `visit` the raw frames of each producer that has some, with what their numbers mean.
    fn visit_fresh(
        &self,
        conn: &Connection,
        mut visit: impl FnMut(i64, &Dictionary, &mut Scan<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for (producer, blobs) in load_all_fresh(conn)? {
            self.with_scan(conn, producer, &blobs, |dictionary, scan| {
                visit(producer, dictionary, scan)
            })?;
        }
        Ok(())
    }

    /// Give `visit` the raw frames of a producer, with what their numbers mean.
    fn with_scan(
        &self,
        conn: &Connection,
        producer: i64,
        blobs: &[FreshBlob],
        visit: impl FnOnce(&Dictionary, &mut Scan<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut known = self.dictionaries.borrow_mut();
        let mut dictionary = known.remove(&producer).unwrap_or_default();
        let mut scan = scan_blobs(&dictionary, blobs);
        if scan.undefined > 0 {
            // Definitions are only ever added: what we kept is from before these frames.
            dictionary = load_dictionary(conn, producer)?;
            scan = scan_blobs(&dictionary, blobs);
        }
        visit(&dictionary, &mut scan)?;
        drop(scan);
        known.insert(producer, dictionary);
        Ok(())
    }
}

fn identity_of(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

fn scan_blobs<'a>(dictionary: &Dictionary, blobs: &'a [FreshBlob]) -> Scan<'a> {
    let mut scan = Scan::default();
    for blob in blobs {
        scan.add(
            dictionary,
            blob.lane,
            tm_spool::Lsn(blob.first),
            &blob.frames,
        );
    }
    scan
}

fn load_all_fresh(conn: &Connection) -> Result<Vec<(i64, Vec<FreshBlob>)>, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT producer, lane, first_lsn, frames FROM fresh ORDER BY producer, id",
    )?;
    let mut rows = select.query([])?;
    let mut all: Vec<(i64, Vec<FreshBlob>)> = Vec::new();
    while let Some(row) = rows.next()? {
        let producer = row.get(0)?;
        let first = row.get::<_, i64>(2)? as u64;
        let blob = FreshBlob {
            lane: row.get(1)?,
            first,
            frames: row.get(3)?,
        };
        match all.last_mut() {
            Some((last, blobs)) if *last == producer => blobs.push(blob),
            _ => all.push((producer, vec![blob])),
        }
    }
    Ok(all)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    match open_checked(path, false) {
        // A copy on a read-only medium has no place for the shared-memory file that WAL wants.
        Err(StoreError::Io(_)) if !has_log(path) => open_checked(path, true),
        other => other,
    }
}

fn has_log(path: &Path) -> bool {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    std::fs::metadata(PathBuf::from(wal)).is_ok_and(|m| m.len() > 0)
}

fn open_checked(path: &Path, immutable: bool) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE
        | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(uri(path, immutable), flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.pragma_update(None, "query_only", true)?;
    let id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version = schema::user_version(&conn)?;
    let tables: i64 = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if version == 0 && id == 0 && tables == 0 {
        return Err(StoreError::NotFound {
            path: path.to_path_buf(),
        });
    }
    if id != schema::APPLICATION_ID {
        return Err(StoreError::Foreign {
            path: path.to_path_buf(),
        });
    }
    schema::check_version(version)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}

/// A `file:` URI; every byte that means something in one is escaped.
fn uri(path: &Path, immutable: bool) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStrExt;
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut text = String::from("file:");
    for byte in absolute.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                text.push(char::from(*byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text.push_str(if immutable {
        "?mode=ro&immutable=1"
    } else {
        "?mode=ro"
    });
    text.into()
}

/// A reader may move to another thread; only using it from two at once needs a lock.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<RunReader>();
};
