//! A measurement, not a test: `cargo test --release -p training-monitor-core --test throughput -- --ignored --nocapture`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::{Run, floats, wait};
use tm_core::store::SeriesOptions;
use tm_spool::{Flags, Step};

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Kilobytes of memory this process has touched at most.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn thread_cpu(name: &str) -> f64 {
    let mut ticks = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let comm = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim() == name {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap()
                .split_whitespace()
                .collect();
            ticks += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        }
    }
    ticks as f64 / 100.0
}

fn measure(keys: usize, frames: i64, single: bool) {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let names: Vec<String> = (0..keys).map(|i| format!("metric/{i}")).collect();
    let layout = floats(
        &producer,
        &names.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let mut random = noise(5);
    let variants: Vec<Vec<u64>> = (0..997)
        .map(|_| {
            let value = |_| {
                let v = 1.0 + 0.1 * random();
                (if single { f64::from(v as f32) } else { v }).to_bits()
            };
            (0..keys).map(value).collect()
        })
        .collect();
    let ingest = run.ingest();
    let start = Instant::now();
    let mut retried = 0u64;
    for step in 0..frames {
        let slots = &variants[step as usize % variants.len()];
        while producer
            .append_points(Flags(0), Step(step), layout, slots)
            .is_err()
        {
            retried += 1;
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let logged = start.elapsed();
    let outcome = producer.close(Duration::from_secs(120));
    let closed = start.elapsed();
    assert!(outcome.durable);
    let cpu = thread_cpu("tm-ingest");
    wait("removal", || {
        tm_spool::producer_dirs(run.path()).unwrap().is_empty()
    });
    ingest.finish(Duration::from_secs(60)).unwrap();
    let all = start.elapsed();
    let points = frames as f64 * keys as f64;
    let bytes = std::fs::metadata(run.path().join("training_monitor.db"))
        .unwrap()
        .len();
    let read = || {
        let reader = run.reader();
        reader
            .series(b"metric/0", &SeriesOptions::default())
            .unwrap()
    };
    let start = Instant::now();
    let series = read();
    let first = start.elapsed();
    let start = Instant::now();
    (0..9).for_each(|_| drop(read()));
    let again = start.elapsed() / 9;
    println!(
        "{keys} keys, {} M points, f32 {single}: logged {:.2} M/s, durable {:.2} M/s, finished {:.2} M/s, \
         ingest CPU {:.0} ns/point, {:.2} B/point, retried {retried}, peak {} MiB, series of {} in {first:?}, again {again:?}",
        points / 1e6,
        points / logged.as_secs_f64() / 1e6,
        points / closed.as_secs_f64() / 1e6,
        points / all.as_secs_f64() / 1e6,
        cpu * 1e9 / points,
        bytes as f64 / points,
        peak_kib() >> 10,
        series.step.len(),
    );
    assert_eq!(series.step.len(), frames as usize);
}

#[test]
#[ignore = "a measurement"]
fn ten_floats() {
    measure(10, 1_000_000, false);
    measure(10, 1_000_000, true);
}

#[test]
#[ignore = "a measurement"]
fn ten_thousand_keys() {
    measure(10_000, 1_000, false);
}

#[test]
#[ignore = "a measurement"]
fn idle_and_slow() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["a", "b"]);
    let ingest = run.ingest();
    producer
        .append_points(Flags(0), Step(0), layout, &[0, 0])
        .unwrap();
    std::thread::sleep(Duration::from_secs(4));
    let before = thread_cpu("tm-ingest");
    std::thread::sleep(Duration::from_secs(20));
    println!(
        "idle: {:.2} % of a core",
        (thread_cpu("tm-ingest") - before) / 20.0 * 100.0
    );
    for (hz, secs) in [(1, 10), (100, 10), (1000, 10)] {
        let before = thread_cpu("tm-ingest");
        for step in 0..hz * secs {
            producer
                .append_points(Flags(0), Step(step), layout, &[0, 0])
                .unwrap();
            std::thread::sleep(Duration::from_micros(1_000_000 / hz as u64));
        }
        let used = thread_cpu("tm-ingest") - before;
        println!(
            "{hz} frames/s: {:.2} % of a core",
            used / secs as f64 * 100.0
        );
    }
    ingest.finish(Duration::from_secs(90)).unwrap();
}
