//! Numbers of stored points: each its own, and the same for whoever reads one state of the database.

/// Bits of a row in a column; no group has more rows.
const ROW_BITS: u32 = 20;
/// Bits of a point among those of its key that are not sealed.
const FRESH_BITS: u32 = 29;
const TEXT: i64 = 1 << 61;
const FRESH: i64 = 1 << 62;

/// The first point of a sealed column.
pub(super) fn in_column(column: i64) -> i64 {
    column.wrapping_shl(ROW_BITS)
}

/// A row of the table of texts.
pub(super) fn in_text(row: i64) -> i64 {
    TEXT | row
}

/// The first point of a key that is not sealed.
pub(super) fn in_fresh(key: u32) -> i64 {
    FRESH | i64::from(key) << FRESH_BITS
}

/// The numbers of points that lie in memory: a run of them for each column that was gathered.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// Where a run begins, and the number of its first point.
    runs: Vec<(usize, i64)>,
}

impl Numbers {
    /// The points from `at` on have the numbers from `first` on.
    pub(super) fn begin(&mut self, at: usize, first: i64) {
        let goes_on = |(start, number): &(usize, i64)| number + (at - start) as i64 == first;
        if !self.runs.last().is_some_and(goes_on) {
            self.runs.push((at, first));
        }
    }

    /// The number of the point at `at`; only meaningful where a run was begun for it.
    pub(super) fn of(&self, at: usize) -> i64 {
        let after = self.runs.partition_point(|(start, _)| *start <= at);
        let run = after.checked_sub(1).and_then(|run| self.runs.get(run));
        run.map_or(at as i64, |(start, number)| number + (at - start) as i64)
    }
}
