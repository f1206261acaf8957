//! Pictures of a series: few stretches instead of all points, read from the rollup where that is exact.
//!
//! A row of the rollup may stand for its points as long as merging would leave them as they are. Where a
//! later attempt hides some of them, where steps repeat or come late, or where only part of them is
//! asked for, the points themselves are read: only those of such rows, and of groups that no row has yet.

mod pieces;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rusqlite::Connection;

use super::points::Points;
use super::series::{Series, SeriesOptions, Values, firsts_of, key_id};
use super::{Origins, RunReader};
use crate::merge::{Selection, select};
use crate::store::cell::Cell;
use crate::store::error::StoreError;
use crate::store::keys::readable;
use crate::store::rollup::{Bucket, Mark};
use pieces::Piece;

/// A stretch of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// The lowest and the highest step.
    pub steps: (i64, i64),
    /// Values, those without a finite number too.
    pub count: u64,
    /// Values without a finite number: NaN, infinities, None, text.
    pub non_finite: u64,
    /// The least finite value. `None`: there is none.
    pub min: Option<f64>,
    /// The greatest finite value. `None`: there is none.
    pub max: Option<f64>,
    /// The mean of the finite values. `None`: there are none.
    pub mean: Option<f64>,
    /// The first value as a number.
    pub first: f64,
    /// The last value as a number.
    pub last: f64,
}

/// What a picture is made of: stretches known by their sums, and single points.
pub(super) struct View {
    items: Vec<Item>,
    points: Points,
    count: u64,
}

enum Item {
    Sum {
        bucket: Box<Bucket>,
        origin: u32,
    },
    /// Its place in the points.
    Point(u32),
}

/// A point that is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    Mark(Mark, u32),
    Point(u32),
}

impl RunReader {
    /// A metric in at most `count` stretches of about equally many points, by step.
    ///
    /// # Errors
    /// [`StoreError::NoSuchMetric`] when nobody has logged it.
    pub fn zoom(
        &self,
        key: &[u8],
        count: usize,
        options: &SeriesOptions,
    ) -> Result<Vec<Stretch>, StoreError> {
        self.reading(|conn| {
            let id = key_id(conn, key)?.ok_or_else(|| StoreError::NoSuchMetric {
                name: readable(key),
            })?;
            let origins = Origins::load(conn)?;
            let view = self.view(conn, &origins, id, options, count.max(1))?;
            Ok(view.stretches(&origins, count.max(1)))
        })
    }

    /// A series thinned to about `most` points, none of its extremes left out.
    pub(super) fn thinned(
        &self,
        conn: &Connection,
        origins: &Origins,
        key: u32,
        options: &SeriesOptions,
        most: usize,
    ) -> Result<Series, StoreError> {
        // Of each stretch two points are shown. Half as many stretches as would fit are enough: the next finer
        // level has eight times as many, and below the last one stands every single point.
        let view = self.view(conn, origins, key, options, (most / 4).max(1))?;
        let shown = view.shown(origins, most);
        Ok(view.series(origins, &shown))
    }

    /// The series as about so many items or more.
    fn view(
        &self,
        conn: &Connection,
        origins: &Origins,
        key: u32,
        options: &SeriesOptions,
        count: usize,
    ) -> Result<View, StoreError> {
        let firsts = firsts_of(conn, key)?;
        let (pieces, points) = self.pieces(conn, origins, &firsts, (key, options, count))?;
        let selection = Selection {
            rank: options.rank,
            since: options.since,
            raw: false,
        };
        Ok(View::new(origins, pieces, points, &firsts, selection))
    }
}

impl View {
    fn new(
        origins: &Origins,
        pieces: Vec<Piece>,
        points: Points,
        firsts: &BTreeMap<u32, i64>,
        selection: Selection,
    ) -> Self {
        let chosen = select(&points.placed, &origins.list, firsts, selection);
        let chosen = chosen.unwrap_or_else(|| (0..points.placed.step.len() as u32).collect());
        let mut items: Vec<Item> = chosen.into_iter().map(Item::Point).collect();
        let sums = !pieces.is_empty();
        items.extend(pieces.into_iter().flat_map(|piece| {
            let origin = piece.origin;
            piece.parts.into_iter().map(move |bucket| Item::Sum {
                bucket: Box::new(bucket),
                origin,
            })
        }));
        let mut view = Self {
            count: 0,
            items,
            points,
        };
        if sums {
            let mut items = std::mem::take(&mut view.items);
            items.sort_by_key(|item| view.place(origins, item));
            view.items = items;
        }
        view.count = view.items.iter().map(Item::count).sum();
        view
    }

    /// First step and rank.
    fn place(&self, origins: &Origins, item: &Item) -> (i64, u32) {
        match item {
            Item::Sum { bucket, origin } => (bucket.step_min, origins.rank(*origin)),
            Item::Point(at) => {
                let placed = &self.points.placed;
                let origin = placed.origin.get(*at as usize).copied().unwrap_or_default();
                let step = placed.step.get(*at as usize).copied().unwrap_or_default();
                (step, origins.rank(origin))
            }
        }
    }

    fn bucket(&self, item: &Item) -> Bucket {
        match item {
            Item::Sum { bucket, .. } => bucket.as_ref().clone(),
            Item::Point(at) => Bucket::of_mark(self.points.mark(*at)),
        }
    }

    /// The items cut into stretches of about equally many points.
    fn cut(&self, count: usize) -> Vec<&[Item]> {
        let mut stretches = Vec::with_capacity(count);
        let (mut from, mut points, mut next) = (0, 0u64, 1u64);
        for (at, item) in self.items.iter().enumerate() {
            points += item.count();
            if points * count as u64 >= next * self.count {
                stretches.push(self.items.get(from..=at).unwrap_or_default());
                from = at + 1;
                next = points * count as u64 / self.count.max(1) + 1;
            }
        }
        let rest = self.items.get(from..).unwrap_or_default();
        stretches.extend((!rest.is_empty()).then_some(rest));
        stretches
    }

    fn stretches(&self, origins: &Origins, count: usize) -> Vec<Stretch> {
        let _ = origins;
        let sum = |items: &[Item]| {
            let mut whole = Bucket::default();
            items
                .iter()
                .for_each(|item| whole.append(&self.bucket(item)));
            whole
        };
        let number = |mark: Option<Mark>| mark.map(|mark| mark.number());
        self.cut(count)
            .into_iter()
            .map(sum)
            .map(|whole| Stretch {
                steps: (whole.step_min, whole.step_max),
                count: whole.n,
                non_finite: whole.not_finite,
                min: number(whole.least()),
                max: number(whole.greatest()),
                mean: whole.mean(),
                first: number(whole.first()).unwrap_or(f64::NAN),
                last: number(whole.last()).unwrap_or(f64::NAN),
            })
            .collect()
    }

    /// The points to show: of each stretch the least, the greatest and the first of each kind that is not
    /// finite; the first and the last point of all. All of them, when there are not more than `most`.
    fn shown(&self, origins: &Origins, most: usize) -> Vec<Shown> {
        let points_only = self.items.len() as u64 == self.count
            && self.items.iter().all(|item| matches!(item, Item::Point(_)));
        if points_only && self.items.len() <= most.max(4) {
            return self.items.iter().flat_map(Item::point).collect();
        }
        let kinds = self.kinds_not_finite();
        let count = (most.saturating_sub(2) / (2 + kinds)).max(1);
        let mut shown = Vec::with_capacity(most + 2);
        shown.extend(self.items.first().and_then(|item| item.end(Bucket::first)));
        for stretch in self.cut(count) {
            shown.append(&mut self.extremes(stretch));
        }
        shown.extend(self.items.last().and_then(|item| item.end(Bucket::last)));
        shown.sort_by_key(|shown| self.order(origins, shown));
        shown.dedup();
        shown
    }

    /// How many of NaN, infinity above and infinity below occur.
    fn kinds_not_finite(&self) -> usize {
        let mut kinds = [false; 3];
        for item in &self.items {
            let mut note = |value: f64| {
                kinds[if value.is_nan() {
                    0
                } else {
                    1 + usize::from(value < 0.0)
                }] = true;
            };
            match item {
                Item::Sum { bucket, .. } => {
                    bucket.not_finite_marks().for_each(|m| note(m.number()))
                }
                Item::Point(at) => {
                    let value = self.points.number(*at);
                    if !value.is_finite() {
                        note(value);
                    }
                }
            }
        }
        kinds.iter().filter(|kind| **kind).count()
    }

    fn extremes(&self, stretch: &[Item]) -> Vec<Shown> {
        let mut least: Option<(f64, Shown)> = None;
        let mut greatest: Option<(f64, Shown)> = None;
        let mut others: [Option<Shown>; 3] = [None; 3];
        let mut offer = |value: f64, shown: Shown| {
            if !value.is_finite() {
                let kind = if value.is_nan() {
                    0
                } else {
                    1 + usize::from(value < 0.0)
                };
                others[kind].get_or_insert(shown);
                return;
            }
            if least.is_none_or(|(known, _)| value < known) {
                least = Some((value, shown));
            }
            if greatest.is_none_or(|(known, _)| value > known) {
                greatest = Some((value, shown));
            }
        };
        for item in stretch {
            match item {
                Item::Point(at) => offer(self.points.number(*at), Shown::Point(*at)),
                Item::Sum { bucket, origin } => {
                    let finite = bucket.least().into_iter().chain(bucket.greatest());
                    for mark in finite.chain(bucket.not_finite_marks()) {
                        offer(mark.number(), Shown::Mark(mark, *origin));
                    }
                }
            }
        }
        let finite = least.into_iter().chain(greatest).map(|(_, shown)| shown);
        finite.chain(others.into_iter().flatten()).collect()
    }

    /// Step, rank, then the order of the points.
    fn order(&self, origins: &Origins, shown: &Shown) -> (i64, u32, i64) {
        match shown {
            Shown::Mark(mark, origin) => (mark.step, origins.rank(*origin), mark.boottime_ns),
            Shown::Point(at) => {
                let (step, rank) = self.place(origins, &Item::Point(*at));
                let placed = &self.points.placed.boottime_ns;
                (
                    step,
                    rank,
                    placed.get(*at as usize).copied().unwrap_or_default(),
                )
            }
        }
    }

    fn series(&self, origins: &Origins, shown: &[Shown]) -> Series {
        let placed = &self.points.placed;
        let origin = |shown: &Shown| match shown {
            Shown::Mark(_, origin) => *origin,
            Shown::Point(at) => placed.origin.get(*at as usize).copied().unwrap_or_default(),
        };
        let time = |shown: &Shown| match shown {
            Shown::Mark(mark, _) => mark.boottime_ns,
            Shown::Point(at) => placed
                .boottime_ns
                .get(*at as usize)
                .copied()
                .unwrap_or_default(),
        };
        let of = |shown: &Shown| origins.list.get(origin(shown) as usize);
        let cells: Vec<Cell> = shown.iter().map(|shown| self.cell(shown)).collect();
        Series {
            step: shown
                .iter()
                .map(|shown| self.order(origins, shown).0)
                .collect(),
            time: shown
                .iter()
                .map(|shown| origins.wall_ns(origin(shown), time(shown)) as f64 / 1e9)
                .collect(),
            value: Values::of(cells),
            rank: shown
                .iter()
                .map(|shown| of(shown).map_or(0, |o| o.rank))
                .collect(),
            attempt: shown
                .iter()
                .map(|shown| of(shown).map_or(0, |o| o.attempt))
                .collect(),
        }
    }

    fn cell(&self, shown: &Shown) -> Cell {
        match shown {
            Shown::Point(at) => self.points.cell(*at),
            Shown::Mark(mark, _) => match tm_spool::ValueType::from_u8(mark.kind) {
                Some(tm_spool::ValueType::F64) => Cell::F64(f64::from_bits(mark.slot)),
                Some(tm_spool::ValueType::I64) => Cell::I64(mark.slot as i64),
                Some(tm_spool::ValueType::Bool) => Cell::Bool(mark.slot != 0),
                _ => Cell::None,
            },
        }
    }
}

impl Item {
    fn count(&self) -> u64 {
        match self {
            Self::Sum { bucket, .. } => bucket.n,
            Self::Point(_) => 1,
        }
    }

    fn point(&self) -> Option<Shown> {
        match self {
            Self::Point(at) => Some(Shown::Point(*at)),
            Self::Sum { .. } => None,
        }
    }

    /// The item itself, or one end of it.
    fn end(&self, which: impl Fn(&Bucket) -> Option<Mark>) -> Option<Shown> {
        match self {
            Self::Point(at) => Some(Shown::Point(*at)),
            Self::Sum { bucket, origin } => which(bucket).map(|mark| Shown::Mark(mark, *origin)),
        }
    }
}
