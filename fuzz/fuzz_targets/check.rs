//! YAML → diagnostics: whatever the files of a project hold, `check` tells of it and never panics.
//!
//! ```sh
//! ./dev fuzz check                          # ten minutes; `./dev fuzz check 60` for one
//! ./dev cargo +nightly fuzz run check       # with AddressSanitizer, for the dependencies that are not safe Rust
//! ./dev cargo fuzz tmin -s none check FILE  # the least input that breaks it as FILE does
//! ```
//!
//! The input is a case as in `tests/language/`: `=== <path>` begins a file, `=== <path> is not there` takes one away, and all
//! other files are as in `tests/language/base/`. Without such a line it is one file of the kind that its keys tell. So the cases
//! and the catalogue themselves are the seeds. What is found stands in `fuzz/artifacts/check/`.

#![no_main]
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a fuzz target is the outer world")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use headwater::diagnostic::{Diagnostic, Severity, Source};
use headwater::files::{OVERLAY_FILE, PROJECT_FILE, catalogue};
use headwater::plan::{Compiled, Input, Known, compile};
use headwater::spec::schema::Kind;
use headwater::spec::yaml;
use libfuzzer_sys::fuzz_target;

/// Bytes of one diagnostic as people see it: a terminal full, whatever the file holds.
const RENDERED_BYTES_MAX: usize = 20_000;
/// One input in so many is compiled twice.
const TWICE: usize = 16;

type Files = BTreeMap<String, Vec<u8>>;

static BASE: LazyLock<Files> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/language/base");
    let mut files = Files::new();
    read_folder(&root, &root, &mut files);
    assert!(files.contains_key(PROJECT_FILE), "{} holds a project", root.display());
    files
});

static CATALOGUE: LazyLock<Vec<Input>> = LazyLock::new(catalogue);

fn read_folder(root: &Path, folder: &Path, files: &mut Files) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_folder(root, &path, files);
        } else {
            let name = path.strip_prefix(root).expect("below").to_str().expect("a name").to_owned();
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
}

/// The base with the files of the input over it.
fn project(case: &[u8]) -> Files {
    let mut files = BASE.clone();
    let mut current: Option<String> = None;
    let mut framed = false;
    for line in case.split_inclusive(|byte| *byte == b'\n') {
        let head = line.strip_prefix(b"=== ").and_then(|head| str::from_utf8(head).ok()).map(str::trim);
        framed |= head.is_some();
        match (head, &current) {
            (Some(head), _) => match head.strip_suffix(" is not there") {
                Some(gone) => drop(files.remove(gone)),
                None => {
                    files.insert(head.to_owned(), Vec::new());
                    current = Some(head.to_owned());
                }
            },
            (None, Some(file)) => files.entry(file.clone()).or_default().extend_from_slice(line),
            (None, None) => {}
        }
    }
    if !framed {
        let kind = kind_of_text(case);
        // of a kind that the base has no file of, one more file
        let file = BASE.keys().find(|name| kind_of_path(name) == kind).cloned();
        files.insert(file.unwrap_or_else(|| format!("integrations/acme/{kind}s/one.yaml")), case.to_vec());
    }
    files
}

/// The kind whose name is a key of the text: `sync: …`.
fn kind_of_text(text: &[u8]) -> Kind {
    let names = |kind: &Kind| {
        let name = kind.name().as_bytes();
        text.split(|byte| *byte == b'\n').any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(b":")))
    };
    Kind::ALL.into_iter().find(names).unwrap_or(Kind::Project)
}

/// What a file should be, by where it stands (as `files` reads a project).
fn kind_of_path(path: &str) -> Kind {
    let folders: Vec<&str> = path.split('/').collect();
    match folders.as_slice() {
        [PROJECT_FILE] => Kind::Project,
        [OVERLAY_FILE] => Kind::Overlay,
        ["integrations", _, "models", _] => Kind::Model,
        ["integrations", _, "actions", _] => Kind::Action,
        ["integrations", _, "tests", _] => Kind::Test,
        ["integrations", ..] => Kind::Sync,
        _ => Kind::Provider,
    }
}

fn input((name, bytes): (String, Vec<u8>)) -> Input {
    let kind = kind_of_path(&name);
    let folders: Vec<&str> = name.split('/').collect();
    let (integration, stray) = match folders.as_slice() {
        [PROJECT_FILE | OVERLAY_FILE] | ["providers", _] => (None, false),
        ["integrations", provider, "models" | "syncs" | "actions" | "tests", _] => {
            (Some((*provider).to_owned()), false)
        }
        ["integrations", provider, ..] => (Some((*provider).to_owned()), true),
        _ => (None, true),
    };
    Input { source: Arc::new(Source::new(name, bytes)), kind, integration, builtin: false, stray }
}

fuzz_target!(|case: &[u8]| {
    let mut inputs: Vec<Input> = project(case).into_iter().map(input).collect();
    let has_project = inputs.iter().any(|input| input.kind == Kind::Project);
    inputs.extend(CATALOGUE.iter().cloned());
    let here = Path::new(".");
    let compiled = compile(&inputs, here, &Known::default());
    let Compiled { plan, diagnostics, .. } = &compiled;
    assert!(compiled.has_errors() || plan.is_some() || !has_project, "no error, and no plan");
    let secrets = secrets(&inputs);
    diagnostics.iter().for_each(|diagnostic| check(diagnostic, &secrets));
    if case.len().is_multiple_of(TWICE) {
        assert_eq!(
            *diagnostics,
            compile(&inputs, here, &Known::default()).diagnostics,
            "the same files, other diagnostics"
        );
    }
});

/// What stands under `credentials` of the project and nowhere else, and is no word that a message could have by itself.
fn secrets(inputs: &[Input]) -> Vec<String> {
    let project = inputs.iter().find(|input| input.kind == Kind::Project);
    let document = project.and_then(|project| yaml::parse(&project.source.text).ok()).unwrap_or_default();
    let connections = document["connections"].as_object().into_iter().flatten();
    let credentials =
        connections.flat_map(|(_, connection)| connection["credentials"].as_object().into_iter().flatten());
    let values = credentials.filter_map(|(_, value)| value.as_str()).filter(|value| {
        let in_all: usize = inputs.iter().map(|input| input.source.text.matches(value).count()).sum();
        let of_words = value.len() >= 8 && value.contains(|c: char| c.is_ascii_digit());
        of_words && in_all <= 1 && !value.contains("${")
    });
    values.map(str::to_owned).collect()
}

fn check(diagnostic: &Diagnostic, secrets: &[String]) {
    let Diagnostic { code, severity, source, position, message, .. } = diagnostic;
    let plain = diagnostic.render(false);
    assert!(plain.contains(code), "the code is not shown: {plain}");
    assert!(plain.len() <= RENDERED_BYTES_MAX, "{code} takes {} bytes: {message:.200}", plain.len());
    let control = plain.contains(|c: char| c.is_control() && c != '\n');
    assert!(!control, "a control character reaches the terminal: {plain:?}");
    assert!(!diagnostic.render(true).is_empty());
    let json = diagnostic.to_json();
    for secret in secrets {
        assert!(!plain.contains(secret) && !json.to_string().contains(secret), "the secret {secret} is told: {plain}");
    }
    assert_eq!(json["code"], *code);
    assert_eq!(json["line"].as_u64(), position.map(|at| at.line as u64));
    match position {
        Some(at) => {
            let line = source.text.split('\n').nth(at.line.wrapping_sub(1));
            let line = line.unwrap_or_else(|| panic!("{code} at {at:?} is below the text"));
            assert!((1..=line.chars().count() + 1).contains(&at.column), "{code} at {at:?} is beside {line:?}");
        }
        // the mistakes that are only counted have no one place
        None => assert!(*severity == Severity::Warning || *code == "E005", "{code} has no place: {message}"),
    }
}
