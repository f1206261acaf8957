//! A signal by which a process may be asked something: set aside by it, and only ever sent while it is caught.

use std::fs;
use std::io;
use std::path::Path;

use crate::exit::ExitWatch;
use crate::files::Dir;
use crate::meta::{Meta, ProducerInfo};

/// Why a process was not asked.
#[derive(Debug, thiserror::Error)]
pub enum NotAsked {
    /// Its files cannot be read, so nobody knows which process it is.
    #[error("its files cannot be read: {0}")]
    Unknown(String),
    /// The process has ended, or runs on another machine or in another container.
    #[error("its process does not run here")]
    NotHere,
    /// It catches no such signal: the signal would end it.
    #[error("it does not wait for signal {0} (any more)")]
    NotCaught(i32),
    /// The kernel's error.
    #[error("cannot send it a signal: {0}")]
    Io(#[from] io::Error),
}

/// Take a real-time signal that nobody handles and ignore it from now on: one that comes before, between or after
/// its handlers ends nothing. `None`: all of them are handled, or this system has none.
#[must_use]
pub fn reserve_signal() -> Option<i32> {
    // From the end: libraries that want one take the first.
    #[cfg(target_os = "linux")]
    return (libc::SIGRTMIN()..libc::SIGRTMAX())
        .rev()
        .find(|number| ignore_if_default(*number));
    #[cfg(not(target_os = "linux"))]
    None
}

#[cfg(target_os = "linux")]
fn ignore_if_default(number: i32) -> bool {
    // SAFETY: sigaction is plain data, and both structures outlive the calls; ignoring a signal that nobody handles
    // changes nothing for anybody but its sender.
    unsafe {
        let mut known: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(number, std::ptr::null(), &raw mut known) != 0
            || known.sa_sigaction != libc::SIG_DFL
        {
            return false;
        }
        let mut ignored: libc::sigaction = std::mem::zeroed();
        ignored.sa_sigaction = libc::SIG_IGN;
        libc::sigaction(number, &raw const ignored, std::ptr::null_mut()) == 0
    }
}

/// Send the process of a producer a signal that it catches. One that it was sent and has not seen yet is not sent
/// again.
///
/// # Errors
/// [`NotAsked`]: it was not sent, and nothing has changed.
pub fn ask(dir: &Path, number: i32) -> Result<(), NotAsked> {
    let unknown = |error: &dyn std::fmt::Display| NotAsked::Unknown(error.to_string());
    let opened = Dir::open(dir).map_err(|error| unknown(&error))?;
    let (_, info) = Meta::open(&opened, dir).map_err(|error| unknown(&error))?;
    let held = ExitWatch::new(&info).ok_or(NotAsked::NotHere)?;
    // Nothing between this look and the signal: what a process catches now it may not catch for ever.
    let signals = Signals::of(info.pid).ok_or(NotAsked::NotHere)?;
    if !signals.catches(number) {
        return Err(NotAsked::NotCaught(number));
    }
    if signals.has_pending(number) {
        return Ok(());
    }
    Ok(held.send(number)?)
}

/// Whether the process of a producer runs where this one does.
#[must_use]
pub fn is_here(info: &ProducerInfo) -> bool {
    ExitWatch::new(info).is_some()
}

/// What `/proc/PID/status` says about signals, a bit each.
#[derive(Debug, Default)]
struct Signals {
    caught: u64,
    pending: u64,
}

impl Signals {
    /// `None`: there is no such process.
    fn of(pid: u32) -> Option<Self> {
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        Some(Self::parse(&String::from_utf8_lossy(&status)))
    }

    fn parse(status: &str) -> Self {
        let field = |name: &str| {
            let mut values = status.lines().filter_map(|line| line.strip_prefix(name));
            let bits = values.next().map(str::trim);
            bits.and_then(|bits| u64::from_str_radix(bits, 16).ok())
        };
        Self {
            caught: field("SigCgt:").unwrap_or(0),
            pending: field("ShdPnd:").unwrap_or(0),
        }
    }

    fn catches(&self, number: i32) -> bool {
        self.caught & bit(number) != 0
    }

    fn has_pending(&self, number: i32) -> bool {
        self.pending & bit(number) != 0
    }
}

fn bit(number: i32) -> u64 {
    let place = u32::try_from(number - 1).ok();
    place.and_then(|place| 1u64.checked_shl(place)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_set_aside_once_and_ignored_from_then_on() {
        let (first, second) = (reserve_signal().unwrap(), reserve_signal().unwrap());
        assert!(first > second && second >= libc::SIGRTMIN());
        // Would end this process if it were not ignored.
        // SAFETY: raise takes a number.
        assert_eq!(unsafe { libc::raise(first) }, 0);
    }

    #[test]
    fn bits_of_signals_count_from_one() {
        let signals =
            Signals::parse("Name:\tx\nShdPnd:\t2000000000000000\nSigCgt:\t0000000000000002\n");
        assert!(signals.catches(2) && !signals.catches(1) && !signals.catches(0));
        assert!(signals.has_pending(62) && !signals.has_pending(61));
        assert!(!Signals::parse("").catches(64) && !signals.catches(65) && !signals.catches(-1));
    }
}
