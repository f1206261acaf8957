//! What whoever reads the lanes of this machine does besides reading: watch for the ends of producers, keep what is
//! only in memory short, share the room.

mod endwatch;
mod exposed;
mod heart;

use tm_spool::ProducerReader;

pub(crate) use endwatch::EndWatch;
pub(crate) use exposed::{Exposed, SYNC_AFTER, SYNC_SLOW};
pub(crate) use heart::{Heart, STUCK, Turns};

/// Divide what the lanes of a node may hold among the producers there.
pub(crate) fn share_grant<'a>(readers: impl Iterator<Item = &'a ProducerReader>, limit_bytes: u64) {
    let readers: Vec<&ProducerReader> = readers.collect();
    for reader in &readers {
        let sharers = u64::from(reader.info().local_world).max(readers.len() as u64);
        let share = limit_bytes / sharers.max(1);
        reader.control().set_grant_bytes(share.max(1));
    }
}
