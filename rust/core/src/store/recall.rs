//! What an earlier writer stored of those who still log: it tells their pace.

use std::collections::HashMap;

use rusqlite::params;
use tm_spool::clock;

use super::Store;
use super::error::StoreError;
use super::ints::decode_ints;
use super::registry::hex;

/// More groups than this from the end are not looked at: a start must not read a whole run.
const MOST_GROUPS: i64 = 4096;
/// Nor more calls, over all producers: 24 MiB, and half a minute of the fastest of them.
const MOST_CALLS: usize = 1 << 20;

/// One call: its boottime and its step.
pub(crate) type Call = (i64, i64);

impl Store {
    /// The calls since a boottime of those who have not ended, by the numbers of their rows, the oldest first. Only
    /// of this boot, as others count their time from elsewhere. Forked processes are left out.
    pub(crate) fn recent_calls(
        &self,
        since_ns: i64,
    ) -> Result<HashMap<i64, Vec<Call>>, StoreError> {
        let mut select = self.conn.prepare(
            "SELECT producer, n, steps, times FROM groups
             WHERE id > (SELECT coalesce(max(id), 0) FROM groups) - ?1 AND time_max >= ?2
                 AND producer IN (SELECT id FROM producers WHERE ended_ns IS NULL AND parent IS NULL
                                      AND boot_id = ?3 AND time_namespace = ?4)
             ORDER BY id DESC",
        )?;
        let (boot, namespace) = (hex(&clock::boot_id()), clock::time_namespace() as i64);
        let mut rows = select.query(params![MOST_GROUPS, since_ns, boot, namespace])?;
        let mut calls: HashMap<i64, Vec<Call>> = HashMap::new();
        let mut count = 0;
        while count < MOST_CALLS
            && let Some(row) = rows.next()?
        {
            let n: usize = row.get::<_, i64>(1)? as usize;
            let decoded = |at: usize| -> Result<Option<Vec<i64>>, StoreError> {
                Ok(decode_ints(row.get_ref(at)?.as_blob().unwrap_or_default(), n).ok())
            };
            // A damaged group is told by those who need its values.
            if let (Some(steps), Some(times)) = (decoded(2)?, decoded(3)?) {
                count += n;
                let of_producer = calls.entry(row.get(0)?).or_default();
                let recent = times.into_iter().zip(steps);
                of_producer.extend(recent.filter(|(time, _)| *time >= since_ns));
            }
        }
        calls.values_mut().for_each(|calls| calls.sort_unstable());
        Ok(calls)
    }
}
