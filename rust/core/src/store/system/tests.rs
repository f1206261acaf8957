//! A month of samples, a crash, a format that had none.

use std::path::Path;

use rusqlite::Connection;

use super::SystemLine;
use super::pack::CHUNK_ROWS;
use super::thin::{KEEP_NS, MINUTE_NS, STRETCH_NS};
use crate::stats::Alphas;
use crate::store::open::DATABASE_NAME;
use crate::store::read::{RunReader, SystemPoints, SystemQuery};
use crate::store::schema;
use crate::store::write::CommitOptions;
use crate::store::{BadLine, Store};

const START_NS: i64 = 1_790_000_040_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

fn line(text: &str) -> SystemLine {
    SystemLine::parse(text.as_bytes()).unwrap()
}

fn sample(secs: i64, power: f64) -> SystemLine {
    let time_ns = START_NS + secs * SECOND_NS;
    line(&format!(
        r#"{{"probe": "gpu", "host": "node1", "time_ns": {time_ns},
            "values": {{"gpu0": {{"power_watts": {power}, "memory_total_bytes": 85899345920}}}},
            "facts": {{"gpu0": {{"name": "H200"}}}}}}"#
    ))
}

fn finding(name: &str) -> SystemLine {
    line(&format!(
        r#"{{"finding": "{name}", "host": "node1", "source": "gpu0", "time_ns": {START_NS}, "text": "t"}}"#
    ))
}

fn commit(store: &mut Store, system: Vec<SystemLine>) {
    let options = CommitOptions {
        system,
        ..CommitOptions::default()
    };
    store.commit(&mut [], &options).unwrap();
}

fn store(run: &Path) -> Store {
    Store::open(&run.join(DATABASE_NAME), Alphas::default()).unwrap()
}

fn points(run: &Path, since: Option<f64>, max_points: Option<usize>) -> SystemPoints {
    let query = SystemQuery {
        host: "node1".into(),
        source: "gpu0".into(),
        metric: "power_watts".into(),
        since,
        max_points,
    };
    RunReader::open(run).unwrap().system(&query).unwrap()
}

fn rows(run: &Path, table: &str) -> i64 {
    let conn = Connection::open(run.join(DATABASE_NAME)).unwrap();
    conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
        row.get(0)
    })
    .unwrap()
}

#[test]
fn samples_are_read_back_whether_fresh_or_packed() {
    let run = tempfile::tempdir().unwrap();
    let mut store = store(run.path());
    let count = i64::from(CHUNK_ROWS) + 7;
    for secs in 0..count {
        commit(&mut store, vec![sample(secs, secs as f64 + 0.5)]);
    }
    assert_eq!(
        (
            rows(run.path(), "system_fresh"),
            rows(run.path(), "system_chunks")
        ),
        (7, 1)
    );
    let all = points(run.path(), None, None);
    let expected: Vec<f64> = (0..count).map(|secs| secs as f64 + 0.5).collect();
    assert_eq!(all.value, expected);
    assert_eq!((&all.low, &all.high), (&expected, &expected));
    assert_eq!(all.time[0], START_NS as f64 / 1e9);
    let since = (START_NS + (count - 10) * SECOND_NS) as f64 / 1e9;
    assert_eq!(
        points(run.path(), Some(since), None).value,
        expected[(count - 10) as usize..]
    );
    let latest = RunReader::open(run.path())
        .unwrap()
        .system_latest()
        .unwrap();
    let power = latest.iter().find(|l| l.metric == "power_watts").unwrap();
    assert_eq!(
        (power.value, power.source.as_str()),
        (count as f64 - 0.5, "gpu0")
    );
    assert_eq!(power.facts.as_deref(), Some(r#"{"name":"H200"}"#));
}

#[test]
fn a_closed_store_has_everything_packed_and_the_next_goes_on() {
    let run = tempfile::tempdir().unwrap();
    let mut first = store(run.path());
    commit(&mut first, (0..20).map(|secs| sample(secs, 1.0)).collect());
    first.close().unwrap();
    assert_eq!(rows(run.path(), "system_fresh"), 0);
    let mut second = store(run.path());
    commit(&mut second, vec![sample(20, 2.0)]);
    drop(second);
    let all = points(run.path(), None, None);
    assert_eq!((all.value.len(), all.value[20]), (21, 2.0));
}

#[test]
fn samples_of_a_commit_that_failed_are_stored_by_the_next() {
    let run = tempfile::tempdir().unwrap();
    let mut store = store(run.path());
    let fail = "CREATE TEMP TRIGGER full BEFORE INSERT ON system_fresh
                BEGIN SELECT RAISE(ABORT, 'full'); END";
    store.conn.execute_batch(fail).unwrap();
    let options = CommitOptions {
        system: vec![sample(0, 5.0)],
        ..CommitOptions::default()
    };
    assert!(store.commit(&mut [], &options).is_err());
    store.conn.execute_batch("DROP TRIGGER full").unwrap();
    store.commit(&mut [], &options).unwrap();
    assert_eq!(points(run.path(), None, None).value, [5.0]);
}

#[test]
fn old_samples_become_minutes_that_keep_their_extremes() {
    let run = tempfile::tempdir().unwrap();
    let mut store = store(run.path());
    // One sample in ten seconds, so that the test is quick; a spike in the second hour.
    let hours = (KEEP_NS + STRETCH_NS) / (60 * MINUTE_NS) + 3;
    let spike = 3600 + 65;
    let at = |secs: i64| {
        if secs == spike {
            700.0
        } else {
            300.0 + (secs % 60) as f64
        }
    };
    let mut lines: Vec<SystemLine> = (0..hours * 360)
        .map(|i| sample(i * 10, at(i * 10)))
        .collect();
    lines.insert(368, sample(spike, at(spike)));
    for batch in lines.chunks(CHUNK_ROWS as usize) {
        commit(&mut store, batch.to_vec());
    }
    let all = points(run.path(), None, None);
    let is_minute = |i: usize| all.low[i] < all.high[i];
    assert!(is_minute(0) && !is_minute(all.value.len() - 1));
    assert_eq!(
        (all.low[0], all.value[0], all.high[0]),
        (300.0, 325.0, 350.0)
    );
    assert_eq!(all.high.iter().copied().fold(0.0, f64::max), 700.0);
    let minutes = (0..all.value.len()).filter(|i| is_minute(*i)).count();
    // Whole chunks are thinned, here of 100 minutes.
    assert!((300..=460).contains(&minutes), "{minutes}");
    assert!(all.time.is_sorted());
    let few = points(run.path(), None, Some(100));
    assert!(few.value.len() <= 104, "{}", few.value.len());
    assert!(few.high.contains(&700.0));
}

#[test]
fn a_finding_is_told_once_until_something_else_is_found() {
    let run = tempfile::tempdir().unwrap();
    let mut store = store(run.path());
    for name in ["gpu_lost", "gpu_lost", "gpu_back", "gpu_lost"] {
        commit(&mut store, vec![finding(name)]);
    }
    let found = RunReader::open(run.path()).unwrap().findings().unwrap();
    let names: Vec<bool> = found
        .iter()
        .map(|f| f.detail.contains("gpu_lost"))
        .collect();
    assert_eq!(names, [true, false, true]);
}

#[test]
fn stacks_belong_to_the_silence_that_stands() {
    let run = tempfile::tempdir().unwrap();
    let mut store = store(run.path());
    let about_steps = |name: &str| {
        line(&format!(
            r#"{{"finding": "{name}", "host": "h", "source": "steps", "time_ns": 5, "text": "t"}}"#
        ))
    };
    let stack = |time_ns: i64| {
        line(&format!(
            r#"{{"stack": {{"producer": "p", "host": "h", "rank": 3, "text": "x"}}, "time_ns": {time_ns}}}"#
        ))
    };
    let lines = vec![
        about_steps("stuck"),
        stack(7),
        about_steps("over"),
        stack(8),
    ];
    commit(&mut store, lines);
    let reader = RunReader::open(run.path()).unwrap();
    let details = |rows: Vec<crate::store::EventRow>| -> Vec<String> {
        rows.into_iter().map(|row| row.detail).collect()
    };
    let found = details(reader.findings().unwrap());
    assert!(found[0].contains(r#""stacks_ns":7"#), "{found:?}");
    assert!(!found[1].contains("stacks_ns"), "{found:?}");
    let stacks = details(reader.stacks().unwrap());
    assert_eq!(stacks.len(), 2);
    assert!(stacks[0].contains(r#""rank":3"#), "{stacks:?}");
}

#[test]
fn lines_that_are_none_are_refused() {
    for text in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"time_ns": 1, "host": "h", "probe": "p", "values": {"gpu0": {"a": "text"}}}"#,
        r#"{"time_ns": 1, "host": "h", "probe": "p", "values": {"gpu0": 1}}"#,
        r#"{"time_ns": 1, "host": "h", "probe": "p", "values": {"gpu0": {"a": 1e999}}}"#,
        r#"{"time_ns": 1, "host": "h", "finding": "x"}"#,
        r#"{"time_ns": 1, "stack": {"host": "h"}}"#,
    ] {
        assert_eq!(SystemLine::parse(text.as_bytes()), Err(BadLine), "{text}");
    }
}

#[test]
fn a_run_of_the_first_format_has_no_samples_and_gets_its_tables_from_a_writer() {
    let run = tempfile::tempdir().unwrap();
    let path = run.path().join(DATABASE_NAME);
    let mut conn = Connection::open(&path).unwrap();
    schema::make_format_1(&mut conn).unwrap();
    drop(conn);
    let reader = RunReader::open(run.path()).unwrap();
    assert_eq!(reader.system_latest().unwrap(), []);
    assert_eq!(points(run.path(), None, None), SystemPoints::default());
    assert_eq!(reader.findings().unwrap(), []);
    let mut store = store(run.path());
    commit(&mut store, vec![sample(0, 5.0)]);
    assert_eq!(points(run.path(), None, None).value, [5.0]);
    assert_eq!(
        schema::user_version(&store.conn).unwrap(),
        schema::FORMAT_VERSION
    );
}

/// A second of a busy GPU, in numbers that move as those of real ones do.
fn busy(secs: i64, noise: &mut u64) -> Vec<(String, f64)> {
    let mut random = || {
        *noise = noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (*noise >> 40) as f64 / f64::from(1 << 24)
    };
    let tenths = |value: f64| (value * 10.0).round() / 10.0;
    let values = [
        ("utilization_percent", (85.0 + 15.0 * random()).round()),
        (
            "memory_used_bytes",
            61e9 + (random() * 40.0).floor() * 2_097_152.0,
        ),
        ("memory_total_bytes", 85_899_345_920.0),
        (
            "temperature_celsius",
            (60.0 + 4.0 * (secs as f64 / 900.0).sin() + random()).round(),
        ),
        ("power_watts", tenths(500.0 + 80.0 * random())),
        ("power_limit_watts", 700.0),
        ("sm_clock_mhz", 1980.0 - 15.0 * (random() * 6.0).floor()),
        ("memory_clock_mhz", 2619.0),
        ("ecc_corrected_count", 0.0),
        ("nvlink_sent_bytes_per_sec", (4e10 * random()).round()),
    ];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}

#[test]
fn a_day_and_a_month_stay_small() {
    let run = tempfile::tempdir().unwrap();
    let mut store = store(run.path());
    let (mut noise, mut sizes) = (7, Vec::new());
    let mut secs = 0;
    for until_hours in [24, 48] {
        while secs < until_hours * 3600 {
            let lines = (0..i64::from(CHUNK_ROWS)).map(|i| {
                SystemLine::Sample(super::SystemSample {
                    host: "node1".into(),
                    probe: "gpu".into(),
                    // A sleep wakes up some milliseconds late.
                    time_ns: START_NS + (secs + i) * SECOND_NS + (i * 7919 % 4) * 1_000_000,
                    sources: vec![super::line::SystemSource {
                        name: "gpu0".into(),
                        facts: None,
                        values: busy(secs + i, &mut noise),
                    }],
                })
            });
            commit(&mut store, lines.collect());
            secs += i64::from(CHUNK_ROWS);
        }
        let conn = Connection::open(run.path().join(DATABASE_NAME)).unwrap();
        let bytes =
            "SELECT sum(length(data) + coalesce(length(lows), 0) + coalesce(length(highs), 0) + 60)
                     + (SELECT sum(length(times)) FROM system_chunks) FROM system_cols";
        sizes.push(
            conn.query_row(bytes, [], |row| row.get::<_, i64>(0))
                .unwrap(),
        );
    }
    // Ten metrics: a day at one sample a second, then what a further day of minutes adds.
    let (day, more) = (sizes[0], sizes[1] - sizes[0]);
    println!(
        "10 metrics: {day} bytes for a day, {more} for a further one (18 of 24 hours thinned)"
    );
    assert!(day < 10 * 86_400 * 2, "{day}");
    assert!(more < 10 * 86_400, "{more}");
}
