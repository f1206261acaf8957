//! `points` and `raw_points`: the virtual tables that show every point of a run as a row.
//!
//! The only `unsafe` of this crate: the promise to SQLite that its base structs stand first.

use std::borrow::Cow;
use std::ffi::{CStr, c_int};
use std::ops::Range;
use std::sync::Arc;

use rusqlite::types::Null;
use rusqlite::vtab::{
    Context, Filters, IndexInfo, Module, VTab, VTabConfig, VTabConnection, VTabCursor,
    sqlite3_vtab, sqlite3_vtab_cursor,
};
use rusqlite::{Connection, Error, Result, ffi};

use super::guard::Guard;
use super::plan::{self, ATTEMPT, Bounds, KEY, KIND, RANK, STEP, TIME, VALUE};
use super::pool::{ChunkId, KeyChunk, Pool};
use crate::store::cell::Cell;
use crate::store::error::StoreError;

/// The declaration; [`plan`] and the messages of a wrong column know the order.
const COLUMNS: &CStr =
    c"CREATE TABLE points(key TEXT, step INTEGER, time REAL, value, rank INTEGER,
    attempt INTEGER, kind TEXT HIDDEN, bits INTEGER HIDDEN)";

/// Make both tables known to a connection.
pub(super) fn add_to(conn: &Connection, pool: &Arc<Pool>, guard: &Arc<Guard>) -> Result<()> {
    const MODULE: Module<'_, PointsTable> = Module::eponymous_only_module();
    for (name, raw) in [(c"points", false), (c"raw_points", true)] {
        let source = Source {
            pool: pool.clone(),
            guard: guard.clone(),
            raw,
        };
        conn.create_module(name, &MODULE, Some(source))?;
    }
    Ok(())
}

#[derive(Clone)]
struct Source {
    pool: Arc<Pool>,
    guard: Arc<Guard>,
    raw: bool,
}

#[repr(C)]
struct PointsTable {
    base: sqlite3_vtab,
    source: Source,
}

// SAFETY: the struct is repr(C) and its first field is the base that SQLite expects there.
unsafe impl VTab<'_> for PointsTable {
    type Aux = Source;
    type Cursor = PointsCursor;

    fn connect(
        db: &mut VTabConnection,
        aux: Option<&Source>,
        _module: &[u8],
        _database: &[u8],
        _table: &[u8],
        _arguments: &[&[u8]],
    ) -> Result<(Cow<'static, CStr>, Self)> {
        let source = aux.ok_or(Error::InvalidQuery)?.clone();
        db.config(VTabConfig::Innocuous)?;
        let base = sqlite3_vtab::default();
        Ok((Cow::Borrowed(COLUMNS), Self { base, source }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> Result<bool> {
        plan::choose(&self.source.pool, self.source.raw, info)
    }

    fn open(&mut self) -> Result<PointsCursor> {
        Ok(PointsCursor {
            base: sqlite3_vtab_cursor::default(),
            source: self.source.clone(),
            bounds: Bounds::all(),
            key: 0,
            window: None,
            chunk: None,
            positions: 0..0,
        })
    }
}

/// Where a scan stands: key, window of its steps, row of the chunk.
#[repr(C)]
struct PointsCursor {
    base: sqlite3_vtab_cursor,
    source: Source,
    bounds: Bounds,
    /// Which of the keys.
    key: usize,
    /// `None`: the key was not begun.
    window: Option<usize>,
    /// `None`: there is no further row.
    chunk: Option<Arc<KeyChunk>>,
    positions: Range<usize>,
}

impl PointsCursor {
    /// Go to the next chunk that has a row.
    fn advance(&mut self) -> Result<()> {
        self.chunk = None;
        while let Some((key, _)) = self.bounds.keys.get(self.key) {
            // Ever so many keys may have no row.
            if self.source.guard.is_over() {
                return Err(failure(ffi::SQLITE_INTERRUPT, None));
            }
            let key = *key;
            let windows = self.source.pool.windows(key).map_err(told)?;
            let first = || {
                let begun = windows.partition_point(|start| *start <= self.bounds.from_step);
                begun.saturating_sub(1)
            };
            let window = self.window.map_or_else(first, |last| last + 1);
            if windows
                .get(window)
                .is_none_or(|start| *start > self.bounds.to_step)
            {
                self.key += 1;
                self.window = None;
                continue;
            }
            self.window = Some(window);
            if self.open_chunk(key, window).map_err(told)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Load a chunk; return whether it has a row.
    fn open_chunk(&mut self, key: u32, window: usize) -> std::result::Result<bool, StoreError> {
        let id = ChunkId {
            key,
            window,
            raw: self.source.raw,
            rank: self.bounds.rank,
            after_ns: self.bounds.after_ns,
            before_ns: self.bounds.before_ns,
        };
        let steps = (self.bounds.from_step, self.bounds.to_step);
        let chunk = self.source.pool.chunk(id, steps)?;
        self.positions = if self.source.raw {
            0..chunk.len()
        } else {
            chunk.positions(self.bounds.from_step, self.bounds.to_step)
        };
        let found = !self.positions.is_empty();
        self.chunk = found.then_some(chunk);
        Ok(found)
    }

    fn value(&self, context: &mut Context, chunk: &KeyChunk, at: u32) -> Result<()> {
        if chunk.points.is_float() {
            // SQLite makes NULL of a NaN; the column `kind` tells them apart.
            return context.set_result(chunk.points.float(at));
        }
        match chunk.points.cell(at) {
            Cell::F64(value) => context.set_result(value),
            cell => context.set_result(cell),
        }
    }
}

/// Trouble with the database, as SQLite passes it on.
fn told(error: StoreError) -> Error {
    failure(ffi::SQLITE_ERROR, Some(error.to_string()))
}

fn failure(code: c_int, message: Option<String>) -> Error {
    Error::SqliteFailure(ffi::Error::new(code), message)
}

fn kind(cell: &Cell) -> &'static str {
    match cell {
        Cell::F64(value) if value.is_nan() => "nan",
        Cell::F64(_) => "float",
        Cell::I64(_) => "int",
        Cell::Bool(_) => "bool",
        Cell::BigInt(_) => "bigint",
        Cell::None => "none",
        Cell::Text(_) => "text",
    }
}

// SAFETY: the struct is repr(C) and its first field is the base that SQLite expects there.
unsafe impl VTabCursor for PointsCursor {
    fn filter(
        &mut self,
        _number: c_int,
        codes: Option<&str>,
        arguments: &Filters<'_>,
    ) -> Result<()> {
        let source = &self.source;
        let bounds = Bounds::of(
            &source.pool,
            source.raw,
            codes.unwrap_or_default(),
            arguments,
        );
        self.bounds = bounds.map_err(told)?;
        (self.key, self.window) = (0, None);
        self.advance()
    }

    fn next(&mut self) -> Result<()> {
        self.positions.start += 1;
        if self.positions.is_empty() {
            return self.advance();
        }
        Ok(())
    }

    fn eof(&self) -> bool {
        self.chunk.is_none()
    }

    fn column(&self, context: &mut Context, column: c_int) -> Result<()> {
        let (Some(chunk), Some((_, name))) = (&self.chunk, self.bounds.keys.get(self.key)) else {
            return context.set_result(Null);
        };
        let at = chunk.at(self.positions.start);
        let placed = &chunk.points.placed;
        let number = placed.origin.get(at as usize).copied().unwrap_or_default();
        let origins = &self.source.pool.origins;
        let origin = origins.list.get(number as usize);
        match column {
            KEY => context.set_result(&**name),
            STEP => context.set_result(chunk.step(self.positions.start)),
            TIME => {
                let boottime_ns = placed.boottime_ns.get(at as usize).copied();
                let wall_ns = origins.wall_ns(number, boottime_ns.unwrap_or_default());
                context.set_result(wall_ns as f64 / 1e9)
            }
            VALUE => self.value(context, chunk, at),
            RANK => context.set_result(origin.map_or(0, |o| o.rank)),
            ATTEMPT => context.set_result(origin.map_or(0, |o| o.attempt)),
            KIND => context.set_result(kind(&chunk.points.cell(at))),
            _ => match chunk.points.cell(at) {
                Cell::F64(value) => context.set_result(value.to_bits() as i64),
                _ => context.set_result(Null),
            },
        }
    }

    fn rowid(&self) -> Result<i64> {
        let Some(chunk) = &self.chunk else {
            return Ok(0);
        };
        // OR and outer joins tell rows apart by this, over scans with bounds of their own: it must not
        // depend on what else a scan finds.
        Ok(chunk.points.number_stored(chunk.at(self.positions.start)))
    }
}
