//! `name=value`, `name: value` and `--name value`, where the name says secret.

use super::is_word;
use super::names::{Secrecy, secrecy, secrecy_in_query};

/// A secret after the sign that `rest` starts with: what is kept before it, and its length. `before` ends with the
/// name.
pub fn value_after(before: &[u8], rest: &[u8]) -> Option<(usize, usize)> {
    let sign = *rest.first()?;
    let name = name_at_end(before, sign)?;
    let in_query = sign == b'=' && is_in_query(before, name);
    let secrecy = if in_query {
        secrecy_in_query(name)?
    } else {
        secrecy(name)?
    };
    let gap = rest
        .get(1..)?
        .iter()
        .take_while(|&&byte| byte == b' ')
        .count();
    let start = 1 + gap;
    let (quote, length) = value(rest.get(start..)?, in_query);
    // Code is full of `token = next(tokens)`: without quotes a value stands close to its sign.
    let spaced = gap > 0 || before.ends_with(b" ");
    if quote == 0 && sign == b'=' && spaced {
        return None;
    }
    let text = rest.get(start + quote..start + quote + length)?;
    let secret = match secrecy {
        Secrecy::Sure => !is_harmless(text) && (quote > 0 || !text.contains(&b'(')),
        Secrecy::Token => {
            !is_harmless(text) && secrecy.covers(text) && text.iter().any(u8::is_ascii_digit)
        }
        Secrecy::Key => secrecy.covers(text),
    };
    secret.then_some((start + quote, length))
}

/// Whether the name stands in the query of a URL, as in `?sig=` and `&signature=`.
fn is_in_query(before: &[u8], name: &str) -> bool {
    before
        .strip_suffix(name.as_bytes())
        .and_then(<[u8]>::last)
        .is_some_and(|byte| b"?&;".contains(byte))
}

/// The name before the sign, if there is one; before a blank only `--name` counts, also as `'--name', ` in a list.
fn name_at_end(before: &[u8], sign: u8) -> Option<&str> {
    const MOST_BYTES: usize = 64;
    let before = if sign.is_ascii_whitespace() {
        before
            .strip_suffix(b",")
            .filter(|item| item.ends_with(b"'") || item.ends_with(b"\""))
            .unwrap_or(before)
    } else {
        before.trim_ascii_end()
    };
    let before = before
        .strip_suffix(b"\"")
        .or_else(|| before.strip_suffix(b"'"))
        .unwrap_or(before);
    let length = before
        .iter()
        .rev()
        .take(MOST_BYTES)
        .take_while(|&&byte| is_word(byte) || byte == b'-')
        .count();
    let name = before.get(before.len() - length..)?;
    let is_flag = name.starts_with(b"--");
    if sign.is_ascii_whitespace() && !is_flag {
        return None;
    }
    std::str::from_utf8(name)
        .ok()
        .filter(|name| !name.is_empty())
}

/// Whether a quote opens the value, and the length of what it encloses; in a query `#` ends it.
fn value(text: &[u8], in_query: bool) -> (usize, usize) {
    match text.first() {
        Some(&quote @ (b'"' | b'\'')) => {
            let inner = text.get(1..).unwrap_or_default();
            (
                1,
                inner
                    .iter()
                    .take_while(|&&byte| byte != quote && byte != b'\n')
                    .count(),
            )
        }
        _ => (
            0,
            text.iter()
                .take_while(|&&byte| !byte.is_ascii_whitespace() && !b",;)}]\"'&".contains(&byte))
                .take_while(|&&byte| !(in_query && byte == b'#'))
                .count(),
        ),
    }
}

fn is_harmless(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 5] = [b"none", b"null", b"true", b"false", b"..."];
    let number = text
        .iter()
        .all(|byte| byte.is_ascii_digit() || b".+-e_".contains(byte));
    text.len() < 4
        || number && text.len() < 8
        || text.starts_with(b"$")
        || text.starts_with(b"-")
        // Without its bracket, which ends a value that has no quotes.
        || text.starts_with(b"[redacted")
        || text.starts_with(b"os.")
        || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}
