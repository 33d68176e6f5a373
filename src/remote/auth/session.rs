//! The token of a connection over its life: made before the first request, made again before it ends, one at a time.
//!
//! ```text
//!            no token ──make──▶ token ──before its end, or the API refuses it──▶ make again
//!                                 ▲                                                  │
//!                                 └──── written to the store, then used ◀────────────┤
//!                                                                                    ▼
//!                                                          the API revoked it: a person must connect again
//! ```
//!
//! Of many requests that find the token old, one makes a new one and the others wait for it, in this process by a lock of its own and over
//! processes by a lock of the store. What is made is durable before the first request carries it: servers end the old refresh token
//! when they hand out a new one, or when they see the new token used (RFC 6749, 6 and 10.4), so a kill must not lose it.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::super::access::{Access, Clock, Kept, TokenObserver, TokenOutcome};
use super::super::credential_store::{CredentialStore, Entry, StoreError};
use super::super::credentials::Credentials;
use super::super::error::Error;
use super::super::redact::Redactor;
use super::super::sockets::Routes;
use super::maker::{Fault, Made, Maker};
use super::proof::Proof;
use super::written;
use crate::plan::{AuthPlan, ConnectionPlan, MadeAuth, limits};

/// What requests are proved with at one moment.
pub(in crate::remote) struct Keys {
    /// counts the tokens of this process; 0 = there is none yet
    pub generation: u64,
    /// what goes into a request
    pub proof: Proof,
    /// what templates may name
    pub credentials: Credentials,
    /// knows all secrets, those of the last tokens too
    pub redactor: Redactor,
    /// from when on a new token is made first
    stale_from: Option<DateTime<Utc>>,
    token: BTreeMap<String, SecretString>,
}

/// The keys of a connection, now and later. Clones share them.
#[derive(Clone)]
pub(in crate::remote) struct Session(Arc<Inner>);

struct Inner {
    connection: Arc<ConnectionPlan>,
    given: Credentials,
    /// knows all but tokens
    first: Redactor,
    kept: Option<(CredentialStore, Mutex<Known>)>,
    clock: Clock,
    told: Option<TokenObserver>,
    routes: Arc<Routes>,
    /// held by who makes a token
    turn: Arc<tokio::sync::Mutex<()>>,
    /// the token that the API refuses, by its generation
    refused: AtomicU64,
    /// the newest token that a request has got in with
    got_in: AtomicU64,
    /// tokens that were tried to make, and how the last one failed
    attempts: AtomicU64,
    failure: Mutex<Option<Unmade>>,
    keys: RwLock<Arc<Keys>>,
    /// the secrets of the last tokens, newest last
    recent: Mutex<VecDeque<BTreeMap<String, SecretString>>>,
    rendered: RwLock<Rendered>,
    /// signatures in the URLs of files; there can be many, and no other secret makes room for them
    signatures: RwLock<Rendered>,
}

/// Secrets that are no credentials: those that the YAML itself holds, or that are computed for a request.
#[derive(Default)]
struct Rendered {
    /// newest last
    texts: VecDeque<SecretString>,
    redactor: Redactor,
}

/// What this process knows of the entry in the store.
struct Known {
    /// since when a person's agreement is what the token is of
    connected_at: DateTime<Utc>,
    facts: Map<String, Value>,
}

impl From<&Entry> for Known {
    fn from(Entry { connected_at, facts, .. }: &Entry) -> Self {
        Self { connected_at: *connected_at, facts: facts.clone() }
    }
}

impl Session {
    /// A session of a connection. Nothing is asked yet.
    ///
    /// # Errors
    /// [`Error::Connection`] when the templates of `auth` yield nothing that can be sent.
    pub fn new(connection: Arc<ConnectionPlan>, access: Access, routes: Arc<Routes>) -> Result<Self, Error> {
        let Access { credentials: given, kept, held, clock, told } = access;
        let variables = given.with_settings(&connection);
        let mut redactor = Redactor::new(given.values());
        if let AuthPlan::Made(made) = &connection.auth {
            for secret in written::secrets(made, &variables) {
                redactor.add(secret.expose_secret());
            }
        }
        let first = redactor.clone();
        let proof = match &connection.auth {
            AuthPlan::Made(made) if made.has_token() => Ok(Proof::to_come(made)),
            plan => Proof::new(plan, &variables),
        };
        let proof = proof.map_err(|reason| Error::Connection {
            connection: connection.name.clone(),
            reason: redactor.redact(&reason).into_owned(),
            hint: None,
        })?;
        let mut keys = Keys {
            generation: 0,
            credentials: given.clone(),
            redactor,
            stale_from: None,
            token: BTreeMap::new(),
            proof,
        };
        for secret in keys.proof.secrets() {
            keys.redactor.add(secret.expose_secret());
        }
        let (kept, token) = match kept {
            None => (None, held.map(|token| (token, None))),
            Some(Kept { store, entry, token }) => {
                let held = (!token.is_empty()).then_some((token, entry.expires_at));
                (Some((store, Mutex::new(Known::from(&entry)))), held)
            }
        };
        let session = Self(Arc::new(Inner {
            connection,
            given,
            first,
            kept,
            clock,
            told,
            routes,
            turn: Arc::default(),
            refused: AtomicU64::new(0),
            got_in: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            failure: Mutex::new(None),
            keys: RwLock::new(Arc::new(keys)),
            recent: Mutex::default(),
            rendered: RwLock::default(),
            signatures: RwLock::default(),
        }));
        if let Some((token, expires_at)) = token {
            session.0.take(token, expires_at).map_err(|unmade| session.0.error(unmade))?;
        }
        Ok(session)
    }

    /// The keys as they are.
    pub fn current(&self) -> Arc<Keys> {
        Arc::clone(&self.0.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Text without the secrets of this connection.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.masked(text, Redactor::redact)
    }

    /// The same for data, of which there is much: only the common spellings are masked.
    pub fn redact_data<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.masked(text, Redactor::redact_data)
    }

    fn masked<'t>(&self, text: &'t str, mask: impl for<'a> Fn(&Redactor, &'a str) -> Cow<'a, str>) -> Cow<'t, str> {
        let mut masked = mask(&self.current().redactor, text);
        for learned in self.learned() {
            masked = match masked {
                Cow::Borrowed(text) => mask(&learned, text),
                Cow::Owned(text) => Cow::Owned(mask(&learned, &text).into_owned()),
            };
        }
        masked
    }

    /// Masks a text from now on that was rendered as a secret and does not show a known one.
    pub fn learn(&self, text: &str) {
        let is_known = |text: &str| matches!(self.redact(text), Cow::Owned(_));
        let behind_scheme = text.split_once(' ').map(|(_, secret)| secret);
        for text in std::iter::once(text).chain(behind_scheme).filter(|text| !is_known(text)).collect::<Vec<_>>() {
            keep(&self.0.rendered, text, limits::RENDERED_MASKED);
        }
    }

    /// The same of a text that was met as the signature of a file.
    pub fn learn_signature(&self, text: &str) {
        if matches!(self.redact(text), Cow::Borrowed(_)) {
            keep(&self.0.signatures, text, limits::SIGNATURES_MASKED);
        }
    }

    /// Bytes of the longest secret, however it is written.
    pub fn longest_secret(&self) -> usize {
        let learned = self.learned().map(|learned| learned.longest()).into_iter().max();
        self.current().redactor.longest().max(learned.unwrap_or(0))
    }

    /// A value without what is surely secret: tokens, what proves who asks, and credentials by their names.
    pub fn without_proof(&self, value: &Value) -> Value {
        let keys = self.current();
        let mut redactor = Redactor::new(keys.token.values().map(ExposeSecret::expose_secret));
        redactor = redactor.and(&Redactor::new(self.0.given.surely_secret()));
        for secret in keys.proof.secrets() {
            redactor.add(secret.expose_secret());
        }
        redactor.redact_value(value)
    }

    fn learned(&self) -> [Redactor; 2] {
        [&self.0.rendered, &self.0.signatures]
            .map(|texts| texts.read().unwrap_or_else(PoisonError::into_inner).redactor.clone())
    }

    /// The time by the session's clock.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0.clock)()
    }

    /// Keys to send a request with; makes a token first if there is none or it is about to end.
    ///
    /// # Errors
    /// No token can be made.
    pub async fn ready(&self) -> Result<Arc<Keys>, Error> {
        let keys = self.current();
        let is_refused = self.0.refused.load(Ordering::SeqCst) >= keys.generation;
        if !self.is_made() || (!is_refused && keys.stale_from.is_none_or(|from| self.now() < from)) {
            return Ok(keys);
        }
        self.renew(keys.generation).await
    }

    /// The API refuses the token of `generation`: no request is sent with it any more.
    pub fn refused(&self, generation: u64) {
        self.0.refused.fetch_max(generation, Ordering::SeqCst);
    }

    /// Whether the token is of an agreement of a person.
    pub fn is_agreed(&self) -> bool {
        self.0.connection.auth.needs_a_person()
    }

    /// Whether a token that the API refuses can be followed by another.
    pub fn can_renew(&self) -> bool {
        match self.0.connection.auth.made() {
            Some(MadeAuth::AuthorizationCode { .. }) => self.current().token.contains_key(REFRESH_TOKEN),
            made => made.is_some_and(MadeAuth::has_token),
        }
    }

    /// A request has got in with the token of `generation`.
    pub fn got_in(&self, generation: u64) {
        self.0.got_in.fetch_max(generation, Ordering::SeqCst);
    }

    /// Whether a request has got in with the token of `generation`.
    pub fn has_got_in(&self, generation: u64) -> bool {
        generation > 0 && self.0.got_in.load(Ordering::SeqCst) >= generation
    }

    /// Makes a token in place of that of `generation`, unless somebody has done so. It is made to its end even if the caller goes away:
    /// half of a refresh would lose the refresh token. Callers that waited for one attempt share its failure; those that go away while
    /// they wait make none.
    async fn renew(&self, generation: u64) -> Result<Arc<Keys>, Error> {
        let inner = Arc::clone(&self.0);
        let seen = inner.attempts.load(Ordering::SeqCst);
        // from here to the task nothing waits: who asks whether a token is being made sees the turn taken
        let turn = Arc::clone(&inner.turn).lock_owned().await;
        let keys = self.current();
        if keys.generation > generation {
            return Ok(keys);
        }
        if inner.attempts.load(Ordering::SeqCst) > seen
            && let Some(unmade) = inner.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
        {
            return Err(inner.error(unmade));
        }
        let task = tokio::task::spawn(async move {
            let _turn = turn;
            let made = inner.make(&keys).await;
            inner.attempts.fetch_add(1, Ordering::SeqCst);
            *inner.failure.lock().unwrap_or_else(PoisonError::into_inner) = made.as_ref().err().cloned();
            made.map_err(|unmade| inner.failed(unmade))
        });
        let ended = task.await;
        ended.unwrap_or_else(|error| {
            let reason = format!("it ended in the middle: {error}");
            Err(Error::Token { connection: self.0.connection.name.clone(), reason, temporary: false })
        })
    }

    /// Returns when no token is being made.
    pub async fn settled(&self) {
        drop(self.0.turn.lock().await);
    }

    /// Notes in the store that a person must connect again.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn needs_reconnect(&self, reason: &str) -> Result<(), Error> {
        Ok(self.0.mark_revoked(reason.to_owned()).await?)
    }

    /// Whether requests carry a token that is made, and not one that was given.
    fn is_made(&self) -> bool {
        self.0.connection.auth.made().is_some_and(MadeAuth::has_token)
    }
}

const ACCESS_TOKEN: &str = "access_token";
const REFRESH_TOKEN: &str = "refresh_token";

/// Why no token was made.
#[derive(Clone)]
enum Unmade {
    /// the API or the way to it
    Fault(Fault),
    /// the credential store
    Store(Arc<StoreError>),
}

impl From<StoreError> for Unmade {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

impl From<Fault> for Unmade {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Inner {
    fn maker(&self) -> Maker<'_> {
        Maker { connection: &self.connection, routes: &self.routes, credentials: &self.given, now: (self.clock)() }
    }

    async fn make(&self, keys: &Keys) -> Result<Arc<Keys>, Unmade> {
        let AuthPlan::Made(plan) = &self.connection.auth else {
            return Ok(Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner)));
        };
        let MadeAuth::AuthorizationCode { client, token, .. } = plan.as_ref() else {
            let Made { token, expires_at, save, .. } = self.maker().make(plan).await?;
            self.keep_facts(save).await?;
            let keys = self.take(token, expires_at)?;
            self.tell(TokenOutcome::Refreshed, None);
            return Ok(keys);
        };
        let Some((store, known)) = &self.kept else {
            return Err(Fault::Revoked("nobody has agreed to it yet".to_owned()).into());
        };
        let name = self.connection.name.clone();
        let (held, asked) = (store.clone(), name.clone());
        let (_lock, found) = blocking(move || {
            let lock = held.lock(&asked, limits::REFRESH_LOCK_WAIT_MAX)?;
            Ok((lock, held.read(&asked)?))
        })
        .await?;
        let Some((mut entry, mut secrets)) = found else {
            return Err(Fault::Revoked("it was disconnected meanwhile".to_owned()).into());
        };
        *known.lock().unwrap_or_else(PoisonError::into_inner) = Known::from(&entry);
        if let Some(reason) = entry.needs_reconnect {
            return Err(Fault::Revoked(reason).into());
        }
        let now = (self.clock)();
        let is_good = self.stale_from(now, &secrets.token, entry.expires_at).is_none_or(|from| now < from);
        if is_good && !is_same(&secrets.token, &keys.token) {
            // another process has made one
            return self.take(secrets.token, entry.expires_at);
        }
        let Some(refresh_token) = secrets.token.get(REFRESH_TOKEN).cloned() else {
            let reason = "the token has ended, and the API gave none to refresh it with".to_owned();
            return Err(Fault::Revoked(reason).into());
        };
        match self.maker().refresh(token, client, refresh_token.clone()).await {
            Ok(made) => {
                secrets.token = made.token;
                // RFC 6749, 6: without a new one the old one stays
                secrets.token.entry(REFRESH_TOKEN.to_owned()).or_insert(refresh_token);
                entry.expires_at = made.expires_at;
                entry.updated_at = now;
                entry.facts.extend(made.save);
                let (token, expires_at) = (secrets.token.clone(), entry.expires_at);
                let store = store.clone();
                blocking(move || store.write(&name, &entry, &secrets)).await?;
                let keys = self.take(token, expires_at)?;
                self.tell(TokenOutcome::Refreshed, None);
                Ok(keys)
            }
            Err(Fault::Revoked(reason)) => {
                self.mark_revoked(reason.clone()).await?;
                Err(Fault::Revoked(reason).into())
            }
            Err(fault) => Err(fault.into()),
        }
    }

    /// Uses a token from now on.
    fn take(
        &self,
        token: BTreeMap<String, SecretString>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<Arc<Keys>, Unmade> {
        let now = (self.clock)();
        let credentials = self.given.and(&token);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.push_back(token.clone());
        while recent.len() > limits::TOKENS_MASKED {
            recent.pop_front();
        }
        let mut redactor = self.first.clone();
        for secret in recent.iter().flat_map(BTreeMap::values) {
            redactor.add(secret.expose_secret());
        }
        let proof = Proof::new(&self.connection.auth, &credentials.with_settings(&self.connection));
        let proof = proof.map_err(|reason| Fault::Refused(redactor.redact(&reason).into_owned()))?;
        for secret in proof.secrets() {
            redactor.add(secret.expose_secret());
        }
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        let stale_from = self.stale_from(now, &token, expires_at);
        let keys = Arc::new(Keys { generation, proof, credentials, redactor, stale_from, token });
        *current = Arc::clone(&keys);
        Ok(keys)
    }

    /// Keeps what the API told with a token, if that is new and the connection is kept at all.
    async fn keep_facts(&self, save: Vec<(String, Value)>) -> Result<(), StoreError> {
        let Some((store, known)) = &self.kept else { return Ok(()) };
        let is_told = |known: &Known| save.iter().all(|(name, value)| known.facts.get(name) == Some(value));
        if is_told(&known.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(());
        }
        let (store, name, told) = (store.clone(), self.connection.name.clone(), save.clone());
        blocking(move || store.mark(&name, |entry| entry.facts.extend(told))).await?;
        known.lock().unwrap_or_else(PoisonError::into_inner).facts.extend(save);
        Ok(())
    }

    /// Notes that a person must connect again, unless one has done so since: then it is the old agreement that is over.
    async fn mark_revoked(&self, reason: String) -> Result<(), StoreError> {
        let Some((store, known)) = &self.kept else { return Ok(()) };
        // it is kept where everybody may read it
        let reason = self.masked(&reason);
        let (store, name) = (store.clone(), self.connection.name.clone());
        let connected_at = known.lock().unwrap_or_else(PoisonError::into_inner).connected_at;
        let change = move |entry: &mut Entry| {
            if entry.connected_at == connected_at {
                entry.needs_reconnect = Some(reason);
            }
        };
        blocking(move || store.mark(&name, change)).await?;
        Ok(())
    }

    /// From when on a token is made anew. One that can only be followed by another agreement is good to its end.
    fn stale_from(
        &self,
        now: DateTime<Utc>,
        token: &BTreeMap<String, SecretString>,
        expires_at: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        if self.connection.auth.needs_a_person() && !token.contains_key(REFRESH_TOKEN) {
            return expires_at;
        }
        stale_from(now, expires_at)
    }

    fn masked(&self, text: &str) -> String {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).redactor.redact(text).into_owned()
    }

    fn tell(&self, outcome: TokenOutcome, why: Option<&str>) {
        if let Some(told) = &self.told {
            told(&self.connection, outcome, why);
        }
    }

    /// Tells that there is no token; gives the error that says why.
    fn failed(&self, unmade: Unmade) -> Error {
        let error = self.error(unmade);
        let outcome = match error {
            Error::NeedsReconnect { .. } => TokenOutcome::NeedsReconnect,
            _ => TokenOutcome::Failed,
        };
        self.tell(outcome, Some(&error.to_string()));
        error
    }

    fn error(&self, unmade: Unmade) -> Error {
        let fault = match unmade {
            Unmade::Fault(fault) => fault,
            Unmade::Store(error) => return Error::Store(error),
        };
        let connection = self.connection.name.clone();
        let masked = |reason: String| self.masked(&reason);
        match fault {
            Fault::Revoked(reason) => Error::NeedsReconnect { connection, reason: masked(reason) },
            Fault::Refused(reason) => Error::Token { connection, reason: masked(reason), temporary: false },
            Fault::Transient(reason) => Error::Token { connection, reason: masked(reason), temporary: true },
            Fault::Pending(_) => {
                Error::Token { connection, reason: "nobody has agreed to it yet".to_owned(), temporary: false }
            }
        }
    }
}

/// Masks a text from now on, until so many others have followed.
fn keep(texts: &RwLock<Rendered>, text: &str, most: usize) {
    let mut rendered = texts.write().unwrap_or_else(PoisonError::into_inner);
    rendered.texts.push_back(text.into());
    while rendered.texts.len() > most {
        rendered.texts.pop_front();
    }
    rendered.redactor = Redactor::new(rendered.texts.iter().map(ExposeSecret::expose_secret));
}

/// Runs what waits for files on a thread where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

fn is_same(one: &BTreeMap<String, SecretString>, other: &BTreeMap<String, SecretString>) -> bool {
    let token =
        |of: &BTreeMap<String, SecretString>| of.get(ACCESS_TOKEN).map(|token| token.expose_secret().to_owned());
    token(one) == token(other)
}

/// From when on a token that ends at `expires_at` is made anew: a tenth of what is left of it before its end, a minute at most.
fn stale_from(now: DateTime<Utc>, expires_at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let end = expires_at?;
    let margin = (end - now).max(TimeDelta::zero()) / 10;
    Some(end - margin.min(limits::REFRESH_AHEAD_MAX))
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
