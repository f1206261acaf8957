//! Names that say that their value is a secret.

use super::values::looks_random;

/// How much a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Whatever stands there is secret.
    Sure,
    /// In machine learning a token is mostly something else: the value decides.
    Token,
    /// Any vendor's key, as `wandb_key`, or one to sort by: secret where the value is random text.
    Key,
}

impl Secrecy {
    /// Whether such a text under such a name is a secret.
    pub fn covers(self, text: &[u8]) -> bool {
        match self {
            Self::Sure => true,
            Self::Token => looks_like_a_token(text),
            Self::Key => looks_random(text),
        }
    }
}

const SURE: [&str; 15] = [
    "secret",
    "secrets",
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "pwd",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "credentials",
    "auth",
    "authorization",
    "authkey",
];
/// Where words are run together, as in `PGPASSWORD`: what a name ends with.
const SURE_ENDS: [&str; 10] = [
    "password",
    "passwords",
    "passwd",
    "passphrase",
    "secret",
    "secrets",
    "apikey",
    "apikeys",
    "accesskey",
    "privatekey",
];
/// The same at the start, where `secretary` and `tokenizer` begin like a secret.
const SURE_STARTS: [&str; 6] = [
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "secretkey",
    "accesskey",
];
/// As the last word: the value is about a secret, and none itself.
const ABOUT: [&str; 20] = [
    "age", "attempts", "count", "days", "enabled", "expiry", "hours", "len", "length", "less",
    "minutes", "policy", "required", "retries", "seconds", "secs", "size", "timeout", "ttl",
    "type",
];
const KEY_OF: [&str; 10] = [
    "api",
    "access",
    "private",
    "secret",
    "auth",
    "account",
    "encryption",
    "signing",
    "ssh",
    "user",
];
/// Next to these a key is one to look something up by.
const LOOKS_UP: [&str; 24] = [
    "cache",
    "sort",
    "primary",
    "foreign",
    "public",
    "group",
    "dict",
    "lookup",
    "partition",
    "hash",
    "state",
    "metric",
    "image",
    "batch",
    "rng",
    "prng",
    "random",
    "index",
    "map",
    "shard",
    "idempotency",
    "dedup",
    "checkpoint",
    "version",
];
/// Next to these a token is a piece of text that a model reads.
const OF_A_MODEL: [&str; 26] = [
    "eos",
    "bos",
    "pad",
    "unk",
    "mask",
    "sep",
    "cls",
    "image",
    "video",
    "audio",
    "stop",
    "special",
    "start",
    "end",
    "id",
    "ids",
    "type",
    "types",
    "level",
    "count",
    "per",
    "max",
    "min",
    "num",
    "loss",
    "embedding",
];

/// What a name says about its value. Nothing: it is no secret.
pub fn secrecy(name: &str) -> Option<Secrecy> {
    let words = words(name);
    let is = |word: &String, list: &[&str]| list.contains(&word.as_str());
    let pair =
        |pair: &[String]| matches!(pair, [first, second] if is(first, &KEY_OF) && second == "key");
    if words.last().is_some_and(|word| is(word, &ABOUT)) {
        return None;
    }
    if words
        .iter()
        .any(|word| is(word, &SURE) || runs_into_a_secret(word))
        || words.windows(2).any(pair)
    {
        return Some(Secrecy::Sure);
    }
    let token = words
        .iter()
        .any(|word| word == "token" || word.ends_with("token") || word == "bearer");
    let of_a_model = words.iter().any(|word| is(word, &OF_A_MODEL));
    if token && !of_a_model {
        return Some(Secrecy::Token);
    }
    let looks_up = words.iter().any(|word| is(word, &LOOKS_UP));
    let of_a_vendor = words.len() > 1 && words.last().is_some_and(|word| word == "key");
    (of_a_vendor && !looks_up).then_some(Secrecy::Key)
}

/// `pgpassword`, `passwordhash`; `passwordless` is none.
fn runs_into_a_secret(word: &str) -> bool {
    let ends = SURE_ENDS.iter().any(|end| word.ends_with(end));
    let starts = SURE_STARTS
        .iter()
        .filter_map(|start| word.strip_prefix(start))
        .any(|rest| !ABOUT.contains(&rest));
    ends || starts
}

/// What a name in the query of a URL says about its value: there a signature opens doors as well.
pub fn secrecy_in_query(name: &str) -> Option<Secrecy> {
    let words = words(name);
    match words.last().map(String::as_str) {
        Some("sig" | "signature") => Some(Secrecy::Sure),
        Some("key") if words.len() == 1 => Some(Secrecy::Token),
        _ => secrecy(name),
    }
}

/// Whether a text under a name with `token` may be one that opens doors: `<|endoftext|>` does not.
fn looks_like_a_token(text: &[u8]) -> bool {
    text.len() >= 8
        && text
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"<>[](){}".contains(byte))
}

/// Whether it is worth to take a name apart.
pub fn may_say_secret(name: &str) -> bool {
    const PARTS: [&[u8]; 10] = [
        b"pass", b"pwd", b"secret", b"key", b"token", b"auth", b"cred", b"sig", b"bearer",
        b"default",
    ];
    let name = name.as_bytes();
    let begins = |text: &[u8]| {
        let first = text.first().map(u8::to_ascii_lowercase);
        PARTS.iter().any(|part| {
            part.first() == first.as_ref()
                && text
                    .get(..part.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(part))
        })
    };
    (0..name.len()).any(|at| name.get(at..).is_some_and(begins)) || name == b"value"
}

/// `hfToken`, `HF_TOKEN` and `hf-token` are the same two words.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut lower_before = false;
    let mut fresh = true;
    for c in name.chars() {
        if !c.is_alphanumeric() {
            fresh = true;
        } else {
            if fresh || (c.is_uppercase() && lower_before) {
                words.push(String::new());
            }
            fresh = false;
            words
                .last_mut()
                .into_iter()
                .for_each(|word| word.extend(c.to_lowercase()));
        }
        lower_before = c.is_lowercase();
    }
    words
}
