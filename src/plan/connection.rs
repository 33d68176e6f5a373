//! Connections: a provider's words with one account's settings.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use minijinja::context;
use serde_json::{Map, Value};
use url::Url;

use super::place::{Place, Sink};
use super::provider::{ProviderDraft, as_base_url};
use super::rehearsal::made_up;
use super::{
    AuthPlan, ConnectionPlan, CredentialSource, KnownConnection, MadeAuth, RequestPlan, Template, TlsPlan, auth,
    request, words,
};
use crate::diagnostic::{did_you_mean, suggest};
use crate::spec::finding::check_against;
use crate::spec::{AllowSpec, ConnectionSpec, ProviderSpec, TestConnectionSpec};

/// Compiles a connection; `None` where a mistake was found.
pub(super) fn connection(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    spec: &ConnectionSpec,
    provider_spec: &ProviderSpec,
    draft: &ProviderDraft,
    (known, scopes): (Option<&KnownConnection>, &[String]),
) -> Option<ConnectionPlan> {
    let ConnectionSpec { provider, auth, base_url: _, credentials, config, syncs: _, actions: _, allow: _ } = spec;
    let mut credentials = credential_sources(sink, &place.key("credentials"), credentials);
    for name in known.into_iter().flat_map(|known| &known.credentials) {
        credentials.entry(name.clone()).or_insert(CredentialSource::Kept);
    }
    let auth = pick_auth(sink, place, auth.as_ref(), draft);
    if let Some((_, auth)) = &auth {
        what_the_provider_names_is_given(sink, place, auth, draft, &credentials);
        for name in auth::credentials(auth) {
            credentials.entry(name).or_insert(CredentialSource::Kept);
        }
    }
    let config = settings(sink, &place.key("config"), config, provider_spec.config.as_ref(), "E045");
    let (config, unknown) = learned(config?, auth.as_ref().map(|(_, auth)| auth), draft, known);
    not_connected(sink, place, auth.as_ref().map(|(_, auth)| auth), known, &unknown);
    let config = Some(config);
    let variables = context! {
        config => minijinja::Value::from(minijinja::value::Serde(config.as_ref()?)),
        connection => context! { name },
    };
    let base_url = base_url_of(sink, place, spec, draft, (&unknown, &variables));
    let ProviderDraft {
        base_url: _,
        auth: _,
        rate_limit,
        retry,
        errors,
        timeout_connect,
        timeout_request,
        trusted_origins,
        network,
        verify,
        on_connect,
        webhooks,
        tls,
    } = draft;
    let (auth_name, auth) = auth?;
    let base_url = base_url?;
    let written = draft.base_url.as_ref().and_then(Template::written_origin);
    let mut scopes = scopes.to_vec();
    scopes.extend(auth::scopes(&auth).iter().filter(|scope| !scopes.contains(scope)).cloned().collect::<Vec<_>>());
    Some(ConnectionPlan {
        name: name.to_owned(),
        provider: provider.clone(),
        base_url_is_literal: spec.base_url.is_some()
            || written.is_some_and(|written| written.origin() == base_url.origin()),
        base_url,
        trusted_origins: trusted_origins.clone(),
        auth_name,
        auth,
        scopes,
        network: *network,
        credentials,
        config: config?,
        unknown,
        rate_limit: rate_limit.clone(),
        retry: retry.clone(),
        timeout_connect: *timeout_connect,
        timeout_request: *timeout_request,
        errors: errors.clone(),
        verify: verify.clone(),
        on_connect: on_connect.clone(),
        webhooks: webhooks.clone(),
        tls: tls.clone(),
    })
}

/// The connection of a test.
pub(super) struct OfTest {
    pub(super) plan: ConnectionPlan,
    /// made-up secrets by name
    pub(super) credentials: BTreeMap<String, String>,
    /// the made-up token by the names of credentials, if the way in makes one
    pub(super) token: BTreeMap<String, String>,
}

/// The connection of a test, its made-up secrets and its made-up token. Nothing of it is known to anybody.
pub(super) fn of_test(
    sink: &mut Sink,
    place: &Place<'_>,
    (name, provider, given): (&str, &str, &TestConnectionSpec),
    provider_spec: &ProviderSpec,
    draft: &ProviderDraft,
    asked: &[&RequestPlan],
) -> Option<OfTest> {
    let TestConnectionSpec { auth, config, input: _ } = given;
    // told of already
    if auth.as_ref().is_some_and(|name| !draft.auth.contains_key(name)) {
        return None;
    }
    let (_, plan) = pick_auth(sink, place, auth.as_ref(), draft)?;
    let made = auth::made(&plan);
    let mut names = auth::credentials(&plan);
    let learned = draft.on_connect.iter().map(|learn| &learn.request);
    names.extend(asked.iter().copied().chain(&draft.verify).chain(learned).flat_map(request::credentials));
    if let Some(TlsPlan { client_certificate, client_key, authority }) = &draft.tls {
        let templates = std::iter::once(client_certificate).chain(client_key).chain(authority);
        names.extend(request::named_credentials(templates));
    }
    names.retain(|name| !made.contains(name));
    let told = auth::told(&plan)
        .chain(draft.on_connect.iter().flat_map(|learn| learn.save.iter().map(|(name, _)| name.as_str())));
    let facts = told.map(|name| (name.to_owned(), Value::from(format!("test-{name}"))));
    let known = KnownConnection { provider: provider.to_owned(), facts: facts.collect(), credentials: names.clone() };
    let spec = ConnectionSpec {
        provider: provider.to_owned(),
        auth: auth.clone(),
        base_url: None,
        credentials: IndexMap::new(),
        config: config.clone(),
        syncs: None,
        actions: Vec::new(),
        allow: AllowSpec::default(),
    };
    let connection = connection(sink, place, name, &spec, provider_spec, draft, (Some(&known), &[]))?;
    let mut token = if plan.made().is_some_and(MadeAuth::has_token) { made_up(&made) } else { BTreeMap::new() };
    token.entry("access_token".to_owned()).and_modify(|token| *token = "test-token".to_owned());
    Some(OfTest { plan: connection, credentials: made_up(&names), token })
}

/// The base URL of a connection with these settings. A value in it must not move it to another host or path: it is encoded as in a
/// path, and a host takes no such characters.
fn base_url_of(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ConnectionSpec,
    draft: &ProviderDraft,
    (unknown, variables): (&[String], &minijinja::Value),
) -> Option<Url> {
    let ConnectionSpec { provider, base_url, .. } = spec;
    let (url_place, rendered) = match base_url {
        Some(url) => {
            no_environment(sink, &place.key("base_url"), &Value::String(url.clone()))?;
            (place.key("base_url"), Ok(url.clone()))
        }
        None => {
            let Some(template) = &draft.base_url else {
                let message = format!("`{provider}` has no `base_url`: it is there to be extended");
                let hint = "name a provider that extends it".to_owned();
                sink.error("E040", &place.key("provider"), message, Some(hint));
                return None;
            };
            // the API tells it when the connection is made; nothing runs before
            let mut named = template.variables().iter().filter_map(|name| name.strip_prefix("config."));
            if named.any(|name| unknown.iter().any(|unknown| unknown == name)) {
                return Some(Url::parse(NOT_CONNECTED).expect("it is a URL"));
            }
            (place.clone(), template.render_path(variables))
        }
    };
    match rendered {
        Err(error) => {
            let message = format!("the base URL of `{provider}` has no value: {error}");
            sink.key_error("E040", &url_place, message, Some("give it in `config`".into()));
            None
        }
        Ok(text) => as_base_url(sink, &url_place, &text),
    }
}

/// Stands for a base URL that is not known yet: a name that never leads anywhere (RFC 2606).
const NOT_CONNECTED: &str = "https://not-connected.invalid/";

impl ConnectionPlan {
    /// Whether the base URL is known. One that holds what only the API can tell is not, before the connection is connected.
    pub fn knows_its_address(&self) -> bool {
        self.base_url.as_str() != NOT_CONNECTED
    }
}

/// Tells that nothing can run before somebody has connected the account.
fn not_connected(
    sink: &mut Sink,
    place: &Place<'_>,
    auth: Option<&AuthPlan>,
    known: Option<&KnownConnection>,
    unknown: &[String],
) {
    let why = if known.is_none() && auth.is_some_and(AuthPlan::needs_a_person) {
        "nobody has agreed to it yet".to_owned()
    } else if let Some(name) = unknown.first() {
        format!("the API has not told `{name}` yet")
    } else {
        return;
    };
    let hint = format!("run `headwater connect {}`", place.name().unwrap_or_default());
    sink.warning("W099", place, format!("the connection cannot run: {why}"), Some(hint));
}

/// The settings with what the API told, and the names of what it has not told. What a person has written wins.
fn learned(
    config: Value,
    auth: Option<&AuthPlan>,
    draft: &ProviderDraft,
    known: Option<&KnownConnection>,
) -> (Value, Vec<String>) {
    let asked = draft.on_connect.iter().flat_map(|learn| learn.save.iter().map(|(name, _)| name.as_str()));
    let told = auth.into_iter().flat_map(auth::told).chain(asked);
    let Value::Object(mut config) = config else { return (config, Vec::new()) };
    let mut unknown = Vec::new();
    for name in told {
        let told = known.and_then(|known| known.facts.get(name));
        match (config.contains_key(name), told) {
            (true, _) => {}
            (false, Some(value)) => drop(config.insert(name.to_owned(), value.clone())),
            (false, None) if unknown.iter().any(|known| known == name) => {}
            (false, None) => unknown.push(name.to_owned()),
        }
    }
    (Value::Object(config), unknown)
}

/// The way in that a connection picks, with its name.
fn pick_auth(
    sink: &mut Sink,
    place: &Place<'_>,
    wanted: Option<&String>,
    draft: &ProviderDraft,
) -> Option<(Option<String>, AuthPlan)> {
    let names = || draft.auth.keys().map(String::as_str);
    match (wanted, draft.auth.len()) {
        (None, 0) => Some((None, AuthPlan::None)),
        (None, 1) => draft.auth.first().map(|(name, plan)| (Some(name.clone()), plan.clone())),
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
            plan.map(|plan| (Some(name.clone()), plan))
        }
    }
}

fn credential_sources(
    sink: &mut Sink,
    place: &Place<'_>,
    given: &IndexMap<String, String>,
) -> BTreeMap<String, CredentialSource> {
    let mut sources = BTreeMap::new();
    for (name, text) in given {
        let source = credential_source(sink, &place.key(name), name, text);
        sources.insert(name.clone(), source.unwrap_or_else(|| CredentialSource::Environment(String::new())));
    }
    sources
}

/// Where the secret `name` at `place` comes from; `None` where that cannot be told.
pub(super) fn credential_source(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    text: &str,
) -> Option<CredentialSource> {
    match text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) {
        Some(variable) if !variable.is_empty() && variable.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
            Some(CredentialSource::Environment(variable.to_owned()))
        }
        Some(_) => {
            let hint = "a reference is `${NAME}`: letters, digits and `_`, and nothing around it".to_owned();
            sink.error("E046", place, "this names no environment variable", Some(hint));
            None
        }
        None => {
            let hint = format!("put it into the environment and write `${{{}}}`", name.to_uppercase());
            let message = format!("the secret `{name}` stands in the YAML file");
            sink.warning("W081", place, message, Some(hint));
            Some(CredentialSource::Literal(text.to_owned().into()))
        }
    }
}

/// The credentials that the provider names, whatever is synced.
fn what_the_provider_names_is_given(
    sink: &mut Sink,
    place: &Place<'_>,
    auth: &AuthPlan,
    draft: &ProviderDraft,
    given: &BTreeMap<String, CredentialSource>,
) {
    for credential in auth::credentials(auth) {
        credential_is_given(sink, place, &credential, given);
    }
    for request in draft.verify.iter().chain(draft.on_connect.iter().map(|learn| &learn.request)) {
        credentials_are_given(sink, place, request, auth, given);
    }
    if let Some(TlsPlan { client_certificate, client_key, authority }) = &draft.tls {
        let templates = std::iter::once(client_certificate).chain(client_key).chain(authority);
        for name in templates.flat_map(Template::variables).filter_map(|name| name.strip_prefix("credentials.")) {
            credential_is_given(sink, place, name, given);
        }
    }
}

/// The credentials that a request names must be those of the connection, or what its way in makes.
pub(super) fn credentials_are_given(
    sink: &mut Sink,
    place: &Place<'_>,
    asked: &RequestPlan,
    auth: &AuthPlan,
    given: &BTreeMap<String, CredentialSource>,
) {
    let made = auth::made(auth);
    for credential in request::credentials(asked).into_iter().filter(|name| !made.contains(name)) {
        credential_is_given(sink, place, &credential, given);
    }
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
    let written = given.iter().filter(|(_, source)| !matches!(source, CredentialSource::Kept));
    match did_you_mean(name, written.map(|(name, _)| name.as_str())) {
        Some(near) => {
            let hint = format!("rename `{near}` to `{name}`");
            sink.key_error("E047", place, format!("the credential `{name}` is not given"), Some(hint));
        }
        None => {
            let connection = place.name().unwrap_or_default();
            let entry = format!("`credentials: {{ {name}: \"${{{}}}\" }}`", name.to_uppercase());
            let hint =
                format!("keep it with `headwater connect {connection}`, or take it from the environment: {entry}");
            sink.warning("W099", place, format!("the credential `{name}` is not given yet"), Some(hint));
        }
    }
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

/// What is given, and the schema's defaults for the rest.
pub(super) fn with_defaults(given: &Map<String, Value>, schema: Option<&Value>) -> Value {
    let mut settings = given.clone();
    let properties = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        if let Some(default) = property.get("default")
            && !settings.contains_key(name)
        {
            settings.insert(name.clone(), default.clone());
        }
    }
    Value::Object(settings)
}

/// Fills in the schema's defaults and checks the result.
pub(super) fn settings(
    sink: &mut Sink,
    place: &Place<'_>,
    given: &Map<String, Value>,
    schema: Option<&Value>,
    code: &'static str,
) -> Option<Value> {
    let given_well =
        given.iter().filter(|(name, value)| no_environment(sink, &place.key(name), value).is_some()).count();
    if given_well < given.len() {
        return None;
    }
    let settings = with_defaults(given, schema);
    let Some(schema) = schema else { return Some(settings) };
    match check_against(schema, &settings) {
        Ok(findings) if findings.is_empty() => Some(settings),
        Ok(findings) => {
            for mut finding in findings {
                finding.code = code;
                let (key, owner) = if code == "E048" { ("input", "sync") } else { ("config", "provider") };
                finding.hint.get_or_insert_with(|| format!("`{key}` of the {owner} says what is allowed"));
                if let Some(missing) = &finding.missing {
                    let near = did_you_mean(missing, given.keys().map(String::as_str));
                    finding.hint = match (near, finding.hint) {
                        (Some(near), _) => Some(format!("rename `{near}` to `{missing}`")),
                        // there is no map yet to add it to
                        (None, Some(hint)) if place.node().is_none() => {
                            let line = hint.strip_prefix("add `").and_then(|line| line.strip_suffix('`'));
                            Some(line.map_or(hint.clone(), |line| format!("add `{key}: {{ {line} }}`")))
                        }
                        (None, hint) => hint,
                    };
                }
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
