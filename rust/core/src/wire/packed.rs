//! A message as bytes, in two pieces.

/// What a message begins with, and the bytes of a lane that it carries.
#[derive(Debug)]
pub struct Packed {
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
}

impl Packed {
    /// Both pieces, in their order.
    #[must_use]
    pub fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, &self.body]
    }

    /// The length of the message.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// The message as one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.pieces().concat()
    }
}
