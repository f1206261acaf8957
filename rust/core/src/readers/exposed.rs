//! How long bytes of a producer's lanes have been neither in the database nor on the disk.

use std::collections::VecDeque;
use std::io;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tm_spool::{LaneId, Lsn, ProducerReader, SyncDone};

/// Neither acknowledged nor synced for so long: put the lanes themselves on the disk.
pub(crate) const SYNC_AFTER: Duration = Duration::from_millis(400);
/// A sync, or a commit, that takes longer suspends the promise for power loss.
pub(crate) const SYNC_SLOW: Duration = Duration::from_millis(500);
/// Marks are set this often.
const MARK_EVERY: Duration = Duration::from_millis(100);

/// Remembers how far the lanes were written at a few moments of the last half second. One clock since the last
/// commit would not do: a reader that is behind commits all the time, and never what was just written.
#[derive(Debug)]
pub(crate) struct Exposed {
    /// Since when bytes below these positions may be in memory only, oldest first.
    marks: VecDeque<(Instant, Vec<(LaneId, Lsn)>)>,
    /// Everything written before this is below some mark, or safe.
    marked: Instant,
    /// `None`: no thread puts lanes on the disk.
    syncing: Option<Syncing>,
}

/// A thread that puts lanes on the disk, and what it makes safe.
#[derive(Debug)]
struct Syncing {
    marks: VecDeque<(Instant, Vec<(LaneId, Lsn)>)>,
    thread: JoinHandle<SyncDone>,
}

impl Exposed {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            marks: VecDeque::new(),
            marked: now,
            syncing: None,
        }
    }

    /// Look how far each lane is written and acknowledged. True: something is due to be synced.
    fn look(&mut self, now: Instant, lanes: impl Iterator<Item = (LaneId, Lsn, Lsn)>) -> bool {
        let lanes: Vec<(LaneId, Lsn, Lsn)> = lanes.collect();
        let acked = |lane: LaneId| {
            let of = lanes.iter().find(|known| known.0 == lane);
            of.map_or(Lsn(0), |(_, _, acked)| *acked)
        };
        while let Some((_, mark)) = self.marks.front()
            && mark.iter().all(|(lane, lsn)| *lsn <= acked(*lane))
        {
            self.marks.pop_front();
        }
        if lanes.iter().all(|(_, written, acked)| written <= acked) {
            self.marked = now;
        } else if now.saturating_duration_since(self.marked) >= MARK_EVERY {
            let written = lanes.iter().map(|(lane, written, _)| (*lane, *written));
            // What was written since the last mark may be as old as that.
            self.marks.push_back((self.marked, written.collect()));
            self.marked = now;
        }
        let oldest = self.marks.front().map(|(since, _)| *since);
        oldest.is_some_and(|since| now.saturating_duration_since(since) >= SYNC_AFTER)
    }

    /// Put the lanes on the disk when something in them has waited too long. Returns what people should know of that.
    pub(crate) fn sync_late(
        &mut self,
        reader: &mut ProducerReader,
        now: Instant,
    ) -> Option<String> {
        if !self.look(now, reader.progress()) {
            return None;
        }
        let began = Instant::now();
        let done = reader.sync_data();
        if done.is_ok() {
            self.synced(began);
        }
        told(reader, done)
    }

    /// The same in a thread, so that reading goes on meanwhile.
    pub(crate) fn sync_beside(
        &mut self,
        reader: &mut ProducerReader,
        now: Instant,
    ) -> Option<String> {
        let due = self.look(now, reader.progress());
        match self.syncing.take() {
            Some(syncing) if syncing.thread.is_finished() => self.end(reader, syncing),
            None if due => match self.begin(reader) {
                Ok(syncing) => {
                    self.syncing = Some(syncing);
                    None
                }
                Err(error) => told(reader, Err(error)),
            },
            other => {
                self.syncing = other;
                None
            }
        }
    }

    fn begin(&mut self, reader: &mut ProducerReader) -> io::Result<Syncing> {
        let began = Instant::now();
        let job = reader.sync_job()?;
        let thread = std::thread::Builder::new().name("tm-sync".into());
        let thread = thread.spawn(move || job.run())?;
        let marks = std::mem::take(&mut self.marks);
        self.synced(began);
        Ok(Syncing { marks, thread })
    }

    fn end(&mut self, reader: &mut ProducerReader, syncing: Syncing) -> Option<String> {
        let done = syncing.thread.join();
        let done = done.map_err(|_| io::Error::other("the thread for that has failed"));
        let done = done.and_then(|done| reader.synced(done));
        if done.is_err() {
            // They wait as long as before.
            self.marks = syncing
                .marks
                .into_iter()
                .chain(self.marks.drain(..))
                .collect();
        }
        told(reader, done)
    }

    /// Everything written before `began` is on the disk.
    fn synced(&mut self, began: Instant) {
        self.marks.clear();
        self.marked = began;
    }
}

/// Say how a sync went: to the trainer whether the promise holds, to people what they should know.
fn told(reader: &ProducerReader, done: io::Result<Duration>) -> Option<String> {
    match done {
        Ok(took) => {
            reader.control().set_sync_slow(took > SYNC_SLOW);
            let ms = took.as_millis();
            (took > SYNC_SLOW).then(|| {
                format!(
                    "putting the lanes on the disk took {ms} ms: until that is faster, a power cut may cost \
                     more than the last second"
                )
            })
        }
        Err(error) => Some(format!("cannot sync lanes: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: LaneId = LaneId(0);

    /// Milliseconds at which a sync is due while 1,000 bytes a millisecond are written for `millis`, and every
    /// 250 ms a commit acknowledges what was written `behind` milliseconds before it.
    fn syncs(millis: u64, behind: u64) -> Vec<u64> {
        let start = Instant::now();
        let (mut exposed, mut acked, mut due) = (Exposed::new(start), 0, Vec::new());
        for ms in 0..millis {
            if ms % 250 == 0 {
                acked = ms.saturating_sub(behind) * 1000;
            }
            let now = start + Duration::from_millis(ms);
            if exposed.look(now, [(LANE, Lsn(ms * 1000), Lsn(acked))].into_iter()) {
                due.push(ms);
                exposed.synced(now);
            }
        }
        due
    }

    #[test]
    fn a_reader_that_keeps_up_needs_no_syncs() {
        assert_eq!(syncs(10_000, 5), [0; 0]);
    }

    #[test]
    fn under_constant_logging_nothing_waits_longer_than_the_limit_though_commits_go_on() {
        let due = syncs(10_000, 600);
        let most = SYNC_AFTER.as_millis() as u64;
        let first = due.first().copied().unwrap();
        assert!(first <= most, "first after {first} ms");
        assert!(
            due.windows(2).all(|pair| pair[1] - pair[0] <= most),
            "{due:?}"
        );
        assert!(10_000 - due.last().unwrap() <= most);
    }

    #[test]
    fn bytes_written_while_we_were_held_up_are_synced_at_the_next_look() {
        let start = Instant::now();
        let mut exposed = Exposed::new(start);
        let at = |ms| start + Duration::from_millis(ms);
        assert!(!exposed.look(at(10), [(LANE, Lsn(8), Lsn(8))].into_iter()));
        assert!(exposed.look(at(900), [(LANE, Lsn(96), Lsn(8))].into_iter()));
        exposed.synced(at(900));
        assert!(!exposed.look(at(901), [(LANE, Lsn(96), Lsn(8))].into_iter()));
    }

    #[test]
    fn one_lane_that_is_far_ahead_does_not_hide_another() {
        let start = Instant::now();
        let mut exposed = Exposed::new(start);
        for ms in 0..=400 {
            let now = start + Duration::from_millis(ms);
            let far = (LaneId(1), Lsn(ms * 1000), Lsn(ms * 1000));
            let due = exposed.look(now, [(LANE, Lsn(64), Lsn(0)), far].into_iter());
            assert_eq!(due, ms == 400, "{ms}");
        }
    }
}
