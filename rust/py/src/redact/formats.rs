//! Tokens that are known by their looks.

use super::is_word;

/// Prefix, fewest bytes after it, and whether `-` belongs to the rest.
const PREFIXES: [(&[u8], usize, bool); 25] = [
    (b"sk-", 20, true),
    (b"sk_live_", 16, false),
    (b"rk_live_", 16, false),
    (b"hf_", 20, false),
    (b"ghp_", 20, false),
    (b"gho_", 20, false),
    (b"ghu_", 20, false),
    (b"ghs_", 20, false),
    (b"ghr_", 20, false),
    (b"github_pat_", 20, false),
    (b"xoxa-", 10, true),
    (b"xoxb-", 10, true),
    (b"xoxe-", 10, true),
    (b"xoxp-", 10, true),
    (b"xoxr-", 10, true),
    (b"xoxs-", 10, true),
    (b"AKIA", 16, false),
    (b"ASIA", 16, false),
    (b"AIza", 30, true),
    (b"glpat-", 16, true),
    (b"gsk_", 20, false),
    (b"npm_", 30, false),
    (b"pypi-", 40, true),
    (b"r8_", 30, false),
    (b"ya29.", 20, true),
];

/// The length of the token that `text` starts with.
pub fn token(text: &[u8]) -> Option<usize> {
    prefixed(text)
        .or_else(|| telegram(text))
        .or_else(|| jwt(text))
        .or_else(|| bearer(text))
        .or_else(|| pem(text))
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|&&byte| belongs(byte)).count()
}

fn is_base64_url(byte: u8) -> bool {
    is_word(byte) || byte == b'-'
}

fn prefixed(text: &[u8]) -> Option<usize> {
    let (prefix, fewest, dashes) = PREFIXES
        .iter()
        .find(|(prefix, ..)| text.starts_with(prefix))?;
    let rest = text.get(prefix.len()..)?;
    let length = run(rest, |byte| is_word(byte) || (*dashes && byte == b'-'));
    // `sk-something-in-plain-words` is a name: a token has digits.
    let random = rest.get(..length)?.iter().any(u8::is_ascii_digit);
    (length >= *fewest && random).then_some(prefix.len() + length)
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
        let here = run(text.get(length..)?, is_base64_url);
        length += here;
        if here < 4 || (part < 2 && text.get(length) != Some(&b'.')) {
            return None;
        }
        length += usize::from(part < 2);
    }
    Some(length)
}

fn bearer(text: &[u8]) -> Option<usize> {
    const WORD: &[u8] = b"bearer ";
    let rest = text.get(WORD.len()..)?;
    if !text.get(..WORD.len())?.eq_ignore_ascii_case(WORD) {
        return None;
    }
    let length = run(rest, |byte| is_base64_url(byte) || b".=+/".contains(&byte));
    (length >= 12).then_some(WORD.len() + length)
}

fn pem(text: &[u8]) -> Option<usize> {
    let head = text.strip_prefix(b"-----BEGIN ")?;
    let line = head.get(..run(head, |byte| byte != b'\n' && byte != b'\\').min(64))?;
    if !contains(line, b"PRIVATE KEY-----") {
        return None;
    }
    let end = text.windows(9).position(|window| window == b"-----END ")?;
    let tail = text.get(end + 9..)?;
    let close = tail.windows(5).position(|window| window == b"-----")?;
    Some(end + 9 + close + 5)
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Services whose address is all that it takes to send there, as Apprise spells them.
const SERVICES: [&str; 55] = [
    "bark",
    "barks",
    "bulksms",
    "clicksend",
    "dapnet",
    "dingtalk",
    "discord",
    "fcm",
    "feishu",
    "flock",
    "gchat",
    "gotify",
    "gotifys",
    "guilded",
    "hassio",
    "hassios",
    "ifttt",
    "join",
    "lametric",
    "lark",
    "line",
    "mailgun",
    "mailto",
    "mailtos",
    "matrix",
    "matrixs",
    "mmost",
    "mmosts",
    "msteams",
    "nexmo",
    "notifico",
    "ntfy",
    "ntfys",
    "opsgenie",
    "pagerduty",
    "pbul",
    "pover",
    "prowl",
    "pushed",
    "rocket",
    "rockets",
    "ryver",
    "sendgrid",
    "ses",
    "signal",
    "signals",
    "slack",
    "sns",
    "tgram",
    "twilio",
    "vonage",
    "webex",
    "workflows",
    "wxteams",
    "zulip",
];

/// A secret in the URL whose `://` starts `text`: what is kept before it, and its length.
pub fn url_secret(before: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    service(before, text)
        .or_else(|| webhook(text))
        .or_else(|| url_password(text))
}

/// All that follows the name of a service.
fn service(before: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let length = before
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(byte))
        .count();
    let scheme = before.get(before.len() - length..)?;
    if !SERVICES
        .iter()
        .any(|service| scheme.eq_ignore_ascii_case(service.as_bytes()))
    {
        return None;
    }
    let secret = run(text.get(3..)?, is_of_url);
    (secret > 0).then_some((3, secret))
}

/// The path of a webhook: who knows it can post there.
fn webhook(text: &[u8]) -> Option<(usize, usize)> {
    let url = text.get(3..)?;
    let url = url.get(..run(url, is_of_url))?;
    let host = run(url, |byte| byte != b'/');
    let name = url.get(..host)?.to_ascii_lowercase();
    let mut start = host + 1;
    if name.ends_with(b".webhook.office.com") {
        return (start < url.len()).then(|| (3 + start, url.len() - start));
    }
    let is_slack = name == b"hooks.slack.com";
    for part in url.get(start..)?.split(|&byte| byte == b'/') {
        start += part.len() + 1;
        let part = part.to_ascii_lowercase();
        let is_hook = matches!(part.as_slice(), b"webhook" | b"webhooks")
            || is_slack && matches!(part.as_slice(), b"services" | b"workflows" | b"triggers");
        if is_hook && start < url.len() {
            return Some((3 + start, url.len() - start));
        }
    }
    None
}

fn is_of_url(byte: u8) -> bool {
    !byte.is_ascii_whitespace() && !b"\"'<>`\\".contains(&byte)
}

/// The password in `://user:password@`: what is kept before it, and its length.
fn url_password(text: &[u8]) -> Option<(usize, usize)> {
    let authority = text.get(3..)?;
    let length = run(authority, |byte| {
        !byte.is_ascii_whitespace() && !b"/?#\"'<>`\\".contains(&byte)
    });
    let authority = authority.get(..length)?;
    let at = authority.iter().rposition(|&byte| byte == b'@')?;
    let user = authority.get(..at)?;
    match user.iter().position(|&byte| byte == b':') {
        Some(colon) if colon + 1 < at => Some((3 + colon + 1, at - colon - 1)),
        // A token in the place of the user.
        None if at >= 16 => Some((3, at)),
        _ => None,
    }
}
