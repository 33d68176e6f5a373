//! What a sync remembers between runs. Written in the transaction that makes it true.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Mark;

/// The version written today. An unknown version is refused, never guessed at.
pub const VERSION: u32 = 1;

/// All that a sync remembers. A run begins by reading this and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// of this form
    pub version: u32,
    /// of the plan it was made by; another plan's state is not resumed
    pub fingerprint: u64,
    /// everything up to here is covered and committed
    pub watermark: Option<Mark>,
    /// the scan under way; none between two scans
    pub scan: Option<ScanState>,
}

/// A scan under way, after its last committed page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanState {
    /// names the scan over all the runs it takes
    pub id: u64,
    /// when its first request was made
    pub started_at: DateTime<Utc>,
    /// the watermark its requests are made with
    pub since: Option<Mark>,
    /// the highest mark it has seen
    pub high: Option<Mark>,
    /// where the next page is
    pub position: Position,
    /// pages committed so far
    pub pages: u64,
    /// records seen so far, valid or not
    pub records: u64,
    /// empty pages in a row
    pub empty_pages: u32,
    /// the server has sent a page of exactly the asked size, so that a shorter one means the end
    pub size_honoured: bool,
    /// why an end of this scan would prove nothing about what is gone
    pub unproven: Option<String>,
    /// the number of all records as the API said it first; when it moves, pages may have shifted under the reader
    #[serde(default)]
    pub total: Option<u64>,
    /// the guard refused what this scan would delete; it waits for `--accept-deletes`
    #[serde(default)]
    pub guarded: bool,
    /// for the detection of cycles (Brent): a token seen earlier, and how many pages until it moves up
    pub tortoise: Option<Tortoise>,
}

/// Brent's cycle detection over page tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tortoise {
    /// hash of the remembered token
    pub token: u64,
    /// pages since it was taken
    pub steps: u64,
    /// the tortoise moves when `steps` gets here; doubles each time
    pub power: u64,
}

/// Where the next page is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Position {
    /// at the first page
    Start,
    /// behind this cursor, as the API gave it (text or number)
    Cursor(serde_json::Value),
    /// at this URL
    Url(String),
    /// at this page number
    Page(u64),
    /// behind this many records
    Offset(u64),
    /// everything is read; what is gone may be deleted
    End,
}

impl Checkpoint {
    /// The checkpoint of a sync that has never run.
    pub fn new(fingerprint: u64) -> Self {
        Self { version: VERSION, fingerprint, watermark: None, scan: None }
    }

    /// The state after `scan` has come so far. A watermark moves with the pages only where the API lists the oldest first.
    #[must_use]
    pub fn after_page(&self, scan: ScanState, ascending: bool) -> Self {
        let watermark = if ascending { self.watermark.clone().max(scan.high.clone()) } else { self.watermark.clone() };
        Self { watermark, scan: Some(scan), ..self.clone() }
    }

    /// The state after the scan is complete: everything up to the highest mark it saw is covered.
    #[must_use]
    pub fn after_scan(&self) -> Self {
        let high = self.scan.as_ref().and_then(|scan| scan.high.clone());
        Self { watermark: self.watermark.clone().max(high), scan: None, ..self.clone() }
    }
}

impl ScanState {
    /// A scan before its first page.
    pub fn begin(id: u64, now: DateTime<Utc>, since: Option<Mark>) -> Self {
        Self {
            id,
            started_at: now,
            since,
            high: None,
            position: Position::Start,
            pages: 0,
            records: 0,
            empty_pages: 0,
            size_honoured: false,
            unproven: None,
            total: None,
            guarded: false,
            tortoise: None,
        }
    }
}
