//! Records runs of a sync as a test: what was asked and answered, disguised, and what came of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use url::{Url, form_urlencoded};

use super::disguise::{Content, Disguise, Learner, Rules, SURE_SECRET_BYTES_MIN, read};
use crate::engine::{self, Clock, HostOptions, Observer, Options, Report};
use crate::plan::{Budget, ConnectionPlan, LevelSource, Method, SyncPlan, limits};
use crate::remote::{Access, CredentialStore, Heard, Redactor, Tap};
use crate::scan::Wish;
use crate::spec::yaml;

/// Why there is no recording.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// the run could not be made
    #[error(transparent)]
    Run(#[from] engine::Error),
    /// the run failed
    #[error("the run failed: {message}")]
    Failed {
        /// what it says
        message: String,
        /// what to do
        hint: Option<String>,
    },
    /// no folder for the database
    #[error("there is no folder for the recording's database: {0}")]
    NoFolder(std::io::Error),
    /// an answer that cannot be written into a test
    #[error("the answer to {request} cannot be recorded: {reason}")]
    Unwritable {
        /// which
        request: String,
        /// why
        reason: String,
    },
}

impl RecordError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Run(error) => error.hint(),
            Self::Failed { hint, .. } => hint.clone(),
            Self::NoFolder(_) => None,
            Self::Unwritable { .. } => Some("ask for smaller pages, and see `--pages`".to_owned()),
        }
    }
}

/// What was asked and answered, with the secrets in it. Nothing of it may be shown.
pub struct Tape {
    /// the runs
    runs: Vec<TapedRun>,
    secrets: Vec<(String, String)>,
}

struct TapedRun {
    at: DateTime<Utc>,
    heard: Vec<Heard>,
    /// where it was told to stop, if it did
    stopped_by: Option<(&'static str, u64)>,
    report: Report,
}

/// How much is recorded.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// runs, one after the other
    pub runs: usize,
    /// requests of a sync in each
    pub pages: u64,
}

/// The sync itself behind those over whose rows it goes.
pub fn with_parents(all: &[Arc<SyncPlan>], sync: &Arc<SyncPlan>) -> Vec<Arc<SyncPlan>> {
    let mut chosen = vec![Arc::clone(sync)];
    let mut next = 0;
    while let Some(plan) = chosen.get(next).cloned() {
        let levels = plan.partitions.iter().flat_map(|partitions| &partitions.levels);
        let names: Vec<&String> = levels
            .filter_map(|level| if let LevelSource::Rows { sync, .. } = &level.from { Some(sync) } else { None })
            .collect();
        for parent in all.iter().filter(|of| of.id.connection == sync.id.connection && names.contains(&&of.id.sync)) {
            if !chosen.iter().any(|known| known.id == parent.id) {
                chosen.push(Arc::clone(parent));
            }
        }
        next += 1;
    }
    chosen.reverse();
    chosen
}

/// Makes real runs of `syncs`, of which the last is what the recording is about, into a database that is thrown away.
///
/// # Errors
/// See [`RecordError`]; a run that fails is none that can be recorded.
pub async fn live(
    syncs: &[Arc<SyncPlan>],
    folder: &Path,
    extent: Extent,
    (clock, observer): (Clock, Observer),
) -> Result<Tape, RecordError> {
    let own = tempfile::Builder::new().prefix("headwater-record-").tempdir().map_err(RecordError::NoFolder)?;
    let store = CredentialStore::of_project(folder);
    let connection = syncs.last().map(|sync| Arc::clone(&sync.connection));
    let access = connection
        .as_ref()
        .map(|connection| Access::of(connection, &store, Arc::clone(&clock)).map_err(engine::Error::from));
    let known = access.transpose()?.map(|access| access.secrets()).unwrap_or_default();
    let mut tape = Tape { runs: Vec::new(), secrets: Vec::new() };
    known.iter().for_each(|(name, secret)| tape.learn(name, secret.expose_secret()));
    for _ in 0..extent.runs {
        let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
        let told = Arc::clone(&heard);
        let tap = Tap::new(limits::RECORD_ANSWER_BYTES_MAX, move |one| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        });
        let (_running, stop) = watch::channel(false);
        let at = clock();
        let options = Options {
            host: HostOptions {
                tap: Some(Arc::new(tap)),
                observer: Arc::clone(&observer),
                ..HostOptions::new(own.path().join("record.duckdb"), folder, Arc::clone(&clock))
            },
            wish: Wish::default(),
            allow_destructive: false,
            budget: Budget { requests: Some(extent.pages), ..Budget::default() },
            observer: Arc::clone(&observer),
            stop,
        };
        let report = engine::run(syncs, options).await;
        let heard = std::mem::take(&mut *heard.lock().unwrap_or_else(PoisonError::into_inner));
        let report = report?;
        let too_large = heard.iter().find(|one| one.answer.len() > limits::RECORD_ANSWER_BYTES_MAX);
        if let Some(one) = too_large {
            let reason = format!("it has more than {} MiB", limits::RECORD_ANSWER_BYTES_MAX >> 20);
            return Err(RecordError::Unwritable { request: named(one), reason });
        }
        if let Some(error) = report.syncs.iter().find_map(|sync| sync.error.as_ref()) {
            return Err(RecordError::Failed { message: error.message.clone(), hint: error.hint.clone() });
        }
        let stopped = report.syncs.iter().find_map(|sync| sync.paused_by);
        if stopped == Some("rate_limit") {
            let hint = Some("wait until the API answers again".to_owned());
            return Err(RecordError::Failed { message: "the API's budget is used up".to_owned(), hint });
        }
        for one in heard.iter().filter(|one| one.for_token) {
            let answer = serde_json::from_slice(&one.answer).unwrap_or_default();
            tape.learn_token(None, &answer);
        }
        let stopped_by = (stopped == Some("max_requests")).then_some(("max_requests", extent.pages));
        tape.runs.push(TapedRun { at, heard, stopped_by, report });
    }
    Ok(tape)
}

/// A request as it may be shown: without what stands behind `?`.
fn named(heard: &Heard) -> String {
    let path = heard.url.path().rsplit('/').next().unwrap_or_default();
    format!("{} …/{path}", heard.method.as_str())
}

/// Characters from which on a secret is one: shorter ones stand everywhere by chance.
const SECRET_CHARS_MIN: usize = 4;
/// The same of what a token endpoint tells.
const TOLD_CHARS_MIN: usize = 12;

impl Tape {
    fn learn(&mut self, name: &str, secret: &str) {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
        if secret.chars().count() < SECRET_CHARS_MIN || self.secrets.iter().any(|(known, _)| known == secret) {
            return;
        }
        let stand_in = if name == "access_token" { "test-token".to_owned() } else { format!("test-{name}") };
        let encoded = crate::plan::percent_encoded(secret);
        let json = Value::from(secret).to_string();
        let mut forms = vec![secret.to_owned(), encoded, json.trim_matches('"').to_owned(), crate::plan::hex(secret)];
        forms.extend([&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD].map(|engine| engine.encode(secret)));
        for form in forms {
            if !self.secrets.iter().any(|(known, _)| *known == form) {
                self.secrets.push((form, stand_in.clone()));
            }
        }
        // the longest first: one may hold another
        self.secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
    }

    fn learn_token(&mut self, name: Option<&str>, value: &Value) {
        match value {
            Value::String(text) if text.len() >= TOLD_CHARS_MIN => self.learn(name.unwrap_or("token"), text),
            Value::Array(items) => items.iter().for_each(|item| self.learn_token(name, item)),
            Value::Object(members) => members.iter().for_each(|(name, value)| self.learn_token(Some(name), value)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// What the syncs said of their runs: counts of the last of each.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.runs.iter().map(|run| &run.report)
    }

    /// Whether a text holds none of the secrets, in whatever way they are written.
    pub fn is_clean(&self, text: &str) -> bool {
        let long =
            self.secrets.iter().map(|(secret, _)| secret.as_str()).filter(|it| it.len() >= SURE_SECRET_BYTES_MIN);
        let redactor = Redactor::new(long);
        text.lines().all(|line| matches!(redactor.redact(line), std::borrow::Cow::Borrowed(_)))
    }

    /// How many answers there are.
    pub fn answers(&self) -> usize {
        self.runs.iter().map(|run| run.heard.iter().filter(|one| is_written(one)).count()).sum()
    }
}

/// Tokens are made up in a test, and what was refused for want of one is asked for again.
fn is_written(heard: &Heard) -> bool {
    !heard.for_token && heard.status != 401
}

/// What a recording is written with.
pub struct Notation<'n> {
    /// the test's name
    pub test: &'n str,
    /// the sync that was run
    pub sync: &'n SyncPlan,
    /// the address that a test with this `connection` asks, without a slash at its end
    pub test_base: &'n dyn Fn(&Map<String, Value>) -> Option<String>,
    /// what is replaced
    pub rules: Rules,
    /// makes what stands in place of values; to be thrown away
    pub key: &'n [u8],
}

/// The test's document without what it expects.
///
/// # Errors
/// An answer that is no text.
pub fn document(tape: &Tape, notation: Notation<'_>) -> Result<(Value, Disguise), RecordError> {
    let Notation { test, sync, test_base, mut rules, key } = notation;
    let connection = &sync.connection;
    let live_base = connection.base_url.as_str().trim_end_matches('/').to_owned();
    rules.secrets.clone_from(&tape.secrets);
    let all = || tape.runs.iter().flat_map(|run| &run.heard).filter(|one| is_written(one));
    rules.origins = all().map(|one| one.url.origin().ascii_serialization()).collect();
    rules.origins.insert(connection.base_url.origin().ascii_serialization());
    let said = rules.said.clone();
    let mut learner = Learner::new(rules);
    let mut contents = Vec::new();
    for one in all() {
        let content = read(&one.answer).map_err(|reason| RecordError::Unwritable { request: named(one), reason })?;
        learner.body(&content);
        one.answer_headers.iter().filter(|(name, _)| matters(name, &said)).for_each(|(_, value)| learner.header(value));
        contents.push(content);
    }
    learner.setting(&connection.config);
    learner.setting(&sync.input);
    let mut disguise = learner.disguise(key);
    let given = given(connection, sync, |value| disguise.value(None, value));
    let test_base = test_base(&given).unwrap_or_else(|| live_base.clone());
    disguise.moves((live_base.clone(), test_base.clone()));
    let mut contents = contents.into_iter();
    let mut runs = Vec::new();
    for run in &tape.runs {
        let mut exchange = Vec::new();
        for one in run.heard.iter().filter(|one| is_written(one)) {
            let content = contents.next().unwrap_or(Content::Empty);
            let answer = disguise.body(&content);
            let request = request(one, (&live_base, &test_base), &disguise, &tape.secrets);
            exchange.push(json!({ "request": request, "response": response(one, &answer, &disguise, &said) }));
        }
        let mut written = json!({ "at": run.at.to_rfc3339_opts(SecondsFormat::Micros, true) });
        if let Some((word, most)) = run.stopped_by {
            written[word] = most.into();
        }
        written["exchange"] = exchange.into();
        runs.push(written);
    }
    let description = format!(
        "Recorded on {} with `headwater record`; people, texts and ids are made up.",
        tape.runs.first().map(|run| run.at.format("%Y-%m-%d").to_string()).unwrap_or_default()
    );
    let mut document = json!({ "test": test, "description": description, "sync": sync.id.sync });
    if !given.is_empty() {
        document["connection"] = given.into();
    }
    document["runs"] = runs.into();
    Ok((document, disguise))
}

/// What a test says of the connection of a sync, with all that is in it.
pub(super) fn given_plainly(sync: &SyncPlan) -> Map<String, Value> {
    given(&sync.connection, sync, Value::clone)
}

/// What a test says of its connection.
fn given(connection: &ConnectionPlan, sync: &SyncPlan, shown: impl Fn(&Value) -> Value) -> Map<String, Value> {
    let mut given = Map::new();
    if let Some(auth) = &connection.auth_name {
        given.insert("auth".to_owned(), auth.clone().into());
    }
    for (word, value) in [("config", &connection.config), ("input", &sync.input)] {
        if value.as_object().is_some_and(|members| !members.is_empty()) {
            given.insert(word.to_owned(), shown(value));
        }
    }
    given
}

fn request(heard: &Heard, (live, test): (&str, &str), disguise: &Disguise, secrets: &[(String, String)]) -> Value {
    let mut whole = heard.url.clone();
    whole.set_query(None);
    whole.set_fragment(None);
    let path = match whole.as_str().strip_prefix(live) {
        Some(path) if path.starts_with('/') => disguise.text(&format!("{test}{path}")).replacen(test, "", 1),
        _ => disguise.text(whole.as_str()),
    };
    let method = match heard.method {
        Method::Get => "get",
        Method::Post => "post",
        Method::Put => "put",
        Method::Patch => "patch",
        Method::Delete => "delete",
    };
    let mut request = json!({ method: path });
    let is_proof = |value: &str| secrets.iter().any(|(secret, _)| secret == value);
    let mut query: Map<String, Value> = Map::new();
    for (name, value) in heard.url.query_pairs().filter(|(_, value)| !is_proof(value)) {
        add(&mut query, &name, disguise.text(&value));
    }
    if !query.is_empty() {
        request["query"] = query.into();
    }
    if let Some(body) = heard.body.as_ref().filter(|body| !body.is_empty()) {
        request["body"] = asked_body(heard, body, disguise);
    }
    request
}

/// Adds a parameter; one that comes several times is a list.
fn add(query: &mut Map<String, Value>, name: &str, value: String) {
    let is_number = !value.is_empty() && value.len() <= 15 && value.bytes().all(|byte| byte.is_ascii_digit());
    let number =
        if is_number && (value.len() == 1 || !value.starts_with('0')) { value.parse::<u64>().ok() } else { None };
    let value = number.map_or(Value::String(value), Value::from);
    match query.get_mut(name) {
        None => drop(query.insert(name.to_owned(), value)),
        Some(Value::Array(all)) => all.push(value),
        Some(one) => *one = json!([one.take(), value]),
    }
}

fn asked_body(heard: &Heard, body: &[u8], disguise: &Disguise) -> Value {
    let kind = heard.headers.iter().find(|(name, _)| name == "content-type").map(|(_, kind)| kind.as_str());
    if kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
        let mut fields = Map::new();
        for (name, value) in form_urlencoded::parse(body) {
            let value = Value::String(disguise.text(&value));
            match fields.get_mut(name.as_ref()) {
                None => drop(fields.insert(name.into_owned(), value)),
                Some(Value::Array(all)) => all.push(value),
                Some(one) => *one = json!([one.take(), value]),
            }
        }
        return fields.into();
    }
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => disguise.value(None, &value),
        Err(_) => disguise.text(&String::from_utf8_lossy(body)).into(),
    }
}

fn response(heard: &Heard, answer: &Content, disguise: &Disguise, said: &[String]) -> Value {
    let mut response = Map::new();
    if heard.status != 200 {
        response.insert("status".to_owned(), heard.status.into());
    }
    let is_json = matches!(answer, Content::Json(_));
    let kept = |name: &str| matters(name, said) && !(is_json && name == "content-type");
    let headers: Map<String, Value> = heard
        .answer_headers
        .iter()
        .filter(|(name, _)| kept(name))
        .map(|(name, value)| (name.clone(), disguise.header(value).into()))
        .collect();
    if !headers.is_empty() {
        response.insert("headers".to_owned(), headers.into());
    }
    if let Some((word, value)) = answer.written() {
        response.insert(word.to_owned(), value);
    }
    response.into()
}

/// Headers of answers that mean something to every run.
const ALWAYS: [&str; 3] = ["content-type", "location", "retry-after"];
/// Those that prove who somebody is, whatever the files say.
const NEVER: [&str; 4] = ["set-cookie", "authorization", "cookie", "www-authenticate"];

/// Whether a header of an answer is part of a test: the integration's own words name it, or every run heeds it.
fn matters(name: &str, said: &[String]) -> bool {
    // a name of one word may stand anywhere by chance
    let can_be_said = name.contains('-') || name == "link";
    let is_said = |said: &String| said.to_lowercase().contains(name);
    !NEVER.contains(&name) && (ALWAYS.contains(&name) || (can_be_said && said.iter().any(is_said)))
}

/// The same document with fewer records: at most `most` in each list of an answer.
pub fn shortened(document: &Value, most: usize) -> Value {
    let mut document = document.clone();
    for run in document["runs"].as_array_mut().into_iter().flatten() {
        for exchange in run["exchange"].as_array_mut().into_iter().flatten() {
            let response = &mut exchange["response"];
            if let Some(body) = response.get_mut("body") {
                if let Some((_, value)) = Content::Json(body.take()).shortened(most).written() {
                    *body = value;
                }
            } else if let Some(text) = response.get("text").and_then(Value::as_str)
                && let Ok(content) = read(text.as_bytes())
                && let Some((_, value)) = content.shortened(most).written()
            {
                response["text"] = value;
            }
        }
    }
    document
}

/// A document as it is written into a file.
pub fn written(document: &Value) -> String {
    yaml::document(document, &["runs", "exchange", "expect"])
}

/// The origin and path under which a test of a provider asks, out of the URL of a request for `/`.
pub fn base_of(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

/// Secrets are not for anybody.
impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tape").field("runs", &self.runs.len()).finish_non_exhaustive()
    }
}

/// The counts of the last sync of a run, as a test writes them: to be compared with what comes of the recording.
pub fn counts(report: &Report) -> BTreeMap<&'static str, u64> {
    let Some(own) = report.syncs.last() else { return BTreeMap::new() };
    let all = ["added", "updated", "deleted", "unchanged", "filtered", "quarantined"];
    all.into_iter().map(|name| (name, super::expect::counted(own, name))).filter(|(_, count)| *count > 0).collect()
}
