//! Commands that take a secret as a word: `wandb login …`, `curl -u name:…`, `sshpass -p …`.

use super::Secret;
use super::values::{is_harmless, is_template, looks_random};

const MOST_BYTES: usize = 256;
const LONGEST_LINE: usize = 512;

/// A secret after the blank that `rest` starts with.
pub fn secret(before: &[u8], rest: &[u8]) -> Option<Secret> {
    let last = before.last()?;
    // The last letters of what is looked for: the rest is not worth a look.
    if !matches!(last, b'n' | b'u' | b'r' | b'p') {
        return None;
    }
    let word = word(rest.get(1..)?);
    let text = word.as_slice_of(rest)?;
    let is_secret = if before.ends_with(b"wandb login") || before.ends_with(b" login") {
        looks_random(text)
    } else if before.ends_with(b"sshpass -p") {
        !is_template(text)
    } else {
        return name_and_password(before, rest, &word);
    };
    is_secret.then_some(Secret {
        kept: word.start,
        length: word.length,
        kind: "password in a command",
    })
}

struct Word {
    start: usize,
    length: usize,
}

impl Word {
    fn as_slice_of<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        text.get(self.start..self.start + self.length)
    }
}

fn word(text: &[u8]) -> Word {
    let quoted = text.first().is_some_and(|byte| b"'\"".contains(byte));
    let inside = text.get(usize::from(quoted)..).unwrap_or_default();
    let length = inside
        .iter()
        .take(MOST_BYTES)
        .take_while(|byte| !byte.is_ascii_whitespace() && !b"'\"\\".contains(byte))
        .count();
    Word {
        start: 1 + usize::from(quoted),
        length,
    }
}

/// `curl -u name:password`.
fn name_and_password(before: &[u8], rest: &[u8], word: &Word) -> Option<Secret> {
    let is_user = before.ends_with(b" -u") || before.ends_with(b" --user");
    let near = before
        .get(before.len().saturating_sub(LONGEST_LINE)..)
        .unwrap_or(before);
    let line = near.rsplit(|&byte| byte == b'\n').next()?;
    let is_curl = line.windows(4).any(|at| at == b"curl" || at == b"wget");
    let text = word.as_slice_of(rest)?;
    let colon = text.iter().position(|&byte| byte == b':')?;
    let password = text.get(colon + 1..)?;
    (is_user && is_curl && !is_harmless(password)).then_some(Secret {
        kept: word.start + colon + 1,
        length: password.len(),
        kind: "password in a command",
    })
}
