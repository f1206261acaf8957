//! Where the messages of relays arrive, and where ingest reads them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tm_spool::{ProducerId, ProducerInfo, clock};

use super::inbox::{Hole, Inbox, Piece, Taken};
use super::peers::{Peers, RelayStatus};
use crate::wire::Message;

/// How far the producers are is repeated so often, whatever happens.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// What one relay may have on its way at the very most: its window and the largest call.
const MOST_QUEUED: u64 = 256 << 20;
/// Answers that nobody fetches are no reason to fill memory.
const MOST_ANSWERS: usize = 65_536;

/// A message for the connection with this name.
pub type Answer = (Vec<u8>, Vec<u8>);

/// The meeting place of relays and ingest; one lock, never held over I/O.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    run: String,
    /// Job keys that logged into this run.
    jobs: HashSet<String>,
    peers: Peers,
    pub(super) inboxes: HashMap<ProducerId, Inbox>,
    answers: VecDeque<Answer>,
    /// Lines of samples that came, with what to add to their times.
    lines: Vec<(Vec<u8>, i64)>,
    news: Vec<String>,
    /// What was said once, and needs not be said again.
    told: HashSet<String>,
}

impl Hub {
    pub(crate) fn new(run: String) -> Self {
        let state = State {
            run,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Whoever panicked, did so between whole changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A message came by a connection.
    /// Returns how many bytes of lanes it brought.
    pub(crate) fn receive(&self, connection: &[u8], bytes: &[u8]) -> u64 {
        let Some(message) = Message::decode(bytes) else {
            self.tell("what came by the port is no message of a relay: left it out");
            return 0;
        };
        let brought = match &message {
            Message::Frames { bytes, .. } => bytes.len() as u64,
            _ => 0,
        };
        self.lock().receive(connection, message);
        brought
    }

    /// What is to be sent.
    pub(crate) fn take_answers(&self, now: Instant) -> Vec<Answer> {
        let mut state = self.lock();
        state.peers.forget_silent(now);
        state.tell_marks(now);
        state.answers.drain(..).collect()
    }

    /// Samples of other machines that came since the last call.
    pub(crate) fn take_lines(&self) -> Vec<(Vec<u8>, i64)> {
        std::mem::take(&mut self.lock().lines)
    }

    /// What people may want to know, since the last call.
    pub(crate) fn take_news(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().news)
    }

    /// Say something to people, once.
    pub(crate) fn tell(&self, news: &str) {
        let mut state = self.lock();
        if !state.told.contains(news) {
            state.told.insert(news.to_owned());
            state.news.push(news.to_owned());
        }
    }

    /// The relays that are connected.
    pub(crate) fn relays(&self) -> Vec<RelayStatus> {
        let state = self.lock();
        let now = Instant::now();
        let peers = state.peers.by_connection.iter();
        let mut relays: Vec<RelayStatus> = peers
            .map(|(connection, peer)| {
                let inboxes = state.inboxes.values().filter(|i| i.peer == *connection);
                RelayStatus {
                    host: peer.host.clone(),
                    silent_s: now.saturating_duration_since(peer.heard).as_secs_f64(),
                    producers: inboxes.clone().count() as u32,
                    backlog_bytes: inboxes.map(|inbox| inbox.state.backlog_bytes).sum(),
                }
            })
            .collect();
        relays.sort_by(|a, b| a.host.cmp(&b.host));
        relays
    }

    /// A job logs into this run: relays with its producers are welcome.
    pub(crate) fn know_job(&self, job_key: &str) {
        let mut state = self.lock();
        if !state.jobs.contains(job_key) {
            state.jobs.insert(job_key.to_owned());
        }
    }

    /// Producers that were announced and that ingest has not opened, in the order of their start.
    pub(crate) fn unopened(&self) -> Vec<ProducerId> {
        let state = self.lock();
        let inboxes = state.inboxes.values().filter(|inbox| !inbox.open);
        let mut infos: Vec<&ProducerInfo> = inboxes.map(|inbox| &inbox.info).collect();
        infos.sort_by_key(|info| (info.wall_ns, info.rank));
        infos.into_iter().map(|info| info.id).collect()
    }

    /// Ingest takes a producer on: its lanes stand at these marks.
    pub(crate) fn open(&self, id: ProducerId, marks: &HashMap<u8, u64>, points: u64) {
        let mut state = self.lock();
        let State {
            inboxes, answers, ..
        } = &mut *state;
        if let Some(inbox) = inboxes.get_mut(&id) {
            inbox.start(marks, points);
            answers.push_back((inbox.peer.clone(), inbox.resume().encode()));
        }
    }

    /// Everything of a producer that ended is durable.
    pub(crate) fn finish(&self, id: ProducerId) {
        let mut state = self.lock();
        if let Some(inbox) = state.inboxes.remove(&id) {
            let done = Message::Done { producer: id };
            state.answers.push_back((inbox.peer, done.encode()));
        }
    }

    /// Ingest lost what it had read of a producer: its relay has to begin again.
    pub(crate) fn forget(&self, id: ProducerId) {
        let mut state = self.lock();
        if let Some(inbox) = state.inboxes.remove(&id) {
            state.restart(&inbox.peer, "the database has to be opened again");
        }
    }

    /// Look at, or change, the inbox of a producer. `None`: there is none any more.
    pub(super) fn with<T>(&self, id: ProducerId, look: impl FnOnce(&mut Inbox) -> T) -> Option<T> {
        self.lock().inboxes.get_mut(&id).map(look)
    }

    /// Whether the relay of a producer is connected.
    pub(super) fn is_heard(&self, id: ProducerId) -> bool {
        let state = self.lock();
        let inbox = state.inboxes.get(&id);
        inbox.is_some_and(|inbox| state.peers.by_connection.contains_key(&inbox.peer))
    }
}

impl State {
    fn answer(&mut self, connection: &[u8], message: &Message) {
        if self.answers.len() < MOST_ANSWERS {
            self.answers
                .push_back((connection.to_vec(), message.encode()));
        }
    }

    fn restart(&mut self, connection: &[u8], reason: &str) {
        if let Some(peer) = self.peers.by_connection.remove(connection) {
            let news = format!("the relay of {} has to begin again: {reason}", peer.host);
            self.news.push(news);
        }
        let reason = reason.to_owned();
        self.answer(connection, &Message::Restart { reason });
    }

    fn receive(&mut self, connection: &[u8], message: Message) {
        if let Message::Hello {
            relay,
            host,
            run,
            jobs,
            version,
        } = message
        {
            self.welcome(connection, relay, &host, &run, &jobs, &version);
            return;
        }
        match self.peers.by_connection.get_mut(connection) {
            Some(peer) => peer.heard = Instant::now(),
            // A connection that broke and came back is a new one: what was on its way is lost.
            None => return self.restart(connection, "say hello first"),
        }
        match message {
            Message::Announce(announced) => {
                let id = announced.info.id;
                let inbox = self.inboxes.entry(id);
                let inbox = inbox.or_insert_with(|| Inbox::new(announced, connection.to_vec()));
                inbox.peer = connection.to_vec();
                if inbox.open {
                    let resume = inbox.resume();
                    self.answer(connection, &resume);
                }
            }
            Message::State { producer, state } => {
                if let Some(inbox) = self.inbox_of(producer, connection) {
                    inbox.state = state;
                }
            }
            Message::Samples {
                number,
                clock_offset_ns,
                lines,
            } => {
                if self.peers.are_new(connection, number) {
                    self.lines.push((lines, clock_offset_ns));
                }
            }
            Message::Ping { wall_ns } => {
                let here_ns = clock::wall_ns();
                self.answer(connection, &Message::Pong { wall_ns, here_ns });
            }
            Message::Bye => {
                if let Some(peer) = self.peers.by_connection.remove(connection) {
                    self.news
                        .push(format!("the relay of {} has left", peer.host));
                }
            }
            other => self.take(connection, other),
        }
    }

    /// What stands in the stream of a producer.
    fn take(&mut self, connection: &[u8], message: Message) {
        let taken = match message {
            Message::Define {
                producer,
                first,
                records,
            } => self
                .open_inbox(producer, connection)
                .map(|inbox| inbox.define(first, &records)),
            Message::Frames {
                producer,
                lane,
                prev,
                first,
                end,
                bytes,
            } => self.open_inbox(producer, connection).map(|inbox| {
                inbox.frames(Piece {
                    lane,
                    prev,
                    first,
                    end,
                    bytes,
                })
            }),
            Message::Gap {
                producer,
                lane,
                first,
                end,
                frames_lost,
                reason,
            } => self.open_inbox(producer, connection).map(|inbox| {
                inbox.hole(&Hole {
                    lane,
                    first,
                    end,
                    frames_lost,
                    reason,
                })
            }),
            _ => return self.restart(connection, "that is a message of the monitor"),
        };
        match taken {
            // The relay of a defect, or of somebody else's hand, must not fill our memory.
            Some(Taken::Yes) if self.queued_bytes(connection) > MOST_QUEUED => {
                self.restart(connection, "more than the window is on its way");
            }
            Some(Taken::Yes | Taken::Known) => {}
            Some(Taken::No(why)) => self.restart(connection, why),
            None => self.restart(connection, "announce the producer first"),
        }
    }

    fn queued_bytes(&self, connection: &[u8]) -> u64 {
        let its = self.inboxes.values().filter(|i| i.peer == connection);
        its.map(|inbox| inbox.queued_bytes).sum()
    }

    fn inbox_of(&mut self, id: ProducerId, connection: &[u8]) -> Option<&mut Inbox> {
        let inbox = self.inboxes.get_mut(&id);
        inbox.filter(|inbox| inbox.peer == connection)
    }

    fn open_inbox(&mut self, id: ProducerId, connection: &[u8]) -> Option<&mut Inbox> {
        self.inbox_of(id, connection).filter(|inbox| inbox.open)
    }

    fn welcome(
        &mut self,
        connection: &[u8],
        relay: [u8; 16],
        host: &str,
        run: &str,
        jobs: &[String],
        version: &str,
    ) {
        // Two jobs may have one name. It counts where there is nothing better.
        let ours = if jobs.is_empty() || self.jobs.is_empty() {
            is_named(&self.run, run)
        } else {
            jobs.iter().any(|job| self.jobs.contains(job))
        };
        if !ours {
            let reason = format!("this is the monitor of run {:?}, not of {run:?}", self.run);
            self.answer(connection, &Message::Refuse { reason });
            return;
        }
        let known = self.peers.by_connection.values();
        if !known.into_iter().any(|peer| peer.relay == relay) {
            self.news
                .push(format!("a relay of {host} is connected, version {version}"));
        }
        self.peers
            .admit(connection.to_vec(), relay, host.to_owned());
        let welcome = Message::Welcome {
            run: self.run.clone(),
            window_bytes: self.peers.window_bytes(),
        };
        self.answer(connection, &welcome);
    }

    /// Tell each relay how far its producers are: all of them, at every change and once a second.
    fn tell_marks(&mut self, now: Instant) {
        let window_bytes = self.peers.window_bytes();
        let mut changed: HashSet<Vec<u8>> = HashSet::new();
        for inbox in self.inboxes.values_mut() {
            if std::mem::take(&mut inbox.untold) {
                changed.insert(inbox.peer.clone());
            }
        }
        let mut told = Vec::new();
        for (connection, peer) in &mut self.peers.by_connection {
            let rested = peer
                .told
                .is_none_or(|at| now.saturating_duration_since(at) >= TELL_EVERY);
            if rested || changed.contains(connection) {
                peer.told = Some(now);
                told.push(connection.clone());
            }
        }
        for connection in told {
            let inboxes = self.inboxes.values();
            let its = inboxes.filter(|inbox| inbox.open && inbox.peer == connection);
            let marks = Message::Marks {
                window_bytes,
                producers: its.map(Inbox::told).collect(),
            };
            self.answer(&connection, &marks);
        }
    }
}

/// Whether a run may be the one that somebody knows by this name: a suffix tells jobs of one name apart.
fn is_named(run: &str, name: &str) -> bool {
    let rest = run.strip_prefix(name);
    rest.is_some_and(|rest| {
        let number = rest.strip_prefix('-');
        rest.is_empty()
            || number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    })
}
