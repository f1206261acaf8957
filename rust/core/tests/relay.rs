//! A relay and a monitor with a network between them that breaks: every point arrives, once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use common::{Run, floats, one, wait};
use tm_core::store::{Datum, SeriesOptions, Values};
use tm_core::{Ingest, IngestOptions, Relay, RelayOptions};
use tm_spool::{Flags, Kind, LayoutId, Producer, Step};

/// Two nodes and what is between them.
struct Nodes {
    /// Where the monitor is.
    home: Run,
    /// Where the trainers are.
    away: Run,
    ingest: Option<Ingest>,
    relay: Relay,
    connection: Vec<u8>,
    there: VecDeque<Vec<u8>>,
    back: VecDeque<Vec<u8>>,
    /// Answers are lost, and nothing else.
    deaf: bool,
    random: u64,
}

fn relay_of(run_dir: &Path, name: &str) -> Relay {
    let options = RelayOptions {
        run: name.to_owned(),
        node_limit_bytes: 64 << 20,
        version: "0".into(),
        by_name: false,
    };
    Relay::new(run_dir, options).unwrap()
}

impl Nodes {
    fn new(seed: u64) -> Self {
        let (home, away) = (Run::new(), Run::new());
        let name = home.path().file_name().unwrap().to_str().unwrap();
        let relay = relay_of(away.path(), name);
        let mut nodes = Self {
            ingest: Some(home.ingest()),
            home,
            away,
            relay,
            connection: Vec::new(),
            there: VecDeque::new(),
            back: VecDeque::new(),
            deaf: false,
            random: seed,
        };
        nodes.connect();
        nodes
    }

    fn name(&self) -> String {
        let name = self.home.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// xorshift64
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    fn connect(&mut self) {
        let number = self.connection.first().map_or(0, |n| n.wrapping_add(1));
        self.connection = vec![number, 7];
        self.there.clear();
        self.back.clear();
        self.deaf = false;
        self.relay.connected();
    }

    /// Carry what there is to carry, a little of it.
    fn step(&mut self) {
        self.relay.turn();
        for _ in 0..8 {
            let Some(message) = self.relay.next_message() else {
                break;
            };
            self.there.push_back(message);
        }
        let carried = self.below(6);
        if let Some(ingest) = &self.ingest {
            for message in self.there.drain(..self.there.len().min(carried as usize)) {
                ingest.receive(&self.connection, &message);
            }
            for (connection, answer) in ingest.answers() {
                if connection == self.connection && !self.deaf {
                    self.back.push_back(answer);
                }
            }
        }
        for answer in std::mem::take(&mut self.back) {
            self.relay.receive(&answer);
        }
        if self.relay.is_broken() {
            self.connect();
        }
    }

    /// Something breaks.
    fn fault(&mut self) {
        match self.below(6) {
            // Cut with messages on their way.
            0 => self.connect(),
            // The same connection as libzmq makes it anew: another name at the other end.
            1 => {
                self.there.clear();
                self.connection.push(1);
            }
            // Some messages are swallowed.
            2 => {
                let lost = self.below(8) as usize;
                self.there.drain(..lost.min(self.there.len()));
                self.connection.push(2);
            }
            3 => self.deaf = true,
            4 => {
                let name = self.name();
                // The old one's lock has to be free first.
                self.relay = relay_of(Path::new("/nonexistent"), &name);
                self.relay = relay_of(self.away.path(), &name);
                self.connect();
            }
            _ => {
                self.ingest = None;
                self.ingest = Some(self.home.ingest());
            }
        }
    }

    fn carry_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        wait(what, || {
            self.step();
            done(self)
        });
    }
}

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
    let hello = nodes.relay.next_message().unwrap();
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
    let hello = nodes.relay.next_message().unwrap();
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
                ingest.receive(b"relay", &message);
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
