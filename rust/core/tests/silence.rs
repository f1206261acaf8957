//! Steps that stop coming, with a real producer and a real ingest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Run, floats, wait};
use tm_core::{Ingest, IngestOptions};
use tm_spool::{Flags, LayoutId, Producer, Step};

fn log(producer: &Producer, layout: LayoutId, step: i64) {
    producer
        .append_points(Flags(0), Step(step), layout, &[1.0f64.to_bits()])
        .unwrap();
}

/// What was found about the steps, the oldest first.
fn told(run: &Run) -> Vec<(String, String)> {
    let findings = run.reader().findings().unwrap();
    let rows = findings.iter().map(|row| {
        let detail: serde_json::Value = serde_json::from_str(&row.detail).unwrap();
        let text = |field: &str| detail[field].as_str().unwrap().to_owned();
        assert_eq!(text("source"), "steps");
        (text("finding"), text("text"))
    });
    rows.collect()
}

/// Much longer than this test sleeps between two steps, on a slow machine too.
const LEAST: Duration = Duration::from_secs(4);

#[test]
fn steps_that_stop_are_told_once_and_that_they_come_again_too() {
    let run = Run::new();
    let (slow, quick) = (run.producer("job", 1), run.producer("job", 0));
    let layouts = [&slow, &quick].map(|producer| floats(producer, &["loss"]));
    let options = || IngestOptions {
        stuck_after: LEAST,
        ..IngestOptions::default()
    };
    let ingest = Ingest::start(run.path(), options()).unwrap();
    // Rank 1 hangs one step before the last one of rank 0, which waits for it.
    for step in 0..30 {
        log(&quick, layouts[1], step);
        if step < 29 {
            log(&slow, layouts[0], step);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    wait("the stall to be told", || told(&run).len() == 1);
    let (name, text) = told(&run)[0].clone();
    assert_eq!(name, "stuck");
    assert!(
        text.ends_with("rank 1 at step 28, the furthest at step 29"),
        "{text}"
    );
    // Another monitor finds the same stall, does not tell of it again, and tells of the end of it.
    drop(ingest);
    let ingest = Ingest::start(run.path(), options()).unwrap();
    log(&slow, layouts[0], 29);
    log(&quick, layouts[1], 30);
    wait("the end of it to be told", || told(&run).len() == 2);
    assert_eq!(told(&run)[1].0, "over");
    for producer in [slow, quick] {
        assert!(producer.close(Duration::from_secs(90)).durable);
    }
    ingest.finish(Duration::from_secs(90)).unwrap();
    assert_eq!(told(&run).len(), 2, "{:?}", told(&run));
}

#[test]
fn a_silence_that_began_before_this_monitor_is_told_and_none_of_long_ago() {
    for (age, is_told) in [(Duration::from_secs(3600), true), (Duration::ZERO, false)] {
        let run = Run::new();
        let producer = run.producer("job", 0);
        let layout = floats(&producer, &["loss"]);
        let first = Ingest::start(run.path(), IngestOptions::default()).unwrap();
        for step in 0..30 {
            log(&producer, layout, step);
            std::thread::sleep(Duration::from_millis(5));
        }
        wait("all of it to be durable", || {
            first.status().durable_points == 30
        });
        // As if killed.
        drop(first);
        let options = IngestOptions {
            stuck_after: LEAST,
            recovery_max_age: age,
            ..IngestOptions::default()
        };
        let second = Ingest::start(run.path(), options).unwrap();
        if is_told {
            wait("the silence to be told", || told(&run).len() == 1);
            assert!(second.status().stuck_ns.is_some());
        } else {
            // Long enough for it to be told if its pace were known.
            std::thread::sleep(2 * LEAST);
            assert_eq!(second.status().stuck_ns, None);
        }
        assert!(producer.close(Duration::from_secs(90)).durable);
        second.finish(Duration::from_secs(90)).unwrap();
        assert_eq!(told(&run).len(), usize::from(is_told) * 2);
    }
}
