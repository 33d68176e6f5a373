//! What a draft must know of a provider that is there already.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::parts::{Ends, Paging, ProviderDraft, Surroundings, TokenFrom, Way};
use crate::spec::{ApiKeySpec, AuthSpec, CursorSpec, NextUrlSpec, OffsetSpec, PageSpec, PaginationSpec, ProviderSpec};

/// What a test needs to know of a provider.
pub fn surroundings(spec: &ProviderSpec) -> Surroundings {
    let ways: Vec<(&String, &AuthSpec)> = spec.auth.iter().flatten().collect();
    Surroundings {
        provider: spec.provider.clone(),
        auth: (ways.len() > 1).then(|| ways[0].0.clone()),
        proof: ways.first().and_then(|(_, way)| proof(way)),
        config: spec.config.as_ref().map(example_config).unwrap_or_default(),
        adds_query: !spec.query.is_empty(),
    }
}

/// The same of a provider that is a draft itself.
pub fn surroundings_of_draft(draft: &ProviderDraft) -> Surroundings {
    let first = draft.auth.first().map(|(_, way)| &way.value);
    let proof = match first {
        Some(Way::Header { name, prefix }) => Some((name.clone(), prefixed(prefix.as_deref(), KEY))),
        Some(Way::Basic) => Some(basic()),
        Some(Way::Bearer | Way::AuthorizationCode { .. } | Way::ClientCredentials { .. }) => Some(bearer()),
        Some(Way::None | Way::Query(_) | Way::Cookie(_)) | None => None,
    };
    let needed = draft.config.iter().filter(|setting| setting.required);
    Surroundings {
        provider: draft.name.clone(),
        auth: draft.auth.first().filter(|_| draft.auth.len() > 1).map(|(name, _)| name.clone()),
        proof,
        config: needed.map(|setting| (setting.name.clone(), setting.example.clone())).collect(),
        adds_query: false,
    }
}

/// The key of a test.
const KEY: &str = "test-api_key";
/// The key as a template.
const API_KEY: &str = "{{ credentials.api_key }}";

/// A key with the word before it.
fn prefixed(prefix: Option<&str>, key: &str) -> String {
    prefix.map_or_else(|| key.to_owned(), |prefix| format!("{prefix} {key}"))
}

/// What the header of a key holds where that is more than the key.
pub(super) fn header_value(prefix: &str) -> String {
    prefixed(Some(prefix), API_KEY)
}

fn bearer() -> (String, String) {
    ("Authorization".to_owned(), "Bearer test-token".to_owned())
}

fn basic() -> (String, String) {
    ("Authorization".to_owned(), format!("Basic {}", STANDARD.encode("test-username:test-password")))
}

/// The header that proves who asks, where it is the usual one with a made-up secret.
fn proof(way: &AuthSpec) -> Option<(String, String)> {
    match way {
        AuthSpec::ApiKey(ApiKeySpec { header: Some(header), value, .. }) => {
            let value = value.as_deref().unwrap_or(API_KEY).replace(API_KEY, KEY);
            (!value.contains("{{")).then(|| (header.clone(), value))
        }
        AuthSpec::Bearer(bearing) if bearing.token.is_none() => Some(bearer()),
        AuthSpec::Basic(known) if known.username.is_none() && known.password.is_none() => Some(basic()),
        _ => None,
    }
}

/// Values that a connection could have for what a JSON Schema of settings asks for.
fn example_config(schema: &Value) -> Map<String, Value> {
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    required.map(|name| (name.to_owned(), example_of(&schema["properties"][name], name))).collect()
}

/// A value that a simple JSON Schema takes.
pub(super) fn example_of(schema: &Value, name: &str) -> Value {
    let first = |key: &str| schema[key].as_array().and_then(|all| all.iter().find(|one| !one.is_null())).cloned();
    let told = schema.get("default").or_else(|| schema.get("const")).filter(|told| !told.is_null()).cloned();
    if let Some(told) = told.or_else(|| first("enum")) {
        return told;
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match kind {
        Some("integer" | "number") => schema["minimum"].as_i64().unwrap_or(1).max(1).into(),
        Some("boolean") => true.into(),
        Some("array") => Value::Array(vec![example_of(&schema["items"], name)]),
        Some("object") => Value::Object(Map::new()),
        _ => format!("some-{name}").into(),
    }
}

/// A pagination as a draft knows it; none for one that no draft can have.
pub fn paging_of(spec: &PaginationSpec) -> Option<Paging> {
    let ends = |has_more: &Option<String>, total: &Option<String>, total_pages: &Option<String>| Ends {
        has_more: has_more.clone(),
        total: total.clone(),
        total_pages: total_pages.clone(),
    };
    match spec {
        PaginationSpec::None {} => Some(Paging::None),
        PaginationSpec::Link(link) => (link.rel.is_none() && link.stop.is_none()).then_some(Paging::Link),
        PaginationSpec::NextUrl(NextUrlSpec { from: Some(from), header: None, stop: None, .. }) => {
            Some(Paging::NextUrl { from: from.clone() })
        }
        PaginationSpec::Cursor(CursorSpec {
            from,
            from_header: None,
            last_record,
            query: Some(query),
            replaces_params: false,
            has_more,
            stop: None,
            ..
        }) => {
            let from = match (from, last_record) {
                (Some(path), None) => TokenFrom::Answer(path.clone()),
                (None, Some(path)) => TokenFrom::LastRecord(path.clone()),
                _ => return None,
            };
            Some(Paging::Cursor { from, query: query.clone(), has_more: has_more.clone() })
        }
        PaginationSpec::Offset(OffsetSpec {
            query: Some(query),
            limit,
            limit_param,
            start: 0,
            total,
            has_more,
            stop: None,
            ..
        }) => {
            let ends = ends(has_more, total, &None);
            Some(Paging::Offset { query: query.clone(), limit: *limit, limit_param: limit_param.clone(), ends })
        }
        PaginationSpec::Page(PageSpec {
            query: Some(query),
            start,
            size,
            size_param,
            total_pages,
            total,
            has_more,
            stop: None,
            ..
        }) => Some(Paging::Page {
            query: query.clone(),
            start: start.unwrap_or(1),
            size: *size,
            size_param: size_param.clone(),
            ends: ends(has_more, total, total_pages),
        }),
        PaginationSpec::NextUrl(_)
        | PaginationSpec::Cursor(_)
        | PaginationSpec::Offset(_)
        | PaginationSpec::Page(_)
        | PaginationSpec::Relay(_) => None,
    }
}

/// Levels of a document that are kept.
const KEPT_DEPTH_MAX: usize = 6;
/// Members of an object that are kept.
const KEPT_MEMBERS_MAX: usize = 60;

/// The shape of a document with made-up values: nobody's data. Lists keep their first item.
pub fn without_data(value: &Value) -> Value {
    kept(value, "value", 0)
}

fn kept(value: &Value, name: &str, depth: usize) -> Value {
    match value {
        _ if depth > KEPT_DEPTH_MAX => Value::Null,
        Value::Null => Value::Null,
        Value::Bool(_) => true.into(),
        Value::Number(_) => 1.into(),
        Value::String(_) => format!("some-{}", super::name::column_name(name)).into(),
        Value::Array(items) => items.iter().take(1).map(|item| kept(item, name, depth + 1)).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .take(KEPT_MEMBERS_MAX)
                .map(|(name, value)| (name.clone(), kept(value, name, depth + 1)))
                .collect(),
        ),
    }
}
