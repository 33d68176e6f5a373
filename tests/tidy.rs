//! The house rules that no compiler knows. What each is for stands in `CONTRIBUTING.md` and `ARCHITECTURE.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which rooms a room may use. Arrows point one way, so none may come back.
const ARROWS: [(&str, &[&str]); 16] = [
    ("diagnostic", &[]),
    ("spec", &["diagnostic"]),
    ("plan", &["spec", "diagnostic"]),
    ("files", &["plan", "spec", "diagnostic"]),
    ("scan", &["plan"]),
    ("record", &["plan", "scan"]),
    ("draft", &["spec", "plan", "record"]),
    ("remote", &["plan"]),
    ("store", &["plan", "scan", "record", "diagnostic"]),
    ("engine", &["store", "remote", "record", "scan", "plan", "spec", "diagnostic"]),
    ("offline", &["engine", "store", "remote", "record", "scan", "files", "plan", "spec", "diagnostic"]),
    ("telemetry", &["engine", "store", "remote", "plan"]),
    ("demo", &[]),
    ("site", &["plan"]),
    ("serve", &["engine", "store", "remote", "scan", "files", "plan", "diagnostic"]),
    (
        "cli",
        &[
            "serve",
            "site",
            "telemetry",
            "offline",
            "demo",
            "draft",
            "engine",
            "store",
            "remote",
            "record",
            "scan",
            "files",
            "plan",
            "spec",
            "diagnostic",
        ],
    ),
];

/// Lines of one file.
const LINES_MAX: usize = 800;

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let files = crate::language::files_below(&top().join(folder));
    files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a source")
}

fn name(path: &Path) -> String {
    path.strip_prefix(top()).expect("below").to_str().expect("a name").to_owned()
}

/// Files that are compiled for tests alone.
fn is_test(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    path.components().any(|part| part.as_os_str() == "tests") || stem == "tests" || stem.ends_with("_tests")
}

/// A file without its tests, its comments and its texts, each of which keeps its line ends.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if c == '"' {
            end_of_text(rest)
        } else if let Some(raw) =
            rest.strip_prefix('r').filter(|raw| raw.starts_with(['"', '#']) && !out.ends_with(is_word))
        {
            let hashes = raw.len() - raw.trim_start_matches('#').len();
            let close = format!("\"{}", "#".repeat(hashes));
            match raw[hashes..].strip_prefix('"').and_then(|inside| inside.find(&close)) {
                Some(end) => 1 + hashes + 1 + end + close.len(),
                None => 1,
            }
        } else if c == '\'' {
            end_of_char(rest)
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().filter(|c| *c == '\n'));
        out.push(' ');
        rest = &rest[skip..];
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn end_of_text(text: &str) -> usize {
    let mut escaped = true; // the opening quote
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Behind a character literal; behind the quote alone where it begins a lifetime.
fn end_of_char(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => text[2..].char_indices().skip(1).find(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 3),
        Some(_) => chars.next().filter(|(_, c)| *c == '\'').map_or(1, |(at, _)| at + 1),
        None => 1,
    }
}

/// The texts of a file outside of its tests and comments.
fn texts(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let mut rest = line;
        while let Some(at) = rest.find('"') {
            let end = end_of_text(&rest[at..]);
            found.push(rest[at..at + end].to_owned());
            rest = &rest[at + end..];
        }
    }
    found
}

fn room(path: &Path) -> String {
    let below = path.strip_prefix(top().join("src")).expect("below src");
    let first = below.components().next().expect("a part").as_os_str().to_str().expect("a name");
    first.trim_end_matches(".rs").to_owned()
}

/// What stands behind each `crate::`, alone or in braces.
fn used_rooms(code: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let mut used = Vec::new();
    for behind in code.split("crate::").skip(1) {
        match behind.strip_prefix('{') {
            None => used.push(word(behind)),
            Some(group) => {
                let mut depth = 0_usize;
                let mut begins = true;
                for (at, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => begins = true,
                        c if begins && is_word(c) => {
                            used.push(word(&group[at..]));
                            begins = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    used
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for path in rust_files("src").into_iter().filter(|path| !is_test(path)) {
        let room = room(&path);
        if room == "lib" || room == "main" {
            continue;
        }
        let may = arrows
            .get(room.as_str())
            .unwrap_or_else(|| panic!("`{room}` is no room: give it its arrows in tests/tidy.rs"));
        for used in used_rooms(&code(&read(&path))) {
            seen.insert(room.clone());
            if used != room && !may.contains(&used.as_str()) {
                wrong.push(format!("{}: {room} → {used}", name(&path)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.len() > 7, "the search finds what it looks for: {seen:?}");
}

#[test]
fn the_table_of_arrows_has_no_circle() {
    let mut below: Vec<&str> = Vec::new();
    for (room, may) in ARROWS {
        assert!(may.iter().all(|used| below.contains(used)), "{room} comes before a room that it uses");
        below.push(room);
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let mut long = Vec::new();
    for path in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let lines = read(&path).lines().count();
        if lines > LINES_MAX {
            long.push(format!("{}: {lines} lines", name(&path)));
        }
    }
    assert!(long.is_empty(), "more than {LINES_MAX} lines: {long:#?}");
}

#[test]
fn mod_files_only_declare() {
    for path in rust_files("src") {
        let is_mod = path.file_name().is_some_and(|file| file == "mod.rs");
        if is_mod && name(&path) != "src/cli/mod.rs" {
            assert!(!code(&read(&path)).contains("fn "), "{} has logic", name(&path));
        }
    }
}

#[test]
fn every_test_file_is_compiled() {
    let main = read(&top().join("tests/main.rs"));
    for path in rust_files("tests") {
        let parent = path.parent().expect("a folder");
        let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
        if parent == top().join("tests") && stem != "main" {
            assert!(main.lines().any(|line| line == format!("mod {stem};")), "tests/main.rs does not name {stem}");
        }
    }
}

#[test]
fn nothing_is_left_undone_and_no_test_is_left_out() {
    let mut found = Vec::new();
    for path in ["src", "tests", "benches"].into_iter().flat_map(rust_files) {
        let text = code(&read(&path));
        for word in ["todo!", "unimplemented!", "#[ignore", "dbg!(", "unsafe ", "#[allow(unsafe"] {
            if text.contains(word) {
                found.push(format!("{}: {word}", name(&path)));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let manifest = read(&top().join("Cargo.toml"));
    assert!(manifest.contains("unsafe_code = \"forbid\""), "Cargo.toml forbids unsafe code");
}

/// How statements of SQL begin, in any case, as whole words.
const STATEMENTS: [&str; 12] = [
    "select ",
    "insert into ",
    "insert or ",
    "update ",
    "delete from ",
    "merge into ",
    "create table ",
    "create or replace ",
    "alter table ",
    "drop table ",
    "attach ",
    "pragma ",
];

#[test]
fn only_the_store_speaks_sql() {
    let mut found = Vec::new();
    for path in rust_files("src").into_iter().filter(|path| !is_test(path)) {
        // the demo shows people SQL to try
        if room(&path) == "store" || name(&path) == "src/cli/demo.rs" {
            continue;
        }
        for text in texts(&read(&path)) {
            let inside = text.trim_start_matches(['"', ' ', '\\']).to_lowercase();
            let begins = STATEMENTS.iter().any(|statement| inside.starts_with(statement));
            if begins && [" from ", " into ", " set ", " table ", "'"].iter().any(|word| inside.contains(word)) {
                found.push(format!("{}: {text}", name(&path)));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
    let store: usize =
        rust_files("src/store").iter().map(|path| read(path).to_lowercase().matches("select ").count()).sum();
    assert!(store > 0, "the search finds what it looks for");
}

/// `serde_yaml` is archived: it stands behind one file, so that replacing it is one file's work.
#[test]
fn yaml_has_one_door() {
    let doors: Vec<String> = rust_files("src")
        .into_iter()
        .filter(|path| !is_test(path) && code(&read(path)).contains("serde_yaml::"))
        .map(|path| name(&path))
        .collect();
    assert_eq!(doors, ["src/spec/yaml.rs"]);
}

#[test]
fn the_search_passes_over_comments_texts_and_tests() {
    let source = "use crate::a; // crate::b\nlet x = \"crate::c \\\" crate::d\"; '\"'; '\\''; r#\"crate::e\"#; fn f<'a>() {}\ncrate::g\n#[cfg(test)]\nmod tests { crate::h }";
    let seen: Vec<&str> = ["a", "b", "c", "d", "e", "g", "h"]
        .into_iter()
        .filter(|name| code(source).contains(&format!("crate::{name}")))
        .collect();
    assert_eq!(seen, ["a", "g"]);
    assert_eq!(
        used_rooms("use crate::{plan::{a, b}, scan, files as f}; crate::store::x"),
        ["plan", "scan", "files", "store"]
    );
    assert_eq!(texts("let a = \"x\\\"y\"; // \"no\"\n// \"not\"\nlet b = \"z\";"), ["\"x\\\"y\"", "\"no\"", "\"z\""]);
}
