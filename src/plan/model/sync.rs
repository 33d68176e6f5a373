use std::sync::Arc;
use std::time::Duration;

use crate::plan::request::request_names;
use crate::plan::{
    Calendar, ColumnPlan, ColumnSource, ColumnType, ConnectionPlan, DetailPlan, ErrorRule, JobPlan, ListPlan,
    ModelPlan, OnWebhook, PartitionPlan, Path, Predicate, RequestPlan, Span, Template, WalkPlan, Zone,
};

/// Who a sync is: the identity of its state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SyncId {
    /// the connection's name
    pub connection: String,
    /// the provider's name; also the DuckDB schema of its tables
    pub provider: String,
    /// the sync's name
    pub sync: String,
    /// the variant's name, empty for the only one
    pub variant: String,
}

impl std::fmt::Display for SyncId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.connection, self.sync)?;
        if !self.variant.is_empty() {
            write!(f, "@{}", self.variant)?;
        }
        Ok(())
    }
}

/// One sync of one connection, ready to run.
#[derive(Debug, Clone)]
pub struct SyncPlan {
    /// who it is
    pub id: SyncId,
    /// one sentence for people
    pub description: Option<String>,
    /// where it goes
    pub connection: Arc<ConnectionPlan>,
    /// when it runs by itself
    pub schedule: Schedule,
    /// what it fills; the first of several
    pub model: Arc<ModelPlan>,
    /// the models it fills out of the same answers; empty where there is one
    pub outputs: Vec<OutputPlan>,
    /// the list of its records: the request of each page (with a `job`, the one that starts it), where the records stand, how it is paged
    pub list: Arc<ListPlan>,
    /// an export that is waited for
    pub job: Option<JobPlan>,
    /// what an answer means that is no success; the provider's rules come behind these
    pub errors: Vec<ErrorRule>,
    /// only what changed since
    pub incremental: Option<IncrementalPlan>,
    /// a delta feed
    pub token: Option<TokenFeed>,
    /// the list that tells what changed: `list` is read once, before it; none = one list does both
    pub changes: Option<Arc<ListPlan>>,
    /// what tells that a record is gone
    pub deletes: DeletePlan,
    /// the request once for each item
    pub partitions: Option<PartitionPlan>,
    /// lists in lists
    pub walk: Option<WalkPlan>,
    /// more requests for each record, one after the other
    pub details: Vec<DetailPlan>,
    /// what is done with events
    pub on_webhook: Vec<OnWebhook>,
    /// actions write records into its tables too
    pub saved: bool,
    /// where a run stops
    pub budget: Budget,
    /// the sync's parameters for this connection
    pub input: serde_json::Value,
    /// changes when the request, paging or incremental words change: state of another fingerprint is not resumed
    pub fingerprint: u64,
}

impl SyncPlan {
    /// A sync that reads one list into one table and nothing more: it does not run by itself, reads everything each time, and deletes nothing.
    pub fn of_list(id: SyncId, connection: Arc<ConnectionPlan>, model: Arc<ModelPlan>, list: ListPlan) -> Self {
        Self {
            id,
            description: None,
            connection,
            schedule: Schedule::Manual,
            model,
            outputs: Vec::new(),
            list: Arc::new(list),
            job: None,
            errors: Vec::new(),
            incremental: None,
            token: None,
            changes: None,
            deletes: DeletePlan::None,
            partitions: None,
            walk: None,
            details: Vec::new(),
            on_webhook: Vec::new(),
            saved: false,
            budget: Budget::default(),
            input: serde_json::Value::Null,
            fingerprint: 0,
        }
    }

    /// How its range is cut into windows, if it is.
    pub fn windows(&self) -> Option<(&IncrementalPlan, &WindowPlan)> {
        self.incremental.as_ref().and_then(|incremental| Some((incremental, incremental.window.as_ref()?)))
    }

    /// Whether a scan returns only what has changed since the one before.
    pub fn reads_changes(&self) -> bool {
        self.incremental.is_some() || self.token.is_some()
    }

    /// The models that it fills: one, or those of its outputs.
    pub fn models(&self) -> impl Iterator<Item = &Arc<ModelPlan>> {
        let one = self.outputs.is_empty().then_some(&self.model);
        one.into_iter().chain(self.outputs.iter().map(|output| &output.model))
    }

    /// The records that become rows of each of them, where not all of the answer do, and which of those.
    pub fn shares(&self) -> impl Iterator<Item = (&[Path], Option<&Predicate>)> {
        let all: &[Path] = &[];
        let one = self.outputs.is_empty().then_some((all, None));
        one.into_iter().chain(self.outputs.iter().map(|output| (&output.records[..], output.filter.as_ref())))
    }

    /// The tables that it fills, those of nested lists too.
    pub fn tables(&self) -> Vec<Arc<ModelPlan>> {
        self.models().flat_map(ModelPlan::tables).cloned().collect()
    }

    /// The order in which the API lists its records.
    pub fn order(&self) -> Order {
        self.incremental.as_ref().map_or(Order::None, |incremental| incremental.order)
    }

    /// Whether the list of `deletes` is another one for each partition.
    pub fn deletes_name_parent(&self) -> bool {
        let list = match &self.deletes {
            DeletePlan::Feed(feed) => &feed.list,
            DeletePlan::Sweep(sweep) => &sweep.list,
            DeletePlan::None | DeletePlan::Absence { .. } | DeletePlan::Flag { .. } | DeletePlan::Webhook => {
                return false;
            }
        };
        request_names(&list.request, "parent")
    }

    /// The zone whose clock the API goes by.
    pub fn zone(&self) -> Zone {
        self.incremental.as_ref().map_or(Zone::UTC, IncrementalPlan::clock)
    }

    /// The zone in which a column's times without an offset are read, where one is said: that of the incremental field, so that the column
    /// says the same as the watermark.
    pub fn zone_of(&self, column: &ColumnPlan) -> Option<Zone> {
        let incremental = self.incremental.as_ref()?;
        let is_field = matches!(&column.source, ColumnSource::Path(path) if path.text() == incremental.field.text());
        incremental.zone.filter(|_| is_field)
    }

    /// The position of the column of a model that says which of two records is the newer one, if there is one.
    pub fn age_column(&self, model: &ModelPlan) -> Option<usize> {
        let incremental = self.incremental.as_ref()?;
        let column = model.column_of(&incremental.field)?;
        // digits in a text would be compared as text
        let is_text = matches!(model.columns[column].column_type, ColumnType::Varchar);
        (incremental.kind == MarkKind::Text || !is_text).then_some(column)
    }

    /// The position of the column that holds the incremental field.
    pub fn mark_column(&self) -> Option<usize> {
        self.model.column_of(&self.incremental.as_ref()?.field)
    }
}

/// Only what changed since.
#[derive(Debug, Clone)]
pub struct IncrementalPlan {
    /// where it stands in the record
    pub field: Path,
    /// what it is
    pub kind: MarkKind,
    /// how a time is written
    pub format: TimeFormat,
    /// the zone of times without an offset; none = nothing is said, and such times are read only where `format` leaves the offset out
    pub zone: Option<Zone>,
    /// what the API promises
    pub order: Order,
    /// the first watermark, rendered at the start of the first run; none = from the beginning
    pub start: Option<Template>,
    /// re-read this far behind the watermark
    pub lookback: Duration,
    /// the range is cut into windows
    pub window: Option<WindowPlan>,
    /// a list that is newest first is read only as far as the watermark
    pub stop_at_watermark: bool,
    /// what is older is dropped here
    pub client_filter: bool,
    /// a watermark that is older starts over
    pub max_age: Option<Duration>,
}

impl IncrementalPlan {
    /// The zone whose clock the API goes by: UTC where nothing is said.
    pub fn clock(&self) -> Zone {
        self.zone.unwrap_or(Zone::UTC)
    }
}

/// How the range from the watermark to now is cut into half-open windows.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    /// more than zero
    pub size: Span,
    /// the API's own resolution
    pub granularity: Duration,
    /// nothing nearer to now is read
    pub lag: Duration,
    /// a window is halved when this holds for `response`, down to the least length
    pub split: Option<(Template, Span)>,
    /// windows that are read at once
    pub concurrency: usize,
}

/// A delta feed: the token that the API gives stands for everything up to it.
#[derive(Debug, Clone)]
pub struct TokenFeed {
    /// where it stands in the answer of the last page
    pub from: Path,
    /// a last page without one says that nothing is new: the token that was asked with stays
    pub optional: bool,
    /// what gives the first one, before everything is read; none = the last page of that does
    pub start: Option<StartToken>,
    /// the status, and what must hold of `response`, that say that it is not known any more
    pub expired: Option<(u16, Option<Template>)>,
    /// a token that is older starts over
    pub max_age: Option<Duration>,
}

/// The request that gives the first token of a delta feed.
#[derive(Debug, Clone)]
pub struct StartToken {
    /// it is sent before everything is read
    pub request: RequestPlan,
    /// where the token stands in its answer
    pub from: Path,
}

/// When a sync runs by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// never
    Manual,
    /// this long after it began
    Every(Duration),
    /// by the calendar
    Cron(Box<Calendar>),
}

/// One of several models that a scan fills.
#[derive(Debug, Clone)]
pub struct OutputPlan {
    /// the model
    pub model: Arc<ModelPlan>,
    /// union of these, in order; empty = those of the response
    pub records: Vec<Path>,
    /// records that do not match are not records of this output
    pub filter: Option<Predicate>,
}

/// Where a run stops, to be continued by the next one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget {
    /// after this long
    pub runtime: Option<Duration>,
    /// after so many requests
    pub requests: Option<u64>,
    /// after so many records
    pub records: Option<u64>,
}

/// What a watermark is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// a moment
    Timestamp,
    /// a day
    Date,
    /// a whole number
    Integer,
    /// text that sorts
    Text,
}

/// How a time is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TimeFormat {
    /// RFC 3339 (and ISO 8601 with a space)
    Rfc3339,
    /// seconds since 1970-01-01T00:00:00Z
    EpochS,
    /// milliseconds
    EpochMs,
    /// microseconds
    EpochUs,
    /// strftime directives
    Custom(String),
}

/// The order in which an API lists records by the incremental field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// oldest first: the watermark moves with every committed page
    Ascending,
    /// newest first
    Descending,
    /// no promise
    None,
}

/// What tells that a record is gone.
#[derive(Debug, Clone)]
pub enum DeletePlan {
    /// nothing does
    None,
    /// a row that a proven complete scan did not return
    Absence {
        /// among which rows
        scope: Scope,
        /// the rows of a partition that is gone are deleted
        gone_partitions: bool,
        /// what keeps a wrong answer from emptying a table
        guard: Guard,
    },
    /// the record says so itself
    Flag {
        /// when it is deleted
        when: Predicate,
        /// since when; none = when it was seen
        at: Option<Path>,
        /// the rows of a partition that is gone are deleted
        gone_partitions: bool,
        /// what keeps a wrong answer from emptying a table
        guard: Guard,
    },
    /// an endpoint lists what was deleted
    Feed(Box<FeedPlan>),
    /// a list of all ids is read now and then
    Sweep(Box<SweepPlan>),
    /// only events tell it
    Webhook,
}

impl DeletePlan {
    /// Whether the rows of a partition that is gone are deleted.
    pub fn gone_partitions(&self) -> bool {
        match self {
            Self::Absence { gone_partitions, .. } | Self::Flag { gone_partitions, .. } => *gone_partitions,
            Self::Feed(feed) => feed.gone_partitions,
            Self::Sweep(sweep) => sweep.gone_partitions,
            Self::None | Self::Webhook => false,
        }
    }

    /// What keeps a wrong answer from emptying a table.
    pub fn guard(&self) -> Guard {
        match self {
            Self::Absence { guard, .. } | Self::Flag { guard, .. } => *guard,
            Self::Feed(feed) => feed.guard,
            Self::Sweep(sweep) => sweep.guard,
            Self::None | Self::Webhook => Guard::DEFAULT,
        }
    }
}

/// Among which rows a scan finds out what is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// all rows
    All,
    /// the rows of a window
    Window,
    /// the rows of a partition
    Partition,
}

/// An endpoint that lists what was deleted.
#[derive(Debug, Clone)]
pub struct FeedPlan {
    /// how it is asked
    pub list: Arc<ListPlan>,
    /// position of a key column in the model, and where its value stands in the entry
    pub key: Vec<(usize, Path)>,
    /// where the time of the deletion stands, and how it is written; the feed's watermark
    pub field: Option<(Path, TimeFormat)>,
    /// the rows of a partition that is gone are deleted
    pub gone_partitions: bool,
    /// what keeps a wrong answer from emptying a table
    pub guard: Guard,
}

/// A list of all ids that is read now and then.
#[derive(Debug, Clone)]
pub struct SweepPlan {
    /// how it is asked
    pub list: Arc<ListPlan>,
    /// position of a key column in the model, and where its value stands in the entry
    pub key: Vec<(usize, Path)>,
    /// how often at most
    pub every: Duration,
    /// the rows of a partition that is gone are deleted
    pub gone_partitions: bool,
    /// what keeps a wrong answer from emptying a table
    pub guard: Guard,
}

/// The bound on one scan's deletes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// of the live rows, 0 to 1
    pub max_fraction: f64,
    /// tables with fewer live rows are not guarded by the fraction
    pub min_rows: u64,
    /// a scan that returned no record at all may delete
    pub allow_empty: bool,
}

impl Guard {
    /// Where the words of a sync say nothing.
    pub const DEFAULT: Self = Self { max_fraction: 0.3, min_rows: 100, allow_empty: false };
}
