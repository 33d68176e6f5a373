//! Templates, as tables of what goes in and what comes out: `tests/templates/*.yaml`.

use std::process::Command;

use headwater::plan::{Moment, Template};
use minijinja::value::{Serde, Value};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::support::{Api, Project, Reply};

/// One file: the variables of all its cases, and the cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    with: serde_json::Map<String, Json>,
    /// variables that are times, by name: RFC 3339
    #[serde(default)]
    times: std::collections::BTreeMap<String, String>,
    cases: Vec<Case>,
}

/// A template and what becomes of it: exactly one of the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    of: String,
    /// the typed value
    gives: Option<Json>,
    /// no value at all
    #[serde(default)]
    nothing: bool,
    /// the path
    path: Option<String>,
    /// whether it is true
    holds: Option<bool>,
    /// a part of why it does not parse, and of the hint
    refused: Option<String>,
    hint: Option<String>,
    /// a part of why it cannot be evaluated
    fails: Option<String>,
    /// a part of why it is no path
    no_path: Option<String>,
}

fn variables(table: &Table) -> Value {
    let times = table.times.iter().map(|(name, at)| {
        let at = chrono::DateTime::parse_from_rfc3339(at).expect("a time").to_utc();
        (name.clone(), Value::from_object(Moment::utc(at)))
    });
    Value::from_pairs(table.with.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))).chain(times))
}

/// What is wrong with a case, if anything.
fn failure(case: &Case, variables: &Value) -> Option<String> {
    let said = |wanted: &str, said: String| (!said.contains(wanted)).then_some(said);
    let template = match (Template::parse(&case.of), &case.refused) {
        (Err(error), Some(refused)) => {
            return said(refused, error.to_string())
                .or_else(|| said(case.hint.as_deref().unwrap_or_default(), error.hint().unwrap_or_default()));
        }
        (Err(error), None) => return Some(format!("does not parse: {error}")),
        (Ok(_), Some(_)) => return Some("parses".to_owned()),
        (Ok(template), None) => template,
    };
    if let Some(wanted) = &case.path {
        let path = template.render_path(variables);
        return (path.as_ref().ok() != Some(wanted)).then(|| format!("{path:?}"));
    }
    if let Some(wanted) = &case.no_path {
        return template.render_path(variables).map_or_else(|error| said(wanted, error.to_string()), Some);
    }
    if let Some(wanted) = case.holds {
        let holds = template.is_true(variables);
        return (holds != Ok(wanted)).then(|| format!("{holds:?}"));
    }
    match (template.value(variables), &case.fails) {
        (Err(error), Some(fails)) => said(fails, error.to_string()),
        (Err(error), None) => Some(error.to_string()),
        (Ok(value), None) if value == case.gives && (case.nothing || value.is_some()) => None,
        (Ok(value), _) => Some(format!("{value:?}")),
    }
}

#[test]
fn templates_give_what_the_tables_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/templates");
    let (mut cases, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a file");
        let table: Table = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let variables = variables(&table);
        for case in &table.cases {
            cases += 1;
            if let Some(failure) = failure(case, &variables) {
                failures.push(format!("{}: {}\n    {failure}", path.file_name().expect("a name").display(), case.of));
            }
        }
    }
    assert!(cases > 300, "{cases} cases");
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
}

const MODEL: &str = "key: [id]\ncolumns: { id: $.id }";

/// A project whose one connection has these settings.
fn project(api: &Api, sync: &str, config: &Json) -> Project {
    let sync = format!("{sync}\nresponse: {{ records: \"$.items[*]\" }}\ndeletes: {{ absence: {{}} }}");
    let project = Project::simple(&api.url(), &sync, MODEL);
    let connection = format!("acme: {{ provider: api, config: {config} }}");
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n  {connection}\n"));
    project
}

fn empty_api() -> Api {
    Api::start(|_| Reply::json(&json!({ "items": [] })))
}

#[test]
fn values_go_over_the_wire_in_their_places() {
    let api = empty_api();
    for value in ["a/b?c=d&e#f", "\"quoted\" \\ back", "a;b=c, d", "%2e%2e", "é ☃ 😀", "x: y", "a'b", "{{ config.v }}"]
    {
        for body in [
            "json: { v: [\"{{ config.v }}\", \"<{{ config.v }}>\"] }",
            "form: { v: \"{{ config.v }}\", w: \"<{{ config.v }}>\" }",
        ] {
            let sync = format!(
                "request:\n  post: \"/x/{{{{ config.v }}}}/y\"\n  query: {{ q: \"{{{{ config.v }}}}\" }}\n  \
                 headers: {{ X-V: \"v={{{{ config.v }}}}\" }}\n  body: {{ {body} }}"
            );
            project(&api, &sync, &json!({ "v": value })).run();
            let sent = api.requests().pop().expect("a request");
            assert_eq!(sent.header("host"), Some(api.url().trim_start_matches("http://")));
            assert_eq!(sent.path.split('/').count(), 4, "{}", sent.target);
            assert_eq!(sent.param("q"), Some(value), "{}", sent.target);
            assert_eq!(sent.header("x-v"), Some(format!("v={value}").as_str()), "{:?}", sent.headers);
            if body.starts_with("json") {
                let sent: Json = serde_json::from_str(&sent.body).expect("JSON");
                assert_eq!(sent, json!({ "v": [value, format!("<{value}>")] }));
            } else {
                let pairs: Vec<_> = url::form_urlencoded::parse(sent.body.as_bytes()).into_owned().collect();
                assert_eq!(pairs, [("v".to_owned(), value.to_owned()), ("w".to_owned(), format!("<{value}>"))]);
            }
        }
    }
}

#[test]
fn a_header_with_a_line_end_in_it_is_not_sent() {
    let api = empty_api();
    for header in ["X-V", "Cookie", "Authorization"] {
        for value in ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b", "\n"] {
            let sync = format!("request: {{ get: /x, headers: {{ {header}: \"v={{{{ config.v }}}}\" }} }}");
            let report = project(&api, &sync, &json!({ "v": value })).run_fails(2);
            let message = report["error"]["message"].as_str().expect("a message");
            assert!(message.contains(&format!("the value of header `{header}`")), "{value:?}: {message}");
        }
    }
    assert!(api.requests().is_empty());
}

#[test]
fn a_cookie_that_would_be_two_is_not_sent() {
    let api = empty_api();
    let project =
        Project::simple(&api.url(), "request: { get: /x }\nresponse: { records: $ }\ndeletes: { absence: {} }", MODEL);
    let provider = "auth: { key: { api_key: { cookie: session, value: \"{{ credentials.key }}\" } } }";
    project.write("providers/api.yaml", format!("provider: api\nbase_url: {}\n{provider}\n", api.url()));
    let connection = "acme: { provider: api, credentials: { key: \"${TEST_COOKIE}\" } }";
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n  {connection}\n"));
    for value in ["abcdef; admin=1", "abcdef\r\nX-Evil: 1", "abc def"] {
        let output = project.headwater_with(&["run", "--json"], &[("TEST_COOKIE", value)]);
        assert_eq!(output.code, 2, "{}{}", output.stdout, output.stderr);
        assert!(output.stdout.contains("the value of cookie `session`"), "{}", output.stdout);
        assert!(!output.stdout.contains("abc"), "{}", output.stdout);
    }
    assert!(api.requests().is_empty());
}

/// A signature is made of what is sent and a secret, and neither the secret nor the signature is shown.
#[test]
fn a_request_can_be_signed() {
    let api = empty_api();
    let sync = "request:\n  get: /x\n  headers:\n    X-Signature: \"{{ ('GET/x' ~ config.account) | hmac_sha256(credentials.secret, 'base64') }}\"\n    \
                X-Digest: \"sha-256={{ config.account | sha256 }}\"\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), sync, MODEL);
    let connection = "acme: { provider: api, config: { account: abc }, credentials: { secret: \"${TEST_SECRET}\" } }";
    project.write("headwater.yaml", format!("database: test.duckdb\nconnections:\n  {connection}\n"));
    let environment = [("TEST_SECRET", "correct horse battery staple")];
    for arguments in [["run", "--json"], ["dry-run", "--json"]] {
        let output = project.headwater_with(&arguments, &environment);
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        let sent = api.requests().pop().expect("a request");
        // openssl dgst -sha256 -hmac 'correct horse battery staple' -binary | base64
        let signature = "Rx6118+/VQmnUEt20lPDqQiPpI8nQXQeEs1iQthOnbE=";
        assert_eq!(sent.header("x-signature"), Some(signature));
        let digest = "sha-256=ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sent.header("x-digest"), Some(digest));
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(!said.contains("battery") && !said.contains(signature), "{said}");
    }
}

/// Expressions that would fill the memory: the program is given two gigabytes of addresses, and says what is wrong.
#[test]
fn no_template_fills_the_memory() {
    let api = empty_api();
    let twice = |filter: &str| format!("config.t{}", filter.repeat(60));
    for (expression, said) in [
        ("config.t * 1000000000".to_owned(), "takes numbers"),
        ("[config.t] * 1000000000 | join".to_owned(), "takes numbers"),
        (twice(" | replace('a', 'aa')"), "makes more than 16 MiB"),
        (twice(" | replace('', 'aa')"), "makes more than 16 MiB"),
        (twice(" | json"), "makes more than 16 MiB"),
        (twice(" | base64"), "makes more than 16 MiB"),
        ("config.t | replace('', config.t)".to_owned(), "makes more than 16 MiB"),
        ("config.t | list | map('replace', 'a', config.t) | join".to_owned(), "makes more than 16 MiB"),
    ] {
        let sync = format!("request: {{ get: /x, query: {{ q: \"{{{{ {expression} }}}}\" }} }}");
        let project = project(&api, &sync, &json!({ "t": "\"a".repeat(20_000) }));
        let script = "ulimit -v 2000000; exec \"$0\" --project \"$1\" dry-run --json";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_headwater")]).arg(project.path());
        let output = command.output().expect("the program runs");
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{expression:.60}: {told:.500}");
        assert!(told.contains(said), "{expression:.60}: {told:.500}");
    }
    assert!(api.requests().is_empty());
}
