//! The rows of one page while it is being mapped.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::coerce::Cell;
use super::columns::{ColumnBuilder, arrow_type};
use super::hash::{self, RowHasher, Scratch};
use super::map::{Judged, MapError};
use super::{Batch, Children, Fate, Json, Quarantined, Raw};
use crate::plan::limits::BATCH_BYTES_MAX;
use crate::plan::{ColumnPlan, ColumnType, ModelPlan};
use crate::scan::Mark;

/// Rows that a page has room for before it is seen how many there are; what is no row needs none.
const ROWS_RESERVED_MAX: usize = 4_096;

/// What the rows of a model look like, worked out once.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    types: Vec<ColumnType>,
    key: Vec<usize>,
    schema: SchemaRef,
    key_schema: SchemaRef,
    hasher: RowHasher,
    raw: bool,
}

impl Layout {
    pub(super) fn new(model: &ModelPlan) -> Self {
        let field = |column: &ColumnPlan| Field::new(&column.name, arrow_type(&column.column_type), true);
        let schema = Schema::new(model.columns.iter().map(field).collect::<Vec<_>>());
        let key_schema = Schema::new(model.key.iter().map(|at| field(&model.columns[*at])).collect::<Vec<_>>());
        Self {
            types: model.columns.iter().map(|column| column.column_type.clone()).collect(),
            key: model.key.clone(),
            schema: Arc::new(schema),
            key_schema: Arc::new(key_schema),
            hasher: RowHasher::new(&model.columns),
            raw: model.raw,
        }
    }
}

/// A page being mapped: columns that grow, and what is known beside them.
pub(super) struct Page<'m> {
    pub(super) filtered: u64,
    pub(super) keyless: u64,
    layout: &'m Layout,
    columns: Vec<ColumnBuilder>,
    quarantined_keys: Vec<ColumnBuilder>,
    key_hashes: Vec<u128>,
    row_hashes: Vec<u64>,
    fates: Vec<Fate>,
    raw: Option<Raw>,
    quarantined: Vec<Quarantined>,
    nulled: u64,
    high: Option<Mark>,
    low: Option<Mark>,
    unsorted: bool,
    bytes: usize,
    raw_bytes: usize,
    scratch: Scratch,
    /// the items of nested lists, each with the position of the row that it stands in
    pub(super) children: Vec<(Page<'m>, Vec<usize>)>,
}

impl<'m> Page<'m> {
    /// A page of so many records. `children` are those of its nested lists.
    pub(super) fn new(layout: &'m Layout, records: usize, children: Vec<Self>) -> Self {
        let rows = records.min(ROWS_RESERVED_MAX);
        Self {
            filtered: 0,
            keyless: 0,
            layout,
            columns: layout.types.iter().map(|column_type| ColumnBuilder::new(column_type, rows)).collect(),
            quarantined_keys: layout.key.iter().map(|at| ColumnBuilder::new(&layout.types[*at], 0)).collect(),
            key_hashes: Vec::with_capacity(rows),
            row_hashes: Vec::with_capacity(rows),
            fates: Vec::with_capacity(rows),
            raw: layout.raw.then(Raw::default),
            quarantined: Vec::new(),
            nulled: 0,
            high: None,
            low: None,
            unsorted: false,
            bytes: 0,
            raw_bytes: 0,
            scratch: Scratch::default(),
            children: children.into_iter().map(|page| (page, Vec::new())).collect(),
        }
    }

    /// Rows so far.
    pub(super) fn rows(&self) -> usize {
        self.fates.len()
    }

    /// Items of nested lists that did not fit so far.
    pub(super) fn rejected_items(&self) -> usize {
        self.children.iter().map(|(items, _)| items.quarantined.len() + items.rejected_items()).sum()
    }

    /// Adds the row of a record.
    pub(super) fn push(&mut self, record: &Json<'_>, cells: &[Cell<'_>], judged: &Judged) -> Result<(), MapError> {
        self.grow(judged.bytes)?;
        let raw = self.raw.as_mut().map_or(0, |raw| raw.push(record));
        self.raw_bytes += raw;
        self.grow(raw)?;
        let key_hash = self.key_hash(cells);
        self.key_hashes.push(key_hash);
        self.row_hashes.push(self.layout.hasher.row(cells, &mut self.scratch));
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            column.append(cell);
        }
        self.fates.push(judged.fate);
        self.nulled += judged.nulled;
        Ok(())
    }

    fn key_hash(&mut self, cells: &[Cell<'_>]) -> u128 {
        let key = self.layout.key.iter().map(|at| (&self.layout.types[*at], &cells[*at]));
        hash::key(key, &mut self.scratch)
    }

    /// Adds a record that is no row. `cells` holds its key, if that could be read.
    pub(super) fn quarantine(&mut self, mut record: Quarantined, cells: Option<&[Cell<'_>]>) -> Result<(), MapError> {
        self.grow(size_of::<Quarantined>() + record.record.len() + record.reason.len())?;
        match cells {
            None => self.keyless += 1,
            Some(cells) => {
                self.grow(self.layout.key.iter().map(|at| cells[*at].size()).sum())?;
                record.key_hash = Some(self.key_hash(cells));
                for (column, at) in self.quarantined_keys.iter_mut().zip(&self.layout.key) {
                    column.append(&cells[*at]);
                }
            }
        }
        self.quarantined.push(record);
        Ok(())
    }

    /// Takes note of an incremental mark.
    pub(super) fn see(&mut self, mark: &Mark) {
        match &self.high {
            Some(high) if high > mark => self.unsorted = true,
            Some(high) if high == mark => {}
            _ => self.high = Some(mark.clone()),
        }
        if self.low.as_ref().is_none_or(|low| low > mark) {
            self.low = Some(mark.clone());
        }
    }

    pub(super) fn finish(self) -> Batch {
        let children = self.children.into_iter().map(|(page, owners)| Children { batch: page.finish(), owners });
        let children: Vec<Option<Children>> = children.map(Some).collect();
        let keyed = self.quarantined.iter().filter(|record| record.key_hash.is_some()).count();
        let rows = assemble(&self.layout.schema, self.columns, self.fates.len());
        let quarantined_keys = assemble(&self.layout.key_schema, self.quarantined_keys, keyed);
        let beside = size_of::<u128>() + size_of::<u64>() + size_of::<Fate>();
        let kept: usize = self.quarantined.iter().map(|record| record.record.len() + record.reason.len()).sum();
        let bytes = rows.get_array_memory_size()
            + quarantined_keys.get_array_memory_size()
            + rows.num_rows() * beside
            + kept
            + self.raw_bytes
            + children.iter().flatten().map(|children| children.batch.bytes).sum::<usize>();
        Batch {
            rows,
            key_hashes: self.key_hashes,
            row_hashes: self.row_hashes,
            fates: self.fates,
            raw: self.raw,
            listed: None,
            quarantined: self.quarantined,
            quarantined_keys,
            keyless: self.keyless,
            filtered: self.filtered,
            nulled: self.nulled,
            high: self.high,
            low: self.low,
            unsorted: self.unsorted,
            bytes,
            partition: None,
            seen_by: None,
            children,
        }
    }

    fn grow(&mut self, by: usize) -> Result<(), MapError> {
        self.bytes = self.bytes.saturating_add(by);
        if self.bytes > BATCH_BYTES_MAX { Err(MapError::TooLarge) } else { Ok(()) }
    }
}

fn assemble(schema: &SchemaRef, columns: Vec<ColumnBuilder>, rows: usize) -> RecordBatch {
    let columns = columns.into_iter().map(ColumnBuilder::finish).collect();
    // what an action answers has no key, and so no column of one
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
        .expect("the columns are built from the schema's types, a value for each row")
}
