//! A copy of the database while it is written, on one state of it.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::RunReader;
use crate::store::error::StoreError;

/// Between two looks at `go_on`: 4 MiB.
const PAGES: i32 = 2048;
/// The versions for writing and for reading in the header of the file: 2 is WAL, and copied with the first page.
const WAL_OFFSET: u64 = 18;
const NO_WAL: [u8; 2] = [1, 1];

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupProgress {
    /// Pages copied.
    pub done: u64,
    /// Pages in all.
    pub total: u64,
}

impl RunReader {
    /// Copy the database into a new file and bring that to the disk. The copy is what was durable when this
    /// began; the writer goes on meanwhile. `go_on` hears how far it is and may stop it.
    ///
    /// Returns whether the copy is whole; one that is not may only be deleted.
    ///
    /// # Errors
    /// `to` exists or cannot be written, or the database cannot be read.
    pub fn backup(
        &self,
        to: &Path,
        mut go_on: impl FnMut(BackupProgress) -> bool,
    ) -> Result<bool, StoreError> {
        let file_error = |source| StoreError::File {
            action: "cannot write",
            path: to.into(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(file_error)?;
        // A transaction held over all steps: without it each commit of the writer starts the copy anew.
        let source = self.conn.unchecked_transaction()?;
        source.query_row("SELECT count(*) FROM attempts", [], |_| Ok(()))?;
        let mut target = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        target.pragma_update(None, "journal_mode", "off")?;
        target.pragma_update(None, "synchronous", "off")?;
        let whole = copy(&source, &mut target, &mut go_on)?;
        target
            .close()
            .map_err(|(_, error)| StoreError::from(error))?;
        // A copy is read where WAL does not work: on a network file system, on a medium that is read only.
        file.write_all_at(&NO_WAL, WAL_OFFSET).map_err(file_error)?;
        source.finish()?;
        file.sync_all().map_err(file_error)?;
        Ok(whole)
    }
}

fn copy(
    source: &Connection,
    target: &mut Connection,
    go_on: &mut impl FnMut(BackupProgress) -> bool,
) -> Result<bool, StoreError> {
    let backup = Backup::new(source, target)?;
    loop {
        let step = backup.step(PAGES)?;
        let progress = backup.progress();
        let total = u64::try_from(progress.pagecount).unwrap_or(0);
        let left = u64::try_from(progress.remaining).unwrap_or(0);
        let told = BackupProgress {
            done: total.saturating_sub(left),
            total,
        };
        match step {
            StepResult::Done => return Ok(true),
            StepResult::More if go_on(told) => {}
            StepResult::More => return Ok(false),
            _ => return Err(StoreError::Busy),
        }
    }
}
