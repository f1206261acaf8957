//! What happens when every lane is taken: a thread in the middle of its append may be off the processor for long.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::{Flags, Mode, Producer, ProducerOptions, Reject, Step};

use super::{BUSY_LIMIT, LANES};

fn producer(run_dir: &Path) -> Producer {
    Producer::create(ProducerOptions {
        lane_bytes: 64 << 10,
        force_mode: Some(Mode::Mmap),
        ..ProducerOptions::alone(run_dir, "busy")
    })
    .unwrap()
}

/// Take a lane and stay away, as a thread that lost the processor between claim and release.
fn hold(producer: &Producer, lane: usize) -> bool {
    producer.lanes.lanes[lane].busy.claim()
}

fn free(producer: &Producer, lane: usize) {
    producer.lanes.lanes[lane].busy.free();
}

#[test]
fn with_every_lane_taken_a_call_gives_up_soon_and_is_counted() {
    let run = tempfile::tempdir().unwrap();
    let producer = producer(run.path());
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    assert!((0..LANES).all(|lane| hold(&producer, lane)));
    let started = Instant::now();
    let done = producer.append_points(Flags(0), Step(1), layout, &[1]);
    assert_eq!(done, Err(Reject::LanesBusy));
    let waited = started.elapsed();
    assert!(
        waited >= BUSY_LIMIT && waited < BUSY_LIMIT * 200,
        "{waited:?}"
    );
    assert_eq!(producer.stats().rejected[Reject::LanesBusy as usize], 1);
    // It is over as soon as one is free.
    free(&producer, 7);
    let done = producer.append_points(Flags(0), Step(1), layout, &[1]);
    assert!(done.is_ok() && producer.stats().accepted_points == 1);
}

#[test]
fn more_threads_than_lanes_end_though_lanes_are_held_up() {
    const THREADS: u64 = 2 * LANES as u64;
    const CALLS: u64 = 2000;
    let run = tempfile::tempdir().unwrap();
    let producer = producer(run.path());
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    let (ended, busy) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (producer, ended, busy) = (&producer, &ended, &busy);
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(move || {
                    for i in 0..CALLS {
                        match producer.append_points(Flags(0), Step(i as i64), layout, &[i]) {
                            Ok(_) => {}
                            Err(Reject::LanesBusy) => {
                                busy.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(other) => panic!("{other}"),
                        }
                    }
                })
            })
            .collect();
        scope.spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let held: Vec<usize> = (0..LANES).filter(|lane| hold(producer, *lane)).collect();
                std::thread::sleep(Duration::from_millis(1));
                held.into_iter().for_each(|lane| free(producer, lane));
                std::thread::yield_now();
            }
        });
        workers.into_iter().for_each(|w| w.join().unwrap());
        ended.store(true, Ordering::Relaxed);
    });
    let stats = producer.stats();
    let busy = busy.into_inner();
    assert_eq!(stats.accepted_frames + busy, THREADS * CALLS);
    assert_eq!(stats.rejected[Reject::LanesBusy as usize], busy);
}
