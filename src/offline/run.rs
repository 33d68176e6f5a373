//! One test after the other, a few at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use tempfile::TempDir;
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
    let judge = |test: TestPlan, folder: PathBuf| async move { runs(&test, &folder).await };
    at_once(tests, folder, &clock, judge, |(id, file, description), took, failed| {
        let failed = failed.unwrap_or_else(|broken| Some((1, vec![broken])));
        each(TestReport { id, file, description, took, failed });
    })
    .await;
}

/// A test's name, its file, and what it shows.
pub(super) type Named = (String, String, Option<String>);

/// Does `work` with each test, with some at once; `each` gets what came of them in their order, with the time that it took.
pub(super) async fn at_once<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    tests: Vec<TestPlan>,
    folder: &Path,
    clock: &Clock,
    work: impl Fn(TestPlan, PathBuf) -> F,
    mut each: impl FnMut(Named, Duration, Result<T, Failure>),
) {
    let permits = Arc::new(Semaphore::new(limits::TESTS_AT_ONCE));
    let mut running = Vec::with_capacity(tests.len());
    for test in tests {
        let (permits, clock) = (Arc::clone(&permits), Arc::clone(clock));
        let named = (test.id(), test.file.clone(), test.description.clone());
        let working = work(test, folder.to_owned());
        let task = tokio::task::spawn(async move {
            let _held = permits.acquire_owned().await;
            let began = clock();
            let came = working.await;
            ((clock() - began).to_std().unwrap_or_default(), came)
        });
        running.push((named, task));
    }
    for (named, task) in running {
        match task.await {
            Ok((took, came)) => each(named, took, Ok(came)),
            Err(error) => {
                each(named, Duration::ZERO, Err(Failure::new(format!("headwater failed: {error}"), Vec::new())));
            }
        }
    }
}

/// When the first run is that says nothing of it.
fn first() -> DateTime<Utc> {
    DateTime::from_timestamp(1_893_456_000, 0).expect("2030-01-01")
}

/// Makes the runs of a test until one is not as expected.
async fn runs(test: &TestPlan, folder: &Path) -> Option<(usize, Vec<Failure>)> {
    let mut stage = match Stage::new(folder) {
        Ok(stage) => stage,
        Err(broken) => return Some((1, vec![broken])),
    };
    for (index, run) in test.runs.iter().enumerate() {
        let Made { came, mut failures, before } = stage.one(test, run, index == 0).await;
        if let Some(came) = came {
            let (expect, database) = (run.expect.clone(), stage.database());
            let looked = tokio::task::spawn_blocking(move || expect::check(&expect, &came, &database, before));
            let found = looked.await.unwrap_or_else(|error| vec![broken(&error)]);
            // the end of a run explains what it did not ask
            failures.splice(0..0, found);
        }
        if !failures.is_empty() {
            return Some((index + 1, failures));
        }
    }
    None
}

/// A mistake in headwater.
pub(super) fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::new(format!("headwater failed: {error}"), Vec::new())
}

/// Where the runs of one test are made, one after the other.
pub(super) struct Stage<'f> {
    /// the project
    folder: &'f Path,
    /// has the database, and goes with it
    own: TempDir,
    /// when the next run is that says nothing of it
    now: DateTime<Utc>,
    /// the last change number
    after: i64,
}

/// A run that was made.
pub(super) struct Made {
    /// what came of it; none of one that was not answered, which says nothing
    pub came: Option<Came>,
    /// what of its requests is not as expected, and what it could not be made for
    pub failures: Vec<Failure>,
    /// the last change number before it
    pub before: i64,
}

impl<'f> Stage<'f> {
    /// A stage with an empty database.
    ///
    /// # Errors
    /// There is no folder for it.
    pub fn new(folder: &'f Path) -> Result<Self, Failure> {
        let own = tempfile::Builder::new().prefix("headwater-test-").tempdir();
        let no_folder =
            |error| Failure::new(format!("there is no folder for the test's database: {error}"), Vec::new());
        Ok(Self { folder, own: own.map_err(no_folder)?, now: first(), after: 0 })
    }

    /// The DuckDB file.
    pub fn database(&self) -> PathBuf {
        self.own.path().join("test.duckdb")
    }

    /// Makes the next run.
    pub async fn one(&mut self, test: &TestPlan, run: &TestRunPlan, is_first: bool) -> Made {
        let before = self.after;
        // what the run before waited for has gone by
        let at = run.at.map_or(self.now, |at| if is_first { at } else { at.max(self.now - TimeDelta::days(1)) });
        let mut expected = Vec::with_capacity(run.exchange.len());
        for plan in &run.exchange {
            match body(test, plan, self.folder) {
                Ok(body) => expected.push((Arc::clone(plan), body)),
                Err(what) => return Made { came: None, failures: vec![Failure::new(what, Vec::new())], before },
            }
        }
        let secrets: BTreeSet<String> = test.credentials.values().chain(test.token.values()).cloned().collect();
        let exchange = Arc::new(Mutex::new(Exchange::new(test.ordered, expected, secrets)));
        let answers = Arc::clone(&exchange);
        let script = Script::new(at, move |asked| answers.lock().unwrap_or_else(PoisonError::into_inner).answer(asked));
        let script = Arc::new(script);
        let came = self.perform(test, run, &script).await;
        self.now = script.now() + TimeDelta::days(1);
        let (is_disturbed, mut failures) = {
            let mut exchange = exchange.lock().unwrap_or_else(PoisonError::into_inner);
            let over = std::mem::replace(&mut *exchange, Exchange::new(true, Vec::new(), BTreeSet::new()));
            (over.is_disturbed(), over.end())
        };
        match came {
            Ok(came) => {
                self.after = came.last_change().unwrap_or(before);
                // what a run does that was not answered says nothing
                Made { came: (!is_disturbed).then_some(came), failures, before }
            }
            Err(error) => {
                let hint = error.hint().map(|hint| Line::new(Sign::Same, format!("hint: {hint}")));
                failures.push(Failure::new(format!("the run failed: {error}"), hint.into_iter().collect()));
                Made { came: None, failures, before }
            }
        }
    }

    /// Does what a run does, as the script answers.
    async fn perform(&self, test: &TestPlan, run: &TestRunPlan, script: &Arc<Script>) -> Result<Came, Error> {
        // nobody stops it
        let (_running, stop) = watch::channel(false);
        let options = options((&self.database(), self.own.path()), run.budget, script, stop);
        match &run.work {
            TestWork::Run(syncs) => {
                let ended = engine::rehearse(syncs, options, offline(test, script)).await;
                ended.map(|report| Came::Report(syncs.clone(), report))
            }
            TestWork::Call { action, input, cursor } => {
                let call = Call { input: input.clone(), cursor: cursor.clone(), variant: None, idempotency_key: None };
                let Options { host, observer, .. } = options;
                let place = CallPlace::Host(Host::new(host, Some(offline(test, script))));
                Ok(Came::Answer(Arc::clone(action), engine::call(action, call, place, observer).await))
            }
        }
    }
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

fn options(
    (database, own): (&Path, &Path),
    budget: Budget,
    script: &Arc<Script>,
    stop: watch::Receiver<bool>,
) -> Options {
    Options {
        host: HostOptions::new(database.to_owned(), own, script.clock()),
        wish: Wish::default(),
        allow_destructive: false,
        budget,
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
