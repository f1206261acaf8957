//! The clocks and the identity of the machine they belong to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{fs, io};

fn read(clock: libc::clockid_t) -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec; a clock the kernel does not know leaves it at zero.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec
        .wrapping_mul(1_000_000_000)
        .wrapping_add(now.tv_nsec)
}

/// Nanoseconds since boot, time asleep included (CLOCK_BOOTTIME).
#[inline]
#[must_use]
pub fn boottime_ns() -> i64 {
    #[cfg(target_os = "linux")]
    return read(libc::CLOCK_BOOTTIME);
    #[cfg(not(target_os = "linux"))]
    return read(libc::CLOCK_MONOTONIC);
}

/// Nanoseconds since 1970 by the wall clock (CLOCK_REALTIME).
#[must_use]
pub fn wall_ns() -> i64 {
    read(libc::CLOCK_REALTIME)
}

/// The kernel's random id of this boot; zeros where it is not known.
#[must_use]
pub fn boot_id() -> [u8; 16] {
    // No OnceLock: a child forked while another thread fills it would wait for that thread for ever.
    static KNOWN: AtomicBool = AtomicBool::new(false);
    static HALVES: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    // Acquire: pairs with the Release below, after both halves.
    if KNOWN.load(Ordering::Acquire) {
        let [low, high] = HALVES.each_ref().map(|half| half.load(Ordering::Relaxed));
        return (u128::from(low) | u128::from(high) << 64).to_le_bytes();
    }
    let id = read_boot_id();
    let both = u128::from_le_bytes(id);
    HALVES[0].store(both as u64, Ordering::Relaxed);
    HALVES[1].store((both >> 64) as u64, Ordering::Relaxed);
    KNOWN.store(true, Ordering::Release);
    id
}

fn read_boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits
        .parse::<crate::ProducerId>()
        .map(|id| id.0)
        .unwrap_or_default()
}

fn namespace(kind: &str) -> u64 {
    let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
    let text = link.to_string_lossy();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// The inode of this process's pid namespace; 0 where it is not known.
#[must_use]
pub fn pid_namespace() -> u64 {
    namespace("pid")
}

/// The inode of this process's time namespace; 0 where it is not known.
#[must_use]
pub fn time_namespace() -> u64 {
    namespace("time")
}

/// The start time of a process in clock ticks since boot (field 22 of `/proc/PID/stat`), and whether
/// it is a zombie. `None`: there is no such process.
///
/// # Errors
/// The kernel does not say now: no descriptor is left, for one.
pub(crate) fn process_start(pid: u32) -> io::Result<Option<(u64, bool)>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(start_of(&stat)),
        // A process that ends while it is read is ESRCH.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// When a process started, in clock ticks since boot; 0 where that is not known, and then nobody passes for it.
#[must_use]
pub fn start_ticks(pid: u32) -> u64 {
    let found = process_start(pid).ok().flatten();
    found.map_or(0, |(ticks, _)| ticks)
}

/// Whether the process that started then still runs; a zombie does not.
///
/// # Errors
/// The kernel does not say now: no descriptor is left, for one.
pub fn runs(pid: u32, start_ticks: u64) -> io::Result<bool> {
    let found = process_start(pid)?;
    Ok(found.is_some_and(|(ticks, zombie)| ticks == start_ticks && !zombie))
}

fn start_of(stat: &[u8]) -> Option<(u64, bool)> {
    let text = String::from_utf8_lossy(stat);
    let fields = fields_of(&text)?;
    let zombie = matches!(fields.first(), Some(&"Z" | &"X"));
    fields.get(19)?.parse().ok().map(|ticks| (ticks, zombie))
}

/// The wait status of a zombie that started then, from its `/proc/PID/stat`. `None`: it is none.
pub(crate) fn zombie_status(stat: &[u8], start_ticks: u64) -> Option<i32> {
    if start_of(stat)? != (start_ticks, true) {
        return None;
    }
    fields_of(&String::from_utf8_lossy(stat))?
        .get(49)?
        .parse()
        .ok()
}

/// The fields from the third on.
fn fields_of(stat: &str) -> Option<Vec<&str>> {
    // The command name may hold spaces and brackets: count from the last ')'.
    let rest = &stat[stat.rfind(')')? + 1..];
    Some(rest.split_ascii_whitespace().collect())
}

/// The name of this host, cut at 255 bytes.
#[must_use]
pub fn host_name() -> String {
    let mut name = [0u8; 256];
    // SAFETY: the buffer is 256 bytes long; the last byte stays 0 whatever gethostname writes.
    unsafe { libc::gethostname(name.as_mut_ptr().cast(), name.len() - 1) };
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    String::from_utf8_lossy(&name[..end]).into_owned()
}
