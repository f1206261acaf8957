//! Goes on beating while the thread that reads the lanes is in a long call: a slow disk is no dead monitor.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tm_spool::Pulse;

/// A turn of the thread takes milliseconds; after so long it is told.
pub(crate) const STUCK: Duration = Duration::from_secs(60);
/// A trainer takes a heart that has not beaten for five seconds for dead.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The thread beats by itself, more often than this.
const LONG: Duration = Duration::from_secs(1);

/// The turns of the thread that reads, and the producers that are to know that it lives.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// When it began its last turn. `None`: it has not begun.
    turned: Mutex<Option<Instant>>,
    /// Held while all of them are beaten for.
    pulses: Mutex<Vec<Pulse>>,
}

impl Turns {
    /// The thread begins a turn.
    pub(crate) fn turn(&self) {
        *self.turned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// For how long the thread has not come back. `None`: it has not begun.
    pub(crate) fn in_one_turn_for(&self) -> Option<Duration> {
        let turned = *self.turned.lock().unwrap_or_else(PoisonError::into_inner);
        turned.map(|at| at.elapsed())
    }

    /// Another producer that is read.
    pub(crate) fn add_pulse(&self, pulse: Pulse) {
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.push(pulse);
    }

    /// Beat for all producers that are still read.
    fn beat(&self) {
        let mut pulses = self.pulses.lock().unwrap_or_else(PoisonError::into_inner);
        pulses.retain(Pulse::beat);
    }
}

/// The thread that beats when the other one cannot. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Heart {
    /// Stored with Release by drop, loaded with Acquire once per look of the thread.
    stopped: Arc<AtomicBool>,
    /// `None`: it is being dropped.
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    pub(crate) fn start(turns: Arc<Turns>) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&stopped);
        let thread = std::thread::Builder::new()
            .name("tm-heart".into())
            .spawn(move || {
                while !ours.load(Ordering::Acquire) {
                    if turns.in_one_turn_for().is_some_and(is_due) {
                        turns.beat();
                    }
                    std::thread::park_timeout(LOOK_EVERY);
                }
            })?;
        Ok(Self {
            stopped,
            thread: Some(thread),
        })
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // Ends at once: it is never in a call that waits.
            drop(thread.join());
        }
    }
}

/// Whether a turn that takes so long is only slow. One that takes a minute is told as an error, and whoever can shall
/// start another monitor.
fn is_due(turn: Duration) -> bool {
    turn >= LONG && turn < STUCK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_that_is_slow_is_beaten_for_and_one_that_hangs_is_not() {
        for (secs, due) in [
            (0, false),
            (1, true),
            (59, true),
            (60, false),
            (9_999, false),
        ] {
            assert_eq!(is_due(Duration::from_secs(secs)), due, "{secs}");
        }
    }
}
