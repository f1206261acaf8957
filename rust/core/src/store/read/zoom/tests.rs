//! How much a picture reads.

use std::time::Duration;

use tm_spool::{Flags, Producer, ProducerOptions, Step};

use super::super::{Origins, RunReader, SeriesOptions};
use super::key_id;
use crate::{Ingest, IngestOptions};

const STEPS: i64 = 16 * 8192;

/// Log `loss` at every step as one rank of a job, and end.
fn log(run: &std::path::Path, job: &str, rank: u32) {
    let options = ProducerOptions {
        rank,
        local_rank: rank,
        world: 2,
        local_world: 2,
        ..ProducerOptions::alone(run, job)
    };
    let producer = Producer::create(options).unwrap();
    let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
    for step in 0..STEPS {
        let slot = (step as f64).to_bits();
        while producer
            .append_points(Flags(0), Step(step), layout, &[slot])
            .is_err()
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(producer.close(Duration::from_secs(60)).durable);
}

/// Points decoded, and stretches that stand for others, in a picture of rank 0.
fn read(reader: &RunReader, count: usize) -> (usize, usize) {
    let options = SeriesOptions {
        rank: Some(0),
        ..SeriesOptions::default()
    };
    let key = key_id(&reader.conn, b"loss").unwrap().unwrap();
    let origins = Origins::load(&reader.conn).unwrap();
    let view = reader
        .view(&reader.conn, &origins, key, &options, count)
        .unwrap();
    (view.points.placed.step.len(), view.items.len())
}

#[test]
fn a_picture_of_one_rank_or_attempt_reads_rows_and_no_points() {
    let run = tempfile::tempdir().unwrap();
    let ingest = Ingest::start(run.path(), IngestOptions::default()).unwrap();
    // The second attempt hides all of the first.
    for (job, rank) in [("one", 0), ("two", 0), ("two", 1)] {
        log(run.path(), job, rank);
    }
    ingest.finish(Duration::from_secs(60)).unwrap();
    let reader = RunReader::open(run.path()).unwrap();
    // Two rows of level 2 for each producer, 16 of level 1, 128 parts of these.
    for count in [1, 2, 3, 6, 16, 20, 40, 100] {
        let (points, items) = read(&reader, count);
        assert_eq!(points, 0, "for {count} stretches");
        assert!(items >= count, "{items} of {count}");
        assert!(items <= (8 * count).max(2), "{items} for {count}");
    }
}
