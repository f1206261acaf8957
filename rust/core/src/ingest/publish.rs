//! Consistent copies of a live database for the run directory, made by a thread of their own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::home::Home;
use crate::live::{self, DATABASE_NAME};
use crate::store::{RunReader, StoreError};

/// So long after a copy was begun the next one may be at the soonest.
const SOONEST: Duration = Duration::from_secs(5);
/// Large databases take long: the thread rests so many times as long as it worked.
const REST: u32 = 19;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Publishes in the background. Dropping it ends the thread; a copy that was begun is given up.
#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    end: bool,
    /// `None`: the last copy was made.
    trouble: Option<String>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Plain assignments: whole after any panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publisher {
    /// # Errors
    /// No thread can be started.
    pub(super) fn start(home: Arc<Home>, run_dir: PathBuf) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let worker = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("tm-publish".into())
            .spawn(move || work(&worker, &home, &run_dir))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Why the last copy failed. `None`: it did not.
    pub(super) fn trouble(&self) -> Option<String> {
        self.shared.lock().trouble.clone()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.lock().end = true;
        self.shared.ended.notify_all();
        if let Some(thread) = self.thread.take() {
            // Ends within one step of a copy; its outcome no longer matters to anybody.
            drop(thread.join());
        }
    }
}

fn work(shared: &Shared, home: &Home, run_dir: &Path) {
    let mut published = None;
    let mut rest_until = Instant::now();
    loop {
        let state = shared.lock();
        let waited = shared.ended.wait_timeout(state, LOOK_EVERY);
        if waited.unwrap_or_else(PoisonError::into_inner).0.end {
            return;
        }
        let now = mark(&home.database());
        if now.is_none() || now == published || Instant::now() < rest_until {
            continue;
        }
        let began = Instant::now();
        let done = publish(home, run_dir, || !shared.lock().end);
        rest_until = rest_after(began, began.elapsed());
        if done.is_ok() {
            published = now;
        }
        let trouble = |error| format!("cannot copy the database into the run directory: {error}");
        shared.lock().trouble = done.err().map(trouble);
    }
}

fn rest_after(began: Instant, took: Duration) -> Instant {
    began + SOONEST.max(took * (REST + 1))
}

/// Changes with each commit: the times and sizes of the database and its log. `None`: there is no database.
fn mark(database: &Path) -> Option<[i64; 5]> {
    let main = fs::metadata(database).ok()?;
    let mut log = database.as_os_str().to_owned();
    log.push("-wal");
    let log = fs::metadata(PathBuf::from(log)).ok();
    let times = |m: &fs::Metadata| (m.mtime() << 30) | m.mtime_nsec();
    let sizes = |m: &fs::Metadata| i64::try_from(m.len()).unwrap_or(i64::MAX);
    Some([
        times(&main),
        sizes(&main),
        log.as_ref().map_or(0, times),
        log.as_ref().map_or(0, sizes),
        i64::try_from(main.ino()).unwrap_or(0),
    ])
}

/// Put a copy of what is durable now in the place of the one in the run directory. `go_on` may give it up.
pub(super) fn publish(
    home: &Home,
    run_dir: &Path,
    mut go_on: impl FnMut() -> bool,
) -> Result<(), StoreError> {
    let draft = run_dir.join(live::COPY_DRAFT);
    let failed = |action, path: &Path, source| StoreError::File {
        action,
        path: path.to_path_buf(),
        source,
    };
    let remove = |path: &Path| match fs::remove_file(path) {
        Err(error) if !live::is_missing(&error) => Err(failed("cannot remove", path, error)),
        _ => Ok(()),
    };
    remove(&draft)?;
    let reader = RunReader::open(&home.database())?;
    let copied = reader.backup(&draft, |_| go_on());
    // What has the name of the run directory now may be another run's.
    if matches!(copied, Ok(true)) && home.is_ours() {
        let to = run_dir.join(DATABASE_NAME);
        // Of a database that lay here before, or of somebody's look at one: it would be taken for the copy's log.
        for end in ["-wal", "-shm"] {
            remove(&run_dir.join(format!("{DATABASE_NAME}{end}")))?;
        }
        return fs::rename(&draft, &to)
            .and_then(|()| live::sync_names(run_dir))
            .map_err(|error| failed("cannot write", &to, error));
    }
    // Not whole, or not wanted.
    let _ = fs::remove_file(&draft);
    copied.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_take_at_most_a_twentieth_of_the_time() {
        let began = Instant::now();
        let rest = |secs| rest_after(began, Duration::from_secs_f64(secs)) - began;
        assert_eq!(rest(0.01), SOONEST);
        assert_eq!(rest(10.0), Duration::from_secs(200));
    }
}
