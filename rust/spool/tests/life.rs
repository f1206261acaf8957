//! Who lives and who is dead, with real processes: SIGKILL, fork, exec.

#![allow(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tm_spool::{
    CHILD_LANE_BYTES, Flags, Life, Lsn, Producer, ProducerOptions, ProducerReader, Reject, Step,
    frames, peek,
};

fn options(run_dir: &Path) -> ProducerOptions {
    ProducerOptions {
        lane_bytes: CHILD_LANE_BYTES,
        ..ProducerOptions::alone(run_dir, "life")
    }
}

/// Run `body` in a forked child that then waits to be killed; returns its pid once it wrote a byte.
fn child(body: impl FnOnce()) -> libc::pid_t {
    let mut pipe = [0; 2];
    // SAFETY: plain system calls on our own descriptors; the child leaves by `_exit` or a signal only.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let pid = libc::fork();
        assert!(pid >= 0);
        if pid == 0 {
            body();
            libc::write(pipe[1], [1u8].as_ptr().cast(), 1);
            loop {
                libc::pause();
            }
        }
        // Ours is closed first: the end of a child that failed is then an end of file.
        libc::close(pipe[1]);
        let mut byte = [0u8];
        assert_eq!(libc::read(pipe[0], byte.as_mut_ptr().cast(), 1), 1);
        libc::close(pipe[0]);
        pid
    }
}

fn kill(pid: libc::pid_t) {
    // SAFETY: the pid is our own child.
    unsafe {
        libc::kill(pid, libc::SIGKILL);
        libc::waitpid(pid, std::ptr::null_mut(), 0);
    }
}

fn only_dir(run: &Path) -> PathBuf {
    let dirs = tm_spool::producer_dirs(run).unwrap();
    assert_eq!(dirs.len(), 1);
    dirs[0].clone()
}

fn steps(reader: &mut ProducerReader) -> Vec<i64> {
    let lane = reader.lanes()[0];
    reader.set_mark(lane, Lsn(0)).unwrap();
    let mut got = Vec::new();
    while let Some(batch) = reader.read(lane, 1 << 20).unwrap().batch {
        got.extend(frames(&batch.bytes, batch.first).map(|f| f.step.0));
    }
    got
}

#[test]
fn a_killed_process_is_dead_at_once_and_its_frames_are_there() {
    let run = tempfile::tempdir().unwrap();
    let pid = child(|| {
        let producer = Producer::create(options(run.path())).unwrap();
        let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
        for step in 0..1000 {
            producer
                .append_points(Flags(0), Step(step), layout, &[1])
                .unwrap();
        }
        std::mem::forget(producer);
    });
    let dir = only_dir(run.path());
    assert_eq!(peek(&dir).unwrap().2, Life::Alive);
    kill(pid);
    assert_eq!(peek(&dir).unwrap().2, Life::Dead);
    let mut reader = ProducerReader::open(&dir).unwrap();
    assert_eq!(steps(&mut reader), (0..1000).collect::<Vec<_>>());
    assert!(reader.drained().unwrap());
}

#[test]
fn a_forked_child_is_told_and_its_parent_still_lives_after_it() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path())).unwrap();
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    producer
        .append_points(Flags(0), Step(1), layout, &[1])
        .unwrap();
    let pid = child(|| {
        assert!(producer.in_forked_child());
        assert_eq!(
            producer.append_points(Flags(0), Step(2), layout, &[1]),
            Err(Reject::Forked)
        );
        let parent = Some(producer.id());
        let own = Producer::create(ProducerOptions {
            parent,
            ..options(run.path())
        })
        .unwrap();
        let layout = own.layout(&[own.key(b"x").unwrap()]).unwrap();
        own.append_points(Flags(0), Step(3), layout, &[1]).unwrap();
        std::mem::forget(own);
    });
    let theirs = tm_spool::producer_dirs(run.path())
        .unwrap()
        .into_iter()
        .find(|d| d != producer.dir())
        .unwrap();
    assert_eq!(peek(&theirs).unwrap().0.parent, Some(producer.id()));
    kill(pid);
    assert_eq!(peek(&theirs).unwrap().2, Life::Dead);
    assert_eq!(peek(producer.dir()).unwrap().2, Life::Alive);
    let again = child(|| {});
    // A reader in another process still sees the lock: the child's exit did not drop it.
    kill(again);
    producer
        .append_points(Flags(0), Step(4), layout, &[1])
        .unwrap();
    assert_eq!(
        steps(&mut ProducerReader::open(producer.dir()).unwrap()),
        [1, 4]
    );
    assert_eq!(steps(&mut ProducerReader::open(&theirs).unwrap()), [3]);
}

#[test]
fn a_sleeping_reader_is_woken_by_a_frame() {
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(options(run.path())).unwrap();
    let layout = producer.layout(&[producer.key(b"x").unwrap()]).unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let lane = reader.lanes()[0];
    reader.set_mark(lane, Lsn(0)).unwrap();
    let mut sleeper = tm_spool::Sleeper::new();
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_millis(1100) {
        sleeper.wait(&mut [&mut reader], Duration::from_millis(200));
    }
    let mut woken = 0;
    for step in 0..200 {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(2));
                producer
                    .append_points(Flags(0), Step(step), layout, &[1])
                    .unwrap();
            });
            let started = Instant::now();
            while !reader.has_next() {
                sleeper.wait(&mut [&mut reader], Duration::from_millis(250));
            }
            woken += usize::from(started.elapsed() < Duration::from_millis(200));
        });
        let batch = reader.read(lane, 1 << 20).unwrap().batch.unwrap();
        reader.acknowledge(lane, batch.end).unwrap();
    }
    assert_eq!(woken, 200, "wake-ups were lost");
}

#[test]
fn a_process_that_went_through_exec_ends_its_old_producer() {
    // exec closes the lock but keeps pid and start time: only a newer producer proves the old one dead.
    let run = tempfile::tempdir().unwrap();
    let pid = child(|| {
        let old = Producer::create(options(run.path())).unwrap();
        std::fs::write(
            run.path().join("old"),
            old.dir().as_os_str().as_encoded_bytes(),
        )
        .unwrap();
        // Dropping it frees the lock, as closing on exec does; the process lives on.
        drop(old);
        std::mem::forget(Producer::create(options(run.path())).unwrap());
    });
    let old = PathBuf::from(std::fs::read_to_string(run.path().join("old")).unwrap());
    assert_eq!(peek(&old).unwrap().2, Life::Dead);
    let newer = tm_spool::producer_dirs(run.path())
        .unwrap()
        .into_iter()
        .find(|d| *d != old)
        .unwrap();
    assert_eq!(peek(&newer).unwrap().2, Life::Alive);
    kill(pid);
}
