//! What is gathered while one producer is read.

use std::collections::BTreeMap;

use tm_spool::Value;

use super::past::{PastOf, Slots};
use super::wanted::Wanted;
use super::{Followed, News, Odd, Origins};
use crate::store::scan::Row;
use crate::store::source::Dictionary;

/// Gathers while one producer is read.
pub(super) struct Gathering<'f> {
    pub wanted: &'f Wanted,
    news: BTreeMap<u32, Columns>,
    odd: BTreeMap<u32, (i64, i64, f64)>,
    pub points: usize,
    /// How many values were unpacked for them.
    pub unpacked: usize,
    pub last_ns: i64,
    /// What of it is thinned. `None`: nothing.
    pub past: Option<PastOf>,
    pub slots: Slots,
}

impl<'f> Gathering<'f> {
    pub(super) fn new(
        wanted: &'f Wanted,
        last_ns: i64,
        past: Option<PastOf>,
        slots: Slots,
    ) -> Self {
        Self {
            wanted,
            news: BTreeMap::new(),
            odd: BTreeMap::new(),
            points: 0,
            unpacked: 0,
            last_ns,
            past,
            slots,
        }
    }
}

impl Gathering<'_> {
    pub(super) fn push(&mut self, key: u32, step: i64, boottime_ns: i64, value: f64) {
        if self.wanted.has(key) {
            let (steps, times, values) = self.news.entry(key).or_default();
            steps.push(step);
            times.push(boottime_ns);
            values.push(value);
            self.points += 1;
        } else if !value.is_finite() {
            self.odd.entry(key).or_insert((step, boottime_ns, value));
        }
    }

    pub(super) fn push_frame(
        &mut self,
        row: &Row<'_>,
        keys: Option<&[u32]>,
        dictionary: &Dictionary,
    ) {
        let (step, time) = (row.frame.step.0, row.frame.boottime_ns);
        self.last_ns = self.last_ns.max(time);
        if let Some(keys) = keys.filter(|_| !row.frame.is_typed()) {
            for (at, key) in keys.iter().enumerate() {
                self.push(*key, step, time, f64::from_bits(row.frame.slot(at)));
            }
            return;
        }
        for at in 0..row.frame.n as usize {
            let key = match keys {
                Some(keys) => keys.get(at).copied(),
                None => row
                    .frame
                    .pair_key(at)
                    .and_then(|local| dictionary.key(local.0)),
            };
            let number = row.frame.value(at).and_then(|value| number(&value));
            if let (Some(key), Some(number)) = (key, number) {
                self.push(key, step, time, number);
            }
        }
    }
}

impl Gathering<'_> {
    pub(super) fn hand_on(self, origins: &Origins, origin: u32, followed: &mut Followed) {
        let rank = origins.rank(origin);
        let attempt = origins.list.get(origin as usize).map_or(0, |o| o.attempt);
        for (key, columns) in self.news {
            // A key of several layouts comes layout by layout.
            let (steps, times, values) = in_order_of_time(columns);
            let times = origins.wall_secs(origin, times);
            followed.news.push(News {
                key,
                rank,
                attempt,
                steps,
                times,
                values,
            });
        }
        for (key, (step, boottime_ns, value)) in self.odd {
            let time = origins.wall_ns(origin, boottime_ns) as f64 / 1e9;
            followed.odd.push(Odd {
                key,
                rank,
                step,
                time,
                value,
            });
        }
    }
}

/// Steps, boottimes and values of one key.
type Columns = (Vec<i64>, Vec<i64>, Vec<f64>);

fn in_order_of_time((steps, times, values): Columns) -> Columns {
    if times.is_sorted() {
        return (steps, times, values);
    }
    let mut rows: Vec<_> = steps.into_iter().zip(times).zip(values).collect();
    rows.sort_by_key(|((_, time), _)| *time);
    let mut columns = Columns::default();
    for ((step, time), value) in rows {
        columns.0.push(step);
        columns.1.push(time);
        columns.2.push(value);
    }
    columns
}

fn number(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::F64(number) => Some(*number),
        Value::I64(number) => Some(*number as f64),
        Value::Bool(yes) => Some(f64::from(u8::from(*yes))),
        Value::BigInt(digits) => {
            let number: f64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
            // Finite, but for us.
            number.is_finite().then_some(number)
        }
        Value::None | Value::Text(_) => None,
    }
}
