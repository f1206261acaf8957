//! Where the database is written: in the run directory, or in a private directory of this machine.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tm_spool::{Holds, filesystem, is_private, private_bases};

use crate::live::{self, DATABASE_NAME, Pointer};
use crate::stats::Alphas;
use crate::store::{RunReader, Store, StoreError, move_aside};

/// The database of a run whose lock the caller holds.
#[derive(Debug)]
pub(super) struct Home {
    run_dir: PathBuf,
    alphas: Alphas,
    /// `None`: the database lies in the run directory.
    live: Option<Live>,
}

#[derive(Debug)]
struct Live {
    pointer: Pointer,
    /// The directory, locked: nobody else writes there, and cleaners of temporary files leave it alone.
    lock: Mutex<File>,
}

/// What the copy lacks, as far as it is known.
struct Lost {
    reason: &'static str,
    detail: String,
}

impl Home {
    /// Find the database, or decide where it is to be; what an earlier start began is finished.
    ///
    /// `from_copy`: go on from the copy in the run directory although another machine may hold more.
    pub(super) fn take(
        run_dir: &Path,
        alphas: Alphas,
        from_copy: bool,
    ) -> Result<Self, StoreError> {
        let home = |live| Self {
            run_dir: run_dir.to_path_buf(),
            alphas,
            live,
        };
        let read =
            Pointer::read(run_dir).map_err(file("cannot read", &run_dir.join(live::POINTER)))?;
        let Some(pointer) = read else {
            return Ok(home(settle(run_dir, alphas, None)?));
        };
        if finish_leaving(run_dir, &pointer)? {
            return Ok(home(settle(run_dir, alphas, None)?));
        }
        if is_dir(&pointer.draft())? && !is_dir(&pointer.dir)? {
            fs::rename(pointer.draft(), &pointer.dir).map_err(file("cannot make", &pointer.dir))?;
        }
        if is_dir(&pointer.dir)? {
            let lock = Mutex::new(lock(&pointer.dir)?);
            sweep(run_dir, &pointer);
            let home = home(Some(Live { pointer, lock }));
            home.restore()?;
            return Ok(home);
        }
        let dir = pointer.dir.display();
        let reason = if pointer.is_of_this_machine() {
            "live_database_lost"
        } else if from_copy {
            "left_elsewhere"
        } else {
            return Err(StoreError::Elsewhere {
                host: pointer.host,
                dir: pointer.dir,
            });
        };
        let lost = Lost {
            reason,
            detail: format!("{dir} on {}", pointer.host),
        };
        Ok(home(settle(run_dir, alphas, Some(&lost))?))
    }

    /// The file that is written.
    pub(super) fn database(&self) -> PathBuf {
        match &self.live {
            Some(live) => live.pointer.database(),
            None => self.run_dir.join(DATABASE_NAME),
        }
    }

    /// Whether the run directory gets copies.
    pub(super) fn has_copies(&self) -> bool {
        self.live.is_some()
    }

    /// Whether the run directory is still the one whose copies we make.
    pub(super) fn is_ours(&self) -> bool {
        let named = Pointer::read(&self.run_dir).ok().flatten();
        self.live.as_ref().map(|live| &live.pointer) == named.as_ref()
    }

    /// Go on from the copy when somebody deleted the live database.
    pub(super) fn restore(&self) -> Result<(), StoreError> {
        let Some(live) = &self.live else {
            return Ok(());
        };
        if live.pointer.database().exists() || !self.is_ours() {
            return Ok(());
        }
        let dir = &live.pointer.dir;
        let lost = Lost {
            reason: "live_database_lost",
            detail: format!("{} was deleted", dir.display()),
        };
        let draft = live.pointer.draft();
        let held = draft_of(&self.run_dir, &draft, self.alphas, Some(&lost))?;
        remove_tree(dir)?;
        fs::rename(&draft, dir).map_err(file("cannot make", dir))?;
        *live.lock.lock().unwrap_or_else(PoisonError::into_inner) = held;
        Ok(())
    }

    /// The copy in the run directory is whole: nobody needs the live database any more.
    pub(super) fn leave(&self) -> Result<(), StoreError> {
        let Some(Live { pointer, .. }) = &self.live else {
            return Ok(());
        };
        self.keep_damaged(&pointer.dir)?;
        fs::rename(&pointer.dir, pointer.gone()).map_err(file("cannot remove", &pointer.dir))?;
        finish_leaving(&self.run_dir, pointer).map(drop)
    }

    /// A damaged database that was moved aside is for people, and they look in the run directory.
    fn keep_damaged(&self, dir: &Path) -> Result<(), StoreError> {
        for entry in fs::read_dir(dir)
            .map_err(file("cannot list", dir))?
            .flatten()
        {
            let name = entry.file_name();
            if name.to_string_lossy().contains(".damaged-") {
                let to = self.run_dir.join(&name);
                fs::copy(entry.path(), &to).map_err(file("cannot write", &to))?;
            }
        }
        Ok(())
    }
}

/// Decide where the database of a run without one elsewhere is to be, and prepare that.
fn settle(run_dir: &Path, alphas: Alphas, lost: Option<&Lost>) -> Result<Option<Live>, StoreError> {
    let copy = run_dir.join(DATABASE_NAME);
    let base = match filesystem(run_dir).holds {
        Holds::Files => base_for(fs::metadata(&copy).map_or(0, |m| m.len())),
        Holds::Database | Holds::Lanes => None,
    };
    let Some(base) = base else {
        if let Some(lost) = lost {
            record(&copy, alphas, lost)?;
            remove(&run_dir.join(live::POINTER))?;
        }
        return Ok(None);
    };
    let name = live::new_name(run_dir).map_err(file("cannot name a directory in", &base))?;
    let pointer = Pointer::to(base.join(name));
    let draft = pointer.draft();
    let held = draft_of(run_dir, &draft, alphas, lost)?;
    pointer
        .write(run_dir)
        .map_err(file("cannot write", &run_dir.join(live::POINTER)))?;
    fs::rename(&draft, &pointer.dir).map_err(file("cannot make", &pointer.dir))?;
    sweep(run_dir, &pointer);
    let lock = Mutex::new(held);
    Ok(Some(Live { pointer, lock }))
}

/// Delete what starts and leaves of this run that were killed have left in our places, under the names that a
/// directory has before its pointer stands and after it went.
fn sweep(run_dir: &Path, pointer: &Pointer) {
    let known = [pointer.draft(), pointer.gone()];
    for base in private_bases(Holds::Database) {
        // Room is all it costs: what cannot be deleted now is found by the next start.
        for entry in fs::read_dir(&base).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_left =
                name.starts_with('.') && (name.ends_with(".new") || name.ends_with(".gone"));
            let is_its =
                || fs::read(path.join(RUN)).is_ok_and(|run| run == run_dir.as_os_str().as_bytes());
            if is_left && !known.contains(&path) && is_its() && lock(&path).is_ok() {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
}

/// A place of this machine with room for three times the copy; what is lost at a reboot comes last. `None`: there
/// is none, and the database stays where it is.
fn base_for(copy_bytes: u64) -> Option<PathBuf> {
    let mut bases = private_bases(Holds::Database);
    bases.sort_by_key(|base| filesystem(base).in_memory);
    let wanted = copy_bytes.saturating_mul(3).saturating_add(LEAST_ROOM);
    let roomy = bases
        .iter()
        .find(|base| tm_spool::free_bytes(base).is_ok_and(|free| free >= wanted));
    roomy.or(bases.first()).cloned()
}

/// The file in a live directory that says of which run it is.
const RUN: &str = "run";
/// A write-ahead log may grow to this.
const LEAST_ROOM: u64 = 64 << 20;

/// A live directory under its draft name, locked, with what the copy holds and what it lacks.
fn draft_of(
    run_dir: &Path,
    draft: &Path,
    alphas: Alphas,
    lost: Option<&Lost>,
) -> Result<File, StoreError> {
    remove_tree(draft)?;
    let made = DirBuilder::new().mode(0o700).create(draft);
    made.map_err(file("cannot make", draft))?;
    let filled = lock(draft).and_then(|held| {
        let named = fs::write(draft.join(RUN), run_dir.as_os_str().as_bytes());
        named.map_err(file("cannot write", draft))?;
        let database = draft.join(DATABASE_NAME);
        let damaged = seed(&run_dir.join(DATABASE_NAME), &database)?;
        for lost in lost.into_iter().chain(&damaged) {
            record(&database, alphas, lost)?;
        }
        live::sync_names(draft).map_err(file("cannot write", draft))?;
        Ok(held)
    });
    filled.inspect_err(|_| {
        // The error is what counts; the next start removes what is left.
        let _ = fs::remove_dir_all(draft);
    })
}

/// Copy the copy. One that is damaged is moved aside, and nothing is known then.
fn seed(copy: &Path, database: &Path) -> Result<Option<Lost>, StoreError> {
    let copied = RunReader::open(copy).and_then(|reader| reader.backup(database, |_| true));
    match copied {
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(None),
        Err(error) if error.is_damage() => {
            remove(database)?;
            let aside = move_aside(copy)?;
            Ok(Some(Lost {
                reason: "database_damaged",
                detail: aside.display().to_string(),
            }))
        }
        Err(error) => Err(error),
    }
}

fn record(database: &Path, alphas: Alphas, lost: &Lost) -> Result<(), StoreError> {
    let store = Store::open(database, alphas)?;
    store.record_gap(lost.reason, &lost.detail)?;
    store.close()
}

/// Remove what was left; false when nothing was being removed.
fn finish_leaving(run_dir: &Path, pointer: &Pointer) -> Result<bool, StoreError> {
    if !is_dir(&pointer.gone())? {
        return Ok(false);
    }
    remove(&run_dir.join(live::POINTER))?;
    remove_tree(&pointer.gone())?;
    Ok(true)
}

/// Lock a directory of ours; that lasts as long as the file is open, under whatever name.
fn lock(dir: &Path) -> Result<File, StoreError> {
    if !is_private(dir) {
        let source = io::Error::from(io::ErrorKind::PermissionDenied);
        return Err(file("another user owns", dir)(source));
    }
    let held = File::open(dir).map_err(file("cannot open", dir))?;
    match held.try_lock() {
        Ok(()) => Ok(held),
        Err(fs::TryLockError::WouldBlock) => Err(StoreError::Busy),
        Err(fs::TryLockError::Error(source)) => Err(file("cannot lock", dir)(source)),
    }
}

/// Whether it is there; what cannot be looked at is an error, for it may hold the newest data.
fn is_dir(dir: &Path) -> Result<bool, StoreError> {
    match fs::symlink_metadata(dir) {
        Ok(facts) => Ok(facts.is_dir()),
        Err(error) if live::is_missing(&error) => Ok(false),
        Err(error) => Err(file("cannot look at", dir)(error)),
    }
}

fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if !live::is_missing(&error) => Err(file("cannot remove", path)(error)),
        _ => Ok(()),
    }
}

fn remove_tree(dir: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(dir) {
        Err(error) if !live::is_missing(&error) => Err(file("cannot remove", dir)(error)),
        _ => Ok(()),
    }
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| match source.kind() {
        io::ErrorKind::StorageFull => StoreError::DiskFull,
        _ => StoreError::File {
            action,
            path,
            source,
        },
    }
}

#[cfg(test)]
#[path = "home_tests.rs"]
mod tests;
