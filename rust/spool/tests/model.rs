//! The spool against a plain list: whatever is appended, read, forgotten and reopened, the list comes back.

#![allow(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tm_spool::{
    Batch, Flags, Frame, GapReason, Kind, LaneId, LayoutId, Lsn, Mode, Producer, ProducerOptions,
    ProducerReader, Step, frames,
};

const LANE_BYTES: u64 = 64 << 10;
const HEADER_BYTES: u64 = 4096;
const LANE: LaneId = LaneId(0);

#[derive(Clone, Debug)]
enum Op {
    /// So many calls of so many values.
    Append { calls: usize, values: usize },
    /// One call that needs parts, or a chain file of its own.
    AppendLarge { values: usize },
    /// Read, commit, acknowledge.
    Read { max_bytes: usize },
    /// Read, commit, and die before the acknowledgement.
    CommitThenCrash { max_bytes: usize },
    /// Read and die before the commit.
    ReadThenCrash { max_bytes: usize },
    /// A new reader from the stored mark.
    Reopen,
    /// Bytes of an append that was killed before its publish.
    TornAppend { seed: u64 },
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = 100usize..200_000;
    prop_oneof![
        4 => (1usize..400, 1usize..40).prop_map(|(calls, values)| Op::Append { calls, values }),
        1 => (1_000usize..80_000).prop_map(|values| Op::AppendLarge { values }),
        4 => bytes.clone().prop_map(|max_bytes| Op::Read { max_bytes }),
        1 => bytes.clone().prop_map(|max_bytes| Op::CommitThenCrash { max_bytes }),
        1 => bytes.prop_map(|max_bytes| Op::ReadThenCrash { max_bytes }),
        1 => Just(Op::Reopen),
        1 => any::<u64>().prop_map(|seed| Op::TornAppend { seed }),
    ]
}

fn options(run_dir: &Path, mode: Mode) -> ProducerOptions {
    ProducerOptions {
        force_mode: Some(mode),
        ..ProducerOptions::alone(run_dir, "model")
    }
}

type Row = (i64, Vec<u64>);

/// The frames of a batch without the one that `close()` writes.
fn points(batch: &Batch) -> impl Iterator<Item = Frame<'_>> {
    frames(&batch.bytes, batch.first).filter(|f| f.kind == Kind::Points)
}

struct World {
    _run: tempfile::TempDir,
    producer: Producer,
    reader: Option<ProducerReader>,
    appended: Vec<Row>,
    stored: Vec<Row>,
    mark: Lsn,
}

impl World {
    fn new(mode: Mode) -> Self {
        let run = tempfile::tempdir().unwrap();
        let producer = Producer::create(options(run.path(), mode)).unwrap();
        Self {
            _run: run,
            producer,
            reader: None,
            appended: Vec::new(),
            stored: Vec::new(),
            mark: Lsn(0),
        }
    }

    fn reader(&mut self) -> &mut ProducerReader {
        let (dir, mark) = (self.producer.dir().to_path_buf(), self.mark);
        self.reader.get_or_insert_with(|| {
            let mut reader = ProducerReader::open(&dir).unwrap();
            assert_eq!(reader.lanes(), [LANE]);
            assert_eq!(reader.set_mark(LANE, mark).unwrap(), None);
            reader
        })
    }

    fn append(&mut self, values: usize) {
        let step = self.appended.len() as i64;
        let slots: Vec<u64> = (0..values as u64)
            .map(|i| (step as u64) << 20 | i)
            .collect();
        self.producer
            .append_points(Flags(0), Step(step), LayoutId(0), &slots)
            .unwrap();
        self.appended.push((step, slots));
    }

    fn read(&mut self, max_bytes: usize, commit: bool, acknowledge: bool) {
        let read = self.reader().read(LANE, max_bytes).unwrap();
        assert_eq!(read.gap, None);
        let Some(batch) = read.batch else { return };
        if !commit {
            return;
        }
        self.stored
            .extend(points(&batch).map(|f| (f.step.0, f.slots().collect())));
        self.mark = batch.end;
        if acknowledge {
            self.reader().acknowledge(LANE, batch.end).unwrap();
        }
    }

    fn drain(&mut self) {
        while self.reader().has_next() {
            self.read(1 << 20, true, true);
        }
    }

    /// Garbage behind the zero word at the writer's position, as a killed append leaves it.
    fn tear(&mut self, seed: u64) {
        self.drain();
        let chained = std::fs::read_dir(self.producer.dir()).unwrap().flatten();
        if chained
            .into_iter()
            .any(|e| e.file_name().to_string_lossy().starts_with("lane0."))
        {
            return;
        }
        let at = self.mark.0 % LANE_BYTES;
        let room = (LANE_BYTES - at).saturating_sub(8).min(300) as usize;
        let garbage: Vec<u8> = (0..room)
            .map(|i| (seed.rotate_left(i as u32) as u8) | 1)
            .collect();
        let file = OpenOptions::new()
            .write(true)
            .open(self.producer.dir().join("lane0"))
            .unwrap();
        file.write_all_at(&garbage, HEADER_BYTES + at + 8).unwrap();
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { calls, values } => (0..calls).for_each(|_| self.append(values)),
            Op::AppendLarge { values } => self.append(values),
            Op::Read { max_bytes } => self.read(max_bytes, true, true),
            Op::CommitThenCrash { max_bytes } => {
                self.read(max_bytes, true, false);
                self.reader = None;
            }
            Op::ReadThenCrash { max_bytes } => {
                self.read(max_bytes, false, false);
                self.reader = None;
            }
            Op::Reopen => self.reader = None,
            Op::TornAppend { seed } => self.tear(seed),
        }
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(60);
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_was_appended_is_stored_once_and_in_order(ops in prop::collection::vec(op(), 1..40), pwrite in prop::bool::weighted(0.2)) {
        let mut world = World::new(if pwrite { Mode::Pwrite } else { Mode::Mmap });
        ops.iter().for_each(|op| world.apply(op));
        // The trainer and the reader are both killed: a new reader brings the rest home.
        world.producer.close(Duration::ZERO);
        world.reader = None;
        world.drain();
        prop_assert!(world.stored == world.appended, "{} stored, {} appended", world.stored.len(), world.appended.len());
        prop_assert!(world.reader().drained().unwrap());
    }

    #[test]
    fn damage_loses_frames_but_never_changes_one(
        calls in 100usize..3_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..6),
        ring_only in any::<bool>(),
    ) {
        let mut world = World::new(Mode::Mmap);
        (0..if ring_only { calls.min(500) } else { calls }).for_each(|_| world.append(5));
        world.producer.close(Duration::ZERO);
        let mut lanes: Vec<_> = std::fs::read_dir(world.producer.dir()).unwrap().flatten().map(|e| e.path())
            .filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("lane0")).collect();
        lanes.sort();
        for (index, bit) in flips {
            let path = index.get(&lanes);
            let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
            let at = HEADER_BYTES + index.index((file.metadata().unwrap().len() - HEADER_BYTES) as usize) as u64;
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
        }
        let mut lost = 0;
        let mut passes = 0;
        while world.reader().has_next() {
            let read = world.reader().read(LANE, 1 << 20).unwrap();
            if let Some(gap) = read.gap {
                prop_assert_eq!(gap.reason, GapReason::Damaged);
                lost += gap.frames_lost.unwrap_or(0) as usize;
            }
            if let Some(batch) = read.batch {
                world.stored.extend(points(&batch).map(|f| (f.step.0, f.slots().collect())));
            }
            passes += 1;
            prop_assert!(passes < 100_000);
        }
        let mut last = -1;
        for (step, slots) in &world.stored {
            prop_assert!(*step > last);
            last = *step;
            prop_assert_eq!(slots, &world.appended[*step as usize].1);
        }
        let missing = world.appended.iter().filter(|(s, _)| *s <= last).count() - world.stored.len();
        prop_assert!(lost >= missing, "{missing} frames are missing before the last one read, {lost} were reported");
    }
}

#[test]
fn after_a_power_cut_frames_behind_a_hole_are_found() {
    let mut world = World::new(Mode::Mmap);
    (0..100).for_each(|_| world.append(5));
    world.producer.close(Duration::ZERO);
    let dir = world.producer.dir().to_path_buf();
    // The page cache of another boot: one frame never reached the disk.
    let frame = HEADER_BYTES + 50 * 80;
    OpenOptions::new()
        .write(true)
        .open(dir.join("lane0"))
        .unwrap()
        .write_all_at(&[0; 80], frame)
        .unwrap();
    set_boot_id(&dir, [3; 16]);
    world.reader = None;
    let mut gaps = Vec::new();
    while world.stored.len() < 99 && gaps.len() < 5 {
        let read = world.reader().read(LANE, 1 << 20).unwrap();
        gaps.extend(read.gap);
        if let Some(batch) = read.batch {
            world
                .stored
                .extend(points(&batch).map(|f| (f.step.0, f.slots().collect())));
        }
    }
    assert_eq!(gaps.len(), 1);
    assert_eq!(gaps[0].frames_lost, Some(1));
    assert!(world.stored.iter().all(|(step, _)| *step != 50));
}

fn set_boot_id(dir: &Path, id: [u8; 16]) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(dir.join("meta"))
        .unwrap();
    file.write_all_at(&id, 6 * 8).unwrap();
    let mut fixed = vec![0u8; 18 * 8];
    file.read_exact_at(&mut fixed, 8).unwrap();
    file.write_all_at(&u64::from(crc32c::crc32c(&fixed)).to_le_bytes(), 19 * 8)
        .unwrap();
}
