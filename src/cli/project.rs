//! From a folder to a plan, with the mistakes printed on the way.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use super::output::Failure;
use crate::diagnostic::{Diagnostic, Severity, Source};
use crate::files;
use crate::plan::{Compiled, Input, Known, KnownConnection, NOT_YET, Plan, ShownFile, compile, limits};
use crate::remote::{CredentialStore, Entry};
use crate::serve::Sources;
use crate::spec::schema::Kind;

/// Compiles the project in `folder`.
pub(super) fn compiled(folder: &Path) -> Result<Compiled, Failure> {
    compiled_with(folder, &files::read_project(folder)?)
}

/// Looks whether the project would have mistakes with another text of its project file, and tells them.
pub(super) fn check_with(folder: &Path, text: &str) -> Result<(), Failure> {
    let mut inputs = files::read_project(folder)?;
    for input in inputs.iter_mut().filter(|input| input.kind == Kind::Project) {
        input.source = Arc::new(Source::new(input.source.name.clone(), text));
    }
    let compiled = compiled_with(folder, &inputs)?;
    if compiled.has_errors() { refuse(&compiled).map(drop) } else { Ok(()) }
}

fn compiled_with(folder: &Path, inputs: &[Input]) -> Result<Compiled, Failure> {
    Ok(compile(inputs, folder, &known(folder)?))
}

/// What the credential store has of the connections of the project in `folder`.
fn known(folder: &Path) -> Result<Known, Failure> {
    let entries = CredentialStore::of_project(folder).entries()?;
    let known = entries.into_iter().map(|(name, Entry { provider, facts, credentials, .. })| {
        (name, KnownConnection { provider, facts, credentials: credentials.into_iter().collect() })
    });
    Ok(Known(known.collect()))
}

/// The plan of the project in `folder`, to be shown and not to be run: it may hold what cannot be run yet, which is told.
pub(super) fn plan_to_show(folder: &Path) -> Result<Plan, Failure> {
    let compiled = compiled(folder)?;
    match compiled.plan {
        Some(plan) => {
            let unready = errors(&compiled.diagnostics).len();
            if unready > 0 {
                let words = if unready == 1 { "1 word" } else { &format!("{unready} words") };
                anstream::eprintln!("{words} in these files cannot be run yet; `headwater check` shows where\n");
            }
            Ok(plan)
        }
        None => refuse(&compiled),
    }
}

/// The plan of the project in `folder`; mistakes are printed and end the command.
pub(super) fn plan(folder: &Path) -> Result<Plan, Failure> {
    Ok(served(folder)?.0)
}

/// The plan of these files; mistakes are printed and end the command.
pub(super) fn plan_of(folder: &Path, inputs: &[Input]) -> Result<Plan, Failure> {
    let compiled = compiled_with(folder, inputs)?;
    match compiled.plan {
        Some(plan) => Ok(plan),
        None => refuse(&compiled),
    }
}

/// The same with what it is made from, and the files as they may be shown.
pub(super) fn served(folder: &Path) -> Result<(Plan, Sources, Vec<ShownFile>), Failure> {
    let sources = Sources { files: files::read_project(folder)?, known: known(folder)? };
    let mut compiled = compile(&sources.files, folder, &sources.known);
    let shown = std::mem::take(&mut compiled.files);
    match compiled.plan {
        Some(plan) if errors(&compiled.diagnostics).is_empty() => Ok((plan, sources, shown)),
        _ => refuse(&compiled).map(|plan| (plan, sources, shown)),
    }
}

/// What the integrations of the project in `folder` come to; mistakes are printed and end the command, but what cannot be run yet.
pub(super) fn compiled_to_test(folder: &Path, inputs: &[Input]) -> Result<Compiled, Failure> {
    let compiled = compile(inputs, folder, &Known::default());
    let mistakes: Vec<&Diagnostic> =
        errors(&compiled.diagnostics).into_iter().filter(|error| error.code != NOT_YET).collect();
    if mistakes.is_empty() { Ok(compiled) } else { Err(refused(&mistakes)) }
}

fn errors(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect()
}

fn refuse(compiled: &Compiled) -> Result<Plan, Failure> {
    Err(refused(&errors(&compiled.diagnostics)))
}

fn refused(errors: &[&Diagnostic]) -> Failure {
    print(errors);
    let message = match errors.len() {
        1 => "there is a mistake in the YAML files".to_owned(),
        many => format!("there are {many} mistakes in the YAML files"),
    };
    Failure::user(message, Some("`headwater check` shows warnings too".to_owned()))
}

/// Prints diagnostics on standard error, up to a bound.
pub(super) fn print(diagnostics: &[&Diagnostic]) {
    let color = std::io::stderr().is_terminal();
    for diagnostic in diagnostics.iter().take(limits::DIAGNOSTICS_MAX) {
        anstream::eprintln!("{}\n", diagnostic.render(color));
    }
    if diagnostics.len() > limits::DIAGNOSTICS_MAX {
        anstream::eprintln!("… and {} more\n", diagnostics.len() - limits::DIAGNOSTICS_MAX);
    }
}
