//! Walks one lane, frame by frame: the reader's half of the lane protocol.

use std::io;

use crate::crc::Seed;
use crate::frame::{Flags, HEAD_WORDS, Head, Kind, MARK_BIT, MAX_FRAME_WORDS, Mark};
use crate::segment::Segment;

/// Opens the overflow file that a SWITCH points at.
pub(crate) trait ChainOpener {
    /// The file whose first LSN is `first`. `None`: there is none.
    ///
    /// # Errors
    /// The kernel does not give it now; it may be there.
    fn open(&self, first: u64) -> io::Result<Option<Segment>>;
}

/// What stands at the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing yet.
    Empty,
    /// A frame (or a set of parts) was copied out and passed.
    Frame,
    /// A mark was passed.
    Moved,
    /// Bytes that are neither.
    Damaged,
    /// A mark leads to a file that cannot be opened now.
    Blocked,
}

/// A reader's place in one lane.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) seed: Seed,
    pub(crate) ring: Segment,
    pub(crate) chain: Option<Segment>,
    pub(crate) pos: u64,
    /// The ordinal the next frame must have. `None`: not known yet.
    pub(crate) ordinal: Option<u32>,
}

impl Cursor {
    pub(crate) fn new(seed: Seed, ring: Segment) -> Self {
        Self {
            seed,
            ring,
            chain: None,
            pos: 0,
            ordinal: None,
        }
    }

    pub(crate) fn segment(&self) -> &Segment {
        self.chain.as_ref().unwrap_or(&self.ring)
    }

    /// Whether something stands at the cursor.
    pub(crate) fn has_next(&self) -> bool {
        let segment = self.segment();
        segment.room(self.pos) >= 8 && segment.medium.load(segment.word_at(self.pos)) != 0
    }

    /// Pass one frame or mark; a frame's words are appended to `out`.
    pub(crate) fn advance(&mut self, chains: &dyn ChainOpener, out: &mut Vec<u64>) -> Next {
        let segment = self.segment();
        if segment.room(self.pos) < 8 {
            return Next::Damaged;
        }
        let first = segment.medium.load(segment.word_at(self.pos));
        if first == 0 {
            return Next::Empty;
        }
        let (len, sum) = (first as u32, (first >> 32) as u32);
        if len & MARK_BIT != 0 {
            if self.seed.sum(self.pos, len, &[]) != sum {
                return Next::Damaged;
            }
            return self.pass_mark(len, chains);
        }
        let from = out.len();
        let Some((head, words)) = self.copy_set(out) else {
            out.truncate(from);
            return Next::Damaged;
        };
        self.ordinal = Some(head.ordinal.wrapping_add(1));
        self.pos += words as u64 * 8;
        Next::Frame
    }

    fn pass_mark(&mut self, len: u32, chains: &dyn ChainOpener) -> Next {
        match Mark::from_len_word(len) {
            Some(Mark::Pad(bytes))
                if u64::from(bytes) == self.segment().room(self.pos) && self.chain.is_none() =>
            {
                self.pos += u64::from(bytes);
            }
            Some(Mark::Switch) => {
                let next = match chains.open(self.pos + 8) {
                    Ok(Some(next)) => next,
                    Ok(None) => return Next::Damaged,
                    Err(_) => return Next::Blocked,
                };
                self.pos += 8;
                self.chain = Some(next);
            }
            Some(Mark::Return) if self.chain.is_some() => {
                self.pos += 8;
                self.chain = None;
            }
            _ => return Next::Damaged,
        }
        Next::Moved
    }

    /// Copy the frame at the cursor, with all further parts of its set. `None`: not valid.
    fn copy_set(&self, out: &mut Vec<u64>) -> Option<(Head, usize)> {
        let (head, mut words) = self.copy_frame(self.pos, out)?;
        let mut more = head.flags & Flags::MORE != 0;
        let mut part = head.part;
        if part != 0 {
            return None;
        }
        while more {
            let (next, len) = self.copy_frame(self.pos + words as u64 * 8, out)?;
            part = part.checked_add(1)?;
            if next.ordinal != head.ordinal || next.part != part {
                return None;
            }
            more = next.flags & Flags::MORE != 0;
            words += len;
        }
        Some((head, words))
    }

    /// Copy one frame at `lsn` to private memory, then check the copy.
    fn copy_frame(&self, lsn: u64, out: &mut Vec<u64>) -> Option<(Head, usize)> {
        copy_frame(self.seed, self.segment(), lsn, out)
    }

    /// The first valid frame of `segment` in `from..to` with an ordinal not yet seen.
    pub(crate) fn scan(&self, segment: &Segment, from: u64, to: u64) -> Option<(u64, Head)> {
        let mut scratch = Vec::new();
        (from..to).step_by(8).find_map(|lsn| {
            scratch.clear();
            let (head, _) = copy_frame(self.seed, segment, lsn, &mut scratch)?;
            let later = self
                .ordinal
                .is_none_or(|next| head.ordinal.wrapping_sub(next) < 1 << 31);
            (later && head.part == 0).then_some((lsn, head))
        })
    }
}

fn copy_frame(
    seed: Seed,
    segment: &Segment,
    lsn: u64,
    out: &mut Vec<u64>,
) -> Option<(Head, usize)> {
    if segment.room(lsn) < 8 || !segment.covers(lsn) {
        return None;
    }
    let at = segment.word_at(lsn);
    let first = segment.medium.load(at);
    let len = first as u32;
    let words = len as usize / 8;
    let fits = u64::from(len) <= segment.room(lsn);
    if !len.is_multiple_of(8) || !(HEAD_WORDS..=MAX_FRAME_WORDS).contains(&words) || !fits {
        return None;
    }
    let from = out.len();
    out.push(first);
    segment.medium.copy_out(at + 1, words - 1, out);
    let copy = out.get(from..from + words)?;
    if seed.sum(lsn, len, &[&copy[1..]]) != (first >> 32) as u32 {
        return None;
    }
    let head = Head::from_words([copy[1], copy[2], copy[3], copy[4]]);
    Kind::from_u8(head.kind).map(|_| (head, words))
}
