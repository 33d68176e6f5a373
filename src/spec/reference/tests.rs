use proptest::prelude::*;
use serde_json::{Value, json};

use super::excerpt::Excerpts;
use super::layout::layout;
use super::outline::outline;
use super::{Example, Reference, Subject, reference};
use crate::diagnostic::Segment;
use crate::spec::yaml;

fn subject<'s>(name: &'s str, schema: &'s Value) -> Subject<'s> {
    Subject { name, folder: "`somewhere/`", schema }
}

fn example(subject: &str, name: &str, text: &str) -> Example {
    Example { subject: subject.to_owned(), name: format!("project/{name}.yaml"), text: text.to_owned() }
}

fn page<'r>(reference: &'r Reference, file: &str) -> &'r str {
    &reference.pages.iter().find(|page| page.file == file).expect("a page").text
}

fn map(about: &str, properties: &Value) -> Value {
    json!({ "type": "object", "description": about, "properties": properties, "additionalProperties": false })
}

/// A list of steps, each of which may hold steps again; `when` is shared; `more` is a map of either a text or a choice.
fn recursive() -> Value {
    json!({
        "title": "Recipe",
        "type": "object",
        "description": "What to do.",
        "properties": {
            "steps": { "description": "In order.", "anyOf": [{ "$ref": "#/$defs/Step" }, { "type": "array", "items": { "$ref": "#/$defs/Step" } }] },
            "more": { "description": "By name.", "type": "object", "additionalProperties": { "$ref": "#/$defs/More" } },
            "until": { "description": "The end.", "$ref": "#/$defs/When" },
        },
        "required": ["steps"],
        "$defs": {
            "Step": map("One step.", &json!({
                "do": { "type": "string", "description": "A | B with <tags> and `<code>`.", "x-headwater": ["path", "template"] },
                "then": { "type": "array", "items": { "$ref": "#/$defs/Step" }, "description": "Steps behind it." },
                "limit": { "type": "integer", "minimum": 1, "maximum": 9, "default": 3, "description": "At most." },
                "when": { "$ref": "#/$defs/When", "description": "Only then." },
            })),
            "When": map("A condition.", &json!({ "is": { "type": "boolean", "description": "Is it?" } })),
            "More": {
                "description": "One of them.",
                "anyOf": [{ "type": "string", "x-headwater": "path" }, { "$ref": "#/$defs/MoreLong" }],
            },
            "MoreLong": {
                "type": "object",
                "minProperties": 1,
                "allOf": [{ "maxProperties": 1 }],
                "additionalProperties": false,
                "properties": {
                    "none": { "type": "object", "additionalProperties": false, "description": "Nothing." },
                    "fixed": { "type": "object", "properties": { "to": { "type": "number", "description": "A number." } }, "description": "A value." },
                    "how": { "description": "A name.", "type": "string", "enum": ["fast", "slow"], "markdownEnumDescriptions": ["Quick.", "Not."] },
                },
            },
        },
    })
}

const RECIPE: &str = "\
# yaml-language-server: $schema=x.json
steps:
  - do: $.a
    # three times
    limit: 3
    then:
    - do: $.b
      when: { is: true }
  - do: $.c
more:
  short: $.x
  none: { none: {} }
  fixed:
    fixed:
      to: 1.5
  how: { how: fast }
until: { is: false }
";

#[test]
#[expect(clippy::disallowed_macros, reason = "insta looks for the workspace")]
fn types_that_hold_themselves_are_described_once() {
    let schema = recursive();
    let made = reference(&[subject("recipe", &schema)], &[example("recipe", "one", RECIPE)]);
    assert_eq!(made.without_example, Vec::<String>::new());
    insta::assert_snapshot!(page(&made, "recipe.md"));
}

#[test]
fn what_nobody_shows_or_explains_is_told() {
    let mut schema = recursive();
    schema["$defs"]["Step"]["properties"]["limit"]["description"] = json!("At most (default 3).");
    schema["$defs"]["When"]["properties"]["is"].as_object_mut().expect("a map").remove("description");
    let examples = [example("recipe", "one", "steps: { do: $.a }\n"), example("recipe", "two", "steps: [\n")];
    let made = reference(&[subject("recipe", &schema)], &examples);
    let missing: Vec<&str> = made.without_example.iter().map(|text| text.split(": a ").next().expect("text")).collect();
    assert_eq!(
        missing[1..],
        [
            "recipe: until",
            "recipe: steps.limit",
            "recipe: steps.then",
            "recipe: steps.when",
            "recipe: more.<name>.(short form)",
            "recipe: more.<name>.how",
            "recipe: more.<name>.none",
            "recipe: more.<name>.fixed.to",
            "recipe: until.is",
        ]
    );
    assert!(missing[0].starts_with("project/two.yaml: "), "{missing:?}");
    assert_eq!(made.without_meaning, ["recipe: until.is"]);
    assert_eq!(made.default_in_prose, ["recipe: steps.limit: At most (default 3)."]);
}

#[test]
fn a_type_of_several_kinds_stands_on_one_page() {
    let shared = map("Shared.", &json!({ "a": { "type": "string", "description": "A." } }));
    let near = json!({ "title": "Near", "type": "object", "properties": {
        "shared": { "$ref": "#/$defs/Shared", "description": "Here." },
        "own": map("Own.", &json!({ "b": { "type": "string", "description": "B." } })),
    }, "$defs": { "Shared": shared } });
    // `near` inside of `far` is left to the page of `near`
    let far = json!({ "title": "Far", "type": "object", "properties": {
        "shared": { "$ref": "#/$defs/Shared", "description": "There." },
        "near": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/Near" }], "description": "By name, or written here." },
    }, "$defs": { "Shared": shared, "Near": near } });
    let subjects = [subject("far", &far), subject("near", &near)];
    let layout = layout(&subjects, &outline(&subjects));
    let places: Vec<Vec<&str>> =
        layout.pages.iter().map(|page| page.iter().map(|placed| placed.path.as_str()).collect()).collect();
    assert_eq!(places, [vec![""], vec!["", "shared", "own"]]);
    let examples = [
        example("far", "far", "shared: { a: x }\nnear: { shared: { a: y } }\n"),
        example("near", "near", "own: { b: x }\n"),
    ];
    let made = reference(&subjects, &examples);
    assert_eq!(made.without_example, Vec::<String>::new());
    let far = page(&made, "far.md");
    assert!(far.contains("| `shared` | [map](near.md#shared) | There. |"), "{far}");
    assert!(far.contains("| `near` | text or [near](near.md) | By name, or written here. |"), "{far}");
    let near = page(&made, "near.md");
    assert!(near.contains("Also at [far: `shared`](far.md#far)."), "{near}");
    assert!(near.contains("```yaml\nshared: { a: x }\n```"), "{near}");
}

/// How the type of a word is told.
#[test]
fn types_are_told_in_words() {
    let told = |schema: Value| {
        let mut word = schema;
        word["description"] = json!("M.");
        let schema = json!({ "title": "T", "type": "object", "properties": { "w": word } });
        let made = reference(&[subject("t", &schema)], &[]);
        let row = page(&made, "t.md").lines().find(|line| line.starts_with("| `w` | ")).expect("a row").to_owned();
        row.trim_start_matches("| `w` | ").trim_end_matches(" | M. |").to_owned()
    };
    let text = json!({ "type": "string" });
    assert_eq!(told(text.clone()), "text");
    assert_eq!(told(json!({ "type": "string", "x-headwater": "path" })), "path");
    assert_eq!(told(json!({ "type": "array", "items": text, "x-headwater": "duration" })), "list of durations");
    assert_eq!(
        told(json!({ "type": "object", "additionalProperties": text, "x-headwater": "template" })),
        "map of templates"
    );
    let one_or_more = json!({ "anyOf": [text, { "type": "array", "items": text }], "x-headwater": "path" });
    assert_eq!(told(one_or_more), "path or list of paths");
    assert_eq!(told(json!({ "x-headwater": "JSON Schema" })), "JSON Schema");
    assert_eq!(told(json!({})), "any value");
    assert_eq!(told(json!({ "type": "object", "additionalProperties": true, "default": {} })), "map");
    assert_eq!(told(json!({ "type": "boolean", "default": false })), "true or false, default `false`");
    assert_eq!(told(json!({ "type": "integer", "minimum": 1 })), "whole number, 1 or more");
    assert_eq!(told(json!({ "type": "integer", "minimum": 0 })), "whole number");
    assert_eq!(told(json!({ "type": "number", "minimum": 0.0, "maximum": 1.0 })), "number, 0 to 1");
    let statuses = json!({ "type": "array", "items": { "type": "integer", "minimum": 300, "maximum": 599 }, "default": [429, 503] });
    assert_eq!(told(statuses), "list of whole numbers, 300 to 599, default `[429, 503]`");
    assert_eq!(told(json!({ "type": "string", "default": "{{ a | b }}" })), "text, default `{{ a \\| b }}`");
    assert_eq!(told(json!({ "enum": ["a", "b"] })), "`a` or `b`");
    assert_eq!(told(json!({ "oneOf": [{ "const": "manual" }, { "type": "array" }] })), "`manual` or list");
}

/// A YAML text as people write them.
#[derive(Debug, Clone)]
enum Node {
    Scalar,
    Lines,
    Map { flow: bool, members: Vec<Node> },
    List { flow: bool, indented: bool, items: Vec<Node> },
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop_oneof![3 => Just(Node::Scalar), 1 => Just(Node::Lines)];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            (any::<bool>(), prop::collection::vec(inner.clone(), 1..4))
                .prop_map(|(flow, members)| Node::Map { flow, members }),
            (any::<bool>(), any::<bool>(), prop::collection::vec(inner, 1..4))
                .prop_map(|(flow, indented, items)| Node::List { flow, indented, items }),
        ]
    })
}

/// Writes a node behind its key or `-`; the text ends with a line end. Every value is another one.
fn write(node: &Node, indent: usize, in_item: bool, count: &mut usize, out: &mut String) {
    *count += 1;
    let pad = " ".repeat(indent);
    match node {
        Node::Scalar => *out += &format!(" v{count}\n"),
        Node::Lines => *out += &format!(" |\n{pad}  - text {count}\n\n{pad}  # no comment\n"),
        Node::Map { flow: true, .. } | Node::List { flow: true, .. } => {
            let mut line = String::from(" ");
            write_flow(node, count, &mut line);
            *out += &(line + "\n");
        }
        Node::Map { members, .. } => {
            for (at, member) in members.iter().enumerate() {
                if at > 0 || !in_item {
                    let comment = if count.is_multiple_of(3) { format!("{pad}# about k{at}\n") } else { String::new() };
                    let blank = if count.is_multiple_of(4) { "\n" } else { "" };
                    *out += &format!("{}{blank}{comment}{pad}", if at == 0 { "\n" } else { "" });
                } else {
                    out.push(' ');
                }
                *out += &format!("k{at}:");
                write(member, indent + 2, false, count, out);
            }
        }
        Node::List { indented, items, .. } => {
            // below a key a list may stand in its column
            let own = if *indented || in_item || indent < 2 { indent } else { indent - 2 };
            for (at, item) in items.iter().enumerate() {
                if at == 0 && in_item {
                    out.push(' ');
                } else {
                    *out += &format!("{}{}", if at == 0 { "\n" } else { "" }, " ".repeat(own));
                }
                out.push('-');
                write(item, own + 2, true, count, out);
            }
        }
    }
}

fn write_flow(node: &Node, count: &mut usize, out: &mut String) {
    *count += 1;
    match node {
        Node::Scalar | Node::Lines => *out += &format!("v{count}"),
        Node::Map { members, .. } => {
            out.push_str("{ ");
            for (at, member) in members.iter().enumerate() {
                *out += &format!("{}k{at}: ", if at == 0 { "" } else { ", " });
                write_flow(member, count, out);
            }
            out.push_str(" }");
        }
        Node::List { items, .. } => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_flow(item, count, out);
            }
            out.push(']');
        }
    }
}

fn paths(value: &Value, path: &mut Vec<Segment>, found: &mut Vec<Vec<Segment>>) {
    if !path.is_empty() {
        found.push(path.clone());
    }
    let mut below = |segment, inner| {
        path.push(segment);
        paths(inner, path, found);
        path.pop();
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, inner)| below(Segment::Key(key.clone()), inner)),
        Value::Array(items) => items.iter().enumerate().for_each(|(at, inner)| below(Segment::Index(at), inner)),
        _ => {}
    }
}

/// Whether `part` is what is left of `whole` when members and items are taken out.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, inner)| whole.get(key).is_some_and(|other| is_part(inner, other)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            let mut rest = whole.iter();
            part.iter().all(|item| rest.any(|other| is_part(item, other)))
        }
        _ => part == whole,
    }
}

/// All the scalars in a value, as text.
fn scalars(value: &Value) -> Vec<String> {
    match value {
        Value::Object(members) => members.values().flat_map(scalars).collect(),
        Value::Array(items) => items.iter().flat_map(scalars).collect(),
        other => vec![other.to_string()],
    }
}

fn at<'v>(value: &'v Value, path: &[Segment]) -> &'v Value {
    path.iter().fold(value, |value, segment| match segment {
        Segment::Key(key) => &value[key],
        Segment::Index(index) => &value[index],
    })
}

proptest! {
    #[test]
    fn what_is_cut_out_is_a_part_of_the_document(
        members in prop::collection::vec(node(), 1..4),
        picks in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut text = String::new();
        write(&Node::Map { flow: false, members }, 0, false, &mut 0, &mut text);
        let whole = yaml::parse(&text).expect("the test writes YAML");
        let mut all = Vec::new();
        paths(&whole, &mut Vec::new(), &mut all);
        let excerpts = Excerpts::new(&text);
        let picked: Vec<&Vec<Segment>> = picks.iter().map(|pick| pick.get(&all)).collect();
        let entries: Vec<_> = picked.iter().map(|path| excerpts.entry(path).expect("no document is in brackets")).collect();
        let cut = excerpts.cut(&entries);
        let part = match yaml::parse(&cut) {
            Ok(part) => part,
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}\n{cut}\n--- out of\n{text}"))),
        };
        prop_assert!(is_part(&part, &whole), "{cut}\n--- out of\n{text}");
        let shown = scalars(&part);
        for path in picked {
            let wanted = scalars(at(&whole, path));
            prop_assert!(wanted.iter().all(|scalar| shown.contains(scalar)), "{path:?}\n{cut}\n--- out of\n{text}");
        }
        // nothing but what was asked for and the brackets it stands in
        let lines: usize = entries.iter().map(|entry| entry.lines.len()).sum();
        let keys: usize = picked_depth(&all, &picks);
        prop_assert!(cut.lines().count() <= lines + keys, "{cut}\n--- out of\n{text}");
    }
}

fn picked_depth(all: &[Vec<Segment>], picks: &[prop::sample::Index]) -> usize {
    picks.iter().map(|pick| pick.get(all).len()).sum()
}
