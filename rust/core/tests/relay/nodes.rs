//! A node with trainers and a relay, one with a monitor, and a network between them.

use std::collections::VecDeque;
use std::path::Path;

use tm_core::{Ingest, Relay, RelayOptions};

use crate::common::{Run, wait};

/// Two nodes and what is between them.
pub(crate) struct Nodes {
    /// Where the monitor is.
    pub(crate) home: Run,
    /// Where the trainers are.
    pub(crate) away: Run,
    pub(crate) ingest: Option<Ingest>,
    pub(crate) relay: Relay,
    pub(crate) connection: Vec<u8>,
    pub(crate) there: VecDeque<Vec<u8>>,
    pub(crate) back: VecDeque<Vec<u8>>,
    /// Answers are lost, and nothing else.
    pub(crate) deaf: bool,
    random: u64,
}

pub(crate) fn relay_of(run_dir: &Path, name: &str) -> Relay {
    let options = RelayOptions {
        run: name.to_owned(),
        node_limit_bytes: 64 << 20,
        version: "0".into(),
        by_name: false,
    };
    Relay::new(run_dir, options).unwrap()
}

impl Nodes {
    pub(crate) fn new(seed: u64) -> Self {
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

    pub(crate) fn name(&self) -> String {
        let name = self.home.path().file_name().unwrap();
        name.to_str().unwrap().to_owned()
    }

    /// xorshift64
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % n
    }

    pub(crate) fn connect(&mut self) {
        let number = self.connection.first().map_or(0, |n| n.wrapping_add(1));
        self.connection = vec![number, 7];
        self.there.clear();
        self.back.clear();
        self.deaf = false;
        self.relay.connected();
    }

    /// Carry what there is to carry, a little of it.
    pub(crate) fn step(&mut self) {
        self.relay.turn();
        for _ in 0..8 {
            let Some(message) = self.relay.next_message() else {
                break;
            };
            self.there.push_back(message.to_vec());
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
    pub(crate) fn fault(&mut self) {
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

    pub(crate) fn carry_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        wait(what, || {
            self.step();
            done(self)
        });
    }
}
