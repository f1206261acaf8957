//! The two ways bytes reach a lane file: stores into a mapping, or `pwrite(2)`.

// The model knows mapped memory only, so there the other kind does not exist.
#![cfg_attr(loom, allow(irrefutable_let_patterns))]

use crate::sync::Ordering;
use crate::words::Words;

/// A file of the lane as its writer and its reader see it, addressed in words from the file's start.
#[derive(Debug)]
pub(crate) enum Medium {
    /// Stores and loads in a shared mapping.
    Map(Words),
    /// System calls, for file systems that do not keep a mapping's promises.
    #[cfg(not(loom))]
    File(std::fs::File),
}

/// One frame ready to be published: its first word and the pieces after it.
pub(crate) struct Sealed<'a> {
    /// `len | crc << 32`.
    pub(crate) first: u64,
    pub(crate) pieces: [&'a [u64]; 3],
}

impl Medium {
    /// The word that says whether a frame starts here. Pairs with the Release in [`Medium::publish`].
    #[inline]
    pub(crate) fn load(&self, at: usize) -> u64 {
        match self {
            Self::Map(words) => words.load(at, Ordering::Acquire),
            #[cfg(not(loom))]
            Self::File(file) => pwrite::load(file, at),
        }
    }

    /// Make a word visible after everything stored before it.
    pub(crate) fn store(&self, at: usize, value: u64) {
        match self {
            Self::Map(words) => words.store(at, value, Ordering::Release),
            #[cfg(not(loom))]
            Self::File(file) => {
                // The word is a hint or a zero over allocated space; a failure shows at the next frame.
                let _ = pwrite::store(file, at, &[&[value]]);
            }
        }
    }

    /// Store a counter that only we write; in a file it would cost a system call each time.
    #[inline]
    pub(crate) fn count(&self, at: usize, value: u64) {
        // The model leaves counters out: they order nothing and would only multiply its states.
        if cfg!(loom) {
            return;
        }
        if let Self::Map(words) = self {
            words.store(at, value, Ordering::Relaxed);
        }
    }

    /// Zero the word at `next`, write the pieces after `at`, then publish `at` itself. False: the file
    /// took nothing that a reader could see.
    #[inline]
    pub(crate) fn publish(&self, at: usize, next: usize, frame: &Sealed<'_>) -> bool {
        match self {
            Self::Map(words) => {
                words.store(next, 0, Ordering::Relaxed);
                let mut to = at + 1;
                for piece in frame.pieces {
                    words.copy_in(to, piece);
                    to += piece.len();
                }
                words.store(at, frame.first, Ordering::Release);
                true
            }
            #[cfg(not(loom))]
            Self::File(file) => pwrite::publish(file, at, next, frame),
        }
    }

    /// Append up to `count` words from `at` on to `out`.
    pub(crate) fn copy_out(&self, at: usize, count: usize, out: &mut Vec<u64>) {
        match self {
            Self::Map(words) => words.copy_out(at, count, out),
            #[cfg(not(loom))]
            Self::File(file) => pwrite::copy_out(file, at, count, out),
        }
    }

    /// Make the whole file resident, in pages as large as the file system has them.
    pub(crate) fn populate_whole(&self, bytes: usize) {
        if let Self::Map(words) = self {
            words.prefer_large_pages();
            words.populate(0, bytes);
        }
    }

    /// Make `bytes` from `at` on resident ahead of use.
    pub(crate) fn populate(&self, at: usize, bytes: usize) {
        if let Self::Map(words) = self {
            words.populate(at, bytes);
        }
    }
}

#[cfg(not(loom))]
mod pwrite {
    use super::Sealed;
    use std::fs::File;
    use std::io;
    use std::os::unix::fs::FileExt;

    pub(super) fn load(file: &File, at: usize) -> u64 {
        let mut bytes = [0u8; 8];
        match file.read_exact_at(&mut bytes, at as u64 * 8) {
            Ok(()) => u64::from_le_bytes(bytes),
            Err(_) => 0,
        }
    }

    pub(super) fn store(file: &File, at: usize, pieces: &[&[u64]]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(pieces.iter().map(|p| p.len() * 8).sum());
        for word in pieces.iter().flat_map(|p| p.iter()) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        file.write_all_at(&bytes, at as u64 * 8)
    }

    /// One `pwrite` of frame and zeroed next word; where the next word lies elsewhere it goes first.
    pub(super) fn publish(file: &File, at: usize, next: usize, frame: &Sealed<'_>) -> bool {
        let words = 1 + frame.pieces.iter().map(|p| p.len()).sum::<usize>();
        let first = [frame.first];
        let [a, b, c] = frame.pieces;
        let done = if next == at + words {
            store(file, at, &[&first, a, b, c, &[0]])
        } else {
            store(file, next, &[&[0]]).and_then(|()| store(file, at, &[&first, a, b, c]))
        };
        done.is_ok()
    }

    pub(super) fn copy_out(file: &File, at: usize, count: usize, out: &mut Vec<u64>) {
        let mut bytes = vec![0u8; count * 8];
        let mut got = 0;
        while got < bytes.len() {
            match file.read_at(&mut bytes[got..], at as u64 * 8 + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        bytes.truncate(got);
        out.extend(
            bytes
                .as_chunks::<8>()
                .0
                .iter()
                .map(|b| u64::from_le_bytes(*b)),
        );
    }
}
