//! Hostile bytes into every decoder: no panic, an end, memory in proportion, and never a wrong value.
//!
//! `BOLERO_RANDOM_ITERATIONS=1000000 cargo test -p training-monitor-spool fuzz` is the long form;
//! `cargo bolero test` drives the same targets by coverage.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::alloc::System;
use std::cell::RefCell;
use std::collections::HashMap;

use bolero::{TypeGenerator, check};
use cap::Cap;

use crate::crc::Seed;
use crate::cursor::{ChainOpener, Cursor, Next};
use crate::files::Dir;
use crate::frame::{Frame, Head, Mark, frames};
use crate::header::HEADER_WORDS;
use crate::medium::Medium;
use crate::meta::{self, META_BYTES, Meta};
use crate::segment::{Segment, file_bytes};
use crate::types::{Lsn, ProducerId};
use crate::words::Words;

/// A decoder that believes a damaged length ends here, not in the kernel's hands.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 1 << 30);

const ROUNDS: usize = 2_000;
const RING_BYTES: u64 = 4096;

/// What a file of frames may hold.
#[derive(Debug, TypeGenerator)]
enum Piece {
    /// A frame whose sum is right, whatever it says.
    Sealed { head: [u64; 4], body: Vec<u64> },
    /// A mark whose sum is right.
    Mark(u32),
    /// Anything.
    Noise(Vec<u64>),
}

struct NoChain;

impl ChainOpener for NoChain {
    fn open(&self, _first: u64) -> std::io::Result<Option<Segment>> {
        Ok(None)
    }
}

/// Read all there is of a frame; a damaged count must not make that long.
fn touch(frame: &Frame<'_>) -> u64 {
    let asked = (frame.n as usize).min(1 << 12);
    let mut seen = frame.slots().fold(frame.blob().len() as u64, |a, b| a ^ b);
    for i in (0..asked).chain([frame.n as usize, usize::MAX >> 8]) {
        seen ^= frame.slot(i) ^ u64::from(frame.value_type(i) as u8);
        seen ^= u64::from(frame.value(i).is_some()) ^ u64::from(frame.pair_key(i).is_some());
    }
    seen
}

/// Lay the pieces out from LSN 0; return the words of each sealed frame by its LSN.
fn lay_out(seed: Seed, pieces: &[Piece], put: &mut dyn FnMut(u64)) -> HashMap<u64, Vec<u64>> {
    let (mut lsn, mut sealed) = (0u64, HashMap::new());
    for piece in pieces {
        let words = match piece {
            Piece::Noise(words) => words.clone(),
            Piece::Mark(len) => {
                let len = len | Mark::Pad(0).len_word();
                vec![u64::from(len) | u64::from(seed.sum(lsn, len, &[])) << 32]
            }
            Piece::Sealed { head, body } => {
                let rest: Vec<u64> = head.iter().chain(body).copied().collect();
                let len = (rest.len() + 1) as u32 * 8;
                let first = u64::from(len) | u64::from(seed.sum(lsn, len, &[&rest])) << 32;
                let words: Vec<u64> = std::iter::once(first).chain(rest).collect();
                sealed.insert(lsn, words.clone());
                words
            }
        };
        words.iter().for_each(|word| put(*word));
        lsn += words.len() as u64 * 8;
    }
    sealed
}

fn scratch_ring() -> Segment {
    let file = tempfile::tempfile().unwrap();
    let bytes = file_bytes(RING_BYTES);
    file.set_len(bytes as u64).unwrap();
    Segment::ring(Medium::Map(Words::map(&file, bytes).unwrap()), RING_BYTES)
}

thread_local! {
    static RING: RefCell<Option<Segment>> = RefCell::new(Some(scratch_ring()));
    static META: tempfile::TempDir = tempfile::tempdir().unwrap();
}

#[test]
fn fuzz_lane() {
    check!()
        .with_type::<(Vec<Piece>, Vec<(u16, u64)>)>()
        .with_iterations(ROUNDS)
        .for_each(|(pieces, flips)| {
            let seed = Seed::new([7; 16], 3);
            let mut ring = RING.take().unwrap_or_else(scratch_ring);
            let room = HEADER_WORDS + (RING_BYTES / 8) as usize;
            (HEADER_WORDS..room).for_each(|at| ring.medium.store(at, 0));
            let mut at = HEADER_WORDS;
            let sealed = lay_out(seed, pieces, &mut |word| {
                if at < room {
                    ring.medium.store(at, word);
                }
                at += 1;
            });
            for (at, mask) in flips {
                let at = HEADER_WORDS + usize::from(*at) % (room - HEADER_WORDS);
                ring.medium.store(at, ring.medium.load(at) ^ mask);
            }
            let mut cursor = Cursor::new(seed, ring);
            read_to_the_end(&mut cursor, &sealed);
            ring = cursor.ring;
            RING.set(Some(ring));
        });
}

/// Follow the lane; every frame it gives must be one that was sealed, bit by bit.
fn read_to_the_end(cursor: &mut Cursor, sealed: &HashMap<u64, Vec<u64>>) {
    for _ in 0..=2 * RING_BYTES / 8 {
        let (from, mut out) = (cursor.pos, Vec::new());
        match cursor.advance(&NoChain, &mut out) {
            Next::Frame => {
                let mut at = 0;
                while at < out.len() {
                    let words = &sealed[&(from + at as u64 * 8)];
                    assert_eq!(&out[at..at + words.len()], words.as_slice());
                    at += words.len();
                }
                let bytes: Vec<u8> = out.iter().flat_map(|w| w.to_le_bytes()).collect();
                let found: Vec<u64> = frames(&bytes, Lsn(from)).map(|f| touch(&f)).collect();
                assert_eq!(found.len(), 1);
            }
            Next::Moved => assert!(cursor.pos > from),
            Next::Empty | Next::Damaged | Next::Blocked => {
                let found = cursor.scan(&cursor.ring, cursor.pos, RING_BYTES);
                assert!(found.is_none_or(|(lsn, _): (u64, Head)| sealed.contains_key(&lsn)));
                return;
            }
        }
    }
    panic!("the lane has no end");
}

#[test]
fn fuzz_wire() {
    check!()
        .with_type::<(u64, Vec<Piece>, Vec<u8>)>()
        .with_iterations(ROUNDS)
        .for_each(|(first, pieces, tail)| {
            let mut bytes = Vec::new();
            lay_out(Seed::new([1; 16], 0), pieces, &mut |word| {
                bytes.extend(word.to_le_bytes());
            });
            bytes.extend(tail);
            let mut end = *first;
            for frame in frames(&bytes, Lsn(*first)) {
                assert_eq!(frame.lsn.0, end);
                assert!(frame.end.0.wrapping_sub(*first) <= bytes.len() as u64);
                end = frame.end.0;
                touch(&frame);
            }
        });
}

#[test]
fn fuzz_dictionary() {
    check!()
        .with_type::<(Vec<(u8, u32, Vec<u8>)>, Vec<u8>, Option<(u16, u8)>)>()
        .with_iterations(ROUNDS)
        .for_each(|(records, tail, flip)| {
            let (mut bytes, mut wanted) = (Vec::new(), Vec::new());
            for (kind, id, payload) in records {
                wanted.push((bytes.len(), u32::from(*kind % 4), *id, payload));
                crate::dict::record(5, u32::from(*kind % 4), *id, payload, &mut bytes);
            }
            let whole = bytes.len();
            bytes.extend(tail);
            let mut spoilt = usize::MAX;
            if let Some((at, mask)) = flip
                && *mask != 0
                && whole > 0
            {
                spoilt = usize::from(*at) % whole;
                bytes[spoilt] ^= mask;
            }
            let mut found = crate::DictTail::default();
            let used = crate::dict::parse(5, &bytes, &mut found);
            assert!(used <= bytes.len().next_multiple_of(8));
            let keys = wanted.iter().filter(|(_, kind, _, _)| *kind == 1);
            for ((id, key), (at, _, wanted_id, wanted_key)) in found.keys.iter().zip(keys) {
                // What stands before the spoilt byte is read as it was written.
                if at + 24 + wanted_key.len() < spoilt {
                    assert_eq!((id.0, key), (*wanted_id, *wanted_key));
                }
            }
        });
}

#[test]
fn fuzz_meta() {
    check!()
        .with_type::<(bool, Vec<u64>)>()
        .with_iterations(ROUNDS / 4)
        .for_each(|(is_summed, words)| {
            let mut page = [0u64; META_BYTES / 8];
            for (to, from) in page.iter_mut().zip(words) {
                *to = *from;
            }
            if *is_summed {
                meta::seal_for_test(&mut page);
            }
            let bytes: Vec<u8> = page.iter().flat_map(|w| w.to_le_bytes()).collect();
            META.with(|dir| {
                std::fs::write(dir.path().join("meta"), &bytes).unwrap();
                let opened = Meta::open(&Dir::open(dir.path()).unwrap(), dir.path());
                assert!(opened.is_ok() || !is_summed);
                if let Ok((_, info)) = opened {
                    assert!(info.host.len() + info.job_key.len() <= 3 * META_BYTES);
                    assert_ne!(info.parent, Some(ProducerId::default()));
                }
            });
        });
}
