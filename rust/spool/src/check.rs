//! Checks bytes of a lane that come from elsewhere, before anybody believes them.

use crate::crc::Seed;
use crate::dict::{self, DictTail};
use crate::frame::{Flags, HEAD_BYTES, Head, Kind, MAX_FRAME_BYTES, MAX_SET_BYTES};
use crate::types::{LaneId, Lsn, ProducerId};

/// How many frames of that lane the bytes are, whole and one behind the other from `first` on; a set of parts is
/// one. `None`: they are something else.
#[must_use]
pub fn count_frames(id: ProducerId, lane: LaneId, first: Lsn, bytes: &[u8]) -> Option<u32> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || !first.0.is_multiple_of(8) {
        return None;
    }
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    let seed = Seed::new(id.0, lane.0);
    let (mut at, mut frames) = (0, 0_u32);
    while at < words.len() {
        at += set_words(seed, first.0.checked_add(at as u64 * 8)?, words.get(at..)?)?;
        frames = frames.checked_add(1)?;
    }
    Some(frames)
}

/// The words of the frame, or the set of parts, that stands first. `None`: none does, or not all of it.
fn set_words(seed: Seed, lsn: u64, words: &[u64]) -> Option<usize> {
    let (head, mut used) = frame_words(seed, lsn, words)?;
    let (mut more, mut part) = (head.flags & Flags::MORE != 0, head.part);
    if part != 0 {
        return None;
    }
    while more {
        let rest = words.get(used..)?;
        let (next, len) = frame_words(seed, lsn.checked_add(used as u64 * 8)?, rest)?;
        part = part.checked_add(1)?;
        if next.ordinal != head.ordinal || next.part != part {
            return None;
        }
        more = next.flags & Flags::MORE != 0;
        used += len;
        if used * 8 > MAX_SET_BYTES + MAX_FRAME_BYTES {
            return None;
        }
    }
    Some(used)
}

fn frame_words(seed: Seed, lsn: u64, words: &[u64]) -> Option<(Head, usize)> {
    let first = *words.first()?;
    let len = first as u32;
    let bytes = len as usize;
    if !bytes.is_multiple_of(8) || !(HEAD_BYTES..=MAX_FRAME_BYTES).contains(&bytes) {
        return None;
    }
    let frame = words.get(1..bytes / 8)?;
    if seed.sum(lsn, len, &[frame]) != (first >> 32) as u32 {
        return None;
    }
    let head = frame
        .first_chunk::<4>()
        .map(|head| Head::from_words(*head))?;
    Kind::from_u8(head.kind).map(|_| (head, bytes / 8))
}

/// The definitions that these records of a producer's dictionary hold. `None`: they are something else.
#[must_use]
pub fn definitions(id: ProducerId, records: &[u8]) -> Option<DictTail> {
    let mut tail = DictTail::default();
    let used = dict::parse(crc32c::crc32c(&id.0), records, &mut tail);
    (used == records.len()).then_some(tail)
}
