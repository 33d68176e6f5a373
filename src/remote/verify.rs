//! Whether a delivery of events comes from the API: signatures and secrets compared in constant time. Nothing that is refused says why to
//! whoever has sent it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use minijinja::value::Serde;
use minijinja::{Value, context};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

use super::access::Access;
use super::redact::Redactor;
use super::sign;
use crate::plan::{
    ConnectionPlan, Encoding, Hash, SignedPart, Template, ValuePlan, WebhookTimestamp, WebhookVerify, limits,
};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Milliseconds since 1970 are at least this, and seconds less until the year 5138.
const MILLISECONDS_FROM: i64 = 100_000_000_000;

/// A delivery of events as it came.
#[derive(Debug, Clone, Default)]
pub struct Delivery {
    /// the method
    pub method: String,
    /// the address that it was sent to, as its sender wrote it
    pub url: String,
    /// headers, by their names in lowercase; several of one name are joined by commas
    pub headers: BTreeMap<String, String>,
    /// parameters
    pub query: BTreeMap<String, String>,
    /// the body
    pub body: Bytes,
}

/// Why a delivery is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// the sender has not shown that it is the API
    #[error("{0}")]
    Unproven(&'static str),
    /// it cannot be told: the words or the secret that it is told by are wrong
    #[error("{0}")]
    Untold(String),
}

/// What a connection proves deliveries by.
#[derive(Clone)]
pub struct Keys {
    variables: [(&'static str, Value); 3],
    redactor: Redactor,
}

impl Keys {
    /// Those of a connection.
    pub fn of(connection: &ConnectionPlan, access: &Access) -> Self {
        let variables = [
            ("config", Value::from(Serde(&connection.config))),
            ("connection", context! { name => connection.name.as_str() }),
            ("credentials", access.credentials.variable()),
        ];
        Self { variables, redactor: Redactor::new(access.credentials.values()) }
    }

    /// A text without the connection's secrets, which some APIs put into each event.
    pub fn redacted(&self, text: &str) -> String {
        self.redactor.redact_data(text).into_owned()
    }

    /// Whether these are the same keys for these words, whatever is delivered; they need not be.
    pub fn id(&self, plan: &WebhookVerify) -> Option<[u8; 32]> {
        let secret = match plan {
            WebhookVerify::None => return Some([0; 32]),
            WebhookVerify::Hmac { secret, signed, .. } => {
                let is_own = |part: &SignedPart| matches!(part, SignedPart::Text(text) if text.names("config") || text.names("connection") || text.names("credentials"));
                if signed.iter().any(is_own) {
                    return None;
                }
                secret
            }
            WebhookVerify::Token { value, .. } => value,
            WebhookVerify::Jwt { key, claims, .. } if claims.is_empty() => key,
            WebhookVerify::Jwt { .. } => return None,
        };
        if secret.names("request") {
            return None;
        }
        let text = secret.render(&Value::from_pairs(self.variables.iter().cloned())).ok()??;
        digest::digest(&digest::SHA256, text.as_bytes()).as_ref().try_into().ok()
    }

    /// Whether the delivery comes from the API.
    ///
    /// # Errors
    /// [`Doubt`].
    pub fn verify(&self, plan: &WebhookVerify, delivery: &Delivery, now: DateTime<Utc>) -> Result<(), Doubt> {
        match plan {
            WebhookVerify::None => Ok(()),
            WebhookVerify::Hmac { hash, header, prefix, encoding, signed, secret, timestamp } => {
                let given = delivery.headers.get(header).ok_or(Doubt::Unproven("it has no signature"))?;
                let made = timestamp.as_ref().map(|timestamp| in_time(timestamp, delivery, now)).transpose()?;
                let variables = self.variables(delivery, made);
                let key = hmac::Key::new(algorithm(*hash), self.secret(secret, &variables)?.as_bytes());
                let mut context = hmac::Context::with_key(&key);
                for part in signed {
                    match part {
                        SignedPart::Body => context.update(&delivery.body),
                        SignedPart::Text(text) => {
                            // what it is made of comes from whoever has sent it
                            let text = text.render(&variables).ok().flatten();
                            context.update(text.ok_or(Doubt::Unproven("it lacks what is signed"))?.as_bytes());
                        }
                    }
                }
                let wanted = context.sign();
                let signatures = elements(given, prefix).take(limits::WEBHOOK_SIGNATURES_MAX);
                let right =
                    signatures.filter_map(|text| decoded(*encoding, text)).any(|given| same(wanted.as_ref(), &given));
                if right { Ok(()) } else { Err(Doubt::Unproven("its signature is not right")) }
            }
            WebhookVerify::Token { in_header, name, value } => {
                let given = if *in_header { delivery.headers.get(name) } else { delivery.query.get(name) };
                let given = given.ok_or(Doubt::Unproven("it has no secret"))?;
                let wanted = self.secret(value, &self.variables(delivery, None))?;
                if same(wanted.as_bytes(), given.as_bytes()) {
                    return Ok(());
                }
                Err(Doubt::Unproven("its secret is not right"))
            }
            WebhookVerify::Jwt { header, algorithm, key, claims } => {
                let given = delivery.headers.get(header).ok_or(Doubt::Unproven("it has no token"))?.trim();
                let token = match given.split_once(' ') {
                    Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
                    Some(_) | None => given,
                };
                let variables = self.variables(delivery, None);
                let key = self.secret(key, &variables)?;
                let found =
                    sign::verified(*algorithm, &key, token, now).map_err(Doubt::Untold)?.map_err(Doubt::Unproven)?;
                self.check_claims(claims, &found, &variables)
            }
        }
    }

    fn check_claims(
        &self,
        wanted: &[(String, ValuePlan)],
        found: &serde_json::Map<String, serde_json::Value>,
        variables: &Value,
    ) -> Result<(), Doubt> {
        for (name, value) in wanted {
            let wanted = super::render(value, variables, "webhooks.verify.jwt.claims")
                .map_err(|error| Doubt::Untold(self.redactor.redact(&error.to_string()).into_owned()))?;
            let Some(wanted) = wanted else {
                return Err(Doubt::Untold(format!("the claim `{name}` that it is to have has no value")));
            };
            let is = |found: &serde_json::Value| match found {
                // the token is for several (RFC 7519, 4.1.3)
                serde_json::Value::Array(all) if name == "aud" && !wanted.is_array() => all.contains(&wanted),
                found => *found == wanted,
            };
            if !found.get(name).is_some_and(is) {
                return Err(Doubt::Unproven("its claims are not right"));
            }
        }
        Ok(())
    }

    fn secret(&self, template: &Template, variables: &Value) -> Result<String, Doubt> {
        match template.render(variables) {
            Ok(Some(secret)) if !secret.is_empty() => Ok(secret),
            Ok(_) => Err(Doubt::Untold(format!("`{}` has no value", template.text()))),
            Err(error) => Err(Doubt::Untold(self.redactor.redact(&error.to_string()).into_owned())),
        }
    }

    fn variables(&self, delivery: &Delivery, timestamp: Option<&str>) -> Value {
        let request = ("request", delivery.variable(timestamp));
        Value::from_pairs(self.variables.iter().cloned().chain([request]))
    }
}

impl Delivery {
    /// The variable `request` of templates.
    pub fn variable(&self, timestamp: Option<&str>) -> Value {
        let body = std::str::from_utf8(&self.body).map_or(Value::UNDEFINED, Value::from);
        Value::from_pairs([
            ("method", Value::from(self.method.as_str())),
            ("url", Value::from(self.url.as_str())),
            ("headers", Value::from_pairs(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())))),
            ("query", Value::from_pairs(self.query.iter().map(|(name, value)| (name.as_str(), value.as_str())))),
            ("timestamp", timestamp.map_or(Value::UNDEFINED, Value::from)),
            ("body", body),
        ])
    }
}

/// The time a delivery says it was made at, as it is written, if that is not too far from now.
fn in_time<'d>(plan: &'d WebhookTimestamp, delivery: &'d Delivery, now: DateTime<Utc>) -> Result<&'d str, Doubt> {
    let header = delivery.headers.get(&plan.header).ok_or(Doubt::Unproven("it does not say when it was made"))?;
    // with a prefix the first counts, and a second one could be another
    let mut found = if plan.prefix.is_empty() { None } else { Some(elements(header, &plan.prefix)) };
    let text = match &mut found {
        None => header.trim(),
        Some(found) => match (found.next(), found.next()) {
            (Some(text), None) => text,
            _ => return Err(Doubt::Unproven("it does not say when it was made")),
        },
    };
    let made = match text.parse::<i64>() {
        Ok(number) if number >= MILLISECONDS_FROM => DateTime::from_timestamp_millis(number),
        Ok(number) => DateTime::from_timestamp(number, 0),
        Err(_) => DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc()),
    };
    let made = made.ok_or(Doubt::Unproven("it does not say when it was made"))?;
    match (now - made).abs().to_std() {
        Ok(distance) if distance <= plan.tolerance => Ok(text),
        _ => Err(Doubt::Unproven("it was made too long ago, or comes from a clock that is wrong")),
    }
}

/// What stands behind the prefix in a header, as often as it does: the whole header is one, or its parts between commas or spaces are.
fn elements<'h>(header: &'h str, prefix: &'h str) -> impl Iterator<Item = &'h str> {
    let commas = !prefix.contains(',');
    header
        .split(move |c: char| c.is_whitespace() || commas && c == ',')
        .filter_map(move |part| part.strip_prefix(prefix))
}

fn decoded(encoding: Encoding, text: &str) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Base64 => BASE64.decode(text).ok(),
        Encoding::Hex => {
            let digit = |byte: u8| (byte as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let pair = |pair: &[u8]| match pair {
                [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
                _ => None,
            };
            text.as_bytes().chunks(2).map(pair).collect()
        }
    }
}

fn algorithm(hash: Hash) -> hmac::Algorithm {
    match hash {
        Hash::Sha256 => hmac::HMAC_SHA256,
        Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        Hash::Sha512 => hmac::HMAC_SHA512,
    }
}

/// Whether two texts are the same, in a time that tells nothing of either but its length: `ring` compares their hashes under a key that
/// nobody knows.
fn same(wanted: &[u8], given: &[u8]) -> bool {
    static KEY: LazyLock<hmac::Key> = LazyLock::new(|| {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system has random numbers");
        hmac::Key::new(hmac::HMAC_SHA256, &bytes)
    });
    hmac::verify(&KEY, given, hmac::sign(&KEY, wanted).as_ref()).is_ok()
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
