//! Strings and numbers in JSON.

use std::io::Write;

/// A JSON string.
pub fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    string(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes a string; lone surrogates, passed through as three bytes, become U+FFFD: strict readers refuse them.
pub fn string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'"' | b'\\', _) => out.extend([b'\\', byte]),
            (b'\n', _) => out.extend(b"\\n"),
            (b'\t', _) => out.extend(b"\\t"),
            (b'\r', _) => out.extend(b"\\r"),
            (..0x20 | 0x7f, _) => escape(out, u16::from(byte)),
            (0xed, &[0xa0..=0xbf, _, ref after @ ..]) => {
                escape(out, 0xfffd);
                rest = after;
                continue;
            }
            _ => out.push(byte),
        }
        rest = after;
    }
    out.push(b'"');
}

fn escape(out: &mut Vec<u8>, unit: u16) {
    // A Vec takes what it is given.
    let _ = write!(out, "\\u{unit:04x}");
}

/// Writes a float; JSON has no word for those that are not finite, so they become text.
pub fn float(out: &mut Vec<u8>, value: f64) {
    let _ = match value {
        _ if value.is_nan() => out.write_all(b"\"NaN\""),
        f64::INFINITY => out.write_all(b"\"Infinity\""),
        f64::NEG_INFINITY => out.write_all(b"\"-Infinity\""),
        _ => write!(out, "{value:?}"),
    };
}
