//! The last resort when the monitor and everybody who watches it are gone: the trainer's next `log()` brings it back.

use std::fs::OpenOptions;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicI64, AtomicPtr, Ordering};

use tm_spool::clock;

use super::active::Active;
use super::spawn::Command;

/// A monitor that has not said for so long that it lives is gone; and one attempt per so long is enough.
const PATIENCE_NS: i64 = 5_000_000_000;

struct Monitor {
    command: Command,
    lock: PathBuf,
}

/// Stored with Release by [`set`], loaded with Acquire; never freed, as a thread may be starting it.
static MONITOR: AtomicPtr<Monitor> = AtomicPtr::new(ptr::null_mut());
/// When this process last tried, or learned that another process of the node did.
static TRIED_NS: AtomicI64 = AtomicI64::new(i64::MIN / 2);

/// Sets the command that starts the monitor. The lock file in `lock_dir` is per node: the directory may be shared.
pub fn set(command: Command, lock_dir: &Path) {
    let node: String = clock::boot_id()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let lock = lock_dir.join(format!(".respawn-{node}.lock"));
    MONITOR.store(
        Box::into_raw(Box::new(Monitor { command, lock })),
        Ordering::Release,
    );
}

/// No monitor is to be started from here any more.
pub fn forget() {
    MONITOR.store(ptr::null_mut(), Ordering::Release);
}

fn monitor() -> Option<&'static Monitor> {
    // SAFETY: null, or a leaked box.
    unsafe { MONITOR.load(Ordering::Acquire).as_ref() }
}

/// Starts the monitor now, whatever its state. 0: no command was set.
///
/// # Errors
/// The kernel's error.
pub fn start() -> io::Result<u32> {
    TRIED_NS.store(clock::boottime_ns(), Ordering::Relaxed);
    monitor().map_or(Ok(0), |monitor| monitor.command.spawn())
}

/// Whether the monitor seems gone and it is time to look closer.
pub fn is_due(active: &Active) -> bool {
    let now = clock::boottime_ns();
    let silent = active
        .producer
        .heartbeat_age_ns()
        .unwrap_or(now - active.opened_ns);
    silent > PATIENCE_NS
        && now - TRIED_NS.load(Ordering::Relaxed) > PATIENCE_NS
        && monitor().is_some()
}

/// `close()` is about to wait for the monitor: brings it back if it is not there and nobody has just started it.
pub fn before_close(active: &Active) {
    const PATIENCE_NS: i64 = 2_000_000_000;
    let now = clock::boottime_ns();
    let silent = active.producer.heartbeat_age_ns().unwrap_or(i64::MAX);
    if silent > PATIENCE_NS && now - TRIED_NS.load(Ordering::Relaxed) > PATIENCE_NS {
        try_now();
    }
}

/// Starts the monitor unless a process of this node did so in the last seconds.
pub fn try_now() {
    TRIED_NS.store(clock::boottime_ns(), Ordering::Relaxed);
    if let Some(monitor) = monitor()
        && first_on_node(&monitor.lock).unwrap_or(true)
    {
        // It is tried again in a while, and health() says that no monitor is alive.
        let _ = monitor.command.spawn();
    }
}

/// Looks under a lock when the last attempt was, and leaves the time of this one.
fn first_on_node(lock: &Path) -> io::Result<bool> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock)?;
    // SAFETY: an open file; the lock goes with it when it is closed.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        return Ok(false);
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let now = clock::boottime_ns();
    let age = text
        .trim()
        .parse()
        .map_or(i64::MAX, |last: i64| now.saturating_sub(last));
    if (0..PATIENCE_NS).contains(&age) {
        return Ok(false);
    }
    file.rewind()?;
    file.set_len(0)?;
    writeln!(file, "{now}")?;
    Ok(true)
}
