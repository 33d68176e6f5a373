//! JSON Schemas made from the spec types, and what they say of a document.

use std::fmt;
use std::sync::LazyLock;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::LocationSegment;
use jsonschema::{ValidationError, Validator};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::yaml::Part;
use super::{ModelSpec, ProjectSpec, ProviderSpec, SyncSpec};
use crate::diagnostic::{Segment, suggest};

/// The kinds of YAML documents. A document's kind is told by the key that names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `headwater.yaml`
    Project,
    /// `providers/<name>.yaml`
    Provider,
    /// `integrations/<provider>/syncs/<name>.yaml`
    Sync,
    /// `integrations/<provider>/models/<Name>.yaml`
    Model,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Project, Self::Provider, Self::Sync, Self::Model];

    /// Its name: the schema's file name without `.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Provider => "provider",
            Self::Sync => "sync",
            Self::Model => "model",
        }
    }

    /// The JSON Schema (draft 2020-12) of its documents.
    pub fn schema(self) -> &'static Value {
        &self.compiled().0
    }

    fn compiled(self) -> &'static (Value, Validator) {
        static COMPILED: LazyLock<[(Value, Validator); 4]> = LazyLock::new(|| {
            Kind::ALL.map(|kind| {
                let schema = kind.generate();
                let validator = jsonschema::validator_for(&schema).expect("schemars makes valid schemas");
                (schema, validator)
            })
        });
        &COMPILED[self as usize]
    }

    fn generate(self) -> Value {
        let generator = SchemaSettings::draft2020_12().into_generator();
        let schema = match self {
            Self::Project => generator.into_root_schema_for::<ProjectSpec>(),
            Self::Provider => generator.into_root_schema_for::<ProviderSpec>(),
            Self::Sync => generator.into_root_schema_for::<SyncSpec>(),
            Self::Model => generator.into_root_schema_for::<ModelSpec>(),
        };
        let mut schema = schema.to_value();
        tidy(&mut schema);
        schema
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Makes generated schemas say what headwater means: an optional key is left out, never null; a choice is a map with exactly one key.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(map) => {
            map.values_mut().for_each(tidy);
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".into(), only);
                }
            }
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            drop_null_branch(map);
            merge_choice(map);
        }
        _ => {}
    }
}

fn drop_null_branch(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.get_mut("anyOf") else { return };
    branches.retain(|branch| branch != &json!({ "type": "null" }));
    if branches.len() == 1
        && let Some(Value::Object(only)) = branches.pop()
    {
        map.remove("anyOf");
        for (key, value) in only {
            map.entry(key).or_insert(value);
        }
    }
}

fn merge_choice(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.get("oneOf") else { return };
    let mut properties = Map::new();
    for branch in branches {
        let Some(Value::Object(one)) = branch.get("properties") else {
            return merge_names(map);
        };
        for (name, value) in one {
            let mut value = value.clone();
            if let (Some(description), Value::Object(value)) = (branch.get("description"), &mut value) {
                value.insert("description".into(), description.clone());
            }
            properties.insert(name.clone(), value);
        }
    }
    map.remove("oneOf");
    map.insert("type".into(), "object".into());
    map.insert("properties".into(), properties.into());
    map.insert("additionalProperties".into(), false.into());
    map.insert("minProperties".into(), 1.into());
    map.insert("maxProperties".into(), 1.into());
}

/// `oneOf` of constants with descriptions: an `enum`, which editors complete and whose errors are plain.
fn merge_names(map: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = map.get("oneOf") else { return };
    let names: Vec<Value> = branches.iter().filter_map(|branch| branch.get("const").cloned()).collect();
    if names.len() == branches.len() {
        let meanings: Vec<Value> =
            branches.iter().map(|branch| branch.get("description").cloned().unwrap_or_default()).collect();
        map.remove("oneOf");
        map.insert("type".into(), "string".into());
        map.insert("enum".into(), names.into());
        map.insert("markdownEnumDescriptions".into(), meanings.into());
    }
}

/// What a schema says of a document: one mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// the diagnostic's code
    pub code: &'static str,
    /// the node
    pub path: Vec<Segment>,
    /// its key or its value
    pub part: Part,
    /// a lowercase fragment
    pub message: String,
    /// the likely fix
    pub hint: Option<String>,
}

/// Checks a document: all mistakes, in the order of the document's schema.
pub fn check(kind: Kind, document: &Value) -> Vec<Finding> {
    let (schema, validator) = kind.compiled();
    let mut findings = Vec::new();
    for error in validator.iter_errors(document) {
        translate(schema, &error, &[], &mut findings);
    }
    findings
}

/// Checks a value against a JSON Schema that a YAML file holds (`config`, `input`).
///
/// # Errors
/// When the schema itself is none.
pub fn check_against(schema: &Value, value: &Value) -> Result<Vec<Finding>, String> {
    let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
    let mut findings = Vec::new();
    for error in validator.iter_errors(value) {
        translate(schema, &error, &[], &mut findings);
    }
    Ok(findings)
}

fn translate(schema: &Value, error: &ValidationError<'_>, base: &[Segment], findings: &mut Vec<Finding>) {
    let mut path = base.to_vec();
    path.extend(error.instance_path().iter().map(|segment| match segment {
        LocationSegment::Property(name) => Segment::Key(name.to_string()),
        LocationSegment::Index(index) => Segment::Index(index),
    }));
    let mut push = |code, part, path: Vec<Segment>, message, hint| {
        findings.push(Finding { code, path, part, message, hint });
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_keys(schema, error.schema_path().as_str());
            for key in unexpected {
                let mut path = path.clone();
                path.push(Segment::Key(key.clone()));
                let message = format!("`{key}` is not a key here");
                push("E010", Part::Key, path, message, suggest(key, known.iter().map(String::as_str)));
            }
        }
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            push("E011", Part::Value, path, format!("the key `{name}` is missing"), None);
        }
        ValidationErrorKind::Type { kind } => {
            let expected = match kind {
                TypeKind::Single(one) => in_words(&one.to_string()),
                TypeKind::Multiple(many) => {
                    many.iter().map(|one| in_words(&one.to_string())).collect::<Vec<_>>().join(" or ")
                }
            };
            let message = format!("expected {expected}, found {}", found(error.instance()));
            let hint = type_hint(&expected, error.instance());
            push("E012", Part::Value, path, message, hint);
        }
        ValidationErrorKind::Enum { options } => {
            let names: Vec<&str> = options.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let wrong = error.instance().as_str().unwrap_or_default().to_owned();
            let message = format!("{} is not one of the choices", found(error.instance()));
            push("E013", Part::Value, path, message, suggest(&wrong, names));
        }
        ValidationErrorKind::MaxProperties { limit: 1 } | ValidationErrorKind::MinProperties { limit: 1 } => {
            let known = known_keys(schema, error.schema_path().as_str());
            let count = error.instance().as_object().map_or(0, Map::len);
            let message = match count {
                0 => "this map is empty".to_owned(),
                _ => format!("this map takes exactly one key and has {count}"),
            };
            push("E014", Part::Value, path, message, suggest("", known.iter().map(String::as_str)));
        }
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            // the branch that is meant is the one whose type the value has
            let branch = context.iter().find(|errors| {
                !errors.iter().any(|inner| {
                    matches!(inner.kind(), ValidationErrorKind::Type { .. })
                        && inner.instance_path().as_str() == error.instance_path().as_str()
                })
            });
            match branch {
                Some(errors) => {
                    for inner in errors {
                        translate(schema, inner, base, findings);
                    }
                }
                None => {
                    let types: Vec<String> = context
                        .iter()
                        .flatten()
                        .filter_map(|inner| match inner.kind() {
                            ValidationErrorKind::Type { kind: TypeKind::Single(one) } => {
                                Some(in_words(&one.to_string()))
                            }
                            _ => None,
                        })
                        .collect();
                    let message = format!("expected {}, found {}", types.join(" or "), found(error.instance()));
                    push("E012", Part::Value, path, message, None);
                }
            }
        }
        _ => {
            let text = error.to_string();
            push("E015", Part::Value, path, lower_first(&text.replace('"', "`")), None);
        }
    }
}

/// The keys the schema allows where an error's keyword stands.
fn known_keys(schema: &Value, keyword_path: &str) -> Vec<String> {
    let mut node = schema;
    let mut segments: Vec<String> =
        keyword_path.split('/').skip(1).map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
    segments.pop();
    for segment in &segments {
        let next = match node {
            Value::Array(items) => segment.parse().ok().and_then(|index: usize| items.get(index)),
            _ if segment == "$ref" => node
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| schema.pointer(reference.trim_start_matches('#'))),
            _ => node.get(segment),
        };
        match next {
            Some(next) => node = next,
            None => return Vec::new(),
        }
    }
    node.get("properties").and_then(Value::as_object).map(|map| map.keys().cloned().collect()).unwrap_or_default()
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

fn type_hint(expected: &str, value: &Value) -> Option<String> {
    match (expected, value) {
        ("text", Value::Number(_) | Value::Bool(_)) => Some(format!("put it in quotes: \"{value}\"")),
        ("a map", Value::String(kind)) if !kind.contains([' ', '{']) && kind.len() < 32 => {
            Some(format!("a choice is a map with one key: `{{ {kind}: {{}} }}`"))
        }
        ("text", Value::Object(_)) => Some("a template or path with `{`, `:` or `#` in it needs quotes".into()),
        _ => None,
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
