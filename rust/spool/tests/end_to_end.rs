//! A producer and a reader in one process: what was accepted comes back, whole, once and in order.

#![allow(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::path::Path;
use std::time::Duration;

use tm_spool::{
    Flags, Kind, LaneId, Lsn, Mode, Producer, ProducerOptions, ProducerReader, Reject, Step, Value,
    ValueType, frames, peek,
};

fn options(run_dir: &Path, lane_bytes: u64, mode: Option<Mode>) -> ProducerOptions {
    ProducerOptions {
        lane_bytes,
        force_mode: mode,
        ..ProducerOptions::alone(run_dir, "job")
    }
}

/// Read all lanes to their ends; acknowledges when told to. Returns (step, slots) in order.
fn drain(reader: &mut ProducerReader, acknowledge: bool) -> Vec<(i64, Vec<u64>)> {
    let mut got = Vec::new();
    for lane in reader.lanes() {
        if reader.position(lane) == Some(Lsn(0)) {
            assert_eq!(reader.set_mark(lane, Lsn(0)).unwrap(), None);
        }
        loop {
            let read = reader.read(lane, 1 << 16).unwrap();
            assert_eq!(read.gap, None);
            let Some(batch) = read.batch else { break };
            for frame in frames(&batch.bytes, batch.first) {
                got.push((frame.step.0, frame.slots().collect()));
            }
            if acknowledge {
                reader.acknowledge(lane, batch.end).unwrap();
            }
        }
    }
    got
}

#[test]
fn frames_come_back_through_wraps_in_both_modes() {
    for mode in [Mode::Mmap, Mode::Pwrite] {
        let run = tempfile::tempdir().unwrap();
        let producer = Producer::create(options(run.path(), 64 << 10, Some(mode))).unwrap();
        let mut reader = ProducerReader::open(producer.dir()).unwrap();
        let keys = [producer.key(b"loss").unwrap(), producer.key(b"lr").unwrap()];
        let layout = producer.layout(&keys).unwrap();
        let mut got = Vec::new();
        for step in 0..20_000i64 {
            let slots = [(step as f64).to_bits(), 7];
            producer
                .append_points(
                    Flags(0),
                    Step(step),
                    layout,
                    &slots[..1 + (step % 2) as usize],
                )
                .unwrap();
            if step % 97 == 0 {
                got.extend(drain(&mut reader, true));
            }
        }
        got.extend(drain(&mut reader, true));
        assert_eq!(got.len(), 20_000);
        for (i, (step, slots)) in got.iter().enumerate() {
            assert_eq!((*step, slots[0]), (i as i64, (i as f64).to_bits()));
        }
        let tail = reader.dictionary().unwrap();
        assert_eq!(
            tail.keys
                .iter()
                .map(|(_, k)| k.as_slice())
                .collect::<Vec<_>>(),
            [&b"loss"[..], b"lr"]
        );
        assert_eq!(tail.layouts, [(layout, keys.to_vec())]);
    }
}

#[test]
fn a_backlog_goes_to_chain_files_and_back_to_the_ring() {
    for mode in [Mode::Mmap, Mode::Pwrite] {
        let run = tempfile::tempdir().unwrap();
        let producer = Producer::create(options(run.path(), 64 << 10, Some(mode))).unwrap();
        let mut reader = ProducerReader::open(producer.dir()).unwrap();
        let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
        let mut want = Vec::new();
        let mut got = Vec::new();
        let mut step = 0;
        for round in 0..6 {
            for _ in 0..40_000 {
                producer
                    .append_points(Flags(0), Step(step), layout, &[step as u64])
                    .unwrap();
                want.push((step, vec![step as u64]));
                step += 1;
            }
            assert!(chain_files(producer.dir()) > 0, "round {round}");
            got.extend(drain(&mut reader, true));
            // A little traffic with an attentive reader leads back to the ring.
            for _ in 0..2_000 {
                producer
                    .append_points(Flags(0), Step(step), layout, &[step as u64])
                    .unwrap();
                want.push((step, vec![step as u64]));
                step += 1;
                if step % 10 == 0 {
                    got.extend(drain(&mut reader, true));
                }
            }
            got.extend(drain(&mut reader, true));
            assert_eq!(chain_files(producer.dir()), 0, "round {round}");
        }
        assert_eq!(got.len(), want.len());
        assert!(got == want);
    }
}

#[test]
fn a_lane_whose_counter_is_behind_the_acknowledgement_goes_on_after_a_lost_database() {
    let run = tempfile::tempdir().unwrap();
    let mode = Some(Mode::Pwrite);
    let producer = Producer::create(options(run.path(), 64 << 10, mode)).unwrap();
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let log = |steps: std::ops::Range<i64>| {
        for step in steps {
            let values = [step as u64];
            let step = Step(step);
            producer
                .append_points(Flags(0), step, layout, &values)
                .unwrap();
        }
    };
    // Several laps, and an odd number of frames: the counter in the file is not written with each.
    for lap in 0..41 {
        log(lap * 101..(lap + 1) * 101);
        drain(&mut reader, true);
    }
    let lane = reader.lanes()[0];
    let acked = reader.position(lane).unwrap();
    drop(reader);
    log(41 * 101..41 * 101 + 10);
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    reader.lanes();
    let gap = reader.set_mark(lane, Lsn(0)).unwrap().unwrap();
    assert_eq!((gap.first, gap.end), (Lsn(0), acked));
    let steps: Vec<i64> = drain(&mut reader, true).into_iter().map(|f| f.0).collect();
    assert_eq!(steps, (41 * 101..41 * 101 + 10).collect::<Vec<_>>());
}

fn chain_files(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap());
    names.filter(|n| n.starts_with("lane0.")).count()
}

#[test]
fn a_reader_that_starts_again_in_a_chain_goes_on_where_the_mark_is() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path(), 64 << 10, None)).unwrap();
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    for step in 0..100_000 {
        producer
            .append_points(Flags(0), Step(step), layout, &[step as u64])
            .unwrap();
    }
    let mut mark = Lsn(0);
    let mut got = Vec::new();
    loop {
        let mut reader = ProducerReader::open(producer.dir()).unwrap();
        let lane = reader.lanes()[0];
        reader.set_mark(lane, mark).unwrap();
        let Some(batch) = reader.read(lane, 100_000).unwrap().batch else {
            break;
        };
        got.extend(frames(&batch.bytes, batch.first).map(|f| f.step.0));
        mark = batch.end;
        if got.len() % 3 == 0 {
            reader.acknowledge(lane, mark).unwrap();
        }
    }
    assert_eq!(got, (0..100_000).collect::<Vec<_>>());
}

#[test]
fn a_large_call_is_one_frame_again() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path(), 64 << 10, None)).unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let text = vec![b'a'; 3 << 20];
    producer
        .append_blob(Kind::Event, Flags(0), Step(1), &text)
        .unwrap();
    let slots: Vec<u64> = (0..100_000).collect();
    let names: Vec<String> = (0..100_000).map(|i| format!("k{i}")).collect();
    let mut keys = Vec::new();
    producer
        .keys(names.iter().map(|n| n.as_bytes()), &mut keys)
        .unwrap();
    let layout = producer.layout(&keys).unwrap();
    producer
        .append_points(Flags(0), Step(2), layout, &slots)
        .unwrap();
    let too_large = vec![0u64; (64 << 20) / 8];
    assert_eq!(
        producer.append_points(Flags(0), Step(3), layout, &too_large),
        Err(Reject::TooLarge)
    );
    let lane = reader.lanes()[0];
    reader.set_mark(lane, Lsn(0)).unwrap();
    let mut got = Vec::new();
    while let Some(batch) = reader.read(lane, 1 << 20).unwrap().batch {
        got.extend(
            frames(&batch.bytes, batch.first)
                .map(|f| (f.kind, f.blob().to_vec(), f.slots().collect::<Vec<_>>())),
        );
    }
    assert_eq!(got.len(), 2);
    assert_eq!(got[0].1, text);
    assert_eq!(got[1].2, slots);
    let tail = reader.dictionary().unwrap();
    assert_eq!(tail.layouts, [(layout, keys)]);
    assert_eq!(tail.keys.len(), 100_000);
}

#[test]
fn values_of_every_type_come_back() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path(), 64 << 10, None)).unwrap();
    let keys: Vec<_> = (0u8..6)
        .map(|i| producer.key(&[b'a' + i]).unwrap())
        .collect();
    let layout = producer.layout(&keys).unwrap();
    let side = b"1267650600228229401496703205376hello";
    let slots = [
        f64::from_bits(0x7ff8_0000_0000_1234).to_bits(),
        (-5i64) as u64,
        1,
        tm_spool::side_slot(0, 31),
        0,
        tm_spool::side_slot(31, 5),
    ];
    use ValueType as T;
    let types = [T::F64, T::I64, T::Bool, T::BigInt, T::None, T::Text];
    producer
        .append_typed(
            Flags(Flags::FORCE_ANALYSIS),
            Step(9),
            layout,
            &slots,
            &types,
            side,
        )
        .unwrap();
    producer
        .append_pairs(Flags(0), Step(10), &keys, &slots, Some(&types), side)
        .unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let lane = reader.lanes()[0];
    reader.set_mark(lane, Lsn(0)).unwrap();
    let batch = reader.read(lane, 1 << 20).unwrap().batch.unwrap();
    let all: Vec<_> = frames(&batch.bytes, batch.first).collect();
    assert!(all[0].flags.has(Flags::FORCE_ANALYSIS));
    assert_eq!(all[1].pair_key(5), Some(keys[5]));
    for frame in &all {
        assert_eq!(frame.slot(0), 0x7ff8_0000_0000_1234);
        assert_eq!(frame.value(1), Some(Value::I64(-5)));
        assert_eq!(frame.value(2), Some(Value::Bool(true)));
        assert_eq!(frame.value(3), Some(Value::BigInt(&side[..31])));
        assert_eq!(frame.value(4), Some(Value::None));
        assert_eq!(frame.value(5), Some(Value::Text(b"hello")));
        assert_eq!(frame.value(6), None);
    }
}

#[test]
fn close_waits_for_the_acknowledgement_and_ends_the_producer() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path(), 64 << 10, None)).unwrap();
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    producer
        .append_points(Flags(0), Step(0), layout, &[1])
        .unwrap();
    let late = producer.close(Duration::from_millis(20));
    assert!(!late.durable && late.points_left == 1);
    assert_eq!(
        producer.append_points(Flags(0), Step(1), layout, &[1]),
        Err(Reject::Closed)
    );
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    assert!(!reader.drained().unwrap());
    assert_eq!(drain(&mut reader, true).len(), 2);
    assert!(reader.drained().unwrap());
    assert_eq!(
        tm_spool::producer_dirs(run.path()).unwrap(),
        [producer.dir()]
    );
    reader.remove(run.path()).unwrap();
    assert!(tm_spool::producer_dirs(run.path()).unwrap().is_empty());
}

#[test]
fn threads_share_the_lanes_and_tear_nothing() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path(), 64 << 10, None)).unwrap();
    let layout = producer
        .layout(&[producer.key(b"x").unwrap(), producer.key(b"y").unwrap()])
        .unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let mut got = Vec::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4i64)
            .map(|t| {
                let producer = &producer;
                scope.spawn(move || {
                    for i in 0..20_000i64 {
                        let value = (t * 1_000_000 + i) as u64;
                        producer
                            .append_points(Flags(0), Step(i), layout, &[value, !value])
                            .unwrap();
                    }
                })
            })
            .collect();
        while workers.iter().any(|w| !w.is_finished()) {
            got.extend(drain(&mut reader, true));
        }
    });
    got.extend(drain(&mut reader, true));
    assert_eq!(got.len(), 80_000);
    assert!(got.iter().all(|(_, s)| s[1] == !s[0]));
    let mut values: Vec<u64> = got.iter().map(|(_, s)| s[0]).collect();
    values.sort_unstable();
    values.dedup();
    assert_eq!(values.len(), 80_000);
    assert!(reader.lanes().contains(&LaneId(0)));
}

#[test]
fn without_a_mapping_others_still_see_the_last_step() {
    let run = tempfile::tempdir().unwrap();
    let mode = Some(Mode::Pwrite);
    let producer = Producer::create(options(run.path(), 64 << 10, mode)).unwrap();
    let layout = producer.layout(&[producer.key(b"loss").unwrap()]).unwrap();
    let log = |step| {
        let appended = producer.append_points(Flags(0), Step(step), layout, &[0]);
        appended.unwrap();
        peek(producer.dir()).unwrap().1
    };
    // At once, once a second, and at the end; not with every call.
    let first = log(41);
    assert_eq!((first.last_step, first.accepted_points), (41, 1));
    log(42);
    producer.close(Duration::ZERO);
    let last = peek(producer.dir()).unwrap().1;
    assert_eq!((last.last_step, last.accepted_points), (42, 2));
}
