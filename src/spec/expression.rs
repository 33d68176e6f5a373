//! How schemas tell the kinds of text apart: `x-headwater` says what a text is, for readers and for the generated reference.
//! Each type stands in for `String` in a schema (`#[schemars(with = "…")]`) and holds nothing. Editors offer its examples.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! expressions {
    ($($(#[$doc:meta])* $name:ident = $word:tt, such as $examples:tt;)*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                let mut schema = json_schema!({ "type": "string", "x-headwater": $word });
                let examples: &[&str] = &$examples;
                if !examples.is_empty() {
                    schema.insert("examples".to_owned(), examples.into());
                }
                schema
            }
        }
    )* };
}

expressions! {
    /// a JSONPath (RFC 9535), begins with `$`
    PathText = "path", such as ["$.id", "$.items[*]"];
    /// a template: text with `{{ … }}`
    TemplateText = "template", such as [];
    /// a condition: a filter path `$[?…]`, or a template
    PredicateText = ["filter path", "template"], such as [];
    /// a number with its unit: `10s`, `1h30m`
    DurationText = "duration", such as ["30s", "15m", "2h"];
    /// so many requests in a time: `100 per 10s`
    QuotaText = "quota", such as ["100 per 10s", "5000 per hour", "25000 per day"];
    /// a span of the calendar: `1 month`, `7 days`
    SpanText = "span", such as ["1 day", "7 days", "1 month"];
}

/// A value with templates anywhere inside.
#[derive(Debug)]
pub struct TemplatedValue;

impl JsonSchema for TemplatedValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "TemplatedValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-headwater": "value with templates" })
    }
}

/// A JSON Schema that a YAML file holds.
#[derive(Debug)]
pub struct EmbeddedSchema;

impl JsonSchema for EmbeddedSchema {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EmbeddedSchema".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-headwater": "JSON Schema" })
    }
}
