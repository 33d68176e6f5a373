//! The keys of the daemon's API.

use super::connection::credential_source;
use super::place::{Place, Sink};
use super::{ApiKeyPlan, ApiScope, CredentialSource, limits, words};
use crate::spec::{AccessKeySpec, ApiScopeSpec, ApiSpec};

/// The keys of `api`; as many as have no mistake.
pub(super) fn keys(sink: &mut Sink, place: &Place<'_>, spec: &ApiSpec) -> Vec<ApiKeyPlan> {
    let ApiSpec { keys } = spec;
    let place = place.key("keys");
    let plans = keys.iter().map(|(name, AccessKeySpec { key, scopes })| {
        let place = place.key(name);
        words::key_name(sink, &place, name, true);
        let source = credential_source(sink, &place.key("key"), name, key)?;
        if matches!(source, CredentialSource::Literal(_)) && key.len() < limits::API_KEY_BYTES_MIN {
            let message =
                format!("a key has at least {} characters: others could be guessed", limits::API_KEY_BYTES_MIN);
            let hint = "make one with `openssl rand -hex 24` and put it into the environment".to_owned();
            sink.error("E015", &place.key("key"), message, Some(hint));
            return None;
        }
        let scope = |scope: &ApiScopeSpec| match scope {
            ApiScopeSpec::Records => ApiScope::Records,
            ApiScopeSpec::Syncs => ApiScope::Syncs,
            ApiScopeSpec::Control => ApiScope::Control,
            ApiScopeSpec::Actions => ApiScope::Actions,
            ApiScopeSpec::Query => ApiScope::Query,
        };
        Some(ApiKeyPlan { name: name.clone(), key: source, scopes: scopes.iter().map(scope).collect() })
    });
    plans.collect::<Vec<_>>().into_iter().flatten().collect()
}
