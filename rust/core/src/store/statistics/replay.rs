//! Folding groups that the snapshot does not have.

use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, params};

use super::{Board, Timed, timed};
use crate::store::bytes::unpack_u32s;
use crate::store::checked::damaged;
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;
use crate::store::registry::producer_rows;
use crate::store::rollup::Rows;
use crate::store::source::ProducerRow;

/// Groups whose steps and times are kept for the next key.
const KEPT_GROUPS: usize = 64;
/// Values put in order together at most.
const SORTED_AT_ONCE: usize = 1 << 20;

/// A column that is to be folded.
struct Piece {
    column: i64,
    group: i64,
    rows: usize,
    producer: i64,
    attempt: u32,
    /// Where its first and its last row stand in the attempt.
    from_ns: i64,
    to_ns: i64,
}

/// Steps and times of a group.
type StepsAndTimes = (Vec<i64>, Vec<i64>);

/// Reads columns for one replay.
struct Replay<'c> {
    conn: &'c Connection,
    producers: HashMap<i64, ProducerRow>,
    groups: HashMap<i64, StepsAndTimes>,
}

impl Board {
    /// Fold every group behind the snapshot. `key`: only this one.
    pub(super) fn replay(&mut self, conn: &Connection, key: Option<u32>) -> Result<(), StoreError> {
        let newest: i64 = conn.query_row("SELECT coalesce(max(id), 0) FROM groups", [], |row| {
            row.get(0)
        })?;
        if newest <= self.last_grp {
            return Ok(());
        }
        let mut replay = Replay {
            conn,
            producers: producers(conn)?,
            groups: HashMap::new(),
        };
        let keys = match key {
            Some(key) => BTreeSet::from([key]),
            None => keys_behind(conn, self.last_grp)?,
        };
        for key in keys {
            replay.fold_key(self, key)?;
        }
        self.last_grp = newest;
        Ok(())
    }
}

/// The keys that may stand in groups behind this one.
fn keys_behind(conn: &Connection, last_grp: i64) -> Result<BTreeSet<u32>, StoreError> {
    let mut keys = BTreeSet::new();
    let mut select = conn.prepare(
        "SELECT layouts.keys FROM layouts WHERE (producer, id) IN
             (SELECT DISTINCT producer, layout FROM groups WHERE id > ?1)",
    )?;
    let mut rows = select.query([last_grp])?;
    while let Some(row) = rows.next()? {
        keys.extend(unpack_u32s(
            row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?,
        ));
    }
    let mut select = conn.prepare(
        "SELECT DISTINCT key FROM producer_keys WHERE producer IN
             (SELECT DISTINCT producer FROM groups WHERE id > ?1 AND layout IS NULL)",
    )?;
    for key in select.query_map([last_grp], |row| row.get(0))? {
        keys.insert(key?);
    }
    Ok(keys)
}

fn producers(conn: &Connection) -> Result<HashMap<i64, ProducerRow>, StoreError> {
    let rows = producer_rows(conn, "1", [])?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

impl Replay<'_> {
    /// Fold a key rank by rank in the order of time: columns one after the other, those that overlap, which
    /// are of several layouts or producers, sorted into each other.
    fn fold_key(&mut self, board: &mut Board, key: u32) -> Result<(), StoreError> {
        let mut ranks: HashMap<u32, Vec<Piece>> = HashMap::new();
        for (rank, piece) in self.pieces(key, board.last_grp)? {
            ranks.entry(rank).or_default().push(piece);
        }
        for (rank, mut pieces) in ranks {
            pieces.sort_by_key(|piece| (piece.attempt, piece.from_ns, piece.group));
            let mut overlapping: Vec<Piece> = Vec::new();
            let mut to_ns = i64::MIN;
            for piece in pieces {
                let rows: usize = overlapping.iter().map(|piece| piece.rows).sum();
                let behind = overlapping
                    .last()
                    .is_some_and(|last| last.attempt != piece.attempt);
                if behind || piece.from_ns >= to_ns || rows >= SORTED_AT_ONCE {
                    self.fold_pieces(board, (key, rank), &overlapping)?;
                    overlapping.clear();
                    to_ns = i64::MIN;
                }
                to_ns = to_ns.max(piece.to_ns);
                overlapping.push(piece);
            }
            self.fold_pieces(board, (key, rank), &overlapping)?;
        }
        Ok(())
    }

    fn pieces(&self, key: u32, last_grp: i64) -> Result<Vec<(u32, Piece)>, StoreError> {
        let mut select = self.conn.prepare_cached(
            "SELECT cols.id, groups.id, groups.n, groups.producer, groups.time_min, groups.time_max
             FROM cols JOIN groups ON groups.id = cols.grp
             WHERE cols.key = ?1 AND cols.grp > ?2 ORDER BY cols.grp",
        )?;
        let mut rows = select.query(params![key, last_grp])?;
        let mut pieces = Vec::new();
        while let Some(row) = rows.next()? {
            let producer: i64 = row.get(3)?;
            let Some(from) = self.producers.get(&producer) else {
                continue;
            };
            let piece = Piece {
                column: row.get(0)?,
                group: row.get(1)?,
                rows: row.get::<_, u32>(2)? as usize,
                producer,
                attempt: from.attempt,
                from_ns: from.order_ns(row.get(4)?),
                to_ns: from.order_ns(row.get(5)?),
            };
            pieces.push((from.rank, piece));
        }
        Ok(pieces)
    }

    fn fold_pieces(
        &mut self,
        board: &mut Board,
        (key, rank): (u32, u32),
        pieces: &[Piece],
    ) -> Result<(), StoreError> {
        let mut all: Vec<Timed> = Vec::new();
        let mut values = Vec::new();
        for piece in pieces {
            let column = match self.column(piece) {
                // One bad column must not keep everything else from being stored.
                Err(StoreError::Column(error)) => {
                    let what = damaged(self.conn, key, piece.group, &error).to_string();
                    board.unreadable.push((piece.producer, what));
                    continue;
                }
                column => column?,
            };
            let found = (
                self.producers.get(&piece.producer),
                self.groups.get(&piece.group),
            );
            let (Some(producer), Some((steps, times))) = found else {
                continue;
            };
            column.numbers(&mut values);
            let rows = Rows::new(steps, times);
            if pieces.len() == 1 {
                board.add(producer, key, &column, &values, &rows);
                return Ok(());
            }
            all.extend(timed(producer, &column, &values, &rows));
        }
        board.fold_timed((key, rank), &mut all);
        Ok(())
    }

    /// The column, and the rows of its group into `groups`.
    fn column(&mut self, piece: &Piece) -> Result<Column, StoreError> {
        if !self.groups.contains_key(&piece.group) {
            if self.groups.len() >= KEPT_GROUPS {
                self.groups.clear();
            }
            let mut select = self
                .conn
                .prepare_cached("SELECT n, steps, times FROM groups WHERE id = ?1")?;
            let (n, steps, times): (u32, Vec<u8>, Vec<u8>) = select
                .query_row([piece.group], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            let ints = |packed: &[u8]| decode_ints(packed, n as usize);
            let rows = (ints(&steps)?, ints(&times)?);
            self.groups.insert(piece.group, rows);
        }
        let mut select = self
            .conn
            .prepare_cached("SELECT data FROM cols WHERE id = ?1")?;
        let data: Vec<u8> = select.query_row([piece.column], |row| row.get(0))?;
        Ok(Column::decode(&data, piece.rows)?)
    }
}
