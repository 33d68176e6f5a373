//! Rows mapped again from the records that stand beside them (`raw: true`), in parts that fit into memory.
//!
//! A part is a range of change numbers: each row has one of its own, and a row that is written gets a new one behind all parts. So every row
//! is met once, whatever is written meanwhile.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use duckdb::{Connection, params};

use super::error::Error;
use super::merge::spanned;
use super::outbox::{self, ModelChanges};
use super::sql::Table;
use super::tables::table_of;
use super::writer::Store;
use super::{children, merge, quarantine, stage};
use crate::plan::{ModelPlan, SyncId, limits};
use crate::record::Batch;

#[expect(clippy::cast_possible_wrap, reason = "a bound far below 2^63")]
/// Rows of one part; few in tests, so that these go through several.
const ROWS_MAX: i64 = if cfg!(test) { 3 } else { limits::REMAP_ROWS_MAX as i64 };
#[expect(clippy::cast_possible_wrap, reason = "a bound far below 2^63")]
/// Bytes of the records of one part.
const BYTES_MAX: i64 = if cfg!(test) { 200 } else { limits::REMAP_BYTES_MAX as i64 };

/// The rows of a sync whose records can be mapped again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptRows {
    /// rows that live and have their record
    pub rows: u64,
    /// rows that live and have none
    pub without: u64,
    /// what to read at once: the first and last change number, in their order
    pub parts: Vec<(i64, i64)>,
}

/// Records of the table itself, mapped again.
#[derive(Debug)]
pub struct RemapGroup {
    /// which sync
    pub id: SyncId,
    /// what names the command in `headwater.quarantine`
    pub run_id: String,
    /// whose rows
    pub model: Arc<ModelPlan>,
    /// the rows, and the records that no longer fit
    pub batch: Batch,
    /// the time of the commit
    pub now: DateTime<Utc>,
}

/// What a remap of some rows did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Remapped {
    /// rows with another value now
    pub updated: u64,
    /// rows that are as they were
    pub unchanged: u64,
    /// rows whose record no longer fits: they stay as they were, the record is in quarantine
    pub quarantined: u64,
    /// rows whose record now has another key, or of whose record a secret was masked: they stay as they were
    pub left: u64,
    /// the first change number given out
    pub change_from: Option<i64>,
    /// the last change number given out
    pub change_to: Option<i64>,
}

impl Store {
    /// The rows of a sync's connection and variant that can be mapped again.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn kept_rows(&mut self, id: &SyncId, model: &ModelPlan) -> Result<KeptRows, Error> {
        let db = self.attached()?;
        let rows = Rows { db, table: table_of(model), id };
        let (with, without, lowest, highest) = rows.extent()?;
        let mut found = KeptRows { rows: with, without, parts: Vec::new() };
        if with > 0 {
            let mut parts = Vec::new();
            rows.divide(lowest, highest, ROWS_MAX, &mut parts)?;
            found.parts = joined(parts);
        }
        Ok(found)
    }

    /// The records of one of the parts that [`Store::kept_rows`] has given, as JSON, in the order of their rows' last changes.
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn kept_records(&mut self, id: &SyncId, model: &ModelPlan, part: (i64, i64)) -> Result<Vec<String>, Error> {
        let failed = || Error::database("read the records of rows");
        let select = format!(
            "SELECT CAST(_raw AS VARCHAR) FROM {} WHERE {KEPT} AND _change BETWEEN ? AND ? ORDER BY _change",
            table_of(model)
        );
        let mut statement = self.attached()?.prepare(&select).map_err(failed())?;
        statement
            .query_map(params![id.connection, id.variant, part.0, part.1], |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(failed())
    }

    /// Gives rows the values that were mapped from their records. A row neither comes nor goes by it, and what a sync remembers stays as it is.
    ///
    /// # Errors
    /// Nothing is committed then; the store can be used on.
    pub fn remap(&mut self, group: RemapGroup) -> Result<Remapped, Error> {
        let RemapGroup { id, run_id, model, batch, now } = group;
        let mut batches = [batch];
        let staged = stage::stage_keys(self.connection(), &model, &batches)?;
        let told = Arc::clone(&self.told);
        let done = self.transaction("commit the rows", |db| {
            let quarantined = quarantine::update_kept(db, &model, &id, &staged, &batches, &run_id, now)?;
            let (merged, found) = merge::remap(db, &model, &id, &mut batches, &staged, now)?;
            let of_items = children::replace(db, &model, &id, (&staged, &mut batches), &run_id, now)?;
            let changes = spanned(merged.changes, of_items);
            let of_model = ModelChanges { updated: merged.updated, changes, ..ModelChanges::default() };
            outbox::note_changes(db, &told, &id, (&run_id, &model.name), &of_model)?;
            let (change_from, change_to) = changes.unzip();
            let left = staged.rows + staged.duplicates - found;
            let (updated, unchanged) = (merged.updated, merged.unchanged);
            Ok(Remapped { updated, unchanged, quarantined, left, change_from, change_to })
        });
        let dropped = stage::drop(self.connection(), stage::KEYS);
        let done = done?;
        dropped?;
        Ok(done)
    }
}

/// The rows that are mapped again. Deleted ones keep the values they last had.
const KEPT: &str = "_connection = ? AND _variant = ? AND _deleted_at IS NULL AND _raw IS NOT NULL";

/// The rows of one connection and variant.
struct Rows<'a> {
    db: &'a Connection,
    table: Table,
    id: &'a SyncId,
}

/// A range of change numbers with its rows and the bytes of their records.
struct Part {
    first: i64,
    last: i64,
    rows: i64,
    bytes: i64,
}

impl Rows<'_> {
    /// Living rows with their record and without it, and the range of the change numbers of the former.
    fn extent(&self) -> Result<(u64, u64, i64, i64), Error> {
        let select = format!(
            "SELECT count(_raw), count(*) FILTER (_raw IS NULL), coalesce(min(_change) FILTER (_raw IS NOT NULL), 0), \
             coalesce(max(_change) FILTER (_raw IS NOT NULL), 0) \
             FROM {} WHERE _connection = ? AND _variant = ? AND _deleted_at IS NULL",
            self.table
        );
        self.db
            .query_row(&select, params![self.id.connection, self.id.variant], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .map_err(Error::database("count the rows with a record"))
    }

    /// Divides a range into parts of `width` change numbers, and those whose records are too large further.
    fn divide(&self, first: i64, last: i64, width: i64, parts: &mut Vec<Part>) -> Result<(), Error> {
        let failed = || Error::database("divide the rows");
        let select = format!(
            "SELECT (_change - ?) // ? AS part, count(*), CAST(sum(strlen(CAST(_raw AS VARCHAR))) AS BIGINT) FROM {} \
             WHERE {KEPT} AND _change BETWEEN ? AND ? GROUP BY part ORDER BY part",
            self.table
        );
        let mut statement = self.db.prepare(&select).map_err(failed())?;
        let found: Vec<(i64, i64, i64)> = statement
            .query_map(params![first, width, self.id.connection, self.id.variant, first, last], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .and_then(Iterator::collect)
            .map_err(failed())?;
        for (nth, rows, bytes) in found {
            let start = first + nth * width;
            let end = last.min(start + width - 1);
            if bytes > BYTES_MAX && width > 1 {
                self.divide(start, end, (width / (bytes / BYTES_MAX * 2)).max(1), parts)?;
            } else {
                parts.push(Part { first: start, last: end, rows, bytes });
            }
        }
        Ok(())
    }
}

/// The ranges, neighbours put together as far as they fit.
fn joined(parts: Vec<Part>) -> Vec<(i64, i64)> {
    let mut whole: Vec<Part> = Vec::new();
    for part in parts {
        match whole.last_mut() {
            Some(open) if open.rows + part.rows <= ROWS_MAX && open.bytes + part.bytes <= BYTES_MAX => {
                open.last = part.last;
                open.rows += part.rows;
                open.bytes += part.bytes;
            }
            _ => whole.push(part),
        }
    }
    whole.into_iter().map(|part| (part.first, part.last)).collect()
}
