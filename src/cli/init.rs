use std::path::Path;

use super::Done;
use super::output::Failure;
use crate::files::PROJECT_FILE;
use crate::spec::schema::Kind;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

/// A small project to change.
const FILES: [(&str, &str); 5] = [
    (PROJECT_FILE, include_str!("init/headwater.yaml")),
    ("providers/example.yaml", include_str!("init/provider.yaml")),
    ("integrations/example/syncs/contacts.yaml", include_str!("init/sync.yaml")),
    ("integrations/example/models/Contact.yaml", include_str!("init/model.yaml")),
    (".gitignore", "*.duckdb\n*.duckdb.*\n"),
];

#[expect(clippy::disallowed_methods, reason = "the command writes files")]
pub(super) fn run(folder: &Path, _: &Arguments) -> Done {
    if folder.join(PROJECT_FILE).exists() {
        let message = format!("there is a project in {} already", folder.display());
        return Err(Failure::user(message, Some("`headwater check` looks at it".to_owned())));
    }
    let mut files: Vec<(String, String)> =
        FILES.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    for kind in Kind::ALL {
        files.push((format!("schemas/{kind}.json"), super::schema::text(kind)));
    }
    for (path, text) in files {
        let target = folder.join(&path);
        if target.exists() {
            anstream::println!("  kept     {path}");
            continue;
        }
        let parent = target.parent().unwrap_or(folder);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&target, text))
            .map_err(|error| Failure::user(format!("{} cannot be written: {error}", target.display()), None))?;
        anstream::println!("  written  {path}");
    }
    anstream::println!("\nnext: change providers/example.yaml to your API, then");
    anstream::println!("  headwater check      find every mistake");
    anstream::println!("  headwater dry-run    make the first request and show the rows");
    anstream::println!("  headwater run        sync into the DuckDB file");
    Ok(0)
}
