//! Files that no person writes: each is an error with a place and never a panic, and none takes long.

mod bounds;
mod forms;

use std::sync::Arc;

use headwater::diagnostic::{Segment, Source};
use headwater::plan::{Compiled, Input, Known, compile};
use headwater::spec::finding;
use headwater::spec::mend::mend;
use headwater::spec::schema::Kind;
use headwater::spec::yaml;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Map, Value, json};

use super::{base, is_refused, rendered};

/// The base with `text` for one of its files, never written to a disk.
fn with(file: &str, text: &[u8]) -> Compiled {
    let inputs: Vec<Input> = base()
        .into_iter()
        .map(|(name, bytes)| {
            let kind = if name == "headwater.yaml" {
                Kind::Project
            } else if name.contains("syncs") {
                Kind::Sync
            } else if name.contains("models") {
                Kind::Model
            } else if name.contains("actions") {
                Kind::Action
            } else if name.contains("tests") {
                Kind::Test
            } else {
                Kind::Provider
            };
            let integration = name.starts_with("integrations").then(|| "acme".to_owned());
            let bytes = if name == file { text.to_vec() } else { bytes };
            Input { source: Arc::new(Source::new(name, bytes)), kind, integration, builtin: false, stray: false }
        })
        .collect();
    let compiled = compile(&inputs, std::path::Path::new("."), &Known::default());
    assert_eq!(compiled.plan.is_none(), is_refused(&compiled));
    for diagnostic in &compiled.diagnostics {
        let place = diagnostic.position;
        let line = place.map(|at| diagnostic.source.text.split('\n').nth(at.line - 1).expect("a line of the text"));
        let columns = line.map_or(0, |line| line.chars().count());
        assert!(place.is_none_or(|at| (1..=columns + 1).contains(&at.column)), "{diagnostic:?}");
        assert!(place.is_some() || diagnostic.code == "E005", "{diagnostic:?}");
        let told = diagnostic.render(false);
        let bytes = told.len().max(diagnostic.to_json().to_string().len());
        assert!(bytes < 10_000, "{bytes} bytes for {}", diagnostic.code);
        assert!(
            !told.contains(|c: char| c.is_control() && c != '\n'),
            "a control character reaches the terminal: {told:?}"
        );
    }
    compiled
}

const PROJECT: &str = "headwater.yaml";
const PROVIDER: &str = "providers/acme.yaml";
const SYNC: &str = "integrations/acme/syncs/contacts.yaml";
const MODEL: &str = "integrations/acme/models/Contact.yaml";

/// The code and place of the first mistake.
fn first(file: &str, text: impl AsRef<[u8]>) -> (&'static str, Option<(usize, usize)>) {
    let compiled = with(file, text.as_ref());
    let first = compiled.diagnostics.first().expect("a mistake");
    assert!(first.hint.is_some(), "{first:?}");
    (first.code, first.position.map(|at| (at.line, at.column)))
}

fn base_text(file: &str) -> String {
    String::from_utf8(base()[file].clone()).expect("UTF-8")
}

#[test]
fn nesting_without_end() {
    const MANY: usize = 1 << 19;
    for piece in [
        "[", "{", "{a: ", "- ", "? ", "- - ", "[{", "a: [", "&a [", "!x [", "\"", "'", "a: {b: [", "-\n", "|\n", "*a ",
        "{{ ", "}}",
    ] {
        let (code, at) = first(SYNC, piece.repeat(MANY / piece.len()));
        assert!(code.starts_with("E0") && at.is_some(), "{piece:?}: {code} {at:?}");
    }
    let stairs: String = (0..1_000).map(|depth| " ".repeat(depth) + "a:\n").collect();
    assert_eq!(first(SYNC, stairs), ("E003", Some((65, 65))));
    assert_eq!(first(SYNC, "[".repeat(70) + &"]".repeat(70)).0, "E003");
}

#[test]
fn aliases_that_multiply() {
    let laughs: String = (1..40).map(|n| format!("x{n}: &x{n} [*x{p}, *x{p}, *x{p}, *x{p}]\n", p = n - 1)).collect();
    assert_eq!(first(SYNC, format!("x0: &x0 [a, a]\n{laughs}")).0, "E003");
    // few jumps, each over much
    let wide = format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(50_000), "*a, ".repeat(50_000));
    assert_eq!(first(SYNC, wide).0, "E003");
    let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), "*a, ".repeat(50_000));
    assert_eq!(first(SYNC, long).0, "E003");
    assert_eq!(first(SYNC, "a: &a [*a]\n").0, "E003");
}

#[test]
fn files_that_are_too_large() {
    assert_eq!(first(SYNC, "# x\n".repeat(5 << 18)), ("E003", Some((1, 1))));
    assert_eq!(first(SYNC, vec![b'x'; 5 << 20]), ("E003", Some((1, 1))));
    // as large as may be
    let text = base_text(SYNC) + &"# x\n".repeat(200_000);
    assert!(with(SYNC, text.as_bytes()).diagnostics.is_empty());
}

#[test]
fn a_file_with_more_mistakes_than_are_told() {
    let many: String = (0..3_000).map(|n| format!("  c{n}: {{ path: $.c{n}, type: strin }}\n")).collect();
    let compiled = with(MODEL, (base_text(MODEL) + &many).as_bytes());
    let (last, told) = compiled.diagnostics.split_last().expect("mistakes");
    assert!(told.len() > 50 && told.iter().all(|diagnostic| diagnostic.code == "E043"));
    let rest = format!("this file has {} more mistakes", 3_000 - told.len());
    assert_eq!((last.code, &last.message), ("E005", &rest));
    let unknown: String = (0..60_000).map(|n| format!("k{n}: v\n")).collect();
    let compiled = with(SYNC, unknown.as_bytes());
    assert!(compiled.diagnostics.len() < 30 && compiled.has_errors());
}

#[test]
fn one_endless_line() {
    let text =
        base_text(SYNC).replace("limit: 100", &format!("limit: \"{}\", liimit: {{{{ x }}}}", "x".repeat(500_000)));
    assert_eq!(first(SYNC, &text).0, "E001");
    let text = base_text(SYNC).replace("incremental:", &format!("title: {}\nincremental:", "x".repeat(500_000)));
    assert_eq!(first(SYNC, text).0, "E010");
    let text = base_text(SYNC).replace("limit: 100", &format!("\"{}\": {{ a: b }}", "x".repeat(500_000)));
    assert_eq!(first(SYNC, text).0, "E001");
    let text = base_text(SYNC).replace("sync: contacts", &format!("sync: {}", "é".repeat(100_000)));
    let compiled = with(SYNC, text.as_bytes());
    assert!(compiled.has_errors() && compiled.diagnostics.iter().all(|diagnostic| diagnostic.message.len() < 1_000));
}

/// Every text of a document, one at a time, replaced by `change`.
fn each_text(value: &Value, change: &dyn Fn(&str) -> String) -> Vec<Value> {
    let within = |inner: &Value, whole: &dyn Fn(Value) -> Value| -> Vec<Value> {
        each_text(inner, change).into_iter().map(whole).collect()
    };
    match value {
        Value::String(text) => vec![change(text).into()],
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, inner)| {
                within(inner, &|changed| {
                    let mut members = members.clone();
                    members.insert(key.clone(), changed);
                    members.into()
                })
            })
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(at, inner)| {
                within(inner, &|changed| {
                    let mut items = items.clone();
                    items[at] = changed;
                    items.into()
                })
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

#[test]
fn texts_without_end() {
    let long = |piece: &str| piece.repeat(20_000 / piece.len());
    let changes: [&dyn Fn(&str) -> String; 5] = [
        &|text| text.to_owned() + &long("x"),
        &|_| long("é "),
        &|_| format!("${}", long(".x")),
        &|_| format!("{{{{ {} }}}}", long("x")),
        &|_| format!("https://{}", long("x.")),
    ];
    let mut mistakes = 0;
    for file in base().into_keys() {
        let document = yaml::parse(&base_text(&file)).expect("valid");
        for change in changes {
            for changed in each_text(&document, change) {
                mistakes += with(&file, changed.to_string().as_bytes()).diagnostics.len();
            }
        }
    }
    assert!(mistakes > 50, "{mistakes}");
}

#[test]
fn what_a_schema_says_is_told_in_short() {
    let long = "x".repeat(50_000);
    for rule in ["pattern", "const", "$ref", "format", "$schema", "type"] {
        with(PROVIDER, base_text(PROVIDER).replace("type: string", &format!("{rule}: {long}")).as_bytes());
    }
    let many: String = (0..5_000).map(|n| format!("v{n}, ")).collect();
    for rule in [format!("not: {{ enum: [eu, {many}] }}"), format!("enum: [{many}]"), format!("required: [{many}]")] {
        with(PROVIDER, base_text(PROVIDER).replace("type: string", &rule).as_bytes());
    }
}

#[test]
fn expressions_and_paths_without_end() {
    for piece in ["not ", "-", "(", "[", "a.", "a | ", "a ~ ", "a if b else ", "f(", "{1: ", "a[", "a is ", "'", "\\"] {
        for times in [30, 300, 30_000] {
            let text = base_text(SYNC)
                .replace("{{ watermark }}", &format!("{{{{ {}a }}}}", piece.repeat(times)).replace('\\', "\\\\"));
            with(SYNC, text.as_bytes());
        }
    }
    for piece in ["[?(", ".a", "[?@", "[?!", "..", "[*]", "[0]", "['a']", "[?@.a && ", "[?length(", "$", "[", "[?@[?@"]
    {
        for times in [30, 300, 30_000] {
            let text = base_text(SYNC).replace("$.results[*]", &format!("|-\n    ${}", piece.repeat(times)));
            with(SYNC, text.as_bytes());
        }
    }
}

#[test]
fn marks_of_other_systems() {
    let good = base_text(SYNC);
    let bad = good.replace("incremental:", "incremntal:");
    let place = ("E010", Some((14, 1)));
    assert_eq!(first(SYNC, &bad), place);
    // a byte order mark
    assert!(with(SYNC, format!("\u{feff}{good}").as_bytes()).diagnostics.is_empty());
    assert_eq!(first(SYNC, format!("\u{feff}{bad}")), place);
    assert_eq!(first(SYNC, format!("\u{feff}sinc: contacts\n{good}")), ("E010", Some((1, 1))));
    // line ends of Windows
    assert!(with(SYNC, good.replace('\n', "\r\n").as_bytes()).diagnostics.is_empty());
    assert_eq!(first(SYNC, bad.replace('\n', "\r\n")), place);
    assert_eq!(first(SYNC, good.replace("query: {", "query: [").replace('\n', "\r\n")), ("E001", Some((6, 57))));
    // of old Macs: YAML knows them, and to everybody else it is one line
    assert!(with(SYNC, good.replace('\n', "\r").as_bytes()).diagnostics.is_empty());
    assert_eq!(first(SYNC, bad.replace('\n', "\r")).1.map(|at| at.0), Some(1));
    // what only YAML 1.1 takes for a line end
    assert_eq!(first(SYNC, format!("description: \"\u{2028} \u{85} é\"\n{bad}")), ("E010", Some((15, 1))));
    assert_eq!(first(SYNC, bad.replace("limit: 100", "é: ü, ñ: \"ß\", limit: 100, odd: {{ x }}")).1, Some((6, 43)));
    // UTF-16
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(first(SYNC, [vec![0xff, 0xfe], wide].concat()), ("E004", Some((1, 1))));
    assert_eq!(first(SYNC, [good.as_bytes(), b"# M\xfcller\n"].concat()), ("E004", Some((16, 4))));
    assert_eq!(first(SYNC, [good.as_bytes(), b"\xc3"].concat()).0, "E004");
    // escapes for the terminal
    assert_eq!(first(SYNC, good.replace("limit: 100", "\"\\e[31m\\a\": {{ x }}")).0, "E001");
    assert_eq!(first(SYNC, format!("\"\\e[31m\\a\\x9b\": 1\n{good}")).0, "E010");
    assert_eq!(first(SYNC, good.replace("sync: contacts", "sync: \"\\e]0;x\\a\"")).0, "E025");
}

#[test]
fn nothing_and_nearly_nothing() {
    for text in ["", " ", "\n\n", "# nothing\n", "---\n", "~\n", "null", "\u{feff}"] {
        assert_eq!(first(SYNC, text).0, "E011", "{text:?}");
    }
    for text in [
        "\t",
        "\t\n",
        "a:\n\t- b\n",
        "\0",
        "[]",
        "1",
        "true",
        "\"",
        "a",
        "{}",
        "[{}]",
        "- a",
        "--- a\n--- b\n",
        "%TAG ! x\n",
        "&a",
        "*a",
        "!",
        "@",
        "{{ a }}",
    ] {
        let (code, at) = first(SYNC, text);
        assert!(at.is_some(), "{text:?}: {code}");
    }
}

/// One small change to a text, as a hand slips.
fn slip(text: &mut Vec<char>, kind: u8, at: Index, other: Index, c: char) {
    let at = at.index(text.len() + 1);
    match kind {
        0 => text.insert(at, c),
        1 if at < text.len() => drop(text.remove(at)),
        2 if at < text.len() => text[at] = c,
        3 => text.truncate(at),
        4 => {
            let line_start = text[..at].iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1);
            let line_end = text[at..].iter().position(|c| *c == '\n').map_or(text.len(), |end| at + end + 1);
            let line: Vec<char> = text.drain(line_start..line_end).collect();
            let to = other.index(text.len() + 1);
            text.splice(to..to, line);
        }
        5 => {
            let to = other.index(text.len() + 1);
            let piece: Vec<char> = text[at.min(to)..at.max(to)].iter().copied().take(60).collect();
            text.splice(to..to, piece);
        }
        _ => {
            let line_start = text[..at].iter().rposition(|c| *c == '\n').map_or(0, |at| at + 1);
            text.splice(line_start..line_start, [' ', ' ']);
        }
    }
}

fn any_slip_char() -> impl Strategy<Value = char> {
    prop_oneof![
        prop::sample::select(
            "\"'{}[]:,#&*!|>-?%@`$.\n\t \r~=0x\u{0}\u{7f}\u{85}\u{2028}é\u{feff}😀\\".chars().collect::<Vec<_>>()
        ),
        any::<char>(),
    ]
}

fn any_file() -> impl Strategy<Value = String> {
    prop::sample::select(base().into_keys().collect::<Vec<_>>())
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "x",
            "$",
            "$.a[*]",
            "$[?@.a]",
            "{{ watermark }}",
            "{{ credentials.a }}",
            "{{",
            "${A}",
            "10s",
            "-1s",
            "100 per 10s",
            "cursor",
            "absence",
            "decimal(1,2)",
            "%",
            "%Y",
            "https://x/",
            "/",
            "epoch_s",
            "id",
            "email",
            "contacts",
            "acme",
            "_a",
            "\u{0}",
            "🦀",
        ])
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_key(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "type",
        "path",
        "value",
        "from",
        "query",
        "header",
        "body",
        "json",
        "cursor",
        "page",
        "link",
        "api_key",
        "bearer",
        "credentials",
        "config",
        "syncs",
        "input",
        "variants",
        "required",
        "properties",
        "format",
        "limit",
        "size",
        "x",
        "",
        "_id",
        "$ref",
        "anyOf",
    ])
    .prop_map(str::to_owned)
}

/// The node that a walk of choices leads to.
fn node_at<'v>(value: &'v mut Value, walk: &[Index]) -> &'v mut Value {
    let inner = match (&*value, walk.first()) {
        (Value::Object(map), Some(step)) if !map.is_empty() => step.index(map.len()),
        (Value::Array(items), Some(step)) if !items.is_empty() => step.index(items.len()),
        _ => return value,
    };
    let inner = match value {
        Value::Object(map) => map.values_mut().nth(inner).expect("an index below the length"),
        Value::Array(items) => &mut items[inner],
        leaf => return leaf,
    };
    node_at(inner, &walk[1..])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn a_slip_of_the_hand_never_panics(
        file in any_file(),
        slips in prop::collection::vec((0..8_u8, any::<Index>(), any::<Index>(), any_slip_char()), 1..5),
    ) {
        let mut text: Vec<char> = base_text(&file).chars().collect();
        for (kind, at, other, c) in slips {
            slip(&mut text, kind, at, other, c);
        }
        with(&file, text.into_iter().collect::<String>().as_bytes());
    }

    #[test]
    fn a_document_with_anything_anywhere_never_panics(
        file in any_file(),
        changes in prop::collection::vec((prop::collection::vec(any::<Index>(), 0..5), any_value(), prop::option::of(any_key())), 1..4),
    ) {
        let mut document = yaml::parse(&base_text(&file)).expect("valid");
        for (walk, value, key) in changes {
            let node = node_at(&mut document, &walk);
            match (key, node) {
                (Some(key), Value::Object(map)) => drop(map.insert(key, value)),
                (_, node) => *node = value,
            }
        }
        // JSON is YAML
        with(&file, document.to_string().as_bytes());
    }

    #[test]
    fn what_is_mended_fits(kind in prop::sample::select(Kind::ALL.to_vec()), value in any_value(), members in prop::collection::vec((any_key(), any_value()), 0..4)) {
        let mut document = value;
        if let Value::Object(map) = &mut document {
            map.extend(members);
        }
        if let Some(mended) = mend(kind, &document) {
            prop_assert_eq!(finding::check(kind, &mended.value), []);
            prop_assert_eq!(mended.holes.is_empty(), mended.value == document);
        }
    }

    #[test]
    fn a_place_is_found_for_every_node(value in any_value(), walk in prop::collection::vec(any::<Index>(), 0..4)) {
        let document = json!({ "a": [value], "b": Map::new() });
        let text = serde_json::to_string_pretty(&document).expect("JSON");
        if yaml::parse(&text).is_err() {
            return Ok(()); // a key or text that is JSON and not YAML
        }
        let (mut path, mut node) = (Vec::new(), &document);
        for step in walk {
            match node {
                Value::Object(map) if !map.is_empty() => {
                    let (key, inner) = map.iter().nth(step.index(map.len())).expect("it is there");
                    path.push(Segment::Key(key.clone()));
                    node = inner;
                }
                Value::Array(items) if !items.is_empty() => {
                    path.push(Segment::Index(step.index(items.len())));
                    node = &items[step.index(items.len())];
                }
                _ => break,
            }
        }
        let at = yaml::locate(&text, &path, yaml::Part::Value).expect("a place");
        let written = text.split('\n').nth(at.line - 1).expect("a line").chars().skip(at.column - 1).collect::<String>();
        let begins = match node {
            Value::Object(_) => "{".to_owned(),
            Value::Array(_) => "[".to_owned(),
            leaf => leaf.to_string(),
        };
        prop_assert!(written.starts_with(&begins), "{:?} is not at {:?} of {}", begins, at, text);
    }
}

#[test]
fn a_secret_is_never_told() {
    const SECRET: &str = "hunter2-tr0ub4dor";
    let text = base_text("headwater.yaml").replace("${ACME_API_KEY}", SECRET);
    let mut seed: u64 = 1;
    for round in 0..600 {
        let mut chars: Vec<char> = text.chars().collect();
        // mistakes around the secret, never inside it
        let secret_at = text.find(SECRET).expect("it is there");
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = usize::try_from(seed >> 33).expect("small") % chars.len();
        if (secret_at..=secret_at + SECRET.len()).contains(&at) {
            continue;
        }
        match round % 4 {
            0 => chars[at] = '{',
            1 => drop(chars.remove(at)),
            2 => chars.insert(at, '\n'),
            _ => chars.insert(at, '"'),
        }
        let broken: String = chars.into_iter().collect();
        // a key that is not `credentials` any more cannot be known
        if broken.contains(SECRET) && broken.contains("credentials") {
            let told = rendered(&with("headwater.yaml", broken.as_bytes()).diagnostics);
            assert!(!told.contains(SECRET), "{broken}\n{told}");
        }
    }
}
