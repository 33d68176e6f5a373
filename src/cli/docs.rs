use std::path::{Path, PathBuf};

use serde_json::json;

use super::output::{Failure, json_line};
use super::{Done, providers};
use crate::site;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder the pages are written into; `index.html` is the first.
    #[arg(value_name = "FOLDER")]
    into: PathBuf,
    /// Print one JSON object that says what was written.
    #[arg(long)]
    json: bool,
}

#[expect(clippy::disallowed_methods, reason = "the command writes files")]
pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let entries = providers::known(folder)?;
    let pages = site::pages(&entries).map_err(|error| Failure { code: 1, ..Failure::user(error.to_string(), None) })?;
    std::fs::create_dir_all(&arguments.into)?;
    for page in &pages {
        std::fs::write(arguments.into.join(&page.file), &page.text)?;
    }
    let first = arguments.into.join("index.html");
    if arguments.json {
        json_line(&json!({ "pages": pages.len(), "index": first }))?;
    } else {
        anstream::println!("wrote the pages of {} providers; the first is {}", entries.len(), first.display());
    }
    Ok(0)
}
