//! What in a run directory is ours: by it a directory is a run, and nothing else there is ever removed.
//!
//! The directory of a run may well be where a training keeps its checkpoints, so a name counts only
//! when nobody else would use it, or when the content is ours as well.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirEntry, File, FileType};
use std::io::{self, Read};
use std::path::Path;

use crate::code;
use crate::live::{COPY_DRAFT, DATABASE_NAME as DATABASE, POINTER, POINTER_DRAFT};
use crate::store::{RunReader, StoreError};

const SPOOL: &str = ".spool";
/// Held by the monitor of a run for its life.
pub(crate) const MONITOR_LOCK: &str = ".monitor.lock";
/// Written by the monitor (`monitor/manifest.py`), and a name that half the world uses.
const MANIFEST: &str = "config.json";
/// How captured output begins: its name alone may be anybody's.
const OUTPUT_MARK: &[u8; 22] = b"--- training_monitor: ";
/// The kept code, as `python/training_monitor/snapshot/layout.py` lays it out: what was kept, and the newest of it
/// as a plain tree, whose name half the world uses, too.
const CODE_STORE: &str = ".code";
const CODE_TREE: &str = "code";
/// What others have to say for the database: `python/training_monitor/monitor/inbox.py`.
const INBOX: &str = ".inbox";

/// What a directory holds, by name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Belongings {
    /// What this package wrote, in the order in which it may go: what makes the directory a run goes last.
    pub ours: Vec<OsString>,
    /// Everything else.
    pub foreign: Vec<OsString>,
}

/// Whether the directory is a run: it has a spool of ours, or a database of ours.
#[must_use]
pub fn is_run(dir: &Path) -> bool {
    // The database is opened only where there is no spool, as in a copy.
    is_spool(&dir.join(SPOOL)) || has_database(dir)
}

/// Tell what in a directory is ours and what is not.
///
/// # Errors
/// The kernel's: the directory cannot be listed.
pub fn belongings(dir: &Path) -> io::Result<Belongings> {
    let mut found = Belongings::default();
    let is_foreign = is_foreign_database(dir);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let ours = is_ours(&entry, entry.file_type()?, is_foreign);
        let names = if ours {
            &mut found.ours
        } else {
            &mut found.foreign
        };
        names.push(entry.file_name());
    }
    found.foreign.sort();
    found.ours.sort_by_key(|name| (turn(name), name.clone()));
    Ok(found)
}

/// A removal that is killed leaves a run behind, which is removed whole by the next one. Without its log (`-wal`)
/// a database is an older one; a log without its database would be taken for that of the next. A pointer goes after the copy: by it the live
/// database is found and removed.
fn turn(name: &OsStr) -> u8 {
    match name.to_string_lossy().strip_prefix(DATABASE) {
        Some("-wal" | "-shm" | "-journal") => 1,
        Some("") => 2,
        _ if name == POINTER => 3,
        _ if name == SPOOL => 4,
        _ if name == MONITOR_LOCK => 5,
        // By it the tree is known as ours.
        _ if name == CODE_STORE => 1,
        _ => 0,
    }
}

/// Links count as foreign, whatever they are called.
fn is_ours(entry: &DirEntry, kind: FileType, is_foreign_database: bool) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    if name == SPOOL {
        return is_spool(&entry.path());
    }
    if name == CODE_STORE {
        return code::is_store(&entry.path());
    }
    if name == CODE_TREE {
        return code::is_tree(&entry.path());
    }
    if name == INBOX {
        return kind.is_dir();
    }
    if !kind.is_file() {
        return false;
    }
    if name == MANIFEST {
        return is_manifest(&entry.path());
    }
    if is_output(&name) {
        return has_mark(&entry.path());
    }
    if let Some(rest) = name.strip_prefix(DATABASE) {
        let live = matches!(rest, "" | "-wal" | "-shm" | "-journal");
        return rest.starts_with(".damaged-") || (live && !is_foreign_database);
    }
    let draft = name.strip_prefix(".config.json.");
    draft.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()))
        || matches!(
            &*name,
            MONITOR_LOCK
                | POINTER
                | POINTER_DRAFT
                | COPY_DRAFT
                | "training_monitor.log"
                | "training_monitor.log.1"
                | ".endpoint.json"
                | ".relay.key"
                // Alerts: `python/training_monitor/notify/opening.py`.
                | "training_monitor.alerts.log"
                | "training_monitor.alerts.log.1"
                | ".alerts.outbox"
                | ".alerts.outbox.new"
                | ".alerts.state"
                | ".alerts.state.new"
                // What was said of the run: `python/training_monitor/analyses.py` and `analysis/describing.py`.
                | "analyses.jsonl"
                | "code_summary.md"
                | "metric_descriptions.json"
                // What was sent to a model, and what is remembered of it: `python/training_monitor/analysis`.
                | "sent.jsonl"
                | "sent.1.jsonl"
                | ".llm.lock"
                | ".llm.state"
                | ".llm.state.new"
        )
        || is_of_node(&name)
}

/// What the trainer of a rank has printed (`python/training_monitor/capture.py`).
fn is_output(name: &str) -> bool {
    let rest = name.strip_prefix("output-rank");
    let rank = rest.and_then(|rest| rest.strip_suffix(".log").or(rest.strip_suffix(".log.1")));
    rank.is_some_and(|rank| !rank.is_empty() && rank.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a file begins as captured output does.
fn has_mark(path: &Path) -> bool {
    let mut begin = [0; OUTPUT_MARK.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == *OUTPUT_MARK
}

/// What each node has for itself: log and lock of its relay, and the lock of whoever starts its monitor.
fn is_of_node(name: &str) -> bool {
    let log = name.strip_prefix("training_monitor.relay-");
    let lock = name
        .strip_prefix(".relay-")
        .or_else(|| name.strip_prefix(".respawn-"));
    log.is_some_and(|rest| rest.ends_with(".log") || rest.ends_with(".log.1"))
        || lock.is_some_and(|rest| rest.ends_with(".lock"))
}

/// Held by the relay of a node for its life.
pub(crate) fn is_relay_lock(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::to_string_lossy);
    name.is_some_and(|name| name.starts_with(".relay-") && name.ends_with(".lock"))
}

/// A spool outlives its lanes: an empty one counts, one of other things does not.
fn is_spool(path: &Path) -> bool {
    let is_dir = fs::symlink_metadata(path).is_ok_and(|m| m.is_dir());
    let Ok(entries) = fs::read_dir(path) else {
        return false;
    };
    let mut names = entries.flatten().map(|entry| entry.file_name()).peekable();
    is_dir && (names.peek().is_none() || names.any(|name| is_job(&name.to_string_lossy())))
}

/// As `tm_spool::job_dir` names them.
fn is_job(name: &str) -> bool {
    name.len() == 16 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

fn has_database(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(DATABASE)).is_ok_and(|m| m.is_file())
        && matches!(
            RunReader::open(dir),
            Ok(_) | Err(StoreError::TooNew { .. } | StoreError::Busy)
        )
}

/// A damaged one is ours: no other program gives a file this name.
fn is_foreign_database(dir: &Path) -> bool {
    let is_file = fs::symlink_metadata(dir.join(DATABASE)).is_ok_and(|m| m.is_file());
    // The file itself: a live database elsewhere says nothing about it.
    let opened = RunReader::open(&dir.join(DATABASE));
    is_file && matches!(opened, Err(StoreError::Foreign { .. }))
}

fn is_manifest(path: &Path) -> bool {
    let text = fs::read(path).unwrap_or_default();
    let json: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    json["experiment_name"].is_string()
        && json["job_key"].is_string()
        && json["versions"]["training_monitor"].is_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<OsString> {
        names.iter().map(OsString::from).collect()
    }

    #[test]
    fn a_checkpoint_is_no_run_and_nothing_in_it_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(
            dir.path().join(MANIFEST),
            r#"{"model_type": "llama", "versions": 1}"#,
        )
        .unwrap();
        fs::write(dir.path().join("model.safetensors"), "weights").unwrap();
        assert!(!is_run(dir.path()));
        let found = belongings(dir.path()).unwrap();
        assert_eq!(found.ours, names(&[]));
        assert_eq!(found.foreign, names(&[MANIFEST, "model.safetensors"]));
    }

    #[test]
    fn a_log_or_a_manifest_alone_makes_no_run() {
        let dir = tempfile::tempdir().unwrap();
        let manifest =
            r#"{"experiment_name": "a", "job_key": "k", "versions": {"training_monitor": "1"}}"#;
        fs::write(dir.path().join(MANIFEST), manifest).unwrap();
        fs::write(dir.path().join("training_monitor.log"), "x").unwrap();
        assert!(!is_run(dir.path()));
        assert_eq!(belongings(dir.path()).unwrap().foreign, names(&[]));
    }

    #[test]
    fn what_makes_a_run_goes_last() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".spool/0123456789abcdef")).unwrap();
        for name in [
            MONITOR_LOCK,
            DATABASE,
            "training_monitor.db-wal",
            "training_monitor.log",
            POINTER,
            COPY_DRAFT,
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("training_monitor.log.1")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join(".config.json.7")).unwrap();
        assert!(is_run(dir.path()));
        let found = belongings(dir.path()).unwrap();
        assert_eq!(
            found.ours,
            names(&[
                COPY_DRAFT,
                "training_monitor.log",
                "training_monitor.db-wal",
                DATABASE,
                POINTER,
                SPOOL,
                MONITOR_LOCK
            ])
        );
        assert_eq!(
            found.foreign,
            names(&[".config.json.7", "training_monitor.log.1"])
        );
    }

    #[test]
    fn captured_output_is_ours_by_its_first_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(SPOOL)).unwrap();
        let marked = "--- training_monitor: output of process 7 from here on ---\nhello\n";
        for (name, text) in [
            ("output-rank0.log", marked),
            ("output-rank12.log.1", marked),
            ("output-rank1.log", "hello"),
            ("output-rank.log", marked),
            ("output-rank0.txt", marked),
        ] {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let found = belongings(dir.path()).unwrap();
        assert_eq!(
            found.ours,
            names(&["output-rank0.log", "output-rank12.log.1", SPOOL])
        );
        assert_eq!(
            found.foreign,
            names(&["output-rank.log", "output-rank0.txt", "output-rank1.log"])
        );
    }

    #[test]
    fn a_spool_of_somebody_else_makes_no_run() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".spool/mail")).unwrap();
        assert!(!is_run(dir.path()));
        assert_eq!(belongings(dir.path()).unwrap().foreign, names(&[SPOOL]));
    }
}
