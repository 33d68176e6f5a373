//! What happens during a run, for whoever watches.

use std::sync::Arc;
use std::time::Duration;

use super::SyncReport;
use crate::plan::SyncId;
use crate::remote::TokenOutcome;
use crate::store::RequestRecord;

/// Something that happened in a sync.
#[derive(Debug, Clone)]
pub enum Event {
    /// it begins; whether it goes on where a run before it stopped, or starts over and why
    Started {
        /// it continues a scan
        resumed: bool,
        /// it starts over because of this
        restarted: Option<String>,
    },
    /// a page was fetched and read
    Page {
        /// records on it
        records: u64,
        /// of how many, if the API says
        total: Option<u64>,
    },
    /// a request is over, whatever came of it
    Request(Arc<RequestRecord>),
    /// a request is tried again after a wait
    Waiting {
        /// why, in words
        reason: String,
        /// how long
        wait: Duration,
    },
    /// rows are in the table
    Committed {
        /// rows of the group
        rows: u64,
        /// how long the commit took, with the wait for the file
        took: Duration,
    },
    /// another program holds the DuckDB file
    Locked {
        /// what is waited for, and who has it
        holder: String,
    },
    /// a token was made, or could not be
    Token {
        /// for which connection
        connection: String,
        /// of which provider
        provider: String,
        /// how that ended
        outcome: TokenOutcome,
        /// why there is none
        why: Option<String>,
    },
    /// something is wrong with what an API has sent by itself
    Webhook {
        /// of which connection
        connection: String,
        /// what
        problem: String,
    },
    /// the copy of the database could not be made
    NotPublished {
        /// why
        why: String,
    },
    /// an application could not be told something
    NotTold {
        /// whom: the name of the endpoint
        endpoint: String,
        /// why, and what follows
        why: String,
    },
    /// it has ended
    Finished(Box<SyncReport>),
}

/// Takes events; called from several threads.
pub type Observer = Arc<dyn Fn(Option<&SyncId>, Event) + Send + Sync>;
