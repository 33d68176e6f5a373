//! Messages to an application, signed so that it can tell who sent them (Standard Webhooks,
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::credentials::secret_of;
use super::sockets::{Leaving, NoRoute, Routes, Sockets};
use super::transport;
use crate::plan::{Method, NotifyPlan, limits};

/// What a secret begins with whose rest is base64.
const PREFIX: &str = "whsec_";

/// The way to one endpoint. Not printable.
pub struct Outlet {
    url: Url,
    key: Option<hmac::Key>,
    routes: Routes,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// the HTTP status
    pub status: u16,
    /// `Retry-After`
    pub retry_after: Option<String>,
    /// `Date`
    pub date: Option<String>,
}

impl Outlet {
    /// A way to an endpoint; its secret is read.
    ///
    /// # Errors
    /// In words, without the secret.
    pub fn new(plan: &NotifyPlan) -> Result<Self, String> {
        let secret = plan.secret.as_ref().map(secret_of).transpose()?;
        let key = secret.as_ref().map(key).transpose()?;
        let routes = Sockets::to(&plan.url).map_err(|error| transport::in_words(&error.without_url()))?;
        Ok(Self { url: plan.url.clone(), key, routes })
    }

    /// Sends a message. `id` is the same for each attempt, `at` is not.
    ///
    /// # Errors
    /// There was no answer: why, in words.
    pub async fn send(&self, id: &str, at: DateTime<Utc>, body: String) -> Result<Receipt, String> {
        let timestamp = at.timestamp().to_string();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut put = |name: &'static str, value: &str| -> Result<(), String> {
            let value = HeaderValue::from_str(value).map_err(|_| format!("`{name}` cannot be sent"))?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        put("webhook-id", id)?;
        put("webhook-timestamp", &timestamp)?;
        if let Some(key) = &self.key {
            put("webhook-signature", &signature(key, id, &timestamp, &body))?;
        }
        let body = Some(Bytes::from(body));
        let leaving = Leaving { method: Method::Post, url: &self.url, headers, body, for_token: false, lasts: None };
        let answer = self.routes.send(leaving, false).await.map_err(|why| self.words(why))?;
        let text = |name| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
        Ok(Receipt { status: answer.status().as_u16(), retry_after: text(RETRY_AFTER), date: text(DATE) })
    }

    fn words(&self, why: NoRoute) -> String {
        match why {
            NoRoute::Refused(refusal) => refusal.to_string(),
            NoRoute::Broken(error) => transport::in_words(&error.without_url()),
            NoRoute::Failed(error) => {
                let error = error.without_url();
                let waits = (limits::NOTIFY_CONNECT_MAX, limits::NOTIFY_ANSWER_MAX);
                transport::reason(transport::fault(&error), &error, &self.url, waits)
            }
            NoRoute::Unanswered => "nothing answers".to_owned(),
        }
    }
}

/// The key that a secret stands for: behind `whsec_` it is base64, anything else is taken as it is.
fn key(secret: &SecretString) -> Result<hmac::Key, String> {
    let secret = secret.expose_secret();
    let decoded;
    let bytes = match secret.strip_prefix(PREFIX) {
        Some(base64) => {
            decoded = STANDARD.decode(base64).map_err(|_| format!("what stands behind `{PREFIX}` is no base64"))?;
            &decoded
        }
        None => secret.as_bytes(),
    };
    Ok(hmac::Key::new(hmac::HMAC_SHA256, bytes))
}

/// `v1,` and the signature of all that the receiver relies on.
fn signature(key: &hmac::Key, id: &str, timestamp: &str, body: &str) -> String {
    let signed = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(signed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the libraries of Standard Webhooks.
    #[test]
    fn the_published_example_is_signed_so() {
        let key = key(&"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()).expect("base64");
        let signed = signature(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_that_is_not_base64_is_taken_as_it_is_and_never_told() {
        let plain = key(&"s3cr3t-value".into()).expect("plain");
        let coded = key(&format!("whsec_{}", STANDARD.encode("s3cr3t-value")).into()).expect("base64");
        assert_eq!(signature(&plain, "a", "1", "{}"), signature(&coded, "a", "1", "{}"));
        assert!(!format!("{plain:?}").contains("s3cr3t"));
        let error = key(&"whsec_s3cr3t value".into()).expect_err("no base64");
        assert!(!error.contains("s3cr3t"), "{error}");
    }
}
