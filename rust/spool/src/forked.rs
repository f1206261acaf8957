//! A page that reads as zero in forked children: one load tells a child that the producer is not its own.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::files::page_bytes;

const HERE: u32 = 0x5459_4C50;

#[derive(Debug)]
pub(crate) struct ForkMark {
    page: NonNull<AtomicU32>,
    /// The process that made it, where the kernel cannot wipe a page. 0: it can.
    pid: u32,
}

// SAFETY: the page is only read after it was made.
unsafe impl Send for ForkMark {}
// SAFETY: as above.
unsafe impl Sync for ForkMark {}

impl ForkMark {
    pub(crate) fn new() -> io::Result<Self> {
        let (protection, flags) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a fresh anonymous mapping touches nothing of ours.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), page_bytes(), protection, flags, -1, 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        #[cfg(target_os = "linux")]
        // SAFETY: the range is the mapping just made.
        let wiped = unsafe { libc::madvise(at, page_bytes(), libc::MADV_WIPEONFORK) == 0 };
        #[cfg(not(target_os = "linux"))]
        let wiped = false;
        let page = NonNull::new(at.cast::<AtomicU32>())
            .ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        // SAFETY: the page is mapped, aligned and ours.
        unsafe { page.as_ref() }.store(HERE, Ordering::Relaxed);
        Ok(Self {
            page,
            pid: if wiped { 0 } else { std::process::id() },
        })
    }

    #[inline]
    pub(crate) fn is_gone(&self) -> bool {
        // SAFETY: the page is mapped until drop, and in children as zeros.
        let word = unsafe { self.page.as_ref() }.load(Ordering::Relaxed);
        word != HERE || (self.pid != 0 && self.pid != std::process::id())
    }
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        // SAFETY: our own mapping; nobody holds a reference any more.
        unsafe { libc::munmap(self.page.as_ptr().cast(), page_bytes()) };
    }
}
