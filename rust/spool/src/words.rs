//! A window of shared memory, seen as 64-bit atomic words: no Rust reference to the bytes is ever made.

use crate::sync::{AtomicU64, Ordering};

#[cfg(not(loom))]
mod real {
    use super::AtomicU64;
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::ptr::NonNull;

    /// A shared, writable mapping of a whole file; unmapped on drop, absent in forked children.
    #[derive(Debug)]
    pub(crate) struct Words {
        base: NonNull<AtomicU64>,
        len: usize,
    }

    // SAFETY: the mapping is only touched through atomics and lives as long as the value.
    unsafe impl Send for Words {}
    // SAFETY: as above.
    unsafe impl Sync for Words {}

    impl Words {
        /// Map the first `bytes` (a multiple of 8) of a file that has them allocated.
        pub(crate) fn map(file: &File, bytes: usize) -> io::Result<Self> {
            let flags = libc::MAP_SHARED;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: a fresh mapping at an address of the kernel's choice touches nothing of ours.
            let at = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    bytes,
                    protection,
                    flags,
                    file.as_raw_fd(),
                    0,
                )
            };
            if at == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            #[cfg(target_os = "linux")]
            // SAFETY: the range is the mapping just made. MADV_DONTFORK: a forked child must never write here.
            unsafe {
                libc::madvise(at, bytes, libc::MADV_DONTFORK);
            }
            NonNull::new(at.cast())
                .map(|base| Self {
                    base,
                    len: bytes / 8,
                })
                .ok_or_else(|| io::Error::other("mmap returned address 0"))
        }

        #[inline]
        pub(crate) fn cells(&self) -> &[AtomicU64] {
            // SAFETY: the mapping is page-aligned, `len` words long and outlives `self`; every bit
            // pattern is an AtomicU64, and other processes change it only as atomics may be changed.
            unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
        }

        /// Ask for large pages: to populate 8 MiB of ext4 then takes a quarter of the time.
        pub(crate) fn prefer_large_pages(&self) {
            #[cfg(target_os = "linux")]
            // SAFETY: the range is our own mapping; advice changes no byte and may be refused.
            unsafe {
                libc::madvise(self.base.as_ptr().cast(), self.len * 8, libc::MADV_HUGEPAGE);
            }
        }

        /// Make `bytes` from `at` on resident and writable ahead of use; a failure only costs time later.
        pub(crate) fn populate(&self, at: usize, bytes: usize) {
            let page = crate::files::page_bytes();
            let from = (at * 8) / page * page;
            let end = (at * 8 + bytes).min(self.len * 8);
            #[cfg(target_os = "linux")]
            if from < end {
                const MADV_POPULATE_WRITE: libc::c_int = 23;
                // SAFETY: the range lies inside the mapping; populating changes no byte.
                unsafe {
                    let base = self.base.as_ptr().cast::<u8>().add(from);
                    libc::madvise(base.cast(), end - from, MADV_POPULATE_WRITE);
                }
            }
            #[cfg(not(target_os = "linux"))]
            let _ = (from, end);
        }
    }

    impl Drop for Words {
        fn drop(&mut self) {
            // SAFETY: the range is our own mapping and nobody holds a reference any more. Forked children
            // leak the value instead (the mapping is not theirs to unmap).
            unsafe {
                libc::munmap(self.base.as_ptr().cast(), self.len * 8);
            }
        }
    }
}

#[cfg(loom)]
mod real {
    use super::AtomicU64;
    use loom::sync::Arc;

    /// Model memory: the same words as a mapping, without a file.
    #[derive(Debug, Clone)]
    pub(crate) struct Words {
        cells: Arc<Vec<AtomicU64>>,
    }

    impl Words {
        pub(crate) fn model(words: usize) -> Self {
            Self {
                cells: Arc::new((0..words).map(|_| AtomicU64::new(0)).collect()),
            }
        }

        pub(crate) fn cells(&self) -> &[AtomicU64] {
            &self.cells
        }

        pub(crate) fn prefer_large_pages(&self) {}

        pub(crate) fn populate(&self, _at: usize, _bytes: usize) {}
    }
}

pub(crate) use real::Words;

impl Words {
    #[inline]
    pub(crate) fn load(&self, at: usize, order: Ordering) -> u64 {
        self.cells().get(at).map_or(0, |cell| cell.load(order))
    }

    #[inline]
    pub(crate) fn store(&self, at: usize, value: u64, order: Ordering) {
        let cell = self.cells().get(at);
        debug_assert!(cell.is_some(), "word {at} is outside the mapping");
        if let Some(cell) = cell {
            cell.store(value, order);
        }
    }

    /// Exchange a word; 0 past the end.
    pub(crate) fn swap(&self, at: usize, value: u64, order: Ordering) -> u64 {
        self.cells()
            .get(at)
            .map_or(0, |cell| cell.swap(value, order))
    }

    /// Add to a word that several threads count in.
    pub(crate) fn add(&self, at: usize, value: u64) {
        if let Some(cell) = self.cells().get(at) {
            cell.fetch_add(value, Ordering::Relaxed);
        }
    }

    /// Store `words` from `at` on, each relaxed: whoever publishes them does so by a later release.
    #[inline]
    pub(crate) fn copy_in(&self, at: usize, words: &[u64]) {
        let cells = self.cells().get(at..at + words.len());
        debug_assert!(cells.is_some(), "words at {at} are outside the mapping");
        for (cell, word) in cells.unwrap_or_default().iter().zip(words) {
            cell.store(*word, Ordering::Relaxed);
        }
    }

    /// Append up to `count` words from `at` on to `out`, each loaded relaxed.
    pub(crate) fn copy_out(&self, at: usize, count: usize, out: &mut Vec<u64>) {
        let cells = self.cells().get(at..).unwrap_or_default();
        out.extend(
            cells
                .iter()
                .take(count)
                .map(|cell| cell.load(Ordering::Relaxed)),
        );
    }
}
