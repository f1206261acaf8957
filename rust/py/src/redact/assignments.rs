//! `name=value`, `name: value`, `--name value` and their kin, where the name says secret.

use super::formats::token;
use super::name_before::{Named, named};
use super::names::{Secrecy, secrecy, secrecy_in_query};
use super::values::{Proof, is_harmless, is_name, is_reference, looks_random, looks_secret};
use super::{Secret, is_word};

/// So much is looked at; what is longer belongs to it as far as the word goes.
const MOST_BYTES: usize = 4_096;
/// The same without quotes.
const MOST_BARE_BYTES: usize = 512;
/// Words before the secret itself in a header.
const SCHEMES: [&[u8]; 7] = [
    b"bearer ",
    b"basic ",
    b"token ",
    b"digest ",
    b"apikey ",
    b"key ",
    b"negotiate ",
];

/// A value: where it starts, its length, and how it was written.
struct Value {
    start: usize,
    length: usize,
    quoted: bool,
}

/// A secret after the sign that `rest` starts with; `before` ends with its name.
pub fn secret(before: &[u8], rest: &[u8]) -> Option<Secret> {
    let sign = *rest.first()?;
    let named = named(before, rest)?;
    let name = named.name;
    let in_query = sign == b'=' && is_in_query(before, name);
    let secrecy = if in_query {
        secrecy_in_query(name)?
    } else {
        secrecy(name)?
    };
    let value = value(rest, &named, in_query)?;
    let text = rest.get(value.start..value.start + value.length)?;
    let after = rest.get(value.start + value.length..).unwrap_or_default();
    if !is_secret(text, after, &named, &value, secrecy, sign) {
        return None;
    }
    let most = if value.quoted {
        MOST_BYTES
    } else {
        MOST_BARE_BYTES
    };
    let more = if value.length < most {
        0
    } else {
        rest_of_word(after)
    };
    Some(Secret {
        kept: value.start,
        length: value.length + more,
        kind: token(text).map_or_else(|| kind(name), |known| known.kind),
    })
}

/// Of a secret that is longer than what was looked at.
fn rest_of_word(after: &[u8]) -> usize {
    after
        .iter()
        .take_while(|&&byte| !byte.is_ascii_whitespace() && byte != b'"' && byte != b'\'')
        .count()
}

fn kind(name: &str) -> &'static str {
    let name = name.to_ascii_lowercase();
    let has = |word: &str| name.contains(word);
    match () {
        () if has("passphrase") => "passphrase",
        () if has("pass") || has("pwd") => "password",
        () if has("token") || has("bearer") => "token",
        () if has("key") => "key",
        () if has("sig") => "signature",
        () => "secret",
    }
}

/// Whether the name stands in the query of a URL, as in `?sig=` and `&signature=`.
fn is_in_query(before: &[u8], name: &str) -> bool {
    before
        .strip_suffix(name.as_bytes())
        .and_then(<[u8]>::last)
        .is_some_and(|byte| b"?&;".contains(byte))
}

fn is_secret(
    text: &[u8],
    after: &[u8],
    named: &Named<'_>,
    value: &Value,
    secrecy: Secrecy,
    sign: u8,
) -> bool {
    if (!value.quoted && is_assignment(text)) || is_harmless(text) || !secrecy.covers(text) {
        return false;
    }
    if secrecy == Secrecy::Key {
        return true;
    }
    if secrecy == Secrecy::Token && !text.iter().any(u8::is_ascii_digit) {
        return false;
    }
    if named.proof == Proof::Looks && !looks_secret(text) {
        return false;
    }
    if value.quoted {
        return is_secret_in_quotes(text, named);
    }
    is_secret_bare(text, after, named, sign)
}

/// In quotes stands what is meant, though it may be words for a person.
fn is_secret_in_quotes(text: &[u8], named: &Named<'_>) -> bool {
    let says_itself = text.eq_ignore_ascii_case(named.name.as_bytes());
    let words = text.iter().filter(|&&byte| byte == b' ').count();
    let is_sentence = words > 0 && !named.name.to_ascii_lowercase().contains("pass")
        || words > 1 && text.iter().any(|byte| b".,:'()".contains(byte));
    let is_path = text.contains(&b'/') && !looks_random(text) && !looks_secret(text);
    let is_constant = text
        .iter()
        .all(|&b| b.is_ascii_uppercase() || b"_- ".contains(&b));
    let is_snake = text.contains(&b'_')
        && text
            .iter()
            .all(|&b| b.is_ascii_lowercase() || b"_.".contains(&b));
    !says_itself && !is_sentence && !is_path && !is_constant && !is_snake && !text.contains(&b'\n')
}

/// Without quotes it may be a secret in a shell or in YAML, or a name in code.
fn is_secret_bare(text: &[u8], after: &[u8], named: &Named<'_>, sign: u8) -> bool {
    let is_code = text.iter().any(|byte| b"([{<|`".contains(byte)) || text.ends_with(b":");
    if is_code {
        return false;
    }
    let first = after.first().copied();
    let is_name = is_reference(text) && (is_name(text) || !looks_secret(text));
    if is_name && matches!(first, Some(b',' | b')' | b'}' | b']' | b'(' | b'[' | b'.')) {
        return false;
    }
    if sign.is_ascii_whitespace() {
        // What a help text puts there: `--token TOKEN`.
        return !text.iter().all(|&b| b.is_ascii_uppercase() || b == b'_');
    }
    if named.quoted && is_name {
        return false;
    }
    let is_shouted = !named.name.bytes().any(|byte| byte.is_ascii_lowercase());
    let is_flag = named.name.starts_with("--");
    if sign == b'=' && (is_shouted || is_flag) {
        return !refers_to_a_secret(text);
    }
    if is_name && text.contains(&b'.') {
        return false;
    }
    if is_name && (refers_to_a_secret(text) || starts_a_type(text)) {
        return false;
    }
    // More words, or an operator, make it a sentence, a type or an expression.
    let rest = after.trim_ascii_start();
    let same_line = after.get(..after.len() - rest.len()).unwrap_or_default();
    let goes_on = !same_line.contains(&b'\n') && !rest.is_empty() && !same_line.is_empty();
    let is_comment = rest.starts_with(b"#") || rest.starts_with(b"--");
    !goes_on || is_comment || looks_secret(text)
}

/// `credentials: db_password='…'`: the secret comes after the next sign.
fn is_assignment(text: &[u8]) -> bool {
    let mut parts = text.splitn(2, |&byte| byte == b'=');
    let name = parts.next().and_then(|name| std::str::from_utf8(name).ok());
    parts.next().is_some() && name.is_some_and(|name| secrecy(name).is_some())
}

/// `password=db_password`: the name of another one.
fn refers_to_a_secret(text: &[u8]) -> bool {
    std::str::from_utf8(text)
        .is_ok_and(|text| is_reference(text.as_bytes()) && secrecy(text).is_some())
}

/// `password: str`, `auth: AuthBase`.
fn starts_a_type(text: &[u8]) -> bool {
    const TYPES: [&[u8]; 14] = [
        b"str",
        b"bytes",
        b"int",
        b"float",
        b"bool",
        b"dict",
        b"list",
        b"tuple",
        b"object",
        b"string",
        b"type",
        b"any",
        b"callable",
        b"bytearray",
    ];
    let is_class = text.first().is_some_and(u8::is_ascii_uppercase)
        && !text.iter().any(u8::is_ascii_digit)
        && text.iter().any(u8::is_ascii_lowercase);
    TYPES.contains(&text) || is_class
}

/// What stands after a sign: in quotes of any kind, to the end of a block, or to where a word ends.
fn value(rest: &[u8], named: &Named<'_>, in_query: bool) -> Option<Value> {
    let sign = *rest.first()?;
    let mut start = named.skipped;
    start += spaces(rest.get(start..)?, b" \t");
    let spaced = start > named.skipped || named.spaced;
    if let Some(block) = block(rest.get(start..)?, sign) {
        start += block;
    }
    let quoted_from = start + prefix(rest.get(start..)?);
    if let Some((mark, length)) = quoted(rest.get(quoted_from..)?) {
        return Some(Value {
            start: quoted_from + mark,
            length,
            quoted: true,
        });
    }
    if named.needs_quotes {
        return None;
    }
    let text = rest.get(start..)?;
    let scheme = SCHEMES.iter().find(|word| {
        text.get(..word.len())
            .is_some_and(|head| head.eq_ignore_ascii_case(word))
    });
    start += scheme.map_or(0, |word| word.len());
    let text = rest.get(start..)?;
    let length = bare(text.get(..MOST_BARE_BYTES).unwrap_or(text), in_query, sign);
    // Code is full of `token = next(tokens)`: without quotes a value stands close to its sign, or looks like one.
    let is_close = !(sign == b'=' && spaced);
    let word = text.get(..length)?;
    let is_literal =
        || looks_secret(word) && !is_reference_like(word) && is_last_on_line(text.get(length..));
    (length > 0 && (is_close || is_literal())).then_some(Value {
        start,
        length,
        quoted: false,
    })
}

/// Whether nothing but a comment follows on the line.
fn is_last_on_line(after: Option<&[u8]>) -> bool {
    let after = after.unwrap_or_default();
    let near = after.get(..MOST_BARE_BYTES).unwrap_or(after);
    let line = near.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii();
    line.is_empty() || line.starts_with(b"#") || line.starts_with(b";")
}

/// `x2`, `self.key1`: names with a digit at the end at most, which only code has after ` = `.
fn is_reference_like(word: &[u8]) -> bool {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    is_reference(word)
        && is_name(word)
        && (digits <= 1 || word.contains(&b'.') || word.contains(&b'_'))
}

fn spaces(text: &[u8], of: &[u8]) -> usize {
    text.iter()
        .take(256)
        .take_while(|byte| of.contains(byte))
        .count()
}

/// What stands between a sign and a value on the next line: `(`, `|`, `>-` or `\` and a line break.
fn block(text: &[u8], sign: u8) -> Option<usize> {
    let marks: &[u8] = if sign == b':' {
        b"|>+-123456789("
    } else {
        b"(\\"
    };
    let mark = spaces(text, marks);
    let after = text.get(mark..)?;
    let blank = spaces(after, b" \t\r");
    let is_line = after.get(blank) == Some(&b'\n') && mark > 0;
    let indent = spaces(after.get(blank + 1..)?, b" \t");
    (is_line && indent > 0).then_some(mark + blank + 1 + indent)
}

/// The letters before a quote in Python: `b"…"`, `rb'…'`.
fn prefix(text: &[u8]) -> usize {
    let letters = spaces(text.get(..2).unwrap_or(text), b"bBrRfFuU");
    match text.get(letters) {
        Some(b'"' | b'\'') => letters,
        _ => 0,
    }
}

/// The length of the opening quotes, and of what they enclose. Quotes in a string have backslashes before them.
fn quoted(text: &[u8]) -> Option<(usize, usize)> {
    let slashes = spaces(text.get(..8).unwrap_or(text), b"\\");
    let quote = *text.get(slashes)?;
    if !b"\"'`".contains(&quote) {
        return None;
    }
    let one = text.get(..=slashes)?;
    let three = [one, one, one].concat();
    let mark = if slashes == 0 && text.starts_with(&three) {
        three.as_slice()
    } else {
        one
    };
    let inside = text.get(mark.len()..)?;
    let inside = inside.get(..MOST_BYTES).unwrap_or(inside);
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        if inside.get(at..)?.starts_with(mark) {
            break;
        }
        if byte == b'\n' && mark.len() == one.len() {
            break;
        }
        // A quote that is a part of the secret has one more backslash.
        at += if byte == b'\\' && slashes == 0 { 2 } else { 1 };
    }
    Some((mark.len(), at.min(inside.len())))
}

/// The length of a word without quotes; in a query `#` ends it.
fn bare(text: &[u8], in_query: bool, sign: u8) -> usize {
    let ends: &[u8] = match sign {
        b'>' => b"<\n",
        _ => b",;)}]\"'&",
    };
    text.iter()
        .take_while(|&&byte| {
            (!byte.is_ascii_whitespace() || (sign == b'>' && byte == b' ')) && !ends.contains(&byte)
        })
        .take_while(|&&byte| !(in_query && byte == b'#'))
        .enumerate()
        .take_while(|&(at, &byte)| byte != b'\\' || !text.get(at + 1).copied().is_none_or(is_word))
        .count()
}
