//! Events that came from APIs, in the order in which they came.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use duckdb::{Connection, OptionalExt, params};

use super::error::Error;
use super::layout::own;
use super::ledger::{moment, stamp};
use super::writer::Store;
use crate::plan::limits;

/// Events that came together.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// whose they are
    pub provider: String,
    /// headers and parameters, as JSON
    pub request: String,
    /// the body
    pub body: String,
    /// when it came
    pub received_at: DateTime<Utc>,
    /// the events
    pub events: Vec<NewEvent>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// for which connection
    pub connection: String,
    /// what kind
    pub kind: Option<String>,
    /// its id: one that is known is not written again
    pub id: Option<String>,
    /// its part of the body, as JSON; none = the whole
    pub event: Option<String>,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Arrived {
    /// events that are new
    pub written: u64,
    /// events that were known
    pub known: u64,
}

/// A connection that has waiting events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// its name
    pub connection: String,
    /// when its first event is due; none = now
    pub due_at: Option<DateTime<Utc>>,
}

/// A waiting event.
#[derive(Debug, Clone)]
pub struct InboxEvent {
    /// its number
    pub number: i64,
    /// when it came
    pub received_at: DateTime<Utc>,
    /// what kind
    pub kind: Option<String>,
    /// headers and parameters, as JSON
    pub request: String,
    /// the body of its delivery, if it was asked for or is the event
    pub body: Option<String>,
    /// its part of the body, as JSON; none = the whole
    pub event: Option<String>,
    /// how often it was tried
    pub attempts: u32,
    /// it is not tried before
    pub due_at: Option<DateTime<Utc>>,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// what is to be done is done
    Done,
    /// syncs are to run because of it; it waits again if the daemon ends before they have
    Started,
    /// no sync has words for it
    Ignored,
    /// it failed, and is tried again
    Again {
        /// when
        due_at: DateTime<Utc>,
        /// why
        error: String,
    },
    /// it failed for good
    Failed {
        /// why
        error: String,
    },
}

impl Store {
    /// Writes the events of a delivery into the inbox, those that are not known.
    ///
    /// # Errors
    /// The file cannot be had or written; then nothing of the delivery is there.
    pub fn receive(&mut self, delivery: &NewDelivery) -> Result<Arrived, Error> {
        self.transaction("write events into the inbox", |db| receive(db, delivery))
    }

    /// The connections that have waiting events, and when the first of each is due.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn backlog(&mut self) -> Result<Vec<Backlog>, Error> {
        backlog(self.attached()?)
    }

    /// The first waiting events of a connection, in the order in which they came. With `whole`, those that are a part of their delivery's body
    /// come with all of it.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn waiting_events(&mut self, connection: &str, whole: bool) -> Result<Vec<InboxEvent>, Error> {
        waiting(self.attached()?, connection, whole)
    }

    /// Notes what came of an event.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn settle(&mut self, event: i64, settled: &Settled, now: DateTime<Utc>) -> Result<(), Error> {
        self.transaction("note what came of an event", |db| settle(db, event, settled, now))
    }

    /// Lets events of the inbox wait again of which a daemon that has ended did not see the end.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn reopen_inbox(&mut self) -> Result<(), Error> {
        self.transaction("look into the inbox", reopen)
    }

    /// Takes events out of the inbox that were done before.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn prune_inbox(&mut self, before: DateTime<Utc>) -> Result<(), Error> {
        self.transaction("take old events out of the inbox", |db| prune(db, before))
    }
}

/// Writes those events of a delivery that are not known: of which no event of the connection has the id. Where several of one delivery have
/// the same, it is no id of theirs alone, and the second is another than the first. Runs inside the caller's transaction.
fn receive(db: &Connection, delivery: &NewDelivery) -> Result<Arrived, Error> {
    let failed = || Error::database("write events into the inbox");
    let NewDelivery { provider, request, body, received_at, events } = delivery;
    let inbox = own("inbox");
    let last: Option<i64> =
        db.query_row(&format!("SELECT max(id) FROM {inbox}"), [], |row| row.get(0)).map_err(failed())?;
    let first = last.unwrap_or(0) + 1;
    let known = format!("SELECT 1 FROM {inbox} WHERE provider = ? AND connection = ? AND event_id = ? LIMIT 1");
    let mut known = db.prepare(&known).map_err(failed())?;
    let mut insert = db
        .prepare(&format!(
            "INSERT INTO {inbox} (id, received_at, provider, connection, event_type, event_id, delivery, request, body, event, state, attempts) \
             VALUES (?, CAST(? AS TIMESTAMPTZ), ?, ?, ?, ?, ?, ?, ?, ?, 'waiting', 0)"
        ))
        .map_err(failed())?;
    let at = stamp(*received_at);
    let (mut arrived, mut next) = (Arrived::default(), first);
    let mut same: HashMap<(&str, &str), u32> = HashMap::new();
    for NewEvent { connection, kind, id, event } in events {
        let id = id.as_deref().map(|id| {
            let nth = same.entry((connection, id)).and_modify(|nth| *nth += 1).or_insert(1);
            if *nth == 1 { id.to_owned() } else { format!("{id}#{nth}") }
        });
        if let Some(id) = &id {
            let found = known.query_row(params![provider, connection, id], |_| Ok(())).optional().map_err(failed())?;
            if found.is_some() {
                arrived.known += 1;
                continue;
            }
        }
        let is_first = next == first;
        let (request, body) = (is_first.then_some(request), is_first.then_some(body));
        insert
            .execute(params![next, at, provider, connection, kind, id, first, request, body, event])
            .map_err(failed())?;
        next += 1;
        arrived.written += 1;
    }
    Ok(arrived)
}

/// The connections that have waiting events.
fn backlog(db: &Connection) -> Result<Vec<Backlog>, Error> {
    let select = format!(
        "SELECT connection, epoch_us(arg_min(due_at, id)) FROM {} WHERE state = 'waiting' GROUP BY connection",
        own("inbox")
    );
    let row = |row: &duckdb::Row<'_>| Ok(Backlog { connection: row.get(0)?, due_at: moment(row, 1)? });
    let read = || -> duckdb::Result<Vec<Backlog>> { db.prepare(&select)?.query_map([], row)?.collect() };
    read().map_err(Error::database("look into the inbox"))
}

/// The first waiting events of a connection: as many as are read at once.
fn waiting(db: &Connection, connection: &str, whole: bool) -> Result<Vec<InboxEvent>, Error> {
    let body = if whole { "d.body" } else { "CASE WHEN e.event IS NULL THEN d.body END" };
    let select = format!(
        "SELECT e.id, epoch_us(e.received_at), e.event_type, d.request, {body} AS text, e.event, e.attempts, epoch_us(e.due_at) \
         FROM (SELECT * FROM {inbox} WHERE state = 'waiting' AND connection = ? ORDER BY id LIMIT {count}) e \
         JOIN {inbox} d ON d.id = e.delivery \
         QUALIFY coalesce(sum(coalesce(strlen(text), 0) + coalesce(strlen(e.event), 0) + strlen(d.request)) \
           OVER (ORDER BY e.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < {bytes} ORDER BY e.id",
        inbox = own("inbox"),
        count = limits::INBOX_EVENTS_AT_ONCE,
        bytes = limits::INBOX_BYTES_AT_ONCE,
    );
    let row = |row: &duckdb::Row<'_>| {
        Ok(InboxEvent {
            number: row.get(0)?,
            received_at: moment(row, 1)?.unwrap_or_default(),
            kind: row.get(2)?,
            request: row.get::<_, Option<String>>(3)?.unwrap_or_default(),
            body: row.get(4)?,
            event: row.get(5)?,
            attempts: row.get(6)?,
            due_at: moment(row, 7)?,
        })
    };
    let read = || -> duckdb::Result<Vec<InboxEvent>> { db.prepare(&select)?.query_map([connection], row)?.collect() };
    read().map_err(Error::database("read the inbox"))
}

/// Notes what came of an event. Runs inside the caller's transaction.
fn settle(db: &Connection, event: i64, settled: &Settled, now: DateTime<Utc>) -> Result<(), Error> {
    let (state, done_at, due_at, error) = match settled {
        Settled::Done => ("done", Some(stamp(now)), None, None),
        Settled::Started => ("started", None, None, None),
        Settled::Ignored => ("ignored", Some(stamp(now)), None, None),
        Settled::Again { due_at, error } => ("waiting", None, Some(stamp(*due_at)), Some(error)),
        Settled::Failed { error } => ("failed", Some(stamp(now)), None, Some(error)),
    };
    let update = format!(
        "UPDATE {} SET state = ?, done_at = CAST(? AS TIMESTAMPTZ), due_at = CAST(? AS TIMESTAMPTZ), error = ?, attempts = attempts + 1 \
         WHERE id = ?",
        own("inbox")
    );
    db.execute(&update, params![state, done_at, due_at, error, event])
        .map_err(Error::database("note what came of an event"))?;
    Ok(())
}

/// Lets events wait again of which a daemon that has ended did not see the end. Runs inside the caller's transaction.
fn reopen(db: &Connection) -> Result<(), Error> {
    db.execute(&format!("UPDATE {} SET state = 'waiting' WHERE state = 'started'", own("inbox")), [])
        .map_err(Error::database("look into the inbox"))?;
    Ok(())
}

/// Takes out deliveries of which no event waits and none was done since. Runs inside the caller's transaction.
fn prune(db: &Connection, before: DateTime<Utc>) -> Result<(), Error> {
    let delete = format!(
        "DELETE FROM {inbox} WHERE delivery IN (SELECT delivery FROM {inbox} GROUP BY delivery \
         HAVING bool_and(state IN ('done', 'ignored', 'failed') AND done_at < CAST(? AS TIMESTAMPTZ)))",
        inbox = own("inbox")
    );
    db.execute(&delete, [stamp(before)]).map_err(Error::database("take old events out of the inbox"))?;
    Ok(())
}
