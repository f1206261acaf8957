//! Lane files on disk: made by the writer (ring, chain), prepared ahead by the reader (spares), opened by both.

use std::cell::Cell;
use std::fs::File;
use std::io;

use crate::files::Dir;
use crate::header;
use crate::header::{FORMAT_VERSION, LANE_MAGIC};
use crate::medium::Medium;
use crate::segment::{Segment, file_bytes};
use crate::types::{LaneId, Mode, ProducerId, Reject};
use crate::words::Words;
use crate::writer::ChainMaker;

/// A chain file made by the trainer; the monitor prepares larger ones.
pub(crate) const CHAIN_BYTES: u64 = 1 << 20;
/// A spare prepared by the monitor.
pub(crate) const SPARE_BYTES: u64 = 8 << 20;
/// Spares are `spare.0` … `spare.1`.
pub(crate) const SPARES: usize = 2;
/// Without a monitor that says otherwise a file system keeps this share of itself free, at most 256 MiB.
const FLOOR_SHARE: u64 = 50;
const FLOOR_MAX: u64 = 256 << 20;

pub(crate) fn ring_name(lane: LaneId) -> String {
    format!("lane{}", lane.0)
}

pub(crate) fn chain_name(lane: LaneId, first: u64) -> String {
    format!("lane{}.{first:016x}", lane.0)
}

pub(crate) fn spare_name(i: usize) -> String {
    format!("spare.{i}")
}

fn medium(file: File, bytes: usize, mode: Mode) -> io::Result<Medium> {
    Ok(match mode {
        Mode::Mmap => Medium::Map(Words::map(&file, bytes)?),
        Mode::Pwrite => Medium::File(file),
    })
}

fn write_header(medium: &Medium, id: ProducerId, lane: LaneId, capacity: u64, first: u64) {
    let (low, high) = id.0.split_at(8);
    medium.store(header::VERSION, FORMAT_VERSION | (u64::from(lane.0) << 32));
    medium.store(header::CAPACITY, capacity);
    medium.store(header::FIRST, first);
    medium.store(
        header::PRODUCER,
        low.try_into().map_or(0, u64::from_le_bytes),
    );
    medium.store(
        header::PRODUCER + 1,
        high.try_into().map_or(0, u64::from_le_bytes),
    );
    // The magic last: a file without it was never finished.
    medium.store(header::MAGIC, LANE_MAGIC);
}

/// Make the ring of a lane: `capacity` is a power of two.
pub(crate) fn make_ring(
    dir: &Dir,
    id: ProducerId,
    lane: LaneId,
    capacity: u64,
    mode: Mode,
) -> io::Result<Segment> {
    let bytes = file_bytes(capacity);
    let file = dir.create(&ring_name(lane), bytes)?;
    let medium = medium(file, bytes, mode)?;
    // Every page writable now: the first lap would pay a fault for each (MAP_POPULATE only reads a shared map).
    medium.populate_whole(bytes);
    write_header(&medium, id, lane, capacity, 0);
    Ok(Segment::ring(medium, capacity))
}

/// As [`make_ring`], halved down to `least` while the disk is too full.
pub(crate) fn make_ring_shrinking(
    dir: &Dir,
    id: ProducerId,
    lane: LaneId,
    wanted: u64,
    least: u64,
    mode: Mode,
) -> io::Result<Segment> {
    let mut capacity = wanted;
    loop {
        match make_ring(dir, id, lane, capacity, mode) {
            Err(_) if capacity / 2 >= least => capacity /= 2,
            result => return result,
        }
    }
}

/// Open a lane file of either kind. `None` in the result: not a finished lane file of this producer.
pub(crate) fn open(
    dir: &Dir,
    name: &str,
    id: ProducerId,
    mode: Mode,
) -> io::Result<Option<Segment>> {
    let file = dir.open_file(name)?;
    let bytes = file.metadata()?.len();
    let plain = Medium::File(file.try_clone()?);
    let capacity = plain.load(header::CAPACITY);
    let (low, high) = id.0.split_at(8);
    let ours = plain.load(header::MAGIC) == LANE_MAGIC
        && plain.load(header::VERSION) as u32 as u64 <= FORMAT_VERSION
        && plain.load(header::PRODUCER) == low.try_into().map_or(0, u64::from_le_bytes)
        && plain.load(header::PRODUCER + 1) == high.try_into().map_or(0, u64::from_le_bytes);
    let fits = capacity >= 64 && capacity <= bytes.saturating_sub(header::HEADER_BYTES as u64);
    if !ours || !fits || !capacity.is_multiple_of(8) {
        return Ok(None);
    }
    let first = plain.load(header::FIRST);
    if first == 0 && !capacity.is_power_of_two() {
        return Ok(None);
    }
    let medium = medium(file, file_bytes(capacity), mode)?;
    Ok(Some(if first == 0 {
        Segment::ring(medium, capacity)
    } else {
        Segment::chain(medium, first, capacity)
    }))
}

/// Open the ring of an ended producer whose header is damaged or whose file was cut short: frames prove
/// themselves by their own sums, so only the capacity must be guessed. Read by system calls: a mapping of a
/// file cut short would be a SIGBUS.
pub(crate) fn salvage(dir: &Dir, lane: LaneId) -> io::Result<Segment> {
    let file = dir.open_file(&ring_name(lane))?;
    let bytes = file
        .metadata()?
        .len()
        .saturating_sub(header::HEADER_BYTES as u64);
    let medium = Medium::File(file);
    let stated = medium.load(header::CAPACITY);
    let likely = stated.is_power_of_two() && (bytes..=1 << 30).contains(&stated);
    let capacity = if likely {
        stated
    } else {
        bytes.next_power_of_two()
    };
    Ok(Segment::ring(medium, capacity.max(64)))
}

/// Where the writer of one lane gets its chain files from.
pub(crate) struct Chains<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) id: ProducerId,
    pub(crate) lane: LaneId,
    pub(crate) mode: Mode,
    /// Bytes of chain files that may still be made.
    pub(crate) budget: Cell<u64>,
}

impl ChainMaker for Chains<'_> {
    fn make(&self, first: u64, bytes: u64) -> Result<Segment, Reject> {
        self.take_spare(first, bytes)
            .map_or_else(|| self.make_new(first, bytes), Ok)
    }
}

impl Chains<'_> {
    fn take_spare(&self, first: u64, bytes: u64) -> Option<Segment> {
        let taken = format!("taking.{}", self.lane.0);
        if bytes > SPARE_BYTES || SPARE_BYTES > self.budget.get() {
            return None;
        }
        (0..SPARES).find(|i| self.dir.rename(&spare_name(*i), &taken).is_ok())?;
        let file = self.dir.open_file(&taken).ok()?;
        let full = file
            .metadata()
            .is_ok_and(|m| m.len() >= file_bytes(SPARE_BYTES) as u64);
        if !full {
            let _ = self.dir.unlink(&taken);
            return None;
        }
        self.finish(file, &taken, first, SPARE_BYTES).ok()
    }

    fn make_new(&self, first: u64, bytes: u64) -> Result<Segment, Reject> {
        let capacity = CHAIN_BYTES.max((bytes + 8).next_multiple_of(4096));
        let floor = self.dir.free_bytes().map_or(0, |(free, all)| {
            let floor = (all / FLOOR_SHARE).min(FLOOR_MAX);
            free.saturating_sub(floor)
        });
        if capacity > self.budget.get() || file_bytes(capacity) as u64 > floor {
            return Err(Reject::NoSpace);
        }
        let temporary = format!("making.{}", self.lane.0);
        let _ = self.dir.unlink(&temporary);
        let file = self
            .dir
            .create(&temporary, file_bytes(capacity))
            .map_err(|_| Reject::NoSpace)?;
        self.finish(file, &temporary, first, capacity)
            .map_err(|_| Reject::NoSpace)
    }

    fn finish(
        &self,
        file: File,
        temporary: &str,
        first: u64,
        capacity: u64,
    ) -> io::Result<Segment> {
        let made = medium(file, file_bytes(capacity), self.mode).and_then(|medium| {
            write_header(&medium, self.id, self.lane, capacity, first);
            self.dir.rename(temporary, &chain_name(self.lane, first))?;
            Ok(Segment::chain(medium, first, capacity))
        });
        if made.is_err() {
            let _ = self.dir.unlink(temporary);
        }
        made
    }
}
