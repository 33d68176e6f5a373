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

/// The plan of the project in `folder`; mistakes are printed and end the command.
pub(super) fn plan(folder: &Path) -> Result<Plan, Failure> {
    let compiled = compiled(folder)?;
    let errors: Vec<&Diagnostic> =
        compiled.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    match compiled.plan {
        Some(plan) if errors.is_empty() => Ok(plan),
        _ => {
            print(&errors);
            let message = match errors.len() {
                1 => "there is a mistake in the YAML files".to_owned(),
                many => format!("there are {many} mistakes in the YAML files"),
            };
            Err(Failure::user(message, Some("`headwater check` shows warnings too".to_owned())))
        }
    }
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
