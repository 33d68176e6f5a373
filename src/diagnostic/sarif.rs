//! Diagnostics as a SARIF log, the form that code review tools read (OASIS, Static Analysis Results Interchange Format 2.1.0).

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use url::Url;

use super::page::page;
use super::{Diagnostic, Position, Severity, Source, span_of};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// What relative names of files count from: by custom, the top of the repository.
const ROOT: &str = "%SRCROOT%";

/// How the names of files begin that are inside the program and nowhere else.
const CATALOGUE: &str = "<catalogue>/";

/// A longer piece of a line is not quoted.
const SNIPPET_BYTES_MAX: usize = 1_000;

/// All that a path in a URI may hold as it stands, less the colon: in front of the first slash it would end a scheme (RFC 3986, 4.2).
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// One log with one run: the rules are the codes among `diagnostics`, each with its page.
///
/// `project` is the folder of the project as it was named. Under a relative one, files are named from where the program runs;
/// under an absolute one from the project, and the log says where that is.
pub fn log(diagnostics: &[Diagnostic], project: &Path) -> Value {
    let codes: BTreeSet<&str> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let rules: Vec<Value> = codes.iter().map(|code| rule(code)).collect();
    let results: Vec<Value> = diagnostics.iter().map(|diagnostic| result(diagnostic, &codes, project)).collect();
    let version = env!("CARGO_PKG_VERSION");
    let driver = json!({ "name": "headwater", "version": version, "semanticVersion": version, "rules": rules });
    let mut run = json!({ "tool": { "driver": driver }, "columnKind": "utf16CodeUnits", "results": results });
    if let Ok(url) = Url::from_directory_path(project) {
        run["originalUriBaseIds"] = json!({ ROOT: { "uri": url.as_str() } });
    }
    json!({ "$schema": SCHEMA, "version": "2.1.0", "runs": [run] })
}

fn rule(code: &str) -> Value {
    let level = if code.starts_with('W') { Severity::Warning } else { Severity::Error };
    let mut rule = json!({ "id": code });
    if let Some(page) = page(code) {
        rule["shortDescription"] = json!({ "text": page.title });
        rule["fullDescription"] = json!({ "text": page.first_paragraph() });
        rule["help"] = json!({ "text": page.text, "markdown": page.text });
    }
    rule["defaultConfiguration"] = json!({ "level": level });
    rule
}

/// Braces in the message stay as they are. The standard would have them doubled (3.11.5), but what reads SARIF takes only `{0}`
/// beside `arguments` for a placeholder, and would show them doubled.
fn result(diagnostic: &Diagnostic, codes: &[&str], project: &Path) -> Value {
    let Diagnostic { code, severity, source, position, message, hint } = diagnostic;
    let text = match hint {
        Some(hint) => format!("{message}; {hint}"),
        None => message.clone(),
    };
    let location = json!({ "artifactLocation": artifact(&source.name, project), "region": region(source, *position) });
    json!({
        "ruleId": code,
        "ruleIndex": codes.binary_search(code).ok(),
        "level": severity,
        "message": { "text": text },
        "locations": [{ "physicalLocation": location }],
    })
}

fn artifact(name: &str, project: &Path) -> Value {
    if name.starts_with(CATALOGUE) {
        return json!({ "uri": encoded(name) });
    }
    if let Ok(url) = Url::from_file_path(name) {
        return json!({ "uri": url.as_str() });
    }
    let path = if project.is_relative() { project.join(name) } else { PathBuf::from(name) };
    json!({ "uri": encoded(&plain(&path)), "uriBaseId": ROOT })
}

fn encoded(path: &str) -> String {
    utf8_percent_encode(path, IN_PATH).to_string()
}

/// The path without `.` and, where it can be, without `..`, with `/` on every system.
fn plain(path: &Path) -> String {
    let mut parts: Vec<String> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if parts.last().is_some_and(|last| last != "..") => drop(parts.pop()),
            Component::ParentDir | Component::Normal(_) | Component::RootDir | Component::Prefix(_) => {
                parts.push(component.as_os_str().to_string_lossy().into_owned());
            }
        }
    }
    parts.join("/")
}

/// What is marked. A mistake of the file as a whole is put on its first line: code review tools show none that has no line.
fn region(source: &Source, position: Option<Position>) -> Value {
    let Some(Position { line: number, column }) = position else { return json!({ "startLine": 1 }) };
    let line = source.line(number);
    let span = span_of(line, column);
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    let (before, marked) = (&line[..span.start], &line[span]);
    let start = units(before) + 1;
    let mut region = json!({
        "startLine": number,
        "startColumn": start,
        "endLine": number,
        "endColumn": start + units(marked),
    });
    if !marked.is_empty() && marked.len() <= SNIPPET_BYTES_MAX {
        region["snippet"] = json!({ "text": marked });
    }
    region
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn told(name: &str, text: &str, position: Option<Position>) -> Diagnostic {
        let source = Arc::new(Source::new(name, text));
        let message = "`x` is {0}".to_owned();
        Diagnostic { code: "E010", severity: Severity::Error, source, position, message, hint: None }
    }

    fn location(name: &str, project: &str) -> Value {
        artifact(name, Path::new(project))
    }

    #[test]
    fn files_are_named_from_where_the_program_runs() {
        let root = |uri: &str| json!({ "uri": uri, "uriBaseId": "%SRCROOT%" });
        assert_eq!(location("providers/acme.yaml", "."), root("providers/acme.yaml"));
        assert_eq!(location("providers/acme.yaml", "./etc/sync/"), root("etc/sync/providers/acme.yaml"));
        assert_eq!(location("../shared/a b%.yaml", "etc"), root("shared/a%20b%25.yaml"));
        assert_eq!(location("a:b.yaml", "../x"), root("../x/a%3Ab.yaml"));
        assert_eq!(location("m\u{fc}ller.yaml", "."), root("m%C3%BCller.yaml"));
        assert_eq!(location("<catalogue>/providers/a.yaml", "."), json!({ "uri": "%3Ccatalogue%3E/providers/a.yaml" }));
    }

    #[cfg(unix)]
    #[test]
    fn an_absolute_project_is_the_root() {
        assert_eq!(location("a.yaml", "/srv/x"), json!({ "uri": "a.yaml", "uriBaseId": "%SRCROOT%" }));
        assert_eq!(location("/etc/a b.yaml", "/srv/x"), json!({ "uri": "file:///etc/a%20b.yaml" }));
        let root = &log(&[], Path::new("/srv/my project"))["runs"][0]["originalUriBaseIds"];
        assert_eq!(*root, json!({ "%SRCROOT%": { "uri": "file:///srv/my%20project/" } }));
        assert!(log(&[], Path::new("srv"))["runs"][0].get("originalUriBaseIds").is_none());
    }

    #[test]
    fn columns_are_counted_in_utf_16() {
        let text = "a: b\n\u{e9}: { \u{1f980}: x, typ: \"\u{1f980} y\" }\n";
        let at = |line, column| region(&Source::new("a.yaml", text), Some(Position { line, column }));
        let marked = |start: usize, end: usize, text: &str| json!({ "startLine": 2, "startColumn": start, "endLine": 2, "endColumn": end, "snippet": { "text": text } });
        assert_eq!(at(2, 6), marked(6, 8, "\u{1f980}"));
        assert_eq!(at(2, 12), marked(13, 16, "typ"));
        assert_eq!(at(2, 17), marked(18, 24, "\"\u{1f980} y\""));
        assert_eq!(at(1, 5), json!({ "startLine": 1, "startColumn": 5, "endLine": 1, "endColumn": 5 }));
        let long = Source::new("a.yaml", "x".repeat(SNIPPET_BYTES_MAX + 1));
        assert!(region(&long, Some(Position { line: 1, column: 1 })).get("snippet").is_none());
    }

    #[test]
    fn a_result_names_its_rule_and_a_file_as_a_whole_its_first_line() {
        let mut warning = told("b.yaml", "a: b\n", None);
        (warning.code, warning.severity, warning.hint) = ("W080", Severity::Warning, Some("do".to_owned()));
        let log = log(&[warning, told("a.yaml", "a: b\n", Some(Position { line: 1, column: 1 }))], Path::new("."));
        let run = &log["runs"][0];
        let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
        let levels: Vec<_> = rules.iter().map(|rule| (&rule["id"], &rule["defaultConfiguration"]["level"])).collect();
        assert_eq!(levels, [(&json!("E010"), &json!("error")), (&json!("W080"), &json!("warning"))]);
        let first = &run["results"][0];
        assert_eq!(
            (&first["ruleId"], &first["ruleIndex"], &first["level"]),
            (&json!("W080"), &json!(1), &json!("warning"))
        );
        assert_eq!(first["message"], json!({ "text": "`x` is {0}; do" }));
        assert_eq!(first["locations"][0]["physicalLocation"]["region"], json!({ "startLine": 1 }));
        assert_eq!(run["results"][1]["ruleIndex"], 0);
    }
}
