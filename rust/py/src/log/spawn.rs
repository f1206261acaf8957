//! Starting a process that has nothing to do with this one: its own session, no parent, none of our files.
//!
//! A trainer may hold a hundred gigabytes and dozens of threads, so the memory is not copied: the child runs in ours
//! on a small stack of its own while this thread waits (what vfork does), makes the real process the same way and
//! ends. Neither sends a signal when it ends, and `waitpid(-1)` of the user does not see them.

use std::ffi::{CString, OsStr, OsString, c_char, c_int, c_void};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::ptr;

/// A command with everything it needs.
pub struct Command {
    program: CString,
    argv: Vec<CString>,
    environment: Vec<CString>,
    log: PathBuf,
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl Command {
    /// Prepares a command. `environment` is all the new process gets; its output is appended to `log`.
    ///
    /// # Errors
    /// An empty command, a NUL in a text, or a program that is not found.
    pub fn new(
        argv: &[OsString],
        environment: &[(OsString, OsString)],
        log: &Path,
    ) -> io::Result<Self> {
        let text = |text: &OsStr| {
            CString::new(text.as_bytes())
                .map_err(|_| bad("a command or its environment holds a NUL"))
        };
        let name = argv.first().ok_or_else(|| bad("an empty command"))?;
        let search = environment
            .iter()
            .find(|(name, _)| name == "PATH")
            .map(|(_, path)| path.as_os_str());
        let program = find(name, search.unwrap_or(OsStr::new("/usr/bin:/bin")))?;
        Ok(Self {
            program: text(program.as_os_str())?,
            argv: argv
                .iter()
                .map(|word| text(word))
                .collect::<Result<_, _>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| text(&pair(name, value)))
                .collect::<Result<_, _>>()?,
            log: std::path::absolute(log)?,
        })
    }

    /// Starts the command and returns its process id.
    ///
    /// # Errors
    /// The kernel's error, that of exec included.
    pub fn spawn(&self) -> io::Result<u32> {
        let input = above_stdio(File::open("/dev/null")?)?;
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.log);
        let output =
            above_stdio(log.or_else(|_| OpenOptions::new().write(true).open("/dev/null"))?)?;
        let argv = pointers(&self.argv);
        let environment = pointers(&self.environment);
        let mut job = Job {
            program: self.program.as_ptr(),
            argv: argv.as_ptr(),
            environment: environment.as_ptr(),
            input: input.as_raw_fd(),
            output: output.as_raw_fd(),
            inner_stack: ptr::null_mut(),
            pid: 0,
            error: 0,
        };
        run(&mut job)?;
        match (job.pid, job.error) {
            (pid, 0) if pid > 0 => Ok(pid as u32),
            (_, error) => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn pair(name: &OsStr, value: &OsStr) -> OsString {
    OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat())
}

fn find(name: &OsStr, search: &OsStr) -> io::Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name);
    }
    let found = std::env::split_paths(search)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no program {} on PATH", name.display()),
        )
    })
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts
        .iter()
        .map(|text| text.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// A user may have closed stdin; then a new file gets number 0 and would be lost to its own `dup2`.
fn above_stdio(file: File) -> io::Result<OwnedFd> {
    // SAFETY: a file that is open; the new number is ours alone.
    unsafe {
        match libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 3) {
            -1 => Err(io::Error::last_os_error()),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// What the two children read and write, in memory they share with the thread that waits for them.
struct Job {
    program: *const c_char,
    argv: *const *const c_char,
    environment: *const *const c_char,
    input: c_int,
    output: c_int,
    inner_stack: *mut c_void,
    pid: libc::pid_t,
    error: c_int,
}

const STACK_BYTES: usize = 64 << 10;

#[cfg(target_os = "linux")]
fn run(job: &mut Job) -> io::Result<()> {
    /// No signal at the end (the low byte is 0), and this thread waits until the memory is given back.
    const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK;
    let mut stacks: Vec<u128> = vec![0; 2 * STACK_BYTES / size_of::<u128>()];
    // SAFETY: stacks grow down from their upper ends, which stay inside the buffer; it and the job outlive both
    // children, as CLONE_VFORK holds this thread until they have exec'ed or ended. The signal mask is restored.
    unsafe {
        let lower: *mut c_void = stacks.as_mut_ptr().cast();
        job.inner_stack = lower.byte_add(STACK_BYTES);
        // A handler of the user's must not run in a child that shares this memory.
        let mut all: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let outer = libc::clone(
            outer,
            lower.byte_add(2 * STACK_BYTES),
            FLAGS,
            ptr::from_mut(job).cast(),
        );
        let failed = (outer == -1).then(io::Error::last_os_error);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
        if let Some(error) = failed {
            return Err(error);
        }
        while libc::waitpid(outer, ptr::null_mut(), libc::__WALL) == -1
            && *libc::__errno_location() == libc::EINTR
        {}
    }
    Ok(())
}

/// The first child: a session of its own, so that Ctrl-C and hangups of the terminal pass it by.
#[cfg(target_os = "linux")]
extern "C" fn outer(job: *mut c_void) -> c_int {
    // SAFETY: the job lives in the waiting thread; only system calls are made.
    unsafe {
        let shared: *mut Job = job.cast();
        libc::setsid();
        let pid = libc::clone(
            inner,
            (*shared).inner_stack,
            libc::CLONE_VM | libc::CLONE_VFORK,
            job,
        );
        (*shared).pid = pid;
        if pid == -1 {
            (*shared).error = *libc::__errno_location();
        }
    }
    0
}

/// The second child: becomes the command.
#[cfg(target_os = "linux")]
extern "C" fn inner(job: *mut c_void) -> c_int {
    // SAFETY: as above; the files are above the standard three, and the strings end with a null pointer.
    unsafe {
        let shared: *mut Job = job.cast();
        libc::dup2((*shared).input, 0);
        libc::dup2((*shared).output, 1);
        libc::dup2((*shared).output, 2);
        close_from_three();
        libc::chdir(c"/".as_ptr());
        default_signals();
        libc::execve((*shared).program, (*shared).argv, (*shared).environment);
        (*shared).error = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// # Safety
/// Only in a child whose table of files is its own.
#[cfg(target_os = "linux")]
unsafe fn close_from_three() {
    const MOST: c_int = 1 << 16;
    // SAFETY: as promised by the caller.
    unsafe {
        if libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) == 0 {
            return;
        }
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        for number in 3..c_int::try_from(limit.rlim_cur).unwrap_or(MOST).min(MOST) {
            libc::close(number);
        }
    }
}

/// Python ignores SIGPIPE and a trainer may ignore more; exec keeps what is ignored or blocked.
///
/// # Safety
/// Only in a child whose table of handlers is its own.
#[cfg(target_os = "linux")]
unsafe fn default_signals() {
    // SAFETY: as promised by the caller.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=64 {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

#[cfg(not(target_os = "linux"))]
fn run(job: &mut Job) -> io::Result<()> {
    // Started by hand on other systems: `training-monitor --experiment NAME`.
    job.error = libc::ENOSYS;
    Ok(())
}
