//! Takes secrets out of any text before a person or a log sees it.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};

/// What a secret is replaced with.
pub(super) const MASK: &str = "***";

/// Shorter secrets are left alone: replacing them would garble every text and still not hide them.
const CHARS_MIN: usize = 4;

/// What percent-encoding leaves as it is: `unreserved` of RFC 3986.
pub(super) const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Replaces secrets by `***`: as they stand, percent-encoded in any mix, form-encoded, escaped as in JSON, and in base64.
#[derive(Clone, Default)]
pub struct Redactor {
    patterns: Vec<SecretString>,
}

impl Redactor {
    /// A redactor for these secrets. Those of fewer than 4 characters are ignored.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            redactor.add(secret);
        }
        redactor
    }

    /// Adds a secret in all the forms it may be met in.
    pub(super) fn add(&mut self, secret: &str) {
        if secret.chars().count() < CHARS_MIN {
            return;
        }
        let json = serde_json::Value::from(secret).to_string();
        let escaped = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
        let forms = [
            secret.to_owned(),
            escaped.to_owned(),
            utf8_percent_encode(secret, UNRESERVED).to_string(),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        for form in forms {
            if !self.patterns.iter().any(|known| known.expose_secret() == form) {
                self.patterns.push(form.into());
            }
        }
    }

    /// The text without secrets.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut found = self.find(text);
        if found.is_empty() {
            return Cow::Borrowed(text);
        }
        found.sort_by_key(|range| range.start);
        let mut out = String::with_capacity(text.len());
        let mut done = 0;
        for range in found {
            // overlapping secrets become one mask, so that no end of one is left
            if range.start >= done {
                out.push_str(text.get(done..range.start).unwrap_or_default());
                out.push_str(MASK);
            }
            done = done.max(range.end);
        }
        out.push_str(text.get(done..).unwrap_or_default());
        Cow::Owned(out)
    }

    /// The longest form of a secret, in bytes when percent-encoded; 0 without secrets.
    pub(super) fn longest(&self) -> usize {
        self.patterns.iter().map(|pattern| pattern.expose_secret().len() * 3).max().unwrap_or(0)
    }

    fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.patterns.is_empty() {
            return found;
        }
        for pattern in &self.patterns {
            // much faster than finding the places, of which there are nearly never any
            if text.contains(pattern.expose_secret()) {
                found.extend(occurrences(text.as_bytes(), pattern.expose_secret().as_bytes()));
            }
        }
        // read as a space, a plus can only be part of a secret with a space
        let spaced = text.contains('+') && self.patterns.iter().any(|pattern| pattern.expose_secret().contains(' '));
        for (plus, may_be_there) in [(b'+', text.contains('%')), (b' ', spaced)] {
            if !may_be_there {
                continue;
            }
            let (decoded, places) = percent_decoded(text.as_bytes(), plus);
            for pattern in &self.patterns {
                for range in occurrences(&decoded, pattern.expose_secret().as_bytes()) {
                    let place = places.get(range);
                    found.extend(place.and_then(|place| Some(place.first()?.start..place.last()?.end)));
                }
            }
        }
        found
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} patterns)", self.patterns.len())
    }
}

/// Every place where `pattern` (never empty) stands, overlaps included.
fn occurrences<'a>(text: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    let width = pattern.len();
    text.windows(width).enumerate().filter(move |(_, window)| *window == pattern).map(move |(at, _)| at..at + width)
}

/// The text with `%41` decoded and `+` read as `plus`, and for each byte the place it was made from.
fn percent_decoded(text: &[u8], plus: u8) -> (Vec<u8>, Vec<Range<usize>>) {
    let hex = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let (mut decoded, mut places) = (Vec::with_capacity(text.len()), Vec::with_capacity(text.len()));
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let (byte, width) = match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => (u8::try_from(high * 16 + low).unwrap_or(b'%'), 3),
            (b'+', _, _) => (plus, 1),
            (byte, _, _) => (*byte, 1),
        };
        decoded.push(byte);
        places.push(at..at + width);
        at += width;
    }
    (decoded, places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_written_form_of_a_secret_is_replaced() {
        let redactor = Redactor::new(["pa ss/wörd+\"1\"", "sk_live_0123456789", "abc", ">>>???"]);
        let table = [
            ("key sk_live_0123456789!", "key ***!"),
            ("?k=sk%5Flive_0123456789&a=1", "?k=***&a=1"),
            ("?k=pa+ss%2Fw%C3%B6rd%2B%221%22&a=%20", "?k=***&a=%20"),
            ("?k=pa%20ss%2fw%c3%b6rd%2b%221%22", "?k=***"),
            ("pa%20ss/wörd+%221%22", "***"),
            (r#"{"k":"pa ss/wörd+\"1\""}"#, r#"{"k":"***"}"#),
            ("Basic c2tfbGl2ZV8wMTIzNDU2Nzg5", "Basic ***"),
            ("Pj4-Pz8_ Pj4+Pz8/", "*** ***"),
            ("abc stays, it is too short", "abc stays, it is too short"),
            ("sk_live_012345678", "sk_live_012345678"),
            ("100% of +1 é", "100% of +1 é"),
        ];
        for (text, expected) in table {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn overlapping_secrets_leave_no_end_behind() {
        assert_eq!(Redactor::new(["abcdef", "defghi"]).redact("xabcdefghiy"), "x***y");
        assert_eq!(Redactor::new(["aaaa"]).redact("baaaaaab"), "b***b");
        assert_eq!(Redactor::new(["abcd", "abcdef"]).redact("abcdef abcd"), "*** ***");
    }

    #[test]
    fn its_debug_shows_no_secret() {
        assert!(!format!("{:?}", Redactor::new(["hunter2!"])).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_secret_is_left(
            secrets in prop::collection::vec("[a-c%+ é]{4,6}", 1..4), text in "[a-c%+ é]{0,30}", at in 0_usize..4, mix: u32,
        ) {
            let redactor = Redactor::new(secrets.iter().map(String::as_str));
            let secret = &secrets[at % secrets.len()];
            let mixed: String = secret.chars().enumerate().map(|(nth, c)| {
                let c = c.to_string();
                if mix >> nth & 1 == 1 { utf8_percent_encode(&c, NON_ALPHANUMERIC).to_string() } else { c }
            }).collect();
            let redacted = redactor.redact(&format!("{text}{secret}|{mixed}|{text}")).into_owned();
            for secret in &secrets {
                prop_assert!(!redacted.contains(secret.as_str()), "{redacted}");
            }
            // a `%` that is no escape is always escaped by those who percent-encode at all
            if !mixed.contains("% ") && (mixed == *secret || !secret.contains('%')) {
                prop_assert!(!redacted.contains(&format!("|{mixed}|")), "{redacted}");
            }
        }
    }
}
