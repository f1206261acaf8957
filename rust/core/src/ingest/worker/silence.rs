//! Tells when nothing is logged any more, and when it is again.

use std::time::Instant;

use tm_spool::{Life, clock};

use super::{Tailed, Worker};
use crate::ingest::silence::{Pace, Standing, describe, duration, silence};
use crate::store::{Call, Store, SystemFinding, SystemLine};

/// What the findings are about.
const SOURCE: &str = "steps";

/// What was told of the silence last.
#[derive(Debug)]
pub(crate) enum SilenceTold {
    /// Nothing since this boottime; the monitor before this one may have told of one.
    Nothing(i64),
    /// That it is over.
    Over,
    /// That it had begun at the first of these times; told at the second, a boottime.
    Begun(Instant, i64),
}

impl Worker {
    /// Learn what an earlier monitor knew of those who still log: it may be gone because they hang.
    pub(super) fn recall(&mut self, store: &Store) {
        let age_ns = i64::try_from(self.options.recovery_max_age.as_nanos()).unwrap_or(i64::MAX);
        let (now, boottime_ns) = (Instant::now(), clock::boottime_ns());
        match store.recent_calls(boottime_ns.saturating_sub(age_ns)) {
            Ok(known) => {
                let pace = |calls: Vec<Call>| Pace::recalled(&calls, now, boottime_ns);
                self.recalled = known.into_iter().map(|(row, c)| (row, pace(c))).collect();
            }
            Err(error) => {
                let what = format!("cannot read how ranks logged before: {error}");
                self.trouble.note(what);
            }
        }
    }

    /// Look whether anybody still logs. Workers that were forked log when they like: they do not count. Nor does a
    /// silence of ours, while the database takes nothing.
    pub(super) fn watch_silence(&mut self, now: Instant) {
        let is_read = |t: &Tailed| !t.feed.has_next() && !t.is_held();
        if self.store.is_none() || !self.parked.is_empty() || !self.tailed.iter().all(is_read) {
            return;
        }
        let is_rank = |t: &&mut Tailed| t.feed.info().parent.is_none();
        let ranks = self.tailed.iter_mut().filter(is_rank);
        let standings: Vec<Standing<'_>> = ranks
            .filter_map(|t| (t.feed.life() == Life::Alive).then_some(&*t))
            .map(|t| Standing {
                rank: t.feed.info().rank,
                pace: &t.pace,
            })
            .collect();
        let logged_since = |ns: i64| standings.iter().any(|s| s.pace.is_newer_than(ns));
        let begun = silence(&standings, now, self.options.stuck_after);
        let (name, text, told) = match (&self.silence, begun) {
            (SilenceTold::Nothing(_) | SilenceTold::Over, Some(silent)) => {
                let since = now.checked_sub(silent).unwrap_or(now);
                let told = SilenceTold::Begun(since, clock::boottime_ns());
                ("stuck", describe(&standings, silent), told)
            }
            (SilenceTold::Begun(since, told_ns), _)
                if standings.is_empty() || logged_since(*told_ns) =>
            {
                let after = duration(now.duration_since(*since).as_secs_f64());
                let text = if standings.is_empty() {
                    format!("the training ended, after {after} in which nothing was logged")
                } else {
                    format!("metrics come again, after {after}")
                };
                ("over", text, SilenceTold::Over)
            }
            (SilenceTold::Nothing(since_ns), None) if logged_since(*since_ns) => {
                ("over", "metrics come again".to_owned(), SilenceTold::Over)
            }
            _ => return,
        };
        self.status.stuck_ns = match told {
            SilenceTold::Begun(_, told_ns) => Some(told_ns),
            SilenceTold::Nothing(_) | SilenceTold::Over => None,
        };
        self.silence = told;
        let finding = SystemFinding {
            host: clock::host_name(),
            source: SOURCE.to_owned(),
            name: name.to_owned(),
            time_ns: clock::wall_ns(),
            text,
            by: "ingest".to_owned(),
        };
        self.shared.add_system(vec![SystemLine::Finding(finding)]);
    }
}
