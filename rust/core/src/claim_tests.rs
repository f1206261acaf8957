//! Tests of claiming a run directory.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use tm_spool::{LANE_BYTES, Producer, ProducerOptions};

use super::*;

fn producer(run_dir: &Path, job_key: &str) -> Producer {
    Producer::create(ProducerOptions {
        lane_bytes: LANE_BYTES.min(1 << 16),
        ..ProducerOptions::alone(run_dir, job_key)
    })
    .unwrap()
}

#[test]
fn ranks_of_one_job_share_a_directory() {
    let root = tempfile::tempdir().unwrap();
    let first = claim_run(root.path(), "run", "job a").unwrap();
    let second = claim_run(root.path(), "run", "job a").unwrap();
    assert!(first.first && !second.first);
    assert_eq!(first.run_dir, second.run_dir);
    assert_eq!(first.run_dir, root.path().join("run"));
}

#[test]
fn another_live_job_gets_a_suffix_and_a_dead_one_gives_way() {
    let root = tempfile::tempdir().unwrap();
    let first = claim_run(root.path(), "run", "job a").unwrap();
    let alive = producer(&first.run_dir, "job a");
    let second = claim_run(root.path(), "run", "job b").unwrap();
    assert_eq!((second.name.as_str(), second.suffixed), ("run-2", true));
    let third = claim_run(root.path(), "run", "job c").unwrap();
    assert_eq!(third.name, "run-3");
    alive.close(std::time::Duration::ZERO);
    let fourth = claim_run(root.path(), "run", "job d").unwrap();
    assert_eq!((fourth.name.as_str(), fourth.suffixed), ("run", false));
}

#[test]
fn twenty_starts_in_the_same_moment_get_twenty_directories() {
    let root = tempfile::tempdir().unwrap();
    let names: HashSet<String> = std::thread::scope(|scope| {
        let start = |i: usize| {
            let root = root.path();
            scope.spawn(move || claim_run(root, "run", &format!("job {i}")).unwrap().name)
        };
        let threads: Vec<_> = (0..20).map(start).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert_eq!(names.len(), 20);
}

#[test]
fn a_job_whose_first_producer_is_still_being_made_keeps_its_directory() {
    let root = tempfile::tempdir().unwrap();
    let first = claim_run(root.path(), "run", "job a").unwrap();
    // A producer gets its name last; the directory of its job is there long before.
    fs::create_dir_all(job_dir(&first.run_dir, "job a")).unwrap();
    let second = claim_run(root.path(), "run", "job b").unwrap();
    assert_eq!(second.name, "run-2");
}

#[test]
fn everything_is_private() {
    let root = tempfile::tempdir().unwrap();
    let inner = root.path().join("ai_logger");
    let claim = claim_run(&inner, "run", "job").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!(mode(&claim.run_dir), 0o700);
    assert_eq!(mode(&inner.join(".claims")), 0o700);
    assert_eq!(mode(&inner.join(".claims/lock")), 0o600);
    assert_eq!(mode(&claim_path(&inner.join(".claims"), "job")), 0o600);
}

#[test]
fn a_name_that_leaves_the_root_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for name in ["", "..", ".", "a/b", "/etc", ".hidden", "nul\0"] {
        let error = claim_run(root.path(), name, "job").unwrap_err();
        assert!(matches!(error, ClaimError::BadName { .. }), "{name:?}");
    }
    let error = claim_run(root.path(), "a/b", "job").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"a/b\" cannot name a run: use one path component of 1 to 200 bytes"
    );
}

#[test]
fn a_broken_claim_file_claims_nothing() {
    let root = tempfile::tempdir().unwrap();
    let claims = root.path().join(".claims");
    claim_run(root.path(), "other", "job x").unwrap();
    fs::write(claim_path(&claims, "job a"), b"{\"job_key\": \"jo").unwrap();
    assert_eq!(claim_run(root.path(), "run", "job a").unwrap().name, "run");
}

/// A claim of a job that ended so long ago.
fn leave_claim(root: &Path, number: usize, age: Duration) -> PathBuf {
    let key = format!("job {number}");
    let path = claim_path(&root.join(CLAIMS_DIR), &key);
    let mut record = Record::of_this_process(&key, &format!("run{number}"));
    record.claimed_ns -= age.as_nanos() as i64;
    record.write(&path).unwrap();
    let written = std::time::SystemTime::now() - age;
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_modified(written)
        .unwrap();
    path
}

#[test]
fn claims_of_runs_that_are_gone_or_long_ended_are_removed() {
    let root = tempfile::tempdir().unwrap();
    claim_run(root.path(), "run", "first").unwrap();
    let two_days = OLD * 2;
    let gone = leave_claim(root.path(), 1, two_days);
    let ended = leave_claim(root.path(), 2, two_days);
    fs::create_dir(root.path().join("run2")).unwrap();
    let recent = leave_claim(root.path(), 3, OLD / 2);
    let lives = leave_claim(root.path(), 4, two_days);
    let alive = producer(&root.path().join("run4"), "job 4");
    let unreadable = leave_claim(root.path(), 5, two_days);
    let content = "{";
    fs::write(&unreadable, content).unwrap();
    let written = std::time::SystemTime::now() - two_days;
    File::options()
        .write(true)
        .open(&unreadable)
        .unwrap()
        .set_modified(written)
        .unwrap();

    claim_run(root.path(), "another", "second").unwrap();
    assert!(!gone.exists() && !ended.exists() && !unreadable.exists());
    assert!(recent.exists() && lives.exists());
    // The job that lives finds its way, and keeps others out.
    assert_eq!(
        claim_run(root.path(), "run4", "job 4").unwrap().name,
        "run4"
    );
    assert_eq!(
        claim_run(root.path(), "run4", "third").unwrap().name,
        "run4-2"
    );
    drop(alive);
}

#[test]
fn thousands_of_old_claims_are_removed_in_a_few_starts() {
    let root = tempfile::tempdir().unwrap();
    claim_run(root.path(), "run", "first").unwrap();
    for number in 0..1000 {
        leave_claim(root.path(), number, OLD * 2);
    }
    for start in 0..5 {
        claim_run(root.path(), "run", &format!("start {start}")).unwrap();
    }
    assert_eq!(
        fs::read_dir(root.path().join(CLAIMS_DIR)).unwrap().count(),
        1 + 1 + 5
    );
}
