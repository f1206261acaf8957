//! The database of a run: the only room with SQL.

mod bytes;
mod cell;
mod checked;
mod columns;
mod compaction;
mod error;
mod exits;
mod firsts;
#[cfg(test)]
mod fuzz;
mod groups;
mod ints;
mod keys;
mod latest;
mod notes;
mod numbers;
mod open;
mod read;
mod recall;
mod registry;
mod rollup;
mod rows;
mod scan;
mod schema;
mod source;
mod statistics;
mod system;
mod write;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

pub use cell::Cell;
pub use error::StoreError;
pub use numbers::ColumnError;
pub use open::DATABASE_NAME;
pub(crate) use open::move_aside;
pub use read::*;
pub use system::{BadLine, StackLine, SystemFinding, SystemLine, SystemSample, SystemSource};

use crate::stats::Alphas;
use compaction::Job;
use keys::KeyTable;
pub(crate) use recall::Call;
use rollup::Rollup;
pub(crate) use source::{End, Exit, Gap, Pending, Source};
use statistics::Board;
use system::SystemTable;
pub(crate) use write::{ClockSample, CommitOptions};

/// The version of the bundled SQLite.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// A checkpoint waits so long for readers of an older state: the ingest thread has other work.
const CHECKPOINT_WAITS: Duration = Duration::from_millis(200);

/// The one writing connection of a run.
#[derive(Debug)]
pub(crate) struct Store {
    conn: Connection,
    keys: KeyTable,
    system: SystemTable,
    alphas: Alphas,
    /// `None`: not loaded, or a transaction failed that had changed it.
    board: Option<Board>,
    rollup: Rollup,
    /// What compaction is at. `None`: nothing.
    job: Option<Job>,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// Where a damaged database went. `None`: it was sound, or new.
    pub quarantined: Option<PathBuf>,
}

impl Store {
    /// Open the database at `path`, make it if there is none, and seal what an earlier writer left open. A damaged
    /// one is moved aside and a new one made.
    pub(crate) fn open(path: &Path, alphas: Alphas) -> Result<Self, StoreError> {
        match Self::open_as_it_is(path, alphas) {
            Err(error) if error.is_damage() => Self::open_anew(path, alphas),
            other => other,
        }
    }

    /// Move the database aside, whatever it looks like, and make a new one.
    pub(crate) fn open_anew(path: &Path, alphas: Alphas) -> Result<Self, StoreError> {
        let aside = open::move_aside(path)?;
        let mut store = Self::open_as_it_is(path, alphas)?;
        store.record_event("database_damaged", &aside.display().to_string())?;
        store.quarantined = Some(aside);
        Ok(store)
    }

    fn open_as_it_is(path: &Path, alphas: Alphas) -> Result<Self, StoreError> {
        let conn = open::open(path)?;
        let keys = KeyTable::load(&conn)?;
        let file = |source| StoreError::File {
            action: "cannot see",
            path: path.into(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(file)?;
        let mut store = Self {
            conn,
            keys,
            system: SystemTable::default(),
            alphas,
            board: None,
            rollup: Rollup::default(),
            job: None,
            path: path.to_path_buf(),
            identity: (metadata.dev(), metadata.ino()),
            quarantined: None,
        };
        store.seal_orphans()?;
        Ok(store)
    }

    /// Whether the file we write is still the one at its path; somebody may have deleted or replaced it.
    pub(crate) fn is_in_place(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
        now.is_ok_and(|identity| identity == self.identity)
    }

    /// Whether a snapshot of the statistics is due.
    pub(crate) fn is_snapshot_due(&self, now: Instant) -> bool {
        self.board.as_ref().is_some_and(|board| board.is_due(now))
    }

    /// Write a snapshot of the statistics.
    pub(crate) fn save_statistics(&mut self) -> Result<(), StoreError> {
        let options = CommitOptions {
            save_statistics: true,
            ..CommitOptions::default()
        };
        self.commit(&mut [], &options).map(drop)
    }

    /// Copy all of the write-ahead log back into the database file.
    ///
    /// # Errors
    /// [`StoreError::LogBusy`]: a reader holds an older state, so not all of it could be copied.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        self.conn.busy_timeout(CHECKPOINT_WAITS)?;
        let busy = self
            .conn
            .query_row("PRAGMA wal_checkpoint(FULL)", [], |row| row.get(0));
        self.conn.busy_timeout(open::BUSY_TIMEOUT)?;
        if busy? {
            Err(StoreError::LogBusy)
        } else {
            Ok(())
        }
    }

    /// Checkpoint and close. An error here loses nothing: the next open reads the log.
    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        self.pack_system()?;
        // Where a reader is in the way, the last one to close the file copies the log.
        self.conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.conn.close().map_err(|(_, error)| error.into())
    }
}

#[cfg(test)]
pub(crate) mod tests;
