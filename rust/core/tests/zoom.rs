//! Pictures of long series: few rows are read, no spike is lost, and merging is respected.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::{Run, floats, wait};
use tm_core::store::{Datum, RunReader, Series, SeriesOptions, Values};
use tm_core::{Ingest, IngestOptions};
use tm_spool::{Flags, LayoutId, Producer, Step};

const STEPS: i64 = 100_000;

fn append(producer: &Producer, layout: LayoutId, step: i64, values: &[f64]) {
    let slots: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
    while producer
        .append_points(Flags(0), Step(step), layout, &slots)
        .is_err()
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn finish(producer: Producer) {
    assert!(producer.close(Duration::from_secs(60)).durable);
}

/// A smooth curve with four spikes.
fn value(step: i64) -> f64 {
    match step {
        33_333 => 1e6,
        44_444 => -1e6,
        55_555 => f64::NAN,
        66_666 => f64::INFINITY,
        _ => (step as f64 / 5000.0).sin(),
    }
}

fn logged() -> Run {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss", "lr"]);
    let ingest = run.ingest();
    for step in 0..STEPS {
        append(&producer, layout, step, &[value(step), 0.5]);
    }
    finish(producer);
    ingest.finish(Duration::from_secs(60)).unwrap();
    run
}

fn number(reader: &RunReader, sql: &str) -> i64 {
    match reader.query(sql, Default::default()).unwrap().rows[0][0] {
        Datum::Integer(number) => number,
        ref other => panic!("{sql}: {other:?}"),
    }
}

fn thinned(reader: &RunReader, key: &str, most: usize, since: Option<i64>) -> Series {
    let options = SeriesOptions {
        since,
        max_points: Some(most),
        ..SeriesOptions::default()
    };
    reader.series(key.as_bytes(), &options).unwrap()
}

fn floats_of(series: &Series) -> &[f64] {
    match &series.value {
        Values::F64(values) => values,
        Values::Mixed(_) => panic!("all are floats"),
    }
}

fn check_spikes(series: &Series, most: usize) {
    assert!(series.step.len() <= most, "{}", series.step.len());
    assert!(series.step.is_sorted());
    for (step, found) in series.step.iter().zip(floats_of(series)) {
        assert_eq!(
            found.to_bits(),
            value(*step).to_bits(),
            "the value of step {step}"
        );
    }
    for spike in [0, 33_333, 44_444, 55_555, 66_666, STEPS - 1] {
        assert!(series.step.contains(&spike), "step {spike} is shown");
    }
}

#[test]
fn a_picture_of_any_width_shows_every_spike_at_its_step() {
    let run = logged();
    let reader = run.reader();
    assert!(number(&reader, "SELECT count(*) FROM rollup WHERE level = 2") > 0);
    for most in [20, 100, 1000, 10_000] {
        check_spikes(&thinned(&reader, "loss", most, None), most);
    }
    let zoom = reader.zoom(b"loss", 50, &SeriesOptions::default()).unwrap();
    assert!(zoom.len() <= 50 && zoom.len() >= 10, "{}", zoom.len());
    assert_eq!(zoom.iter().map(|s| s.count).sum::<u64>(), STEPS as u64);
    assert_eq!(zoom.iter().map(|s| s.non_finite).sum::<u64>(), 2);
    assert_eq!(zoom.iter().filter_map(|s| s.max).fold(0.0, f64::max), 1e6);
    assert_eq!(zoom.first().unwrap().steps.0, 0);
    assert_eq!(zoom.last().unwrap().steps.1, STEPS - 1);
}

#[test]
fn a_picture_from_a_step_on_shows_nothing_before_it() {
    let run = logged();
    let part = thinned(&run.reader(), "loss", 100, Some(40_001));
    assert_eq!(part.step[0], 40_001);
    assert!(part.step.contains(&44_444) && part.step.contains(&66_666));
}

#[test]
fn what_a_later_attempt_replaced_is_in_no_picture() {
    let run = Run::new();
    let ingest = run.ingest();
    for (job, from, to, level) in [("a", 0, 40_000, 1.0), ("b", 30_000, 60_000, 2.0)] {
        let producer = run.producer(job, 0);
        let layout = floats(&producer, &["loss"]);
        for step in from..to {
            let spike = if step == 35_000 { 100.0 } else { 0.0 };
            append(&producer, layout, step, &[level + spike]);
        }
        finish(producer);
    }
    ingest.finish(Duration::from_secs(60)).unwrap();
    let reader = run.reader();
    let shown = thinned(&reader, "loss", 60, None);
    for (step, value) in shown.step.iter().zip(floats_of(&shown)) {
        let level = if *step < 30_000 { 1.0 } else { 2.0 };
        assert_eq!(*value, level + if *step == 35_000 { 100.0 } else { 0.0 });
    }
    assert!(shown.step.contains(&35_000));
    let zoom = reader.zoom(b"loss", 10, &SeriesOptions::default()).unwrap();
    assert_eq!(zoom.iter().map(|s| s.count).sum::<u64>(), 60_000);
}

#[test]
fn a_step_logged_again_later_replaces_the_first_value_in_a_picture() {
    let run = Run::new();
    let ingest = run.ingest();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss"]);
    for step in 0..30_000 {
        append(
            &producer,
            layout,
            step,
            &[if step == 5000 { 1e9 } else { 0.0 }],
        );
    }
    append(&producer, layout, 5000, &[7.0]);
    finish(producer);
    ingest.finish(Duration::from_secs(60)).unwrap();
    let shown = thinned(&run.reader(), "loss", 50, None);
    let at = shown.step.iter().position(|step| *step == 5000).unwrap();
    assert_eq!(floats_of(&shown)[at], 7.0);
    assert!(!floats_of(&shown).contains(&1e9));
}

#[test]
fn ranks_side_by_side_are_all_in_the_picture() {
    let run = Run::new();
    let ingest = run.ingest();
    let ranks: Vec<Producer> = (0..3).map(|rank| run.producer("job", rank)).collect();
    let layouts: Vec<LayoutId> = ranks.iter().map(|p| floats(p, &["loss"])).collect();
    for step in 0..20_000 {
        for (rank, producer) in ranks.iter().enumerate() {
            let spike = if step == 1000 * (rank as i64 + 1) {
                50.0
            } else {
                0.0
            };
            append(producer, layouts[rank], step, &[rank as f64 + spike]);
        }
    }
    ranks.into_iter().for_each(finish);
    ingest.finish(Duration::from_secs(60)).unwrap();
    let shown = thinned(&run.reader(), "loss", 200, None);
    assert!(shown.step.len() <= 200);
    for rank in 0..3u32 {
        let spike =
            |at: &usize| shown.rank[*at] == rank && shown.step[*at] == 1000 * (i64::from(rank) + 1);
        assert!(
            (0..shown.step.len()).any(|at| spike(&at)),
            "the spike of rank {rank}"
        );
    }
}

#[test]
fn compaction_changes_no_answer_and_leaves_few_groups() {
    let run = Run::new();
    let options = || IngestOptions {
        idle_seal: Duration::from_millis(20),
        ..IngestOptions::default()
    };
    let mut ingest = Ingest::start(run.path(), options()).unwrap();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss", "lr"]);
    let rare = floats(&producer, &["eval"]);
    for step in 0..12_000 {
        append(&producer, layout, step, &[value(step), 0.5]);
        if step % 400 == 0 {
            append(&producer, rare, step, &[step as f64]);
            wait("small groups", || producer.backlog_bytes() == 0);
        }
        if step == 6000 {
            // Killed, and started again: what it held in memory is gone.
            drop(ingest);
            ingest = Ingest::start(run.path(), options()).unwrap();
        }
    }
    let before = number(&run.reader(), "SELECT count(*) FROM groups");
    assert!(before > 10, "{before}");
    finish(producer);
    let loose = "SELECT count(*) FROM groups WHERE compacted = 0 OR rollup_grp = 0";
    wait("compaction", || number(&run.reader(), loose) == 0);
    let reader = run.reader();
    let after = number(&reader, "SELECT count(*) FROM groups");
    assert!(after < before, "{after} of {before}");
    let eval = "SELECT count(*) FROM cols JOIN keys ON keys.id = key WHERE name = 'eval'";
    assert!(number(&reader, eval) <= 3);
    let check = |reader: &RunReader| {
        let loss = reader.series(b"loss", &SeriesOptions::default()).unwrap();
        assert_eq!(loss.step, (0..12_000).collect::<Vec<i64>>());
        let same = |(step, found): (i64, &f64)| found.to_bits() == value(step).to_bits();
        assert!((0..).zip(floats_of(&loss)).all(same));
        let eval = reader.series(b"eval", &SeriesOptions::default()).unwrap();
        assert_eq!(eval.step.len(), 30);
        let shown = thinned(reader, "loss", 30, None);
        assert!(shown.step.len() <= 30 && shown.step.contains(&11_999));
        let zoom = reader.zoom(b"loss", 10, &SeriesOptions::default()).unwrap();
        assert_eq!(zoom.iter().map(|s| s.count).sum::<u64>(), 12_000);
        assert_eq!(reader.statistics(b"loss").unwrap().statistics.count, 12_000);
    };
    check(&reader);
    ingest.finish(Duration::from_secs(60)).unwrap();
    check(&run.reader());
}
