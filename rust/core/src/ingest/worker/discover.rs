//! Finding producers, and giving each its row.

use std::path::PathBuf;
use std::time::Duration;

use tm_spool::{OpenError, ProducerReader, producer_dirs};

use super::{Tailed, Worker};
use crate::ingest::feed::{Feed, Local};
use crate::ingest::remote::Remote;
use crate::readers::share_grant;

const FIND_YOUNG: Duration = Duration::from_millis(250);
const FIND_IDLE: Duration = Duration::from_secs(1);
/// After a start the other ranks are expected soon.
const YOUNG_FOR: Duration = Duration::from_secs(30);

impl Worker {
    pub(super) fn discover(&mut self) {
        let young = self.started.elapsed() < YOUNG_FOR;
        self.find.set_interval(if young || !self.tailed.is_empty() {
            FIND_YOUNG
        } else {
            FIND_IDLE
        });
        let dirs = match producer_dirs(&self.run_dir) {
            Ok(dirs) => dirs,
            Err(error) => {
                self.trouble
                    .note(format!("cannot look for producers: {error}"));
                return;
            }
        };
        let new: Vec<PathBuf> = dirs.into_iter().filter(|dir| !self.knows(dir)).collect();
        let mut opened: Vec<ProducerReader> =
            new.into_iter().filter_map(|dir| self.open(dir)).collect();
        if opened.is_empty() {
            self.open_remotes();
            return;
        }
        // Attempts are numbered in this order.
        opened.sort_by_key(|reader| (reader.info().wall_ns, reader.info().rank));
        for reader in opened {
            let id = reader.info().id;
            // A relay had brought it until now. What of that is not durable is read again here, from the mark on.
            self.tailed.retain(|t| t.feed.info().id != id);
            self.refused.remove(reader.dir());
            reader.control().beat();
            self.register(Box::new(Local::new(reader)));
        }
        self.share_grant();
        self.open_remotes();
    }

    /// Take on the producers that relays announced.
    fn open_remotes(&mut self) {
        for id in self.hub.unopened() {
            if self.tailed.iter().all(|t| t.feed.info().id != id)
                && let Some(remote) = Remote::new(&self.hub, id)
            {
                self.register(Box::new(remote));
            }
        }
    }

    fn knows(&self, dir: &PathBuf) -> bool {
        let is_its = |t: &Tailed| t.feed.local().is_some_and(|reader| reader.dir() == dir);
        self.finished.contains(dir) || self.tailed.iter().any(is_its)
    }

    /// `None`: it cannot be read, now or ever; the status says why.
    fn open(&mut self, dir: PathBuf) -> Option<ProducerReader> {
        match ProducerReader::open(&dir) {
            Ok(reader) => Some(reader),
            // Deleted between the listing and now: the next look will tell.
            Err(_) if !dir.is_dir() => None,
            // A producer's directory gets its name when it is whole.
            Err(OpenError::NotMeta { .. }) => {
                self.set_aside(&dir);
                None
            }
            Err(error) => {
                let known = matches!(error, OpenError::Io { .. } | OpenError::Taken { .. });
                if self.refused.insert(dir) || known {
                    self.trouble.note(error.to_string());
                }
                None
            }
        }
    }

    fn register(&mut self, feed: Box<dyn Feed>) {
        let Some(store) = &mut self.store else { return };
        let id = feed.info().id;
        if self.tailed.iter().any(|t| t.feed.info().id == id) {
            return;
        }
        let registered = store.register(feed.info()).and_then(|source| {
            let Some(clock) = feed.clock() else {
                return Ok(source);
            };
            let host = &feed.info().host;
            store
                .record_clock(host, clock.offset_ns, clock.error_ns)
                .map(|()| source)
        });
        match registered {
            Ok(source) => {
                let job_key = &feed.info().job_key;
                if let Some((_, reason)) = self.stopped.iter().find(|(known, _)| known == job_key) {
                    feed.stop(reason);
                }
                self.hub.know_job(job_key);
                feed.open(&source.marks, source.points);
                // What another node reads is beaten for there.
                if let Some(reader) = feed.local() {
                    self.shared.turns.add_pulse(reader.pulse());
                }
                self.status.attempts = self.status.attempts.max(source.row.attempt);
                let mut tailed = Tailed::new(feed, source);
                if let Some(pace) = self.recalled.remove(&tailed.source.row.id) {
                    tailed.pace = pace;
                }
                self.tailed.push(tailed);
                self.seen += 1;
            }
            Err(error) => self.store_failed(&error),
        }
    }

    /// Divide what the lanes of this node may hold among those who log here.
    pub(super) fn share_grant(&self) {
        let readers = self.tailed.iter().filter_map(|t| t.feed.local());
        share_grant(readers, self.options.node_limit_bytes);
    }
}
