use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::Path;

use serde_json::{Value, json};

use super::output::{DIM, Failure, json_line, print_failure};
use super::{Done, check, project, test};
use crate::diagnostic::{Diagnostic, Severity};
use crate::engine;
use crate::files::{self, Stamps};
use crate::offline::{self, TestReport};
use crate::plan::{Compiled, TestPlan, limits};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only tests whose name, `provider/test`, has this in it, or begins with it: `acme/` means all of one provider.
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// One JSON object each time, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    // a folder without a project is no mistake that a save would mend
    files::project_text(folder)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            ended = watch(folder, arguments) => ended,
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 0).map_err(Failure::from),
        }
    })
}

/// Looks again each time something has changed, without end.
///
/// Files are looked at, not listened for: that works on every file system and however an editor writes, costs the look at some hundred
/// files, and the crate that listens has a licence that `deny.toml` does not allow.
async fn watch(folder: &Path, arguments: &Arguments) -> Done {
    let mut seen = Stamps::default();
    let mut waiting = Waiting::default();
    loop {
        let now = settled(folder, &seen).await;
        let changed = now.since(&seen);
        seen = now;
        waiting.changed.extend(changed);
        look(folder, arguments, &mut waiting).await?;
    }
}

/// The files when something has changed and nothing changes any more: an editor may write several, and one in pieces.
async fn settled(folder: &Path, before: &Stamps) -> Stamps {
    let mut last = before.clone();
    loop {
        let now = files::stamps(folder);
        if now != *before && now == last {
            return now;
        }
        last = now;
        tokio::time::sleep(limits::WATCH_EVERY).await;
    }
}

/// What the tests have not been run for.
#[derive(Default)]
struct Waiting {
    /// files that have changed
    changed: BTreeSet<String>,
    /// tests that failed when they ran last
    failed: BTreeSet<String>,
    /// whether all have run once
    has_run: bool,
}

impl Waiting {
    fn concerns(&self, test: &TestPlan) -> bool {
        let beside = test.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let is_answer = |file: &String| {
            !file.ends_with(".yaml") && file.strip_prefix(beside).is_some_and(|rest| rest.starts_with('/'))
        };
        !self.has_run
            || self.failed.contains(&test.id())
            || self.changed.iter().any(|file| test.uses.contains(file) || is_answer(file))
    }
}

/// Checks, tests and prints.
async fn look(folder: &Path, arguments: &Arguments, waiting: &mut Waiting) -> Result<(), Failure> {
    let compiled = match project::compiled(folder) {
        Ok(compiled) => compiled,
        Err(failure) => {
            begin(arguments);
            print_failure(&failure);
            return Ok(());
        }
    };
    let (reports, unready) = tested(folder, arguments, waiting, &compiled).await;
    if arguments.json {
        return json_line(&wire(&compiled, waiting, &reports, unready));
    }
    begin(arguments);
    let color = std::io::stdout().is_terminal();
    for diagnostic in compiled.diagnostics.iter().take(limits::DIAGNOSTICS_MAX) {
        anstream::println!("{}\n", diagnostic.render(color));
    }
    let failed: Vec<&TestReport> = reports.iter().filter(|report| report.failed.is_some()).collect();
    failed.iter().for_each(|report| test::print_failures(report));
    let mut verdict = check::verdict(&compiled, false);
    if !reports.is_empty() || unready > 0 {
        let tests = test::summary(reports.len(), failed.len(), unready, None);
        verdict = if failed.is_empty() { format!("{verdict}; {tests}") } else { tests.trim_start().to_owned() };
    }
    anstream::println!("{verdict}");
    if color {
        anstream::println!("{DIM}looking for changes; Ctrl-C ends{DIM:#}");
    }
    Ok(())
}

/// On a terminal what was there before goes.
fn begin(arguments: &Arguments) {
    if !arguments.json && std::io::stdout().is_terminal() {
        anstream::print!("\u{1b}[2J\u{1b}[3J\u{1b}[H");
    }
}

/// Runs the tests that something concerns; gives what came of them, and how many cannot be run yet.
async fn tested(
    folder: &Path,
    arguments: &Arguments,
    waiting: &mut Waiting,
    compiled: &Compiled,
) -> (Vec<TestReport>, usize) {
    let is_mistake = |one: &&Diagnostic| one.severity == Severity::Error && one.code != crate::plan::NOT_YET;
    if compiled.diagnostics.iter().any(|one| is_mistake(&one)) {
        return (Vec::new(), 0);
    }
    let is_named = |id: &str| {
        arguments.patterns.is_empty() || arguments.patterns.iter().any(|pattern| test::is_meant(id, pattern))
    };
    let tests = compiled.tests.iter().filter(|test| !test.builtin && is_named(&test.id()) && waiting.concerns(test));
    let (ready, unready): (Vec<_>, Vec<_>) =
        tests.cloned().partition(|test| test::waits_for(test, &compiled.diagnostics).is_none());
    let mut reports = Vec::with_capacity(ready.len());
    offline::run(ready, folder, engine::system_clock(), |report| reports.push(report)).await;
    let failed = reports.iter().filter(|report| report.failed.is_some()).map(|report| report.id.clone());
    *waiting = Waiting { changed: BTreeSet::new(), failed: failed.collect(), has_run: true };
    (reports, unready.len())
}

fn wire(compiled: &Compiled, waiting: &Waiting, reports: &[TestReport], unready: usize) -> Value {
    let count = |severity| compiled.diagnostics.iter().filter(|one| one.severity == severity).count();
    json!({
        "errors": count(Severity::Error),
        "warnings": count(Severity::Warning),
        "mistakes": compiled.diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
        "failed": waiting.failed.len(),
        "skipped": unready,
        "tests": reports.iter().map(test::wire).collect::<Vec<_>>(),
    })
}
