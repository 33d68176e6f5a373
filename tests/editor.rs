//! What editors make of the schemas: `yaml-language-server`, which most of them ask, over its own protocol (LSP 3.17, JSON-RPC on standard
//! input and output). `./dev test` installs it and says where it is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use headwater::spec::schema::Kind;
use serde_json::{Value, json};

use crate::support::Project;

/// Where the one thing to complete or to point at stands in a text.
const CURSOR: char = '‸';

/// A language server that serves a project.
struct Server {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    root: String,
    /// lives as long as it is served
    project: Project,
    requests: u64,
    documents: u64,
    diagnostics: BTreeMap<String, Vec<Value>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn of(project: Project) -> Self {
        let program = std::env::var("HEADWATER_YAML_LANGUAGE_SERVER")
            .expect("HEADWATER_YAML_LANGUAGE_SERVER names the language server: `./dev test` installs it");
        let mut child = Command::new("node")
            .args([program.as_str(), "--stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs");
        let (to, from) = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        let folder = project.path().canonicalize().expect("a folder");
        let root = format!("file://{}", folder.display());
        let mut server =
            Self { child, to, from, root, project, requests: 0, documents: 0, diagnostics: BTreeMap::new() };
        let markdown = json!(["markdown"]);
        server.ask(
            "initialize",
            &json!({ "processId": null, "rootUri": server.root, "capabilities": { "textDocument": {
                "completion": { "completionItem": { "snippetSupport": true, "documentationFormat": markdown } },
                "hover": { "contentFormat": markdown },
            } } }),
        );
        server.tell("initialized", &json!({}));
        let settings = json!({ "yaml": { "validate": true, "hover": true, "completion": true, "schemaStore": { "enable": false } } });
        server.tell("workspace/didChangeConfiguration", &json!({ "settings": settings }));
        server
    }

    fn send(&mut self, message: &Value) {
        let text = message.to_string();
        write!(self.to, "Content-Length: {}\r\n\r\n{text}", text.len()).expect("the server reads");
        self.to.flush().expect("the server reads");
    }

    fn tell(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        loop {
            let message = self.read();
            if message["id"] == id && message.get("method").is_none() {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    /// The next message; what the server asks is answered, and the diagnostics that it tells are kept.
    fn read(&mut self) -> Value {
        let mut length = 0;
        loop {
            let mut line = String::new();
            assert!(self.from.read_line(&mut line).expect("a header") > 0, "the language server is gone");
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.from.read_exact(&mut body).expect("a message");
        let message: Value = serde_json::from_slice(&body).expect("JSON");
        if message["method"] == "textDocument/publishDiagnostics" {
            let told = message["params"]["diagnostics"].as_array().cloned().unwrap_or_default();
            self.diagnostics.insert(message["params"]["uri"].as_str().unwrap_or_default().to_owned(), told);
        } else if message.get("method").is_some() && message.get("id").is_some() {
            // of what it asks only the settings have an answer, and those are told already
            let items = message["params"]["items"].as_array().map(|items| items.iter().map(|_| json!({})).collect());
            self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": items.map(Value::Array) }));
        }
        message
    }

    /// Opens a text as if it stood in this file; gives its address.
    fn open(&mut self, file: &str, text: &str) -> String {
        // to the server each text is a document of its own
        self.documents += 1;
        let uri = format!("{}/{}-{}.yaml", self.root, file.trim_end_matches(".yaml"), self.documents);
        let document = json!({ "uri": uri, "languageId": "yaml", "version": 1, "text": text });
        self.tell("textDocument/didOpen", &json!({ "textDocument": document }));
        uri
    }

    /// Opens a text and asks about the place of the cursor in it.
    fn ask_at(&mut self, method: &str, file: &str, text: &str) -> Value {
        let (before, behind) = text.split_once(CURSOR).expect("a cursor");
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
        let uri = self.open(file, &format!("{before}{behind}"));
        let position = json!({ "line": line, "character": column });
        self.ask(method, &json!({ "textDocument": { "uri": uri }, "position": position }))
    }

    /// What is offered at the cursor, with what it says of each.
    fn offered(&mut self, file: &str, text: &str) -> BTreeMap<String, String> {
        let answer = self.ask_at("textDocument/completion", file, text);
        let items = answer["items"].as_array().or(answer.as_array()).expect("a list").clone();
        let about = |item: &Value| {
            let documentation = &item["documentation"];
            documentation["value"].as_str().or(documentation.as_str()).unwrap_or_default().to_owned()
        };
        items.iter().map(|item| (item["label"].as_str().expect("a label").to_owned(), about(item))).collect()
    }

    fn hover(&mut self, file: &str, text: &str) -> String {
        self.ask_at("textDocument/hover", file, text)["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    /// What is told of a text, each with its line, counted from one.
    fn told(&mut self, file: &str, text: &str) -> Vec<(u64, String)> {
        let uri = self.open(file, text);
        loop {
            if let Some(told) = self.diagnostics.remove(&uri) {
                let line = |one: &Value| one["range"]["start"]["line"].as_u64().expect("a line") + 1;
                return told
                    .iter()
                    .map(|one| (line(one), one["message"].as_str().unwrap_or_default().to_owned()))
                    .collect();
            }
            self.read();
        }
    }
}

/// Where a document of this kind stands in a project, and its first lines.
fn place(kind: Kind) -> (&'static str, String) {
    let (file, schemas) = match kind {
        Kind::Project => ("headwater.yaml", "schemas"),
        Kind::Provider => ("providers/acme.yaml", "../schemas"),
        Kind::Sync => ("integrations/acme/syncs/people.yaml", "../../../schemas"),
        Kind::Model => ("integrations/acme/models/Person.yaml", "../../../schemas"),
        Kind::Action => ("integrations/acme/actions/greet.yaml", "../../../schemas"),
        Kind::Test => ("integrations/acme/tests/people.yaml", "../../../schemas"),
        Kind::Overlay => ("headwater.api.yaml", "schemas"),
    };
    (file, format!("# yaml-language-server: $schema={schemas}/{kind}.json\n"))
}

fn project() -> Project {
    let project = Project::empty();
    let made = project.headwater(&["init"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    project
}

#[test]
fn every_word_of_every_document_is_offered_with_its_meaning() {
    let mut server = Server::of(project());
    for kind in Kind::ALL {
        let (file, head) = place(kind);
        let offered = server.offered(file, &format!("{head}{CURSOR}"));
        for word in kind.schema()["properties"].as_object().expect("words").keys() {
            let about = offered.get(word).unwrap_or_else(|| panic!("{kind}: `{word}` is not offered: {offered:?}"));
            assert!(!about.is_empty(), "{kind}: nothing is said of `{word}`");
        }
    }
}

#[test]
fn choices_and_values_are_offered() {
    let mut server = Server::of(project());
    let mut offers = |kind: Kind, text: &str, expected: &[&str]| {
        let (file, head) = place(kind);
        let offered = server.offered(file, &format!("{head}{text}"));
        let missing: Vec<_> = expected.iter().filter(|word| !offered.contains_key(**word)).collect();
        assert!(missing.is_empty(), "{kind}: {missing:?} not offered in\n{text}\nbut {:?}", offered.keys());
    };
    // a choice: all its kinds, on an empty line and behind a first letter
    offers(Kind::Provider, "provider: a\nauth:\n  key:\n    ‸", &["api_key", "basic", "authorization_code", "sigv4"]);
    offers(Kind::Provider, "provider: a\npagination:\n  c‸", &["cursor"]);
    offers(Kind::Sync, "sync: a\npagination:\n  ‸", &["link", "next_url", "cursor", "offset", "page", "relay"]);
    offers(Kind::Sync, "sync: a\ndeletes:\n  ‸", &["absence", "flag", "feed", "sweep", "webhook"]);
    offers(Kind::Sync, "sync: a\nrequest:\n  ‸", &["get", "post", "query", "body"]);
    // values: those that are all, and examples of others
    offers(Kind::Provider, "provider: a\ncategory: ‸", &["crm", "e-signature"]);
    offers(Kind::Provider, "provider: a\nrate_limit:\n  quotas:\n    - ‸", &["100 per 10s"]);
    offers(Kind::Sync, "sync: a\nincremental:\n  order: ‸", &["ascending", "descending", "none"]);
    offers(Kind::Sync, "sync: a\nincremental:\n  lookback: ‸", &["15m"]);
    offers(Kind::Sync, "sync: a\nincremental:\n  window:\n    size: ‸", &["1 month", "7 days"]);
    offers(Kind::Sync, "sync: a\nschedule: ‸", &["every 15m", "manual"]);
    offers(Kind::Sync, "sync: a\nresponse:\n  records: ‸", &["$.items[*]"]);
    offers(Kind::Sync, "sync: a\nresponse:\n  format: ‸", &["json", "ndjson", "csv", "xml", "text"]);
    offers(Kind::Model, "model: A\ncolumns:\n  id:\n    ‸", &["path", "value", "type", "description"]);
    offers(
        Kind::Model,
        "model: A\ncolumns:\n  id:\n    type: ‸",
        &["bigint", "timestamptz", "decimal(18,2)", "varchar[]"],
    );
    offers(Kind::Model, "model: A\non_invalid: ‸", &["quarantine", "fail", "set_null"]);
    offers(Kind::Action, "action: a\nrequest:\n  body:\n    ‸", &["json", "form", "graphql"]);
    offers(Kind::Test, "test: a\nruns:\n  - ‸", &["at", "exchange", "expect"]);
    offers(Kind::Test, "test: a\norder: ‸", &["strict", "any"]);
    offers(Kind::Project, "connections:\n  a:\n    ‸", &["provider", "auth", "credentials", "config", "syncs"]);
    offers(Kind::Overlay, "connections:\n  a:\n    ‸", &["syncs"]);
}

#[test]
fn pointing_at_a_word_tells_its_meaning() {
    let mut server = Server::of(project());
    let mut says = |kind: Kind, text: &str, expected: &str| {
        let (file, head) = place(kind);
        let told = server.hover(file, &format!("{head}{text}"));
        assert!(told.contains(expected), "{kind}: {text}\nis explained as\n{told}");
    };
    says(Kind::Provider, "provider: a\nrate_‸limit: {}", "one per connection, shared by all its syncs");
    says(Kind::Sync, "sync: a\ndeletes: { abs‸ence: {} }", "proven complete scan");
    says(Kind::Sync, "sync: a\nincremental: { or‸der: none }", "* `ascending`:");
    says(Kind::Model, "model: A\nvola‸tile: []", "not part of");
    says(Kind::Action, "action: a\nsa‸ve: true", "written into the table");
    says(Kind::Test, "test: a\nruns: [{ ex‸pect: {} }]", "must be true after it");
    says(Kind::Project, "data‸base: a.duckdb", "DuckDB file");
    says(Kind::Overlay, "connec‸tions: {}", "by name");
}

#[test]
fn mistakes_are_told_where_they_are() {
    let mut server = Server::of(project());
    let mut tells = |kind: Kind, text: &str, line: u64, expected: &str| {
        let (file, head) = place(kind);
        let told = server.told(file, &format!("{head}{text}"));
        let is_there = told.iter().any(|(at, message)| *at == line + 1 && message.contains(expected));
        assert!(is_there, "{kind}: {text}\nwhat is told: {told:?}");
    };
    tells(Kind::Provider, "provider: a\nbase: x", 2, "base is not allowed");
    tells(
        Kind::Sync,
        "sync: a\nmodel: A\nresponse: {}\ndeletes: { absence: {}, webhook: {} }",
        4,
        "more properties than limit of 1",
    );
    tells(Kind::Sync, "sync: a\nmodel: A\nresponse: {}\nincremental: { type: timestam }", 4, "\"timestamp\"");
    tells(Kind::Model, "model: A\ntable: a\nkey: id\ncolumns: { id: $.id }", 3, "Incorrect type");
    tells(Kind::Action, "action: a\nrequest: { gett: /x }", 2, "gett is not allowed");
    tells(
        Kind::Test,
        "test: a\nsync: a\nruns: [{ exchange: [{ request: { get: /x } }] }]",
        3,
        "Missing property \"response\"",
    );
    tells(Kind::Project, "connections: { a: {} }", 1, "Missing property \"provider\"");
    tells(Kind::Overlay, "connection: {}", 1, "connection is not allowed");
}

/// The files of a new project, and those that the catalogue begins with, as the repository has them.
#[test]
fn what_is_right_is_left_alone() {
    let mut server = Server::of(project());
    let folder = server.project.path().to_owned();
    let mut files = crate::language::files_below(&folder);
    files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    assert!(files.len() >= 4, "{files:?}");
    let shown = |path: &Path| std::fs::read_to_string(path).expect("a file");
    for path in &files {
        let name = path.strip_prefix(&folder).expect("below").to_str().expect("a name").to_owned();
        assert_eq!(server.told(&name, &shown(path)), [], "{name}");
    }
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut kinds = BTreeSet::new();
    for path in crate::language::files_below(&top.join("integrations/github")) {
        let name = path.strip_prefix(top).expect("below").to_str().expect("a name").to_owned();
        kinds.insert(path.parent().expect("a folder").to_owned());
        assert_eq!(server.told(&name, &shown(&path)), [], "{name}");
    }
    assert!(kinds.len() >= 2, "{kinds:?}");
}
