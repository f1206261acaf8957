//! Reading groups for somebody who follows.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::gathering::Gathering;
use super::{RunReader, past};
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;
use crate::store::registry::load_dictionary;
use crate::store::source::Dictionary;

/// Keys of a wide layout beyond these are looked at only when they are wanted.
const MOST_LOOKED_AT: usize = 512;
/// A thinned past may cost so many times the unpacking of what is handed on, then the rest comes with the next call.
const MOST_UNPACKED: usize = 50;

/// Read the rows of a group that are behind a boottime.
fn read_group(
    conn: &Connection,
    group: i64,
    from_ns: i64,
    dictionary: &Dictionary,
    gathering: &mut Gathering<'_>,
) -> Result<(), StoreError> {
    let mut select =
        conn.prepare_cached("SELECT n, steps, times, layout FROM groups WHERE id = ?1")?;
    let mut rows = select.query([group])?;
    let Some(row) = rows.next()? else {
        return Ok(());
    };
    let n = row.get::<_, u32>(0)? as usize;
    let decoded = |at: usize| -> Result<Option<Vec<i64>>, StoreError> {
        Ok(decode_ints(row.get_ref(at)?.as_blob().unwrap_or_default(), n).ok())
    };
    // Who reads a damaged group for its values tells of it.
    if let (Some(steps), Some(times)) = (decoded(1)?, decoded(2)?) {
        let layout: Option<u32> = row.get(3)?;
        let kept = gathering.past.as_ref().map(|past| {
            let slot = gathering.slots.entry(layout).or_insert(i64::MIN);
            past.kept(&times, from_ns, slot)
        });
        let keys = layout.and_then(|layout| dictionary.layout(layout));
        let of_group = Rows {
            group,
            from_ns,
            steps: &steps,
            times: &times,
            kept: kept.as_deref(),
        };
        of_group.read(conn, keys.map(|keys| &keys[..]), gathering)?;
    }
    Ok(())
}

/// The rows of one group that are behind a boottime.
struct Rows<'g> {
    group: i64,
    from_ns: i64,
    steps: &'g [i64],
    times: &'g [i64],
    /// Which rows are looked at. `None`: all are.
    kept: Option<&'g [bool]>,
}

impl Rows<'_> {
    fn read(
        &self,
        conn: &Connection,
        layout: Option<&[u32]>,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), StoreError> {
        let last = self.times.iter().copied().max().unwrap_or(self.from_ns);
        gathering.last_ns = gathering.last_ns.max(last);
        if self.kept.is_some_and(|kept| !kept.contains(&true)) {
            return Ok(());
        }
        let mut keys: BTreeSet<u32> = match layout {
            Some(layout) => layout.iter().copied().take(MOST_LOOKED_AT).collect(),
            None => BTreeSet::new(),
        };
        keys.extend(gathering.wanted.keys.iter().copied());
        for key in keys {
            self.read_column(conn, key, gathering)?;
        }
        Ok(())
    }

    fn read_column(
        &self,
        conn: &Connection,
        key: u32,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), StoreError> {
        let mut select =
            conn.prepare_cached("SELECT n_nan, data FROM cols WHERE key = ?1 AND grp = ?2")?;
        let mut rows = select.query(params![key, self.group])?;
        while let Some(row) = rows.next()? {
            if !gathering.wanted.has(key) && row.get::<_, i64>(0)? == 0 {
                continue;
            }
            let data = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let Ok(column) = Column::decode(data, self.steps.len()) else {
                continue;
            };
            gathering.unpacked += column.slots.len();
            let mut is_odd_seen = false;
            for at in 0..column.slots.len() {
                let place = column.row(at);
                let (Some(step), Some(time)) = (self.steps.get(place), self.times.get(place))
                else {
                    continue;
                };
                let Some(number) = column.number(at).filter(|_| *time > self.from_ns) else {
                    continue;
                };
                // What is not finite is seen however thin the past is.
                let is_odd = !number.is_finite() && !is_odd_seen;
                if is_odd || past::is_kept(self.kept, place) {
                    is_odd_seen |= is_odd;
                    gathering.push(key, *step, *time, number);
                }
            }
        }
        Ok(())
    }
}

impl RunReader {
    /// Groups of a producer behind what was seen, in the order of time. Returns whether these were all.
    pub(super) fn read_groups(
        &self,
        conn: &Connection,
        (producer, last_grp): (i64, i64),
        most: usize,
        gathering: &mut Gathering<'_>,
    ) -> Result<bool, StoreError> {
        let from_ns = gathering.last_ns;
        let dictionary = load_dictionary(conn, producer)?;
        let mut list = conn.prepare_cached(
            "SELECT id, time_min FROM groups WHERE id > ?3 AND producer = ?1 AND time_max > ?2
             ORDER BY time_min, id",
        )?;
        let mut groups = list.query(params![producer, from_ns, last_grp])?;
        while let Some(row) = groups.next()? {
            // Groups of several layouts lie beside each other: between them nothing could be put in order.
            let is_enough =
                gathering.points >= most || gathering.unpacked / MOST_UNPACKED >= most.max(1);
            if is_enough && row.get::<_, i64>(1)? > gathering.last_ns {
                return Ok(false);
            }
            read_group(conn, row.get(0)?, from_ns, &dictionary, gathering)?;
        }
        Ok(true)
    }
}
