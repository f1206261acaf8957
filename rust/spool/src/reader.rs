//! The read side of one producer: all its lanes, its dictionary, its control words.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::batch::{GapRange, Read};
use crate::clock;
use crate::control::Control;
use crate::dict::{DictReader, DictTail};
use crate::durable::Synced;
use crate::exit::{ExitWatch, ProcessEnd};
use crate::files::Dir;
use crate::lanes::LANES;
use crate::meta::{Meta, OpenError, ProducerInfo};
use crate::place;
use crate::pulse::Pulse;
use crate::stats::{self, Life, ProducerStats};
use crate::tail::Tail;
use crate::types::{LaneId, Lsn};

pub(crate) const READER_LOCK: &str = "reader";
/// A death is looked up in files; that a producer was closed stands in the mapping and is seen at once.
const LIFE_AGE: Duration = Duration::from_millis(200);
const TRUNCATED_AGE: Duration = Duration::from_millis(5);
const WHOLE_AGE: Duration = Duration::from_millis(200);

/// Why a lane could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel's error.
    #[error("cannot read the spool at {path}: {source}")]
    Io {
        /// The producer's directory.
        path: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// No file of that lane was found.
    #[error("{path} has no {lane}")]
    NoLane {
        /// The producer's directory.
        path: String,
        /// The lane asked for.
        lane: LaneId,
    },
}

/// Reads one producer. Only one reader at a time: the lock says so.
#[derive(Debug)]
pub struct ProducerReader {
    pub(crate) dir: Dir,
    pub(crate) path: PathBuf,
    info: ProducerInfo,
    meta: Arc<Meta>,
    pub(crate) dict: DictReader,
    tails: BTreeMap<LaneId, Tail>,
    life: (Instant, Life),
    whole_checked: Instant,
    /// A lane is there that could not be opened at the last look.
    unopened: bool,
    lost: bool,
    /// Lent to a [`SyncJob`](crate::SyncJob) while there is one.
    pub(crate) synced: Synced,
    /// `None`: its process had ended when we came, or is out of our sight.
    exit: Option<ExitWatch>,
    _lock: File,
}

impl ProducerReader {
    /// Open a producer's directory and take its reader lock.
    ///
    /// # Errors
    /// [`OpenError`]: not a producer, damaged, of a later version, or read by another process.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |e| OpenError::io(path, e);
        let dir = Dir::open(path).map_err(io)?;
        let (meta, info) = Meta::open(&dir, path)?;
        let lock = dir
            .open_file(READER_LOCK)
            .or_else(|_| dir.create(READER_LOCK, 8))
            .map_err(io)?;
        // SAFETY: the descriptor is open; flock only takes a lock on it.
        if unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
            return Err(OpenError::Taken {
                path: path.display().to_string(),
            });
        }
        let dict = DictReader::open(&dir, info.id).map_err(io)?;
        let life = stats::life(&dir, path, &info, &meta);
        let exit = ExitWatch::new(&info);
        let now = Instant::now();
        Ok(Self {
            dir,
            path: path.to_path_buf(),
            info,
            meta: Arc::new(meta),
            dict,
            tails: BTreeMap::new(),
            life: (now, life),
            whole_checked: now,
            unopened: false,
            lost: false,
            synced: Synced::default(),
            exit,
            _lock: lock,
        })
    }

    /// Who the producer is.
    #[must_use]
    pub fn info(&self) -> &ProducerInfo {
        &self.info
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// Whether it still logs; a death is looked up at most every 200 ms. Once ended it stays ended.
    pub fn life(&mut self) -> Life {
        let closed = self.life.1 == Life::Alive && self.meta.is_closed();
        if self.life.1 != Life::Dead && (closed || self.life.0.elapsed() > LIFE_AGE) {
            self.life = (
                Instant::now(),
                stats::life(&self.dir, &self.path, &self.info, &self.meta),
            );
        }
        self.life.1
    }

    /// How its process ended.
    #[must_use]
    pub fn process_end(&self) -> ProcessEnd {
        let end = self.exit.as_ref().map(ExitWatch::end);
        end.unwrap_or(ProcessEnd::Unknown)
    }

    /// The lanes that exist now. New ones want [`ProducerReader::set_mark`] before they are read.
    pub fn lanes(&mut self) -> Vec<LaneId> {
        let ended = self.life() != Life::Alive;
        let (id, mode) = (self.info.id, self.info.mode);
        self.unopened = false;
        for lane in (0..LANES as u8).map(LaneId) {
            if self.tails.contains_key(&lane) {
                continue;
            }
            let opened = match Tail::open(&self.dir, id, lane, mode) {
                // Not finished while its producer lives; damaged when it ended.
                Ok(None) if ended => Tail::salvage(&self.dir, id, lane, mode).map(Some),
                other => other,
            };
            match opened {
                Ok(Some(tail)) => {
                    self.tails.insert(lane, tail);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                // Too many open files, say: it is tried again, and the producer is not done before.
                Ok(None) | Err(_) => self.unopened = true,
            }
        }
        self.tails.keys().copied().collect()
    }

    fn no_lane(&self, lane: LaneId) -> ReadError {
        ReadError::NoLane {
            path: self.path.display().to_string(),
            lane,
        }
    }

    /// Start a lane at the stored mark, or at what was acknowledged where that is more; then the
    /// difference is a gap.
    ///
    /// # Errors
    /// There is no such lane, or its files cannot be opened now; then it has to be tried again.
    pub fn set_mark(&mut self, lane: LaneId, mark: Lsn) -> Result<Option<GapRange>, ReadError> {
        let Some(tail) = self.tails.get_mut(&lane) else {
            return Err(self.no_lane(lane));
        };
        let placed = tail.place(&self.dir, &self.path, mark);
        placed.map_err(|source| ReadError::Io {
            path: self.path.display().to_string(),
            source,
        })
    }

    /// Read up to about `max_bytes` from a lane.
    ///
    /// # Errors
    /// There is no such lane.
    pub fn read(&mut self, lane: LaneId, max_bytes: usize) -> Result<Read, ReadError> {
        let life = self.life();
        self.check_whole();
        let rebooted = self.info.boot_id != clock::boot_id();
        let Some(tail) = self.tails.get_mut(&lane) else {
            return Err(self.no_lane(lane));
        };
        if tail.was_truncated(TRUNCATED_AGE) {
            self.lost = true;
            self.meta.control().set_lost();
            return Ok(tail.give_up());
        }
        let read = tail.read(
            &self.dir,
            &self.path,
            max_bytes,
            life != Life::Alive,
            rebooted,
        );
        if life == Life::Alive {
            tail.prepare_spares(&self.dir);
        }
        Ok(read)
    }

    /// Deleted files are noticed here; the producer is told to make new ones. Ours stay readable until we end.
    fn check_whole(&mut self) {
        if self.lost || self.whole_checked.elapsed() < WHOLE_AGE {
            return;
        }
        self.whole_checked = Instant::now();
        if self.tails.values().any(|tail| !tail.is_whole()) {
            self.lost = true;
            self.meta.control().set_lost();
        }
    }

    /// Whether files of this producer were deleted or truncated by somebody.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// After the durable commit: everything of this lane below `upto` is in the database for good.
    ///
    /// # Errors
    /// There is no such lane.
    pub fn acknowledge(&mut self, lane: LaneId, upto: Lsn) -> Result<(), ReadError> {
        let Some(tail) = self.tails.get_mut(&lane) else {
            return Err(self.no_lane(lane));
        };
        tail.acknowledge(&self.dir, upto);
        Ok(())
    }

    /// The ring size of a lane in bytes, and how many bytes of it wait for an acknowledgement. `None`: no such lane.
    #[must_use]
    pub fn fill(&self, lane: LaneId) -> Option<(u64, u64)> {
        self.tails
            .get(&lane)
            .map(|tail| (tail.backlog(), tail.ring().capacity))
    }

    /// Definitions written since the last call.
    ///
    /// # Errors
    /// The kernel's.
    pub fn dictionary(&mut self) -> Result<DictTail, ReadError> {
        let path = &self.path;
        self.dict.tail().map_err(|source| ReadError::Io {
            path: path.display().to_string(),
            source,
        })
    }

    /// The whole records of the dictionary from `at` on, about `most_bytes` of them, unchanged; the first is at
    /// [`DICT_START`](crate::DICT_START).
    ///
    /// # Errors
    /// The kernel's.
    pub fn definition_records(&self, at: u64, most_bytes: usize) -> io::Result<Vec<u8>> {
        self.dict.records(at, most_bytes)
    }

    /// How far each lane is written, as far as is known, and how far acknowledged.
    pub fn progress(&self) -> impl Iterator<Item = (LaneId, Lsn, Lsn)> {
        self.tails.values().map(|tail| {
            let written = tail.written().max(tail.pos());
            (tail.lane, Lsn(written), Lsn(tail.acked))
        })
    }

    /// The words the producer reads.
    #[must_use]
    pub fn control(&self) -> Control<'_> {
        self.meta.control()
    }

    /// What another thread may beat with.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse::of(&self.meta)
    }

    /// The highest step of the lanes that are open here, without looking into files. `None`: no points yet.
    #[must_use]
    pub fn last_step(&self) -> Option<i64> {
        let steps = self.tails.values().map(Tail::last_step);
        steps.max().filter(|step| *step >= 0)
    }

    /// Counters and latencies.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        stats::read(&self.dir, &self.meta)
    }

    /// Whether the producer ended and nothing unread is left.
    ///
    /// # Errors
    /// None today; the result leaves room for remote lanes.
    pub fn drained(&mut self) -> Result<bool, ReadError> {
        // Ended first, then empty: the other way round a last frame could slip in between.
        self.life.0 = Instant::now()
            .checked_sub(LIFE_AGE * 2)
            .unwrap_or(self.life.0);
        if self.life() == Life::Alive {
            return Ok(false);
        }
        self.lanes();
        let rebooted = self.info.boot_id != clock::boot_id();
        let mut tails = self.tails.values();
        Ok(!self.unopened && tails.all(|tail| tail.placed && !tail.is_unread(rebooted)))
    }

    /// Whether any lane has something to read.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.tails
            .values()
            .any(|tail| tail.placed && tail.has_next())
    }

    pub(crate) fn tails(&self) -> impl Iterator<Item = &Tail> {
        self.tails.values()
    }

    /// Where the next read of a lane starts. `None`: no such lane.
    #[must_use]
    pub fn position(&self, lane: LaneId) -> Option<Lsn> {
        self.tails.get(&lane).map(|tail| Lsn(tail.pos()))
    }

    /// Delete the producer's files: everything is in the database for good and it has ended.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(self, run_dir: &Path) -> io::Result<()> {
        if self.life.1 == Life::Dead {
            // Should it live after all, it makes new files.
            self.meta.control().set_lost();
        }
        // Out of sight first: what was half deleted when we were killed is no producer, and the sweep ends it.
        let job = place::job_dir(run_dir, &self.info.job_key);
        let pointer = job.join(format!("{}.at", self.info.id));
        let unnamed = job.join(place::gone_pointer(self.info.id));
        if_there(std::fs::rename(pointer, &unnamed))?;
        let gone = self.path.with_file_name(place::gone_name(self.info.id));
        std::fs::rename(&self.path, &gone)?;
        std::fs::remove_dir_all(&gone)?;
        if_there(std::fs::remove_file(unnamed))?;
        // Only when it was the job's last producer.
        let _ = std::fs::remove_dir(job);
        Ok(())
    }
}

/// What is not there needs no change.
fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}
