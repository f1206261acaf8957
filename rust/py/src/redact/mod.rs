//! Secrets in text: known formats, private keys, passwords in URLs, and assignments to names that say secret.
//!
//! Works on bytes, as all marks of a secret are ASCII and the text between them may be anything.

mod assignments;
mod commands;
mod formats;
mod keys;
mod name_before;
mod names;
mod prefixes;
mod urls;
mod values;

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
        if let Some(length) = cut_key(&out, text, at) {
            note((at - length, "private key"));
            let lost = out.split_off(out.len() - length);
            out.extend_from_slice(MARK);
            out.extend(std::iter::repeat_n(b'\n', lines(&lost)));
            found += 1;
        }
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

/// How much at the end of the output is of a key that ends here, and whose beginning is not there.
fn cut_key(out: &[u8], text: &[u8], at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let is_end = rest.first() == Some(&b'-') && rest.starts_with(b"-----END ");
    is_end.then(|| keys::headless(out, rest)).flatten()
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
    match first {
        b':' if rest.starts_with(b"://") => return urls::secret(text.get(..at)?, rest),
        b' ' | b'\t' => {
            let before = text.get(..at)?;
            return assignments::secret(before, rest).or_else(|| commands::secret(before, rest));
        }
        b'=' | b':' | b',' | b'>' => return assignments::secret(text.get(..at)?, rest),
        b'-' if rest.starts_with(b"-----BEGIN ") => return keys::private_key(rest),
        _ => {}
    }
    if !first.is_ascii_alphanumeric() || before.is_some_and(is_word) {
        return None;
    }
    formats::token(rest)
}

/// Bytes that names and most tokens are made of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
