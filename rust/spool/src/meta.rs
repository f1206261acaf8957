//! The `meta` file: who the producer is, what it counted, and the control words the monitor writes.

use std::io;
use std::path::Path;

use crate::control::Control;
use crate::files::Dir;
use crate::header::FORMAT_VERSION;
use crate::medium::Medium;
use crate::sync::Ordering;
use crate::types::{Mode, ProducerId, Reject};
use crate::words::Words;

pub(crate) const META_BYTES: usize = 4096;
const META_MAGIC: u64 = u64::from_le_bytes(*b"TMMETA01");

const MAGIC: usize = 0;
const VERSION: usize = 1;
const FIXED_WORDS: usize = 19;
const FIXED_SUM: usize = 19;
const HOST: usize = 20;
const HOST_BYTES: usize = 256;
const JOB: usize = 64;
/// A longer job key is cut.
pub(crate) const JOB_BYTES: usize = 1024;

// Written by the producer.
const STATE: usize = 200;
const REJECTED: usize = 201;

const STATE_CLOSING: u64 = 1;
const STATE_CLOSED: u64 = 2;

/// Who a producer is, as it wrote it once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    /// Its id.
    pub id: ProducerId,
    /// The producer of the process it was forked from. `None`: not a forked child.
    pub parent: Option<ProducerId>,
    /// The launch it belongs to.
    pub job_key: String,
    /// Global rank.
    pub rank: u32,
    /// Rank on this node.
    pub local_rank: u32,
    /// Ranks in the job.
    pub world: u32,
    /// Ranks on this node.
    pub local_world: u32,
    /// Host name.
    pub host: String,
    /// The boot of that host.
    pub boot_id: [u8; 16],
    /// Process id in its own pid namespace.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot.
    pub start_ticks: u64,
    /// Inode of its pid namespace.
    pub pid_ns: u64,
    /// Inode of its time namespace.
    pub time_ns: u64,
    /// CLOCK_BOOTTIME when it was made.
    pub boottime_ns: i64,
    /// CLOCK_REALTIME at the same moment.
    pub wall_ns: i64,
    /// How its lanes are written.
    pub mode: Mode,
}

/// Why a producer directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The kernel's error.
    #[error("cannot open the spool at {path}: {source}")]
    Io {
        /// What was opened.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// Not there, not a file of ours, or damaged.
    #[error("{path} is not a producer's meta file")]
    NotMeta {
        /// What was opened.
        path: String,
    },
    /// Written by a later version.
    #[error("{path} has format version {version}; this version reads up to {FORMAT_VERSION}")]
    Version {
        /// What was opened.
        path: String,
        /// The version found.
        version: u64,
    },
    /// Another reader has it.
    #[error("another reader has the lanes at {path}")]
    Taken {
        /// The producer's directory.
        path: String,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.display().to_string(),
            source,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) medium: Medium,
}

fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

fn id_words(id: [u8; 16]) -> [u64; 2] {
    let (low, high) = id.split_at(8);
    [low, high].map(|half| half.try_into().map_or(0, u64::from_le_bytes))
}

fn words_id(words: [u64; 2]) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&words[0].to_le_bytes());
    id[8..].copy_from_slice(&words[1].to_le_bytes());
    id
}

fn fixed(info: &ProducerInfo) -> [u64; FIXED_WORDS] {
    let mode = match info.mode {
        Mode::Mmap => 0,
        Mode::Pwrite => 1,
    };
    let id = id_words(info.id.0);
    let parent = id_words(info.parent.unwrap_or_default().0);
    let boot = id_words(info.boot_id);
    [
        META_MAGIC,
        pair(FORMAT_VERSION as u32, mode),
        id[0],
        id[1],
        parent[0],
        parent[1],
        boot[0],
        boot[1],
        pair(info.pid, info.rank),
        pair(info.local_rank, info.world),
        pair(info.local_world, 0),
        info.start_ticks,
        info.pid_ns,
        info.time_ns,
        info.boottime_ns as u64,
        info.wall_ns as u64,
        0,
        0,
        pair(
            cut(&info.host, HOST_BYTES).len() as u32,
            cut(&info.job_key, JOB_BYTES).len() as u32,
        ),
    ]
}

pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn sum(words: &[u64]) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
    u64::from(crc32c::crc32c(&bytes))
}

/// Make any words pass as a finished `meta` of this version.
#[cfg(test)]
pub(crate) fn seal_for_test(page: &mut [u64; META_BYTES / 8]) {
    page[MAGIC] = META_MAGIC;
    page[VERSION] = pair(FORMAT_VERSION as u32, page[VERSION] as u32 & 1);
    page[FIXED_SUM] = sum(&page[1..FIXED_WORDS]);
}

impl Meta {
    pub(crate) fn create(dir: &Dir, info: &ProducerInfo) -> io::Result<Self> {
        let file = dir.create("meta", META_BYTES)?;
        let medium = match info.mode {
            Mode::Mmap => Medium::Map(Words::map(&file, META_BYTES)?),
            Mode::Pwrite => Medium::File(file),
        };
        let meta = Self { medium };
        let words = fixed(info);
        for (i, word) in words.iter().enumerate().skip(1) {
            meta.medium.store(i, *word);
        }
        meta.store_text(HOST, cut(&info.host, HOST_BYTES));
        meta.store_text(JOB, cut(&info.job_key, JOB_BYTES));
        meta.medium.store(FIXED_SUM, sum(&words[1..]));
        meta.medium.store(MAGIC, META_MAGIC);
        Ok(meta)
    }

    pub(crate) fn open(dir: &Dir, path: &Path) -> Result<(Self, ProducerInfo), OpenError> {
        let name = path.join("meta");
        let not_meta = || OpenError::NotMeta {
            path: name.display().to_string(),
        };
        let file = dir.open_file("meta").map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => not_meta(),
            _ => OpenError::io(&name, e),
        })?;
        let bytes = file.metadata().map_err(|e| OpenError::io(&name, e))?.len();
        if bytes < META_BYTES as u64 {
            return Err(not_meta());
        }
        let mut words = Vec::new();
        let plain = Medium::File(file.try_clone().map_err(|e| OpenError::io(&name, e))?);
        plain.copy_out(0, FIXED_WORDS, &mut words);
        let (version, mode) = halves(words.get(VERSION).copied().unwrap_or(0));
        if words.first() != Some(&META_MAGIC) {
            return Err(not_meta());
        }
        if u64::from(version) > FORMAT_VERSION {
            return Err(OpenError::Version {
                path: name.display().to_string(),
                version: version.into(),
            });
        }
        if plain.load(FIXED_SUM) != sum(&words[1..]) {
            return Err(not_meta());
        }
        let mode = if mode == 0 { Mode::Mmap } else { Mode::Pwrite };
        let medium = match mode {
            Mode::Mmap => {
                Medium::Map(Words::map(&file, META_BYTES).map_err(|e| OpenError::io(&name, e))?)
            }
            Mode::Pwrite => Medium::File(file),
        };
        let meta = Self { medium };
        let info = meta.info(&words, mode);
        Ok((meta, info))
    }

    fn info(&self, words: &[u64], mode: Mode) -> ProducerInfo {
        let word = |i: usize| words.get(i).copied().unwrap_or(0);
        let (pid, rank) = halves(word(8));
        let (local_rank, world) = halves(word(9));
        let (host, job) = halves(word(18));
        let parent = ProducerId(words_id([word(4), word(5)]));
        ProducerInfo {
            id: ProducerId(words_id([word(2), word(3)])),
            parent: (parent != ProducerId::default()).then_some(parent),
            job_key: self.load_text(JOB, (job as usize).min(JOB_BYTES)),
            rank,
            local_rank,
            world,
            local_world: halves(word(10)).0,
            host: self.load_text(HOST, (host as usize).min(HOST_BYTES)),
            boot_id: words_id([word(6), word(7)]),
            pid,
            start_ticks: word(11),
            pid_ns: word(12),
            time_ns: word(13),
            boottime_ns: word(14) as i64,
            wall_ns: word(15) as i64,
            mode,
        }
    }

    pub(crate) fn store_text(&self, at: usize, text: &str) {
        for (i, chunk) in text.as_bytes().chunks(8).enumerate() {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.medium.store(at + i, u64::from_le_bytes(word));
        }
    }

    pub(crate) fn load_text(&self, at: usize, bytes: usize) -> String {
        let mut words = Vec::new();
        self.medium.copy_out(at, bytes.div_ceil(8), &mut words);
        let mut text: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        text.truncate(bytes);
        String::from_utf8_lossy(&text).into_owned()
    }

    pub(crate) fn set_rejected(&self, why: Reject, count: u64) {
        self.medium.store(REJECTED + why as usize, count);
    }

    pub(crate) fn rejected(&self) -> [u64; Reject::COUNT] {
        std::array::from_fn(|i| self.medium.load(REJECTED + i))
    }

    /// `close()` has begun: whoever finds no free lane looks here before it waits.
    pub(crate) fn set_closing(&self) {
        self.medium.store(STATE, STATE_CLOSING);
    }

    /// All lanes are claimed for good.
    pub(crate) fn set_closed(&self) {
        self.medium.store(STATE, STATE_CLOSED);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.medium.load(STATE) >= STATE_CLOSING
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.medium.load(STATE) >= STATE_CLOSED
    }

    pub(crate) fn control(&self) -> Control<'_> {
        Control::new(self)
    }
}

/// Tell a producer whose `meta` is damaged that its files are lost, if the word for it is still there.
pub(crate) fn tell_lost(dir: &Dir) {
    if let Ok(file) = dir.open_file("meta")
        && file.metadata().is_ok_and(|m| m.len() >= META_BYTES as u64)
    {
        let medium = Medium::File(file);
        Control::new(&Meta { medium }).set_lost();
    }
}

/// Order everything stored so far before what follows (used around the closing handshake).
pub(crate) fn full_fence() {
    crate::sync::fence(Ordering::SeqCst);
}
