//! Entries of a list of ids to the keys of rows: what was deleted, what is still there.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use xxhash_rust::xxh3::xxh3_64;

use super::coerce::{Cell, Coercion};
use super::columns::{ColumnBuilder, arrow_type};
use super::hash::{self, Scratch};
use super::map::MarkReader;
use super::{Json, Keys, first};
use crate::plan::{ColumnSource, ColumnType, Path, SyncPlan};

/// Reads the keys of a model's rows out of entries.
#[derive(Debug, Clone)]
pub struct KeyReader {
    columns: Vec<KeyColumn>,
    mark: Option<MarkReader>,
    schema: SchemaRef,
}

#[derive(Debug, Clone)]
struct KeyColumn {
    name: String,
    column_type: ColumnType,
    path: Path,
    coercion: Coercion,
}

impl KeyReader {
    /// `key` says for each key column, by its position in the model, where its value stands in an entry; `mark` reads an entry's time.
    pub fn new(plan: &SyncPlan, key: &[(usize, Path)], mark: Option<MarkReader>) -> Self {
        let model = &plan.model;
        let path_of = |at: usize| key.iter().find(|(position, _)| *position == at).map(|(_, path)| path);
        let columns: Vec<KeyColumn> = model
            .key
            .iter()
            .filter_map(|&at| {
                let column = &model.columns[at];
                Some(KeyColumn {
                    name: column.name.clone(),
                    column_type: column.column_type.clone(),
                    path: path_of(at)?.clone(),
                    coercion: Coercion::new(&column.column_type, &column.format).in_zone(plan.zone_of(column)),
                })
            })
            .collect();
        let fields = columns.iter().map(|column| Field::new(&column.name, arrow_type(&column.column_type), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Self { columns, mark, schema }
    }

    /// Of the model's own records, by the paths of its columns; none where a template gives a part of the key.
    pub fn of_records(plan: &SyncPlan) -> Option<Self> {
        let path = |at: &usize| match &plan.model.columns[*at].source {
            ColumnSource::Path(path) => Some((*at, path.clone())),
            ColumnSource::Template(_) | ColumnSource::OfItem(..) | ColumnSource::Parent(_) => None,
        };
        let key: Vec<(usize, Path)> = plan.model.key.iter().map(path).collect::<Option<_>>()?;
        Some(Self::new(plan, &key, plan.incremental.as_ref().map(MarkReader::of)))
    }

    /// Whether the key of this entry can be read.
    pub fn reads(&self, entry: &Json<'_>) -> bool {
        self.cells(entry).is_ok() && self.mark.as_ref().is_none_or(|mark| mark.read(entry).is_ok())
    }

    /// The keys of one page, in the order of its entries.
    pub fn read(&self, entries: &[&Json<'_>]) -> Keys {
        let mut builders: Vec<ColumnBuilder> =
            self.columns.iter().map(|column| ColumnBuilder::new(&column.column_type, entries.len())).collect();
        let mut scratch = Scratch::default();
        let (mut hashes, mut key_hashes, mut marks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut unreadable, mut unreadable_reason) = (0, None);
        for entry in entries {
            let read = self.cells(entry).and_then(|cells| {
                let mark = self.mark.as_ref().map_or(Ok(None), |mark| mark.read(entry));
                mark.map(|mark| (cells, mark)).map_err(|fault| fault.reason)
            });
            match read {
                Ok((cells, mark)) => {
                    let typed = self.columns.iter().map(|column| &column.column_type).zip(&cells);
                    let key = hash::key(typed, &mut scratch);
                    let time = mark.as_ref().map(ToString::to_string).unwrap_or_default();
                    hashes.push(xxh3_64(format!("{key:x} {time}").as_bytes()));
                    key_hashes.push(key);
                    marks.push(mark);
                    builders.iter_mut().zip(&cells).for_each(|(builder, cell)| builder.append(cell));
                }
                Err(reason) => {
                    unreadable += 1;
                    unreadable_reason.get_or_insert(reason);
                }
            }
        }
        let arrays = builders.into_iter().map(ColumnBuilder::finish).collect();
        let keys = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .expect("the columns are built from the schema's types, a value for each entry");
        Keys { keys, hashes, key_hashes, marks, unreadable, unreadable_reason }
    }

    fn cells<'j>(&self, entry: &'j Json<'j>) -> Result<Vec<Cell<'j>>, String> {
        self.columns
            .iter()
            .map(|column| {
                let fault = |why: String| format!("`{}` belongs to the key, and {why}", column.name);
                let value = first(&column.path, entry).ok_or_else(|| fault("has no value".into()))?;
                match column.coercion.cell(value) {
                    Ok(Cell::Null) => Err(fault("has no value".into())),
                    Ok(cell) => Ok(cell),
                    Err(reason) => Err(fault(format!("cannot be read: {}", reason.text))),
                }
            })
            .collect()
    }
}
