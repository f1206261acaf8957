//! Secrets in addresses: passwords, paths of webhooks, and services whose address is all it takes.

use super::Secret;
use super::values::is_template;

/// Longer than any address.
const MOST_BYTES: usize = 2_048;

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
pub fn secret(before: &[u8], text: &[u8]) -> Option<Secret> {
    let made = |kind| move |(kept, length)| Secret { kept, length, kind };
    service(before, text)
        .map(made("address of a service"))
        .or_else(|| webhook(text).map(made("webhook")))
        .or_else(|| url_password(text).map(made("password in a URL")))
}

/// All that follows the name of a service.
fn service(before: &[u8], text: &[u8]) -> Option<(usize, usize)> {
    let length = before
        .iter()
        .rev()
        .take(32)
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
    const NEAR_BYTES: usize = 96;
    let url = text.get(3..)?;
    let near = url.get(..NEAR_BYTES).unwrap_or(url);
    let is_near = |word: &[u8]| {
        near.windows(word.len())
            .any(|at| at.eq_ignore_ascii_case(word))
    };
    if !is_near(b"webhook") && !is_near(b"hooks.slack") {
        return None;
    }
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

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    let text = text.get(..MOST_BYTES).unwrap_or(text);
    text.iter().take_while(|&&byte| belongs(byte)).count()
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
        Some(colon) if colon + 1 < at => {
            let password = user.get(colon + 1..)?;
            (!is_template(password)).then_some((3 + colon + 1, at - colon - 1))
        }
        // A token in the place of the user.
        None if at >= 16 && user.iter().any(u8::is_ascii_digit) => Some((3, at)),
        _ => None,
    }
}
