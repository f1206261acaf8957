//! Names that say that their value is a secret.

/// How much a name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Whatever stands there is secret.
    Sure,
    /// In machine learning a token is mostly something else: the value decides.
    Token,
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
    if words.iter().any(|word| is(word, &SURE)) || words.windows(2).any(pair) {
        return Some(Secrecy::Sure);
    }
    let token = words
        .iter()
        .any(|word| word == "token" || word.ends_with("token") || word == "bearer");
    let of_a_model = words.iter().any(|word| is(word, &OF_A_MODEL));
    (token && !of_a_model).then_some(Secrecy::Token)
}

/// Whether a text under a name with `token` may be one that opens doors: `<|endoftext|>` does not.
pub fn looks_like_a_token(text: &[u8]) -> bool {
    text.len() >= 8
        && text
            .iter()
            .all(|byte| byte.is_ascii_graphic() && !b"<>[](){}".contains(byte))
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
