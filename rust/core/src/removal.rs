//! Removing a run that is over: its directory, its claims, and spools that lie on another disk.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tm_spool::{ProducerId, producer_dirs};

use crate::claim::{self, ClaimError};

/// What a run is called between its end and the end of its files; no run's name starts with a dot.
const PREFIX: &str = ".removed-";
/// Held by the monitor of a run for its life.
const MONITOR_LOCK: &str = ".monitor.lock";

/// Why a run was not removed.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// Somebody records, or is about to.
    #[error("run {name:?} is being recorded; stop its training first")]
    Live {
        /// The run.
        name: String,
    },
    /// Its monitor, or `recover`, is at work.
    #[error("a monitor is at work on run {name:?}; it leaves by itself when everything is stored")]
    Monitored {
        /// The run.
        name: String,
    },
    /// It is a link, or no directory.
    #[error("{} is not a directory of a run: links are not followed", path.display())]
    NotADirectory {
        /// What was named.
        path: PathBuf,
    },
    /// The claims of the root cannot be read or locked.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// The system said no.
    #[error("cannot remove {}: {source}", path.display())]
    File {
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Remove a run under its root directory, unless somebody records or monitors it.
///
/// The directory is renamed first, so that the name is free at once and a kill leaves nothing half removed
/// under it; [`sweep`] deletes what such a kill left. Links inside are deleted, never followed.
///
/// # Errors
/// [`RemovalError`]; the run is then as it was, or only some of its renamed files are gone.
pub fn remove_run(root: &Path, name: &str) -> Result<(), RemovalError> {
    let run_dir = root.join(name);
    let is_dir = fs::symlink_metadata(&run_dir).is_ok_and(|m| m.is_dir());
    if !is_dir {
        return Err(RemovalError::NotADirectory { path: run_dir });
    }
    let (aside, spools) = claim::while_locked(root, |claims| {
        if claims.is_held(&run_dir, name) {
            return Err(RemovalError::Live { name: name.into() });
        }
        let _monitor = lock_out_monitors(&run_dir, name)?;
        let mut spools = producer_dirs(&run_dir).unwrap_or_default();
        spools.retain(|spool| !spool.starts_with(&run_dir) && is_ours(spool));
        let id = ProducerId::random().map_err(failed(&run_dir))?;
        let aside = root.join(format!("{PREFIX}{id}"));
        fs::rename(&run_dir, &aside).map_err(failed(&run_dir))?;
        claims.forget(name)?;
        Ok((aside, spools))
    })?;
    for spool in &spools {
        remove_tree(spool)?;
    }
    remove_tree(&aside)
}

/// Delete what an interrupted removal left under a root; return how many runs that were.
///
/// # Errors
/// Something cannot be deleted.
pub fn sweep(root: &Path) -> Result<usize, RemovalError> {
    let mut swept = 0;
    for entry in fs::read_dir(root).map_err(failed(root))?.flatten() {
        let is_left = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if is_left && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path())?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Two sweeps may meet: what is gone already is no failure. The standard library follows no link here.
fn remove_tree(dir: &Path) -> Result<(), RemovalError> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(dir)(error)),
        _ => Ok(()),
    }
}

/// A pointer file may hold any path: only a private directory of this user, named as its producer, counts.
fn is_ours(spool: &Path) -> bool {
    let named = spool.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.parse::<ProducerId>().is_ok()
    });
    let base = spool.parent().and_then(Path::file_name);
    let in_base = base.is_some_and(|base| base.to_string_lossy().starts_with("training_monitor-"));
    let user = fs::metadata("/proc/self").map(|m| m.uid());
    named
        && in_base
        && fs::symlink_metadata(spool)
            .is_ok_and(|m| m.is_dir() && user.is_ok_and(|user| user == m.uid()))
}

/// Take the lock that a monitor needs; it goes with the directory.
fn lock_out_monitors(run_dir: &Path, name: &str) -> Result<Option<File>, RemovalError> {
    let path = run_dir.join(MONITOR_LOCK);
    match File::open(&path) {
        Ok(file) => match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Err(RemovalError::Monitored { name: name.into() }),
            Err(fs::TryLockError::Error(error)) => Err(failed(&path)(error)),
        },
        // No monitor was ever there, and the claims are locked: none comes now.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&path)(error)),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> RemovalError {
    let path = path.to_path_buf();
    move |source| RemovalError::File { path, source }
}
