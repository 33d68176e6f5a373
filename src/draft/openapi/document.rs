//! The document itself: what its references lead to.

use std::cell::Cell;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::plan::limits;

/// A document.
pub(super) struct Document<'d> {
    pub root: &'d Value,
    left: Cell<usize>,
}

/// What is behind a reference that leads nowhere.
static NOTHING: Value = Value::Null;

impl<'d> Document<'d> {
    pub(super) fn of(root: &'d Value) -> Self {
        Self { root, left: Cell::new(limits::DRAFT_STEPS_MAX) }
    }

    /// A value, or what its `$ref` leads to within the document; null where that is nowhere, or in a circle.
    pub(super) fn resolve(&self, value: &'d Value) -> &'d Value {
        let mut value = value;
        for _ in 0..limits::DRAFT_HOPS_MAX {
            let Some(left) = self.left.get().checked_sub(1) else { return &NOTHING };
            self.left.set(left);
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            let Some(pointer) = reference.strip_prefix('#') else { return &NOTHING };
            let pointer = percent_decode_str(pointer).decode_utf8_lossy();
            match self.root.pointer(&pointer) {
                Some(target) => value = target,
                None => return &NOTHING,
            }
        }
        &NOTHING
    }

    /// A member of a value, resolved.
    pub(super) fn member(&self, value: &'d Value, name: &str) -> &'d Value {
        value.get(name).map_or(&NOTHING, |member| self.resolve(member))
    }

    /// The schema of a JSON body, by the media types that hold JSON.
    pub(super) fn json_of(&self, content: &'d Value) -> Option<&'d Value> {
        let content = content.as_object()?;
        let is_json = |media: &&String| {
            let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            media == "application/json" || media.ends_with("+json") || media == "*/*"
        };
        let media =
            content.keys().find(|media| *media == "application/json").or_else(|| content.keys().find(is_json))?;
        content[media].get("schema")
    }

    /// The schema of the JSON that an operation answers with when it succeeds, and whether it tells of a `Link` header.
    pub(super) fn answer(&self, operation: &'d Value) -> (Option<&'d Value>, bool) {
        let Some(responses) = operation.get("responses").and_then(Value::as_object) else { return (None, false) };
        let good: &[&str] = match responses.keys().any(|status| status.starts_with('2')) {
            true => &["200", "201", "202", "203", "2XX", "2xx"],
            false => &["default"],
        };
        for status in good {
            let Some(response) = responses.get(*status).map(|response| self.resolve(response)) else { continue };
            let has_link = response
                .get("headers")
                .and_then(Value::as_object)
                .is_some_and(|headers| headers.keys().any(|name| name.eq_ignore_ascii_case("link")));
            let schema = response.get("content").and_then(|content| self.json_of(content));
            if schema.is_some() {
                return (schema, has_link);
            }
        }
        (None, false)
    }
}
