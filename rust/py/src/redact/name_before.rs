//! The name that a value belongs to: directly before the sign, in brackets, before a type, or elsewhere on the line.

use super::is_word;
use super::names::may_say_secret;
use super::values::Proof;

const LONGEST_NAME: usize = 64;
const LONGEST_LINE: usize = 512;

/// A name, and what it asks of the value.
pub struct Named<'a> {
    /// The name.
    pub name: &'a str,
    /// It stands in quotes, as in JSON.
    pub quoted: bool,
    /// There was a blank between it and the sign.
    pub spaced: bool,
    /// Only a value in quotes can be a secret.
    pub needs_quotes: bool,
    /// What else the value must be.
    pub proof: Proof,
    /// So many bytes of the text after the name are the sign.
    pub skipped: usize,
}

/// The name before the sign that `rest` starts with, if it may say secret.
pub fn named<'a>(before: &'a [u8], rest: &[u8]) -> Option<Named<'a>> {
    let found = match rest.first()? {
        b'=' => after_equals(before, rest),
        b':' => plain(before, 1).map(|named| Named {
            skipped: 1 + usize::from(rest.starts_with(b":=")),
            needs_quotes: rest.starts_with(b":="),
            ..named
        }),
        b',' => in_a_call(before),
        b'>' => of_a_tag(before),
        b' ' | b'\t' => before_a_blank(before),
        _ => None,
    }?;
    // `AWS::IAM::AccessKey` and `arn:aws:…:secret:name` are names of other things.
    let start = found.name.as_ptr() as usize - before.as_ptr() as usize;
    let is_path = before.get(start.wrapping_sub(1)) == Some(&b':');
    (may_say_secret(found.name) && !is_path).then_some(found)
}

/// `name=`, `name["name"] =`, `name: type =`, `default=` of a flag; also comparisons, with what looks like a secret.
fn after_equals<'a>(before: &'a [u8], rest: &[u8]) -> Option<Named<'a>> {
    let double = rest.starts_with(b"==") || rest.starts_with(b"=>");
    let comparison = double || before.ends_with(b"!") || before.ends_with(b"=");
    let before = before.strip_suffix(b"!").unwrap_or(before);
    let before = before.strip_suffix(b"+").unwrap_or(before);
    let skipped = 1 + usize::from(double);
    let direct = plain(before, skipped)?;
    if may_say_secret(direct.name) && !matches!(direct.name, "default" | "value") {
        let arrow = rest.starts_with(b"=>");
        let proof = if comparison && !arrow {
            Proof::Looks
        } else {
            Proof::None
        };
        return Some(Named {
            needs_quotes: comparison && !arrow,
            proof,
            ..direct
        });
    }
    let name = if matches!(direct.name, "default" | "value") {
        flag_on_line(before)
    } else {
        typed(before)
    };
    Some(Named {
        name: name?,
        needs_quotes: true,
        ..direct
    })
}

/// The word at the end, with or without quotes or brackets around it.
fn plain(before: &[u8], skipped: usize) -> Option<Named<'_>> {
    let trimmed = before.trim_ascii_end();
    let spaced = trimmed.len() < before.len();
    let inner = trimmed.strip_suffix(b"]").unwrap_or(trimmed);
    let bare = unquoted(inner);
    let name = word(bare)?;
    // What is not close is on another line.
    let gap = before.get(trimmed.len()..)?;
    (!gap.contains(&b'\n')).then_some(Named {
        name,
        quoted: bare.len() < inner.len() && inner.len() == trimmed.len(),
        spaced,
        needs_quotes: false,
        proof: Proof::None,
        skipped,
    })
}

/// Without the quote at the end and the backslashes before it.
fn unquoted(text: &[u8]) -> &[u8] {
    let inner = text.strip_suffix(b"\"").or_else(|| text.strip_suffix(b"'"));
    inner.map_or(text, |inner| {
        let slashes = inner
            .iter()
            .rev()
            .take_while(|&&byte| byte == b'\\')
            .count();
        inner.get(..inner.len() - slashes).unwrap_or(inner)
    })
}

fn word(text: &[u8]) -> Option<&str> {
    let length = text
        .iter()
        .rev()
        .take(LONGEST_NAME)
        .take_while(|&&byte| is_word(byte) || byte == b'-')
        .count();
    let name = std::str::from_utf8(text.get(text.len() - length..)?).ok()?;
    (!name.is_empty()).then_some(name)
}

/// `name: Optional[str] =`: the name before the type.
fn typed(before: &[u8]) -> Option<&str> {
    let line = line(before);
    let colon = line.iter().rposition(|&byte| byte == b':')?;
    let kind = line.get(colon + 1..)?;
    let is_type = kind
        .iter()
        .all(|&byte| is_word(byte) || b" .[]|,\"'".contains(&byte));
    if !is_type {
        return None;
    }
    word(line.get(..colon)?.trim_ascii_end())
}

/// `add_argument("--api-key", default=…)`: the last flag on the line. In YAML: `name: API_KEY` on the line before.
fn flag_on_line(before: &[u8]) -> Option<&str> {
    let line = line(before);
    let dashes = line
        .windows(3)
        .rposition(|at| at == b"\"--" || at == b"'--")?;
    let flag = line.get(dashes + 1..)?;
    let length = flag
        .iter()
        .take_while(|&&byte| is_word(byte) || byte == b'-')
        .count();
    std::str::from_utf8(flag.get(..length)?).ok()
}

/// `getenv("API_KEY", "…")`, `("password", "…")`, `"--api-key", "…"`: a name in quotes, and a value in quotes.
fn in_a_call(before: &[u8]) -> Option<Named<'_>> {
    let bare = unquoted(before);
    if bare.len() == before.len() {
        return None;
    }
    let name = word(bare)?;
    let is_flag = name.starts_with("--");
    Some(Named {
        name,
        quoted: true,
        spaced: false,
        needs_quotes: true,
        proof: if is_flag { Proof::None } else { Proof::Looks },
        skipped: 1,
    })
}

/// `<password>…</password>`.
fn of_a_tag(before: &[u8]) -> Option<Named<'_>> {
    let name = word(before)?;
    let open = before.len().checked_sub(name.len() + 1)?;
    (before.get(open) == Some(&b'<')).then_some(Named {
        name,
        quoted: false,
        spaced: false,
        needs_quotes: false,
        proof: Proof::None,
        skipped: 1,
    })
}

/// `--name value`, `ENV NAME value`, and `login … password value` of a .netrc.
fn before_a_blank(before: &[u8]) -> Option<Named<'_>> {
    let name = word(before).filter(|name| may_say_secret(name))?;
    let line = line(before);
    let command = line.trim_ascii_start();
    let is_set = [
        b"ENV ".as_slice(),
        b"ARG ",
        b"setenv ",
        b"set -x ",
        b"set -gx ",
        b"export ",
    ]
    .iter()
    .any(|word| command.starts_with(word));
    let is_netrc = name == "password" && contains_word(line, b"login ");
    let is_flag = name.starts_with("--");
    (is_flag || is_set || is_netrc).then_some(Named {
        name,
        quoted: false,
        spaced: false,
        needs_quotes: false,
        proof: Proof::None,
        skipped: 1,
    })
}

fn contains_word(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|at| at == word)
}

/// The line so far.
fn line(before: &[u8]) -> &[u8] {
    let near = before
        .get(before.len().saturating_sub(LONGEST_LINE)..)
        .unwrap_or(before);
    near.rsplit(|&byte| byte == b'\n').next().unwrap_or(near)
}
