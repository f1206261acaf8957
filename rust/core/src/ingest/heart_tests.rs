//! The heartbeat while a commit takes long.

use std::time::{Duration, Instant};

use tm_spool::{Flags, Step, clock, peek};

use crate::store::DATABASE_NAME;
use crate::store::tests::{producer, writing};
use crate::{Ingest, IngestOptions};

#[test]
fn the_heart_beats_while_a_commit_takes_long() {
    let run = tempfile::tempdir().unwrap();
    let producer = producer(run.path());
    let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
    let log = |step: i64| {
        producer
            .append_points(Flags(0), Step(step), layout, &[0.5f64.to_bits()])
            .unwrap();
    };
    let ingest = Ingest::start(run.path(), IngestOptions::default()).unwrap();
    log(0);
    let deadline = Instant::now() + Duration::from_secs(90);
    while ingest.status().durable_points == 0 {
        assert!(Instant::now() < deadline, "nothing is durable");
        std::thread::sleep(Duration::from_millis(5));
    }
    // Ingest waits five seconds for the other one, again and again.
    let other = writing(&run.path().join(DATABASE_NAME));
    log(1);
    let began = Instant::now();
    let mut oldest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(11) {
        let (_, stats, _) = peek(producer.dir()).unwrap();
        let age_ns = clock::boottime_ns() - stats.heartbeat_ns.unwrap();
        oldest = oldest.max(Duration::from_nanos(age_ns as u64));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(ingest.status().durable_points, 1);
    drop(other);
    // After five seconds log() takes a monitor for dead.
    assert!(oldest < Duration::from_secs(4), "{oldest:?}");
    assert!(producer.close(Duration::from_secs(90)).durable);
    ingest.finish(Duration::from_secs(90)).unwrap();
}
