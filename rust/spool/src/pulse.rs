//! The heartbeat of one producer's monitor, for a thread that is not the one that reads its lanes.

use std::sync::{Arc, Weak};

use crate::meta::Meta;

/// Beats for a producer as long as its reader is there.
#[derive(Clone, Debug)]
pub struct Pulse {
    meta: Weak<Meta>,
}

impl Pulse {
    pub(crate) fn of(meta: &Arc<Meta>) -> Self {
        Self {
            meta: Arc::downgrade(meta),
        }
    }

    /// Say that the monitor lives. False: nobody reads this producer any more.
    pub fn beat(&self) -> bool {
        let meta = self.meta.upgrade();
        meta.is_some_and(|meta| {
            meta.control().beat();
            true
        })
    }
}
