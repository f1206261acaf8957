//! What do the statistics of ingest cost beside the plain pass? `cargo bench -p training-monitor-core`
//!
//! The limit is one loop over the values that keeps count, last, least, greatest, mean and variance (Welford),
//! both averages and a table of counts by the bits of the value: no ranks, no merging, no bound of memory.
//! Prints Markdown; each figure is the best of nine rounds, taken in turns.

#![allow(
    missing_docs,
    clippy::indexing_slicing,
    reason = "a bench stops at the first surprise"
)]

use std::hint::black_box;
use std::time::Instant;

use tm_core::stats::{Fold, Folder, Place, Statistics};

const POINTS: usize = 2_000_000;
const ROUNDS: usize = 9;
const SEALED: usize = 1024;

struct Plain {
    count: u64,
    last: f64,
    least: f64,
    greatest: f64,
    mean: f64,
    squares: f64,
    short: f64,
    long: f64,
    buckets: Vec<u32>,
}

impl Plain {
    fn new() -> Self {
        Self {
            count: 0,
            last: 0.0,
            least: f64::INFINITY,
            greatest: f64::NEG_INFINITY,
            mean: 0.0,
            squares: 0.0,
            short: 0.0,
            long: 0.0,
            buckets: vec![0; 1 << 18],
        }
    }

    fn add(&mut self, value: f64) {
        self.count += 1;
        self.last = value;
        self.least = if value < self.least {
            value
        } else {
            self.least
        };
        self.greatest = if value > self.greatest {
            value
        } else {
            self.greatest
        };
        let apart = value - self.mean;
        self.mean += apart / self.count as f64;
        self.squares += apart * (value - self.mean);
        self.short += 0.1 * (value - self.short);
        self.long += 0.01 * (value - self.long);
        self.buckets[(value.to_bits() >> 46) as usize] += 1;
    }
}

fn values(series: usize) -> Vec<Vec<f64>> {
    let mut x = 88_172_645_463_325_252u64;
    let mut random = move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 11) as f64 / (1u64 << 53) as f64
    };
    let value = |step: usize, noise: f64| 2.0 / (1.0 + step as f64 / 1000.0) + 0.1 * noise;
    (0..series)
        .map(|_| {
            (0..POINTS / series)
                .map(|step| value(step, random()))
                .collect()
        })
        .collect()
}

/// Points per second.
fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    POINTS as f64 / start.elapsed().as_secs_f64()
}

fn plain(data: &[Vec<f64>]) -> f64 {
    let mut all: Vec<Plain> = data.iter().map(|_| Plain::new()).collect();
    timed(|| {
        for from in (0..data[0].len()).step_by(SEALED) {
            for (sums, values) in all.iter_mut().zip(data) {
                let to = (from + SEALED).min(values.len());
                values[from..to].iter().for_each(|value| sums.add(*value));
            }
        }
        black_box(all.iter().map(|sums| sums.squares).sum::<f64>());
    })
}

fn ours(data: &[Vec<f64>]) -> f64 {
    let mut all: Vec<Statistics> = data.iter().map(|_| Statistics::default()).collect();
    let mut folder = Folder::default();
    let place = |step: usize| Place {
        step: step as i64,
        attempt: 1,
        order_ns: step as i64,
    };
    timed(|| {
        for from in (0..data[0].len()).step_by(SEALED) {
            for (statistics, values) in all.iter_mut().zip(data) {
                let to = (from + SEALED).min(values.len());
                let stretch = Fold {
                    values: &values[from..to],
                    first: place(from),
                    last: place(to - 1),
                };
                folder.fold(statistics, &stretch);
            }
        }
        black_box(all.iter().filter_map(|s| s.moments.mean()).sum::<f64>());
    })
}

fn main() {
    if cfg!(debug_assertions) {
        eprintln!("a debug build measures nothing: run cargo bench");
        std::process::exit(1);
    }
    println!("| series | plain pass, M points/s | statistics, M points/s | share |");
    println!("| --- | --- | --- | --- |");
    for series in [1, 10, 1000] {
        let data = values(series);
        let (mut limit, mut found) = (0.0f64, 0.0f64);
        for _ in 0..ROUNDS {
            limit = limit.max(plain(&data));
            found = found.max(ours(&data));
        }
        println!(
            "| {series} | {:.0} | {:.0} | {:.0} % |",
            limit / 1e6,
            found / 1e6,
            found / limit * 100.0
        );
    }
}
