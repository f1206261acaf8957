//! When to do what: the intervals of the ingest thread, and its patience after errors.

use std::time::{Duration, Instant};

/// Something done at most once per interval.
#[derive(Debug)]
pub(crate) struct Every {
    interval: Duration,
    /// `None`: never done.
    last: Option<Instant>,
}

impl Every {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
        }
    }

    /// Whether it is time; if so the next time is one interval from now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let due = self.is_past(now);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// Whether the next [`Every::is_due`] would say yes.
    pub(super) fn is_past(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.duration_since(last) >= self.interval)
    }

    /// Use another interval from the last time on.
    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Pauses between attempts that grow while they fail.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// `None`: the last attempt went well.
    wait: Option<(Instant, Duration)>,
}

impl Backoff {
    pub(super) fn failed(&mut self, now: Instant) {
        let pause = self
            .wait
            .map_or(FIRST_PAUSE, |(_, pause)| (pause * 2).min(LONGEST_PAUSE));
        self.wait = Some((now, pause));
    }

    pub(super) fn succeeded(&mut self) {
        self.wait = None;
    }

    /// Whether the next attempt has to wait.
    pub(super) fn is_waiting(&self, now: Instant) -> bool {
        self.wait
            .is_some_and(|(since, pause)| now.duration_since(since) < pause)
    }
}

/// The last thing that went wrong beside the database; forgotten when it does not come again.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// `None`: nothing went wrong lately.
    last: Option<(Instant, String)>,
}

const TROUBLE_SHOWN: Duration = Duration::from_secs(30);

impl Trouble {
    pub(crate) fn note(&mut self, what: String) {
        self.last = Some((Instant::now(), what));
    }

    /// `None`: nothing went wrong lately.
    pub(crate) fn current(&self, now: Instant) -> Option<String> {
        let fresh = |at: &Instant| now.saturating_duration_since(*at) < TROUBLE_SHOWN;
        self.last
            .as_ref()
            .filter(|(at, _)| fresh(at))
            .map(|(_, what)| what.clone())
    }
}

/// Points per second over the last few seconds.
#[derive(Debug)]
pub(crate) struct Rate {
    since: Instant,
    points: u64,
    per_s: f64,
}

const RATE_WINDOW: Duration = Duration::from_secs(1);

impl Rate {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            points: 0,
            per_s: 0.0,
        }
    }

    pub(super) fn add(&mut self, points: u64) {
        self.points += points;
    }

    pub(super) fn per_s(&mut self, now: Instant) -> f64 {
        let window = now.duration_since(self.since);
        if window >= RATE_WINDOW {
            let measured = self.points as f64 / window.as_secs_f64();
            self.per_s = if self.per_s == 0.0 {
                measured
            } else {
                (self.per_s + measured) / 2.0
            };
            (self.since, self.points) = (now, 0);
            if self.per_s < 0.5 && measured == 0.0 {
                self.per_s = 0.0;
            }
        }
        self.per_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_two_seconds_and_end_with_success() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        assert!(!backoff.is_waiting(now));
        backoff.failed(now);
        assert!(backoff.is_waiting(now) && !backoff.is_waiting(now + FIRST_PAUSE));
        (0..10).for_each(|_| backoff.failed(now));
        assert!(!backoff.is_waiting(now + LONGEST_PAUSE));
        backoff.succeeded();
        assert!(!backoff.is_waiting(now));
    }
}
