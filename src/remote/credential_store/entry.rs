//! What is kept of a connection: a part that may be read without a key, and its secrets.

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::plan::ConnectionPlan;

/// What may be read without a key. It is authenticated all the same: edited by hand, the entry no longer opens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// the provider's name
    pub provider: String,
    /// the way in, by its name in the provider
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<String>,
    /// what the API told of the account when it was connected, kept as settings of the connection
    #[serde(default)]
    pub facts: Map<String, Value>,
    /// the scopes that were granted
    #[serde(default)]
    pub scopes: Vec<String>,
    /// when a person connected it
    pub connected_at: DateTime<Utc>,
    /// when the secrets were last written
    pub updated_at: DateTime<Utc>,
    /// when the token expires, if that is known
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// whether a new token can be had without a person
    #[serde(default)]
    pub renewable: bool,
    /// why a person has to connect again, if so
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs_reconnect: Option<String>,
    /// the names of the credentials that are sealed
    #[serde(default)]
    pub credentials: Vec<String>,
}

impl Entry {
    /// Whether it was kept for this connection as it is written now, and not for another provider or way in.
    pub fn is_of(&self, connection: &ConnectionPlan) -> bool {
        self.provider == connection.provider && self.auth == connection.auth_name
    }
}

/// What is sealed. `Debug` shows the names only.
#[derive(Clone, Default)]
pub struct Secrets {
    /// what a person gave: name to value
    pub credentials: BTreeMap<String, SecretString>,
    /// what the API gave for it: `access_token`, `refresh_token` and the like
    pub token: BTreeMap<String, SecretString>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { credentials, token } = self;
        let names = |secrets: &BTreeMap<String, SecretString>| secrets.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("Secrets").field("credentials", &names(credentials)).field("token", &names(token)).finish()
    }
}
