//! A real producer, real lanes, a real database: what was logged is what is read.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Run, floats, wait};
use tm_core::store::{Cell, SeriesOptions, Values};
use tm_spool::{Flags, Kind, Step, ValueType, side_slot};

#[test]
fn ten_thousand_frames_arrive_in_order_and_the_files_go() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let keys = [
        producer.key(b"loss").unwrap(),
        producer.key("größe/µ".as_bytes()).unwrap(),
    ];
    let layout = producer.layout(&keys).unwrap();
    let ingest = run.ingest();
    for step in 0..10_000i64 {
        let slots = [(step as f64 * 0.5).to_bits(), f64::NAN.to_bits()];
        producer
            .append_points(Flags(0), Step(step), layout, &slots)
            .unwrap();
    }
    let outcome = producer.close(Duration::from_secs(90));
    assert!(outcome.durable, "{outcome:?} {:?}", ingest.status());
    assert_eq!(outcome.points_left, 0);
    wait("the producer's directory to go", || {
        tm_spool::producer_dirs(run.path()).unwrap().is_empty()
    });
    let status = ingest.finish(Duration::from_secs(90)).unwrap();
    assert_eq!((status.durable_points, status.last_error), (20_000, None));

    let reader = run.reader();
    let series = reader.series(b"loss", &SeriesOptions::default()).unwrap();
    assert_eq!(series.step, (0..10_000).collect::<Vec<i64>>());
    assert_eq!(
        series.value,
        Values::F64((0..10_000).map(|i| f64::from(i) * 0.5).collect())
    );
    let now = tm_spool::clock::wall_ns() as f64 / 1e9;
    assert!(series.time.iter().all(|t| (now - t).abs() < 60.0));
    let metrics = reader.metrics().unwrap();
    assert_eq!(metrics.len(), 2);
    assert_eq!((metrics[1].count, metrics[1].last_step), (10_000, 9_999));
    assert_eq!(metrics[0].name, "größe/µ".as_bytes());
    assert!(matches!(metrics[0].last_value, Cell::F64(v) if v.is_nan()));
    assert_eq!(
        reader.producers().unwrap()[0].ended_how.as_deref(),
        Some("closed")
    );
    assert_eq!(reader.producers().unwrap()[0].accepted_points, Some(20_000));
    assert_eq!(reader.counts().unwrap().fresh, 0);
}

#[test]
fn fresh_frames_are_read_while_nobody_writes() {
    let run = Run::new();
    let producer = run.producer("job", 3);
    let ingest = run.ingest();
    let layout = floats(&producer, &["a", "b"]);
    for step in 0..10 {
        producer
            .append_points(Flags(0), Step(step), layout, &[1f64.to_bits(), 2])
            .unwrap();
    }
    wait("ten frames to be durable", || producer.backlog_bytes() == 0);
    drop(ingest); // as if killed: nothing is sealed
    let reader = run.reader();
    assert!(reader.counts().unwrap().fresh > 0);
    let series = reader.series(b"a", &SeriesOptions::default()).unwrap();
    assert_eq!(series.step, (0..10).collect::<Vec<i64>>());
    assert_eq!((series.rank[0], series.attempt[0]), (3, 1));
    assert_eq!(
        reader.metrics().unwrap()[1].last_value,
        Cell::F64(f64::from_bits(2))
    );
    let steps = reader.steps(3).unwrap();
    assert_eq!(steps.iter().map(|s| s.step).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(steps[2].metrics.len(), 2);
    // The next writer seals what it finds.
    run.ingest().finish(Duration::from_secs(90)).unwrap();
    assert_eq!(run.reader().counts().unwrap().fresh, 0);
    assert_eq!(
        run.reader()
            .series(b"a", &SeriesOptions::default())
            .unwrap(),
        series
    );
}

#[test]
fn every_kind_of_value_comes_back() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["f", "i", "b", "big", "none", "text"]);
    let types = [
        ValueType::F64,
        ValueType::I64,
        ValueType::Bool,
        ValueType::BigInt,
        ValueType::None,
        ValueType::Text,
    ];
    let big = b"1180591620717411303424";
    let text = b"lone \xed\xa0\x80 surrogate";
    let side = [&big[..], &text[..]].concat();
    for step in 0..3 {
        let slots = [
            0x7ff8_0000_dead_beef,
            i64::MIN as u64,
            1,
            side_slot(0, big.len() as u32),
            0,
            side_slot(big.len() as u32, text.len() as u32),
        ];
        producer
            .append_typed(Flags(0), Step(step), layout, &slots, &types, &side)
            .unwrap();
    }
    let keys = [producer.key(b"f").unwrap(), producer.key(b"pair").unwrap()];
    let slots = [5f64.to_bits(), (-0.0f64).to_bits()];
    producer
        .append_pairs(Flags(0), Step(3), &keys, &slots, None, &[])
        .unwrap();
    let check = || {
        let reader = run.reader();
        let values = |key: &str| {
            reader
                .series(key.as_bytes(), &SeriesOptions::default())
                .unwrap()
        };
        match values("f").value {
            Values::F64(v) => {
                assert_eq!((v.len(), v[0].to_bits()), (4, 0x7ff8_0000_dead_beef));
                assert_eq!(v[3], 5.0);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            values("i").value,
            Values::Mixed(vec![Cell::I64(i64::MIN); 3])
        );
        assert_eq!(values("b").value, Values::Mixed(vec![Cell::Bool(true); 3]));
        let big = Cell::BigInt("1180591620717411303424".into());
        assert_eq!(values("big").value, Values::Mixed(vec![big; 3]));
        assert_eq!(values("none").value, Values::Mixed(vec![Cell::None; 3]));
        assert_eq!(
            values("text").value,
            Values::Mixed(vec![Cell::Text(text.to_vec()); 3])
        );
        assert_eq!(reader.texts(b"text", 2).unwrap().len(), 2);
        match values("pair").value {
            Values::F64(v) => assert_eq!(v[0].to_bits(), (-0.0f64).to_bits()),
            other => panic!("{other:?}"),
        }
        let counts: Vec<u64> = reader.metrics().unwrap().iter().map(|m| m.count).collect();
        assert_eq!(counts, [3, 3, 4, 3, 3, 1, 3], "b big f i none pair text");
        let last = reader.steps(1).unwrap();
        assert_eq!(last[0].metrics.len(), 2);
    };
    let ingest = run.ingest();
    wait("all to be durable", || producer.backlog_bytes() == 0);
    check();
    ingest.finish(Duration::from_secs(90)).unwrap();
    check();
}

#[test]
fn configs_alerts_forced_analyses_and_ends_are_recorded() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let config = br#"{"type":"config","lr":0.1}"#;
    producer
        .append_blob(Kind::Control, Flags(0), Step(0), config)
        .unwrap();
    producer
        .append_blob(
            Kind::Control,
            Flags(0),
            Step(0),
            br#"{"type":"config","lr":9}"#,
        )
        .unwrap();
    let alert = br#"{"title":"bad","text":"very","level":"ERROR","wait_duration":5}"#;
    producer
        .append_blob(Kind::Alert, Flags(0), Step(7), alert)
        .unwrap();
    let layout = floats(&producer, &["a"]);
    producer
        .append_points(Flags(Flags::FORCE_ANALYSIS), Step(8), layout, &[0])
        .unwrap();
    let ingest = run.ingest();
    wait("all to be durable", || producer.backlog_bytes() == 0);
    wait("the config", || !ingest.configs().is_empty());
    ingest.set_stop("enough");
    wait("the stop flag", || producer.should_stop());
    assert_eq!(producer.stop_reason().as_deref(), Some("enough"));
    drop(producer); // no close: it died, as far as anybody can tell once its lock is free
    drop(ingest);
    let reader = run.reader();
    assert_eq!(
        reader.config().unwrap().as_deref(),
        Some(r#"{"type":"config","lr":0.1}"#)
    );
    let alert = &reader.alerts().unwrap()[0];
    assert_eq!(
        (alert.title.as_str(), alert.level.as_str(), alert.step),
        ("bad", "ERROR", 7)
    );
    assert_eq!(alert.wait_duration_secs, 5.0);
    // A restarted ingest hands out what an earlier one stored.
    let ingest = run.ingest();
    wait("the config again", || !ingest.configs().is_empty());
}

#[test]
fn the_config_of_the_lowest_rank_speaks_for_the_attempt() {
    let run = Run::new();
    let ingest = run.ingest();
    for rank in [2u32, 0, 1] {
        let producer = run.producer("job", rank);
        let config = format!(r#"{{"type":"config","rank":{rank}}}"#);
        producer
            .append_blob(Kind::Control, Flags(0), Step(0), config.as_bytes())
            .unwrap();
        assert!(producer.close(Duration::from_secs(90)).durable);
    }
    ingest.finish(Duration::from_secs(90)).unwrap();
    let config = run.reader().config().unwrap();
    assert_eq!(config.as_deref(), Some(r#"{"type":"config","rank":0}"#));
}

#[test]
fn a_second_job_is_the_next_attempt_and_hides_the_repeated_steps() {
    let run = Run::new();
    for (attempt, steps) in [(1.0f64, 0..10i64), (2.0, 5..8)] {
        let producer = run.producer(&format!("job {attempt}"), 0);
        let layout = floats(&producer, &["loss"]);
        for step in steps {
            producer
                .append_points(Flags(0), Step(step), layout, &[attempt.to_bits()])
                .unwrap();
        }
        let ingest = run.ingest();
        assert!(producer.close(Duration::from_secs(90)).durable);
        ingest.finish(Duration::from_secs(90)).unwrap();
    }
    let reader = run.reader();
    let series = reader.series(b"loss", &SeriesOptions::default()).unwrap();
    assert_eq!(series.step, [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(series.attempt, [1, 1, 1, 1, 1, 2, 2, 2]);
    let raw = reader
        .series(
            b"loss",
            &SeriesOptions {
                raw: true,
                ..Default::default()
            },
        )
        .unwrap();
    assert_eq!(raw.step.len(), 13);
    let steps: Vec<i64> = reader.steps(4).unwrap().iter().map(|s| s.step).collect();
    assert_eq!(steps, [4, 5, 6, 7]);
    let attempts = reader.attempts().unwrap();
    assert_eq!(
        attempts
            .iter()
            .map(|a| (a.number, a.points))
            .collect::<Vec<_>>(),
        [(1, 10), (2, 3)]
    );
    assert!(attempts[1].ended.is_some());
}
