//! The sixteen lanes of a producer: whoever exchanges a lane's busy word writes to it, alone and unwaited.

use std::cell::{Cell, UnsafeCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::busy::Busy;
use crate::clock;
use crate::crc::Seed;
use crate::files::Dir;
use crate::frame::Kind;
use crate::header;
use crate::lanefile::{self, Chains};
use crate::medium::Medium;
use crate::types::{LaneId, Mode, ProducerId, Reject};
use crate::wake;
use crate::words::Words;
use crate::writer::{Call, Writer};

pub(crate) const LANES: usize = 16;
/// Lanes 1-15 are this large, or as large as lane 0 where that is smaller.
const FURTHER_BYTES: u64 = 1 << 20;
/// A ring is halved down to this on a full disk.
const LEAST_BYTES: u64 = 256 << 10;
const BUSY_LIMIT: Duration = Duration::from_millis(10);
const RETRY_NS: i64 = 1_000_000_000;
/// In pwrite mode the counters in the file are brought up to date this often.
pub(crate) const COUNT_EVERY: u64 = 64;
/// And so often, by a slow loop.
const COUNT_WITHIN_NS: i64 = 1_000_000_000;

/// What the lanes need to know of their producer.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) dir: Dir,
    pub(crate) id: ProducerId,
    pub(crate) mode: Mode,
    pub(crate) lane_bytes: u64,
}

impl Home {
    /// The header of lane 0, seen without claiming the lane: for counters only.
    pub(crate) fn header(&self) -> std::io::Result<Medium> {
        let file = self.dir.open_file(&lanefile::ring_name(LaneId(0)))?;
        Ok(match self.mode {
            Mode::Mmap => Medium::Map(Words::map(&file, header::HEADER_BYTES)?),
            Mode::Pwrite => Medium::File(file),
        })
    }
}

#[derive(Debug)]
struct Lane {
    busy: Busy,
    state: UnsafeCell<State>,
    /// Counters for `health()` where the header is not mapped.
    frames: AtomicU64,
    points: AtomicU64,
    written: AtomicU64,
}

/// Belongs to whoever holds the busy word.
#[derive(Debug, Default)]
struct State {
    /// `None`: the lane's file was not needed yet.
    writer: Option<Writer>,
    /// No new file is tried before this boottime.
    retry_at: i64,
    /// Calls rejected since the last gap frame, and when the first was.
    rejected: u64,
    rejected_since: i64,
    /// When the counters in the file were brought up to date, in pwrite mode.
    counted_at: i64,
}

// SAFETY: `state` is only touched by the holder of `busy`.
unsafe impl Sync for Lane {}

#[derive(Debug)]
pub(crate) struct Lanes {
    lanes: [Lane; LANES],
}

/// What a lane's writer asks of its producer when the ring is full.
pub(crate) trait Budget {
    /// Bytes of chain files that may still be made.
    fn chain_bytes_left(&self) -> u64;
    /// Whether `close()` has begun.
    fn is_closing(&self) -> bool;
}

impl Lanes {
    /// Lane 0 is made at once, shrunk where the disk is too full; with no room at all calls are rejected
    /// until there is some.
    pub(crate) fn create(home: &Home) -> Self {
        let lanes = Self {
            lanes: std::array::from_fn(|_| Lane {
                busy: Busy::new(),
                state: UnsafeCell::default(),
                frames: AtomicU64::new(0),
                points: AtomicU64::new(0),
                written: AtomicU64::new(0),
            }),
        };
        // SAFETY: nobody else has seen the lanes yet.
        let state = unsafe { &mut *lanes.lanes[0].state.get() };
        state.open_lane(LaneId(0), home, clock::boottime_ns());
        lanes
    }

    /// Claim a lane, append, free it. Waits for nobody unless all sixteen are taken, and then at most 10 ms.
    #[inline]
    pub(crate) fn append(
        &self,
        home: &Home,
        call: &Call<'_>,
        budget: &impl Budget,
    ) -> Result<i64, Reject> {
        let first = &self.lanes[0];
        if first.busy.claim() {
            // SAFETY: we hold the busy word until it is freed below.
            let state = unsafe { &mut *first.state.get() };
            let done = append_in(state, LaneId(0), home, call, budget, first);
            first.busy.free();
            return done;
        }
        self.append_elsewhere(home, call, budget)
    }

    #[cold]
    fn append_elsewhere(
        &self,
        home: &Home,
        call: &Call<'_>,
        budget: &impl Budget,
    ) -> Result<i64, Reject> {
        let started = Instant::now();
        loop {
            for (i, lane) in self.lanes.iter().enumerate() {
                if lane.busy.claim() {
                    // SAFETY: we hold the busy word until it is freed below.
                    let state = unsafe { &mut *lane.state.get() };
                    let done = append_in(state, LaneId(i as u8), home, call, budget, lane);
                    lane.busy.free();
                    return done;
                }
            }
            if budget.is_closing() {
                return Err(Reject::Closed);
            }
            if started.elapsed() > BUSY_LIMIT {
                return Err(Reject::LanesBusy);
            }
            // The caller may hold the interpreter all the while. With a GIL, whoever is in a lane holds it too, so
            // this place is met only by those who lost lanes for good; without one, nobody needs it but a collector.
            std::thread::yield_now();
        }
    }

    /// Claim every lane for good. False: some call held one past the deadline.
    pub(crate) fn close(&self, deadline: Instant) -> bool {
        self.lanes.iter().all(|lane| {
            loop {
                if lane.busy.claim() {
                    // SAFETY: we hold the busy word and never give it back.
                    let state = unsafe { &*lane.state.get() };
                    if let Some(writer) = &state.writer {
                        store_counts(writer);
                        wake_reader(writer, true);
                    }
                    return true;
                }
                if Instant::now() >= deadline {
                    return false;
                }
                std::thread::yield_now();
            }
        })
    }

    /// After [`Lanes::close`]: written and acknowledged bytes of every lane that was made.
    pub(crate) fn unacknowledged_after_close(&self) -> u64 {
        let left = |lane: &Lane| {
            // SAFETY: close() holds every busy word for good, so nobody writes any more.
            let state = unsafe { &*lane.state.get() };
            state.writer.as_ref().map_or(0, |w| {
                w.lsn().saturating_sub(w.ring().medium.load(header::ACKED))
            })
        };
        self.lanes.iter().map(left).sum()
    }

    /// Frames, points and bytes written, over all lanes.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        self.lanes.iter().fold((0, 0, 0), |sum, lane| {
            (
                sum.0 + lane.frames.load(Ordering::Relaxed),
                sum.1 + lane.points.load(Ordering::Relaxed),
                sum.2 + lane.written.load(Ordering::Relaxed),
            )
        })
    }
}

fn make_writer(home: &Home, lane: LaneId, wanted: u64, least: u64) -> std::io::Result<Writer> {
    let ring = lanefile::make_ring_shrinking(&home.dir, home.id, lane, wanted, least, home.mode)?;
    Ok(Writer::new(Seed::new(home.id.0, lane.0), ring))
}

/// Runs with the lane claimed: no Python and no lock. Only where a file is made (the lane's own at its first use, a
/// chain file) are there system calls and the few allocations of its names; and in pwrite mode at every frame.
#[inline]
fn append_in(
    state: &mut State,
    id: LaneId,
    home: &Home,
    call: &Call<'_>,
    budget: &impl Budget,
    lane: &Lane,
) -> Result<i64, Reject> {
    let now = clock::boottime_ns();
    if state.writer.is_none() {
        state.open_lane(id, home, now);
    }
    let Some(writer) = &mut state.writer else {
        state.count_rejected(now);
        return Err(Reject::NoSpace);
    };
    let chains = Chains {
        dir: &home.dir,
        id: home.id,
        lane: id,
        mode: home.mode,
        budget: Cell::new(0),
    };
    let gate = Gate {
        chains,
        budget,
        now,
        retry_at: Cell::new(state.retry_at),
    };
    if state.rejected > 0 {
        report_gap(writer, &gate, &mut state.rejected, state.rejected_since);
    }
    let done = writer.append(call, now, &gate);
    match done {
        Ok(()) => {
            let (frames, points) = writer.counts();
            lane.frames.store(frames, Ordering::Relaxed);
            lane.points.store(points, Ordering::Relaxed);
            lane.written.store(writer.lsn(), Ordering::Relaxed);
            if home.mode == Mode::Pwrite
                && (frames % COUNT_EVERY == 0 || now - state.counted_at >= COUNT_WITHIN_NS)
            {
                state.counted_at = now;
                store_counts(writer);
            }
            wake_reader(writer, false);
        }
        Err(Reject::NoSpace) => {
            state.retry_at = gate.retry_at.get();
            state.count_rejected(now);
        }
        Err(_) => {}
    }
    done.map(|()| now)
}

impl State {
    /// Make the lane's file; after a failure no more than once a second.
    #[cold]
    fn open_lane(&mut self, id: LaneId, home: &Home, now: i64) {
        if now < self.retry_at {
            return;
        }
        let wanted = if id == LaneId(0) {
            home.lane_bytes
        } else {
            FURTHER_BYTES.min(home.lane_bytes)
        };
        match make_writer(home, id, wanted, LEAST_BYTES.min(wanted)) {
            Ok(writer) => self.writer = Some(writer),
            Err(_) => self.retry_at = now + RETRY_NS,
        }
    }

    fn count_rejected(&mut self, now: i64) {
        if self.rejected == 0 {
            self.rejected_since = now;
        }
        self.rejected += 1;
    }
}

/// Lets a full lane try for a new file, but after a failure only once a second.
struct Gate<'a, B> {
    chains: Chains<'a>,
    budget: &'a B,
    now: i64,
    retry_at: Cell<i64>,
}

impl<B: Budget> crate::writer::ChainMaker for Gate<'_, B> {
    fn make(&self, first: u64, bytes: u64) -> Result<crate::segment::Segment, Reject> {
        if self.now < self.retry_at.get() {
            return Err(Reject::NoSpace);
        }
        self.chains.budget.set(self.budget.chain_bytes_left());
        let made = self.chains.make(first, bytes);
        if made.is_err() {
            self.retry_at.set(self.now + RETRY_NS);
        }
        made
    }
}

/// Say in the lane itself how many calls were rejected before the next frame.
#[cold]
fn report_gap<B: Budget>(writer: &mut Writer, gate: &Gate<'_, B>, rejected: &mut u64, since: i64) {
    use std::io::Write;
    let mut text = [0u8; 128];
    let mut rest = &mut text[..];
    let _ = write!(
        rest,
        "{{\"rejected_frames\":{rejected},\"since_boottime_ns\":{since}}}"
    );
    let left = rest.len();
    let bytes = text.len() - left;
    let mut words = [0u64; 16];
    for (word, chunk) in words.iter_mut().zip(text.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*chunk);
    }
    let body = &words[..bytes.div_ceil(8)];
    let call = Call {
        kind: Kind::Gap as u8,
        flags: 0,
        step: 0,
        layout: 0,
        n: bytes as u32,
        body,
        tail: &[],
    };
    if writer.append(&call, gate.now, gate).is_ok() {
        *rejected = 0;
    }
}

fn store_counts(writer: &Writer) {
    let medium = &writer.ring().medium;
    if matches!(medium, Medium::File(_)) {
        let (frames, points) = writer.counts();
        medium.store(header::FRAMES, frames);
        medium.store(header::POINTS, points);
        medium.store(header::WRITTEN, writer.lsn());
        medium.store(header::LAST_STEP, writer.last_step() as u64);
    }
}

/// One load unless the reader sleeps; the reader makes up for the missing fence with a membarrier.
#[inline]
fn wake_reader(writer: &Writer, always: bool) {
    if let Medium::Map(words) = &writer.ring().medium
        && (words.load(header::SLEEPING, Ordering::Relaxed) != 0 || always)
        && words.swap(header::SLEEPING, 0, Ordering::AcqRel) != 0
        && let Some(word) = words.cells().get(header::SLEEPING)
    {
        wake::wake(word);
    }
}

#[cfg(test)]
#[path = "lanes_tests.rs"]
mod tests;
