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

/// A secret in a text.
pub struct Secret {
    /// So many bytes of what announces it are kept.
    pub kept: usize,
    /// So many bytes after those are left out.
    pub length: usize,
    /// What it is, in a few words.
    pub kind: &'static str,
}

/// The text without its secrets, and how many there were.
pub fn redact(text: &[u8]) -> (Vec<u8>, u64) {
    let mut found = 0;
    let out = cleaned(text, |_| found += 1, false);
    (out, found)
}

/// The same with every line where it was; of each secret its line, from 1, and its kind.
pub fn redact_places(text: &[u8]) -> (Vec<u8>, Vec<(usize, &'static str)>) {
    let mut places = Vec::new();
    let (mut counted, mut line) = (0, 1);
    let note = |(at, kind): (usize, &'static str)| {
        line += lines(text.get(counted..at).unwrap_or_default());
        counted = at;
        places.push((line, kind));
    };
    let out = cleaned(text, note, true);
    (out, places)
}

/// Calls `note` with place and kind of each secret.
fn cleaned(text: &[u8], mut note: impl FnMut((usize, &'static str)), keep_lines: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let (mut at, mut found) = (0, 0);
    while at < text.len() {
        let Some(secret) = secret_at(text, at) else {
            out.extend(text.get(at));
            at += 1;
            continue;
        };
        let start = at + secret.kept;
        let end = start + secret.length.max(1);
        note((start, secret.kind));
        out.extend_from_slice(text.get(at..start).unwrap_or_default());
        out.extend_from_slice(MARK);
        if keep_lines {
            let lost = lines(text.get(start..end.min(text.len())).unwrap_or_default());
            out.extend(std::iter::repeat_n(b'\n', lost));
        }
        at = end;
        found += 1;
    }
    count(found);
    out
}

fn lines(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte == b'\n').count()
}

/// A secret that is announced here.
fn secret_at(text: &[u8], at: usize) -> Option<Secret> {
    let rest = text.get(at..)?;
    let first = *rest.first()?;
    let before = at
        .checked_sub(1)
        .and_then(|before| text.get(before))
        .copied();
    let made = |(kept, length): (usize, usize)| Secret {
        kept,
        length,
        kind: "secret",
    };
    if first == b':' && rest.starts_with(b"://") {
        return formats::url_secret(text.get(..at)?, rest).map(made);
    }
    if first == b'=' || first == b':' || first.is_ascii_whitespace() {
        return assignments::value_after(text.get(..at)?, rest).map(made);
    }
    if before.is_some_and(is_word) {
        return None;
    }
    formats::token(rest).map(|length| made((0, length)))
}

/// Bytes that names and most tokens are made of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
