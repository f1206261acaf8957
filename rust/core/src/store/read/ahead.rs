//! Decoding groups of one key, on a second core once there are many: SQLite reads the next meanwhile.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, available_parallelism};

use rusqlite::Connection;

use super::points::Points;
use crate::store::checked::damaged;
use crate::store::columns::Column;
use crate::store::error::StoreError;
use crate::store::ints::decode_ints;
use crate::store::numbers::ColumnError;

/// Fewer groups are not worth a thread.
const ALONE: usize = 32;
/// Groups that wait for the second core at most.
const WAITING: usize = 64;

/// One key in one group, as it is stored.
pub(super) struct Packed {
    /// The number of its row among the columns.
    pub id: i64,
    pub origin: u32,
    pub key: u32,
    pub group: i64,
    pub n: usize,
    pub steps: Vec<u8>,
    pub times: Vec<u8>,
    pub data: Vec<u8>,
}

struct Unpacked {
    id: i64,
    origin: u32,
    steps: Vec<i64>,
    times: Vec<i64>,
    column: Column,
}

/// A group, or why there is none: the key and the group that are damaged.
pub(super) struct Decoded(Result<Unpacked, (u32, i64, ColumnError)>);

impl Packed {
    pub(super) fn unpack(&self) -> Decoded {
        Decoded(self.decode().map_err(|error| (self.key, self.group, error)))
    }

    fn decode(&self) -> Result<Unpacked, ColumnError> {
        Ok(Unpacked {
            id: self.id,
            origin: self.origin,
            steps: decode_ints(&self.steps, self.n)?,
            times: decode_ints(&self.times, self.n)?,
            column: Column::decode(&self.data, self.n)?,
        })
    }
}

impl Decoded {
    pub(super) fn push_to(self, conn: &Connection, points: &mut Points) -> Result<(), StoreError> {
        let group = self
            .0
            .map_err(|(key, group, error)| damaged(conn, key, group, &error))?;
        let rows = (group.steps.as_slice(), group.times.as_slice());
        points.push_group(group.origin, rows, (group.id, group.column))
    }
}

/// Who decodes: the caller at first, then a thread.
#[derive(Default)]
pub(super) struct Ahead {
    alone: usize,
    /// `None`: there are few groups so far, or one core.
    worker: Option<Worker>,
}

impl Ahead {
    /// Who takes the next group. `None`: the caller decodes it.
    pub(super) fn worker<'s>(&mut self, scope: &'s Scope<'s, '_>) -> Option<&mut Worker> {
        self.alone += 1;
        let cores = || available_parallelism().map_or(1, usize::from);
        if self.alone == ALONE && cores() > 1 {
            self.worker = Worker::start(scope);
        }
        self.worker.as_mut()
    }

    /// Wait for what is on the way.
    pub(super) fn finish(self, conn: &Connection, points: &mut Points) -> Result<(), StoreError> {
        let Some(worker) = self.worker else {
            return Ok(());
        };
        drop(worker.packed);
        for unpacked in worker.unpacked {
            unpacked.push_to(conn, points)?;
        }
        Ok(())
    }
}

/// A thread that decodes groups in the order in which it gets them.
pub(super) struct Worker {
    packed: SyncSender<Packed>,
    unpacked: Receiver<Decoded>,
}

impl Worker {
    /// `None`: the system gives no thread.
    fn start<'s>(scope: &'s Scope<'s, '_>) -> Option<Self> {
        let (packed, todo): (_, Receiver<Packed>) = sync_channel(WAITING);
        let (done, unpacked): (Sender<_>, _) = channel();
        let decode = move || {
            for packed in todo {
                if done.send(packed.unpack()).is_err() {
                    // Nobody takes them any more: the reading has failed.
                    return;
                }
            }
        };
        let spawned = Builder::new().spawn_scoped(scope, decode);
        spawned.is_ok().then_some(Self { packed, unpacked })
    }

    /// Hand over a group, and take what is decoded by now.
    pub(super) fn give(
        &mut self,
        conn: &Connection,
        packed: Packed,
        points: &mut Points,
    ) -> Result<(), StoreError> {
        if self.packed.send(packed).is_err() {
            return Err(StoreError::Unexpected("decoding has ended".into()));
        }
        for unpacked in self.unpacked.try_iter() {
            unpacked.push_to(conn, points)?;
        }
        Ok(())
    }
}
