//! Damage in sealed blobs: told, and never another value.

use std::path::Path;
use std::time::{Duration, Instant};

use tm_spool::{Flags, ProducerReader, Step};

use super::super::open::DATABASE_NAME;
use super::super::read::{RunReader, SeriesOptions};
use super::super::tests::{pend_from, producer};
use super::super::write::CommitOptions;
use super::super::{End, Store};
use crate::stats::Alphas;

/// Flip a bit in the middle of a blob.
fn harm(store: &Store, select: &str, update: &str) {
    let mut blob: Vec<u8> = store.conn.query_row(select, [], |row| row.get(0)).unwrap();
    let middle = blob.len() / 2;
    blob[middle] ^= 4;
    store.conn.execute(update, [blob]).unwrap();
}

/// Three groups of two keys, "loss" and "lr", of a producer that has ended.
fn three_groups(run: &Path) -> Store {
    let producer = producer(run);
    let keys = [b"loss".as_slice(), b"lr"].map(|name| producer.key(name).unwrap());
    let layout = producer.layout(&keys).unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let mut store = Store::open(&run.join(DATABASE_NAME), Alphas::default()).unwrap();
    let mut source = store.register(reader.info()).unwrap();
    for step in 0..300 {
        let slots = [(step as f64).sin().to_bits(), (step as f64 / 7.0).to_bits()];
        producer
            .append_points(Flags(0), Step(step), layout, &slots)
            .unwrap();
        if step % 100 == 99 {
            pend_from(&mut reader, &mut source);
            source.pending.seal = true;
            store
                .commit(&mut [&mut source], &CommitOptions::default())
                .unwrap();
        }
    }
    source.pending.end = Some(End {
        how: "closed",
        accepted_points: 600,
        rejected: "{}".into(),
        homeless_frames: 0,
        exit: None,
    });
    store
        .commit(&mut [&mut source], &CommitOptions::default())
        .unwrap();
    store
}

/// Do all the work that can wait.
fn tend(store: &mut Store) {
    while store
        .tend(Instant::now() + Duration::from_millis(15))
        .unwrap()
    {}
}

#[test]
fn a_flipped_bit_is_an_error_for_its_key_and_for_no_other() {
    let run = tempfile::tempdir().unwrap();
    let mut store = three_groups(run.path());
    let series = |key: &[u8]| {
        let reader = RunReader::open(run.path()).unwrap();
        reader.series(key, &SeriesOptions::default())
    };
    let sound = series(b"loss").unwrap();
    harm(
        &store,
        "SELECT data FROM cols WHERE key = 1 AND grp = 2",
        "UPDATE cols SET data = ?1 WHERE key = 1 AND grp = 2",
    );
    let told = "a stored column cannot be decoded: \"loss\" in group 2: its checksum does not fit";
    assert_eq!(series(b"loss").unwrap_err().to_string(), told);
    assert_eq!(series(b"lr").unwrap().step.len(), 300);
    // Compaction leaves it as it is, and says so once.
    tend(&mut store);
    tend(&mut store);
    let gaps = RunReader::open(run.path()).unwrap().gaps().unwrap();
    assert_eq!((gaps.len(), gaps[0].reason.as_str()), (1, "damaged_column"));
    assert_eq!(gaps[0].detail.as_deref(), Some(told));
    assert_eq!(series(b"lr").unwrap().step.len(), 300);
    // A bit back again, and all is well; then the steps of a group.
    harm(
        &store,
        "SELECT data FROM cols WHERE key = 1 AND grp = 2",
        "UPDATE cols SET data = ?1 WHERE key = 1 AND grp = 2",
    );
    assert_eq!(series(b"loss").unwrap(), sound);
    let (select, update) = (
        "SELECT steps FROM groups WHERE id = 2",
        "UPDATE groups SET steps = ?1 WHERE id = 2",
    );
    harm(&store, select, update);
    assert!(series(b"loss").unwrap_err().to_string().contains("group 2"));
    harm(&store, select, update);
    // A damaged row of the rollup is not used.
    harm(
        &store,
        "SELECT bucket FROM rollup WHERE key = 1",
        "UPDATE rollup SET bucket = ?1 WHERE key = 1",
    );
    let reader = RunReader::open(run.path()).unwrap();
    let zoom = reader.zoom(b"loss", 1, &SeriesOptions::default()).unwrap();
    let expected = (0..300)
        .map(|step| f64::from(step).sin())
        .fold(0.0, f64::max);
    assert_eq!((zoom[0].count, zoom[0].max), (300, Some(expected)));
}

#[test]
fn a_lost_layout_is_told_and_its_groups_stay_as_they_are() {
    let run = tempfile::tempdir().unwrap();
    let mut store = three_groups(run.path());
    let series = || {
        let reader = RunReader::open(run.path()).unwrap();
        reader.series(b"loss", &SeriesOptions::default()).unwrap()
    };
    let sound = series();
    store.conn.execute("DELETE FROM layouts", []).unwrap();
    tend(&mut store);
    assert_eq!(series(), sound);
    let told = "a stored column cannot be decoded: layout 0 of producer 1 is missing";
    let reader = RunReader::open(run.path()).unwrap();
    assert_eq!(reader.steps(5).unwrap_err().to_string(), told);
    assert_eq!(reader.gaps().unwrap()[0].detail.as_deref(), Some(told));
}
