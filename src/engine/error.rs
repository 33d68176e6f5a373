//! Why a sync did not come to its end.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::plan::TemplateError;
use crate::record::MapError;
use crate::remote::DraftError;
use crate::scan::Stuck;
use crate::scan::retry::GiveUpReason;
use crate::{remote, store};

/// Who can do something about an error. It decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// the project's YAML, its environment or the command line
    User,
    /// the API or the way to it
    Remote,
    /// what the API sent
    Data,
    /// the DuckDB file
    Store,
    /// headwater
    Bug,
}

/// Why a sync did not come to its end. What it had committed before is kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// no answer, or none that could be asked for
    #[error(transparent)]
    Remote(#[from] Arc<remote::Error>),
    /// an answer that is no success
    #[error("{request} answered {status}{}; {reason}{}", status_text(*status), quoted(excerpt))]
    Status {
        /// the request, masked
        request: String,
        /// HTTP status
        status: u16,
        /// why it is not tried again
        reason: GiveUpReason,
        /// the beginning of the answer
        excerpt: String,
    },
    /// an answer that a rule of `errors` fits
    #[error("{request} answered {status}{}{}; {end}{}", status_text(*status), quoted(message), quoted(excerpt))]
    Rule {
        /// the request, masked
        request: String,
        /// HTTP status
        status: u16,
        /// what the rule says about it
        message: String,
        /// what follows
        end: RuleEnd,
        /// the beginning of the answer
        excerpt: String,
    },
    /// the connection's budget is used up for longer than a run waits
    #[error("{what}; nothing more is sent before {}", at.format("%Y-%m-%d %H:%M:%S UTC"))]
    Parked {
        /// what happened, without secrets
        what: String,
        /// when there is some again
        at: DateTime<Utc>,
    },
    /// a body that is not what `format` says
    #[error("{request}: {problem}")]
    Decode {
        /// the request, masked
        request: String,
        /// what is wrong, and where
        problem: String,
    },
    /// a success that says it failed
    #[error("{request} answered 200 with an error in the body{}", quoted(excerpt))]
    FailedBody {
        /// the request, masked
        request: String,
        /// the beginning of the answer
        excerpt: String,
    },
    /// no records where they should be
    #[error("{request}: {problem}{}", quoted(excerpt))]
    NoRecords {
        /// the request, masked
        request: String,
        /// what is there instead
        problem: String,
        /// the beginning of the answer
        excerpt: String,
    },
    /// a next page whose URL is none
    #[error("{request} names `{url}` as its next page, which is not a URL")]
    NextUrl {
        /// the request, masked
        request: String,
        /// what stands there, without secrets
        url: String,
    },
    /// the pages do not end
    #[error("{0}")]
    Stuck(#[from] Stuck),
    /// a template that fails with the values at hand
    #[error("{place}: {error}")]
    Template {
        /// the words it stands under
        place: &'static str,
        /// what is wrong
        error: TemplateError,
    },
    /// the start of an export that tells no id
    #[error("{request}: there is no id of the job at `{path}`{}", quoted(excerpt))]
    NoJob {
        /// the request, masked
        request: String,
        /// where it should be
        path: String,
        /// the beginning of the answer
        excerpt: String,
    },
    /// an export that has failed
    #[error("{request} says that the job is `{state}`{}", quoted(excerpt))]
    JobFailed {
        /// the request, masked
        request: String,
        /// the state
        state: String,
        /// the beginning of the answer
        excerpt: String,
    },
    /// an export that takes longer than it may
    #[error("the job `{job}` was not done after {}", humantime::format_duration(*timeout))]
    JobTimeout {
        /// its id, without secrets
        job: String,
        /// how long it may take
        timeout: std::time::Duration,
    },
    /// an export with more parts than there is room for
    #[error("the answer tells of more than {max} parts of the result at `{path}`")]
    TooManyParts {
        /// where they stand
        path: String,
        /// parts
        max: usize,
    },
    /// none of many records has a detail, and each that has none counts as deleted
    #[error("none of the {gone} records whose details were asked for has one: nothing is deleted")]
    DetailsGone {
        /// how many
        gone: u64,
        /// the sync, as the command line names it
        sync: String,
    },
    /// an answer without some of the details that were asked for
    #[error("{request} did not tell of {lacks} of the {of} records that it was asked for")]
    DetailMissing {
        /// the request, masked
        request: String,
        /// records without a detail
        lacks: usize,
        /// records in all
        of: usize,
    },
    /// two details where there is a place for one
    #[error("{request} told two details of the record `{key}`")]
    DetailTwice {
        /// the request, masked
        request: String,
        /// what tells the record from others, without secrets
        key: String,
    },
    /// a record that leads further down and does not say where
    #[error("`walk.bind.{name}`: there is nothing at `{path}` of a record that `into` selects")]
    WalkKey {
        /// the name
        name: String,
        /// where it should be
        path: String,
    },
    /// a walk that goes deeper than it may
    #[error("there is more below, deeper than `walk.max_depth`, {max}")]
    TooDeep {
        /// levels
        max: u32,
    },
    /// a walk that leads to more places than a run goes to
    #[error("the walk leads to more than {max} places")]
    TooWide {
        /// places
        max: usize,
    },
    /// a URL that is none
    #[error("the request leads to `{url}`, which is not a URL")]
    Url {
        /// the text, without secrets
        url: String,
    },
    /// what the API should tell of the account is not in its answer
    #[error("`on_connect`: {reason}")]
    Learn {
        /// what is missing
        reason: String,
    },
    /// a record does not fit, and the model says `on_invalid: fail`
    #[error(transparent)]
    Map(#[from] MapError),
    /// the DuckDB file
    #[error(transparent)]
    Store(#[from] store::Error),
    /// the guard refused to delete
    #[error("{}", guarded(*would_delete, *live, *returned))]
    Guarded {
        /// rows that would be deleted
        would_delete: u64,
        /// rows that live
        live: u64,
        /// records that the scan returned
        returned: u64,
        /// the sync, as the command line names it
        sync: String,
        /// the words that set the bound; none where it cannot be set
        bound: Option<&'static str>,
    },
    /// the API does not know the token of a delta feed any more
    #[error("the API does not know the token any more, and gives no list without one either")]
    TokenExpired,
    /// the last page of a delta feed has no token
    #[error("{request}: the last page has no token for the next run")]
    TokenMissing {
        /// the request, masked
        request: String,
    },
    /// the answer to the request for the first token of a delta feed has none
    #[error("{request}: there is no token at `{path}`{}", quoted(excerpt))]
    StartTokenMissing {
        /// the request, masked
        request: String,
        /// where it was looked for
        path: String,
        /// the beginning of the answer, masked
        excerpt: String,
    },
    /// a window cannot be halved any more, and is still too much
    #[error("the window {range} is as short as it may be, and still holds more than the API gives")]
    WindowTooFull {
        /// its first mark and the one behind it
        range: String,
    },
    /// a list that cannot be read later moved under the reader each time
    #[error(
        "the list changed each of the {rounds} times that it was read, so a record may have slipped from one page to another"
    )]
    Restless {
        /// times that it was read
        rounds: u32,
    },
    /// what `for_each` goes over is no list of items
    #[error("`for_each` level `{level}`: {problem}")]
    Items {
        /// the name of the level
        level: String,
        /// what is wrong
        problem: String,
    },
    /// an item of `for_each` has no key
    #[error("an item of `for_each` has no text or number at `{path}`, so nothing tells it from the others")]
    ItemKey {
        /// where it should be
        path: String,
    },
    /// a column is made of the item of `for_each`, of which a record that was kept says nothing
    #[error("a column of `{table}` names `parent`, and a record that was kept does not say which item it came from")]
    ItemUnknown {
        /// `schema.table`
        table: String,
        /// the sync, as the command line names it
        sync: String,
    },
    /// the rows to fan out over are not there
    #[error("`for_each` goes over the rows of `{table}`, and there is no such table yet")]
    NoParents {
        /// `schema.table`
        table: String,
        /// the sync that fills it, as the command line names it
        sync: String,
    },
    /// what an action is called with is not what it takes
    #[error("{problem}")]
    Call {
        /// what is wrong
        problem: String,
        /// what to do
        hint: String,
    },
    /// an event from the API has not what a sync looks for in it
    #[error("{problem}")]
    Event {
        /// what is wrong
        problem: String,
    },
    /// something was changed at the API before an action failed
    #[error("{done} was done, and what followed failed: {why}")]
    AfterDone {
        /// the request, masked
        done: String,
        /// what failed
        why: Box<Error>,
    },
    /// headwater is wrong
    #[error("headwater failed: {0}")]
    Bug(String),
}

/// Why a rule of `errors` ends a request. `Display` is a fragment for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleEnd {
    /// `fail`
    #[error("a rule of `errors` says `fail`")]
    Fail,
    /// `skip_page`, which works only where pages are counted
    #[error("`skip_page` cannot leave it out, because only this answer would tell the next page")]
    PageNeeded,
    /// `skip_page`: the page is left out
    #[error("the page is left out")]
    PageLeftOut,
    /// `skip_partition`: the partition is left out
    #[error("the partition is left out")]
    PartitionLeftOut,
    /// `skip_partition`, of a list that belongs to no partition
    #[error("`skip_partition` cannot leave out a partition, because this list belongs to none")]
    NoPartition,
    /// `refresh_auth`, with a token that was renewed
    #[error("it is so with a new token too")]
    NewTokenRefused,
    /// `reset`: what is remembered is to be forgotten, once
    #[error("it is so without anything that was remembered too")]
    Reset,
    /// `reconnect`
    #[error("a person must connect again")]
    Reconnect,
}

impl From<remote::Error> for Error {
    fn from(error: remote::Error) -> Self {
        Self::Remote(Arc::new(error))
    }
}

impl From<DraftError> for Error {
    fn from(error: DraftError) -> Self {
        match error {
            DraftError::Template { place, error } => Self::Template { place, error },
            DraftError::Url { url } => Self::Url { url },
        }
    }
}

impl Error {
    /// Whether another process has the database, so that it may be had later.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Store(store::Error::Busy { .. } | store::Error::Locked { .. }))
    }

    /// Who can do something about it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Remote(error) if error.is_local() => ErrorKind::User,
            Self::Rule { end: RuleEnd::PageNeeded | RuleEnd::NoPartition | RuleEnd::Reconnect, .. } => ErrorKind::User,
            Self::Remote(_)
            | Self::Status { .. }
            | Self::Rule { .. }
            | Self::Parked { .. }
            | Self::FailedBody { .. }
            | Self::TokenExpired
            | Self::JobFailed { .. }
            | Self::JobTimeout { .. } => ErrorKind::Remote,
            Self::AfterDone { why, .. } => why.kind(),
            Self::Call { .. }
            | Self::Template { .. }
            | Self::Url { .. }
            | Self::Items { .. }
            | Self::TooDeep { .. }
            | Self::TooWide { .. }
            | Self::ItemUnknown { .. }
            | Self::NoParents { .. } => ErrorKind::User,
            Self::Decode { .. }
            | Self::NoRecords { .. }
            | Self::NextUrl { .. }
            | Self::Learn { .. }
            | Self::Event { .. }
            | Self::Stuck(_)
            | Self::Map(_)
            | Self::TokenMissing { .. }
            | Self::StartTokenMissing { .. }
            | Self::ItemKey { .. }
            | Self::WalkKey { .. }
            | Self::DetailMissing { .. }
            | Self::DetailsGone { .. }
            | Self::DetailTwice { .. }
            | Self::NoJob { .. }
            | Self::TooManyParts { .. }
            | Self::Restless { .. }
            | Self::WindowTooFull { .. }
            | Self::Guarded { .. } => ErrorKind::Data,
            Self::Store(
                store::Error::SchemaConflict { .. }
                | store::Error::Missing { .. }
                | store::Error::UnknownTable { .. }
                | store::Error::AmbiguousTable { .. }
                | store::Error::FeedEnded { .. }
                | store::Error::KeyShape { .. }
                | store::Error::UnknownPartition { .. }
                | store::Error::SharedTable { .. }
                | store::Error::NotARead { .. }
                | store::Error::Query { .. },
            ) => ErrorKind::User,
            Self::Store(_) => ErrorKind::Store,
            Self::Bug(_) => ErrorKind::Bug,
        }
    }

    /// Whether what else the sync would ask would fail too.
    pub fn concerns_all(&self) -> bool {
        match self {
            Self::Remote(_) | Self::Store(_) | Self::Bug(_) | Self::Template { .. } | Self::Parked { .. } => true,
            Self::Status { status, .. } => matches!(status, 401 | 403),
            Self::Rule { end, .. } => match end {
                RuleEnd::Fail
                | RuleEnd::NoPartition
                | RuleEnd::NewTokenRefused
                | RuleEnd::Reset
                | RuleEnd::Reconnect => true,
                RuleEnd::PageNeeded | RuleEnd::PageLeftOut | RuleEnd::PartitionLeftOut => false,
            },
            _ => false,
        }
    }

    /// Whether the other partitions of a fan-out could not be read either.
    pub fn concerns_all_partitions(&self) -> bool {
        match self {
            // what is forbidden of one item, or missing in it, need not be so of another
            Self::Status { status: 403, .. } | Self::Template { .. } => false,
            // each partition remembers for itself
            Self::Rule { end: RuleEnd::Reset, .. } => false,
            _ => self.concerns_all(),
        }
    }

    /// Whether a rule of `errors` ended it so.
    pub(super) fn is_rule(&self, which: RuleEnd) -> bool {
        matches!(self, Self::Rule { end, .. } if *end == which)
    }

    /// The same rule, with another end.
    pub(super) fn instead(mut self, of: RuleEnd) -> Self {
        if let Self::Rule { end, .. } = &mut self {
            *end = of;
        }
        self
    }

    /// The stable name of the error, as `headwater.runs.error_code` keeps it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Remote(error) => error.code(),
            Self::Status { .. } => "http_status",
            Self::Rule { end: RuleEnd::Reconnect, .. } => "needs_reconnect",
            Self::Rule { .. } => "error_rule",
            Self::Parked { .. } => "rate_limited",
            Self::Decode { .. } => "not_decodable",
            Self::FailedBody { .. } => "error_in_body",
            Self::NoRecords { .. } => "no_records",
            Self::NextUrl { .. } => "bad_next_url",
            Self::Stuck(Stuck::Cycle { .. }) => "cursor_cycle",
            Self::Stuck(Stuck::PagesMax { .. }) => "pages_max",
            Self::Stuck(Stuck::EmptyPages { .. }) => "empty_pages",
            Self::Stuck(Stuck::NoToken) => "no_token",
            Self::Stuck(Stuck::SamePage { .. }) => "same_page",
            Self::Stuck(Stuck::NoStep) => "no_next_offset",
            Self::TokenExpired => "token_expired",
            Self::TokenMissing { .. } | Self::StartTokenMissing { .. } => "token_missing",
            Self::WindowTooFull { .. } => "window_too_full",
            Self::Template { .. } => "template",
            Self::Url { .. } => "bad_url",
            Self::Learn { .. } => "not_learned",
            Self::Map(_) => "invalid_record",
            Self::Store(_) => "store",
            Self::Guarded { .. } => "deletes_guarded",
            Self::Restless { .. } => "list_kept_changing",
            Self::Items { .. } => "bad_items",
            Self::ItemKey { .. } => "item_key",
            Self::DetailMissing { .. } => "detail_missing",
            Self::DetailsGone { .. } => "deletes_guarded",
            Self::DetailTwice { .. } => "detail_twice",
            Self::NoJob { .. } => "no_job",
            Self::JobFailed { .. } => "job_failed",
            Self::JobTimeout { .. } => "job_timeout",
            Self::TooManyParts { .. } => "too_many_parts",
            Self::WalkKey { .. } => "walk_key",
            Self::TooDeep { .. } => "walk_too_deep",
            Self::TooWide { .. } => "walk_too_wide",
            Self::ItemUnknown { .. } => "item_unknown",
            Self::NoParents { .. } => "no_parents",
            Self::Call { .. } => "bad_call",
            Self::Event { .. } => "bad_event",
            Self::AfterDone { why, .. } => why.code(),
            Self::Bug(_) => "bug",
        }
    }

    /// The HTTP status of the answer that it is about.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::Rule { status, .. } => Some(*status),
            Self::AfterDone { why, .. } => why.status(),
            _ => None,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Remote(error) => return error.hint(),
            // said first: a 403 can be a used-up rate limit as well as a lack of rights
            Self::Status { reason: GiveUpReason::AttemptsUsed { .. }, .. } => {
                "the next run goes on behind the last committed page".into()
            }
            Self::Parked { .. } => {
                "the next run goes on behind the last committed page; `rate_limit.wait_max` says how long a run waits".into()
            }
            Self::Rule { end, .. } => return rule_hint(*end).map(str::to_owned),
            Self::Status { status: 401 | 403, .. } => {
                "check the credentials of the connection and what they are allowed to do".into()
            }
            Self::Status { status: 404 | 410, .. } => "check `base_url` and the path of the request".into(),
            Self::Status { status: 400 | 422, .. } => {
                "check what the request sends; `headwater dry-run` shows it for a sync, `headwater explain` for an action".into()
            }
            Self::Status { .. } => "the next run goes on behind the last committed page".into(),
            Self::Decode { .. } => "`headwater dry-run` shows the request; check `base_url` and the path".into(),
            Self::FailedBody { .. } => {
                "check the credentials, and what the request sends: `headwater dry-run` shows it for a sync, `headwater explain` for an action".into()
            }
            Self::NoRecords { .. } => {
                "check `response.records`; where the API leaves the list out when it is empty, say `optional: true`"
                    .into()
            }
            Self::NextUrl { .. } => "check where `pagination` takes the URL of the next page from".into(),
            Self::Stuck(stuck) => stuck.hint().into(),
            Self::Template { .. } | Self::Url { .. } => return None,
            Self::Map(error) => error.hint().into(),
            Self::Store(error) => return error.hint(),
            Self::Guarded { sync, bound, .. } => {
                accept(sync) + &bound.map(|bound| format!("; the bound is `{bound}`")).unwrap_or_default()
            }
            Self::TokenExpired => "check `incremental.token.expired`: what was asked for instead was answered so too".into(),
            Self::Learn { .. } => "check `save` under `on_connect` of the provider".into(),
            Self::TokenMissing { .. } => {
                "check `incremental.token.from`; where the token stands in a page before the last, the path is right and the paging is not".into()
            }
            Self::StartTokenMissing { .. } => "check `incremental.token.start.from`: it is a path into the answer of `request` beside it".into(),
            Self::WindowTooFull { .. } => "make `incremental.window.split.min` shorter, or page through the window".into(),
            Self::Restless { .. } => {
                "the next run reads it again; ask for an order that does not change (by id, or by when it was created), or for cursors".into()
            }
            Self::Items { .. } => "an item is a text, a number, or a map with `key`".into(),
            Self::ItemKey { .. } => "check `key` of the `list`".into(),
            Self::NoJob { .. } => "check `job.id`: it is a path into the answer of `create`".into(),
            Self::TooManyParts { .. } => "check the path under `job.download`; ask for larger parts, or for less at once".into(),
            Self::JobFailed { .. } => "the next run starts another one".into(),
            Self::JobTimeout { .. } => "the next run starts another one; `job.poll.timeout` says how long one may take".into(),
            Self::DetailTwice { .. } => "say `detail: { list: true }` if a record has several; check `detail.key` if not".into(),
            Self::DetailMissing { .. } => {
                "say what that means: `detail: { on_404: delete }`, or `skip`; check `detail.key` if all are missing".into()
            }
            Self::DetailsGone { sync, .. } => format!("check the path of `detail.request`; {}", accept(sync)),
            Self::WalkKey { .. } => "check the path, and which records `into` selects".into(),
            Self::TooDeep { .. } => "raise `walk.max_depth` if the API really is that deep".into(),
            Self::TooWide { .. } => {
                "the next run goes on with the others; if there cannot be so many, check that `walk.bind` is the same each time for the same place".into()
            }
            Self::ItemUnknown { sync, .. } => format!("read the records again: `headwater run {sync} --full`"),
            Self::NoParents { sync, .. } => format!("run that sync first: `headwater run {sync}`"),
            Self::Event { .. } => "check the path under `on_webhook` of the sync".into(),
            Self::Call { hint, .. } => hint.clone(),
            Self::AfterDone { why, .. } => match why.hint() {
                Some(hint) => format!("look what the API has before calling it again; {hint}"),
                None => "look what the API has before calling it again".into(),
            },
            Self::Bug(_) => "please report it with the command and the output".into(),
        })
    }
}

/// How a person says that rows really are gone.
fn accept(sync: &str) -> String {
    format!("if they really are gone: `headwater run {sync} --accept-deletes`")
}

/// What to do next where a rule of `errors` ended something.
fn rule_hint(end: RuleEnd) -> Option<&'static str> {
    Some(match end {
        RuleEnd::PageNeeded => "say `skip_page` where `pagination` counts (`page`, `offset`)",
        RuleEnd::NoPartition => "say `skip_page` or `empty` for lists of a sync without `for_each`",
        RuleEnd::NewTokenRefused => "check what the credentials of the connection are allowed to do",
        RuleEnd::Reconnect => "connect again with credentials that are valid",
        RuleEnd::Fail | RuleEnd::PageLeftOut | RuleEnd::PartitionLeftOut | RuleEnd::Reset => return None,
    })
}

fn quoted(excerpt: &str) -> String {
    if excerpt.is_empty() { String::new() } else { format!(": {excerpt}") }
}

fn status_text(status: u16) -> String {
    reqwest::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .map(|reason| format!(" {reason}"))
        .unwrap_or_default()
}

fn guarded(would_delete: u64, live: u64, returned: u64) -> String {
    if returned == 0 {
        format!("the API returned no record at all, and {live} rows would be deleted; nothing was")
    } else {
        format!("{would_delete} of {live} rows would be deleted, more than the guard allows; nothing was")
    }
}
