mod update;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anstyle::AnsiColor;
use serde_json::{Value, json};

use super::output::{self, DIM, bold, json_line};
use super::{Done, project};
use crate::diagnostic::{Diagnostic, suggest};
use crate::engine::{self, ErrorKind};
use crate::files;
use crate::offline::{self, Failure, Line, Sign, TestReport};
use crate::plan::{NOT_YET, TestPlan};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only tests whose name, `provider/test`, has this in it, or begins with it: `acme/` means all of one provider.
    #[arg(value_name = "PATTERN")]
    patterns: Vec<String>,
    /// Those of the built-in catalogue too.
    #[arg(long)]
    catalogue: bool,
    /// Write what the runs find into the tests as what they expect, in place, and show it. What is asked for (`exchange`) is never
    /// changed, nor whether a run fails.
    #[arg(long, conflicts_with = "catalogue")]
    update: bool,
    /// Write what came of the tests into this file too, as JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// One JSON object per test, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let inputs = files::read_project(folder)?;
    let compiled = project::compiled_to_test(folder, &inputs)?;
    let mut diagnostics = compiled.diagnostics;
    let mut tests: Vec<TestPlan> = compiled.tests.into_iter().filter(|test| !test.builtin).collect();
    if arguments.catalogue {
        // as if it were a project's own: without a connection all of it is compiled
        let own = files::catalogue().into_iter().map(|input| crate::plan::Input { builtin: false, ..input });
        let catalogue = project::compiled_to_test(folder, &own.collect::<Vec<_>>())?;
        tests.extend(catalogue.tests.into_iter().map(|test| TestPlan { builtin: true, ..test }));
        diagnostics.extend(catalogue.diagnostics);
    }
    let tests = chosen(tests, &arguments.patterns)?;
    let (unready, tests): (Vec<_>, Vec<_>) =
        tests.into_iter().map(|test| (waits_for(&test, &diagnostics), test)).partition(|(why, _)| why.is_some());
    let total = tests.len();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let tests: Vec<TestPlan> = tests.into_iter().map(|(_, test)| test).collect();
    let (mut reports, mut updated) = (Vec::with_capacity(total), None);
    if arguments.update {
        let update::Updated { reports: all, written } =
            update::update(folder, &runtime, &inputs, tests, arguments.json)?;
        updated = Some(written);
        all.iter().try_for_each(|report| tell(report, arguments.json))?;
        reports = all;
    } else {
        let mut written = Ok(());
        runtime.block_on(offline::run(tests, folder, engine::system_clock(), |report| {
            let line = tell(&report, arguments.json);
            written = std::mem::replace(&mut written, Ok(())).and(line);
            reports.push(report);
        }));
        written?;
    }
    let unready: Vec<(String, String, String)> =
        unready.into_iter().map(|(why, test)| (test.id(), test.file, why.unwrap_or_default())).collect();
    for (id, file, why) in &unready {
        if arguments.json {
            json_line(&json!({ "test": id, "file": file, "state": "skipped", "why": why }))?;
        } else {
            let yellow = bold(AnsiColor::Yellow);
            anstream::println!("{yellow}skipped{yellow:#} {id}  {DIM}{why}{DIM:#}");
        }
    }
    let failed: Vec<&TestReport> = reports.iter().filter(|report| report.failed.is_some()).collect();
    if !arguments.json {
        failed.iter().for_each(|report| print_failures(report));
        anstream::println!("{}", summary(total, failed.len(), unready.len(), updated));
    }
    if let Some(file) = &arguments.junit {
        super::given::write(file, &offline::junit(&reports, &unready)?)?;
    }
    Ok(if failed.is_empty() { 0 } else { output::exit_code(ErrorKind::Data) })
}

/// Says how a test is, in one line.
fn tell(report: &TestReport, json: bool) -> Result<(), output::Failure> {
    if json {
        return json_line(&wire(report));
    }
    print_line(report);
    Ok(())
}

/// Whether a pattern means the test `provider/test`: it has it in its name, or begins with it where it says the provider.
pub(super) fn is_meant(id: &str, pattern: &str) -> bool {
    if pattern.contains('/') { id.starts_with(pattern) } else { id.contains(pattern) }
}

/// The tests that some pattern names; all without any.
fn chosen(tests: Vec<TestPlan>, patterns: &[String]) -> Result<Vec<TestPlan>, output::Failure> {
    let names: Vec<String> = tests.iter().map(TestPlan::id).collect();
    if let Some(wrong) = patterns.iter().find(|pattern| !names.iter().any(|name| is_meant(name, pattern))) {
        let hint = suggest(wrong, names.iter().map(String::as_str));
        let none = || "a test stands in `integrations/<provider>/tests/<name>.yaml`".to_owned();
        return Err(output::Failure::user(format!("no test has `{wrong}` in its name"), hint.or_else(|| Some(none()))));
    }
    let named = |test: &TestPlan| patterns.is_empty() || patterns.iter().any(|pattern| is_meant(&test.id(), pattern));
    Ok(tests.into_iter().filter(named).collect())
}

/// What of the words that a test runs cannot be run yet.
pub(super) fn waits_for(test: &TestPlan, diagnostics: &[Diagnostic]) -> Option<String> {
    let unready = diagnostics.iter().filter(|one| one.code == NOT_YET && test.uses.contains(&one.source.name));
    let messages: BTreeSet<&str> = unready.map(|one| one.message.as_str()).collect();
    (!messages.is_empty()).then(|| messages.into_iter().collect::<Vec<_>>().join("; "))
}

pub(super) fn print_line(report: &TestReport) {
    let (color, word) = match report.failed {
        None => (AnsiColor::Green, "ok     "),
        Some(_) => (AnsiColor::Red, "FAILED "),
    };
    let color = bold(color);
    anstream::println!("{color}{word}{color:#} {}  {DIM}{:.2} s{DIM:#}", report.id, report.took.as_secs_f64());
}

pub(super) fn print_failures(report: &TestReport) {
    let TestReport { id, file, description, took: _, failed } = report;
    let Some((run, failures)) = failed else { return };
    let red = bold(AnsiColor::Red);
    anstream::println!("\n{red}{id}{red:#}, run {run} {DIM}({file}){DIM:#}");
    if let Some(description) = description {
        anstream::println!("{DIM}{description}{DIM:#}");
    }
    for Failure { what, lines } in failures {
        anstream::println!("  {what}");
        print_lines(lines);
    }
}

/// The same where standard output is for something else.
pub(super) fn print_lines_to_stderr(lines: &[Line]) {
    for Line { sign, text } in lines {
        anstream::eprintln!("    {} {text}", sign.mark());
    }
}

fn print_lines(lines: &[Line]) {
    for Line { sign, text } in lines {
        let color = match sign {
            Sign::Same => anstyle::Style::new(),
            Sign::Missing => anstyle::Style::new().fg_color(Some(AnsiColor::Red.into())),
            Sign::Extra => anstyle::Style::new().fg_color(Some(AnsiColor::Green.into())),
        };
        anstream::println!("    {color}{} {text}{color:#}", sign.mark());
    }
}

/// `4 tests: 3 ok, 1 failed`, and what the signs mean where there are some.
pub(super) fn summary(total: usize, failed: usize, unready: usize, updated: Option<usize>) -> String {
    if total + unready == 0 {
        return "there are no tests; one stands in `integrations/<provider>/tests/<name>.yaml`".to_owned();
    }
    let tests = if total == 1 { "1 test".to_owned() } else { format!("{total} tests") };
    let mut text = format!("{tests}: {} ok, {failed} failed", total - failed);
    if let Some(updated) = updated {
        text += &format!(", {updated} updated");
    }
    if unready > 0 {
        text += &format!("; {unready} skipped, whose words cannot be run yet");
    }
    if failed > 0 { format!("\n{text}  (- expected, + found)") } else { text }
}

pub(super) fn wire(report: &TestReport) -> Value {
    let TestReport { id, file, description: _, took, failed } = report;
    let state = if failed.is_some() { "failed" } else { "ok" };
    let mut line = json!({ "test": id, "file": file, "state": state, "seconds": took.as_secs_f64() });
    if let Some((run, failures)) = failed {
        line["run"] = json!(run);
        line["failures"] = wire_failures(failures);
    }
    line
}

fn wire_failures(failures: &[Failure]) -> Value {
    let texts = |lines: &[Line], sign| {
        lines.iter().filter(|line| line.sign == sign).map(|line| line.text.clone()).collect::<Vec<_>>()
    };
    let failures = failures.iter().map(|Failure { what, lines }| {
        let [expected, found, said] = [Sign::Missing, Sign::Extra, Sign::Same].map(|sign| texts(lines, sign));
        json!({ "what": what, "expected": expected, "found": found, "said": said })
    });
    failures.collect()
}
