//! How a process ended that is not our child.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::clock;
use crate::meta::ProducerInfo;

/// What is known of the end of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It has not ended, or only just: ask again in a moment.
    NotYet,
    /// It ended like this.
    Status(ExitStatus),
    /// Nobody can say any more: it ended before we looked, is on another machine, or the kernel is too old.
    Unknown,
}

/// `struct pidfd_info` of `linux/pidfd.h`, first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const PIDFD_INFO_EXIT: u64 = 1 << 3;
/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`
const PIDFD_GET_INFO: u64 = (3 << 30) | ((size_of::<PidfdInfo>() as u64) << 16) | (0xff << 8) | 11;

/// Holds on to a process, so that its end can be asked for.
#[derive(Debug)]
pub(crate) struct ExitWatch {
    pid: u32,
    start_ticks: u64,
    pidfd: OwnedFd,
}

impl ExitWatch {
    /// Hold on to the process of a producer. `None`: it has ended, or lives out of our sight.
    pub(crate) fn new(info: &ProducerInfo) -> Option<Self> {
        if info.boot_id != clock::boot_id() || info.pid_ns != clock::pid_namespace() {
            return None;
        }
        let pid = libc::pid_t::try_from(info.pid).ok()?;
        // SAFETY: pidfd_open takes two numbers and gives a descriptor or an error.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
        let pidfd = unsafe { OwnedFd::from_raw_fd(fd) };
        // Looked at afterwards, so that the descriptor cannot be that of a later process with this number.
        let is_it = clock::runs(info.pid, info.start_ticks).unwrap_or(false);
        is_it.then_some(Self {
            pid: info.pid,
            start_ticks: info.start_ticks,
            pidfd,
        })
    }

    /// How it ended.
    pub(crate) fn end(&self) -> ProcessEnd {
        if !self.has_ended() {
            return ProcessEnd::NotYet;
        }
        let status = self.reaped().or_else(|| self.zombie());
        // Reaped between the two looks.
        let status = status.or_else(|| self.reaped());
        status.map_or(ProcessEnd::Unknown, ProcessEnd::Status)
    }

    /// One system call, where the words of the kernel about an end take several.
    fn has_ended(&self) -> bool {
        let mut poll = libc::pollfd {
            fd: self.pidfd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, which outlives the call; it does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    /// Send a signal to this very process.
    pub(crate) fn send(&self, number: i32) -> io::Result<()> {
        // SAFETY: a descriptor of ours, a number, no further information and no flags.
        let sent = unsafe {
            let nothing = std::ptr::null::<libc::siginfo_t>();
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                number,
                nothing,
                0,
            )
        };
        if sent == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// What the kernel keeps of a process that its parent has waited for; since Linux 6.15.
    fn reaped(&self) -> Option<ExitStatus> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        // SAFETY: the request carries the size of the structure, which outlives the call.
        let done = unsafe {
            libc::ioctl(
                self.pidfd.as_raw_fd(),
                PIDFD_GET_INFO as libc::Ioctl,
                &raw mut info,
            )
        };
        let is_known = done == 0 && info.mask & PIDFD_INFO_EXIT != 0;
        is_known.then(|| ExitStatus::from_raw(info.exit_code))
    }

    /// What stands in `/proc` until its parent has waited for it.
    fn zombie(&self) -> Option<ExitStatus> {
        let stat = fs::read(format!("/proc/{}/stat", self.pid)).ok()?;
        clock::zombie_status(&stat, self.start_ticks).map(ExitStatus::from_raw)
    }
}
