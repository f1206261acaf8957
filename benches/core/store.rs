//! How fast do points become durable and sealed, and how fast do they come back? `make bench-core`
//!
//! Prints Markdown, with the budget beside what has one. Reads are the median of nine, on the page cache.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

use tm_core::store::{QueryOptions, SeriesOptions};
use tm_core::{Ingest, IngestOptions, RunReader};
use tm_spool::{Flags, LayoutId, Producer, ProducerOptions, Step};

const KEYS: usize = 10;
const STEPS: i64 = 1_000_000;
const LAYOUTS: usize = 100;
/// Just below the number at which a group is sealed, so that all of them are open at the end.
const OPEN_FRAMES: i64 = 1_000;
const ROUNDS: usize = 9;
const PATIENCE: Duration = Duration::from_secs(120);
const READ_MS: f64 = 20.0;
const QUERY_MS: f64 = 500.0;
const VIEW_MS: f64 = 10.0;

fn producer(run_dir: &Path) -> Producer {
    Producer::create(ProducerOptions {
        node_limit_bytes: 8 << 30,
        ..ProducerOptions::alone(run_dir, "bench")
    })
    .unwrap()
}

fn layout(producer: &Producer, number: usize) -> LayoutId {
    let keys: Vec<_> = (0..KEYS)
        .map(|key| format!("metric{}", number * KEYS + key))
        .map(|name| producer.key(name.as_bytes()).unwrap())
        .collect();
    producer.layout(&keys).unwrap()
}

/// Noisy values around one, so that compression has real work; the same in every run of the bench.
fn noisy_frames() -> Vec<[u64; KEYS]> {
    let mut state = 5u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (1.0 + 0.1 * (state >> 11) as f64 / (1u64 << 53) as f64).to_bits()
    };
    (0..997).map(|_| std::array::from_fn(|_| noise())).collect()
}

fn append(producer: &Producer, layout: LayoutId, step: i64, slots: &[u64]) {
    while producer
        .append_points(Flags(0), Step(step), layout, slots)
        .is_err()
    {
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Record the run that is read afterwards: M points/s until durable, and until sealed and closed.
fn ingest(run_dir: &Path) -> (f64, f64) {
    let producer = producer(run_dir);
    let layout = layout(&producer, 0);
    let frames = noisy_frames();
    let ingest = Ingest::start(run_dir, IngestOptions::default()).unwrap();
    let started = Instant::now();
    for (step, slots) in (0..STEPS).zip(frames.iter().cycle()) {
        append(&producer, layout, step, slots);
    }
    assert!(producer.close(PATIENCE).durable);
    let durable = started.elapsed();
    ingest.finish(PATIENCE).unwrap();
    let points = STEPS as f64 * KEYS as f64 / 1e6;
    (
        points / durable.as_secs_f64(),
        points / started.elapsed().as_secs_f64(),
    )
}

/// Leave many groups open, then close: M points/s of sealing alone.
fn seal(run_dir: &Path) -> f64 {
    let producer = producer(run_dir);
    let layouts: Vec<_> = (0..LAYOUTS).map(|at| layout(&producer, at)).collect();
    let frames = noisy_frames();
    let ingest = Ingest::start(run_dir, IngestOptions::default()).unwrap();
    for (step, slots) in (0..OPEN_FRAMES).zip(frames.iter().cycle()) {
        for layout in &layouts {
            append(&producer, *layout, step, slots);
        }
    }
    let points = OPEN_FRAMES as u64 * (LAYOUTS * KEYS) as u64;
    while ingest.status().durable_points < points {
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = Instant::now();
    assert!(producer.close(PATIENCE).durable);
    ingest.finish(PATIENCE).unwrap();
    points as f64 / 1e6 / started.elapsed().as_secs_f64()
}

/// Milliseconds, the median of all rounds.
fn timed(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

fn read(reader: &RunReader, max_points: Option<usize>) {
    let options = SeriesOptions {
        max_points,
        ..SeriesOptions::default()
    };
    let series = reader.series(b"metric3", &options).unwrap();
    assert_eq!(series.step.len() > 100_000, max_points.is_none());
    black_box(series);
}

fn query(reader: &RunReader, sql: &str) {
    black_box(reader.query(sql, QueryOptions::default()).unwrap());
}

fn reads(run_dir: &Path) {
    let reader = RunReader::open(run_dir).unwrap();
    let scan = "SELECT avg(value), max(step) FROM points WHERE key = 'metric3'";
    let window =
        "SELECT avg(value) FROM points WHERE key = 'metric3' AND step BETWEEN 5000 AND 5999";
    println!("| reading | ms | budget, ms | |\n| --- | ---: | ---: | --- |");
    row(
        "1 M points of one key",
        timed(|| read(&reader, None)),
        Some(READ_MS),
    );
    row(
        "the same, opened anew",
        timed(|| read(&RunReader::open(run_dir).unwrap(), None)),
        None,
    );
    row(
        "2,000 of them, spikes kept",
        timed(|| read(&reader, Some(2_000))),
        Some(VIEW_MS),
    );
    row(
        "`query` over 1 M points of one key",
        timed(|| query(&reader, scan)),
        Some(QUERY_MS),
    );
    row(
        "`query` over 1,000 steps of one key",
        timed(|| query(&reader, window)),
        None,
    );
}

fn row(what: &str, ms: f64, budget: Option<f64>) {
    match budget {
        Some(budget) => {
            let verdict = if ms <= budget { "hit" } else { "MISS" };
            println!("| {what} | {ms:.2} | {budget} | {verdict} |");
        }
        None => println!("| {what} | {ms:.2} | | |"),
    }
}

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("a debug build measures nothing: run cargo bench");
        std::process::exit(1);
    }
    let run = tempfile::tempdir_in(".").unwrap();
    let other = tempfile::tempdir_in(".").unwrap();
    println!("### The store, from Rust\n");
    println!("| writing, noisy float64 | M points/s |\n| --- | ---: |");
    let (durable, sealed) = ingest(run.path());
    println!("| 10 M points of {KEYS} keys, until durable | {durable:.2} |");
    println!("| the same, until sealed and closed | {sealed:.2} |");
    let rate = seal(other.path());
    println!("| sealing and closing {LAYOUTS} open groups of {OPEN_FRAMES} frames | {rate:.2} |\n");
    reads(run.path());
}
