use std::path::Path;

use super::amend::{self, Row};
use super::output::count;
use super::{Done, project};
use crate::engine::{self, RetryReport};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose records: a provider, a connection, either with `/sync` (and `@variant`). Without any: all.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// One JSON object per event, and the report as the last line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let syncs = plan.select(&arguments.selectors)?;
    let report = amend::run(&plan, &syncs, arguments.json, engine::retry)?;
    amend::show(&report, arguments.json, &["records", "added", "updated", "deleted", "unchanged", "still unfit"])
}

impl Row for RetryReport {
    fn sync(&self) -> String {
        self.sync.to_string()
    }

    fn error(&self) -> Option<&engine::Failed> {
        self.error.as_ref()
    }

    fn counts(&self) -> Vec<u64> {
        let done = &self.done;
        vec![done.records, done.added, done.updated, done.deleted, done.unchanged, done.unfit + done.cut]
    }

    fn notes(&self) -> Vec<String> {
        let notes = [
            (self.done.filtered, "left because `where` turns them away now"),
            (self.done.outdated, "left because their row was deleted since, or a later record has the same key"),
            (
                self.done.cut,
                "are not kept whole, because they are long or hold a secret: they leave when they arrive again",
            ),
        ];
        let told = notes.into_iter().filter(|(records, _)| *records > 0);
        told.map(|(records, what)| format!("{} records {what}", count(records))).collect()
    }
}
