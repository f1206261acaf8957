//! Committing, acknowledging, and what to do when the database says no.

use std::time::Instant;

use tm_spool::ProducerId;

use super::{COMMIT_POINTS, PENDING_BYTES, SYSTEM_WAITS, Tailed, Worker};
use crate::readers::SYNC_SLOW;
use crate::store::{CommitOptions, Pending, Source, Store, StoreError};

impl Worker {
    pub(super) fn is_commit_due(&mut self, now: Instant) -> bool {
        if self.store.is_none() || self.backoff.is_waiting(now) {
            return false;
        }
        self.seal_old(now);
        let waits = |t: &Tailed| !t.is_held() && !t.source.pending.is_empty();
        let waits = self.tailed.iter().any(waits);
        let rested = now.duration_since(self.committed_at) >= self.options.commit_interval;
        let flush =
            self.latest.is_past(now) && self.tailed.iter().any(|t| !t.source.latest.is_empty());
        let system = now.duration_since(self.committed_at) >= SYSTEM_WAITS
            || self.shared.deadline().is_some();
        (waits && (rested || self.cannot_wait()))
            || (rested && flush)
            || (system && self.shared.has_system())
            || self
                .store
                .as_ref()
                .is_some_and(|store| store.is_snapshot_due(now))
            || self
                .tailed
                .iter()
                .any(|t| !t.is_held() && t.source.pending.seal)
    }

    /// Whether what waits is too much, or somebody waits for it.
    fn cannot_wait(&self) -> bool {
        let points: u64 = self.tailed.iter().map(|t| t.points).sum();
        let bytes: usize = self.tailed.iter().map(|t| t.bytes).sum();
        let at_once = |t: &Tailed| {
            t.urgent || t.source.pending.end.is_some() || (t.bytes > 0 && t.is_filling())
        };
        self.shared.deadline().is_some()
            || points >= COMMIT_POINTS
            || bytes >= PENDING_BYTES / 2
            || self.tailed.iter().any(at_once)
    }

    pub(super) fn commit(&mut self, now: Instant) {
        let held = self.hold_back();
        self.commit_pending(now);
        for (id, pending) in held {
            if let Some(tailed) = self.tailed.iter_mut().find(|t| t.feed.info().id == id) {
                tailed.source.pending = pending;
            }
        }
    }

    /// Take away what cannot be understood yet, so that the commit does not store it as undefined.
    fn hold_back(&mut self) -> Vec<(ProducerId, Pending)> {
        let held = self.tailed.iter_mut().filter(|t| t.is_held());
        held.map(|t| {
            let pending = std::mem::take(&mut t.source.pending);
            (t.feed.info().id, pending)
        })
        .collect()
    }

    fn commit_pending(&mut self, now: Instant) {
        let Some(store) = &mut self.store else { return };
        let options = CommitOptions {
            flush_latest: self.latest.is_due(now) || self.shared.deadline().is_some(),
            clock: self.clock.sample(now),
            save_statistics: self.shared.deadline().is_some(),
            system: self.shared.take_system(),
        };
        let marks: Vec<Vec<(u8, u64)>> = self
            .tailed
            .iter()
            .map(|t| {
                t.source
                    .pending
                    .marks
                    .iter()
                    .map(|(lane, mark)| (*lane, *mark))
                    .collect()
            })
            .collect();
        let mut sources: Vec<&mut Source> = self.tailed.iter_mut().map(|t| &mut t.source).collect();
        let ended: Vec<bool> = sources.iter().map(|s| s.pending.end.is_some()).collect();
        let began = Instant::now();
        match store.commit(&mut sources, &options) {
            // Committed into a file that nobody can find any more: nothing of it may be acknowledged.
            Ok(_) if !store.is_in_place() => {
                let path = self.home.database();
                self.shared.return_system(options.system);
                self.store_failed(&StoreError::NotFound { path });
            }
            Ok(committed) => {
                self.committed_at = Instant::now();
                self.store_error = None;
                self.backoff.succeeded();
                self.rate.add(committed.points);
                // The last bucket of a producer is written once it has ended, sealed or not.
                self.tended &= !committed.sealed && !ended.contains(&true);
                self.status.durable_points += committed.points;
                self.told
                    .extend(committed.configs.iter().map(|(attempt, _)| *attempt));
                self.shared.add_configs(committed.configs);
                self.acknowledge(&marks, &ended, began.elapsed() > SYNC_SLOW);
            }
            Err(error) => {
                self.clock.forget();
                self.shared.return_system(options.system);
                self.store_failed(&error);
            }
        }
    }

    /// No lane can be synced while a commit goes on, so one that was slow suspends the promise too, and one that
    /// was not takes it up again.
    fn acknowledge(&mut self, marks: &[Vec<(u8, u64)>], ended: &[bool], slow: bool) {
        let mut gaps = 0;
        for (tailed, marks) in self.tailed.iter_mut().zip(marks) {
            if tailed.is_held() {
                continue;
            }
            if let Some(reader) = tailed.feed.local() {
                reader.control().set_sync_slow(slow);
            }
            gaps += std::mem::take(&mut tailed.gaps);
            if let Err(error) = tailed.acknowledge(marks) {
                self.trouble.note(error.to_string());
            }
        }
        self.status.gaps += gaps;
        if ended.iter().any(|ended| *ended) {
            self.remove_ended(ended);
        }
    }

    fn remove_ended(&mut self, ended: &[bool]) {
        let mut ended = ended.iter();
        let (gone, stay) = std::mem::take(&mut self.tailed)
            .into_iter()
            .partition(|_| ended.next().copied().unwrap_or(false));
        self.tailed = stay;
        let gone: Vec<Tailed> = gone;
        for tailed in gone {
            let dir = tailed.feed.local().map(|reader| reader.dir().to_path_buf());
            if let (Err(error), Some(dir)) = (tailed.remove(&self.run_dir), dir) {
                self.trouble
                    .note(format!("cannot delete {}: {error}", dir.display()));
                self.finished.insert(dir);
            }
        }
        self.share_grant();
    }

    /// The data stays in the lanes. After an error of the file itself nothing that this connection says is
    /// believed any more: everything is read again from what the database holds when it opens next.
    pub(super) fn store_failed(&mut self, error: &StoreError) {
        self.store_error = Some(error.to_string());
        self.backoff.failed(Instant::now());
        self.damages += u32::from(error.is_damage());
        if error.needs_reopen() {
            self.store = None;
            let tailed = std::mem::take(&mut self.tailed).into_iter();
            self.parked
                .extend(tailed.filter_map(|t| t.feed.into_local()));
        }
    }

    pub(super) fn reopen(&mut self, now: Instant) {
        if self.backoff.is_waiting(now) {
            return;
        }
        let path = self.home.database();
        // A large file is not checked whole when it is opened, so the same page would be met for ever.
        let opened = if self.damages > 1 {
            self.damages = 0;
            Store::open_anew(&path, self.options.alphas)
        } else {
            let restored = self.home.restore();
            restored.and_then(|()| Store::open(&path, self.options.alphas))
        };
        // A commit that failed may have left pages that are only in memory: write them again, all of them.
        match opened.and_then(|store| store.checkpoint().map(|()| store)) {
            Ok(store) => {
                self.adopt(store);
                self.parked.clear();
                self.backoff.succeeded();
                self.store_error = None;
                self.discover();
            }
            Err(error) => {
                self.store_error = Some(error.to_string());
                self.backoff.failed(now);
            }
        }
    }

    /// Take over an open database.
    pub(super) fn adopt(&mut self, store: Store) {
        if let Some(aside) = &store.quarantined {
            self.status.quarantined = Some(aside.display().to_string());
        }
        self.status.durable_points = store.points().unwrap_or(0);
        self.status.attempts = store.attempts().unwrap_or(0);
        for job_key in store.job_keys().unwrap_or_default() {
            self.hub.know_job(&job_key);
        }
        let known = store.configs().unwrap_or_default();
        let new = known
            .into_iter()
            .filter(|(attempt, _)| self.told.insert(*attempt));
        self.shared.add_configs(new.collect());
        self.recall(&store);
        self.store = Some(store);
    }

    /// A database that was deleted or replaced would swallow everything we write into it.
    pub(super) fn check_place(&mut self, now: Instant) {
        if self
            .store
            .as_ref()
            .is_some_and(|store| !store.is_in_place())
        {
            let path = self.home.database();
            self.store_failed(&StoreError::NotFound { path });
            self.backoff.succeeded();
            self.reopen(now);
        }
    }

    /// While commits fail or are slow, the lanes are the only copy: put them on the disk.
    pub(super) fn sync_late(&mut self, now: Instant) {
        for tailed in &mut self.tailed {
            if let Some(reader) = tailed.feed.local_mut()
                && let Some(trouble) = tailed.exposed.sync_late(reader, now)
            {
                self.trouble.note(trouble);
            }
        }
        if !self.parked.is_empty() && self.sync_parked.is_due(now) {
            for reader in &mut self.parked {
                if let Err(error) = reader.sync_data() {
                    self.trouble.note(format!("cannot sync lanes: {error}"));
                }
            }
        }
    }

    /// Seal what is open and close the database.
    pub(super) fn finish(&mut self) {
        let now = Instant::now();
        self.note_ends(true);
        for tailed in &mut self.tailed {
            tailed.source.pending.seal = true;
        }
        if self.store.is_some() {
            self.commit(now);
        }
        if let Some(store) = self.store.take()
            && let Err(error) = store.close()
        {
            self.store_error = Some(error.to_string());
        }
        self.publish(now);
    }
}
