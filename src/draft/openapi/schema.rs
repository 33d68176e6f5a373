//! Schemas of a document, as flat as a table is.

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::document::Document;
use crate::draft::columns::is_time;
use crate::draft::name::sentence;
use crate::plan::{ColumnType, limits};

/// A schema with all that it is made of.
#[derive(Debug, Default)]
pub(super) struct Flat<'d> {
    /// its types but `null`
    pub types: Vec<&'d str>,
    pub format: Option<&'d str>,
    pub description: Option<&'d str>,
    pub members: IndexMap<&'d str, &'d Value>,
    pub required: Vec<&'d str>,
    pub items: Option<&'d Value>,
    pub choices: Option<&'d Vec<Value>>,
    pub default: Option<&'d Value>,
    pub maximum: Option<u64>,
    /// it is one of several kinds
    pub is_mixed: bool,
    pub read_only: bool,
    pub write_only: bool,
}

impl<'d> Flat<'d> {
    pub(super) fn of(document: &Document<'d>, schema: &'d Value) -> Self {
        let mut flat = Self::default();
        flat.add(document, schema, 0);
        flat
    }

    fn add(&mut self, document: &Document<'d>, schema: &'d Value, depth: usize) {
        if depth > limits::DRAFT_SCHEMA_DEPTH_MAX {
            return;
        }
        let own = document.resolve(schema);
        // what stands beside a reference holds too, as of 3.1
        for (place, is_beside) in [(schema, true), (own, false)] {
            if is_beside && std::ptr::eq(place, own) {
                continue;
            }
            self.description = self.description.or_else(|| place.get("description")?.as_str());
        }
        let text = |name: &str| own.get(name).and_then(Value::as_str);
        let is = |name: &str| own.get(name).and_then(Value::as_bool).unwrap_or_default();
        match own.get("type") {
            Some(Value::String(kind)) if kind != "null" => self.kind(kind),
            Some(Value::Array(kinds)) => {
                kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").for_each(|kind| self.kind(kind));
            }
            _ => {}
        }
        self.format = self.format.or_else(|| text("format"));
        self.read_only |= is("readOnly");
        self.write_only |= is("writeOnly");
        self.choices = self.choices.or_else(|| own.get("enum")?.as_array());
        self.default = self.default.or_else(|| own.get("default"));
        self.maximum = self.maximum.or_else(|| own.get("maximum")?.as_u64());
        self.items = self.items.or_else(|| own.get("items"));
        if let Some(members) = own.get("properties").and_then(Value::as_object) {
            self.kind("object");
            for (name, member) in members.iter().take(limits::DRAFT_MEMBERS_MAX) {
                self.members.entry(name).or_insert(member);
            }
        }
        let required = own.get("required").and_then(Value::as_array).into_iter().flatten();
        self.required.extend(required.filter_map(Value::as_str).take(limits::DRAFT_MEMBERS_MAX));
        for part in own.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.add(document, part, depth + 1);
        }
        // Stripe: an id, or the object itself where the request asks for it
        if own.get("x-expansionResources").is_some() {
            self.kind("string");
            return;
        }
        for word in ["oneOf", "anyOf"] {
            self.choose(document, own.get(word), depth);
        }
    }

    /// Of several schemas the one that is not null; of several objects the members of all.
    fn choose(&mut self, document: &Document<'d>, of: Option<&'d Value>, depth: usize) {
        let schemas = of.and_then(Value::as_array).into_iter().flatten().take(limits::DRAFT_MEMBERS_MAX);
        let is_null = |schema: &&'d Value| {
            let schema = document.resolve(schema);
            schema.get("type").and_then(Value::as_str) == Some("null")
                || schema.get("enum").is_some_and(|choices| *choices == json!([null]))
        };
        let schemas: Vec<&'d Value> = schemas.filter(|schema| !is_null(schema)).collect();
        if let [only] = schemas.as_slice() {
            self.add(document, only, depth + 1);
            return;
        }
        for schema in &schemas {
            let mut one = Self::default();
            one.add(document, schema, depth + 1);
            one.types.iter().for_each(|kind| self.kind(kind));
            for (name, member) in one.members {
                self.members.entry(name).or_insert(member);
            }
            self.is_mixed |= one.is_mixed || one.items.is_some();
        }
        self.is_mixed |= self.types.len() > 1;
    }

    fn kind(&mut self, kind: &'d str) {
        if !self.types.contains(&kind) {
            self.types.push(kind);
        }
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        !self.is_mixed && self.types == [kind]
    }

    /// Whether it is an object with known members.
    pub(super) fn is_record(&self) -> bool {
        !self.members.is_empty() && !self.types.contains(&"array")
    }

    /// The type of a column for a member of this name, how its times are written, and why that is a guess.
    pub(super) fn column(
        &self,
        document: &Document<'d>,
        name: &str,
    ) -> (ColumnType, Option<&'static str>, Option<&'static str>) {
        let sure = |kind: ColumnType| (kind, None, None);
        if self.types.is_empty() && self.choices.is_none() {
            return (ColumnType::Json, None, Some("the document does not say its type"));
        }
        if self.is_mixed || self.types.len() > 1 {
            // what is a number or a text fits text
            let is_scalar = self.types.iter().all(|kind| matches!(*kind, "string" | "number" | "integer" | "boolean"));
            return if is_scalar { sure(ColumnType::Varchar) } else { sure(ColumnType::Json) };
        }
        match self.types.first().copied().unwrap_or("string") {
            "boolean" => sure(ColumnType::Boolean),
            "integer" => self.whole(name),
            "number" => match self.format {
                Some("int32" | "int64") => self.whole(name),
                Some("decimal") => (
                    ColumnType::Decimal { precision: 38, scale: 9 },
                    None,
                    Some("an amount of at most 9 digits behind the point"),
                ),
                _ => sure(ColumnType::Double),
            },
            "array" => match self.items.map(|items| Flat::of(document, items)) {
                Some(items) if items.is_scalar() => {
                    let (kind, format, why) = items.column(document, name);
                    (ColumnType::List(Box::new(kind)), format, why)
                }
                _ => sure(ColumnType::Json),
            },
            "object" => sure(ColumnType::Json),
            _ => sure(match self.format {
                Some("date-time") => ColumnType::Timestamptz,
                Some("date") => ColumnType::Date,
                Some("uuid") => ColumnType::Uuid,
                Some("decimal") => ColumnType::Decimal { precision: 38, scale: 9 },
                _ => ColumnType::Varchar,
            }),
        }
    }

    fn is_scalar(&self) -> bool {
        !self.is_mixed && matches!(self.types.as_slice(), ["string" | "integer" | "number" | "boolean"])
    }

    fn whole(&self, name: &str) -> (ColumnType, Option<&'static str>, Option<&'static str>) {
        match self.format {
            Some("unix-time" | "timestamp" | "epoch" | "unix-timestamp") => {
                (ColumnType::Timestamptz, Some("epoch_s"), None)
            }
            Some("int32") if !is_time(name) => (ColumnType::Integer, None, None),
            _ if is_time(name) => (
                ColumnType::Bigint,
                None,
                Some("perhaps a time: `type: timestamptz` with `format: epoch_s` or `epoch_ms`"),
            ),
            _ => (ColumnType::Bigint, None, None),
        }
    }

    /// The JSON Schema of a value that a caller gives, as far as it is simple.
    pub(super) fn input(&self) -> Value {
        let mut schema = Map::new();
        if let [kind] = self.types.as_slice()
            && !self.is_mixed
            && matches!(*kind, "string" | "integer" | "number" | "boolean" | "array" | "object")
        {
            schema.insert("type".to_owned(), (*kind).into());
        }
        if let Some(text) = self.description.and_then(sentence) {
            schema.insert("description".to_owned(), text.into());
        }
        let choices =
            self.choices.filter(|choices| choices.len() <= CHOICES_MAX && choices.iter().all(Value::is_string));
        if let Some(choices) = choices.filter(|choices| !choices.is_empty() && self.is("string")) {
            let mut told: Vec<Value> = Vec::new();
            for choice in choices {
                if !told.contains(choice) {
                    told.push(choice.clone());
                }
            }
            schema.insert("enum".to_owned(), told.into());
        }
        schema.into()
    }

    /// A value that it could be, for tests.
    pub(super) fn example(&self, document: &Document<'d>, name: &str, depth: usize) -> Value {
        if let Some(choice) = self.choices.and_then(|choices| choices.iter().find(|choice| choice.is_string())) {
            return choice.clone();
        }
        match self.types.first().copied() {
            _ if depth > EXAMPLE_DEPTH_MAX => Value::Null,
            Some("integer" | "number") => 1.into(),
            Some("boolean") => true.into(),
            Some("array") => {
                let item = self.items.map(|items| Flat::of(document, items).example(document, name, depth + 1));
                Value::Array(item.filter(|item| !item.is_null()).into_iter().collect())
            }
            Some("object") => {
                let members = self.members.iter().take(EXAMPLE_MEMBERS_MAX);
                let filled = members.map(|(name, member)| {
                    ((*name).to_owned(), Flat::of(document, member).example(document, name, depth + 1))
                });
                Value::Object(filled.collect())
            }
            _ => match self.format {
                Some("date-time") => "2024-05-01T10:00:00Z".into(),
                Some("date") => "2024-05-01".into(),
                Some("uuid") => "00000000-0000-4000-8000-000000000001".into(),
                _ => format!("some-{}", crate::draft::name::column_name(name)).into(),
            },
        }
    }
}

/// Words that a value can have and that are taken over.
const CHOICES_MAX: usize = 40;
/// Levels of a made-up value.
const EXAMPLE_DEPTH_MAX: usize = 2;
/// Members of a made-up object.
const EXAMPLE_MEMBERS_MAX: usize = 6;
