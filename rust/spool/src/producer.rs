//! The write side: one process that logs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::alive::Alive;
use crate::clock;
use crate::control::Control;
use crate::dict::Dict;
use crate::files::Dir;
use crate::forked::ForkMark;
use crate::frame::{Flags, Kind};
use crate::histogram;
use crate::lanes::{Budget, Home, Lanes};
use crate::medium::Medium;
use crate::meta::{Meta, ProducerInfo, full_fence};
use crate::options::{CloseOutcome, CreateError, ProducerOptions};
use crate::place;
use crate::reader::READER_LOCK;
use crate::stats::{self, ProducerStats};
use crate::types::{Mode, ProducerId, Reject, Step};

/// The ring of lane 0 of an ordinary producer.
pub const LANE_BYTES: u64 = 8 << 20;
/// The ring of a forked child's producer.
pub const CHILD_LANE_BYTES: u64 = 256 << 10;
const DICT_BYTES: u64 = 1 << 20;
const CHILD_DICT_BYTES: u64 = 64 << 10;
/// A heartbeat older than this means that the monitor's grant no longer counts.
const GRANT_AGE_NS: i64 = 5_000_000_000;
/// In pwrite mode control words are read at most this often.
const CONTROL_AGE_NS: i64 = 1_000_000_000;

/// A process that logs. Shared by its threads; a forked child must [`Producer::leak`] it.
#[derive(Debug)]
pub struct Producer {
    pub(crate) home: Home,
    path: PathBuf,
    info: ProducerInfo,
    options: ProducerOptions,
    meta: Meta,
    pub(crate) dict: Dict,
    pub(crate) lanes: Lanes,
    lane0: OnceLock<Medium>,
    fork_mark: ForkMark,
    pub(crate) last_step: AtomicI64,
    rejected: [AtomicU64; Reject::COUNT],
    control_read_at: AtomicI64,
    stop_seen: AtomicU64,
    _alive: Alive,
}

impl Producer {
    /// Make the files of a new producer under `options.run_dir`; a reader sees all of them or none.
    ///
    /// # Errors
    /// [`CreateError`]: no space, no permission, a bad lane size.
    pub fn create(options: ProducerOptions) -> Result<Self, CreateError> {
        if !options.lane_bytes.is_power_of_two() || options.lane_bytes < 64 << 10 {
            return Err(CreateError::LaneBytes {
                bytes: options.lane_bytes,
            });
        }
        let path = options.run_dir.display().to_string();
        Self::make(options).map_err(|source| CreateError::Io { path, source })
    }

    fn make(options: ProducerOptions) -> io::Result<Self> {
        let id = ProducerId::random()?;
        let (placement, draft) = place_draft(&options, id)?;
        Self::fill(options, id, &placement, &draft).inspect_err(|_| {
            // Half a producer is of no use to anybody; it may have filled the disk.
            let _ = std::fs::remove_dir_all(&draft);
        })
    }

    fn fill(
        options: ProducerOptions,
        id: ProducerId,
        placement: &place::Placement,
        draft: &Path,
    ) -> io::Result<Self> {
        let dir = Dir::open(draft)?;
        let info = describe(&options, id, placement.mode);
        let dict_bytes = if options.parent.is_some() {
            CHILD_DICT_BYTES
        } else {
            DICT_BYTES
        };
        let dict_bytes = dict_bytes.min(options.lane_bytes);
        let alive = Alive::create(&dir)?;
        dir.create(READER_LOCK, 8)?;
        let meta = Meta::create(&dir, &info)?;
        let dict = Dict::create(&dir, id, dict_bytes)?;
        let home = Home {
            dir,
            id,
            mode: placement.mode,
            lane_bytes: options.lane_bytes,
        };
        let lanes = Lanes::create(&home);
        let fork_mark = ForkMark::new()?;
        std::fs::rename(draft, &placement.dir)?;
        if let Some(pointer) = &placement.pointer {
            write_pointer(pointer, &placement.dir)?;
        }
        Ok(Self {
            home,
            path: placement.dir.clone(),
            info,
            options,
            meta,
            dict,
            lanes,
            lane0: OnceLock::new(),
            fork_mark,
            last_step: AtomicI64::new(-1),
            rejected: std::array::from_fn(|_| AtomicU64::new(0)),
            control_read_at: AtomicI64::new(0),
            stop_seen: AtomicU64::new(0),
            _alive: alive,
        })
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ProducerId {
        self.info.id
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.path
    }

    /// How its lanes are written.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.info.mode
    }

    /// What it was made with: a forked child makes its own from this.
    #[must_use]
    pub fn options(&self) -> &ProducerOptions {
        &self.options
    }

    /// Whether this process is a child forked after the producer was made. One load.
    #[inline]
    #[must_use]
    pub fn in_forked_child(&self) -> bool {
        self.fork_mark.is_gone()
    }

    /// The step of the last accepted points; -1 before the first.
    #[inline]
    #[must_use]
    pub fn last_step(&self) -> i64 {
        self.last_step.load(Ordering::Relaxed)
    }

    /// Count something that was not accepted.
    #[cold]
    pub fn reject(&self, why: Reject) {
        let Some(count) = self.rejected.get(why as usize) else {
            return;
        };
        let now = count.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.in_forked_child() {
            self.meta.set_rejected(why, now);
        }
    }

    /// Add one measured call to the histogram of `log()`.
    pub fn sample(&self, ns: u64) {
        // Lane 0 may be made later than the producer, when the disk is full at first.
        if self.lane0.get().is_none()
            && let Ok(header) = self.home.header()
        {
            let _ = self.lane0.set(header);
        }
        if let Some(header) = self.lane0.get() {
            histogram::record(header, ns);
        }
    }

    /// The words the monitor writes.
    #[must_use]
    pub fn control(&self) -> Control<'_> {
        self.meta.control()
    }

    /// Whether the training is asked to stop: one load (in pwrite mode up to 1 s old).
    #[inline]
    #[must_use]
    pub fn should_stop(&self) -> bool {
        if self.home.mode == Mode::Mmap {
            return self.control().should_stop();
        }
        let now = clock::boottime_ns();
        if now - self.control_read_at.load(Ordering::Relaxed) > CONTROL_AGE_NS {
            self.control_read_at.store(now, Ordering::Relaxed);
            self.stop_seen
                .store(u64::from(self.control().should_stop()), Ordering::Relaxed);
        }
        self.stop_seen.load(Ordering::Relaxed) != 0
    }

    /// Why. `None`: nobody asked.
    #[must_use]
    pub fn stop_reason(&self) -> Option<String> {
        self.control().stop_reason()
    }

    /// Nanoseconds since the monitor last said that it lives. `None`: it never has.
    #[must_use]
    pub fn heartbeat_age_ns(&self) -> Option<i64> {
        self.control()
            .heartbeat_ns()
            .map(|at| clock::boottime_ns() - at)
    }

    /// Whether the monitor found this producer's files deleted, or the user's program closed our descriptors:
    /// make a new producer.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.control().is_lost() || !self.home.dir.is_ours()
    }

    /// Counters and latencies of this producer.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        let (accepted_frames, accepted_points, _) = self.lanes.counts();
        let mut stats = stats::read(&self.home.dir, &self.meta);
        stats.accepted_frames = accepted_frames;
        stats.accepted_points = accepted_points;
        stats.rejected = std::array::from_fn(|i| {
            self.rejected
                .get(i)
                .map_or(0, |c| c.load(Ordering::Relaxed))
        });
        stats.last_step = self.last_step();
        stats
    }

    /// Bytes written and not acknowledged.
    #[must_use]
    pub fn backlog_bytes(&self) -> u64 {
        let (_, _, written) = self.lanes.counts();
        written.saturating_sub(stats::acked_bytes(&self.home.dir))
    }

    /// Close: no call is accepted after it; waits until everything is durable, at most `patience`.
    pub fn close(&self, patience: Duration) -> CloseOutcome {
        self.close_while(patience, || true)
    }

    /// [`Self::close`], which waits no longer once `may_wait` says no; it is asked every half millisecond.
    pub fn close_while(
        &self,
        patience: Duration,
        mut may_wait: impl FnMut() -> bool,
    ) -> CloseOutcome {
        let deadline = Instant::now() + patience;
        if !self.meta.is_closing() {
            let _ = self.append_blob(
                Kind::Control,
                Flags(0),
                Step(self.last_step()),
                b"{\"type\":\"close\"}",
            );
        }
        self.meta.set_closing();
        full_fence();
        let quiet = self.lanes.close(deadline);
        if quiet {
            self.meta.set_closed();
        }
        // A lane that some call still holds must not be looked into.
        let is_acknowledged = || quiet && self.lanes.unacknowledged_after_close() == 0;
        while quiet && !is_acknowledged() && Instant::now() < deadline && may_wait() {
            std::thread::sleep(Duration::from_micros(500));
        }
        let (_, accepted, _) = self.lanes.counts();
        let durable = is_acknowledged();
        let points_left = if durable {
            0
        } else {
            accepted.saturating_sub(self.control().durable_points())
        };
        CloseOutcome {
            durable,
            points_left,
            quiet,
        }
    }

    /// In a forked child: forget the parent's producer whole. Its maps, locks and files are not ours.
    pub fn leak(self) {
        std::mem::forget(self);
    }
}

impl Budget for Producer {
    fn chain_bytes_left(&self) -> u64 {
        let fresh = self
            .heartbeat_age_ns()
            .is_some_and(|age| age < GRANT_AGE_NS);
        let own_share = self.options.node_limit_bytes / u64::from(self.options.local_world.max(1));
        let grant = if fresh {
            self.control().grant_bytes().unwrap_or(own_share)
        } else {
            own_share
        };
        grant.saturating_sub(self.backlog_bytes())
    }

    fn is_closing(&self) -> bool {
        self.meta.is_closing()
    }
}

/// Choose a place and make the directory under its draft name. The job's directory may vanish in between, with
/// the last producer that a reader has just brought home.
fn place_draft(
    options: &ProducerOptions,
    id: ProducerId,
) -> io::Result<(place::Placement, PathBuf)> {
    const TRIES: usize = 100;
    let mut tried = 0;
    loop {
        let (run_dir, job_key) = (&options.run_dir, &options.job_key);
        let bytes = options.lane_bytes + DICT_BYTES;
        let placement = place::choose(run_dir, job_key, id, options.force_mode, bytes)?;
        let draft = draft_name(&placement.dir, id);
        let mut builder = std::fs::DirBuilder::new();
        match std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700).create(&draft) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && tried < TRIES => tried += 1,
            Err(e) => return Err(e),
            Ok(()) => {
                std::fs::set_permissions(
                    &draft,
                    std::os::unix::fs::PermissionsExt::from_mode(0o700),
                )?;
                return Ok((placement, draft));
            }
        }
    }
}

fn draft_name(dir: &Path, id: ProducerId) -> PathBuf {
    dir.with_file_name(format!(".{id}.new"))
}

fn write_pointer(pointer: &Path, dir: &Path) -> io::Result<()> {
    let draft = pointer.with_extension("at.new");
    let mut text = dir.as_os_str().as_encoded_bytes().to_vec();
    text.push(b'\n');
    // By this a copy of the run directory is told from the directory itself.
    if let Some(run_dir) =
        place::run_dir_of(pointer).and_then(|dir| std::fs::canonicalize(dir).ok())
    {
        text.extend(run_dir.as_os_str().as_encoded_bytes());
        text.push(b'\n');
    }
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create(true).truncate(true);
    let mut file = std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600).open(&draft)?;
    io::Write::write_all(&mut file, &text)?;
    std::fs::rename(draft, pointer)
}

fn describe(options: &ProducerOptions, id: ProducerId, mode: Mode) -> ProducerInfo {
    let pid = std::process::id();
    ProducerInfo {
        id,
        parent: options.parent,
        job_key: options.job_key.clone(),
        rank: options.rank,
        local_rank: options.local_rank,
        world: options.world,
        local_world: options.local_world,
        host: clock::host_name(),
        boot_id: clock::boot_id(),
        pid,
        start_ticks: clock::start_ticks(pid),
        pid_ns: clock::pid_namespace(),
        time_ns: clock::time_namespace(),
        boottime_ns: clock::boottime_ns(),
        wall_ns: clock::wall_ns(),
        mode,
    }
}
