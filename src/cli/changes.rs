use std::ops::ControlFlow;
use std::path::Path;

use super::output::json_line;
use super::{Done, project, status};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The table: `schema.table`, or its name alone where it is the only one.
    #[arg(value_name = "TABLE")]
    table: String,
    /// Only rows with a higher change number; the highest one printed is the next `--after`.
    #[arg(long, default_value_t = 0, value_name = "N")]
    after: i64,
    /// At most so many rows.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    let store = status::open(&plan.database)?;
    let mut written = Ok(());
    store.changes(&arguments.table, arguments.after, arguments.limit, |row| {
        written = json_line(&row);
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    written.map(|()| 0)
}
