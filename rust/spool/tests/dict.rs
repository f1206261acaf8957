//! The dictionary when the disk stops in the middle of a write.

#![allow(clippy::unwrap_used, reason = "a failed call fails the test")]

use std::process::Command;

use tm_spool::{KeyId, LayoutId, Mode, Producer, ProducerOptions, ProducerReader, Reject};

/// Let files of this process grow to `bytes` only; a write that crosses the limit is cut there.
fn limit_files(bytes: u64) {
    // SAFETY: plain system calls; the signal's default would end the process.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit), 0);
        limit.rlim_cur = bytes.min(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

#[test]
fn a_number_whose_definition_was_cut_short_is_never_given_to_another_name() {
    // In a process of its own: the limit is one for all files of a process.
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "inner_cut_short", "--nocapture"])
        .env("TM_CUT_SHORT", "1")
        .status();
    assert!(status.unwrap().success());
}

#[test]
#[ignore = "run by the test above in a process of its own"]
fn inner_cut_short() {
    if std::env::var_os("TM_CUT_SHORT").is_none() {
        return;
    }
    let run = tempfile::tempdir().unwrap();
    let producer = Producer::create(ProducerOptions {
        lane_bytes: 64 << 10,
        force_mode: Some(Mode::Mmap),
        ..ProducerOptions::alone(run.path(), "dict")
    })
    .unwrap();
    let mut reader = ProducerReader::open(producer.dir()).unwrap();
    let a = producer.key(b"a").unwrap();
    // A header of 64 bytes, then 24 for each of these definitions: of two new ones the first gets through.
    limit_files(64 + 24 + 24 + 8);
    let mut ids = Vec::new();
    let two = [&b"b"[..], b"c"];
    let refused = producer.keys(two.into_iter(), &mut ids);
    assert_eq!((refused, ids.len()), (Err(Reject::NoSpace), 0));
    let seen = reader.dictionary().unwrap().keys;
    assert_eq!(seen, [(a, b"a".to_vec()), (KeyId(1), b"b".to_vec())]);
    // As long as it is owed nothing new is taken; what was written is known.
    assert_eq!(producer.key(b"d"), Err(Reject::NoSpace));
    assert_eq!(producer.key(b"b"), Err(Reject::NoSpace));
    assert_eq!(producer.layout(&[a]), Err(Reject::NoSpace));
    assert_eq!(producer.key(b"a"), Ok(a));

    limit_files(u64::MAX);
    assert_eq!(producer.key(b"d"), Ok(KeyId(3)));
    assert_eq!(producer.key(b"b"), Ok(KeyId(1)));
    assert_eq!(producer.layout(&[a]), Ok(LayoutId(0)));
    let tail = reader.dictionary().unwrap();
    let want = [(KeyId(2), b"c".to_vec()), (KeyId(3), b"d".to_vec())];
    assert_eq!(tail.keys, want);
    assert_eq!(tail.layouts, [(LayoutId(0), vec![a])]);
}
