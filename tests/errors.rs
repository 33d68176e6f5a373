//! The pages of the codes, `docs/errors/`: every code has one, and what they show is true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use headwater::diagnostic::page::{Page, pages};
use headwater::diagnostic::{Diagnostic, Severity};

use crate::language::{NOT_YET, codes_in_sources, compiled, files_below, project, rendered};
use crate::support::Project;

/// Pages whose example cannot be laid over the base of the cases.
const NOT_SHOWN: [(&str, &str); 2] = [
    ("E004", "a page is UTF-8, so it cannot hold a file that is not"),
    ("E005", "it takes a file with more mistakes than a page has room for"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The parts of a page by their headings; what stands above the first one is under an empty heading.
fn sections(text: &str) -> Vec<(&str, &str)> {
    let (above, below) = text.split_once("\n## ").unwrap_or((text, ""));
    let below = below.split("\n## ").filter(|part| !part.is_empty());
    std::iter::once(("", above)).chain(below.map(|part| part.split_once('\n').unwrap_or((part, "")))).collect()
}

/// The fenced blocks of this language.
fn blocks<'t>(section: &'t str, language: &str) -> Vec<&'t str> {
    let fences: Vec<&str> = section.split("```").collect();
    assert!(fences.len() % 2 == 1, "a block is never closed: {section}");
    let inside = fences.into_iter().skip(1).step_by(2);
    inside.filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n')).collect()
}

/// What `check` says of the YAML blocks of a section, each laid over the base in place of the file that its first line names.
fn checked(section: &str) -> Vec<Diagnostic> {
    let mut case = "A page.\n".to_owned();
    let mut files = BTreeSet::new();
    for block in blocks(section, "yaml") {
        let file = block.lines().next().and_then(|line| line.strip_prefix("# ")).unwrap_or_default();
        assert!(file.ends_with(".yaml"), "a block begins with the name of its file, `# providers/acme.yaml`: {block}");
        assert!(files.insert(file), "two blocks for {file}");
        case += &format!("=== {file}\n{block}");
    }
    assert!(!files.is_empty(), "there is no YAML in: {section}");
    compiled(&project(case.as_bytes())).diagnostics
}

/// What is wrong with a page, if anything.
fn mistakes(Page { code, title, .. }: &Page, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    if title.is_empty() || title.len() > 80 || title.ends_with('.') || title.starts_with(char::is_uppercase) {
        wrong.push(format!("{code}: the title is a lowercase fragment of up to 80 characters: {title}"));
    }
    let sections = sections(text);
    let headings: Vec<&str> = sections.iter().map(|(heading, _)| *heading).collect();
    if !matches!(headings.as_slice(), ["", "Example", "What to do"] | ["", "Example", "What to do", "See also"]) {
        return vec![format!(
            "{code}: a page has `## Example`, `## What to do` and perhaps `## See also`: {headings:?}"
        )];
    }
    if sections.iter().any(|(_, section)| section.lines().skip(1).all(|line| line.trim().is_empty())) {
        wrong.push(format!("{code}: a section is empty"));
    }
    if NOT_SHOWN.iter().any(|(not_shown, _)| not_shown == code) {
        return wrong;
    }
    let (example, fix) = (sections[1].1, sections[2].1);
    let printed = rendered(&checked(example));
    match blocks(example, "text").as_slice() {
        [told] if told.contains(&format!("[{code}]")) && printed.contains(told.trim_end()) => {}
        _ => wrong.push(format!(
            "{code}: the example has one block of text with what `check` prints for its YAML. It prints:\n{printed}"
        )),
    }
    let left = checked(fix);
    // what cannot be run yet is right all the same
    let is_wrong = |diagnostic: &Diagnostic| diagnostic.severity == Severity::Error && diagnostic.code != NOT_YET;
    if left.iter().any(|diagnostic| diagnostic.code == *code || is_wrong(diagnostic)) {
        wrong.push(format!("{code}: what to do leaves mistakes:\n{}", rendered(&left)));
    }
    wrong
}

#[test]
fn what_pages_show_is_true() {
    let wrong: Vec<String> =
        pages().iter().flat_map(|page| mistakes(page, &read(&folder().join(format!("{}.md", page.code))))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let known = codes_in_sources();
    let pages: BTreeSet<String> = pages().iter().map(|page| page.code.to_owned()).collect();
    let missing: Vec<_> = known.difference(&pages).collect();
    assert!(
        missing.is_empty(),
        "write a page in docs/errors/ for {missing:?}; it begins with `# <CODE>: <what is wrong>`"
    );
    let unknown: Vec<_> = pages.difference(&known).collect();
    assert!(unknown.is_empty(), "pages of codes that no source tells: {unknown:?}");
    let files: BTreeSet<String> = files_below(&folder())
        .iter()
        .map(|path| path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned())
        .filter(|name| name != "README")
        .collect();
    assert_eq!(files, pages, "docs/errors/ holds files that are no pages");
    assert!(NOT_SHOWN.iter().all(|(code, _)| pages.contains(*code)));
}

#[test]
fn the_table_lists_all_pages() {
    let made: Vec<String> =
        pages().iter().map(|Page { code, title, .. }| format!("| [{code}]({code}.md) | {title} |")).collect();
    let text = read(&folder().join("README.md"));
    let kept: Vec<&str> = text.lines().filter(|line| line.starts_with("| [")).collect();
    assert!(kept == made, "the table in docs/errors/README.md is stale; it must be\n{}", made.join("\n"));
}

#[test]
fn links_of_the_pages_lead_somewhere() {
    let mut dead = Vec::new();
    for path in files_below(&folder()) {
        let text = read(&path);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            if !file.ends_with(".md") {
                continue;
            }
            let target_path = folder().join(file);
            let anchor = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
                title.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect::<String>()
            };
            let there = target_path.is_file()
                && (heading.is_empty()
                    || read(&target_path).lines().any(|line| line.starts_with('#') && anchor(line) == heading));
            if !there {
                dead.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "{dead:#?}");
}

#[test]
fn a_page_is_explained_without_a_project() {
    let nowhere = Project::empty();
    let output = nowhere.headwater(&["explain", "e010"]);
    let page = pages().into_iter().find(|page| page.code == "E010").expect("a page");
    assert_eq!((output.code, output.stderr.as_str(), output.stdout.trim_end()), (0, "", page.text.trim_end()));
    assert!(output.stdout.starts_with("# E010: ") && !output.stdout.contains(".md)"));
    let both = nowhere.headwater(&["explain", "--json", "W081", "E010"]).json();
    let told: Vec<(&str, &str)> =
        both.iter().map(|line| (line["code"].as_str().unwrap(), line["title"].as_str().unwrap())).collect();
    assert_eq!((told[0].0, told[1]), ("W081", ("E010", page.title)));
    assert_eq!(both[1]["text"], page.text);
    let output = nowhere.headwater(&["explain", "E0100"]);
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (2, "error: there is no code `E0100`\nhint: did you mean `E010`?\n")
    );
    let output = nowhere.headwater(&["explain", "w12345"]);
    assert!(output.code == 2 && output.stderr.contains("there is no code `w12345`\nhint: a code stands"), "{output:?}");
    // a selector beside it needs the project
    let output = nowhere.headwater(&["explain", "E010", "acme"]);
    assert!(output.code == 2 && output.stderr.contains("`headwater init`"), "{}", output.stderr);
    let output = project(b"").headwater(&["explain", "E010", "acme"]);
    assert!(output.code == 0 && output.stdout.contains("\nacme-eu/contacts\n"), "{}", output.stdout);
}

/// A case of `language/invalid/` as a project.
fn case(name: &str) -> Project {
    let path = Path::new(crate::language::ROOT).join(format!("invalid/{name}.case"));
    project(&std::fs::read(path).expect("a case"))
}

#[test]
fn check_ends_with_the_way_to_the_page_and_an_exit_code() {
    let summary = |project: &Project, arguments: &[&str]| {
        let output = project.headwater(&[&["check"], arguments].concat());
        assert!(!output.stderr.contains("headwater explain"), "{}", output.stderr);
        (output.code, output.stdout)
    };
    let wrong = "2 errors, 0 warnings; `headwater explain E021` says more\n".to_owned();
    assert_eq!(summary(&case("E021-no-such-sync"), &[]), (2, wrong));
    // of errors and warnings, an error
    let (code, text) = summary(&case("E047-flow-on-one-line"), &[]);
    assert_eq!((code, text.as_str()), (2, "1 error, 2 warnings; `headwater explain E047` says more\n"));
    let more = "`headwater explain W080` says more\n";
    let warns = case("W080-full-sync-without-deletes");
    assert_eq!(summary(&warns, &[]), (0, format!("ok: 1 sync of 1 connection, 1 warning; {more}")));
    let strict = format!("1 warning, which `--strict` does not let pass; {more}");
    assert_eq!(summary(&warns, &["--strict"]), (2, strict));
    let clean = project(b"");
    assert_eq!(summary(&clean, &["--strict"]), (0, "ok: 1 sync of 1 connection, 0 warnings\n".to_owned()));
}

#[test]
fn for_machines_check_prints_the_mistakes_alone() {
    let (wrong, warns, clean) = (case("E021-no-such-sync"), case("W080-full-sync-without-deletes"), project(b""));
    let exit_codes = |form: &str| {
        let run = |project: &Project, strict: &[&str]| {
            let output = project.headwater(&[&["check", form], strict].concat());
            assert_eq!(output.stderr, "", "{form}");
            output.code
        };
        let strict = ["--strict"];
        [run(&wrong, &[]), run(&warns, &[]), run(&warns, &strict), run(&clean, &strict)]
    };
    assert_eq!(exit_codes("--json"), [2, 0, 2, 0]);
    assert_eq!(exit_codes("--sarif"), [2, 0, 2, 0]);
    let keys: BTreeMap<usize, Vec<String>> = wrong
        .headwater(&["check", "--json"])
        .json()
        .iter()
        .map(|line| line.as_object().expect("an object").keys().cloned().collect())
        .enumerate()
        .collect();
    assert_eq!(keys.len(), 2);
    assert!(keys.values().all(|keys| keys == &["code", "severity", "file", "line", "column", "message", "hint"]));
    let both = wrong.headwater(&["check", "--json", "--sarif"]);
    assert_eq!((both.code, both.stdout.as_str()), (2, ""));
    assert!(both.stderr.contains("'--json' cannot be used with '--sarif'"), "{}", both.stderr);
}
