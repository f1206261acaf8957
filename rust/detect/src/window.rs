//! The last values of a series, kept in order of size as well.

/// A window of the newest values with their median at hand.
///
/// A push moves a few hundred bytes at most: windows are short.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    size: usize,
    /// As they came, around the ring.
    ring: Vec<f64>,
    next: usize,
    sorted: Vec<f64>,
}

impl Window {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            ring: Vec::new(),
            next: 0,
            sorted: Vec::new(),
        }
    }

    /// Take in a value that is not NaN; the oldest goes when the window is full.
    pub(crate) fn push(&mut self, value: f64) {
        if self.ring.len() < self.size {
            self.ring.push(value);
            let at = self.sorted.partition_point(|known| *known < value);
            self.sorted.insert(at, value);
            return;
        }
        let Some(slot) = self.ring.get_mut(self.next) else {
            return;
        };
        let old = std::mem::replace(slot, value);
        self.next = (self.next + 1) % self.size;
        self.exchange(old, value);
    }

    /// Take `old` out of the sorted values and put `new` in, moving only what lies between.
    fn exchange(&mut self, old: f64, new: f64) {
        // Counting all of them needs no jumps: with so few it is quicker than to search.
        let (mut from, mut to) = (0, 0);
        for known in &self.sorted {
            from += usize::from(*known < old);
            to += usize::from(*known < new);
        }
        if from < to {
            if let Some(part) = self.sorted.get_mut(from..to) {
                part.rotate_left(1);
            }
            self.put(to - 1, new);
        } else {
            if let Some(part) = self.sorted.get_mut(to..=from) {
                part.rotate_right(1);
            }
            self.put(to, new);
        }
    }

    fn put(&mut self, at: usize, value: f64) {
        if let Some(slot) = self.sorted.get_mut(at) {
            *slot = value;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The median. `None`: there is no value.
    pub(crate) fn median(&self) -> Option<f64> {
        middle(&self.sorted)
    }

    /// The value below which this share of the others lies. `None`: there is no value.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let last = self.sorted.len().checked_sub(1)?;
        let at = (share * last as f64).round() as usize;
        self.sorted.get(at).copied()
    }

    /// The values, in no order that means something.
    pub(crate) fn values(&self) -> &[f64] {
        &self.ring
    }
}

/// The newest values, in the order of time.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    size: usize,
    values: Vec<f64>,
    next: usize,
}

impl Ring {
    pub(crate) fn new(size: usize) -> Self {
        Self {
            size,
            values: Vec::new(),
            next: 0,
        }
    }

    /// Take in a value; the oldest goes when the ring is full.
    pub(crate) fn push(&mut self, value: f64) {
        match self.values.get_mut(self.next) {
            Some(slot) => *slot = value,
            None => self.values.push(value),
        }
        self.next = (self.next + 1) % self.size;
    }

    /// The values, the oldest first.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = f64> {
        let (late, early) = self.values.split_at(self.next.min(self.values.len()));
        early.iter().chain(late).copied()
    }

    /// The `k`-th greatest, counted from 1. `None`: there are fewer.
    pub(crate) fn greatest(&self, k: usize) -> Option<f64> {
        let at = k.checked_sub(1).filter(|at| *at < self.values.len())?;
        let mut values = self.values.clone();
        let (_, found, _) = values.select_nth_unstable_by(at, |a, b| b.total_cmp(a));
        Some(*found)
    }
}

/// The median of the newest of a few values, which are in the order of time. `None`: there are none.
pub(crate) fn newest_median<const N: usize>(values: &[f64]) -> Option<f64> {
    let newest = values.get(values.len().saturating_sub(N)..)?;
    let mut sorted = [0.0; N];
    let sorted = sorted.get_mut(..newest.len())?;
    sorted.copy_from_slice(newest);
    // By insertion: without a call, and without jumps where it can be helped.
    for end in 1..sorted.len() {
        for at in (0..end).rev() {
            let (Some(low), Some(high)) = (sorted.get(at).copied(), sorted.get(at + 1).copied())
            else {
                break;
            };
            if low <= high {
                break;
            }
            sorted.swap(at, at + 1);
        }
    }
    middle(sorted)
}

/// The median of sorted values. `None`: there are none.
pub(crate) fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(half - 1)?;
    // The sum of two huge values would be infinite.
    Some(lower / 2.0 + upper / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sorted(values: &[f64]) -> Vec<f64> {
        let mut values = values.to_vec();
        values.sort_unstable_by(f64::total_cmp);
        values
    }

    proptest! {
        #[test]
        fn the_median_is_that_of_the_newest(values in prop::collection::vec(-3i32..3, 1..200), size in 1usize..40) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            let (mut window, mut ring) = (Window::new(size), Ring::new(size));
            for (at, value) in values.iter().enumerate() {
                window.push(*value);
                ring.push(*value);
                let newest = &values[(at + 1).saturating_sub(size)..=at];
                prop_assert_eq!(window.median(), middle(&sorted(newest)));
                prop_assert_eq!(sorted(window.values()), sorted(newest));
                prop_assert_eq!(ring.in_order().collect::<Vec<_>>(), newest.to_vec());
                let third = sorted(newest).iter().rev().nth(2).copied();
                prop_assert_eq!(ring.greatest(3), third);
                let three = &newest[newest.len().saturating_sub(3)..];
                prop_assert_eq!(newest_median::<3>(newest), middle(&sorted(three)));
            }
        }
    }
}
