//! A run in a temporary directory, with real producers and a real ingest.

#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::time::{Duration, Instant};

use tm_core::store::{Datum, QueryOptions, Table};
use tm_core::{Ingest, IngestOptions, RunReader};
use tm_spool::{Flags, KeyId, LayoutId, Producer, ProducerOptions, Step};

/// A run directory that goes with the test.
pub struct Run {
    dir: tempfile::TempDir,
}

impl Run {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn producer(&self, job_key: &str, rank: u32) -> Producer {
        self.producer_with(job_key, rank, 8 << 20)
    }

    pub fn producer_with(&self, job_key: &str, rank: u32, lane_bytes: u64) -> Producer {
        Self::producer_in(self.path(), job_key, rank, lane_bytes)
    }

    pub fn producer_in(run_dir: &Path, job_key: &str, rank: u32, lane_bytes: u64) -> Producer {
        Producer::create(ProducerOptions {
            rank,
            local_rank: rank,
            world: rank + 1,
            local_world: rank + 1,
            lane_bytes,
            ..ProducerOptions::alone(run_dir, job_key)
        })
        .unwrap()
    }

    pub fn ingest(&self) -> Ingest {
        Ingest::start(self.path(), IngestOptions::default()).unwrap()
    }

    pub fn reader(&self) -> RunReader {
        RunReader::open(self.path()).unwrap()
    }
}

/// What a question in SQL finds.
pub fn ask(reader: &RunReader, sql: &str) -> Table {
    reader
        .query(sql, QueryOptions::default())
        .unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// What a question finds that has one answer.
pub fn one(reader: &RunReader, sql: &str) -> Datum {
    ask(reader, sql).rows[0][0].clone()
}

/// A layout of these keys.
pub fn floats(producer: &Producer, names: &[&str]) -> LayoutId {
    let keys: Vec<KeyId> = names
        .iter()
        .map(|name| producer.key(name.as_bytes()).unwrap())
        .collect();
    producer.layout(&keys).unwrap()
}

/// Wait until something is true; a test that waits too long fails.
pub fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < deadline, "waited 20 s for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Two keys, 200,000 steps: several chunks and many groups.
pub fn long_run() -> Run {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss", "lr"]);
    let ingest = run.ingest();
    for step in 0..200_000i64 {
        let slots = [(step as f64).to_bits(), 0.5f64.to_bits()];
        while producer
            .append_points(Flags(0), Step(step), layout, &slots)
            .is_err()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(producer.close(Duration::from_secs(90)).durable);
    ingest.finish(Duration::from_secs(90)).unwrap();
    run
}
