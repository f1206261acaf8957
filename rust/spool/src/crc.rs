//! CRC32C over 64-bit words, continued from a seed, in hardware where there is any.

/// The CRC state after `(producer, lane)`: each frame's sum starts from it, so that bytes of
/// another producer, lane or lap never validate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed {
    state: u32,
    hardware: bool,
}

impl Seed {
    pub(crate) fn new(producer: [u8; 16], lane: u8) -> Self {
        let state =
            crc32c::crc32c_append(crc32c::crc32c(&producer), &u32::from(lane).to_le_bytes());
        Self {
            state,
            hardware: has_hardware(),
        }
    }

    /// The sum of a frame or mark: its position, its length word, then the rest as given.
    #[inline]
    pub(crate) fn sum(self, lsn: u64, len: u32, rest: &[&[u64]]) -> u32 {
        #[cfg(target_arch = "x86_64")]
        if self.hardware {
            // SAFETY: `hardware` is only set when the processor has SSE 4.2.
            return unsafe { sum_sse42(self.state, lsn, len, rest) };
        }
        #[cfg(target_arch = "aarch64")]
        if self.hardware {
            // SAFETY: `hardware` is only set when the processor has the CRC extension.
            return unsafe { sum_armv8(self.state, lsn, len, rest) };
        }
        sum_table(self.state, lsn, len, rest)
    }
}

#[cfg(target_arch = "x86_64")]
fn has_hardware() -> bool {
    std::is_x86_feature_detected!("sse4.2")
}

#[cfg(target_arch = "aarch64")]
fn has_hardware() -> bool {
    std::arch::is_aarch64_feature_detected!("crc")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_hardware() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn sum_sse42(state: u32, lsn: u64, len: u32, rest: &[&[u64]]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};
    let mut crc = _mm_crc32_u64(u64::from(!state), lsn);
    crc = u64::from(_mm_crc32_u32(crc as u32, len));
    for words in rest {
        for word in *words {
            crc = _mm_crc32_u64(crc, *word);
        }
    }
    !(crc as u32)
}

#[cfg(target_arch = "aarch64")]
#[target_feature(enable = "crc")]
fn sum_armv8(state: u32, lsn: u64, len: u32, rest: &[&[u64]]) -> u32 {
    use std::arch::aarch64::{__crc32cd, __crc32cw};
    let mut crc = __crc32cw(__crc32cd(!state, lsn), len);
    for words in rest {
        for word in *words {
            crc = __crc32cd(crc, *word);
        }
    }
    !crc
}

fn sum_table(state: u32, lsn: u64, len: u32, rest: &[&[u64]]) -> u32 {
    let mut crc = crc32c::crc32c_append(state, &lsn.to_le_bytes());
    crc = crc32c::crc32c_append(crc, &len.to_le_bytes());
    for words in rest {
        for word in *words {
            crc = crc32c::crc32c_append(crc, &word.to_le_bytes());
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_and_table_agree_with_the_plain_byte_stream() {
        let seed = Seed::new([7; 16], 3);
        let words = [1u64, u64::MAX, 0x0123_4567_89ab_cdef];
        let mut bytes = vec![7u8; 16];
        bytes.extend(3u32.to_le_bytes());
        bytes.extend(99u64.to_le_bytes());
        bytes.extend(64u32.to_le_bytes());
        words.iter().for_each(|w| bytes.extend(w.to_le_bytes()));
        let want = crc32c::crc32c(&bytes);
        assert_eq!(seed.sum(99, 64, &[&words[..1], &words[1..]]), want);
        assert_eq!(sum_table(seed.state, 99, 64, &[&words]), want);
    }
}
