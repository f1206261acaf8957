//! Tokens that are known by their looks.

use super::prefixes::{Letters, PREFIXES};
use super::{Secret, is_word};

/// So much is looked at before something counts as a token; it may be longer.
const MOST_BYTES: usize = 1_536;
/// Of one part of a JSON web token.
const MOST_PART_BYTES: usize = 16_384;

/// The token that `text` starts with.
pub fn token(text: &[u8]) -> Option<Secret> {
    let whole = |kind: &'static str| {
        move |length| Secret {
            kept: 0,
            length,
            kind,
        }
    };
    match text.first()? {
        b'0'..=b'9' => telegram(text).map(whole("Telegram token")),
        b'b' | b'B' => scheme(text),
        _ => prefixed(text)
            .map(|(length, kind)| whole(kind)(length))
            .or_else(|| jwt(text).map(whole("JSON web token")))
            .or_else(|| discord(text).map(whole("Discord token")))
            .or_else(|| twilio(text).map(whole("Twilio key"))),
    }
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    let text = text.get(..MOST_BYTES).unwrap_or(text);
    text.iter().take_while(|&&byte| belongs(byte)).count()
}

/// The same, however long it is: for what is a token already.
fn whole_run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|&&byte| belongs(byte)).count()
}

fn is_base64_url(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn prefixed(text: &[u8]) -> Option<(usize, &'static str)> {
    let [first, second, ..] = text else {
        return None;
    };
    PREFIXES.iter().find_map(|(prefix, fewest, letters, kind)| {
        // Nearly all words end here.
        let [a, b, ..] = prefix.as_bytes() else {
            return None;
        };
        if a != first || b != second {
            return None;
        }
        let rest = text.strip_prefix(prefix.as_bytes())?;
        let length = run(rest, |byte| letters.has(byte));
        let length = match letters {
            // What ends a sentence is no part of it.
            Letters::Dotted => {
                rest.get(..length)?.trim_ascii_end().len() - dots(rest.get(..length)?)
            }
            _ => length,
        };
        // `sk-something-in-plain-words` is a name: a token has digits.
        let random = rest.get(..length)?.iter().any(u8::is_ascii_digit);
        if length < *fewest || !random {
            return None;
        }
        let length = if length < MOST_BYTES {
            length
        } else {
            whole_run(rest, |byte| letters.has(byte))
        };
        Some((prefix.len() + length, *kind))
    })
}

fn dots(text: &[u8]) -> usize {
    text.iter().rev().take_while(|&&byte| byte == b'.').count()
}

/// `digits:35 characters`.
fn telegram(text: &[u8]) -> Option<usize> {
    let digits = run(text, |byte| byte.is_ascii_digit());
    if !(6..=12).contains(&digits) || text.get(digits) != Some(&b':') {
        return None;
    }
    let key = run(text.get(digits + 1..)?, is_base64_url);
    (34..=36).contains(&key).then_some(digits + 1 + key)
}

/// Three parts of base64, the first of which says `{"`.
fn jwt(text: &[u8]) -> Option<usize> {
    if !text.starts_with(b"eyJ") {
        return None;
    }
    let mut length = 0;
    for part in 0..3 {
        let rest = text.get(length..)?;
        let near = rest.get(..MOST_PART_BYTES).unwrap_or(rest);
        let here = whole_run(if part < 2 { near } else { rest }, is_base64_url);
        length += here;
        if here < 4 || (part < 2 && text.get(length) != Some(&b'.')) {
            return None;
        }
        length += usize::from(part < 2);
    }
    Some(length)
}

/// `id.time.signature`, of which the id is a number in base64.
fn discord(text: &[u8]) -> Option<usize> {
    if !matches!(text.first(), Some(b'M' | b'N' | b'O')) {
        return None;
    }
    let id = run(text, is_base64_url);
    let time = run(text.get(id + 1..)?, is_base64_url);
    let signature = run(text.get(id + time + 2..)?, is_base64_url);
    let dotted = text.get(id) == Some(&b'.') && text.get(id + 1 + time) == Some(&b'.');
    let fits = (23..=28).contains(&id) && (5..=7).contains(&time) && (25..=40).contains(&signature);
    (dotted && fits).then_some(id + time + signature + 2)
}

fn twilio(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"SK")?;
    let length = run(rest, |byte| {
        byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase()
    });
    let ends = !rest.get(length).copied().is_some_and(is_word);
    (length == 32 && ends).then_some(34)
}

/// `Bearer …` and `Basic …`: the word stays, where it is followed by something random.
fn scheme(text: &[u8]) -> Option<Secret> {
    let bearer = after(text, b"bearer ");
    let rest = bearer.or_else(|| after(text, b"basic "))?;
    let belongs = |byte| is_base64_url(byte) || b".=+/~".contains(&byte);
    let length = run(rest, belongs);
    let token = rest.get(..length)?;
    let mixed = token.iter().any(u8::is_ascii_digit)
        || (token.iter().any(u8::is_ascii_lowercase) && token.ends_with(b"="));
    (length >= 12 && mixed).then(|| Secret {
        kept: 0,
        length: text.len() - rest.len() + whole_run(rest, belongs),
        kind: if bearer.is_some() {
            "bearer token"
        } else {
            "password in a header"
        },
    })
}

fn after<'a>(text: &'a [u8], word: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word).then_some(rest)
}
