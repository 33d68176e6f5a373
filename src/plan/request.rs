//! Requests: provider defaults merged under the sync's own words, templates parsed.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::variables::{Variables, template};
use super::{
    BodyPlan, DownloadPlan, Format, JobPlan, ListPlan, Method, PagePlan, Path, RequestPlan, ResponsePlan, Template,
    ValuePlan, paging, words,
};
use crate::spec::{
    BodySpec, CsvSpec, DownloadSpec, EachPartSpec, FormatSpec, GraphqlSpec, JobSpec, PaginationSpec, PollSpec,
    RequestSpec, ResponseSpec, XmlSpec,
};

/// Compiles a request at `place`, with the headers and parameters that `provider` has for all of them. Headers and parameters may
/// name `credentials` besides `open`.
pub(super) fn request(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &RequestSpec,
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
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
    let ProviderWords { place: provider_place, spec: provider, .. } = provider;

    let secret_names = open.and(&["credentials"]);
    let mut header_plans: Vec<(String, _)> = Vec::new();
    let mut good = true;
    let both = [(provider_place.key("headers"), &provider.headers), (place.key("headers"), headers)];
    for (place, map) in both {
        for (name, text) in map {
            if let Some(parsed) = header(sink, &place.key(name), name, text, open.with(&secret_names)) {
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
            if let Some(parsed) = parameter(sink, &place.key(name), name, given, open) {
                let at = query_plans.iter().position(|(known, _)| known == name);
                let below = at.map(|at| query_plans.remove(at).1);
                query_plans.push((name.clone(), over(below, parsed)));
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

/// Maps are merged key by key at every depth, all else is replaced.
fn over(below: Option<ValuePlan>, above: ValuePlan) -> ValuePlan {
    let (Some(ValuePlan::Map(mut members)), ValuePlan::Map(own)) = (below, above.clone()) else { return above };
    for (name, value) in own {
        let at = members.iter().position(|(known, _)| *known == name);
        let below = at.map(|at| members.remove(at).1);
        members.push((name, over(below, value)));
    }
    ValuePlan::Map(members)
}

/// A list that is asked for beside the records.
pub(super) fn list(
    sink: &mut Sink,
    place: &Place<'_>,
    (request_spec, response_spec, pagination): (&RequestSpec, &ResponseSpec, Option<&PaginationSpec>),
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<ListPlan> {
    let paged = pagination.or(provider.spec.pagination.as_ref());
    let mut names = open.but(&["page"]);
    let position = paged.and_then(PaginationSpec::position);
    names.extend(position.map(|_| "page"));
    let mut members: Vec<_> = open.members.iter().filter(|(name, _)| *name != "page").cloned().collect();
    members.extend(position.map(|position| ("page", vec![position])));
    let open = Variables { members: &members, ..open.with(&names) };
    let request = request(sink, &place.key("request"), request_spec, provider, open);
    let response = response(sink, &place.key("response"), response_spec, open);
    let own = place.key("pagination");
    let plan = match paged {
        Some(spec) => {
            let at = if pagination.is_some() { &own } else { &provider.place.key("pagination") };
            paging::pagination(sink, at, spec, open)
        }
        None => Some(PagePlan::one()),
    };
    let (request, plan) = (request?, plan?);
    let at = if pagination.is_some() { own } else { place.key("request") };
    let good = paging::position_has_a_place(sink, &at, &plan, &request);
    Some(ListPlan { request, response: response?, pagination: plan }).filter(|_| good)
}

/// How an answer is read: `records` must be said.
pub(super) fn response(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ResponseSpec,
    open: Variables<'_>,
) -> Option<ResponsePlan> {
    response_or(sink, place, spec, open, false)
}

/// The same; where `said_elsewhere`, each of several outputs says where its records stand.
pub(super) fn response_or(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ResponseSpec,
    open: Variables<'_>,
    said_elsewhere: bool,
) -> Option<ResponsePlan> {
    let ResponseSpec { format: format_spec, records, optional, filter } = spec;
    let format = format(sink, &place.key("format"), format_spec);
    let records = match (records, format_spec) {
        (Some(records), _) => words_paths(sink, &place.key("records"), &records.0),
        (None, FormatSpec::Ndjson | FormatSpec::Csv(_) | FormatSpec::Text) => {
            // each line, row or text is a record
            Some(vec![Path::parse("$[*]").expect("it is a path")])
        }
        (None, FormatSpec::Json | FormatSpec::Xml(_)) if said_elsewhere => Some(Vec::new()),
        (None, FormatSpec::Json | FormatSpec::Xml(_)) => {
            let hint = "`records`: a JSONPath to the records: `$.results[*]`".to_owned();
            if !place.key("records").is_hole() {
                sink.error("E011", place, "the key `records` is missing", Some(hint));
            }
            None
        }
    };
    let filter = words::optional_predicate(sink, &place.key("where"), filter.as_ref(), open.with(&record_names(open)));
    Some(ResponsePlan { format: format?, records: records?, optional: *optional, filter: filter? })
}

/// What a template over a record may name at a place of these variables.
pub(super) fn record_names<'v>(open: Variables<'v>) -> Vec<&'v str> {
    let mut names = open.but(&["watermark", "window", "page"]);
    names.push("record");
    names
}

/// One path, or several.
pub(super) fn words_paths(sink: &mut Sink, place: &Place<'_>, texts: &[String]) -> Option<Vec<Path>> {
    let several = texts.len() > 1;
    let parsed: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| words::path(sink, &if several { place.index(index) } else { place.clone() }, text))
        .collect();
    parsed.into_iter().collect()
}

fn format(sink: &mut Sink, place: &Place<'_>, spec: &FormatSpec) -> Option<Format> {
    let plan = match spec {
        FormatSpec::Json => return Some(Format::Json),
        FormatSpec::Ndjson => Format::Ndjson,
        FormatSpec::Text => Format::Text,
        FormatSpec::Xml(XmlSpec { lists }) => Format::Xml { lists: lists.clone() },
        FormatSpec::Csv(CsvSpec { delimiter, columns, skip, encoding }) => {
            let place = place.key("csv");
            let text = delimiter.as_deref().unwrap_or(",");
            let delimiter = match text.as_bytes() {
                [byte] if !matches!(byte, b'"' | b'\r' | b'\n') => Some(*byte),
                _ => {
                    let hint = "one character of ASCII: `\",\"`, `\";\"`, `\"\\t\"`, `\"|\"`".to_owned();
                    let message = format!("`{}` cannot stand between two values", words::shorten(text));
                    sink.error("E104", &place.key("delimiter"), message, Some(hint));
                    None
                }
            };
            let encoding = encoding_name(sink, &place.key("encoding"), encoding.as_deref().unwrap_or("utf-8"));
            let columns = (!columns.is_empty()).then(|| columns.clone());
            Format::Csv { delimiter: delimiter?, columns, skip: *skip, encoding: encoding? }
        }
    };
    Some(plan)
}

/// The encodings in which APIs write rows (labels of the Encoding Standard).
const ENCODINGS: [&str; 10] = [
    "utf-8",
    "utf-16le",
    "utf-16be",
    "iso-8859-1",
    "iso-8859-2",
    "iso-8859-15",
    "windows-1250",
    "windows-1252",
    "shift_jis",
    "gb18030",
];

/// What other tools call the encodings.
const ENCODINGS_ELSEWHERE: [(&str, &[&str]); 3] = [
    ("utf-8", &["utf8", "utf_8", "unicode"]),
    ("iso-8859-1", &["latin1", "latin-1", "iso8859-1", "latin_1"]),
    ("windows-1252", &["cp1252", "ansi", "ascii", "us-ascii"]),
];

fn encoding_name(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<String> {
    let name = text.trim().to_ascii_lowercase();
    if ENCODINGS.contains(&name.as_str()) {
        return Some(name);
    }
    match ENCODINGS_ELSEWHERE.iter().find(|(_, names)| names.contains(&name.as_str())) {
        Some((ours, _)) => {
            let message = format!("there is no encoding `{}`", words::shorten(text));
            sink.error("E104", place, message, Some(format!("did you mean `{ours}`?")));
        }
        None => words::one_of(sink, place, ("E104", "encoding"), text, ENCODINGS.into_iter()),
    }
    None
}

/// An export that is waited for: the request that starts it, and the rest of it.
pub(super) fn job(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &JobSpec,
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<(RequestPlan, JobPlan)> {
    let JobSpec { create, id, poll, download, cancel } = spec;
    let PollSpec { request: poll_spec, every, timeout, status, done, failed } = poll;
    let create = request(sink, &place.key("create"), create, provider, open);
    let id = words::path(sink, &place.key("id"), id);
    let with_job = open.and(&["job"]);
    let poll_place = place.key("poll");
    let poll = request(sink, &poll_place.key("request"), poll_spec, provider, open.with(&with_job));
    let every = words::duration_or(sink, &poll_place.key("every"), every.as_ref(), Duration::from_secs(5));
    let timeout = words::duration_or(sink, &poll_place.key("timeout"), timeout.as_ref(), Duration::from_secs(7_200));
    let status = words::path(sink, &poll_place.key("status"), status);
    if let Some(both) = failed.iter().position(|state| done.contains(state)) {
        let message = format!("`{}` cannot be both `done` and `failed`", words::shorten(&failed[both]));
        let hint = "keep it in one of the two lists".to_owned();
        sink.error("E106", &poll_place.key("failed").index(both), message, Some(hint));
    }
    let with_answer = open.and(&["job", "response"]);
    let at = place.key("download");
    let download = match download {
        DownloadSpec::Request(spec) => {
            request(sink, &at.key("request"), spec, provider, open.with(&with_answer)).map(DownloadPlan::Request)
        }
        DownloadSpec::Url(text) => words::path(sink, &at.key("url"), text).map(DownloadPlan::Url),
        DownloadSpec::Parts(text) => words::path(sink, &at.key("parts"), text).map(DownloadPlan::Parts),
        DownloadSpec::Each(spec) => {
            let EachPartSpec { of, request: asked } = &**spec;
            let at = at.key("each");
            let of = words::path(sink, &at.key("of"), of);
            let asked = request(sink, &at.key("request"), asked, provider, open.with(&with_answer));
            of.zip(asked).map(|(of, request)| DownloadPlan::Each { of, request })
        }
    };
    let cancel = words::optional(cancel.as_ref(), |spec| {
        request(sink, &place.key("cancel"), spec, provider, open.with(&with_job))
    });
    let plan = JobPlan {
        id: id?,
        poll: poll?,
        every: every?,
        timeout: timeout?,
        status: status?,
        done: done.clone(),
        failed: failed.clone(),
        download: download?,
        cancel: cancel?,
    };
    Some((create?, plan))
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
    let parsed = template(sink, place, text, variables)?;
    if words::is_secret_name(name) {
        words::literal_secret(sink, place, &parsed);
    }
    Some(parsed)
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
        BodySpec::Multipart(fields) => {
            BodyPlan::Multipart(words::templates(sink, &place.key("multipart"), fields, variables)?)
        }
    })
}

pub(super) fn values(
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
    name: &str,
    given: &Value,
    open: Variables<'_>,
) -> Option<ValuePlan> {
    let secret_names = open.and(&["credentials"]);
    if let Value::String(text) = given
        && words::is_secret_name(name)
    {
        let parsed = template(sink, place, text, open.with(&secret_names))?;
        words::literal_secret(sink, place, &parsed);
        return Some(ValuePlan::Template(parsed));
    }
    if given.is_string() {
        value(sink, place, given, open.with(&secret_names))
    } else {
        value(sink, place, given, open)
    }
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
pub(super) fn templates<'p>(plan: &'p ValuePlan, found: &mut Vec<&'p Template>) {
    match plan {
        ValuePlan::Fixed(_) => {}
        ValuePlan::Template(template) => found.push(template),
        ValuePlan::List(items) => items.iter().for_each(|item| templates(item, found)),
        ValuePlan::Map(members) => members.iter().for_each(|(_, item)| templates(item, found)),
    }
}

pub(super) fn request_templates(plan: &RequestPlan) -> Vec<&Template> {
    let RequestPlan { method: _, path, query, headers, body } = plan;
    let mut found = vec![path];
    match body {
        BodyPlan::None => {}
        BodyPlan::Json(value) => templates(value, &mut found),
        BodyPlan::Form(members) | BodyPlan::Graphql { variables: members, query: _ } => {
            members.iter().for_each(|(_, item)| templates(item, &mut found));
        }
        BodyPlan::Text(template) => found.push(template),
        BodyPlan::Multipart(fields) => found.extend(fields.iter().map(|(_, template)| template)),
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
    named_credentials(request_templates(plan))
}

/// The credentials that templates name.
pub(super) fn named_credentials<'t>(templates: impl IntoIterator<Item = &'t Template>) -> BTreeSet<String> {
    let variables = templates.into_iter().flat_map(Template::variables);
    variables.filter_map(|name| name.strip_prefix("credentials.")).map(str::to_owned).collect()
}
