use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::json;

use super::output::{DIM, Failure, bold, count, json_line, table};
use super::progress::{self, Style};
use super::{Done, project};
use crate::engine::{self, Preview, PreviewRequest};
use crate::plan::SyncPlan;
use crate::remote::CredentialStore;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to try, as for `run`.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Pages to ask for, of each sync.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pages: u64,
    /// Rows to show, of each sync.
    #[arg(long, default_value_t = 10, value_name = "N")]
    rows: usize,
    /// One JSON object per sync, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let syncs = plan.select(&arguments.selectors)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let (observer, bars) = progress::observer(Style::Lines, &syncs);
    let store = CredentialStore::of_project(&plan.folder);
    let mut worst = 0;
    for sync in &syncs {
        match runtime.block_on(engine::preview(sync, arguments.pages.max(1), (&plan.database, &store), &observer)) {
            Ok(preview) if arguments.json => json_line(&wire(sync, &preview, arguments.rows)?)?,
            Ok(preview) => print(sync, &preview, arguments.rows)?,
            Err(error) => {
                let failure = Failure::from(error);
                super::output::print_error(&format!("{}: {}", sync.id, failure.message), failure.hint.as_deref());
                worst = worst.max(failure.code);
            }
        }
    }
    bars.end();
    Ok(worst)
}

fn print(sync: &SyncPlan, preview: &Preview, rows_max: usize) -> Result<(), Failure> {
    let title = bold(anstyle::AnsiColor::Cyan);
    anstream::println!("{title}{}{title:#}", sync.id);
    for request in &preview.requests {
        let PreviewRequest { line, headers, body, status, bytes, records } = request;
        anstream::println!("  {line}");
        for (name, value) in headers {
            anstream::println!("  {DIM}{name}: {value}{DIM:#}");
        }
        if let Some(body) = body {
            anstream::println!("  {DIM}{body}{DIM:#}");
        }
        anstream::println!("  → {status}, {} bytes, {} records\n", count(*bytes as u64), count(*records));
    }
    let headings: Vec<&str> = sync.model.columns.iter().map(|column| column.name.as_str()).collect();
    let rows = rows(preview, rows_max)?;
    let total: usize = preview.batches.iter().map(|batch| batch.rows.num_rows()).sum();
    anstream::println!("{}", table(&headings, &rows, &[]));
    let more = if preview.more { ", and there are more pages" } else { "" };
    anstream::println!(
        "{DIM}{} of {total} rows for {}.{}{more}; nothing was written{DIM:#}",
        rows.len(),
        sync.model.schema,
        sync.model.table
    );
    for bad in preview.batches.iter().flat_map(|batch| &batch.quarantined).take(rows_max) {
        let key = bad.key.as_deref().unwrap_or("without key");
        anstream::println!("quarantine: {key}: {}: {}", bad.column.as_deref().unwrap_or("record"), bad.reason);
    }
    anstream::println!();
    Ok(())
}

/// The first rows as text, one cell a column.
fn rows(preview: &Preview, rows_max: usize) -> Result<Vec<Vec<String>>, Failure> {
    let options = FormatOptions::default().with_null("");
    let mut rows = Vec::new();
    for batch in &preview.batches {
        let shown: Vec<ArrayRef> = batch.rows.columns().iter().map(with_offset).collect();
        let columns: Vec<_> = shown
            .iter()
            .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
            .collect::<Result<_, _>>()
            .map_err(|error| Failure {
                code: 1,
                ..Failure::user(format!("a column cannot be shown: {error}"), None)
            })?;
        for row in 0..batch.rows.num_rows() {
            if rows.len() == rows_max {
                return Ok(rows);
            }
            rows.push(columns.iter().map(|column| short(&column.value(row).to_string())).collect());
        }
    }
    Ok(rows)
}

/// Arrow can show times of the zone `UTC` only where it was built with a list of zones, and those of `+00:00` everywhere.
fn with_offset(column: &ArrayRef) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) if times.timezone().is_some() => Arc::new(times.clone().with_timezone("+00:00")),
        _ => Arc::clone(column),
    }
}

fn short(text: &str) -> String {
    let text = super::query::cell(&serde_json::Value::from(text));
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn wire(sync: &SyncPlan, preview: &Preview, rows_max: usize) -> Result<serde_json::Value, Failure> {
    let names: Vec<&str> = sync.model.columns.iter().map(|column| column.name.as_str()).collect();
    let rows: Vec<serde_json::Value> = rows(preview, rows_max)?
        .into_iter()
        .map(|row| {
            names.iter().map(|name| (*name).to_owned()).zip(row.into_iter().map(serde_json::Value::from)).collect()
        })
        .collect();
    let quarantined: Vec<_> = preview.batches.iter().flat_map(|batch| &batch.quarantined).collect();
    let quarantined: Vec<_> = quarantined
        .iter()
        .map(|bad| json!({ "key": bad.key, "column": bad.column, "code": bad.code, "reason": bad.reason }))
        .collect();
    Ok(json!({
        "sync": sync.id.to_string(), "requests": preview.requests, "rows": rows, "quarantined": quarantined, "more": preview.more,
    }))
}
