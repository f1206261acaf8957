//! What happens to the database, and what the run keeps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Run, floats, wait};
use tm_core::store::{SeriesOptions, StoreError};
use tm_core::{Ingest, IngestOptions, RunReader};
use tm_spool::{Flags, LayoutId, Producer, Step};

fn log(producer: &Producer, layout: LayoutId, steps: std::ops::Range<i64>) {
    for step in steps {
        producer
            .append_points(Flags(0), Step(step), layout, &[(step as f64).to_bits()])
            .unwrap();
    }
}

fn steps(reader: &RunReader) -> Vec<i64> {
    reader
        .series(b"loss", &SeriesOptions::default())
        .unwrap()
        .step
}

fn database(run: &Run) -> PathBuf {
    run.path().join("training_monitor.db")
}

fn damaged(run: &Run) -> Vec<String> {
    let names = fs::read_dir(run.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    names
        .filter(|name| name.starts_with("training_monitor.db.damaged-"))
        .collect()
}

#[test]
fn a_damaged_database_is_moved_aside_and_the_lanes_go_into_a_new_one() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss"]);
    log(&producer, layout, 0..3000);
    let ingest = run.ingest();
    wait("the first part", || producer.backlog_bytes() == 0);
    ingest.finish(Duration::from_secs(90)).unwrap();
    log(&producer, layout, 3000..3100);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .open(database(&run))
        .unwrap();
    let half = file.metadata().unwrap().len() / 2;
    file.seek(SeekFrom::Start(1024)).unwrap();
    file.write_all(&vec![0x5a; half as usize]).unwrap();
    drop(file);

    let ingest = run.ingest();
    wait("the second part", || producer.backlog_bytes() == 0);
    // The status is told after the acknowledgement.
    wait("word of it", || ingest.status().quarantined.is_some());
    assert!(ingest.status().quarantined.unwrap().contains(".damaged-"));
    ingest.finish(Duration::from_secs(90)).unwrap();
    assert_eq!(damaged(&run).len(), 1);
    let reader = run.reader();
    assert_eq!(steps(&reader), (3000..3100).collect::<Vec<i64>>());
    let gaps = reader.gaps().unwrap();
    assert_eq!(
        (gaps.len(), gaps[0].reason.as_str()),
        (1, "database_behind")
    );
    assert!(
        gaps[0]
            .lsn
            .is_some_and(|(first, end)| first == 0 && end > 0)
    );
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    let run = Run::new();
    fs::write(
        database(&run),
        b"this is not a database, and it is longer than one hundred bytes: ".repeat(9),
    )
    .unwrap();
    run.ingest().finish(Duration::from_secs(90)).unwrap();
    assert_eq!(damaged(&run).len(), 1);
    assert_eq!(run.reader().counts().unwrap().points, 0);
}

#[test]
fn a_database_deleted_under_us_is_made_anew_within_a_second_or_two() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss"]);
    let ingest = run.ingest();
    log(&producer, layout, 0..10);
    wait("the first part", || producer.backlog_bytes() == 0);
    for name in [
        "training_monitor.db",
        "training_monitor.db-wal",
        "training_monitor.db-shm",
    ] {
        fs::remove_file(run.path().join(name)).unwrap();
    }
    wait("a new database", || database(&run).exists());
    log(&producer, layout, 10..20);
    wait("the second part", || producer.backlog_bytes() == 0);
    ingest.finish(Duration::from_secs(90)).unwrap();
    assert_eq!(steps(&run.reader()), (10..20).collect::<Vec<i64>>());
    assert_eq!(run.reader().gaps().unwrap()[0].reason, "database_behind");
}

#[test]
fn a_newer_or_foreign_database_is_refused_and_left_alone() {
    let run = Run::new();
    run.ingest().finish(Duration::from_secs(90)).unwrap();
    let mut bytes = fs::read(database(&run)).unwrap();
    bytes[60..64].copy_from_slice(&99u32.to_be_bytes()); // user_version in the file header
    fs::write(database(&run), &bytes).unwrap();
    let message =
        "the database has format 99, this version reads up to 4: upgrade training_monitor";
    let error = Ingest::start(run.path(), IngestOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }));
    assert_eq!(error.to_string(), message);
    assert_eq!(
        RunReader::open(run.path()).unwrap_err().to_string(),
        message
    );

    bytes[68..72].copy_from_slice(&7u32.to_be_bytes()); // application_id
    fs::write(database(&run), &bytes).unwrap();
    let error = Ingest::start(run.path(), IngestOptions::default()).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(database(&run)).unwrap(), bytes);
    let nothing = RunReader::open(&run.path().join("nowhere")).unwrap_err();
    assert!(matches!(nothing, StoreError::NotFound { .. }));
}

#[test]
fn files_are_private_and_a_copy_of_a_live_run_can_be_read() {
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss"]);
    let ingest = run.ingest();
    log(&producer, layout, 0..50);
    wait("all to be durable", || producer.backlog_bytes() == 0);
    let copy = tempfile::tempdir().unwrap();
    for name in ["training_monitor.db", "training_monitor.db-wal"] {
        let from = run.path().join(name);
        assert_eq!(fs::metadata(&from).unwrap().mode() & 0o777, 0o600, "{name}");
        fs::copy(&from, copy.path().join(name)).unwrap();
    }
    assert_eq!(steps(&run.reader()).len(), 50);
    assert_eq!(steps(&RunReader::open(copy.path()).unwrap()).len(), 50);
    ingest.finish(Duration::from_secs(90)).unwrap();
    let odd = copy.path().join("a?b#c%20 é");
    fs::create_dir(&odd).unwrap();
    fs::copy(database(&run), odd.join("x.db")).unwrap();
    assert_eq!(
        steps(&RunReader::open(&odd.join("x.db")).unwrap()).len(),
        50
    );
    assert!(
        !run.path().join("training_monitor.db-wal").exists(),
        "closed clean"
    );
}

#[test]
fn the_bundled_sqlite_has_the_wal_reset_fix() {
    let version = tm_core::store::sqlite_version();
    let parts: Vec<u32> = version.split('.').map(|p| p.parse().unwrap()).collect();
    assert!(parts.as_slice() >= [3, 51, 3].as_slice(), "{version}");
}

/// Run `inner` (an ignored test of this file) with a small tmpfs of its own at `TM_SMALL_DISK`. Returns false
/// where user namespaces are not allowed.
fn on_small_disk(inner: &str, size: &str) -> bool {
    let mount = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=$1 none \"$2\" || exit 77; shift 2; exec \"$@\"";
    let status = Command::new("unshare")
        .args(["-Urm", "sh", "-c", script, "sh", size])
        .arg(mount.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", inner, "--nocapture"])
        .env("TM_SMALL_DISK", mount.path())
        .status();
    match status.map(|s| s.code()) {
        Ok(Some(0)) => true,
        Ok(Some(77 | 1)) | Err(_) => {
            eprintln!("skipped: no user namespace with a tmpfs here");
            false
        }
        other => panic!("{inner}: {other:?}"),
    }
}

#[test]
fn a_full_disk_keeps_everything_and_catches_up_when_space_returns() {
    on_small_disk("inner_full_disk", "6m");
}

#[test]
#[ignore = "run by the test above on a small disk of its own"]
fn inner_full_disk() {
    let Some(disk) = std::env::var_os("TM_SMALL_DISK") else {
        return;
    };
    let disk = Path::new(&disk);
    let run = disk.join("run");
    fs::create_dir(&run).unwrap();
    // The lanes lie elsewhere, so that only the database meets the full disk.
    let lanes = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(lanes.path(), run.join(".spool")).unwrap();
    let producer = Run::producer_in(&run, "job", 0, 1 << 20);
    let layout = floats(&producer, &["loss"]);
    let ingest = Ingest::start(&run, IngestOptions::default()).unwrap();
    let mut next = 0;
    for round in 0..5 {
        log(&producer, layout, next..next + 2000);
        next += 2000;
        wait("durability", || producer.backlog_bytes() == 0);
        let filler = disk.join("filler");
        let mut file = fs::File::create(&filler).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
        log(&producer, layout, next..next + 3000);
        next += 3000;
        wait("the error to be told", || {
            let error = ingest.status().last_error;
            error.is_some_and(|e| e.contains("full"))
        });
        assert!(
            producer.backlog_bytes() > 0,
            "round {round}: acknowledged on a full disk"
        );
        drop(file);
        fs::remove_file(&filler).unwrap();
        wait("it to catch up", || producer.backlog_bytes() == 0);
    }
    assert_eq!(
        ingest.finish(Duration::from_secs(10)).unwrap().last_error,
        None
    );
    let reader = RunReader::open(&run).unwrap();
    assert_eq!(steps(&reader), (0..next).collect::<Vec<i64>>());
    assert_eq!(reader.gaps().unwrap(), []);
}

#[test]
fn failing_syncs_lose_nothing_and_double_nothing() {
    let inject = "inject=fsync,fdatasync:error=EIO:when=12+9";
    let status = Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fsync,fdatasync",
            "-e",
            inject,
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inner_failing_syncs", "--nocapture"])
        .env("TM_EIO", "1")
        .status();
    match status.map(|s| s.code()) {
        Ok(Some(0)) => {}
        Ok(Some(1)) | Err(_) => eprintln!("skipped: no strace here"),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "run by the test above under strace"]
fn inner_failing_syncs() {
    if std::env::var_os("TM_EIO").is_none() {
        return;
    }
    let run = Run::new();
    let producer = run.producer("job", 0);
    let layout = floats(&producer, &["loss"]);
    let ingest = run.ingest();
    let mut failures = 0;
    for round in 0..15 {
        log(&producer, layout, round * 500..(round + 1) * 500);
        wait("durability in spite of errors", || {
            failures += i32::from(ingest.status().last_error.is_some());
            producer.backlog_bytes() == 0
        });
    }
    assert!(
        failures > 0,
        "no error was seen: the injection did not work"
    );
    assert!(producer.close(Duration::from_secs(90)).durable);
    ingest.finish(Duration::from_secs(90)).unwrap();
    // The last checkpoint may have met an error too; whoever opens next repairs that.
    run.ingest().finish(Duration::from_secs(90)).unwrap();
    assert_eq!(damaged(&run), Vec::<String>::new());
    let reader = run.reader();
    assert_eq!(steps(&reader), (0..7_500).collect::<Vec<i64>>());
    assert_eq!(reader.counts().unwrap().points, 7_500);
    assert_eq!(reader.gaps().unwrap(), []);
}
