use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::{Map, Value};

use super::output::{DIM, json_line, table, visible};
use super::{Done, project, status};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One statement that reads: `select …`, `from shop.orders`, `describe …`.
    #[arg(value_name = "SQL")]
    sql: String,
    /// One JSON object per row, as lines.
    #[arg(long)]
    json: bool,
    /// At most so many rows as a table (JSON lines have no bound).
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let store = status::open(&plan.database)?;
    if arguments.json {
        let mut written = Ok(());
        store.query(&arguments.sql, |columns, values| {
            let row: Map<String, Value> = columns.iter().map(|column| column.name.clone()).zip(values).collect();
            written = json_line(&row);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        return written.map(|()| 0);
    }
    let mut rows = Vec::new();
    let mut more = false;
    let columns = store.query(&arguments.sql, |_, values| {
        if rows.len() == arguments.limit {
            more = true;
            return ControlFlow::Break(());
        }
        rows.push(values.iter().map(cell).collect::<Vec<_>>());
        ControlFlow::Continue(())
    })?;
    let headings: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let is_number = |name: &str| {
        ["INT", "DOUBLE", "FLOAT", "DECIMAL"].iter().any(|kind| name.contains(kind)) && !name.ends_with("[]")
    };
    let right: Vec<usize> =
        columns.iter().enumerate().filter(|(_, column)| is_number(&column.type_name)).map(|(at, _)| at).collect();
    anstream::println!("{}", table(&headings, &rows, &right));
    if more {
        anstream::eprintln!("{DIM}the first {} rows; `--limit` shows more, `--json` all{DIM:#}", arguments.limit);
    } else if std::io::stdout().is_terminal() {
        anstream::eprintln!("{DIM}{} rows{DIM:#}", rows.len());
    }
    Ok(0)
}

/// A value in one cell; what a terminal would obey is made visible.
pub(super) fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    visible(&text)
}
