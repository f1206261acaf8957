//! Where the frames of a producer come from: its lanes on this machine, or a relay that reads them elsewhere.

use std::collections::HashMap;
use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::time::Instant;

use tm_spool::{
    DictTail, GapRange, LaneId, Life, Lsn, ProducerInfo, ProducerReader, ProducerStats, Read,
    ReadError,
};

use super::remote::Clock;
use crate::readers::EndWatch;
use crate::store::Exit;

/// One producer, as ingest reads it.
pub(crate) trait Feed: Debug + Send {
    /// Who the producer is, with the wall clock of this machine.
    fn info(&self) -> &ProducerInfo;

    /// The wall clock of its machine. `None`: it is that of this one.
    fn clock(&self) -> Option<Clock>;

    /// Whether it still logs, as far as is known here.
    fn life(&mut self) -> Life;

    /// The lanes that exist now. New ones want [`Feed::set_mark`] before they are read.
    fn lanes(&mut self) -> Vec<LaneId>;

    /// Start a lane at the stored mark.
    ///
    /// # Errors
    /// Its files cannot be opened now.
    fn set_mark(&mut self, lane: LaneId, mark: Lsn) -> Result<Option<GapRange>, ReadError>;

    /// Read up to about `max_bytes` from a lane.
    ///
    /// # Errors
    /// There is no such lane.
    fn read(&mut self, lane: LaneId, max_bytes: usize) -> Result<Read, ReadError>;

    /// Everything of this lane below `upto` is in the database for good.
    ///
    /// # Errors
    /// There is no such lane.
    fn acknowledge(&mut self, lane: LaneId, upto: Lsn) -> Result<(), ReadError>;

    /// Definitions written since the last call.
    ///
    /// # Errors
    /// The kernel's.
    fn dictionary(&mut self) -> Result<DictTail, ReadError>;

    /// Whether a read would find something now.
    fn has_next(&self) -> bool;

    /// Whether the producer ended and nothing unread is left.
    ///
    /// # Errors
    /// The kernel's.
    fn drained(&mut self) -> Result<bool, ReadError>;

    /// Counters of the producer.
    fn stats(&self) -> ProducerStats;

    /// The highest step so far. `None`: no points yet.
    fn last_step(&self) -> Option<i64>;

    /// It lives: look at what only a living process shows.
    fn watch(&mut self, now: Instant);

    /// How its process ended. `None`: that will be known in a moment; ask again.
    fn exit(&mut self, now: Instant, at_once: bool) -> Option<Exit>;

    /// Bytes of a lane that wait for an acknowledgement, and how many may. `None`: no such lane.
    fn fill(&self, lane: LaneId) -> Option<(u64, u64)>;

    /// Bytes of all lanes that are not in the database yet, wherever they wait.
    fn backlog_bytes(&self) -> u64;

    /// Ask the training to stop.
    fn stop(&self, reason: &str);

    /// Its lanes stand here in the database, and so many of its points are there.
    fn open(&self, marks: &HashMap<u8, u64>, points: u64);

    /// So many of its points are in the database for good.
    fn set_durable_points(&self, points: u64);

    /// What has to be added to its boot clock to get that of this machine, in nanoseconds.
    fn boot_shift_ns(&self) -> i64;

    /// The reader of its lanes. `None`: they are on another machine.
    fn local(&self) -> Option<&ProducerReader>;

    /// As [`Feed::local`], to change it.
    fn local_mut(&mut self) -> Option<&mut ProducerReader>;

    /// As [`Feed::local`], to keep it.
    fn into_local(self: Box<Self>) -> Option<ProducerReader>;

    /// Everything is in the database for good, and the producer has ended: its files can go.
    ///
    /// # Errors
    /// The kernel's.
    fn remove(self: Box<Self>, run_dir: &Path) -> io::Result<()>;
}

/// A producer whose lanes are on this machine.
#[derive(Debug)]
pub(crate) struct Local {
    reader: ProducerReader,
    end_watch: EndWatch,
}

impl Local {
    pub(crate) fn new(reader: ProducerReader) -> Self {
        let end_watch = EndWatch::new(reader.info().pid);
        Self { reader, end_watch }
    }
}

impl Feed for Local {
    fn info(&self) -> &ProducerInfo {
        self.reader.info()
    }

    fn clock(&self) -> Option<Clock> {
        None
    }

    fn life(&mut self) -> Life {
        self.reader.life()
    }

    fn lanes(&mut self) -> Vec<LaneId> {
        self.reader.lanes()
    }

    fn set_mark(&mut self, lane: LaneId, mark: Lsn) -> Result<Option<GapRange>, ReadError> {
        self.reader.set_mark(lane, mark)
    }

    fn read(&mut self, lane: LaneId, max_bytes: usize) -> Result<Read, ReadError> {
        self.reader.read(lane, max_bytes)
    }

    fn acknowledge(&mut self, lane: LaneId, upto: Lsn) -> Result<(), ReadError> {
        self.reader.acknowledge(lane, upto)
    }

    fn dictionary(&mut self) -> Result<DictTail, ReadError> {
        self.reader.dictionary()
    }

    fn has_next(&self) -> bool {
        self.reader.has_next()
    }

    fn drained(&mut self) -> Result<bool, ReadError> {
        self.reader.drained()
    }

    fn stats(&self) -> ProducerStats {
        self.reader.stats()
    }

    fn last_step(&self) -> Option<i64> {
        self.reader.last_step()
    }

    fn watch(&mut self, now: Instant) {
        self.end_watch.look(now);
    }

    fn exit(&mut self, now: Instant, at_once: bool) -> Option<Exit> {
        self.end_watch.exit(&self.reader, now, at_once)
    }

    fn fill(&self, lane: LaneId) -> Option<(u64, u64)> {
        self.reader.fill(lane)
    }

    fn backlog_bytes(&self) -> u64 {
        let fills = self.reader.progress();
        fills
            .map(|(_, written, acked)| written.0.saturating_sub(acked.0))
            .sum()
    }

    fn stop(&self, reason: &str) {
        self.reader.control().stop(reason);
    }

    fn open(&self, _: &HashMap<u8, u64>, points: u64) {
        self.set_durable_points(points);
    }

    fn set_durable_points(&self, points: u64) {
        self.reader.control().set_durable_points(points);
    }

    fn boot_shift_ns(&self) -> i64 {
        0
    }

    fn local(&self) -> Option<&ProducerReader> {
        Some(&self.reader)
    }

    fn local_mut(&mut self) -> Option<&mut ProducerReader> {
        Some(&mut self.reader)
    }

    fn into_local(self: Box<Self>) -> Option<ProducerReader> {
        Some(self.reader)
    }

    fn remove(self: Box<Self>, run_dir: &Path) -> io::Result<()> {
        self.reader.remove(run_dir)
    }
}
