//! One producer of this node, on its way to the monitor.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tm_spool::{
    Batch, DICT_START, GapRange, LaneId, Life, Lsn, ProducerId, ProducerReader, ReadError,
};

use super::unacked::Unacked;
use crate::readers::{EndWatch, Exposed};
use crate::wire::{Announced, Durable, ExitTold, Message, Packed, State};

/// About so many bytes of a lane make a message. With half of that the receiver takes a sixth more CPU for a byte.
const BATCH_BYTES: usize = 256 << 10;
/// The dictionary is looked at in pieces of this size.
const RECORDS_BYTES: usize = 8 << 10;
/// A producer that has ended is brought home within a commit or two.
const DONE_WITHIN: Duration = Duration::from_secs(10);
/// New lanes are looked for so often.
const LANES_EVERY: Duration = Duration::from_secs(1);
/// How a producer goes is told so often.
const STATE_EVERY: Duration = Duration::from_secs(1);

/// Where the connection stands with a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The monitor does not know of it.
    Unknown,
    /// It was told of it then.
    Announced(Instant),
    /// It said where to go on.
    Resumed,
}

/// A producer and what of it is not durable yet.
#[derive(Debug)]
pub(super) struct Shipped {
    pub reader: ProducerReader,
    end_watch: EndWatch,
    pub exposed: Exposed,
    stage: Stage,
    /// Where the database has each lane, as the monitor said last.
    durable: BTreeMap<u8, u64>,
    /// Lanes that were placed, and where the last message of each ended.
    lanes: BTreeMap<u8, u64>,
    unacked: Unacked,
    /// How far the dictionary was sent.
    dict_at: u64,
    /// There may be more of it.
    dict_open: bool,
    told: Option<(Instant, State)>,
    /// The lanes there are, and when that was looked up.
    seen: Vec<LaneId>,
    looked: Option<Instant>,
    exit: Option<ExitTold>,
    /// When the monitor was told that all was sent. `None`: it was not, by this connection.
    drained_at: Option<Instant>,
}

impl Shipped {
    pub(super) fn new(reader: ProducerReader) -> Self {
        Self {
            end_watch: EndWatch::new(reader.info().pid),
            exposed: Exposed::new(Instant::now()),
            reader,
            stage: Stage::Unknown,
            durable: BTreeMap::new(),
            lanes: BTreeMap::new(),
            unacked: Unacked::default(),
            dict_at: DICT_START,
            dict_open: true,
            told: None,
            seen: Vec::new(),
            looked: None,
            exit: None,
            drained_at: None,
        }
    }

    pub(super) fn id(&self) -> ProducerId {
        self.reader.info().id
    }

    /// The connection is another one: the monitor has to say again where it stands.
    pub(super) fn disconnected(&mut self) {
        self.stage = Stage::Unknown;
        self.told = None;
    }

    /// Present it to the monitor, until that answers.
    pub(super) fn announce(&mut self, now: Instant, clock: (i64, u64)) -> Option<Message> {
        let due = match self.stage {
            Stage::Unknown => true,
            Stage::Announced(at) => now.saturating_duration_since(at) >= STATE_EVERY,
            Stage::Resumed => false,
        };
        due.then(|| {
            self.stage = Stage::Announced(now);
            Message::Announce(Announced {
                info: self.reader.info().clone(),
                clock_offset_ns: clock.0,
                clock_error_ns: clock.1,
            })
        })
    }

    /// The monitor says where it stands.
    pub(super) fn resume(
        &mut self,
        received: &[(u8, u64)],
        durable: &[(u8, u64)],
        definitions: u64,
    ) -> Result<(), ReadError> {
        self.stage = Stage::Resumed;
        self.durable = durable.iter().copied().collect();
        (self.dict_at, self.dict_open) = (definitions.max(DICT_START), true);
        let placed: Vec<u8> = self.lanes.keys().copied().collect();
        for lane in placed {
            let mark = self.durable.get(&lane).copied().unwrap_or(0);
            self.look_back(lane, mark);
            self.settle(lane, mark)?;
        }
        let here: BTreeMap<u8, u64> = received.iter().copied().collect();
        self.unacked.resume(|lane| here.get(&lane).copied());
        Ok(())
    }

    /// A database that has less than we were told it had: what it lost is a hole.
    fn look_back(&mut self, lane: u8, mark: u64) {
        let progress = self.reader.progress();
        let acked = progress
            .filter(|(id, _, _)| id.0 == lane)
            .map(|(_, _, acked)| acked.0)
            .next();
        if let Some(acked) = acked.filter(|acked| *acked > mark) {
            let message = Message::Gap {
                producer: self.id(),
                lane,
                first: mark,
                end: acked,
                frames_lost: None,
                reason: tm_spool::GapReason::DatabaseBehind,
            };
            // Told by an earlier connection, it may have begun elsewhere.
            self.unacked.put_first(lane, acked, message);
        }
    }

    /// How far it is in the database.
    pub(super) fn acknowledge(&mut self, told: &Durable) -> Result<(), ReadError> {
        if self.stage != Stage::Resumed {
            return Ok(());
        }
        let control = self.reader.control();
        control.set_durable_points(told.points);
        if let Some(reason) = told.stop.as_ref().filter(|_| !control.should_stop()) {
            control.stop(reason);
        }
        for (lane, mark) in &told.lanes {
            self.durable.insert(*lane, *mark);
            if self.lanes.contains_key(lane) {
                self.settle(*lane, *mark)?;
            }
        }
        Ok(())
    }

    /// Everything of the lane below `mark` is durable.
    fn settle(&mut self, lane: u8, mark: u64) -> Result<(), ReadError> {
        self.unacked.settle(lane, mark);
        // Never further than was read: a mark beyond that is none of ours.
        if self.lanes.get(&lane).is_some_and(|end| mark <= *end) {
            self.reader.acknowledge(LaneId(lane), Lsn(mark))?;
        }
        Ok(())
    }

    /// Bytes that were read and are not durable.
    pub(super) fn in_flight(&self) -> u64 {
        self.unacked.bytes()
    }

    /// Read what is there, while no more than `room` bytes are on their way. Returns the bytes read.
    pub(super) fn read(&mut self, now: Instant, room: u64) -> Result<u64, ReadError> {
        let mut got = 0;
        for lane in self.known_lanes(now) {
            if !self.lanes.contains_key(&lane.0) && self.stage == Stage::Resumed {
                self.place(lane)?;
            }
            if room == 0 || !self.lanes.contains_key(&lane.0) {
                // Nothing is taken; what a ring needs that fills is made ready.
                self.reader.read(lane, 0)?;
                continue;
            }
            while got < room {
                let read = self.reader.read(lane, BATCH_BYTES)?;
                if read.batch.is_none() && read.gap.is_none() {
                    break;
                }
                if let Some(batch) = read.batch {
                    got += batch.bytes.len() as u64 + 1;
                    self.push_batch(batch);
                }
                if let Some(gap) = read.gap {
                    self.push_gap(gap);
                }
            }
        }
        Ok(got)
    }

    /// The lanes it had a moment ago: looking for new ones opens files.
    fn known_lanes(&mut self, now: Instant) -> Vec<LaneId> {
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < LANES_EVERY;
        if !self.looked.is_some_and(is_fresh) {
            self.looked = Some(now);
            self.seen = self.reader.lanes();
        }
        self.seen.clone()
    }

    /// Start a lane where the database has it.
    fn place(&mut self, lane: LaneId) -> Result<(), ReadError> {
        let mark = self.durable.get(&lane.0).copied().unwrap_or(0);
        let gap = self.reader.set_mark(lane, Lsn(mark))?;
        self.reader.acknowledge(lane, Lsn(mark))?;
        self.lanes.insert(lane.0, mark);
        if let Some(gap) = gap {
            self.push_gap(gap);
        }
        Ok(())
    }

    fn push_batch(&mut self, batch: Batch) {
        let prev = self.lanes.insert(batch.lane.0, batch.end.0).unwrap_or(0);
        self.dict_open |= batch.frames > 0;
        let (lane, end) = (batch.lane.0, batch.end.0);
        let message = Message::Frames {
            producer: self.id(),
            lane,
            prev,
            first: batch.first.0,
            end,
            bytes: batch.bytes,
        };
        self.unacked.push(lane, end, message);
    }

    fn push_gap(&mut self, gap: GapRange) {
        self.lanes.insert(gap.lane.0, gap.end.0);
        let message = Message::Gap {
            producer: self.id(),
            lane: gap.lane.0,
            first: gap.first.0,
            end: gap.end.0,
            frames_lost: gap.frames_lost.map(u64::from),
            reason: gap.reason,
        };
        self.unacked.push(gap.lane.0, gap.end.0, message);
    }

    /// The next message of this producer. `None`: there is nothing to say.
    ///
    /// # Errors
    /// The dictionary cannot be read now.
    pub(super) fn next(&mut self, now: Instant) -> io::Result<Option<Arc<Packed>>> {
        if self.stage != Stage::Resumed {
            return Ok(None);
        }
        if self.dict_open {
            // Definitions come before the frames that use them.
            let records = self
                .reader
                .definition_records(self.dict_at, RECORDS_BYTES)?;
            self.dict_open = !records.is_empty();
            if self.dict_open {
                let (producer, first) = (self.id(), self.dict_at);
                self.dict_at += records.len() as u64;
                let define = Message::Define {
                    producer,
                    first,
                    records,
                };
                return Ok(Some(Arc::new(define.pack())));
            }
        }
        if let Some(message) = self.unacked.next() {
            return Ok(Some(message));
        }
        let state = self.next_state(now);
        Ok(state.map(|message| Arc::new(message.pack())))
    }

    /// How it goes: once a second, and at once when it has ended.
    fn next_state(&mut self, now: Instant) -> Option<Message> {
        let told = self.told.take();
        let rested = told
            .as_ref()
            .is_none_or(|(at, _)| now.saturating_duration_since(*at) >= STATE_EVERY);
        let last = told.as_ref().map(|(_, state)| (state.life, state.drained));
        let life = self.reader.life();
        let was_drained = last == Some((life, true));
        if was_drained && self.drained_at.is_some_and(|at| now >= at + DONE_WITHIN) {
            // The answer was lost: told of it anew, the monitor answers again.
            self.drained_at = None;
            self.stage = Stage::Unknown;
            return None;
        }
        let drained = was_drained || (life != Life::Alive && self.is_drained(now, life));
        if !rested && last == Some((life, drained)) {
            self.told = told;
            return None;
        }
        let stats = self.reader.stats();
        let state = State {
            life,
            accepted_frames: stats.accepted_frames,
            accepted_points: stats.accepted_points,
            rejected: stats.rejected.to_vec(),
            backlog_bytes: stats.backlog_bytes,
            last_step: self.reader.last_step().unwrap_or(-1),
            drained,
            exit: self.exit.clone(),
        };
        if drained && !was_drained {
            self.drained_at = Some(now);
        }
        self.told = Some((now, state.clone()));
        let producer = self.id();
        Some(Message::State { producer, state })
    }

    /// Whether it has ended, everything of it was sent, and how it ended is known.
    fn is_drained(&mut self, now: Instant, life: Life) -> bool {
        // Whether it is drained takes a look at the files of all lanes there could be.
        let is_read = self.unacked.is_all_sent() && !self.reader.has_next();
        if !is_read || !self.reader.drained().unwrap_or(false) {
            return false;
        }
        if life == Life::Closed || self.exit.is_some() {
            return true;
        }
        self.exit = self
            .end_watch
            .exit(&self.reader, now, false)
            .map(|exit| ExitTold {
                status: exit.status.map(|status| status.into_raw() as u64),
                oom_kills: exit.oom_kills,
            });
        self.exit.is_some()
    }

    /// It lives: look at what only a living process shows.
    pub(super) fn watch(&mut self, now: Instant) {
        if self.reader.life() == Life::Alive {
            self.end_watch.look(now);
        }
    }

    /// Everything is in the database for good: its files can go.
    pub(super) fn remove(mut self, run_dir: &Path) -> io::Result<()> {
        // A process that has closed may still wait for that.
        for (lane, end) in &self.lanes {
            // What is not there needs no word.
            let _ = self.reader.acknowledge(LaneId(*lane), Lsn(*end));
        }
        let points = self.reader.stats().accepted_points;
        self.reader.control().set_durable_points(points);
        match self.reader.remove(run_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
