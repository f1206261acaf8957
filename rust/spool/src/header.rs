//! Where things stand in a lane file, in 64-bit words. Writer line, reader line and sleeping word
//! lie on cache lines of their own.

/// `b"TMLANE01"`, stored last when a file is made.
pub(crate) const LANE_MAGIC: u64 = u64::from_le_bytes(*b"TMLANE01");
/// The format version of lane, meta and dict files; a reader accepts this one and the one before.
pub(crate) const FORMAT_VERSION: u64 = 1;

pub(crate) const MAGIC: usize = 0;
/// `version | lane << 32`.
pub(crate) const VERSION: usize = 1;
/// Bytes for frames after the header.
pub(crate) const CAPACITY: usize = 2;
/// The LSN of the first byte of a chain file; 0 in the ring.
pub(crate) const FIRST: usize = 3;
/// Two words.
pub(crate) const PRODUCER: usize = 4;

// Written by the writer of the lane only; counters, never authoritative.
#[cfg(not(loom))]
mod at {
    pub(crate) const HEADER_WORDS: usize = 512;
    pub(crate) const FRAMES: usize = 32;
    pub(crate) const POINTS: usize = 33;
    pub(crate) const WRITTEN: usize = 34;
    pub(crate) const LAST_STEP: usize = 35;
    /// Acknowledged positions that were not ours.
    pub(crate) const BAD_ACKS: usize = 36;
    /// Latency histogram, 128 counters.
    pub(crate) const HISTOGRAM: usize = 64;
    /// Written by the reader after the durable commit (Release), loaded by the writer (Acquire).
    pub(crate) const ACKED: usize = 256;
    /// Set by the reader before it sleeps, taken by the writer after a publish.
    pub(crate) const SLEEPING: usize = 288;
    /// A word that nobody reads: where a publish needs no zeroed word after it.
    pub(crate) const SPARE: usize = 7;
}

#[cfg(loom)]
mod at {
    pub(crate) const HEADER_WORDS: usize = 3;
    pub(crate) const FRAMES: usize = 2;
    pub(crate) const POINTS: usize = 2;
    pub(crate) const WRITTEN: usize = 2;
    pub(crate) const LAST_STEP: usize = 2;
    pub(crate) const BAD_ACKS: usize = 2;
    pub(crate) const HISTOGRAM: usize = 2;
    pub(crate) const ACKED: usize = 0;
    pub(crate) const SLEEPING: usize = 1;
    pub(crate) const SPARE: usize = 2;
}

pub(crate) use at::*;

pub(crate) const HEADER_BYTES: usize = HEADER_WORDS * 8;
