//! A delivery of events: whether it is the API's, and what is in it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::Value;
use serde_json::json;

use super::Error;
use crate::plan::{ConnectionPlan, RespondBody, RespondPlan, Template, WebhookVerify, WebhooksPlan, limits};
use crate::record::{Json, first, parse, select};
use crate::remote::{self, Delivery, Doubt, Keys};
use crate::store::{NewDelivery, NewEvent};

/// What deliveries are read with.
pub struct Reception<'r> {
    /// gives what deliveries to a connection are checked with
    pub keys: &'r dyn Fn(&ConnectionPlan) -> Result<Keys, Error>,
    /// tells whoever watches what is wrong with deliveries to a connection
    pub tell: &'r dyn Fn(&str, String),
    /// the time
    pub now: DateTime<Utc>,
}

/// What a delivery is.
#[derive(Debug)]
pub enum Received {
    /// events, to be written down
    Events(NewDelivery),
    /// a question, and what is answered
    Told {
        /// the HTTP status
        status: u16,
        /// the body
        body: Option<String>,
        /// its type
        kind: &'static str,
    },
}

/// Why a delivery is not received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// it is for nobody
    Unknown,
    /// nothing shows that it is the API's
    Unproven,
    /// that cannot be told now
    Untold,
    /// it is not what was expected
    Unreadable,
    /// it has more events than are received at once
    TooMany,
}

impl Reception<'_> {
    /// Reads a delivery to one of these connections, which all have `webhooks`. Nothing of it is looked at before it is proven. Blocks: keys
    /// may be in a file, and bodies may be large.
    ///
    /// # Errors
    /// [`Refusal`]; why is told to whoever watches, and to nobody else.
    pub fn read(&self, for_whom: &[Arc<ConnectionPlan>], delivery: &Delivery) -> Result<Received, Refusal> {
        let proven = self.proven(for_whom, delivery)?;
        let Some((whose, keys)) = proven.first() else { return Err(Refusal::Unproven) };
        let Some(plan) = &whose.webhooks else { return Err(Refusal::Unknown) };
        let failed = |error: &dyn std::fmt::Display| {
            (self.tell)(&whose.name, keys.redacted(&format!("what was delivered cannot be read: {error}")));
            Refusal::Unreadable
        };
        let text = std::str::from_utf8(&delivery.body).map_err(|error| failed(&error))?;
        let is_form = delivery
            .headers
            .get("content-type")
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
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
            return told(respond, &variables(None)).map_err(|error| failed(&error));
        }
        let found = match &plan.events {
            None => vec![&body],
            Some(path) => select(path, &body),
        };
        if found.len() > limits::WEBHOOK_EVENTS_MAX {
            return Err(Refusal::TooMany);
        }
        let some = !found.is_empty();
        let mut events = Vec::with_capacity(found.len());
        for event in found {
            let shown = if plan.events.is_some() { event.to_value() } else { value.clone() };
            let variables = variables(Some(&shown));
            let render = |template: &Option<Template>| match template {
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
            (self.tell)(&whose.provider, "an event is for no connection that there is".to_owned());
            return Err(Refusal::Unknown);
        }
        Ok(Received::Events(NewDelivery {
            provider: whose.provider.clone(),
            request: keys.redacted(&described(plan, delivery).to_string()),
            body: keys.redacted(text),
            received_at: self.now,
            events,
        }))
    }

    /// The connections for which the delivery is proven, and what by.
    fn proven(
        &self,
        for_whom: &[Arc<ConnectionPlan>],
        delivery: &Delivery,
    ) -> Result<Vec<(Arc<ConnectionPlan>, Keys)>, Refusal> {
        let (mut proven, mut untold, mut why) = (Vec::new(), false, None);
        let (mut right, mut wrong, mut tried) = (HashSet::new(), HashSet::new(), 0);
        for connection in for_whom {
            let Some(plan) = &connection.webhooks else { continue };
            let keys = match (self.keys)(connection) {
                Ok(keys) => keys,
                Err(error) => {
                    (self.tell)(&connection.name, format!("deliveries cannot be checked: {error}"));
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
                match keys.verify(&plan.verify, delivery, self.now) {
                    Ok(()) => right.extend(id),
                    Err(doubt) => {
                        wrong.extend(id);
                        if let Doubt::Untold(why) = &doubt {
                            untold = true;
                            (self.tell)(&connection.name, format!("deliveries cannot be checked: {why}"));
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
            _ if untold => Err(Refusal::Untold),
            Some((connection, doubt)) => {
                (self.tell)(&connection.name, format!("a delivery was refused: {doubt}"));
                Err(Refusal::Unproven)
            }
            None => Err(Refusal::Unproven),
        }
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

fn told(plan: &RespondPlan, variables: &Value) -> Result<Received, Box<dyn std::error::Error>> {
    let (body, kind) = match &plan.body {
        RespondBody::None => (None, ""),
        RespondBody::Json(value) => {
            let value = remote::render(value, variables, "webhooks.handshake.respond.json")?;
            (Some(value.unwrap_or_default().to_string()), "application/json")
        }
        // a page that a browser would run is none
        RespondBody::Text(text) => (Some(text.render(variables)?.unwrap_or_default()), "text/plain; charset=utf-8"),
    };
    Ok(Received::Told { status: plan.status, body, kind })
}
