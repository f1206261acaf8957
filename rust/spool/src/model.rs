//! loom: every interleaving of a writer and a reader on one lane (publish, wrap, switch, return), and of two
//! threads that claim. Run with `make loom`.

use std::collections::BTreeMap;

use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::busy::Busy;
use crate::crc::Seed;
use crate::cursor::{ChainOpener, Cursor, Next};
use crate::header::{ACKED, HEADER_WORDS};
use crate::medium::Medium;
use crate::segment::Segment;
use crate::types::Reject;
use crate::words::Words;
use crate::writer::{Call, ChainMaker, Writer};

fn seed() -> Seed {
    Seed::new([9; 16], 0)
}

fn words(capacity: u64) -> Words {
    Words::model(HEADER_WORDS + capacity as usize / 8)
}

fn call(value: &[u64]) -> Call<'_> {
    Call {
        kind: 1,
        flags: 0,
        step: 0,
        layout: 0,
        n: value.len() as u32,
        body: value,
        tail: &[],
    }
}

/// Chain files of the model; none may be made when `limit` is 0.
#[derive(Clone)]
struct Files {
    made: Arc<Mutex<BTreeMap<u64, Words>>>,
    limit: usize,
}

impl Files {
    fn new(limit: usize) -> Self {
        Self {
            made: Arc::new(Mutex::new(BTreeMap::new())),
            limit,
        }
    }
}

/// Room for two small frames and the mark.
const CHAIN: u64 = 2 * 48 + 8;

impl ChainMaker for Files {
    fn make(&self, first: u64, _bytes: u64) -> Result<Segment, Reject> {
        let mut made = self.made.lock().unwrap();
        if made.len() >= self.limit {
            return Err(Reject::NoSpace);
        }
        let file = words(CHAIN);
        made.insert(first, file.clone());
        Ok(Segment::chain(Medium::Map(file), first, CHAIN))
    }
}

impl ChainOpener for Files {
    fn open(&self, first: u64) -> std::io::Result<Option<Segment>> {
        let made = self.made.lock().unwrap().get(&first).cloned();
        Ok(made.map(|file| Segment::chain(Medium::Map(file), first, CHAIN)))
    }
}

/// One look of the reader: passes what is there, acknowledges it, returns the first value of each frame.
fn look(cursor: &mut Cursor, files: &Files, most: usize) -> Vec<u64> {
    let mut values = Vec::new();
    for _ in 0..most {
        let mut out = Vec::new();
        match cursor.advance(files, &mut out) {
            Next::Frame => values.push(out[5]),
            Next::Moved => {}
            Next::Empty => break,
            Next::Damaged | Next::Blocked => panic!("a reader saw damage at {}", cursor.pos),
        }
    }
    // After the durable commit.
    cursor.ring.medium.store(ACKED, cursor.pos);
    values
}

/// A writer and a reader that have gone once around, so that old bytes lie everywhere in the ring.
fn after_laps(capacity: u64, value: &[u64], laps: usize, files: &Files) -> (Writer, Cursor) {
    let ring = words(capacity);
    let mut writer = Writer::new(seed(), Segment::ring(Medium::Map(ring.clone()), capacity));
    let mut cursor = Cursor::new(seed(), Segment::ring(Medium::Map(ring), capacity));
    for _ in 0..laps {
        writer.append(&call(value), 0, files).unwrap();
        assert_eq!(look(&mut cursor, files, 8).len(), 1);
    }
    (writer, cursor)
}

/// `frames` calls against a reader that looks `looks` times meanwhile; what was accepted is read once, in order.
fn write_against_a_reader(
    capacity: u64,
    words: usize,
    laps: usize,
    chain_files: usize,
    frames: u64,
    looks: usize,
) {
    loom::model(move || {
        let files = Files::new(chain_files);
        let old = vec![1; words];
        let (mut writer, mut cursor) = after_laps(capacity, &old, laps, &files);
        let trainer = {
            let files = files.clone();
            thread::spawn(move || {
                let accepted = |i: &u64| {
                    writer
                        .append(&call(&vec![100 + i; words]), 0, &files)
                        .is_ok()
                };
                (0..frames)
                    .filter(accepted)
                    .map(|i| 100 + i)
                    .collect::<Vec<u64>>()
            })
        };
        let mut seen = Vec::new();
        for _ in 0..looks {
            seen.extend(look(&mut cursor, &files, 1));
        }
        let accepted = trainer.join().unwrap();
        seen.extend(look(&mut cursor, &files, 64));
        assert_eq!(seen, accepted);
    });
}

#[test]
fn publish() {
    write_against_a_reader(256, 1, 6, 0, 2, 2);
}

#[test]
fn wrap_with_a_pad() {
    write_against_a_reader(256, 1, 4, 0, 2, 4);
}

#[test]
fn admission_keeps_the_next_word_free() {
    write_against_a_reader(256, 3, 1, 0, 4, 1);
}

#[test]
fn switch_to_a_chain() {
    write_against_a_reader(256, 1, 3, 2, 7, 1);
}

#[test]
fn switch_and_return() {
    // The writer starts in a chain whose ring is all acknowledged: it goes back while the reader follows.
    loom::model(|| {
        let ring = words(128);
        let files = Files::new(3);
        let mut writer = Writer::new(seed(), Segment::ring(Medium::Map(ring.clone()), 128));
        let mut cursor = Cursor::new(seed(), Segment::ring(Medium::Map(ring), 128));
        for value in 0..3 {
            writer.append(&call(&[value]), 0, &files).unwrap();
        }
        assert_eq!(look(&mut cursor, &files, 8), [0, 1, 2]);
        let trainer = {
            let files = files.clone();
            thread::spawn(move || {
                (3..6)
                    .filter(|i| writer.append(&call(&[*i]), 0, &files).is_ok())
                    .collect::<Vec<u64>>()
            })
        };
        let mut seen = look(&mut cursor, &files, 3);
        let accepted = trainer.join().unwrap();
        seen.extend(look(&mut cursor, &files, 64));
        assert_eq!(seen, accepted);
    });
}

#[test]
fn a_set_of_parts_shows_whole_or_not_at_all() {
    loom::model(|| {
        let capacity = 1024;
        let ring = words(capacity);
        let files = Files::new(0);
        let mut writer = Writer::new(seed(), Segment::ring(Medium::Map(ring.clone()), capacity));
        let trainer = thread::spawn({
            let files = files.clone();
            move || {
                // Three parts under the model's small part size.
                let body = [7, 7, 7, 8, 8, 8, 9];
                let call = Call {
                    kind: 1,
                    flags: 0,
                    step: 0,
                    layout: 0,
                    n: 7,
                    body: &body,
                    tail: &[],
                };
                writer.append(&call, 0, &files).unwrap();
            }
        });
        let mut cursor = Cursor::new(seed(), Segment::ring(Medium::Map(ring), capacity));
        let mut out = Vec::new();
        let first = cursor.advance(&files, &mut out);
        assert!(
            first == Next::Empty || (first == Next::Frame && out.len() == 22),
            "{first:?} {}",
            out.len()
        );
        trainer.join().unwrap();
        if first == Next::Empty {
            assert_eq!(cursor.advance(&files, &mut out), Next::Frame);
        }
        assert_eq!([out[5], out[13], out[21]], [7, 8, 9]);
    });
}

#[test]
fn a_claimed_lane_has_one_writer() {
    loom::model(|| {
        let lane = Arc::new((Busy::new(), UnsafeCell::new(0u64)));
        let add = |lane: &(Busy, UnsafeCell<u64>)| {
            if !lane.0.claim() {
                return 0;
            }
            // SAFETY: the busy word is ours; loom reports it if it is not.
            lane.1.with_mut(|n| unsafe { *n += 1 });
            lane.0.free();
            1
        };
        let other = {
            let lane = lane.clone();
            thread::spawn(move || add(&lane) + add(&lane))
        };
        let mine = add(&lane);
        let all = mine + other.join().unwrap();
        assert!(lane.0.claim());
        // SAFETY: as above.
        assert_eq!(lane.1.with(|n| unsafe { *n }), all);
    });
}
