//! What a run did, for people and machines.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Error, ErrorKind};
use crate::plan::SyncId;
use crate::store::{Committed, RUN_STOPPED, RunEnd, RunState, SchemaChange};

/// How a sync ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// to the end of the scan
    Complete,
    /// between two commits, on request
    Paused,
}

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// names the run in `headwater.runs`
    pub run_id: String,
    /// one for each sync, in the order of the plan
    pub syncs: Vec<SyncReport>,
    /// why the copy could not be made
    pub publish_error: Option<String>,
}

/// What one sync did.
#[derive(Debug, Clone, Serialize)]
pub struct SyncReport {
    /// who
    #[serde(serialize_with = "as_text")]
    pub sync: SyncId,
    /// `completed`, `partial`, `paused` or `failed`
    pub state: &'static str,
    /// it went on where a run before it had stopped
    pub resumed: bool,
    /// what it changed in its table before it began
    pub schema_changes: Vec<SchemaChange>,
    /// requests made, repeated ones included
    pub requests: u64,
    /// pages committed
    pub pages: u64,
    /// records on them, valid or not
    pub records: u64,
    /// rows seen for the first time, or again after a deletion
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that are gone
    pub deleted: u64,
    /// rows that came as they were
    pub unchanged: u64,
    /// rows replaced by a later one of the same key in one commit group
    pub duplicates: u64,
    /// records that are no rows: `headwater.quarantine`
    pub quarantined: u64,
    /// records that `where` turned away
    pub filtered: u64,
    /// values that `on_invalid: set_null` made null
    pub nulled: u64,
    /// the first change number it wrote
    pub change_from: Option<i64>,
    /// the last
    pub change_to: Option<i64>,
    /// entries of a list of ids whose key could not be read
    pub unreadable: u64,
    /// why the first of them could not
    pub unreadable_reason: Option<String>,
    /// the budget that is used up: `max_runtime`, `max_requests`, `max_records`, or `rate_limit`, the API's own
    pub paused_by: Option<&'static str>,
    /// when there is some of the API's again
    pub paused_until: Option<DateTime<Utc>>,
    /// what used it up
    pub paused_reason: Option<String>,
    /// rows were missing in a list that is read by position, so that it was read once more
    pub read_twice: bool,
    /// why nothing was deleted although the scan came to its end
    pub deletes_skipped: Option<String>,
    /// partitions of `for_each` that could not be read to their end: the next run reads them again
    pub skipped: u64,
    /// the first of them, and why
    pub skipped_reason: Option<String>,
    /// pages that a rule of `errors` left out
    pub pages_skipped: u64,
    /// the first of them, and why
    pub pages_skipped_reason: Option<String>,
    /// stable name of what the first of all these failed with, and who can do something about it
    #[serde(skip)]
    pub skipped_kind: Option<(&'static str, ErrorKind)>,
    /// why it failed
    pub error: Option<Failed>,
}

/// Why a sync failed.
#[derive(Debug, Clone, Serialize)]
pub struct Failed {
    /// stable name
    pub code: &'static str,
    /// who can do something about it
    pub kind: ErrorKind,
    /// what happened and where
    pub message: String,
    /// what to do next
    pub hint: Option<String>,
}

pub(super) fn as_text<S: serde::Serializer>(id: &SyncId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

impl Failed {
    pub(super) fn new(error: &Error) -> Self {
        Self { code: error.code(), kind: error.kind(), message: error.to_string(), hint: error.hint() }
    }
}

impl SyncReport {
    pub(super) fn new(sync: SyncId) -> Self {
        Self {
            sync,
            state: "running",
            resumed: false,
            schema_changes: Vec::new(),
            requests: 0,
            pages: 0,
            records: 0,
            added: 0,
            updated: 0,
            deleted: 0,
            unchanged: 0,
            duplicates: 0,
            quarantined: 0,
            filtered: 0,
            nulled: 0,
            change_from: None,
            change_to: None,
            unreadable: 0,
            unreadable_reason: None,
            paused_by: None,
            paused_until: None,
            paused_reason: None,
            read_twice: false,
            deletes_skipped: None,
            skipped: 0,
            skipped_reason: None,
            pages_skipped: 0,
            pages_skipped_reason: None,
            skipped_kind: None,
            error: None,
        }
    }

    pub(super) fn add(&mut self, committed: &Committed, pages: u64, filtered: u64, nulled: u64, rows: u64) {
        let Committed { added, updated, deleted, unchanged, duplicates, quarantined, change_from, change_to, held: _ } =
            committed;
        self.pages += pages;
        self.records += rows + quarantined + filtered;
        self.added += added;
        self.updated += updated;
        self.deleted += deleted;
        self.unchanged += unchanged;
        self.duplicates += duplicates;
        self.quarantined += quarantined;
        self.filtered += filtered;
        self.nulled += nulled;
        self.changed(*change_from, *change_to);
    }

    pub(super) fn changed(&mut self, from: Option<i64>, to: Option<i64>) {
        self.change_from = self.change_from.or(from);
        self.change_to = to.or(self.change_to);
    }

    pub(super) fn skip(&mut self, partition: &str, error: &Error) {
        self.skipped += 1;
        self.skipped_kind.get_or_insert_with(|| (error.code(), error.kind()));
        // the list of all of them has no name
        let of = if partition.is_empty() { String::new() } else { format!("`{partition}`: ") };
        self.skipped_reason.get_or_insert_with(|| format!("{of}{error}"));
    }

    pub(super) fn skip_page(&mut self, error: &Error) {
        self.pages_skipped += 1;
        self.skipped_kind.get_or_insert_with(|| (error.code(), error.kind()));
        self.pages_skipped_reason.get_or_insert_with(|| error.to_string());
    }

    /// A scan comes to its end of which a run before left out pages.
    pub(super) fn was_short(&mut self) {
        if self.pages_skipped_reason.is_none() {
            self.pages_skipped_reason = Some("a page was left out by the run before this one".to_owned());
            self.skipped_kind.get_or_insert(("error_rule", ErrorKind::Remote));
        }
    }

    pub(super) fn end(&mut self, result: Result<Outcome, Error>) {
        self.state = match result {
            Ok(Outcome::Complete) if self.skipped > 0 || self.pages_skipped_reason.is_some() => "partial",
            Ok(Outcome::Complete) => "completed",
            Ok(Outcome::Paused) => "paused",
            Err(error) => {
                if let Error::Parked { at, .. } = error {
                    self.paused_by = Some("rate_limit");
                    self.paused_until = Some(at);
                    self.paused_reason = Some(error.to_string());
                    "paused"
                } else {
                    self.error = Some(Failed::new(&error));
                    "failed"
                }
            }
        };
    }

    pub(super) fn run_end(&self, ended_at: DateTime<Utc>) -> RunEnd {
        let state = match self.state {
            "completed" => RunState::Completed,
            "paused" => RunState::Paused,
            "partial" => RunState::Partial,
            _ => RunState::Failed,
        };
        let failed = self.error.as_ref().map(|error| (error.code, &error.message));
        let paused = self.paused_reason.as_ref().map(|reason| ("rate_limited", reason));
        let skipped = self.skipped_reason.as_ref().or(self.pages_skipped_reason.as_ref());
        let skipped = self.skipped_kind.zip(skipped).map(|((code, _), reason)| (code, reason));
        let told = failed.or(paused).or(skipped).map(|(code, message)| (code.to_owned(), message.clone()));
        let stopped = || match self.paused_by {
            Some(budget) => (budget.to_owned(), format!("`{budget}` is used up; the next run goes on there")),
            None => (RUN_STOPPED.to_owned(), "stopped between two commits; the next run goes on there".to_owned()),
        };
        let error = told.or_else(|| (state == RunState::Paused).then(stopped));
        RunEnd { state, ended_at, requests: self.requests, error }
    }
}
