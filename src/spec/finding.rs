//! What a JSON Schema says of a document, in the words of the domain.

use std::collections::{HashMap, HashSet};

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use serde_json::Value;

use super::elsewhere;
use super::schema::{Kind, is_choice, keys, schema_at};
use super::syntax::shorten;
use super::yaml::Part;
use crate::diagnostic::{Segment, did_you_mean, suggest};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// the diagnostic's code
    pub code: &'static str,
    /// the node
    pub path: Vec<Segment>,
    /// its key or its value
    pub part: Part,
    /// the key that the node lacks, where that is the mistake
    pub missing: Option<String>,
    /// a lowercase fragment
    pub message: String,
    /// the likely fix
    pub hint: Option<String>,
}

impl Finding {
    fn value(code: &'static str, path: Vec<Segment>, message: String, hint: Option<String>) -> Self {
        Self { code, path, part: Part::Value, missing: None, message, hint }
    }

    fn key(code: &'static str, mut path: Vec<Segment>, key: &str, message: String, hint: Option<String>) -> Self {
        path.push(Segment::Key(key.to_owned()));
        Self { code, path, part: Part::Key, missing: None, message, hint }
    }
}

/// Checks a document: all mistakes, in the order of the document's schema.
pub fn check(kind: Kind, document: &Value) -> Vec<Finding> {
    let (schema, validator) = kind.compiled();
    let mut findings = Vec::new();
    for error in validator.iter_errors(document) {
        translate(schema, &error, &mut findings);
    }
    points_in_whole_numbers(schema, document, &mut Vec::new(), &mut findings);
    findings
}

/// To JSON Schema `100.0` is a whole number, to the spec types it is none.
fn points_in_whole_numbers(schema: &Value, value: &Value, path: &mut Vec<Segment>, findings: &mut Vec<Finding>) {
    let mut inside = |segment: Segment, value: &Value| {
        path.push(segment);
        points_in_whole_numbers(schema, value, path, findings);
        path.pop();
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| inside(Segment::Key(key.clone()), value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| inside(Segment::Index(index), value)),
        Value::Number(number) if number.is_f64() => {
            let node = schema_at(schema, path);
            if node.and_then(|node| node.get("type")).is_some_and(|of| of == "integer")
                && number.as_f64().is_some_and(|n| n.fract() == 0.0)
            {
                let message = format!("expected a whole number, found the number `{number}`");
                findings.push(Finding::value(
                    "E015",
                    path.clone(),
                    message,
                    Some("write it without a point".to_owned()),
                ));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Without those that only follow from another: a key that is missing because it is misspelt or stands elsewhere.
pub fn causes(findings: Vec<Finding>) -> Vec<Finding> {
    let mut unknown: HashSet<String> = HashSet::new();
    let mut unknown_in: HashMap<Vec<Segment>, Vec<(String, Option<String>)>> = HashMap::new();
    for finding in findings.iter().filter(|finding| finding.code == "E010") {
        if let Some((Segment::Key(key), parent)) = finding.path.split_last() {
            unknown.insert(key.clone());
            unknown_in.entry(parent.to_vec()).or_default().push((key.clone(), finding.hint.clone()));
        }
    }
    let follows = |finding: &Finding| {
        finding.missing.as_ref().is_some_and(|missing| {
            let inside = inside(missing);
            let means = |(key, hint): &(String, Option<String>)| {
                did_you_mean(key, [missing.as_str()]).is_some()
                    || elsewhere::ours(key, &[missing.as_str()]).is_some()
                    || hint.as_ref() == Some(&inside)
            };
            unknown.contains(missing) || unknown_in.get(&finding.path).into_iter().flatten().any(means)
        })
    };
    findings.into_iter().filter(|finding| !follows(finding)).collect()
}

/// Whether a text is a JSON Schema, and the place in it that is not.
///
/// # Errors
/// The node that cannot stand where it stands, and why, as a fragment.
pub fn check_schema(schema: &Value) -> Result<(), (Vec<Segment>, String)> {
    jsonschema::validator_for(schema).map(drop).map_err(|error| {
        let reason = match error.kind() {
            ValidationErrorKind::AnyOf { .. }
            | ValidationErrorKind::OneOfNotValid { .. }
            | ValidationErrorKind::Enum { .. } => {
                format!("{} cannot stand here", found(error.instance()))
            }
            ValidationErrorKind::Type { kind: TypeKind::Single(one) } => {
                format!("expected {}, found {}", in_words(&one.to_string()), found(error.instance()))
            }
            _ => lower_first(&error.masked_with("this").to_string().replace('"', "`")),
        };
        (segments(&error), reason)
    })
}

/// Checks a value against a JSON Schema that a YAML file holds (`config`, `input`).
///
/// # Errors
/// When the schema itself is none.
pub fn check_against(schema: &Value, value: &Value) -> Result<Vec<Finding>, String> {
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    let mut findings = Vec::new();
    for error in validator.iter_errors(value) {
        translate(schema, &error, &mut findings);
    }
    Ok(findings)
}

fn translate(schema: &Value, error: &ValidationError<'_>, findings: &mut Vec<Finding>) {
    let path = segments(error);
    let value: &Value = error.instance();
    let node = schema_at(schema, &path);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } if is_choice(node) => {
            unknown_choice(schema, path, value, unexpected, findings);
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            for key in unexpected {
                // far more than are ever told
                let hint = if findings.len() < HINTS_MAX { unknown_key_hint(schema, &path, key) } else { None };
                findings.push(Finding::key("E010", path.clone(), key, unknown(key), hint));
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let mut finding =
                Finding::value("E011", path, format!("the key `{name}` is missing"), missing_hint(node, name));
            finding.missing = Some(name.to_owned());
            findings.push(finding);
        }
        // a value of another type is none of the choices either, and one that was forgotten is no wrong choice
        ValidationErrorKind::Type { .. } if !value.is_null() && node.is_some_and(|node| node.get("enum").is_some()) => {
        }
        ValidationErrorKind::Enum { .. } if value.is_null() && node.is_some_and(|node| node.get("type").is_some()) => {}
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(one) => in_words(&one.to_string()),
                TypeKind::Multiple(many) => either(many.iter().map(|one| in_words(&one.to_string()))),
            };
            findings.push(wrong_type(schema, node, path, &expected, value));
        }
        ValidationErrorKind::Enum { options } => {
            let names: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let message = format!("{} is not one of the choices", found(value));
            let written = value.as_str().unwrap_or_default();
            let hint = elsewhere::ours(written, &names).map(called_here).or_else(|| suggest(written, names));
            findings.push(Finding::value("E013", path, message, hint));
        }
        // one that has unknown keys is spoken of above
        ValidationErrorKind::MaxProperties { limit: 1 } | ValidationErrorKind::MinProperties { limit: 1 }
            if is_choice(node) =>
        {
            choice_of_none_or_many(node, path, value, findings);
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            branches(schema, error, context, path, findings);
        }
        other => {
            let hint = description_at(schema, &path);
            findings.push(Finding::value("E015", path, out_of_bounds(other, value, error), hint));
        }
    }
}

const HINTS_MAX: usize = 1_000;

fn segments(error: &ValidationError<'_>) -> Vec<Segment> {
    let segment = |segment| match segment {
        LocationSegment::Property(name) => Segment::Key(name.to_string()),
        LocationSegment::Index(index) => Segment::Index(index),
    };
    error.instance_path().iter().map(segment).collect()
}

fn unknown(key: &str) -> String {
    format!("`{}` is not a key here", shorten(key))
}

/// Words that other tools use for the key that names a choice.
const KIND_WORDS: [&str; 6] = ["type", "kind", "strategy", "method", "mode", "name"];

/// A choice with a key that is none of its kinds.
fn unknown_choice(
    schema: &Value,
    path: Vec<Segment>,
    value: &Value,
    unexpected: &[String],
    findings: &mut Vec<Finding>,
) {
    let node = schema_at(schema, &path);
    let kinds = keys(node);
    let named = unexpected.iter().find_map(|key| {
        let wrong = value.get(key).and_then(Value::as_str).filter(|_| KIND_WORDS.contains(&key.as_str()))?;
        let kind = kinds.iter().find(|kind| **kind == wrong).copied();
        let kind = kind.or_else(|| elsewhere::ours(wrong, &kinds));
        Some((key, kind.or_else(|| did_you_mean(wrong, kinds.iter().copied()))?))
    });
    if let Some((key, kind)) = named {
        let message = format!("the kind is a key here, never the value of `{key}`");
        let hint = Some(match unexpected.len() {
            _ if value.get(kind).is_some() => format!("take the line out: `{kind}` says it"),
            1 => format!("write `{{ {kind}: {{}} }}`"),
            _ => format!("write `{{ {kind}: {{ … }} }}`, with the other keys inside"),
        });
        findings.push(Finding::key("E014", path, key, message, hint));
        return;
    }
    let chosen =
        value.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| kinds.contains(&name.as_str()));
    for key in unexpected {
        let takes = |kind: &str| {
            let inner = [path.as_slice(), &[Segment::Key(kind.to_owned()), Segment::Key(key.clone())]].concat();
            let known = keys(schema_at(schema, &inner[..inner.len() - 1])).contains(&key.as_str());
            // a map is no text of the same name
            known && !(value[key].is_object() && is_text(schema_at(schema, &inner)))
        };
        let meant = || elsewhere::ours(key, &kinds).or_else(|| did_you_mean(key, kinds.iter().copied()));
        let hint = match (chosen, path.last()) {
            // far more than are ever told
            _ if findings.len() >= HINTS_MAX => None,
            (Some(chosen), _) if takes(chosen) => Some(inside_choice(chosen)),
            (_, Some(Segment::Key(name))) if kinds.contains(&name.as_str()) => Some(name_first(name)),
            _ if meant().is_some() => unknown_key_hint(schema, &path, key),
            _ => match kinds.iter().find(|kind| takes(kind)) {
                Some(kind) => Some(inside_choice(kind)),
                None => suggest(key, kinds.iter().copied()),
            },
        };
        findings.push(Finding::key("E010", path.clone(), key, unknown(key), hint));
    }
}

fn inside_choice(kind: &str) -> String {
    format!("it belongs inside `{kind}: {{ … }}`")
}

fn inside(key: &str) -> String {
    format!("it belongs inside `{key}:`")
}

fn called_here(word: &str) -> String {
    format!("here that is `{word}`")
}

fn is_text(node: Option<&Value>) -> bool {
    node.is_some_and(|node| node.get("type").is_some_and(|of| of == "string"))
}

/// `auth: { bearer: {} }`: the kind stands where a name belongs.
fn name_first(kind: &str) -> String {
    format!("`{kind}` stands where a name of your choice belongs: `main: {{ {kind}: {{ … }} }}`")
}

fn choice_of_none_or_many(node: Option<&Value>, path: Vec<Segment>, value: &Value, findings: &mut Vec<Finding>) {
    let kinds = keys(node);
    let given: Vec<&str> = value.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    if given.iter().any(|name| !kinds.contains(name)) {
        return;
    }
    let (message, hint) = match (given.as_slice(), path.last()) {
        ([], Some(Segment::Key(name))) if kinds.contains(&name.as_str()) => {
            ("a map with exactly one key belongs here".to_owned(), Some(name_first(name)))
        }
        ([], _) => ("this map is empty; it takes exactly one key".to_owned(), suggest("", kinds)),
        (many, _) => {
            let names = many.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
            (format!("this map takes exactly one key, and has {names}"), Some("keep one of them".to_owned()))
        }
    };
    findings.push(Finding::value("E014", path, message, hint));
}

fn unknown_key_hint(schema: &Value, path: &[Segment], key: &str) -> Option<String> {
    let known = keys(schema_at(schema, path));
    if let Some(word) = elsewhere::ours(key, &known) {
        return Some(called_here(word));
    }
    if let Some(name) = did_you_mean(key, known.iter().copied()) {
        return Some(format!("did you mean `{name}`?"));
    }
    if key == "<<" {
        return Some("merging maps with `<<` is not part of the language".to_owned());
    }
    if let Some((name, _)) = key.split_once(':').filter(|(name, _)| known.contains(name)) {
        return Some(format!("a space belongs after the `:` of `{name}:`"));
    }
    // a key that was indented too far, or not far enough
    for up in (0..path.len()).rev() {
        if keys(schema_at(schema, &path[..up])).contains(&key)
            && let Segment::Key(beside) = &path[up]
        {
            return Some(format!("it belongs beside `{beside}:`, in the same column"));
        }
    }
    let below = known.iter().find(|child| {
        let mut inner = path.to_vec();
        inner.push(Segment::Key((**child).to_owned()));
        let node = schema_at(schema, &inner);
        !is_choice(node) && keys(node).contains(&key)
    });
    match below {
        Some(child) => Some(inside(child)),
        None => suggest(key, known),
    }
}

fn missing_hint(node: Option<&Value>, name: &str) -> Option<String> {
    describe(node, name).or_else(|| {
        let property = node?.get("properties").and_then(|properties| properties.get(name));
        let option = property.and_then(|property| property.get("enum")?.get(0)?.as_str()).unwrap_or("…");
        Some(format!("add `{name}: {option}`"))
    })
}

/// What the nearest key of a path means.
fn description_at(schema: &Value, path: &[Segment]) -> Option<String> {
    let last = path.iter().rposition(|segment| matches!(segment, Segment::Key(_)))?;
    match &path[last] {
        Segment::Key(name) => describe(schema_at(schema, &path[..last]), name),
        Segment::Index(_) => None,
    }
}

fn describe(node: Option<&Value>, name: &str) -> Option<String> {
    let property = node?.get("properties")?.get(name)?;
    let description = property.get("description")?.as_str()?;
    let first = description.split(". ").next().unwrap_or(description).trim_end_matches('.').replace('\n', " ");
    let default = match property.get("default") {
        Some(value @ (Value::Number(_) | Value::String(_) | Value::Bool(_))) => format!(" (default {value})"),
        _ => String::new(),
    };
    Some(format!("`{name}`: {}{default}", lower_first(&first)))
}

fn wrong_type(schema: &Value, node: Option<&Value>, path: Vec<Segment>, expected: &str, value: &Value) -> Finding {
    let kinds = if is_choice(node) { keys(node) } else { Vec::new() };
    let message = match kinds.is_empty() {
        true => format!("expected {expected}, found {}", found(value)),
        false => format!("expected a map with exactly one key, found {}", found(value)),
    };
    let hint = match (expected, value) {
        (_, Value::String(text)) if !kinds.is_empty() => {
            let takes = |kind: &&&str| {
                let of = node.and_then(|node| node.get("properties")?.get(**kind)?.get("x-headwater")?.as_str());
                (text.starts_with('$') && of == Some("path"))
                    || (text.contains("{{") && of == Some("value with templates"))
            };
            match (did_you_mean(text, kinds.iter().copied()), kinds.iter().find(takes)) {
                (Some(kind), _) => Some(format!("write `{{ {kind}: {{}} }}`")),
                (None, Some(kind)) => Some(format!("write `{{ {kind}: {} }}`", quoted(text))),
                (None, None) => suggest("", kinds),
            }
        }
        (_, Value::Null) => Some("write the value, or take the line out".to_owned()),
        ("a map", Value::String(text)) if text.contains(':') && !text.contains("://") && !text.contains("{{") => {
            Some("a space belongs after the `:` of a key".to_owned())
        }
        ("a map", Value::String(text)) => Some(as_map(schema, node, text)),
        ("a map", Value::Array(_)) if path.last() == Some(&Segment::Key("allow".to_owned())) => {
            Some("each has its reason: `{ W080: the API never deletes }`".to_owned())
        }
        ("a map", Value::Array(items)) if !keys(node).is_empty() && !items.iter().any(Value::is_object) => {
            suggest("", keys(node))
        }
        ("a map", Value::Bool(_) | Value::Number(_)) if takes_nothing(node) => Some("write `{}`".to_owned()),
        ("a map", _) if !keys(node).is_empty() && !value.is_array() => suggest("", keys(node)),
        ("text", Value::Array(_)) => Some("one text belongs here, without `[ ]`".to_owned()),
        ("text", Value::Number(number)) if is_duration(node) => Some(format!("write the unit too: `{number}s`")),
        (_, Value::Number(_)) if path.last() == Some(&Segment::Key("schedule".to_owned())) => {
            Some("write `every 15m`, `manual`, or `{ cron: \"0 6 * * 1-5\" }`".to_owned())
        }
        ("text", Value::Number(_) | Value::Bool(_)) => Some(format!("put it in quotes: \"{value}\"")),
        ("text", Value::Object(_)) => {
            Some("a template or path with `{`, `[`, `: ` or ` #` in it needs quotes".to_owned())
        }
        ("a list", Value::String(text)) => Some(format!("write it as a list: `[{}]`", shorten(text))),
        ("a map", Value::Array(_)) => Some("write `name: …` lines, without `-`".to_owned()),
        ("a list", Value::Number(_) | Value::Bool(_)) => Some(format!("write it as a list: `[{value}]`")),
        ("a list", Value::Object(_)) => Some("an item begins with `- `; a list of one is `[{ … }]`".to_owned()),
        ("true or false", _) => Some("write `true` or `false`".to_owned()),
        ("a whole number" | "a number", Value::String(text)) if text.parse::<f64>().is_ok() => {
            Some("take the quotes off".to_owned())
        }
        ("a whole number" | "a number", Value::Array(_)) => Some("one number belongs here, without `[ ]`".to_owned()),
        ("a whole number" | "a number", _) => Some("write it in digits: `100`".to_owned()),
        (expected, Value::Object(_)) if expected.starts_with("text or a list") => {
            Some("write one text, or a list of texts".to_owned())
        }
        _ => None,
    };
    Finding::value("E012", path, message, hint)
}

/// A text where a map belongs, as the map that was probably meant.
fn as_map(schema: &Value, node: Option<&Value>, text: &str) -> String {
    let known = keys(node);
    let quoted = quoted(text);
    let required: Vec<&str> = node
        .and_then(|node| node.get("required")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let property = |key: &str| node.and_then(|node| node.get("properties")?.get(key));
    match (required.as_slice(), text) {
        ([one], _) if takes_text(schema, property(one)) => format!("write `{{ {one}: {quoted} }}`"),
        (_, path) if path.starts_with('/') && known.contains(&"get") => format!("write `{{ get: {quoted} }}`"),
        (_, path) if known.is_empty() && path.starts_with("$.") => {
            let name = path.rsplit('.').next().unwrap_or_default();
            format!("write it by name: `{{ {name}: {quoted} }}`")
        }
        _ if takes_nothing(node) => "write `{}`".to_owned(),
        _ => suggest("", known).unwrap_or_else(|| "write it by name: `{ name: … }`".to_owned()),
    }
}

/// As it is written inside of `{ }`.
fn quoted(text: &str) -> String {
    let plain = !text.contains(['{', '[', ',', '#']) && !text.contains(": ");
    shorten(&if plain { text.to_owned() } else { format!("{text:?}") })
}

/// Whether a text can stand here, alone or as a short form.
fn takes_text(schema: &Value, node: Option<&Value>) -> bool {
    let named = node.and_then(|node| node.get("$ref")?.as_str());
    let node = named.map_or(node, |named| schema.pointer(named.trim_start_matches('#')));
    let forms = node.and_then(|node| node.get("anyOf")?.as_array());
    is_text(node) || forms.into_iter().flatten().any(|form| is_text(Some(form)))
}

/// Whether nothing can stand in a map: the key that it is the value of says all.
fn takes_nothing(node: Option<&Value>) -> bool {
    keys(node).is_empty() && node.is_some_and(|node| node.get("additionalProperties") == Some(&Value::Bool(false)))
}

fn is_duration(node: Option<&Value>) -> bool {
    node.is_some_and(|node| node.get("x-headwater").is_some_and(|of| of == "duration" || of == "span"))
}

/// None of several branches holds: what the branch that was meant says, which is the one whose type the value has.
fn branches(
    schema: &Value,
    error: &ValidationError<'_>,
    context: &[Vec<ValidationError<'static>>],
    path: Vec<Segment>,
    findings: &mut Vec<Finding>,
) {
    let is_type_of_node = |inner: &&ValidationError<'static>| {
        matches!(inner.kind(), ValidationErrorKind::Type { .. })
            && inner.instance_path().as_str() == error.instance_path().as_str()
    };
    if let Some(errors) = context.iter().find(|errors| !errors.iter().any(|inner| is_type_of_node(&inner))) {
        for inner in errors {
            translate(schema, inner, findings);
        }
        return;
    }
    let types = context.iter().flatten().filter(is_type_of_node).filter_map(|inner| match inner.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(one) } => Some(in_words(&one.to_string())),
        _ => None,
    });
    findings.push(wrong_type(schema, None, path, &either(types), error.instance()));
}

/// The rarer rules: bounds of numbers, lists, maps and texts.
fn out_of_bounds(kind: &ValidationErrorKind, value: &Value, error: &ValidationError<'_>) -> String {
    match kind {
        ValidationErrorKind::Minimum { limit } => format!("`{value}` is too small; {} is the least", plain(limit)),
        ValidationErrorKind::Maximum { limit } => format!("`{value}` is too large; {} is the most", plain(limit)),
        ValidationErrorKind::ExclusiveMinimum { limit } => {
            format!("`{value}` is too small; it must be more than {}", plain(limit))
        }
        ValidationErrorKind::ExclusiveMaximum { limit } => {
            format!("`{value}` is too large; it must be less than {}", plain(limit))
        }
        ValidationErrorKind::MinItems { limit: 1 } => "this list is empty".to_owned(),
        ValidationErrorKind::MinProperties { limit: 1 } => "this map is empty".to_owned(),
        ValidationErrorKind::MinLength { limit: 1 } => "this text is empty".to_owned(),
        ValidationErrorKind::Pattern { pattern } => format!("{} does not match the pattern `{pattern}`", found(value)),
        ValidationErrorKind::Constant { expected_value } => {
            format!("expected `{expected_value}`, found {}", found(value))
        }
        _ => lower_first(&error.masked_with("this").to_string().replace('"', "`")),
    }
}

/// `1` and not `1.0`
fn plain(number: &Value) -> String {
    number.as_f64().map_or_else(|| number.to_string(), |number| number.to_string())
}

fn in_words(json_type: &str) -> String {
    let words = match json_type {
        "object" => "a map",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "true or false",
        other => other,
    };
    words.to_owned()
}

fn either(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join(" or ")
}

fn found(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(value) => format!("the number `{value}`"),
        Value::String(value) => format!("the text `{}`", shorten(value)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
    }
}

fn lower_first(text: &str) -> String {
    // `GET …` and `${NAME}` stay as they are
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().collect::<String>() + chars.as_str()
        }
        _ => text.to_owned(),
    }
}
