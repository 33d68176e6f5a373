//! Notifications of an API: how they are received, and what syncs do with them.

use std::time::Duration;

use super::auth::algorithm_plan;
use super::place::{Place, Sink};
use super::provider::ProviderWords;
use super::variables::{Variables, template};
use super::{
    Encoding, Hash, OnWebhook, RespondBody, RespondPlan, SignedPart, Template, WebhookAction, WebhookTimestamp,
    WebhookVerify, WebhooksPlan, request, words,
};
use crate::spec::{
    EncodingSpec, HandshakeSpec, HashSpec, HmacSpec, OnWebhookSpec, RespondSpec, WebhookConnectionSpec, WebhookJwtSpec,
    WebhookTimestampSpec, WebhookTokenSpec, WebhookVerifySpec, WebhooksSpec,
};

const VERIFY_VARIABLES: [&str; 4] = ["config", "connection", "request", "credentials"];
const BODY_VARIABLES: [&str; 2] = ["request", "body"];
const EVENT_VARIABLES: [&str; 3] = ["request", "body", "event"];

/// Compiles `webhooks` of a provider; `None` where a mistake was found.
pub(super) fn webhooks(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &WebhooksSpec,
    words: &ProviderWords<'_>,
) -> Option<WebhooksPlan> {
    let WebhooksSpec { verify: verify_spec, handshake, events, kind, id, connection } = spec;
    let verify = verify(sink, &place.key("verify"), verify_spec, words.variables(&VERIFY_VARIABLES));
    let handshake = words::optional(handshake.as_ref(), |HandshakeSpec { when, respond: answer }| {
        let place = place.key("handshake");
        let variables = words.variables(&BODY_VARIABLES);
        let when = template(sink, &place.key("when"), when, variables);
        let answer = respond(sink, &place.key("respond"), answer, variables);
        when.zip(answer)
    });
    let events = words::optional(events.as_ref(), |text| words::path(sink, &place.key("events"), text));
    let variables = words.variables(&EVENT_VARIABLES);
    let kind = words::optional_template(sink, &place.key("type"), kind.as_ref(), variables);
    let id = words::optional_template(sink, &place.key("id"), id.as_ref(), variables);
    let matches = match connection {
        WebhookConnectionSpec::Path {} => Some(None),
        WebhookConnectionSpec::Match(given) => {
            let place = place.key("connection").key("match");
            let known = words.config.as_ref().and_then(|schema| schema.get("properties")?.as_object());
            for name in given.keys().filter(|name| !known.is_some_and(|known| known.contains_key(*name))) {
                let names = known.into_iter().flat_map(|known| known.keys()).map(String::as_str);
                let hint = crate::diagnostic::suggest(name, names)
                    .unwrap_or_else(|| "settings stand under `config` of the provider".to_owned());
                let message = format!("a connection has no setting `{}`", words::shorten(name));
                sink.key_error("E112", &place.key(name), message, Some(hint));
            }
            words::paths(sink, &place, given).map(Some)
        }
    };
    Some(WebhooksPlan {
        verify: verify?,
        handshake: handshake?,
        events: events?,
        kind: kind?,
        id: id?,
        matches: matches?,
    })
}

const SECRET: &str = "{{ credentials.webhook_secret }}";

/// The secret that deliveries are checked with.
fn secret_text(
    sink: &mut Sink,
    place: &Place<'_>,
    given: Option<&String>,
    variables: Variables<'_>,
) -> Option<Template> {
    let parsed = template(sink, place, given.map_or(SECRET, String::as_str), variables)?;
    words::literal_secret(sink, place, &parsed);
    Some(parsed)
}

fn header(sink: &mut Sink, place: &Place<'_>, name: &str) -> Option<String> {
    words::header_name(sink, place, name).map(|name| name.to_lowercase())
}

fn verify(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &WebhookVerifySpec,
    variables: Variables<'_>,
) -> Option<WebhookVerify> {
    let secret =
        |sink: &mut Sink, place: Place<'_>, given: Option<&String>| secret_text(sink, &place, given, variables);
    match spec {
        WebhookVerifySpec::None {} => {
            let hint = "verify a signature if the API has one: `{ hmac: { header: X-Signature } }`".to_owned();
            let message = "anybody who knows the address can send events";
            sink.warning("W098", &place.key("none"), message, Some(hint));
            Some(WebhookVerify::None)
        }
        WebhookVerifySpec::Hmac(spec) => hmac(sink, &place.key("hmac"), spec, variables),
        WebhookVerifySpec::Token(WebhookTokenSpec { header: in_header, query, value }) => {
            let place = place.key("token");
            let value = secret(sink, place.key("value"), value.as_ref());
            let (in_header, name) = match (in_header, query) {
                (Some(name), None) => (true, header(sink, &place.key("header"), name)?),
                (None, Some(name)) => (false, name.clone()),
                (given, _) => {
                    let hint = match given {
                        Some(_) => "keep one of them",
                        None => "name the header or the query parameter that holds it: `header: X-Token`",
                    };
                    let message = "a token stands in one place: `header` or `query`";
                    sink.key_error("E062", &place, message, Some(hint.to_owned()));
                    return None;
                }
            };
            Some(WebhookVerify::Token { in_header, name, value: value? })
        }
        WebhookVerifySpec::Jwt(WebhookJwtSpec { header: name, algorithm, key, claims }) => {
            let place = place.key("jwt");
            let name = header(sink, &place.key("header"), name.as_deref().unwrap_or("Authorization"));
            let key = secret(sink, place.key("key"), key.as_ref());
            let claims = request::values(sink, &place.key("claims"), claims, variables);
            let algorithm = algorithm_plan(*algorithm);
            Some(WebhookVerify::Jwt { header: name?, algorithm, key: key?, claims: claims? })
        }
    }
}

fn hmac(sink: &mut Sink, place: &Place<'_>, spec: &HmacSpec, variables: Variables<'_>) -> Option<WebhookVerify> {
    let HmacSpec { algorithm, header: name, prefix, encoding, signed, secret, timestamp } = spec;
    let name = header(sink, &place.key("header"), name);
    let text = signed.as_deref().unwrap_or("{{ request.body }}");
    let signed = signed_parts(sink, &place.key("signed"), text, variables);
    let depends = |part: &SignedPart| match part {
        SignedPart::Body => true,
        SignedPart::Text(text) => text.names("request"),
    };
    if signed.as_ref().is_some_and(|signed| !signed.iter().any(depends)) {
        let hint = "the body belongs into it: `\"{{ request.body }}\"`".to_owned();
        let message = format!("`{}` does not depend on the delivery", words::shorten(text));
        sink.error("E112", &place.key("signed"), message, Some(hint));
    }
    let secret = secret_text(sink, &place.key("secret"), secret.as_ref(), variables);
    let timestamp = words::optional(timestamp.as_ref(), |WebhookTimestampSpec { header: name, prefix, tolerance }| {
        let place = place.key("timestamp");
        let name = header(sink, &place.key("header"), name);
        let five = Duration::from_secs(300);
        let tolerance = words::duration_or(sink, &place.key("tolerance"), tolerance.as_ref(), five);
        let prefix = prefix.clone().unwrap_or_default();
        name.zip(tolerance).map(|(header, tolerance)| WebhookTimestamp { header, prefix, tolerance })
    });
    Some(WebhookVerify::Hmac {
        hash: match algorithm {
            HashSpec::Sha256 => Hash::Sha256,
            HashSpec::Sha1 => Hash::Sha1,
            HashSpec::Sha512 => Hash::Sha512,
        },
        header: name?,
        prefix: prefix.clone().unwrap_or_default(),
        encoding: match encoding {
            EncodingSpec::Hex => Encoding::Hex,
            EncodingSpec::Base64 => Encoding::Base64,
        },
        signed: signed?,
        secret: secret?,
        timestamp: timestamp?,
    })
}

/// What is signed, cut at the body: that is hashed as it came, however long it is and whatever its bytes are.
fn signed_parts(sink: &mut Sink, place: &Place<'_>, text: &str, variables: Variables<'_>) -> Option<Vec<SignedPart>> {
    // the whole of it, so that a mistake is shown as it is written
    let whole = template(sink, place, text, variables)?;
    let (mut parts, mut rest, mut from) = (Vec::new(), text, 0);
    let part = |text: &str| Template::parse(text).ok().map(SignedPart::Text);
    while let Some(open) = rest[from..].find("{{").map(|at| from + at) {
        let Some(close) = rest[open..].find("}}").map(|at| open + at) else { break };
        if rest[open + 2..close].trim() != "request.body" {
            from = close + 2;
            continue;
        }
        parts.extend((open > 0).then(|| part(&rest[..open])));
        parts.push(Some(SignedPart::Body));
        (rest, from) = (&rest[close + 2..], 0);
    }
    parts.extend((!rest.is_empty()).then(|| part(rest)));
    // it stands in a text within an expression
    let parts: Option<Vec<_>> = parts.into_iter().collect();
    Some(parts.unwrap_or_else(|| vec![SignedPart::Text(whole)]))
}

fn respond(sink: &mut Sink, place: &Place<'_>, spec: &RespondSpec, variables: Variables<'_>) -> Option<RespondPlan> {
    let RespondSpec { status, json, text } = spec;
    let body = match (json, text) {
        (None, None) => Some(RespondBody::None),
        (Some(given), None) => request::value(sink, &place.key("json"), given, variables).map(RespondBody::Json),
        (None, Some(given)) => template(sink, &place.key("text"), given, variables).map(RespondBody::Text),
        (Some(_), Some(_)) => {
            let hint = "keep one of them".to_owned();
            sink.key_error("E062", place, "an answer has one body: `json` or `text`", Some(hint));
            None
        }
    };
    Some(RespondPlan { status: status.unwrap_or(200), body: body? })
}

/// Compiles `on_webhook` of a sync; `None` where a mistake was found.
pub(super) fn on_webhook(
    sink: &mut Sink,
    place: &Place<'_>,
    specs: &[OnWebhookSpec],
    provider: &ProviderWords<'_>,
    open: Variables<'_>,
) -> Option<Vec<OnWebhook>> {
    if specs.is_empty() {
        return Some(Vec::new());
    }
    let receives = provider.spec.webhooks.is_some() || provider.place.is_broken();
    if !receives {
        let hint = "say in the provider's file how they are received: `webhooks: { verify: … }`".to_owned();
        sink.key_error("E112", place, "the provider receives no events", Some(hint));
    }
    let mut names = open.but(&["watermark", "window", "page", "parent", "walk"]);
    names.extend(EVENT_VARIABLES);
    let open = open.with(&names);
    let mut plans = Vec::with_capacity(specs.len());
    for (index, spec) in specs.iter().enumerate() {
        let OnWebhookSpec { kind, when, upsert, delete, run, fetch } = spec;
        let place = place.index(index);
        let typed = provider.spec.webhooks.as_ref().is_none_or(|webhooks| webhooks.kind.is_some());
        if kind.is_some() && !typed && !provider.place.is_broken() {
            let hint = "add `type` to `webhooks` of the provider, or tell events apart by `when`".to_owned();
            sink.key_error(
                "E112",
                &place.key("type"),
                "the provider does not tell the types of its events",
                Some(hint),
            );
        }
        let when = words::optional_template(sink, &place.key("when"), when.as_ref(), open);
        let then = match (upsert, delete, run, fetch) {
            (Some(path), None, None, None) => words::path(sink, &place.key("upsert"), path).map(WebhookAction::Upsert),
            (None, Some(path), None, None) => words::path(sink, &place.key("delete"), path).map(WebhookAction::Delete),
            (None, None, Some(_), None) => Some(WebhookAction::Run),
            (None, None, None, Some(spec)) => {
                request::request(sink, &place.key("fetch"), spec, provider, open).map(WebhookAction::Fetch)
            }
            (None, None, None, None) => {
                let hint = "name what is done: `upsert: $.issue`, `delete: $.issue`, `run: {}` or `fetch: { get: … }`";
                sink.error("E062", &place, "nothing is done with the event", Some(hint.to_owned()));
                None
            }
            _ => {
                let message = "one thing is done with an event: `upsert`, `delete`, `run` or `fetch`";
                sink.error("E062", &place, message, Some("keep one of them, and write one more item".to_owned()));
                None
            }
        };
        if let (Some(when), Some(then)) = (when, then) {
            plans.push(OnWebhook { kind: kind.clone(), when, then });
        }
    }
    (plans.len() == specs.len()).then_some(plans)
}
