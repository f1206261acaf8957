//! The relay of a node: reads the lanes there and hands their bytes, unchanged, to the monitor on another node.
//!
//! It is a machine without sockets: who drives it tells it of connections and messages, and takes out what is to be
//! sent. A lane's bytes stay in the lane until the monitor has said that they are in the database.

mod link;
mod producers;
mod report;
mod shipped;
mod unacked;

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tm_spool::{ProducerId, clock, sweep_gone};

use crate::readers::{Heart, Turns};
use crate::wire::{Message, Packed};
use link::Link;
pub use report::RelayReport;
use shipped::Shipped;

const FIND_EVERY: Duration = Duration::from_millis(500);
/// A trainer takes a heart that has not beaten for five seconds for dead.
const BEAT_EVERY: Duration = Duration::from_secs(1);
/// Samples of the machine that nobody takes: so many are kept.
const MOST_SAMPLES: usize = 3000;
/// Read at once, over all lanes: what was read is sent while the next is read.
const TURN_BYTES: u64 = 2 << 20;
/// Until the monitor has said how much may be on its way.
const FIRST_WINDOW: u64 = 256 << 10;

/// How a relay works.
#[derive(Debug, Clone)]
pub struct RelayOptions {
    /// The name that the run was started with.
    pub run: String,
    /// Most bytes of overflow in the lanes of this node.
    pub node_limit_bytes: u64,
    /// The version of the package.
    pub version: String,
    /// Somebody said which run it is: its name counts, whatever the job.
    pub by_name: bool,
}

/// The relay of one run on one node.
#[derive(Debug)]
pub struct Relay {
    run_dir: PathBuf,
    options: RelayOptions,
    id: ProducerId,
    link: Link,
    shipped: Vec<Shipped>,
    /// Directories that are done with but could not be deleted.
    finished: HashSet<PathBuf>,
    outgoing: VecDeque<Arc<Packed>>,
    /// Samples to be sent, numbered.
    samples: VecDeque<(u64, Vec<u8>)>,
    last_sample: u64,
    window_bytes: u64,
    sent_bytes: u64,
    found: Option<Instant>,
    beaten: Option<Instant>,
    trouble: Option<String>,
    /// Whose turn it is to say something.
    next: usize,
    turns: Arc<Turns>,
    /// Dropped last.
    _heart: Heart,
}

impl Relay {
    /// A relay for the lanes of a run that are on this machine.
    ///
    /// # Errors
    /// The kernel has no random bytes, or no thread.
    pub fn new(run_dir: &Path, options: RelayOptions) -> std::io::Result<Self> {
        let turns = Arc::new(Turns::default());
        let mut relay = Self {
            run_dir: run_dir.to_path_buf(),
            options,
            id: ProducerId::random()?,
            link: Link::default(),
            shipped: Vec::new(),
            finished: HashSet::new(),
            outgoing: VecDeque::new(),
            samples: VecDeque::new(),
            last_sample: 0,
            window_bytes: FIRST_WINDOW,
            sent_bytes: 0,
            found: None,
            beaten: None,
            trouble: None,
            next: 0,
            _heart: Heart::start(Arc::clone(&turns))?,
            turns,
        };
        if let Err(error) = sweep_gone(&relay.run_dir) {
            relay.trouble = Some(format!("cannot delete what is no longer needed: {error}"));
        }
        Ok(relay)
    }

    /// A connection was made: what is said now goes there.
    pub fn connected(&mut self) {
        self.disconnected();
        self.find();
        let mut jobs: Vec<String> = Vec::new();
        let told = if self.options.by_name {
            &[]
        } else {
            self.shipped.as_slice()
        };
        for shipped in told {
            let job = &shipped.reader.info().job_key;
            if !jobs.contains(job) {
                jobs.push(job.clone());
            }
        }
        let hello = Message::Hello {
            relay: self.id.0,
            host: clock::host_name(),
            run: self.options.run.clone(),
            jobs,
            version: self.options.version.clone(),
        };
        self.outgoing.push_back(Arc::new(hello.pack()));
        self.link.hello(Instant::now());
    }

    /// The connection is gone, and what was on its way may be lost.
    pub fn disconnected(&mut self) {
        self.link.down();
        self.outgoing.clear();
        self.shipped.iter_mut().for_each(Shipped::disconnected);
    }

    /// Whether the connection has to be made anew.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.link.is_broken(Instant::now())
    }

    /// A message of the monitor came.
    pub fn receive(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        let Some(message) = Message::decode(bytes) else {
            self.trouble = Some("what the monitor says is not understood here".into());
            return;
        };
        self.link.heard(now);
        match message {
            Message::Welcome { run, window_bytes } => {
                self.window_bytes = window_bytes;
                self.link.welcome(run);
            }
            Message::Refuse { reason } => self.link.refuse(reason),
            Message::Restart { reason } => {
                self.trouble = Some(format!("beginning again: {reason}"));
                self.link.restart();
            }
            Message::Pong { wall_ns, here_ns } => {
                self.link.pong(wall_ns, here_ns, clock::wall_ns())
            }
            Message::Resume {
                producer,
                received,
                durable,
                definitions,
            } => {
                let shipped = self.shipped.iter_mut().find(|s| s.id() == producer);
                let resumed = shipped.map(|s| s.resume(&received, &durable, definitions));
                self.note(resumed.and_then(Result::err));
            }
            Message::Marks {
                window_bytes,
                producers,
            } => {
                self.window_bytes = window_bytes;
                for told in producers {
                    let shipped = self.shipped.iter_mut().find(|s| s.id() == told.producer);
                    let noted = shipped.map(|s| s.acknowledge(&told));
                    self.note(noted.and_then(Result::err));
                }
            }
            Message::Done { producer } => self.remove(producer),
            // What only relays say.
            _ => {}
        }
    }

    /// Samples of this machine, lines of JSON; they are sent when there is a connection.
    pub fn add_samples(&mut self, lines: &[u8]) {
        self.last_sample += 1;
        self.samples.push_back((self.last_sample, lines.to_vec()));
        if self.samples.len() > MOST_SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Look after the lanes: find producers, say that we live, read what there is room for, keep it on the disk.
    /// Returns the bytes read.
    pub fn turn(&mut self) -> u64 {
        self.turns.turn();
        let now = Instant::now();
        let is_due = |last: Option<Instant>, every| {
            last.is_none_or(|at| now.saturating_duration_since(at) >= every)
        };
        if is_due(self.found, FIND_EVERY) {
            self.find();
        }
        if is_due(self.beaten, BEAT_EVERY) {
            self.beaten = Some(now);
            for shipped in &mut self.shipped {
                shipped.reader.control().beat();
                shipped.watch(now);
            }
        }
        let got = self.read(now);
        self.sync_late(now);
        self.say(now);
        got
    }

    fn read(&mut self, now: Instant) -> u64 {
        let mut in_flight: u64 = self.shipped.iter().map(Shipped::in_flight).sum();
        let (mut got, mut trouble) = (0, None);
        let share = TURN_BYTES / (self.shipped.len() as u64).max(1);
        for shipped in &mut self.shipped {
            let room = self.window_bytes.saturating_sub(in_flight).min(share);
            match shipped.read(now, room) {
                Ok(bytes) => {
                    in_flight += bytes;
                    got += bytes;
                }
                Err(error) => trouble = Some(error),
            }
        }
        self.note(trouble);
        got
    }

    /// Queue what is said now and then: announcements, pings, samples.
    fn say(&mut self, now: Instant) {
        if !self.link.is_up() {
            return;
        }
        if self.link.is_ping_due(now) {
            let wall_ns = clock::wall_ns();
            self.outgoing
                .push_back(Arc::new(Message::Ping { wall_ns }.pack()));
        }
        // Its times are only of use with the offset of our clock.
        let Some(clock) = self.link.clock() else {
            return;
        };
        for shipped in &mut self.shipped {
            if let Some(message) = shipped.announce(now, clock) {
                self.outgoing.push_back(Arc::new(message.pack()));
            }
        }
        for (number, lines) in self.samples.drain(..) {
            let samples = Message::Samples {
                number,
                clock_offset_ns: clock.0,
                lines,
            };
            self.outgoing.push_back(Arc::new(samples.pack()));
        }
    }

    /// The next message to be sent. `None`: there is nothing to say.
    pub fn next_message(&mut self) -> Option<Arc<Packed>> {
        if let Some(message) = self.outgoing.pop_front() {
            self.sent_bytes += message.size_bytes() as u64;
            return Some(message);
        }
        if !self.link.is_up() {
            return None;
        }
        let now = Instant::now();
        // In turn, so that one that logs a lot does not silence the others.
        for _ in 0..self.shipped.len() {
            self.next = (self.next + 1) % self.shipped.len().max(1);
            let said = self.shipped.get_mut(self.next).map(|s| s.next(now));
            match said {
                Some(Ok(Some(message))) => {
                    self.sent_bytes += message.size_bytes() as u64;
                    return Some(message);
                }
                Some(Err(error)) => {
                    self.trouble = Some(format!("cannot read a dictionary: {error}"))
                }
                _ => {}
            }
        }
        None
    }

    /// We leave, and everything is done.
    #[must_use]
    pub fn bye(&self) -> Vec<u8> {
        Message::Bye.encode()
    }

    /// The lanes are the only copy for as long as the monitor is out of reach: put them on the disk.
    fn sync_late(&mut self, now: Instant) {
        for shipped in &mut self.shipped {
            let trouble = shipped.exposed.sync_beside(&mut shipped.reader, now);
            self.trouble = trouble.or(self.trouble.take());
        }
    }

    fn note(&mut self, error: Option<tm_spool::ReadError>) {
        if let Some(error) = error {
            self.trouble = Some(error.to_string());
        }
    }

    /// What went wrong last, once. `None`: nothing has since the last call.
    pub fn take_trouble(&mut self) -> Option<String> {
        self.trouble.take()
    }
}
