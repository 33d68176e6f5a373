//! Writing drafts into a project, and what is told of it.

use std::path::Path;

use serde_json::json;

use super::Writing;
use crate::cli::output::{Failure, json_line, visible};
use crate::cli::project;
use crate::diagnostic::Severity;
use crate::draft::DraftFile;
use crate::files::{self, PROJECT_FILE};
use crate::plan::{Input, limits};
use crate::spec::schema::Kind;
use crate::spec::{ProviderSpec, yaml};

/// Whether a project is here.
pub(super) fn is_project(folder: &Path) -> bool {
    folder.join(PROJECT_FILE).is_file()
}

/// The schemas that editors look into, for a new project.
pub(super) fn schemas() -> Vec<DraftFile> {
    let of = |kind: Kind| DraftFile { path: format!("schemas/{kind}.json"), text: crate::cli::schema::text(kind) };
    Kind::ALL.into_iter().map(of).collect()
}

/// Writes files, all or none of them, and tells of it and of what `check` finds in them.
///
/// # Errors
/// One of them is there already, or cannot be written.
pub(in crate::cli) fn write(
    folder: &Path,
    files: &[DraftFile],
    writing: &Writing,
    next: &[String],
) -> Result<(), Failure> {
    let taken: Vec<&str> =
        files.iter().filter(|file| folder.join(&file.path).exists()).map(|file| file.path.as_str()).collect();
    if let (Some(first), false) = (taken.first(), writing.force) {
        let message = match taken.len() {
            1 => format!("`{first}` is there already, and nothing was written"),
            many => format!("`{first}` and {} more are there already, and nothing was written", many - 1),
        };
        return Err(Failure::user(message, Some("choose another name, or write over it with `--force`".to_owned())));
    }
    for file in files {
        put(folder, file)?;
    }
    let found = told(folder, files)?;
    if writing.json {
        let paths: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
        return json_line(&json!({ "written": paths, "errors": found.0, "warnings": found.1, "next": next }));
    }
    for file in files.iter().take(limits::WRITTEN_LISTED_MAX) {
        anstream::println!("  written  {}", visible(&file.path));
    }
    if files.len() > limits::WRITTEN_LISTED_MAX {
        anstream::println!("  … and {} more", files.len() - limits::WRITTEN_LISTED_MAX);
    }
    match found {
        (0, 0) => anstream::println!("`headwater check` finds nothing wrong in them"),
        (errors, warnings) => {
            anstream::println!("`headwater check` finds {errors} errors and {warnings} warnings in them");
        }
    }
    anstream::println!("\nnext:");
    for line in next {
        anstream::println!("  {line}");
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the command writes files")]
fn put(folder: &Path, file: &DraftFile) -> Result<(), Failure> {
    let target = folder.join(&file.path);
    let parent = target.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent)
        .and_then(|()| std::fs::write(&target, &file.text))
        .map_err(|error| Failure::user(format!("{} cannot be written: {error}", target.display()), None))
}

/// How many errors and warnings stand in these files.
fn told(folder: &Path, files: &[DraftFile]) -> Result<(usize, usize), Failure> {
    let compiled = project::compiled(folder)?;
    let own: std::collections::HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    let in_own = compiled
        .diagnostics
        .iter()
        .filter(|one| own.contains(one.source.name.as_str()) && one.source.name != PROJECT_FILE);
    let (errors, warnings): (Vec<_>, Vec<_>) = in_own.partition(|one| one.severity == Severity::Error);
    let shown: Vec<_> = errors.iter().chain(&warnings).copied().collect();
    project::print(&shown);
    Ok((errors.len(), warnings.len()))
}

/// The file of a provider of the project or of the catalogue, with what it inherits of its words as far as drafts look at them.
pub(in crate::cli) fn provider(folder: &Path, name: &str) -> Result<ProviderSpec, Failure> {
    let inputs = files::read_project(folder)?;
    let found = spec(&inputs, name).ok_or_else(|| {
        let hint = format!("write it first: `headwater new provider {name}`");
        Failure::user(format!("there is no provider `{name}` that can be read"), Some(hint))
    })?;
    let base = found.extends.as_ref().and_then(|base| spec(&inputs, base));
    Ok(match base {
        Some(base) => ProviderSpec {
            auth: found.auth.or(base.auth),
            config: found.config.or(base.config),
            pagination: found.pagination.or(base.pagination),
            query: if found.query.is_empty() { base.query } else { found.query },
            ..found
        },
        None => found,
    })
}

fn spec(inputs: &[Input], name: &str) -> Option<ProviderSpec> {
    let providers = inputs.iter().filter(|input| input.kind == Kind::Provider && !input.stray);
    // a project's own file stands before the catalogue's
    let mut values = providers.filter_map(|input| yaml::parse(&input.source.text).ok());
    let value = values.find(|value| value["provider"].as_str() == Some(name))?;
    serde_json::from_value(value).ok()
}
