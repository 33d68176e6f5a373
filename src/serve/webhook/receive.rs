//! The route that APIs send events to. The signature is the key: who has none learns nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use minijinja::Value;
use serde_json::json;

use super::Webhooks;
use crate::plan::{ConnectionPlan, RespondBody, RespondPlan, WebhookVerify, WebhooksPlan, limits};
use crate::record::{Json, first, parse, select};
use crate::remote::{self, Delivery, Doubt, Keys};
use crate::serve::Listening;
use crate::store::{NewDelivery, NewEvent};

/// The routes.
pub(in crate::serve) fn routes() -> Router<Arc<Listening>> {
    Router::new()
        .route("/webhooks/{provider}", post(of_provider))
        .route("/webhooks/{provider}/{connection}", post(of_connection))
}

async fn of_provider(
    State(listening): State<Arc<Listening>>,
    UrlPath(provider): UrlPath<String>,
    RawQuery(query): RawQuery,
    sent: (Method, HeaderMap),
    body: Body,
) -> Answer {
    let is_for = |connection: &&Arc<ConnectionPlan>| {
        connection.provider == provider && connection.webhooks.as_ref().is_some_and(|plan| plan.matches.is_some())
    };
    let for_whom = listening.webhooks.connections.iter().filter(is_for).cloned().collect();
    let path = format!("/webhooks/{provider}");
    receive(&listening.webhooks, for_whom, (path, query), sent, body).await
}

async fn of_connection(
    State(listening): State<Arc<Listening>>,
    UrlPath((provider, name)): UrlPath<(String, String)>,
    RawQuery(query): RawQuery,
    sent: (Method, HeaderMap),
    body: Body,
) -> Answer {
    let is_for = |connection: &&Arc<ConnectionPlan>| {
        connection.provider == provider
            && connection.name == name
            && connection.webhooks.as_ref().is_some_and(|plan| plan.matches.is_none())
    };
    let for_whom = listening.webhooks.connections.iter().filter(is_for).cloned().collect();
    let path = format!("/webhooks/{provider}/{name}");
    receive(&listening.webhooks, for_whom, (path, query), sent, body).await
}

/// What is answered.
#[derive(Debug, PartialEq)]
enum Answer {
    /// it is there
    Taken,
    /// what the API asked
    Told(u16, Option<String>, &'static str),
    /// nobody receives here
    Unknown,
    /// it does not come from the API
    Unproven,
    /// it is not what can be received
    Unfit(StatusCode, &'static str),
    /// later
    Later,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => (StatusCode::OK, "ok\n").into_response(),
            Self::Told(status, body, kind) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
                match body {
                    Some(body) => (status, [(header::CONTENT_TYPE, kind)], body).into_response(),
                    None => status.into_response(),
                }
            }
            Self::Unknown => StatusCode::NOT_FOUND.into_response(),
            Self::Unproven => StatusCode::UNAUTHORIZED.into_response(),
            Self::Unfit(status, why) => (status, why).into_response(),
            Self::Later => (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "10")]).into_response(),
        }
    }
}

async fn receive(
    webhooks: &Arc<Webhooks>,
    for_whom: Vec<Arc<ConnectionPlan>>,
    address: (String, Option<String>),
    (method, headers): (Method, HeaderMap),
    body: Body,
) -> Answer {
    if for_whom.is_empty() {
        return Answer::Unknown;
    }
    let received = async {
        let Ok(_room) = webhooks.room.acquire().await else { return Answer::Later };
        let Ok(body) = axum::body::to_bytes(body, limits::WEBHOOK_BODY_BYTES_MAX).await else {
            return Answer::Unfit(StatusCode::PAYLOAD_TOO_LARGE, "it is too large, or did not come whole\n");
        };
        let delivery = delivery(&method, address, &headers, body);
        let at_work = Arc::clone(webhooks);
        // what has begun to be written is written, whether anybody waits for it or not
        let work = tokio::spawn(async move {
            let checking = Arc::clone(&at_work);
            let checked = tokio::task::spawn_blocking(move || examine(&checking, &for_whom, &delivery)).await;
            match checked {
                Ok(Ok(delivery)) => write(&at_work, delivery).await,
                Ok(Err(answer)) => answer,
                Err(_) => Answer::Later,
            }
        });
        work.await.unwrap_or(Answer::Later)
    };
    tokio::time::timeout(limits::WEBHOOK_WAIT_MAX, received).await.unwrap_or(Answer::Later)
}

/// The delivery as it is checked and described.
fn delivery(
    method: &Method,
    (path, query): (String, Option<String>),
    headers: &HeaderMap,
    body: axum::body::Bytes,
) -> Delivery {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.as_str().to_owned())
            .and_modify(|before| {
                before.push_str(", ");
                before.push_str(&value);
            })
            .or_insert_with(|| value.clone().into_owned());
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()) {
        parameters.entry(name.into_owned()).or_insert_with(|| value.into_owned());
    }
    // APIs send over TLS, which ends before this process
    let of = |name: &str| all.get(name).map(|value| value.split(',').next().unwrap_or_default().trim());
    let scheme = of("x-forwarded-proto").unwrap_or("https");
    let host = of("x-forwarded-host").or_else(|| of("host")).unwrap_or_default();
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let url = format!("{scheme}://{host}{path}{query}");
    Delivery { method: method.as_str().to_owned(), url, headers: all, query: parameters, body }
}

/// Whether it is the API's, and what is in it: its events, or else what is answered. Blocks.
fn examine(webhooks: &Webhooks, for_whom: &[Arc<ConnectionPlan>], delivery: &Delivery) -> Result<NewDelivery, Answer> {
    let proven = proven(webhooks, for_whom, delivery)?;
    let Some((whose, keys)) = proven.first() else { return Err(Answer::Unproven) };
    let Some(plan) = &whose.webhooks else { return Err(Answer::Unknown) };
    let wrong = |why: &'static str| Answer::Unfit(StatusCode::BAD_REQUEST, why);
    let text = std::str::from_utf8(&delivery.body).map_err(|_| wrong("the body is no text\n"))?;
    let failed = |error: &dyn std::fmt::Display| {
        webhooks.tell(&whose.name, keys.redacted(&format!("what was delivered cannot be read: {error}")));
        wrong("it is not what was expected\n")
    };
    let is_form =
        delivery.headers.get("content-type").is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let (body, is_json) = match text.trim() {
        "" => (Json::Null, false),
        _ if is_form => (of_form(text), false),
        _ => (parse(text.as_bytes()).map_err(|error| failed(&error))?, true),
    };
    let request = delivery.variable(None);
    let value = body.to_value();
    let variables = |event: Option<&Value>| {
        let pairs = [("request", request.clone()), ("body", value.clone())];
        Value::from_pairs(pairs.into_iter().chain(event.map(|event| ("event", event.clone()))))
    };
    if let Some((when, respond)) = &plan.handshake
        && when.is_true(&variables(None)).map_err(|error| failed(&error))?
    {
        return Err(told(respond, &variables(None)).map_err(|error| failed(&error))?);
    }
    let found = match &plan.events {
        None => vec![&body],
        Some(path) => select(path, &body),
    };
    if found.len() > limits::WEBHOOK_EVENTS_MAX {
        return Err(Answer::Unfit(StatusCode::PAYLOAD_TOO_LARGE, "it has too many events\n"));
    }
    let some = !found.is_empty();
    let mut events = Vec::with_capacity(found.len());
    for event in found {
        let shown = if plan.events.is_some() { event.to_value() } else { value.clone() };
        let variables = variables(Some(&shown));
        let render = |template: &Option<crate::plan::Template>| match template {
            Some(template) => template.render(&variables).map_err(|error| failed(&error)),
            None => Ok(None),
        };
        let (kind, id) = (render(&plan.kind)?, render(&plan.id)?);
        let is_whole = plan.events.is_none() && is_json;
        let event_text = (!is_whole).then(|| keys.redacted(&event.to_text()));
        for (connection, _) in proven.iter().filter(|(connection, _)| is_for(connection, event)) {
            let (kind, id, event) = (kind.clone(), id.clone(), event_text.clone());
            events.push(NewEvent { connection: connection.name.clone(), kind, id, event });
        }
    }
    if some && events.is_empty() {
        webhooks.tell(&whose.provider, "an event is for no connection that there is".to_owned());
        return Err(Answer::Unknown);
    }
    Ok(NewDelivery {
        provider: whose.provider.clone(),
        request: keys.redacted(&described(plan, delivery).to_string()),
        body: keys.redacted(text),
        received_at: webhooks.door.host().now(),
        events,
    })
}

/// The connections for which the delivery is proven.
fn proven(
    webhooks: &Webhooks,
    for_whom: &[Arc<ConnectionPlan>],
    delivery: &Delivery,
) -> Result<Vec<(Arc<ConnectionPlan>, Keys)>, Answer> {
    let now = webhooks.door.host().now();
    let (mut proven, mut untold, mut why) = (Vec::new(), false, None);
    let (mut right, mut wrong, mut tried) = (HashSet::new(), HashSet::new(), 0);
    for connection in for_whom {
        let Some(plan) = &connection.webhooks else { continue };
        let keys = match webhooks.keys(connection) {
            Ok(keys) => keys,
            Err(error) => {
                webhooks.tell(&connection.name, format!("deliveries cannot be checked: {error}"));
                untold = true;
                continue;
            }
        };
        let id = keys.id(&plan.verify);
        if id.is_some_and(|id| wrong.contains(&id)) {
            continue;
        }
        if !id.is_some_and(|id| right.contains(&id)) {
            tried += 1;
            if tried > limits::WEBHOOK_SECRETS_MAX {
                continue;
            }
            match keys.verify(&plan.verify, delivery, now) {
                Ok(()) => right.extend(id),
                Err(doubt) => {
                    wrong.extend(id);
                    if let Doubt::Untold(why) = &doubt {
                        untold = true;
                        webhooks.tell(&connection.name, format!("deliveries cannot be checked: {why}"));
                    }
                    why.get_or_insert((connection, doubt));
                    continue;
                }
            }
        }
        proven.push((Arc::clone(connection), keys));
    }
    match why {
        _ if !proven.is_empty() => Ok(proven),
        _ if untold => Err(Answer::Later),
        Some((connection, doubt)) => {
            webhooks.tell(&connection.name, format!("a delivery was refused: {doubt}"));
            Err(Answer::Unproven)
        }
        None => Err(Answer::Unproven),
    }
}

/// Whether an event is for the connection.
fn is_for(connection: &ConnectionPlan, event: &Json<'_>) -> bool {
    let Some(matches) = connection.webhooks.as_ref().and_then(|plan| plan.matches.as_ref()) else { return true };
    matches.iter().all(|(name, path)| {
        let own = connection.config.get(name).filter(|own| !own.is_null());
        let told = first(path, event).map(Json::to_serde);
        own.zip(told)
            .is_some_and(|(own, told)| *own == told || as_text(own).is_some_and(|own| Some(own) == as_text(&told)))
    })
}

fn as_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The fields of a form.
fn of_form(text: &str) -> Json<'static> {
    let mut members: serde_json::Map<String, serde_json::Value> = serde_json::Map::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        members.entry(name.into_owned()).or_insert_with(|| value.into_owned().into());
    }
    Json::from(serde_json::Value::Object(members))
}

/// What templates may name of the request later, without what proves it.
fn described(plan: &WebhooksPlan, delivery: &Delivery) -> serde_json::Value {
    let proof = match &plan.verify {
        WebhookVerify::None => "",
        WebhookVerify::Hmac { header, .. } | WebhookVerify::Jwt { header, .. } => header,
        WebhookVerify::Token { name, .. } => name,
    };
    let is_kept = |name: &str| name != proof && !["authorization", "proxy-authorization", "cookie"].contains(&name);
    let kept = |map: &BTreeMap<String, String>| -> serde_json::Map<String, serde_json::Value> {
        map.iter()
            .filter(|(name, _)| is_kept(name))
            .map(|(name, value)| (name.clone(), value.as_str().into()))
            .collect()
    };
    let url = delivery.url.split('?').next().unwrap_or_default();
    json!({ "method": delivery.method, "url": url, "headers": kept(&delivery.headers), "query": kept(&delivery.query) })
}

fn told(plan: &RespondPlan, variables: &Value) -> Result<Answer, Box<dyn std::error::Error>> {
    let (body, kind) = match &plan.body {
        RespondBody::None => (None, ""),
        RespondBody::Json(value) => {
            let value = remote::render(value, variables, "webhooks.handshake.respond.json")?;
            (Some(value.unwrap_or_default().to_string()), "application/json")
        }
        // a page that a browser would run is none
        RespondBody::Text(text) => (Some(text.render(variables)?.unwrap_or_default()), "text/plain; charset=utf-8"),
    };
    Ok(Answer::Told(plan.status, body, kind))
}

async fn write(webhooks: &Webhooks, delivery: NewDelivery) -> Answer {
    if delivery.events.is_empty() {
        return Answer::Taken;
    }
    let whose = delivery.provider.clone();
    let written = async { webhooks.door.session().await?.call(move |store| store.receive(&delivery)).await };
    match written.await {
        Ok(arrived) => {
            if arrived.written > 0 {
                webhooks.arrived.notify_one();
            }
            Answer::Taken
        }
        Err(error) => {
            webhooks.tell(&whose, format!("a delivery could not be written: {error}"));
            Answer::Later
        }
    }
}
