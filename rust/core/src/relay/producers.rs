//! Which producers of this node a relay has: those that came, those that are done with.

use std::path::PathBuf;
use std::time::Instant;

use tm_spool::{OpenError, ProducerId, ProducerReader, clock, producer_dirs};

use super::Relay;
use super::shipped::Shipped;
use crate::readers::share_grant;

impl Relay {
    pub(super) fn find(&mut self) {
        self.found = Some(Instant::now());
        let dirs = match producer_dirs(&self.run_dir) {
            Ok(dirs) => dirs,
            Err(error) => {
                self.trouble = Some(format!("cannot look for producers: {error}"));
                return;
            }
        };
        let known = |dir: &PathBuf| {
            self.finished.contains(dir) || self.shipped.iter().any(|s| s.reader.dir() == dir)
        };
        let new: Vec<PathBuf> = dirs.into_iter().filter(|dir| !known(dir)).collect();
        let mut found = false;
        for dir in new {
            match ProducerReader::open(&dir) {
                Ok(reader) if is_of_this_machine(&reader) => {
                    reader.control().beat();
                    self.turns.add_pulse(reader.pulse());
                    self.shipped.push(Shipped::new(reader));
                    found = true;
                }
                // Another process reads it, or it was deleted meanwhile.
                Ok(_) | Err(OpenError::Taken { .. }) => {}
                Err(_) if !dir.is_dir() => {}
                Err(error) => self.trouble = Some(error.to_string()),
            }
        }
        if found {
            let readers = self.shipped.iter().map(|s| &s.reader);
            share_grant(readers, self.options.node_limit_bytes);
        }
    }

    pub(super) fn remove(&mut self, id: ProducerId) {
        let Some(at) = self.shipped.iter().position(|s| s.id() == id) else {
            return;
        };
        let gone = self.shipped.remove(at);
        let dir = gone.reader.dir().to_path_buf();
        if let Err(error) = gone.remove(&self.run_dir) {
            self.trouble = Some(format!("cannot delete {}: {error}", dir.display()));
            self.finished.insert(dir);
        }
    }
}

/// On a shared file system lanes of other nodes can be seen, and are theirs to read.
fn is_of_this_machine(reader: &ProducerReader) -> bool {
    let info = reader.info();
    info.boot_id == clock::boot_id() || info.host == clock::host_name()
}
