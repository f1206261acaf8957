//! Takes what relays send and stores nothing: what the way between nodes costs by itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::feed::Feed;
use super::remote::{Answer, Hub, Remote};
use crate::store::StoreError;

/// Stands where ingest would, and acknowledges at once whatever is whole.
#[derive(Debug)]
pub struct Sink {
    hub: Arc<Hub>,
    feeds: Vec<Remote>,
    /// Bytes of lanes that came.
    bytes: u64,
}

impl Sink {
    /// A sink that relays take for the monitor of this run.
    #[must_use]
    pub fn new(run: &str) -> Self {
        Self {
            hub: Arc::new(Hub::new(run.to_owned())),
            feeds: Vec::new(),
            bytes: 0,
        }
    }

    /// As [`Ingest::receive`](super::Ingest::receive).
    pub fn receive(&mut self, connection: &[u8], message: &[u8]) -> u64 {
        self.hub.receive(connection, message)
    }

    /// As [`Ingest::answers`](super::Ingest::answers), for all that came.
    ///
    /// # Errors
    /// None: a feed of a relay is memory.
    pub fn answers(&mut self) -> Result<Vec<Answer>, StoreError> {
        for id in self.hub.unopened() {
            if let Some(feed) = Remote::new(&self.hub, id) {
                feed.open(&HashMap::new(), 0);
                self.feeds.push(feed);
            }
        }
        for feed in &mut self.feeds {
            for lane in feed.lanes() {
                while let Ok(read) = feed.read(lane, usize::MAX) {
                    let end = read.batch.as_ref().map(|batch| batch.end);
                    let Some(end) = end.or(read.gap.map(|gap| gap.end)) else {
                        break;
                    };
                    self.bytes += read.batch.map_or(0, |batch| batch.bytes.len() as u64);
                    let acknowledged = feed.acknowledge(lane, end);
                    acknowledged.map_err(|error| StoreError::Unexpected(error.to_string()))?;
                }
            }
        }
        let is_done = |feed: &mut Remote| feed.drained().unwrap_or(false);
        let (done, rest) = std::mem::take(&mut self.feeds)
            .into_iter()
            .map(|mut feed| (is_done(&mut feed), feed))
            .partition::<Vec<_>, _>(|(done, _)| *done);
        self.feeds = rest.into_iter().map(|(_, feed)| feed).collect();
        for (_, feed) in done {
            // Its inbox goes, and its relay is told.
            drop(Box::new(feed).remove(Path::new("")));
        }
        Ok(self.hub.take_answers(Instant::now()))
    }

    /// Bytes of lanes that came.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
