//! The messages between the relay of a node and the monitor. Bytes only: who sends them is another room's matter.

mod fields;
mod message;
mod parts;

pub(crate) use message::Message;
pub(crate) use parts::{Announced, Durable, ExitTold, State};
