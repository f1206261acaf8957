//! One pass over raw frames: what belongs to which layout, and what needs a row of its own.

use std::collections::HashMap;

use tm_spool::{Flags, Frame, Kind, Lsn, frames};

use super::source::Dictionary;

/// A frame, the lane it came from, and its bytes there.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub lane: u8,
    pub frame: Frame<'a>,
    pub raw: &'a [u8],
}

/// Frames sorted by layout; the key/value frames are under `None`.
#[derive(Debug, Default)]
pub(crate) struct Scan<'a> {
    layouts: Vec<(Option<u32>, Vec<Row<'a>>)>,
    at: HashMap<Option<u32>, usize>,
    last: usize,
    /// Frames that are not points.
    pub others: Vec<Row<'a>>,
    /// (step, boottime) of frames that ask for an analysis.
    pub forced: Vec<(i64, i64)>,
    /// Frames whose layout was never defined, or does not fit them.
    pub undefined: u32,
    pub frames: u64,
    pub points: u64,
}

impl<'a> Scan<'a> {
    /// Add the frames of one piece of a lane.
    pub(crate) fn add(&mut self, dictionary: &Dictionary, lane: u8, first: Lsn, bytes: &'a [u8]) {
        for frame in frames(bytes, first) {
            self.frames += 1;
            let (from, to) = (frame.lsn.0 - first.0, frame.end.0 - first.0);
            let raw = bytes.get(from as usize..to as usize).unwrap_or_default();
            if frame.kind != Kind::Points {
                self.others.push(Row { lane, frame, raw });
                continue;
            }
            let layout = (!frame.flags.has(Flags::PAIRS)).then_some(frame.layout.0);
            if !fits(dictionary, layout, &frame) {
                self.undefined += 1;
                continue;
            }
            if frame.flags.has(Flags::FORCE_ANALYSIS) {
                self.forced.push((frame.step.0, frame.boottime_ns));
            }
            self.points += u64::from(frame.n);
            self.rows_of(layout).push(Row { lane, frame, raw });
        }
    }

    /// Take over all points of another scan.
    pub(crate) fn append(&mut self, other: Scan<'a>) {
        for (layout, mut rows) in other.layouts {
            self.rows_of(layout).append(&mut rows);
        }
    }

    fn rows_of(&mut self, layout: Option<u32>) -> &mut Vec<Row<'a>> {
        // A loop logs the same dict again and again: the last layout is nearly always the right one.
        if self
            .layouts
            .get(self.last)
            .is_none_or(|(known, _)| *known != layout)
        {
            self.last = *self.at.entry(layout).or_insert_with(|| {
                self.layouts.push((layout, Vec::new()));
                self.layouts.len() - 1
            });
        }
        let at = self.last;
        &mut self.layouts[at].1
    }

    /// Every layout with its frames.
    pub(crate) fn layouts(&self) -> impl Iterator<Item = (Option<u32>, &[Row<'a>])> {
        self.layouts
            .iter()
            .map(|(layout, rows)| (*layout, rows.as_slice()))
    }

    /// Every layout with its frames, ordered by (boottime, lane, LSN).
    pub(crate) fn sorted_layouts(&mut self) -> impl Iterator<Item = (Option<u32>, &[Row<'a>])> {
        let order = |row: &Row<'_>| (row.frame.boottime_ns, row.lane, row.frame.lsn);
        for (_, rows) in &mut self.layouts {
            if !rows.is_sorted_by_key(order) {
                rows.sort_by_key(order);
            }
        }
        self.layouts()
    }
}

fn fits(dictionary: &Dictionary, layout: Option<u32>, frame: &Frame<'_>) -> bool {
    match layout {
        Some(layout) => dictionary
            .layout(layout)
            .is_some_and(|keys| keys.len() == frame.n as usize),
        None => (0..frame.n as usize).all(|i| {
            frame
                .pair_key(i)
                .is_some_and(|key| dictionary.key(key.0).is_some())
        }),
    }
}
