//! The tail reader of one lane: batches of validated frames, gaps where bytes were damaged.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::batch::{self, Batch, GapRange, GapReason, Read};
use crate::chain::{Opener, Walk, chain_files, end_of_walk, make_spare};
use crate::crc::Seed;
use crate::cursor::{ChainOpener, Cursor, Next};
use crate::damage::Suspect;
use crate::files::Dir;
use crate::frame::MAX_FRAME_BYTES;
use crate::header;
use crate::lanefile::{self, SPARE_BYTES, SPARES, chain_name, ring_name, spare_name};
use crate::lanes::COUNT_EVERY;
use crate::medium::Medium;
use crate::segment::{Place, Segment, file_bytes};
use crate::types::{LaneId, Lsn, Mode, ProducerId};

/// What could not be opened is tried again so often.
const BLOCKED_FOR: Duration = Duration::from_millis(100);
const SPARE_CHECK_EVERY: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) lane: LaneId,
    pub(crate) cursor: Cursor,
    file: File,
    mode: Mode,
    id: ProducerId,
    pub(crate) acked: u64,
    /// Bytes that looked damaged, and since when. `None`: nothing does.
    pub(crate) suspect: Option<Suspect>,
    /// Chain files passed: first LSN, and the LSN at which their bytes are no longer needed.
    pub(crate) passed: Vec<(u64, u64)>,
    /// Nothing valid follows any more.
    pub(crate) finished: bool,
    spare_checked: Instant,
    pub(crate) placed: bool,
    /// When a file could not be opened that a mark leads to. `None`: that did not happen.
    blocked: Option<Instant>,
    /// When the file was last seen to be whole. `None`: never, or it is not.
    whole_at: Option<Instant>,
}

impl Tail {
    /// `None`: the lane's file is not finished, or its header is damaged.
    ///
    /// # Errors
    /// The kernel's; `NotFound` when there is no such lane.
    pub(crate) fn open(
        dir: &Dir,
        id: ProducerId,
        lane: LaneId,
        mode: Mode,
    ) -> std::io::Result<Option<Self>> {
        let ring = lanefile::open(dir, &ring_name(lane), id, mode)?;
        let ring = ring.filter(|segment| segment.place == Place::Ring);
        ring.map(|ring| Self::new(dir, id, lane, mode, ring))
            .transpose()
    }

    /// As [`Tail::open`], for a lane of an ended producer that no longer opens.
    pub(crate) fn salvage(
        dir: &Dir,
        id: ProducerId,
        lane: LaneId,
        mode: Mode,
    ) -> std::io::Result<Self> {
        Self::new(dir, id, lane, mode, lanefile::salvage(dir, lane)?)
    }

    fn new(
        dir: &Dir,
        id: ProducerId,
        lane: LaneId,
        mode: Mode,
        ring: Segment,
    ) -> std::io::Result<Self> {
        let acked = ring.medium.load(header::ACKED);
        Ok(Self {
            lane,
            cursor: Cursor::new(Seed::new(id.0, lane.0), ring),
            file: dir.open_file(&ring_name(lane))?,
            mode,
            id,
            acked,
            suspect: None,
            passed: Vec::new(),
            finished: false,
            spare_checked: Instant::now(),
            placed: false,
            blocked: None,
            whole_at: None,
        })
    }

    pub(crate) fn opener<'a>(&self, dir: &'a Dir) -> Opener<'a> {
        Opener {
            dir,
            lane: self.lane,
            id: self.id,
            mode: self.mode,
        }
    }

    pub(crate) fn pos(&self) -> u64 {
        self.cursor.pos
    }

    /// Whether a pass now would find something; bytes that look damaged are looked at once a second.
    pub(crate) fn has_next(&self) -> bool {
        !self.finished
            && self.cursor.has_next()
            && self.blocked.is_none_or(|at| at.elapsed() >= BLOCKED_FOR)
            && self
                .suspect
                .as_ref()
                .is_none_or(|s| s.pos != self.cursor.pos || s.is_ripe())
    }

    /// Whether anything is left that a pass has not seen to its end.
    pub(crate) fn is_unread(&self, rebooted: bool) -> bool {
        !self.finished && (rebooted || self.cursor.has_next() || self.is_behind())
    }

    /// Whether the writer's own counter says that more was written than stands at the cursor: a length
    /// word was lost. (The counter may lag by a frame, never lead.)
    fn is_behind(&self) -> bool {
        self.written() > self.cursor.pos && !self.cursor.has_next()
    }

    /// Where the writer says it is.
    pub(crate) fn written(&self) -> u64 {
        self.cursor.ring.medium.load(header::WRITTEN)
    }

    /// The step of the lane's last points; -1 before the first.
    pub(crate) fn last_step(&self) -> i64 {
        if self.written() == 0 {
            return -1;
        }
        self.cursor.ring.medium.load(header::LAST_STEP) as i64
    }

    pub(crate) fn ring(&self) -> &Segment {
        &self.cursor.ring
    }

    /// Start at `max(mark, acked)`; a gap when the lane was acknowledged further than the mark.
    ///
    /// # Errors
    /// A chain file cannot be opened now; the lane is not placed.
    pub(crate) fn place(
        &mut self,
        dir: &Dir,
        path: &Path,
        mark: Lsn,
    ) -> std::io::Result<Option<GapRange>> {
        // Never more than was written: a header that says so is damaged, and the mark counts.
        let written = self.written().saturating_add(self.counter_lag());
        if !self.acked.is_multiple_of(8) || self.acked > written.max(mark.0) {
            self.acked = mark.0;
        }
        let acked = self.acked;
        self.cursor.pos = mark.0.max(acked);
        // Further on the number of the next frame is not known before it is read.
        self.cursor.ordinal = (self.cursor.pos == 0).then_some(0);
        self.find_segment(dir, path)?;
        self.placed = true;
        Ok((acked > mark.0).then_some(GapRange {
            lane: self.lane,
            first: mark,
            end: Lsn(acked),
            frames_lost: None,
            reason: GapReason::DatabaseBehind,
        }))
    }

    /// How far the writer's counter may be behind: without a mapping it is not written with every frame.
    fn counter_lag(&self) -> u64 {
        match self.mode {
            Mode::Mmap => 0,
            Mode::Pwrite => COUNT_EVERY * MAX_FRAME_BYTES as u64,
        }
    }

    /// Which file holds the cursor's LSN: the ring, unless a chain file leads there by whole frames.
    fn find_segment(&mut self, dir: &Dir, path: &Path) -> std::io::Result<()> {
        let pos = self.cursor.pos;
        self.passed.clear();
        for first in chain_files(path, self.lane)? {
            if first > pos {
                break;
            }
            let Some(segment) = self.opener(dir).open(first)? else {
                continue;
            };
            match end_of_walk(&segment, pos) {
                Walk::Holds => {
                    self.cursor.chain = Some(segment);
                    return Ok(());
                }
                Walk::LeftAt(end) => self.passed.push((first, end)),
            }
        }
        Ok(())
    }

    pub(crate) fn read(
        &mut self,
        dir: &Dir,
        path: &Path,
        max_bytes: usize,
        ended: bool,
        rebooted: bool,
    ) -> Read {
        if self.finished || !self.placed {
            return Read::default();
        }
        let mut words = Vec::with_capacity(if self.has_next() {
            (max_bytes / 8).min(1 << 14)
        } else {
            0
        });
        let (start, mut first, mut frames) = (self.cursor.pos, self.cursor.pos, 0);
        let opener = self.opener(dir);
        while words.len() * 8 < max_bytes {
            let before = (self.cursor.pos, self.cursor.chain.as_ref().map(|c| c.first));
            match self.cursor.advance(&opener, &mut words) {
                Next::Frame => frames += 1,
                Next::Moved => {
                    if let (_, Some(left)) = before
                        && self.cursor.chain.as_ref().map(|c| c.first) != Some(left)
                    {
                        self.passed.push((left, self.cursor.pos));
                    }
                    if frames > 0 {
                        break;
                    }
                    first = self.cursor.pos;
                }
                Next::Empty
                    if frames == 0
                        && first == start
                        && ((ended && rebooted) || self.is_behind()) =>
                {
                    return self.skip_damage(dir, path, ended);
                }
                Next::Damaged if frames == 0 && first == start => {
                    return self.skip_damage(dir, path, ended);
                }
                Next::Blocked => {
                    self.blocked = Some(Instant::now());
                    break;
                }
                Next::Empty | Next::Damaged => break,
            }
        }
        if self.cursor.pos == start {
            return Read::default();
        }
        self.suspect = None;
        let bytes = batch::bytes_of(words);
        let end = Lsn(self.cursor.pos);
        Read {
            batch: Some(Batch {
                lane: self.lane,
                first: Lsn(first),
                end,
                bytes,
                frames,
            }),
            gap: None,
        }
    }

    /// After the durable commit: the writer may reuse everything below `upto`.
    pub(crate) fn acknowledge(&mut self, dir: &Dir, upto: Lsn) {
        if upto.0 > self.acked {
            self.acked = upto.0;
            // Release: pairs with the writer's Acquire when its cached limit is used up.
            self.cursor.ring.medium.store(header::ACKED, upto.0);
        }
        let (done, keep) = self
            .passed
            .drain(..)
            .partition(|(_, end)| *end <= self.acked);
        self.passed = keep;
        let done: Vec<(u64, u64)> = done;
        for (first, _) in done {
            // Gone already or not: it is no longer needed.
            let _ = dir.unlink(&chain_name(self.lane, first));
        }
    }

    /// Bytes the writer has written and we have not acknowledged, as far as its counter says.
    pub(crate) fn backlog(&self) -> u64 {
        self.written().saturating_sub(self.acked)
    }

    /// From half full on, keep chain files ready, so that the writer need not make them.
    pub(crate) fn prepare_spares(&mut self, dir: &Dir) {
        if self.spare_checked.elapsed() < SPARE_CHECK_EVERY {
            return;
        }
        self.spare_checked = Instant::now();
        if self.backlog() <= self.cursor.ring.capacity / 2 {
            return;
        }
        for i in 0..SPARES {
            if dir.open_file(&spare_name(i)).is_ok() {
                continue;
            }
            let bytes = file_bytes(SPARE_BYTES);
            let room = dir
                .free_bytes()
                .is_some_and(|(free, all)| free > 4 * bytes as u64 + all / 20);
            // Failing to prepare costs the writer time, nothing else.
            if !room || make_spare(dir, i, bytes).is_err() {
                return;
            }
        }
    }

    /// Whether a name still leads to the whole file.
    pub(crate) fn is_whole(&self) -> bool {
        let want = file_bytes(self.cursor.ring.capacity) as u64;
        self.file
            .metadata()
            .is_ok_and(|m| m.nlink() > 0 && m.len() >= want)
    }

    /// Whether loads from the mapping would be a SIGBUS; looked up when the last look is older than this.
    pub(crate) fn was_truncated(&mut self, age: Duration) -> bool {
        if self.whole_at.is_some_and(|at| at.elapsed() < age) {
            return false;
        }
        let truncated = self.is_truncated();
        self.whole_at = (!truncated).then(Instant::now);
        truncated
    }

    fn is_truncated(&self) -> bool {
        if matches!(self.cursor.ring.medium, Medium::File(_)) {
            return false;
        }
        let want = file_bytes(self.cursor.ring.capacity) as u64;
        self.file.metadata().is_ok_and(|m| m.len() < want)
    }

    /// The file can no longer be read: one gap, then nothing.
    pub(crate) fn give_up(&mut self) -> Read {
        if std::mem::replace(&mut self.finished, true) {
            return Read::default();
        }
        let at = Lsn(self.cursor.pos);
        let reason = GapReason::FileLost;
        Read {
            batch: None,
            gap: Some(GapRange {
                lane: self.lane,
                first: at,
                end: at,
                frames_lost: None,
                reason,
            }),
        }
    }

    /// The ring's file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }
}
