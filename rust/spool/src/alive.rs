//! Proof of life: an fcntl lock on a file that nothing else opens, with pid and start time as second evidence.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::files::{Dir, Kept};
use crate::meta::{Meta, ProducerInfo};

const NAME: &str = "alive";

/// Held by the producer for its life; the kernel frees it when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct Alive(
    #[allow(dead_code, reason = "the lock lives as long as the descriptor")] Kept,
);

fn lock_of(kind: libc::c_int) -> libc::flock {
    // SAFETY: flock is plain data.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

impl Alive {
    /// Make the file and take the lock. A file system without locks leaves only pid and start time.
    pub(crate) fn create(dir: &Dir) -> io::Result<Self> {
        let file = dir.create(NAME, 8)?;
        let lock = lock_of(libc::F_WRLCK);
        // SAFETY: the descriptor is open and `lock` a valid flock. Not an OFD lock: those outlive us in forked children.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock) };
        Ok(Self(Kept::new(file)?))
    }
}

/// Whether the producer of this directory still lives.
///
/// # Errors
/// It cannot be told: no descriptor is left, for one, or a file system of another machine has no locks.
pub(crate) fn is_alive(dir: &Dir, path: &Path, info: &ProducerInfo) -> io::Result<bool> {
    let same_boot = info.boot_id == clock::boot_id();
    let same_ns = same_boot && info.pid_ns == clock::pid_namespace();
    if same_ns && info.pid == std::process::id() {
        // Opening and closing `alive` in the process that holds it would drop its lock.
        let start = clock::process_start(info.pid)?;
        return Ok(start.is_some_and(|(ticks, _)| ticks == info.start_ticks));
    }
    let locked = locked(dir);
    if !same_ns {
        return locked;
    }
    // Without locks, pid and start time are all there is.
    if locked.or_else(|e| if has_no_locks(&e) { Ok(false) } else { Err(e) })? {
        return Ok(true);
    }
    Ok(clock::runs(info.pid, info.start_ticks)? && !is_superseded(path, info))
}

fn has_no_locks(error: &io::Error) -> bool {
    let no_locks = [libc::ENOSYS, libc::EOPNOTSUPP, libc::EINVAL, libc::ENOLCK];
    error
        .raw_os_error()
        .is_some_and(|code| no_locks.contains(&code))
}

/// Whether the process made a newer producer after its lock was gone: it went through exec.
fn is_superseded(path: &Path, info: &ProducerInfo) -> bool {
    let jobs = path
        .parent()
        .and_then(Path::parent)
        .into_iter()
        .flat_map(subdirs);
    jobs.flat_map(|job| subdirs(&job)).any(|other| {
        let meta = Dir::open(&other)
            .ok()
            .and_then(|dir| Meta::open(&dir, &other).ok());
        meta.is_some_and(|(_, other)| {
            other.pid == info.pid
                && other.pid_ns == info.pid_ns
                && other.boot_id == info.boot_id
                && other.start_ticks == info.start_ticks
                && other.boottime_ns > info.boottime_ns
        })
    })
}

fn subdirs(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path())
        .collect()
}

fn locked(dir: &Dir) -> io::Result<bool> {
    let file = match dir.open_file(NAME) {
        // Somebody deleted it: that proves nothing, and nobody can hold its lock any more.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let mut lock = lock_of(libc::F_WRLCK);
    // SAFETY: the descriptor is open; F_GETLK only fills `lock`.
    let got = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &mut lock) };
    if got != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}
