//! What a sync is like: each combination of pagination, incremental order and deletes, and its YAML.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use headwater::diagnostic::{Severity, Source};
use headwater::plan::{Compiled, Input, Known, SyncPlan, compile};
use headwater::spec::schema::Kind;

/// Seconds that windows keep away from now.
pub const LAG: i64 = 15;

/// How a list is paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paging {
    None,
    LinkPages,
    LinkKeys,
    NextUrlPages,
    NextUrlKeys,
    Cursor,
    LastRecord,
    Offset,
    OffsetTotal,
    Page,
    PageTotal,
    PageTotalPages,
    Relay,
}

impl Paging {
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::LinkPages,
        Self::LinkKeys,
        Self::NextUrlPages,
        Self::NextUrlKeys,
        Self::Cursor,
        Self::LastRecord,
        Self::Offset,
        Self::OffsetTotal,
        Self::Page,
        Self::PageTotal,
        Self::PageTotalPages,
        Self::Relay,
    ];

    /// A page is a stretch of the list, and not what stands behind a key.
    pub fn by_position(self) -> bool {
        use Paging::{LinkPages, NextUrlPages, Offset, OffsetTotal, Page, PageTotal, PageTotalPages};
        matches!(self, LinkPages | NextUrlPages | Offset | OffsetTotal | Page | PageTotal | PageTotalPages)
    }

    /// Pages are asked for by a number or an offset.
    pub fn is_counted(self) -> bool {
        self.by_position() && !matches!(self, Self::LinkPages | Self::NextUrlPages)
    }

    /// What came is counted to know where the next page is, or the end.
    pub fn counts_records(self) -> bool {
        matches!(self, Self::Offset | Self::OffsetTotal | Self::PageTotal)
    }

    /// The API says how many records there are.
    pub fn tells_total(self) -> bool {
        matches!(self, Self::OffsetTotal | Self::PageTotal)
    }
}

/// What makes a sync incremental.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Incremental {
    None,
    Ascending,
    Descending,
    Unordered,
    Window,
    StopAtWatermark,
    ClientFilter,
    Token,
}

impl Incremental {
    pub const ALL: [Self; 8] = [
        Self::None,
        Self::Ascending,
        Self::Descending,
        Self::Unordered,
        Self::Window,
        Self::StopAtWatermark,
        Self::ClientFilter,
        Self::Token,
    ];

    /// The API is asked for what is not older than the watermark.
    pub fn asks(self) -> bool {
        matches!(self, Self::Ascending | Self::Descending | Self::Unordered)
    }
}

/// What tells that a record is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletes {
    None,
    Absence,
    Flag,
    AbsenceWindow,
    Feed,
    Sweep,
}

impl Deletes {
    pub const ALL: [Self; 6] = [Self::None, Self::Absence, Self::Flag, Self::AbsenceWindow, Self::Feed, Self::Sweep];
}

/// A combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub paging: Paging,
    pub incremental: Incremental,
    pub deletes: Deletes,
    pub budget: Option<&'static str>,
    pub size: usize,
    /// an empty list may empty the table
    pub allow_empty: bool,
}

impl Shape {
    /// What `check` allows, out of its rules: absence needs scans that return all there is.
    pub fn is_legal(&self) -> bool {
        match self.deletes {
            Deletes::Absence => self.incremental == Incremental::None,
            Deletes::AbsenceWindow => self.incremental == Incremental::Window,
            Deletes::None | Deletes::Flag | Deletes::Feed | Deletes::Sweep => true,
        }
    }

    /// All pages are of one list, so that the number of those that are committed says where a run goes on.
    pub fn is_one_list(&self) -> bool {
        self.incremental != Incremental::Window && !matches!(self.deletes, Deletes::Feed | Deletes::Sweep)
    }

    /// All combinations.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for paging in Paging::ALL {
            for incremental in Incremental::ALL {
                for deletes in Deletes::ALL {
                    for budget in [None, Some("max_requests"), Some("max_records")] {
                        all.push(Self { paging, incremental, deletes, budget, size: 2, allow_empty: false });
                    }
                }
            }
        }
        all
    }

    /// The words of the sync.
    pub fn sync(&self) -> String {
        let size = self.size;
        let mut query = String::new();
        match self.incremental {
            Incremental::Window => query += "from: '{{ window.start }}', to: '{{ window.end }}'",
            Incremental::Ascending => query += "sort: oldest, since: '{{ watermark }}'",
            Incremental::Descending => query += "sort: newest, since: '{{ watermark }}'",
            Incremental::Unordered => query += "since: '{{ watermark }}'",
            Incremental::StopAtWatermark => query += "sort: newest",
            Incremental::Token => query += "token: '{{ watermark }}'",
            Incremental::None | Incremental::ClientFilter => {}
        }
        let request = if self.paging == Paging::Relay {
            format!("{{ post: /items, body: {{ graphql: {{ query: 'query sort', variables: {{ {query} }} }} }} }}")
        } else {
            format!("{{ get: /items, query: {{ {query} }} }}")
        };
        let records = if self.paging == Paging::Relay { "$.data.items.edges[*].node" } else { "$.items[*]" };
        let pagination = match self.paging {
            Paging::None => "none: {}".to_owned(),
            Paging::LinkPages | Paging::LinkKeys => "link: {}".to_owned(),
            Paging::NextUrlPages | Paging::NextUrlKeys => "next_url: { from: $.next }".to_owned(),
            Paging::Cursor => "cursor: { from: $.next, query: after }".to_owned(),
            Paging::LastRecord => "cursor: { last_record: $.place, query: after }".to_owned(),
            Paging::Offset => format!("offset: {{ query: offset, limit: {size} }}"),
            Paging::OffsetTotal => format!("offset: {{ query: offset, limit: {size}, total: $.total }}"),
            Paging::Page => format!("page: {{ query: page, size: {size} }}"),
            Paging::PageTotal => "page: { query: page, total: $.total }".to_owned(),
            Paging::PageTotalPages => "page: { query: page, total_pages: $.pages }".to_owned(),
            Paging::Relay => format!("relay: {{ page_info: $.data.items.pageInfo, first: first, size: {size} }}"),
        };
        let field = if self.deletes == Deletes::AbsenceWindow { "$.created_at" } else { "$.at" };
        let incremental = match self.incremental {
            Incremental::None => String::new(),
            Incremental::Ascending => format!("{{ field: {field}, order: ascending }}"),
            Incremental::Descending => format!("{{ field: {field}, order: descending }}"),
            Incremental::Unordered => format!("{{ field: {field} }}"),
            Incremental::Window => {
                let back = if self.deletes == Deletes::AbsenceWindow { ", lookback: 1d" } else { "" };
                format!(
                    "{{ field: {field}, start: '2024-04-30T23:58:00Z'{back}, window: {{ size: 300s, lag: {LAG}s }} }}"
                )
            }
            Incremental::StopAtWatermark => {
                format!("{{ field: {field}, order: descending, stop_at_watermark: true }}")
            }
            Incremental::ClientFilter => format!("{{ field: {field}, client_filter: true }}"),
            Incremental::Token => "{ token: { from: $.token, expired: { status: 410 } } }".to_owned(),
        };
        let guard = format!("guard: {{ allow_empty: {} }}", self.allow_empty);
        let deletes = match self.deletes {
            Deletes::None => String::new(),
            Deletes::Absence => format!("absence: {{ {guard} }}"),
            Deletes::Flag => "flag: { when: '$[?@.deleted == true]' }".to_owned(),
            Deletes::AbsenceWindow => format!("absence: {{ scope: window, {guard} }}"),
            Deletes::Feed => "feed: { request: { get: /deleted, query: { since: '{{ watermark }}' } }, \
                              response: { records: '$.items[*]' }, key: { id: $.id }, field: $.at }"
                .to_owned(),
            Deletes::Sweep => format!(
                "sweep: {{ request: {{ get: /ids }}, response: {{ records: '$.items[*]' }}, key: {{ id: $.id }}, every: 1s, {guard} }}"
            ),
        };
        let mut text = format!(
            "sync: items\nmodel: Item\nrequest: {request}\nresponse: {{ records: '{records}' }}\npagination: {{ {pagination} }}\n"
        );
        for (key, value) in [("incremental", incremental), ("deletes", deletes)] {
            if !value.is_empty() {
                let value = if key == "deletes" { format!("{{ {value} }}") } else { value };
                writeln!(text, "{key}: {value}").expect("text");
            }
        }
        if let Some(budget) = self.budget {
            writeln!(text, "{budget}: 3").expect("text");
        }
        text
    }

    /// What `compile` makes of it, for a connection of this name to an API at this URL.
    pub fn compile(&self, connection: &str, url: &str) -> Compiled {
        let input = |name: &str, kind, text: &str| Input {
            source: Arc::new(Source::new(name, text.as_bytes())),
            kind,
            integration: Some("api".to_owned()),
            builtin: false,
            stray: false,
        };
        let inputs = [
            input(
                "headwater.yaml",
                Kind::Project,
                &format!("database: x.duckdb\nconnections: {{ {connection}: {{ provider: api }} }}"),
            ),
            input(
                "api.yaml",
                Kind::Provider,
                &format!(
                    "provider: api\nbase_url: {url}\ntimeout: {{ request: 2s }}\n\
                     retry: {{ attempts: 3, backoff: {{ base: 1ms, max: 1ms }} }}"
                ),
            ),
            input("items.yaml", Kind::Sync, &self.sync()),
            input("Item.yaml", Kind::Model, MODEL),
        ];
        compile(&inputs, Path::new("."), &Known::default())
    }

    /// Its plan.
    pub fn plan(&self, connection: &str, url: &str) -> Arc<SyncPlan> {
        let compiled = self.compile(connection, url);
        let wrong: Vec<_> = compiled.diagnostics.iter().filter(|one| one.severity == Severity::Error).collect();
        assert!(wrong.is_empty(), "{}\n{wrong:#?}", self.sync());
        Arc::clone(&compiled.plan.expect("a plan").syncs[0])
    }
}

const MODEL: &str = "model: Item
table: items
key: [id]
columns:
  id: { path: $.id, type: bigint }
  value: { path: $.value, type: bigint }
  made: { path: $.created_at, type: timestamptz }";
