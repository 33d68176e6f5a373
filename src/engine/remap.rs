//! `remap` and `retry`: records that are in the database already are mapped with the present model. No request is made, no secret is read,
//! and what a sync remembers of the API stays as it is.

use std::collections::HashSet;
use std::sync::Arc;

use bumpalo::Bump;
use chrono::{DateTime, Utc};
use serde::Serialize;
use tokio::sync::watch;

use super::host::{Host, HostOptions, Session, run_id, waiting};
use super::render::Variables;
use super::report::{Failed, as_text};
use super::{Error, Event, Observer};
use crate::plan::{ColumnPlan, ColumnSource, SyncId, SyncPlan};
use crate::record::{Batch, Json, Mapper, parse, parse_into};
use crate::store::{RemapGroup, Remapped, Retried, Retry, Store};

/// What `remap` and `retry` work with.
pub struct Amend {
    /// where
    pub host: HostOptions,
    /// who watches
    pub observer: Observer,
    /// becomes true when the work should stop between two commits
    pub stop: watch::Receiver<bool>,
}

/// What a command did that works on what is there.
#[derive(Debug, Clone, Serialize)]
pub struct AmendReport<T> {
    /// names the command in `headwater.quarantine` and `headwater.schema_changes`
    pub run_id: String,
    /// one for each sync
    pub syncs: Vec<T>,
    /// it was stopped between two commits: the same command goes on
    pub stopped: bool,
    /// why the copy could not be made
    pub publish_error: Option<String>,
}

/// What `remap` did with the rows of a sync.
#[derive(Debug, Clone, Serialize)]
pub struct RemapReport {
    /// who
    #[serde(serialize_with = "as_text")]
    pub sync: SyncId,
    /// rows that were mapped again
    pub rows: u64,
    /// rows with another value now
    pub updated: u64,
    /// rows that are as they were
    pub unchanged: u64,
    /// rows whose record no longer fits: they stay as they were, the record is in quarantine
    pub quarantined: u64,
    /// rows whose record now has another key, or of whose record a secret was masked: they stay as they were
    pub left: u64,
    /// rows without their record: only a run can fill them
    pub without_raw: u64,
    /// the first change number it wrote
    pub change_from: Option<i64>,
    /// the last
    pub change_to: Option<i64>,
    /// why it failed
    pub error: Option<Failed>,
}

/// What `retry` did with the quarantine of a sync.
#[derive(Debug, Clone, Serialize)]
pub struct RetryReport {
    /// who
    #[serde(serialize_with = "as_text")]
    pub sync: SyncId,
    /// what became of its records
    #[serde(flatten)]
    pub done: Retried,
    /// why it failed
    pub error: Option<Failed>,
}

/// Maps the rows of those of `syncs` whose model has `raw` again, each from its record. Syncs that share their rows are done once.
///
/// # Errors
/// Only what concerns all of them: the database cannot be opened, or there is none.
pub async fn remap(syncs: &[Arc<SyncPlan>], amend: Amend) -> Result<AmendReport<RemapReport>, Error> {
    let mut seen = HashSet::new();
    let syncs = syncs.iter().filter(|plan| {
        let SyncId { connection, variant, .. } = plan.id.clone();
        plan.model.raw && seen.insert((connection, variant, plan.model.schema.clone(), plan.model.table.clone()))
    });
    let work = Work::begin(amend).await?;
    let mut reports = Vec::new();
    for plan in syncs {
        let mut report = RemapReport::new(plan.id.clone());
        report.error = work.remap(plan, &mut report).await.err().map(|error| Failed::new(&error));
        reports.push(report);
        if work.is_stopped() {
            break;
        }
    }
    work.end(reports).await
}

/// Maps the records in the quarantine of `syncs` again.
///
/// # Errors
/// Only what concerns all of them: the database cannot be opened, or there is none.
pub async fn retry(syncs: &[Arc<SyncPlan>], amend: Amend) -> Result<AmendReport<RetryReport>, Error> {
    let work = Work::begin(amend).await?;
    let mut reports = Vec::new();
    for plan in syncs {
        let mut report = RetryReport::new(plan.id.clone());
        report.error = work.retry(plan, &mut report).await.err().map(|error| Failed::new(&error));
        reports.push(report);
        if work.is_stopped() {
            break;
        }
    }
    work.end(reports).await
}

/// A command at work.
struct Work {
    session: Session,
    run_id: String,
    observer: Observer,
    stop: watch::Receiver<bool>,
}

impl Work {
    async fn begin(amend: Amend) -> Result<Self, Error> {
        let Amend { host, observer, stop } = amend;
        let host = Host::new(host, None);
        let session = host.open_with(waiting(&observer), Store::open_existing).await?;
        Ok(Self { session, run_id: run_id(host.now()), observer, stop })
    }

    fn now(&self) -> DateTime<Utc> {
        self.session.host.now()
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    async fn end<T>(self, syncs: Vec<T>) -> Result<AmendReport<T>, Error> {
        let stopped = self.is_stopped();
        let now = self.now();
        let Self { session, run_id, .. } = self;
        let told = session.call(move |store| store.tell_rest(now)).await;
        let publish_error = session.close().await?;
        told?;
        Ok(AmendReport { run_id, syncs, stopped, publish_error })
    }

    async fn remap(&self, plan: &Arc<SyncPlan>, report: &mut RemapReport) -> Result<(), Error> {
        needs_no_item(plan)?;
        let (of, run_id, at) = (Arc::clone(plan), self.run_id.clone(), self.now());
        let kept = self.session.call(move |store| {
            store.prepare(&of.tables(), false, &run_id, at)?;
            store.kept_rows(&of.id, &of.model)
        });
        let kept = kept.await?;
        report.without_raw = kept.without;
        let mapper = Arc::new(Mapper::new(plan).of_rows());
        let context = Variables::new(plan, at).value();
        for part in kept.parts {
            if self.is_stopped() {
                break;
            }
            let of = Arc::clone(plan);
            let records = self.session.call(move |store| store.kept_records(&of.id, &of.model, part)).await?;
            let (mapper, context) = (Arc::clone(&mapper), context.clone());
            let mapped = tokio::task::spawn_blocking(move || map_all(&mapper, &records, &context)).await;
            let (batch, rows, unreadable) = mapped.map_err(|error| Error::Bug(error.to_string()))??;
            let (id, model, run_id) = (plan.id.clone(), Arc::clone(&plan.model), self.run_id.clone());
            let group = RemapGroup { id, run_id, model, batch, now: self.now() };
            report.add(rows, unreadable, &self.session.call(move |store| store.remap(group)).await?);
            (self.observer)(Some(&plan.id), Event::Page { records: rows, total: Some(kept.rows) });
        }
        Ok(())
    }

    async fn retry(&self, plan: &Arc<SyncPlan>, report: &mut RetryReport) -> Result<(), Error> {
        needs_no_item(plan)?;
        let (of, run_id, at) = (Arc::clone(plan), self.run_id.clone(), self.now());
        self.session.call(move |store| store.prepare(&of.tables(), false, &run_id, at)).await?;
        let mapper = Arc::new(Mapper::new(plan).never_failing());
        let context = Variables::new(plan, at).value();
        while !self.is_stopped() {
            let (of, run_id, now) = (Arc::clone(plan), self.run_id.clone(), self.now());
            let (mapper, context) = (Arc::clone(&mapper), context.clone());
            let done = self.session.call(move |store| {
                let retry = Retry { id: &of.id, model: &of.model, run_id: &run_id, now };
                store.retry(retry, |text| mapper.map(&[&parse(text.as_bytes()).ok()?], &context).ok())
            });
            let done = done.await?;
            if done.records == 0 {
                break;
            }
            report.done.add(&done);
            (self.observer)(Some(&plan.id), Event::Page { records: done.records, total: None });
        }
        Ok(())
    }
}

/// Whether the columns can be made of the record alone.
fn needs_no_item(plan: &SyncPlan) -> Result<(), Error> {
    let names_it =
        |column: &ColumnPlan| matches!(&column.source, ColumnSource::Template(template) if template.names("parent"));
    if plan.model.columns.iter().any(names_it) {
        let table = format!("{}.{}", plan.model.schema, plan.model.table);
        return Err(Error::ItemUnknown { table, sync: plan.id.to_string() });
    }
    Ok(())
}

/// The rows of these records, how many records there were, and how many of them are no JSON, which somebody has written there.
fn map_all(mapper: &Mapper, texts: &[String], context: &minijinja::Value) -> Result<(Batch, u64, u64), Error> {
    let arena = Bump::new();
    let records: Vec<Json<'_>> = texts.iter().filter_map(|text| parse_into(&arena, text.as_bytes()).ok()).collect();
    let unreadable = texts.len() - records.len();
    let batch = mapper.map(&records.iter().collect::<Vec<_>>(), context)?;
    Ok((batch, texts.len() as u64, unreadable as u64))
}

impl RemapReport {
    fn new(sync: SyncId) -> Self {
        Self {
            sync,
            rows: 0,
            updated: 0,
            unchanged: 0,
            quarantined: 0,
            left: 0,
            without_raw: 0,
            change_from: None,
            change_to: None,
            error: None,
        }
    }

    fn add(&mut self, rows: u64, unreadable: u64, done: &Remapped) {
        let Remapped { updated, unchanged, quarantined, left, change_from, change_to } = done;
        self.rows += rows;
        self.updated += updated;
        self.unchanged += unchanged;
        self.quarantined += quarantined;
        self.left += left + unreadable;
        self.change_from = self.change_from.or(*change_from);
        self.change_to = change_to.or(self.change_to);
    }
}

impl RetryReport {
    fn new(sync: SyncId) -> Self {
        Self { sync, done: Retried::default(), error: None }
    }
}
