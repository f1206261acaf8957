//! What compaction puts together.

use std::path::Path;
use std::time::{Duration, Instant};

use tm_spool::{Flags, KeyId, Producer, ProducerOptions, ProducerReader, Step};

use super::super::open::DATABASE_NAME;
use super::super::source::{End, Source};
use super::super::tests::pend_from;
use super::*;
use crate::stats::Alphas;
use crate::store::RunReader;
use crate::store::write::CommitOptions;

fn producer(run: &Path) -> Producer {
    Producer::create(ProducerOptions {
        lane_bytes: 64 << 20,
        ..ProducerOptions::alone(run, "compaction")
    })
    .unwrap()
}

/// Store what was logged since the last call as groups of their own.
fn seal(store: &mut Store, reader: &mut ProducerReader, source: &mut Source) {
    pend_from(reader, source);
    source.pending.seal = true;
    store
        .commit(&mut [source], &CommitOptions::default())
        .unwrap();
}

fn end(store: &mut Store, source: &mut Source) {
    source.pending.end = Some(End {
        how: "closed",
        accepted_points: 0,
        rejected: "{}".into(),
        homeless_frames: 0,
        exit: None,
    });
    store
        .commit(&mut [source], &CommitOptions::default())
        .unwrap();
}

fn compact(store: &mut Store) {
    while store
        .tend(Instant::now() + Duration::from_millis(15))
        .unwrap()
    {}
}

fn number(store: &Store, sql: &str) -> i64 {
    store.conn.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn groups_of_wide_pairs_frames_are_put_together_by_their_points() {
    const KEYS: usize = 1000;
    const FRAMES: i64 = 260;
    let run = tempfile::tempdir().unwrap();
    let producer = producer(run.path());
    let keys: Vec<KeyId> = (0..KEYS)
        .map(|key| producer.key(format!("k{key}").as_bytes()).unwrap())
        .collect();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let mut store = Store::open(&run.path().join(DATABASE_NAME), Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    for group in 0..5 {
        for step in group * FRAMES..(group + 1) * FRAMES {
            producer
                .append_pairs(Flags(0), Step(step), &keys, &[1; KEYS], None, &[])
                .unwrap();
        }
        seal(&mut store, &mut reader, &mut source);
    }
    end(&mut store, &mut source);
    assert_eq!(number(&store, "SELECT count(*) FROM groups"), 5);
    compact(&mut store);
    let of_groups = "SELECT sum(n) AS points FROM cols GROUP BY grp";
    let largest = number(&store, &format!("SELECT max(points) FROM ({of_groups})"));
    assert!(largest <= MOST_POINTS as i64, "{largest}");
    assert_eq!(number(&store, "SELECT count(*) FROM groups"), 2);
    let all = KEYS as i64 * FRAMES * 5;
    assert_eq!(number(&store, "SELECT sum(n) FROM cols"), all);
}

#[test]
fn metrics_count_what_was_sealed_after_a_compaction() {
    let run = tempfile::tempdir().unwrap();
    let mut store = Store::open(&run.path().join(DATABASE_NAME), Alphas::default()).unwrap();
    let mut logged = 0u32;
    for groups in [5, 2, 1] {
        let producer = producer(run.path());
        let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
        let mut reader = ProducerReader::open(producer.dir()).unwrap();
        let mut source = store.register(reader.info()).unwrap();
        for _ in 0..groups {
            for _ in 0..10 {
                let slot = f64::from(logged).to_bits();
                logged += 1;
                producer
                    .append_points(Flags(0), Step(i64::from(logged)), layout, &[slot])
                    .unwrap();
            }
            seal(&mut store, &mut reader, &mut source);
            let metrics = RunReader::open(run.path()).unwrap().metrics().unwrap();
            let told = (metrics[0].count, metrics[0].max);
            assert_eq!(told, (u64::from(logged), Some(f64::from(logged - 1))));
        }
        end(&mut store, &mut source);
        compact(&mut store);
    }
    assert_eq!(number(&store, "SELECT count(*) FROM groups"), 3);
}
