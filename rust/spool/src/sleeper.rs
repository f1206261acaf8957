//! Sleeps until some lane has something to read; costs the writers nothing while they are busy.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::header::SLEEPING;
use crate::medium::Medium;
use crate::reader::ProducerReader;
use crate::sync::AtomicU64;
use crate::wake;

/// Frames came within this time: look again soon, without a sleeping word.
const BUSY_FOR: Duration = Duration::from_secs(1);
const BUSY_NAP: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_millis(250);
/// Where wake-ups cannot be relied on.
const POLL: Duration = Duration::from_millis(50);

/// Waits for frames of many producers.
#[derive(Debug)]
pub struct Sleeper {
    last_frames: Instant,
}

impl Default for Sleeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Sleeper {
    /// A sleeper that has just seen frames.
    #[must_use]
    pub fn new() -> Self {
        Self {
            last_frames: Instant::now(),
        }
    }

    /// Say that frames were read: for the next second sleeps are short and wake nobody.
    pub fn busy(&mut self) {
        self.last_frames = Instant::now();
    }

    /// Sleep until a lane has something, at most `timeout` and at most 250 ms.
    pub fn wait(&mut self, readers: &mut [&mut ProducerReader], timeout: Duration) {
        if readers.iter().any(|r| r.has_next()) {
            return;
        }
        if self.last_frames.elapsed() < BUSY_FOR {
            std::thread::sleep(timeout.min(BUSY_NAP));
            return;
        }
        let words: Vec<&AtomicU64> = readers
            .iter()
            .flat_map(|r| r.tails())
            .filter_map(|t| sleeping_word(&t.ring().medium))
            .collect();
        let mapped = words.len() == readers.iter().map(|r| r.tails().count()).sum::<usize>();
        words.iter().for_each(|w| w.store(1, Ordering::Relaxed));
        // Release/Acquire alone loses wake-ups: the writer has no fence between its publish and its look here.
        let fenced = words.is_empty() || wake::membarrier();
        if !readers.iter().any(|r| r.has_next()) {
            let most = if mapped && fenced { LONGEST } else { POLL };
            wake::wait_any(&words, timeout.min(most));
        }
        words.iter().for_each(|w| w.store(0, Ordering::Relaxed));
    }
}

fn sleeping_word(medium: &Medium) -> Option<&AtomicU64> {
    match medium {
        Medium::Map(words) => words.cells().get(SLEEPING),
        Medium::File(_) => None,
    }
}
