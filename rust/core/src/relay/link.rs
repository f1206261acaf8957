//! The connection of a relay to the monitor: how far the greeting is, and how the clocks stand to each other.

use std::time::{Duration, Instant};

/// The monitor says something every second.
const SILENT_FOR: Duration = Duration::from_secs(5);
const PING_EVERY: Duration = Duration::from_secs(1);
/// At first more often: nothing is announced before the clocks were compared.
const FIRST_PINGS: u32 = 5;
/// An old comparison of clocks grows worse by so much: both may drift by 50 parts in a million.
const DRIFT: u64 = 10_000;

#[derive(Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Down,
    /// Nobody has answered yet.
    Hello,
    Up,
    /// It has to be made anew.
    Broken,
}

/// One connection after the other.
#[derive(Debug, Default)]
pub(super) struct Link {
    stage: Stage,
    run: Option<String>,
    heard: Option<Instant>,
    /// When this connection was begun.
    since: Option<Instant>,
    pinged: Option<Instant>,
    pings: u32,
    refused: Option<String>,
    /// The best comparison of clocks: offset, error, when.
    clock: Option<(i64, u64, Instant)>,
}

impl Link {
    pub(super) fn down(&mut self) {
        (self.stage, self.pinged, self.pings) = (Stage::Down, None, 0);
    }

    pub(super) fn hello(&mut self, now: Instant) {
        (self.stage, self.since) = (Stage::Hello, Some(now));
    }

    pub(super) fn welcome(&mut self, run: String) {
        (self.stage, self.run, self.refused) = (Stage::Up, Some(run), None);
    }

    pub(super) fn refuse(&mut self, reason: String) {
        (self.stage, self.refused) = (Stage::Broken, Some(reason));
    }

    pub(super) fn restart(&mut self) {
        self.stage = Stage::Broken;
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    pub(super) fn is_up(&self) -> bool {
        self.stage == Stage::Up
    }

    /// Whether it was ended by the monitor, or nobody answers any more.
    pub(super) fn is_broken(&self, now: Instant) -> bool {
        let last = self.heard.max(self.since);
        match self.stage {
            Stage::Down => false,
            Stage::Broken => true,
            Stage::Hello | Stage::Up => {
                last.is_some_and(|at| now.saturating_duration_since(at) >= SILENT_FOR)
            }
        }
    }

    pub(super) fn is_ping_due(&mut self, now: Instant) -> bool {
        let first = self.pings < FIRST_PINGS;
        let rested = self
            .pinged
            .is_none_or(|at| now.saturating_duration_since(at) >= PING_EVERY);
        if first || rested {
            self.pinged = Some(now);
            self.pings += 1;
        }
        first || rested
    }

    /// The answer to a ping: it was sent at `sent_ns` by our clock, answered at `there_ns` by that of the monitor, and
    /// came back at `back_ns` by ours. As NTP (RFC 5905, section 8), with both of its times for one.
    pub(super) fn pong(&mut self, sent_ns: i64, there_ns: i64, back_ns: i64) {
        let round = back_ns.saturating_sub(sent_ns);
        if round < 0 {
            // Our clock was set back meanwhile.
            return;
        }
        let middle = sent_ns.saturating_add(round / 2);
        let (offset, error) = (there_ns.saturating_sub(middle), round as u64 / 2);
        let now = Instant::now();
        let aged = |(_, error, at): (i64, u64, Instant)| {
            let age_ns = now.saturating_duration_since(at).as_nanos() as u64;
            error.saturating_add(age_ns / DRIFT)
        };
        if self.clock.is_none_or(|known| error <= aged(known)) {
            self.clock = Some((offset, error, now));
        }
    }

    /// What added to our wall clock gives that of the monitor, and the error of that, in nanoseconds.
    pub(super) fn clock(&self) -> Option<(i64, u64)> {
        self.clock.map(|(offset, error, _)| (offset, error))
    }

    pub(super) fn run(&self) -> Option<&str> {
        self.run.as_deref()
    }

    pub(super) fn refused(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    pub(super) fn silent_s(&self, now: Instant) -> Option<f64> {
        let heard = self.heard?;
        Some(now.saturating_duration_since(heard).as_secs_f64())
    }
}
