use proptest::prelude::*;

use super::fixture::{any_json, json, path, template};
use crate::plan::{Path, PathForm, Predicate};
use crate::record::select::first_near;
use crate::record::{Json, first, matches, select};

const DOCUMENT: &str = r#"{
    "a": {"b": [10, 11, 12], "c": null, "d": {"e": "deep"}, "": "empty name"},
    "with.dot": 1, "with'quote": 2, "with\"double": 3, "with space": 4, "back\\slash": 5, "ünï": 6, "𝄞": 7, "0": "zero",
    "list": [{"n": 1}, {"n": 2}, {}, {"n": null}, [1, 2], "x"],
    "none": null, "no_items": [], "no_members": {}, "text": "abc", "number": 1.50, "yes": true
}"#;

/// Paths that are looked up directly.
const PLAIN: [&str; 56] = [
    "$",
    "$.a",
    "$.a.b",
    "$['a']['b']",
    "$.a.b[0]",
    "$.a.b[2]",
    "$.a.b[3]",
    "$.a.b[-1]",
    "$.a.b[-3]",
    "$.a.b[-4]",
    "$.a.c",
    "$.a.c.x",
    "$.a.c[0]",
    "$.a.d.e",
    "$.a['']",
    "$.missing",
    "$.missing.deeper",
    "$.missing[0]",
    "$['with.dot']",
    "$['with\\'quote']",
    "$[\"with'quote\"]",
    "$['with\"double']",
    "$['with space']",
    "$['back\\\\slash']",
    "$.ünï",
    "$['\\u00fcnï']",
    "$['𝄞']",
    "$['\\uD834\\uDD1E']",
    "$['0']",
    "$[0]",
    "$.list[0].n",
    "$.list[2].n",
    "$.list[3].n",
    "$.list[4][1]",
    "$.list[5].n",
    "$.list[5][0]",
    "$.none",
    "$.none.x",
    "$.text[0]",
    "$.text.length",
    "$.number",
    "$.a.b[9007199254740991]",
    "$.a.b[-9007199254740991]",
    "$.*",
    "$[*]",
    "$.a.*",
    "$.a.b[*]",
    "$.list[*]",
    "$.no_items[*]",
    "$.no_members.*",
    "$.none[*]",
    "$.text[*]",
    "$.number.*",
    "$.missing[*]",
    "$.a.d[*]",
    "$.list[4][*]",
];

fn as_query<'j, 'a>(text: &str, root: &'j Json<'a>) -> Vec<&'j Json<'a>> {
    let path = Path::parse_as_query(text).expect("parses");
    assert!(matches!(path.form(), PathForm::Query(_)));
    select(&path, root)
}

fn same_places(left: &[&Json<'_>], right: &[&Json<'_>]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(left, right)| std::ptr::eq(*left, *right))
}

#[test]
fn the_direct_look_up_and_the_query_agree() {
    let document = json(DOCUMENT);
    let mut found_something = 0;
    for text in PLAIN {
        let path = path(text);
        assert!(matches!(path.form(), PathForm::Plain { .. }), "{text} is looked up directly");
        let direct = select(&path, &document);
        assert!(same_places(&direct, &as_query(text, &document)), "{text}: {direct:?}");
        assert_eq!(
            first(&path, &document).map(std::ptr::from_ref),
            direct.first().map(|value| std::ptr::from_ref(*value))
        );
        found_something += usize::from(!direct.is_empty());
    }
    assert!(found_something > 30, "{found_something}");
}

#[test]
fn look_ups_lead_where_the_standard_says() {
    let document = json(DOCUMENT);
    for (text, expected) in [
        ("$.a.b[-1]", "[12]"),
        ("$.a.b[*]", "[10,11,12]"),
        ("$.a.c", "[null]"),
        ("$.a.c.x", "[]"),
        ("$['with\\'quote']", "[2]"),
        ("$['\\uD834\\uDD1E']", "[7]"),
        ("$.list[*].n", "[1,2,null]"),
        ("$..n", "[1,2,null]"),
        ("$.list[?@.n > 1].n", "[2]"),
        ("$.list[?@.n == null].n", "[null]"),
        ("$.list[1:3]", "[{\"n\":2},{}]"),
        ("$['text','number','missing']", "[\"abc\",1.50]"),
        ("$.a.b[?@ != 11]", "[10,12]"),
        ("$.list[?length(@) == 2]", "[[1,2]]"),
        ("$.list[?match(@, 'x')]", "[\"x\"]"),
    ] {
        let found: Vec<Json<'_>> = select(&path(text), &document).into_iter().cloned().collect();
        assert_eq!(Json::Array(found.into()).to_text(), expected, "{text}");
    }
}

#[test]
fn a_filter_decides_the_same_with_and_without_a_list_around_the_record() {
    let records = [
        r#"{"type":"person","age":41,"archived":false,"tags":["a","b"],"name":"Ö $5","none":null,"in":{"x":[{"y":1},{"y":2}]}}"#,
        r#"{"type":"dog","age":4.10e1,"archived":true,"tags":[],"name":"Rex"}"#,
        r#"{"age":"41","in":{"x":[]}}"#,
        "{}",
        "[]",
        "[{\"type\":\"person\"}]",
        "null",
        "41",
        "\"person\"",
    ];
    let mut yes = 0;
    for text in [
        "$[?@.type == 'person']",
        "$[?@.type != 'person']",
        "$[?@.age == 41]",
        "$[?@.age >= 41]",
        "$[?@.age < 41.5]",
        "$[?@.archived == true]",
        "$[?@.archived]",
        "$[?!@.archived]",
        "$[?!(@.archived == true)]",
        "$[?@.none == null]",
        "$[?@.none]",
        "$[?@.type == 'person' && @.age == 41]",
        "$[?@.type == 'dog' || @.age == '41']",
        "$[?(@.type == 'dog' || @.type == 'person') && !(@.archived == true)]",
        "$[?!(@.type == 'dog' || @.missing)]",
        "$[?@.tags[0] == 'a']",
        "$[?@.tags[-1] == 'b']",
        "$[?@.tags[?@ == 'b']]",
        "$[?@.in.x[?@.y > 1]]",
        "$[?length(@.tags) == 0]",
        "$[?count(@.tags[*]) == 2]",
        "$[?match(@.type, 'p.*n')]",
        "$[?search(@.name, 'e')]",
        "$[?@.name == 'Ö $5']",
        "$[?@ == 41]",
        "$[?@ == 'person']",
        "$[?@.*]",
        "$[?@..y]",
        "$[?value(@.in.x[0].y) == 1]",
        "$[?$[0].type == 'person']",
    ] {
        let predicate = Predicate::Path(path(text));
        for record in records {
            let record = json(record);
            let list = Json::Array(vec![record.clone()].into());
            let expected = !as_query(text, &list).is_empty();
            assert_eq!(matches(&predicate, &record, &minijinja::context! {}), Ok(expected), "{text} {record:?}");
            yes += usize::from(expected);
        }
    }
    assert!(yes > 40, "{yes}");
}

#[test]
fn a_template_decides_with_the_record_and_the_context() {
    let record = json(r#"{"type":"person","n":0,"list":[]}"#);
    let context = minijinja::context! { config => minijinja::context! { kind => "person" }, record => "hidden" };
    for (text, expected) in [
        ("{{ record.type == config.kind }}", true),
        ("{{ record.type }}", true),
        ("{{ record.n }}", false),
        ("{{ record.list }}", false),
        ("{{ record.missing }}", false),
        ("{{ record.missing.deeper == 1 }}", false),
        ("{{ config.kind == 'dog' }}", false),
        ("{{ unknown }}", false),
    ] {
        assert_eq!(matches(&Predicate::Template(template(text)), &record, &context), Ok(expected), "{text}");
    }
    let error = matches(&Predicate::Template(template("{{ record.list / 2 }}")), &record, &context);
    assert!(error.is_err_and(|error| error.contains("record.list / 2")));
}

proptest! {
    #[test]
    fn plain_paths_agree_on_any_document(document in any_json(), steps in prop::collection::vec("\\[(-?[0-3]|'[a-cé]')\\]", 0..4), each: bool) {
        let text = format!("${}{}", steps.concat().replace("-0", "0"), if each { "[*]" } else { "" });
        let path = path(&text);
        let found = select(&path, &document);
        prop_assert!(same_places(&found, &as_query(&text, &document)), "{}", text);
        if let PathForm::Plain { steps, each: false } = path.form() {
            for wrong in [0, 1, 100] {
                let places = vec![std::cell::Cell::new(wrong); steps.len()];
                for _ in 0..2 {
                    let near: Vec<_> = first_near(steps, &document, &places).into_iter().collect();
                    prop_assert!(same_places(&near, &found), "{}", text);
                }
            }
        }
    }
}

/// Every case of the compliance suite, looked up directly where that is possible and as a query; and every filter put to each record
/// alone and to a list of it.
#[test]
fn the_short_ways_agree_with_the_long_ones_on_the_compliance_suite() {
    let suite: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/jsonpath/cts.json")).expect("JSON");
    let (mut plain, mut filters) = (0, 0);
    for case in suite["tests"].as_array().expect("cases") {
        let text = case["selector"].as_str().expect("a selector");
        let Ok(path) = Path::parse(text) else { continue };
        let document = Json::from(case["document"].clone());
        let found = select(&path, &document);
        assert!(same_places(&found, &as_query(text, &document)), "{text}");
        if let PathForm::Plain { steps, each: false } = path.form() {
            plain += 1;
            let places = vec![std::cell::Cell::new(3); steps.len()];
            for _ in 0..2 {
                let near: Vec<_> = first_near(steps, &document, &places).into_iter().collect();
                assert!(same_places(&near, &found), "{text}");
            }
        }
        let Json::Array(items) = &document else { continue };
        if !path.is_filter() || text.contains('$') && text[1..].contains('$') {
            continue;
        }
        filters += 1;
        let predicate = Predicate::Path(path.clone());
        for item in items {
            let is_found = found.iter().any(|found| std::ptr::eq(*found, item));
            assert_eq!(matches(&predicate, item, &minijinja::context! {}), Ok(is_found), "{text} {item:?}");
        }
    }
    assert!(plain > 60 && filters > 150, "{plain} {filters}");
}

/// A value, a member or an item, in a filter.
fn any_filter() -> impl Strategy<Value = String> {
    let operand = prop_oneof![
        Just("@".to_owned()),
        Just("@.a".to_owned()),
        Just("@['é']".to_owned()),
        Just("@[0]".to_owned()),
        Just("@[-1]".to_owned()),
        Just("1".to_owned()),
        Just("-1.5".to_owned()),
        Just("'a'".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("length(@)".to_owned()),
        Just("count(@.*)".to_owned()),
        Just("value(@..b)".to_owned()),
    ];
    let operator = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let leaf = prop_oneof![
        (operand.clone(), operator, operand).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        prop::sample::select(vec!["@.a", "!@.b", "@.*", "@..a", "match(@.a, 'a.*')", "!search(@, 'b')", "@[?@ == 1]"])
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

proptest! {
    /// `not` turns a filter around, `==` is the opposite of `!=`, and a record alone is what it is in a list.
    #[test]
    fn filters_are_logic(document in any_json(), filter in any_filter()) {
        let Ok(path) = Path::parse(&format!("$[?{filter}]")) else { return Ok(()) };
        let holds = |text: String| matches(&Predicate::Path(self::path(&text)), &document, &minijinja::context! {});
        let list = Json::Array(vec![document.clone()].into());
        prop_assert_eq!(holds(format!("$[?{filter}]")), Ok(!select(&path, &list).is_empty()), "{}", filter);
        prop_assert_eq!(holds(format!("$[?!({filter})]")), holds(format!("$[?{filter}]")).map(|it| !it), "{}", filter);
        for (one, other) in [(" == ", " != "), (" != ", " == ")] {
            if filter.matches(one).count() == 1 && !filter.contains("&&") && !filter.contains("||") && !filter.contains("[?") {
                let turned = format!("$[?{}]", filter.replace(one, other));
                prop_assert_eq!(holds(turned), holds(format!("$[?{filter}]")).map(|it| !it), "{}", filter);
            }
        }
    }
}
