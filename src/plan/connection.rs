//! Connections: a provider's words with one account's settings.

use std::collections::BTreeMap;
use std::time::Duration;

use indexmap::IndexMap;
use minijinja::context;
use serde_json::{Map, Value};
use url::Url;

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{
    AuthPlan, ConnectionPlan, CredentialSource, KeyPlace, RatePlan, RetryPlan, Template, limits, paging, request, sync,
    words,
};
use crate::diagnostic::{did_you_mean, suggest};
use crate::spec::finding::check_against;
use crate::spec::{
    ApiKeySpec, AuthSpec, BackoffSpec, BasicSpec, BearerSpec, ConnectionSpec, PaginationSpec, ProviderSpec,
    RateLimitSpec, RetrySpec, TimeoutSpec,
};

const AUTH_VARIABLES: [&str; 3] = ["config", "connection", "credentials"];

/// What is true of a provider whatever the connection.
#[derive(Debug, Clone)]
pub(super) struct ProviderDraft {
    base_url: Template,
    auth: IndexMap<String, AuthPlan>,
    rate_limit: RatePlan,
    retry: RetryPlan,
    timeout_connect: Duration,
    timeout_request: Duration,
    trusted_origins: Vec<String>,
}

/// Compiles a provider; `None` where a mistake was found.
pub(super) fn provider(sink: &mut Sink, place: &Place<'_>, spec: &ProviderSpec) -> Option<ProviderDraft> {
    let ProviderSpec {
        provider: name,
        title: _,
        docs: _,
        base_url,
        config,
        auth,
        headers,
        query,
        rate_limit,
        retry,
        timeout,
        pagination,
        trusted_origins,
    } = spec;
    words::name(sink, &place.key("provider"), name, true);
    if RESERVED.contains(&name.as_str()) {
        let message = format!("`{name}` is a schema that headwater or DuckDB keeps for itself");
        let hint = format!("name the provider after its API: `{name}-api`");
        sink.error("E025", &place.key("provider"), message, Some(hint));
    }
    let config = config.as_ref().filter(|schema| words::json_schema(sink, &place.key("config"), "config", schema));
    defaults(sink, place, headers, query, pagination.as_ref(), config);
    let variables = Variables { names: &["config", "connection"], config, input: None };
    let base_url = template(sink, &place.key("base_url"), base_url, variables);
    // what the settings bring is seen where there is a connection; the rest of the URL is judged here
    let sample = base_url.as_ref().map(|url| url.sample("x")).filter(|sample| sample != "x");
    let is_url = sample.is_none_or(|sample| as_base_url(sink, &place.key("base_url"), &sample).is_some());
    let variables = variables.with(&AUTH_VARIABLES);
    let mut ways = IndexMap::new();
    let mut good = true;
    for (name, spec) in auth.iter().flatten() {
        match auth_plan(sink, &place.key("auth").key(name), spec, variables) {
            Some(plan) => drop(ways.insert(name.clone(), plan)),
            None => good = false,
        }
    }
    let rate_limit = rate_plan(sink, &place.key("rate_limit"), rate_limit.as_ref());
    let retry = retry_plan(sink, &place.key("retry"), retry.as_ref());
    let (connect, request) = match timeout {
        None => (None, None),
        Some(TimeoutSpec { connect, request }) => (connect.as_ref(), request.as_ref()),
    };
    let place_timeout = place.key("timeout");
    let mut seconds = |key: &str, text: Option<&String>, default| match text {
        None => Some(Duration::from_secs(default)),
        Some(text) => words::some_duration(sink, &place_timeout.key(key), text),
    };
    let timeout_connect = seconds("connect", connect, 10);
    let timeout_request = seconds("request", request, 120);
    let trusted_origins = origins(sink, &place.key("trusted_origins"), trusted_origins);
    let draft = ProviderDraft {
        base_url: base_url?,
        auth: ways,
        rate_limit: rate_limit?,
        retry: retry?,
        timeout_connect: timeout_connect?,
        timeout_request: timeout_request?,
        trusted_origins,
    };
    (good && is_url).then_some(draft)
}

/// Schemas that are taken.
const RESERVED: [&str; 6] = ["headwater", "main", "temp", "system", "information_schema", "pg_catalog"];

/// What the provider says for all its syncs is checked here too: it may have no sync yet.
fn defaults(
    sink: &mut Sink,
    place: &Place<'_>,
    headers: &IndexMap<String, String>,
    query: &IndexMap<String, Value>,
    pagination: Option<&PaginationSpec>,
    config: Option<&Value>,
) {
    let secret = Variables { names: &sync::SECRET, config, input: None };
    for (name, text) in headers {
        request::header(sink, &place.key("headers").key(name), name, text, secret);
    }
    for (name, given) in query {
        request::parameter(sink, &place.key("query").key(name), given, secret.with(&sync::OPEN), secret);
    }
    if let Some(spec) = pagination {
        paging::pagination(sink, &place.key("pagination"), spec, secret.with(&sync::OPEN));
    }
}

fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// Nothing but scheme, host, port and path.
fn is_plain(url: &Url) -> bool {
    url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none()
}

fn origins(sink: &mut Sink, place: &Place<'_>, texts: &[String]) -> Vec<String> {
    let mut origins = Vec::with_capacity(texts.len());
    for (index, origin) in texts.iter().enumerate() {
        match http_url(origin).filter(|url| url.path() == "/" && is_plain(url)) {
            Some(url) => origins.push(url.origin().ascii_serialization()),
            None => {
                let hint = "an origin is scheme and host: `https://files.example.com`".to_owned();
                let message = format!("`{}` is not an origin", words::shorten(origin));
                sink.error("E040", &place.index(index), message, Some(hint));
            }
        }
    }
    origins
}

fn auth_plan(sink: &mut Sink, place: &Place<'_>, spec: &AuthSpec, variables: Variables<'_>) -> Option<AuthPlan> {
    let mut text = |key: &str, kind: &str, given: Option<&String>, default: &str| {
        template(sink, &place.key(kind).key(key), given.map_or(default, String::as_str), variables)
    };
    match spec {
        AuthSpec::None {} => Some(AuthPlan::None),
        AuthSpec::ApiKey(ApiKeySpec { header, query, cookie, value }) => {
            let value = text("value", "api_key", value.as_ref(), "{{ credentials.api_key }}");
            let place = match (header, query, cookie) {
                (Some(name), None, None) => {
                    KeyPlace::Header(words::header_name(sink, &place.key("api_key").key("header"), name)?)
                }
                (None, Some(name), None) => KeyPlace::Query(name.clone()),
                (None, None, Some(name)) => KeyPlace::Cookie(name.clone()),
                (None, None, None) => {
                    let message = "it is not said where the key goes: `header`, `query` or `cookie`";
                    let hint = "name the header that takes it: `header: X-Api-Key`".to_owned();
                    sink.key_error("E062", &place.key("api_key"), message, Some(hint));
                    return None;
                }
                _ => {
                    let message = "the key goes to one place only: `header`, `query` or `cookie`";
                    sink.key_error("E062", &place.key("api_key"), message, Some("keep one of them".to_owned()));
                    return None;
                }
            };
            Some(AuthPlan::ApiKey { place, value: value? })
        }
        AuthSpec::Basic(BasicSpec { username, password }) => {
            let username = text("username", "basic", username.as_ref(), "{{ credentials.username }}");
            let password = text("password", "basic", password.as_ref(), "{{ credentials.password }}");
            Some(AuthPlan::Basic { username: username?, password: password? })
        }
        AuthSpec::Bearer(BearerSpec { token }) => {
            let token = text("token", "bearer", token.as_ref(), "{{ credentials.token }}");
            Some(AuthPlan::Bearer { token: token? })
        }
    }
}

fn rate_plan(sink: &mut Sink, place: &Place<'_>, spec: Option<&RateLimitSpec>) -> Option<RatePlan> {
    let Some(RateLimitSpec { quotas, concurrency }) = spec else {
        return Some(RatePlan { quotas: Vec::new(), concurrency: 4 });
    };
    let parsed: Vec<_> = quotas
        .iter()
        .enumerate()
        .map(|(index, text)| words::quota(sink, &place.key("quotas").index(index), text))
        .collect();
    Some(RatePlan { quotas: parsed.into_iter().collect::<Option<_>>()?, concurrency: concurrency.unwrap_or(4) })
}

fn retry_plan(sink: &mut Sink, place: &Place<'_>, spec: Option<&RetrySpec>) -> Option<RetryPlan> {
    let (attempts, statuses, backoff) = match spec {
        Some(RetrySpec { attempts, statuses, backoff }) => (*attempts, statuses.clone(), backoff.as_ref()),
        None => (None, None, None),
    };
    let (base, max) = match backoff {
        Some(BackoffSpec { base, max }) => (base.as_ref(), max.as_ref()),
        None => (None, None),
    };
    let place = place.key("backoff");
    let backoff_base = optional_duration(sink, &place.key("base"), base, Duration::from_secs(1));
    let backoff_max = optional_duration(sink, &place.key("max"), max, Duration::from_secs(300));
    Some(RetryPlan {
        attempts: attempts.unwrap_or(limits::RETRY_ATTEMPTS).min(limits::RETRY_ATTEMPTS_MAX),
        statuses: statuses.unwrap_or_else(|| vec![408, 425, 429, 500, 502, 503, 504]),
        backoff_base: backoff_base?,
        backoff_max: backoff_max?,
    })
}

fn optional_duration(sink: &mut Sink, place: &Place<'_>, text: Option<&String>, default: Duration) -> Option<Duration> {
    text.map_or(Some(default), |text| words::duration(sink, place, text))
}

/// Compiles a connection; `None` where a mistake was found.
pub(super) fn connection(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    spec: &ConnectionSpec,
    provider_spec: &ProviderSpec,
    draft: &ProviderDraft,
    credentials: BTreeMap<String, CredentialSource>,
) -> Option<ConnectionPlan> {
    let ConnectionSpec { provider, auth, base_url, credentials: _, config, syncs: _ } = spec;
    let auth = pick_auth(sink, place, auth.as_ref(), draft);
    for credential in auth.iter().flat_map(auth_credentials) {
        credential_is_given(sink, place, credential, &credentials);
    }
    let config = settings(sink, &place.key("config"), config, provider_spec.config.as_ref(), "E045");
    let variables = context! {
        config => minijinja::Value::from(minijinja::value::Serde(config.as_ref()?)),
        connection => context! { name },
    };
    let (url_place, rendered) = match base_url {
        Some(url) => {
            no_environment(sink, &place.key("base_url"), &Value::String(url.clone()))?;
            (place.key("base_url"), Ok(url.clone()))
        }
        None => (place.clone(), base_url_text(&draft.base_url, &variables)),
    };
    let base_url = match rendered {
        Err(error) => {
            let message = format!("the base URL of `{provider}` has no value: {error}");
            sink.key_error("E040", &url_place, message, Some("give it in `config`".into()));
            None
        }
        Ok(text) => as_base_url(sink, &url_place, &text),
    };
    let ProviderDraft { base_url: _, auth: _, rate_limit, retry, timeout_connect, timeout_request, trusted_origins } =
        draft;
    Some(ConnectionPlan {
        name: name.to_owned(),
        provider: provider.clone(),
        base_url: base_url?,
        trusted_origins: trusted_origins.clone(),
        auth: auth?,
        credentials,
        config: config?,
        rate_limit: rate_limit.clone(),
        retry: retry.clone(),
        timeout_connect: *timeout_connect,
        timeout_request: *timeout_request,
    })
}

fn as_base_url(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Url> {
    let url = http_url(text);
    if let Some(url) = url.as_ref().filter(|url| is_plain(url)) {
        return Some(url.clone());
    }
    let (message, hint) = match url {
        Some(url) if !url.username().is_empty() || url.password().is_some() => (
            "a base URL holds no user name or password".to_owned(),
            "send them with `basic` under `auth:` of the provider",
        ),
        Some(_) => (
            format!("the base URL `{}` has a query or a fragment", words::shorten(text)),
            "parameters of every request stand under `query:` of the provider",
        ),
        None => (
            format!("`{}` is not a base URL", words::shorten(text)),
            "a base URL looks like `https://api.example.com/v2`",
        ),
    };
    sink.error("E040", place, message, Some(hint.to_owned()));
    None
}

/// A value in a base URL must not move it to another host or path: it is encoded as in a path, and a host takes no such characters.
fn base_url_text(template: &Template, variables: &minijinja::Value) -> Result<String, super::TemplateError> {
    template.render_path(variables)
}

fn pick_auth(sink: &mut Sink, place: &Place<'_>, wanted: Option<&String>, draft: &ProviderDraft) -> Option<AuthPlan> {
    let names = || draft.auth.keys().map(String::as_str);
    match (wanted, draft.auth.len()) {
        (None, 0) => Some(AuthPlan::None),
        (None, 1) => draft.auth.first().map(|(_, plan)| plan.clone()),
        (None, _) => {
            sink.key_error(
                "E023",
                place,
                "the provider has several ways in; pick one with `auth:`",
                suggest("", names()),
            );
            None
        }
        (Some(name), _) => {
            let plan = draft.auth.get(name).cloned();
            if plan.is_none() {
                sink.error(
                    "E023",
                    &place.key("auth"),
                    format!("the provider has no auth `{name}`"),
                    suggest(name, names()),
                );
            }
            plan
        }
    }
}

pub(super) fn credential_sources(
    sink: &mut Sink,
    place: &Place<'_>,
    given: &IndexMap<String, String>,
) -> BTreeMap<String, CredentialSource> {
    let mut sources = BTreeMap::new();
    for (name, text) in given {
        let source = match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
            Some(variable)
                if !variable.is_empty() && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') =>
            {
                CredentialSource::Environment(variable.to_owned())
            }
            Some(_) => {
                let hint = "a reference is `${NAME}`: letters, digits and `_`, and nothing around it".to_owned();
                sink.error("E046", &place.key(name), "this names no environment variable", Some(hint));
                CredentialSource::Environment(String::new())
            }
            None => {
                let hint = format!("put it into the environment and write `${{{}}}`", name.to_uppercase());
                sink.warning(
                    "W081",
                    &place.key(name),
                    format!("the secret `{name}` stands in the YAML file"),
                    Some(hint),
                );
                CredentialSource::Literal(text.clone().into())
            }
        };
        sources.insert(name.clone(), source);
    }
    sources
}

fn auth_credentials(auth: &AuthPlan) -> impl Iterator<Item = &str> {
    let templates: Vec<&Template> = match auth {
        AuthPlan::None => Vec::new(),
        AuthPlan::ApiKey { place: _, value } => vec![value],
        AuthPlan::Basic { username, password } => vec![username, password],
        AuthPlan::Bearer { token } => vec![token],
    };
    templates.into_iter().flat_map(Template::variables).filter_map(|name| name.strip_prefix("credentials."))
}

/// A credential that some template names must be one of the connection's, which stands at `place`.
pub(super) fn credential_is_given(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    given: &BTreeMap<String, CredentialSource>,
) {
    if given.contains_key(name) || place.key("credentials").key(name).is_hole() {
        return;
    }
    let hint = match did_you_mean(name, given.keys().map(String::as_str)) {
        Some(near) => format!("rename `{near}` to `{name}`"),
        None => format!("add `credentials: {{ {name}: \"${{{}}}\" }}`", name.to_uppercase()),
    };
    sink.key_error("E047", place, format!("the credential `{name}` is not given"), Some(hint));
}

/// `${NAME}` is read under `credentials` alone; elsewhere it would be sent as it stands.
fn no_environment(sink: &mut Sink, place: &Place<'_>, value: &Value) -> Option<()> {
    match value {
        Value::String(text) if text.contains("${") => {
            let hint = "settings are written into the file; secrets go under `credentials`".to_owned();
            let message = format!("the environment is not read here: `{}`", words::shorten(text));
            sink.error("E046", place, message, Some(hint));
            None
        }
        Value::Array(items) => {
            let wrong = items
                .iter()
                .enumerate()
                .filter(|(index, item)| no_environment(sink, &place.index(*index), item).is_none());
            (wrong.count() == 0).then_some(())
        }
        Value::Object(members) => {
            let wrong = members.iter().filter(|(name, item)| no_environment(sink, &place.key(name), item).is_none());
            (wrong.count() == 0).then_some(())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Some(()),
    }
}

/// Fills in the schema's defaults and checks the result.
pub(super) fn settings(
    sink: &mut Sink,
    place: &Place<'_>,
    given: &Map<String, Value>,
    schema: Option<&Value>,
    code: &'static str,
) -> Option<Value> {
    let mut settings = given.clone();
    let given_well =
        given.iter().filter(|(name, value)| no_environment(sink, &place.key(name), value).is_some()).count();
    if given_well < given.len() {
        return None;
    }
    let Some(schema) = schema else { return Some(Value::Object(settings)) };
    for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if let Some(default) = property.get("default")
            && !settings.contains_key(name)
        {
            settings.insert(name.clone(), default.clone());
        }
    }
    let settings = Value::Object(settings);
    match check_against(schema, &settings) {
        Ok(findings) if findings.is_empty() => Some(settings),
        Ok(findings) => {
            for mut finding in findings {
                finding.code = code;
                let (key, owner) = if code == "E048" { ("input", "sync") } else { ("config", "provider") };
                finding.hint.get_or_insert_with(|| format!("`{key}` of the {owner} says what is allowed"));
                if place.node().is_none() {
                    sink.key_error(code, place, finding.message, finding.hint);
                } else {
                    sink.findings(place, vec![finding]);
                }
            }
            None
        }
        Err(_) => None,
    }
}
