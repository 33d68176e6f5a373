//! Whether a connection can run, as far as is known without asking the API.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::access::{Access, Clock};
use super::credential_store::{CredentialStore, Entry};
use super::error::Error;
use crate::plan::ConnectionPlan;

/// How a connection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// in a word
    pub state: HealthState,
    /// why it cannot run
    pub reason: Option<String>,
    /// when its token ends or has ended, which nobody can renew without a person
    pub ends_at: Option<DateTime<Utc>>,
}

/// How a connection is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// it can run
    Ok,
    /// it can run until its token ends
    Expires,
    /// a person has to connect it again
    NeedsReconnect,
    /// nobody has connected it yet
    NotConnected,
    /// its secrets cannot be had
    NotUsable,
}

impl Health {
    /// What is known of a connection; `entry` is what the store has of it.
    pub fn of(connection: &ConnectionPlan, store: &CredentialStore, entry: Option<&Entry>, now: DateTime<Utc>) -> Self {
        let clock: Clock = Arc::new(move || now);
        let because = |state, reason| Self { state, reason: Some(reason), ends_at: None };
        match Access::of(connection, store, clock) {
            Ok(_) => {}
            Err(Error::NeedsReconnect { reason, .. }) => return because(HealthState::NeedsReconnect, reason),
            Err(Error::NotConnected { reason, .. }) => return because(HealthState::NotConnected, reason),
            Err(error) => return because(HealthState::NotUsable, error.to_string()),
        }
        let ends_at = entry.and_then(|entry| entry.expires_at.filter(|_| !entry.renewable));
        let state = match ends_at {
            None => HealthState::Ok,
            Some(at) if at <= now => HealthState::NeedsReconnect,
            Some(_) => HealthState::Expires,
        };
        Self { state, reason: None, ends_at }
    }
}
