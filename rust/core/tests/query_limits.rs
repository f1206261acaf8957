//! Questions in SQL that do harm, take too long, or are wrong.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{Run, floats, long_run, one};
use tm_core::store::{Datum, QueryError, QueryOptions, StreamOptions};
use tm_spool::{Flags, Step};

#[test]
fn what_does_more_than_read_is_refused_and_the_file_stays_as_it_is() {
    let run = long_run();
    let reader = run.reader();
    let database = run.path().join("training_monitor.db");
    let before = std::fs::read(&database).unwrap();
    let aside = run.path().join("stolen.db");
    for sql in [
        "ATTACH DATABASE 'stolen.db' AS x".to_owned(),
        format!("VACUUM INTO '{}'", aside.display()),
        "VACUUM".into(),
        "PRAGMA writable_schema = 1".into(),
        "PRAGMA query_only = 0".into(),
        "SELECT * FROM pragma_table_info('keys')".into(),
        "SELECT * FROM pragma_journal_mode".into(),
        "DELETE FROM keys".into(),
        "UPDATE keys SET name = 'x'".into(),
        "INSERT INTO points VALUES('a', 1, 1, 1, 1, 1)".into(),
        "DELETE FROM points".into(),
        "DROP TABLE keys".into(),
        "CREATE TABLE x(y)".into(),
        "CREATE TEMP TABLE x(y)".into(),
        "CREATE VIRTUAL TABLE x USING fts5(y)".into(),
        "BEGIN IMMEDIATE".into(),
        "COMMIT".into(),
        "SAVEPOINT x".into(),
        "REINDEX".into(),
        "ANALYZE".into(),
        "DETACH main".into(),
        "SELECT load_extension('x.so')".into(),
        "SELECT fts3_tokenizer('simple')".into(),
        "SELECT 1; DROP TABLE keys".into(),
        "SELECT 1; SELECT 2".into(),
        String::new(),
        "-- nothing".into(),
        "SELECT 'a\0b'; DROP TABLE keys".into(),
    ] {
        let answer = reader.query(&sql, QueryOptions::default());
        assert!(
            matches!(answer, Err(QueryError::Sql { .. } | QueryError::NotReading)),
            "{sql}: {answer:?}"
        );
    }
    assert!(!aside.exists());
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert_eq!(one(&reader, "SELECT count(*) FROM keys"), Datum::Integer(2));
}

#[test]
fn what_would_never_end_is_stopped_in_time() {
    let run = long_run();
    let reader = run.reader();
    for sql in [
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c",
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c",
        "SELECT count(*) FROM points a, points b, points c",
        "SELECT count(*) FROM keys a, keys b, points c, points d",
        "SELECT instr(hex(zeroblob(300000)), hex(zeroblob(200000)) || '1') FROM points, points",
        "SELECT sum(length(randomblob(1000000))) FROM points, points",
    ] {
        let started = Instant::now();
        let options = QueryOptions {
            rows: None,
            time_limit: Duration::from_millis(500),
            interrupted: None,
        };
        let error = reader.query(sql, options).unwrap_err();
        assert!(
            matches!(
                error,
                QueryError::TooLong { .. } | QueryError::TooLarge { .. }
            ),
            "{sql}: {error}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "{sql}: {:?}",
            started.elapsed()
        );
    }
    let options = QueryOptions {
        time_limit: Duration::from_secs(60),
        interrupted: Some(Box::new(|| true)),
        ..QueryOptions::default()
    };
    let error = reader.query("SELECT count(*) FROM points a, points b", options);
    assert!(matches!(error, Err(QueryError::Interrupted)), "{error:?}");
}

#[test]
fn rows_end_at_the_limit_and_mistakes_are_explained() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss"]);
    let ingest = run.ingest();
    for step in 0..10 {
        producer
            .append_points(Flags(0), Step(step), layout, &[0])
            .unwrap();
    }
    assert!(producer.close(Duration::from_secs(90)).durable);
    ingest.finish(Duration::from_secs(90)).unwrap();
    let reader = run.reader();
    let options = QueryOptions {
        rows: Some(3),
        ..QueryOptions::default()
    };
    let table = reader.query("SELECT * FROM points", options).unwrap();
    assert_eq!((table.rows.len(), table.truncated), (3, true));
    assert_eq!(
        table.columns,
        ["key", "step", "time", "value", "rank", "attempt"]
    );
    let exact = QueryOptions {
        rows: Some(10),
        ..QueryOptions::default()
    };
    assert!(
        !reader
            .query("SELECT * FROM points", exact)
            .unwrap()
            .truncated
    );
    for (sql, told) in [
        (
            "SELECT * FROM pointz",
            "there are: points, raw_points, alerts, analyses, attempts",
        ),
        (
            "SELECT vlaue FROM points",
            "points has key, step, time, value, rank, attempt, kind, bits",
        ),
        ("SELECT x FROM keys", "keys has id, name, raw"),
        ("SELEC 1", "syntax error"),
        ("SELECT", "ends too early"),
        ("SELECT hex(zeroblob(900000))", "1 MiB"),
        ("DROP TABLE keys", "may only SELECT"),
    ] {
        let error = reader
            .query(sql, QueryOptions::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(told), "{sql}: {error}");
    }
    let missing = reader.stream(&StreamOptions {
        keys: Some(vec![b"x".into()]),
        ..StreamOptions::default()
    });
    assert!(missing.is_err());
}

#[test]
fn a_scan_that_finds_no_row_can_be_stopped() {
    const KEYS: usize = 20_000;
    let run = Run::new();
    let producer = run.producer("job", 0);
    let names: Vec<String> = (0..KEYS).map(|key| format!("k{key}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let layout = floats(&producer, &names);
    let ingest = run.ingest();
    producer
        .append_points(Flags(0), Step(0), layout, &vec![0; KEYS])
        .unwrap();
    assert!(producer.close(Duration::from_secs(60)).durable);
    ingest.finish(Duration::from_secs(60)).unwrap();
    let reader = run.reader();
    // One call of SQLite goes through all keys.
    let sql = "SELECT count(*) FROM points WHERE step = 1000000000";
    let options = QueryOptions {
        time_limit: Duration::from_secs(600),
        interrupted: Some(Box::new(|| true)),
        ..QueryOptions::default()
    };
    let stopped = reader.query(sql, options);
    assert!(
        matches!(stopped, Err(QueryError::Interrupted)),
        "{stopped:?}"
    );
    let options = QueryOptions {
        time_limit: Duration::from_millis(20),
        ..QueryOptions::default()
    };
    let late = reader.query(sql, options);
    assert!(matches!(late, Err(QueryError::TooLong { .. })), "{late:?}");
    assert_eq!(one(&reader, sql), Datum::Integer(0));
}

#[test]
fn one_step_of_each_key_decodes_its_groups_alone() {
    let run = long_run();
    let reader = run.reader();
    for (step, most) in [(150_000, 2 * 20_000), (1_000_000_000, 0)] {
        // The scan comes first, then what never ends: the error tells how much was decoded.
        let sql = format!(
            "WITH RECURSIVE c(x) AS (SELECT count(*) FROM points WHERE step = {step}
             UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
        );
        let options = QueryOptions {
            time_limit: Duration::from_secs(2),
            ..QueryOptions::default()
        };
        match reader.query(&sql, options) {
            Err(QueryError::TooLong { decoded, .. }) => assert!(decoded <= most, "{decoded}"),
            other => panic!("{other:?}"),
        }
    }
}
