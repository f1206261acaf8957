//! Questions in SQL: one statement that reads, over all points and all tables of a run.

mod complaint;
mod guard;
mod plan;
mod pool;
mod spans;
mod stream;
mod table;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Statement};

use super::RunReader;
use crate::store::error::StoreError;
use guard::{Guard, Stop};
use pool::Pool;

pub use stream::{Chunk, PointStream, StreamOptions};

/// A result may take about so much memory.
const RESULT_BYTES: usize = 1 << 30;
/// Two readers opened one after the other see the same state; a commit between them is rare.
const ATTEMPTS: usize = 20;

/// Asked now and then whether the caller has lost interest.
pub type Interrupted = Box<dyn Fn() -> bool + Send>;

/// How far a query may go.
pub struct QueryOptions {
    /// Rows at most. `None`: all of them.
    pub rows: Option<usize>,
    /// It is stopped after so long.
    pub time_limit: Duration,
    /// Asked some twenty times a second whether to stop. `None`: only the time limit stops it.
    pub interrupted: Option<Interrupted>,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            rows: Some(10_000),
            time_limit: Duration::from_secs(30),
            interrupted: None,
        }
    }
}

/// One value of a result.
#[derive(Debug, Clone, PartialEq)]
pub enum Datum {
    /// NULL.
    Null,
    /// INTEGER.
    Integer(i64),
    /// REAL; never NaN.
    Real(f64),
    /// TEXT, as it came.
    Text(Vec<u8>),
    /// BLOB.
    Blob(Vec<u8>),
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What SQLite calls the columns; names may occur twice.
    pub columns: Vec<String>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Datum>>,
    /// Whether there were more rows than asked for.
    pub truncated: bool,
}

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It is no statement that SQLite understands and may run.
    #[error("{message}")]
    Sql {
        /// What is wrong, and what there is instead.
        message: String,
    },
    /// It would write.
    #[error("a query may only SELECT")]
    NotReading,
    /// It took too long.
    #[error(
        "stopped after {secs} s: {rows} rows were found, {decoded} of {total} points were read; \
         narrow it by key and step, or give it more time"
    )]
    TooLong {
        /// The limit.
        secs: f64,
        /// Rows found so far.
        rows: usize,
        /// Points decoded so far.
        decoded: u64,
        /// Points in the run.
        total: u64,
    },
    /// The answer does not fit.
    #[error(
        "the answer takes more than {} MiB after {rows} rows; aggregate, or export the points",
        RESULT_BYTES >> 20
    )]
    TooLarge {
        /// Rows found so far.
        rows: usize,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Interrupted,
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RunReader {
    /// Answer one statement of SQL. Beside the tables of the database there are `points` (what
    /// [`RunReader::series`] shows, of all keys) and `raw_points` (everything stored), both with the columns
    /// key, step, time, value, rank, attempt, and the hidden ones kind and bits.
    ///
    /// # Errors
    /// [`QueryError`]: it is wrong, it would do more than read, or it goes on for too long.
    pub fn query(&self, sql: &str, options: QueryOptions) -> Result<Table, QueryError> {
        let guard = Arc::new(Guard::new(options.time_limit, options.interrupted));
        let (mut conn, pool) = open_both(self.path())?;
        table::add_to(&conn, &pool, &guard).map_err(StoreError::from)?;
        guard.watch(&mut conn).map_err(StoreError::from)?;
        pool.limit_time(&guard)?;
        let mut answer = Table {
            columns: Vec::new(),
            rows: Vec::new(),
            truncated: false,
        };
        let outcome = run(&conn, sql, options.rows, &mut answer);
        match (outcome, guard.stop()) {
            (Ok(()), _) => Ok(answer),
            (Err(Failure::TooLarge), _) => Err(QueryError::TooLarge {
                rows: answer.rows.len(),
            }),
            (Err(Failure::NotReading), _) => Err(QueryError::NotReading),
            (Err(Failure::Sql(_)), Some(Stop::Interrupted)) => Err(QueryError::Interrupted),
            (Err(Failure::Sql(_)), Some(Stop::TooLong)) => Err(QueryError::TooLong {
                secs: options.time_limit.as_secs_f64(),
                rows: answer.rows.len(),
                decoded: pool.decoded(),
                total: pool.total,
            }),
            (Err(Failure::Sql(error)), None) => Err(judge(&conn, sql, error)),
        }
    }
}

/// A connection for the statement and a pool of points, both on the same state of the database.
fn open_both(path: &Path) -> Result<(Connection, Arc<Pool>), StoreError> {
    for _ in 0..ATTEMPTS {
        let reader = RunReader::open(path)?;
        reader.conn.execute_batch("BEGIN")?;
        let seen = pool::fingerprint(&reader.conn)?;
        let pool = Pool::open(path)?;
        if pool.fingerprint()? == seen {
            return Ok((reader.conn, Arc::new(pool)));
        }
    }
    Err(StoreError::Busy)
}

enum Failure {
    Sql(rusqlite::Error),
    NotReading,
    TooLarge,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

fn run(
    conn: &Connection,
    sql: &str,
    limit: Option<usize>,
    answer: &mut Table,
) -> Result<(), Failure> {
    let mut statement = conn.prepare(sql)?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(Failure::NotReading);
    }
    answer.columns = statement.column_names().map(Into::into).collect();
    collect(&mut statement, limit, answer)
}

fn collect(
    statement: &mut Statement<'_>,
    limit: Option<usize>,
    answer: &mut Table,
) -> Result<(), Failure> {
    let width = answer.columns.len();
    let mut bytes = 0;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if limit.is_some_and(|limit| answer.rows.len() >= limit) {
            answer.truncated = true;
            return Ok(());
        }
        let mut data = Vec::with_capacity(width);
        for at in 0..width {
            let datum = datum(row.get_ref(at)?);
            bytes += size_of::<Datum>() + datum.heap_bytes();
            data.push(datum);
        }
        answer.rows.push(data);
        if bytes > RESULT_BYTES {
            return Err(Failure::TooLarge);
        }
    }
    Ok(())
}

fn datum(value: ValueRef<'_>) -> Datum {
    match value {
        ValueRef::Null => Datum::Null,
        ValueRef::Integer(value) => Datum::Integer(value),
        ValueRef::Real(value) => Datum::Real(value),
        ValueRef::Text(text) => Datum::Text(text.to_vec()),
        ValueRef::Blob(bytes) => Datum::Blob(bytes.to_vec()),
    }
}

impl Datum {
    fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(bytes) | Self::Blob(bytes) => bytes.len(),
            Self::Null | Self::Integer(_) | Self::Real(_) => 0,
        }
    }
}

/// A mistake of whoever asks is explained; trouble with the database is passed on.
fn judge(conn: &Connection, sql: &str, error: rusqlite::Error) -> QueryError {
    let message = complaint::explain(conn, sql, &error);
    match StoreError::from(error) {
        StoreError::Sql(_) => QueryError::Sql { message },
        // What the authorizer forbids, SQLite may call a lack of permission.
        StoreError::Io(text) if text.contains("not authorized") => QueryError::NotReading,
        trouble => QueryError::Store(trouble),
    }
}
