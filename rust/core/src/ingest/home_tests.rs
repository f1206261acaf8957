//! Starts, kills and leaves of a live database, without a network file system: a pointer is followed wherever it lies.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::publish::publish;
use super::Home;
use crate::live::{COPY_DRAFT, DATABASE_NAME, POINTER, Pointer};
use crate::stats::Alphas;
use crate::store::{RunReader, Store, StoreError};

struct Run {
    dir: TempDir,
    base: TempDir,
}

impl Run {
    fn new() -> Self {
        let (dir, base) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        make(&base.path().join("training_monitor-7"));
        Self { dir, base }
    }

    fn live_dir(&self) -> PathBuf {
        let name = format!("run-{}", "7".repeat(32));
        self.base.path().join("training_monitor-7").join(name)
    }

    /// A database that says when it was written, in a directory of this name.
    fn database(&self, dir: &Path, mark: &str) {
        if !dir.exists() {
            make(dir);
        }
        let store = Store::open(&dir.join(DATABASE_NAME), Alphas::default()).unwrap();
        store.record_gap("test", mark).unwrap();
        store.close().unwrap();
    }

    fn point(&self) -> Pointer {
        let pointer = Pointer::to(self.live_dir());
        pointer.write(self.dir.path()).unwrap();
        pointer
    }

    fn point_elsewhere(&self) {
        let dir = self.live_dir();
        let json =
            serde_json::json!({"dir": dir, "host": "faraway", "machine": "m", "boot_id": "b"});
        fs::write(self.dir.path().join(POINTER), json.to_string()).unwrap();
    }

    fn take(&self, from_copy: bool) -> Result<Home, StoreError> {
        Home::take(self.dir.path(), Alphas::default(), from_copy)
    }

    /// Reasons and details of the gaps, as a reader of the run sees them.
    fn gaps(&self) -> Vec<String> {
        let gaps = RunReader::open(self.dir.path()).unwrap().gaps().unwrap();
        let text = |detail: Option<String>| detail.unwrap_or_default();
        gaps.into_iter()
            .map(|gap| format!("{}: {}", gap.reason, text(gap.detail)))
            .collect()
    }
}

fn make(dir: &Path) {
    fs::DirBuilder::new().mode(0o700).create(dir).unwrap();
}

#[test]
fn what_is_live_goes_on_and_a_copy_stays_when_it_leaves() {
    let run = Run::new();
    run.database(run.dir.path(), "old");
    run.database(&run.live_dir(), "new");
    run.point();
    let home = run.take(false).unwrap();
    assert_eq!(home.database(), run.live_dir().join(DATABASE_NAME));
    publish(&home, run.dir.path(), || true).unwrap();
    home.leave().unwrap();
    assert_eq!(run.gaps(), ["test: new"]);
    assert!(!run.dir.path().join(POINTER).exists());
    let left = fs::read_dir(run.live_dir().parent().unwrap()).unwrap();
    assert_eq!(left.count(), 0);
}

#[test]
fn a_copy_that_is_given_up_leaves_the_one_before() {
    let run = Run::new();
    run.database(run.dir.path(), "old");
    run.database(&run.live_dir(), "new");
    run.point();
    let home = run.take(false).unwrap();
    fs::remove_file(run.dir.path().join(POINTER)).unwrap();
    // Somebody else's directory has the name by now.
    publish(&home, run.dir.path(), || true).unwrap();
    assert_eq!(run.gaps(), ["test: old"]);
    assert!(!run.dir.path().join(COPY_DRAFT).exists());
}

#[test]
fn two_writers_never_have_one_live_database() {
    let run = Run::new();
    run.database(&run.live_dir(), "new");
    run.point();
    let first = run.take(false).unwrap();
    assert!(matches!(run.take(false), Err(StoreError::Busy)));
    drop(first);
    run.take(false).unwrap();
}

#[test]
fn a_start_that_was_killed_before_its_last_rename_is_finished() {
    let run = Run::new();
    let pointer = run.point();
    run.database(&pointer.draft(), "seeded");
    let home = run.take(false).unwrap();
    assert!(home.has_copies());
    assert_eq!(run.gaps(), ["test: seeded"]);
}

#[test]
fn a_leave_that_was_killed_is_finished_and_nothing_counts_as_lost() {
    let run = Run::new();
    run.database(run.dir.path(), "published");
    let pointer = run.point();
    run.database(&pointer.gone(), "published");
    let home = run.take(false).unwrap();
    assert!(!home.has_copies());
    assert_eq!(run.gaps(), ["test: published"]);
    assert!(!pointer.gone().exists());
}

#[test]
fn a_live_database_that_this_machine_lost_is_a_gap() {
    let run = Run::new();
    run.database(run.dir.path(), "copy");
    run.point();
    run.take(false).unwrap();
    let gaps = run.gaps();
    assert_eq!(gaps[0], "test: copy");
    assert!(gaps[1].starts_with("live_database_lost: "), "{gaps:?}");
    // Once: the next start finds no pointer.
    run.take(false).unwrap();
    assert_eq!(run.gaps(), gaps);
}

#[test]
fn a_live_database_deleted_at_work_is_made_anew_from_the_copy() {
    let run = Run::new();
    run.database(run.dir.path(), "copy");
    run.database(&run.live_dir(), "newer");
    run.point();
    let home = run.take(false).unwrap();
    fs::remove_dir_all(run.live_dir()).unwrap();
    home.restore().unwrap();
    let gaps = run.gaps();
    assert_eq!(gaps[0], "test: copy");
    assert!(gaps[1].ends_with("was deleted"), "{gaps:?}");
    assert!(
        matches!(run.take(false), Err(StoreError::Busy)),
        "locked anew"
    );
}

#[test]
fn what_another_machine_may_hold_is_given_up_only_when_asked() {
    let run = Run::new();
    run.database(run.dir.path(), "copy");
    run.point_elsewhere();
    let refused = run.take(false).unwrap_err().to_string();
    assert!(
        refused.contains("is on faraway") && refused.contains("--from-copy"),
        "{refused}"
    );
    assert_eq!(run.gaps(), ["test: copy"]);
    run.take(true).unwrap();
    let gaps = run.gaps();
    assert!(
        gaps[1].starts_with("left_elsewhere: ") && gaps[1].ends_with(" on faraway"),
        "{gaps:?}"
    );
}
