//! A relay and a monitor with a network between them that breaks: every point arrives, once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/mod.rs"]
mod common;
mod nodes;

use std::time::Duration;

use common::{Run, floats, one, wait};
use nodes::{Nodes, relay_of};
use tm_core::store::{Datum, SeriesOptions, Values};
use tm_core::{Ingest, IngestOptions};
use tm_spool::{Flags, Kind, LayoutId, Producer, Step};

fn log(producer: &Producer, layout: LayoutId, step: i64) -> bool {
    let value = (step as f64 * 0.25 - 3.0).to_bits();
    let slots = [value, (step * 3) as f64 as u64];
    producer
        .append_points(Flags(0), Step(step), layout, &slots)
        .is_ok()
}

#[test]
fn what_is_logged_on_another_node_is_in_the_database() {
    let mut nodes = Nodes::new(1);
    let producer = nodes.away.producer("job", 5);
    let layout = floats(&producer, &["loss", "lr"]);
    let config = br#"{"experiment_name":"x","started":1.0}"#;
    producer
        .append_blob(Kind::Control, Flags(0), Step(-1), config)
        .unwrap();
    for step in 0..5_000 {
        assert!(log(&producer, layout, step));
    }
    nodes.carry_until("the points to be durable", |_| {
        producer.backlog_bytes() == 0
    });
    let closed = producer.close(Duration::ZERO);
    assert!(closed.points_left == 0, "{closed:?}");
    nodes.carry_until("the files to go", |nodes| {
        tm_spool::producer_dirs(nodes.away.path())
            .unwrap()
            .is_empty()
    });
    let status = nodes.ingest.take().unwrap().finish(Duration::from_secs(90));
    assert_eq!(status.unwrap().durable_points, 10_000);
    let reader = nodes.home.reader();
    let series = reader.series(b"loss", &SeriesOptions::default()).unwrap();
    assert_eq!(series.step, (0..5_000).collect::<Vec<i64>>());
    let wanted = (0..5_000).map(|i| f64::from(i) * 0.25 - 3.0).collect();
    assert_eq!(series.value, Values::F64(wanted));
    assert!(series.rank.iter().all(|rank| *rank == 5));
    let ended = reader.producers().unwrap()[0].ended_how.clone();
    assert_eq!(ended.as_deref(), Some("closed"));
    assert!(reader.gaps().unwrap().is_empty());
}

#[test]
fn a_network_that_breaks_loses_nothing_and_doubles_nothing() {
    for seed in [11, 12, 13] {
        let mut nodes = Nodes::new(seed);
        // Small rings: they wrap and overflow while nobody takes their bytes.
        let mut producers: Vec<(Producer, LayoutId, i64)> = (0..3)
            .map(|rank| {
                let producer = nodes.away.producer_with("job", rank, 64 << 10);
                let layout = floats(&producer, &["loss", "lr"]);
                (producer, layout, 0)
            })
            .collect();
        for _ in 0..60 {
            for _ in 0..nodes.below(40) {
                for (producer, layout, steps) in &mut producers {
                    for _ in 0..20 {
                        *steps += i64::from(log(producer, *layout, *steps));
                    }
                }
                nodes.step();
            }
            nodes.fault();
        }
        let logged: i64 = producers.iter().map(|(_, _, steps)| *steps).sum();
        nodes.connect();
        nodes.carry_until("everything to be durable", |_| {
            producers.iter().all(|(p, _, _)| p.backlog_bytes() == 0)
        });
        for (producer, _, _) in &producers {
            producer.close(Duration::ZERO);
        }
        nodes.carry_until("the files to go", |nodes| {
            tm_spool::producer_dirs(nodes.away.path())
                .unwrap()
                .is_empty()
        });
        let ingest = nodes.ingest.take().unwrap();
        let status = ingest.finish(Duration::from_secs(90)).unwrap();
        assert!(logged > 1_000, "{logged}");
        assert_eq!(status.durable_points as i64, logged * 2, "seed {seed}");
        let reader = nodes.home.reader();
        for (rank, (_, _, steps)) in producers.iter().enumerate() {
            let of_rank = SeriesOptions {
                rank: Some(rank as u32),
                raw: true,
                ..SeriesOptions::default()
            };
            let series = reader.series(b"loss", &of_rank).unwrap();
            assert_eq!(
                series.step,
                (0..*steps).collect::<Vec<i64>>(),
                "seed {seed}"
            );
            let wanted = (0..*steps).map(|i| i as f64 * 0.25 - 3.0).collect();
            assert_eq!(series.value, Values::F64(wanted));
        }
        assert!(reader.gaps().unwrap().is_empty());
    }
}

#[test]
fn a_monitor_of_another_run_refuses() {
    let mut nodes = Nodes::new(3);
    let _producer = nodes.away.producer("job", 0);
    nodes.relay = relay_of(nodes.away.path(), "another");
    nodes.relay.connected();
    let hello = nodes.relay.next_message().unwrap().to_vec();
    let ingest = nodes.ingest.as_ref().unwrap();
    ingest.receive(b"x", &hello);
    for (_, answer) in ingest.answers() {
        nodes.relay.receive(&answer);
    }
    assert!(nodes.relay.is_broken());
    let refused = nodes.relay.report().refused.unwrap();
    assert!(
        refused.contains(&nodes.name()) && refused.contains("another"),
        "{refused}"
    );
}

#[test]
fn a_database_that_was_lost_is_a_gap() {
    let mut nodes = Nodes::new(4);
    let producer = nodes.away.producer("job", 0);
    let layout = floats(&producer, &["loss", "lr"]);
    for step in 0..100 {
        assert!(log(&producer, layout, step));
    }
    nodes.carry_until("the points to be durable", |_| {
        producer.backlog_bytes() == 0
    });
    nodes.ingest = None;
    for name in [
        "training_monitor.db",
        "training_monitor.db-wal",
        "training_monitor.db-shm",
    ] {
        std::fs::remove_file(nodes.home.path().join(name)).ok();
    }
    nodes.ingest = Some(nodes.home.ingest());
    for step in 100..200 {
        assert!(log(&producer, layout, step));
    }
    nodes.carry_until("the rest to be durable", |_| producer.backlog_bytes() == 0);
    drop(nodes.ingest.take());
    let reader = nodes.home.reader();
    let gaps = reader.gaps().unwrap();
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!(gaps[0].reason, "database_behind");
    let found = one(&reader, "SELECT count(*) FROM points WHERE key = 'loss'");
    assert_eq!(found, Datum::Integer(100));
}

#[test]
fn hostile_messages_change_nothing() {
    let mut nodes = Nodes::new(5);
    let producer = nodes.away.producer("job", 0);
    let layout = floats(&producer, &["loss", "lr"]);
    for step in 0..1_000 {
        assert!(log(&producer, layout, step));
    }
    let ingest = nodes.ingest.as_ref().unwrap();
    let mut messages = Vec::new();
    for round in 0..2_000 {
        nodes.relay.turn();
        while let Some(message) = nodes.relay.next_message() {
            // Each message also with one bit turned, by the same connection's neighbour.
            let message = message.to_vec();
            let mut spoilt = message.clone();
            let at = (round * 7919) % spoilt.len();
            spoilt[at] ^= 1 << (round % 8);
            ingest.receive(b"neighbour", &spoilt);
            ingest.receive(&nodes.connection, &message);
            messages.push(message);
        }
        for (connection, answer) in ingest.answers() {
            if connection == nodes.connection {
                nodes.relay.receive(&answer);
            }
        }
        if producer.backlog_bytes() == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    // All of it a second time.
    for message in &messages {
        ingest.receive(&nodes.connection, message);
    }
    nodes.carry_until("the points to be durable", |_| {
        producer.backlog_bytes() == 0
    });
    let status = nodes.ingest.take().unwrap().finish(Duration::from_secs(90));
    assert_eq!(status.unwrap().durable_points, 2_000);
    assert!(nodes.home.reader().gaps().unwrap().is_empty());
}

#[test]
fn a_job_of_the_same_name_is_not_ours() {
    let mut nodes = Nodes::new(6);
    let _ours = nodes.home.producer("job", 0);
    let ingest = nodes.ingest.as_ref().unwrap();
    wait("the monitor to know its job", || {
        ingest.status().producers == 1
    });
    let _theirs = nodes.away.producer("another job", 1);
    nodes.relay = relay_of(nodes.away.path(), &nodes.name());
    nodes.relay.connected();
    let hello = nodes.relay.next_message().unwrap().to_vec();
    ingest.receive(b"x", &hello);
    for (_, answer) in ingest.answers() {
        nodes.relay.receive(&answer);
    }
    assert!(nodes.relay.report().refused.is_some());
}

#[test]
fn a_monitor_that_reads_what_a_relay_had_brought_doubles_nothing() {
    let home = Run::new();
    let producer = home.producer("job", 1);
    let layout = floats(&producer, &["loss", "lr"]);
    let name = home.path().file_name().unwrap().to_str().unwrap();
    let mut logged = 0;
    for round in 0..4 {
        // The relay of this directory has the lanes before the monitor comes.
        let mut relay = relay_of(home.path(), name);
        relay.connected();
        // What comes waits long enough for the lanes to be found meanwhile.
        let slow = IngestOptions {
            commit_interval: Duration::from_secs(2),
            ..IngestOptions::default()
        };
        let ingest = Ingest::start(home.path(), slow).unwrap();
        for _ in 0..(150 + round * 40) {
            logged += i64::from(log(&producer, layout, logged));
            relay.turn();
            while let Some(message) = relay.next_message() {
                ingest.receive(b"relay", &message.to_vec());
            }
            for (_, answer) in ingest.answers() {
                relay.receive(&answer);
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        // It dies with messages that ingest has and the database does not.
        drop(relay);
        wait("the lanes to be read", || producer.backlog_bytes() == 0);
        drop(ingest);
    }
    let raw = SeriesOptions {
        raw: true,
        ..SeriesOptions::default()
    };
    let series = home.reader().series(b"loss", &raw).unwrap();
    assert_eq!(series.step, (0..logged).collect::<Vec<i64>>());
}
