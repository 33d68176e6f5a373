//! The request log: what was asked and what came, for as long as somebody may want to know.

use chrono::{DateTime, Utc};
use duckdb::{Connection, Row, params, params_from_iter};
use serde_json::{Value, json};

use super::error::Error;
use super::layout::own;
use super::ledger::{moment, stamp, sync_of};
use super::sql::joined;
use super::writer::Store;
use crate::plan::{SyncId, limits};

/// One request of the optional log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRecord {
    /// when it was sent
    pub at: DateTime<Utc>,
    /// GET, POST, …
    pub method: String,
    /// with its secrets masked
    pub url: String,
    /// HTTP status; none when there was no answer
    pub status: Option<u16>,
    /// until the body was there
    pub duration_ms: u64,
    /// of the body, decompressed
    pub bytes: u64,
    /// 1 is the first
    pub attempt: u32,
    /// what failed
    pub error: Option<String>,
    /// what it waited for before it was sent: the budget of the connection, a token, the time after a failed attempt
    pub waited_ms: u64,
    /// headers that were sent, secrets masked
    pub request_headers: Vec<(String, String)>,
    /// headers that came and say something, secrets masked
    pub response_headers: Vec<(String, String)>,
}

/// Which requests are meant; of those, the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestsOf {
    /// of this run
    pub run_id: Option<String>,
    /// of this connection
    pub connection: Option<String>,
    /// of syncs of this name
    pub sync: Option<String>,
    /// so many at most
    pub limit: usize,
}

/// One request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRequest {
    /// of which run
    pub run_id: String,
    /// of which sync
    pub id: SyncId,
    /// the request
    pub request: RequestRecord,
}

impl Store {
    /// The last requests of the log, the latest first.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn requests(&mut self, of: &RequestsOf) -> Result<Vec<PastRequest>, Error> {
        past(self.attached()?, of)
    }

    /// Adds requests of a run of a sync to the log, and takes out what is old.
    ///
    /// # Errors
    /// The file cannot be had or written.
    pub fn log_requests(
        &mut self,
        (run_id, id): (&str, &SyncId),
        requests: &[RequestRecord],
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        self.transaction("log the requests", |db| {
            log(db, (run_id, id), requests)?;
            prune(db, now)
        })
    }
}

fn log(db: &Connection, (run_id, id): (&str, &SyncId), requests: &[RequestRecord]) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let fields =
        "method, url, status, duration_ms, bytes, attempt, error, waited_ms, request_headers, response_headers";
    let insert = format!(
        "INSERT INTO {} (run_id, connection, provider, sync, variant, requested_at, {fields}) \
         SELECT ?, ?, ?, ?, ?, CAST(sent_at AS TIMESTAMPTZ), {fields} FROM (SELECT unnest(from_json(?, '[{{\"sent_at\": \"VARCHAR\", \
         \"method\": \"VARCHAR\", \"url\": \"VARCHAR\", \"status\": \"INTEGER\", \"duration_ms\": \"BIGINT\", \"bytes\": \"BIGINT\", \
         \"attempt\": \"INTEGER\", \"error\": \"VARCHAR\", \"waited_ms\": \"BIGINT\", \"request_headers\": \"JSON\", \
         \"response_headers\": \"JSON\"}}]'), recursive := true))",
        own("requests")
    );
    let rows = Value::from_iter(requests.iter().map(as_json)).to_string();
    db.execute(&insert, params![run_id, connection, provider, sync, variant, rows])
        .map_err(Error::database("log the requests"))?;
    Ok(())
}

fn as_json(request: &RequestRecord) -> Value {
    let RequestRecord {
        at,
        method,
        url,
        status,
        duration_ms,
        bytes,
        attempt,
        error,
        waited_ms,
        request_headers,
        response_headers,
    } = request;
    json!({
        "sent_at": stamp(*at),
        "method": method,
        "url": url,
        "status": status,
        "duration_ms": duration_ms,
        "bytes": bytes,
        "attempt": attempt,
        "error": error,
        "waited_ms": waited_ms,
        "request_headers": headers(request_headers),
        "response_headers": headers(response_headers),
    })
}

fn past(db: &Connection, of: &RequestsOf) -> Result<Vec<PastRequest>, Error> {
    let RequestsOf { run_id, connection, sync, limit } = of;
    let given = [("run_id", run_id), ("connection", connection), ("sync", sync)];
    let given = || given.iter().filter_map(|(column, value)| Some((column, value.as_ref()?)));
    let conditions = given().map(|(column, _)| format!("{column} = ?"));
    let conditions = joined(std::iter::once("true".to_owned()).chain(conditions), " AND ");
    let select = format!(
        "SELECT *, epoch_us(requested_at) AS sent_at FROM {} WHERE {conditions} ORDER BY requested_at DESC, rowid DESC LIMIT {limit}",
        own("requests")
    );
    let read = || -> duckdb::Result<Vec<PastRequest>> {
        let values = params_from_iter(given().map(|(_, value)| value));
        db.prepare(&select)?.query_map(values, read_past)?.collect()
    };
    read().map_err(Error::database("read the log of the requests"))
}

fn read_past(row: &Row<'_>) -> duckdb::Result<PastRequest> {
    let request = RequestRecord {
        at: moment(row, "sent_at")?.unwrap_or_default(),
        method: row.get("method")?,
        url: row.get("url")?,
        status: row.get("status")?,
        duration_ms: row.get("duration_ms")?,
        bytes: row.get("bytes")?,
        attempt: row.get("attempt")?,
        error: row.get("error")?,
        waited_ms: row.get("waited_ms")?,
        request_headers: pairs(row.get("request_headers")?),
        response_headers: pairs(row.get("response_headers")?),
    };
    let id = sync_of(row, ["connection", "provider", "sync", "variant"])?;
    Ok(PastRequest { run_id: row.get("run_id")?, id, request })
}

/// What [`headers`] has written.
fn pairs(text: Option<String>) -> Vec<(String, String)> {
    let all: serde_json::Map<String, Value> =
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |(name, value): (String, Value)| match value {
        Value::Array(values) => values.iter().map(|value| (name.clone(), text(value))).collect(),
        one => vec![(name, text(&one))],
    };
    all.into_iter().flat_map(of).collect()
}

/// Values of one name are a list.
fn headers(pairs: &[(String, String)]) -> Value {
    let mut all = serde_json::Map::new();
    for (name, value) in pairs {
        match all.get_mut(name) {
            None => drop(all.insert(name.clone(), value.as_str().into())),
            Some(Value::Array(values)) => values.push(value.as_str().into()),
            Some(one) => *one = json!([one.take(), value]),
        }
    }
    Value::Object(all)
}

/// Takes out of the log what is old, and the oldest where there is more than is kept.
pub fn prune(db: &Connection, now: DateTime<Utc>) -> Result<(), Error> {
    let failed = || Error::database("take old requests out of the log");
    let table = own("requests");
    let select = format!("SELECT count(*), CAST(epoch_us(min(requested_at)) AS BIGINT) FROM {table}");
    let (rows, oldest): (i64, Option<i64>) =
        db.query_row(&select, [], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed())?;
    let kept_from = now - limits::REQUESTS_KEPT;
    if oldest.is_some_and(|oldest| oldest < kept_from.timestamp_micros()) {
        let delete = format!("DELETE FROM {table} WHERE requested_at < CAST(? AS TIMESTAMPTZ)");
        db.execute(&delete, [stamp(kept_from)]).map_err(failed())?;
    }
    if rows > limits::REQUESTS_KEPT_ROWS {
        // a tenth more than it must be, so that the next request does not do this again
        let delete = format!(
            "DELETE FROM {table} WHERE requested_at <= (SELECT requested_at FROM {table} ORDER BY requested_at DESC LIMIT 1 OFFSET ?)"
        );
        db.execute(&delete, [limits::REQUESTS_KEPT_ROWS / 10 * 9]).map_err(failed())?;
    }
    Ok(())
}
