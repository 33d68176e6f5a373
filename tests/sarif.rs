//! `check --sarif`: what it prints keeps to the standard, says what the other forms say, and shows no secret.

use std::path::Path;

use headwater::diagnostic::{Diagnostic, Severity, sarif};
use serde_json::Value;
use url::Url;

use crate::language::{ROOT, compiled, each_case, project};
use crate::support::Project;

fn validator() -> jsonschema::Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sarif/log.schema.json");
    let schema: Value = serde_json::from_slice(&std::fs::read(path).expect("a schema")).expect("JSON");
    assert!(jsonschema::meta::is_valid(&schema));
    jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema")
}

/// The log in the text form, read back, as a program would get it.
fn logged(diagnostics: &[Diagnostic]) -> Value {
    let text = serde_json::to_string(&sarif::log(diagnostics, Path::new("."))).expect("JSON");
    serde_json::from_str(&text).expect("JSON")
}

/// What the standard asks for and no schema can say: rules are named by their place, and regions are in the file.
fn holds(log: &Value, diagnostics: &[Diagnostic]) {
    let rules = log["runs"][0]["tool"]["driver"]["rules"].as_array().expect("rules");
    let results = log["runs"][0]["results"].as_array().expect("results");
    assert_eq!(results.len(), diagnostics.len());
    for (result, diagnostic) in results.iter().zip(diagnostics) {
        assert_eq!(result["ruleId"], diagnostic.code);
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().expect("a number")).expect("small")];
        assert_eq!(rule["id"], diagnostic.code);
        let level = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
        assert_eq!((&result["level"], &rule["defaultConfiguration"]["level"]), (&level.into(), &level.into()));
        let text = result["message"]["text"].as_str().expect("text");
        assert!(
            text.starts_with(&diagnostic.message) && text.ends_with(diagnostic.hint.as_deref().unwrap_or_default())
        );
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], diagnostic.source.name, "nothing in these names needs an escape");
        let (Some(at), region) = (diagnostic.position, &place["region"]) else { continue };
        assert_eq!(
            (region["startLine"].as_u64(), region["endLine"].as_u64()),
            (Some(at.line as u64), Some(at.line as u64))
        );
        let line: Vec<u16> = diagnostic.source.line(at.line).encode_utf16().collect();
        let column = |name: &str| usize::try_from(region[name].as_u64().expect("a number")).expect("small");
        let marked = &line[column("startColumn") - 1..column("endColumn") - 1];
        let snippet = region["snippet"]["text"].as_str().unwrap_or_default();
        assert_eq!(String::from_utf16_lossy(marked), snippet);
    }
}

#[test]
fn every_case_gives_a_log_that_keeps_to_the_standard() {
    let validator = validator();
    each_case(&Path::new(ROOT).join("invalid"), |name, case| {
        let diagnostics = compiled(&project(case)).diagnostics;
        let log = logged(&diagnostics);
        let errors: Vec<String> =
            validator.iter_errors(&log).map(|error| format!("{error} at {}", error.instance_path())).collect();
        assert!(errors.is_empty(), "{name}: {errors:#?}");
        holds(&log, &diagnostics);
    });
    assert!(validator.is_valid(&logged(&[])), "a project without mistakes has a log too");
}

#[test]
fn the_program_prints_one_log_and_no_secret() {
    const SECRET: &str = "hunter2-tr0ub4dor";
    let case = std::fs::read(Path::new(ROOT).join("invalid/W081-secret-in-yaml.case")).expect("a case");
    let case = String::from_utf8(case).expect("UTF-8");
    let (before, after) = case.split_once("api_key: ").expect("a secret");
    let rest = after.split_once(" }").expect("the end of the credentials").1;
    // a second mistake on the secret's own value
    for (secret, codes) in [
        (format!("\"{SECRET}\""), vec!["W081"]),
        (format!("[{SECRET}]"), vec!["E012"]),
        (format!("\"${{{SECRET}!}}\""), vec!["E046"]),
    ] {
        let project = project(format!("{before}api_key: {secret} }}{rest}").as_bytes());
        let output = project.headwater(&["check", "--sarif"]);
        let log = output.json().pop().expect("a log");
        assert_eq!(output.stdout.lines().count(), 1);
        assert!(validator().is_valid(&log), "{log:#}");
        let told: Vec<&str> = log["runs"][0]["results"]
            .as_array()
            .expect("results")
            .iter()
            .map(|it| it["ruleId"].as_str().unwrap())
            .collect();
        assert_eq!(told, codes);
        assert!(!output.stdout.contains(SECRET) && output.stderr.is_empty(), "{}", output.stdout);
    }
}

#[test]
fn files_of_the_catalogue_and_of_odd_names_are_named_by_uris() {
    let project = Project::empty();
    project.write("headwater.yaml", "database: a.duckdb\nconnections: { one: { provider: stripe } }\n");
    project.write("integrations/stripe/syncs/a b: é.yaml", "sync: odd\n");
    // comes before the model of the catalogue that has this table
    project
        .write("integrations/stripe/models/A.yaml", "model: A\ntable: customers\nkey: [id]\ncolumns: { id: $.id }\n");
    let output = project.headwater(&["check", "--sarif"]);
    let log = output.json().pop().expect("a log");
    let errors: Vec<String> = validator().iter_errors(&log).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let run = &log["runs"][0];
    let root = Url::from_directory_path(project.path()).expect("an absolute path");
    assert_eq!(run["originalUriBaseIds"]["%SRCROOT%"]["uri"], root.as_str());
    let results = run["results"].as_array().expect("results");
    let place = |code: &str, uri: &str| {
        let mut places = results
            .iter()
            .filter(|result| result["ruleId"] == code)
            .map(|result| &result["locations"][0]["physicalLocation"]["artifactLocation"]);
        places.find(|place| place["uri"] == uri).unwrap_or_else(|| panic!("{code} at {uri} in {results:#?}"))
    };
    let own = place("E011", "integrations/stripe/syncs/a%20b%3A%20%C3%A9.yaml");
    assert_eq!(own["uriBaseId"], "%SRCROOT%");
    let file = root.join(own["uri"].as_str().expect("text")).expect("a URL").to_file_path().expect("a path");
    assert!(file.is_file(), "{}", file.display());
    let builtin = place("E024", "%3Ccatalogue%3E/stripe/models/Customer.yaml");
    assert!(builtin.get("uriBaseId").is_none(), "it is no file of the project: {builtin}");
}
