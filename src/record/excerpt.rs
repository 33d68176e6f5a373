//! Short quotes of what came, for messages: bounded, on one line, control characters made visible.

use std::fmt::Write;

use super::Json;
use crate::plan::limits::QUOTED_CHARS_MAX;

/// Bytes before the place at fault that its excerpt shows.
const LEAD_BYTES: usize = 24;

/// Quotes that a message made elsewhere may hold.
const QUOTES_MAX: usize = 6;

/// The text, at most `limits::QUOTED_CHARS_MAX` characters of it, on one line.
pub fn quoted(text: &str) -> String {
    cut(text, QUOTED_CHARS_MAX)
}

/// A message made elsewhere, which quotes what it likes, cut and on one line like [`quoted`].
pub fn message(text: &str) -> String {
    cut(text, QUOTES_MAX * QUOTED_CHARS_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == chars_max {
            out.push('…');
            break;
        }
        visible(c, &mut out);
    }
    out
}

/// The value's JSON, cut like [`quoted`].
pub fn value(json: &Json<'_>) -> String {
    let mut text = String::new();
    // four bytes a character at most, and one more so that the cut shows
    json.write_text(&mut text, QUOTED_CHARS_MAX * 4 + 4);
    quoted(&text)
}

/// The bytes around `offset`, cut like [`quoted`]; bytes that are no UTF-8 as `\xNN`.
pub fn around(bytes: &[u8], offset: usize) -> String {
    let offset = offset.min(bytes.len());
    let mut start = offset.saturating_sub(LEAD_BYTES);
    while start < offset && is_continuation(bytes[start]) {
        start += 1;
    }
    let mut end = (start + QUOTED_CHARS_MAX * 4).min(bytes.len());
    while end > offset && end < bytes.len() && is_continuation(bytes[end]) {
        end -= 1;
    }
    let mut text = String::new();
    for chunk in bytes[start..end].utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    let cut = if start > 0 { "…" } else { "" };
    format!("{cut}{}", quoted(&text))
}

/// Whether the byte stands inside a character of UTF-8.
fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

fn visible(c: char, out: &mut String) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        // line separators and directional marks would let a value rewrite the line it is quoted in
        c if c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
        {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
        c => out.push(c),
    }
}
