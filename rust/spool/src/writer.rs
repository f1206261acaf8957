//! The writer of one lane: admission, publish, wrap, parts, switch and return (the lane protocol).
//!
//! Nothing here allocates, locks or panics; only [`ChainMaker::make`] makes system calls.

use crate::crc::Seed;
use crate::frame::{Flags, HEAD_BYTES, Head, MAX_BODY_WORDS, MAX_FRAME_BYTES, MAX_SET_BYTES, Mark};
use crate::header;
use crate::medium::Sealed;
use crate::segment::Segment;
use crate::types::Reject;

/// One call, converted: what [`Writer::append`] turns into a frame or a set of parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) step: i64,
    pub(crate) layout: u32,
    pub(crate) n: u32,
    /// The slots.
    pub(crate) body: &'a [u64],
    /// Keys, types and side area.
    pub(crate) tail: &'a [u64],
}

impl Call<'_> {
    fn words(&self) -> usize {
        self.body.len() + self.tail.len()
    }
}

/// Makes the next overflow file of a lane.
pub(crate) trait ChainMaker {
    /// A file whose first byte is `first` and that has room for at least `bytes`.
    fn make(&self, first: u64, bytes: u64) -> Result<Segment, Reject>;
}

/// Private memory of whoever holds the lane.
#[derive(Debug)]
pub(crate) struct Writer {
    seed: Seed,
    ring: Segment,
    chain: Option<Segment>,
    lsn: u64,
    /// The last acknowledged LSN seen, plus the ring's capacity.
    limit: u64,
    ordinal: u32,
    /// The LSN of the last SWITCH in the ring.
    switched_at: u64,
    frames: u64,
    points: u64,
    last_step: i64,
    until_return_check: u32,
    populated_to: u64,
}

/// In a chain file the writer makes this much resident ahead of its position.
const POPULATE_AHEAD: u64 = 64 * 1024;
const RETURN_CHECK_EVERY: u32 = 16;

impl Writer {
    pub(crate) fn new(seed: Seed, ring: Segment) -> Self {
        let limit = ring.capacity;
        Self {
            seed,
            ring,
            chain: None,
            lsn: 0,
            limit,
            ordinal: 0,
            switched_at: 0,
            frames: 0,
            points: 0,
            last_step: -1,
            until_return_check: 0,
            populated_to: 0,
        }
    }

    pub(crate) fn ring(&self) -> &Segment {
        &self.ring
    }

    pub(crate) fn lsn(&self) -> u64 {
        self.lsn
    }

    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.frames, self.points)
    }

    pub(crate) fn last_step(&self) -> i64 {
        self.last_step
    }

    /// Append one call as one frame (or one set of parts), visible whole or not at all.
    #[inline]
    pub(crate) fn append(
        &mut self,
        call: &Call<'_>,
        now: i64,
        chains: &dyn ChainMaker,
    ) -> Result<(), Reject> {
        let len = (HEAD_BYTES + call.words() * 8) as u64;
        if self.chain.is_none()
            && len <= MAX_FRAME_BYTES as u64
            && self.lsn + len + 8 <= self.limit
            && len <= self.ring.room(self.lsn)
        {
            let published = put_frame(self.seed, &self.ring, self.lsn, self.ordinal, call, now);
            return self.finish(published, len, call);
        }
        self.append_slow(call, now, chains)
    }

    #[inline]
    fn finish(&mut self, published: bool, len: u64, call: &Call<'_>) -> Result<(), Reject> {
        if !published {
            return Err(Reject::NoSpace);
        }
        self.lsn += len;
        self.ordinal = self.ordinal.wrapping_add(1);
        self.frames += 1;
        if call.kind == crate::frame::Kind::Points as u8 {
            self.points += u64::from(call.n);
        }
        self.last_step = call.step;
        let medium = &self.ring.medium;
        medium.count(header::FRAMES, self.frames);
        medium.count(header::POINTS, self.points);
        medium.count(header::WRITTEN, self.lsn);
        medium.count(header::LAST_STEP, call.step as u64);
        Ok(())
    }

    #[cold]
    fn append_slow(
        &mut self,
        call: &Call<'_>,
        now: i64,
        chains: &dyn ChainMaker,
    ) -> Result<(), Reject> {
        let total = set_bytes(call.words());
        if total > MAX_SET_BYTES as u64 {
            return Err(Reject::TooLarge);
        }
        self.try_return();
        if let Some(chain) = &self.chain
            && total + 8 <= chain.room(self.lsn)
        {
            let ahead = self.lsn + total + 8;
            if ahead > self.populated_to {
                chain.medium.populate(
                    chain.word_at(self.populated_to.max(self.lsn)),
                    POPULATE_AHEAD as usize + total as usize,
                );
                self.populated_to = ahead + POPULATE_AHEAD;
            }
            let published = put_set(self.seed, chain, self.lsn, self.ordinal, call, now);
            return self.finish(published, total, call);
        }
        if self.chain.is_none() && total <= self.ring.capacity / 4 {
            self.refresh_limit();
            if self.wrap(total) {
                let published = put_set(self.seed, &self.ring, self.lsn, self.ordinal, call, now);
                return self.finish(published, total, call);
            }
        }
        self.switch(call, total, now, chains)
    }

    /// Load the acknowledged LSN (Acquire: pairs with the reader's Release after its commit).
    fn refresh_limit(&mut self) {
        let acked = self.ring.medium.load(header::ACKED);
        if acked > self.lsn || !acked.is_multiple_of(8) {
            // Not one of ours: somebody wrote into the header. Counted, ignored.
            let bad = self.ring.medium.load(header::BAD_ACKS);
            self.ring.medium.count(header::BAD_ACKS, bad + 1);
            return;
        }
        self.limit = self.limit.max(acked + self.ring.capacity);
    }

    /// Whether `total` bytes fit in the ring now; pads to the ring's end where they need to.
    fn wrap(&mut self, total: u64) -> bool {
        let room = self.ring.room(self.lsn);
        let pad = if total > room { room } else { 0 };
        if self.lsn + pad + total + 8 > self.limit {
            return false;
        }
        if pad > 0 {
            // Offset 0 must read as "nothing yet" before the mark sends the reader there.
            self.ring.medium.store(self.ring.word_at(self.lsn + pad), 0);
            if !self
                .ring
                .publish_mark(self.seed, self.lsn, Mark::Pad(pad as u32))
            {
                return false;
            }
            self.lsn += pad;
        }
        true
    }

    /// First the frame in the new file, then SWITCH at the old position: a file without one was never accepted.
    fn switch(
        &mut self,
        call: &Call<'_>,
        total: u64,
        now: i64,
        chains: &dyn ChainMaker,
    ) -> Result<(), Reject> {
        let first = self.lsn + 8;
        let next = chains.make(first, total + 8)?;
        next.medium
            .populate(next.word_at(first), (total + POPULATE_AHEAD) as usize);
        if !put_set(self.seed, &next, first, self.ordinal, call, now) {
            return Err(Reject::NoSpace);
        }
        let current = self.chain.as_ref().unwrap_or(&self.ring);
        if !current.publish_mark(self.seed, self.lsn, Mark::Switch) {
            return Err(Reject::NoSpace);
        }
        if self.chain.is_none() {
            self.switched_at = self.lsn;
        }
        self.chain = Some(next);
        self.lsn = first;
        self.populated_to = first + total + POPULATE_AHEAD;
        self.until_return_check = RETURN_CHECK_EVERY;
        self.finish(true, total, call)
    }

    /// Back to the ring once its own frames are acknowledged and half of it would stay free.
    fn try_return(&mut self) {
        let Some(chain) = &self.chain else { return };
        if self.until_return_check > 0 && chain.room(self.lsn) > POPULATE_AHEAD {
            self.until_return_check -= 1;
            return;
        }
        self.until_return_check = RETURN_CHECK_EVERY;
        let acked = self.ring.medium.load(header::ACKED);
        if acked > self.lsn || !acked.is_multiple_of(8) {
            return;
        }
        if acked < self.switched_at || self.lsn - acked > self.ring.capacity / 2 {
            return;
        }
        let back = self.lsn + 8;
        self.ring.medium.store(self.ring.word_at(back), 0);
        if chain.publish_mark(self.seed, self.lsn, Mark::Return) {
            self.chain = None;
            self.lsn = back;
            self.limit = self.limit.max(acked + self.ring.capacity);
        }
    }
}

/// The bytes of a call's frame, or of all its parts.
fn set_bytes(words: usize) -> u64 {
    let parts = words.div_ceil(MAX_BODY_WORDS).max(1);
    (parts * HEAD_BYTES + words * 8) as u64
}

#[inline]
fn head(ordinal: u32, call: &Call<'_>, now: i64, part: u16, more: bool) -> [u64; 4] {
    Head {
        ordinal,
        kind: call.kind,
        flags: call.flags | if more { Flags::MORE } else { 0 },
        part,
        boottime_ns: now,
        step: call.step,
        layout: call.layout,
        n: call.n,
    }
    .words()
}

/// Write one frame at `lsn` and publish it. The caller has checked that it and the next word fit.
#[inline]
fn put_frame(
    seed: Seed,
    segment: &Segment,
    lsn: u64,
    ordinal: u32,
    call: &Call<'_>,
    now: i64,
) -> bool {
    let head = head(ordinal, call, now, 0, false);
    put(
        seed,
        segment,
        lsn,
        Some(lsn + (HEAD_BYTES + call.words() * 8) as u64),
        [&head, call.body, call.tail],
    )
}

/// Publish one frame and zero the word at `next`. `None`: what follows is already there.
#[inline]
fn put(seed: Seed, segment: &Segment, lsn: u64, next: Option<u64>, pieces: [&[u64]; 3]) -> bool {
    let words = 1 + pieces.iter().map(|p| p.len()).sum::<usize>();
    let len = (words * 8) as u32;
    let sum = seed.sum(lsn, len, &pieces);
    let sealed = Sealed {
        first: u64::from(len) | (u64::from(sum) << 32),
        pieces,
    };
    let next = next.map_or(header::SPARE, |next| segment.word_at(next));
    segment.medium.publish(segment.word_at(lsn), next, &sealed)
}

/// Write a call at `lsn`, in parts where it is large; part 0 is published last, so all show or none.
fn put_set(
    seed: Seed,
    segment: &Segment,
    lsn: u64,
    ordinal: u32,
    call: &Call<'_>,
    now: i64,
) -> bool {
    let words = call.words();
    if words <= MAX_BODY_WORDS {
        return put_frame(seed, segment, lsn, ordinal, call, now);
    }
    let parts = words.div_ceil(MAX_BODY_WORDS);
    let part_bytes = (MAX_BODY_WORDS * 8 + HEAD_BYTES) as u64;
    (0..parts).rev().all(|part| {
        let from = part * MAX_BODY_WORDS;
        let to = (from + MAX_BODY_WORDS).min(words);
        let head = head(ordinal, call, now, part as u16, part + 1 < parts);
        let at = lsn + part as u64 * part_bytes;
        // The parts after this one are there: they were written first.
        let next = (part + 1 == parts).then_some(at + (HEAD_BYTES + (to - from) * 8) as u64);
        let (body, tail) = cut(call, from, to);
        put(seed, segment, at, next, [&head, body, tail])
    })
}

/// The words `from..to` of body and tail seen as one.
fn cut<'a>(call: &Call<'a>, from: usize, to: usize) -> (&'a [u64], &'a [u64]) {
    let split = call.body.len();
    let body = call
        .body
        .get(from.min(split)..to.min(split))
        .unwrap_or_default();
    let tail = call
        .tail
        .get(from.saturating_sub(split)..to.saturating_sub(split))
        .unwrap_or_default();
    (body, tail)
}
