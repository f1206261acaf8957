//! What stands after a name that says secret: a secret, a reference to one, a template, or words about it.

/// How much is asked of a text before it counts as a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// None: it stands in quotes, or nothing but a value can stand there.
    None,
    /// It looks like one: letters and digits, or letters as no word has them.
    Looks,
}

/// A text of which a person, or a program, makes another one.
pub fn is_template(text: &[u8]) -> bool {
    const MARKS: [&[u8]; 7] = [b"${", b"$(", b"{{", b"%(", b"<%", b"{}", b"{0}"];
    let braces = text.first() == Some(&b'{') || (text.contains(&b'{') && text.contains(&b'}'));
    let is_format = contains(text, b"%s") && !text.iter().any(u8::is_ascii_digit);
    text.first() == Some(&b'$')
        || is_format
        || (text.first() == Some(&b'<') && text.contains(&b'>'))
        || braces
        || MARKS.iter().any(|mark| contains(text, mark))
}

/// A text that stands where people put their own.
fn is_placeholder(text: &[u8]) -> bool {
    const PARTS: [&[u8]; 17] = [
        b"your",
        b"example",
        b"placeholder",
        b"changeme",
        b"change_me",
        b"change-me",
        b"replace",
        b"dummy",
        b"xxxx",
        b"****",
        b"....",
        b"todo",
        b"insert",
        b"redacted",
        b"my-secret",
        b"my_secret",
        b"fixme",
    ];
    let lower = text.to_ascii_lowercase();
    PARTS.iter().any(|part| contains(&lower, part))
}

/// Whether a text is no secret, whatever it stands after.
pub fn is_harmless(text: &[u8]) -> bool {
    const WORDS: [&[u8]; 11] = [
        b"none",
        b"null",
        b"true",
        b"false",
        b"...",
        b"undefined",
        b"optional",
        b"required",
        b"enabled",
        b"disabled",
        b"default",
    ];
    let number = text
        .iter()
        .all(|byte| byte.is_ascii_digit() || b".+-e_".contains(byte));
    text.len() < 4
        || (number && text.len() < 8)
        || text
            .strip_prefix(b"-")
            .is_some_and(|rest| !looks_secret(rest))
        || text.starts_with(b"[redacted")
        || text.starts_with(b"os.")
        || text.starts_with(b"file:")
        || WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
        || is_template(text)
        || (is_placeholder(text) && !looks_random(text))
}

/// Whether a text looks like a password or a key: as no word, name, path or sentence does.
pub fn looks_secret(text: &[u8]) -> bool {
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let graphic = text.iter().all(u8::is_ascii_graphic);
    let (letters, digits) = (has(u8::is_ascii_alphabetic), has(u8::is_ascii_digit));
    let odd = text.iter().any(|byte| b"!@#$%^&*?~+=".contains(byte));
    let mixed = has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    let called = text.iter().any(|byte| b"()[]<>{}".contains(byte));
    graphic
        && !called
        && ((letters && digits && text.len() >= 6 && !is_name(text))
            || (letters && odd && text.len() >= 8)
            || (mixed && text.len() >= 20 && !is_name(text) && !is_camel(text)))
}

/// Words with `_`, `.` or `-` between them, and at the end perhaps a number: `lstm_1`, `model.layers.0`, `gpt2-medium`.
pub fn is_name(text: &[u8]) -> bool {
    let parts = text.split(|byte| b"_.-/:".contains(byte));
    let is_word = |part: &[u8]| {
        let letters = part
            .iter()
            .take_while(|byte| byte.is_ascii_alphabetic())
            .count();
        let rest = part.get(letters..).unwrap_or_default();
        let digits = rest.iter().all(u8::is_ascii_digit);
        let cased = part.get(1..letters).unwrap_or_default();
        let camel = cased
            .windows(2)
            .filter(|two| two.iter().all(u8::is_ascii_uppercase))
            .count();
        digits
            && rest.len() <= 2
            && letters <= 16
            && (letters > 0 || !rest.is_empty())
            && (camel <= 1 || all_upper(part))
    };
    let mut count = 0;
    let all = parts.inspect(|_| count += 1).all(is_word);
    all && (count > 1 || text.len() <= 24)
}

/// `CredentialProviderFunction`: words of several letters, each with a capital.
fn is_camel(text: &[u8]) -> bool {
    let turns =
        |two: &&[u8]| matches!(two, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase());
    let words = 1 + text.windows(2).filter(turns).count();
    text.iter()
        .all(|byte| byte.is_ascii_alphabetic() || *byte == b'.')
        && words * 11 <= text.len() * 2
}

fn all_upper(part: &[u8]) -> bool {
    !part.iter().any(u8::is_ascii_lowercase)
}

/// Long, and of the letters of hex or base64, mixed as no name of a column is.
pub fn looks_random(text: &[u8]) -> bool {
    const LEAST_CHARS: usize = 20;
    let has = |kind: fn(&u8) -> bool| text.iter().any(kind);
    let hex = text.iter().all(u8::is_ascii_hexdigit) && has(u8::is_ascii_alphabetic);
    let base64 = text
        .iter()
        .all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(byte))
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase);
    text.len() >= LEAST_CHARS && has(u8::is_ascii_digit) && (hex || base64)
}

/// `name`, `self.name`, `module.name`: what code calls something by.
pub fn is_reference(text: &[u8]) -> bool {
    let starts = text
        .first()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    starts
        && text
            .iter()
            .all(|&byte| super::is_word(byte) || byte == b'.')
}

pub fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
