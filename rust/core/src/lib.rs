//! Ingest, store and read side of `training_monitor`: from the lanes to the database and back.

pub mod belongings;
pub mod claim;
pub mod ingest;
pub mod live;
mod merge;
pub mod removal;
pub mod stats;
pub mod store;

pub use ingest::{Ingest, IngestOptions, IngestStatus};
pub use store::{BadLine, RunReader, StoreError};
