//! Files that are as bad as a file can be: the program itself, with a bound on the memory and on the time of a processor that it
//! may take. Both are far above what a good machine and a slow one need, and far below what work that grows with the square of
//! a file takes.

use std::process::{Command, Stdio};

use super::super::project;
use super::{MODEL, PROJECT, PROVIDER, SYNC, base_text};

/// As large as a file may be.
const BYTES: usize = 1 << 20;
const SECONDS: usize = 10;
const KIBIBYTES: usize = 1_000_000;

/// What `check` tells of the base with `text` for one of its files, under the bounds.
fn checked(file: &str, text: &str) -> (Option<i32>, String) {
    let project = project(b"");
    project.write(file, text);
    // not every system can bound the memory
    let script = format!(
        "ulimit -t {SECONDS} && {{ ulimit -v {KIBIBYTES} 2>/dev/null; true; }} && exec \"$0\" --project \"$1\" check"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_headwater")]).arg(project.path());
    let output = command.env("NO_COLOR", "1").stdin(Stdio::null()).output().expect("the program runs");
    (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
}

/// Each file is told of by this code, in a text that can be read.
fn each_is_told(cases: Vec<(&str, &str, String, &str)>) {
    for (name, file, text, code) in cases {
        assert!(text.len() <= BYTES, "{name} is too long to be read: {}", text.len());
        let (status, told) = checked(file, &text);
        assert_eq!(status, Some(2), "{name}: {told:.2000}");
        assert!(told.starts_with(&format!("error[{code}]")), "{name}: {told:.2000}");
        let place = told
            .lines()
            .nth(1)
            .is_some_and(|line| line.trim_start().starts_with("--> ") && line.ends_with(|c: char| c.is_ascii_digit()));
        assert!(place, "{name}: {told:.2000}");
        let longest = told.lines().map(str::len).max().unwrap_or_default();
        assert!(
            told.len() < 200_000 && longest < 1_000,
            "{name} fills the screen: {} bytes, {longest} in a line",
            told.len()
        );
    }
}

/// `form` for each number: work that grows with the square of them would be seen, and a test takes no longer than it must.
fn many(form: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    let mut numbers = 0..;
    while out.len() < BYTES / 4 {
        out.extend(numbers.next().map(&form));
    }
    out
}

fn keys(form: impl Fn(usize) -> String) -> String {
    many(|number| form(number) + ", ")
}

#[test]
fn nesting_of_a_whole_file() {
    let nested = ["[", "{", "{a: ", "- ", "- - ", "[{", "&a [", "!x [", "a: {b: [", "{{ ", "${", "!!map {", "a: {? "];
    let unfinished = ["? ", "? - ", "\"", "'", "*a ", "&a ", "!x ", "a: ", "|\n", "<<: "];
    let cases = [(&nested[..], "E003"), (&unfinished, "E001")];
    let case = |piece: &&'static str, code| (*piece, SYNC, piece.repeat((BYTES / piece.len() - 1) | 1), code);
    each_is_told(
        cases.into_iter().flat_map(|(pieces, code)| pieces.iter().map(move |piece| case(piece, code))).collect(),
    );
}

#[test]
fn aliases_that_grow() {
    let grow = |first: &str, many: usize, next: &dyn Fn(usize) -> String| {
        let levels: String = (1..many).map(|n| format!("x{n}: &x{n} {}\n", next(n - 1))).collect();
        format!("x0: &x0 {first}\n{levels}")
    };
    let times = |times: usize| move |n: usize| format!("[{}]", vec![format!("*x{n}"); times].join(", "));
    // what is only a list of texts to YAML takes much more memory as templates
    let list = format!("&a [{}]", "\"{{ watermark }}\", ".repeat(1_000));
    let templates = base_text(SYNC).replace("limit: 100", &format!("limit: [{list}, {}]", "*a, ".repeat(400)));
    let cases = vec![
        ("laughs", SYNC, grow("[a, a]", 40, &times(4)), "E003"),
        ("two by two", SYNC, grow("[a, a]", 60, &times(2)), "E003"),
        ("few and wide", SYNC, grow(&format!("[{}]", "x, ".repeat(900)), 3, &times(900)), "E003"),
        ("maps", SYNC, grow("{ a: 1 }", 30, &|n| format!("{{ a: *x{n}, b: *x{n}, c: *x{n} }}")), "E003"),
        ("merge keys", SYNC, grow("{ a: 1 }", 30, &|n| format!("{{ <<: [*x{n}, *x{n}], a{n}: *x{n} }}")), "E003"),
        ("one by many", SYNC, format!("a: &a [{}]\nb: [{}]\n", "x, ".repeat(150_000), "*a, ".repeat(140_000)), "E003"),
        ("text", SYNC, format!("a: &a {}\nb: [{}]\n", "x".repeat(400_000), "*a, ".repeat(140_000)), "E003"),
        ("templates", SYNC, templates, "E003"),
        ("itself", SYNC, "a: &a [*a]\n".to_owned(), "E003"),
        ("itself in a map", SYNC, "a: &a { b: { c: *a } }\n".to_owned(), "E003"),
        ("itself merged", SYNC, "a: &a { <<: *a }\n".to_owned(), "E003"),
        // as many as may be: each is a mistake
        (
            "mistakes",
            MODEL,
            format!("columns: {{ a: &a {{ x: 1, y: 2 }}, {} }}\n", keys(|n| format!("c{n}: *a"))),
            "E011",
        ),
    ];
    each_is_told(cases);
}

#[test]
fn maps_with_too_many_keys() {
    let (base, sync) = (base_text(PROJECT), base_text(SYNC));
    let unknown = keys(|n| format!("k{n}: 1"));
    let provider =
        |key: &str, map: &str| format!("provider: acme\nbase_url: https://acme.example\n{key}: {{ {map} }}\n");
    let cases = vec![
        ("project", PROJECT, format!("{{ {unknown} }}"), "E010"),
        ("connections", PROJECT, format!("database: a.duckdb\nconnections: {{ {unknown} }}\n"), "E012"),
        (
            "connections misspelt",
            PROJECT,
            format!("database: a.duckdb\nconnections: {{ {} }}\n", keys(|n| format!("k{n}: {{ provder: 1 }}"))),
            "E010",
        ),
        ("syncs", PROJECT, format!("{base}    syncs: {{ {} }}\n", keys(|n| format!("k{n}: {{}}"))), "E021"),
        ("ways in", PROVIDER, provider("auth", &keys(|n| format!("k{n}: 1"))), "E012"),
        ("a way in", PROVIDER, provider("auth", &format!("a: {{ {unknown} }}")), "E010"),
        ("quotas", PROVIDER, provider("rate_limit", &format!("quotas: [{}]", keys(|n| format!("x{n}")))), "E042"),
        ("pagination", SYNC, sync.replace("pagination:", &format!("pagination: {{ {unknown} }}\nmore:")), "E010"),
        ("deletes", SYNC, format!("{sync}deletes: {{ {unknown} }}\n"), "E010"),
    ];
    each_is_told(cases);
}

#[test]
fn columns_with_too_many_mistakes() {
    let model = "model: Contact\ntable: contacts\nkey: [id]\ncolumns:\n  id: $.id\n";
    let columns = |form: &dyn Fn(usize) -> String| format!("{model}{}", many(|n| format!("  k{n}: {}\n", form(n))));
    let cases = vec![
        ("numbers", MODEL, columns(&|n| n.to_string()), "E012"),
        ("misspelt", MODEL, columns(&|_| "{ pth: $.a, type: strin }".to_owned()), "E010"),
        ("of one column", MODEL, format!("{model}  z: {{ {} }}\n", keys(|n| format!("k{n}: 1"))), "E010"),
        ("key", MODEL, model.replace("[id]", &format!("[{}]", keys(|n| format!("k{n}")))), "E050"),
    ];
    each_is_told(cases);
}

#[test]
fn a_line_as_long_as_a_file() {
    let project = "database: a.duckdb\n";
    let words = |piece: &str| piece.repeat((BYTES - 200) / piece.len());
    let cases = vec![
        (
            "connections",
            PROJECT,
            format!(
                "{project}connections: {{ {} }}\n",
                keys(|n| format!("k{n}: {{ provider: x, credentials: {{ a: b }} }}"))
            ),
            "E020",
        ),
        ("credentials", PROJECT, format!("{project}x: [{}]\n", words("{credentials: {}}, ")), "E010"),
        (
            "references",
            PROJECT,
            format!("{project}connections: {{ a: {{ provider: acme, credentials: {{ a: \"{}\" }} }} }}\n", words("${")),
            "E003",
        ),
        ("quotes", SYNC, format!("sync: \"{}\"\n", words("\\\" ")), "E011"),
        ("a key", SYNC, format!("{}: 1\n", words("k")), "E001"),
        (
            "a text",
            SYNC,
            format!("{}title: {}\n", base_text(SYNC), words("x ").trim_end().get(..BYTES - 4_000).expect("ASCII")),
            "E010",
        ),
        ("brackets", SYNC, format!("sync: {} }}\n", words("[] ")), "E001"),
        ("a comment", SYNC, format!("x: 1 # {}\n", words("é")), "E010"),
    ];
    each_is_told(cases);
}
