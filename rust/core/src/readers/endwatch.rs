//! How the process of a producer ended, and whether the kernel killed for memory just before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tm_spool::{ProcessEnd, ProducerReader};

use crate::store::Exit;

/// Between the end of the lock that proves life and the word of the kernel lie milliseconds, more while a core
/// is dumped.
const PATIENCE: Duration = Duration::from_secs(2);

/// A kill of the kernel within so long before a death is taken for its cause.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Watches one producer for its end.
#[derive(Debug)]
pub(crate) struct EndWatch {
    kills: OomKills,
    looked: Instant,
    /// When it was first seen dead. `None`: it lives.
    noticed: Option<Instant>,
}

impl EndWatch {
    pub(crate) fn new(pid: u32) -> Self {
        Self {
            kills: OomKills::of(pid, Path::new("/proc"), Path::new("/sys/fs/cgroup")),
            looked: Instant::now(),
            noticed: None,
        }
    }

    /// It lives: what the kernel killed so far was not it.
    pub(crate) fn look(&mut self, now: Instant) {
        if now.duration_since(self.looked) >= LOOK_EVERY {
            self.looked = now;
            self.kills.look();
        }
    }

    /// How it ended, all that will be known of it. `None`: the kernel has not said it yet; ask again.
    pub(crate) fn exit(
        &mut self,
        reader: &ProducerReader,
        now: Instant,
        at_once: bool,
    ) -> Option<Exit> {
        let noticed = *self.noticed.get_or_insert(now);
        let status = match reader.process_end() {
            ProcessEnd::NotYet if !at_once && now.duration_since(noticed) < PATIENCE => {
                return None;
            }
            ProcessEnd::NotYet | ProcessEnd::Unknown => None,
            ProcessEnd::Status(status) => Some(status),
        };
        Some(Exit {
            status,
            oom_kills: status.and_then(|_| self.kills.since()),
            last_step: reader.last_step(),
        })
    }
}

/// The kernel's count of processes it killed for want of memory in the cgroup of a process. The count of the whole
/// machine says nothing about one of them.
#[derive(Debug)]
struct OomKills {
    /// `None`: there is no such count.
    counter: Option<Counter>,
}

/// A file with a line "oom_kill N", and N at the last look.
#[derive(Debug)]
struct Counter {
    path: PathBuf,
    before: u64,
}

impl Counter {
    /// `None`: there is no such file, or it has no such line.
    fn new(path: PathBuf) -> Option<Self> {
        let before = count(&path)?;
        Some(Self { path, before })
    }
}

fn count(path: &Path) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = |line: &str| line.strip_prefix("oom_kill ")?.trim().parse().ok();
    text.lines().find_map(value)
}

impl OomKills {
    fn of(pid: u32, proc: &Path, cgroups: &Path) -> Self {
        let own = fs::read_to_string(proc.join(format!("{pid}/cgroup"))).unwrap_or_default();
        let mut places = own.lines().filter_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, path) = rest.split_once(':')?;
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                return nearest(cgroups, path);
            }
            let is_memory = controllers.split(',').any(|name| name == "memory");
            is_memory
                .then(|| Counter::new(cgroups.join("memory").join(path).join("memory.oom_control")))
                .flatten()
        });
        Self {
            counter: places.next(),
        }
    }

    fn look(&mut self) {
        if let Some(counter) = &mut self.counter {
            counter.before = count(&counter.path).unwrap_or(counter.before);
        }
    }

    /// How many were killed since the last look. `None`: not known, the cgroup may be gone.
    fn since(&self) -> Option<u64> {
        let counter = self.counter.as_ref()?;
        Some(count(&counter.path)?.saturating_sub(counter.before))
    }
}

/// The nearest cgroup, from this one up, that counts.
fn nearest(cgroups: &Path, path: &str) -> Option<Counter> {
    let mut at = cgroups.join(path);
    while at.starts_with(cgroups) {
        if let Some(counter) = Counter::new(at.join("memory.events")) {
            return Some(counter);
        }
        at = at.parent()?.to_path_buf();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn kills_are_those_of_the_own_cgroup_since_the_last_look() {
        let root = tempfile::tempdir().unwrap();
        let (proc, cgroups) = (root.path().join("proc"), root.path().join("cgroup"));
        write(proc.join("7/cgroup"), "0::/job/step\n");
        let events = cgroups.join("job/memory.events");
        write(events.clone(), "oom 9\noom_kill 3\noom_group_kill 0\n");
        let mut kills = OomKills::of(7, &proc, &cgroups);
        assert_eq!(kills.since(), Some(0));
        // A worker on Monday, and another death on Friday.
        write(events.clone(), "oom 9\noom_kill 4\n");
        kills.look();
        assert_eq!(kills.since(), Some(0));
        write(events.clone(), "oom 9\noom_kill 6\n");
        assert_eq!(kills.since(), Some(2));
        fs::remove_file(events).unwrap();
        kills.look();
        assert_eq!(kills.since(), None);
    }

    #[test]
    fn the_first_version_of_cgroups_counts_elsewhere() {
        let root = tempfile::tempdir().unwrap();
        let (proc, cgroups) = (root.path().join("proc"), root.path().join("cgroup"));
        write(
            proc.join("7/cgroup"),
            "5:cpu:/x\n4:memory:/docker/abc\n0::/\n",
        );
        let control = cgroups.join("memory/docker/abc/memory.oom_control");
        write(
            control.clone(),
            "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        );
        let kills = OomKills::of(7, &proc, &cgroups);
        write(control, "oom_kill 2\n");
        assert_eq!(kills.since(), Some(1));
        assert_eq!(OomKills::of(8, &proc, &cgroups).since(), None);
    }
}
