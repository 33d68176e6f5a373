//! From a folder to a plan, with the mistakes printed on the way.

use std::io::IsTerminal;
use std::path::Path;

use super::output::Failure;
use crate::diagnostic::{Diagnostic, Severity};
use crate::files;
use crate::plan::{Compiled, Plan, compile, limits};

/// Compiles the project in `folder`.
pub(super) fn compiled(folder: &Path) -> Result<Compiled, Failure> {
    Ok(compile(&files::read_project(folder)?, folder))
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
    let compiled = compiled(folder)?;
    match compiled.plan {
        Some(plan) if errors(&compiled.diagnostics).is_empty() => Ok(plan),
        _ => refuse(&compiled),
    }
}

fn errors(diagnostics: &[Diagnostic]) -> Vec<&Diagnostic> {
    diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect()
}

fn refuse(compiled: &Compiled) -> Result<Plan, Failure> {
    let errors = errors(&compiled.diagnostics);
    print(&errors);
    let message = match errors.len() {
        1 => "there is a mistake in the YAML files".to_owned(),
        many => format!("there are {many} mistakes in the YAML files"),
    };
    Err(Failure::user(message, Some("`headwater check` shows warnings too".to_owned())))
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
