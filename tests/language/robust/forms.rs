//! Texts in every form that editors, systems and other YAML tools make: each with the code and the place that it is told with.

use std::path::Path;

use headwater::diagnostic::Segment;
use headwater::spec::yaml;
use serde_json::Value;

use super::super::{ROOT, files_below, project, rendered};
use super::{MODEL, SYNC, base_text, first, with};

type Place = Option<(usize, usize)>;

/// Compares what is told first of each text; nothing is told of one without a code. All that differ are told, not the first alone.
fn each_is(cases: &[(&str, &str, Place)], text: impl Fn(&str) -> String) {
    let mut wrong = Vec::new();
    for &(case, code, place) in cases {
        let told = with(SYNC, text(case).as_bytes()).diagnostics;
        let found =
            told.first().map_or(("", None), |first| (first.code, first.position.map(|at| (at.line, at.column))));
        if found != (code, place) {
            wrong.push(format!("{case:?}: expected {code} {place:?}, found {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn at(line: usize, column: usize) -> Place {
    Some((line, column))
}

#[test]
fn values_that_look_like_others() {
    // where text belongs
    let cases = [
        ("contacts", "", None),
        ("'contacts'", "", None),
        ("\"\\x63ontacts\"", "", None),
        ("!!str contacts", "", None),
        ("yes", "", None),
        ("on", "", None),
        ("n", "", None),
        ("true", "E012", at(1, 7)),
        ("True", "E012", at(1, 7)),
        ("FALSE", "E012", at(1, 7)),
        ("~", "E012", at(1, 7)),
        ("null", "E012", at(1, 7)),
        ("", "E012", at(1, 6)),
        ("0", "E012", at(1, 7)),
        ("-0.0", "E012", at(1, 7)),
        ("0x10", "E012", at(1, 7)),
        ("0o17", "E012", at(1, 7)),
        ("0b11", "E012", at(1, 7)),
        ("1e3", "E012", at(1, 7)),
        (".5", "E012", at(1, 7)),
        // text to YAML 1.2, and no name
        ("017", "E025", at(1, 7)),
        ("1_000", "E025", at(1, 7)),
        ("1e999", "E025", at(1, 7)),
        ("12:30:45", "E025", at(1, 7)),
        ("2024-05-31", "E025", at(1, 7)),
        ("2024-05-31T18:30:00Z", "E025", at(1, 7)),
        (".inf", "E001", at(1, 7)),
        ("-.INF", "E001", at(1, 7)),
        (".nan", "E001", at(1, 7)),
        ("18446744073709551616", "E001", at(1, 7)),
        ("-9223372036854775809", "E001", at(1, 7)),
        ("340282366920938463463374607431768211456", "E001", at(1, 7)),
        ("!!int 5", "E012", at(1, 7)),
        ("!!int x", "E001", at(1, 7)),
        ("!!null x", "E001", at(1, 7)),
        ("!text contacts", "E001", at(1, 7)),
        ("!!set {a}", "E012", at(1, 7)),
        ("!!binary aGk=", "E025", at(1, 7)),
        ("*a", "E001", at(1, 7)),
        ("&a", "E012", at(1, 7)),
        ("\"\\ud800\"", "E001", at(1, 10)),
        ("\"\\q\"", "E001", at(1, 8)),
        ("%x", "E001", at(1, 7)),
        ("@x", "E001", at(1, 7)),
        ("`x`", "E001", at(1, 7)),
        ("|", "E025", at(1, 7)),
        (">-", "E025", at(1, 7)),
        ("|9x", "E001", at(1, 9)),
    ];
    each_is(&cases, |value| base_text(SYNC).replacen("sync: contacts", &format!("sync: {value}"), 1));
}

#[test]
fn keys_of_all_kinds() {
    let cases = [
        ("1: a\n", "E010", at(1, 1)),
        ("1.5: a\n", "E010", at(1, 1)),
        ("0x10: a\n", "E010", at(1, 1)),
        ("true: a\n", "E010", at(1, 1)),
        ("~: a\n", "E010", at(1, 1)),
        ("\"\": a\n", "E010", at(1, 1)),
        (": a\n", "E001", at(1, 1)),
        ("{a, b}\n", "E011", at(1, 1)),
        ("? a\n", "E011", at(1, 1)),
        ("&k a: 1\n", "E010", at(1, 1)),
        ("!!str a: 1\n", "E010", at(1, 1)),
        ("<<: { a: 1 }\n", "E010", at(1, 1)),
        ("? [a]\n: 1\n", "E001", at(1, 3)),
        ("? { a: b }\n: 1\n", "E001", at(1, 3)),
        ("[a]: 1\n", "E001", at(1, 1)),
        ("{ a: b }: 1\n", "E001", at(1, 1)),
        ("b: &b {}\n? *b\n: 1\n", "E001", at(1, 4)),
        ("!k a: 1\n", "E010", at(1, 1)),
        ("a: 1\na: 1\n", "E002", at(2, 1)),
        ("a: 1\n\"a\": 1\n", "E002", at(2, 1)),
        ("? a\n'\\x61': 1\n", "E011", at(1, 1)),
        ("\"\\x61\": 1\n? a\n: 1\n", "E002", at(2, 3)),
        ("{ a: 1, a }\n", "E002", at(1, 9)),
        ("<<: {}\n<<: {}\n", "E002", at(2, 1)),
        // to YAML one number, to us two names
        ("1: a\n0x1: a\n", "E010", at(1, 1)),
    ];
    each_is(&cases, str::to_owned);
}

#[test]
fn several_documents_and_directives() {
    let good = base_text(SYNC);
    for fine in [
        format!("---\n{good}"),
        format!("%YAML 1.2\n---\n{good}"),
        format!("%YAML 1.1\n---\n{good}...\n"),
        format!("%TAG !e! tag:example.org,2000:\n---\n{good}"),
        format!("--- # contacts\n{good}...\n# the end\n"),
        format!("{good}\n...\n"),
    ] {
        assert_eq!(with(SYNC, fine.as_bytes()).diagnostics, [], "{fine}");
    }
    let cases = [
        ("--- a\n--- b\n", "E001", at(2, 1)),
        ("a: 1\n---\nb: 2\n", "E001", at(2, 1)),
        ("a: 1\n...\nb: 2\n", "E001", at(2, 1)),
        ("---\n---\n", "E001", at(2, 1)),
        ("%YAML 2.0\n---\na: 1\n", "E001", at(1, 1)),
        ("%YAML 1.2\n%YAML 1.2\n---\na: 1\n", "E001", at(2, 1)),
        ("%YAML\n---\na: 1\n", "E001", at(1, 6)),
        ("%YAML 1.2\na: 1\n", "E001", at(2, 1)),
        ("a: 1\n%YAML 1.2\n", "E001", at(2, 1)),
    ];
    each_is(&cases, str::to_owned);
}

#[test]
fn tabs() {
    let good = base_text(SYNC);
    for fine in [
        good.replace("sync: contacts", "sync:\tcontacts\t# a tab"),
        good.replace("{ get", "{\tget"),
        format!("description: \"a\tb\"\n{good}"),
        format!("description: |\n  a\tb\n{good}"),
    ] {
        let told = with(SYNC, fine.as_bytes()).diagnostics;
        assert!(told.is_empty(), "{fine:?}: {told:#?}");
    }
    let cases = [
        ("\t\na: 1\n", "E001", at(1, 1)),
        ("\ta: 1\n", "E001", at(1, 1)),
        ("a:\n\tb: 1\n", "E001", at(2, 1)),
        ("a:\n  \tb: 1\n", "E001", at(2, 3)),
        ("a:\n\t- b\n", "E001", at(2, 1)),
        ("a:\n  b: 1\n\tc: 1\n", "E001", at(3, 1)),
        ("a:\n  -\tb: 1\n    c: 1\n", "E001", at(2, 4)),
    ];
    each_is(&cases, str::to_owned);
}

#[test]
fn characters_that_belong_to_no_text() {
    let cases = [
        ("\0", "E001", at(1, 1)),
        ("a: 1\n\0", "E001", at(2, 1)),
        ("a: \0b\n", "E001", at(1, 4)),
        ("a: \"\0\"\n", "E001", at(1, 5)),
        ("a: 1 # \0\n", "E001", at(1, 8)),
        ("a: 1\r\nb: \u{7}\r\n", "E001", at(2, 4)),
        ("ä: 'ö\u{1b}[31m'\n", "E001", at(1, 6)),
        ("a: \u{fffe}\n", "E001", at(1, 4)),
    ];
    each_is(&cases, str::to_owned);
    // what nobody sees before a word: a byte order mark where two files were joined, spaces of web pages
    let good = base_text(SYNC);
    for (unseen, code) in [("\u{feff}", "E001"), ("\u{a0}", "E010"), ("\u{200b}", "E010"), ("\u{3000}", "E010")] {
        assert_eq!(first(SYNC, good.replacen("model:", &format!("{unseen}model:"), 1)), (code, at(2, 1)), "{unseen:?}");
        let told = rendered(&with(SYNC, good.replacen("model:", &format!("{unseen}model:"), 1).as_bytes()).diagnostics);
        let code_point = format!("{:x}", u32::from(unseen.chars().next().expect("one")));
        assert!(told.to_lowercase().contains(&code_point) || unseen == "\u{3000}", "{told}");
    }
    assert_eq!(first(SYNC, format!("\u{feff}\u{feff}{good}")).1, at(1, 1));
    assert_eq!(first(SYNC, good.replacen("contacts", "con\u{feff}tacts", 1)), ("E025", at(1, 7)));
}

#[test]
fn other_encodings() {
    let wide = |text: &str, unit: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let good = base_text(SYNC);
    for (mark, unit) in [(b"\xff\xfe", u16::to_le_bytes as fn(u16) -> [u8; 2]), (b"\xfe\xff", u16::to_be_bytes)] {
        assert_eq!(first(SYNC, [mark.to_vec(), wide(&good, unit)].concat()), ("E004", at(1, 1)));
        // without a mark it is UTF-8 with many zeros
        assert_eq!(first(SYNC, wide(&good, unit)).0, "E001");
    }
    let long: Vec<u8> = good.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    assert_eq!(first(SYNC, [b"\xff\xfe\0\0".to_vec(), long].concat()), ("E004", at(1, 1)));
    for (bytes, place) in [
        (&b"a: M\xfcller\n"[..], at(1, 5)),
        (b"# \xe2\x82\n", at(1, 3)),
        (b"\xc0\x80", at(1, 1)),
        (b"a: \xed\xa0\x80", at(1, 4)),
        (b"\xc3\xa4\xf5: 1", at(1, 2)),
        (b"a: 1\r\n\xff", at(2, 1)),
    ] {
        assert_eq!(first(SYNC, bytes), ("E004", place), "{bytes:?}");
    }
}

/// All files of the base and of the valid cases.
fn valid_files() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for case in files_below(&Path::new(ROOT).join("valid")) {
        let project = project(&std::fs::read(case).expect("a case"));
        for path in files_below(project.path()) {
            let name = path.strip_prefix(project.path()).expect("below").to_str().expect("a name").to_owned();
            files.push((name, std::fs::read_to_string(path).expect("a file")));
        }
    }
    files.sort();
    files.dedup();
    files
}

/// The paths of all maps with something in them.
fn maps(value: &Value, here: &mut Vec<Segment>, found: &mut Vec<Vec<Segment>>) {
    let mut below = |segment, inner| {
        here.push(segment);
        maps(inner, here, found);
        here.pop();
    };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, inner)| below(Segment::Key(key.clone()), inner));
            if !members.is_empty() {
                found.push(here.clone());
            }
        }
        Value::Array(items) => items.iter().enumerate().for_each(|(at, inner)| below(Segment::Index(at), inner)),
        _ => {}
    }
}

/// Writes a document in which the map at `twice` has its first key again at its end; gives the place of that key.
struct Writer<'p> {
    twice: &'p [Segment],
    text: String,
    place: Place,
}

impl Writer<'_> {
    fn mark(&mut self) {
        let line = self.text.rsplit('\n').next().unwrap_or_default();
        self.place = at(self.text.matches('\n').count() + 1, line.chars().count() + 1);
    }

    /// With braces, on one line.
    fn flow(&mut self, value: &Value, here: &[Segment]) {
        match value {
            Value::Object(members) => {
                self.text += "{ ";
                for (key, inner) in members {
                    self.text += &format!("{}: ", Value::from(key.as_str()));
                    self.flow(inner, &[here, &[Segment::Key(key.clone())]].concat());
                    self.text += ", ";
                }
                if here == self.twice {
                    self.mark();
                    self.text += &format!("{}: 1", Value::from(members.keys().next().expect("a key").as_str()));
                }
                self.text += "}";
            }
            Value::Array(items) => {
                self.text += "[";
                for (at, inner) in items.iter().enumerate() {
                    self.flow(inner, &[here, &[Segment::Index(at)]].concat());
                    self.text += ", ";
                }
                self.text += "]";
            }
            leaf => self.text += &leaf.to_string(),
        }
    }

    /// With lines; a map in a list is written with braces.
    fn block(&mut self, value: &Value, here: &[Segment]) {
        let indentation = "  ".repeat(here.len());
        let Value::Object(members) = value else { return self.flow(value, here) };
        if members.is_empty() {
            self.text += "{}";
        }
        for (key, inner) in members {
            self.text += &format!("\n{indentation}{key:?}: ");
            self.block(inner, &[here, &[Segment::Key(key.clone())]].concat());
        }
        if here == self.twice {
            self.text += &format!("\n{indentation}");
            self.mark();
            // the other spelling of the same key
            let key = members.keys().next().expect("a key");
            let plain = key.chars().all(|c| c.is_ascii_alphabetic() || c == '_')
                && !matches!(key.as_str(), "null" | "true" | "false");
            self.text += &if plain { format!("{key}: 1") } else { format!("{key:?}: 1") };
        }
    }
}

#[test]
fn a_key_twice_in_every_map() {
    let mut many = 0;
    for (name, text) in valid_files() {
        let document = yaml::parse(&text).expect("valid");
        let mut found = Vec::new();
        maps(&document, &mut Vec::new(), &mut found);
        for twice in found {
            let writer = || Writer { twice: &twice, text: String::new(), place: None };
            let (mut flow, mut block) = (writer(), writer());
            flow.flow(&document, &[]);
            block.block(&document, &[]);
            for Writer { text, place, .. } in [flow, block] {
                let error = yaml::parse(&text).expect_err("a key stands twice");
                let found = error.position.map(|at| (at.line, at.column));
                assert_eq!((error.code, found), ("E002", place), "{name}: {error:?}\n{text}");
                many += 1;
            }
        }
    }
    assert!(many > 200, "the files have maps: {many}");
    assert_eq!(first(MODEL, format!("{}model: Contact\n", base_text(MODEL))).0, "E002");
}
