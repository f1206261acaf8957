//! What each rank of the newest attempt does: where it runs, how far it is, how long its steps take.

use std::collections::{BTreeMap, HashMap};

use rusqlite::Connection;

use super::tables::{NS, secs_or_none};
use super::{ProducerEntry, RunReader};
use crate::store::error::StoreError;
use crate::store::schema;

/// One rank of the newest attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct RankRow {
    /// Its newest process that was not forked from another one; of a rank that only forks logged for, the first.
    pub process: ProducerEntry,
    /// How many processes logged under this rank, forked ones too.
    pub processes: u32,
    /// Points stored, of all of them.
    pub points: u64,
    /// Its highest step; processes that it forked count, here and below. `None`: it has logged no metric.
    pub last_step: Option<i64>,
    /// Wall clock of its newest point, seconds since 1970. `None`: it has logged no metric.
    pub last_time: Option<f64>,
    /// Seconds from one step to the next: the median of the last 64. `None`: fewer than two are known.
    pub step_secs: Option<f64>,
    /// Seconds behind the rank that reached a step first: the median of the last 64 steps that others logged,
    /// too. `None`: there are none. Between machines it is as good as their clocks agree.
    pub lag_secs: Option<f64>,
    /// The longest time between two of its last 64 steps, in seconds. `None`: fewer than ten are known.
    pub longest_secs: Option<f64>,
    /// JSON: how the process ended. `None`: it goes on, or has closed.
    pub exit: Option<String>,
    /// JSON: the last exception of it that nobody caught. `None`: there was none.
    pub exception: Option<String>,
}

/// When a rank reached its last steps: nanoseconds that order across machines.
type Reached = BTreeMap<i64, i64>;

impl RunReader {
    /// The ranks of the newest attempt, by number.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ranks(&self) -> Result<Vec<RankRow>, StoreError> {
        self.reading(|conn| {
            let newest = "SELECT max(id) FROM attempts";
            let Some(attempt) = conn.query_row(newest, [], |row| row.get(0))? else {
                return Ok(Vec::new());
            };
            let mut ranks: BTreeMap<u32, RankRow> = BTreeMap::new();
            for producer in self.producers()? {
                if producer.attempt == attempt {
                    add_process(&mut ranks, producer);
                }
            }
            add_newest(conn, attempt, &mut ranks)?;
            add_ends(conn, attempt, &mut ranks)?;
            add_steps(&reached(conn, attempt)?, &mut ranks);
            Ok(ranks.into_values().collect())
        })
    }
}

impl RankRow {
    /// A rank of which nothing is known but a process.
    fn of(process: ProducerEntry) -> Self {
        Self {
            process,
            processes: 0,
            points: 0,
            last_step: None,
            last_time: None,
            step_secs: None,
            lag_secs: None,
            longest_secs: None,
            exit: None,
            exception: None,
        }
    }
}

fn add_process(ranks: &mut BTreeMap<u32, RankRow>, producer: ProducerEntry) {
    let row = ranks
        .entry(producer.rank)
        .or_insert_with(|| RankRow::of(producer.clone()));
    row.processes += 1;
    row.points += producer.points;
    if producer.parent.is_none() {
        row.process = producer;
    }
}

/// The highest step and the newest time of each rank.
fn add_newest(
    conn: &Connection,
    attempt: u32,
    ranks: &mut BTreeMap<u32, RankRow>,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT rank, max(step), max(time_ns) FROM latest WHERE attempt = ?1 GROUP BY rank",
    )?;
    let mut rows = select.query([attempt])?;
    while let Some(row) = rows.next()? {
        if let Some(rank) = ranks.get_mut(&row.get(0)?) {
            rank.last_step = row.get(1)?;
            rank.last_time = secs_or_none(row, 2)?;
        }
    }
    Ok(())
}

/// How processes ended, and what nobody caught.
fn add_ends(
    conn: &Connection,
    attempt: u32,
    ranks: &mut BTreeMap<u32, RankRow>,
) -> Result<(), StoreError> {
    let mut select = conn.prepare_cached(
        "SELECT rank, kind, detail, uuid FROM events JOIN producers ON producers.id = events.producer
         WHERE attempt = ?1 AND kind IN ('exit', 'exception') AND json_valid(detail)
             AND parent IS NULL AND json_extract(detail, '$.thread') IS NULL ORDER BY events.id",
    )?;
    let mut rows = select.query([attempt])?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(1)?;
        let uuid: String = row.get(3)?;
        let rank = ranks.get_mut(&row.get(0)?);
        if let Some(rank) = rank.filter(|rank| rank.process.uuid == uuid) {
            let place = match kind.as_str() {
                "exit" => &mut rank.exit,
                _ => &mut rank.exception,
            };
            *place = row.get(2)?;
        }
    }
    Ok(())
}

fn reached(conn: &Connection, attempt: u32) -> Result<BTreeMap<u32, Reached>, StoreError> {
    // Earlier formats have but the wall clock.
    let mut select = conn.prepare_cached(if schema::user_version(conn)? < 3 {
        "SELECT rank, step, time_ns FROM recent WHERE attempt = ?1"
    } else {
        "SELECT rank, step, order_ns FROM recent WHERE attempt = ?1"
    })?;
    let mut rows = select.query([attempt])?;
    let mut reached: BTreeMap<u32, Reached> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let of_rank = reached.entry(row.get(0)?).or_default();
        of_rank.insert(row.get(1)?, row.get(2)?);
    }
    Ok(reached)
}

fn add_steps(reached: &BTreeMap<u32, Reached>, ranks: &mut BTreeMap<u32, RankRow>) {
    // The first rank at each step, and how many came.
    let mut first: HashMap<i64, (i64, u32)> = HashMap::new();
    for (step, time) in reached.values().flatten() {
        let entry = first.entry(*step).or_insert((*time, 0));
        *entry = (entry.0.min(*time), entry.1 + 1);
    }
    for (rank, steps) in reached {
        let Some(row) = ranks.get_mut(rank) else {
            continue;
        };
        let pairs = steps.iter().zip(steps.iter().skip(1));
        let pauses = pairs
            .clone()
            .map(|((_, before), (_, after))| after - before);
        row.longest_secs = pauses
            .max()
            .filter(|_| steps.len() >= 10)
            .map(|ns| ns as f64 / NS);
        row.step_secs = median(
            pairs
                .filter(|((_, before), (_, after))| after > before)
                .map(|((from, before), (to, after))| {
                    (after - before) as f64 / NS / to.abs_diff(*from) as f64
                })
                .collect(),
        );
        let shared = |step: &i64| first.get(step).filter(|(_, count)| *count > 1);
        row.lag_secs = median(
            steps
                .iter()
                .filter_map(|(step, time)| Some((time - shared(step)?.0) as f64 / NS))
                .collect(),
        );
    }
}

/// Of an even number the upper one of the two in the middle. `None`: there are no values.
fn median(mut values: Vec<f64>) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rank: u32) -> RankRow {
        let process = ProducerEntry {
            uuid: String::new(),
            attempt: 1,
            parent: None,
            rank,
            local_rank: rank,
            world: 2,
            host: "h".into(),
            pid: 1,
            mode: "mmap".into(),
            started: 0.0,
            ended: None,
            ended_how: None,
            frames: 0,
            points: 0,
            accepted_points: None,
            rejected: None,
        };
        RankRow::of(process)
    }

    #[test]
    fn step_time_and_lag_are_medians_that_a_pause_does_not_move() {
        // Rank 1 is 30 ms late at each step; both pause for a minute after step 4; rank 1 logs every second step.
        let time = |step: i64| step * 100_000_000 + if step > 4 { 60_000_000_000 } else { 0 };
        let zero: Reached = (0..10).map(|step| (step, time(step))).collect();
        let one: Reached = (0..10)
            .step_by(2)
            .map(|step| (step, time(step) + 30_000_000))
            .collect();
        let mut ranks = BTreeMap::from([(0, row(0)), (1, row(1))]);
        add_steps(&BTreeMap::from([(0, zero), (1, one)]), &mut ranks);
        assert_eq!(
            (ranks[&0].step_secs, ranks[&0].lag_secs),
            (Some(0.1), Some(0.0))
        );
        assert_eq!(
            (ranks[&1].step_secs, ranks[&1].lag_secs),
            (Some(0.1), Some(0.03))
        );
    }

    #[test]
    fn a_rank_alone_has_no_lag_and_one_step_no_step_time() {
        let mut ranks = BTreeMap::from([(0, row(0))]);
        add_steps(&BTreeMap::from([(0, Reached::from([(7, 1)]))]), &mut ranks);
        assert_eq!((ranks[&0].step_secs, ranks[&0].lag_secs), (None, None));
    }
}
