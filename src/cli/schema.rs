use std::path::PathBuf;

use super::Done;
use super::output::Failure;
use crate::spec::schema::Kind;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The kind to print: project, provider, sync or model.
    #[arg(value_name = "KIND", required_unless_present = "write")]
    kind: Option<String>,
    /// Write all of them into this folder, as `<kind>.json`.
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

#[expect(clippy::disallowed_methods, reason = "the command writes files")]
pub(super) fn run(arguments: &Arguments) -> Done {
    if let Some(folder) = &arguments.write {
        std::fs::create_dir_all(folder)?;
        for kind in Kind::ALL {
            std::fs::write(folder.join(format!("{kind}.json")), text(kind))?;
        }
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
