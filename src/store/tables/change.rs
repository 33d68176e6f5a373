//! What tells a table from its model, and what that means for the rows. Pure: [`compare`] is what `headwater plan` shows and what a run
//! does.

use super::super::error::Error;
use super::super::sql::list;
use super::found::Found;
use super::{LISTED, PARTITION, RAW, conflict, key_names, optional_columns};
use crate::plan::{ColumnType, ModelPlan};

/// One change that brings a table in line with its model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// there is no table
    CreateTable,
    /// the table lacks a column
    AddColumn {
        /// its name
        name: String,
        /// its type, as `ADD COLUMN` takes it
        column_type: String,
        /// its values alone change no row
        volatile: bool,
    },
    /// a column gets a type that holds every value of the old one
    Widen {
        /// its name
        name: String,
        /// DuckDB's spelling of the old type
        from: String,
        /// the new type
        to: ColumnType,
    },
    /// the model has a column again that the table has kept
    RestoreColumn {
        /// its name
        name: String,
        /// its values alone change no row
        volatile: bool,
    },
    /// the model no longer has a column of the table
    DropColumn {
        /// its name
        name: String,
        /// an earlier run has noted that, and kept it
        noted: bool,
    },
    /// a column gets a type that does not hold every value of the old one
    Retype {
        /// its name
        name: String,
        /// DuckDB's spelling of the old type
        from: String,
        /// the new type
        to: ColumnType,
    },
    /// rows are told apart by something else: other columns, or the values of another type
    Rekey {
        /// the key, or the column of it with its type
        from: String,
        /// what it becomes
        to: String,
    },
}

impl Change {
    /// What it does, in two words.
    pub fn action(&self) -> &'static str {
        match self {
            Self::CreateTable => "create table",
            Self::AddColumn { .. } => "add column",
            Self::Widen { .. } => "widen",
            Self::RestoreColumn { .. } => "restore column",
            Self::DropColumn { .. } => "drop column",
            Self::Retype { .. } => "change type",
            Self::Rekey { .. } => "change key",
        }
    }

    /// The columns or types concerned.
    pub fn detail(&self, model: &ModelPlan) -> String {
        match self {
            Self::CreateTable => list(model.columns.iter().map(|column| &column.name)),
            Self::AddColumn { name, column_type, .. } => format!("{name} {column_type}"),
            Self::Widen { name, from, to } | Self::Retype { name, from, to } => format!("{name} {from} to {to}"),
            Self::RestoreColumn { name, .. } | Self::DropColumn { name, .. } => name.clone(),
            Self::Rekey { from, to } => format!("{from} to {to}"),
        }
    }

    /// Whether values or rows go that the API may not give again, so that a person has to allow it.
    pub fn is_destructive(&self) -> bool {
        matches!(self, Self::DropColumn { .. } | Self::Retype { .. } | Self::Rekey { .. })
    }

    /// Whether a run that may not destroy cannot go on: the rows that come do not fit into the table as it is.
    pub fn stops_a_run(&self) -> bool {
        matches!(self, Self::Retype { .. } | Self::Rekey { .. })
    }

    /// Whether the rows that are there are gone, or lack what only the API has: everything has to be read again.
    pub fn needs_all_rows(&self) -> bool {
        matches!(self, Self::CreateTable | Self::Retype { .. } | Self::Rekey { .. })
    }

    /// Whether the table begins without rows.
    pub fn begins_anew(&self) -> bool {
        matches!(self, Self::CreateTable | Self::Rekey { .. })
    }

    /// Its name in `headwater.schema_changes`; none when it was noted before and nothing is done.
    pub fn recorded_as(&self, destroys: bool) -> Option<&'static str> {
        Some(match self {
            Self::CreateTable => "table_created",
            Self::AddColumn { .. } => "column_added",
            Self::Widen { .. } => "column_widened",
            Self::RestoreColumn { .. } => "column_restored",
            Self::DropColumn { .. } if destroys => "column_removed",
            Self::DropColumn { noted: true, .. } => return None,
            Self::DropColumn { noted: false, .. } => "column_dropped",
            Self::Retype { .. } => "column_retyped",
            Self::Rekey { .. } => "key_changed",
        })
    }

    /// What it would mean for the rows.
    pub fn meaning(&self, model: &ModelPlan) -> String {
        match self {
            Self::CreateTable => "the table and its view are made".into(),
            Self::AddColumn { name, .. } if is_optional(name) => {
                "old rows have null there until `headwater run --full`".into()
            }
            Self::AddColumn { volatile, .. } => format!("old rows have null there {}", until(model, *volatile)),
            Self::Widen { .. } => "every value stays what it is".into(),
            Self::RestoreColumn { volatile, .. } => {
                format!("rows written without it have null there {}", until(model, *volatile))
            }
            Self::DropColumn { .. } => {
                "not in the model: kept, with null in new rows; `--allow-destructive` removes it and its values".into()
            }
            Self::Retype { .. } => {
                "a run refuses it; `--allow-destructive` keeps the values that convert without loss, \
                 and reads everything again"
                    .into()
            }
            Self::Rekey { .. } => {
                "a run refuses it; `--allow-destructive` begins the table without rows, and reads everything again"
                    .into()
            }
        }
    }

    /// What a run has to tell about having done it.
    pub fn note(&self, model: &ModelPlan, destroys: bool) -> Option<String> {
        match self {
            Self::CreateTable | Self::Widen { .. } => None,
            // told of once, with the record itself
            Self::AddColumn { name, .. } if name == RAW[1].0 => None,
            Self::DropColumn { .. } if destroys => Some("it is gone, and its values with it".into()),
            Self::Retype { .. } => {
                Some("values that did not convert without loss are null until they are read again".into())
            }
            Self::Rekey { .. } => Some("the table began anew; everything is read again".into()),
            Self::AddColumn { .. } | Self::RestoreColumn { .. } | Self::DropColumn { .. } => Some(self.meaning(model)),
        }
    }

    /// Why a run that may not destroy cannot go on.
    pub fn refusal(&self, model: &ModelPlan) -> Option<Error> {
        let (detail, hint) = match self {
            Self::Rekey { from, to } => (
                format!("its key was {from} and is now {to}"),
                "`headwater plan` shows what that means; `headwater run --allow-destructive` begins the table anew and reads \
                 everything again; another `table` in the model leaves the old one as it is",
            ),
            Self::Retype { name, from, to } => (
                format!("column `{name}` is {from} and cannot become {to} in place"),
                "`headwater plan` shows what that means; `headwater run --allow-destructive` changes the type and reads \
                 everything again; a column of another name leaves the old one as it is",
            ),
            _ => return None,
        };
        Some(conflict(model, detail, hint))
    }
}

/// Whether it is a column of headwater's own, which nothing but a record that comes fills.
fn is_optional(name: &str) -> bool {
    RAW.iter().chain([&PARTITION, &LISTED]).any(|(own, ..)| *own == name)
}

fn until(model: &ModelPlan, volatile: bool) -> String {
    let remap = if model.raw { " or `headwater remap`" } else { "" };
    if volatile {
        "until something else of the row changes, because it is volatile".into()
    } else {
        format!("until `headwater run --full`{remap}")
    }
}

/// What brings the table in line with `model`, in the order of the model's columns.
///
/// # Errors
/// [`Error::SchemaConflict`] when headwater did not make the table.
pub fn compare(model: &ModelPlan, found: &Found) -> Result<Vec<Change>, Error> {
    if found.columns.is_empty() {
        return Ok(vec![Change::CreateTable]);
    }
    let Some(memory) = &found.memory else {
        return Err(conflict(
            model,
            "it exists and headwater did not make it".into(),
            "name another `table` in the model, or rename or drop the existing one",
        ));
    };
    let key = key_names(model);
    if !same_names(&key, &memory.key) {
        let text = |names: &[String]| format!("({})", list(names));
        return Ok(vec![Change::Rekey { from: text(&memory.key), to: text(&key) }]);
    }
    let mut changes = Vec::new();
    for (at, column) in model.columns.iter().enumerate() {
        let (name, to) = (column.name.clone(), column.column_type.clone());
        let Some(data_type) = found.type_of(&name) else {
            changes.push(Change::AddColumn { name, column_type: to.to_string(), volatile: column.volatile });
            continue;
        };
        if !memory.has(&name) {
            changes.push(Change::RestoreColumn { name: name.clone(), volatile: column.volatile });
        }
        let from = data_type.to_owned();
        match parse_type(data_type) {
            Some(current) if current == to => {}
            Some(current) if widens(&current, &to) => changes.push(Change::Widen { name, from, to }),
            // a converted value need not be the one that the API's becomes, and then a row would be there twice
            _ if model.key.contains(&at) => {
                let (from, to) = (format!("{name} {from}"), format!("{name} {to}"));
                return Ok(vec![Change::Rekey { from, to }]);
            }
            _ => changes.push(Change::Retype { name, from, to }),
        }
    }
    for (name, column_type, _) in optional_columns(model) {
        if found.type_of(name).is_none() {
            let (name, column_type) = ((*name).to_owned(), (*column_type).to_owned());
            changes.push(Change::AddColumn { name, column_type, volatile: false });
        }
    }
    for column in &memory.columns {
        let kept = model.columns.iter().any(|kept| kept.name.eq_ignore_ascii_case(&column.name));
        if !kept && found.type_of(&column.name).is_some() {
            changes.push(Change::DropColumn { name: column.name.clone(), noted: column.dropped });
        }
    }
    Ok(changes)
}

fn same_names(a: &[String], b: &[String]) -> bool {
    a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| a.eq_ignore_ascii_case(b)))
}

/// Reads DuckDB's spelling of a type.
pub fn parse_type(data_type: &str) -> Option<ColumnType> {
    ColumnType::parse(&data_type.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ"))
}

/// Whether every value of `from` is the same value in `to`.
pub fn widens(from: &ColumnType, to: &ColumnType) -> bool {
    use ColumnType::{Bigint, Decimal, Double, Hugeint, Integer};
    match (from, to) {
        (Integer, Bigint | Hugeint | Double) | (Bigint, Hugeint) => true,
        (Decimal { precision, scale }, Decimal { precision: wider, scale: finer }) => {
            finer >= scale && wider - finer >= precision - scale
        }
        _ => false,
    }
}
