//! What was asked of the APIs, where a log of it is kept.

use chrono::DateTime;
use duckdb::{Connection, Row};

use super::error::Error;
use super::layout::own;
use super::ledger::RequestRecord;
use super::sql::joined;
use super::writer::Store;

/// Which requests are meant; of those, the last ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestsOf {
    /// of this run
    pub run_id: Option<String>,
    /// of runs of this connection
    pub connection: Option<String>,
    /// of runs of syncs of this name
    pub sync: Option<String>,
    /// so many at most
    pub limit: usize,
}

/// One request of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastRequest {
    /// of which run
    pub run_id: String,
    /// the request
    pub request: RequestRecord,
}

impl Store {
    /// The last requests of the log, the latest first. Where one run is of several syncs, all its requests are of each of them.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn requests(&mut self, of: &RequestsOf) -> Result<Vec<PastRequest>, Error> {
        requests(self.attached()?, of)
    }
}

/// As [`Store::requests`].
///
/// # Errors
/// The database cannot be read.
pub fn requests(db: &Connection, of: &RequestsOf) -> Result<Vec<PastRequest>, Error> {
    let RequestsOf { run_id, connection, sync, limit } = of;
    let runs = own("runs");
    let of_run = |column: &str| format!("run_id IN (SELECT run_id FROM {runs} WHERE {column} = ?)");
    let given = [(run_id, "run_id = ?".to_owned()), (connection, of_run("connection")), (sync, of_run("sync"))];
    let given = || given.iter().filter_map(|(value, condition)| Some((value.as_ref()?, condition)));
    let conditions = joined(std::iter::once("true").chain(given().map(|(_, condition)| condition.as_str())), " AND ");
    let select = format!(
        "SELECT *, epoch_us(requested_at) AS at FROM {} WHERE {conditions} ORDER BY requested_at DESC, rowid DESC LIMIT {limit}",
        own("requests")
    );
    let read = || -> duckdb::Result<Vec<PastRequest>> {
        let values = duckdb::params_from_iter(given().map(|(value, _)| value));
        db.prepare(&select)?.query_map(values, read_request)?.collect()
    };
    read().map_err(Error::database("read the log of the requests"))
}

fn read_request(row: &Row<'_>) -> duckdb::Result<PastRequest> {
    let request = RequestRecord {
        at: DateTime::from_timestamp_micros(row.get("at")?).unwrap_or_default(),
        method: row.get("method")?,
        url: row.get("url")?,
        status: row.get("status")?,
        duration_ms: row.get("duration_ms")?,
        bytes: row.get("bytes")?,
        attempt: row.get("attempt")?,
        error: row.get("error")?,
    };
    Ok(PastRequest { run_id: row.get("run_id")?, request })
}
