use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use serde_json::json;

use super::output::{self, Failure, count, json_line, table};
use super::{Done, project};
use crate::diagnostic::suggest;
use crate::engine;
use crate::plan::{Plan, SyncId, UnknownSelector, limits};
use crate::store::{self, Forgotten, Remembered, Reset, Store};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What to reset: a provider, a connection, either with `/sync` (and `@variant`). A sync that is no longer in the YAML goes by its
    /// whole name, `connection/sync` or `connection/sync@variant`. Without any: everything.
    #[arg(value_name = "SELECTOR")]
    selectors: Vec<String>,
    /// Only this partition of the syncs, as `headwater.partitions` names it.
    #[arg(long, value_name = "NAME")]
    partition: Option<String>,
    /// Remove the rows too: for good, and without marking them as deleted first.
    #[arg(long)]
    purge: bool,
    /// Do it without asking.
    #[arg(long)]
    yes: bool,
    /// One JSON object that says what was forgotten and removed.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let plan = project::plan(folder)?;
    // the lock is held while the person thinks: what is shown is what is done
    let mut store = match Store::open_existing(&plan.database, Box::new(|holder| anstream::eprintln!("{holder}"))) {
        Ok(store) => Some(store),
        Err(store::Error::Missing { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let known = store.as_mut().map_or(Ok(Vec::new()), Store::known_syncs)?;
    let syncs = chosen(&plan, &known, &arguments.selectors)?;
    let reset = Reset { syncs, partition: arguments.partition.clone(), purge: arguments.purge };
    let would = store.as_mut().map_or_else(|| Ok(Forgotten::default()), |store| store.would_forget(&reset))?;
    let Some(store) = store.as_mut().filter(|_| would != Forgotten::default()) else {
        return nothing(arguments);
    };
    if !arguments.yes {
        store.release()?;
        if !arguments.json {
            show(&would, &plan.database, arguments.purge);
        }
        if !asked(arguments.json)? {
            anstream::println!("nothing was changed");
            return Ok(output::STOPPED);
        }
    }
    let forgotten = store.forget(&reset, engine::system_clock()())?;
    store.release()?;
    report(&forgotten, arguments)
}

/// The syncs of the plan that the selectors mean, and those of the database that have just these names.
fn chosen(plan: &Plan, known: &[SyncId], selectors: &[String]) -> Result<Vec<SyncId>, UnknownSelector> {
    let mut chosen: Vec<SyncId> = Vec::new();
    if selectors.is_empty() {
        chosen.extend(plan.syncs.iter().map(|sync| sync.id.clone()));
    }
    for selector in selectors {
        let stored = known.iter().filter(|id| id.to_string() == *selector);
        let before = chosen.len();
        chosen.extend(stored.cloned());
        match plan.select(std::slice::from_ref(selector)) {
            Ok(planned) => chosen.extend(planned.iter().map(|sync| sync.id.clone())),
            Err(_) if chosen.len() > before => {}
            Err(UnknownSelector { selector, hint }) => {
                let names: Vec<String> = known.iter().map(ToString::to_string).collect();
                let hint = suggest(&selector, names.iter().map(String::as_str)).or(hint);
                return Err(UnknownSelector { selector, hint });
            }
        }
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

fn nothing(arguments: &Arguments) -> Done {
    if arguments.json {
        json_line(&wire(&Forgotten::default(), arguments))?;
    } else {
        anstream::println!("there is nothing to forget");
    }
    Ok(0)
}

/// What is about to happen.
fn show(would: &Forgotten, database: &Path, purge: bool) {
    if !would.syncs.is_empty() {
        anstream::println!("{} will read everything again at the next run:", syncs(would.syncs.len()));
        let names = would.syncs.iter().map(|remembered| remembered.id.to_string());
        let width = names.map(|name| name.len()).max().unwrap_or(0);
        for remembered in would.syncs.iter().take(limits::LISTED_MAX) {
            anstream::println!("  {:width$}  {}", remembered.id.to_string(), place(remembered));
        }
        if would.syncs.len() > limits::LISTED_MAX {
            anstream::println!("  … and {} more", would.syncs.len() - limits::LISTED_MAX);
        }
    }
    if purge && would.removed.is_empty() {
        anstream::println!("there are no rows to remove\n");
    } else if purge {
        anstream::println!("removed from `{}` for good:", database.display());
        anstream::println!("{}", removed(would));
        anstream::println!(
            "no row is marked as deleted first: whoever follows `_change` is not told, and keeps the rows it has\n"
        );
    } else {
        anstream::println!("all rows stay\n");
    }
}

/// Where a sync is, in words.
fn place(remembered: &Remembered) -> String {
    let mut words = Vec::new();
    if let Some(watermark) = &remembered.watermark {
        words.push(format!("read up to {watermark}"));
    }
    if remembered.parts > 1 {
        words.push(format!("{} partitions", count(remembered.parts)));
    }
    if remembered.scanning {
        words.push("in the middle of a scan".to_owned());
    }
    if words.is_empty() {
        words.push("read to the end".to_owned());
    }
    words.join(", ")
}

fn syncs(number: usize) -> String {
    if number == 1 { "1 sync".to_owned() } else { format!("{} syncs", count(number as u64)) }
}

fn removed(forgotten: &Forgotten) -> comfy_table::Table {
    let rows: Vec<Vec<String>> =
        forgotten.removed.iter().map(|(table, rows)| vec![table.clone(), count(*rows)]).collect();
    table(&["table", "rows"], &rows, &[1])
}

/// # Errors
/// Nobody is there to be asked.
fn asked(json: bool) -> Result<bool, Failure> {
    if json || !std::io::stdin().is_terminal() {
        let message = if json { "`--json` does not ask" } else { "nobody is there to be asked" };
        return Err(Failure::user(
            format!("{message}, so nothing was changed"),
            Some("`--yes` does it without asking".to_owned()),
        ));
    }
    anstream::eprint!("go on? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(means_yes(&answer))
}

fn means_yes(answer: &str) -> bool {
    ["y", "yes"].contains(&answer.trim().to_lowercase().as_str())
}

fn report(forgotten: &Forgotten, arguments: &Arguments) -> Done {
    if arguments.json {
        json_line(&wire(forgotten, arguments))?;
        return Ok(0);
    }
    let rows: u64 = forgotten.removed.iter().map(|(_, rows)| rows).sum();
    if arguments.purge && arguments.yes && rows > 0 {
        anstream::println!("{}", removed(forgotten));
    }
    let all = format!(
        "{} forgot where {} stood",
        syncs(forgotten.syncs.len()),
        if forgotten.syncs.len() == 1 { "it" } else { "they" }
    );
    match (arguments.purge, forgotten.syncs.len()) {
        (true, 0) => anstream::println!("removed {} rows", count(rows)),
        (true, _) => anstream::println!("{all}; removed {} rows", count(rows)),
        (false, _) => anstream::println!("{all}; all rows stayed"),
    }
    Ok(0)
}

fn wire(forgotten: &Forgotten, arguments: &Arguments) -> serde_json::Value {
    let removed = forgotten.removed.iter().map(|(table, rows)| json!({ "table": table, "rows": rows }));
    let syncs = forgotten.syncs.iter().map(|remembered| {
        json!({
            "sync": remembered.id.to_string(), "watermark": remembered.watermark, "partitions": remembered.parts,
            "scanning": remembered.scanning,
        })
    });
    json!({
        "purged": arguments.purge,
        "partition": arguments.partition,
        "syncs": syncs.collect::<Vec<_>>(),
        "removed": removed.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_a_clear_yes_is_one() {
        for yes in ["y\n", "Y\n", "yes", " YES \r\n"] {
            assert!(super::means_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "yeah\n", "no yes\n", "yy"] {
            assert!(!super::means_yes(no), "{no:?}");
        }
    }
}
