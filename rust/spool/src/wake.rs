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

    /// Where only one of several words can be waited on, the others are looked at this often.
    const POLL: Duration = Duration::from_millis(50);

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
        let Some(only) = words.first() else {
            std::thread::sleep(timeout);
            return;
        };
        let deadline = monotonic_after(timeout);
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
        // Whatever else comes back (ENOSYS, or EPERM from a container's filter), nobody has slept yet: without a
        // sleep of our own the caller would spin.
        if got < 0 && !has_waited(std::io::Error::last_os_error()) {
            wait_one(
                only,
                if words.len() == 1 {
                    timeout
                } else {
                    timeout.min(POLL)
                },
            );
        }
    }

    /// Whether the kernel did what it was asked for: slept, or found a word that is no longer 1.
    fn has_waited(error: std::io::Error) -> bool {
        matches!(
            error.raw_os_error(),
            Some(libc::EAGAIN | libc::ETIMEDOUT | libc::EINTR)
        )
    }

    /// Sleep while this one word is 1: the older call, which every kernel and every filter knows.
    fn wait_one(word: &AtomicU64, timeout: Duration) {
        let most = libc::timespec {
            tv_sec: timeout.as_secs() as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        };
        // SAFETY: the address is that of a live word; the time lives until the call returns.
        let got = unsafe {
            libc::syscall(
                libc::SYS_futex,
                futex_word(word),
                libc::FUTEX_WAIT,
                1,
                &raw const most,
            )
        };
        if got < 0 && !has_waited(std::io::Error::last_os_error()) {
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sync::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    /// Make `futex_waitv` fail with `code` in this thread from now on, as the filters of containers do. False:
    /// filters are not allowed here.
    fn forbid_waitv(code: libc::c_int) -> bool {
        let step = |code: u32, jt, jf, k| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        let program = [
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            step(
                libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
                0,
                1,
                libc::SYS_futex_waitv as u32,
            ),
            step(
                libc::BPF_RET | libc::BPF_K,
                0,
                0,
                libc::SECCOMP_RET_ERRNO | code as u32,
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_ptr().cast_mut(),
        };
        // SAFETY: the program lives until the calls return; both change this thread only.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const filter,
                ) == 0
        }
    }

    fn without_waitv(code: libc::c_int, body: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                if forbid_waitv(code) {
                    body();
                } else {
                    eprintln!("skipped: no seccomp filters here");
                }
            });
        });
    }

    const LONG: Duration = Duration::from_millis(100);

    #[test]
    fn a_kernel_or_container_without_waitv_makes_nobody_spin() {
        for code in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
            for words in [1, 3] {
                let words: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(1)).collect();
                without_waitv(code, || {
                    let words: Vec<&AtomicU64> = words.iter().collect();
                    let (started, mut turns) = (Instant::now(), 0);
                    while started.elapsed() < LONG {
                        wait_any(&words, LONG);
                        turns += 1;
                    }
                    assert!(turns <= 4, "{turns} turns in {LONG:?}: error {code}");
                });
            }
        }
    }

    #[test]
    fn a_sleeper_without_waitv_is_still_woken() {
        let word = AtomicU64::new(1);
        let (asleep, woken) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let word = &word;
            scope.spawn(move || {
                without_waitv(libc::EPERM, || {
                    let started = Instant::now();
                    wait_any(&[word], Duration::from_secs(30));
                    assert!(started.elapsed() < Duration::from_secs(25));
                });
                let _ = asleep.send(());
            });
            // Again and again: the sleeper may not be asleep yet at the first.
            while woken.recv_timeout(Duration::from_millis(5)).is_err() {
                word.store(0, Ordering::Release);
                wake(word);
            }
        });
    }
}
