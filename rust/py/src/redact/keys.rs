//! Private keys between their `BEGIN` and `END`, in a file, a string or a diff; also those that are cut off.

use super::Secret;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
/// Larger than any key.
const MOST_BYTES: usize = 20_000;

/// The private key that `text` starts with.
pub fn private_key(text: &[u8]) -> Option<Secret> {
    let text = text.get(..MOST_BYTES).unwrap_or(text);
    let head = headline(text, BEGIN)?;
    let body = text.get(head..)?;
    let end = find(body, END).filter(|&end| body.get(..end).is_some_and(is_body));
    let closed = end.and_then(|end| Some(head + end + headline(body.get(end..)?, END)?));
    let length = closed.or_else(|| Some(head + cut_off(body)?))?;
    Some(Secret {
        kept: 0,
        length,
        kind: "private key",
    })
}

/// How many bytes before an `END` that `text` starts with, at the end of `before`, are of a key whose beginning was
/// cut off; `None`: there is no such key.
pub fn headless(before: &[u8], text: &[u8]) -> Option<usize> {
    headline(text.get(..200).unwrap_or(text), END)?;
    let before = before.get(before.len().saturating_sub(MOST_BYTES)..)?;
    let mut length = 0;
    let mut has_body = false;
    for line in lines_backwards(before) {
        let inside = trimmed(line);
        if !inside.iter().all(|&byte| is_base64(byte)) || (inside.len() < 16 && has_body) {
            break;
        }
        length += line.len();
        has_body |= inside.len() >= 16;
    }
    has_body.then_some(length)
}

/// `-----BEGIN … PRIVATE KEY-----`, and of PGP `PRIVATE KEY BLOCK-----`: its length.
fn headline(text: &[u8], mark: &[u8]) -> Option<usize> {
    let head = text.strip_prefix(mark)?;
    let head = head.get(..80).unwrap_or(head);
    let end = find(head, b"-----")?;
    let name = head.get(..end)?;
    let name = name.strip_suffix(b" BLOCK").unwrap_or(name);
    let is_one_line = !name.contains(&b'\n');
    (is_one_line && name.ends_with(b"PRIVATE KEY")).then_some(mark.len() + end + 5)
}

/// Whether all of it may stand in a key: code between two constants does not.
fn is_body(text: &[u8]) -> bool {
    text.iter().all(|&byte| {
        is_base64(byte) || byte.is_ascii_whitespace() || b"\"'\\,:-.;#*>|()".contains(&byte)
    }) && text.iter().any(u8::is_ascii_alphanumeric)
}

/// The length of what follows the headline of a key without an end.
fn cut_off(body: &[u8]) -> Option<usize> {
    let mut length = 0;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let inside = trimmed(line);
        let is_key = inside.len() >= 16 && inside.iter().all(|&byte| is_base64(byte));
        if !is_key && !inside.is_empty() {
            break;
        }
        length += line.len();
    }
    let has_body = body.get(..length)?.iter().any(u8::is_ascii_alphanumeric);
    has_body.then_some(length)
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

/// A line without what a string, a comment or a diff puts around it.
fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let line = line
        .strip_prefix(b"+")
        .or_else(|| line.strip_prefix(b"-"))
        .unwrap_or(line);
    let start = line
        .iter()
        .take_while(|byte| b" \t\"'#*>|".contains(byte))
        .count();
    let line = line.get(start..).unwrap_or_default();
    let end = line
        .iter()
        .rev()
        .take_while(|byte| b" \t\"',\\".contains(byte))
        .count();
    let line = line.get(..line.len() - end).unwrap_or_default();
    line.strip_suffix(b"\\n").unwrap_or(line)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Lines from the end, each with its line break.
fn lines_backwards(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (_, head) = rest.split_last()?;
        let start = head
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let (before, line) = rest.split_at_checked(start)?;
        rest = before;
        Some(line)
    })
}
