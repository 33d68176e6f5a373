//! `headwater test`: the documents of `tests/offline/`. Those of `acme` pass; those of `faulty` fail, and what is printed is a snapshot.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::language::files_below;
use crate::support::Project;

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$[*]\" }";
const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }";

/// Runs `headwater test` in the project in `folder`; gives the exit code and what it prints, without times.
fn tested(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
    command.arg("--project").arg(folder).arg("test").args(arguments).env("NO_COLOR", "1").stdin(Stdio::null());
    // nothing leads out: what is sent would fail
    let output = command.env("HTTPS_PROXY", "http://127.0.0.1:9").output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let lines = text(output.stdout);
    let without_time = |line: &str| match line.rsplit_once("  ") {
        Some((line, time)) if time.ends_with(" s") => line.to_owned(),
        _ => line.to_owned(),
    };
    let stdout = lines.lines().map(|line| without_time(line) + "\n").collect();
    (output.status.code().unwrap_or(-1), stdout, text(output.stderr))
}

fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/offline"))
}

#[test]
fn what_is_as_expected_passes() {
    let (code, stdout, stderr) = tested(project(), &["acme/"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let names = files_below(&project().join("integrations/acme/tests")).into_iter();
    let names = names.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut expected: Vec<String> =
        names.map(|path| format!("ok      acme/{}", path.file_stem().unwrap().display())).collect();
    expected.push(format!("{} tests: {} ok, 0 failed", expected.len(), expected.len()));
    assert_eq!(stdout.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn what_is_not_as_expected_is_shown() {
    let (code, stdout, stderr) = tested(project(), &["faulty"]);
    assert_eq!((code, stderr.as_str()), (4, ""), "{stdout}");
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(project().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!("failures", stdout));
}

#[test]
fn machines_get_one_object_per_test() {
    let (code, stdout, _) = tested(project(), &["--json", "faulty/rows", "acme/gone"]);
    assert_eq!(code, 4);
    let lines: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [passed, failed] = lines.as_slice() else { panic!("two lines: {stdout}") };
    assert_eq!((&passed["test"], &passed["state"]), (&"acme/gone".into(), &"ok".into()));
    assert_eq!(
        (&failed["test"], &failed["state"], &failed["run"]),
        (&"faulty/rows".into(), &"failed".into(), &1.into())
    );
    assert_eq!(failed["failures"][0]["expected"], serde_json::json!(["added: 3"]));
    assert_eq!(failed["failures"][0]["found"], serde_json::json!(["added: 2"]));
    assert!(failed["seconds"].is_number());
}

#[test]
fn a_name_that_no_test_has_is_a_mistake() {
    let (code, stdout, stderr) = tested(project(), &["acme/pagin", "acme/nothing"]);
    assert_eq!((code, stdout.as_str()), (2, ""));
    assert!(stderr.contains("no test has `acme/nothing` in its name"), "{stderr}");
}

#[test]
fn a_project_without_tests_says_where_they_stand() {
    let project = Project::simple("https://api.example.com", SYNC, MODEL);
    let (code, stdout, _) = tested(project.path(), &[]);
    assert_eq!((code, stdout.lines().count()), (0, 1), "{stdout}");
    assert!(stdout.contains("integrations/<provider>/tests/<name>.yaml"), "{stdout}");
}

#[test]
fn a_mistake_ends_it_and_what_cannot_be_run_yet_is_passed_over() {
    let project = Project::simple("https://api.example.com", SYNC, MODEL);
    project.write(
        "integrations/api/tests/items.yaml",
        "test: items\nsync: items\nruns: [{ exchange: [{ request: { get: /items }, response: { body: [] } }] }]\n",
    );
    project.write(
        "providers/api.yaml",
        "provider: api\nbase_url: https://api.example.com\nwebhooks: { verify: { token: { header: X-Token } } }\n",
    );
    let words =
        "detail: { request: { get: \"/items/{{ record.id }}\" }, replace: true }\non_webhook: [{ upsert: $.item }]";
    project.write("integrations/api/syncs/later.yaml", format!("sync: later\nmodel: Item\n{words}\n{SYNC}\n"));
    project.write("integrations/api/tests/later.yaml", "test: later\nsync: later\nruns: [{}]\n");
    let (code, stdout, _) = tested(project.path(), &[]);
    let expected = "ok      api/items\nskipped api/later  an event's record for a sync with `detail` cannot be run yet\n\
                    1 test: 1 ok, 0 failed; 1 skipped, whose words cannot be run yet\n";
    assert_eq!((code, stdout.as_str()), (0, expected));
    project.write("integrations/api/tests/wrong.yaml", "test: wrong\nsync: things\nruns: [{}]\n");
    let (code, _, stderr) = tested(project.path(), &[]);
    assert_eq!(code, 2);
    assert!(stderr.contains("error[E021]") && !stderr.contains("E090"), "{stderr}");
}

/// The tests of the examples in the reference, as far as their words can be run.
#[test]
fn the_examples_of_the_reference_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/examples");
    for example in ["codehost", "crm", "sensors"] {
        let (code, stdout, stderr) = tested(&examples.join(example), &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{example}: {stdout}");
        assert!(stdout.contains("ok  ") || stdout.contains("skipped "), "{example}: {stdout}");
    }
}

/// The syncs that are hardest to say, and the patterns that people begin with.
#[test]
fn the_hardest_syncs_and_the_patterns_pass() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for (example, tests) in [("hardest", 25), ("patterns", 11)] {
        let project = examples.join(example);
        let strict = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .arg("--project")
            .arg(&project)
            .args(["check", "--strict"])
            .output();
        let strict = strict.expect("the program runs");
        assert!(strict.status.success(), "{example}: {}", String::from_utf8_lossy(&strict.stdout));
        let (code, stdout, stderr) = tested(&project, &[]);
        assert_eq!((code, stderr.as_str()), (0, ""), "{example}: {stdout}");
        assert_eq!(stdout.matches("ok  ").count(), tests, "{example}: {stdout}");
    }
}

#[test]
fn the_catalogue_is_compiled_as_it_would_be_in_use() {
    let project = Project::simple("https://api.example.com", SYNC, MODEL);
    let (code, stdout, stderr) = tested(project.path(), &["--catalogue"]);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
}
