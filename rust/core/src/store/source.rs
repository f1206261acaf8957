//! One producer as the store sees it: who it is, what its numbers mean, what waits to be stored.

use std::collections::HashMap;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Instant;

use tm_spool::{Batch, DictTail, LaneId, Lsn};

use super::firsts::Firsts;
use super::latest::Latest;

/// The row of a producer, and what is needed of it at every commit.
#[derive(Debug, Clone)]
pub(crate) struct ProducerRow {
    pub id: i64,
    pub attempt: u32,
    pub rank: u32,
    /// wall clock = boottime + this, at its start.
    pub wall_offset_ns: i64,
    /// Added to a boottime it gives the order across machines: the same for all producers of one boot,
    /// whatever happens to the wall clock.
    pub order_offset_ns: i64,
}

impl ProducerRow {
    /// Where a boottime stands in its attempt. Readers order by the same: `Origins`.
    pub(crate) fn order_ns(&self, boottime_ns: i64) -> i64 {
        boottime_ns.saturating_add(self.order_offset_ns)
    }
}

/// What the numbers in a producer's frames mean in this database.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    keys: Vec<Option<u32>>,
    layouts: HashMap<u32, Arc<[u32]>>,
    /// Defined in the transaction under way: keys and layouts to forget if it is rolled back.
    unsettled: (Vec<u32>, Vec<u32>),
}

impl Dictionary {
    /// The key with the producer's number `local`. `None`: the producer never defined it.
    pub(crate) fn key(&self, local: u32) -> Option<u32> {
        self.keys.get(local as usize).copied().flatten()
    }

    /// The keys of a layout. `None`: the producer never defined it.
    pub(crate) fn layout(&self, local: u32) -> Option<&Arc<[u32]>> {
        self.layouts.get(&local)
    }

    /// The transaction that held the new definitions is durable.
    pub(crate) fn committed(&mut self) {
        self.unsettled = Default::default();
    }

    /// The transaction is gone, and with it the rows of the new definitions: they are to be written again.
    pub(crate) fn rolled_back(&mut self) {
        let (keys, layouts) = std::mem::take(&mut self.unsettled);
        for local in keys {
            if let Some(slot) = self.keys.get_mut(local as usize) {
                *slot = None;
            }
        }
        for local in layouts {
            self.layouts.remove(&local);
        }
    }

    pub(crate) fn define_key(&mut self, local: u32, key: u32) {
        self.unsettled.0.push(local);
        let at = local as usize;
        if self.keys.len() <= at {
            self.keys.resize(at + 1, None);
        }
        if let Some(slot) = self.keys.get_mut(at) {
            *slot = Some(key);
        }
    }

    pub(crate) fn define_layout(&mut self, local: u32, keys: Arc<[u32]>) {
        self.unsettled.1.push(local);
        self.layouts.insert(local, keys);
    }
}

/// A range of a lane, or calls of a producer, that will never be in the database.
#[derive(Debug, Clone)]
pub(crate) struct Gap {
    /// `None`: not tied to a lane.
    pub lane: Option<LaneId>,
    pub first: Lsn,
    pub end: Lsn,
    /// `None`: not known.
    pub frames_lost: Option<u32>,
    pub reason: String,
    pub detail: Option<String>,
}

/// How a producer ended.
#[derive(Debug, Clone)]
pub(crate) struct End {
    /// "closed" or "died".
    pub how: &'static str,
    pub accepted_points: u64,
    /// JSON: rejected values by reason.
    pub rejected: String,
    /// Calls for which no lane had a place.
    pub homeless_frames: u64,
    /// `None`: it closed.
    pub exit: Option<Exit>,
}

/// How a process ended that did not close.
#[derive(Debug, Clone)]
pub(crate) struct Exit {
    /// `None`: nobody can say.
    pub status: Option<ExitStatus>,
    /// Processes that the kernel killed for want of memory in its cgroup, within seconds of its end.
    /// `None`: not known.
    pub oom_kills: Option<u64>,
    /// `None`: it logged no metric.
    pub last_step: Option<i64>,
}

/// What was read from the lanes and is not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub definitions: Vec<DictTail>,
    pub batches: Vec<Batch>,
    pub gaps: Vec<Gap>,
    /// Where each lane will stand after the commit.
    pub marks: HashMap<u8, u64>,
    /// Seal whatever is open, however little it is.
    pub seal: bool,
    /// `None`: it goes on.
    pub end: Option<End>,
}

impl Pending {
    pub(crate) fn is_empty(&self) -> bool {
        self.definitions.is_empty()
            && self.batches.is_empty()
            && self.gaps.is_empty()
            && self.marks.is_empty()
            && self.end.is_none()
    }
}

/// What lies in `fresh` for one producer, so that sealing is decided without asking the database.
#[derive(Debug, Default, Clone)]
pub(crate) struct FreshTally {
    /// Frames of each layout; the pairs frames are under `None`.
    pub frames: HashMap<Option<u32>, u32>,
    pub points: u64,
    pub bytes: u64,
    /// When the first of them came. `None`: nothing lies there.
    pub since: Option<Instant>,
}

impl FreshTally {
    /// Something lies there, nobody knows how much.
    pub(crate) fn unknown() -> Self {
        Self {
            points: 1,
            ..Self::default()
        }
    }
}

/// Everything the store keeps about a producer between commits.
#[derive(Debug)]
pub(crate) struct Source {
    pub row: ProducerRow,
    pub dictionary: Dictionary,
    pub pending: Pending,
    pub fresh: FreshTally,
    pub latest: Latest,
    pub firsts: Firsts,
    /// Points of this producer that are durable.
    pub points: u64,
    /// Where each lane stands in the database.
    pub marks: HashMap<u8, u64>,
}
