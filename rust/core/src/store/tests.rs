//! Tests of the store with frames of a real producer.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;

use tm_spool::{Flags, LaneId, Lsn, Producer, ProducerOptions, ProducerReader, Step, clock};

use super::Store;
use super::open::DATABASE_NAME;
use super::read::{RunReader, SeriesOptions};
use super::source::Source;
use super::write::{ClockSample, CommitOptions};
use crate::stats::Alphas;

pub(crate) fn producer(run: &Path) -> Producer {
    Producer::create(ProducerOptions {
        lane_bytes: 64 << 10,
        ..ProducerOptions::alone(run, "store")
    })
    .unwrap()
}

/// A producer that logged `loss` at step 7, and what reads it.
fn one_frame(run: &Path) -> (Producer, ProducerReader) {
    let producer = producer(run);
    let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
    producer
        .append_points(Flags(0), Step(7), layout, &[0.5f64.to_bits()])
        .unwrap();
    let reader = ProducerReader::open(producer.dir()).unwrap();
    (producer, reader)
}

/// Overwrite the first page of a table, in a file made so large (without taking space) that it is not checked whole
/// when it is opened.
pub(crate) fn damage_in_a_large_file(path: &Path, table: &str) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: u32 = conn.query_row(sql, [table], |row| row.get(0)).unwrap();
    drop(conn);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let (page_bytes, bytes) = (2048, 600 << 20);
    file.set_len(bytes).unwrap();
    let pages = u32::try_from(bytes / page_bytes).unwrap();
    file.write_all_at(&pages.to_be_bytes(), 28).unwrap();
    let garbage = vec![0x5a; page_bytes as usize];
    file.write_all_at(&garbage, u64::from(page - 1) * page_bytes)
        .unwrap();
}

/// Overwrite a column with what cannot be decoded, with no snapshot after it and compaction still to come.
pub(crate) fn rot_the_first_column(path: &Path) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(
        "UPDATE cols SET data = x'7f00' WHERE id = (SELECT min(id) FROM cols);
         UPDATE groups SET compacted = 0; DELETE FROM stats; DELETE FROM stats_state",
    )
    .unwrap();
}

/// Somebody writes, and does not come to an end until this is dropped.
pub(crate) fn writing(path: &Path) -> rusqlite::Connection {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch("BEGIN IMMEDIATE").unwrap();
    conn
}

/// A producer whose only frame is in the database, and not acknowledged.
pub(crate) fn committed_only(run: &Path) -> Producer {
    let (producer, mut reader) = one_frame(run);
    let mut store = Store::open(&run.join(DATABASE_NAME), Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    pend(&mut reader, &mut source);
    store
        .commit(&mut [&mut source], &CommitOptions::default())
        .unwrap();
    producer
}

/// What a reader finds, as pending work of a source.
fn pend(reader: &mut ProducerReader, source: &mut Source) {
    let lane = reader.lanes()[0];
    reader.set_mark(lane, Lsn(0)).unwrap();
    pend_from(reader, source);
}

/// The same from where the source stands.
pub(crate) fn pend_from(reader: &mut ProducerReader, source: &mut Source) {
    let lane = reader.lanes()[0];
    let mark = source.marks.get(&lane.0).copied().unwrap_or(0);
    reader.set_mark(lane, Lsn(mark)).unwrap();
    let batch = reader.read(lane, 16 << 20).unwrap().batch.unwrap();
    source.pending.marks.insert(lane.0, batch.end.0);
    source
        .pending
        .definitions
        .push(reader.dictionary().unwrap());
    source.pending.batches.push(batch);
}

#[test]
fn definitions_of_a_commit_that_failed_are_written_by_the_next() {
    let run = tempfile::tempdir().unwrap();
    let (_producer, mut reader) = one_frame(run.path());
    let database = run.path().join(DATABASE_NAME);
    let mut store = Store::open(&database, Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    pend(&mut reader, &mut source);
    let fail =
        "CREATE TEMP TRIGGER full BEFORE INSERT ON fresh BEGIN SELECT RAISE(ABORT, 'full'); END";
    store.conn.execute_batch(fail).unwrap();
    let options = CommitOptions::default();
    assert!(store.commit(&mut [&mut source], &options).is_err());
    store.conn.execute_batch("DROP TRIGGER full").unwrap();
    store.commit(&mut [&mut source], &options).unwrap();
    // Live, and after the writer was killed before it sealed.
    for _ in 0..2 {
        let series = RunReader::open(run.path())
            .unwrap()
            .series(b"loss", &SeriesOptions::default())
            .unwrap();
        assert_eq!(series.step, [7]);
        drop(Store::open(&database, Alphas::default()).unwrap());
    }
    let names: Vec<_> = RunReader::open(run.path()).unwrap().metrics().unwrap();
    assert_eq!(
        names.len(),
        1,
        "metrics() knows what an earlier writer left in fresh"
    );
    assert_eq!(LaneId(0), reader.lanes()[0]);
}

#[test]
fn damage_that_shows_only_when_old_frames_are_sealed_is_moved_aside() {
    let run = tempfile::tempdir().unwrap();
    let (_producer, mut reader) = one_frame(run.path());
    let database = run.path().join(DATABASE_NAME);
    let mut store = Store::open(&database, Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    pend(&mut reader, &mut source);
    store
        .commit(&mut [&mut source], &CommitOptions::default())
        .unwrap();
    store.close().unwrap();
    damage_in_a_large_file(&database, "cols");
    let store = Store::open(&database, Alphas::default()).unwrap();
    assert!(store.quarantined.is_some_and(|aside| aside.exists()));
    assert!(
        Store::open(&database, Alphas::default())
            .unwrap()
            .quarantined
            .is_none()
    );
}

#[test]
fn statistics_that_are_gone_or_damaged_are_made_again_from_the_groups() {
    let run = tempfile::tempdir().unwrap();
    let producer = producer(run.path());
    let keys = [b"loss".as_slice(), b"lr"].map(|name| producer.key(name).unwrap());
    let layout = producer.layout(&keys).unwrap();
    for step in 0..500 {
        let slots = [(step as f64).sin().to_bits(), 0.5f64.to_bits()];
        producer
            .append_points(Flags(0), Step(step), layout, &slots)
            .unwrap();
    }
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let database = run.path().join(DATABASE_NAME);
    let mut store = Store::open(&database, Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    pend(&mut reader, &mut source);
    source.pending.seal = true;
    store
        .commit(&mut [&mut source], &CommitOptions::default())
        .unwrap();
    store.save_statistics().unwrap();
    let statistics = || {
        let reader = RunReader::open(run.path()).unwrap();
        reader.statistics(b"loss").unwrap().statistics
    };
    let expected = statistics();
    assert_eq!(expected.count, 500);
    for harm in [
        "DELETE FROM stats_state",
        "DELETE FROM stats WHERE key = 1",
        "UPDATE stats SET sketch = x'07ff'",
        "UPDATE stats SET count = count + 1",
        "UPDATE stats_state SET last_grp = 1000000",
    ] {
        store.conn.execute(harm, []).unwrap();
        drop(store);
        store = Store::open(&database, Alphas::default()).unwrap();
        store.save_statistics().unwrap();
        let found = statistics();
        assert_eq!(
            (found.count, found.last),
            (500, expected.last),
            "after {harm}"
        );
        assert_eq!(found.sketch, expected.sketch, "after {harm}");
        let rows = |sql: &str| {
            store
                .conn
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .unwrap()
        };
        assert_eq!(rows("SELECT sum(count) FROM stats"), 1000, "after {harm}");
        assert_eq!(
            rows("SELECT last_grp FROM stats_state"),
            rows("SELECT max(id) FROM groups")
        );
    }
}

#[test]
fn a_frame_that_nothing_defines_is_one_lost_frame() {
    let run = tempfile::tempdir().unwrap();
    let (producer, mut reader) = one_frame(run.path());
    let unknown = producer.layout(&[producer.key(b"lr").unwrap()]).unwrap();
    producer
        .append_points(Flags(0), Step(8), unknown, &[0])
        .unwrap();
    let database = run.path().join(DATABASE_NAME);
    let mut store = Store::open(&database, Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    pend(&mut reader, &mut source);
    for tail in &mut source.pending.definitions {
        tail.layouts.retain(|(local, _)| *local != unknown);
    }
    let options = CommitOptions::default();
    store.commit(&mut [&mut source], &options).unwrap();
    // Sealed by this writer, and what is left in `fresh` by the next.
    source.pending.seal = true;
    store.commit(&mut [&mut source], &options).unwrap();
    drop(Store::open(&database, Alphas::default()).unwrap());
    let gaps = RunReader::open(run.path()).unwrap().gaps().unwrap();
    let told: Vec<_> = gaps.iter().map(|gap| gap.frames_lost).collect();
    assert_eq!(told, [Some(1)]);
}

/// Log `loss` at one step, and store it with these options.
fn log_and_store(
    (producer, reader): (&Producer, &mut ProducerReader),
    (store, source): (&mut Store, &mut Source),
    step: i64,
    options: &CommitOptions,
) {
    let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
    producer
        .append_points(Flags(0), Step(step), layout, &[(step as f64).to_bits()])
        .unwrap();
    pend_from(reader, source);
    store.commit(&mut [source], options).unwrap();
}

fn last_steps(run: &Path) -> (i64, i64) {
    let reader = RunReader::open(run).unwrap();
    let statistics = reader.statistics(b"loss").unwrap().statistics;
    (
        statistics.last.unwrap().step,
        reader.metrics().unwrap()[0].last_step,
    )
}

const HOUR_NS: i64 = 3_600_000_000_000;

#[test]
fn the_last_value_is_the_newest_after_the_wall_clock_was_set_back() {
    let run = tempfile::tempdir().unwrap();
    let (producer, mut reader) = one_frame(run.path());
    let mut store = Store::open(&run.path().join(DATABASE_NAME), Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    let told = CommitOptions {
        flush_latest: true,
        ..CommitOptions::default()
    };
    log_and_store(
        (&producer, &mut reader),
        (&mut store, &mut source),
        8,
        &told,
    );
    source.pending.seal = true;
    store.commit(&mut [&mut source], &told).unwrap();
    store.save_statistics().unwrap();
    assert_eq!(last_steps(run.path()), (8, 8));
    let set_back = CommitOptions {
        clock: Some(ClockSample {
            host: "here".into(),
            boottime_ns: clock::boottime_ns(),
            wall_ns: clock::wall_ns() - HOUR_NS,
        }),
        ..CommitOptions::default()
    };
    log_and_store(
        (&producer, &mut reader),
        (&mut store, &mut source),
        9,
        &set_back,
    );
    assert_eq!(last_steps(run.path()), (9, 9));
    let metrics = RunReader::open(run.path()).unwrap().metrics().unwrap();
    let now = (clock::wall_ns() - HOUR_NS) as f64 / 1e9;
    assert!(
        (metrics[0].last_time - now).abs() < 600.0,
        "shown as it was"
    );
}

#[test]
fn a_producer_that_started_after_the_wall_clock_was_set_back_is_the_newest() {
    let run = tempfile::tempdir().unwrap();
    let mut store = Store::open(&run.path().join(DATABASE_NAME), Alphas::default()).unwrap();
    let options = CommitOptions {
        flush_latest: true,
        save_statistics: true,
        ..CommitOptions::default()
    };
    for (number, step) in [(0, 100), (1, 50)] {
        let producer = producer(run.path());
        let mut reader = ProducerReader::open(producer.dir()).unwrap();
        let mut info = reader.info().clone();
        info.wall_ns -= number * HOUR_NS;
        let mut source = store.register(&info).unwrap();
        source.pending.seal = true;
        log_and_store(
            (&producer, &mut reader),
            (&mut store, &mut source),
            step,
            &options,
        );
        assert_eq!(last_steps(run.path()), (step, step));
    }
    // Made again from the groups.
    store.conn.execute("DELETE FROM stats_state", []).unwrap();
    assert_eq!(last_steps(run.path()), (50, 50));
}
