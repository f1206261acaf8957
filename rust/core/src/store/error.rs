//! What can go wrong between us and the database.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

pub(super) use super::numbers::ColumnError;

/// Why the database could not be opened, written or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no database there.
    #[error("no run at {}: it has no training_monitor.db", path.display())]
    NotFound {
        /// Where we looked.
        path: PathBuf,
    },
    /// Nobody has logged this metric.
    #[error("no metric named {name:?} in this run")]
    NoSuchMetric {
        /// The name asked for.
        name: String,
    },
    /// A newer version wrote it.
    #[error(
        "the database has format {found}, this version reads up to {supported}: upgrade training_monitor"
    )]
    TooNew {
        /// The format found.
        found: i64,
        /// The newest format this build knows.
        supported: i64,
    },
    /// Another program's SQLite file, or a half-made one.
    #[error(
        "{} is not a database of training_monitor: move it away, nothing is written over it",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database that counts is on another machine, which may hold more than the copy here.
    #[error(
        "the live database of this run is on {host}, in {}, and may hold more than the copy here: \
         `training-monitor recover` there brings it home, and with --from-copy here gives up what the copy lacks",
        dir.display()
    )]
    Elsewhere {
        /// Which.
        host: String,
        /// Where on it.
        dir: PathBuf,
    },
    /// The disk of the database is full; nothing is lost, the lanes keep the data.
    #[error("the disk of the database is full")]
    DiskFull,
    /// The operating system could not read or write the file.
    #[error("the database cannot be read or written: {0}")]
    Io(String),
    /// The bytes of the database are wrong.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// Another process holds the write lock.
    #[error("another process is writing this database")]
    Busy,
    /// Somebody reads an older state, so the write-ahead log cannot be emptied.
    #[error("somebody reads the database, and its write-ahead log cannot be copied meanwhile")]
    LogBusy,
    /// A group or column does not decode.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// A file operation beside the database failed.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What we tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A stored row does not make sense.
    #[error("the database holds something unexpected: {0}")]
    Unexpected(String),
    /// SQLite refused a statement for another reason.
    #[error("the database refused: {0}")]
    Sql(rusqlite::Error),
}

impl StoreError {
    /// Whether the file itself is beyond use: move it aside and start a new one.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged(_))
    }

    /// Whether the connection must not be trusted any more after this error: open it anew and check.
    #[must_use]
    pub fn needs_reopen(&self) -> bool {
        !matches!(self, Self::DiskFull | Self::Busy)
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::SystemIoFailure) => Self::Io(text),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged(text),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                Self::Io(text)
            }
            _ => Self::Sql(error),
        }
    }
}
