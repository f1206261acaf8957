//! What a pass over a lane hands out: validated frames, and holes.

use crate::types::{LaneId, Lsn};

/// Frames of one lane, contiguous and validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The lane.
    pub lane: LaneId,
    /// Where the first frame starts. Between the end of the batch before and here lie only marks.
    pub first: Lsn,
    /// Where reading goes on: the new mark of the lane.
    pub end: Lsn,
    /// The frames as they lie in the lane.
    pub bytes: Vec<u8>,
    /// How many; a set of parts is one.
    pub frames: u32,
}

/// Why frames are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Bytes that are no frame.
    Damaged,
    /// The lane was acknowledged further than the database knows: it was lost, or restored from a backup.
    DatabaseBehind,
    /// The lane's file was deleted or truncated.
    FileLost,
}

impl GapReason {
    /// The short name stored in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::DatabaseBehind => "database_behind",
            Self::FileLost => "file_lost",
        }
    }
}

/// A hole in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRange {
    /// The lane.
    pub lane: LaneId,
    /// Where the hole starts.
    pub first: Lsn,
    /// Where reading goes on.
    pub end: Lsn,
    /// How many frames, from the ordinals. `None`: not known.
    pub frames_lost: Option<u32>,
    /// Why.
    pub reason: GapReason,
}

/// What one pass over a lane found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// `None`: nothing new.
    pub batch: Option<Batch>,
    /// A hole before whatever comes next. `None`: there is none.
    pub gap: Option<GapRange>,
}

/// The words of a lane as the bytes that they are in its file.
pub(crate) fn bytes_of(words: Vec<u64>) -> Vec<u8> {
    let words: Vec<u64> = words.into_iter().map(u64::to_le).collect();
    // SAFETY: the words are initialised, live until the copy is made, and every byte is a valid u8.
    let bytes = unsafe { std::slice::from_raw_parts(words.as_ptr().cast::<u8>(), words.len() * 8) };
    bytes.to_vec()
}
