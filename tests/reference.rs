//! The reference of the language: fresh, without gaps, and every example in it checked.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use headwater::diagnostic::Diagnostic;
use headwater::plan::{Known, compile};
use headwater::spec::reference::{Example, Reference, Subject, reference};
use headwater::spec::schema::Kind;
use headwater::{files, spec};
use serde_json::Value;

use crate::language::{files_below, rendered};
use crate::support::Project;

/// A construct that is checked and explained, and cannot run yet: no mistake of the document.
const NOT_YET: &str = "E090";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference")
}

fn projects() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("examples")).expect("a folder");
    let mut projects: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    projects.sort();
    projects
}

fn made() -> Reference {
    let mut examples = Vec::new();
    for project in projects() {
        let below = project.file_name().expect("a name").to_str().expect("a name").to_owned();
        let inputs = files::read_project(&project).expect("a project");
        examples.extend(inputs.into_iter().filter(|input| !input.builtin && !input.stray).map(|input| Example {
            name: format!("{below}/{}", input.source.name),
            subject: input.kind.name().to_owned(),
            text: input.source.text.clone(),
        }));
    }
    reference(&Subject::all(), &examples)
}

fn kept(file: &str) -> String {
    std::fs::read_to_string(folder().join(file)).unwrap_or_else(|error| panic!("docs/reference/{file}: {error}"))
}

#[test]
fn the_reference_is_fresh() {
    let made = made();
    for page in &made.pages {
        assert!(kept(&page.file) == page.text, "docs/reference/{} is stale: `./dev schemas` makes it fresh", page.file);
    }
    let files: BTreeSet<String> = std::fs::read_dir(folder())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    let expected = made.pages.iter().map(|page| page.file.clone()).chain(["examples".to_owned()]).collect();
    assert_eq!(files, expected, "a page for each kind of document, and one that leads to them");
    assert_eq!(made.pages.len(), Kind::ALL.len() + 1);
}

#[test]
fn every_word_is_explained_and_shown() {
    let Reference { without_example, without_meaning, .. } = made();
    assert!(without_meaning.is_empty(), "write a doc comment in src/spec/ for {without_meaning:#?}");
    assert!(
        without_example.is_empty(),
        "no document below docs/reference/examples/ uses {without_example:#?}\n\
         write a short use of each, then `./dev schemas`"
    );
}

#[test]
fn the_program_writes_the_pages_and_tells_what_is_not_shown() {
    let project = Project::empty();
    let small = folder().join("examples/tracker");
    for file in files_below(&small) {
        let below = file.strip_prefix(&small).expect("below").to_str().expect("a name");
        project.write(&format!("examples/tracker/{below}"), std::fs::read(&file).expect("a file"));
    }
    let output = project.headwater(&["schema", "--reference", project.path().to_str().expect("a path")]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(output.stderr.contains("\n  sync: pagination.cursor.has_more\n"), "{}", output.stderr);
    assert!(!output.stderr.contains("pagination.relay"), "{}", output.stderr);
    for file in ["README.md", "project.md", "provider.md", "sync.md", "model.md"] {
        assert!(project.path().join(file).is_file(), "{file}");
    }
    let text = std::fs::read_to_string(project.path().join("sync.md")).expect("a page");
    assert!(text.contains("[tracker: issues.yaml](examples/tracker/integrations/tracker/syncs/issues.yaml)"), "{text}");
}

/// `(default 4)` in a doc comment is to be `#[schemars(extend("default" = 4))]`.
#[test]
fn a_default_stands_in_the_schema_and_not_in_prose() {
    let found = made().default_in_prose;
    assert!(found.is_empty(), "these tell their default in prose: {found:#?}");
}

#[test]
fn every_example_is_a_project_without_mistakes() {
    let mut found: Vec<Diagnostic> = Vec::new();
    let projects = projects();
    assert!(!projects.is_empty());
    for project in projects {
        let inputs = files::read_project(&project).expect("a project");
        assert!(inputs.iter().all(|input| !input.stray), "a file of {} is read in no folder", project.display());
        let compiled = compile(&inputs, &project, &Known::default());
        // an example is connected to nothing
        let is_meant = |diagnostic: &Diagnostic| [NOT_YET, "W099"].contains(&diagnostic.code);
        found.extend(compiled.diagnostics.into_iter().filter(|diagnostic| !is_meant(diagnostic)));
        assert!(
            compiled.plan.is_some() || !found.is_empty(),
            "{}: nothing says why there is no plan",
            project.display()
        );
    }
    assert!(found.is_empty(), "{}", rendered(&found));
}

/// A fenced block of a page with the example it is from.
struct Shown {
    page: String,
    example: String,
    text: String,
}

fn shown() -> Vec<Shown> {
    let mut found = Vec::new();
    for page in made().pages {
        let mut rest = page.text.as_str();
        while let Some((before, behind)) = rest.split_once("```yaml\n") {
            let (text, behind) = behind.split_once("```").expect("the block ends");
            let link = before.trim_end().lines().last().expect("a line above");
            let example = link.split_once("](examples/").and_then(|(_, target)| target.strip_suffix(')'));
            let example = example.unwrap_or_else(|| panic!("{}: no link above a block: {link}", page.file));
            found.push(Shown { page: page.file.clone(), example: example.to_owned(), text: text.to_owned() });
            rest = behind;
        }
    }
    assert!(found.len() > 30, "the search finds what it looks for");
    found
}

/// Whether `part` is what is left of `whole` when members and items are taken out.
fn is_part(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(key, inner)| whole.get(key).is_some_and(|other| is_part(inner, other)))
        }
        (Value::Array(part), Value::Array(whole)) => {
            let mut rest = whole.iter();
            part.iter().all(|item| rest.any(|other| is_part(item, other)))
        }
        _ => part == whole,
    }
}

/// Lines of an example that is no whole document. A longer one says that a shorter use is missing.
const LINES_MAX: usize = 16;

#[test]
fn what_is_shown_is_short_and_a_part_of_a_checked_document() {
    for Shown { page, example, text } in shown() {
        let whole = std::fs::read_to_string(folder().join("examples").join(&example)).expect("the example");
        let part = spec::yaml::parse(&text).unwrap_or_else(|error| panic!("{page}: {error:?}\n{text}"));
        let document = spec::yaml::parse(&whole).expect("YAML");
        assert!(is_part(&part, &document), "{page}: not in {example}:\n{text}");
        let lines = text.lines().count();
        assert!(part == document || lines <= LINES_MAX, "{page}: {lines} lines; write a shorter use:\n{text}");
    }
}

/// Links out of `text` that are no web addresses.
pub fn links(text: &str) -> Vec<&str> {
    let behind = text.split("](").skip(1);
    behind.filter_map(|rest| rest.split(')').next()).filter(|link| !link.contains("://")).collect()
}

/// Anchors as GitHub makes them.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        if let Some(heading) = line.strip_prefix('#').filter(|_| !fenced) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
            let slug: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let twice = (1..).map(|count| format!("{slug}-{count}")).find(|name| !found.contains(name));
            let name = if found.contains(&slug) { twice.expect("a free name") } else { slug };
            found.insert(name);
        }
    }
    found
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for page in made().pages {
        for link in links(&page.text) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = folder().join(if file.is_empty() { &page.file } else { file });
            assert!(target.exists(), "{}: there is no {link}", page.file);
            if !anchor.is_empty() {
                let text = std::fs::read_to_string(&target).expect("a page");
                assert!(anchors(&text).contains(anchor), "{}: there is no {link}", page.file);
            }
            followed += 1;
        }
    }
    assert!(followed > 100, "the search finds what it looks for: {followed}");
}

/// A type that several kinds of documents share is described once, so its name must mean one thing.
#[test]
fn types_of_one_name_are_one_type() {
    for one in Kind::ALL {
        for other in Kind::ALL {
            let types = |kind: Kind| kind.schema().get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
            let others = types(other);
            for (name, schema) in types(one) {
                assert!(others.get(&name).is_none_or(|other| *other == schema), "{one} and {other}: {name}");
            }
        }
    }
}

/// GitHub shows tables of equal rows alone.
#[test]
fn tables_are_whole() {
    for page in made().pages {
        let mut columns = None;
        for line in page.text.lines() {
            let cells = line.starts_with('|').then(|| line.replace("\\|", "").matches('|').count());
            assert!(columns.is_none() || cells.is_none() || columns == cells, "{}: {line}", page.file);
            columns = cells;
        }
    }
}
