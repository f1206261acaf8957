//! Tells when the steps of a run stop, and when they go on.

use std::time::Instant;

use tm_spool::{Life, clock};

use super::Worker;
use crate::ingest::stall::{Standing, describe, duration};
use crate::store::{SystemFinding, SystemLine};

/// What the findings are about.
const SOURCE: &str = "steps";

/// What was told of the steps last.
#[derive(Debug, Default)]
pub(crate) enum StallTold {
    /// Nothing; the monitor before this one may have told of a stall.
    #[default]
    Nothing,
    /// That they come.
    Coming,
    /// That they stopped, at about this time.
    Stopped(Instant),
}

impl Worker {
    /// Forked workers log when they like; only the ranks themselves are looked at.
    pub(super) fn watch_stalls(&mut self, now: Instant) {
        let least = self.options.stuck_after;
        let standings: Vec<Standing<'_>> = self
            .tailed
            .iter_mut()
            .filter_map(|tailed| {
                let is_rank = tailed.reader.info().parent.is_none();
                let lives = is_rank && tailed.reader.life() == Life::Alive;
                lives.then_some(&*tailed)
            })
            .map(|tailed| Standing {
                rank: tailed.reader.info().rank,
                pace: &tailed.pace,
                stalled: tailed.pace.stall(now, least),
            })
            .collect();
        let longest = standings.iter().filter_map(|s| s.stalled).max();
        let (name, text) = match (&self.stalls, longest) {
            (StallTold::Nothing | StallTold::Coming, Some(silent)) => {
                let text = describe(&standings);
                let since = now.checked_sub(silent).unwrap_or(now);
                self.stalls = StallTold::Stopped(since);
                ("stuck", text)
            }
            (StallTold::Stopped(since), None) => {
                let after = duration(now.duration_since(*since).as_secs_f64());
                let text = match standings.is_empty() {
                    true => format!("the trainers ended after {after} without a step"),
                    false => format!("steps come again, after {after}"),
                };
                self.stalls = StallTold::Coming;
                ("over", text)
            }
            (StallTold::Nothing, None) if standings.iter().any(|s| s.pace.step().is_some()) => {
                self.stalls = StallTold::Coming;
                ("over", "steps come again".to_owned())
            }
            _ => return,
        };
        let finding = SystemFinding {
            host: clock::host_name(),
            source: SOURCE.to_owned(),
            name: name.to_owned(),
            time_ns: clock::wall_ns(),
            text,
        };
        self.shared.add_system(vec![SystemLine::Finding(finding)]);
    }
}
