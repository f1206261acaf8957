//! Claiming a run directory: all ranks of one job share it, another live job never gets it.
//!
//! Everything happens under one lock on `<root>/.claims/lock`. A claim file maps the job key to
//! its run directory. A directory is free for a new job (as a new attempt of the run) when no job that
//! claimed it is alive.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tm_spool::{Life, clock, job_dir, make_private, peek, producer_dirs};

use crate::store::RunReader;

/// Where the claims of a root lie.
const CLAIMS_DIR: &str = ".claims";
/// A job that has claimed but made no producer yet counts as alive for so long.
const START_GRACE_NS: i64 = 60_000_000_000;
/// Beyond the grace, with room for the clock of a file server that differs from ours.
const YOUNG: Duration = Duration::from_secs(15 * 60);
/// An older claim may go once its job has nothing left in the spool.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);
/// So many old claims are looked at in one start.
const MOST_TIDIED: usize = 256;
/// More runs of one name than this are a loop in somebody's script.
const MAX_SUFFIX: u32 = 100_000;

/// The run directory a job logs into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The directory; it exists.
    pub run_dir: PathBuf,
    /// Its name under the root.
    pub name: String,
    /// Whether a suffix was needed because another live job has the name.
    pub suffixed: bool,
    /// Whether this process is the first of its job.
    pub first: bool,
}

/// Why no run directory could be claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Not usable as a directory name.
    #[error("{name:?} cannot name a run: use one path component of 1 to 200 bytes")]
    BadName {
        /// The name.
        name: String,
    },
    /// Every suffix is taken.
    #[error("there are more than {MAX_SUFFIX} live runs named {name:?}")]
    TooMany {
        /// The name.
        name: String,
    },
    /// The system said no.
    #[error("{action} {}: {source}", path.display())]
    File {
        /// What we tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn file_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClaimError {
    let path = path.to_path_buf();
    move |source| ClaimError::File {
        action,
        path,
        source,
    }
}

/// Give this job its run directory under `root`: the one its other ranks have, else `name`, else `name-2`,
/// `name-3`, … when other live jobs hold those. Safe for any number of starts in the same millisecond.
///
/// # Errors
/// [`ClaimError`]: a bad name, or a directory that cannot be made or locked.
pub fn claim_run(root: &Path, name: &str, job_key: &str) -> Result<Claim, ClaimError> {
    check_name(name)?;
    let claims = root.join(CLAIMS_DIR);
    make_private(&claims).map_err(file_error("cannot make", &claims))?;
    let _lock = Lock::take(&claims.join("lock"))?;
    let mine = claim_path(&claims, job_key);
    if let Some(known) = Record::read(&mine).filter(|r| r.job_key == job_key) {
        let run_dir = root.join(&known.name);
        make_private(&run_dir).map_err(file_error("cannot make", &run_dir))?;
        let suffixed = known.name != name;
        return Ok(Claim {
            run_dir,
            name: known.name,
            suffixed,
            first: false,
        });
    }
    let others = tidy(root, &claims)?;
    for number in 1..=MAX_SUFFIX {
        let candidate = if number == 1 {
            name.to_owned()
        } else {
            format!("{name}-{number}")
        };
        let run_dir = root.join(&candidate);
        if is_held(&run_dir, &candidate, job_key, &others) {
            continue;
        }
        make_private(&run_dir).map_err(file_error("cannot make", &run_dir))?;
        Record::of_this_process(job_key, &candidate).write(&mine)?;
        return Ok(Claim {
            run_dir,
            name: candidate,
            suffixed: number > 1,
            first: true,
        });
    }
    Err(ClaimError::TooMany {
        name: name.to_owned(),
    })
}

/// The claims that may still matter to another job, after removing some that matter to nobody.
///
/// A claim keeps others out only while its job is on its way, and is found by its own name else: to read
/// thousands of finished ones at each start would be for nothing.
fn tidy(root: &Path, claims: &Path) -> Result<Vec<Record>, ClaimError> {
    let entries = fs::read_dir(claims).map_err(file_error("cannot list", claims))?;
    let mut young = Vec::new();
    let mut looked_at = 0;
    for path in entries.filter_map(|entry| entry.ok().map(|e| e.path())) {
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let age = age_of(&path).unwrap_or_default();
        if age < YOUNG {
            young.extend(Record::read(&path));
        } else if age > OLD && looked_at < MOST_TIDIED {
            looked_at += 1;
            if !Record::read(&path).is_some_and(|record| record.is_needed(root)) {
                // Somebody else's turn, should it fail.
                let _ = fs::remove_file(&path);
            }
        }
    }
    Ok(young)
}

/// How long ago a file was written, or is to be written by the clock of another host.
fn age_of(path: &Path) -> Option<Duration> {
    let written = fs::metadata(path).ok()?.modified().ok()?;
    Some(match written.elapsed() {
        Ok(age) => age,
        Err(ahead) => ahead.duration(),
    })
}

/// The claims of a root, locked.
pub(crate) struct LockedClaims {
    dir: PathBuf,
    records: Vec<Record>,
}

/// Run `body` while nobody can claim under `root`. A root that never had a claim is not locked.
pub(crate) fn while_locked<T, E: From<ClaimError>>(
    root: &Path,
    body: impl FnOnce(&LockedClaims) -> Result<T, E>,
) -> Result<T, E> {
    let dir = root.join(CLAIMS_DIR);
    if !dir.is_dir() {
        let records = Vec::new();
        return body(&LockedClaims { dir, records });
    }
    let _lock = Lock::take(&dir.join("lock"))?;
    let records = Record::read_all(&dir)?;
    body(&LockedClaims { dir, records })
}

impl LockedClaims {
    /// Whether a job that is alive, or on its way, has this directory.
    pub(crate) fn is_held(&self, run_dir: &Path, name: &str) -> bool {
        is_held(run_dir, name, "", &self.records)
    }

    /// Whether a job has claimed this name.
    pub(crate) fn names(&self, name: &str) -> bool {
        self.records.iter().any(|record| record.name == name)
    }

    /// Drop all claims to a name.
    pub(crate) fn forget(&self, name: &str) -> Result<(), ClaimError> {
        for record in self.records.iter().filter(|record| record.name == name) {
            let path = claim_path(&self.dir, &record.job_key);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(file_error("cannot remove", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), ClaimError> {
    let bad = name.is_empty()
        || name.len() > 200
        || name.starts_with('.')
        || name.contains(['/', '\0'])
        || Path::new(name).file_name() != Some(OsStr::from_bytes(name.as_bytes()));
    if bad {
        Err(ClaimError::BadName {
            name: name.to_owned(),
        })
    } else {
        Ok(())
    }
}

/// Whether another job that is alive has this directory.
fn is_held(run_dir: &Path, name: &str, job_key: &str, others: &[Record]) -> bool {
    if run_dir.exists() && !run_dir.is_dir() {
        return true;
    }
    let seen: Vec<_> = producer_dirs(run_dir)
        .unwrap_or_default()
        .iter()
        .filter_map(|dir| peek(dir).ok())
        .filter(|(info, ..)| info.job_key != job_key)
        .collect();
    if seen.iter().any(|(_, _, life)| *life == Life::Alive) {
        return true;
    }
    // A job between its claim and its first producer: nobody else may slip in.
    others
        .iter()
        .filter(|other| other.name == name && other.job_key != job_key)
        .any(|other| {
            let started = seen.iter().any(|(info, ..)| info.job_key == other.job_key);
            !started && other.is_starting() && !is_stored(run_dir, &other.job_key)
        })
}

/// Whether the job had a producer that is stored and gone. A directory of the job without a producer that can be
/// read says nothing: a producer gets its name when its files are complete, and until then the job is starting.
fn is_stored(run_dir: &Path, job_key: &str) -> bool {
    let attempts = RunReader::open(run_dir).and_then(|reader| reader.attempts());
    attempts.is_ok_and(|attempts| attempts.iter().any(|attempt| attempt.job_key == job_key))
}

/// A claim as it lies on the disk.
#[derive(Debug, Clone, PartialEq)]
struct Record {
    job_key: String,
    name: String,
    claimed_ns: i64,
    boot_id: String,
    pid_namespace: u64,
    pid: u32,
    /// Tells a process from a later one with the same number.
    start_ticks: u64,
}

impl Record {
    fn of_this_process(job_key: &str, name: &str) -> Self {
        let pid = std::process::id();
        Self {
            job_key: job_key.to_owned(),
            name: name.to_owned(),
            claimed_ns: clock::wall_ns(),
            boot_id: boot_id(),
            pid_namespace: clock::pid_namespace(),
            pid,
            start_ticks: clock::start_ticks(pid),
        }
    }

    /// `None`: there is none, or it is not readable; then it claims nothing.
    fn read(path: &Path) -> Option<Self> {
        let json: Json = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let text = |field: &str| json[field].as_str().map(str::to_owned);
        Some(Self {
            job_key: text("job_key")?,
            name: text("name").filter(|name| check_name(name).is_ok())?,
            claimed_ns: json["claimed_ns"].as_i64().unwrap_or(0),
            boot_id: text("boot_id").unwrap_or_default(),
            pid_namespace: json["pid_namespace"].as_u64().unwrap_or(0),
            pid: json["pid"]
                .as_u64()
                .and_then(|pid| pid.try_into().ok())
                .unwrap_or(0),
            start_ticks: json["start_ticks"].as_u64().unwrap_or(0),
        })
    }

    fn read_all(claims: &Path) -> Result<Vec<Self>, ClaimError> {
        let entries = fs::read_dir(claims).map_err(file_error("cannot list", claims))?;
        let paths = entries.filter_map(|entry| entry.ok().map(|e| e.path()));
        let records = paths.filter(|path| path.extension().is_some_and(|e| e == "json"));
        Ok(records.filter_map(|path| Self::read(&path)).collect())
    }

    /// Whole or not at all: a claim that is half written would let two jobs in.
    fn write(&self, path: &Path) -> Result<(), ClaimError> {
        let json = json!({
            "job_key": self.job_key, "name": self.name, "claimed_ns": self.claimed_ns,
            "boot_id": self.boot_id, "pid_namespace": self.pid_namespace, "pid": self.pid,
            "start_ticks": self.start_ticks,
        });
        let temporary = path.with_extension("new");
        let mut file = private_file(&temporary)?;
        file.set_len(0)
            .and_then(|()| file.write_all(json.to_string().as_bytes()))
            .and_then(|()| file.sync_all())
            .map_err(file_error("cannot write", &temporary))?;
        fs::rename(&temporary, path).map_err(file_error("cannot write", path))
    }

    /// Whether ranks of the job may still come and look for it: its spool goes when all of them ended.
    fn is_needed(&self, root: &Path) -> bool {
        job_dir(&root.join(&self.name), &self.job_key).exists()
    }

    /// Whether the job may still be on its way to its first producer.
    fn is_starting(&self) -> bool {
        let age = clock::wall_ns() - self.claimed_ns;
        if !(0..START_GRACE_NS).contains(&age) {
            return false;
        }
        let visible = self.boot_id == boot_id() && self.pid_namespace == clock::pid_namespace();
        // On another host, or in another container, the grace alone decides.
        !visible || clock::runs(self.pid, self.start_ticks).unwrap_or(true)
    }
}

fn boot_id() -> String {
    tm_spool::ProducerId(clock::boot_id()).to_string()
}

/// One file per job key. Two keys may share a hash: the key inside decides, and the loser has no claim
/// file, which costs it nothing but the sharing of its directory; 128 bits make that a curiosity.
fn claim_path(claims: &Path, job_key: &str) -> PathBuf {
    // FNV-1a, 128 bits.
    let mut hash: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    for byte in job_key.as_bytes() {
        hash = (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
    }
    claims.join(format!("{hash:032x}.json"))
}

fn private_file(path: &Path) -> Result<File, ClaimError> {
    let opened = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path);
    let file = opened.map_err(file_error("cannot open", path))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(file_error("cannot open", path))?;
    Ok(file)
}

/// The lock of a root, held for a few file operations. `flock`, which NFS turns into a record lock: it also
/// holds off threads of this process, and closing another handle of the file does not drop it.
struct Lock(File);

impl Lock {
    fn take(path: &Path) -> Result<Self, ClaimError> {
        let file = private_file(path)?;
        file.lock().map_err(file_error("cannot lock", path))?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Explicitly: a child forked meanwhile holds the same open file and would keep the lock alive.
        if self.0.unlock().is_err() {
            // Closing the file, which comes next, unlocks it as well.
        }
    }
}

#[cfg(test)]
#[path = "claim_tests.rs"]
mod tests;
