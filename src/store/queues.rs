//! What waits in the database to be worked off.

use duckdb::Connection;

use super::error::Error;
use super::layout::own;
use super::writer::Store;

/// How much waits, and how much was given up and is still there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Queues {
    /// events of the inbox that are to be worked off
    pub events_waiting: u64,
    /// events whose syncs run
    pub events_started: u64,
    /// events that failed for good
    pub events_failed: u64,
    /// notifications that are to be delivered, for each endpoint
    pub deliveries_pending: u64,
    /// notifications that were given up
    pub deliveries_failed: u64,
}

impl Store {
    /// How much waits.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn queues(&mut self) -> Result<Queues, Error> {
        queues(self.attached()?)
    }
}

fn queues(db: &Connection) -> Result<Queues, Error> {
    let count = |table: &str, state: &str| format!("(SELECT count(*) FROM {} WHERE state = '{state}')", own(table));
    let select = format!(
        "SELECT {}, {}, {}, {}, {}",
        count("inbox", "waiting"),
        count("inbox", "started"),
        count("inbox", "failed"),
        count("deliveries", "pending"),
        count("deliveries", "failed"),
    );
    let number = |row: &duckdb::Row<'_>, at: usize| row.get(at).map(|count: i64| u64::try_from(count).unwrap_or(0));
    db.query_row(&select, [], |row| {
        Ok(Queues {
            events_waiting: number(row, 0)?,
            events_started: number(row, 1)?,
            events_failed: number(row, 2)?,
            deliveries_pending: number(row, 3)?,
            deliveries_failed: number(row, 4)?,
        })
    })
    .map_err(Error::database("count what waits"))
}
