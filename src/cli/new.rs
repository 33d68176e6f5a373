//! `headwater new`: the files of a provider, a sync or an action, from what a person says, an answer of the API, or an OpenAPI document.

mod action;
pub(super) mod files;
mod openapi;
mod provider;
pub(super) mod sync;

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::Done;
use super::output::Failure;
use super::questions::Questions;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    openapi: openapi::OpenApi,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A provider: where an API is, and how a request proves who asks.
    Provider(provider::Arguments),
    /// A sync with its model and a test: one list of the API as a table.
    Sync(Box<sync::Arguments>),
    /// An action with a test: something that the API does.
    Action(action::Arguments),
}

/// Flags of all that is written.
#[derive(Debug, clap::Args)]
pub(super) struct Writing {
    /// Write over files that are there already.
    #[arg(long)]
    pub(super) force: bool,
    /// Ask nothing, as where there is no terminal.
    #[arg(long)]
    pub(super) no_questions: bool,
    /// What was written as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Writing {
    fn questions(&self) -> Questions {
        Questions::here(self.no_questions || self.json)
    }
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let Arguments { what, openapi } = arguments;
    match what {
        Some(What::Provider(arguments)) => provider::run(folder, arguments),
        Some(What::Sync(arguments)) => sync::run(folder, arguments),
        Some(What::Action(arguments)) => action::run(folder, arguments),
        None if openapi.is_given() => openapi::run(folder, openapi),
        None => {
            let hint = "say what: `headwater new provider acme`, `new sync acme/contacts`, `new action acme/create-contact`, or `new --openapi FILE`";
            Err(Failure::user("nothing is named that is to be written", Some(hint.to_owned())))
        }
    }
}

/// `acme/contacts` as the names of a provider and of something of it.
pub(super) fn named<'n>(text: &'n str, what: &str) -> Result<(&'n str, &'n str), Failure> {
    let is_name = |name: &str| {
        name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
    };
    match text.split_once('/') {
        Some((provider, name)) if is_name(provider) && is_name(name) => Ok((provider, name)),
        _ => {
            let hint =
                format!("write the provider and its name: `acme/{what}`, in lowercase letters, digits, `_` and `-`");
            Err(Failure::user(format!("`{text}` is no name of something of a provider"), Some(hint)))
        }
    }
}

/// A sample beside the project, as `--sample` names it.
#[derive(Debug, clap::Args)]
pub(super) struct SampleFile {
    /// One answer of the API: a file, or `-` for standard input. Columns, types and pages are taken from it.
    #[arg(long, value_name = "FILE")]
    pub(super) sample: Option<PathBuf>,
}
