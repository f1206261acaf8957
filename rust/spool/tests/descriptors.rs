//! A process that has no descriptor left cannot see who lives, and must not take that for a death.

#![allow(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tm_spool::{
    CHILD_LANE_BYTES, Flags, LaneId, Life, Lsn, Producer, ProducerOptions, ProducerReader, Step,
    frames,
};

/// Longer than a look at the life of a producer is believed.
const LIFE_AGE: Duration = Duration::from_millis(60);
const STEPS: i64 = 10_000;

/// The limit is that of the process: one test at a time.
static LIMIT: Mutex<()> = Mutex::new(());

/// All descriptors that are left, until it is dropped.
struct Hoard {
    _files: Vec<File>,
}

impl Hoard {
    fn take() -> Self {
        let mut limit = libc::rlimit {
            rlim_cur: 64,
            rlim_max: 0,
        };
        // SAFETY: both calls only read or fill `limit`.
        unsafe {
            let mut now = limit;
            assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut now), 0);
            limit.rlim_max = now.rlim_max;
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        }
        let mut files = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            files.push(file);
        }
        assert!(!files.is_empty());
        Self { _files: files }
    }
}

fn producer(run: &Path) -> Producer {
    Producer::create(ProducerOptions {
        lane_bytes: CHILD_LANE_BYTES,
        ..ProducerOptions::alone(run, "descriptors")
    })
    .unwrap()
}

fn log(producer: &Producer, steps: std::ops::Range<i64>) {
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    for step in steps {
        let step = Step(step);
        producer
            .append_points(Flags(0), step, layout, &[1])
            .unwrap();
    }
}

/// Run by the tests below in a process of its own: it logs, says so, and waits for the end of its input.
#[test]
#[ignore = "a trainer for the other tests"]
fn inner_trainer() {
    let Some(run) = std::env::var_os("TM_TRAINER_RUN") else {
        return;
    };
    let producer = producer(Path::new(&run));
    log(&producer, 0..STEPS);
    File::create(Path::new(&run).join("logged")).unwrap();
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

fn trainer(run: &Path) -> Child {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inner_trainer"])
        .env("TM_TRAINER_RUN", run)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let patience = Instant::now() + Duration::from_secs(20);
    while !run.join("logged").exists() {
        assert!(Instant::now() < patience);
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn only_dir(run: &Path) -> PathBuf {
    let dirs = tm_spool::producer_dirs(run).unwrap();
    assert_eq!(dirs.len(), 1);
    dirs[0].clone()
}

fn read(reader: &mut ProducerReader, lane: LaneId) -> Vec<i64> {
    let mut got = Vec::new();
    loop {
        let read = reader.read(lane, 16 << 10).unwrap();
        assert!(read.gap.is_none(), "{:?}", read.gap);
        let Some(batch) = read.batch else { return got };
        got.extend(frames(&batch.bytes, batch.first).map(|f| f.step.0));
    }
}

#[test]
fn a_producer_lives_until_its_death_is_proved() {
    let _alone = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let run = tempfile::tempdir().unwrap();
    let mut child = trainer(run.path());
    // Waiting for the child would close it, and leave a descriptor to look with.
    let stdin = child.stdin.take();
    let mut reader = ProducerReader::open(&only_dir(run.path())).unwrap();
    let hoard = Hoard::take();
    std::thread::sleep(LIFE_AGE);
    assert_eq!(reader.life(), Life::Alive);
    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::sleep(LIFE_AGE);
    assert_eq!(reader.life(), Life::Alive, "nobody could look");
    drop((hoard, stdin));
    std::thread::sleep(LIFE_AGE);
    assert_eq!(reader.life(), Life::Dead);
}

#[test]
fn a_chain_file_that_cannot_be_opened_now_is_not_damage() {
    let _alone = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let run = tempfile::tempdir().unwrap();
    let mut child = trainer(run.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let mut reader = ProducerReader::open(&only_dir(run.path())).unwrap();
    let lane = reader.lanes()[0];
    assert_eq!(reader.life(), Life::Dead);
    assert!(reader.set_mark(lane, Lsn(0)).unwrap().is_none());
    let hoard = Hoard::take();
    let mut got = read(&mut reader, lane);
    assert!((1..STEPS as usize).contains(&got.len()), "{}", got.len());
    assert!(!reader.drained().unwrap());
    drop(hoard);
    got.extend(read(&mut reader, lane));
    assert_eq!(got, (0..STEPS).collect::<Vec<_>>());
    assert!(reader.drained().unwrap());
}

#[test]
fn a_lane_whose_place_cannot_be_found_now_is_placed_later() {
    let _alone = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
    let run = tempfile::tempdir().unwrap();
    let mut child = trainer(run.path());
    let dir = only_dir(run.path());
    let mut reader = ProducerReader::open(&dir).unwrap();
    let lane = reader.lanes()[0];
    reader.set_mark(lane, Lsn(0)).unwrap();
    let first = reader.read(lane, 512 << 10).unwrap().batch.unwrap();
    let mark = reader.position(lane).unwrap();
    drop(reader);
    let mut reader = ProducerReader::open(&dir).unwrap();
    reader.lanes();
    let hoard = Hoard::take();
    reader.set_mark(lane, mark).unwrap_err();
    drop(hoard);
    assert!(reader.set_mark(lane, mark).unwrap().is_none());
    let done = frames(&first.bytes, first.first).count() as i64;
    assert_eq!(read(&mut reader, lane), (done..STEPS).collect::<Vec<_>>());
    child.kill().unwrap();
    child.wait().unwrap();
}
