use std::collections::BTreeMap;
use std::path::Path;

use super::output::{DIM, Failure, json_line, table};
use super::{Done, project};
use crate::diagnostic::suggest;
use crate::files;
use crate::plan::{Input, ProviderEntry, SyncEntry};
use crate::spec::CategorySpec;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A provider, of which all is shown; or a word that its name, title or category has: `crm`.
    #[arg(value_name = "NAME")]
    wanted: Option<String>,
    /// One JSON object per provider, as lines, with all that is known of it.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let all = known(folder)?;
    let one = arguments.wanted.as_deref().and_then(|wanted| all.iter().find(|entry| entry.name == wanted));
    let shown = match (&arguments.wanted, one) {
        (_, Some(one)) => vec![one],
        (None, None) => all.iter().collect(),
        (Some(word), None) => matching(&all, word)?,
    };
    if arguments.json {
        shown.into_iter().try_for_each(json_line)?;
    } else if let Some(one) = one {
        print(one);
    } else {
        list(&shown);
    }
    Ok(0)
}

/// The providers of the project in `folder`, if there is one, and those of the catalogue, by name. Of two of one name the project's counts.
pub(super) fn known(folder: &Path) -> Result<Vec<ProviderEntry>, Failure> {
    // as if they were a project's own: without a connection all of them are compiled
    let own: Vec<Input> = files::catalogue().into_iter().map(|input| Input { builtin: false, ..input }).collect();
    let compiled = project::compiled_to_test(folder, &own)?;
    let mut all: BTreeMap<String, ProviderEntry> = by_name(compiled.providers).collect();
    match files::read_project(folder) {
        Ok(inputs) => all.extend(by_name(project::compiled_to_test(folder, &inputs)?.providers)),
        Err(files::Error::NoProject(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(all.into_values().collect())
}

fn by_name(entries: Vec<ProviderEntry>) -> impl Iterator<Item = (String, ProviderEntry)> {
    entries.into_iter().map(|entry| (entry.name.clone(), entry))
}

fn matching<'e>(all: &'e [ProviderEntry], word: &str) -> Result<Vec<&'e ProviderEntry>, Failure> {
    let word = word.to_lowercase();
    let has = |entry: &&ProviderEntry| {
        let category = entry.category.map(CategorySpec::name);
        let texts = [Some(entry.name.as_str()), entry.title.as_deref(), category];
        texts.into_iter().flatten().any(|text| text.to_lowercase().contains(&word))
    };
    let found: Vec<&ProviderEntry> = all.iter().filter(has).collect();
    if found.is_empty() {
        let hint = suggest(&word, all.iter().map(|entry| entry.name.as_str()));
        let hint = hint.unwrap_or_else(|| format!("`headwater new provider {word}` begins one"));
        return Err(Failure::user(format!("no provider has `{word}` in its name, title or category"), Some(hint)));
    }
    Ok(found)
}

fn list(entries: &[&ProviderEntry]) {
    let mut rows: Vec<Vec<String>> = Vec::with_capacity(entries.len());
    for entry in entries {
        rows.push(vec![
            entry.name.clone(),
            entry.title.clone().unwrap_or_default(),
            entry.category.map(|category| category.name().to_owned()).unwrap_or_default(),
            entry.auth.iter().map(|way| way.kind.as_str()).collect::<Vec<_>>().join(", "),
            entry.syncs.len().to_string(),
            entry.actions.len().to_string(),
        ]);
    }
    let headings = ["provider", "title", "category", "ways in", "syncs", "actions"];
    anstream::println!("{}", table(&headings, &rows, &[4, 5]));
    let total = |of: fn(&ProviderEntry) -> usize| entries.iter().map(|entry| of(entry)).sum::<usize>();
    anstream::println!(
        "{} providers, {} syncs, {} actions; {DIM}`headwater providers NAME` shows all of one, `headwater docs FOLDER` writes pages{DIM:#}",
        entries.len(),
        total(|entry| entry.syncs.len()),
        total(|entry| entry.actions.len())
    );
}

fn print(entry: &ProviderEntry) {
    let category = entry.category.map(|category| format!(" · {}", category.name())).unwrap_or_default();
    anstream::println!("{}{category}", entry.title.as_deref().unwrap_or(&entry.name));
    if let Some(docs) = &entry.docs {
        anstream::println!("{DIM}{docs}{DIM:#}");
    }
    anstream::println!("\n{}", entry.connection());
    let described = |text: &Option<String>| text.clone().unwrap_or_default();
    let syncs = entry.syncs.iter().map(|sync| {
        let SyncEntry { name, description, tables, incremental, deletes, .. } = sync;
        let reads = if *incremental { "what changed" } else { "everything" };
        let deletes = deletes.as_deref().unwrap_or("not seen");
        vec![name.clone(), tables.join(", "), reads.to_owned(), deletes.to_owned(), described(description)]
    });
    let syncs: Vec<_> = syncs.collect();
    if !syncs.is_empty() {
        anstream::println!("{}", table(&["sync", "fills", "a run reads", "deletes", "what"], &syncs, &[]));
    }
    let actions = entry.actions.iter().map(|action| vec![action.name.clone(), described(&action.description)]);
    let actions: Vec<_> = actions.collect();
    if !actions.is_empty() {
        anstream::println!("{}", table(&["action", "what"], &actions, &[]));
    }
    for shown in &entry.tables {
        anstream::println!("\n{}  {DIM}{}{DIM:#}", shown.name, described(&shown.description));
        let columns = shown.columns.iter().map(|column| {
            let key = if shown.key.contains(&column.name) { "key" } else { "" };
            vec![column.name.clone(), column.column_type.clone(), key.to_owned(), described(&column.description)]
        });
        anstream::println!("{}", table(&["column", "type", "", "what"], &columns.collect::<Vec<_>>(), &[]));
    }
}
