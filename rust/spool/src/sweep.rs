//! Removing what a reader left behind that was killed while it deleted a producer's files.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::place::{GONE_POINTER, entries, gone_name};
use crate::types::ProducerId;

/// Finish deletions that were begun. The caller is the only one who deletes in this run.
///
/// # Errors
/// The kernel's; what could not be deleted stays for the next time.
pub fn sweep_gone(run_dir: &Path) -> io::Result<()> {
    for job in entries(&run_dir.join(".spool"))? {
        for entry in entries(&job)? {
            if is_gone(&entry) {
                fs::remove_dir_all(&entry)?;
            } else if let Some(id) = gone_elsewhere(&entry) {
                sweep_elsewhere(&entry, id)?;
            }
        }
        // Only when nothing is left in it.
        let _ = fs::remove_dir(job);
    }
    Ok(())
}

/// `None`: the entry is no pointer to what is being deleted.
fn gone_elsewhere(entry: &Path) -> Option<ProducerId> {
    let name = entry.file_name().and_then(OsStr::to_str)?;
    name.strip_suffix(GONE_POINTER)?.parse().ok()
}

/// The same where the lanes lie in another place: then the pointer that leads there goes last.
fn sweep_elsewhere(pointer: &Path, id: ProducerId) -> io::Result<()> {
    let target = PathBuf::from(fs::read_to_string(pointer)?.trim_end());
    let is_its = target.file_name().and_then(OsStr::to_str) == Some(&id.to_string());
    for dir in [target.with_file_name(gone_name(id)), target] {
        if is_its && dir.is_dir() {
            fs::remove_dir_all(dir)?;
        }
    }
    fs::remove_file(pointer)
}

fn is_gone(entry: &Path) -> bool {
    let name = entry.file_name().and_then(OsStr::to_str);
    let id = name.and_then(|name| name.strip_prefix('.')?.strip_suffix(".gone"));
    id.is_some_and(|id| id.parse::<ProducerId>().is_ok())
}
