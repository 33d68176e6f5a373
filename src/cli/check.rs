use std::path::Path;

use super::output::json_line;
use super::{Done, project};
use crate::diagnostic::{Diagnostic, Severity, sarif};
use crate::plan::Compiled;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One JSON object per mistake, as lines.
    #[arg(long)]
    json: bool,
    /// One SARIF 2.1.0 log, for code review tools.
    #[arg(long, conflicts_with = "json")]
    sarif: bool,
    /// Warnings fail too.
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let compiled = project::compiled(folder)?;
    let diagnostics: Vec<&Diagnostic> = compiled.diagnostics.iter().collect();
    if arguments.json {
        for diagnostic in &diagnostics {
            json_line(&diagnostic.to_json())?;
        }
    } else if arguments.sarif {
        json_line(&sarif::log(&compiled.diagnostics, folder))?;
    } else {
        project::print(&diagnostics);
        anstream::println!("{}", verdict(&compiled, arguments.strict));
    }
    let fails = compiled.has_errors() || (arguments.strict && !diagnostics.is_empty());
    Ok(if fails { 2 } else { 0 })
}

/// What there is to say of a project in one line; `strict` where warnings are as bad as errors.
pub(super) fn verdict(compiled: &Compiled, strict: bool) -> String {
    let diagnostics = &compiled.diagnostics;
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let (syncs, connections) = compiled.plan.as_ref().map_or((0, 0), |plan| (plan.syncs.len(), plan.connections.len()));
    // what cannot be run yet says all there is to say
    let worst = diagnostics.iter().min_by_key(|diagnostic| (diagnostic.code == "E090", diagnostic.severity));
    let more = worst.map(|worst| format!("; `headwater explain {}` says more", worst.code)).unwrap_or_default();
    if errors > 0 {
        return format!("{}, {}{more}", plural(errors, "error"), plural(warnings, "warning"));
    }
    if strict && warnings > 0 {
        return format!("{}, which `--strict` does not let pass{more}", plural(warnings, "warning"));
    }
    let (syncs, connections) = (plural(syncs, "sync"), plural(connections, "connection"));
    format!("ok: {syncs} of {connections}, {}{more}", plural(warnings, "warning"))
}

fn plural(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}
