//! Finding producers, and giving each its row.

use std::path::PathBuf;
use std::time::Duration;

use tm_spool::{OpenError, ProducerReader, producer_dirs};

use super::{Tailed, Worker};

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
            return;
        }
        // Attempts are numbered in this order.
        opened.sort_by_key(|reader| (reader.info().wall_ns, reader.info().rank));
        for reader in opened {
            self.register(reader);
        }
        self.share_grant();
    }

    fn knows(&self, dir: &PathBuf) -> bool {
        self.finished.contains(dir) || self.tailed.iter().any(|t| t.reader.dir() == dir)
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

    fn register(&mut self, reader: ProducerReader) {
        let Some(store) = &mut self.store else { return };
        match store.register(reader.info()) {
            Ok(source) => {
                let job_key = &reader.info().job_key;
                if let Some((_, reason)) = self.stopped.iter().find(|(known, _)| known == job_key) {
                    reader.control().stop(reason);
                }
                reader.control().beat();
                self.shared.add_pulse(reader.pulse());
                reader.control().set_durable_points(source.points);
                self.status.attempts = self.status.attempts.max(source.row.attempt);
                self.refused.remove(reader.dir());
                let mut tailed = Tailed::new(reader, source);
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
        for tailed in &self.tailed {
            let sharers = u64::from(tailed.reader.info().local_world).max(self.tailed.len() as u64);
            let share = self.options.node_limit_bytes / sharers.max(1);
            tailed.reader.control().set_grant_bytes(share.max(1));
        }
    }
}
