use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde_json::json;

use super::output::{DIM, Failure, bold, count, json_line, print_failure};
use super::{Done, project, status};
use crate::plan::ModelPlan;
use crate::store::{self, PlannedChange, TablePlan};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Whose tables, as for `run`.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// One JSON object per table, as lines.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let models: Vec<Arc<ModelPlan>> =
        plan.select(&arguments.selectors)?.iter().map(|sync| Arc::clone(&sync.model)).collect();
    let planned = match status::open(&plan.database) {
        Ok(database) => database.plan(&models)?,
        // before the first run everything is to be made, which is no mistake
        Err(store::Error::Missing { .. }) => store::plan_without_database(&models)?,
        Err(error) => return Err(error.into()),
    };
    let (mut tables, mut code) = (Vec::new(), 0);
    for table in planned {
        match table {
            Ok(table) => tables.push(table),
            Err(error) => {
                let failure = Failure::from(error);
                print_failure(&failure);
                code = code.max(failure.code);
            }
        }
    }
    if arguments.json {
        tables.iter().try_for_each(|table| json_line(&wire(table)))?;
    } else {
        tables.iter().for_each(print);
        if code == 0 || tables.iter().any(|table| !table.changes.is_empty()) {
            anstream::println!("{}", summary(&tables, &arguments.selectors));
        }
    }
    Ok(code)
}

/// The syncs that are named one by one.
const SYNCS_SHOWN: usize = 8;

fn print(plan: &TablePlan) {
    let TablePlan { table, changes, rereads } = plan;
    if changes.is_empty() {
        return;
    }
    let title = bold(AnsiColor::Cyan);
    anstream::println!("{title}{table}{title:#}");
    for PlannedChange { action, detail, destructive, refused: _, meaning } in changes {
        let (sign, color) = match *action {
            "create table" | "add column" | "restore column" => ('+', AnsiColor::Green),
            "drop column" => ('-', AnsiColor::Red),
            _ => ('~', AnsiColor::Yellow),
        };
        let color = bold(color);
        let (effect, loud) =
            if *destructive { ("destructive", bold(AnsiColor::Red)) } else { ("harmless", Style::new()) };
        anstream::println!("  {color}{sign} {action:<14}{color:#}  {loud}{effect:<11}{loud:#}  {detail}");
        anstream::println!("      {DIM}{meaning}{DIM:#}");
    }
    if !rereads.is_empty() {
        let mut syncs: Vec<String> = rereads.iter().take(SYNCS_SHOWN).map(ToString::to_string).collect();
        if rereads.len() > SYNCS_SHOWN {
            syncs.push(format!("and {} more", count((rereads.len() - SYNCS_SHOWN) as u64)));
        }
        anstream::println!("  {DIM}then these read everything again: {}{DIM:#}", syncs.join(", "));
    }
    anstream::println!();
}

/// What the changes are together, and which command makes them.
fn summary(tables: &[TablePlan], selectors: &[String]) -> String {
    let changes: Vec<&PlannedChange> = tables.iter().flat_map(|table| &table.changes).collect();
    let destructive = changes.iter().filter(|change| change.destructive).count();
    let refused: BTreeSet<&str> = tables
        .iter()
        .filter(|table| table.changes.iter().any(|change| change.refused))
        .map(|table| table.table.as_str())
        .collect();
    let run: String =
        ["headwater", "run"].into_iter().chain(selectors.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let (number, it) = match changes.len() {
        1 => ("1 change".to_owned(), "it"),
        many => (format!("{} changes", count(many as u64)), "all"),
    };
    match destructive {
        _ if changes.is_empty() => "nothing to change: the tables are as the models say".into(),
        0 => format!("{number}, harmless: `{run}` makes {it}"),
        _ if !refused.is_empty() => {
            let refused = refused.into_iter().collect::<Vec<_>>().join(", ");
            format!(
                "{number}, {destructive} destructive: `{run}` fails for {refused}, `{run} --allow-destructive` makes {it}"
            )
        }
        _ if destructive == changes.len() => {
            format!("{number}, {destructive} destructive: only `{run} --allow-destructive` makes {it}")
        }
        _ => format!("{number}, {destructive} destructive: `{run}` makes the others, `{run} --allow-destructive` all"),
    }
}

fn wire(plan: &TablePlan) -> serde_json::Value {
    let TablePlan { table, changes, rereads } = plan;
    let change = |change: &PlannedChange| {
        let PlannedChange { action, detail, destructive, refused, meaning } = change;
        json!({
            "action": action, "detail": detail, "destructive": destructive, "refused_without_permission": refused, "meaning": meaning,
        })
    };
    json!({
        "table": table,
        "changes": changes.iter().map(change).collect::<Vec<_>>(),
        "reads_again": rereads.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
