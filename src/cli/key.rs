use std::path::Path;

use secrecy::ExposeSecret;
use serde_json::json;

use super::Done;
use super::output::{Failure, json_line};
use crate::files::{self, PROJECT_FILE};
use crate::remote::credential_store::{CredentialStore, Key, Rotated, Status, StoreError};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print a new key, and nothing else, on standard output.
    New,
    /// Seal all that is kept with another key.
    Rotate(Form),
    /// Show which key the store needs, where keys come from, and whether the store opens.
    Status(Form),
}

#[derive(Debug, clap::Args)]
struct Form {
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    match &arguments.action {
        Action::New => new(),
        Action::Rotate(form) => rotate(&of_project(folder)?, form.json),
        Action::Status(form) => status(&of_project(folder)?.status(), form.json),
    }
}

fn of_project(folder: &Path) -> Result<CredentialStore, Failure> {
    if folder.join(PROJECT_FILE).is_file() {
        Ok(CredentialStore::of_project(folder))
    } else {
        Err(files::Error::NoProject(folder.display().to_string()).into())
    }
}

fn new() -> Done {
    let key = Key::generate()?;
    anstream::println!("{}", key.text().expose_secret());
    anstream::eprintln!(
        "this is the key `{}`; give it to headwater as `HEADWATER_KEY`, or put it where `HEADWATER_KEY_FILE` or \
         `HEADWATER_KEY_COMMAND` finds it, and keep a copy: without it, what it seals is lost",
        key.id()
    );
    Ok(0)
}

fn rotate(store: &CredentialStore, json: bool) -> Done {
    let rotated = store.rotate()?;
    if json {
        json_line(&match &rotated {
            None => json!({ "rotated": false }),
            Some(Rotated { from, to, entries, new_key, left }) => json!({
                "rotated": true, "from": from, "to": to, "connections": entries, "new_key": new_key, "left": left,
            }),
        })?;
        return Ok(0);
    }
    let Some(Rotated { from, to, entries, new_key, left }) = rotated else {
        anstream::println!("nothing is kept in `{}` yet", store.path().display());
        return Ok(0);
    };
    anstream::println!("{} sealed again: key `{from}` is replaced by `{to}`", connections(entries));
    match (&new_key, &left) {
        (None, _) => anstream::println!("headwater no longer needs `{from}` here"),
        (Some(new), None) => anstream::println!("the new key is `{}`, and the old one is removed", new.display()),
        (Some(new), Some(old)) => anstream::println!(
            "the new key is `{}`; the old one could not be removed: `{}`",
            new.display(),
            old.display()
        ),
    }
    Ok(0)
}

fn status(status: &Status, json: bool) -> Done {
    let Status { path, key, connections: kept, source, problem } = status;
    let code = if problem.is_some() { 2 } else { 0 };
    if json {
        let error = problem
            .as_ref()
            .map(|error| json!({ "code": error.code(), "message": error.to_string(), "hint": error.hint() }));
        let source = source.as_ref().map(|source| source.replace('`', ""));
        json_line(&json!({ "store": path, "key": key, "connections": kept, "source": source, "error": error }))?;
        return Ok(code);
    }
    match key {
        None if problem.is_none() => anstream::println!("store  `{}`, which is not there yet", path.display()),
        None => anstream::println!("store  `{}`", path.display()),
        Some(key) => {
            anstream::println!("store  `{}`, {}", path.display(), connections(*kept));
            anstream::println!("needs  the key `{key}`");
        }
    }
    if let Some(source) = source {
        let found = if key.is_some() && problem.is_none() {
            "it is there, and everything opens"
        } else {
            "keys are looked for there"
        };
        anstream::println!("keys   {source}: {found}");
    }
    match problem {
        None => Ok(code),
        Some(error) => Err(failure(error)),
    }
}

fn connections(number: usize) -> String {
    if number == 1 { "1 connection".to_owned() } else { format!("{number} connections") }
}

fn failure(error: &StoreError) -> Failure {
    Failure::user(error.to_string(), error.hint())
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        failure(&error)
    }
}
