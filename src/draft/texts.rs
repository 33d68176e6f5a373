//! The one writer of YAML for people: values in one line where they fit, comments beside what they are about. A text from a document
//! can never be anything but a text.

use serde_json::{Map, Value};

use super::name::is_unseen;

/// Columns of a line.
const WIDTH: usize = 120;

/// A document, or a map in it: its lines in their order.
#[derive(Debug, Clone, Default)]
pub(super) struct Block(Vec<Line>);

#[derive(Debug, Clone)]
enum Line {
    Blank,
    Comment(String),
    /// `key: value  # note`
    Entry(String, Body, Option<String>),
}

#[derive(Debug, Clone)]
enum Body {
    Value(Value),
    Block(Block),
    /// `key:` and under it `- …` for each
    List(Vec<Block>),
}

impl Block {
    pub(super) fn blank(&mut self) {
        self.0.push(Line::Blank);
    }

    /// Lines that begin with `#`; a long text is broken between words.
    pub(super) fn comment(&mut self, text: &str) {
        let text = one_line(text);
        let mut line = String::new();
        for word in text.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH - 4 {
                self.0.push(Line::Comment(std::mem::take(&mut line)));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.0.push(Line::Comment(line));
    }

    pub(super) fn value(&mut self, key: &str, value: impl Into<Value>) {
        self.0.push(Line::Entry(key.to_owned(), Body::Value(value.into()), None));
    }

    /// A value, and perhaps a note behind it.
    pub(super) fn noted(&mut self, key: &str, value: impl Into<Value>, note: Option<&str>) {
        self.0.push(Line::Entry(key.to_owned(), Body::Value(value.into()), note.map(one_line)));
    }

    /// A value that is guessed, and why.
    pub(super) fn guessed(&mut self, key: &str, value: impl Into<Value>, why: Option<&str>) {
        self.noted(key, value, why.map(|why| format!("guess: {why}")).as_deref());
    }

    pub(super) fn block(&mut self, key: &str, block: Self) {
        self.0.push(Line::Entry(key.to_owned(), Body::Block(block), None));
    }

    pub(super) fn list(&mut self, key: &str, items: Vec<Self>) {
        self.0.push(Line::Entry(key.to_owned(), Body::List(items), None));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lines of another one behind its own.
    pub(super) fn append(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// The document.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0, false);
        out
    }

    /// Writes its lines; the first one stands behind a `- ` where `inline` says so.
    fn write(&self, out: &mut String, indent: usize, inline: bool) {
        let mut pad = if inline { String::new() } else { " ".repeat(indent) };
        for line in &self.0 {
            match line {
                Line::Blank => out.push('\n'),
                Line::Comment(text) if text.is_empty() => out.push_str(&format!("{pad}#\n")),
                Line::Comment(text) => out.push_str(&format!("{pad}# {text}\n")),
                Line::Entry(key, body, note) => {
                    out.push_str(&pad);
                    out.push_str(&scalar(key, true));
                    out.push(':');
                    body.write(out, indent, note.as_deref());
                }
            }
            pad = " ".repeat(indent);
        }
    }
}

impl Body {
    fn write(&self, out: &mut String, indent: usize, note: Option<&str>) {
        match self {
            Self::Value(value) => {
                write_value(out, value, indent, note);
            }
            Self::Block(block) => {
                out.push('\n');
                block.write(out, indent + 2, false);
            }
            Self::List(items) => {
                out.push('\n');
                for item in items {
                    out.push_str(&" ".repeat(indent + 2));
                    out.push_str("- ");
                    item.write(out, indent + 4, true);
                }
            }
        }
    }
}

/// Writes a value behind its key (or a `-`): in the same line where that fits, else below.
fn write_value(out: &mut String, value: &Value, indent: usize, note: Option<&str>) {
    let short = flow(value, false);
    let begun = out.len() - out.rfind('\n').map_or(0, |at| at + 1);
    let fits = begun + 1 + short.chars().count() <= WIDTH;
    let note_behind = |out: &mut String| {
        if let Some(note) = note {
            out.push_str(&format!("   # {note}"));
        }
        out.push('\n');
    };
    match value {
        Value::Object(members) if !fits && !members.is_empty() => {
            note_behind(out);
            for (name, value) in members {
                out.push_str(&" ".repeat(indent + 2));
                out.push_str(&scalar(name, true));
                out.push(':');
                write_value(out, value, indent + 2, None);
            }
        }
        Value::Array(items) if !fits && !items.is_empty() => {
            note_behind(out);
            for item in items {
                out.push_str(&" ".repeat(indent + 2));
                out.push('-');
                match item {
                    // the members of an item stand in one column
                    Value::Object(members)
                        if !members.is_empty() && flow(item, false).chars().count() + indent + 4 > WIDTH =>
                    {
                        for (at, (name, value)) in members.iter().enumerate() {
                            out.push_str(&if at == 0 { " ".to_owned() } else { " ".repeat(indent + 4) });
                            out.push_str(&scalar(name, true));
                            out.push(':');
                            write_value(out, value, indent + 4, None);
                        }
                    }
                    other => write_value(out, other, indent + 2, None),
                }
            }
        }
        _ => {
            out.push(' ');
            out.push_str(&short);
            note_behind(out);
        }
    }
}

/// A value in one line.
fn flow(value: &Value, inside: bool) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => scalar(text, inside),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| flow(item, true)).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{}: {}", scalar(name, true), flow(value, true)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Words that are no texts in YAML 1.1 or 1.2.
const NO_TEXTS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];

/// A text as YAML: as it stands where that surely is a text, else in double quotes.
fn scalar(text: &str, inside: bool) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '$' | '.' | '-');
    let begins = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '/' | '$');
    let is_sentence =
        |c: char| !inside && (c.is_alphabetic() || matches!(c, ' ' | ',' | '\'' | '(' | ')' | ';' | '?' | '=' | '+'));
    let is_url = !inside
        && text.starts_with("https://")
        && text.chars().all(|c| plain(c) || matches!(c, ':' | '?' | '=' | '&' | '%' | '~'));
    let is_plain = text.starts_with(begins)
        && text.chars().all(|c| plain(c) || is_sentence(c))
        && !text.ends_with(' ')
        && !NO_TEXTS.contains(&text.to_ascii_lowercase().as_str());
    if is_plain || (is_url && !text.ends_with(':')) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || is_unseen(c) => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A text that stays in its line.
pub(super) fn one_line(text: &str) -> String {
    let seen: String =
        text.chars().map(|c| if c.is_control() || is_unseen(c) || c.is_whitespace() { ' ' } else { c }).collect();
    seen.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// A map of one member.
pub(super) fn one(name: &str, value: impl Into<Value>) -> Value {
    Value::Object(Map::from_iter([(name.to_owned(), value.into())]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::Block;
    use crate::spec::yaml;

    fn written(value: Value) -> Value {
        let mut block = Block::default();
        block.comment("first\n# second: [");
        block.noted("key", value, Some("a note\nof: two lines"));
        block.value("end", true);
        let text = block.text();
        yaml::parse(&text).unwrap_or_else(|error| panic!("{error:?}\n{text}"))
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            any::<String>(),
            "[a-z:#\\-?&*!|>'\"%@`{}\\[\\], \\\\=~]{0,6}",
            prop::sample::select(vec![
                "null",
                "NO",
                "~",
                "1e3",
                "0x1f",
                "-",
                "---",
                "...",
                "<<",
                "=",
                "{{ credentials.key }}",
                "a: b",
                "a #b",
                "\u{85}",
                "\u{feff}",
                "http:",
                "https://a: b",
                "https://",
                "\u{7f}",
                "\u{fffe}",
                ".inf",
                "2024-01-01",
                "1_000",
                "0o7",
                "12:30"
            ])
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u32>().prop_map(|number| Value::from(f64::from(number) / 8.0)),
            word.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
                prop::collection::vec((word.clone(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was(value in any_value()) {
            prop_assert_eq!(written(value.clone()), json!({ "key": value, "end": true }));
        }

        #[test]
        fn keys_are_texts_too(name in any::<String>()) {
            let mut block = Block::default();
            block.value(&name, 1);
            prop_assert_eq!(yaml::parse(&block.text()).expect("YAML"), json!({ name: 1 }));
        }
    }

    #[test]
    fn it_looks_as_people_write_it() {
        let mut inner = Block::default();
        inner.value("get", "/contacts");
        inner.guessed("query", json!({ "limit": 100, "since": "{{ watermark }}" }), Some("as the parameter says"));
        let mut block = Block::default();
        block.value("sync", "contacts");
        block.value("docs", "https://acme.example/docs?a=b");
        block.value("records", "$.results[*]");
        block.block("request", inner.clone());
        block.list("runs", vec![inner.clone(), inner]);
        let expected = "sync: contacts\ndocs: https://acme.example/docs?a=b\nrecords: \"$.results[*]\"\nrequest:\n  get: /contacts\n  \
                        query: { limit: 100, since: \"{{ watermark }}\" }   # guess: as the parameter says\nruns:\n  - get: /contacts\n    \
                        query: { limit: 100, since: \"{{ watermark }}\" }   # guess: as the parameter says\n  - get: /contacts\n    \
                        query: { limit: 100, since: \"{{ watermark }}\" }   # guess: as the parameter says\n";
        assert_eq!(block.text(), expected);
    }
}
