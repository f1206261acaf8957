//! The last steps as rows: everything that was logged at each of them.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};
use tm_spool::{Value, ValueType};

use super::{Origins, RunReader};
use crate::merge::is_hidden;
use crate::store::cell::Cell;
use crate::store::checked::damaged;
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;
use crate::store::keys::raw_name;
use crate::store::registry::keys_of;

/// One step of one rank.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRow {
    /// Training step.
    pub step: i64,
    /// Who logged it.
    pub rank: u32,
    /// The newest attempt that logged something at this step.
    pub attempt: u32,
    /// Wall clock of the newest value, seconds since 1970.
    pub time: f64,
    /// Name and value, by name.
    pub metrics: Vec<(Vec<u8>, Cell)>,
}

/// The value that wins at one (step, rank, key), and when it was logged.
#[derive(Debug)]
struct Winner {
    /// Attempt, then a boottime made comparable.
    age: (u32, i64),
    time_ns: i64,
    cell: Cell,
}

/// The newest steps seen so far.
#[derive(Debug)]
struct Board<'o> {
    origins: &'o Origins,
    firsts: HashMap<u32, BTreeMap<u32, i64>>,
    cells: BTreeMap<(i64, u32), BTreeMap<u32, Winner>>,
}

impl Board<'_> {
    fn offer(
        &mut self,
        key: u32,
        step: i64,
        boottime_ns: i64,
        origin: u32,
        cell: impl FnOnce() -> Cell,
    ) {
        let Some(from) = self.origins.list.get(origin as usize) else {
            return;
        };
        if self
            .firsts
            .get(&key)
            .is_some_and(|firsts| is_hidden(firsts, from.attempt, step))
        {
            return;
        }
        let age = (
            from.attempt,
            boottime_ns.saturating_add(from.order_offset_ns),
        );
        let row = self.cells.entry((step, from.rank)).or_default();
        if row.get(&key).is_none_or(|known| known.age <= age) {
            let time_ns = self.origins.wall_ns(origin, boottime_ns);
            row.insert(
                key,
                Winner {
                    age,
                    time_ns,
                    cell: cell(),
                },
            );
        }
    }

    /// The lowest step that can still be among the last `count` steps.
    fn floor(&self, count: usize) -> i64 {
        let mut steps: Vec<i64> = self.cells.keys().map(|place| place.0).collect();
        steps.dedup();
        let nth = steps.len().checked_sub(count).and_then(|at| steps.get(at));
        nth.copied().unwrap_or(i64::MIN)
    }

    fn forget_below(&mut self, floor: i64) {
        self.cells = self.cells.split_off(&(floor, 0));
    }
}

impl RunReader {
    /// The last `count` steps, oldest first, one row per rank, merged as in a series.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn steps(&self, count: usize) -> Result<Vec<StepRow>, StoreError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        self.reading(|conn| {
            let origins = Origins::load(conn)?;
            let firsts = load_firsts(conn)?;
            let mut board = Board {
                origins: &origins,
                firsts,
                cells: BTreeMap::new(),
            };
            self.add_fresh_rows(conn, &mut board)?;
            add_sealed_rows(conn, &mut board, count)?;
            add_texts(conn, &mut board, count)?;
            board.forget_below(board.floor(count));
            rows_of(conn, board)
        })
    }

    fn add_fresh_rows(&self, conn: &Connection, board: &mut Board<'_>) -> Result<(), StoreError> {
        self.visit_fresh(conn, |producer, dictionary, scan| {
            let Some(origin) = board.origins.index(producer) else {
                return Ok(());
            };
            for (layout, rows) in scan.sorted_layouts() {
                let keys = layout.and_then(|id| dictionary.layout(id));
                for row in rows {
                    let (step, time) = (row.frame.step.0, row.frame.boottime_ns);
                    for i in 0..row.frame.n as usize {
                        let pair = || row.frame.pair_key(i).and_then(|l| dictionary.key(l.0));
                        let key = keys.map_or_else(pair, |keys| keys.get(i).copied());
                        match (key, row.frame.value(i)) {
                            (Some(key), Some(value)) if !matches!(value, Value::Text(_)) => {
                                board.offer(key, step, time, origin, || Cell::from_value(value));
                            }
                            _ => {}
                        }
                    }
                }
            }
            Ok(())
        })
    }
}

/// Groups by their last step, newest first, until none can hold one of the steps wanted.
fn add_sealed_rows(
    conn: &Connection,
    board: &mut Board<'_>,
    count: usize,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT id, producer, n, step_max, steps, times, layout FROM groups
         ORDER BY step_max DESC, id DESC",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let floor = board.floor(count);
        if row.get::<_, i64>(3)? < floor {
            break;
        }
        let Some(origin) = board.origins.index(row.get(1)?) else {
            continue;
        };
        let blob = |at| {
            row.get_ref(at)
                .and_then(|v| v.as_blob().map_err(Into::into))
        };
        let rows_in_group = row.get::<_, u32>(2)? as usize;
        let ints = |at| Ok::<_, StoreError>(decode_ints(blob(at)?, rows_in_group)?);
        let (steps, times) = (ints(4)?, ints(5)?);
        let group = Group {
            id: row.get(0)?,
            keys: keys_of(conn, row.get(1)?, row.get(6)?)?,
            origin,
            steps,
            times,
            rows: rows_in_group,
        };
        group.add_to(conn, board, count)?;
        board.forget_below(board.floor(count));
    }
    Ok(())
}

struct Group {
    id: i64,
    keys: Vec<u32>,
    origin: u32,
    steps: Vec<i64>,
    times: Vec<i64>,
    rows: usize,
}

impl Group {
    /// The lowest of the group's own steps worth decoding. Of an earlier attempt later steps may be hidden,
    /// so there it is any.
    fn own_floor(&self, origins: &Origins, count: usize) -> i64 {
        let attempt = origins.list.get(self.origin as usize).map(|o| o.attempt);
        if attempt != origins.list.iter().map(|o| o.attempt).max() {
            return i64::MIN;
        }
        let mut own = self.steps.clone();
        own.sort_unstable();
        own.dedup();
        own.len()
            .checked_sub(count)
            .and_then(|at| own.get(at).copied())
            .unwrap_or(i64::MIN)
    }

    fn add_to(
        &self,
        conn: &Connection,
        board: &mut Board<'_>,
        count: usize,
    ) -> Result<(), StoreError> {
        let floor = board.floor(count).max(self.own_floor(board.origins, count));
        // There is no index by group alone: a column row is found by its key.
        let mut select =
            conn.prepare_cached("SELECT data FROM cols WHERE key = ?1 AND grp = ?2")?;
        for key in &self.keys {
            let mut columns = select.query(params![key, self.id])?;
            while let Some(row) = columns.next()? {
                let data = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
                let column = Column::decode(data, self.rows);
                let column = column.map_err(|error| damaged(conn, *key, self.id, &error))?;
                self.offer(&column, *key, floor, board);
            }
        }
        Ok(())
    }

    /// Offer the values of one key at the steps from `floor` on.
    fn offer(&self, column: &Column, key: u32, floor: i64, board: &mut Board<'_>) {
        for i in 0..column.slots.len() {
            let at = column.row(i);
            let (Some(step), Some(time)) = (self.steps.get(at), self.times.get(at)) else {
                continue;
            };
            if *step >= floor {
                board.offer(key, *step, *time, self.origin, || cell_of(column, i));
            }
        }
    }
}

fn cell_of(column: &Column, i: usize) -> Cell {
    let slot = column.slots.get(i).copied().unwrap_or_default();
    match ValueType::from_u8(column.kind(i)) {
        Some(ValueType::F64) => Cell::F64(f64::from_bits(slot)),
        Some(ValueType::I64) => Cell::I64(slot as i64),
        Some(ValueType::Bool) => Cell::Bool(slot != 0),
        Some(ValueType::BigInt) => {
            let digits = column.bigs.get(slot as usize).map_or(&[][..], |d| d);
            Cell::BigInt(String::from_utf8_lossy(digits).into_owned())
        }
        _ => Cell::None,
    }
}

fn add_texts(conn: &Connection, board: &mut Board<'_>, count: usize) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT key, producer, step, time, value FROM text WHERE step >= ?1 ORDER BY id",
    )?;
    let mut rows = select.query([board.floor(count)])?;
    while let Some(row) = rows.next()? {
        let Some(origin) = board.origins.index(row.get(1)?) else {
            continue;
        };
        let bytes = row.get_ref(4)?.as_bytes().map_err(rusqlite::Error::from)?;
        board.offer(row.get(0)?, row.get(2)?, row.get(3)?, origin, || {
            Cell::Text(bytes.to_vec())
        });
    }
    Ok(())
}

fn load_firsts(conn: &Connection) -> Result<HashMap<u32, BTreeMap<u32, i64>>, StoreError> {
    let mut firsts: HashMap<u32, BTreeMap<u32, i64>> = HashMap::new();
    // With a single attempt nothing can be hidden.
    let mut select = conn.prepare_cached(
        "SELECT key, attempt, step FROM firsts WHERE attempt > (SELECT min(id) FROM attempts)",
    )?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        firsts
            .entry(row.get(0)?)
            .or_default()
            .insert(row.get(1)?, row.get(2)?);
    }
    Ok(firsts)
}

fn rows_of(conn: &Connection, board: Board<'_>) -> Result<Vec<StepRow>, StoreError> {
    let mut names: HashMap<u32, Vec<u8>> = HashMap::new();
    let mut select = conn.prepare_cached("SELECT id, name, raw FROM keys")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        names.insert(row.get(0)?, raw_name(row.get(1)?, row.get(2)?));
    }
    let mut steps = Vec::with_capacity(board.cells.len());
    for ((step, rank), winners) in board.cells {
        let attempt = winners.values().map(|w| w.age.0).max().unwrap_or(0);
        let time_ns = winners.values().map(|w| w.time_ns).max().unwrap_or(0);
        let named = winners
            .into_iter()
            .filter_map(|(key, w)| Some((names.get(&key)?.clone(), w.cell)));
        let mut metrics: Vec<(Vec<u8>, Cell)> = named.collect();
        metrics.sort_by(|a, b| a.0.cmp(&b.0));
        steps.push(StepRow {
            step,
            rank,
            attempt,
            time: time_ns as f64 / 1e9,
            metrics,
        });
    }
    Ok(steps)
}
