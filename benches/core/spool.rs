//! What does one append cost, and how fast is the tail reader? `cargo bench -p training-monitor-spool`
//!
//! Prints Markdown. Each figure is the median of nine rounds; the ring is drained between rounds, outside the clock.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench stops at the first surprise"
)]

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use tm_spool::{Flags, LaneId, Lsn, Mode, Producer, ProducerOptions, ProducerReader, Step, clock};

const CALLS: usize = 40_000;
const ROUNDS: usize = 9;

fn options(run_dir: &Path, mode: Mode) -> ProducerOptions {
    ProducerOptions {
        force_mode: Some(mode),
        ..ProducerOptions::alone(run_dir, "bench")
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn drain(reader: &mut ProducerReader) -> (usize, f64) {
    let started = Instant::now();
    let mut bytes = 0;
    while let Some(batch) = reader.read(LaneId(0), 1 << 20).unwrap().batch {
        bytes += batch.bytes.len();
        reader.acknowledge(LaneId(0), batch.end).unwrap();
    }
    (bytes, started.elapsed().as_secs_f64())
}

fn append_and_drain(mode: Mode, values: usize, calls: usize) -> (f64, f64) {
    let run = tempfile::tempdir_in(".").unwrap();
    let producer = Producer::create(options(run.path(), mode)).unwrap();
    let keys: Vec<_> = (0..values)
        .map(|i| producer.key(format!("k{i}").as_bytes()).unwrap())
        .collect();
    let layout = producer.layout(&keys).unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    reader.lanes();
    reader.set_mark(LaneId(0), Lsn(0)).unwrap();
    let slots: Vec<u64> = (0..values).map(|i| (i as f64).to_bits()).collect();
    let (mut appends, mut reads) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for step in 0..calls {
            producer
                .append_points(Flags(0), Step(step as i64), layout, black_box(&slots))
                .unwrap();
        }
        appends.push(started.elapsed().as_nanos() as f64 / calls as f64);
        let (bytes, secs) = drain(&mut reader);
        reads.push(bytes as f64 / secs / 1e6);
    }
    (median(appends), median(reads))
}

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("a debug build measures nothing: run cargo bench");
        std::process::exit(1);
    }
    let clock_ns = {
        let started = Instant::now();
        (0..1_000_000).for_each(|_| {
            black_box(clock::boottime_ns());
        });
        started.elapsed().as_nanos() as f64 / 1e6
    };
    println!("| case | append, ns | tail reader, MB/s |\n| --- | --- | --- |");
    println!("| one clock read | {clock_ns:.1} | |");
    for (mode, values, calls) in [
        (Mode::Mmap, 1, CALLS),
        (Mode::Mmap, 10, CALLS),
        (Mode::Mmap, 100, CALLS / 5),
        (Mode::Pwrite, 10, CALLS / 4),
    ] {
        let (append, read) = append_and_drain(mode, values, calls);
        println!("| {mode:?}, {values} values | {append:.1} | {read:.0} |");
    }
}
