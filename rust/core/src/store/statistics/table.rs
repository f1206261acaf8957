//! The snapshot of the statistics as rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Series;
use crate::stats::{Alphas, Average, Moments, Sketch, Stamp, Statistics};
use crate::store::error::StoreError;

/// What was written last.
pub(super) struct Snapshot {
    pub rows: Vec<(Series, Statistics)>,
    pub count: u64,
    pub last_grp: i64,
}

/// Whether this database has statistics at all; one of an earlier format that was never written since has none.
pub(crate) fn has_tables(conn: &Connection) -> Result<bool, StoreError> {
    let mut select = conn.prepare_cached("SELECT count(*) FROM sqlite_schema WHERE name = ?1")?;
    Ok(select.query_row(["stats_state"], |row| row.get::<_, i64>(0))? > 0)
}

/// How the writer makes the averages. `None`: it has not said so.
pub(super) fn alphas(conn: &Connection) -> Result<Option<Alphas>, StoreError> {
    if !has_tables(conn)? {
        return Ok(None);
    }
    let mut select =
        conn.prepare_cached("SELECT ema_alpha_short, ema_alpha_long FROM stats_state")?;
    let found = select.query_row([], |row| {
        Ok(Alphas {
            short: row.get(0)?,
            long: row.get(1)?,
        })
    });
    Ok(found.optional()?)
}

/// The snapshot, of one key or of all. `None`: there is none that fits itself.
pub(super) fn load(conn: &Connection, key: Option<u32>) -> Result<Option<Snapshot>, StoreError> {
    if !has_tables(conn)? {
        return Ok(None);
    }
    let mut select = conn.prepare_cached(
        "SELECT last_grp, count, (SELECT coalesce(max(id), 0) FROM groups) FROM stats_state",
    )?;
    let found = select.query_row([], |row| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, i64>(2)?,
        ))
    });
    let Some((last_grp, count, groups)) = found.optional()? else {
        return Ok(None);
    };
    let mut snapshot = Snapshot {
        rows: Vec::new(),
        count: count as u64,
        last_grp,
    };
    let sound = load_rows(conn, key, &mut snapshot)?;
    let counted: u64 = snapshot.rows.iter().map(|(_, s)| s.count).sum();
    let fits = last_grp <= groups && (key.is_some() || counted == snapshot.count);
    Ok((sound && fits).then_some(snapshot))
}

/// Returns whether every row makes sense.
fn load_rows(
    conn: &Connection,
    key: Option<u32>,
    snapshot: &mut Snapshot,
) -> Result<bool, StoreError> {
    let (from, to) = key.map_or((i64::MIN, i64::MAX), |key| {
        (id((key, 0)), id((key, u32::MAX)))
    });
    let mut select = conn.prepare_cached(
        "SELECT key, rank, count, non_finite, first_attempt, first_step, first_time_ns, first,
             last_attempt, last_step, last_time_ns, last, min, max, mean, squares, ema_short,
             ema_long, sketch
         FROM stats WHERE id BETWEEN ?1 AND ?2",
    )?;
    let mut rows = select.query([from, to])?;
    while let Some(row) = rows.next()? {
        let Some(statistics) = statistics_of(row) else {
            return Ok(false);
        };
        snapshot.rows.push(((row.get(0)?, row.get(1)?), statistics));
    }
    Ok(true)
}

/// `None`: the row does not make sense.
fn statistics_of(row: &Row<'_>) -> Option<Statistics> {
    let number = |at: usize| row.get::<_, Option<f64>>(at).ok();
    let stamp = |at: usize| {
        Some(Stamp {
            attempt: row.get(at).ok()?,
            step: row.get(at + 1).ok()?,
            order_ns: row.get(at + 2).ok()?,
            value: number(at + 3)?.unwrap_or(f64::NAN),
        })
    };
    let (count, non_finite): (i64, i64) = (row.get(2).ok()?, row.get(3).ok()?);
    let finite = u64::try_from(count.checked_sub(non_finite)?).ok()?;
    let moments = if finite == 0 {
        Moments::default()
    } else {
        // Squares too large for a float are stored as infinity; too large to tell are not a number.
        let squares = number(15)?.unwrap_or(f64::INFINITY);
        Moments::restore(finite, number(14)??, squares, number(12)??, number(13)??)?
    };
    let sketch = Sketch::from_bytes(row.get_ref(18).ok()?.as_blob().ok()?).ok()?;
    (sketch.count() == finite).then_some(Statistics {
        count: u64::try_from(count).ok()?,
        non_finite: u64::try_from(non_finite).ok()?,
        first: Some(stamp(4)?),
        last: Some(stamp(8)?),
        moments,
        short: Average::restore(number(16)?),
        long: Average::restore(number(17)?),
        sketch,
    })
}

fn id((key, rank): Series) -> i64 {
    i64::from(key) << 32 | i64::from(rank)
}

pub(super) fn save(
    conn: &Connection,
    series: Series,
    statistics: &Statistics,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (statistics.first, statistics.last) else {
        return Ok(());
    };
    let moments = &statistics.moments;
    let mut insert = conn.prepare_cached(
        "INSERT OR REPLACE INTO stats(id, key, rank, count, non_finite, first_attempt, first_step,
             first_time_ns, first, last_attempt, last_step, last_time_ns, last, min, max, mean,
             squares, ema_short, ema_long, sketch)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
             ?19, ?20)",
    )?;
    insert.execute(params![
        id(series),
        series.0,
        series.1,
        statistics.count as i64,
        statistics.non_finite as i64,
        first.attempt,
        first.step,
        first.order_ns,
        first.value,
        last.attempt,
        last.step,
        last.order_ns,
        last.value,
        moments.min(),
        moments.max(),
        moments.mean(),
        moments.min().map(|_| moments.squares),
        statistics.ema_short(),
        statistics.ema_long(),
        statistics.sketch.to_bytes(),
    ])?;
    Ok(())
}

/// Say what the rows cover, in groups and in each lane.
pub(super) fn save_state(
    conn: &Connection,
    last_grp: i64,
    count: u64,
    alphas: Alphas,
) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO stats_state(id, last_grp, last_col, count, ema_alpha_short,
             ema_alpha_long)
         VALUES(1, ?1, 0, ?2, ?3, ?4)",
    )?
    .execute(params![last_grp, count as i64, alphas.short, alphas.long])?;
    conn.prepare_cached("UPDATE lanes SET stats_lsn = sealed_lsn WHERE stats_lsn <> sealed_lsn")?
        .execute([])?;
    Ok(())
}
