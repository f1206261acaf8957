//! The relays that are connected, or were.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// A relay says something every second; one that was silent for so long is not there any more.
pub(super) const GONE_AFTER: Duration = Duration::from_secs(30);
/// All relays together may have sent so much that is not durable.
const WINDOW_OF_ALL: u64 = 64 << 20;
const LEAST_WINDOW: u64 = 256 << 10;
const MOST_WINDOW: u64 = 8 << 20;

/// One relay, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct RelayStatus {
    /// The host it runs on.
    pub host: String,
    /// Seconds since it last said something.
    pub silent_s: f64,
    /// Producers it brings.
    pub producers: u32,
    /// Bytes on that host that are not in the database.
    pub backlog_bytes: u64,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Peer {
    /// The relay at its other end: the same in all its connections.
    pub relay: [u8; 16],
    pub host: String,
    pub heard: Instant,
    /// When it was told how far its producers are. `None`: not yet.
    pub told: Option<Instant>,
}

/// All of them, by connection.
#[derive(Debug, Default)]
pub(super) struct Peers {
    pub by_connection: HashMap<Vec<u8>, Peer>,
    /// The number of the last samples of each relay, with when they came.
    samples: HashMap<[u8; 16], (u64, Instant)>,
}

impl Peers {
    /// A relay came by a new connection: any older one of it is dead.
    pub(super) fn admit(&mut self, connection: Vec<u8>, relay: [u8; 16], host: String) {
        self.by_connection.retain(|_, peer| peer.relay != relay);
        let heard = Instant::now();
        let peer = Peer {
            relay,
            host,
            heard,
            told: None,
        };
        self.by_connection.insert(connection, peer);
    }

    /// Whether these samples are new.
    pub(super) fn are_new(&mut self, connection: &[u8], number: u64) -> bool {
        let Some(peer) = self.by_connection.get(connection) else {
            return false;
        };
        let now = Instant::now();
        self.samples
            .retain(|_, (_, at)| now.duration_since(*at) < Duration::from_secs(3600));
        let last = self.samples.entry(peer.relay).or_insert((0, now));
        let new = number > last.0;
        if new {
            *last = (number, now);
        }
        new
    }

    /// What each relay may have on its way.
    pub(super) fn window_bytes(&self) -> u64 {
        let sharers = self.by_connection.len().max(1) as u64;
        (WINDOW_OF_ALL / sharers).clamp(LEAST_WINDOW, MOST_WINDOW)
    }

    pub(super) fn forget_silent(&mut self, now: Instant) {
        self.by_connection
            .retain(|_, peer| now.saturating_duration_since(peer.heard) < GONE_AFTER);
    }
}
