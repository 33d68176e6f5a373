//! `headwater test --update`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anstyle::AnsiColor;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cli::output::{self, DIM, bold, json_line};
use crate::cli::project;
use crate::diagnostic::Source;
use crate::engine;
use crate::files;
use crate::offline::{self, Failure, Found, Line, Sign, TestReport};
use crate::plan::{Input, TestPlan};

/// What tests have found, and what became of it.
pub(super) struct Updated {
    /// how each test is now, in their order
    pub reports: Vec<TestReport>,
    /// tests whose documents were written
    pub written: usize,
}

/// Writes into the documents of tests what their runs find, where the tests pass with it.
pub(super) fn update(
    folder: &Path,
    runtime: &Runtime,
    inputs: &[Input],
    tests: Vec<TestPlan>,
    json: bool,
) -> Result<Updated, output::Failure> {
    let texts = tests.iter().filter_map(|test| {
        let input = inputs.iter().find(|input| input.source.name == test.file)?;
        Some((test.file.clone(), input.source.text.clone()))
    });
    let texts: BTreeMap<String, String> = texts.collect();
    let mut all = Vec::new();
    runtime.block_on(offline::find(tests, &texts, folder, engine::system_clock(), |found| all.push(found)));
    let mut new: BTreeMap<String, String> = BTreeMap::new();
    for Found { report, changes, document } in &mut all {
        if report.failed.is_some() || changes.is_empty() {
            continue;
        }
        match offline::rewritten(texts.get(&report.file).map(String::as_str).unwrap_or_default(), document) {
            Ok(text) => drop(new.insert(report.file.clone(), text)),
            Err(why) => {
                let place = why.position.map(|at| format!(":{}:{}", at.line, at.column)).unwrap_or_default();
                let what = format!("{}{place} cannot be changed in place: {}", report.file, why.reason);
                let hint = "write it by hand; what was found is above".to_owned();
                let run = changes.first().map_or(1, |(run, _)| *run);
                let mut failures: Vec<Failure> = std::mem::take(changes).into_iter().flat_map(|(_, all)| all).collect();
                failures.push(Failure { what, lines: vec![Line { sign: Sign::Same, text: format!("hint: {hint}") }] });
                report.failed = Some((run, failures));
            }
        }
    }
    let proofs = proven(folder, runtime, inputs, &new)?;
    let mut written = 0;
    for Found { report, changes, .. } in &mut all {
        let Some(text) = new.get(&report.file) else { continue };
        match proofs.iter().find(|proof| proof.id == report.id) {
            Some(TestReport { failed: None, .. }) => {
                files::write(folder, &report.file, text)?;
                written += 1;
                if json {
                    json_line(&wire(report, changes))?;
                } else {
                    print(report, changes);
                }
            }
            Some(TestReport { failed, .. }) => report.failed.clone_from(failed),
            None => {}
        }
    }
    Ok(Updated { reports: all.into_iter().map(|found| found.report).collect(), written })
}

/// Runs the tests with their new documents: only what passes is written.
fn proven(
    folder: &Path,
    runtime: &Runtime,
    inputs: &[Input],
    new: &BTreeMap<String, String>,
) -> Result<Vec<TestReport>, output::Failure> {
    if new.is_empty() {
        return Ok(Vec::new());
    }
    let with_text = |input: &Input| match new.get(&input.source.name) {
        Some(text) => {
            Input { source: Arc::new(Source::new(input.source.name.clone(), text.as_str())), ..input.clone() }
        }
        None => input.clone(),
    };
    let compiled = project::compiled_to_test(folder, &inputs.iter().map(with_text).collect::<Vec<_>>())?;
    let tests = compiled.tests.into_iter().filter(|test| new.contains_key(&test.file)).collect();
    let mut reports = Vec::new();
    runtime.block_on(offline::run(tests, folder, engine::system_clock(), |report| reports.push(report)));
    Ok(reports)
}

fn print(report: &TestReport, changes: &[(usize, Vec<Failure>)]) {
    let yellow = bold(AnsiColor::Yellow);
    anstream::println!("{yellow}updated{yellow:#} {}  {DIM}{}{DIM:#}", report.id, report.file);
    for (run, failures) in changes {
        if failures.is_empty() {
            anstream::println!("  run {run}: it expected nothing, and expects now what was found");
        }
        for Failure { what, lines } in failures {
            anstream::println!("  run {run}: {what}");
            super::print_lines(lines);
        }
    }
}

fn wire(report: &TestReport, changes: &[(usize, Vec<Failure>)]) -> Value {
    let change =
        |(run, failures): &(usize, Vec<Failure>)| json!({ "run": run, "failures": super::wire_failures(failures) });
    json!({
        "test": report.id, "file": report.file, "state": "updated", "changes": changes.iter().map(change).collect::<Vec<_>>(),
    })
}
