//! Ingest and store against a plain model: whatever is logged, killed and reopened, in whatever order, the
//! database holds exactly what was accepted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "model/ops.rs"]
mod ops;
#[path = "model/pictures.rs"]
mod pictures;
#[path = "model/statistics.rs"]
mod statistics;

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use common::{Run, wait};
use ops::{Logged, Op, ops};
use proptest::prelude::*;
use tm_core::store::{Cell, SeriesOptions, Values};
use tm_core::{Ingest, RunReader};
use tm_spool::{Flags, KeyId, Producer, Step, ValueType, side_slot};

const KEYS: [&str; 5] = ["loss", "acc", "val/loss", "note", "größe"];

/// What the database must hold.
#[derive(Debug, Clone)]
struct Point {
    producer: usize,
    attempt: u32,
    rank: u32,
    step: i64,
    cell: Cell,
}

struct World {
    run: Run,
    ingest: Option<Ingest>,
    producers: Vec<(Producer, u32, u32, usize)>,
    started: usize,
    job: u32,
    points: BTreeMap<usize, Vec<Point>>,
    /// Calls that were refused, which happens while no file may grow.
    rejected: u64,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            run: Run::new(),
            ingest: None,
            producers: Vec::new(),
            started: 0,
            job: 1,
            points: BTreeMap::new(),
            rejected: 0,
        };
        world.start(0, false);
        world
    }

    fn start(&mut self, rank: u32, next_job: bool) {
        if self.producers.len() >= 4 {
            return;
        }
        self.job += u32::from(next_job);
        let producer = self
            .run
            .producer_with(&format!("job {}", self.job), rank, 1 << 16);
        self.started += 1;
        self.producers
            .push((producer, self.job, rank, self.started));
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Log {
                who,
                keys,
                step,
                values,
                pairs,
                repeat,
            } if !self.producers.is_empty() => {
                let who = who % self.producers.len();
                for i in 0..i64::from(repeat) {
                    self.log(who, &keys, step + i, &values, pairs);
                }
            }
            Op::Log { .. } => {}
            Op::Start { rank, next_job } => self.start(rank, next_job),
            Op::Close { who } if !self.producers.is_empty() => {
                let who = who % self.producers.len();
                let (producer, ..) = self.producers.remove(who);
                producer.close(Duration::ZERO);
            }
            Op::Close { .. } => {}
            Op::KillIngest => drop(self.ingest.take()),
            Op::FinishIngest => {
                if let Some(ingest) = self.ingest.take() {
                    let status = ingest.finish(Duration::from_secs(90)).unwrap();
                    assert_eq!(status.last_error, None);
                }
            }
            Op::StartIngest => self.ensure_ingest(),
            Op::FailCommits if !self.producers.is_empty() => self.fail_commits(),
            Op::FailCommits => {}
            Op::Compare => self.compare(),
        }
    }

    fn ensure_ingest(&mut self) {
        if self.ingest.is_none() {
            self.ingest = Some(self.run.ingest());
        }
    }

    fn log(&mut self, who: usize, keys: &[usize], step: i64, values: &[Logged], pairs: bool) {
        let (producer, attempt, rank, number) = &self.producers[who];
        let ids: Vec<KeyId> = keys
            .iter()
            .map(|k| producer.key(KEYS[*k].as_bytes()).unwrap())
            .collect();
        let (mut slots, mut types, mut side) = (Vec::new(), Vec::new(), Vec::new());
        for key in keys {
            let mut aside = |bytes: &[u8]| {
                side.extend_from_slice(bytes);
                side_slot((side.len() - bytes.len()) as u32, bytes.len() as u32)
            };
            let (slot, kind) = match &values[*key] {
                Logged::Float(bits) => (*bits, ValueType::F64),
                Logged::Int(v) => (*v as u64, ValueType::I64),
                Logged::Bool(v) => (u64::from(*v), ValueType::Bool),
                Logged::Big(v) => (aside(v.as_bytes()), ValueType::BigInt),
                Logged::None => (0, ValueType::None),
                Logged::Text(v) => (aside(v.as_bytes()), ValueType::Text),
            };
            slots.push(slot);
            types.push(kind);
        }
        let typed = types.iter().any(|t| *t != ValueType::F64);
        let (flags, at) = (Flags(0), Step(step));
        let accepted = if pairs {
            producer.append_pairs(flags, at, &ids, &slots, typed.then_some(&types[..]), &side)
        } else {
            let layout = producer.layout(&ids).unwrap();
            if typed {
                producer.append_typed(flags, at, layout, &slots, &types, &side)
            } else {
                producer.append_points(flags, at, layout, &slots)
            }
        };
        self.rejected += u64::from(accepted.is_err());
        if accepted.is_ok() {
            for key in keys {
                let cell = values[*key].cell();
                let point = Point {
                    producer: *number,
                    attempt: *attempt,
                    rank: *rank,
                    step,
                    cell,
                };
                self.points.entry(*key).or_default().push(point);
            }
        }
    }

    fn fail_commits(&mut self) {
        self.ensure_ingest();
        let values = vec![Logged::Float(1.5f64.to_bits()); KEYS.len()];
        // The definitions need a file that grows; the frames after them do not.
        self.log(0, &[0, 1], 1, &values, false);
        limit_files("1:");
        for step in 2..50 {
            self.log(0, &[0, 1], step, &values, false);
        }
        let ingest = self.ingest.as_ref().unwrap();
        wait("a commit to fail", || ingest.status().last_error.is_some());
        limit_files("unlimited:");
    }

    fn told_rejections(&self, reader: &RunReader) -> u64 {
        let gaps = reader.gaps().unwrap();
        assert!(gaps.iter().all(|g| g.reason == "rejected"), "{gaps:?}");
        gaps.iter().filter_map(|g| g.frames_lost).sum()
    }

    fn end(&mut self) {
        while !self.producers.is_empty() {
            self.apply(Op::Close { who: 0 });
        }
        self.compare();
        self.apply(Op::FinishIngest);
        assert_eq!(self.told_rejections(&self.run.reader()), self.rejected);
    }

    fn compare(&mut self) {
        self.ensure_ingest();
        let alive = self.producers.len();
        wait("everything to be durable", || {
            let left = tm_spool::producer_dirs(self.run.path()).unwrap();
            left.len() == alive && self.producers.iter().all(|p| p.0.backlog_bytes() == 0)
        });
        let reader = self.run.reader();
        // The last ones are told by the next frame, or by the end of the producer.
        let told = self.told_rejections(&reader);
        assert!(told <= self.rejected, "{told} of {}", self.rejected);
        let total: usize = self.points.values().map(Vec::len).sum();
        assert_eq!(reader.counts().unwrap().points, total as u64);
        for (key, points) in &self.points {
            compare_raw(&reader, KEYS[*key], points);
            compare_merged(&reader, KEYS[*key], points);
            statistics::compare(&reader, KEYS[*key], points);
            pictures::compare(&reader, KEYS[*key]);
        }
        let counts: BTreeMap<Vec<u8>, u64> = reader
            .metrics()
            .unwrap()
            .into_iter()
            .map(|m| (m.name, m.count))
            .collect();
        let expected = self
            .points
            .iter()
            .map(|(k, p)| (KEYS[*k].as_bytes().to_vec(), p.len() as u64));
        assert_eq!(counts, expected.collect());
    }
}

/// Bits, not numbers: NaN payloads and the sign of zero count.
fn bits(cell: &Cell) -> String {
    match cell {
        Cell::F64(v) => format!("{:016x}", v.to_bits()),
        other => format!("{other:?}"),
    }
}

fn cells(values: &Values) -> Vec<String> {
    match values {
        Values::F64(v) => v.iter().map(|v| bits(&Cell::F64(*v))).collect(),
        Values::Mixed(v) => v.iter().map(bits).collect(),
    }
}

type Shown = (i64, u32, u32, String);

fn read(reader: &RunReader, key: &str, raw: bool) -> Vec<Shown> {
    let options = SeriesOptions {
        raw,
        ..SeriesOptions::default()
    };
    let series = reader.series(key.as_bytes(), &options).unwrap();
    let place = series.step.iter().zip(&series.rank).zip(&series.attempt);
    place
        .zip(cells(&series.value))
        .map(|(((s, r), a), c)| (*s, *r, *a, c))
        .collect()
}

fn show(point: &Point) -> Shown {
    (point.step, point.rank, point.attempt, bits(&point.cell))
}

fn compare_raw(reader: &RunReader, key: &str, points: &[Point]) {
    let mut expected: Vec<&Point> = points.iter().collect();
    expected.sort_by_key(|p| p.attempt);
    let expected: Vec<Shown> = expected.into_iter().map(show).collect();
    assert_eq!(read(reader, key, true), expected, "raw {key}");
}

fn compare_merged(reader: &RunReader, key: &str, points: &[Point]) {
    let mut firsts: BTreeMap<u32, i64> = BTreeMap::new();
    for point in points {
        let first = firsts.entry(point.attempt).or_insert(point.step);
        *first = point.step.min(*first);
    }
    let mut last: BTreeMap<(i64, u32), &Point> = BTreeMap::new();
    for point in points {
        let hidden = firsts
            .iter()
            .any(|(a, first)| *a > point.attempt && point.step >= *first);
        let known = last.get(&(point.step, point.rank));
        if !hidden && known.is_none_or(|known| known.attempt <= point.attempt) {
            last.insert((point.step, point.rank), point);
        }
    }
    let expected: Vec<Shown> = last.into_values().map(show).collect();
    assert_eq!(read(reader, key, false), expected, "merged {key}");
    let since = SeriesOptions {
        since: Some(10),
        rank: Some(1),
        ..SeriesOptions::default()
    };
    let series = reader.series(key.as_bytes(), &since).unwrap();
    let part = expected.iter().filter(|p| p.0 >= 10 && p.1 == 1);
    assert_eq!(
        cells(&series.value),
        part.map(|p| p.3.clone()).collect::<Vec<_>>()
    );
}

/// How far files of this process may grow from now on.
fn limit_files(bytes: &str) {
    let mut set = Command::new("prlimit");
    set.args(["--pid", &std::process::id().to_string()]);
    assert!(
        set.arg(format!("--fsize={bytes}"))
            .status()
            .unwrap()
            .success()
    );
}

fn hold_what_was_accepted(ops: Vec<Op>) {
    let mut world = World::new();
    for op in ops {
        world.apply(op);
    }
    world.compare();
    world.apply(Op::FinishIngest);
    world.compare();
    world.end();
}

/// In a process of its own, where a file that may not grow is an error and no signal.
#[test]
fn the_database_holds_what_was_accepted_though_commits_fail() {
    let status = Command::new("sh")
        .args([
            "-c",
            "prlimit >&2 || exit 77; trap '' XFSZ; exec \"$@\"",
            "sh",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inner_commits_fail", "--nocapture"])
        .env("TM_FAILING", "1")
        .status();
    match status.map(|s| s.code()) {
        Ok(Some(0)) => {}
        Ok(Some(77)) | Err(_) => eprintln!("skipped: no prlimit here"),
        other => panic!("{other:?}"),
    }
}

/// As many cases as `PROPTEST_CASES` asks for.
fn config(cases: u32, max_shrink_iters: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok();
    ProptestConfig {
        cases: asked.and_then(|n| n.parse().ok()).unwrap_or(cases),
        max_shrink_iters,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(40, 200))]
    #[test]
    fn the_database_holds_what_was_accepted(ops in ops(0)) {
        hold_what_was_accepted(ops);
    }
}

proptest! {
    #![proptest_config(config(10, 50))]
    #[test]
    #[ignore = "run by the test above in a process of its own"]
    fn inner_commits_fail(ops in ops(3)) {
        if std::env::var_os("TM_FAILING").is_some() {
            hold_what_was_accepted(ops);
        }
    }
}
