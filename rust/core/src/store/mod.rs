//! The database of a run: the only room with SQL.

mod bytes;
mod cell;
mod columns;
mod error;
mod firsts;
mod groups;
mod keys;
mod latest;
mod notes;
mod open;
mod read;
mod registry;
mod rows;
mod scan;
mod schema;
mod source;
mod system;
mod write;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use cell::Cell;
pub use columns::ColumnError;
pub use error::StoreError;
pub use notes::StoredAlert;
pub use open::DATABASE_NAME;
pub use read::*;
pub use system::{BadLine, SystemFinding, SystemLine, SystemSample, SystemSource};

use keys::KeyTable;
pub(crate) use source::{End, Gap, Source};
use system::SystemTable;
pub(crate) use write::{ClockSample, CommitOptions};

/// The version of the bundled SQLite.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// The one writing connection of a run.
#[derive(Debug)]
pub(crate) struct Store {
    conn: Connection,
    keys: KeyTable,
    system: SystemTable,
    path: PathBuf,
    /// Device and inode of the file.
    identity: (u64, u64),
    /// Where a damaged database went. `None`: it was sound, or new.
    pub quarantined: Option<PathBuf>,
}

impl Store {
    /// Open the database at `path`, make it if there is none, and seal what an earlier writer left open.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = open::open(path)?;
        let keys = KeyTable::load(&opened.conn)?;
        let file = |source| StoreError::File {
            action: "cannot see",
            path: path.into(),
            source,
        };
        let metadata = std::fs::metadata(path).map_err(file)?;
        let mut store = Self {
            conn: opened.conn,
            keys,
            system: SystemTable::default(),
            path: path.to_path_buf(),
            identity: (metadata.dev(), metadata.ino()),
            quarantined: opened.quarantined,
        };
        store.seal_orphans()?;
        if let Some(aside) = store.quarantined.clone() {
            store.record_event("database_damaged", &aside.display().to_string())?;
        }
        Ok(store)
    }

    /// Whether the file we write is still the one at its path; somebody may have deleted or replaced it.
    pub(crate) fn is_in_place(&self) -> bool {
        let now = std::fs::metadata(&self.path).map(|m| (m.dev(), m.ino()));
        now.is_ok_and(|identity| identity == self.identity)
    }

    /// Copy the write-ahead log back into the database file and empty it.
    pub(crate) fn checkpoint(&self) -> Result<(), StoreError> {
        Ok(self
            .conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?)
    }

    /// Checkpoint and close. An error here loses nothing: the next open reads the log.
    pub(crate) fn close(mut self) -> Result<(), StoreError> {
        self.pack_system()?;
        self.checkpoint()?;
        self.conn.close().map_err(|(_, error)| error.into())
    }
}

#[cfg(test)]
mod tests;
