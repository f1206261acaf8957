//! Messages come back as they were, and hostile bytes are none.

#![allow(clippy::unwrap_used, clippy::panic)]

use bolero::check;
use tm_spool::{GapReason, Life, Mode, ProducerId, ProducerInfo};

use super::parts::{Announced, Durable, ExitTold, State};
use super::{HEAD_BYTES, Message};

const ROUNDS: usize = 1_000;

fn info(seed: u64) -> ProducerInfo {
    ProducerInfo {
        id: ProducerId([seed as u8; 16]),
        parent: seed.is_multiple_of(2).then_some(ProducerId([9; 16])),
        job_key: format!("job:{seed}:ö"),
        rank: seed as u32,
        local_rank: 3,
        world: 16,
        local_world: 8,
        host: "nodeb".into(),
        boot_id: [7; 16],
        pid: 4711,
        start_ticks: seed,
        pid_ns: 1,
        time_ns: 2,
        boottime_ns: -(seed as i64),
        wall_ns: i64::MAX,
        mode: if seed.is_multiple_of(3) {
            Mode::Pwrite
        } else {
            Mode::Mmap
        },
    }
}

fn state(seed: u64) -> State {
    State {
        life: [Life::Alive, Life::Closed, Life::Dead][seed as usize % 3],
        accepted_frames: seed,
        accepted_points: u64::MAX,
        rejected: (0..seed % 20).collect(),
        backlog_bytes: 1,
        last_step: -1,
        drained: seed.is_multiple_of(2),
        exit: seed.is_multiple_of(5).then_some(ExitTold {
            status: seed.is_multiple_of(2).then_some(9),
            oom_kills: None,
        }),
    }
}

/// One of each kind, with what a number makes of it.
fn messages(seed: u64, text: &str, bytes: &[u8]) -> Vec<Message> {
    let producer = ProducerId([seed as u8; 16]);
    let (reason, run) = (text.to_owned(), text.to_owned());
    let lanes: Vec<(u8, u64)> = (0..seed % 17).map(|lane| (lane as u8, seed)).collect();
    vec![
        Message::Hello {
            relay: [1; 16],
            host: run.clone(),
            run: run.clone(),
            jobs: vec![run.clone(), String::new()],
            version: "1".into(),
        },
        Message::Announce(Announced {
            info: info(seed),
            clock_offset_ns: i64::MIN,
            clock_error_ns: seed,
        }),
        Message::Define {
            producer,
            first: seed,
            records: bytes.to_vec(),
        },
        Message::Frames {
            producer,
            lane: seed as u8,
            prev: seed,
            first: seed,
            end: u64::MAX,
            bytes: bytes.to_vec(),
        },
        Message::Gap {
            producer,
            lane: 1,
            first: 2,
            end: seed,
            frames_lost: seed.is_multiple_of(2).then_some(seed),
            reason: [
                GapReason::Damaged,
                GapReason::DatabaseBehind,
                GapReason::FileLost,
            ][seed as usize % 3],
        },
        Message::State {
            producer,
            state: state(seed),
        },
        Message::Samples {
            number: seed,
            clock_offset_ns: -5,
            lines: text.as_bytes().to_vec(),
        },
        Message::Ping { wall_ns: -1 },
        Message::Bye,
        Message::Welcome {
            run,
            window_bytes: seed,
        },
        Message::Refuse {
            reason: reason.clone(),
        },
        Message::Resume {
            producer,
            received: lanes.clone(),
            durable: lanes.clone(),
            definitions: seed,
        },
        Message::Marks {
            window_bytes: seed,
            producers: vec![Durable {
                producer,
                points: seed,
                lanes,
                stop: seed.is_multiple_of(2).then(|| reason.clone()),
            }],
        },
        Message::Done { producer },
        Message::Pong {
            wall_ns: 1,
            here_ns: seed as i64,
        },
        Message::Restart { reason },
    ]
}

#[test]
fn fuzz_messages_come_back_as_they_were() {
    check!()
        .with_type::<(u64, String, Vec<u8>)>()
        .with_iterations(ROUNDS)
        .for_each(|(seed, text, bytes)| {
            for message in messages(*seed, text, bytes) {
                assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        });
}

#[test]
fn fuzz_messages_that_were_harmed_are_none() {
    check!()
        .with_type::<(u64, String, Vec<u8>, u16, u8)>()
        .with_iterations(ROUNDS)
        .for_each(|(seed, text, bytes, at, mask)| {
            for message in messages(*seed, text, bytes) {
                let mut spoilt = message.encode();
                // A body has sums of its own.
                let fields = spoilt.len() - body_bytes(&message);
                let at = usize::from(*at) % fields;
                spoilt[at] ^= mask;
                let is_same = *mask == 0 || at == 6 || at == 7;
                assert!(is_same || Message::decode(&spoilt).is_none(), "{message:?}");
                spoilt.truncate(at);
                assert_eq!(Message::decode(&spoilt), None);
            }
        });
}

fn body_bytes(message: &Message) -> usize {
    match message {
        Message::Define { records, .. } => records.len(),
        Message::Frames { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

/// Fields that fit their sum and lie about their lengths.
#[test]
fn fuzz_messages_of_any_fields_end_in_themselves() {
    check!()
        .with_type::<(u8, Vec<u8>, Vec<u8>)>()
        .with_iterations(ROUNDS)
        .for_each(|(kind, fields, body)| {
            let mut bytes = vec![b'T', b'M', b'R', b'1', *kind, 1, 0, 0];
            let len = (fields.len() as u32).to_le_bytes();
            let sum = crc32c::crc32c(&[&bytes[..], &len, fields].concat());
            bytes.extend(sum.to_le_bytes());
            bytes.extend(len);
            assert_eq!(bytes.len(), HEAD_BYTES);
            bytes.extend(fields);
            bytes.extend(body);
            if let Some(message) = Message::decode(&bytes) {
                assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        });
}
