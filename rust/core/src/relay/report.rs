//! How a relay goes, for its process and for people.

use std::time::Instant;

use tm_spool::Life;

use super::Relay;

/// How it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RelayReport {
    /// The name of the run, once the monitor has told it.
    pub run: Option<String>,
    /// Whether the monitor takes what we send.
    pub connected: bool,
    /// Seconds since the monitor was last heard. `None`: never.
    pub silent_s: Option<f64>,
    /// Producers whose lanes are read here.
    pub producers: u32,
    /// Those that may log more.
    pub producers_alive: u32,
    /// Bytes in the lanes that are not in the database.
    pub backlog_bytes: u64,
    /// Bytes that were ever written into these lanes.
    pub written_bytes: u64,
    /// Bytes that were sent, over all connections.
    pub sent_bytes: u64,
    /// What the clock of this machine has to be corrected by, in nanoseconds, and the error of that.
    pub clock_offset: Option<(i64, u64)>,
    /// Why the monitor did not take us. `None`: it did, or was not asked.
    pub refused: Option<String>,
}

impl Relay {
    /// How it goes.
    pub fn report(&mut self) -> RelayReport {
        let (mut backlog_bytes, mut written_bytes) = (0, 0);
        for (_, written, acked) in self.shipped.iter().flat_map(|s| s.reader.progress()) {
            backlog_bytes += written.0.saturating_sub(acked.0);
            written_bytes += written.0;
        }
        let lives = self.shipped.iter_mut().map(|s| s.reader.life());
        RelayReport {
            run: self.link.run().map(str::to_owned),
            connected: self.link.is_up(),
            silent_s: self.link.silent_s(Instant::now()),
            producers_alive: lives.filter(|life| *life == Life::Alive).count() as u32,
            producers: self.shipped.len() as u32,
            backlog_bytes,
            written_bytes,
            sent_bytes: self.sent_bytes,
            clock_offset: self.link.clock(),
            refused: self.link.refused().map(str::to_owned),
        }
    }
}
