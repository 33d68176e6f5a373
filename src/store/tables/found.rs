//! What the database has of a model: the table's columns, its view, and the model as it was at the last run.

use duckdb::{Connection, OptionalExt, params};
use serde::{Deserialize, Serialize};

use super::super::catalog;
use super::super::error::Error;
use super::super::layout::own;
use super::super::sql::CATALOG;
use super::{conflict, key_names, live_view_of, table_of};
use crate::plan::ModelPlan;

/// What the database has of a model.
#[derive(Debug, Default)]
pub struct Found {
    /// name and DuckDB type, empty when there is no table
    pub columns: Vec<(String, String)>,
    /// the view of living rows is there
    pub has_view: bool,
    /// the model that made the table; none when headwater did not make it
    pub memory: Option<Memory>,
}

impl Found {
    /// Reads it; with `laid_out` false, `headwater.models` is not there to be read.
    ///
    /// # Errors
    /// The database cannot be read, or what it remembers of the model cannot.
    pub fn read(db: &Connection, model: &ModelPlan, laid_out: bool) -> Result<Self, Error> {
        let failed = || Error::database("read the table's columns");
        let columns = catalog::columns(db, &table_of(model)).map_err(failed())?;
        let view = live_view_of(model);
        let count = "SELECT count(*) FROM duckdb_views() WHERE database_name = ? AND lower(schema_name) = lower(?) \
                     AND lower(view_name) = lower(?)";
        let views: i64 = db.query_row(count, [CATALOG, &view.schema, &view.name], |row| row.get(0)).map_err(failed())?;
        let memory = if laid_out { Memory::read(db, model)? } else { None };
        Ok(Self { columns, has_view: views > 0, memory })
    }

    /// DuckDB's type of a column of the table.
    pub fn type_of(&self, name: &str) -> Option<&str> {
        self.columns.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, data_type)| data_type.as_str())
    }
}

/// A model as `headwater.models` remembers it.
#[derive(Debug, PartialEq, Eq)]
pub struct Memory {
    model: String,
    /// the names of the key's columns
    pub key: Vec<String>,
    /// the model's columns, and behind them those that it no longer has and the table has still
    pub columns: Vec<ColumnMemory>,
    description: Option<String>,
}

/// A column as `headwater.models` remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnMemory {
    /// its name
    pub name: String,
    #[serde(rename = "type")]
    column_type: String,
    volatile: bool,
    description: Option<String>,
    /// the model has it no longer; it is kept with its old values
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

impl Memory {
    /// `model`, with the columns named in `kept` as `before` remembers them.
    pub fn of(model: &ModelPlan, before: Option<&Self>, kept: &[&str]) -> Self {
        let own = model.columns.iter().map(|column| ColumnMemory {
            name: column.name.clone(),
            column_type: column.column_type.to_string(),
            volatile: column.volatile,
            description: column.description.clone(),
            dropped: false,
        });
        let known = before.map_or(&[][..], |before| &before.columns);
        let dropped = known.iter().filter(|column| kept.contains(&column.name.as_str()));
        Self {
            model: model.name.clone(),
            key: key_names(model),
            columns: own.chain(dropped.map(|column| ColumnMemory { dropped: true, ..column.clone() })).collect(),
            description: model.description.clone(),
        }
    }

    fn read(db: &Connection, model: &ModelPlan) -> Result<Option<Self>, Error> {
        let select = format!(
            "SELECT model, CAST(\"key\" AS VARCHAR), CAST(\"columns\" AS VARCHAR), description FROM {} \
             WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?)",
            own("models")
        );
        let row = db
            .query_row(&select, [&model.schema, &model.table], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?, row.get(3)?))
            })
            .optional()
            .map_err(Error::database("read `headwater.models`"))?;
        let Some((name, key, columns, description)) = row else { return Ok(None) };
        let unreadable = |error: serde_json::Error| {
            conflict(
                model,
                format!("its row in `headwater.models` is not readable: {error}"),
                "restore a backup of the database",
            )
        };
        Ok(Some(Self {
            model: name,
            key: serde_json::from_str(&key).map_err(unreadable)?,
            columns: serde_json::from_str(&columns).map_err(unreadable)?,
            description,
        }))
    }

    /// Writes it over what was remembered of the model's table.
    ///
    /// # Errors
    /// DuckDB refuses.
    pub fn write(&self, db: &Connection, model: &ModelPlan) -> duckdb::Result<()> {
        let json = "plain data with text keys";
        let (key, columns) =
            (serde_json::to_string(&self.key).expect(json), serde_json::to_string(&self.columns).expect(json));
        let models = own("models");
        let which = [&model.schema, &model.table];
        db.execute(
            &format!("DELETE FROM {models} WHERE lower(table_schema) = lower(?) AND lower(table_name) = lower(?)"),
            which,
        )?;
        db.execute(
            &format!("INSERT INTO {models} VALUES (?, ?, ?, ?, CAST(? AS JSON), CAST(? AS JSON), ?)"),
            params![model.schema, self.model, model.schema, model.table, key, columns, self.description],
        )?;
        Ok(())
    }

    /// Whether the model had this column.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| !known.dropped && known.name.eq_ignore_ascii_case(column))
    }
}
