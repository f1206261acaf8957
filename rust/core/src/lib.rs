//! Ingest, store and read side of `training_monitor`: from the lanes to the database and back.

pub mod belongings;
pub mod claim;
mod code;
pub mod ingest;
pub mod live;
mod merge;
mod readers;
pub mod relay;
pub mod removal;
pub mod search;
pub mod stats;
pub mod store;
mod wire;

pub use ingest::{Answer, Ingest, IngestOptions, IngestStatus, RelayStatus, Sink};
pub use relay::{Relay, RelayOptions, RelayReport};
pub use store::{BadLine, RunReader, StoreError};
pub use wire::Packed;
