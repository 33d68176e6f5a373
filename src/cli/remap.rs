use std::path::Path;

use super::amend::{self, Row};
use super::output::Failure;
use super::output::{DIM, count};
use super::{Done, project};
use crate::engine::{self, RemapReport};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose rows: a provider, a connection, either with `/sync` (and `@variant`). Without any: all whose model has `raw: true`.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// One JSON object per event, and the report as the last line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let syncs = plan.select(&arguments.selectors)?;
    if !syncs.iter().any(|sync| sync.model.raw) {
        let hint = "write `raw: true` in the model, then `headwater run --full` once".to_owned();
        return Err(Failure::user("none of these models keeps the records its rows come from", Some(hint)));
    }
    let report = amend::run(&plan, &syncs, arguments.json, engine::remap)?;
    amend::show(&report, arguments.json, &["rows", "updated", "unchanged", "quarantined", "left"])
}

impl Row for RemapReport {
    fn sync(&self) -> String {
        self.sync.to_string()
    }

    fn error(&self) -> Option<&engine::Failed> {
        self.error.as_ref()
    }

    fn counts(&self) -> Vec<u64> {
        vec![self.rows, self.updated, self.unchanged, self.quarantined, self.left]
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.without_raw > 0 {
            let rows = count(self.without_raw);
            notes.push(format!("{rows} rows have no record yet: {DIM}headwater run {} --full{DIM:#}", self.sync));
        }
        if self.left > 0 {
            let why = "their record has another key now, or a secret was taken out of it";
            notes.push(format!("{} rows stay as they were: {why}", count(self.left)));
        }
        if self.quarantined > 0 {
            let rows = count(self.quarantined);
            notes.push(format!(
                "{rows} rows stay as they were: their record no longer fits, and is in quarantine with the reason"
            ));
        }
        notes
    }
}
