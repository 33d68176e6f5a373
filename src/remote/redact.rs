//! Takes secrets out of any text before a person or a log sees it.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};

use super::spelling::{Spelling, Undone};
use crate::plan::{hex, percent_encoded};

/// What a secret is replaced with.
pub(super) const MASK: &str = "***";

/// Shorter secrets are left alone: replacing them would garble every text and still not hide them.
const CHARS_MIN: usize = 4;
/// Shorter secrets are looked for as words of their own only, and neither inside longer base64 nor as hex, where they could stand by chance.
const INSIDE_BYTES_MIN: usize = 8;
/// Shorter ones are not looked for across line breaks and spaces, nor as one line of several.
const FOLDED_BYTES_MIN: usize = 16;
/// Longer texts are no messages, but data.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Replaces secrets by `***`: as they stand, in hex, in base64 (alone or inside of more), each line of those that have several, and any
/// of these percent-encoded, form-encoded, escaped as in JSON or HTML, or broken into lines, and two of these ways on top of each other.
#[derive(Clone, Default)]
pub struct Redactor {
    patterns: Arc<Vec<SecretString>>,
    /// looked for in messages only
    rare: Arc<Vec<SecretString>>,
}

impl Redactor {
    /// A redactor for these secrets. Those of fewer than 4 characters are ignored; those of fewer than 8 bytes are words of their own, so
    /// that `test` does not become `***` in `latest`.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets {
            redactor.add(secret);
        }
        redactor
    }

    /// Adds a secret in all the forms it may be met in.
    pub(super) fn add(&mut self, secret: &str) {
        if secret.chars().count() < CHARS_MIN || self.has(secret) {
            return;
        }
        let json = serde_json::Value::from(secret).to_string();
        let escaped = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
        let forms = [
            secret.to_owned(),
            escaped.to_owned(),
            escaped.replace('/', r"\/"),
            percent_encoded(secret),
            STANDARD_NO_PAD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        let mut rare = Vec::new();
        if secret.len() >= INSIDE_BYTES_MIN {
            for before in 0..3 {
                let inside = [vec![0; before], secret.as_bytes().to_vec()].concat();
                // the characters that are made of bits of the secret alone
                let own = (before * 8).div_ceil(6)..inside.len() * 8 / 6;
                for text in [STANDARD_NO_PAD.encode(&inside), URL_SAFE_NO_PAD.encode(&inside)] {
                    rare.extend(text.get(own.clone()).map(str::to_owned));
                }
            }
            let lower = hex(secret);
            rare.extend([lower.to_ascii_uppercase(), lower]);
        }
        let is_long = |text: &&str| text.len() >= FOLDED_BYTES_MIN;
        let lines = secret.lines().map(str::trim).filter(|line| !line.starts_with("-----"));
        rare.extend(lines.filter(is_long).map(str::to_owned));
        let folded: String = secret.split_ascii_whitespace().collect();
        rare.extend(Some(folded.as_str()).filter(is_long).map(str::to_owned));
        push(&mut self.patterns, forms.into_iter().map(SecretString::from));
        push(&mut self.rare, rare.into_iter().map(SecretString::from));
    }

    /// This one's secrets and those of `other`.
    pub(super) fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        push(&mut both.patterns, other.patterns.iter().cloned());
        push(&mut both.rare, other.rare.iter().cloned());
        both
    }

    fn has(&self, secret: &str) -> bool {
        self.patterns.iter().any(|known| known.expose_secret() == secret)
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        self.patterns.iter().chain(self.rare.iter()).map(ExposeSecret::expose_secret)
    }

    /// The text without secrets.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.mask(text, text.len() <= MESSAGE_BYTES_MAX)
    }

    /// The same for data, of which there is much: the rare forms are not looked for, and only percent-encoding is undone.
    pub(super) fn redact_data<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.mask(text, false)
    }

    fn mask<'t>(&self, text: &'t str, is_message: bool) -> Cow<'t, str> {
        let mut found = self.find(text, is_message);
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

    /// A value without secrets, in its names too.
    pub(super) fn redact_value(&self, value: &serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => self.redact(text).into_owned().into(),
            Value::Number(number) => match self.redact(&number.to_string()) {
                Cow::Owned(clean) => clean.into(),
                Cow::Borrowed(_) => value.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.redact_value(item)).collect(),
            Value::Object(members) => {
                let clean =
                    |(name, value): (&String, &Value)| (self.redact(name).into_owned(), self.redact_value(value));
                Value::Object(members.iter().map(clean).collect())
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }

    /// The longest form of a secret, in bytes when percent-encoded; 0 without secrets.
    pub(super) fn longest(&self) -> usize {
        self.all().map(|pattern| pattern.len() * 3).max().unwrap_or(0)
    }

    fn find(&self, text: &str, is_message: bool) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        if self.patterns.is_empty() {
            return found;
        }
        for pattern in self.all().take(if is_message { usize::MAX } else { self.patterns.len() }) {
            // much faster than finding the places, of which there are nearly never any
            if text.contains(pattern) {
                found.extend(places(text.as_bytes(), pattern.as_bytes()));
            }
        }
        // read as a space, a plus can only be part of a secret with a space
        let is_spaced = self.patterns.iter().any(|pattern| pattern.expose_secret().contains(' '));
        let worth = |spelling: &Spelling| match spelling {
            Spelling::Percent => true,
            Spelling::Form => is_spaced,
            Spelling::Json | Spelling::Html | Spelling::Folded => is_message,
        };
        for undone in Spelling::ALL.into_iter().filter(worth).filter_map(|one| Undone::of(text.as_bytes(), one)) {
            self.find_in(&undone, &mut found);
            if is_message {
                for twice in Spelling::ALL.into_iter().filter(worth).filter_map(|one| undone.again(one)) {
                    self.find_in(&twice, &mut found);
                }
            }
        }
        found
    }

    fn find_in(&self, undone: &Undone, found: &mut Vec<Range<usize>>) {
        let least = if undone.is_folded { FOLDED_BYTES_MIN } else { 0 };
        let text = std::str::from_utf8(&undone.bytes);
        for pattern in self.all().filter(|pattern| pattern.len() >= least) {
            if text.is_ok_and(|text| !text.contains(pattern)) {
                continue;
            }
            found.extend(places(&undone.bytes, pattern.as_bytes()).filter_map(|range| undone.place(range)));
        }
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} patterns)", self.all().count())
    }
}

/// Every place where `pattern` (never empty) stands, overlaps included.
fn occurrences<'a>(text: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    let starts = text.iter().enumerate().filter(|(_, byte)| pattern.first() == Some(byte));
    let is_here = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(pattern));
    starts.map(|(at, _)| at).filter(is_here).map(|at| at..at + pattern.len())
}

/// Those where it is met as a secret: a short one only as a word of its own, and no part of a host or an address.
fn places<'a>(text: &'a [u8], pattern: &'a [u8]) -> impl Iterator<Item = Range<usize>> + 'a {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || !byte.is_ascii();
    let joins = |byte: u8| matches!(byte, b'.' | b'-' | b'@');
    let goes_on = move |next: Option<&u8>, beyond: Option<&u8>| match (next, beyond) {
        (Some(next), _) if is_word(*next) => true,
        (Some(next), Some(beyond)) => joins(*next) && is_word(*beyond),
        _ => false,
    };
    let is_whole = move |range: &Range<usize>| {
        let before = |steps: usize| range.start.checked_sub(steps).and_then(|at| text.get(at));
        let begins_inside = pattern.first().is_some_and(|byte| is_word(*byte)) && goes_on(before(1), before(2));
        let ends_inside =
            pattern.last().is_some_and(|byte| is_word(*byte)) && goes_on(text.get(range.end), text.get(range.end + 1));
        !(begins_inside || ends_inside)
    };
    occurrences(text, pattern).filter(move |range| pattern.len() >= INSIDE_BYTES_MIN || is_whole(range))
}

/// Adds those that are not there yet.
fn push(to: &mut Arc<Vec<SecretString>>, forms: impl Iterator<Item = SecretString>) {
    for form in forms {
        if !to.iter().any(|known| known.expose_secret() == form.expose_secret()) {
            Arc::make_mut(to).push(form);
        }
    }
}

#[cfg(test)]
mod tests {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_written_form_of_a_secret_is_replaced() {
        let redactor = Redactor::new(["pa ss/wörd+\"1\"", "sk_live_0123456789", "abc", "hunt2", ">>>???"]);
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
            ("user:hunt2 hunt2! xhunt2 hunt2er my_hunt2", "user:*** ***! xhunt2 hunt2er my_hunt2"),
            ("it is hunt2. ada@hunt2 a.hunt2 hunt2.org k=hunt2&", "it is ***. ada@hunt2 a.hunt2 hunt2.org k=***&"),
            ("sk_live_012345678", "sk_live_012345678"),
            ("100% of +1 é", "100% of +1 é"),
            ("x736B5F6C6976655F30313233343536373839 736b5f6c6976655f30313233343536373839", "x*** ***"),
            // base64 of `a`, `ab` and the secret
            ("YXNrX2xpdmVfMDEyMzQ1Njc4OQ==", "YX***Q=="),
            ("YWJza19saXZlXzAxMjM0NTY3ODk=", "YWJ***k="),
            (r#"{"k":"\u003e\u003e>?\u003f?"}"#, r#"{"k":"***"}"#),
            ("<b>&gt;&#62;&gt;???</b>", "<b>***</b>"),
            ("next=%2Fa%3Fk%3Dpa%2520ss%252Fw%25C3%25B6rd%252B%25221%2522", "next=%2Fa%3Fk%3D***"),
            ("sk_live_01\r\n 23456789.", "***."),
            ("a bc", "a bc"),
        ];
        for (text, expected) in table {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn a_key_of_several_lines_is_replaced_line_by_line() {
        let redactor = Redactor::new([
            "-----BEGIN KEY-----\nMIGHAgEAMBMGByqGSM49/A==\nAgEGCCqGSM49AwEH+12345\n-----END KEY-----\n",
        ]);
        let table = [
            (r"-----BEGIN KEY-----\nMIGHAgEAMBMGByqGSM49/A==\nAgEGCCqGSM49AwEH+12345\n-----END KEY-----\n", "***"),
            ("-----BEGIN KEY----- MIGHAgEAMBMGByqGSM49/A== AgEGCCqGSM49AwEH+12345 -----END KEY-----", "***"),
            ("line 2: AgEGCCqGSM49AwEH+12345", "line 2: ***"),
            (r"MIGHAgEAMBMGByqGSM49\/A==AgEGCCqGSM49AwEH%2B12345", "******"),
            ("-----BEGIN KEY-----", "-----BEGIN KEY-----"),
        ];
        for (text, expected) in table {
            assert_eq!(redactor.redact(text), expected);
        }
    }

    #[test]
    fn overlapping_secrets_leave_no_end_behind() {
        assert_eq!(Redactor::new(["abcdefgh", "defghijk"]).redact("xabcdefghijky"), "x***y");
        assert_eq!(Redactor::new(["aaaaaaaa"]).redact("baaaaaaaaaab"), "b***b");
        assert_eq!(Redactor::new(["abcd", "abcdef"]).redact("abcdef abcd"), "*** ***");
    }

    #[test]
    fn its_debug_shows_no_secret() {
        assert!(!format!("{:?}", Redactor::new(["hunter2!"])).contains("hunter2"));
    }

    proptest! {
        #[test]
        fn no_secret_is_left(
            secrets in prop::collection::vec("[a-c%+ é]{8,10}", 1..4), text in "[a-c%+ é]{0,30}", at in 0_usize..4, mix: u32,
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
