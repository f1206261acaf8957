//! The ingest thread: find producers, read their lanes, commit, acknowledge, say how it goes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tm_spool::{Life, ProducerReader, Sleeper, sweep_gone};

use super::IngestOptions;
use super::home::Home;
use super::pace::{Backoff, Every, Rate, Trouble};
use super::remote::Hub;
use super::shared::{IngestStatus, Shared};
use super::silence::Pace;
use super::tailed::Tailed;
use crate::readers::SYNC_AFTER;
use crate::store::{Store, StoreError};

mod aside;
mod clock;
mod commit;
mod discover;
mod silence;
mod tend;

use clock::ClockWatch;
use silence::SilenceTold;

/// A commit does not wait for more once so many points wait.
const COMMIT_POINTS: u64 = 1_000_000;
/// Nor once so many bytes do; nothing more is read then, so this bounds our memory.
const PENDING_BYTES: usize = 24 << 20;
/// Samples of the machine go with the next commit; when there is none, they make one after so long.
const SYSTEM_WAITS: Duration = Duration::from_secs(5);
const BEAT_EVERY: Duration = Duration::from_millis(400);
const LATEST_EVERY: Duration = Duration::from_secs(1);
const LIFE_EVERY: Duration = Duration::from_millis(200);
const STATUS_EVERY: Duration = Duration::from_millis(500);
/// While somebody logs, work that can wait gets a slice so often.
const TEND_EVERY: Duration = Duration::from_millis(250);
const PLACE_EVERY: Duration = Duration::from_secs(1);
/// Less than this read in one turn: nap, so that a slow loop is not read frame by frame.
const NAP_BELOW_BYTES: usize = 256 << 10;
/// A ring of 8 MiB takes 18 ms to fill at the fastest.
const NAP: Duration = Duration::from_millis(15);
const SHORT_NAP: Duration = Duration::from_millis(1);
/// Frames came within this time: nap; else sleep until woken.
const BUSY_FOR: Duration = Duration::from_secs(1);
const LONGEST_SLEEP: Duration = Duration::from_millis(250);

/// Everything the thread owns.
pub(crate) struct Worker {
    run_dir: PathBuf,
    home: Arc<Home>,
    options: IngestOptions,
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    /// `None`: it failed and is to be opened again.
    store: Option<Store>,
    tailed: Vec<Tailed>,
    /// Readers kept only to say that we live, while the database cannot be opened.
    parked: Vec<ProducerReader>,
    /// Directories that are done with but could not be deleted.
    finished: HashSet<PathBuf>,
    /// Directories that could not be opened, each told once.
    refused: HashSet<PathBuf>,
    /// Job keys whose trainers are asked to stop, and why.
    stopped: Vec<(String, String)>,
    status: IngestStatus,
    trouble: Trouble,
    /// An error that stays until the same thing works again. `None`: the database works.
    store_error: Option<String>,
    /// How often statements met damage in a database that had opened as sound.
    damages: u32,
    sleeper: Sleeper,
    backoff: Backoff,
    rate: Rate,
    clock: ClockWatch,
    silence: SilenceTold,
    /// Of those whose calls were stored before and who are not found yet, by the numbers of their rows.
    recalled: HashMap<i64, Pace>,
    started: Instant,
    committed_at: Instant,
    read_at: Instant,
    find: Every,
    beat: Every,
    latest: Every,
    life: Every,
    tell: Every,
    place: Every,
    sync_parked: Every,
    tend: Every,
    /// There is nothing left of the work that can wait.
    tended: bool,
    /// Attempts whose config was handed out.
    told: HashSet<u32>,
    seen: u32,
}

impl Worker {
    pub(super) fn new(
        run_dir: PathBuf,
        home: Arc<Home>,
        store: Option<Store>,
        options: IngestOptions,
        (shared, hub): (Arc<Shared>, Arc<Hub>),
    ) -> Self {
        let now = Instant::now();
        let mut worker = Self {
            run_dir,
            home,
            options,
            shared,
            hub,
            store: None,
            tailed: Vec::new(),
            parked: Vec::new(),
            finished: HashSet::new(),
            refused: HashSet::new(),
            stopped: Vec::new(),
            status: IngestStatus::default(),
            trouble: Trouble::default(),
            store_error: None,
            damages: 0,
            sleeper: Sleeper::new(),
            backoff: Backoff::default(),
            rate: Rate::new(now),
            clock: ClockWatch::default(),
            silence: SilenceTold::Nothing(tm_spool::clock::boottime_ns()),
            recalled: HashMap::new(),
            started: now,
            committed_at: now,
            read_at: now,
            find: Every::new(Duration::ZERO),
            beat: Every::new(BEAT_EVERY),
            latest: Every::new(LATEST_EVERY),
            life: Every::new(LIFE_EVERY),
            tell: Every::new(STATUS_EVERY),
            place: Every::new(PLACE_EVERY),
            sync_parked: Every::new(SYNC_AFTER),
            tend: Every::new(TEND_EVERY),
            tended: false,
            told: HashSet::new(),
            seen: 0,
        };
        if let Err(error) = sweep_gone(&worker.run_dir) {
            let what = format!("cannot delete what is no longer needed: {error}");
            worker.trouble.note(what);
        }
        match store {
            Some(store) => worker.adopt(store),
            None => worker.store_failed(&StoreError::DiskFull),
        }
        worker
    }

    /// Work until told to finish or abandoned.
    pub(super) fn run(mut self) {
        while !self.shared.is_abandoned() {
            self.shared.turns.turn();
            let now = Instant::now();
            let deadline = self.shared.deadline();
            let got = self.turn(now);
            if let Some(deadline) = deadline {
                if (got == 0 && self.is_settled()) || now >= deadline {
                    self.finish();
                    return;
                }
                if got == 0 {
                    std::thread::sleep(SHORT_NAP);
                }
                continue;
            }
            self.sleep(now, got);
        }
    }

    /// One round. Returns the bytes read.
    fn turn(&mut self, now: Instant) -> usize {
        if self.beat.is_due(now) {
            self.beat_all();
        }
        if self.store.is_none() {
            self.reopen(now);
        } else if self.place.is_due(now) {
            self.check_place(now);
        }
        self.take_stop();
        if self.store.is_some() && self.find.is_due(now) {
            self.discover();
        }
        let got = self.read_all(now);
        if self.life.is_due(now) {
            self.note_ends(false);
        }
        if self.is_commit_due(now) {
            self.commit(now);
        }
        self.sync_late(now);
        self.tend(now, got);
        if self.tell.is_due(now) || self.shared.deadline().is_some() {
            self.watch_silence(now);
            self.publish(now);
        }
        got
    }

    fn read_all(&mut self, now: Instant) -> usize {
        let mut waiting: usize = self.tailed.iter().map(|t| t.bytes).sum();
        let mut got = 0;
        for tailed in &mut self.tailed {
            // A share each, so that one busy producer does not starve the others.
            let budget = PENDING_BYTES.saturating_sub(waiting);
            match tailed.read(now, budget.min(PENDING_BYTES / 4)) {
                Ok(bytes) => {
                    waiting += bytes;
                    got += bytes;
                }
                Err(error) => self.trouble.note(error.to_string()),
            }
        }
        if got > 0 {
            self.read_at = now;
            self.sleeper.busy();
        }
        got
    }

    fn note_ends(&mut self, at_once: bool) {
        for tailed in &mut self.tailed {
            if let Err(error) = tailed.note_end(at_once) {
                self.trouble.note(error.to_string());
            }
        }
    }

    /// Whether nothing is left to read or to commit.
    fn is_settled(&self) -> bool {
        self.tailed
            .iter()
            .all(|t| t.source.pending.is_empty() && !t.feed.has_next())
            && self.store.is_some()
    }

    fn sleep(&mut self, now: Instant, got: usize) {
        if now.duration_since(self.read_at) < BUSY_FOR {
            if got < NAP_BELOW_BYTES {
                let small = self.tailed.iter().any(Tailed::is_small);
                std::thread::sleep(if small { SHORT_NAP } else { NAP });
            }
            return;
        }
        if !self.tended && self.store.is_some() && !self.backoff.is_waiting(now) {
            std::thread::sleep(SHORT_NAP);
            return;
        }
        let waits = self.tailed.iter().any(|t| !t.source.pending.is_empty());
        let timeout = if waits { NAP } else { LONGEST_SLEEP };
        let mut readers: Vec<&mut ProducerReader> = self
            .tailed
            .iter_mut()
            .filter_map(|t| t.feed.local_mut())
            .collect();
        if waits || readers.is_empty() {
            // Those of relays wake nobody.
            let most = if self.tailed.is_empty() { 100 } else { 250 };
            std::thread::sleep(timeout.min(Duration::from_millis(most)));
        } else {
            self.sleeper.wait(&mut readers, timeout);
        }
    }

    fn beat_all(&self) {
        let locals = self.tailed.iter().filter_map(|t| t.feed.local());
        for reader in locals.chain(&self.parked) {
            reader.control().beat();
        }
    }

    fn take_stop(&mut self) {
        let Some(reason) = self.shared.take_stop() else {
            return;
        };
        for tailed in &self.tailed {
            tailed.feed.stop(&reason);
            let job_key = tailed.feed.info().job_key.clone();
            if !self.stopped.iter().any(|(known, _)| *known == job_key) {
                self.stopped.push((job_key, reason.clone()));
            }
        }
    }

    fn publish(&mut self, now: Instant) {
        let alive = self
            .tailed
            .iter_mut()
            .filter_map(|t| (t.feed.life() == Life::Alive).then(|| t.feed.last_step()));
        let steps: Vec<Option<i64>> = alive.collect();
        let status = &mut self.status;
        status.producers_alive = steps.len() as u32;
        status.producers = self.seen;
        status.last_step = steps.into_iter().flatten().max().or(status.last_step);
        status.points_per_s = self.rate.per_s(now);
        status.lag_s = self.tailed.iter().map(Tailed::lag_s).fold(0.0, f64::max);
        status.backlog_bytes = self.tailed.iter().map(|t| t.feed.backlog_bytes()).sum();
        status.idle = self.tailed.is_empty() && self.parked.is_empty() && self.store.is_some();
        status.last_error = self
            .store_error
            .clone()
            .or_else(|| self.trouble.current(now));
        self.shared.publish(status.clone());
    }
}
