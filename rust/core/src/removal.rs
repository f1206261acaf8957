//! Removing a run that is over: what is ours in its directory, its claims, and spools that lie on another disk.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use tm_spool::{ProducerId, Sighting, survey};

use crate::belongings::{MONITOR_LOCK, belongings, is_relay_lock, is_run};
use crate::claim::{self, ClaimError};
use crate::live::Pointer;

/// What a run is called between its end and the end of its files; no run's name starts with a dot.
const PREFIX: &str = ".removed-";

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
    /// Nothing in it says that it is a run.
    #[error("{} is not a run: it holds neither a database nor a spool of training_monitor", path.display())]
    NotARun {
        /// What was named.
        path: PathBuf,
    },
    /// What one of its producers has, nobody can tell from here.
    #[error(
        "run {name:?} has a producer that may hold unread points: {trouble}; remove the run where its files \
         are, or with --force"
    )]
    OutOfReach {
        /// The run.
        name: String,
        /// Why its files cannot be read.
        trouble: String,
    },
    /// Its live database is on another machine.
    #[error(
        "the live database of run {name:?} is on {host}, and may hold more than the copy here: remove the run \
         there, or with --force"
    )]
    LiveElsewhere {
        /// The run.
        name: String,
        /// Which machine.
        host: String,
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

/// Remove a run under its root directory, unless somebody records or monitors it; return what stays.
///
/// Only what is ours goes. Other files, checkpoints say, stay where they are, and so does then the directory. Our
/// files are first moved aside, so that the name is free at once; [`sweep`] deletes what a kill left of them.
/// Links inside are not followed.
///
/// # Errors
/// [`RemovalError`]; the run is then as it was, or what is left of it can be removed once more.
///
/// # Arguments
/// `force`: also when the files of a producer cannot be read from here.
pub fn remove_run(root: &Path, name: &str, force: bool) -> Result<Vec<OsString>, RemovalError> {
    let run_dir = root.join(name);
    let is_dir = fs::symlink_metadata(&run_dir).is_ok_and(|m| m.is_dir());
    if !is_dir {
        return Err(RemovalError::NotADirectory { path: run_dir });
    }
    let (aside, spools, stays) = claim::while_locked(root, |claims| {
        if claims.is_held(&run_dir, name) {
            return Err(RemovalError::Live { name: name.into() });
        }
        if !is_run(&run_dir) && !claims.names(name) {
            return Err(RemovalError::NotARun { path: run_dir });
        }
        let _monitor = lock_out_monitors(&run_dir, name)?;
        let mut spools = spools(&run_dir, name, force)?;
        spools.extend(live_database(&run_dir, name, force)?);
        let (aside, stays) = move_aside(root, &run_dir)?;
        claims.forget(name)?;
        Ok((aside, spools, stays))
    })?;
    for spool in &spools {
        remove_tree(spool)?;
    }
    remove_tree(&aside)?;
    Ok(stays)
}

/// The spools of a run outside of its directory that are ours to delete.
fn spools(run_dir: &Path, name: &str, force: bool) -> Result<Vec<PathBuf>, RemovalError> {
    let found = match survey(run_dir) {
        Ok(found) => found,
        Err(_) if force => Vec::new(),
        Err(error) => return Err(failed(run_dir)(error)),
    };
    let trouble = |sighting: &Sighting| sighting.seen.as_ref().err().cloned();
    if let Some(trouble) = found.iter().find_map(trouble)
        && !force
    {
        let name = name.into();
        return Err(RemovalError::OutOfReach { name, trouble });
    }
    let dirs = found.into_iter().map(|sighting| sighting.dir);
    Ok(dirs
        .filter(|dir| !dir.starts_with(run_dir) && is_ours(dir))
        .collect())
}

/// The directories of the live database that are on this machine, under all their names.
fn live_database(run_dir: &Path, name: &str, force: bool) -> Result<Vec<PathBuf>, RemovalError> {
    let pointer = match Pointer::read(run_dir) {
        Ok(Some(pointer)) => pointer,
        Ok(None) => return Ok(Vec::new()),
        Err(_) if force => return Ok(Vec::new()),
        Err(error) => return Err(failed(run_dir)(error)),
    };
    let user = fs::metadata("/proc/self").map(|m| m.uid());
    let is_here = |dir: &PathBuf| {
        let facts = fs::symlink_metadata(dir);
        facts.is_ok_and(|m| m.is_dir() && user.as_ref().is_ok_and(|user| *user == m.uid()))
    };
    let dirs = [pointer.dir.clone(), pointer.draft(), pointer.gone()];
    let here: Vec<PathBuf> = dirs.into_iter().filter(is_here).collect();
    if here.is_empty() && !pointer.is_of_this_machine() && !force {
        let (name, host) = (name.into(), pointer.host);
        return Err(RemovalError::LiveElsewhere { name, host });
    }
    Ok(here)
}

/// Move what is ours out of a run directory, and the directory with it when that was all; return where to, and
/// the names of what stays.
fn move_aside(root: &Path, run_dir: &Path) -> Result<(PathBuf, Vec<OsString>), RemovalError> {
    let found = belongings(run_dir).map_err(failed(run_dir))?;
    let id = ProducerId::random().map_err(failed(run_dir))?;
    let aside = root.join(format!("{PREFIX}{id}"));
    let made = fs::DirBuilder::new().mode(0o700).create(&aside);
    made.map_err(failed(&aside))?;
    for name in &found.ours {
        let from = run_dir.join(name);
        match fs::rename(&from, aside.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&from)(error));
            }
            _ => {}
        }
    }
    match fs::remove_dir(run_dir) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            let left = belongings(run_dir).map_err(failed(run_dir))?;
            Ok((aside, [left.foreign, left.ours].concat()))
        }
        Err(error) => Err(failed(run_dir)(error)),
        Ok(()) => Ok((aside, Vec::new())),
    }
}

/// Delete what an interrupted removal left under a root; return how many runs that were.
///
/// # Errors
/// Something cannot be deleted.
pub fn sweep(root: &Path) -> Result<usize, RemovalError> {
    let mut swept = 0;
    for entry in fs::read_dir(root).map_err(failed(root))?.flatten() {
        let name = entry.file_name();
        let id = name
            .to_string_lossy()
            .strip_prefix(PREFIX)
            .map(str::to_owned);
        let is_left = id.is_some_and(|id| id.parse::<ProducerId>().is_ok());
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
fn lock_out_monitors(run_dir: &Path, name: &str) -> Result<Vec<File>, RemovalError> {
    let mut locks = vec![run_dir.join(MONITOR_LOCK)];
    let entries = fs::read_dir(run_dir).map_err(failed(run_dir))?;
    let relays = entries.flatten().map(|entry| entry.path());
    locks.extend(relays.filter(|path| is_relay_lock(path)));
    let held = locks.into_iter().map(|path| lock_out(path, name));
    held.filter_map(Result::transpose).collect()
}

fn lock_out(path: PathBuf, name: &str) -> Result<Option<File>, RemovalError> {
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
