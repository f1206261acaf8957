//! A short hash for keys we made ourselves: pointers, key ids and metric names. Not for hostile input.

use std::hash::{BuildHasherDefault, Hasher};

const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

/// Folds one word into a running hash.
#[inline(always)]
pub fn fold(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(26) ^ word).wrapping_mul(FACTOR)
}

/// [`fold`] as a standard hasher.
#[derive(Default)]
pub struct Folding(u64);

/// For `HashMap`.
pub type Build = BuildHasherDefault<Folding>;

impl Hasher for Folding {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.0 = fold(self.0, u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let tail = rest.iter().rev().fold(rest.len() as u64, |tail, &byte| {
                (tail << 8) | u64::from(byte)
            });
            self.0 = fold(self.0, tail);
        }
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.0 = fold(self.0, u64::from(value));
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.0 = fold(self.0, value as u64);
    }

    #[inline]
    fn finish(&self) -> u64 {
        // The high bits are the well mixed ones; tables take the low ones.
        self.0 ^ (self.0 >> 32)
    }
}
