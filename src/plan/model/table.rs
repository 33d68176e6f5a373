use std::sync::Arc;

use crate::plan::{ColumnType, Path, RowSchema, Template, TimeFormat};

/// A table and how a record becomes its row.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelPlan {
    /// the model's name
    pub name: String,
    /// the DuckDB schema: the provider's name
    pub schema: String,
    /// the table's name
    pub table: String,
    /// one sentence for people
    pub description: Option<String>,
    /// in the order of the YAML
    pub columns: Vec<ColumnPlan>,
    /// positions of the key in `columns`, at least one
    pub key: Vec<usize>,
    /// JSON Schema of the row
    pub validate: Option<RowSchema>,
    /// what becomes of a record that does not fit
    pub on_invalid: OnInvalid,
    /// the whole record is kept
    pub raw: bool,
    /// one row per version is kept
    pub history: bool,
    /// a sync with `for_each` or `walk` fills it: its rows tell of which partition they are
    pub partitioned: bool,
    /// a sync that asks only for details of changed records fills it: its rows tell what their records were in the list
    pub listed: bool,
    /// columns that are known only with `config` and `input`
    pub columns_from: Option<ColumnsFrom>,
    /// nested lists as tables of their own
    pub children: Vec<ChildPlan>,
}

impl ModelPlan {
    /// A table of these columns and nothing more: no key, no rules beyond those of the columns, no history, no nested lists.
    pub fn of_columns(name: &str, (schema, table): (&str, &str), columns: Vec<ColumnPlan>) -> Self {
        Self {
            name: name.to_owned(),
            schema: schema.to_owned(),
            table: table.to_owned(),
            description: None,
            columns,
            key: Vec::new(),
            validate: None,
            on_invalid: OnInvalid::Quarantine,
            raw: false,
            history: false,
            partitioned: false,
            listed: false,
            columns_from: None,
            children: Vec::new(),
        }
    }

    /// The position of the column that holds what stands at `path` of a record; of several, one that holds it as a time or a day.
    pub fn column_of(&self, path: &Path) -> Option<usize> {
        let is = |column: &ColumnPlan| matches!(&column.source, ColumnSource::Path(own) if own.text() == path.text());
        let is_time = |column: &ColumnPlan| matches!(column.column_type, ColumnType::Timestamptz | ColumnType::Date);
        let time = self.columns.iter().position(|column| is(column) && is_time(column));
        time.or_else(|| self.columns.iter().position(is))
    }

    /// The table, and those of its nested lists.
    pub fn tables(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::once(self).chain(self.children.iter().map(|child| &child.model))
    }
}

/// A column for each item of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnsFrom {
    /// the list
    pub each: Template,
    /// the column's name, over `item`
    pub name: Template,
    /// where its value comes from, over `item`
    pub source: SourceFrom,
    /// the column's type, over `item`
    pub column_type: Template,
}

/// Where the value of a column comes from that is made of an item.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceFrom {
    /// a path into the record, over `item`
    Path(Template),
    /// a template over `record` and `item`
    Value(Template),
}

/// A nested list as a table of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct ChildPlan {
    /// its table: the key of the row that an item stands in comes first among the columns
    pub model: Arc<ModelPlan>,
    /// where the items stand in the record
    pub each: Path,
}

impl ChildPlan {
    /// The columns of the table that hold the key of the row that an item stands in, each with the position of that row's column.
    pub fn parent_key(&self) -> impl Iterator<Item = (&ColumnPlan, usize)> {
        self.model.columns.iter().filter_map(|column| match column.source {
            ColumnSource::Parent(at) => Some((column, at)),
            ColumnSource::Path(_) | ColumnSource::Template(_) | ColumnSource::OfItem(..) => None,
        })
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnPlan {
    /// its name in DuckDB
    pub name: String,
    /// its type
    pub column_type: ColumnType,
    /// where its value comes from
    pub source: ColumnSource,
    /// how a time is written, for date and time types
    pub format: TimeFormat,
    /// a record without it is invalid; true for key columns
    pub required: bool,
    /// not part of "has it changed"
    pub volatile: bool,
    /// one sentence for people
    pub description: Option<String>,
}

/// Where a column's value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ColumnSource {
    /// a path into the record
    Path(Path),
    /// a template over `record`
    Template(Template),
    /// a template over `record` and this `item`, of which the column was made
    OfItem(Template, serde_json::Value),
    /// of a child, the column at this position of the row that the item stands in
    Parent(usize),
}

/// What becomes of a record that does not fit its model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInvalid {
    /// kept in `headwater.quarantine` with the reason
    Quarantine,
    /// the run fails
    Fail,
    /// the value becomes null; a bad key or a missing required column still goes to quarantine
    SetNull,
}
