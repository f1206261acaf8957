//! Futex and membarrier: waking a reader that sleeps costs the writer one load as long as nobody does.

#[cfg(target_os = "linux")]
mod linux {
    use crate::sync::AtomicU64;
    use std::time::Duration;

    /// The 32 bits the kernel looks at: the low half of the word.
    fn futex_word(word: &AtomicU64) -> *const u32 {
        let at = std::ptr::from_ref(word).cast::<u32>();
        if cfg!(target_endian = "little") {
            at
        } else {
            at.wrapping_add(1)
        }
    }

    /// Wake whoever sleeps on this word, in any process.
    pub(crate) fn wake(word: &AtomicU64) {
        // SAFETY: the address is that of a live word; FUTEX_WAKE only reads kernel state.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                futex_word(word),
                libc::FUTEX_WAKE,
                i32::MAX,
            )
        };
    }

    #[repr(C)]
    struct WaitEntry {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }

    /// Sleep while every word is 1, until one is woken or the time is over.
    pub(crate) fn wait_any(words: &[&AtomicU64], timeout: Duration) {
        const FUTEX_32: u32 = 2;
        const MOST: usize = 128;
        let entries: Vec<WaitEntry> = words
            .iter()
            .take(MOST)
            .map(|w| WaitEntry {
                value: 1,
                address: futex_word(w) as u64,
                flags: FUTEX_32,
                reserved: 0,
            })
            .collect();
        let deadline = monotonic_after(timeout);
        let failed = if entries.is_empty() {
            true
        } else {
            // SAFETY: entries and deadline live until the call returns; the addresses are live words.
            let got = unsafe {
                libc::syscall(
                    libc::SYS_futex_waitv,
                    entries.as_ptr(),
                    entries.len(),
                    0,
                    &raw const deadline,
                    libc::CLOCK_MONOTONIC,
                )
            };
            let code = if got < 0 {
                std::io::Error::last_os_error().raw_os_error()
            } else {
                None
            };
            matches!(code, Some(libc::ENOSYS | libc::EINVAL))
        };
        if failed {
            std::thread::sleep(timeout);
        }
    }

    fn monotonic_after(timeout: Duration) -> libc::timespec {
        let mut at = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `at` is a valid timespec.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut at) };
        let nanos = at.tv_nsec + i64::from(timeout.subsec_nanos());
        at.tv_sec += timeout.as_secs() as i64 + nanos / 1_000_000_000;
        at.tv_nsec = nanos % 1_000_000_000;
        at
    }

    /// Make every running thread of the machine pass a full barrier (a writer pays no fence of its own).
    pub(crate) fn membarrier() -> bool {
        const GLOBAL: libc::c_int = 1;
        // SAFETY: membarrier touches no memory of ours.
        unsafe { libc::syscall(libc::SYS_membarrier, GLOBAL, 0, 0) == 0 }
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    use crate::sync::AtomicU64;
    use std::time::Duration;

    pub(crate) fn wake(_word: &AtomicU64) {}

    pub(crate) fn wait_any(_words: &[&AtomicU64], timeout: Duration) {
        std::thread::sleep(timeout.min(Duration::from_millis(50)));
    }

    pub(crate) fn membarrier() -> bool {
        false
    }
}

pub(crate) use linux::{membarrier, wait_any, wake};
