//! Ingest: one Rust thread that tails the lanes of a run and makes them durable in the database.

mod feed;
mod home;
mod pace;
mod publish;
mod remote;
mod shared;
mod silence;
mod sink;
mod tailed;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::readers::{Heart, STUCK};
use crate::stats::Alphas;
use crate::store::{BadLine, Store, StoreError, SystemLine};
use home::Home;
use publish::Publisher;
use remote::Hub;
pub use remote::{Answer, RelayStatus};
pub use shared::IngestStatus;
use shared::Shared;
pub use sink::Sink;
use worker::Worker;

/// How ingest works; the defaults are right for production.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Most bytes of overflow in the lanes of this node, over all its producers.
    pub node_limit_bytes: u64,
    /// How long frames wait for company before they are committed.
    pub commit_interval: Duration,
    /// A producer that logs nothing for so long has its open groups sealed.
    pub idle_seal: Duration,
    /// How fast the moving averages forget.
    pub alphas: Alphas,
    /// When nobody has logged for so long, and for much longer than usual, that is told.
    pub stuck_after: Duration,
    /// Go on from the copy in the run directory although another machine may hold more.
    pub from_copy: bool,
    /// How old what was stored before may be to teach the pace of those who still log.
    pub recovery_max_age: Duration,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            node_limit_bytes: 8 << 30,
            commit_interval: Duration::from_millis(250),
            idle_seal: Duration::from_secs(30),
            alphas: Alphas::default(),
            stuck_after: Duration::from_secs(900),
            from_copy: false,
            recovery_max_age: Duration::from_secs(3600),
        }
    }
}

/// The running ingest of one run. Dropping it stops the thread without draining: nothing is lost, the
/// lanes keep what is not durable.
#[derive(Debug)]
pub struct Ingest {
    shared: Arc<Shared>,
    hub: Arc<Hub>,
    thread: Option<JoinHandle<()>>,
    run_dir: PathBuf,
    home: Arc<Home>,
    /// `None`: the database lies in the run directory, or the last copy is being made.
    publisher: Option<Publisher>,
    /// Dropped last.
    _heart: Heart,
}

impl Ingest {
    /// Open (or make) the database of the run and start the thread.
    ///
    /// # Errors
    /// The database is not ours, of a newer version, on another machine, or cannot be written. A full disk is no
    /// error: ingest starts and waits for space.
    pub fn start(run_dir: &Path, options: IngestOptions) -> Result<Self, StoreError> {
        let home = Arc::new(Home::take(run_dir, options.alphas, options.from_copy)?);
        let database = home.database();
        let store = match Store::open(&database, options.alphas) {
            Ok(store) => Some(store),
            Err(StoreError::DiskFull) => None,
            Err(error) => return Err(error),
        };
        let shared = Arc::new(Shared::default());
        let name = run_dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let hub = Arc::new(Hub::new(name.unwrap_or_default()));
        let (at, meeting) = (
            run_dir.to_path_buf(),
            (Arc::clone(&shared), Arc::clone(&hub)),
        );
        let failed = |source| StoreError::File {
            action: "cannot start ingest for",
            path: database.clone(),
            source,
        };
        let worker = Worker::new(at, Arc::clone(&home), store, options, meeting);
        let heart = Heart::start(Arc::clone(&shared.turns)).map_err(failed)?;
        let thread = std::thread::Builder::new()
            .name("tm-ingest".into())
            .spawn(move || worker.run())
            .map_err(failed)?;
        let mut ingest = Self {
            shared,
            hub,
            thread: Some(thread),
            run_dir: run_dir.to_path_buf(),
            home: Arc::clone(&home),
            publisher: None,
            _heart: heart,
        };
        if home.has_copies() {
            let publisher = Publisher::start(home, run_dir.to_path_buf());
            ingest.publisher = Some(publisher.map_err(failed)?);
        }
        Ok(ingest)
    }

    /// How it goes. Cheap; updated a few times a second.
    #[must_use]
    pub fn status(&self) -> IngestStatus {
        let mut status = self.shared.status();
        if self
            .shared
            .turns
            .in_one_turn_for()
            .is_some_and(|turn| turn >= STUCK)
        {
            status.last_error.get_or_insert_with(|| {
                "nothing was brought home for a minute: the system does not answer, or a disk is very slow"
                    .into()
            });
        }
        if let Some(trouble) = self.publisher.as_ref().and_then(Publisher::trouble) {
            status.last_error.get_or_insert(trouble);
        }
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            status.ended = true;
            status
                .last_error
                .get_or_insert_with(|| "ingest has ended".into());
        }
        status
    }

    /// Ask the trainers of this run to stop; they see it at their next look.
    pub fn set_stop(&self, reason: &str) {
        self.shared.set_stop(reason);
    }

    /// Configs that became known since the last call, by attempt.
    #[must_use]
    pub fn configs(&self) -> Vec<(u32, String)> {
        self.shared.take_configs()
    }

    /// Store what the poller saw, with the next commit; `lines` are lines of JSON.
    ///
    /// # Errors
    /// A line is none of the poller's; the others are kept.
    pub fn add_system(&self, lines: &[u8]) -> Result<(), BadLine> {
        self.add_system_at(lines, 0)
    }

    /// As [`Ingest::add_system`], of a machine whose wall clock has to be corrected.
    fn add_system_at(&self, lines: &[u8], offset_ns: i64) -> Result<(), BadLine> {
        let written = lines.split(|byte| *byte == b'\n').filter(|l| !l.is_empty());
        let (mut good, mut bad) = (Vec::new(), None);
        for line in written {
            match SystemLine::parse(line) {
                Ok(line) => good.push(line.shifted(offset_ns)),
                Err(error) => bad = Some(error),
            }
        }
        self.shared.add_system(good);
        bad.map_or(Ok(()), Err)
    }

    /// A message of a relay came by the connection of this name. Harmless whatever it is.
    /// Returns how many bytes of lanes it brought.
    pub fn receive(&self, connection: &[u8], message: &[u8]) -> u64 {
        let brought = self.hub.receive(connection, message);
        for (lines, offset_ns) in self.hub.take_lines() {
            if self.add_system_at(&lines, offset_ns).is_err() {
                self.hub.tell("a relay sent what is no sample: left it out");
            }
        }
        brought
    }

    /// Messages to be sent, each with the name of its connection. To be asked for after messages came, and a few
    /// times a second.
    #[must_use]
    pub fn answers(&self) -> Vec<Answer> {
        self.hub.take_answers(Instant::now())
    }

    /// The relays that are connected.
    #[must_use]
    pub fn relays(&self) -> Vec<RelayStatus> {
        self.hub.relays()
    }

    /// What happened with relays since the last call, in words.
    #[must_use]
    pub fn relay_news(&self) -> Vec<String> {
        self.hub.take_news()
    }

    /// Drain what the lanes hold now, seal, checkpoint and close, within `patience`.
    ///
    /// # Errors
    /// The thread ended by a defect of ours. What could not be stored in time is no error: it is still
    /// in the lanes, and the status says so.
    pub fn finish(mut self, patience: Duration) -> Result<IngestStatus, StoreError> {
        let deadline = Instant::now() + patience;
        self.shared.finish_by(deadline);
        let Some(thread) = self.thread.take() else {
            return Ok(self.shared.status());
        };
        // The worker keeps the deadline by itself; the margin is for a system call that hangs.
        let margin = deadline + Duration::from_secs(1);
        while !thread.is_finished() && Instant::now() < margin {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !thread.is_finished() {
            return Ok(self.shared.status());
        }
        if thread.join().is_err() {
            return Err(StoreError::Unexpected(
                "the ingest thread ended by a defect".into(),
            ));
        }
        let mut status = self.shared.status();
        if let Err(error) = self.bring_home() {
            let dir = self.home.database();
            status.last_error.get_or_insert(format!(
                "the last state is not in the run directory, only in {}: {error}",
                dir.display()
            ));
        }
        Ok(status)
    }

    /// Publish the last state; then the live database may go.
    fn bring_home(&mut self) -> Result<(), StoreError> {
        self.publisher = None;
        if !self.home.has_copies() || !self.home.is_ours() {
            return Ok(());
        }
        publish::publish(&self.home, &self.run_dir, || true)?;
        self.home.leave()
    }
}

impl Drop for Ingest {
    fn drop(&mut self) {
        self.shared.abandon();
        if let Some(thread) = self.thread.take() {
            // Ends within one commit; its outcome no longer matters to anybody.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod heart_tests;
