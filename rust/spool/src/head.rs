//! The words before the payload of a frame, and the marks that stand between frames.

/// A mark stands where the next frame would: what follows lies elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The rest of the ring, this many bytes, is unused.
    Pad(u32),
    /// The next frame is the first of a chain file.
    Switch,
    /// The next frame is in the ring again.
    Return,
}

pub(crate) const MARK_BIT: u32 = 1 << 31;
const SWITCH_WORD: u32 = MARK_BIT | (1 << 28);
const RETURN_WORD: u32 = MARK_BIT | (2 << 28);

impl Mark {
    pub(crate) fn len_word(self) -> u32 {
        match self {
            Self::Pad(bytes) => MARK_BIT | bytes,
            Self::Switch => SWITCH_WORD,
            Self::Return => RETURN_WORD,
        }
    }

    /// `None`: the length word is not a mark.
    pub(crate) fn from_len_word(word: u32) -> Option<Self> {
        match word {
            SWITCH_WORD => Some(Self::Switch),
            RETURN_WORD => Some(Self::Return),
            _ if word & 0xF000_0000 == MARK_BIT && word & 7 == 0 && word != MARK_BIT => {
                Some(Self::Pad(word & 0x0FFF_FFFF))
            }
            _ => None,
        }
    }
}

/// The four words after `len|crc`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub(crate) ordinal: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) part: u16,
    pub(crate) boottime_ns: i64,
    pub(crate) step: i64,
    pub(crate) layout: u32,
    pub(crate) n: u32,
}

impl Head {
    #[inline]
    pub(crate) fn words(self) -> [u64; 4] {
        [
            u64::from(self.ordinal)
                | (u64::from(self.kind) << 32)
                | (u64::from(self.flags) << 40)
                | (u64::from(self.part) << 48),
            self.boottime_ns as u64,
            self.step as u64,
            u64::from(self.layout) | (u64::from(self.n) << 32),
        ]
    }

    pub(crate) fn from_words(w: [u64; 4]) -> Self {
        Self {
            ordinal: w[0] as u32,
            kind: (w[0] >> 32) as u8,
            flags: (w[0] >> 40) as u8,
            part: (w[0] >> 48) as u16,
            boottime_ns: w[1] as i64,
            step: w[2] as i64,
            layout: w[3] as u32,
            n: (w[3] >> 32) as u32,
        }
    }
}
