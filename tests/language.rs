//! What the language says about mistakes: a case is a file in `language/invalid/`, what `check` prints for it is a snapshot.
//!
//! A case begins with a line that says what somebody did, then come the files that are not as in `language/base/`:
//! `=== <path>`, or `=== <path> is not there`. Its name begins with the codes that it must show.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater::diagnostic::{Diagnostic, Severity, Source};
use headwater::files;
use headwater::plan::{Compiled, Input, Known, compile};
use headwater::spec::schema::Kind;

use crate::support::Project;

mod robust;

pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/language");

/// Codes that a case would be too large for.
const SHOWN_ELSEWHERE: [(&str, &str); 1] = [("E005", "robust.rs: a file with more mistakes than are told")];

pub fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

fn base() -> BTreeMap<String, Vec<u8>> {
    let root = Path::new(ROOT).join("base");
    let name = |path: &Path| path.strip_prefix(&root).expect("below").to_str().expect("a name").to_owned();
    files_below(&root).into_iter().map(|path| (name(&path), std::fs::read(&path).expect("a file"))).collect()
}

/// A project with the files of `case` over those of the base.
pub fn project(case: &[u8]) -> Project {
    let mut files = base();
    let mut current: Option<String> = None;
    for line in case.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b"=== ").and_then(|head| str::from_utf8(head).ok()).map(str::trim) {
            Some(head) => match head.strip_suffix(" is not there") {
                Some(gone) => drop(files.remove(gone)),
                None => {
                    files.insert(head.to_owned(), Vec::new());
                    current = Some(head.to_owned());
                }
            },
            None => {
                if let Some(file) = &current {
                    files.get_mut(file).expect("begun").extend_from_slice(line);
                }
            }
        }
    }
    let project = Project::empty();
    for (name, text) in files {
        project.write(&name, text);
    }
    project
}

pub fn compiled(project: &Project) -> Compiled {
    compile(&files::read_project(project.path()).expect("the files are read"), project.path(), &Known::default())
}

/// The code of what this version reads and checks, and cannot run: there is a plan all the same.
pub const NOT_YET: &str = "E090";

/// Whether there is a mistake that no later version makes good.
pub fn is_refused(compiled: &Compiled) -> bool {
    compiled.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error && diagnostic.code != NOT_YET)
}

/// As `check` prints it.
pub fn rendered(diagnostics: &[Diagnostic]) -> String {
    let mut text: String = diagnostics.iter().map(|diagnostic| diagnostic.render(false) + "\n\n").collect();
    let count = |severity| diagnostics.iter().filter(|diagnostic| diagnostic.severity == severity).count();
    let plural = |number: usize, word| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
    text += &format!("{}, {}\n", plural(count(Severity::Error), "error"), plural(count(Severity::Warning), "warning"));
    text
}

fn is_code(text: &str) -> bool {
    text.len() == 4 && text.starts_with(['E', 'W']) && text[1..].bytes().all(|byte| byte.is_ascii_digit())
}

fn codes_of(case: &Path) -> Vec<String> {
    let name = case.file_name().and_then(|name| name.to_str()).expect("a name");
    let codes = name.split('-').next().expect("a first word");
    codes.split('.').map(str::to_owned).collect()
}

/// Every code that the sources can tell, outside of their tests.
pub fn codes_in_sources() -> BTreeSet<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let sources =
        files_below(&src).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    sources
        .flat_map(|path| {
            let text = std::fs::read_to_string(path).expect("a source");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            code.split('"').filter(|text| is_code(text)).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn cases() -> Vec<PathBuf> {
    let cases = files_below(&Path::new(ROOT).join("invalid"));
    assert!(cases.iter().all(|case| case.extension().is_some_and(|extension| extension == "case")), "{cases:?}");
    cases
}

/// Runs `check` for every case of a folder; all that fail are told, not the first alone.
pub fn each_case(folder: &Path, check: impl Fn(&str, &[u8])) {
    let mut failed = Vec::new();
    for path in files_below(folder) {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let case = std::fs::read(&path).expect("a case");
        if catch_unwind(AssertUnwindSafe(|| check(&name, &case))).is_err() {
            failed.push(name);
        }
    }
    assert!(failed.is_empty(), "{} cases fail: {failed:#?}", failed.len());
}

/// Compares with `language/snapshots/<name>.snap`, which begins with what the case is about.
pub fn snapshot(name: &str, case: &[u8], text: &str) {
    let about = String::from_utf8_lossy(case.split(|byte| *byte == b'\n').next().expect("a line")).into_owned();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(format!("{ROOT}/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_description(about);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn every_mistake_is_told_as_a_person_needs_it() {
    each_case(&Path::new(ROOT).join("invalid"), |name, case| {
        let compiled = compiled(&project(case));
        for code in codes_of(Path::new(name)) {
            assert!(
                compiled.diagnostics.iter().any(|diagnostic| diagnostic.code == code),
                "{name} does not show {code}"
            );
        }
        for Diagnostic { code, position, hint, message, .. } in &compiled.diagnostics {
            assert!(position.is_some(), "{name}: {code} has no place: {message}");
            assert!(hint.is_some(), "{name}: {code} says not what to do: {message}");
        }
        assert_eq!(compiled.plan.is_none(), is_refused(&compiled));
        snapshot(name, case, &rendered(&compiled.diagnostics));
    });
}

#[test]
fn what_is_allowed_is_not_told() {
    let case = std::fs::read_to_string(Path::new(ROOT).join("valid/allowed.case")).expect("a case");
    let told = |case: &str| -> BTreeSet<&str> {
        let compiled = compiled(&project(case.as_bytes()));
        compiled.diagnostics.iter().map(|diagnostic| diagnostic.code).filter(|code| *code != NOT_YET).collect()
    };
    assert_eq!(told(&case), BTreeSet::new());
    // every one of them would be told
    let bare: String = case
        .lines()
        .filter(|line| !line.starts_with("  W0"))
        .map(|line| {
            let line = if line.starts_with("allow:") { "" } else { line };
            line.replace(", allow: { W082: its syncs come later }", "") + "\n"
        })
        .collect();
    let all = ["W080", "W081", "W082", "W083", "W084", "W091", "W092", "W093", "W094", "W095", "W097", "W098"];
    assert_eq!(told(&bare), BTreeSet::from(all));
}

#[test]
fn every_code_has_a_case_and_every_case_a_code() {
    let known = codes_in_sources();
    assert!(known.len() > 40, "the sources are searched in the right place: {known:?}");
    let cases = cases();
    let shown: BTreeSet<String> = cases.iter().flat_map(|case| codes_of(case)).collect();
    let elsewhere: BTreeSet<String> = SHOWN_ELSEWHERE.iter().map(|(code, _)| (*code).to_owned()).collect();
    let missing: Vec<_> = known.iter().filter(|code| !shown.contains(*code) && !elsewhere.contains(*code)).collect();
    assert!(missing.is_empty(), "write a case in tests/language/invalid/ for {missing:?}");
    let unknown: Vec<_> = shown.union(&elsewhere).filter(|code| !known.contains(*code)).collect();
    assert!(unknown.is_empty(), "cases name codes that no source tells: {unknown:?}");
}

#[test]
fn every_snapshot_has_a_case() {
    let names = |folder: &str, prefix: &str| -> BTreeSet<String> {
        let paths = files_below(&Path::new(ROOT).join(folder));
        paths
            .iter()
            .map(|path| prefix.to_owned() + path.file_stem().and_then(|stem| stem.to_str()).expect("a name"))
            .collect()
    };
    let cases: BTreeSet<String> = names("invalid", "").union(&names("valid", "explain-")).cloned().collect();
    assert_eq!(names("snapshots", ""), cases);
}

#[test]
fn the_program_prints_what_the_snapshots_hold() {
    for name in ["E001.E010.E012.E022.E030.E031.E043-many-files-at-once", "W081-secret-in-yaml"] {
        let case = std::fs::read(Path::new(ROOT).join(format!("invalid/{name}.case"))).expect("a case");
        let project = project(&case);
        let output = project.headwater(&["check"]);
        let compiled = compiled(&project);
        let diagnostics = &compiled.diagnostics;
        let expected: String = diagnostics.iter().map(|diagnostic| diagnostic.render(false) + "\n\n").collect();
        assert_eq!(output.stderr, expected);
        assert_eq!(output.code, if compiled.has_errors() { 2 } else { 0 });
        let lines = project.headwater(&["check", "--json"]);
        assert_eq!(lines.json(), diagnostics.iter().map(Diagnostic::to_json).collect::<Vec<_>>());
    }
}

/// The inputs of the base, as if they were of the built-in catalogue, and a project file.
fn catalogue(project: &str) -> Vec<Input> {
    let project_file = |input: &Input| input.kind == Kind::Project;
    let base = files::read_project(self::project(b"").path()).expect("the files are read");
    let mut inputs: Vec<Input> = base.into_iter().filter(|input| !input.builtin && !project_file(input)).collect();
    inputs.iter_mut().for_each(|input| input.builtin = true);
    let source = Arc::new(Source::new("headwater.yaml", project));
    inputs.insert(0, Input { source, kind: Kind::Project, integration: None, builtin: false, stray: false });
    inputs
}

#[test]
fn the_catalogue_serves_a_project_and_gives_way_to_its_own_files() {
    const PROJECT: &str = "database: a.duckdb\nconnections:\n  one: { provider: acme, credentials: { api_key: \"${A}\" }, config: { region: eu } }\n";
    let here = Path::new(".");
    let inputs = catalogue(PROJECT);
    let plan = compile(&inputs, here, &Known::default()).plan.expect("a plan");
    assert_eq!(plan.syncs[0].connection.base_url.as_str(), "https://eu.api.acme.example/v2");
    // the project's own words of the provider, and its own model instead
    let own = |name: &str, kind, integration: Option<&str>, text: &str| Input {
        source: Arc::new(Source::new(name, text)),
        kind,
        integration: integration.map(str::to_owned),
        builtin: false,
        stray: false,
    };
    let mut both = inputs.clone();
    both.push(own("providers/acme.yaml", Kind::Provider, None, "provider: acme\nextends: acme\nbase_url: https://own.example\nauth: { key: { bearer: { token: \"{{ credentials.api_key }}\" } } }\n"));
    both.push(own(
        "integrations/acme/models/Contact.yaml",
        Kind::Model,
        Some("acme"),
        "model: Contact\ntable: people\nkey: [id]\ncolumns: { id: $.id }\n",
    ));
    both.sort_by_key(|input| input.builtin);
    let compiled = compile(&both, here, &Known::default());
    assert!(compiled.diagnostics.is_empty(), "{}", rendered(&compiled.diagnostics));
    let plan = compiled.plan.expect("a plan");
    assert_eq!((plan.syncs.len(), plan.syncs[0].model.table.as_str()), (1, "people"));
    assert_eq!(plan.syncs[0].connection.base_url.host_str(), Some("own.example"));
    // a sync of one's own beside those of the catalogue
    let mut beside = inputs.clone();
    let text = String::from_utf8(base()["integrations/acme/syncs/contacts.yaml"].clone()).expect("UTF-8");
    beside.push(own(
        "integrations/acme/syncs/people.yaml",
        Kind::Sync,
        Some("acme"),
        &text.replace("contacts", "people"),
    ));
    assert_eq!(compile(&beside, here, &Known::default()).plan.expect("a plan").syncs.len(), 2);
    // what is not used is not read, and its name is known
    let mut broken = catalogue("database: a.duckdb\nconnections: { one: { provider: acmee } }\n");
    broken.iter_mut().filter(|input| input.builtin).for_each(|input| {
        input.source = Arc::new(Source::new(input.source.name.clone(), "{{"));
    });
    let found = compile(&broken, here, &Known::default()).diagnostics;
    assert_eq!(found.len(), 1, "{}", rendered(&found));
    assert_eq!(found[0].hint.as_deref(), Some("did you mean `acme`?"));
}

#[test]
fn the_project_file_names_the_folders() {
    let project = Project::empty();
    let moved = |from: &str| from.replacen("providers/", "apis/", 1).replacen("integrations/", "apis/", 1);
    for (name, text) in base() {
        project.write(&moved(&name), text);
    }
    let file = String::from_utf8(base()["headwater.yaml"].clone()).expect("UTF-8");
    project.write("headwater.yaml", format!("providers: [apis]\nintegrations: [apis]\n{file}"));
    let compiled = compiled(&project);
    assert!(compiled.diagnostics.is_empty(), "{}", rendered(&compiled.diagnostics));
    project.write("headwater.yaml", format!("providers: [api]\n{file}"));
    let output = project.headwater(&["check"]);
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (
            2,
            "error: there is no folder `api`, which `headwater.yaml` names\nhint: folders are relative to the project file\n"
        )
    );
    let empty = Project::empty();
    let output = empty.headwater(&["check"]);
    assert!(output.code == 2 && output.stderr.contains("`headwater init`"), "{}", output.stderr);
}

#[test]
fn the_base_of_the_cases_has_no_mistake() {
    let compiled = compiled(&project(b""));
    assert!(compiled.diagnostics.is_empty(), "{}", rendered(&compiled.diagnostics));
    assert_eq!(compiled.plan.expect("a plan").syncs.len(), 1);
}
