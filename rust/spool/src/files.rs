//! Making, opening and sizing the spool's files, relative to the producer's directory.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The size of a memory page (4 KiB on x86-64, up to 64 KiB on ARM).
pub(crate) fn page_bytes() -> usize {
    // SAFETY: sysconf reads a constant.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// A file that stays open for the life of a producer. The user's program may close descriptors it does not know
/// (a daemon does) and get the same number for a file of its own: each use and the final close look first.
#[derive(Debug)]
pub(crate) struct Kept {
    file: ManuallyDrop<File>,
    identity: (u64, u64),
}

impl Kept {
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self {
            file: ManuallyDrop::new(file),
            identity,
        })
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.file
            .metadata()
            .is_ok_and(|m| (m.dev(), m.ino()) == self.identity)
    }

    /// The file, if the descriptor still leads to it.
    pub(crate) fn get(&self) -> io::Result<&File> {
        if self.is_ours() {
            Ok(&self.file)
        } else {
            Err(io::Error::from_raw_os_error(libc::EBADF))
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_ours() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.file) }
        }
    }
}

/// An open directory: names stay valid when a parent is renamed or the process changes directory.
#[derive(Debug)]
pub(crate) struct Dir(Kept);

fn c_name(name: &str) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

impl Dir {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let name = CString::new(path.as_os_str().as_bytes())
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        // SAFETY: `name` is a valid C string; a non-negative result is a descriptor we own.
        unsafe {
            let fd = libc::open(name.as_ptr(), flags);
            if fd < 0 {
                Err(io::Error::last_os_error())
            } else {
                Ok(Self(Kept::new(File::from_raw_fd(fd))?))
            }
        }
    }

    /// Another descriptor of the same directory.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Kept::new(self.0.get()?.try_clone()?).map(Self)
    }

    fn open_at(&self, name: &str, flags: libc::c_int) -> io::Result<File> {
        let name = c_name(name)?;
        let flags = flags | libc::O_CLOEXEC | libc::O_NOFOLLOW;
        let dir = self.0.get()?.as_raw_fd();
        loop {
            // SAFETY: `name` is a valid C string; a non-negative result is a descriptor we own.
            let fd = unsafe { libc::openat(dir, name.as_ptr(), flags, 0o600) };
            if fd >= 0 {
                // SAFETY: `fd` was just opened and belongs to nobody else.
                let file = unsafe { File::from_raw_fd(fd) };
                if flags & libc::O_CREAT != 0 {
                    // The umask must not widen or narrow the mode.
                    // SAFETY: `fd` is open.
                    unsafe { libc::fchmod(fd, 0o600) };
                }
                return Ok(file);
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    pub(crate) fn open_file(&self, name: &str) -> io::Result<File> {
        self.open_at(name, libc::O_RDWR)
    }

    /// Make a new file of `bytes`, every block of it reserved. On failure nothing is left behind.
    pub(crate) fn create(&self, name: &str, bytes: usize) -> io::Result<File> {
        let file = self.open_at(name, libc::O_RDWR | libc::O_CREAT | libc::O_EXCL)?;
        match allocate(&file, 0, bytes) {
            Ok(()) => Ok(file),
            Err(error) => {
                // A failed fallocate may keep what it got so far.
                let _ = file.set_len(0);
                let _ = self.unlink(name);
                Err(error)
            }
        }
    }

    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (c_name(from)?, c_name(to)?);
        let fd = self.0.get()?.as_raw_fd();
        // SAFETY: both names are valid C strings and `fd` is open.
        let done = unsafe { libc::renameat(fd, from.as_ptr(), fd, to.as_ptr()) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    pub(crate) fn unlink(&self, name: &str) -> io::Result<()> {
        let name = c_name(name)?;
        let dir = self.0.get()?.as_raw_fd();
        // SAFETY: the name is a valid C string and the descriptor is open.
        let done = unsafe { libc::unlinkat(dir, name.as_ptr(), 0) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Whether the descriptor still leads to the directory that was opened.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.is_ours()
    }

    /// Make the names in this directory durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.get()?.sync_all()
    }

    /// Bytes free for us, and the size of the file system. `None`: the kernel does not say.
    pub(crate) fn free_bytes(&self) -> Option<(u64, u64)> {
        let fd = self.0.get().ok()?.as_raw_fd();
        // SAFETY: statvfs is plain data; the kernel fills it.
        unsafe {
            let mut stat: libc::statvfs = std::mem::zeroed();
            if libc::fstatvfs(fd, &mut stat) != 0 {
                return None;
            }
            let unit = stat.f_frsize as u64;
            Some((stat.f_bavail as u64 * unit, stat.f_blocks as u64 * unit))
        }
    }
}

/// Reserve `bytes` from `from` on: a later store into a mapping of them cannot fail for lack of space.
pub(crate) fn allocate(file: &File, from: usize, bytes: usize) -> io::Result<()> {
    let (Ok(from), Ok(bytes)) = (libc::off_t::try_from(from), libc::off_t::try_from(bytes)) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    loop {
        #[cfg(target_os = "linux")]
        // SAFETY: the descriptor is open; posix_fallocate reports errors by its result.
        let code = unsafe { libc::posix_fallocate(file.as_raw_fd(), from, bytes) };
        #[cfg(not(target_os = "linux"))]
        // SAFETY: the descriptor is open.
        let code = unsafe { libc::ftruncate(file.as_raw_fd(), from + bytes) };
        match code {
            0 => return Ok(()),
            libc::EINTR => {}
            code => return Err(io::Error::from_raw_os_error(code)),
        }
    }
}
