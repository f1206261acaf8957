//! Steps that no longer come: each producer's pace is learned, and a silence much longer than that is told.

use std::time::{Duration, Instant};

/// So many steps must have been seen before a silence means anything.
const LEARNED_STEPS: u32 = 10;
/// A silence is told when it is so many usual steps long...
const USUAL_STEPS: f64 = 30.0;
/// ...and so many of the longest silences that were followed by a step: evaluations, checkpoints.
const LONGEST_PAUSES: f64 = 3.0;
/// How fast the usual step forgets.
const ALPHA: f64 = 0.05;
/// One pause moves the usual step as if it were at most so many times as long.
const MOST_TIMES: f64 = 4.0;

/// The pace of one producer.
#[derive(Debug)]
pub(super) struct Pace {
    /// The highest step, and its boottime. `None`: no step yet.
    highest: Option<(i64, i64)>,
    steps: u32,
    usual_secs: f64,
    longest_secs: f64,
    /// When the highest step was read here.
    advanced: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            highest: None,
            steps: 0,
            usual_secs: 0.0,
            longest_secs: 0.0,
            advanced: now,
        }
    }

    /// A frame of points; steps that were passed before change nothing.
    pub(super) fn observe(&mut self, step: i64, boottime_ns: i64, now: Instant) {
        if let Some((highest, before_ns)) = self.highest {
            if step <= highest {
                return;
            }
            let secs = boottime_ns.saturating_sub(before_ns).max(0) as f64 / 1e9;
            self.learn(secs);
        }
        self.highest = Some((step, boottime_ns));
        self.advanced = now;
    }

    fn learn(&mut self, secs: f64) {
        self.longest_secs = self.longest_secs.max(secs);
        if self.steps == 0 {
            self.usual_secs = secs;
        } else {
            let at_most = secs.min(MOST_TIMES * self.usual_secs.max(1e-6));
            self.usual_secs += ALPHA * (at_most - self.usual_secs);
        }
        self.steps = self.steps.saturating_add(1);
    }

    pub(super) fn step(&self) -> Option<i64> {
        self.highest.map(|(step, _)| step)
    }

    /// For how long no step has come, when that is far longer than usual; `least` is not told in any case.
    pub(super) fn stall(&self, now: Instant, least: Duration) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.advanced);
        let usual = (USUAL_STEPS * self.usual_secs).max(LONGEST_PAUSES * self.longest_secs);
        let is_long = silent >= least && silent.as_secs_f64() >= usual;
        (self.steps >= LEARNED_STEPS && is_long).then_some(silent)
    }
}

/// One producer that logs, as [`describe`] sees it.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub rank: u32,
    pub pace: &'a Pace,
    /// `None`: it goes on.
    pub stalled: Option<Duration>,
}

/// What to tell when steps stopped; of several ranks those that are behind are named, as the others may wait
/// for them.
pub(super) fn describe(standings: &[Standing<'_>]) -> String {
    let stalled: Vec<&Standing<'_>> = standings.iter().filter(|s| s.stalled.is_some()).collect();
    let longest = stalled
        .iter()
        .filter_map(|s| s.stalled)
        .max()
        .unwrap_or_default();
    let usual = stalled
        .iter()
        .map(|s| s.pace.usual_secs)
        .fold(0.0, f64::max);
    let pause = stalled
        .iter()
        .map(|s| s.pace.longest_secs)
        .fold(0.0, f64::max);
    let who = if standings.len() == 1 {
        String::new()
    } else if stalled.len() == standings.len() {
        format!(" from any of {} ranks", standings.len())
    } else {
        format!(" from {}", ranks(stalled.iter().map(|s| s.rank)))
    };
    let mut text = format!(
        "no step for {}{who}; a step takes {}, and the longest pause before was {}",
        duration(longest.as_secs_f64()),
        duration(usual),
        duration(pause)
    );
    let highest = standings.iter().filter_map(|s| s.pace.step()).max();
    let behind: Vec<&&Standing<'_>> = stalled.iter().filter(|s| s.pace.step() < highest).collect();
    if let (Some(highest), Some(last)) = (highest, behind.iter().map(|s| s.pace.step()).min())
        && standings.len() > 1
    {
        let last_ranks = behind
            .iter()
            .filter(|s| s.pace.step() == last)
            .map(|s| s.rank);
        let step = last.map_or("no step".to_owned(), |step| format!("step {step}"));
        text.push_str(&format!(
            "; {} at {step}, the furthest at step {highest}",
            ranks(last_ranks)
        ));
    }
    text
}

/// "rank 3", "ranks 1, 2 and 9 more"
fn ranks(ranks: impl Iterator<Item = u32>) -> String {
    const SHOWN: usize = 8;
    let mut list: Vec<u32> = ranks.collect();
    list.sort_unstable();
    let shown: Vec<String> = list.iter().take(SHOWN).map(u32::to_string).collect();
    let more = match list.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let word = if list.len() == 1 { "rank" } else { "ranks" };
    format!("{word} {}{more}", shown.join(", "))
}

/// A duration in the unit that fits.
pub(super) fn duration(secs: f64) -> String {
    match secs {
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(60);

    /// A producer that took `secs` for each of these steps, the last one now.
    fn pace(secs: impl Iterator<Item = f64>, now: Instant) -> Pace {
        let mut pace = Pace::new(now);
        let mut at = 0.0;
        pace.observe(0, 0, now);
        for (step, secs) in secs.enumerate() {
            at += secs;
            pace.observe(step as i64 + 1, (at * 1e9) as i64, now);
        }
        pace
    }

    fn stalls_after(pace: &Pace, now: Instant, secs: u64) -> bool {
        pace.stall(now + Duration::from_secs(secs), LEAST).is_some()
    }

    #[test]
    fn a_silence_of_many_steps_is_a_stall_and_of_a_minute_at_least() {
        let now = Instant::now();
        let quick = pace((0..100).map(|_| 0.1), now);
        assert!(!stalls_after(&quick, now, 59) && stalls_after(&quick, now, 60));
        let slow = pace((0..100).map(|_| 20.0), now);
        assert!(!stalls_after(&slow, now, 599) && stalls_after(&slow, now, 601));
    }

    #[test]
    fn pauses_that_ended_are_no_stall_when_they_come_again() {
        let now = Instant::now();
        let evaluates = pace(
            (0..1000).map(|step| if step % 100 == 99 { 300.0 } else { 0.1 }),
            now,
        );
        assert!(!stalls_after(&evaluates, now, 890) && stalls_after(&evaluates, now, 901));
    }

    #[test]
    fn a_few_steps_teach_nothing_and_old_steps_are_no_progress() {
        let now = Instant::now();
        assert!(!stalls_after(&pace((0..9).map(|_| 0.1), now), now, 100_000));
        let mut repeats = pace((0..100).map(|_| 0.1), now);
        repeats.observe(50, i64::MAX, now + Duration::from_secs(90));
        assert!(stalls_after(&repeats, now, 90));
    }

    #[test]
    fn the_text_names_who_is_behind() {
        let now = Instant::now();
        let (ahead, behind) = (
            pace((0..20).map(|_| 0.5), now),
            pace((0..19).map(|_| 0.5), now),
        );
        let stalled = Some(Duration::from_secs(90));
        let standing = |rank, pace, stalled| Standing {
            rank,
            pace,
            stalled,
        };
        assert_eq!(
            describe(&[standing(0, &ahead, stalled)]),
            "no step for 90.0 s; a step takes 500 ms, and the longest pause before was 500 ms"
        );
        assert_eq!(
            describe(&[
                standing(0, &ahead, stalled),
                standing(1, &behind, stalled),
                standing(2, &ahead, stalled)
            ]),
            "no step for 90.0 s from any of 3 ranks; a step takes 500 ms, and the longest pause before was \
             500 ms; rank 1 at step 19, the furthest at step 20"
        );
        assert_eq!(
            describe(&[standing(0, &ahead, None), standing(1, &behind, stalled)]),
            "no step for 90.0 s from rank 1; a step takes 500 ms, and the longest pause before was 500 ms; \
             rank 1 at step 19, the furthest at step 20"
        );
    }
}
