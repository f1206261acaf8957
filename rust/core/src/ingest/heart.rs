//! Goes on beating while the ingest thread is in a long call: a slow disk is no dead monitor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::STUCK;
use super::shared::Shared;

/// A trainer takes a heart that has not beaten for five seconds for dead.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The ingest thread beats by itself, more often than this.
const LONG: Duration = Duration::from_secs(1);

/// The thread that beats when the ingest thread cannot. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Heart {
    /// Stored with Release by drop, loaded with Acquire once per look of the thread.
    stopped: Arc<AtomicBool>,
    /// `None`: it is being dropped.
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    pub(super) fn start(shared: Arc<Shared>) -> io::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let ours = Arc::clone(&stopped);
        let thread = std::thread::Builder::new()
            .name("tm-heart".into())
            .spawn(move || {
                while !ours.load(Ordering::Acquire) {
                    if shared.in_one_turn_for().is_some_and(is_due) {
                        shared.beat();
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
