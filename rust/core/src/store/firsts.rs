//! The first step of each key in each attempt, kept current in the transaction that stores the points.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::error::StoreError;
use super::scan::{Row, Scan};
use super::source::Dictionary;

/// The lowest steps this producer has already reported; a cache, the table holds the truth.
#[derive(Debug, Default)]
pub(crate) struct Firsts {
    layouts: HashMap<u32, i64>,
    keys: HashMap<u32, i64>,
}

impl Firsts {
    /// Write what these frames lower, and hand it back for [`Firsts::merge`] after the commit.
    pub(crate) fn lower(
        &self,
        conn: &Connection,
        attempt: u32,
        dictionary: &Dictionary,
        scan: &Scan<'_>,
    ) -> Result<Self, StoreError> {
        let mut lowered = Self::default();
        for (layout, rows) in scan.layouts() {
            match layout {
                Some(layout) => self.lower_layout(&mut lowered, layout, rows),
                None => self.lower_pairs(&mut lowered, dictionary, rows),
            }
        }
        for (layout, step) in &lowered.layouts {
            for key in dictionary.layout(*layout).map_or(&[][..], |keys| keys) {
                upsert(conn, attempt, *key, *step)?;
            }
        }
        for (key, step) in &lowered.keys {
            upsert(conn, attempt, *key, *step)?;
        }
        Ok(lowered)
    }

    fn lower_layout(&self, lowered: &mut Self, layout: u32, rows: &[Row<'_>]) {
        let Some(step) = rows.iter().map(|row| row.frame.step.0).min() else {
            return;
        };
        if self.layouts.get(&layout).is_none_or(|known| step < *known) {
            lowered.layouts.insert(layout, step);
        }
    }

    fn lower_pairs(&self, lowered: &mut Self, dictionary: &Dictionary, rows: &[Row<'_>]) {
        for row in rows {
            let step = row.frame.step.0;
            let locals = (0..row.frame.n as usize).filter_map(|i| row.frame.pair_key(i));
            for key in locals.filter_map(|local| dictionary.key(local.0)) {
                let known = lowered.keys.get(&key).or_else(|| self.keys.get(&key));
                if known.is_none_or(|known| step < *known) {
                    lowered.keys.insert(key, step);
                }
            }
        }
    }

    /// The transaction is durable: these need not be written again.
    pub(crate) fn merge(&mut self, lowered: Self) {
        self.layouts.extend(lowered.layouts);
        self.keys.extend(lowered.keys);
    }
}

fn upsert(conn: &Connection, attempt: u32, key: u32, step: i64) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO firsts(attempt, key, step) VALUES(?1, ?2, ?3)
         ON CONFLICT(attempt, key) DO UPDATE SET step = excluded.step WHERE excluded.step < step",
    )?
    .execute(params![attempt, key, step])?;
    Ok(())
}
