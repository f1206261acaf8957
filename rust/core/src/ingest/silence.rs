//! Metrics that no longer come: the pace of each producer is learned, and a silence of them all that is much longer
//! is told.

use std::time::{Duration, Instant};

use crate::store::Call;

/// So many calls must have been seen before a silence means anything.
const LEARNED: u32 = 10;
/// A silence is told when it is so many usual intervals long...
const USUAL: f64 = 30.0;
/// ...and so many of the longest ones that ended: evaluations, checkpoints.
const LONGEST: f64 = 3.0;
/// A machine that was suspended overnight must not hide a hang for days.
const MOST_PAUSE_SECS: f64 = 3600.0;
/// How fast the usual interval forgets.
const ALPHA: f64 = 0.05;
/// One pause moves the usual interval as if it were at most so many times as long.
const MOST_TIMES: f64 = 4.0;

/// The pace of one producer: whatever it logs, at whatever step, it lives.
#[derive(Debug)]
pub(super) struct Pace {
    /// Boottime of its newest frame of points. `None`: it has logged none.
    newest_ns: Option<i64>,
    highest_step: Option<i64>,
    intervals: u32,
    usual_secs: f64,
    longest_secs: f64,
    /// When a frame of points was last read here.
    heard: Instant,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            newest_ns: None,
            highest_step: None,
            intervals: 0,
            usual_secs: 0.0,
            longest_secs: 0.0,
            heard: now,
        }
    }

    /// What was learned before, of the calls that are stored, the oldest first; none of it is heard now.
    pub(super) fn recalled(calls: &[Call], now: Instant, boottime_ns: i64) -> Self {
        let mut pace = Self::new(now);
        for (time_ns, step) in calls {
            let ago = Duration::from_nanos(boottime_ns.saturating_sub(*time_ns).max(0) as u64);
            pace.observe(*step, *time_ns, now.checked_sub(ago).unwrap_or(now));
        }
        pace
    }

    /// A frame of points.
    pub(super) fn observe(&mut self, step: i64, boottime_ns: i64, now: Instant) {
        if let Some(before_ns) = self.newest_ns {
            self.learn(boottime_ns.saturating_sub(before_ns).max(0) as f64 / 1e9);
        }
        self.newest_ns = self.newest_ns.max(Some(boottime_ns));
        self.highest_step = self.highest_step.max(Some(step));
        self.heard = now;
    }

    fn learn(&mut self, secs: f64) {
        self.longest_secs = self.longest_secs.max(secs.min(MOST_PAUSE_SECS));
        if self.intervals == 0 {
            self.usual_secs = secs;
        } else {
            let at_most = secs.min(MOST_TIMES * self.usual_secs.max(1e-6));
            self.usual_secs += ALPHA * (at_most - self.usual_secs);
        }
        self.intervals = self.intervals.saturating_add(1);
    }

    /// Whether a frame was logged after this boottime.
    pub(super) fn is_newer_than(&self, boottime_ns: i64) -> bool {
        self.newest_ns > Some(boottime_ns)
    }

    /// Whether its silence would mean anything.
    pub(super) fn is_learned(&self) -> bool {
        self.intervals >= LEARNED
    }

    /// For how long nothing has come, when that is far longer than usual; less than `least` never is.
    fn silence(&self, now: Instant, least: Duration) -> Option<Duration> {
        let silent = now.saturating_duration_since(self.heard);
        let usual = (USUAL * self.usual_secs).max(LONGEST * self.longest_secs);
        (silent >= least && silent.as_secs_f64() >= usual).then_some(silent)
    }
}

/// A rank that logs, and its pace.
#[derive(Debug)]
pub(super) struct Standing<'a> {
    pub rank: u32,
    pub pace: &'a Pace,
}

/// For how long nobody has logged, when that is far longer than usual for each who does. `None`: somebody has, or
/// nobody's pace is known. Ranks that log now and then say nothing.
pub(super) fn silence(
    standings: &[Standing<'_>],
    now: Instant,
    least: Duration,
) -> Option<Duration> {
    let mut shortest = None;
    for standing in standings.iter().filter(|s| s.pace.is_learned()) {
        let silent = standing.pace.silence(now, least)?;
        shortest = Some(shortest.map_or(silent, |known: Duration| known.min(silent)));
    }
    shortest
}

/// What to tell of a silence; ranks that are behind are named, as the others may wait for them.
pub(super) fn describe(standings: &[Standing<'_>], silent: Duration) -> String {
    let learned: Vec<&Standing<'_>> = standings.iter().filter(|s| s.pace.is_learned()).collect();
    let most = |of: fn(&Pace) -> f64| learned.iter().map(|s| of(s.pace)).fold(0.0, f64::max);
    let who = match learned.len() {
        1 => String::new(),
        count => format!(" from any of {count} ranks"),
    };
    let mut text = format!(
        "nothing was logged for {}{who}, where it is usually {}, and was {} at most: training hangs, or it is over \
         and did not call close()",
        duration(silent.as_secs_f64()),
        duration(most(|pace| pace.usual_secs)),
        duration(most(|pace| pace.longest_secs))
    );
    let steps = || learned.iter().filter_map(|s| s.pace.highest_step);
    if let (Some(lowest), Some(highest)) = (steps().min(), steps().max())
        && lowest < highest
    {
        let last = learned
            .iter()
            .filter(|s| s.pace.highest_step == Some(lowest));
        let last = ranks(last.map(|s| s.rank));
        text.push_str(&format!(
            "; {last} at step {lowest}, the furthest at step {highest}"
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

    /// A producer that took so many seconds before each of these steps, the last one now.
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

    fn after(paces: &[&Pace], now: Instant, secs: u64) -> Option<Duration> {
        let standings: Vec<Standing<'_>> = (0..)
            .zip(paces)
            .map(|(rank, pace)| Standing { rank, pace })
            .collect();
        silence(&standings, now + Duration::from_secs(secs), LEAST)
    }

    #[test]
    fn a_silence_of_many_intervals_is_told_and_none_below_the_least() {
        let now = Instant::now();
        let quick = pace((0..100).map(|_| 0.1), now);
        assert!(after(&[&quick], now, 59).is_none() && after(&[&quick], now, 60).is_some());
        let slow = pace((0..100).map(|_| 20.0), now);
        assert!(after(&[&slow], now, 599).is_none() && after(&[&slow], now, 601).is_some());
    }

    #[test]
    fn pauses_that_ended_are_expected_again_but_not_a_night_of_sleep() {
        let now = Instant::now();
        let pauses = |long| {
            pace(
                (0..1000).map(move |step| if step % 100 == 99 { long } else { 0.1 }),
                now,
            )
        };
        let evaluates = pauses(300.0);
        assert!(
            after(&[&evaluates], now, 890).is_none() && after(&[&evaluates], now, 901).is_some()
        );
        assert!(after(&[&pauses(36_000.0)], now, 3 * 3600 + 1).is_some());
    }

    #[test]
    fn whoever_logs_anything_ends_the_silence_of_all() {
        let now = Instant::now();
        let (silent, mut steps_again) = (
            pace((0..100).map(|_| 0.1), now),
            pace((0..100).map(|_| 0.1), now),
        );
        assert!(after(&[&silent, &steps_again], now, 90).is_some());
        // A new epoch, counted from 0 again.
        steps_again.observe(0, i64::MAX, now + Duration::from_secs(80));
        assert!(after(&[&silent, &steps_again], now, 90).is_none());
    }

    #[test]
    fn what_was_stored_before_teaches_and_is_not_heard_now() {
        let now = Instant::now() + Duration::from_secs(1000);
        let newest_ns = 500_000_000_000;
        let calls: Vec<Call> = (0..50)
            .map(|call| (newest_ns - (49 - call) * 100_000_000, call))
            .collect();
        let recalled = |secs: i64| Pace::recalled(&calls, now, newest_ns + secs * 1_000_000_000);
        assert!(after(&[&recalled(59)], now, 0).is_none());
        assert_eq!(
            after(&[&recalled(61)], now, 0),
            Some(Duration::from_secs(61))
        );
        let mut again = recalled(61);
        again.observe(50, newest_ns + 61_000_000_000, now);
        assert!(after(&[&again], now, 0).is_none());
        assert!(after(&[&Pace::recalled(&[], now, newest_ns)], now, 9_999).is_none());
    }

    #[test]
    fn a_few_calls_teach_nothing_and_hold_nobody_up() {
        let now = Instant::now();
        let few = pace((0..5).map(|_| 0.1), now);
        assert!(after(&[&few], now, 100_000).is_none());
        assert!(after(&[], now, 100_000).is_none());
        let mut late = pace((0..5).map(|_| 0.1), now);
        late.heard = now + Duration::from_secs(85);
        assert!(after(&[&pace((0..100).map(|_| 0.1), now), &late], now, 90).is_some());
    }

    #[test]
    fn the_text_names_who_is_behind() {
        let now = Instant::now();
        let (ahead, behind) = (
            pace((0..20).map(|_| 0.5), now),
            pace((0..19).map(|_| 0.5), now),
        );
        let standing = |rank, pace| Standing { rank, pace };
        let silent = Duration::from_secs(90);
        let alone = "nothing was logged for 90.0 s, where it is usually 500 ms, and was 500 ms at most: training \
                     hangs, or it is over and did not call close()";
        assert_eq!(describe(&[standing(0, &ahead)], silent), alone);
        let text = describe(
            &[
                standing(0, &ahead),
                standing(1, &behind),
                standing(2, &ahead),
            ],
            silent,
        );
        assert!(
            text.starts_with("nothing was logged for 90.0 s from any of 3 ranks, where"),
            "{text}"
        );
        assert!(
            text.ends_with("; rank 1 at step 19, the furthest at step 20"),
            "{text}"
        );
    }
}
