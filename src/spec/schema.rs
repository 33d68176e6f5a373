//! JSON Schemas made from the spec types.

use std::fmt;
use std::sync::LazyLock;

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::{ActionSpec, ModelSpec, OverlaySpec, ProjectSpec, ProviderSpec, SyncSpec, TestSpec};
use crate::diagnostic::Segment;

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
    /// `integrations/<provider>/actions/<name>.yaml`
    Action,
    /// `integrations/<provider>/tests/<name>.yaml`
    Test,
    /// `headwater.api.yaml`, which headwater writes
    Overlay,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Project, Self::Provider, Self::Sync, Self::Model, Self::Action, Self::Test, Self::Overlay];

    /// Its name: the schema's file name without `.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Project => "project",
            Self::Provider => "provider",
            Self::Sync => "sync",
            Self::Model => "model",
            Self::Action => "action",
            Self::Test => "test",
            Self::Overlay => "overlay",
        }
    }

    /// `a` or `an`.
    pub fn article(self) -> &'static str {
        if matches!(self, Self::Action | Self::Overlay) { "an" } else { "a" }
    }

    /// The folder its documents stand in, for people.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Project => "the top folder of a project, as `headwater.yaml`",
            Self::Provider => "`providers/`",
            Self::Sync => "`integrations/<provider>/syncs/`",
            Self::Model => "`integrations/<provider>/models/`",
            Self::Action => "`integrations/<provider>/actions/`",
            Self::Test => "`integrations/<provider>/tests/`",
            Self::Overlay => "the top folder of a project, as `headwater.api.yaml`",
        }
    }

    /// Whether its documents begin with their name: `sync: …`. Of the others a project has one.
    pub fn is_named(self) -> bool {
        !matches!(self, Self::Project | Self::Overlay)
    }

    /// The kind a document was probably meant to be, by the keys that only one kind has.
    pub fn guess(document: &Value) -> Option<Self> {
        let has = |key| document.get(key).is_some();
        if has("test") || has("exchange") {
            Some(Self::Test)
        } else if has("action") {
            Some(Self::Action)
        } else if has("sync") || (has("request") && has("response")) {
            Some(Self::Sync)
        } else if has("columns") || has("table") {
            Some(Self::Model)
        } else if has("connections") || has("database") {
            Some(Self::Project)
        } else if has("base_url") {
            Some(Self::Provider)
        } else {
            None
        }
    }

    /// The JSON Schema (draft 2020-12) of its documents.
    pub fn schema(self) -> &'static Value {
        &self.compiled().0
    }

    pub(super) fn compiled(self) -> &'static (Value, Validator) {
        static COMPILED: LazyLock<[(Value, Validator); 7]> = LazyLock::new(|| {
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
            Self::Action => generator.into_root_schema_for::<ActionSpec>(),
            Self::Test => generator.into_root_schema_for::<TestSpec>(),
            Self::Overlay => generator.into_root_schema_for::<OverlaySpec>(),
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
            let mut value = match value {
                // anything: an object takes the description
                Value::Bool(true) => json!({}),
                value => value.clone(),
            };
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
    // beside the properties, an editor would offer none of them on an empty line: there is one word already, the one to come
    map.insert("allOf".into(), json!([{ "maxProperties": 1 }]));
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

/// What a JSON Schema says of the node at `path`: references followed, of several branches the one for maps.
pub(super) fn schema_at<'s>(root: &'s Value, path: &[Segment]) -> Option<&'s Value> {
    let mut node = resolve(root, root)?;
    for segment in path {
        let next = match segment {
            Segment::Key(key) => {
                let named = node.get("properties").and_then(|properties| properties.get(key));
                named.or_else(|| node.get("additionalProperties").filter(|more| more.is_object()))
            }
            Segment::Index(_) => node.get("items"),
        };
        node = resolve(root, next?)?;
    }
    Some(node)
}

/// Follows references, and goes into the branch that says more than a type.
pub(super) fn resolve<'s>(root: &'s Value, mut node: &'s Value) -> Option<&'s Value> {
    const STEPS_MAX: usize = 16;
    for _ in 0..STEPS_MAX {
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            node = root.pointer(reference.trim_start_matches('#'))?;
        } else if let Some(branches) = node.get("anyOf").and_then(Value::as_array) {
            node = branches.iter().find(|branch| branch.get("$ref").is_some()).or(branches.last())?;
        } else {
            return Some(node);
        }
    }
    None
}

/// The keys a node may have, as far as its schema names them.
pub(super) fn keys(node: Option<&Value>) -> Vec<&str> {
    let properties = node.and_then(|node| node.get("properties")).and_then(Value::as_object);
    properties.map(|map| map.keys().map(String::as_str).collect()).unwrap_or_default()
}

/// Whether a node takes exactly one of its keys.
pub(super) fn is_choice(node: Option<&Value>) -> bool {
    node.is_some_and(|node| {
        node.pointer("/allOf/0/maxProperties") == Some(&json!(1)) && node.get("properties").is_some()
    })
}
