//! Directories that stand where a producer's should, and cannot be one: out of the way, once, and said so.

use std::path::{Path, PathBuf};

use tm_spool::{holds_lanes, set_aside};

use super::Worker;

impl Worker {
    /// The others go on; what lay in its lanes is a gap of unknown size.
    pub(super) fn set_aside(&mut self, dir: &Path) {
        let Some(store) = &self.store else { return };
        if holds_lanes(dir) {
            // Before the rename: killed in between, we say it again and do not store it twice.
            if let Err(error) = store.record_gap("damaged_meta", &dir.display().to_string()) {
                self.store_failed(&error);
                return;
            }
            self.status.gaps += 1;
        }
        match set_aside(dir) {
            Ok(aside) => self.status.set_aside.push(aside.display().to_string()),
            Err(error) => self.cannot_set_aside(dir.to_path_buf(), &error),
        }
    }

    fn cannot_set_aside(&mut self, dir: PathBuf, error: &std::io::Error) {
        if self.refused.insert(dir.clone()) {
            let dir = dir.display();
            self.trouble.note(format!(
                "{dir} has no usable meta, and cannot be moved: {error}"
            ));
        }
    }
}
