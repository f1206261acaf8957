//! Opening the one writing connection: pragmas, checks, and moving a damaged file aside.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tm_spool::clock;

use super::error::StoreError;
use super::schema;

pub use crate::live::DATABASE_NAME;

/// How long a statement waits for another process's lock before it gives up.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Page cache of the writer, in KiB.
const CACHE_KIB: i64 = 16 * 1024;
/// Small pages: a compressed column of some KiB leaves half a page unused at its end. With 10 columns of noisy
/// floats 2 KiB give 6.4 bytes a point, 4 KiB 8.1, at 5 % less speed.
const PAGE_BYTES: i64 = 2048;
/// The write-ahead log is copied back once it has this many pages.
const CHECKPOINT_PAGES: i64 = 8000;
/// What the write-ahead log file may keep after a checkpoint.
const JOURNAL_LIMIT_BYTES: i64 = 64 * 1024 * 1024;
/// A database up to this size is checked whole at open: about half a second.
const FULL_CHECK_BYTES: i64 = 512 * 1024 * 1024;
/// Each prepared statement is compiled once.
const STATEMENT_CACHE: usize = 64;

/// Open the database of a run for writing, or make it.
pub(crate) fn open(path: &Path) -> Result<Connection, StoreError> {
    create_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    let fresh = conn.query_row("SELECT count(*) FROM sqlite_schema", [], |r| {
        r.get::<_, i64>(0)
    })?;
    if fresh > 0 {
        check_ours(&conn, path)?;
    }
    configure(&conn)?;
    if fresh > 0 {
        quick_check(&conn)?;
    }
    schema::migrate(&mut conn)?;
    Ok(conn)
}

/// The file must exist with mode 0600 before SQLite sees it: -wal and -shm copy that mode.
fn create_private(path: &Path) -> Result<(), StoreError> {
    // Opening a FIFO would wait for its reader.
    if path.exists() && !path.is_file() {
        return Err(StoreError::Foreign {
            path: path.to_path_buf(),
        });
    }
    let made = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path);
    let file = |source| StoreError::File {
        action: "cannot create",
        path: path.into(),
        source,
    };
    let metadata = made.and_then(|f| f.metadata()).map_err(file)?;
    if metadata.len() == 0 && metadata.permissions().mode() & 0o777 != 0o600 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(file)?;
    }
    Ok(())
}

fn check_ours(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let id: i64 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id != schema::APPLICATION_ID {
        return Err(StoreError::Foreign {
            path: path.to_path_buf(),
        });
    }
    schema::check_version(schema::user_version(conn)?)
}

fn configure(conn: &Connection) -> Result<(), StoreError> {
    conn.set_prepared_statement_cache_capacity(STATEMENT_CACHE);
    // Only counts before the first table is made.
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::Io(format!(
            "this file system gives journal mode {mode}, not wal"
        )));
    }
    // FULL: a commit that returned is on the disk. NORMAL lost 50 of 50 in a simulated power cut.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -CACHE_KIB)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "journal_size_limit", JOURNAL_LIMIT_BYTES)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    Ok(())
}

/// Check the whole file when that is quick; of a large one the tables that steer us.
fn quick_check(conn: &Connection) -> Result<(), StoreError> {
    let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
    let page_bytes: i64 = conn.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let pragmas: &[&str] = if pages.saturating_mul(page_bytes) <= FULL_CHECK_BYTES {
        &["PRAGMA quick_check(1)"]
    } else {
        &[
            "PRAGMA quick_check(attempts)",
            "PRAGMA quick_check(producers)",
            "PRAGMA quick_check(lanes)",
            "PRAGMA quick_check(keys)",
            "PRAGMA quick_check(fresh)",
        ]
    };
    for pragma in pragmas {
        let verdict: String = conn.query_row(pragma, [], |row| row.get(0))?;
        if verdict != "ok" {
            return Err(StoreError::Damaged(verdict));
        }
    }
    Ok(())
}

/// Rename the database and its companions; the next open makes a new one.
pub(crate) fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let stamp = clock::wall_ns() / 1_000_000;
    let aside = with_suffix(path, &format!(".damaged-{stamp}"));
    for companion in ["", "-wal", "-shm"] {
        let (from, to) = (with_suffix(path, companion), with_suffix(&aside, companion));
        match fs::rename(&from, &to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(StoreError::File {
                    action: "cannot move aside",
                    path: from,
                    source,
                });
            }
        }
    }
    Ok(aside)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
