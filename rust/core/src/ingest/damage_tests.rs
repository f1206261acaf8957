//! A page of a large database goes bad: it is not checked whole when it is opened.

use std::time::{Duration, Instant};

use tm_spool::{Flags, Producer, ProducerOptions, Step};

use super::{Ingest, IngestOptions};
use crate::store::tests::{committed_only, damage_in_a_large_file, rot_the_first_column};
use crate::store::{DATABASE_NAME, RunReader, SeriesOptions};

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "waited 60 s for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_damaged_page_of_a_large_database_is_not_met_for_ever() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(ProducerOptions::alone(run.path(), "large")).unwrap();
    let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
    let log = |steps: std::ops::Range<i64>| {
        for step in steps {
            producer
                .append_points(Flags(0), Step(step), layout, &[(step as f64).to_bits()])
                .unwrap();
        }
    };
    let start = || Ingest::start(run.path(), IngestOptions::default()).unwrap();
    let ingest = start();
    log(0..3000);
    wait("the first part", || producer.backlog_bytes() == 0);
    ingest.finish(Duration::from_secs(60)).unwrap();
    damage_in_a_large_file(&run.path().join(DATABASE_NAME), "cols");

    log(3000..6000);
    let ingest = start();
    wait("the second part", || producer.backlog_bytes() == 0);
    wait("it to be told", || ingest.status().quarantined.is_some());
    ingest.finish(Duration::from_secs(60)).unwrap();
    let reader = RunReader::open(run.path()).unwrap();
    let series = reader.series(b"loss", &SeriesOptions::default()).unwrap();
    assert_eq!(series.step, (3000..6000).collect::<Vec<i64>>());
    assert_eq!(reader.gaps().unwrap()[0].reason, "database_behind");
}

#[test]
fn a_column_that_cannot_be_decoded_stops_nothing_else() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(ProducerOptions::alone(run.path(), "rot")).unwrap();
    let keys = [b"loss".as_slice(), b"acc"].map(|name| producer.key(name).unwrap());
    let layout = producer.layout(&keys).unwrap();
    let log = |steps: std::ops::Range<i64>| {
        for step in steps {
            let value = (step as f64).to_bits();
            producer
                .append_points(Flags(0), Step(step), layout, &[value, value])
                .unwrap();
        }
    };
    let start = || Ingest::start(run.path(), IngestOptions::default()).unwrap();
    let ingest = start();
    log(0..3000);
    wait("the first part", || producer.backlog_bytes() == 0);
    ingest.finish(Duration::from_secs(60)).unwrap();
    rot_the_first_column(&run.path().join(DATABASE_NAME));
    for part in 1..3 {
        let ingest = start();
        log(part * 3000..(part + 1) * 3000);
        wait("the next part", || producer.backlog_bytes() == 0);
        let status = ingest.finish(Duration::from_secs(60)).unwrap();
        assert_eq!((status.last_error, status.quarantined), (None, None));
    }
    producer.close(Duration::ZERO);
    let ingest = start();
    wait("the end", || ingest.status().idle);
    ingest.finish(Duration::from_secs(60)).unwrap();
    let reader = RunReader::open(run.path()).unwrap();
    let series = reader.series(b"acc", &SeriesOptions::default()).unwrap();
    assert_eq!(series.step, (0..9000).collect::<Vec<i64>>());
    reader
        .series(b"loss", &SeriesOptions::default())
        .unwrap_err();
    let gaps: Vec<String> = reader
        .gaps()
        .unwrap()
        .into_iter()
        .map(|g| g.reason)
        .collect();
    assert_eq!(gaps, ["damaged_column"]);
}

#[test]
fn what_a_killed_monitor_committed_is_acknowledged_by_the_next() {
    let run = tempfile::tempdir().unwrap();
    let producer = committed_only(run.path());
    assert!(producer.backlog_bytes() > 0);
    let ingest = Ingest::start(run.path(), IngestOptions::default()).unwrap();
    wait("the acknowledgement", || producer.backlog_bytes() == 0);
    assert_eq!(ingest.status().gaps, 0);
}

#[test]
fn a_deletion_that_was_cut_short_is_finished() {
    let run = tempfile::tempdir().unwrap();
    let job = run.path().join(".spool").join("job");
    let gone = job.join(".00112233445566778899aabbccddeeff.gone");
    std::fs::create_dir_all(&gone).unwrap();
    std::fs::write(gone.join("lane0"), b"frames").unwrap();
    let other = job.join("notes");
    std::fs::create_dir(&other).unwrap();
    let id = "ffeeddccbbaa99887766554433221100";
    let target = run.path().join("elsewhere").join(id);
    std::fs::create_dir_all(&target).unwrap();
    let pointer = job.join(format!("{id}.at.gone"));
    std::fs::write(&pointer, target.to_str().unwrap()).unwrap();
    let _ingest = Ingest::start(run.path(), IngestOptions::default()).unwrap();
    assert!(!gone.exists());
    assert!(!target.exists() && !pointer.exists());
    assert!(other.exists());
}
