//! Who logged a point, and what the wall clock said then.

use std::collections::HashMap;

use rusqlite::Connection;

use crate::merge::Origin;
use crate::store::error::StoreError;

/// All producers of a run, in the order of their numbers, with the clock of their machine.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// For [`crate::merge::select`].
    pub list: Vec<Origin>,
    index: HashMap<i64, u32>,
    clocks: Vec<usize>,
    domains: Vec<Clock>,
}

/// One boot of one machine: samples of (boottime, offset to the wall clock), by boottime.
#[derive(Debug, Default)]
struct Clock {
    samples: Vec<(i64, i64)>,
}

impl Clock {
    /// The offset at this boottime: that of the last sample before it.
    fn offset_ns(&self, boottime_ns: i64) -> i64 {
        let after = self
            .samples
            .partition_point(|sample| sample.0 <= boottime_ns);
        let sample = after.checked_sub(1).and_then(|at| self.samples.get(at));
        sample.or(self.samples.first()).map_or(0, |sample| sample.1)
    }
}

type Domain = (String, i64);

impl Origins {
    pub(super) fn load(conn: &Connection) -> Result<Self, StoreError> {
        let mut origins = Self::default();
        let mut known: HashMap<Domain, usize> = HashMap::new();
        origins.load_clock_rows(conn, &mut known)?;
        let mut select = conn.prepare_cached(
            "SELECT id, rank, attempt, boot_id, time_namespace, boottime_ns, wall_ns FROM producers
             ORDER BY id",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let sample: (i64, i64) = (row.get(5)?, row.get(6)?);
            let domain = origins.sample(&mut known, (row.get(3)?, row.get(4)?), sample);
            origins.index.insert(row.get(0)?, origins.list.len() as u32);
            // That of the first producer of the boot, as the writer has it: nothing changes it.
            let first = origins.clocks.iter().position(|known| *known == domain);
            let known = first.and_then(|at| origins.list.get(at));
            let order_offset_ns = known.map_or(sample.1 - sample.0, |o| o.order_offset_ns);
            origins.clocks.push(domain);
            origins.list.push(Origin {
                rank: row.get(1)?,
                attempt: row.get(2)?,
                order_offset_ns,
            });
        }
        for clock in &mut origins.domains {
            clock.samples.sort_unstable();
        }
        Ok(origins)
    }

    fn load_clock_rows(
        &mut self,
        conn: &Connection,
        known: &mut HashMap<Domain, usize>,
    ) -> Result<(), StoreError> {
        let mut select =
            conn.prepare_cached("SELECT boot_id, time_namespace, boottime_ns, wall_ns FROM clock")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let sample = (row.get(2)?, row.get(3)?);
            self.sample(known, (row.get(0)?, row.get(1)?), sample);
        }
        Ok(())
    }

    fn sample(
        &mut self,
        known: &mut HashMap<Domain, usize>,
        domain: Domain,
        (boottime_ns, wall_ns): (i64, i64),
    ) -> usize {
        let at = *known.entry(domain).or_insert_with(|| {
            self.domains.push(Clock::default());
            self.domains.len() - 1
        });
        if let Some(clock) = self.domains.get_mut(at) {
            clock.samples.push((boottime_ns, wall_ns - boottime_ns));
        }
        at
    }

    /// The place of a producer in `list`. `None`: it is not in the table.
    pub(super) fn index(&self, producer: i64) -> Option<u32> {
        self.index.get(&producer).copied()
    }

    /// Where a boottime of a producer stands in its attempt.
    pub(super) fn order_ns(&self, origin: u32, boottime_ns: i64) -> i64 {
        let offset_ns = self.list.get(origin as usize).map(|o| o.order_offset_ns);
        boottime_ns.saturating_add(offset_ns.unwrap_or_default())
    }

    /// The rank of a producer.
    pub(super) fn rank(&self, origin: u32) -> u32 {
        self.list.get(origin as usize).map_or(0, |o| o.rank)
    }

    /// The earliest and the latest wall clock that anything between two boottimes can have.
    pub(super) fn wall_range_ns(&self, origin: u32, from_ns: i64, to_ns: i64) -> (i64, i64) {
        let domain = self.clocks.get(origin as usize);
        let clock = domain.and_then(|at| self.domains.get(*at));
        let offsets = || clock.iter().flat_map(|c| &c.samples).map(|sample| sample.1);
        let (least, most) = (offsets().min().unwrap_or(0), offsets().max().unwrap_or(0));
        (from_ns.saturating_add(least), to_ns.saturating_add(most))
    }

    /// Boottimes of one producer as wall clock in seconds.
    pub(super) fn wall_secs(&self, origin: u32, boottimes_ns: Vec<i64>) -> Vec<f64> {
        let clock = self
            .clocks
            .get(origin as usize)
            .and_then(|at| self.domains.get(*at));
        let steady = clock.is_none_or(|clock| {
            clock
                .samples
                .iter()
                .map(|s| s.1)
                .is_sorted_by(|a, b| a == b)
        });
        let offset = clock.map_or(0, |clock| clock.offset_ns(i64::MIN));
        let secs = |time: i64| {
            let wall = if steady {
                time + offset
            } else {
                self.wall_ns(origin, time)
            };
            wall as f64 / 1e9
        };
        boottimes_ns.into_iter().map(secs).collect()
    }

    /// A boottime of a producer as wall clock.
    pub(super) fn wall_ns(&self, origin: u32, boottime_ns: i64) -> i64 {
        let clock = self
            .clocks
            .get(origin as usize)
            .and_then(|at| self.domains.get(*at));
        boottime_ns + clock.map_or(0, |clock| clock.offset_ns(boottime_ns))
    }
}
