//! Who may ask the API, for what, and how often.

use std::fmt;

use governor::clock::{Clock, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use ring::hmac;
use ring::rand::SystemRandom;
use secrecy::{ExposeSecret, SecretString};

use crate::plan::{ApiKeyPlan, ApiScope, limits};
use crate::remote::{MissingCredential, secret};

/// Bounds how often something happens.
pub(super) type Limiter =
    RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<<MonotonicClock as Clock>::Instant>>;

/// The keys of the API. They are kept as digests under a key that this process has made up, and compared in constant time.
#[derive(Default)]
pub struct Keys {
    keys: Vec<Key>,
}

/// One key.
pub(super) struct Key {
    digest: (hmac::Key, hmac::Tag),
    scopes: Vec<ApiScope>,
    limiter: Limiter,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// the environment does not have it
    #[error("the key `{}` of `api` needs the environment variable `{}`, which {}", .0.credential, .0.variable, .0.problem)]
    Missing(MissingCredential),
    /// others could be guessed
    #[error("the key `{name}` of `api` has fewer than {} characters", limits::API_KEY_BYTES_MIN)]
    Short {
        /// its name
        name: String,
    },
    /// what is sent in a header is visible ASCII
    #[error("the key `{0}` of `api` has characters that no header can have")]
    Unsendable(String),
    /// it is not clear what may be done with it
    #[error("the keys `{0}` and `{1}` of `api` are the same")]
    Same(String, String),
    /// the system has no random numbers
    #[error("the system gives no random numbers")]
    Random,
}

impl KeyError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::Missing(missing) => format!("set it before: `export {}=…`", missing.variable),
            Self::Short { .. } | Self::Unsendable(_) => "make one with `openssl rand -hex 24`".to_owned(),
            Self::Same(..) => "give each a key of its own, or one of them the scopes of both".to_owned(),
            Self::Random => "look at the machine: nothing that is secret can be made on it".to_owned(),
        }
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.keys.len())
    }
}

impl Keys {
    /// Reads the keys from where the project says they are.
    ///
    /// # Errors
    /// One is not there, too short, or there twice.
    pub fn of(plans: &[ApiKeyPlan]) -> Result<Self, KeyError> {
        let mut known: Vec<(String, SecretString)> = Vec::new();
        let mut keys = Vec::new();
        for ApiKeyPlan { name, key, scopes } in plans {
            let Some(text) = secret(name, key).map_err(KeyError::Missing)? else { continue };
            let exposed = text.expose_secret();
            if exposed.len() < limits::API_KEY_BYTES_MIN {
                return Err(KeyError::Short { name: name.clone() });
            }
            if !exposed.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(KeyError::Unsendable(name.clone()));
            }
            if let Some((other, _)) = known.iter().find(|(_, known)| known.expose_secret() == exposed) {
                return Err(KeyError::Same(other.clone(), name.clone()));
            }
            let under = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| KeyError::Random)?;
            let tag = hmac::sign(&under, exposed.as_bytes());
            keys.push(Key {
                digest: (under, tag),
                scopes: scopes.clone(),
                limiter: limiter(limits::API_REQUESTS_PER_SECOND, limits::API_REQUESTS_BURST),
            });
            known.push((name.clone(), text));
        }
        Ok(Self { keys })
    }

    /// Whether there are none: nobody is answered then.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that is given. Each is looked at, however early one fits.
    pub(super) fn find(&self, given: &[u8]) -> Option<&Key> {
        self.keys.iter().fold(None, |found, key| {
            let (under, tag) = &key.digest;
            // the digest of what is given is made, and compared in constant time
            if hmac::verify(under, given, tag.as_ref()).is_ok() { Some(key) } else { found }
        })
    }
}

impl Key {
    /// What may be done with it.
    pub(super) fn scopes(&self) -> &[ApiScope] {
        &self.scopes
    }

    /// Counts a request.
    ///
    /// # Errors
    /// There were too many; gives the seconds after which the next may come.
    pub(super) fn count(&self) -> Result<(), u64> {
        let wait =
            |until: governor::NotUntil<_>| until.wait_time_from(MonotonicClock.now()).as_secs().saturating_add(1);
        self.limiter.check().map_err(wait)
    }
}

/// So many in a second on average, and so many at once.
pub(super) fn limiter(per_second: u32, burst: u32) -> Limiter {
    let of = |number: u32| std::num::NonZeroU32::new(number).unwrap_or(std::num::NonZeroU32::MIN);
    let quota = Quota::per_second(of(per_second)).allow_burst(of(burst));
    RateLimiter::direct_with_clock(quota, MonotonicClock)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::CredentialSource;

    fn plan(name: &str, key: &str) -> ApiKeyPlan {
        let key = CredentialSource::Literal(SecretString::from(key.to_owned()));
        ApiKeyPlan { name: name.to_owned(), key, scopes: vec![ApiScope::Records] }
    }

    #[test]
    fn a_key_is_long_alone_and_shown_nowhere() {
        let long = "k3y-0123456789abcdefghijk";
        let keys = Keys::of(&[plan("app", long), plan("other", "another-0123456789abcdefgh")]).expect("two keys");
        assert_eq!(format!("{keys:?}"), "2 keys");
        let found = keys.find(long.as_bytes()).expect("it is known");
        assert_eq!(found.scopes(), [ApiScope::Records]);
        for wrong in ["", "k3y", "k3y-0123456789abcdefghij", "k3y-0123456789abcdefghijkl"] {
            assert!(keys.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
        let errors = [
            Keys::of(&[plan("app", "short")]),
            Keys::of(&[plan("app", "a key with spaces 0123456789")]),
            Keys::of(&[plan("app", long), plan("other", long)]),
        ];
        for error in errors {
            let error = error.expect_err("refused");
            assert!(!format!("{error:?}{error}{}", error.hint()).contains("0123"), "{error}");
        }
    }

    #[test]
    fn a_key_that_asks_too_often_is_told_when_it_may_again() {
        let keys = Keys::of(&[plan("app", "k3y-0123456789abcdefghijk")]).expect("a key");
        let refused = (0..limits::API_REQUESTS_BURST * 3).find_map(|_| keys.keys[0].count().err());
        assert_eq!(refused, Some(1));
    }
}
