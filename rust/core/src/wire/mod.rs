//! The messages between the relay of a node and the monitor. Bytes only: who sends them is another room's matter.

mod fields;
mod message;
mod packed;
mod parts;
#[cfg(test)]
mod tests;

#[cfg(test)]
use message::HEAD_BYTES;
pub(crate) use message::Message;
pub use packed::Packed;
pub(crate) use parts::{Announced, Durable, ExitTold, State};
