//! One producer on another machine: what came of it, and how far it is durable.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tm_spool::{
    Batch, DICT_START, DictTail, GapRange, GapReason, LaneId, Lsn, ProducerId, ProducerInfo, Read,
    count_frames, definitions,
};

use crate::wire::{Announced, Durable, Message, State};

/// Where in the stream of a lane or a dictionary a message stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was what came next.
    Yes,
    /// It was here before.
    Known,
    /// Something before it is missing, or it is damaged; the text says what.
    No(&'static str),
}

/// Frames as a message brought them.
pub(super) struct Piece {
    pub lane: u8,
    pub prev: u64,
    pub first: u64,
    pub end: u64,
    pub bytes: Vec<u8>,
}

/// A hole as a message told it.
pub(super) struct Hole {
    pub lane: u8,
    pub first: u64,
    pub end: u64,
    pub frames_lost: Option<u64>,
    pub reason: GapReason,
}

/// The wall clock of another machine, beside that of this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock {
    /// Added to that one it gives this one, in nanoseconds.
    pub offset_ns: i64,
    /// By how much that may be wrong, in nanoseconds.
    pub error_ns: u64,
}

#[derive(Debug)]
pub(super) struct Inbox {
    /// With the wall clock of this machine.
    pub info: ProducerInfo,
    pub clock: Clock,
    /// The connection it comes by.
    pub peer: Vec<u8>,
    /// Ingest has told where its lanes stand.
    pub open: bool,
    pub received: BTreeMap<u8, u64>,
    pub durable: BTreeMap<u8, u64>,
    /// How far its dictionary is here.
    pub definitions: u64,
    pub tail: DictTail,
    /// What ingest has not read yet.
    queues: BTreeMap<u8, VecDeque<Read>>,
    /// The bytes of that.
    pub queued_bytes: u64,
    pub state: State,
    pub points: u64,
    pub stop: Option<String>,
    /// Its relay has not been told how far it is.
    pub untold: bool,
}

impl Inbox {
    pub(super) fn new(announced: Announced, peer: Vec<u8>) -> Self {
        let mut info = announced.info;
        info.wall_ns = info.wall_ns.saturating_add(announced.clock_offset_ns);
        Self {
            info,
            clock: Clock {
                offset_ns: announced.clock_offset_ns,
                error_ns: announced.clock_error_ns,
            },
            peer,
            open: false,
            received: BTreeMap::new(),
            durable: BTreeMap::new(),
            definitions: DICT_START,
            tail: DictTail::default(),
            queues: BTreeMap::new(),
            queued_bytes: 0,
            state: State::unknown(),
            points: 0,
            stop: None,
            untold: false,
        }
    }

    fn id(&self) -> ProducerId {
        self.info.id
    }

    /// Ingest says where it stands.
    pub(super) fn start(&mut self, marks: &HashMap<u8, u64>, points: u64) {
        self.open = true;
        self.durable = marks.iter().map(|(lane, mark)| (*lane, *mark)).collect();
        self.received = self.durable.clone();
        self.points = points;
    }

    /// Take records of the dictionary that lie at `first` of its file.
    pub(super) fn define(&mut self, first: u64, records: &[u8]) -> Taken {
        let end = first.saturating_add(records.len() as u64);
        if first > self.definitions {
            return Taken::No("definitions are missing");
        }
        if first < self.definitions {
            let known = end <= self.definitions;
            return if known {
                Taken::Known
            } else {
                Taken::No("definitions overlap")
            };
        }
        let Some(tail) = definitions(self.id(), records) else {
            return Taken::No("definitions are damaged");
        };
        self.definitions = end;
        self.tail.keys.extend(tail.keys);
        self.tail.layouts.extend(tail.layouts);
        Taken::Yes
    }

    /// Whether something of a lane that reaches from `from` to `end` is what comes next.
    fn place(&self, lane: u8, from: u64, end: u64) -> Taken {
        let at = self.received.get(&lane).copied().unwrap_or(0);
        if usize::from(lane) >= LANES || end < from {
            Taken::No("positions that no lane has")
        } else if from == at {
            Taken::Yes
        } else if end <= at {
            Taken::Known
        } else if from < at {
            // Of a relay that was started again: its messages are cut at other places.
            Taken::Yes
        } else {
            Taken::No("frames are missing")
        }
    }

    /// Take frames.
    pub(super) fn frames(&mut self, mut piece: Piece) -> Taken {
        match self.place(piece.lane, piece.prev, piece.end) {
            Taken::Yes => {}
            other => return other,
        }
        let last = piece.first.checked_add(piece.bytes.len() as u64);
        if piece.first < piece.prev || last.is_none_or(|last| last > piece.end) {
            return Taken::No("positions that no lane has");
        }
        let at = self.received.get(&piece.lane).copied().unwrap_or(0);
        if at > piece.first {
            // What lies before is here. Only at the edge of a frame the sums below fit.
            let known = (at - piece.first).min(piece.bytes.len() as u64);
            piece.bytes.drain(..known as usize);
            piece.first = at;
        }
        let (lane, first) = (LaneId(piece.lane), Lsn(piece.first));
        let Some(frames) = count_frames(self.id(), lane, first, &piece.bytes) else {
            return Taken::No("frames are damaged");
        };
        let end = Lsn(piece.end);
        let bytes = piece.bytes;
        self.push(
            lane,
            end,
            Read {
                batch: Some(Batch {
                    lane,
                    first,
                    end,
                    bytes,
                    frames,
                }),
                gap: None,
            },
        );
        Taken::Yes
    }

    /// Take a hole.
    pub(super) fn hole(&mut self, hole: &Hole) -> Taken {
        match self.place(hole.lane, hole.first, hole.end) {
            Taken::Yes => {}
            other => return other,
        }
        let lane = LaneId(hole.lane);
        let gap = GapRange {
            lane,
            first: Lsn(hole
                .first
                .max(self.received.get(&hole.lane).copied().unwrap_or(0))),
            end: Lsn(hole.end),
            frames_lost: hole.frames_lost.map(|lost| lost as u32),
            reason: hole.reason,
        };
        self.push(
            lane,
            gap.end,
            Read {
                batch: None,
                gap: Some(gap),
            },
        );
        Taken::Yes
    }

    fn push(&mut self, lane: LaneId, end: Lsn, read: Read) {
        self.received.insert(lane.0, end.0);
        self.queued_bytes += queued(&read);
        self.queues.entry(lane.0).or_default().push_back(read);
    }

    /// The next of a lane.
    pub(super) fn pop(&mut self, lane: LaneId) -> Read {
        let queue = self.queues.get_mut(&lane.0);
        let read = queue.and_then(VecDeque::pop_front).unwrap_or_default();
        self.queued_bytes = self.queued_bytes.saturating_sub(queued(&read));
        read
    }

    pub(super) fn has_next(&self) -> bool {
        self.queues.values().any(|queue| !queue.is_empty())
    }

    /// Bytes of a lane that came and are not durable.
    pub(super) fn waiting(&self, lane: u8) -> u64 {
        let durable = self.durable.get(&lane).copied().unwrap_or(0);
        let received = self.received.get(&lane).copied().unwrap_or(0);
        received.saturating_sub(durable)
    }

    /// As [`Inbox::waiting`], of all lanes.
    pub(super) fn all_waiting(&self) -> u64 {
        self.received.keys().map(|lane| self.waiting(*lane)).sum()
    }

    pub(super) fn resume(&self) -> Message {
        let list =
            |positions: &BTreeMap<u8, u64>| positions.iter().map(|(l, p)| (*l, *p)).collect();
        Message::Resume {
            producer: self.id(),
            received: list(&self.received),
            durable: list(&self.durable),
            definitions: self.definitions,
        }
    }

    pub(super) fn told(&self) -> Durable {
        Durable {
            producer: self.id(),
            points: self.points,
            lanes: self.durable.iter().map(|(l, p)| (*l, *p)).collect(),
            stop: self.stop.clone(),
        }
    }
}

fn queued(read: &Read) -> u64 {
    read.batch
        .as_ref()
        .map_or(0, |batch| batch.bytes.len() as u64)
}

/// A producer has so many lanes at most.
const LANES: usize = 16;
