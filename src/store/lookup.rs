//! Rows that are looked for by their values.

use std::ops::ControlFlow;
use std::sync::Arc;

use duckdb::Connection;
use serde_json::{Map, Value};

use super::error::Error;
use super::read::ReadStore;
use super::sql::{ident, joined, list};
use super::writer::Store;
use super::{catalog, query, tables};
use crate::plan::ModelPlan;

/// What is looked for.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// in whose table
    pub model: Arc<ModelPlan>,
    /// rows of this connection
    pub connection: String,
    /// rows of this variant; none = of all, and of a row that several have the one that changed last
    pub variant: Option<String>,
    /// what is told of them
    pub columns: Vec<String>,
    /// columns and the values that they must have
    pub wanted: Vec<(String, Value)>,
    /// more rows than these are none
    pub rows_max: usize,
}

impl ReadStore {
    /// The living rows that are looked for, each as an object of its columns, in the order of the key; none where the table is not there,
    /// lacks one of the columns, or has more than [`Lookup::rows_max`] of them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn find(&self, lookup: &Lookup) -> Result<Vec<Map<String, Value>>, Error> {
        rows(self.connection(), lookup)
    }
}

impl Store {
    /// As [`ReadStore::find`].
    ///
    /// # Errors
    /// The file cannot be had or read.
    pub fn find(&mut self, lookup: &Lookup) -> Result<Vec<Map<String, Value>>, Error> {
        rows(self.attached()?, lookup)
    }
}

fn rows(db: &Connection, lookup: &Lookup) -> Result<Vec<Map<String, Value>>, Error> {
    let Lookup { model, connection, variant, columns, wanted, rows_max } = lookup;
    let table = tables::table_of(model);
    let known = catalog::columns(db, &table).map_err(Error::database("look at a table"))?;
    let type_of = |name: &str| known.iter().find(|(column, _)| column == name).map(|(_, of)| of.as_str());
    let key = tables::key_names(model);
    if columns.iter().chain(&key).any(|name| type_of(name).is_none()) {
        return Ok(Vec::new());
    }
    let mut conditions = vec!["_deleted_at IS NULL".to_owned(), "_connection = ?".to_owned()];
    let mut values = vec![connection.clone()];
    if let Some(variant) = variant {
        conditions.push("_variant = ?".to_owned());
        values.push(variant.clone());
    }
    for (name, value) in wanted {
        let Some(of) = type_of(name) else { return Ok(Vec::new()) };
        conditions.push(format!("{} = TRY_CAST(? AS {of})", ident(name)));
        values.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    let names = |names: &[String]| list(names.iter().map(|name| ident(name)));
    let select = format!(
        "SELECT {} FROM {table} WHERE {} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY _change DESC) = 1 \
         ORDER BY {key} LIMIT {}",
        names(columns),
        joined(conditions, " AND "),
        rows_max.saturating_add(1),
        key = names(&key),
    );
    let mut rows = Vec::new();
    query::stream(db, &select, duckdb::params_from_iter(values), |columns, values| {
        rows.push(columns.iter().map(|column| column.name.clone()).zip(values).collect());
        ControlFlow::Continue(())
    })?;
    Ok(if rows.len() > *rows_max { Vec::new() } else { rows })
}
