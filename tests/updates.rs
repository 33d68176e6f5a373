//! `headwater test --update` and `--junit`: what the runs found is written into the tests, and nothing else is.

use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::language::files_below;
use crate::support::Project;

/// The project of `tests/offline`, to be changed.
fn copy() -> Project {
    let project = Project::empty();
    let from = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/offline"));
    for file in files_below(from) {
        let below = file.strip_prefix(from).expect("below");
        if !below.starts_with("snapshots") {
            project.write(below.to_str().expect("a name"), std::fs::read(&file).expect("a file"));
        }
    }
    project
}

fn text(project: &Project, file: &str) -> String {
    std::fs::read_to_string(project.path().join(file)).expect("a file")
}

#[test]
fn what_was_found_is_written_and_shown() {
    let project = copy();
    let file = "integrations/faulty/tests/rows.yaml";
    let before = text(&project, file).replace("      watermark: 3\n", "");
    project.write(file, &before);
    let output = project.headwater(&["test", "--update", "faulty/rows", "faulty/another_error"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    for line in ["updated faulty/rows", "    - added: 3", "    + added: 2", "2 tests: 2 ok, 0 failed, 2 updated"] {
        assert!(output.stdout.contains(line), "{line}: {}", output.stdout);
    }
    let expected = before
        .replace(
            "[{ id: 1, name: bell, price: 1.50 }, { id: 2, name: cord }]",
            "[{ id: 1, name: ball, price: 1.50 }, { id: 3, name: rope, price: 2.0 }]",
        )
        .replace("[{ name: ball }]", "[{ name: ball }, { name: rope }]")
        .replace("added: 3", "added: 2");
    assert_eq!(text(&project, file), expected);
    let other = text(&project, "integrations/faulty/tests/another_error.yaml");
    assert!(other.ends_with("    expect: { error: http_status }\n"), "{other}");
}

/// What a run asks for, and whether it fails, is never taken over.
#[test]
fn what_should_not_be_is_not_written() {
    let project = copy();
    let before: Vec<_> =
        files_below(project.path()).into_iter().map(|file| std::fs::read(file).expect("a file")).collect();
    let names = ["another_request", "fails", "guarded", "no_error", "no_file", "once_more", "rows", "unsent"];
    let names: Vec<String> = names.iter().map(|name| format!("faulty/{name}")).collect();
    let arguments: Vec<&str> = ["test", "--update"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let output = project.headwater(&arguments);
    assert_eq!((output.code, output.stderr.as_str()), (4, ""), "{}", output.stdout);
    assert!(output.stdout.contains("8 tests: 0 ok, 8 failed, 0 updated"), "{}", output.stdout);
    assert!(output.stdout.contains("(there is none)"), "why the watermark stays: {}", output.stdout);
    let after: Vec<_> =
        files_below(project.path()).into_iter().map(|file| std::fs::read(file).expect("a file")).collect();
    assert!(before == after, "the files are as they were");
}

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$[*]\" }\nincremental: { field: $.at }";
const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, price: { path: $.price, type: \"decimal(9,2)\" }, \
                     tags: { path: $.tags, type: json } }";

/// Tests that expect anything, in any style.
fn written() -> Vec<String> {
    let rows = [
        "[]",
        "[{ id: 1, name: 'x', price: 1 }]",
        "[{ name: a }, { name: b }]",
        "[{ id: 2, price: \"7.00\" }, { id: 9 }]",
        "[{ id: 1, name: \"it's\", tags: [a] }, { id: 2, name: long }, { id: 3 }, { id: 4, name: none }]",
        "\n          - { id: 1, name: b }\n          # two\n          - id: 2\n            name: \"q\"\n          - id: 3",
        "[\n          { id: 1 },\n          { id: 5, price: 2.5 } ]",
    ];
    let mut expects = vec![String::new(), "    expect: {}\n".to_owned()];
    for rows in rows {
        expects.push(format!("    expect:\n      rows:\n        items: {rows}\n      counts: {{ added: 7 }} # all\n"));
        expects.push(format!(
            "    expect:\n      # what is new\n      changes:\n        items: {rows}\n      watermark: \"2020-01-01\"\n"
        ));
    }
    let body = "[{ id: 1, name: a, price: 1.5, at: \"2024-01-01T00:00:00Z\" }, { id: 2, name: \"b: c\", tags: [{ k: 1 }], at: \"2024-01-02T00:00:00Z\" }, { id: 3 }]";
    let exchange = |body: &str| format!("exchange: [{{ request: {{ get: /items }}, response: {{ body: {body} }} }}]");
    let one = exchange(body);
    let documents = expects.iter().enumerate().map(|(nth, expect)| {
        let flow = format!("  - {{ {} }}\n", exchange("[{ id: 1 }]"));
        format!("# a test\ntest: t{nth}   # its name\nsync: items\nruns:\n  - {one} # first\n{expect}{flow}# the end\n")
    });
    documents.collect()
}

/// After `--update` the tests pass, and a second one changes nothing; comments stay.
#[test]
fn an_update_is_the_last_one() {
    let project = Project::simple("https://api.example.com", SYNC, MODEL);
    let all = written();
    for (nth, text) in all.iter().enumerate() {
        project.write(&format!("integrations/api/tests/t{nth}.yaml"), text);
    }
    let first = project.headwater(&["test", "--update"]);
    assert_eq!((first.code, first.stderr.as_str()), (0, ""), "{}", first.stdout);
    let kept: Vec<String> =
        (0..all.len()).map(|nth| text(&project, &format!("integrations/api/tests/t{nth}.yaml"))).collect();
    for (before, after) in all.iter().zip(&kept) {
        for comment in before.lines().filter_map(|line| line.split_once("# ").map(|(_, comment)| comment)) {
            assert!(after.contains(&format!("# {comment}")), "{comment}: {after}");
        }
        assert!(after.contains("_last_action") || after.contains("expect: {}"), "{after}");
    }
    let second = project.headwater(&["test", "--update"]);
    assert_eq!(second.code, 0, "{}", second.stdout);
    assert!(second.stdout.contains(&format!("{0} tests: {0} ok, 0 failed, 0 updated", all.len())), "{}", second.stdout);
    let again: Vec<String> =
        (0..all.len()).map(|nth| text(&project, &format!("integrations/api/tests/t{nth}.yaml"))).collect();
    assert!(kept == again);
    let plain = project.headwater(&["test"]);
    assert_eq!(plain.code, 0, "{}", plain.stdout);
    insta::assert_snapshot!("an_update_in_style", kept[10..14].join("---\n"));
}

#[test]
fn a_comment_among_rows_that_go_is_not_lost() {
    let project = Project::simple("https://api.example.com", SYNC, MODEL);
    let test = "test: t\nsync: items\nruns:\n  - exchange: [{ request: { get: /items }, response: { body: [{ id: 1 }] } }]\n    expect:\n      rows:\n        \
                items:\n          - { id: 1 }\n          - { id: 2 } # the second\n";
    project.write("integrations/api/tests/t.yaml", test);
    let output = project.headwater(&["test", "--update", "--json"]);
    assert_eq!(output.code, 4, "{}", output.stdout);
    let line = output.json().remove(0);
    let why =
        line["failures"].as_array().expect("failures").last().expect("one")["what"].as_str().expect("text").to_owned();
    assert_eq!(
        why,
        "integrations/api/tests/t.yaml:9:23 cannot be changed in place: a comment stands there, which would be lost"
    );
    assert_eq!(text(&project, "integrations/api/tests/t.yaml"), test);
}

#[test]
fn build_servers_get_what_they_read() {
    let project = copy();
    let file = project.path().join("report.xml");
    let output = project.headwater(&["test", "--junit", file.to_str().expect("a name"), "faulty/fails", "acme/gone"]);
    assert_eq!(output.code, 4, "{}", output.stdout);
    let text = std::fs::read_to_string(&file).expect("a report");
    let mut reader = Reader::from_str(&text);
    let (mut depth, mut names, mut inside) = (0_i32, Vec::new(), String::new());
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Eof => break,
            Event::Start(tag) => {
                names.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned());
                depth += 1;
            }
            Event::Empty(tag) => names.push(String::from_utf8_lossy(tag.name().as_ref()).into_owned()),
            Event::End(_) => depth -= 1,
            Event::Text(text) => inside += &text.decode().expect("text"),
            _ => {}
        }
    }
    assert_eq!(depth, 0);
    assert_eq!(names, ["testsuites", "testsuite", "testcase", "testsuite", "testcase", "failure"]);
    assert!(inside.contains("the server is on fire"), "{text}");
    let missing = project.headwater(&["test", "--junit", "/nowhere/at/all.xml", "acme/gone"]);
    assert_eq!(missing.code, 2);
    assert!(missing.stderr.contains("`/nowhere/at/all.xml` cannot be written"), "{}", missing.stderr);
}
