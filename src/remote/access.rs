//! What a connection needs to get in: its secrets, and the token that the credential store keeps of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::credential_store::{CredentialStore, Entry, Secrets};
use super::credentials::Credentials;
use super::error::Error;
use crate::plan::{ConnectionPlan, CredentialSource};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Takes what came of making a token for a connection: how it ended, and why there is none.
pub type TokenObserver = Arc<dyn Fn(&ConnectionPlan, TokenOutcome, Option<&str>) + Send + Sync>;

/// How making a token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenOutcome {
    /// there is one
    Refreshed,
    /// there is none, and another time there may be
    Failed,
    /// there is none before a person connects again
    NeedsReconnect,
}

impl TokenOutcome {
    /// For machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::Failed => "failed",
            Self::NeedsReconnect => "needs_reconnect",
        }
    }
}

/// What a connection needs to get in.
#[derive(Clone)]
pub struct Access {
    pub(super) credentials: Credentials,
    pub(super) kept: Option<Kept>,
    /// a token that is there from the beginning, and is kept nowhere
    pub(super) held: Option<BTreeMap<String, SecretString>>,
    pub(super) clock: Clock,
    /// who is told of tokens that are made
    pub(super) told: Option<TokenObserver>,
}

/// What the credential store keeps of a connection.
#[derive(Clone)]
pub(super) struct Kept {
    pub store: CredentialStore,
    pub entry: Entry,
    pub token: BTreeMap<String, SecretString>,
}

impl Access {
    /// Reads what `connection` needs. The store is read only if the connection has something in it: without that no key is needed.
    ///
    /// # Errors
    /// Secrets that are not in the environment; a connection that nobody has connected, or that waits for a person to do so again; a store
    /// that cannot be read.
    pub fn of(connection: &ConnectionPlan, store: &CredentialStore, clock: Clock) -> Result<Self, Error> {
        let access = Self::while_connecting(connection, store, clock)?;
        let not_connected = |reason: &str| {
            let (connection, reason) = (connection.name.clone(), reason.to_owned());
            Err(Error::NotConnected { connection, reason })
        };
        if let Some(name) = connection.unknown.first() {
            return not_connected(&format!("the API has not told `{name}` yet"));
        }
        match &access.kept {
            Some(Kept { entry: Entry { needs_reconnect: Some(reason), .. }, .. }) => {
                let (connection, reason) = (connection.name.clone(), reason.clone());
                Err(Error::NeedsReconnect { connection, reason })
            }
            None if connection.auth.needs_a_person() => not_connected("nobody has agreed to it yet"),
            Some(Kept { token, .. }) if connection.auth.needs_a_person() && !token.contains_key("access_token") => {
                not_connected("nobody has agreed to it yet")
            }
            None | Some(_) => Ok(access),
        }
    }

    /// The same for a connection that is being connected: what the API will tell may be missing.
    ///
    /// # Errors
    /// As [`Access::of`], less what connecting brings.
    pub fn while_connecting(connection: &ConnectionPlan, store: &CredentialStore, clock: Clock) -> Result<Self, Error> {
        let is_kept = connection.credentials.values().any(|source| matches!(source, CredentialSource::Kept));
        let found = if is_kept || connection.auth.needs_a_person() { store.read(&connection.name)? } else { None };
        let found = found.filter(|(entry, _)| entry.is_of(connection));
        let credentials = match &found {
            Some((_, secrets)) => Credentials::resolve(connection, &secrets.credentials)?,
            None => Credentials::resolve(connection, &BTreeMap::new())?,
        };
        let kept = found.map(|(entry, secrets)| Kept { store: store.clone(), entry, token: secrets.token });
        Ok(Self { credentials, kept, held: None, clock, told: None })
    }

    /// With the secrets that a person has just given, and nothing that was kept.
    ///
    /// # Errors
    /// Secrets that are not in the environment, or that nobody gave.
    pub fn connecting(connection: &ConnectionPlan, secrets: &Secrets, clock: Clock) -> Result<Self, Error> {
        let credentials = Credentials::resolve(connection, &secrets.credentials)?;
        Ok(Self { credentials, kept: None, held: None, clock, told: None })
    }

    /// With secrets that are at hand, for tests and the demo.
    pub fn with(credentials: Credentials, clock: Clock) -> Self {
        Self { credentials, kept: None, held: None, clock, told: None }
    }

    /// All secrets in it by name, those of the token that is kept last.
    pub fn secrets(&self) -> Vec<(String, SecretString)> {
        let kept = self.kept.iter().flat_map(|kept| &kept.token).chain(self.held.iter().flatten());
        let token = kept.map(|(name, secret)| (name.clone(), secret.clone()));
        self.credentials.named().chain(token).collect()
    }

    /// The same with the token that a way in would make, by the names of credentials: it has no end, and is kept nowhere.
    #[must_use]
    pub fn holding(self, token: BTreeMap<String, SecretString>) -> Self {
        Self { held: (!token.is_empty()).then_some(token), ..self }
    }

    /// The same, and somebody is told of each token that is made.
    #[must_use]
    pub fn telling(self, told: TokenObserver) -> Self {
        Self { told: Some(told), ..self }
    }
}
