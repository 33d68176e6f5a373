use std::path::{Path, PathBuf};

use super::Done;
use super::output::Failure;
use crate::files;
use crate::spec::reference::{Example, Subject, reference};
use crate::spec::schema::Kind;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The kind to print: project, provider, sync or model.
    #[arg(value_name = "KIND", required_unless_present_any = ["write", "reference"])]
    kind: Option<String>,
    /// Write all of them into this folder, as `<kind>.json`.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Write the reference into this folder, with parts of the projects in its folder `examples`.
    #[arg(long, value_name = "DIR", hide = true)]
    reference: Option<PathBuf>,
}

#[expect(clippy::disallowed_methods, reason = "the command writes files")]
pub(super) fn run(arguments: &Arguments) -> Done {
    if let Some(folder) = &arguments.write {
        std::fs::create_dir_all(folder)?;
        for kind in Kind::ALL {
            std::fs::write(folder.join(format!("{kind}.json")), text(kind))?;
        }
    }
    if let Some(folder) = &arguments.reference {
        write_reference(folder)?;
    }
    if let Some(name) = &arguments.kind {
        let names = Kind::ALL.map(Kind::name);
        let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            Failure::user(format!("there is no schema `{name}`"), crate::diagnostic::suggest(name, names))
        })?;
        anstream::print!("{}", text(kind));
    }
    Ok(0)
}

/// The schema as it is checked in.
pub(super) fn text(kind: Kind) -> String {
    let mut text = serde_json::to_string_pretty(kind.schema()).expect("a schema is plain JSON");
    text.push('\n');
    text
}

/// Writes the pages. A gap in them is a failure after all are written.
#[expect(clippy::disallowed_methods, reason = "the command writes files")]
fn write_reference(folder: &Path) -> Result<(), Failure> {
    let made = reference(&Subject::all(), &examples(&folder.join("examples"))?);
    for page in &made.pages {
        std::fs::write(folder.join(&page.file), &page.text)?;
    }
    let gaps = [("no example has", made.without_example), ("no description has", made.without_meaning)];
    let gaps: Vec<String> = gaps
        .into_iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(what, words)| format!("{what}\n  {}", words.join("\n  ")))
        .collect();
    if gaps.is_empty() {
        return Ok(());
    }
    let hint = format!("write a short use of each into a project below {}", folder.join("examples").display());
    Err(Failure::user(gaps.join("\n"), Some(hint)))
}

/// The documents of the projects in a folder, by project.
#[expect(clippy::disallowed_methods, reason = "only the reading of one project is that of `files`")]
fn examples(folder: &Path) -> Result<Vec<Example>, Failure> {
    let mut projects: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    projects.retain(|path| path.is_dir());
    projects.sort();
    let mut examples = Vec::new();
    for project in projects {
        let below = project.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let own = files::read_project(&project)?.into_iter().filter(|input| !input.builtin && !input.stray);
        examples.extend(own.map(|input| Example {
            name: format!("{below}/{}", input.source.name),
            subject: input.kind.name().to_owned(),
            text: input.source.text.clone(),
        }));
    }
    Ok(examples)
}
