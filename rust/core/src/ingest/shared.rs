//! What the ingest thread tells the others, and what they ask of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::readers::Turns;
use crate::store::SystemLine;

/// More samples than this wait for no commit: a quarter of an hour of three probes.
const MOST_LINES: usize = 3000;

/// How ingest goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IngestStatus {
    /// Producers that may log more.
    pub producers_alive: u32,
    /// Producers seen by this ingest.
    pub producers: u32,
    /// Points of the whole run that are on the disk.
    pub durable_points: u64,
    /// Points made durable per second, over the last seconds.
    pub points_per_s: f64,
    /// Age of the oldest frame that is not durable yet, in seconds.
    pub lag_s: f64,
    /// Bytes in the lanes that are not acknowledged.
    pub backlog_bytes: u64,
    /// The highest step of the producers that are alive. `None`: no points yet.
    pub last_step: Option<i64>,
    /// All producers ended and everything is durable.
    pub idle: bool,
    /// What is wrong now. `None`: nothing.
    pub last_error: Option<String>,
    /// Launches of the run so far.
    pub attempts: u32,
    /// Boottime when it was told that nobody logs any more. `None`: somebody does, or it is not known.
    pub stuck_ns: Option<i64>,
    /// Where a damaged database was moved. `None`: it was sound.
    pub quarantined: Option<String>,
    /// Directories that stood among the producers and were none, or had a damaged `meta`: where they are now.
    pub set_aside: Vec<String>,
    /// Frames known to be missing, since this ingest started.
    pub gaps: u64,
    /// Samples of the machine that were thrown away while the database took none.
    pub dropped_samples: u64,
    /// The thread has ended: nothing is brought home any more.
    pub ended: bool,
}

#[derive(Debug, Default)]
struct State {
    status: IngestStatus,
    configs: Vec<(u32, String)>,
    system: Vec<SystemLine>,
    dropped_samples: u64,
    /// `None`: nobody asked the trainers to stop.
    stop: Option<String>,
    /// `None`: go on.
    finish_by: Option<Instant>,
}

impl State {
    /// Findings and stacks stay: there are few of them, and a person should know.
    fn drop_surplus(&mut self) {
        let mut samples = 0;
        let before = self.system.len();
        self.system.retain(|line| {
            samples += usize::from(matches!(line, SystemLine::Sample(_)));
            samples <= MOST_LINES || !matches!(line, SystemLine::Sample(_))
        });
        self.dropped_samples += (before - self.system.len()) as u64;
    }
}

/// Shared between the ingest thread, its heart and its handle.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Never held over I/O.
    state: Mutex<State>,
    pub(super) turns: Arc<Turns>,
    /// Stored with Release by the handle's drop, loaded with Acquire once per turn of the thread.
    abandoned: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a plain assignment: after a panic elsewhere the state is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> IngestStatus {
        let state = self.lock();
        IngestStatus {
            dropped_samples: state.dropped_samples,
            ..state.status.clone()
        }
    }

    pub(super) fn publish(&self, status: IngestStatus) {
        self.lock().status = status;
    }

    /// One of each attempt is kept until it is taken: the last.
    pub(super) fn add_configs(&self, configs: Vec<(u32, String)>) {
        if configs.is_empty() {
            return;
        }
        let mut state = self.lock();
        for (attempt, json) in configs {
            state.configs.retain(|(known, _)| *known != attempt);
            state.configs.push((attempt, json));
        }
    }

    pub(super) fn take_configs(&self) -> Vec<(u32, String)> {
        std::mem::take(&mut self.lock().configs)
    }

    /// Keep lines of the poller for the next commit; when too many wait the newest samples are dropped, and counted.
    pub(super) fn add_system(&self, lines: Vec<SystemLine>) {
        let mut state = self.lock();
        state.system.extend(lines);
        state.drop_surplus();
    }

    pub(super) fn has_system(&self) -> bool {
        !self.lock().system.is_empty()
    }

    pub(super) fn take_system(&self) -> Vec<SystemLine> {
        std::mem::take(&mut self.lock().system)
    }

    /// Put lines back that were not stored, before those that came meanwhile.
    pub(super) fn return_system(&self, mut lines: Vec<SystemLine>) {
        let mut state = self.lock();
        lines.append(&mut state.system);
        state.system = lines;
        state.drop_surplus();
    }

    pub(super) fn set_stop(&self, reason: &str) {
        self.lock().stop = Some(reason.to_owned());
    }

    /// `None`: nobody asked since the last call.
    pub(super) fn take_stop(&self) -> Option<String> {
        self.lock().stop.take()
    }

    pub(super) fn finish_by(&self, deadline: Instant) {
        self.lock().finish_by = Some(deadline);
    }

    /// When the work has to be done. `None`: go on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lock().finish_by
    }

    pub(super) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: String) -> SystemLine {
        SystemLine::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn samples_that_find_no_room_are_counted_and_findings_stay() {
        let shared = Shared::default();
        let sample = |at: usize| {
            line(format!(
                r#"{{"host":"h","probe":"host","time_ns":{at},"values":{{"host":{{"cpu":1.0}}}}}}"#
            ))
        };
        shared.add_system((0..MOST_LINES + 5).map(sample).collect());
        let told = line(
            r#"{"host":"h","finding":"gpu_lost","source":"gpu0","time_ns":9,"text":"gone"}"#.into(),
        );
        shared.add_system(vec![told.clone(), sample(7)]);
        assert_eq!(shared.status().dropped_samples, 6);
        let kept = shared.take_system();
        assert_eq!(kept.len(), MOST_LINES + 1);
        assert_eq!(kept.last(), Some(&told));
    }
}
