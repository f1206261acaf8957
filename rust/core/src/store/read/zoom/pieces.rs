//! Which rows of the rollup may stand for their points, and the points of all others.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, params};

use super::super::gather::{groups_between, open_groups, texts};
use super::super::points::{Points, Wanted};
use super::super::series::SeriesOptions;
use super::super::{Origins, RunReader};
use crate::store::error::StoreError;
use crate::store::rollup::{Bucket, decoded};
use crate::store::schema;

/// Rows of the levels below the one that is read: no level goes higher, with 8 rows in one of the next.
const HIGHEST_LEVEL: i64 = 12;

/// A row of the rollup that stands for its points.
#[derive(Debug)]
pub(super) struct Piece {
    pub origin: u32,
    /// What it is cut into, at least one.
    pub parts: Vec<Bucket>,
    whole: Bucket,
    producer: i64,
    /// -1: frames of pairs.
    layout: i64,
    groups: (i64, i64),
    /// Its points have to be read.
    open: bool,
}

impl RunReader {
    /// Rows that stand for their points, and all other points; at least about `count` items if there are so
    /// many points.
    pub(super) fn pieces(
        &self,
        conn: &Connection,
        origins: &Origins,
        firsts: &BTreeMap<u32, i64>,
        (key, options, count): (u32, &SeriesOptions, usize),
    ) -> Result<(Vec<Piece>, Points), StoreError> {
        let since = options.since.unwrap_or(i64::MIN);
        let wanted = Wanted {
            since,
            rank: options.rank,
            ..Wanted::all(key)
        };
        // A database of format 1 has no rollup.
        if schema::user_version(conn)? < 2 {
            return Ok((Vec::new(), self.points(conn, origins, wanted)?));
        }
        let mut pieces = shown_pieces(conn, origins, firsts, wanted, count)?;
        let mut points = Points::default();
        open_groups(conn, origins, wanted, &mut points)?;
        texts(conn, origins, wanted, &mut points)?;
        self.add_fresh(conn, origins, wanted, &mut points)?;
        open_touched(&mut pieces, origins, &points);
        for piece in pieces.iter().filter(|piece| piece.open) {
            let chain = (piece.producer, piece.layout);
            groups_between(conn, origins, wanted, (chain, piece.groups), &mut points)?;
        }
        pieces.retain(|piece| !piece.open);
        Ok((pieces, points))
    }
}

/// The coarsest rows that are enough of what is shown: only those of the rank that is wanted, and of attempts
/// that are not hidden, are counted.
fn shown_pieces(
    conn: &Connection,
    origins: &Origins,
    firsts: &BTreeMap<u32, i64>,
    wanted: Wanted,
    count: usize,
) -> Result<Vec<Piece>, StoreError> {
    let mut level = coarsest(conn, wanted, count)?;
    loop {
        let mut pieces = load(conn, origins, wanted, level)?;
        judge(&mut pieces, origins, firsts, wanted.since);
        if pieces.iter().map(|piece| piece.parts.len()).sum::<usize>() >= count {
            return Ok(pieces);
        }
        if level == 0 {
            // Too coarse even part by part: so few points that all of them are read.
            pieces.iter_mut().for_each(|piece| piece.open = true);
            return Ok(pieces);
        }
        level -= 1;
    }
}

/// Decide which rows have to be read point by point, and drop those of which nothing is shown.
fn judge(pieces: &mut Vec<Piece>, origins: &Origins, firsts: &BTreeMap<u32, i64>, since: i64) {
    pieces.retain_mut(|piece| {
        let attempt = origins
            .list
            .get(piece.origin as usize)
            .map_or(0, |o| o.attempt);
        let hidden_from = firsts.range(attempt + 1..).map(|(_, step)| *step).min();
        let whole = &piece.whole;
        piece.open = !whole.ordered
            || !whole.plain
            || whole.step_min < since
            || hidden_from.is_some_and(|from| whole.step_max >= from);
        hidden_from.is_none_or(|from| whole.step_min < from)
    });
    pieces.sort_by_key(|piece| (origins.rank(piece.origin), piece.whole.step_min));
    // Of one rank, rows whose steps overlap may replace each other's values.
    let mut reach: Option<(u32, i64, usize)> = None;
    for at in 0..pieces.len() {
        let Some(piece) = pieces.get(at) else { break };
        let (rank, steps) = (
            origins.rank(piece.origin),
            (piece.whole.step_min, piece.whole.step_max),
        );
        match reach {
            Some((known, to, from)) if known == rank && steps.0 <= to => {
                for overlapping in [from, at] {
                    if let Some(piece) = pieces.get_mut(overlapping) {
                        piece.open = true;
                    }
                }
                let further = if steps.1 > to {
                    (steps.1, at)
                } else {
                    (to, from)
                };
                reach = Some((rank, further.0, further.1));
            }
            _ => reach = Some((rank, steps.1, at)),
        }
    }
}

/// A row among whose steps a single point of its rank lies has to be read too.
fn open_touched(pieces: &mut [Piece], origins: &Origins, points: &Points) {
    let mut steps: HashMap<u32, Vec<i64>> = HashMap::new();
    for (step, origin) in points.placed.step.iter().zip(&points.placed.origin) {
        steps.entry(origins.rank(*origin)).or_default().push(*step);
    }
    steps.values_mut().for_each(|steps| steps.sort_unstable());
    for piece in pieces.iter_mut() {
        let Some(steps) = steps.get(&origins.rank(piece.origin)) else {
            continue;
        };
        let at = steps.partition_point(|step| *step < piece.whole.step_min);
        piece.open |= steps
            .get(at)
            .is_some_and(|step| *step <= piece.whole.step_max);
    }
}

/// The highest level that can have enough rows: all of it are counted, whatever is shown. 0: the parts of the
/// first.
fn coarsest(conn: &Connection, wanted: Wanted, count: usize) -> Result<i64, StoreError> {
    let mut level = HIGHEST_LEVEL;
    while level > 0 && rows_at(conn, wanted, level, count)? < count {
        level -= 1;
    }
    Ok(level)
}

/// The rows of a level, and with them the finer ones that no coarser row has.
fn load(
    conn: &Connection,
    origins: &Origins,
    wanted: Wanted,
    level: i64,
) -> Result<Vec<Piece>, StoreError> {
    let (key, since) = (wanted.key, wanted.since);
    let with_parts = level == 0;
    let level = level.max(1);
    let mut pieces = Vec::new();
    let rows = |covered: i64, from: i64| (covered, from, level);
    for (covered, from, to) in [rows(1, level), rows(0, 1)] {
        let mut select = conn.prepare_cached(
            "SELECT producer, layout, first_grp, last_grp, bucket, iif(?6, parts, NULL) FROM rollup
             WHERE key = ?1 AND covered = ?2 AND level BETWEEN ?3 AND ?4 AND step_max >= ?5",
        )?;
        let mut rows = select.query(params![key, covered, from, to, since, with_parts])?;
        while let Some(row) = rows.next()? {
            let producer = row.get(0)?;
            let Some(origin) = origins.index(producer) else {
                continue;
            };
            if wanted.rank.is_some_and(|rank| rank != origins.rank(origin)) {
                continue;
            }
            let blob = row.get_ref(4)?.as_blob().map_err(rusqlite::Error::from)?;
            let whole = decoded(blob)?.into_iter().next().unwrap_or_default();
            let parts = match row
                .get_ref(5)?
                .as_blob_or_null()
                .map_err(rusqlite::Error::from)?
            {
                Some(parts) => decoded(parts)?,
                None => vec![whole.clone()],
            };
            pieces.push(Piece {
                origin,
                parts,
                whole,
                producer,
                layout: row.get(1)?,
                groups: (row.get(2)?, row.get(3)?),
                open: false,
            });
        }
    }
    Ok(pieces)
}

/// How many rows of a level there are, counted up to `most`.
fn rows_at(
    conn: &Connection,
    wanted: Wanted,
    level: i64,
    most: usize,
) -> Result<usize, StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT count(*) FROM (SELECT 1 FROM rollup
         WHERE key = ?1 AND covered IN (0, 1) AND level = ?2 AND step_max >= ?3 LIMIT ?4)",
    )?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows: i64 = select.query_row(params![wanted.key, level, wanted.since, most], |row| {
        row.get(0)
    })?;
    Ok(usize::try_from(rows).unwrap_or(0))
}
