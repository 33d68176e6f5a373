//! What applications are told: written in the transaction that makes it true, and sent by the daemon.
//!
//! The changes of a run are counted in a row for each model that has no number yet. The end of the run gives it one, and a delivery for each
//! endpoint; of a run that was killed, whoever opens the database next does so. So nothing that was committed is ever untold, and what is told
//! is told once.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use duckdb::{Connection, Row, params, params_from_iter};
use serde_json::{Map, Value, json};

use super::error::Error;
use super::layout::own;
use super::ledger::{OF_SYNC, RunEnd, RunRecord, RunState, big, moment, stamp, sync_of};
use super::merge::spanned;
use super::writer::Store;
use crate::plan::{NotifyPlan, SyncId, limits};

/// The code of runs that fail because a person must connect again.
const NEEDS_RECONNECT: &str = "needs_reconnect";

/// What a transaction did to the rows of a model.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ModelChanges {
    /// rows seen for the first time, or again after a deletion
    pub added: u64,
    /// rows with another value
    pub updated: u64,
    /// rows that are gone
    pub deleted: u64,
    /// the first and last change number given out
    pub changes: Option<(i64, i64)>,
}

impl ModelChanges {
    /// Adds what was done besides.
    pub fn add(&mut self, added: u64, updated: u64, deleted: u64, changes: Option<(i64, i64)>) {
        self.added += added;
        self.updated += updated;
        self.deleted += deleted;
        self.changes = spanned(self.changes, changes);
    }
}

/// What is to be sent to an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// in the order in which it is told
    pub deliveries: Vec<Delivery>,
    /// when there is more, if nothing happens; none = nothing waits
    pub next_at: Option<DateTime<Utc>>,
    /// how the endpoint is
    pub endpoint: EndpointState,
}

/// A notification to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// its number
    pub id: i64,
    /// its name, the same for all endpoints and attempts
    pub event_id: String,
    /// attempts before
    pub attempts: u32,
    /// what is sent
    pub body: String,
}

/// How an endpoint is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointState {
    /// nothing is sent there, and why
    pub paused: Option<String>,
    /// nothing has arrived since
    pub failing_since: Option<DateTime<Utc>>,
    /// nothing is sent there before
    pub wait_until: Option<DateTime<Utc>>,
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryEnd {
    /// the number of the notification
    pub id: i64,
    /// when it was tried
    pub at: DateTime<Utc>,
    /// the status of the answer, if there was one
    pub status: Option<u16>,
    /// why it has not arrived, without secrets
    pub error: Option<String>,
    /// what is done now
    pub state: DeliveryState,
}

/// What is done about a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryState {
    /// it has arrived
    Delivered,
    /// it is tried again then
    Pending(DateTime<Utc>),
    /// nothing any more
    GivenUp,
}

/// A notification to an endpoint, as people look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// its name
    pub event_id: String,
    /// `changed`, `failed`, `needs_reconnect`
    pub kind: String,
    /// of which sync
    pub id: SyncId,
    /// of which model, if it tells of changes
    pub model: Option<String>,
    /// when it was written
    pub created_at: DateTime<Utc>,
    /// to whom it goes
    pub endpoint: String,
    /// `pending`, `delivered`, `failed`
    pub state: String,
    /// attempts so far
    pub attempts: u32,
    /// when it is tried next
    pub next_at: Option<DateTime<Utc>>,
    /// the status of the last answer
    pub last_status: Option<u16>,
    /// why it has not arrived
    pub last_error: Option<String>,
}

impl Store {
    /// Who is told what happens from now on. What a process that was killed has committed and not told is told now: to be called before
    /// anything else.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn tell(&mut self, endpoints: Arc<[NotifyPlan]>, now: DateTime<Utc>) -> Result<(), Error> {
        self.told = endpoints;
        if self.told.is_empty() {
            return Ok(());
        }
        self.tell_changes(Untold::All, now)
    }

    /// Tells the changes that are committed and of which no run will tell that is under way.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn tell_rest(&mut self, now: DateTime<Utc>) -> Result<(), Error> {
        self.tell_changes(Untold::OfNoRun, now)
    }

    fn tell_changes(&mut self, which: Untold<'_>, now: DateTime<Utc>) -> Result<(), Error> {
        let endpoints = Arc::clone(&self.told);
        if endpoints.is_empty() {
            return Ok(());
        }
        self.transaction("note what is told", |db| {
            tell_changes(db, &endpoints, which, now)?;
            prune(db, now)
        })
    }

    /// What an endpoint is to be sent now, at most `count`. For one that waits for its time, later ones wait, but not for ever.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn deliveries_due(&mut self, endpoint: &str, now: DateTime<Utc>, count: usize) -> Result<Due, Error> {
        due(self.attached()?, endpoint, now, count)
    }

    /// Notes what became of deliveries to an endpoint, and how that is now.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn note_deliveries(
        &mut self,
        endpoint: &str,
        ends: &[DeliveryEnd],
        state: &EndpointState,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.transaction("note what was delivered", |db| {
            note(db, endpoint, ends)?;
            put_endpoint(db, endpoint, state, now)?;
            prune(db, now)
        })
    }

    /// Sends a notification once more to all whom it went to; how many those are.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn replay(&mut self, event_id: &str) -> Result<usize, Error> {
        let (deliveries, outbox) = (own("deliveries"), own("outbox"));
        let update = format!(
            "UPDATE {deliveries} SET state = 'pending', attempts = 0, next_at = NULL \
             WHERE id = (SELECT id FROM {outbox} WHERE event_id = ?)"
        );
        self.transaction("send a notification again", |db| db.execute(&update, [event_id]).map_err(failed()))
    }

    /// Sends to paused endpoints again, at once.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn resume_endpoints(&mut self) -> Result<Vec<String>, Error> {
        let (endpoints, deliveries) = (own("endpoints"), own("deliveries"));
        self.transaction("resume endpoints", |db| {
            let found: Vec<String> = db
                .prepare(&format!("SELECT endpoint FROM {endpoints} WHERE paused IS NOT NULL ORDER BY endpoint"))
                .and_then(|mut statement| statement.query_map([], |row| row.get(0))?.collect())
                .map_err(failed())?;
            for endpoint in &found {
                db.execute(&format!("DELETE FROM {endpoints} WHERE endpoint = ?"), [endpoint]).map_err(failed())?;
                let update = format!(
                    "UPDATE {deliveries} SET attempts = 0, next_at = NULL WHERE endpoint = ? AND state = 'pending'"
                );
                db.execute(&update, [endpoint]).map_err(failed())?;
            }
            Ok(found)
        })
    }
}

fn failed() -> impl FnOnce(duckdb::Error) -> Error {
    Error::database("write or read what is told")
}

/// Counts what a transaction of a run did to a model's rows, if anybody is told of changes.
pub(super) fn note_changes(
    db: &Connection,
    endpoints: &[NotifyPlan],
    id: &SyncId,
    (run_id, model): (&str, &str),
    done: &ModelChanges,
) -> Result<(), Error> {
    let Some((from, to)) = done.changes.filter(|_| endpoints.iter().any(|endpoint| endpoint.changed)) else {
        return Ok(());
    };
    let SyncId { connection, provider, sync, variant } = id;
    let [added, updated, deleted] = [done.added, done.updated, done.deleted].map(big);
    let table = own("outbox");
    let update = format!(
        "UPDATE {table} SET added = added + {added}, updated = updated + {updated}, deleted = deleted + {deleted}, \
         change_from = least(change_from, {from}), change_to = greatest(change_to, {to}) \
         WHERE id IS NULL AND run_id = ? AND {OF_SYNC} AND model = ?"
    );
    let counted = db.execute(&update, params![run_id, connection, provider, sync, variant, model]).map_err(failed())?;
    if counted == 0 {
        let insert = format!(
            "INSERT INTO {table} (kind, connection, provider, sync, variant, model, change_from, change_to, run_id, added, updated, deleted) \
             VALUES ('changed', ?, ?, ?, ?, ?, {from}, {to}, ?, {added}, {updated}, {deleted})"
        );
        db.execute(&insert, params![connection, provider, sync, variant, model, run_id]).map_err(failed())?;
    }
    Ok(())
}

/// Tells what a run did that has ended.
pub(super) fn tell_run(db: &Connection, endpoints: &[NotifyPlan], run: &RunRecord, end: &RunEnd) -> Result<(), Error> {
    if endpoints.is_empty() {
        return Ok(());
    }
    tell_changes(db, endpoints, Untold::Of(run), end.ended_at)?;
    let Some((code, message)) = end.error.as_ref().filter(|_| end.state == RunState::Failed) else { return Ok(()) };
    let message: String = message.chars().take(limits::NOTIFY_MESSAGE_CHARS_MAX).collect();
    let what = || [("code", json!(code)), ("message", json!(message))];
    let event = Event { kind: "failed", id: &run.id, run_id: &run.run_id, model: None };
    if endpoints.iter().any(|endpoint| endpoint.failed) {
        event.write(db, endpoints, &what(), end.ended_at)?;
    }
    let is_told = endpoints.iter().any(|endpoint| endpoint.needs_reconnect);
    if is_told && code == NEEDS_RECONNECT && !is_known_to_need_reconnect(db, &run.id.connection)? {
        Event { kind: NEEDS_RECONNECT, ..event }.write(db, endpoints, &what(), end.ended_at)?;
    }
    Ok(())
}

/// Whether that was told since the connection worked the last time.
fn is_known_to_need_reconnect(db: &Connection, connection: &str) -> Result<bool, Error> {
    let select = format!(
        "SELECT count(*) > 0 FROM {} WHERE kind = '{NEEDS_RECONNECT}' AND connection = ? AND created_at >= coalesce(\
         (SELECT max(ended_at) FROM {} WHERE connection = ? AND state IN ('completed', 'partial')), created_at)",
        own("outbox"),
        own("runs"),
    );
    db.query_row(&select, [connection, connection], |row| row.get(0)).map_err(failed())
}

/// Which changes that are committed and not told.
#[derive(Clone, Copy)]
enum Untold<'a> {
    /// all: no run is under way
    All,
    /// those that a run under way will not tell
    OfNoRun,
    /// those of one run
    Of(&'a RunRecord),
}

/// Changes that are to be told.
struct Changes {
    rowid: i64,
    id: SyncId,
    run_id: String,
    model: String,
    counts: [(&'static str, i64); 5],
}

/// Tells the changes that were counted.
fn tell_changes(db: &Connection, endpoints: &[NotifyPlan], which: Untold<'_>, now: DateTime<Utc>) -> Result<(), Error> {
    if !endpoints.iter().any(|endpoint| endpoint.changed) {
        return Ok(());
    }
    let (condition, values) = match which {
        Untold::All => (String::new(), Vec::new()),
        Untold::OfNoRun => {
            let who = "run_id, connection, provider, sync, variant";
            (format!(" AND ({who}) NOT IN (SELECT ({who}) FROM {} WHERE ended_at IS NULL)", own("runs")), Vec::new())
        }
        Untold::Of(run) => {
            let SyncId { connection, provider, sync, variant } = &run.id;
            (format!(" AND run_id = ? AND {OF_SYNC}"), vec![&run.run_id, connection, provider, sync, variant])
        }
    };
    let select = format!(
        "SELECT rowid, connection, provider, sync, variant, run_id, model, added, updated, deleted, change_from, change_to \
         FROM {} WHERE id IS NULL{condition} ORDER BY change_to, rowid",
        own("outbox")
    );
    let changes = |row: &Row<'_>| {
        let id = sync_of(row, [1, 2, 3, 4])?;
        let names = ["added", "updated", "deleted", "change_from", "change_to"];
        let mut counts = names.map(|name| (name, 0));
        for (at, (_, count)) in counts.iter_mut().enumerate() {
            *count = row.get(7 + at)?;
        }
        Ok(Changes { rowid: row.get(0)?, id, run_id: row.get(5)?, model: row.get(6)?, counts })
    };
    let all: Vec<Changes> = db
        .prepare(&select)
        .and_then(|mut statement| statement.query_map(params_from_iter(values), changes)?.collect())
        .map_err(failed())?;
    for Changes { rowid, id, run_id, model, counts } in all {
        let event = Event { kind: "changed", id: &id, run_id: &run_id, model: Some(&model) };
        let (number, event_id) = numbered(db)?;
        let payload = event.payload(&counts.map(|(name, count)| (name, json!(count))), now);
        let update = format!(
            "UPDATE {} SET id = ?, created_at = CAST(? AS TIMESTAMPTZ), event_id = ?, payload = CAST(? AS JSON) WHERE rowid = ?",
            own("outbox")
        );
        db.execute(&update, params![number, stamp(now), event_id, payload, rowid]).map_err(failed())?;
        event.deliver(db, endpoints, number)?;
    }
    Ok(())
}

/// Something that is told.
#[derive(Debug, Clone, Copy)]
struct Event<'a> {
    kind: &'static str,
    id: &'a SyncId,
    run_id: &'a str,
    model: Option<&'a str>,
}

impl Event<'_> {
    fn write(
        &self,
        db: &Connection,
        endpoints: &[NotifyPlan],
        what: &[(&str, Value)],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let (number, event_id) = numbered(db)?;
        let SyncId { connection, provider, sync, variant } = self.id;
        let insert = format!(
            "INSERT INTO {} (id, created_at, kind, connection, provider, sync, variant, payload, run_id, event_id) \
             VALUES (?, CAST(? AS TIMESTAMPTZ), ?, ?, ?, ?, ?, CAST(? AS JSON), ?, ?)",
            own("outbox")
        );
        let (now, payload) = (stamp(now), self.payload(what, now));
        let values =
            params![number, now, self.kind, connection, provider, sync, variant, payload, self.run_id, event_id];
        db.execute(&insert, values).map_err(failed())?;
        self.deliver(db, endpoints, number)
    }

    /// A delivery for each endpoint that is told such things.
    fn deliver(&self, db: &Connection, endpoints: &[NotifyPlan], number: i64) -> Result<(), Error> {
        let is_told = |endpoint: &&NotifyPlan| match self.kind {
            "changed" => endpoint.changed,
            "failed" => endpoint.failed,
            _ => endpoint.needs_reconnect,
        };
        let insert =
            format!("INSERT INTO {} (id, endpoint, state, attempts) VALUES (?, ?, 'pending', 0)", own("deliveries"));
        for endpoint in endpoints.iter().filter(is_told) {
            db.execute(&insert, params![number, endpoint.name]).map_err(failed())?;
        }
        Ok(())
    }

    /// What is sent.
    fn payload(&self, what: &[(&str, Value)], now: DateTime<Utc>) -> String {
        let SyncId { connection, provider, sync, variant } = self.id;
        let mut data = Map::new();
        let who = [("connection", connection), ("provider", provider), ("sync", sync), ("variant", variant)];
        data.extend(who.map(|(name, value)| (name.to_owned(), json!(value))));
        if let Some(model) = self.model {
            data.insert("model".to_owned(), json!(model));
        }
        data.insert("run_id".to_owned(), json!(self.run_id));
        data.extend(what.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        let of = if self.kind == NEEDS_RECONNECT { "connection" } else { "sync" };
        let at = now.to_rfc3339_opts(SecondsFormat::Millis, true);
        json!({ "type": format!("{of}.{}", self.kind), "timestamp": at, "data": data }).to_string()
    }
}

/// The number and the name of the next notification. The last one is never pruned, so no number comes twice.
fn numbered(db: &Connection) -> Result<(i64, String), Error> {
    let select = format!(
        "SELECT coalesce(max(id), 0) + 1, 'evt_' || replace(CAST(uuid() AS VARCHAR), '-', '') FROM {}",
        own("outbox")
    );
    db.query_row(&select, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())
}

fn due(db: &Connection, endpoint: &str, now: DateTime<Utc>, count: usize) -> Result<Due, Error> {
    let endpoint_row = |row: &Row<'_>| {
        let (failing, wait) = (moment(row, 1)?, moment(row, 2)?);
        Ok(EndpointState { paused: row.get(0)?, failing_since: failing, wait_until: wait })
    };
    let select = format!(
        "SELECT paused, epoch_us(failing_since), epoch_us(wait_until) FROM {} WHERE endpoint = ?",
        own("endpoints")
    );
    let states: Vec<EndpointState> = db
        .prepare(&select)
        .and_then(|mut statement| statement.query_map([endpoint], endpoint_row)?.collect())
        .map_err(failed())?;
    let state = states.into_iter().next().unwrap_or_default();
    let mut due = Due { deliveries: Vec::new(), next_at: None, endpoint: state };
    if due.endpoint.paused.is_some() {
        return Ok(due);
    }
    if let Some(until) = due.endpoint.wait_until.filter(|until| *until > now) {
        due.next_at = Some(until);
        return Ok(due);
    }
    let (deliveries, at) = (own("deliveries"), stamp(now));
    let pending = format!(
        "WITH pending AS (SELECT id, attempts, next_at FROM {deliveries} WHERE endpoint = $1 AND state = 'pending'), \
         waits AS (SELECT id, attempts, next_at FROM pending WHERE next_at > CAST($2 AS TIMESTAMPTZ))"
    );
    let select = format!(
        "{pending} SELECT p.id, o.event_id, p.attempts, CAST(o.payload AS VARCHAR) FROM pending p JOIN {} o USING (id) \
         WHERE p.id NOT IN (SELECT id FROM waits) AND p.id < coalesce((SELECT min(id) FROM waits WHERE attempts < {}), p.id + 1) \
         ORDER BY p.id LIMIT {count}",
        own("outbox"),
        limits::NOTIFY_BLOCKS_FOR,
    );
    let delivery = |row: &Row<'_>| {
        Ok(Delivery { id: row.get(0)?, event_id: row.get(1)?, attempts: row.get(2)?, body: row.get(3)? })
    };
    due.deliveries = db
        .prepare(&select)
        .and_then(|mut statement| statement.query_map([endpoint, &at], delivery)?.collect())
        .map_err(failed())?;
    let first = format!("{pending} SELECT epoch_us(min(next_at)) FROM waits");
    due.next_at = db.query_row(&first, [endpoint, &at], |row| moment(row, 0)).map_err(failed())?;
    Ok(due)
}

fn note(db: &Connection, endpoint: &str, ends: &[DeliveryEnd]) -> Result<(), Error> {
    let update = format!(
        "UPDATE {} SET state = ?, attempts = attempts + 1, next_at = CAST(? AS TIMESTAMPTZ), last_at = CAST(? AS TIMESTAMPTZ), \
         last_status = ?, last_error = ? WHERE id = ? AND endpoint = ?",
        own("deliveries")
    );
    for DeliveryEnd { id, at, status, error, state } in ends {
        let (state, next_at) = match state {
            DeliveryState::Delivered => ("delivered", None),
            DeliveryState::Pending(next_at) => ("pending", Some(stamp(*next_at))),
            DeliveryState::GivenUp => ("failed", None),
        };
        db.execute(&update, params![state, next_at, stamp(*at), status, error, id, endpoint]).map_err(failed())?;
    }
    Ok(())
}

fn put_endpoint(db: &Connection, endpoint: &str, state: &EndpointState, now: DateTime<Utc>) -> Result<(), Error> {
    let table = own("endpoints");
    let EndpointState { paused, failing_since, wait_until } = state;
    db.execute(&format!("DELETE FROM {table} WHERE endpoint = ?"), [endpoint]).map_err(failed())?;
    if *state == EndpointState::default() {
        return Ok(());
    }
    let insert = format!(
        "INSERT INTO {table} VALUES (?, ?, CAST(? AS TIMESTAMPTZ), CAST(? AS TIMESTAMPTZ), CAST(? AS TIMESTAMPTZ))"
    );
    let values = params![endpoint, paused, failing_since.map(stamp), wait_until.map(stamp), stamp(now)];
    db.execute(&insert, values).map_err(failed())?;
    Ok(())
}

/// Forgets notifications that are old: those that everybody has earlier, the others later, and never the last one.
fn prune(db: &Connection, now: DateTime<Utc>) -> Result<(), Error> {
    let (outbox, deliveries) = (own("outbox"), own("deliveries"));
    let before = |kept: Duration| stamp(now - kept);
    let (told, untold) = (before(limits::NOTIFIED_KEPT), before(limits::NOT_NOTIFIED_KEPT));
    let old = format!(
        "SELECT id FROM {outbox} WHERE created_at < CAST(? AS TIMESTAMPTZ) AND id < (SELECT max(id) FROM {outbox}) \
         AND (created_at < CAST(? AS TIMESTAMPTZ) OR id NOT IN (SELECT id FROM {deliveries} WHERE state <> 'delivered'))"
    );
    let found: Vec<i64> = db
        .prepare(&old)
        .and_then(|mut statement| statement.query_map([told, untold], |row| row.get(0))?.collect())
        .map_err(failed())?;
    if found.is_empty() {
        return Ok(());
    }
    let found = json!(found).to_string();
    for table in [deliveries, outbox] {
        let delete = format!("DELETE FROM {table} WHERE id IN (SELECT unnest(from_json(?, '[\"BIGINT\"]')))");
        db.execute(&delete, [&found]).map_err(failed())?;
    }
    Ok(())
}

/// The last notifications, newest first, at most `count`; with `waiting` those that have not arrived.
pub(super) fn listed(db: &Connection, waiting: bool, count: usize) -> Result<Vec<Notification>, Error> {
    let waiting = if waiting { "WHERE d.state <> 'delivered'" } else { "" };
    let select = format!(
        "SELECT o.event_id, o.kind, o.connection, o.provider, o.sync, o.variant, o.model, epoch_us(o.created_at), d.endpoint, d.state, \
         d.attempts, epoch_us(d.next_at), d.last_status, d.last_error \
         FROM {} d JOIN {} o USING (id) {waiting} ORDER BY d.id DESC, d.rowid LIMIT {count}",
        own("deliveries"),
        own("outbox")
    );
    let row = |row: &Row<'_>| {
        let id = sync_of(row, [2, 3, 4, 5])?;
        Ok(Notification {
            event_id: row.get(0)?,
            kind: row.get(1)?,
            id,
            model: row.get(6)?,
            created_at: moment(row, 7)?.unwrap_or_default(),
            endpoint: row.get(8)?,
            state: row.get(9)?,
            attempts: row.get(10)?,
            next_at: moment(row, 11)?,
            last_status: row.get(12)?,
            last_error: row.get(13)?,
        })
    };
    db.prepare(&select).and_then(|mut statement| statement.query_map([], row)?.collect()).map_err(failed())
}

/// The endpoints that are paused, and why.
pub(super) fn paused(db: &Connection) -> Result<Vec<(String, String)>, Error> {
    let select =
        format!("SELECT endpoint, paused FROM {} WHERE paused IS NOT NULL ORDER BY endpoint", own("endpoints"));
    db.prepare(&select)
        .and_then(|mut statement| statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect())
        .map_err(failed())
}
