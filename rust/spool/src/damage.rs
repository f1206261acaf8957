//! Bytes that are no frame: when to believe it, and where reading goes on.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::batch::{GapRange, GapReason, Read};
use crate::chain::chain_files;
use crate::cursor::ChainOpener;
use crate::files::Dir;
use crate::frame::HEAD_BYTES;
use crate::segment::Segment;
use crate::tail::Tail;
use crate::types::Lsn;

/// On a live lane bytes are believed to be damaged only when they stay the same for this long.
const SUSPECT_FOR: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Suspect {
    pub(crate) pos: u64,
    since: Instant,
    bytes: Vec<u64>,
}

impl Suspect {
    /// Whether it has looked damaged for long enough to look again.
    pub(crate) fn is_ripe(&self) -> bool {
        self.since.elapsed() >= SUSPECT_FOR
    }
}

enum Landing {
    Chain(Segment),
    Ring,
}

impl Tail {
    /// Bytes at the cursor are no frame: believe it at once of an ended producer, after a second of a live one.
    pub(crate) fn skip_damage(&mut self, dir: &Dir, path: &Path, ended: bool) -> Read {
        if !ended && !self.suspect_long_enough() {
            return Read::default();
        }
        let Ok(next) = self.next_valid(dir, path) else {
            // What cannot be opened now may hold the next frame.
            return Read::default();
        };
        self.suspect = None;
        let pos = self.cursor.pos;
        match next {
            Some((lsn, chain)) => {
                if let Some(left) = self.cursor.chain.as_ref().filter(|_| chain.is_some()) {
                    self.passed.push((left.first, lsn));
                }
                match chain {
                    Some(Landing::Chain(segment)) => self.cursor.chain = Some(segment),
                    Some(Landing::Ring) => self.cursor.chain = None,
                    None => {}
                }
                self.cursor.pos = lsn;
                self.gap(pos, lsn)
            }
            None if ended => {
                self.finished = true;
                let written = self.written();
                if self.cursor.has_next() || written > pos {
                    self.gap(pos, written.max(pos))
                } else {
                    Read::default()
                }
            }
            None => Read::default(),
        }
    }

    fn gap(&self, first: u64, end: u64) -> Read {
        let frames_lost = self
            .cursor
            .ordinal
            .zip(self.peek_ordinal())
            .map(|(want, got)| got.wrapping_sub(want));
        let gap = GapRange {
            lane: self.lane,
            first: Lsn(first),
            end: Lsn(end),
            frames_lost,
            reason: GapReason::Damaged,
        };
        Read {
            batch: None,
            gap: Some(gap),
        }
    }

    fn peek_ordinal(&self) -> Option<u32> {
        self.cursor
            .scan(self.cursor.segment(), self.cursor.pos, self.cursor.pos + 8)
            .map(|(_, head)| head.ordinal)
    }

    fn suspect_long_enough(&mut self) -> bool {
        let segment = self.cursor.segment();
        let pos = self.cursor.pos;
        std::sync::atomic::fence(std::sync::atomic::Ordering::Acquire);
        let mut bytes = Vec::new();
        segment.medium.copy_out(
            segment.word_at(pos),
            (segment.room(pos) / 8).min(512) as usize,
            &mut bytes,
        );
        match &self.suspect {
            Some(s) if s.pos == pos && s.bytes == bytes => s.is_ripe(),
            _ => {
                self.suspect = Some(Suspect {
                    pos,
                    since: Instant::now(),
                    bytes,
                });
                false
            }
        }
    }

    /// The nearest valid frame beyond the cursor: in the same file, in the ring, or at the start of a chain file.
    fn next_valid(&self, dir: &Dir, path: &Path) -> io::Result<Option<(u64, Option<Landing>)>> {
        let (cursor, pos) = (&self.cursor, self.cursor.pos);
        let ring_end = self.acked + cursor.ring.capacity;
        let here = match &cursor.chain {
            None => cursor
                .scan(&cursor.ring, pos + 8, ring_end)
                .map(|(lsn, _)| (lsn, None)),
            Some(chain) => {
                let inside = cursor
                    .scan(chain, pos + 8, chain.first + chain.capacity)
                    .map(|(lsn, _)| (lsn, None));
                let back = cursor
                    .scan(&cursor.ring, pos + 8, ring_end)
                    .map(|(lsn, _)| (lsn, Some(Landing::Ring)));
                inside.or(back)
            }
        };
        let mut chained = None;
        let firsts = chain_files(path, self.lane)?.into_iter();
        for first in firsts.filter(|first| *first > pos) {
            if let Some(segment) = self.opener(dir).open(first)?
                && let Some((lsn, _)) = cursor.scan(&segment, first, first + HEAD_BYTES as u64)
            {
                chained = Some((lsn, Some(Landing::Chain(segment))));
                break;
            }
        }
        Ok(match (here, chained) {
            (Some(a), Some(b)) => Some(if a.0 < b.0 { a } else { b }),
            (a, b) => a.or(b),
        })
    }
}
