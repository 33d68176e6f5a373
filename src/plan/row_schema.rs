//! `validate`: a JSON Schema of the row.

use std::fmt;
use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::paths::LocationSegment;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

use super::limits::PATTERN_BYTES_MAX;
use crate::diagnostic::Segment;

/// A JSON Schema, compiled: refers to nothing outside itself, and its patterns take time in proportion to the text.
#[derive(Clone)]
pub struct RowSchema {
    schema: Value,
    validator: Arc<Validator>,
}

/// What of a row breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breach {
    /// the column, unless it is the row as a whole
    pub column: Option<String>,
    /// where in the column's value: the names and positions from there on
    pub below: Vec<String>,
    /// a fragment that calls the value "it" and does not quote it
    pub reason: String,
}

impl RowSchema {
    /// Compiles a JSON Schema.
    ///
    /// # Errors
    /// The node that it fails at, and why, as a fragment.
    pub fn parse(schema: &Value) -> Result<Self, (Vec<Segment>, String)> {
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .with_pattern_options(patterns)
            .build(schema)
            .map_err(|error| (segments(&error), unusable(&error)))?;
        Ok(Self { schema: schema.clone(), validator: Arc::new(validator) })
    }

    /// Checks a row: an object of the columns that have a value.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, row: &Value) -> Result<(), Breach> {
        self.validator.validate(row).map_err(|error| breach(&error))
    }
}

fn unusable(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::Format { .. } => "this pattern is too large, or looks ahead or back".to_owned(),
        _ => error.masked_with("this").to_string().replace('"', "`"),
    }
}

fn segments(error: &ValidationError<'_>) -> Vec<Segment> {
    let segment = |segment| match segment {
        LocationSegment::Property(name) => Segment::Key(name.to_string()),
        LocationSegment::Index(at) => Segment::Index(at),
    };
    error.instance_path().iter().map(segment).collect()
}

fn breach(error: &ValidationError<'_>) -> Breach {
    let mut places = segments(error).into_iter().map(|segment| match segment {
        Segment::Key(name) => name,
        Segment::Index(at) => at.to_string(),
    });
    Breach {
        column: places.next(),
        below: places.collect(),
        reason: error.masked_with("it").to_string().replace('"', "`"),
    }
}

impl PartialEq for RowSchema {
    fn eq(&self, other: &Self) -> bool {
        self.schema == other.schema
    }
}

impl fmt::Debug for RowSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RowSchema").field(&self.schema).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(schema: &Value, row: &Value) -> String {
        let Breach { column, below, reason } =
            RowSchema::parse(schema).expect("a schema").check(row).expect_err("a breach");
        [column.unwrap_or_default(), below.join("."), reason].join("|")
    }

    #[test]
    fn a_breach_names_its_place_and_quotes_no_value() {
        let table = [
            (json!({ "required": ["email"] }), "||`email` is a required property"),
            (json!({ "properties": { "n": { "minimum": 0 } } }), "n||it is less than the minimum of 0"),
            (json!({ "properties": { "s": { "pattern": "^a+$" } } }), "s||it does not match `^a+$`"),
            (json!({ "properties": { "l": { "items": { "type": "integer" } } } }), "l|1|it is not of type `integer`"),
        ];
        for (schema, expected) in table {
            assert_eq!(reason(&schema, &json!({ "n": -5, "s": "sesame", "l": [1, "open"] })), expected);
        }
    }

    #[test]
    fn what_takes_no_bounded_time_and_what_is_elsewhere_is_refused() {
        let table = [
            (json!({ "properties": { "s": { "pattern": "(?=a)b" } } }), "looks ahead"),
            (json!({ "properties": { "s": { "pattern": "(a{1000}){1000}" } } }), "too large"),
            (json!({ "$ref": "https://example.com/schema.json" }), "example.com"),
            (json!({ "type": "text" }), "this"),
        ];
        for (schema, expected) in table {
            let (_, error) = RowSchema::parse(&schema).expect_err("refused");
            assert!(error.contains(expected), "{schema}: {error}");
        }
    }

    #[test]
    fn a_pattern_that_others_choke_on_takes_no_time() {
        let schema = json!({ "properties": { "s": { "pattern": "^(a+)+$" } } });
        assert_eq!(
            reason(&schema, &json!({ "s": format!("{}b", "a".repeat(50_000)) })),
            "s||it does not match `^(a+)+$`"
        );
    }

    #[test]
    fn a_schema_that_is_itself_comes_to_an_end() {
        for schema in [json!({ "$ref": "#" }), json!({ "allOf": [{ "$ref": "#" }] }), json!({ "not": { "$ref": "#" } })]
        {
            if let Ok(schema) = RowSchema::parse(&schema) {
                drop(schema.check(&json!({ "a": 1 })));
            }
        }
    }
}
