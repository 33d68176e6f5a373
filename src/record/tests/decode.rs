use std::borrow::Cow;
use std::fmt::Write;

use bumpalo::Bump;

use super::fixture::{any_json, json};
use crate::plan::limits::JSON_DEPTH_MAX;
use crate::record::{DecodeErrorKind, Json, parse, parse_each, parse_into};

fn fails(body: &[u8]) -> (DecodeErrorKind, String) {
    let error = parse(body).expect_err("is no JSON");
    assert!(!error.to_string().chars().any(char::is_control), "{error}");
    assert!(error.to_string().chars().count() < 300, "{error}");
    (error.kind, error.to_string())
}

#[test]
fn values_are_read_as_they_are() {
    let value = json(
        " { \"a\" : [ 1 , -2.50 , 1E+3 , true , false , null ] , \"é\" : \"ü\\n\\u00e9\\ud83d\\ude00\" , \"\" : {} } \n",
    );
    let Json::Object(members) = &value else { panic!("an object") };
    assert_eq!(members.iter().map(|(name, _)| name.as_ref()).collect::<Vec<_>>(), ["a", "é", ""]);
    assert_eq!(value.to_text(), "{\"a\":[1,-2.50,1E+3,true,false,null],\"é\":\"ü\\né😀\",\"\":{}}");
    assert_eq!(json("\u{feff}[1]").to_text(), "[1]");
}

#[test]
fn what_has_no_escapes_is_borrowed() {
    let text = r#"{"plain": "täxt", "esc\u0061ped": "a\"b", "number": 12345678901234567890.10}"#;
    let Json::Object(members) = json(text) else { panic!("an object") };
    let borrowed: Vec<_> = members
        .iter()
        .map(|(name, value)| match value {
            Json::String(text) | Json::Number(text) => {
                (matches!(name, Cow::Borrowed(_)), matches!(text, Cow::Borrowed(_)))
            }
            _ => panic!("text or number"),
        })
        .collect();
    assert_eq!(borrowed, [(true, true), (false, false), (true, true)]);
    assert_eq!(members[1].0, "escaped");
    assert_eq!(members[2].1.to_text(), "12345678901234567890.10");
}

#[test]
fn of_repeated_names_the_last_counts() {
    assert_eq!(json(r#"{"a":1,"b":2,"a":3}"#).to_text(), r#"{"a":3,"b":2}"#);
    let mut text = String::from("{");
    for at in 0..2_000 {
        let _ = write!(text, "\"k{}\":{at},", at % 1_000);
    }
    text.push_str("\"k7\":\"last\"}");
    let Json::Object(members) = json(&text) else { panic!("an object") };
    assert_eq!(members.len(), 1_000);
    for (at, (name, value)) in members.iter().enumerate() {
        assert_eq!(name, &format!("k{at}"));
        let expected = if at == 7 { "\"last\"".to_owned() } else { (at + 1_000).to_string() };
        assert_eq!(value.to_text(), expected);
    }
}

proptest::proptest! {
    /// Whatever stood in the item before it, of which the reader makes use.
    #[test]
    fn of_names_repeated_in_a_list_the_last_counts(
        items in proptest::collection::vec(proptest::collection::vec((0_u8..30, 0_u8..9), 0..60), 1..6),
    ) {
        let written = items.iter().map(|members| {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"n{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let text = format!("[{}]", written.collect::<Vec<_>>().join(","));
        let arena = Bump::new();
        let Ok(Json::Array(read)) = parse_into(&arena, text.as_bytes()) else { panic!("a list") };
        proptest::prop_assert_eq!(json(&text).to_text(), Json::Array(read.clone()).to_text());
        for (members, item) in items.iter().zip(&read) {
            let mut expected: Vec<(String, u8)> = Vec::new();
            for (name, value) in members {
                let name = format!("n{name}");
                match expected.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, known)) => *known = *value,
                    None => expected.push((name, *value)),
                }
            }
            let Json::Object(found) = item else { panic!("an object") };
            let found: Vec<(String, u8)> =
                found.iter().map(|(name, value)| (name.to_string(), value.to_text().parse().unwrap_or(99))).collect();
            proptest::prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn a_wide_object_is_read_in_linear_time() {
    let members: Vec<String> = (0..200_000).map(|at| format!("\"k{at}\":{at}")).collect();
    let text = format!("{{{}}}", members.join(","));
    let Json::Object(members) = json(&text) else { panic!("an object") };
    assert_eq!(members.len(), 200_000);
}

#[test]
fn depth_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(JSON_DEPTH_MAX).as_bytes()).is_ok());
    let text = nested(JSON_DEPTH_MAX + 1);
    let error = parse(text.as_bytes()).expect_err("too deep");
    assert_eq!((error.kind, error.offset), (DecodeErrorKind::TooDeep, JSON_DEPTH_MAX));
    let objects = format!("{}1{}", "{\"a\":".repeat(1_000_000), "}".repeat(1_000_000));
    assert_eq!(fails(objects.as_bytes()).0, DecodeErrorKind::TooDeep);
}

#[test]
fn a_web_page_is_named_with_its_title() {
    let page = b"\n<!DOCTYPE html>\n<html><head><TITLE lang=en> Sign in\n - Acme </TITLE></head>";
    assert_eq!(
        fails(page),
        (DecodeErrorKind::Html, "the body is a web page (HTML) titled `Sign in\\n - Acme`, expected JSON".to_owned())
    );
    let (kind, text) = fails(b"<html><body>502 Bad Gateway</body></html>");
    assert_eq!(kind, DecodeErrorKind::Html);
    assert!(text.contains("502 Bad Gateway"), "{text}");
    assert_eq!(fails(b"<html><title>\xe9</title>").0, DecodeErrorKind::Html, "also in Latin-1");
    assert_eq!(fails(b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>").0, DecodeErrorKind::Xml);
}

#[test]
fn an_empty_body_is_said_to_be_empty() {
    for body in ["", " \r\n\t", "\u{feff}", "\u{feff} "] {
        assert_eq!(fails(body.as_bytes()), (DecodeErrorKind::Empty, "the body is empty, expected JSON".to_owned()));
    }
}

#[test]
fn a_truncated_body_is_found_wherever_it_ends() {
    let whole = br#"{"data":[{"id":1,"name":"a\u00e9b","ok":true,"none":null,"pi":-3.5e1},{"id":2}],"next":"abc"}"#;
    assert!(parse(whole).is_ok());
    for end in 1..whole.len() {
        let (kind, text) = fails(&whole[..end]);
        assert_eq!(kind, DecodeErrorKind::Truncated, "{end}: {text}");
        assert!(text.contains("ends in the middle of") && text.contains(&format!("after {end} bytes")), "{text}");
    }
}

#[test]
fn invalid_utf8_is_quoted_as_bytes() {
    let body = b"{\"name\":\n \"caf\xe9 cr\xc3\xa8me\"}";
    let error = parse(body).expect_err("is Latin-1");
    assert_eq!((error.kind, error.line, error.column, error.offset), (DecodeErrorKind::InvalidUtf8, 2, 6, 14));
    assert!(error.to_string().contains("caf\\xe9 crème"), "{error}");
    assert!(fails(b"\x1f\x8b\x08\x00").1.contains("gzip"));
    assert!(fails(b"\xff\xfe{\0}\0").1.contains("UTF-16"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    for (body, expected) in [
        ("Service Unavailable", "expected a value at `Service Unavailable` (line 1, column 1)"),
        ("{\"a\":1}\n{\"a\":2}", "something follows the end of the JSON"),
        ("[1,2,]", "trailing comma"),
        ("{\"a\":NaN}", "`NaN` is no JSON number"),
        ("[-Infinity]", "`-Infinity` is no JSON number"),
        ("[Infinity]", "`Infinity` is no JSON number"),
        ("[01]", "invalid number"),
        ("[+1]", "expected a value"),
        ("[.5]", "expected a value"),
        ("['a']", "expected a value"),
        ("{a:1}", "key must be a string"),
        ("{\"a\" 1}", "expected `:`"),
        ("[\"a\tb\"]", "control character"),
        ("[\"\\x\"]", "invalid escape"),
        ("[\"\\ud83d\"]", "hex escape"),
        ("[tru]", "true"),
        ("[1 2]", "expected `,` or `]`"),
    ] {
        let (kind, text) = fails(body.as_bytes());
        assert_eq!(kind, DecodeErrorKind::Syntax, "{body}: {text}");
        assert!(text.starts_with("the body is no JSON: ") && text.contains(expected), "{body}: {text}");
    }
    let long = format!("[1{}]", "0".repeat(5_000));
    assert!(fails(long.as_bytes()).1.contains("4300 digits"));
}

#[test]
fn a_ten_megabyte_string_is_no_trouble() {
    let text = format!("[\"{}\"]", "ä".repeat(5 << 20));
    assert_eq!(json(&text).size(), text.len());
}

/// The items of the list `$.data.list` as texts, and what stands around it.
fn in_passing(text: &str) -> Option<(Vec<String>, String)> {
    let (arena, mut found) = (Bump::new(), Vec::new());
    let names = ["data", "list"].map(str::to_owned);
    let rest = parse_each(&arena, text.as_bytes(), &names, &mut |records, part| {
        assert!((0.0..=1.0).contains(&part), "{part}");
        found.extend(records.iter().map(Json::to_text));
        true
    })?;
    Some((found, rest.to_text()))
}

#[test]
fn what_is_no_plain_list_is_read_as_a_whole() {
    for text in [
        "",
        "[1]",
        "{}",
        r#"{"data":[1]}"#,
        r#"{"data":{"list":{"a":1}}}"#,
        r#"{"data":{"list":null}}"#,
        r#"{"data":{"other":[1]}}"#,
        r#"{"data":{"list":[1],"list":[2]}}"#,
        r#"{"data":{"list":[1]},"data":{"list":[2]}}"#,
        r#"{"data":{"list":[1]},"a":1,"a":2}"#,
        r#"{"data":{"list":[1]}} x"#,
        r#"{"data":{"list":[1,]}}"#,
    ] {
        assert_eq!(in_passing(text), None, "{text}");
    }
    let deep = |levels: usize| format!("{{\"data\":{{\"list\":[{}{}]}}}}", "[".repeat(levels), "]".repeat(levels));
    assert!(in_passing(&deep(JSON_DEPTH_MAX - 3)).is_some() && parse(deep(JSON_DEPTH_MAX - 3).as_bytes()).is_ok());
    assert!(in_passing(&deep(JSON_DEPTH_MAX - 2)).is_none() && parse(deep(JSON_DEPTH_MAX - 2).as_bytes()).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>) {
        if let Err(error) = parse(&body) {
            proptest::prop_assert!(error.offset <= body.len());
        }
    }

    /// Text that is read into an arena is read as by itself, and takes no more than its size says.
    #[test]
    fn an_arena_changes_nothing(value in any_json(), other in any_json()) {
        let mut text = Json::Array(vec![value.clone(), value.clone(), other, value].into()).to_text();
        let arena = Bump::new();
        let read = parse_into(&arena, text.as_bytes()).expect("JSON");
        proptest::prop_assert_eq!(read.to_text(), text.as_str());
        proptest::prop_assert!(read.size() <= read.size_at_most());
        proptest::prop_assert!(read.size_at_most() <= text.len());
        text.pop();
        let (whole, part) = (parse(text.as_bytes()), parse_into(&arena, text.as_bytes()));
        proptest::prop_assert_eq!(whole.map_err(|error| error.to_string()).err(), part.map_err(|error| error.to_string()).err());
    }

    /// Records that are handed out some at a time are those of the whole, and so is what stands around them.
    #[test]
    fn records_in_passing_are_those_of_the_whole(
        records in proptest::collection::vec(any_json(), 0..80), beside in any_json(), cut: proptest::sample::Index,
    ) {
        let around = |list: Vec<Json<'_>>| {
            let list = Json::Array(list.into()).to_text();
            format!("{{\"beside\":{},\"data\":{{\"list\":{list}}},\"next\":1}}", beside.to_text())
        };
        let text = around(records.clone());
        let (found, rest) = in_passing(&text).expect("as it should be");
        proptest::prop_assert_eq!(found, records.iter().map(Json::to_text).collect::<Vec<_>>());
        proptest::prop_assert_eq!(rest, around(Vec::new()));
        let cut = text.floor_char_boundary(cut.index(text.len()));
        proptest::prop_assert_eq!(in_passing(&text[..cut]), None);
    }

    #[test]
    fn no_text_of_json_characters_makes_it_panic(body in "[\\[\\]{}\",:0-9eE+\\-.\\\\unltrfasé< ]{0,60}") {
        let _ = parse(body.as_bytes()).map_err(|error| error.to_string());
    }
}

#[test]
fn a_name_with_escapes_is_none_that_can_stand_there_without() {
    let (kind, error) = fails(br#"[{"q\"":1},{"q"":2}]"#);
    assert_eq!(kind, DecodeErrorKind::Syntax, "{error}");
    assert_eq!(json(r#"[{"q\"":1},{"q\"":2},{"q\u0022":3}]"#).to_text(), r#"[{"q\"":1},{"q\"":2},{"q\"":3}]"#);
}

proptest::proptest! {
    /// Whether it is JSON, and where it is none, is what jiter says, and its values are those of `serde_json`.
    #[test]
    fn what_is_json_is_read_and_nothing_else(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "{", "}", "[", "]", ",", ":", " ", "\n", "\"", "\"a\":", "\"a\" : ", "\"eight at once\":", "\"q\\\"\":", "\"q\":", "\"täxt\"", "\"\\n\"", "\"\\q\"",
            "\"\\ud800\"", "\"\\ud83d\\ude00\"", "\u{1}", "\u{7f}", "1", "-1", "0", "-0", "01", "-", "1.", ".5", "1.50", "1e5", "1E+", "-2.5e-3",
            "12345678901234567890", "true", "false", "null", "nul", "NaN", "x", "{\"a\":1}", "[1,2]", "{\"q\":\"v\",\"a\":[]}", "[{\"a\":1},{\"a\":2}]",
        ]), 0..12),
        is_list in proptest::bool::ANY,
    ) {
        let text = if is_list { format!("[{}]", parts.join(",")) } else { parts.concat() };
        let mut jiter = jiter::Jiter::new(text.as_bytes());
        let known = jiter.next_skip().and_then(|()| jiter.finish());
        match (parse(text.as_bytes()), known) {
            (Ok(read), Ok(())) => {
                let arena = Bump::new();
                let near = parse_into(&arena, text.as_bytes()).expect("is JSON");
                proptest::prop_assert_eq!(near.to_text(), read.to_text());
                let same: Result<serde_json::Value, _> = serde_json::from_str(&text);
                // `serde_json` has a zero below zero, and makes doubles of long numbers
                let is_exact = text.split(|digit: char| !digit.is_ascii_digit()).all(|digits| digits.len() < 16);
                if is_exact && !text.contains("-0") {
                    proptest::prop_assert_eq!(same.ok(), Some(read.to_serde()), "{}", text);
                }
            }
            (Err(error), Err(known)) => proptest::prop_assert!(
                error.offset == known.index || error.kind == DecodeErrorKind::Empty, "{}: {} at {}", text, error, known.index
            ),
            (read, known) => proptest::prop_assert!(false, "{}: {:?}, {:?}", text, read, known),
        }
    }

    /// A record is read as it is, whatever stood in the record before.
    #[test]
    fn records_that_are_nearly_alike_are_read_as_they_are(
        records in proptest::collection::vec(proptest::collection::vec(
            (proptest::sample::select(vec!["a", "b", "a\"", "ä", "\\u0061", "a\\\"b", "quite a long name"]), 0..9_u8, proptest::bool::ANY), 0..5,
        ), 1..70),
    ) {
        let written = |(name, value, spaced): &(&str, u8, bool)| {
            let name = if name.ends_with('"') { name.replace('"', "\\\"") } else { (*name).to_owned() };
            if *spaced { format!("\"{name}\":[{value}, 1]") } else { format!("\"{name}\":[{value},1]") }
        };
        let items = records.iter().map(|members| format!("{{{}}}", members.iter().map(written).collect::<Vec<_>>().join(",")));
        let text = format!("{{\"data\":[{}]}}", items.collect::<Vec<_>>().join(","));
        let known: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
        let (mut read, mut texts) = (Vec::new(), Vec::new());
        let arena = Bump::new();
        let around = parse_each(&arena, text.as_bytes(), &["data".to_owned()], &mut |records, _| {
            read.extend(records.iter().map(Json::to_serde));
            texts.extend(records.iter().map(Json::to_text));
            true
        });
        proptest::prop_assert!(around.is_some());
        // made one by one, it has no text that could be written as it is
        let written: Vec<String> = read.iter().map(|record| Json::from(record.clone()).to_text()).collect();
        proptest::prop_assert_eq!(written, texts);
        proptest::prop_assert_eq!(&known["data"], &serde_json::Value::Array(read));
    }
}
