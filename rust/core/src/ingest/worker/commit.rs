//! Committing, acknowledging, and what to do when the database says no.

use std::time::{Duration, Instant};

use super::{COMMIT_POINTS, PENDING_BYTES, Tailed, Worker};
use crate::store::{CommitOptions, DATABASE_NAME, Source, Store, StoreError};

/// Unacknowledged for so long: put the lanes themselves on the disk.
pub(super) const SYNC_AFTER: Duration = Duration::from_millis(400);
/// Raw frames are sealed after so long, even when their layouts are not full.
const OLDEST_FRESH: Duration = Duration::from_secs(600);
/// Raw frames of all producers together.
const FRESH_BYTES_OF_ALL: u64 = 64 << 20;
/// Work that can wait gives way after so long.
const TEND_SLICE: Duration = Duration::from_millis(15);
/// A sync that takes longer suspends the promise for power loss.
const SYNC_SLOW: Duration = Duration::from_millis(500);

impl Worker {
    pub(super) fn is_commit_due(&mut self, now: Instant) -> bool {
        if self.store.is_none() || self.backoff.is_waiting(now) {
            return false;
        }
        self.seal_old(now);
        let waits = self.tailed.iter().any(|t| !t.source.pending.is_empty());
        let rested = now.duration_since(self.committed_at) >= self.options.commit_interval;
        let flush =
            self.latest.is_past(now) && self.tailed.iter().any(|t| !t.source.latest.is_empty());
        (waits && (rested || self.cannot_wait()))
            || (rested && flush)
            || self
                .store
                .as_ref()
                .is_some_and(|store| store.is_snapshot_due(now))
            || self.tailed.iter().any(|t| t.source.pending.seal)
    }

    /// What is raw does not stay so for ever: not of a producer that is quiet, not for too long, not more than
    /// fits over all producers.
    fn seal_old(&mut self, now: Instant) {
        for tailed in &mut self.tailed {
            let fresh = &tailed.source.fresh;
            let quiet = now.duration_since(tailed.active) >= self.options.idle_seal;
            let old = fresh
                .since
                .is_some_and(|since| now.duration_since(since) >= OLDEST_FRESH);
            if fresh.points > 0 && (quiet || old) {
                tailed.source.pending.seal = true;
            }
        }
        let bytes: u64 = self.tailed.iter().map(|t| t.source.fresh.bytes).sum();
        let largest = self.tailed.iter_mut().max_by_key(|t| t.source.fresh.bytes);
        if let (true, Some(largest)) = (bytes >= FRESH_BYTES_OF_ALL, largest) {
            largest.source.pending.seal = true;
        }
    }

    /// Do work that can wait, when there is time: all of it while nobody logs, else a little now and then.
    pub(super) fn tend(&mut self, now: Instant, got: usize) {
        let quiet = now.duration_since(self.read_at) >= super::BUSY_FOR;
        let busy = got >= super::NAP_BELOW_BYTES || self.shared.deadline().is_some();
        if self.tended || busy || self.backoff.is_waiting(now) {
            return;
        }
        if !quiet && !self.tend.is_due(now) {
            return;
        }
        let Some(store) = &mut self.store else { return };
        match store.tend(now + TEND_SLICE) {
            Ok(more) => self.tended = !more,
            Err(error) if error.needs_reopen() => self.store_failed(&error),
            // A full disk is told by the commits; the next seal tries again.
            Err(_) => self.tended = true,
        }
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
        let Some(store) = &mut self.store else { return };
        let options = CommitOptions {
            flush_latest: self.latest.is_due(now) || self.shared.deadline().is_some(),
            clock: self.clock.sample(now),
            save_statistics: self.shared.deadline().is_some(),
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
        match store.commit(&mut sources, &options) {
            // Committed into a file that nobody can find any more: nothing of it may be acknowledged.
            Ok(_) if !store.is_in_place() => {
                let path = self.run_dir.join(DATABASE_NAME);
                self.store_failed(&StoreError::NotFound { path });
            }
            Ok(committed) => {
                self.committed_at = Instant::now();
                self.store_error = None;
                self.backoff.succeeded();
                self.rate.add(committed.points);
                self.tended &= !committed.sealed;
                self.status.durable_points += committed.points;
                self.told
                    .extend(committed.configs.iter().map(|(attempt, _)| *attempt));
                self.shared.add(committed.configs, committed.alerts);
                self.acknowledge(&marks, &ended);
            }
            Err(error) => {
                self.clock.forget();
                self.store_failed(&error);
            }
        }
    }

    fn acknowledge(&mut self, marks: &[Vec<(u8, u64)>], ended: &[bool]) {
        let now = Instant::now();
        let mut gaps = 0;
        for (tailed, marks) in self.tailed.iter_mut().zip(marks) {
            gaps += std::mem::take(&mut tailed.gaps);
            if let Err(error) = tailed.acknowledge(marks, now) {
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
            let dir = tailed.reader.dir().to_path_buf();
            if let Err(error) = tailed.remove(&self.run_dir) {
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
        if error.needs_reopen() {
            self.store = None;
            let readers = std::mem::take(&mut self.tailed)
                .into_iter()
                .map(|t| t.reader);
            self.parked.extend(readers);
        }
    }

    pub(super) fn reopen(&mut self, now: Instant) {
        if self.backoff.is_waiting(now) {
            return;
        }
        match Store::open(&self.run_dir.join(DATABASE_NAME), self.options.alphas) {
            Ok(store) => {
                self.adopt(store);
                // A commit that failed may have left pages that are only in memory: write them again.
                let checked = self.store.as_ref().map(Store::checkpoint);
                if let Some(Err(error)) = checked {
                    self.store_failed(&error);
                    return;
                }
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
        let known = store.configs().unwrap_or_default();
        let new = known
            .into_iter()
            .filter(|(attempt, _)| self.told.insert(*attempt));
        self.shared.add(new.collect(), Vec::new());
        self.store = Some(store);
    }

    /// A database that was deleted or replaced would swallow everything we write into it.
    pub(super) fn check_place(&mut self, now: Instant) {
        if self
            .store
            .as_ref()
            .is_some_and(|store| !store.is_in_place())
        {
            let path = self.run_dir.join(DATABASE_NAME);
            self.store_failed(&StoreError::NotFound { path });
            self.backoff.succeeded();
            self.reopen(now);
        }
    }

    /// While commits fail or are slow, the lanes are the only copy: put them on the disk.
    pub(super) fn sync_late(&mut self, now: Instant) {
        for tailed in &mut self.tailed {
            if tailed.backlog_bytes() == 0 {
                tailed.safe_at = now;
            } else if now.duration_since(tailed.safe_at) >= SYNC_AFTER {
                tailed.safe_at = now;
                match tailed.reader.sync_data() {
                    Ok(took) => {
                        tailed.reader.control().set_sync_slow(took > SYNC_SLOW);
                        if took > SYNC_SLOW {
                            let ms = took.as_millis();
                            self.trouble.note(format!(
                                "putting the lanes on the disk took {ms} ms: until that is faster, a power \
                                 cut may cost more than the last second"
                            ));
                        }
                    }
                    Err(error) => self.trouble.note(format!("cannot sync lanes: {error}")),
                }
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
