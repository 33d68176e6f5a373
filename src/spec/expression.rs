//! How schemas tell the kinds of text apart: `x-headwater` says what a text is, for readers and for the generated reference.
//! Each type stands in for `String` in a schema (`#[schemars(with = "…")]`) and holds nothing.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

macro_rules! expressions {
    ($($(#[$doc:meta])* $name:ident = $word:tt),* $(,)?) => { $(
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
                json_schema!({ "type": "string", "x-headwater": $word })
            }
        }
    )* };
}

expressions! {
    /// a JSONPath (RFC 9535), begins with `$`
    PathText = "path",
    /// a template: text with `{{ … }}`
    TemplateText = "template",
    /// a condition: a filter path `$[?…]`, or a template
    PredicateText = ["filter path", "template"],
    /// a number with its unit: `10s`, `1h30m`
    DurationText = "duration",
    /// a span of the calendar: `1 month`, `7 days`
    SpanText = "span",
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
