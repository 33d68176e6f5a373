//! Requests: provider defaults merged under the sync's own words, templates parsed.

use std::collections::BTreeSet;

use serde_json::Value;

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{BodyPlan, Method, RequestPlan, Template, ValuePlan, words};
use crate::spec::{BodySpec, GraphqlSpec, ProviderSpec, RequestSpec};

/// Compiles a request. `place` is the request's node, `provider` the node and words of its provider.
pub(super) fn request(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &RequestSpec,
    provider: (&Place<'_>, &ProviderSpec),
    open: Variables<'_>,
    secret: Variables<'_>,
) -> Option<RequestPlan> {
    let RequestSpec { get, post, put, patch, delete, query, headers, body } = spec;
    let methods = [
        (Method::Get, "get", get),
        (Method::Post, "post", post),
        (Method::Put, "put", put),
        (Method::Patch, "patch", patch),
        (Method::Delete, "delete", delete),
    ];
    let line = the_method(sink, place, methods);
    let path = line.and_then(|(_, key, path)| path_plan(sink, &place.key(key), path, open));
    let method = line.map(|(method, _, _)| method);
    let (provider_place, provider) = provider;

    let mut header_plans: Vec<(String, _)> = Vec::new();
    let mut good = true;
    let both = [(provider_place.key("headers"), &provider.headers), (place.key("headers"), headers)];
    for (place, map) in both {
        for (name, text) in map {
            if let Some(parsed) = header(sink, &place.key(name), name, text, secret) {
                header_plans.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
                header_plans.push((name.clone(), parsed));
            } else {
                good = false;
            }
        }
    }
    let mut query_plans: Vec<(String, ValuePlan)> = Vec::new();
    for (place, map) in [(provider_place.key("query"), &provider.query), (place.key("query"), query)] {
        for (name, given) in map {
            if let Some(parsed) = parameter(sink, &place.key(name), given, open, secret) {
                query_plans.retain(|(known, _)| known != name);
                query_plans.push((name.clone(), parsed));
            } else {
                good = false;
            }
        }
    }
    let body = match body {
        None => Some(BodyPlan::None),
        Some(_) if method == Some(Method::Get) => {
            sink.key_error(
                "E061",
                &place.key("body"),
                "a GET request has no body",
                Some("use `post:` or `query:`".into()),
            );
            None
        }
        Some(spec) => body_plan(sink, &place.key("body"), spec, open),
    };
    let plan = RequestPlan { method: method?, path: path?, query: query_plans, headers: header_plans, body: body? };
    good.then_some(plan)
}

/// The one method that is named.
fn the_method<'s>(
    sink: &mut Sink,
    place: &Place<'_>,
    methods: [(Method, &'static str, &'s Option<String>); 5],
) -> Option<(Method, &'static str, &'s String)> {
    let mut named = methods.into_iter().filter_map(|(method, key, path)| Some((method, key, path.as_ref()?)));
    match (named.next(), named.next()) {
        (Some(one), None) => return Some(one),
        (Some((_, first, _)), Some((_, second, _))) => {
            let message = format!("a request has one method, and this one has `{first}` and `{second}`");
            sink.key_error("E060", &place.key(second), message, Some("keep one of them".to_owned()));
        }
        (None, _) => {
            let hint = "write the method with its path: `get: /contacts`".to_owned();
            let message = "the request has no method: `get`, `post`, `put`, `patch` or `delete`";
            sink.key_error("E060", place, message, Some(hint));
        }
    }
    None
}

fn path_plan(sink: &mut Sink, place: &Place<'_>, path: &str, open: Variables<'_>) -> Option<Template> {
    if !["/", "http://", "https://", "{{"].iter().any(|start| path.starts_with(start)) {
        let hint = format!("a path under `base_url` starts with `/`: `/{}`", words::shorten(path));
        sink.error("E040", place, format!("`{}` is neither a path nor a URL", words::shorten(path)), Some(hint));
        return None;
    }
    template(sink, place, path, open)
}

pub(super) fn header(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    text: &str,
    variables: Variables<'_>,
) -> Option<Template> {
    words::header_key(sink, place, name)?;
    template(sink, place, text, variables)
}

fn body_plan(sink: &mut Sink, place: &Place<'_>, spec: &BodySpec, variables: Variables<'_>) -> Option<BodyPlan> {
    Some(match spec {
        BodySpec::Json(given) => BodyPlan::Json(value(sink, &place.key("json"), given, variables)?),
        BodySpec::Form(map) => BodyPlan::Form(values(sink, &place.key("form"), map, variables)?),
        BodySpec::Text(text) => BodyPlan::Text(template(sink, &place.key("text"), text, variables)?),
        BodySpec::Graphql(GraphqlSpec { query, variables: map }) => {
            let place = place.key("graphql");
            if query.contains("{{") {
                let hint = "put the value into `variables:` and name it as `$name` in the query".to_owned();
                sink.error("E066", &place.key("query"), "a GraphQL query takes no templates", Some(hint));
                return None;
            }
            BodyPlan::Graphql {
                query: query.clone(),
                variables: values(sink, &place.key("variables"), map, variables)?,
            }
        }
    })
}

fn values(
    sink: &mut Sink,
    place: &Place<'_>,
    map: &indexmap::IndexMap<String, Value>,
    variables: Variables<'_>,
) -> Option<Vec<(String, ValuePlan)>> {
    let parsed: Vec<_> = map
        .iter()
        .map(|(name, given)| Some((name.clone(), value(sink, &place.key(name), given, variables)?)))
        .collect();
    parsed.into_iter().collect()
}

/// A query parameter. A secret is one of its own, never inside a list or a map, where it could not be kept apart.
pub(super) fn parameter(
    sink: &mut Sink,
    place: &Place<'_>,
    given: &Value,
    open: Variables<'_>,
    secret: Variables<'_>,
) -> Option<ValuePlan> {
    value(sink, place, given, if given.is_string() { secret } else { open })
}

/// A value with templates anywhere inside.
pub(super) fn value(sink: &mut Sink, place: &Place<'_>, given: &Value, variables: Variables<'_>) -> Option<ValuePlan> {
    match given {
        Value::String(text) if text.contains("{{") || text.contains("{%") => {
            template(sink, place, text, variables).map(ValuePlan::Template)
        }
        Value::Array(items) => {
            let parsed: Vec<_> = items
                .iter()
                .enumerate()
                .map(|(index, item)| value(sink, &place.index(index), item, variables))
                .collect();
            parsed.into_iter().collect::<Option<_>>().map(ValuePlan::List)
        }
        Value::Object(map) => {
            let parsed: Vec<_> = map
                .iter()
                .map(|(name, item)| Some((name.clone(), value(sink, &place.key(name), item, variables)?)))
                .collect();
            parsed.into_iter().collect::<Option<_>>().map(ValuePlan::Map)
        }
        fixed => Some(ValuePlan::Fixed(fixed.clone())),
    }
}

/// Every template inside.
fn templates<'p>(plan: &'p ValuePlan, found: &mut Vec<&'p Template>) {
    match plan {
        ValuePlan::Fixed(_) => {}
        ValuePlan::Template(template) => found.push(template),
        ValuePlan::List(items) => items.iter().for_each(|item| templates(item, found)),
        ValuePlan::Map(members) => members.iter().for_each(|(_, item)| templates(item, found)),
    }
}

fn request_templates(plan: &RequestPlan) -> Vec<&Template> {
    let RequestPlan { method: _, path, query, headers, body } = plan;
    let mut found = vec![path];
    match body {
        BodyPlan::None => {}
        BodyPlan::Json(value) => templates(value, &mut found),
        BodyPlan::Form(members) | BodyPlan::Graphql { variables: members, query: _ } => {
            members.iter().for_each(|(_, item)| templates(item, &mut found));
        }
        BodyPlan::Text(template) => found.push(template),
    }
    found.extend(headers.iter().map(|(_, template)| template));
    query.iter().for_each(|(_, value)| templates(value, &mut found));
    found
}

/// Whether the request names a variable anywhere.
pub(super) fn request_names(plan: &RequestPlan, variable: &str) -> bool {
    request_templates(plan).into_iter().any(|template| template.names(variable))
}

/// The credentials that the request names beside those of `auth`.
pub(super) fn credentials(plan: &RequestPlan) -> BTreeSet<String> {
    let variables = request_templates(plan).into_iter().flat_map(Template::variables);
    variables.filter_map(|name| name.strip_prefix("credentials.")).map(str::to_owned).collect()
}
