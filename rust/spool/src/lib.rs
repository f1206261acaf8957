//! The crash-proof append path: what `log()` writes, and what tails it. No SQLite, no Python, no sockets.
//!
//! A producer's files: `meta` (who it is, control words), `dict` (keys and layouts), `alive` (the lock that
//! proves life), `lane0` … `lane15` (rings of frames) and, while a ring is full, chain files.

#![cfg_attr(loom, allow(dead_code, unused_imports))]

mod busy;
mod crc;
mod cursor;
pub mod frame;
mod head;
mod header;
mod medium;
mod segment;
mod sync;
mod types;
mod words;
mod writer;

#[cfg(not(loom))]
mod alive;
#[cfg(not(loom))]
mod append;
#[cfg(not(loom))]
mod aside;
#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod chain;
#[cfg(not(loom))]
mod check;
#[cfg(not(loom))]
pub mod clock;
#[cfg(not(loom))]
mod control;
#[cfg(not(loom))]
mod damage;
#[cfg(not(loom))]
mod dict;
#[cfg(not(loom))]
mod durable;
#[cfg(not(loom))]
mod exit;
#[cfg(not(loom))]
mod files;
#[cfg(not(loom))]
mod filesystem;
#[cfg(not(loom))]
mod forked;
#[cfg(not(loom))]
mod histogram;
#[cfg(not(loom))]
mod lanefile;
#[cfg(not(loom))]
mod lanes;
#[cfg(not(loom))]
mod meta;
#[cfg(not(loom))]
mod options;
#[cfg(not(loom))]
mod place;
#[cfg(not(loom))]
mod producer;
#[cfg(not(loom))]
mod pulse;
#[cfg(not(loom))]
mod question;
#[cfg(not(loom))]
mod reader;
#[cfg(not(loom))]
mod sleeper;
#[cfg(not(loom))]
mod stats;
#[cfg(not(loom))]
mod survey;
#[cfg(not(loom))]
mod sweep;
#[cfg(not(loom))]
mod tail;
#[cfg(not(loom))]
mod wake;

#[cfg(all(test, not(loom)))]
mod fuzz;
#[cfg(all(loom, test))]
mod model;

pub use frame::{Flags, Frame, Frames, Kind, Value, ValueType, frames, side_slot};
pub use types::{BadProducerId, KeyId, LaneId, LayoutId, Lsn, Mode, ProducerId, Reject, Step};

#[cfg(not(loom))]
pub use {
    aside::{holds_lanes, set_aside},
    batch::{Batch, GapRange, GapReason, Read},
    check::{count_frames, definitions},
    control::Control,
    dict::{DICT_START, DictTail, MAX_KEY_BYTES, MAX_KEYS, MAX_LAYOUTS},
    durable::{SyncDone, SyncJob},
    exit::ProcessEnd,
    filesystem::{FileSystem, Holds, filesystem, free_bytes},
    histogram::Histogram,
    meta::{OpenError, ProducerInfo},
    options::{CloseOutcome, CreateError, ProducerOptions},
    place::{
        base_name, is_copied, is_private, job_dir, make_private, private_bases, producer_dirs,
    },
    producer::{CHILD_LANE_BYTES, LANE_BYTES, Producer},
    pulse::Pulse,
    question::{NotAsked, ask, is_here, reserve_signal},
    reader::{ProducerReader, ReadError},
    sleeper::Sleeper,
    stats::{Life, ProducerStats, peek},
    survey::{Sighting, survey},
    sweep::sweep_gone,
};
