//! Numbers, times and addresses as people read them.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use crate::plan::SyncId;

/// What stands in a part of an address as it is.
const PART: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// `1 234 567`, with spaces that do not break.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `340 ms`, `12 s`, `3 min`, `5 h`, `2 d`
pub(super) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0 => format!("{} ms", duration.subsec_millis()),
        1..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A moment as the macro `time` of the templates takes it: for machines, for people, and how far it is from `now`.
pub(super) fn moment(at: DateTime<Utc>, now: DateTime<Utc>) -> Value {
    let (text, behind) = (at.format("%Y-%m-%d %H:%M:%S UTC").to_string(), (now - at).to_std());
    let far = match behind {
        Ok(age) if age.as_secs() == 0 => "now".to_owned(),
        Ok(age) => format!("{} ago", span(age)),
        Err(_) => format!("in {}", span((at - now).to_std().unwrap_or_default())),
    };
    json!({ "iso": at.to_rfc3339_opts(SecondsFormat::Millis, true), "text": text, "far": far })
}

/// At most so many characters of a text; where there are more, it ends with `…`.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((at, _)) => format!("{}…", text[..at].trim_end()),
    }
}

/// The address of `parts`: `/syncs/acme/contacts`
pub(super) fn address(parts: &[&str]) -> String {
    parts.iter().flat_map(|part| ["/".to_owned(), utf8_percent_encode(part, PART).to_string()]).collect()
}

/// The address of `path` with these parameters, without those that are empty.
pub(super) fn asking(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}

/// The address of a sync.
pub(super) fn of_sync(id: &SyncId) -> String {
    address(&["syncs", &id.connection, &sync_name(id)])
}

/// `contacts`, `contacts@eu`
pub(super) fn sync_name(id: &SyncId) -> String {
    if id.variant.is_empty() { id.sync.clone() } else { format!("{}@{}", id.sync, id.variant) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_spans_are_short() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]);
        let spans = [0, 1, 119, 120, 7199, 7200, 172_799, 172_800].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0 ms", "1 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
    }

    #[test]
    fn an_address_holds_any_name() {
        assert_eq!(address(&["syncs", "a/b?c", "ü@\""]), "/syncs/a%2Fb%3Fc/%C3%BC%40%22");
        assert_eq!(asking("/logs", &[("state", ""), ("connection", "a&b")]), "/logs?connection=a%26b");
    }
}
