//! What a producer is made with, and how making and closing it can end.

use std::io;
use std::path::{Path, PathBuf};

use crate::producer::LANE_BYTES;
use crate::types::{Mode, ProducerId};

/// What a new producer is told.
#[derive(Clone, Debug)]
pub struct ProducerOptions {
    /// The run directory.
    pub run_dir: PathBuf,
    /// The launch it belongs to; at most 1,024 bytes are kept.
    pub job_key: String,
    /// Global rank.
    pub rank: u32,
    /// Rank on this node.
    pub local_rank: u32,
    /// Ranks in the job.
    pub world: u32,
    /// Ranks on this node.
    pub local_world: u32,
    /// Most bytes of overflow on this node, over all its ranks.
    pub node_limit_bytes: u64,
    /// The producer of the process this one was forked from. `None`: not forked.
    pub parent: Option<ProducerId>,
    /// The ring of lane 0 in bytes: a power of two, at least 64 KiB.
    pub lane_bytes: u64,
    /// `None`: the file system decides.
    pub force_mode: Option<Mode>,
}

impl ProducerOptions {
    /// A job of this process alone: not forked, rings of [`LANE_BYTES`], at most 1 GiB of overflow.
    #[must_use]
    pub fn alone(run_dir: &Path, job_key: &str) -> Self {
        Self {
            run_dir: run_dir.to_path_buf(),
            job_key: job_key.to_owned(),
            rank: 0,
            local_rank: 0,
            world: 1,
            local_world: 1,
            node_limit_bytes: 1 << 30,
            parent: None,
            lane_bytes: LANE_BYTES,
            force_mode: None,
        }
    }
}

/// Why a producer could not be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The kernel's error.
    #[error("cannot make the spool under {path}: {source}")]
    Io {
        /// Where it was to be.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// Not a power of two of at least 64 KiB.
    #[error("a lane of {bytes} bytes: a power of two of at least 65536 is needed")]
    LaneBytes {
        /// What was asked for.
        bytes: u64,
    },
}

/// How `close()` ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseOutcome {
    /// Everything accepted is in the database for good.
    pub durable: bool,
    /// Points accepted that are not, as far as the monitor has said.
    pub points_left: u64,
    /// No thread was inside `log()` any more.
    pub quiet: bool,
}
