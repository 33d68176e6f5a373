//! Whether a connection works, and what its API tells of the account.

use chrono::{DateTime, Utc};
use minijinja::Value;
use minijinja::value::Serde;
use serde_json::Map;

use super::Error;
use crate::plan::{ConnectionPlan, LearnPlan, Moment, RequestPlan};
use crate::record::{first, parse};
use crate::remote::{Client, Draft, Response};
use crate::scan::retry::GiveUpReason;

/// Sends the provider's `verify` request; gives whether there is one.
///
/// # Errors
/// The API cannot be reached or does not accept the connection.
pub async fn verify(client: &Client, at: DateTime<Utc>) -> Result<bool, Error> {
    let connection = client.connection();
    let Some(request) = &connection.verify else { return Ok(false) };
    ask(client, request, &variables(connection, &Map::new(), at)).await?;
    Ok(true)
}

/// Sends the provider's `verify` request, and gives its answer.
///
/// # Errors
/// As [`verify`]; also where the provider has none.
pub async fn sample(client: &Client, at: DateTime<Utc>) -> Result<Response, Error> {
    let connection = client.connection();
    let Some(request) = &connection.verify else { return Err(Error::Bug("there is no request to send".to_owned())) };
    ask(client, request, &variables(connection, &Map::new(), at)).await
}

/// Sends the provider's `on_connect` requests, and gives what is kept of the answers, by the names of settings. A later request may name
/// what an earlier one has told.
///
/// # Errors
/// A request that fails, or an answer that has not what is to be kept.
pub async fn learn(client: &Client, at: DateTime<Utc>) -> Result<Map<String, serde_json::Value>, Error> {
    let connection = client.connection();
    let mut facts = Map::new();
    for LearnPlan { request, save } in &connection.on_connect {
        let response = ask(client, request, &variables(connection, &facts, at)).await?;
        let answer = parse(&response.body).map_err(|error| Error::Learn { reason: error.to_string() })?;
        for (name, path) in save {
            let found = first(path, &answer).filter(|value| !value.is_null());
            let Some(value) = found else {
                return Err(Error::Learn {
                    reason: format!("the answer has nothing at `{}` for `{name}`", path.text()),
                });
            };
            facts.insert(name.clone(), client.without_proof(&value.to_serde()));
        }
    }
    Ok(facts)
}

fn variables(connection: &ConnectionPlan, facts: &Map<String, serde_json::Value>, at: DateTime<Utc>) -> Value {
    let mut config = connection.config.as_object().cloned().unwrap_or_default();
    config.extend(facts.clone());
    Value::from_pairs([
        ("config", Value::from(Serde(&config))),
        ("connection", Value::from_pairs([("name", connection.name.as_str())])),
        ("run", Value::from_pairs([("started_at", Value::from_object(Moment::utc(at)))])),
    ])
}

/// One request; a token that is refused is followed by another once.
async fn ask(client: &Client, plan: &RequestPlan, variables: &Value) -> Result<Response, Error> {
    let request = Draft::new(&client.connection().base_url, plan, variables)?.finish(None);
    let mut response = client.send(&request).await?;
    if response.status == 401 && client.can_renew() {
        client.refuse_token(&response);
        response = client.send(&request).await?;
    }
    if response.status < 300 {
        return Ok(response);
    }
    Err(Error::Status {
        request: client.masked(&request),
        status: response.status,
        reason: GiveUpReason::NotRetryable,
        excerpt: client.excerpt(&response),
    })
}
