//! Providers: what is true of an API whatever the connection.

use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};
use url::Url;

use super::auth::{self, auth_plan};
use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{
    AuthPlan, ErrorAction, ErrorRule, LearnPlan, NetworkPlan, RateHeaders, RatePlan, RequestPlan, ResetKind, RetryPlan,
    Template, TlsPlan, WebhooksPlan, limits, paging, request, sync, webhook, words,
};
use crate::spec::{
    BackoffSpec, ErrorActionSpec, ErrorRuleSpec, LearnSpec, NetworkSpec, PaginationSpec, ProviderSpec, RateHeadersSpec,
    RateLimitSpec, ResetKindSpec, ResetSpec, RetrySpec, TimeoutSpec, TlsSpec,
};

/// A provider's words, with what is needed to read them.
#[derive(Debug)]
pub(super) struct ProviderWords<'a> {
    /// the top of its document
    pub(super) place: Place<'a>,
    /// what it says
    pub(super) spec: &'a ProviderSpec,
    /// the settings that templates may name: those of `config`, and what the API tells
    pub(super) config: Option<Value>,
}

impl<'a> ProviderWords<'a> {
    pub(super) fn new(place: Place<'a>, spec: &'a ProviderSpec) -> Self {
        let mut config = spec.config.clone().filter(|schema| crate::spec::finding::check_schema(schema).is_ok());
        let saved: Vec<&str> = saved(spec).collect();
        if !saved.is_empty() {
            let schema = config.get_or_insert_with(|| json!({ "type": "object" }));
            if schema.get("properties").is_none() {
                schema["properties"] = Value::Object(Map::new());
            }
            for name in saved {
                schema["properties"][name] = json!({});
            }
        }
        Self { place, spec, config }
    }

    /// What templates may name that are filled in for a request of this provider, by name.
    pub(super) fn variables<'v>(&'v self, names: &'v [&'v str]) -> Variables<'v> {
        Variables::new(names, self.config.as_ref())
    }
}

/// The settings that no person gives: the API tells them.
pub(super) fn saved(spec: &ProviderSpec) -> impl Iterator<Item = &str> {
    let learned = spec.on_connect.iter().flat_map(|learn| learn.save.keys());
    let told =
        spec.auth.iter().flat_map(IndexMap::values).filter_map(auth::token_of).flat_map(|token| token.save.keys());
    learned.chain(told).map(String::as_str)
}

/// What is true of a provider whatever the connection.
#[derive(Debug, Clone)]
pub(super) struct ProviderDraft {
    pub(super) base_url: Option<Template>,
    pub(super) auth: IndexMap<String, AuthPlan>,
    pub(super) rate_limit: RatePlan,
    pub(super) retry: RetryPlan,
    pub(super) errors: Vec<ErrorRule>,
    pub(super) timeout_connect: Duration,
    pub(super) timeout_request: Duration,
    pub(super) trusted_origins: Vec<String>,
    pub(super) network: NetworkPlan,
    pub(super) verify: Option<RequestPlan>,
    pub(super) on_connect: Vec<LearnPlan>,
    pub(super) webhooks: Option<WebhooksPlan>,
    pub(super) tls: Option<TlsPlan>,
}

/// What requests beside those of syncs may name.
pub(super) const REQUEST_VARIABLES: [&str; 3] = ["config", "connection", "run"];

/// Compiles a provider; `None` where a mistake was found. `extended` says that others extend it.
pub(super) fn provider(sink: &mut Sink, words: &ProviderWords<'_>, extended: bool) -> Option<ProviderDraft> {
    let ProviderWords { place, spec, config } = words;
    let ProviderSpec {
        provider: name,
        extends: _,
        title: _,
        docs: _,
        category: _,
        base_url,
        config: schema,
        auth,
        headers,
        query,
        rate_limit,
        retry,
        errors,
        timeout,
        pagination,
        trusted_origins,
        network,
        verify,
        on_connect,
        webhooks,
        tls,
        allow,
    } = spec;
    provider_name(sink, &place.key("provider"), name);
    words::allow(sink, place, allow);
    if let Some(schema) = schema {
        words::json_schema(sink, &place.key("config"), "config", schema);
    }
    defaults(sink, words, headers, query, pagination.as_ref());
    let base_url = base_url_template(sink, words, base_url.as_ref(), extended);
    let variables = Variables::new(&auth::AUTH_VARIABLES, config.as_ref());
    let ways: Vec<Option<(String, AuthPlan)>> = auth
        .iter()
        .flatten()
        .map(|(name, spec)| {
            Some((name.clone(), auth_plan(sink, &place.key("auth").key(name), spec, words, variables)?))
        })
        .collect();
    let rate_limit = rate_plan(sink, &place.key("rate_limit"), rate_limit.as_ref());
    let retry = retry_plan(sink, &place.key("retry"), retry.as_ref());
    let timeouts = timeouts(sink, &place.key("timeout"), timeout.as_ref());
    let open = words.variables(&REQUEST_VARIABLES);
    let errors = error_rules(sink, &place.key("errors"), errors, open);
    let verify =
        words::optional(verify.as_ref(), |spec| request::request(sink, &place.key("verify"), spec, words, open));
    let on_connect = on_connect_plans(sink, &place.key("on_connect"), on_connect, words);
    let webhooks =
        words::optional(webhooks.as_ref(), |spec| webhook::webhooks(sink, &place.key("webhooks"), spec, words));
    let tls = words::optional(tls.as_ref(), |spec| tls_plan(sink, &place.key("tls"), spec, variables));
    let trusted_origins = origins(sink, &place.key("trusted_origins"), trusted_origins);
    let (timeout_connect, timeout_request) = timeouts?;
    Some(ProviderDraft {
        base_url: base_url?,
        auth: ways.into_iter().collect::<Option<_>>()?,
        rate_limit: rate_limit?,
        retry: retry?,
        errors: errors?,
        timeout_connect,
        timeout_request,
        trusted_origins,
        network: network_plan(network.as_ref()),
        verify: verify?,
        on_connect: on_connect?,
        webhooks: webhooks?,
        tls: tls?,
    })
}

fn provider_name(sink: &mut Sink, place: &Place<'_>, name: &str) {
    words::name(sink, place, name, true);
    if RESERVED.contains(&name) {
        let message = format!("`{name}` is a schema that headwater or DuckDB keeps for itself");
        let hint = format!("name the provider after its API: `{name}-api`");
        sink.error("E025", place, message, Some(hint));
    }
}

/// The base URL, if there is one; `None` where a mistake was found.
fn base_url_template(
    sink: &mut Sink,
    words: &ProviderWords<'_>,
    text: Option<&String>,
    extended: bool,
) -> Option<Option<Template>> {
    let top = &words.place;
    let Some(text) = text else {
        if !extended && !top.is_broken() {
            let hint = "add `base_url: https://api.example.com`".to_owned();
            sink.error("E011", top, "the key `base_url` is missing", Some(hint));
            return None;
        }
        return Some(None);
    };
    let place = top.key("base_url");
    let template = template(sink, &place, text, words.variables(&["config", "connection"]))?;
    // what the settings bring is seen where there is a connection; the rest of the URL is judged here
    let sample = template.sample("x");
    if sample != "x" && !sample.starts_with("x/") {
        as_base_url(sink, &place, &sample)?;
    }
    Some(Some(template))
}

fn network_plan(spec: Option<&NetworkSpec>) -> NetworkPlan {
    let Some(NetworkSpec { allow_http, allow_private, follow_redirects }) = spec else { return NetworkPlan::default() };
    NetworkPlan { allow_http: *allow_http, allow_private: *allow_private, follow_redirects: *follow_redirects }
}

fn timeouts(sink: &mut Sink, place: &Place<'_>, spec: Option<&TimeoutSpec>) -> Option<(Duration, Duration)> {
    let (connect, request) = match spec {
        None => (None, None),
        Some(TimeoutSpec { connect, request }) => (connect.as_ref(), request.as_ref()),
    };
    let mut seconds = |key: &str, text: Option<&String>, default| match text {
        None => Some(Duration::from_secs(default)),
        Some(text) => words::some_duration(sink, &place.key(key), text),
    };
    let (connect, request) = (seconds("connect", connect, 10), seconds("request", request, 120));
    Some((connect?, request?))
}

/// Rules over answers that are not what was asked for, of a provider or a sync.
pub(super) fn error_rules(
    sink: &mut Sink,
    place: &Place<'_>,
    specs: &[ErrorRuleSpec],
    variables: Variables<'_>,
) -> Option<Vec<ErrorRule>> {
    let names = variables.and(&["response"]);
    let rules: Vec<_> = specs
        .iter()
        .enumerate()
        .map(|(index, spec)| {
            let ErrorRuleSpec { status, when, then, wait, after, message } = spec;
            let place = place.index(index);
            if status.is_none() && when.is_none() {
                let hint =
                    "name the `status`, or a condition: `when: \"{{ response.body.error == 'busy' }}\"`".to_owned();
                sink.error("E100", &place, "the rule fits every answer, successes too", Some(hint));
                return None;
            }
            // each is judged, whatever is wrong with the other
            let when = words::optional_template(sink, &place.key("when"), when.as_ref(), variables.with(&names));
            let wait = words::optional_template(sink, &place.key("wait"), wait.as_ref(), variables.with(&names));
            if spec.wait.is_some() && *then != ErrorActionSpec::Retry {
                let hint = "say `then: retry`, or take `wait` out".to_owned();
                let message = "`wait` is for a request that is sent again";
                sink.key_error("E100", &place.key("wait"), message, Some(hint));
                return None;
            }
            let then = match then {
                ErrorActionSpec::Retry => ErrorAction::Retry,
                ErrorActionSpec::Accept => ErrorAction::Accept,
                ErrorActionSpec::Fail => ErrorAction::Fail,
                ErrorActionSpec::Empty => ErrorAction::Empty,
                ErrorActionSpec::SkipPage => ErrorAction::SkipPage,
                ErrorActionSpec::SkipPartition => ErrorAction::SkipPartition,
                ErrorActionSpec::RefreshAuth => ErrorAction::RefreshAuth,
                ErrorActionSpec::Reset => ErrorAction::Reset,
                ErrorActionSpec::Reconnect => ErrorAction::Reconnect,
            };
            let (when, wait, message) = (when?, wait?, message.clone());
            Some(ErrorRule { status: *status, when, then, wait, after: after.unwrap_or(1), message })
        })
        .collect();
    rules.into_iter().collect()
}

fn on_connect_plans(
    sink: &mut Sink,
    place: &Place<'_>,
    specs: &[LearnSpec],
    words: &ProviderWords<'_>,
) -> Option<Vec<LearnPlan>> {
    let plans: Vec<_> = specs
        .iter()
        .enumerate()
        .map(|(index, LearnSpec { request: spec, save })| {
            let place = place.index(index);
            let open = words.variables(&REQUEST_VARIABLES);
            let request = request::request(sink, &place.key("request"), spec, words, open);
            let save = words::paths(sink, &place.key("save"), save);
            Some(LearnPlan { request: request?, save: save? })
        })
        .collect();
    plans.into_iter().collect()
}

fn tls_plan(sink: &mut Sink, place: &Place<'_>, spec: &TlsSpec, variables: Variables<'_>) -> Option<TlsPlan> {
    let TlsSpec { client_certificate, client_key, authority } = spec;
    let certificate = template(sink, &place.key("client_certificate"), client_certificate, variables);
    let key = words::optional_template(sink, &place.key("client_key"), client_key.as_ref(), variables);
    let authority = words::optional_template(sink, &place.key("authority"), authority.as_ref(), variables);
    Some(TlsPlan { client_certificate: certificate?, client_key: key?, authority: authority? })
}

/// Schemas that are taken.
const RESERVED: [&str; 6] = ["headwater", "main", "temp", "system", "information_schema", "pg_catalog"];

/// What the provider says for all its syncs is checked here too: it may have no sync yet.
fn defaults(
    sink: &mut Sink,
    words: &ProviderWords<'_>,
    headers: &IndexMap<String, String>,
    query: &IndexMap<String, Value>,
    pagination: Option<&PaginationSpec>,
) {
    let place = &words.place;
    let open = words.variables(&sync::ANYWHERE);
    let secret_names = open.and(&["credentials"]);
    for (name, text) in headers {
        request::header(sink, &place.key("headers").key(name), name, text, open.with(&secret_names));
    }
    for (name, given) in query {
        request::parameter(sink, &place.key("query").key(name), name, given, open);
    }
    if let Some(spec) = pagination {
        paging::pagination(sink, &place.key("pagination"), spec, open);
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

fn rate_plan(sink: &mut Sink, place: &Place<'_>, spec: Option<&RateLimitSpec>) -> Option<RatePlan> {
    let Some(RateLimitSpec { quotas, concurrency, headers, wait_max }) = spec else {
        return Some(RatePlan::DEFAULT);
    };
    let parsed: Vec<_> = quotas
        .iter()
        .enumerate()
        .map(|(index, text)| words::quota(sink, &place.key("quotas").index(index), text))
        .collect();
    let headers = words::optional(headers.as_ref(), |spec| rate_headers(sink, &place.key("headers"), spec));
    let wait_max = wait_max
        .as_ref()
        .map_or(Some(RatePlan::DEFAULT.wait_max), |text| words::some_duration(sink, &place.key("wait_max"), text));
    Some(RatePlan {
        quotas: parsed.into_iter().collect::<Option<_>>()?,
        concurrency: concurrency.unwrap_or(RatePlan::DEFAULT.concurrency),
        headers: headers?,
        wait_max: wait_max?,
    })
}

fn rate_headers(sink: &mut Sink, place: &Place<'_>, spec: &RateHeadersSpec) -> Option<RateHeaders> {
    let RateHeadersSpec { remaining, limit, reset } = spec;
    let mut name = |place: Place<'_>, name: Option<&String>| match name {
        None => Some(None),
        Some(name) => words::header_name(sink, &place, name).map(|name| Some(name.to_lowercase())),
    };
    let remaining = name(place.key("remaining"), remaining.as_ref());
    let limit = name(place.key("limit"), limit.as_ref());
    let reset = match reset {
        None => Some(None),
        Some(ResetSpec { name: text, kind }) => {
            let kind = match kind {
                ResetKindSpec::EpochS => ResetKind::EpochS,
                ResetKindSpec::EpochMs => ResetKind::EpochMs,
                ResetKindSpec::Seconds => ResetKind::Seconds,
                ResetKindSpec::Milliseconds => ResetKind::Milliseconds,
                ResetKindSpec::Rfc3339 => ResetKind::Rfc3339,
                ResetKindSpec::HttpDate => ResetKind::HttpDate,
            };
            name(place.key("reset").key("name"), Some(text)).map(|name| name.map(|name| (name, kind)))
        }
    };
    Some(RateHeaders { remaining: remaining?, limit: limit?, reset: reset? })
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

/// A base URL: scheme, host, port and path.
pub(super) fn as_base_url(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Url> {
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

/// Where a message is sent.
pub(super) fn notify_url(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Url> {
    let url = http_url(text);
    if url.is_none() {
        let hint = "write the whole URL: `https://app.example.com/hooks`".to_owned();
        sink.error("E040", place, format!("`{}` is not a URL", words::shorten(text)), Some(hint));
    }
    url
}
