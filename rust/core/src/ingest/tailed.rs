//! One producer being tailed: its reader, and what was read of it but is not durable yet.

use std::path::Path;
use std::time::{Duration, Instant};

use tm_spool::{Batch, Flags, GapRange, Kind, LaneId, Life, Lsn, ReadError, Reject, clock, frames};

use super::feed::Feed;
use super::silence::Pace;
use crate::readers::Exposed;
use crate::store::{End, Gap, Source};

/// A dictionary that cannot be read is tried for so long.
const LEARN_PATIENCE: Duration = Duration::from_secs(20);
/// Read at most so much of a lane before the next one has its turn.
const READ_BYTES: usize = 4 << 20;
/// Batches that follow each other directly are joined up to this size.
const JOINED_BYTES: usize = 1 << 20;
/// New lanes are looked for this often.
const LANES_EVERY: Duration = Duration::from_millis(250);
/// The reserve of a small lane decides how long the thread may nap.
const SMALL_RING_BYTES: u64 = 512 << 10;

/// A producer and what waits of it.
#[derive(Debug)]
pub(crate) struct Tailed {
    pub feed: Box<dyn Feed>,
    pub source: Source,
    lanes: Vec<LaneId>,
    lanes_looked: Option<Instant>,
    /// Keys and layouts whose definitions were read: they are numbered from 0 without holes.
    keys: u32,
    layouts: u32,
    /// A frame uses a definition that was not read yet.
    unknown: bool,
    /// Since when the dictionary cannot be read. `None`: it can.
    unread: Option<Instant>,
    /// Points and bytes read and not durable.
    pub points: u64,
    pub bytes: usize,
    /// Something that cannot wait for company: a close, an alert, a forced analysis.
    pub urgent: bool,
    /// Boottime, by the clock of this machine, of the oldest frame that is not durable. `None`: nothing waits.
    pub oldest_ns: Option<i64>,
    /// When frames were last read.
    pub active: Instant,
    /// What is in memory only.
    pub exposed: Exposed,
    pub gaps: u64,
    pub pace: Pace,
}

impl Tailed {
    pub(super) fn new(feed: Box<dyn Feed>, source: Source) -> Self {
        let now = Instant::now();
        Self {
            feed,
            source,
            lanes: Vec::new(),
            lanes_looked: None,
            keys: 0,
            layouts: 0,
            unknown: false,
            unread: None,
            points: 0,
            bytes: 0,
            urgent: false,
            oldest_ns: None,
            active: now,
            exposed: Exposed::new(now),
            gaps: 0,
            pace: Pace::new(now),
        }
    }

    /// Start the lanes that appeared since the last look where the database says.
    fn find_lanes(&mut self, now: Instant) -> Result<(), ReadError> {
        let looked = self.lanes_looked.map(|at| now.duration_since(at));
        if looked.is_some_and(|age| age < LANES_EVERY) {
            return Ok(());
        }
        self.lanes_looked = Some(now);
        for lane in self.feed.lanes() {
            if self.lanes.contains(&lane) {
                continue;
            }
            let mark = self.source.marks.get(&lane.0).copied().unwrap_or(0);
            if let Some(gap) = self.feed.set_mark(lane, Lsn(mark))? {
                self.add_gap(gap);
            }
            // A monitor that was killed between commit and acknowledgement left this to us.
            self.feed.acknowledge(lane, Lsn(mark))?;
            self.lanes.push(lane);
        }
        Ok(())
    }

    /// Read what is there, at most about `budget` bytes. Returns the bytes read.
    pub(super) fn read(&mut self, now: Instant, budget: usize) -> Result<usize, ReadError> {
        // Frames that nobody can understand yet are enough.
        self.understand(now)?;
        self.find_lanes(now)?;
        let mut got = 0;
        for lane in self.lanes.clone() {
            while got < budget {
                let read = self.feed.read(lane, READ_BYTES.min(budget - got))?;
                let (gap, batch) = (read.gap, read.batch);
                if gap.is_none() && batch.is_none() {
                    break;
                }
                if let Some(batch) = batch {
                    got += batch.bytes.len();
                    self.add_batch(batch, now);
                }
                if let Some(gap) = gap {
                    self.add_gap(gap);
                }
            }
        }
        if got > 0 {
            self.active = now;
        }
        self.understand(now)?;
        Ok(got)
    }

    /// Whether frames wait here whose definitions could not be read: they are no frames of an unknown layout.
    pub(super) fn is_held(&self) -> bool {
        self.unknown
    }

    /// Look up the definitions that the frames read so far need.
    fn understand(&mut self, now: Instant) -> Result<(), ReadError> {
        if self.unknown {
            self.learn(now)
        } else {
            Ok(())
        }
    }

    /// After the frames, so that every layout they use is known: definitions are written first. A dictionary that
    /// stays unreadable is given up in the end, and what needs it is recorded as undefined.
    fn learn(&mut self, now: Instant) -> Result<(), ReadError> {
        let tail = match self.feed.dictionary() {
            Ok(tail) => tail,
            Err(error) => {
                let since = *self.unread.get_or_insert(now);
                let given_up = now.saturating_duration_since(since) >= LEARN_PATIENCE;
                self.unknown &= !given_up;
                return if given_up { Ok(()) } else { Err(error) };
            }
        };
        (self.unknown, self.unread) = (false, None);
        let next = |ids: Option<u32>, known: u32| ids.map_or(known, |id| known.max(id + 1));
        self.keys = next(tail.keys.iter().map(|(id, _)| id.0).max(), self.keys);
        self.layouts = next(tail.layouts.iter().map(|(id, _)| id.0).max(), self.layouts);
        if !tail.keys.is_empty() || !tail.layouts.is_empty() {
            self.source.pending.definitions.push(tail);
        }
        Ok(())
    }

    fn add_gap(&mut self, gap: GapRange) {
        self.gaps += u64::from(gap.frames_lost.unwrap_or(1));
        let pending = &mut self.source.pending;
        let mark = pending.marks.entry(gap.lane.0).or_insert(gap.end.0);
        *mark = gap.end.0.max(*mark);
        pending.gaps.push(Gap {
            lane: Some(gap.lane),
            first: gap.first,
            end: gap.end,
            frames_lost: gap.frames_lost,
            reason: gap.reason.name().to_owned(),
            detail: None,
        });
        self.urgent = true;
    }

    fn add_batch(&mut self, batch: Batch, now: Instant) {
        self.source.pending.marks.insert(batch.lane.0, batch.end.0);
        self.bytes += batch.bytes.len();
        let shift_ns = self.feed.boot_shift_ns();
        for frame in frames(&batch.bytes, batch.first) {
            let boottime_ns = frame.boottime_ns.saturating_add(shift_ns);
            let force = frame.flags.has(Flags::FORCE_ANALYSIS);
            if frame.kind == Kind::Points {
                self.points += u64::from(frame.n);
                self.pace.observe(frame.step.0, boottime_ns, now);
                self.unknown |= if frame.flags.has(Flags::PAIRS) {
                    let keys = (0..frame.n as usize).filter_map(|i| frame.pair_key(i));
                    keys.max().is_some_and(|key| key.0 >= self.keys)
                } else {
                    frame.layout.0 >= self.layouts
                };
            }
            self.urgent |= force || frame.kind != Kind::Points;
            let oldest = self.oldest_ns.get_or_insert(boottime_ns);
            *oldest = boottime_ns.min(*oldest);
        }
        self.join(batch);
    }

    /// Append to the last batch of the lane when its bytes go on right there, so that many small reads
    /// make one row.
    fn join(&mut self, batch: Batch) {
        let batches = &mut self.source.pending.batches;
        let last = batches
            .iter_mut()
            .rev()
            .find(|known| known.lane == batch.lane);
        match last {
            Some(last)
                if last.first.0 + last.bytes.len() as u64 == batch.first.0
                    && last.bytes.len() + batch.bytes.len() <= JOINED_BYTES =>
            {
                last.bytes.extend_from_slice(&batch.bytes);
                last.end = batch.end;
                last.frames += batch.frames;
            }
            _ => batches.push(batch),
        }
    }

    /// Whether any lane has used a quarter of its ring, or all of it is small.
    pub(super) fn is_filling(&self) -> bool {
        self.lanes
            .iter()
            .filter_map(|lane| self.feed.fill(*lane))
            .any(|(fill, ring)| fill >= ring / 4)
    }

    /// Whether its smallest ring fills within milliseconds.
    pub(super) fn is_small(&self) -> bool {
        self.lanes
            .iter()
            .filter_map(|lane| self.feed.fill(*lane))
            .any(|(_, ring)| ring < SMALL_RING_BYTES)
    }

    /// Note the end of a producer that has nothing left to read. Returns whether it ended. What was looked
    /// up a few milliseconds ago is good enough unless `now`.
    pub(super) fn note_end(&mut self, now: bool) -> Result<bool, ReadError> {
        if self.source.pending.end.is_some() {
            return Ok(true);
        }
        if !now && self.feed.life() == Life::Alive {
            self.feed.watch(Instant::now());
            return Ok(false);
        }
        if !self.feed.drained()? {
            return Ok(false);
        }
        let mut exit = None;
        if self.feed.life() == Life::Dead {
            exit = self.feed.exit(Instant::now(), now);
            if exit.is_none() {
                return Ok(false);
            }
        }
        self.learn(Instant::now())?;
        let stats = self.feed.stats();
        let counted = Reject::ALL
            .iter()
            .zip(stats.rejected)
            .filter(|(_, count)| *count > 0);
        let rejected: serde_json::Map<String, serde_json::Value> = counted
            .map(|(why, count)| (why.name().to_owned(), count.into()))
            .collect();
        self.source.pending.end = Some(End {
            how: if self.feed.life() == Life::Closed {
                "closed"
            } else {
                "died"
            },
            accepted_points: stats.accepted_points,
            rejected: serde_json::Value::Object(rejected).to_string(),
            homeless_frames: Reject::ALL
                .iter()
                .zip(stats.rejected)
                .filter(|(why, _)| matches!(why, Reject::NoSpace | Reject::LanesBusy))
                .map(|(_, count)| count)
                .sum(),
            exit,
        });
        self.source.pending.seal = true;
        Ok(true)
    }

    /// The commit is durable: tell the producer, forget what waited.
    pub(super) fn acknowledge(&mut self, marks: &[(u8, u64)]) -> Result<(), ReadError> {
        for (lane, mark) in marks {
            self.feed.acknowledge(LaneId(*lane), Lsn(*mark))?;
        }
        self.feed.set_durable_points(self.source.points);
        (self.points, self.bytes, self.urgent, self.oldest_ns) = (0, 0, false, None);
        Ok(())
    }

    /// Age of the oldest frame that is not durable, in seconds.
    pub(super) fn lag_s(&self) -> f64 {
        self.oldest_ns
            .map_or(0.0, |ns| ((clock::boottime_ns() - ns).max(0)) as f64 / 1e9)
    }

    /// Delete its files: everything is in the database for good.
    pub(super) fn remove(self, run_dir: &Path) -> std::io::Result<()> {
        match self.feed.remove(run_dir) {
            // Somebody was faster.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
