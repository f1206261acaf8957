//! Producers on other machines: what their relays sent and ingest has not made durable yet.
//!
//! The hub is shared by two threads. That of the socket hands in messages and takes answers out; that of ingest
//! reads each producer as a feed. Nothing here touches a socket.

mod feed;
mod hub;
mod inbox;
mod peers;

pub(crate) use feed::Remote;
pub use hub::Answer;
pub(crate) use hub::Hub;
pub(crate) use inbox::Clock;
pub use peers::RelayStatus;
