//! Reading groups for somebody who follows.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::Gathering;
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;
use crate::store::source::Dictionary;

/// Keys of a wide layout beyond these are looked at only when they are wanted.
const MOST_LOOKED_AT: usize = 512;

/// Read the rows of a group that are behind a boottime.
pub(super) fn read_group(
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
        let keys = layout.and_then(|layout| dictionary.layout(layout));
        let of_group = Rows {
            group,
            from_ns,
            steps: &steps,
            times: &times,
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
}

impl Rows<'_> {
    fn read(
        &self,
        conn: &Connection,
        layout: Option<&[u32]>,
        gathering: &mut Gathering<'_>,
    ) -> Result<(), StoreError> {
        let mut keys: BTreeSet<u32> = match layout {
            Some(layout) => layout.iter().copied().take(MOST_LOOKED_AT).collect(),
            None => BTreeSet::new(),
        };
        keys.extend(gathering.wanted.keys.iter().copied());
        for key in keys {
            self.read_column(conn, key, gathering)?;
        }
        let last = self.times.iter().copied().max().unwrap_or(self.from_ns);
        gathering.last_ns = gathering.last_ns.max(last);
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
            for at in 0..column.slots.len() {
                let place = column.row(at);
                let (Some(step), Some(time)) = (self.steps.get(place), self.times.get(place))
                else {
                    continue;
                };
                if let Some(number) = column.number(at).filter(|_| *time > self.from_ns) {
                    gathering.push(key, *step, *time, number);
                }
            }
        }
        Ok(())
    }
}
