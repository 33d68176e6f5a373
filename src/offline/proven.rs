//! Whether a recording is a test that passes: only that is written.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::disguise::Replaced;
use super::record::{self, Notation, RecordError, Tape};
use super::run::{self, Failure};
use super::update::{self, Found};
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::engine::Clock;
use crate::plan::{Input, Known, NOT_YET, SyncPlan, TestPlan, compile, limits};
use crate::spec::schema::Kind;

use super::disguise::Rules;

/// Where a recording is to stand.
pub struct Spot<'s> {
    /// the project
    pub folder: &'s Path,
    /// its files
    pub inputs: &'s [Input],
    /// the file of the test, relative to the project
    pub file: &'s str,
    /// the test's name
    pub test: &'s str,
    /// what it is about
    pub sync: &'s SyncPlan,
    /// what tells the time that a test takes
    pub clock: Clock,
}

/// A recording that passes.
#[derive(Debug)]
pub struct Recording {
    /// the text of its file
    pub text: String,
    /// what was replaced, by key
    pub replaced: Vec<Replaced>,
    /// keys that could tell of somebody, with how often what stands under them was left as it is
    pub left: Vec<(String, u64)>,
    /// why all records were kept, where fewer were wanted
    pub whole: Option<String>,
}

/// Why a recording is none that passes.
#[derive(Debug)]
pub enum Unproven {
    /// an answer cannot be written
    Record(RecordError),
    /// the document has mistakes, which headwater has made
    Mistakes(Vec<Diagnostic>),
    /// run again without a network it does something else, in this run
    Differs(usize, Vec<Failure>),
    /// run again it counts other records: what was expected and what is there, as JSON
    Counts(String, String),
    /// a secret stands in it
    Secret,
    /// it is longer than a document may be
    TooLong(usize),
}

impl From<RecordError> for Unproven {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

/// Makes a test of what was recorded, and runs it: each run must ask the same again, and count the same records.
///
/// # Errors
/// See [`Unproven`].
pub async fn proven(
    tape: &Tape,
    spot: &Spot<'_>,
    (rules, key, records): (Rules, &[u8], Option<usize>),
) -> Result<Recording, Unproven> {
    let skeleton = spot.skeleton(&record::given_plainly(spot.sync))?;
    let rules = Rules { said: spot.said(&skeleton), ..rules };
    let test_base = |given: &Map<String, Value>| {
        let url = spot.skeleton(given).ok().and_then(|test| Some(test.runs.first()?.exchange.first()?.url.clone()));
        url.map(|url| record::base_of(&url))
    };
    let notation = Notation { test: spot.test, sync: spot.sync, test_base: &test_base, rules, key };
    let (bare, disguise) = record::document(tape, notation)?;
    let (replaced, left) = (disguise.replaced().to_vec(), disguise.left().to_vec());
    drop(disguise);
    // what several sides ask at once comes in an order that is another one each time
    let mut whole = spot.found(&bare).await;
    if let Err(Unproven::Differs(..)) = whole {
        let mut any = bare.clone();
        any["order"] = "any".into();
        if let Ok(found) = spot.found(&ordered(any)).await {
            whole = Ok(found);
        }
    }
    let whole = whole?;
    for (run, report) in tape.reports().enumerate() {
        let (live, again) = (json!(record::counts(report)), nonzero(&whole["runs"][run]["expect"]["counts"]));
        if live != again {
            return Err(Unproven::Counts(live.to_string(), again.to_string()));
        }
    }
    let (document, why) = spot.short(whole, records).await;
    let text = record::written(&document);
    if text.len() > limits::DOCUMENT_BYTES_MAX {
        return Err(Unproven::TooLong(text.len()));
    }
    if !tape.is_clean(&text) {
        return Err(Unproven::Secret);
    }
    let test = spot.compiled(&text)?;
    let mut failed = None;
    run::run(vec![test], spot.folder, Arc::clone(&spot.clock), |report| failed = report.failed).await;
    match failed {
        Some((run, failures)) => Err(Unproven::Differs(run, failures)),
        None => Ok(Recording { text, replaced, left, whole: why }),
    }
}

/// A document with its words in the order in which people write them.
fn ordered(mut document: Value) -> Value {
    if let Value::Object(members) = &mut document
        && let Some(runs) = members.shift_remove("runs")
    {
        members.insert("runs".to_owned(), runs);
    }
    document
}

fn nonzero(counts: &Value) -> Value {
    let counts: BTreeMap<&String, &Value> =
        counts.as_object().into_iter().flatten().filter(|(_, count)| **count != 0).collect();
    json!(counts)
}

impl Spot<'_> {
    /// The test out of a document.
    fn compiled(&self, text: &str) -> Result<TestPlan, Unproven> {
        let source = Arc::new(Source::new(self.file, text));
        let input = Input {
            source,
            kind: Kind::Test,
            integration: Some(self.sync.id.provider.clone()),
            builtin: false,
            stray: false,
        };
        let others = self.inputs.iter().filter(|input| input.source.name != self.file).cloned();
        let inputs: Vec<Input> = others.chain([input]).collect();
        let compiled = compile(&inputs, self.folder, &Known::default());
        let is_mistake = |one: &Diagnostic| one.severity == Severity::Error && one.code != NOT_YET;
        match compiled.tests.into_iter().find(|test| test.file == self.file) {
            Some(test) => Ok(test),
            None => Err(Unproven::Mistakes(compiled.diagnostics.into_iter().filter(is_mistake).collect())),
        }
    }

    /// A test of the same sync that asks for nothing but `/`.
    fn skeleton(&self, given: &Map<String, Value>) -> Result<TestPlan, Unproven> {
        let document = json!({
            "test": self.test, "sync": self.sync.id.sync, "connection": given,
            "runs": [{ "exchange": [{ "request": { "get": "/" }, "response": {} }] }],
        });
        self.compiled(&record::written(&document))
    }

    /// What the integration's own files say.
    fn said(&self, test: &TestPlan) -> Vec<String> {
        let inputs = self.inputs.iter().filter(|input| input.source.name != self.file);
        inputs.filter(|input| test.uses.contains(&input.source.name)).map(|input| input.source.text.clone()).collect()
    }

    /// The document with what its runs find as what they expect.
    async fn found(&self, document: &Value) -> Result<Value, Unproven> {
        let text = record::written(document);
        if text.len() > limits::DOCUMENT_BYTES_MAX {
            return Err(Unproven::TooLong(text.len()));
        }
        let test = self.compiled(&text)?;
        let texts = BTreeMap::from([(self.file.to_owned(), text)]);
        let mut came = None;
        update::find(vec![test], &texts, self.folder, Arc::clone(&self.clock), |found| came = Some(found)).await;
        match came {
            Some(Found { report, document, .. }) => match report.failed {
                Some((run, failures)) => Err(Unproven::Differs(run, failures)),
                None => Ok(document),
            },
            None => Err(Unproven::Mistakes(Vec::new())),
        }
    }

    /// The same test with fewer records, if its requests stay the same; else why it has all.
    async fn short(&self, whole: Value, records: Option<usize>) -> (Value, Option<String>) {
        let Some(most) = records else { return (whole, None) };
        let mut bare = record::shortened(&whole, most);
        if bare == whole {
            return (whole, None);
        }
        for run in bare["runs"].as_array_mut().into_iter().flatten() {
            if let Value::Object(run) = run {
                run.shift_remove("expect");
            }
        }
        match self.found(&bare).await {
            Ok(short) => (short, None),
            Err(Unproven::Differs(_, failures)) => {
                let why = failures.into_iter().next().map(|failure| failure.what).unwrap_or_default();
                (whole, Some(why))
            }
            Err(_) => (whole, Some("the shorter test is none that can be run".to_owned())),
        }
    }
}
