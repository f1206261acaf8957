//! The chain files of a lane as the reader finds them: opened, walked, prepared ahead.

use std::io;
use std::path::Path;

use crate::cursor::ChainOpener;
use crate::files::Dir;
use crate::frame::{HEAD_BYTES, MARK_BIT, Mark};
use crate::lanefile::{self, chain_name, spare_name};
use crate::segment::{Place, Segment};
use crate::types::{LaneId, Mode, ProducerId};

pub(crate) struct Opener<'a> {
    pub(crate) dir: &'a Dir,
    pub(crate) lane: LaneId,
    pub(crate) id: ProducerId,
    pub(crate) mode: Mode,
}

impl ChainOpener for Opener<'_> {
    fn open(&self, first: u64) -> io::Result<Option<Segment>> {
        let name = chain_name(self.lane, first);
        match lanefile::open(self.dir, &name, self.id, self.mode) {
            Ok(segment) => Ok(segment.filter(|s| s.place == Place::Chain && s.first == first)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

pub(crate) enum Walk {
    Holds,
    LeftAt(u64),
}

/// Follow the frames of a chain file up to `pos`. A file never reused holds `pos` unless a mark left it before.
pub(crate) fn end_of_walk(segment: &Segment, pos: u64) -> Walk {
    let mut at = segment.first;
    while at < pos {
        if segment.room(at) < 8 {
            return Walk::LeftAt(at);
        }
        let len = segment.medium.load(segment.word_at(at)) as u32;
        if len & MARK_BIT != 0 && Mark::from_len_word(len).is_some() {
            return Walk::LeftAt(at + 8);
        }
        if len < HEAD_BYTES as u32 || !len.is_multiple_of(8) {
            // Damaged on the way: the range decides.
            return if segment.covers(pos) {
                Walk::Holds
            } else {
                Walk::LeftAt(segment.first + segment.capacity)
            };
        }
        at += u64::from(len);
    }
    Walk::Holds
}

/// The first LSNs of the chain files of a lane, in order.
pub(crate) fn chain_files(path: &Path, lane: LaneId) -> io::Result<Vec<u64>> {
    let all = all_chain_files(path)?.into_iter();
    Ok(all
        .filter_map(|(of, first)| (of == lane).then_some(first))
        .collect())
}

/// The chain files of all lanes by their first LSNs, in order.
pub(crate) fn all_chain_files(path: &Path) -> io::Result<Vec<(LaneId, u64)>> {
    let names = match std::fs::read_dir(path) {
        // Somebody deleted all of it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?,
    };
    let mut found = Vec::new();
    for name in names {
        found.extend(name?.file_name().to_str().and_then(chain_file));
    }
    found.sort_unstable();
    Ok(found)
}

fn chain_file(name: &str) -> Option<(LaneId, u64)> {
    let (lane, first) = name.strip_prefix("lane")?.split_once('.')?;
    let first = u64::from_str_radix(first, 16).ok()?;
    Some((LaneId(lane.parse().ok()?), first))
}

pub(crate) fn make_spare(dir: &Dir, i: usize, bytes: usize) -> std::io::Result<()> {
    let draft = format!("making.spare.{i}");
    let _ = dir.unlink(&draft);
    let file = dir.create(&draft, bytes)?;
    // Durable before the writer gets it: a file that a power cut forgets would take its frames along.
    file.sync_all()?;
    dir.rename(&draft, &spare_name(i))
}
