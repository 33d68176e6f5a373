//! What can go wrong between headwater and its DuckDB file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::diagnostic::{did_you_mean, suggest};
use crate::plan::limits;

/// An error of the store. The message says what happened and where; [`Error::hint`] says what to do next.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// there is no database file
    #[error("there is no database at `{}`", path.display())]
    Missing {
        /// the file looked for
        path: PathBuf,
    },
    /// another `headwater run` works on this database
    #[error("another `headwater run`{} is working on `{}`", with_pid(*pid), path.display())]
    Busy {
        /// the database
        path: PathBuf,
        /// the other process, if its lock file says so
        pid: Option<u32>,
    },
    /// another program held the file for longer than we wait
    #[error("waited {} s for `{}`: {holder}", waited.as_secs(), path.display())]
    Locked {
        /// the database
        path: PathBuf,
        /// how long it was waited for
        waited: Duration,
        /// who holds it, in DuckDB's words
        holder: String,
    },
    /// the file is something else
    #[error("`{}` is not a DuckDB database", path.display())]
    NotADatabase {
        /// the file, which was left as it is
        path: PathBuf,
    },
    /// the file is a DuckDB database that DuckDB cannot read
    #[error("`{}` cannot be read as a DuckDB database: {detail}", path.display())]
    Damaged {
        /// the file, which was left as it is
        path: PathBuf,
        /// DuckDB's words
        detail: String,
    },
    /// a process was killed while it wrote the file, and this one may not put it right
    #[error("`{}` was left in the middle of a write, and cannot be put right from here: {source}", path.display())]
    Unfinished {
        /// the database
        path: PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// a newer headwater has laid out the file
    #[error("`{}` has headwater layout {found}, this program knows layouts up to {known}", path.display())]
    NewerLayout {
        /// the file, which was left as it is
        path: PathBuf,
        /// the layout in the file
        found: i64,
        /// the newest layout this program knows
        known: i64,
    },
    /// the operating system refused something about a file or folder
    #[error("cannot {doing} `{}`: {source}", path.display())]
    File {
        /// what was tried: `open`, `copy to`, …
        doing: &'static str,
        /// with which file
        path: PathBuf,
        /// why not
        source: std::io::Error,
    },
    /// the path cannot be handed to DuckDB
    #[error("the path `{}` is not valid UTF-8", path.display())]
    NotUtf8 {
        /// the path
        path: PathBuf,
    },
    /// the model in the YAML does not fit the table in the database
    #[error("table `{table}`: {detail}")]
    SchemaConflict {
        /// `schema.table`
        table: String,
        /// what does not fit
        detail: String,
        /// what to do
        hint: String,
    },
    /// what the sync remembers cannot be used
    #[error("the checkpoint of `{sync}` cannot be used: {detail}")]
    Checkpoint {
        /// the sync
        sync: String,
        /// why
        detail: String,
    },
    /// no table of that name was made by headwater
    #[error("there is no table `{name}`")]
    UnknownTable {
        /// what was asked for
        name: String,
        /// the tables there are, as `schema.table`
        known: Vec<String>,
    },
    /// several tables have that name
    #[error("there are several tables `{name}`")]
    AmbiguousTable {
        /// what was asked for
        name: String,
        /// those that fit, as `schema.table`
        candidates: Vec<String>,
    },
    /// what a reader has of a table is worth nothing any more
    #[error("the feed of `{table}` does not go on there: {reason}")]
    FeedEnded {
        /// `schema.table`
        table: String,
        /// why
        reason: &'static str,
    },
    /// ids that are none of that table
    #[error("an id of `{table}` has {} values: {}", key.len(), key.join(", "))]
    KeyShape {
        /// `schema.table`
        table: String,
        /// the columns of its key
        key: Vec<String>,
    },
    /// no chosen sync has a part of that name
    #[error("the chosen syncs have no partition `{name}`")]
    UnknownPartition {
        /// what was asked for
        name: String,
        /// the parts there are
        known: Vec<String>,
    },
    /// a purge would take rows of syncs that were not chosen
    #[error("`{table}` also holds rows of {}, and nothing tells them apart", quoted(&others[..others.len().min(limits::LISTED_MAX)]))]
    SharedTable {
        /// `schema.table`
        table: String,
        /// the syncs that were not chosen
        others: Vec<String>,
    },
    /// the text is not one statement that only reads
    #[error("{reason}")]
    NotARead {
        /// what it is instead
        reason: String,
    },
    /// a statement written by a person failed
    #[error("{message}")]
    Query {
        /// DuckDB's words, which may span lines and point at the place
        message: String,
    },
    /// mapped rows do not have the shape of their model: a mistake in headwater
    #[error("the rows for table `{table}` do not fit its model: {detail}")]
    Rows {
        /// `schema.table`
        table: String,
        /// what does not fit
        detail: String,
    },
    /// DuckDB refused a statement of headwater's own
    #[error("cannot {doing}: {}", first_line(source))]
    Database {
        /// what was tried
        doing: &'static str,
        /// DuckDB's words
        source: duckdb::Error,
    },
}

impl Error {
    /// What the person can do next, if there is something.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => "`headwater run` makes it".into(),
            Self::Busy { .. } => "wait for it to end, or stop it".into(),
            Self::Locked { .. } => {
                "close the program that has the file open, or let it read the copy that `publish` makes; \
                 what was fetched and not committed is fetched again by the next run"
                    .into()
            }
            Self::NotADatabase { .. } => "name another file under `database` in `headwater.yaml`".into(),
            Self::Damaged { .. } => {
                "if a newer DuckDB wrote it, use a newer headwater; otherwise restore a backup or the published copy"
                    .into()
            }
            Self::Unfinished { .. } => "`headwater run` puts it right, as a user who may write the file".into(),
            Self::NewerLayout { .. } => "use the headwater that wrote it, or a newer one".into(),
            Self::File { .. } | Self::Database { .. } | Self::Query { .. } => return None,
            Self::NotUtf8 { .. } => "rename the file or folder".into(),
            Self::SchemaConflict { hint, .. } => hint.clone(),
            Self::Checkpoint { sync, .. } => {
                format!("use the headwater that wrote it, or make the sync start over: `headwater reset {sync}`")
            }
            Self::UnknownTable { known, .. } if known.is_empty() => "no sync has run yet: `headwater run`".into(),
            Self::UnknownTable { name, known } => match nearest(name, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the tables are {}", quoted(known)),
            },
            Self::AmbiguousTable { candidates, .. } => format!("say which: {}", quoted(candidates)),
            Self::FeedEnded { .. } => "empty the copy, and read from the beginning: without `after`".into(),
            Self::KeyShape { key, .. } if key.len() == 1 => "write `ids=1,2` or `ids=[\"a\",\"b\"]`".into(),
            Self::KeyShape { .. } => "write a JSON array for each: `ids=[[1,\"a\"],[2,\"b\"]]`".into(),
            Self::UnknownPartition { name, known } => {
                suggest(name, known.iter().map(String::as_str)).unwrap_or_else(|| "leave out `--partition`".into())
            }
            Self::SharedTable { others, .. } if others.len() > limits::LISTED_MAX => {
                "choose all syncs that fill the table, for example by naming the connection".into()
            }
            Self::SharedTable { others, .. } => format!("to remove these too, add: {}", others.join(" ")),
            Self::NotARead { .. } => {
                "write one `SELECT`, `FROM`, `WITH`, `VALUES`, `DESCRIBE`, `SUMMARIZE` or `SHOW`".into()
            }
            Self::Rows { .. } => "this is a mistake in headwater: please report it".into(),
        })
    }

    /// Wraps an operating-system error about `path`.
    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { doing, path, source }
    }

    /// Wraps a DuckDB error of a statement of our own.
    pub(super) fn database(doing: &'static str) -> impl FnOnce(duckdb::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

fn with_pid(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a String> {
    let bare = |full: &'a str| if name.contains('.') { full } else { full.rsplit('.').next().unwrap_or(full) };
    let near = did_you_mean(name, known.iter().map(|full| bare(full)))?;
    known.iter().find(|full| bare(full) == near)
}

/// DuckDB's message without the excerpt of the statement below it.
pub(super) fn first_line(error: &duckdb::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().trim().to_owned()
}
