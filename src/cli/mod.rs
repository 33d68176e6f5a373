//! The command line: one file per command. It reads arguments, calls the library and prints; the logic is elsewhere.

mod amend;
mod call;
mod changes;
mod check;
mod connect;
mod connections;
mod demo;
mod describe;
mod docs;
mod dry_run;
mod explain;
mod given;
mod infer;
mod init;
mod key;
mod log;
mod new;
mod notifications;
mod output;
mod pause;
mod plan;
mod progress;
mod project;
mod providers;
mod query;
mod questions;
mod record;
mod remap;
mod reset;
mod retry;
mod run;
mod schema;
mod serve;
mod status;
mod test;
mod traces;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use output::Failure;

/// Syncs APIs into DuckDB tables that know what changed and when. Integrations are YAML files.
#[derive(Debug, Parser)]
#[command(name = "headwater", version, max_term_width = 110, after_help = EXIT_CODES)]
struct Arguments {
    /// The folder with `headwater.yaml`.
    #[arg(long, global = true, default_value = ".", value_name = "DIR")]
    project: PathBuf,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:
    0  done
    1  a mistake in headwater
    2  the YAML, the environment or the command line
    3  the API
    4  the data (guarded deletes, records that do not fit, tests that fail)
    5  the database
  130  stopped, and resumable";

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new project here, with an example to change.
    Init(init::Arguments),
    /// Write the files of a provider, a sync or an action, with comments and a test that passes: from questions, flags, or an OpenAPI document.
    New(Box<new::Arguments>),
    /// Look at an answer of an API and propose a sync and its model: where the records are, key, types, pages, the time of the last change.
    Infer(Box<infer::Arguments>),
    /// Connect an account: ask for what its API needs, agree in the browser, look whether it works, and keep the secrets encrypted.
    Connect(connect::Arguments),
    /// Show each connection and how it is, or ask its API whether it still works.
    Connections(connections::Arguments),
    /// Forget the secrets of a connection. Its rows stay.
    Disconnect(connections::DisconnectArguments),
    /// Find every mistake in the YAML files, with its place and the likely fix.
    Check(check::Arguments),
    /// Run the tests of the integrations: the requests and rows that they expect, with answers out of their files. Sends nothing.
    Test(test::Arguments),
    /// List the providers, the built-in ones and the project's own, or show all of one: ways in, syncs, actions, columns.
    Providers(providers::Arguments),
    /// Write the same as pages for a browser.
    Docs(docs::Arguments),
    /// Make a real run into a database that is thrown away, and keep what was asked and answered as a test, with secrets and personal data
    /// replaced.
    Record(record::Arguments),
    /// Check the YAML files and run the tests that a change concerns, each time a file is saved, until Ctrl-C.
    Watch(watch::Arguments),
    /// Show what a sync would ask and keep: requests, paging, columns, state.
    Explain(explain::Arguments),
    /// Make real requests and show the rows; write nothing.
    DryRun(dry_run::Arguments),
    /// Show what the models would change in the database's tables; write nothing.
    Plan(plan::Arguments),
    /// Sync: all, or what the selectors name.
    Run(run::Arguments),
    /// Keep the tables fresh: run each sync when its `schedule` says, until it is stopped.
    Serve(serve::Arguments),
    /// Keep `headwater serve` from running syncs, until they are resumed.
    Pause(pause::Arguments),
    /// Let `headwater serve` run syncs again.
    Resume(pause::Arguments),
    /// Call an action: ask the API to do something, or for what a table does not have yet.
    Call(call::Arguments),
    /// Map rows again from the records kept beside them (`raw: true`), after the model has changed. Asks no API.
    Remap(remap::Arguments),
    /// Map the records in quarantine again, after the model has changed. Asks no API.
    Retry(retry::Arguments),
    /// Make syncs forget where they are, so that they read everything again; with `--purge` their rows go too.
    Reset(reset::Arguments),
    /// Show each sync's last run, watermark and rows.
    Status(status::Arguments),
    /// Show what applications were told (`notify`), and what has not arrived; send it again.
    Notifications(notifications::Arguments),
    /// Print the rows of a table that changed, in the order of the changes, as JSON lines.
    Changes(changes::Arguments),
    /// Answer a SQL query about the database.
    Query(query::Arguments),
    /// Make and change the key of the credential store, and look whether it is there.
    Key(key::Arguments),
    /// Sync a small sample API that runs inside this program, change its data, and sync again.
    Demo(demo::Arguments),
    /// Write the JSON Schemas of the YAML files.
    Schema(schema::Arguments),
}

/// Reads the arguments, runs the command and gives the exit code.
pub fn main() -> ExitCode {
    let Arguments { project, command } = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // help and version are no errors; all else is one of the command line
            let code = if error.use_stderr() { 2 } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(code),
                Err(_) => ExitCode::from(1),
            };
        }
    };
    let done = match command {
        Command::Init(arguments) => init::run(&project, &arguments),
        Command::New(arguments) => new::run(&project, &arguments),
        Command::Infer(arguments) => infer::run(&project, &arguments),
        Command::Check(arguments) => check::run(&project, &arguments),
        Command::Connect(arguments) => connect::run(&project, &arguments),
        Command::Connections(arguments) => connections::run(&project, &arguments),
        Command::Disconnect(arguments) => connections::disconnect(&project, &arguments),
        Command::Test(arguments) => test::run(&project, &arguments),
        Command::Providers(arguments) => providers::run(&project, &arguments),
        Command::Docs(arguments) => docs::run(&project, &arguments),
        Command::Record(arguments) => record::run(&project, &arguments),
        Command::Watch(arguments) => watch::run(&project, &arguments),
        Command::Explain(arguments) => explain::run(&project, &arguments),
        Command::DryRun(arguments) => dry_run::run(&project, &arguments),
        Command::Plan(arguments) => plan::run(&project, &arguments),
        Command::Run(arguments) => run::run(&project, &arguments),
        Command::Serve(arguments) => serve::run(&project, &arguments),
        Command::Pause(arguments) => pause::run(&project, &arguments, true),
        Command::Resume(arguments) => pause::run(&project, &arguments, false),
        Command::Call(arguments) => call::run(&project, &arguments),
        Command::Remap(arguments) => remap::run(&project, &arguments),
        Command::Retry(arguments) => retry::run(&project, &arguments),
        Command::Reset(arguments) => reset::run(&project, &arguments),
        Command::Status(arguments) => status::run(&project, &arguments),
        Command::Notifications(arguments) => notifications::run(&project, &arguments),
        Command::Changes(arguments) => changes::run(&project, &arguments),
        Command::Query(arguments) => query::run(&project, &arguments),
        Command::Key(arguments) => key::run(&project, &arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // who read has seen enough, as `head` has
        Err(failure) if failure.is_gone() => ExitCode::SUCCESS,
        Err(failure) => {
            output::print_failure(&failure);
            ExitCode::from(failure.code)
        }
    }
}

/// What a command gives: an exit code, or a failure to print.
type Done = Result<u8, Failure>;
