//! Blobs that end in a checksum: what was damaged on the disk is an error, never another value.

use rusqlite::Connection;

use super::error::StoreError;
use super::numbers::ColumnError;

const CRC_BYTES: usize = 4;

/// Where a blob says that it ends in a checksum: several bits of one byte, all of them or none, so that no single
/// flipped bit makes a checked blob of one that is not. Blobs of formats before 3 have none of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sign {
    at: usize,
    bits: u8,
}

/// Of columns, and of steps and times: in the tag.
pub(super) const COLUMN: Sign = Sign { at: 0, bits: 0x78 };
/// Of buckets of the rollup: in the flags of the first.
pub(super) const BUCKET: Sign = Sign { at: 1, bits: 0x3c };

impl Sign {
    /// Mark the blob and append its checksum; nothing happens to an empty one.
    pub(super) fn close(self, blob: &mut Vec<u8>) {
        if let Some(byte) = blob.get_mut(self.at) {
            *byte |= self.bits;
            let crc = crc32c::crc32c(blob);
            blob.extend_from_slice(&crc.to_le_bytes());
        }
    }

    /// The blob without its checksum, which fits; the sign stays in it.
    pub(super) fn open(self, blob: &[u8]) -> Result<&[u8], ColumnError> {
        let Some(byte) = blob.get(self.at) else {
            return Ok(blob);
        };
        match byte & self.bits {
            0 => Ok(blob),
            bits if bits == self.bits => {
                let split = blob.len().checked_sub(CRC_BYTES);
                let (body, crc) = split.map_or((&[][..], blob), |at| blob.split_at(at));
                if crc32c::crc32c(body).to_le_bytes() == *crc {
                    Ok(body)
                } else {
                    Err(ColumnError("its checksum does not fit".into()))
                }
            }
            _ => Err(ColumnError("its first bytes are damaged".into())),
        }
    }

    /// A byte of the blob without the sign.
    pub(super) fn plain(self, byte: u8) -> u8 {
        byte & !self.bits
    }
}

/// Say which column it is that cannot be decoded.
pub(super) fn damaged(conn: &Connection, key: u32, group: i64, error: &ColumnError) -> StoreError {
    let name: Result<String, _> =
        conn.query_row("SELECT name FROM keys WHERE id = ?1", [key], |row| {
            row.get(0)
        });
    let name = name.unwrap_or_else(|_| format!("key {key}"));
    let ColumnError(what) = error;
    StoreError::Column(ColumnError(format!("{name:?} in group {group}: {what}")))
}

#[cfg(test)]
#[path = "checked_tests.rs"]
mod tests;
