//! What the engine will do. Specs go in, a [`Plan`] comes out: names resolved, templates and paths parsed, types decided, bounds set.
//! An invalid plan cannot be built, and nothing is checked again later.

pub mod limits;

mod action;
mod api;
mod auth;
mod catalogue;
mod column_type;
mod columns_from;
mod compile;
mod connection;
mod deletes;
mod incremental;
mod lint;
mod listing;
mod model;
mod moment;
mod paging;
mod partition;
mod path;
mod place;
mod provider;
mod read;
mod rehearsal;
mod request;
mod row_schema;
mod schedule;
mod select;
mod shown;
mod sync;
mod table;
mod template;
mod test;
mod variables;
mod variants;
mod webhook;
mod words;
mod zone;

pub use column_type::ColumnType;
pub use compile::{Compiled, Input, ProviderForm, compile};
pub use listing::{ActionEntry, ColumnEntry, ProviderEntry, SyncEntry, TableEntry, WayEntry};
pub use model::*;
pub use moment::{Moment, Span};
pub use path::{Path, PathForm, Step};
pub use place::NOT_YET;
pub use row_schema::{Breach, RowSchema};
pub use schedule::Calendar;
pub use select::UnknownSelector;
pub use shown::ShownFile;
pub use template::{Template, TemplateError, hex, percent_encoded};
pub use words::is_secret_name;
pub use zone::Zone;
#[cfg(test)]
pub(crate) use zone::tests::zones;
