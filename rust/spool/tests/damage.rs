//! Lanes that no longer open, or lost a length word: what can be read is read, and the rest is a gap.

#![allow(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tm_spool::{
    Flags, GapRange, Kind, LaneId, Lsn, Producer, ProducerOptions, ProducerReader, Step, frames,
};

const LANE: LaneId = LaneId(0);
const FRAMES: i64 = 200;
const FRAME_BYTES: u64 = 48;
const HEADER_BYTES: u64 = 4096;

fn ended(run: &Path) -> PathBuf {
    let producer = Producer::create(ProducerOptions {
        lane_bytes: 64 << 10,
        ..ProducerOptions::alone(run, "damage")
    })
    .unwrap();
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    for step in 0..FRAMES {
        producer
            .append_points(Flags(0), Step(step), layout, &[step as u64])
            .unwrap();
    }
    producer.close(Duration::ZERO);
    producer.dir().to_path_buf()
}

fn write(dir: &Path, at: u64, bytes: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(dir.join("lane0"))
        .unwrap();
    file.write_all_at(bytes, at).unwrap();
}

/// Everything a reader gets, and the gaps; the producer is drained afterwards.
fn read_all(dir: &Path) -> (Vec<i64>, Vec<GapRange>) {
    let mut reader = ProducerReader::open(dir).unwrap();
    let (mut steps, mut gaps) = (Vec::new(), Vec::new());
    for lane in reader.lanes() {
        gaps.extend(reader.set_mark(lane, Lsn(0)).unwrap());
    }
    while !reader.drained().unwrap() {
        let read = reader.read(LANE, 1 << 20).unwrap();
        gaps.extend(read.gap);
        if let Some(batch) = read.batch {
            let points = frames(&batch.bytes, batch.first).filter(|f| f.kind == Kind::Points);
            steps.extend(points.map(|f| f.step.0));
        }
    }
    (steps, gaps)
}

#[test]
fn any_flipped_bit_in_the_header_loses_no_frame() {
    for word in 0..8 {
        let run = tempfile::tempdir().unwrap();
        let dir = ended(run.path());
        write(&dir, word * 8, &[0xA5; 8]);
        assert_eq!(
            read_all(&dir).0,
            (0..FRAMES).collect::<Vec<_>>(),
            "word {word}"
        );
    }
}

#[test]
fn an_acknowledged_position_out_of_nowhere_loses_no_frame() {
    let run = tempfile::tempdir().unwrap();
    let dir = ended(run.path());
    write(&dir, 256 * 8, &(1u64 << 40).to_le_bytes());
    assert_eq!(read_all(&dir).0, (0..FRAMES).collect::<Vec<_>>());
}

#[test]
fn a_zeroed_length_word_is_a_gap_and_not_the_end() {
    for frame in [50, FRAMES - 1] {
        let run = tempfile::tempdir().unwrap();
        let dir = ended(run.path());
        write(&dir, HEADER_BYTES + frame as u64 * FRAME_BYTES, &[0; 8]);
        let (steps, gaps) = read_all(&dir);
        assert_eq!(
            steps,
            (0..FRAMES).filter(|s| *s != frame).collect::<Vec<_>>()
        );
        assert_eq!(gaps.len(), 1);
        assert_eq!(gaps[0].frames_lost, Some(1));
    }
}

#[test]
fn a_lane_cut_short_after_its_producer_ended_is_read_as_far_as_it_goes() {
    let run = tempfile::tempdir().unwrap();
    let dir = ended(run.path());
    let file = OpenOptions::new()
        .write(true)
        .open(dir.join("lane0"))
        .unwrap();
    file.set_len(HEADER_BYTES + 100 * FRAME_BYTES + 8).unwrap();
    let (steps, gaps) = read_all(&dir);
    assert_eq!(steps, (0..100).collect::<Vec<_>>());
    assert_eq!(gaps.len(), 1);
}
