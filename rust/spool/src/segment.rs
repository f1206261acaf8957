//! A stretch of a lane: its ring, or one file of its overflow chain.

use crate::crc::Seed;
use crate::frame::Mark;
use crate::header::{HEADER_BYTES, HEADER_WORDS, SPARE};
use crate::medium::{Medium, Sealed};

/// Which stretch of the lane a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// LSN modulo capacity (a power of two).
    Ring,
    /// LSN minus the first LSN of the file.
    Chain,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) medium: Medium,
    pub(crate) place: Place,
    /// The LSN of the first byte; 0 in the ring.
    pub(crate) first: u64,
    /// Bytes for frames.
    pub(crate) capacity: u64,
}

impl Segment {
    pub(crate) fn ring(medium: Medium, capacity: u64) -> Self {
        Self {
            medium,
            place: Place::Ring,
            first: 0,
            capacity,
        }
    }

    pub(crate) fn chain(medium: Medium, first: u64, capacity: u64) -> Self {
        Self {
            medium,
            place: Place::Chain,
            first,
            capacity,
        }
    }

    #[inline]
    pub(crate) fn offset(&self, lsn: u64) -> u64 {
        match self.place {
            Place::Ring => lsn & (self.capacity - 1),
            Place::Chain => lsn.wrapping_sub(self.first),
        }
    }

    /// Bytes from `lsn` to the end of the file.
    #[inline]
    pub(crate) fn room(&self, lsn: u64) -> u64 {
        self.capacity.saturating_sub(self.offset(lsn))
    }

    #[inline]
    pub(crate) fn word_at(&self, lsn: u64) -> usize {
        HEADER_WORDS + (self.offset(lsn) / 8) as usize
    }

    /// Whether `lsn` can lie in this file.
    pub(crate) fn covers(&self, lsn: u64) -> bool {
        self.place == Place::Ring || (lsn >= self.first && lsn - self.first < self.capacity)
    }

    /// Publish a mark at `lsn`. False: the file took nothing.
    pub(crate) fn publish_mark(&self, seed: Seed, lsn: u64, mark: Mark) -> bool {
        let len = mark.len_word();
        let first = u64::from(len) | (u64::from(seed.sum(lsn, len, &[])) << 32);
        let sealed = Sealed {
            first,
            pieces: [&[], &[], &[]],
        };
        // What follows a mark lies elsewhere, so no word after it needs to be zeroed.
        self.medium.publish(self.word_at(lsn), SPARE, &sealed)
    }
}

/// The size of a file whose frames take `capacity` bytes.
pub(crate) fn file_bytes(capacity: u64) -> usize {
    HEADER_BYTES + capacity as usize
}
