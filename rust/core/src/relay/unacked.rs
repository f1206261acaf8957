//! What was read of the lanes of a producer and is not durable yet, as messages in the order of reading.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::wire::{Message, Packed};

/// A message that carries a stretch of a lane.
#[derive(Debug)]
struct Kept {
    lane: u8,
    end: u64,
    message: Arc<Packed>,
}

/// Messages that are kept until the monitor says that their stretches are durable.
#[derive(Debug, Default)]
pub(super) struct Unacked {
    kept: VecDeque<Kept>,
    /// How many of them were sent by this connection, or need not be.
    sent: usize,
    /// All of them together.
    bytes: u64,
}

impl Unacked {
    /// What was read up to `end` of a lane.
    pub(super) fn push(&mut self, lane: u8, end: u64, message: Message) {
        let kept = Kept::new(lane, end, message);
        self.bytes += kept.bytes();
        self.kept.push_back(kept);
    }

    /// What is said of the lane before everything else; nothing of it up to `end` is needed.
    pub(super) fn put_first(&mut self, lane: u8, end: u64, message: Message) {
        self.forget(|kept| kept.lane == lane && kept.end <= end);
        let kept = Kept::new(lane, end, message);
        self.bytes += kept.bytes();
        self.kept.push_front(kept);
    }

    /// Everything of the lane below `mark` is durable.
    pub(super) fn settle(&mut self, lane: u8, mark: u64) {
        self.forget(|kept| kept.lane == lane && kept.end <= mark);
    }

    fn forget(&mut self, is_done: impl Fn(&Kept) -> bool) {
        let gone = self
            .kept
            .iter()
            .take(self.sent)
            .filter(|kept| is_done(kept));
        self.sent -= gone.count();
        self.kept.retain(|kept| !is_done(kept));
        self.bytes = self.kept.iter().map(Kept::bytes).sum();
    }

    /// Another connection: the monitor has these up to the position that `received` gives for their lane. What lies
    /// behind something that is missing there is sent twice, and known.
    pub(super) fn resume(&mut self, received: impl Fn(u8) -> Option<u64>) {
        let is_there = |kept: &&Kept| received(kept.lane).is_some_and(|at| kept.end <= at);
        self.sent = self.kept.iter().take_while(is_there).count();
    }

    /// The next to be sent. `None`: all were.
    pub(super) fn next(&mut self) -> Option<Arc<Packed>> {
        let kept = self.kept.get(self.sent)?;
        self.sent += 1;
        Some(Arc::clone(&kept.message))
    }

    pub(super) fn is_all_sent(&self) -> bool {
        self.sent >= self.kept.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Kept {
    fn new(lane: u8, end: u64, message: Message) -> Self {
        Self {
            lane,
            end,
            message: Arc::new(message.pack()),
        }
    }

    fn bytes(&self) -> u64 {
        self.message.size_bytes() as u64
    }
}
