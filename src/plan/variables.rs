//! What templates may name, and where.

use serde_json::Value;

use super::Template;
use super::place::{Place, Sink};
use crate::diagnostic::{did_you_mean, suggest};

/// The variables a template may name at one kind of place, and the members of those whose members are known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variables<'a> {
    /// names of variables
    pub(super) names: &'a [&'a str],
    /// the `config` schema of the provider
    pub(super) config: Option<&'a Value>,
    /// the `input` schema of the sync
    pub(super) input: Option<&'a Value>,
    /// the members of `parent`, `walk`, `steps`: what the document itself names
    pub(super) members: &'a [(&'a str, Vec<&'a str>)],
}

impl<'a> Variables<'a> {
    pub(super) fn new(names: &'a [&'a str], config: Option<&'a Value>) -> Self {
        Self { names, config, input: None, members: &[] }
    }

    pub(super) fn with(self, names: &'a [&'a str]) -> Self {
        Self { names, ..self }
    }

    /// These names and `more`; give it to [`Variables::with`].
    pub(super) fn and(self, more: &[&'a str]) -> Vec<&'a str> {
        self.names.iter().chain(more).copied().collect()
    }

    /// These names without some.
    pub(super) fn but(self, less: &[&str]) -> Vec<&'a str> {
        self.names.iter().filter(|name| !less.contains(name)).copied().collect()
    }
}

/// Every variable of the language, to tell "not here" from "nowhere".
const ALL: [&str; 19] = [
    "config",
    "input",
    "variant",
    "connection",
    "watermark",
    "window",
    "page",
    "parent",
    "walk",
    "job",
    "run",
    "record",
    "records",
    "response",
    "credentials",
    "event",
    "body",
    "steps",
    "item",
];

/// The variables whose members are always the same.
const MEMBERS: [(&str, &[&str]); 7] = [
    ("connection", &["name"]),
    ("run", &["started_at"]),
    ("response", &["body", "headers", "status"]),
    ("window", &["start", "end"]),
    ("page", &["cursor"]),
    ("job", &["id", "part", "index"]),
    ("request", &["headers", "query", "method", "url", "timestamp", "body"]),
];

/// Where a variable is to be had.
const PLACES: [(&str, &str); 14] = [
    (
        "watermark",
        "there is a watermark in the request of a sync that has `incremental: { field: $.updated_at }` (with `changes`, in theirs), and of a `feed` that has `field`",
    ),
    (
        "window",
        "there are windows in the request of a sync that has `incremental: { window: { size: 7 days } }` (with `changes`, in theirs)",
    ),
    (
        "page",
        "there is a `page` in a request that has `pagination: { cursor: … }`, `offset` or `page` beside it; that of a sync is not that of the lists under `deletes`, `changes`, `for_each` and `detail`",
    ),
    (
        "parent",
        "there is a parent in the request of a sync that has `for_each`, and in columns that only such syncs fill",
    ),
    ("walk", "there is a `walk.<name>` in the request of a sync that has `walk: { bind: … }`"),
    ("job", "there is a `job.id` in the `poll` and `download` of a `job`"),
    ("record", "there is a record in columns, in conditions on records and in the request of a `detail`"),
    ("response", "there is a response in `errors`, `stop`, `split` and `expired`, and in the `download` of a `job`"),
    ("records", "there are records in the request of a `detail` that has `batch`"),
    ("event", "there is an event in `webhooks` and `on_webhook`"),
    ("body", "there is a body in `webhooks`; the answer to a request is `response.body`"),
    ("request", "there is a request in `webhooks` and `on_webhook`"),
    ("steps", "a step of an action names the answers of those before it"),
    ("item", "there is an item in `columns_from`"),
];

/// What other tools call the variables.
const ELSEWHERE: [(&str, &[&str]); 13] = [
    ("run.started_at", &["now", "today", "utcnow"]),
    ("credentials", &["env", "secrets", "secret", "auth"]),
    ("watermark", &["since", "state", "last_run", "last_sync", "updated_since", "incremental"]),
    ("window", &["slice", "range", "stream_interval", "stream_slice"]),
    ("parent", &["stream_partition", "partition", "resources"]),
    ("page", &["cursor", "next_page_token", "next_cursor"]),
    ("input", &["params", "parameters", "args", "metadata"]),
    ("record", &["row", "item", "object"]),
    ("request.headers", &["headers"]),
    ("request.query", &["query"]),
    ("response.headers", &["headers"]),
    ("response.status", &["status", "status_code"]),
    ("response.body", &["body", "json"]),
];

/// What other tools call the members.
const MEMBERS_ELSEWHERE: [(&str, &str, &[&str]); 6] = [
    ("response", "status", &["code", "status_code", "http_code"]),
    ("response", "body", &["json", "data", "text", "content"]),
    ("window", "start", &["from", "begin", "since", "start_time", "start_date", "lower"]),
    ("window", "end", &["to", "until", "end_time", "end_date", "upper"]),
    ("request", "body", &["raw", "raw_body", "data", "text", "payload"]),
    ("run", "started_at", &["now", "time", "date", "start"]),
];

/// Parses a template and checks that what it names is known at this place.
pub(super) fn template(sink: &mut Sink, place: &Place<'_>, text: &str, variables: Variables<'_>) -> Option<Template> {
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            let hint = error.hint();
            sink.error("E031", place, format!("the template does not parse: {error}"), hint);
            return None;
        }
    };
    let mut good = true;
    for name in template.variables() {
        let root = name.split('.').next().unwrap_or(name);
        good &= match variables.names.contains(&root) {
            true => member_is_known(sink, place, name, variables),
            false => {
                unknown(sink, place, root, variables);
                false
            }
        };
    }
    good.then_some(template)
}

fn unknown(sink: &mut Sink, place: &Place<'_>, root: &str, variables: Variables<'_>) {
    let names = variables.names;
    match root {
        "credentials" => {
            let hint =
                "secrets can be named only in `headers`, `query`, `auth` (in no URL), `tls` and `verify` of `webhooks`"
                    .to_owned();
            sink.error("E033", place, "`credentials` cannot be used here", Some(hint));
        }
        root if ALL.contains(&root) || PLACES.iter().any(|(name, _)| *name == root) => {
            let message = format!("the variable `{root}` has no value here");
            let hint = PLACES.iter().find(|(name, _)| *name == root).map(|(_, hint)| (*hint).to_owned());
            sink.error("E032", place, message, hint.or_else(|| suggest("", names.iter().copied())));
        }
        root => {
            let is_here = |name: &str| names.contains(&name.split('.').next().unwrap_or(name));
            let here =
                ELSEWHERE.iter().find(|(name, words)| words.contains(&root) && is_here(name)).map(|(name, _)| *name);
            let member = ["parent", "walk", "steps", "config", "input"].into_iter().find(|owner| {
                let known = names.contains(owner).then(|| known_members(owner, variables));
                known.flatten().is_some_and(|known| known.contains(&root))
            });
            let hint = match (member, here) {
                (Some(owner), _) => Some(format!("did you mean `{owner}.{root}`?")),
                (None, Some(name)) => Some(format!("did you mean `{name}`?")),
                _ if did_you_mean(root, names.iter().copied()).is_none() && names.contains(&"record") => {
                    Some(format!("a field of the record is `record.{root}`"))
                }
                _ => suggest(root, names.iter().copied()),
            };
            sink.error("E032", place, format!("there is no variable `{root}`"), hint);
        }
    }
}

fn member_is_known(sink: &mut Sink, place: &Place<'_>, name: &str, variables: Variables<'_>) -> bool {
    let mut segments = name.split('.');
    let (Some(root), Some(member)) = (segments.next(), segments.next()) else { return true };
    let Some(known) = known_members(root, variables) else { return true };
    if known.contains(&member) {
        return true;
    }
    let elsewhere = MEMBERS_ELSEWHERE.iter().find(|(owner, _, names)| *owner == root && names.contains(&member));
    let hint = match elsewhere {
        Some((owner, ours, _)) => Some(format!("did you mean `{owner}.{ours}`?")),
        None if known.is_empty() => Some(format!("the {root} has none: write them under `{root}:`")),
        None => suggest(member, known),
    };
    sink.error("E032", place, format!("`{root}` has no member `{member}`"), hint);
    false
}

/// The members of a variable, where all of them are known.
fn known_members<'v>(root: &str, variables: Variables<'v>) -> Option<Vec<&'v str>> {
    let schema = match root {
        "config" => variables.config,
        "input" => variables.input,
        _ => None,
    };
    let own = variables.members.iter().find(|(name, _)| *name == root).map(|(_, members)| members.clone());
    let fixed = own.or_else(|| MEMBERS.iter().find(|(name, _)| *name == root).map(|(_, members)| members.to_vec()));
    fixed.or_else(|| members(schema?))
}

/// The members a JSON Schema names, if it names all.
fn members(schema: &Value) -> Option<Vec<&str>> {
    let more = schema.get("additionalProperties").is_some_and(|more| more != &Value::Bool(false));
    let properties = schema.get("properties").and_then(Value::as_object).filter(|_| !more)?;
    Some(properties.keys().map(String::as_str).collect())
}
