use std::path::{Path, PathBuf};

use super::{Writing, files};
use crate::cli::output::{DIM, Failure, visible};
use crate::cli::{Done, given};
use crate::draft::openapi::{Drafts, draft};
use crate::draft::{
    file_name, files_of_action, files_of_project, files_of_provider, files_of_sync, surroundings_of_draft,
};
use crate::spec::foreign;

#[derive(Debug, clap::Args)]
pub(super) struct OpenApi {
    /// An OpenAPI 3 document, as JSON or YAML (`-` for standard input): a provider with syncs, models, actions and tests is drafted from it.
    #[arg(long, value_name = "FILE")]
    openapi: Option<PathBuf>,
    /// The provider's name; without it that of the document.
    #[arg(long, value_name = "NAME", requires = "openapi")]
    name: Option<String>,
    /// Where the API is, if the document does not say it.
    #[arg(long, value_name = "URL", requires = "openapi")]
    base_url: Option<String>,
    /// Only operations whose path or id has this in it; may be given several times.
    #[arg(long, value_name = "TEXT", requires = "openapi")]
    only: Vec<String>,
    /// No actions: only what is read.
    #[arg(long, requires = "openapi")]
    no_actions: bool,
    #[command(flatten)]
    writing: Writing,
}

impl OpenApi {
    pub(super) fn is_given(&self) -> bool {
        self.openapi.is_some()
    }
}

/// Operations that are told of as left out.
const SKIPPED_SHOWN: usize = 8;

pub(super) fn run(folder: &Path, arguments: &OpenApi) -> Done {
    let Some(file) = &arguments.openapi else { return Ok(0) };
    let bytes = given::bytes(file)?;
    let text =
        String::from_utf8(bytes).map_err(|_| Failure::user(format!("`{}` is not UTF-8", file.display()), None))?;
    let document = foreign::parse(&text).map_err(|error| {
        Failure::user(format!("`{}` is neither JSON nor YAML: {}", file.display(), visible(&error)), None)
    })?;
    let title = document.pointer("/info/title").and_then(serde_json::Value::as_str).unwrap_or("api");
    let name = match &arguments.name {
        Some(name) => {
            super::named(&format!("{name}/x"), "contacts")?;
            name.clone()
        }
        None => file_name(title),
    };
    let drafts = draft(&document, &name, arguments.base_url.as_deref(), &arguments.only).map_err(|error| {
        let hint = "give a document that begins with `openapi: 3.0.…` or `3.1.…`".to_owned();
        Failure::user(error.to_string(), Some(hint))
    })?;
    let Drafts { provider, syncs, actions, skipped } = &drafts;
    let around = surroundings_of_draft(provider);
    let mut written = files_of_provider(provider);
    if !files::is_project(folder) {
        written.extend(files_of_project(provider));
        written.extend(files::schemas());
    }
    for (sync, model) in syncs {
        written.extend(files_of_sync(sync, model, &around));
    }
    let actions = if arguments.no_actions { &[] } else { actions.as_slice() };
    for action in actions {
        written.extend(files_of_action(action, &around));
    }
    let next = [
        format!("headwater test {name}/                    run all tests, without a network"),
        "look at each `guess` and `look` in the files, and take away what you do not need".to_owned(),
        format!("headwater connect {name}                  give an account's secrets, and try them"),
        format!("headwater dry-run {name}                  real requests, rows shown, nothing written"),
    ];
    files::write(folder, &written, &arguments.writing, &next)?;
    if !arguments.writing.json {
        anstream::eprintln!(
            "{DIM}{} syncs and {} actions; {} operations make neither{DIM:#}",
            syncs.len(),
            actions.len(),
            skipped.len()
        );
        for (operation, why) in
            skipped.iter().filter(|(operation, _)| operation.starts_with("get ")).take(SKIPPED_SHOWN)
        {
            anstream::eprintln!("{DIM}  {}: {why}{DIM:#}", visible(operation));
        }
    }
    Ok(0)
}
