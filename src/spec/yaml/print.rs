//! A value as people write YAML: in one line where that can be read, else key by key.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Columns of a line, as far as that can be had.
pub(super) const WIDTH: usize = 150;

/// A document with this value. What stands under the keys `open` is written line by line though it would fit in one.
///
/// What it gives is read again as the same value, but for numbers that JSON has and YAML has not, of which there are none in a
/// [`Value`].
pub fn document(value: &Value, open: &[&str]) -> String {
    let mut text = match value {
        // the lines of a block would stand at the margin, where `---` and more mean something else
        Value::String(text) => scalar(text),
        _ => lines(value, WIDTH, open, true).join("\n"),
    };
    text.push('\n');
    text
}

/// The lines of a value, the first without indentation; those of what must be `open` are more than one.
pub(super) fn lines(value: &Value, room: usize, open: &[&str], is_open: bool) -> Vec<String> {
    let must = is_open || holds(value, open);
    if !must {
        let flow = flow(value);
        if flow.chars().count() <= room {
            return vec![flow];
        }
    }
    match value {
        Value::Object(members) if !members.is_empty() => {
            members.iter().flat_map(|(name, value)| entry(name, value, room, open)).collect()
        }
        Value::Array(items) if !items.is_empty() => {
            let item = |item| indented("- ", "  ", lines(item, room.saturating_sub(2), open, false));
            items.iter().flat_map(item).collect()
        }
        Value::String(text) => literal(text).unwrap_or_else(|| vec![flow(value)]),
        other => vec![flow(other)],
    }
}

/// The lines of a key with its value.
pub(super) fn entry(name: &str, value: &Value, room: usize, open: &[&str]) -> Vec<String> {
    let key = key(name);
    let is_open = open.contains(&name);
    let behind = room.saturating_sub(key.chars().count() + 2);
    if let Value::String(text) = value
        && let Some(block) = literal(text)
    {
        let mut block = block.into_iter();
        let head = format!("{key}: {}", block.next().unwrap_or_default());
        return std::iter::once(head).chain(indented("  ", "  ", block)).collect();
    }
    let within = room.saturating_sub(2);
    let short = lines(value, behind, open, is_open);
    let has_more = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    };
    // one entry that is too long for the line is one line too, and cannot stand behind the key
    match has_more && (is_open || short != [flow(value)]) {
        true => {
            std::iter::once(format!("{key}:")).chain(indented("  ", "  ", lines(value, within, open, true))).collect()
        }
        false => vec![format!("{key}: {}", short.join(" "))],
    }
}

/// Whether what stands under one of these keys is anywhere in a value.
fn holds(value: &Value, open: &[&str]) -> bool {
    match value {
        Value::Object(members) => open.iter().any(|name| members.contains_key(*name)),
        Value::Array(items) => items.iter().any(|item| holds(item, open)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn indented(first: &str, rest: &str, lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let indent = |(at, line): (usize, String)| match (at, line.is_empty()) {
        (0, _) => format!("{first}{line}"),
        // an empty line of a text has nothing in front of it
        (_, true) => line,
        (_, false) => format!("{rest}{line}"),
    };
    lines.into_iter().enumerate().map(indent).collect()
}

/// A value in one line.
pub(super) fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => format!("{{ {} }}", pairs(members)),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

fn pairs(members: &Map<String, Value>) -> String {
    members.iter().map(|(name, value)| format!("{}: {}", key(name), flow(value))).collect::<Vec<_>>().join(", ")
}

/// A key.
pub(super) fn key(name: &str) -> String {
    scalar(name)
}

/// A text in one line: as it stands where nobody could take it for something else, else in quotes.
pub(super) fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

/// What YAML, in one version or another, takes for something else than text.
const WORDS: [&str; 12] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "none", "nan", "inf"];

fn is_plain(text: &str) -> bool {
    let is_first = |c: char| c.is_alphabetic() || matches!(c, '_' | '/' | '$');
    let is_inner =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '/' | '$' | ' ' | '.' | '@' | '+' | '-' | '(' | ')');
    text.starts_with(is_first)
        && text.chars().all(is_inner)
        && !text.ends_with(' ')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

/// A text in double quotes, with what YAML does not allow as it stands, or nobody sees, escaped (YAML 1.2, 5.1 and 5.7).
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => out.extend(escape(c)),
            c if c.is_control() => out.extend(escape(c)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn escape(c: char) -> std::vec::IntoIter<char> {
    let mut text = String::new();
    // writing into a text cannot fail
    let _ = write!(text, "\\u{:04X}", u32::from(c));
    text.chars().collect::<Vec<_>>().into_iter()
}

/// A text of several lines as a block: its head, then its lines. None where only quotes keep it as it is.
fn literal(text: &str) -> Option<Vec<String>> {
    let (body, head) = match text.strip_suffix('\n') {
        Some(body) => (body, "|"),
        None => (text, "|-"),
    };
    let is_kept = |line: &str| !line.ends_with([' ', '\t']) && !line.chars().any(|c| c != '\t' && is_odd(c));
    let fits = body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\t', '\n'])
        && body.split('\n').all(is_kept);
    fits.then(|| std::iter::once(head).chain(body.split('\n')).map(str::to_owned).collect())
}

fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::parse;
    use super::*;

    #[test]
    fn one_entry_that_is_too_long_for_a_line_stands_below_its_key() {
        let link = format!("<http://127.0.0.1/users?after={}>; rel=\"next\"", "x".repeat(200));
        for value in [json!({ "headers": { "link": link } }), json!({ "links": [link] })] {
            let text = lines(&value, 120, &[], false).join("\n");
            assert_eq!(parse(&text).expect("YAML"), value, "{text}");
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let value = json!({
            "test": "items",
            "description": "No: quotes, where \"they\" need not be",
            "runs": [
                { "at": "2024-05-01T08:00:00Z", "exchange": [{ "request": { "get": "/items" }, "response": { "body": [] } }] },
                { "expect": { "counts": { "added": 2 } } },
            ],
        });
        let expected = "test: items\ndescription: \"No: quotes, where \\\"they\\\" need not be\"\nruns:\n  \
                        - at: \"2024-05-01T08:00:00Z\"\n    exchange:\n      - { request: { get: /items }, response: { body: [] } }\n  \
                        - expect:\n      counts: { added: 2 }\n";
        assert_eq!(document(&value, &["runs", "exchange", "expect"]), expected);
    }

    #[test]
    fn what_is_too_long_for_a_line_is_on_several() {
        let row = |id: u32| json!({ "id": id, "text": "x".repeat(60) });
        let value = json!({ "rows": { "items": [row(1), row(2)] }, "text": "a,b\n1,2\n", "other": "a\n b" });
        let long = "x".repeat(60);
        let expected = format!(
            "rows:\n  items:\n    - {{ id: 1, text: {long} }}\n    - {{ id: 2, text: {long} }}\ntext: |\n  a,b\n  1,2\nother: |-\n  a\n   b\n"
        );
        assert_eq!(document(&value, &[]), expected);
        assert_eq!(parse(&document(&value, &[])).expect("YAML"), value);
    }

    #[test]
    fn a_text_alone_is_in_one_line() {
        for text in ["\"\n:", "a\n--- b", "a\n...\nb\n"] {
            let value = Value::from(text);
            let yaml = document(&value, &[]);
            assert_eq!(parse(&yaml).expect(&yaml), value, "{yaml}");
        }
    }

    fn values() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            "[a-z]{0,6}",
            "[ -~]{0,12}",
            "[ab \\n\\t:#'\"-]{0,12}",
            "\\PC{0,6}",
            any::<String>(),
            Just("null".to_owned()),
            Just("- a".to_owned()),
            Just("1e5".to_owned()),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(|number| Value::from((number * 100.0).round() / 100.0)),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..5)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in values()) {
            let text = document(&value, &["a", "b"]);
            prop_assert_eq!(parse(&text).map_err(|error| TestCaseError::fail(format!("{text}: {error:?}")))?, value, "{}", text);
        }
    }
}
