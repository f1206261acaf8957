//! The frame: one `log()` call as bytes, and the marks that stand between frames.
//!
//! `u32 len · u32 crc · u32 ordinal · u16 kind/flags · u16 part · i64 boottime_ns · i64 step ·
//! u32 layout · u32 n · payload`, little-endian, 8-aligned. The payload of a points frame is
//! `n × 8` bytes of slots; with [`Flags::PAIRS`] then `n × u32` keys; with [`Flags::TYPED`] then `n` type
//! bytes and a side area. Each piece is padded to 8. All other kinds carry `n` bytes of JSON.

use std::borrow::Cow;

pub(crate) use crate::head::{Head, MARK_BIT, Mark};
use crate::types::{KeyId, LayoutId, Lsn, Step};

/// The bytes before the payload.
pub const HEAD_BYTES: usize = 40;
/// A larger frame is written in parts of at most this size.
#[cfg(not(loom))]
pub const MAX_FRAME_BYTES: usize = 256 * 1024;
/// Under the model: three words a part.
#[cfg(loom)]
pub const MAX_FRAME_BYTES: usize = 64;
/// A larger set of parts is rejected.
pub const MAX_SET_BYTES: usize = 64 * 1024 * 1024;
pub(crate) const HEAD_WORDS: usize = HEAD_BYTES / 8;
pub(crate) const MAX_FRAME_WORDS: usize = MAX_FRAME_BYTES / 8;
pub(crate) const MAX_BODY_WORDS: usize = MAX_FRAME_WORDS - HEAD_WORDS;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Values of a `log()` call.
    Points = 1,
    /// Something that happened, as JSON.
    Event = 2,
    /// A text sample, as JSON.
    Text = 3,
    /// A histogram, as JSON.
    Histogram = 4,
    /// A sample of the machine, as JSON.
    System = 5,
    /// A `tm.alert()`, as JSON.
    Alert = 6,
    /// Config or close, as JSON.
    Control = 7,
    /// Calls that were rejected before this frame, as JSON.
    Gap = 8,
}

impl Kind {
    /// The kind with this number. `None`: no kind has it.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Points,
            2 => Self::Event,
            3 => Self::Text,
            4 => Self::Histogram,
            5 => Self::System,
            6 => Self::Alert,
            7 => Self::Control,
            8 => Self::Gap,
            _ => return None,
        })
    }
}

/// Flag bits of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// The user asked for an analysis once this step is durable.
    pub const FORCE_ANALYSIS: u8 = 1;
    /// Not all values are f64: type bytes and a side area follow the slots.
    pub const TYPED: u8 = 2;
    /// The keys follow the slots; there is no layout.
    pub const PAIRS: u8 = 4;
    /// A further part of the same set follows.
    pub const MORE: u8 = 8;

    /// Whether all bits of `mask` are set.
    #[must_use]
    pub fn has(self, mask: u8) -> bool {
        self.0 & mask == mask
    }
}

/// The type of a value; a frame without [`Flags::TYPED`] holds f64 only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ValueType {
    /// The slot is the bit pattern of an f64.
    F64 = 0,
    /// The slot is an i64.
    I64 = 1,
    /// The slot is 0 or 1.
    Bool = 2,
    /// The side area holds decimal digits; the slot says where.
    BigInt = 3,
    /// A typed null.
    None = 4,
    /// The side area holds UTF-8 (lone surrogates passed through); the slot says where.
    Text = 5,
}

impl ValueType {
    /// The type with this number. `None`: no type has it.
    #[must_use]
    pub fn from_u8(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::F64,
            1 => Self::I64,
            2 => Self::Bool,
            3 => Self::BigInt,
            4 => Self::None,
            5 => Self::Text,
            _ => return None,
        })
    }
}

/// The slot of a value that lives in the side area.
#[must_use]
pub fn side_slot(offset: u32, len: u32) -> u64 {
    u64::from(offset) | (u64::from(len) << 32)
}

/// A value of a points frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A float, its NaN payload kept.
    F64(f64),
    /// An integer of 64 bits.
    I64(i64),
    /// True or false.
    Bool(bool),
    /// A larger integer, in decimal.
    BigInt(&'a [u8]),
    /// Logged as `None`.
    None,
    /// Text, lone surrogates passed through (WTF-8).
    Text(&'a [u8]),
}

/// One `log()` call, read back.
#[derive(Clone, Debug)]
pub struct Frame<'a> {
    /// Where it starts in its lane.
    pub lsn: Lsn,
    /// Where the next frame starts.
    pub end: Lsn,
    /// Its number in the lane, counted from 0: lost frames leave a hole.
    pub ordinal: u32,
    /// What it carries.
    pub kind: Kind,
    /// Its flag bits.
    pub flags: Flags,
    /// When it was written, by CLOCK_BOOTTIME of its host.
    pub boottime_ns: i64,
    /// The training step.
    pub step: Step,
    /// Its layout; meaningless with [`Flags::PAIRS`] and for kinds other than points.
    pub layout: LayoutId,
    /// How many values (points), or how many bytes (other kinds).
    pub n: u32,
    payload: Cow<'a, [u8]>,
}

fn padded(bytes: usize) -> usize {
    bytes.div_ceil(8) * 8
}

impl Frame<'_> {
    /// Whether type bytes are there.
    #[must_use]
    pub fn is_typed(&self) -> bool {
        self.flags.has(Flags::TYPED)
    }

    /// The 64 bits of every value, in layout order.
    pub fn slots(&self) -> impl Iterator<Item = u64> + '_ {
        let end = (self.n as usize * 8).min(self.payload.len());
        self.payload[..end]
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| u64::from_le_bytes(*b))
    }

    /// The 64 bits of value `i`; 0 past the end.
    #[must_use]
    pub fn slot(&self, i: usize) -> u64 {
        self.payload
            .as_chunks::<8>()
            .0
            .get(i)
            .map_or(0, |b| u64::from_le_bytes(*b))
    }

    fn pairs_at(&self) -> usize {
        self.n as usize * 8
    }

    fn types_at(&self) -> usize {
        let keys = if self.flags.has(Flags::PAIRS) {
            padded(self.n as usize * 4)
        } else {
            0
        };
        self.pairs_at() + keys
    }

    fn side(&self, slot: u64) -> Option<&[u8]> {
        let base = self.types_at() + padded(self.n as usize);
        let from = base.checked_add(slot as u32 as usize)?;
        self.payload
            .get(from..from.checked_add((slot >> 32) as usize)?)
    }

    /// The type of value `i`.
    #[must_use]
    pub fn value_type(&self, i: usize) -> ValueType {
        if !self.is_typed() {
            return ValueType::F64;
        }
        let byte = self.payload.get(self.types_at() + i).copied().unwrap_or(0);
        ValueType::from_u8(byte).unwrap_or(ValueType::None)
    }

    /// Value `i`. `None`: there is no such value.
    #[must_use]
    pub fn value(&self, i: usize) -> Option<Value<'_>> {
        if i >= self.n as usize {
            return None;
        }
        let slot = self.slot(i);
        Some(match self.value_type(i) {
            ValueType::F64 => Value::F64(f64::from_bits(slot)),
            ValueType::I64 => Value::I64(slot as i64),
            ValueType::Bool => Value::Bool(slot != 0),
            ValueType::BigInt => Value::BigInt(self.side(slot)?),
            ValueType::None => Value::None,
            ValueType::Text => Value::Text(self.side(slot)?),
        })
    }

    /// The key of value `i`. `None`: no such value, or the frame has a layout.
    #[must_use]
    pub fn pair_key(&self, i: usize) -> Option<KeyId> {
        if !self.flags.has(Flags::PAIRS) || i >= self.n as usize {
            return None;
        }
        let bytes = self
            .payload
            .get(self.pairs_at()..)?
            .as_chunks::<4>()
            .0
            .get(i)?;
        Some(KeyId(u32::from_le_bytes(*bytes)))
    }

    /// The JSON of a frame that is not points.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        self.payload.get(..self.n as usize).unwrap_or(&self.payload)
    }
}

/// The frames in the bytes of a [`crate::Batch`], parts put together.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    first: u64,
}

/// Read the frames of a batch that starts at `first`. The bytes were validated by the tail reader;
/// bytes from elsewhere end the iteration early but never read past their end.
#[must_use]
pub fn frames(bytes: &[u8], first: Lsn) -> Frames<'_> {
    Frames {
        bytes,
        at: 0,
        first: first.0,
    }
}

impl<'a> Frames<'a> {
    fn raw(&self, at: usize) -> Option<(Head, &'a [u8], usize)> {
        let rest = self.bytes.get(at..)?;
        let words = rest.get(..HEAD_BYTES)?.as_chunks::<8>().0;
        let word = |i: usize| words.get(i).map_or(0, |b| u64::from_le_bytes(*b));
        let len = word(0) as u32 as usize;
        let payload = rest.get(HEAD_BYTES..len)?;
        Some((
            Head::from_words([word(1), word(2), word(3), word(4)]),
            payload,
            len,
        ))
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    fn next(&mut self) -> Option<Frame<'a>> {
        let start = self.at;
        let (head, payload, len) = self.raw(start)?;
        let mut payload = Cow::Borrowed(payload);
        let mut at = start + len;
        let mut more = head.flags & Flags::MORE != 0;
        while more {
            let (part, bytes, len) = self.raw(at)?;
            payload.to_mut().extend_from_slice(bytes);
            at += len;
            more = part.flags & Flags::MORE != 0;
        }
        self.at = at;
        Some(Frame {
            lsn: Lsn(self.first + start as u64),
            end: Lsn(self.first + at as u64),
            ordinal: head.ordinal,
            kind: Kind::from_u8(head.kind)?,
            flags: Flags(head.flags & !Flags::MORE),
            boottime_ns: head.boottime_ns,
            step: Step(head.step),
            layout: LayoutId(head.layout),
            n: head.n,
            payload,
        })
    }
}
