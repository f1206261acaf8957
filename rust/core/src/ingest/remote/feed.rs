//! A producer on another machine, as ingest reads it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tm_spool::{
    DictTail, GapRange, LaneId, Life, Lsn, ProducerId, ProducerInfo, ProducerReader, ProducerStats,
    Read, ReadError, clock,
};

use super::hub::Hub;
use super::inbox::Clock;
use crate::ingest::feed::Feed;
use crate::store::Exit;

/// A producer whose relay was not heard for so long may have ended: nobody waits for it any longer.
const UNHEARD_FOR: Duration = Duration::from_secs(600);

/// The half of an inbox that ingest holds. Dropped before its end, its relay begins again.
#[derive(Debug)]
pub(crate) struct Remote {
    hub: Arc<Hub>,
    id: ProducerId,
    info: ProducerInfo,
    boot_shift_ns: i64,
    /// When its relay was last seen to be connected.
    heard: Instant,
}

impl Remote {
    /// `None`: it is not there any more.
    pub(crate) fn new(hub: &Arc<Hub>, id: ProducerId) -> Option<Self> {
        let info = hub.with(id, |inbox| inbox.info.clone())?;
        let there_ns = info.wall_ns.saturating_sub(info.boottime_ns);
        let here_ns = clock::wall_ns().saturating_sub(clock::boottime_ns());
        Some(Self {
            hub: Arc::clone(hub),
            id,
            boot_shift_ns: there_ns.saturating_sub(here_ns),
            info,
            heard: Instant::now(),
        })
    }

    fn with<T: Default>(&self, look: impl FnOnce(&mut super::inbox::Inbox) -> T) -> T {
        self.hub.with(self.id, look).unwrap_or_default()
    }
}

impl Feed for Remote {
    fn clock(&self) -> Option<Clock> {
        self.hub.with(self.id, |inbox| inbox.clock)
    }

    fn info(&self) -> &ProducerInfo {
        &self.info
    }

    fn life(&mut self) -> Life {
        if self.hub.is_heard(self.id) {
            self.heard = Instant::now();
        }
        let life = self.hub.with(self.id, |inbox| inbox.state.life);
        match life {
            Some(Life::Alive) if self.heard.elapsed() > UNHEARD_FOR => Life::Dead,
            other => other.unwrap_or(Life::Dead),
        }
    }

    fn lanes(&mut self) -> Vec<LaneId> {
        self.with(|inbox| inbox.received.keys().map(|lane| LaneId(*lane)).collect())
    }

    fn set_mark(&mut self, _: LaneId, _: Lsn) -> Result<Option<GapRange>, ReadError> {
        // Its relay was told when it was opened, and says itself what is missing there.
        Ok(None)
    }

    fn read(&mut self, lane: LaneId, _: usize) -> Result<Read, ReadError> {
        Ok(self.with(|inbox| inbox.pop(lane)))
    }

    fn acknowledge(&mut self, lane: LaneId, upto: Lsn) -> Result<(), ReadError> {
        self.with(|inbox| {
            let mark = inbox.durable.entry(lane.0).or_default();
            if upto.0 > *mark {
                *mark = upto.0;
                inbox.untold = true;
            }
        });
        Ok(())
    }

    fn dictionary(&mut self) -> Result<DictTail, ReadError> {
        Ok(self.with(|inbox| std::mem::take(&mut inbox.tail)))
    }

    fn has_next(&self) -> bool {
        self.with(|inbox| inbox.has_next())
    }

    fn drained(&mut self) -> Result<bool, ReadError> {
        Ok(self.with(|inbox| inbox.state.drained && !inbox.has_next()))
    }

    fn stats(&self) -> ProducerStats {
        self.with(|inbox| inbox.state.stats())
    }

    fn last_step(&self) -> Option<i64> {
        self.with(|inbox| Some(inbox.state.last_step).filter(|step| *step >= 0))
    }

    fn watch(&mut self, _: Instant) {}

    fn exit(&mut self, _: Instant, _: bool) -> Option<Exit> {
        let told = self.with(|inbox| inbox.state.exit.clone());
        let status = told.as_ref().and_then(|exit| exit.status);
        Some(Exit {
            status: status.map(|raw| ExitStatus::from_raw(raw as i32)),
            oom_kills: told.and_then(|exit| exit.oom_kills),
            last_step: self.last_step(),
        })
    }

    fn fill(&self, lane: LaneId) -> Option<(u64, u64)> {
        let waiting = self.with(|inbox| inbox.waiting(lane.0));
        Some((waiting, ROOM_BYTES))
    }

    fn backlog_bytes(&self) -> u64 {
        self.with(|inbox| {
            let lanes: BTreeMap<u8, u64> = inbox.received.clone();
            let here: u64 = lanes.keys().map(|lane| inbox.waiting(*lane)).sum();
            here.max(inbox.state.backlog_bytes)
        })
    }

    fn stop(&self, reason: &str) {
        self.with(|inbox| {
            inbox.stop = Some(reason.to_owned());
            inbox.untold = true;
        });
    }

    fn open(&self, marks: &HashMap<u8, u64>, points: u64) {
        self.hub.open(self.id, marks, points);
    }

    fn set_durable_points(&self, points: u64) {
        self.with(|inbox| {
            inbox.untold |= inbox.points != points;
            inbox.points = points;
        });
    }

    fn boot_shift_ns(&self) -> i64 {
        self.boot_shift_ns
    }

    fn local(&self) -> Option<&ProducerReader> {
        None
    }

    fn local_mut(&mut self) -> Option<&mut ProducerReader> {
        None
    }

    fn into_local(self: Box<Self>) -> Option<ProducerReader> {
        None
    }

    fn remove(self: Box<Self>, _: &Path) -> io::Result<()> {
        self.hub.finish(self.id);
        Ok(())
    }
}

/// From a quarter of this on nothing waits for company: its relay may not send more for long.
const ROOM_BYTES: u64 = 8 << 20;

impl Drop for Remote {
    fn drop(&mut self) {
        self.hub.forget(self.id);
    }
}
