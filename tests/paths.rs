//! Paths against the compliance test suite of RFC 9535 (`tests/jsonpath/`).

use headwater::plan::Path;
use headwater::record::{Json, first, parse, select};
use serde_json::Value;

/// The cases of the suite.
fn cases() -> Vec<Value> {
    let suite: Value = serde_json::from_str(include_str!("jsonpath/cts.json")).expect("JSON");
    suite["tests"].as_array().expect("cases").clone()
}

/// What is wrong with a case, if anything.
fn failure(case: &Value) -> Option<String> {
    let selector = case["selector"].as_str().expect("a selector");
    let is_invalid = case["invalid_selector"] == true;
    let path = match Path::parse(selector) {
        Err(_) if is_invalid => return None,
        Err(error) => return Some(format!("{selector} is refused: {error}")),
        Ok(_) if is_invalid => return Some(format!("{selector} is taken")),
        Ok(path) => path,
    };
    let text = case["document"].to_string();
    let document = parse(text.as_bytes()).expect("a document");
    let found: Vec<Value> = select(&path, &document).into_iter().map(Json::to_serde).collect();
    assert_eq!(first(&path, &document).map(Json::to_serde).as_ref(), found.first(), "{selector}");
    let found = Value::Array(found);
    let is_right = match case["results"].as_array() {
        Some(allowed) => allowed.contains(&found),
        None => case["result"] == found,
    };
    (!is_right).then(|| format!("{selector} gives {found}"))
}

#[test]
fn the_compliance_suite_of_the_standard_passes() {
    let cases = cases();
    let failures: Vec<String> = cases.iter().filter_map(failure).collect();
    let invalid = cases.iter().filter(|case| case["invalid_selector"] == true).count();
    assert_eq!((cases.len(), invalid), (687, 245), "the suite itself");
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}

#[test]
fn a_path_that_is_none_is_refused_with_the_reason() {
    let deep = format!("${}", "[?@".repeat(200));
    let long = format!("$.{}", "a".repeat(2_000));
    for (text, reason) in [
        ("", "starts with `$`"),
        ("a.b", "starts with `$`"),
        (" $.a", "starts with `$`"),
        ("$.a ", "ends in a space"),
        ("$.a\u{a0}", "a space of another kind in it (U+00A0)"),
        ("$.a.", "ends too early"),
        ("$.a[", "ends too early"),
        ("$.a b", "stands in brackets and quotes"),
        ("$[?@.a b == 1]", "stands in brackets and quotes"),
        ("$[?@.a == 1 2]", "stands in brackets and quotes"),
        ("$.a[?(@.b=1)]", "is not understood"),
        ("$[?@.id == 9007199254740993]", "`9007199254740993` is beyond 2^53"),
        ("$[9007199254740992]", "`9007199254740992` is beyond 2^53"),
        ("$[?@.n < 1e400]", "too large"),
        ("$[?in(@.a, $.b)]", "there is no function `in`; there are `length`"),
        ("$[?any_of(@.a, $.b) == true]", "there is no function `any_of`"),
        ("$[?match(@.a, 'b') == true]", "`match` is a condition by itself"),
        ("$[?count(1) > 1]", "invalid argument for the function `count`"),
        ("$. a", "invalid child segment"),
        ("$[?frob(@.a)]", "is not understood"),
        ("$[?length(@.a)]", "must be compared"),
        ("$[?length(@.*) > 1]", "a path that leads to one value at most"),
        ("$[?match(@..a, 'x')]", "a path that leads to one value at most"),
        ("$[?length(match(@.a, 'x')) > 1]", "`length` takes a value"),
        ("$[?count(length(@.a)) > 1]", "`count` and `value` take a path"),
        ("$..a..b..c", "more than 2 times `..`"),
        ("$..a[?@..b][?@..c]", "more than 2 times `..`"),
        ("$[?count(@..a) > value($..b..c)]", "more than 2 times `..`"),
        (deep.as_str(), "nested too deeply"),
        (long.as_str(), "longer than 2000 bytes"),
    ] {
        let error = Path::parse(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn numbers_are_compared_by_value_and_not_as_doubles() {
    let document = parse(
        br#"[{"n": 9007199254740993, "m": 9007199254740992}, {"n": 9007199254740993, "m": 9007199254740993.0},
             {"n": 0.1, "m": 1e-1}, {"n": 1e-17, "m": 2e-17}, {"n": -1e400, "m": 1e400}, {"n": 0, "m": -0.0},
             {"n": 18446744073709551616, "m": 18446744073709551617}, {"n": "1", "m": 1}]"#,
    )
    .expect("JSON");
    for (text, expected) in [
        ("$[?@.n == @.m]", vec![1, 2, 5]),
        ("$[?@.n < @.m]", vec![3, 4, 6]),
        ("$[?@.n > @.m]", vec![0]),
        ("$[?@.n >= @.m]", vec![0, 1, 2, 5]),
        ("$[?@.n != @.m]", vec![0, 3, 4, 6, 7]),
        ("$[?@.n == 0.1]", vec![2]),
        ("$[?@.n > 9007199254740991]", vec![0, 1, 6]),
        ("$[?@.m == 1]", vec![7]),
        ("$[?@.n < -1e300]", vec![4]),
    ] {
        let path = Path::parse(text).expect("parses");
        let items = match &document {
            Json::Array(items) => items,
            other => panic!("{other:?}"),
        };
        let places: Vec<usize> = select(&path, &document)
            .into_iter()
            .map(|found| items.iter().position(|item| std::ptr::eq(item, found)).expect("an item"))
            .collect();
        assert_eq!(places, expected, "{text}");
    }
}

/// What the suite has no case for: the last member of a name counts, and nested filters see their own node.
#[test]
fn documents_that_apis_send() {
    for (text, document, expected) in [
        ("$.a", r#"{"a": 1, "b": 2, "a": 3}"#, "[3]"),
        ("$.*", r#"{"a": 1, "b": 2, "a": 3}"#, "[3,2]"),
        ("$[?@[?@.x == 1]]", r#"[[{"x": 1}], [{"x": 2}], {"k": {"x": 1}}]"#, r#"[[{"x":1}],{"k":{"x":1}}]"#),
        ("$..['b','a']", r#"{"a": {"a": 1, "b": 2}, "b": 3}"#, r#"[3,{"a":1,"b":2},2,1]"#),
        ("$['\u{10ffff}']['\\ud83d\\ude00']", "{\"\u{10ffff}\": {\"😀\": 1}}", "[1]"),
        ("$.größe", r#"{"größe": 7}"#, "[7]"),
        ("$[-1][-2]", "[[1,2],[3,4]]", "[3]"),
    ] {
        let document = parse(document.as_bytes()).expect("JSON");
        let found = select(&Path::parse(text).expect("parses"), &document).into_iter().cloned().collect();
        assert_eq!(Json::Array(found).to_text(), expected, "{text}");
    }
}
