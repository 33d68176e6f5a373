//! What `remap` and `retry` share: how they run and how they tell what they did.

use std::sync::Arc;

use anstyle::AnsiColor;
use serde::Serialize;
use tokio::sync::watch;

use super::output::{self, Failure, bold, count, exit_code, json_line, print_error};
use super::progress::{self, Style};
use super::{Done, run};
use crate::engine::{self, Amend, AmendReport, ErrorKind, Failed, HostOptions};
use crate::plan::{Plan, SyncPlan};

/// A sync in the report.
pub(super) trait Row: Serialize {
    /// who
    fn sync(&self) -> String;
    /// why it failed
    fn error(&self) -> Option<&Failed>;
    /// the numbers, under the headings
    fn counts(&self) -> Vec<u64>;
    /// what the numbers do not say
    fn notes(&self) -> Vec<String>;
}

/// Runs the work until it ends or a signal stops it between two commits.
pub(super) fn run<T>(
    plan: &Plan,
    syncs: &[Arc<SyncPlan>],
    json: bool,
    work: impl AsyncFnOnce(&[Arc<SyncPlan>], Amend) -> Result<AmendReport<T>, engine::Error>,
) -> Result<AmendReport<T>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (stop, stopped) = watch::channel(false);
        tokio::task::spawn(run::stop_on_signal(stop));
        let (observer, bars) = progress::observer(if json { Style::Json } else { Style::of_terminal() }, syncs);
        let host = HostOptions::of(plan, engine::system_clock());
        let amend = Amend { host, observer, stop: stopped };
        let report = work(syncs, amend).await;
        bars.end();
        Ok(report?)
    })
}

/// Prints the report; gives the exit code.
pub(super) fn show<T: Row>(report: &AmendReport<T>, json: bool, headings: &[&str]) -> Done {
    if json {
        json_line(&serde_json::json!({ "event": "report", "report": report }))?;
    } else {
        let numbers: Vec<usize> = (1..=headings.len()).collect();
        let headings: Vec<&str> = ["sync"].iter().chain(headings).copied().collect();
        let row = |sync: &T| std::iter::once(sync.sync()).chain(sync.counts().into_iter().map(count)).collect();
        let rows: Vec<Vec<String>> = report.syncs.iter().map(row).collect();
        anstream::println!("{}", output::table(&headings, &rows, &numbers));
        let yellow = bold(AnsiColor::Yellow);
        for sync in &report.syncs {
            if let Some(error) = sync.error() {
                print_error(&format!("{}: {}", sync.sync(), error.message), error.hint.as_deref());
            }
            for note in sync.notes() {
                anstream::println!("{yellow}note{yellow:#}: {}: {note}", sync.sync());
            }
        }
        if let Some(error) = &report.publish_error {
            print_error(&format!("the copy was not made: {error}"), None);
        }
    }
    let kinds: Vec<ErrorKind> = report.syncs.iter().filter_map(Row::error).map(|error| error.kind).collect();
    Ok(match run::worst(&kinds) {
        Some(kind) => exit_code(kind),
        None if report.publish_error.is_some() => exit_code(ErrorKind::Store),
        None if report.stopped => output::STOPPED,
        None => 0,
    })
}
