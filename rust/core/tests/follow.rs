//! Following a run: every point once, in the order of time, whatever was sealed meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Run, floats, long_run, wait};
use tm_core::store::{Following, SeriesOptions, Thinning, Values};
use tm_core::{Ingest, RunReader};
use tm_spool::{Flags, LayoutId, Producer, Step};

/// What somebody who follows has seen of each key.
#[derive(Default)]
struct Seen {
    steps: BTreeMap<u32, Vec<i64>>,
    values: BTreeMap<u32, Vec<f64>>,
    odd: Vec<(u32, i64)>,
}

impl Seen {
    fn look(&mut self, reader: &RunReader, following: &mut Following, most: usize) -> bool {
        for (key, _) in reader.new_keys(following).unwrap() {
            if key == 1 {
                following.want(key);
            }
        }
        let followed = reader.follow(following, most).unwrap();
        for news in followed.news {
            assert!(news.times.is_sorted(), "a key of two layouts is in order");
            self.steps.entry(news.key).or_default().extend(news.steps);
            self.values.entry(news.key).or_default().extend(news.values);
        }
        let odd = followed.odd.iter().map(|odd| (odd.key, odd.step));
        self.odd.extend(odd);
        followed.more
    }
}

fn log(producer: &Producer, layout: LayoutId, step: i64, values: &[f64]) {
    let slots: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
    producer
        .append_points(Flags(0), Step(step), layout, &slots)
        .unwrap();
}

#[test]
fn every_point_is_seen_once_while_it_is_recorded_and_sealed() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let train = floats(&producer, &["loss", "lr"]);
    let both = floats(&producer, &["loss", "lr", "val"]);
    let ingest: Ingest = run.ingest();
    let mut seen = Seen::default();
    let mut following = Following::default();
    wait("a database", || RunReader::open(run.path()).is_ok());
    let reader = run.reader();
    for step in 0..6000i64 {
        let lr = if step == 4321 { f64::NAN } else { 0.1 };
        if step % 10 == 9 {
            log(&producer, both, step, &[step as f64, lr, 1.0]);
        } else {
            log(&producer, train, step, &[step as f64, lr]);
        }
        if step % 500 == 0 {
            seen.look(&reader, &mut following, 1000);
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    assert!(producer.close(Duration::from_secs(60)).durable);
    ingest.finish(Duration::from_secs(60)).unwrap();
    wait("all of it", || {
        seen.look(&reader, &mut following, 1000);
        seen.steps.get(&1).is_some_and(|steps| steps.len() >= 6000)
    });
    assert!(!seen.look(&reader, &mut following, 1000));
    // Not assert_eq: nobody wants to read all of them.
    assert!(
        seen.steps[&1].iter().copied().eq(0..6000),
        "lost, doubled or out of order"
    );
    assert!(
        seen.values[&1]
            .iter()
            .zip(0..)
            .all(|(value, step)| *value == f64::from(step))
    );
    // Of what is not wanted only that which is not finite is handed on.
    assert_eq!(seen.steps.len(), 1);
    assert_eq!(seen.odd, [(2, 4321)]);
}

#[test]
fn a_run_that_is_over_is_followed_in_pieces_and_is_the_series() {
    let run = long_run();
    let reader = run.reader();
    let mut seen = Seen::default();
    let mut following = Following::default();
    let mut looks = 1;
    while seen.look(&reader, &mut following, 20_000) {
        looks += 1;
    }
    assert!(looks > 2, "{looks} looks");
    let series = reader
        .series(
            b"loss",
            &SeriesOptions {
                raw: true,
                ..SeriesOptions::default()
            },
        )
        .unwrap();
    assert!(seen.steps[&1] == series.step);
    let Values::F64(values) = series.value else {
        panic!("floats");
    };
    assert!(seen.values[&1] == values);
}

#[test]
fn a_long_past_is_thinned_evenly_and_its_end_is_seen_whole() {
    let run = long_run();
    let reader = run.reader();
    let mut all = Seen::default();
    let mut following = Following::default();
    while all.look(&reader, &mut following, 20_000) {}
    assert_eq!(following.thinned_ns(), None);
    let count = all.steps[&1].len();
    let thinning = Thinning {
        all: 1000,
        last: 5000,
        since_ns: None,
        thinned: 2000,
    };
    let mut following = Following::new(Some(thinning));
    let mut seen = Seen::default();
    while seen.look(&reader, &mut following, 500) {}
    assert!(following.thinned_ns().is_some());
    let (steps, values) = (&seen.steps[&1], &seen.values[&1]);
    assert!(steps.is_sorted_by(|a, b| a < b), "in order, each once");
    let known: BTreeMap<i64, f64> = all.steps[&1]
        .iter()
        .copied()
        .zip(all.values[&1].iter().copied())
        .collect();
    assert!(
        steps
            .iter()
            .zip(values)
            .all(|(step, value)| known[step] == *value)
    );
    let last = &all.steps[&1][count - 5000..];
    assert!(steps.ends_with(last), "the end is whole");
    assert!(
        (5000 + 200..5000 + 20_000).contains(&steps.len()),
        "{} of {count}",
        steps.len()
    );
    // From beginning to end, and not some stretch of it.
    let past = &steps[..steps.len() - 5000];
    assert_eq!(past.first(), all.steps[&1].first());
    let quarter = all.steps[&1][count / 4];
    assert!(past.iter().any(|step| *step > quarter));
    // What is not known yet is seen whole, though it is more than that.
    let (_, until_ns) = following.thinned_ns().unwrap();
    let mut following = Following::new(Some(Thinning {
        all: 50_000,
        since_ns: Some(0),
        ..thinning
    }));
    let mut more = Seen::default();
    while more.look(&reader, &mut following, 20_000) {}
    let (_, earlier_ns) = following.thinned_ns().unwrap();
    assert!(earlier_ns < until_ns);
    // A past that is short enough is not thinned.
    let mut following = Following::new(Some(Thinning {
        all: count as u64,
        ..thinning
    }));
    let mut whole = Seen::default();
    while whole.look(&reader, &mut following, 20_000) {}
    assert!(whole.steps[&1] == all.steps[&1]);
}
