//! All points that are not sealed yet, by key, gathered in one pass.

use std::collections::HashMap;

use super::points::Points;
use super::{Origins, RunReader};
use crate::store::error::StoreError;

impl RunReader {
    /// Gather every fresh point; there are few, because a full layout is sealed.
    pub(super) fn fresh_points(
        &self,
        origins: &Origins,
    ) -> Result<HashMap<u32, Points>, StoreError> {
        let mut found: HashMap<u32, Points> = HashMap::new();
        self.visit_fresh(&self.conn, |producer, dictionary, scan| {
            let Some(origin) = origins.index(producer) else {
                return Ok(());
            };
            for (layout, rows) in scan.layouts() {
                let keys = layout.and_then(|id| dictionary.layout(id));
                for row in rows {
                    for at in 0..row.frame.n as usize {
                        let local = || row.frame.pair_key(at);
                        let key = match keys {
                            Some(keys) => keys.get(at).copied(),
                            None => local().and_then(|local| dictionary.key(local.0)),
                        };
                        if let Some(key) = key {
                            found.entry(key).or_default().push_row(row, at, origin);
                        }
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}
