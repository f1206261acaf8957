//! Newtypes for the numbers that must never be mixed up.

use std::fmt;
use std::str::FromStr;

/// A byte position in a lane. Grows for ever, wraps never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// The training step a frame belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step(pub i64);

/// A metric name of one producer, numbered from 0 in order of first use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// An ordered set of keys of one producer, numbered from 0 in order of first use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LayoutId(pub u32);

/// One of the sixteen lanes of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(pub u8);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane{}", self.0)
    }
}

/// One process that logs: a random 128-bit number, written as 32 hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub [u8; 16]);

impl ProducerId {
    /// A fresh id from the kernel's random source (getrandom(2)).
    ///
    /// # Errors
    /// The kernel's error when it has no random bytes to give.
    pub fn random() -> std::io::Result<Self> {
        let mut id = [0u8; 16];
        // SAFETY: the buffer is 16 bytes long and ours; getrandom writes at most that many.
        let got = unsafe { libc::getrandom(id.as_mut_ptr().cast(), id.len(), 0) };
        if got == 16 {
            Ok(Self(id))
        } else {
            Err(std::io::Error::last_os_error())
        }
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a producer id is 32 hex digits")]
pub struct BadProducerId;

impl FromStr for ProducerId {
    type Err = BadProducerId;

    fn from_str(text: &str) -> Result<Self, BadProducerId> {
        if text.len() != 32 || !text.is_ascii() {
            return Err(BadProducerId);
        }
        let mut id = [0u8; 16];
        for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| BadProducerId)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadProducerId)?;
        }
        Ok(Self(id))
    }
}

/// How the lanes are written: chosen by file system when the producer is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Stores into a shared mapping of fully allocated files.
    Mmap,
    /// One `pwrite(2)` per frame: network and unknown file systems.
    Pwrite,
}

/// Why a frame, or a value in it, was not accepted. Each is counted per producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u8)]
pub enum Reject {
    /// The disk, or the node's limit, is full.
    #[error("no space left for the spool")]
    NoSpace = 0,
    /// All sixteen lanes stayed taken for 10 ms.
    #[error("all lanes are busy")]
    LanesBusy = 1,
    /// More than 64 MiB in one call.
    #[error("more than 64 MiB in one call")]
    TooLarge = 2,
    /// A key of more than 64 KiB.
    #[error("a key of more than 64 KiB")]
    KeyTooLong = 3,
    /// The dictionary holds as many layouts as it may; the caller writes pairs instead.
    #[error("too many layouts")]
    TooManyLayouts = 4,
    /// `close()` was called.
    #[error("the run is closed")]
    Closed = 5,
    /// A value of a kind that is not recorded.
    #[error("a value that cannot be recorded")]
    BadValue = 6,
    /// A key that is not text.
    #[error("a key that is not text")]
    BadKey = 7,
    /// A step that is not a 64-bit integer.
    #[error("a step that is not an integer")]
    BadStep = 8,
    /// `log()` before `init()`.
    #[error("no run is open")]
    NoProducer = 9,
    /// A tensor on a device, while `device_tensors="reject"`.
    #[error("a tensor on a device")]
    DeviceTensor = 10,
    /// Dicts nested too deep, or in a circle.
    #[error("nested too deep")]
    TooDeep = 11,
    /// The producer belongs to the parent of this forked process.
    #[error("made by the parent process")]
    Forked = 12,
    /// A process has named as many keys as it may.
    #[error("too many different keys")]
    TooManyKeys = 13,
}

impl Reject {
    /// How many reasons there are.
    pub const COUNT: usize = 14;
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; Self::COUNT] = [
        Self::NoSpace,
        Self::LanesBusy,
        Self::TooLarge,
        Self::KeyTooLong,
        Self::TooManyLayouts,
        Self::Closed,
        Self::BadValue,
        Self::BadKey,
        Self::BadStep,
        Self::NoProducer,
        Self::DeviceTensor,
        Self::TooDeep,
        Self::Forked,
        Self::TooManyKeys,
    ];

    /// The short name used in `health()` and in the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoSpace => "no_space",
            Self::LanesBusy => "lanes_busy",
            Self::TooLarge => "too_large",
            Self::KeyTooLong => "key_too_long",
            Self::TooManyLayouts => "too_many_layouts",
            Self::Closed => "closed",
            Self::BadValue => "bad_value",
            Self::BadKey => "bad_key",
            Self::BadStep => "bad_step",
            Self::NoProducer => "no_producer",
            Self::DeviceTensor => "device_tensor",
            Self::TooDeep => "too_deep",
            Self::Forked => "forked",
            Self::TooManyKeys => "too_many_keys",
        }
    }
}
