//! One test after the other, a few at once.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};

use super::diff::{Line, Sign};
use super::exchange::Exchange;
use super::expect;
use crate::engine::{self, Answer, Call, CallPlace, Clock, Error, Host, HostOptions, Offline, Options, Report};
use crate::files;
use crate::plan::{ActionPlan, Budget, ExchangePlan, GivenBody, SyncPlan, TestPlan, TestRunPlan, TestWork, limits};
use crate::remote::{Access, Credentials, Script};
use crate::scan::Wish;

/// What came of a test.
#[derive(Debug, Clone)]
pub struct TestReport {
    /// `provider/test`
    pub id: String,
    /// the file it stands in
    pub file: String,
    /// what it shows
    pub description: Option<String>,
    /// how long it took
    pub took: Duration,
    /// the run that is not as expected, counted from one, and why; none where all are
    pub failed: Option<(usize, Vec<Failure>)>,
}

/// Something that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// what, as a fragment
    pub what: String,
    /// what was expected and what is there
    pub lines: Vec<Line>,
}

impl Failure {
    pub(super) fn new(what: String, lines: Vec<Line>) -> Self {
        Self { what, lines }
    }
}

/// Runs tests of the project in `folder`, some at once; `each` gets what came of them in their order. `clock` measures how long they take.
pub async fn run(tests: Vec<TestPlan>, folder: &Path, clock: Clock, mut each: impl FnMut(TestReport)) {
    let permits = Arc::new(Semaphore::new(limits::TESTS_AT_ONCE));
    let mut running = Vec::with_capacity(tests.len());
    for test in tests {
        let (permits, folder, clock) = (Arc::clone(&permits), folder.to_owned(), Arc::clone(&clock));
        let (id, file, description) = (test.id(), test.file.clone(), test.description.clone());
        let task = tokio::task::spawn(async move {
            let _held = permits.acquire_owned().await;
            let began = clock();
            let failed = runs(&test, &folder).await;
            ((clock() - began).to_std().unwrap_or_default(), failed)
        });
        running.push((id, file, description, task));
    }
    for (id, file, description, task) in running {
        let (took, failed) = task.await.unwrap_or_else(|error| {
            (Duration::ZERO, Some((1, vec![Failure::new(format!("headwater failed: {error}"), Vec::new())])))
        });
        each(TestReport { id, file, description, took, failed });
    }
}

/// When the first run is that says nothing of it.
fn first() -> DateTime<Utc> {
    DateTime::from_timestamp(1_893_456_000, 0).expect("2030-01-01")
}

/// Makes the runs of a test until one is not as expected.
async fn runs(test: &TestPlan, folder: &Path) -> Option<(usize, Vec<Failure>)> {
    let broken = |what: String| Some((1, vec![Failure::new(what, Vec::new())]));
    let own = match tempfile::Builder::new().prefix("headwater-test-").tempdir() {
        Ok(own) => own,
        Err(error) => return broken(format!("there is no folder for the test's database: {error}")),
    };
    let (mut now, mut after) = (first(), 0);
    for (index, run) in test.runs.iter().enumerate() {
        // what the run before waited for has gone by
        let at = run.at.map_or(now, |at| if index == 0 { at } else { at.max(now - TimeDelta::days(1)) });
        let (failures, ended) = one(test, run, at, (folder, own.path()), &mut after).await;
        if !failures.is_empty() {
            return Some((index + 1, failures));
        }
        now = ended + TimeDelta::days(1);
    }
    None
}

/// Makes one run at this time; gives what is not as expected, and when it ended.
async fn one(
    test: &TestPlan,
    run: &TestRunPlan,
    at: DateTime<Utc>,
    (folder, own): (&Path, &Path),
    after: &mut i64,
) -> (Vec<Failure>, DateTime<Utc>) {
    let mut expected = Vec::with_capacity(run.exchange.len());
    for plan in &run.exchange {
        match body(test, plan, folder) {
            Ok(body) => expected.push((Arc::clone(plan), body)),
            Err(what) => return (vec![Failure::new(what, Vec::new())], at),
        }
    }
    let secrets: BTreeSet<String> = test.credentials.values().chain(test.token.values()).cloned().collect();
    let exchange = Arc::new(Mutex::new(Exchange::new(test.ordered, expected, secrets)));
    let answers = Arc::clone(&exchange);
    let script = Script::new(at, move |asked| answers.lock().unwrap_or_else(PoisonError::into_inner).answer(asked));
    let script = Arc::new(script);
    let database = own.join("test.duckdb");
    // nobody stops it
    let (_running, stop) = watch::channel(false);
    let options = options(&database, own, &script, stop);
    let came = match &run.work {
        TestWork::Run(syncs) => {
            let ended = engine::rehearse(syncs, options, offline(test, &script)).await;
            ended.map(|report| Came::Report(syncs.clone(), report))
        }
        TestWork::Call { action, input, cursor } => {
            let call = Call { input: input.clone(), cursor: cursor.clone(), variant: None, idempotency_key: None };
            let Options { host, observer, .. } = options;
            let place = CallPlace::Host(Host::new(host, Some(offline(test, &script))));
            Ok(Came::Answer(Arc::clone(action), engine::call(action, call, place, observer).await))
        }
    };
    let now = script.now();
    let (is_disturbed, mut failures) = {
        let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
        let over = std::mem::replace(&mut *exchange, Exchange::new(true, Vec::new(), BTreeSet::new()));
        (over.is_disturbed(), over.end())
    };
    let came = match came {
        Ok(came) => came,
        Err(error) => {
            let hint = error.hint().map(|hint| Line::new(Sign::Same, format!("hint: {hint}")));
            failures.push(Failure::new(format!("the run failed: {error}"), hint.into_iter().collect()));
            return (failures, now);
        }
    };
    let before = *after;
    *after = came.last_change().unwrap_or(before);
    // what a run does that was not answered says nothing
    if !is_disturbed {
        let expect = run.expect.clone();
        let looked = tokio::task::spawn_blocking(move || expect::check(&expect, &came, &database, before));
        let found =
            looked.await.unwrap_or_else(|error| vec![Failure::new(format!("headwater failed: {error}"), Vec::new())]);
        // the end of a run explains what it did not ask
        failures.splice(0..0, found);
    }
    (failures, now)
}

/// What came of a run.
pub(super) enum Came {
    /// of a sync, the last of these
    Report(Vec<Arc<SyncPlan>>, Report),
    /// of an action
    Answer(Arc<ActionPlan>, Result<Answer, Error>),
}

impl Came {
    fn last_change(&self) -> Option<i64> {
        match self {
            Self::Report(_, report) => report.syncs.iter().filter_map(|sync| sync.change_to).max(),
            Self::Answer(_, answer) => answer.as_ref().ok()?.saved.as_ref()?.change_to,
        }
    }
}

fn options(database: &Path, own: &Path, script: &Arc<Script>, stop: watch::Receiver<bool>) -> Options {
    Options {
        host: HostOptions::new(database.to_owned(), own, script.clock()),
        wish: Wish::default(),
        allow_destructive: false,
        budget: Budget::default(),
        observer: Arc::new(|_, _| {}),
        stop,
    }
}

fn offline(test: &TestPlan, script: &Arc<Script>) -> Offline {
    let credentials = Credentials::from_pairs(test.credentials.iter());
    let token = test.token.iter().map(|(name, value)| (name.clone(), SecretString::from(value.clone())));
    let access = Access::with(credentials, script.clock()).holding(token.collect());
    Offline { script: Arc::clone(script), access }
}

fn body(test: &TestPlan, plan: &ExchangePlan, folder: &Path) -> Result<Vec<u8>, String> {
    match &plan.answer.body {
        GivenBody::Empty => Ok(Vec::new()),
        GivenBody::Json(value) => Ok(value.to_string().into_bytes()),
        GivenBody::Text(text) => Ok(text.clone().into_bytes()),
        GivenBody::File(file) => {
            files::beside(folder, &test.file, test.builtin, file).map_err(|error| format!("an answer: {error}"))
        }
    }
}
