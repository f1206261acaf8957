//! Secrets in text: known formats, private keys, passwords in URLs, and assignments to names that say secret.
//!
//! Works on bytes, as all marks of a secret are ASCII and the text between them may be anything.

mod assignments;
mod formats;
mod names;

use std::sync::atomic::{AtomicU64, Ordering};

pub use names::{Secrecy, secrecy};

/// What stands in place of a secret.
pub const MARK: &[u8] = b"[redacted]";

static TOTAL: AtomicU64 = AtomicU64::new(0);

/// Adds to the number of secrets left out.
pub fn count(found: u64) {
    TOTAL.fetch_add(found, Ordering::Relaxed);
}

/// Secrets left out in this process.
pub fn total() -> u64 {
    TOTAL.load(Ordering::Relaxed)
}

/// The text without its secrets, and how many there were.
pub fn redact(text: &[u8]) -> (Vec<u8>, u64) {
    let mut out = Vec::with_capacity(text.len());
    let mut found = 0;
    let mut at = 0;
    while at < text.len() {
        match secret_at(text, at) {
            Some((skip, secret)) => {
                out.extend_from_slice(text.get(at..at + skip).unwrap_or_default());
                out.extend_from_slice(MARK);
                at += skip + secret.max(1);
                found += 1;
            }
            None => {
                out.extend(text.get(at));
                at += 1;
            }
        }
    }
    count(found);
    (out, found)
}

/// A secret that is announced here: so many bytes are kept, so many are left out.
fn secret_at(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let rest = text.get(at..)?;
    let first = *rest.first()?;
    let before = at
        .checked_sub(1)
        .and_then(|before| text.get(before))
        .copied();
    if first == b':' && rest.starts_with(b"://") {
        return formats::url_secret(text.get(..at)?, rest);
    }
    if first == b'=' || first == b':' || first.is_ascii_whitespace() {
        return assignments::value_after(text.get(..at)?, rest);
    }
    if before.is_some_and(is_word) {
        return None;
    }
    formats::token(rest).map(|length| (0, length))
}

/// Bytes that names and most tokens are made of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
