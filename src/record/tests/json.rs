use proptest::prelude::*;
use serde_json::json as value;

use super::fixture::{any_json, json, template};
use crate::record::{Json, parse};

#[test]
fn equality_is_by_value() {
    assert_eq!(json(r#"{"a":1.0,"b":[1e2]}"#), json(r#"{"b":[100],"a":1}"#));
    assert_ne!(json("[1,2]"), json("[2,1]"));
    assert_ne!(json("1"), json("\"1\""));
    assert_ne!(json(r#"{"a":null}"#), json("{}"));
    assert_ne!(json("9007199254740993"), json("9007199254740992"));
}

#[test]
fn canonical_text_sorts_by_code_point() {
    let mut out = String::new();
    json(r#"{"é":1,"z":{"b":1.0,"a":-0.0},"Z":[2.50,"x\u0001\n\"\\"],"":null,"𝄞":1,"ﬀ":1}"#).canonical(&mut out);
    assert_eq!(
        out,
        "{\"\":null,\"Z\":[25e-1,\"x\\u0001\\n\\\"\\\\\"],\"z\":{\"a\":0,\"b\":1},\"é\":1,\"ﬀ\":1,\"𝄞\":1}"
    );
}

#[test]
fn templates_see_exact_numbers() {
    let record = json(
        r#"{"id":9223372036854775808,"big":-170141183460469231731687303715884105728,"f":1.5,"whole":1.0,"t":"x","n":null,"l":[1]}"#,
    );
    let variables = minijinja::context! { record => record.to_value() };
    let render = |text: &str| template(text).render(&variables).expect("renders");
    assert_eq!(render("{{ record.id }}").as_deref(), Some("9223372036854775808"));
    assert_eq!(render("a{{ record.big }}").as_deref(), Some("a-170141183460469231731687303715884105728"));
    assert_eq!(render("{{ record.f + record.l[0] }}").as_deref(), Some("2.5"));
    assert_eq!(render("{{ record.whole }}").as_deref(), Some("1.0"));
    assert_eq!(render("{{ record.n }}"), None);
    assert_eq!(render("{{ record.missing.deeper }}"), None);
    assert_eq!(
        template("{{ record }}").value(&minijinja::context! { record => json("{\"b\":[true],\"a\":null}").to_value() }),
        Ok(Some(value!({"a": null, "b": [true]})))
    );
}

#[test]
fn serde_values_lose_no_digit_of_a_whole_number() {
    let text = r#"[1,-1,18446744073709551615,18446744073709551616,-9223372036854775809,1.5,1e2,1e999,"x",null,true,{"b":1,"a":2}]"#;
    assert_eq!(
        json(text).to_serde(),
        value!([1, -1, 18_446_744_073_709_551_615_u64, "18446744073709551616", "-9223372036854775809", 1.5, 100.0, "1e999", "x", null, true, {"b": 1, "a": 2}])
    );
    assert_eq!(Json::from(json(text).to_serde()).member("x"), None);
    assert_eq!(Json::from(value!({"a": [1, 2.5, "x", null, false]})), json(r#"{"a":[1,2.5,"x",null,false]}"#));
}

#[test]
fn the_start_of_a_text_is_enough_for_a_quote() {
    let long = Json::Array((0..1_000_000).map(|_| Json::from("some text")).collect());
    let mut out = String::new();
    long.write_text(&mut out, 100);
    assert!(out.starts_with("[\"some text\",") && out.len() < 120, "{}", out.len());
    let mut out = String::new();
    Json::from("é".repeat(1_000_000)).write_text(&mut out, 101);
    assert!(out.len() < 110 && out.starts_with("\"éé"), "{}", out.len());
}

/// The same value: members turned around, numbers with an exponent.
fn respelled(json: &Json<'static>) -> Json<'static> {
    match json {
        Json::Number(text) if !text.contains(['e', 'E']) => Json::Number(format!("{text}e0").into()),
        Json::Number(text) => {
            let (mantissa, exponent) = text.split_once(['e', 'E']).expect("has an exponent");
            let mantissa = if mantissa.contains('.') { format!("{mantissa}00") } else { format!("{mantissa}.0") };
            Json::Number(format!("{mantissa}E{exponent}").into())
        }
        Json::Array(items) => Json::Array(items.iter().map(respelled).collect()),
        Json::Object(members) => {
            Json::Object(members.iter().rev().map(|(name, value)| (name.clone(), respelled(value))).collect())
        }
        other => other.clone(),
    }
}

fn canonical(json: &Json<'_>) -> String {
    let mut out = String::new();
    json.canonical(&mut out);
    out
}

#[test]
fn a_character_is_escaped_wherever_it_stands_and_no_other_is() {
    for (length, at) in (0..20).flat_map(|length| (0..=length).map(move |at| (length, at))) {
        for character in (0..0x100).filter_map(char::from_u32) {
            let text = format!("{}{character}{}", "a".repeat(at), "é".repeat(length - at));
            let written = Json::String(text.as_str().into()).to_text();
            let is_escaped = character < ' ' || character == '"' || character == '\\';
            assert_eq!(written == format!("\"{text}\""), !is_escaped, "{text:?}");
            assert_eq!(parse(written.as_bytes()).expect("parses"), Json::String(text.as_str().into()));
        }
    }
}

proptest! {
    #[test]
    fn text_reads_back_the_same(json in any_json()) {
        let text = json.to_text();
        let read = parse(text.as_bytes()).expect("parses");
        prop_assert_eq!(&read, &json);
        prop_assert_eq!(read.to_text(), text, "to the letter");
    }

    #[test]
    fn size_is_the_length_of_the_text_without_escapes(json in any_json()) {
        let text = json.to_text();
        prop_assert!(json.size() <= text.len());
        if !text.contains('\\') {
            prop_assert_eq!(json.size(), text.len());
        }
    }

    #[test]
    fn canonical_text_does_not_depend_on_spelling(json in any_json()) {
        let other = respelled(&json);
        prop_assert_eq!(&json, &other);
        let text = canonical(&json);
        prop_assert_eq!(&text, &canonical(&other));
        let read = parse(text.as_bytes()).expect("canonical text is JSON");
        prop_assert_eq!(&read, &json);
    }

    #[test]
    fn canonical_texts_are_equal_when_the_values_are(left in any_json(), right in any_json()) {
        prop_assert_eq!(left == right, canonical(&left) == canonical(&right));
    }
}
