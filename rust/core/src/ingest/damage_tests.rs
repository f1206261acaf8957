//! A page of a large database goes bad: it is not checked whole when it is opened.

use std::time::{Duration, Instant};

use tm_spool::{Flags, Producer, ProducerOptions, Step};

use super::{Ingest, IngestOptions};
use crate::store::tests::damage_in_a_large_file;
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
