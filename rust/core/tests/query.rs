//! Questions in SQL about a real run: what they find.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{Run, ask, floats, long_run, one};
use tm_core::store::{Datum, QueryError, QueryOptions, SeriesOptions, StreamOptions, Values};
use tm_spool::{Flags, Step, ValueType, side_slot};

#[test]
fn points_are_those_of_the_series() {
    let run = long_run();
    let reader = run.reader();
    assert_eq!(
        one(&reader, "SELECT count(*) FROM points"),
        Datum::Integer(400_000)
    );
    let sum = "SELECT sum(value) FROM points WHERE key = 'loss'";
    assert_eq!(one(&reader, sum), Datum::Real(199_999.0 * 100_000.0));
    let some =
        "SELECT step, value FROM points WHERE key = 'loss' AND step >= 65000 AND step < 70000";
    let table = ask(&reader, some);
    assert_eq!(table.rows.len(), 5000);
    assert_eq!(
        table.rows[0],
        [Datum::Integer(65_000), Datum::Real(65_000.0)]
    );
    let grouped = "SELECT key, count(*) FROM points GROUP BY key";
    let rows = ask(&reader, grouped).rows;
    assert_eq!(
        rows[0],
        [Datum::Text(b"loss".into()), Datum::Integer(200_000)]
    );
    for (condition, count) in [
        ("key IN ('loss', 'lr', 'none')", 400_000),
        ("key LIKE 'lo%'", 200_000),
        ("key GLOB 'l?'", 200_000),
        ("key = 'LOSS' COLLATE NOCASE", 200_000),
        ("key > 'loss'", 200_000),
        ("key = 'loss' AND step = 7.0", 1),
        ("key = 'loss' AND step = 7.5", 0),
        ("key = 'loss' AND step > 10.5 AND step < 12.5", 2),
        ("key = 'loss' AND step = '7'", 1),
        ("rank = 0", 400_000),
        ("rank = 1", 0),
        ("rank = -1", 0),
        ("key IS NULL", 0),
        ("time > 1e9", 400_000),
        ("time < 1e9", 0),
        ("step < NULL", 0),
    ] {
        for table in ["points", "raw_points"] {
            let sql = format!("SELECT count(*) FROM {table} WHERE {condition}");
            assert_eq!(one(&reader, &sql), Datum::Integer(count), "{sql}");
        }
    }
}

#[test]
fn a_narrow_question_decodes_little() {
    let run = long_run();
    let reader = run.reader();
    let options = QueryOptions {
        time_limit: Duration::ZERO,
        ..QueryOptions::default()
    };
    let error = reader
        .query("SELECT count(*) FROM points", options)
        .unwrap_err();
    assert!(
        matches!(error, QueryError::TooLong { total: 400_000, .. }),
        "{error}"
    );
    // A join by step comes back to the chunks that it has: without that it would take minutes.
    let started = Instant::now();
    let join = "SELECT count(*) FROM points a JOIN points b ON a.step = b.step
                WHERE a.key = 'loss' AND b.key = 'lr'";
    assert_eq!(one(&reader, join), Datum::Integer(200_000));
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn order_by_key_and_step_needs_no_sorting() {
    let run = long_run();
    let reader = run.reader();
    for order in ["key", "key, step", "key, step, rank"] {
        let sql = format!("EXPLAIN QUERY PLAN SELECT * FROM points ORDER BY {order}");
        let plan = format!("{:?}", ask(&reader, &sql));
        assert!(!plan.contains("TEMP B-TREE"), "{plan}");
    }
    let last = "SELECT step FROM points WHERE key IN ('lr', 'loss') ORDER BY step DESC LIMIT 2";
    let table = ask(&reader, last);
    assert_eq!(table.rows, vec![vec![Datum::Integer(199_999)]; 2]);
}

#[test]
fn every_kind_of_value_can_be_told_apart() {
    let run = Run::new();
    let producer = run.producer("job", 3);
    let names = ["f", "i", "b", "big", "none", "text", "nan", "inf"];
    let layout = floats(&producer, &names);
    let types = [
        ValueType::F64,
        ValueType::I64,
        ValueType::Bool,
        ValueType::BigInt,
        ValueType::None,
        ValueType::Text,
        ValueType::F64,
        ValueType::F64,
    ];
    let (big, text) = (b"1180591620717411303424", b"hi");
    let side = [&big[..], &text[..]].concat();
    let slots = [
        (-0.0f64).to_bits(),
        i64::MIN as u64,
        1,
        side_slot(0, big.len() as u32),
        0,
        side_slot(big.len() as u32, text.len() as u32),
        0x7ff8_0000_dead_beef,
        f64::INFINITY.to_bits(),
    ];
    let ingest = run.ingest();
    producer
        .append_typed(Flags(0), Step(1), layout, &slots, &types, &side)
        .unwrap();
    common::wait("the frame to be durable", || producer.backlog_bytes() == 0);
    drop(ingest); // not sealed: read from the raw frames
    let sql = "SELECT key, value, kind, bits, rank, attempt FROM points";
    let fresh = ask(&run.reader(), sql);
    run.ingest().finish(Duration::from_secs(90)).unwrap();
    let sealed = ask(&run.reader(), sql);
    assert_eq!(fresh, sealed);
    let of = |name: &str| {
        let row = sealed
            .rows
            .iter()
            .find(|r| r[0] == Datum::Text(name.into()));
        row.unwrap()[1..4].to_vec()
    };
    let text = |text: &str| Datum::Text(text.into());
    let bits = |value: f64| Datum::Integer(value.to_bits() as i64);
    assert_eq!(of("f"), [Datum::Real(-0.0), text("float"), bits(-0.0)]);
    assert_eq!(
        of("i"),
        [Datum::Integer(i64::MIN), text("int"), Datum::Null]
    );
    assert_eq!(of("b"), [Datum::Integer(1), text("bool"), Datum::Null]);
    assert_eq!(
        of("big"),
        [text("1180591620717411303424"), text("bigint"), Datum::Null]
    );
    assert_eq!(of("none"), [Datum::Null, text("none"), Datum::Null]);
    assert_eq!(of("text"), [text("hi"), text("text"), Datum::Null]);
    let nan = Datum::Integer(0x7ff8_0000_dead_beef);
    assert_eq!(of("nan"), [Datum::Null, text("nan"), nan]);
    let inf = bits(f64::INFINITY);
    assert_eq!(of("inf"), [Datum::Real(f64::INFINITY), text("float"), inf]);
}

#[test]
fn merged_and_raw_differ_as_in_series_and_so_does_the_stream() {
    let run = Run::new();
    let ingest = run.ingest();
    for (job, rank, from) in [
        ("one", 0, 0i64),
        ("one", 1, 0),
        ("two", 0, 5000),
        ("two", 1, 6000),
    ] {
        let producer = run.producer(job, rank);
        let layout = floats(&producer, &["loss"]);
        for step in (from..from + 9000).chain(from..from + 100) {
            let value = (step as f64 + f64::from(rank) / 10.0).to_bits();
            producer
                .append_points(Flags(0), Step(step), layout, &[value])
                .unwrap();
        }
        assert!(producer.close(Duration::from_secs(90)).durable);
    }
    ingest.finish(Duration::from_secs(90)).unwrap();
    let reader = run.reader();
    for raw in [false, true] {
        let options = SeriesOptions {
            raw,
            ..SeriesOptions::default()
        };
        let series = reader.series(b"loss", &options).unwrap();
        let Values::F64(values) = series.value else {
            panic!("floats")
        };
        let name = if raw { "raw_points" } else { "points" };
        let options = QueryOptions {
            rows: None,
            ..QueryOptions::default()
        };
        let sql = format!("SELECT step, rank, attempt, value FROM {name}");
        let mut rows = reader.query(&sql, options).unwrap().rows;
        let mut expected: Vec<Vec<Datum>> = (0..values.len())
            .map(|i| {
                vec![
                    Datum::Integer(series.step[i]),
                    Datum::Integer(series.rank[i].into()),
                    Datum::Integer(series.attempt[i].into()),
                    Datum::Real(values[i]),
                ]
            })
            .collect();
        let mut streamed = 0;
        let options = StreamOptions {
            keys: Some(vec![b"loss".into()]),
            since: None,
            raw,
        };
        let mut stream = reader.stream(&options).unwrap();
        while let Some(chunk) = stream.next_chunk().unwrap() {
            streamed += chunk.series.step.len();
        }
        assert_eq!(streamed, expected.len());
        if raw {
            let order = |row: &Vec<Datum>| format!("{row:?}");
            rows.sort_by_key(order);
            expected.sort_by_key(order);
        }
        assert_eq!(rows, expected);
    }
    let sql = "SELECT count(*) FROM points WHERE rank = 1 AND step >= 6000";
    let only = SeriesOptions {
        rank: Some(1),
        since: Some(6000),
        ..SeriesOptions::default()
    };
    let count = reader.series(b"loss", &only).unwrap().step.len() as i64;
    assert_eq!(one(&reader, sql), Datum::Integer(count));
}

#[test]
fn steps_that_jump_lose_nothing() {
    let run = Run::new();
    let ingest = run.ingest();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["x"]);
    for i in 0..200_000i64 {
        let step = (i * 7_919) % 150_001 - 50_000;
        while producer
            .append_points(Flags(0), Step(step), layout, &[(i as f64).to_bits()])
            .is_err()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(producer.close(Duration::from_secs(90)).durable);
    ingest.finish(Duration::from_secs(90)).unwrap();
    let reader = run.reader();
    let series = reader.series(b"x", &SeriesOptions::default()).unwrap();
    let Values::F64(values) = &series.value else {
        panic!("floats")
    };
    let rows = reader
        .query(
            "SELECT step, value FROM points",
            QueryOptions {
                rows: None,
                ..QueryOptions::default()
            },
        )
        .unwrap()
        .rows;
    let expected: Vec<Vec<Datum>> = (0..values.len())
        .map(|i| vec![Datum::Integer(series.step[i]), Datum::Real(values[i])])
        .collect();
    assert_eq!(rows, expected);
    assert_eq!(
        one(&reader, "SELECT count(*) FROM raw_points"),
        Datum::Integer(200_000)
    );
}
