//! The commands as a person or a script meets them: what they print, what they write, how they end.

use std::io::{BufRead, BufReader, Read};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use serde_json::{Value, json};

use crate::support::{Api, Output, Project, Reply, Request};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

fn three(_: &Request) -> Reply {
    Reply::json(
        &json!({ "items": [{ "id": 1, "name": "one" }, { "id": 2, "name": "two" }, { "id": 3, "name": "three" }] }),
    )
}

/// A project whose API has three records, after one run.
fn loaded() -> (Api, Project) {
    let api = Api::start(three);
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.run();
    api.asked();
    (api, project)
}

fn says(output: &Output, code: i32, words: &[&str]) {
    let said = format!("{}{}", output.stdout, output.stderr);
    assert_eq!(output.code, code, "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
}

#[test]
fn init_makes_a_project_that_checks_and_leaves_what_is_there() {
    let project = Project::empty();
    project.write(".gitignore", "mine\n");
    says(&project.headwater(&["init"]), 0, &["written  headwater.yaml", "kept     .gitignore", "headwater check"]);
    says(&project.headwater(&["check", "--strict"]), 0, &["ok: 1 sync of 1 connection, 0 warnings"]);
    says(
        &project.headwater(&["explain"]),
        0,
        &["GET https://api.example.com/v1/contacts", "bearer {{ credentials.token }}"],
    );
    assert_eq!(std::fs::read_to_string(project.path().join(".gitignore")).expect("a file"), "mine\n");
    // editors find the schemas where the first lines of the files say
    for (file, schema) in
        [("headwater.yaml", "schemas/project.json"), ("integrations/example/models/Contact.yaml", "schemas/model.json")]
    {
        let text = std::fs::read_to_string(project.path().join(file)).expect("a file");
        assert!(text.starts_with("# yaml-language-server: $schema=") && text.lines().next().unwrap().ends_with(schema));
        let schema = std::fs::read(project.path().join(schema)).expect("a schema");
        assert!(serde_json::from_slice::<Value>(&schema).expect("JSON")["properties"].is_object());
    }

    project.write("headwater.yaml", "database: mine.duckdb\n");
    says(&project.headwater(&["init"]), 2, &["there is a project in", "headwater check"]);
    assert_eq!(
        std::fs::read_to_string(project.path().join("headwater.yaml")).expect("a file"),
        "database: mine.duckdb\n"
    );
}

#[test]
fn a_folder_without_a_project_says_what_to_do() {
    let project = Project::empty();
    for command in [
        vec!["check"],
        vec!["run"],
        vec!["status"],
        vec!["explain"],
        vec!["query", "select 1"],
        vec!["changes", "t"],
        vec!["dry-run"],
    ] {
        says(&project.headwater(&command), 2, &["there is no `headwater.yaml` in", "headwater init"]);
    }
    assert_eq!(std::fs::read_dir(project.path()).expect("a folder").count(), 0);
}

#[test]
fn a_wrong_command_line_ends_with_2_and_help_with_0() {
    let project = Project::empty();
    says(&project.headwater(&["runn"]), 2, &["unrecognized subcommand", "'run'"]);
    says(&project.headwater(&["run", "--fulll"]), 2, &["'--full'"]);
    says(&project.headwater(&["run", "--commit-every", "soon"]), 2, &["soon"]);
    says(&project.headwater(&["--help"]), 0, &["Exit codes:\n    0  done\n", "\n    3  the API"]);
    says(&project.headwater(&["--version"]), 0, &[concat!("headwater ", env!("CARGO_PKG_VERSION"))]);
    says(&project.headwater(&["schema", "modle"]), 2, &["did you mean `model`?"]);
}

#[test]
fn the_worst_of_all_syncs_decides_the_exit_code() {
    let api = Api::start(|request| match request.path.as_str() {
        "/fine" => three(request),
        "/gone" => Reply::status(404, "{}"),
        _ => Reply::text("text/plain", "no"),
    });
    let project = Project::simple(&api.url(), "request: { get: /fine }\nresponse: { records: \"$.items[*]\" }", MODEL);
    for name in ["gone", "odd"] {
        project.write(
            &format!("integrations/api/syncs/{name}.yaml"),
            &format!(
                "sync: {name}\nmodel: Item\nrequest: {{ get: /{name} }}\nresponse: {{ records: \"$.items[*]\" }}\n"
            ),
        );
    }
    says(&project.headwater(&["run", "api/items"]), 0, &["completed", "acme/items: 3 rows committed"]);
    says(
        &project.headwater(&["run", "api/items", "acme/gone"]),
        3,
        &["completed", "404 Not Found", "hint: check `base_url`"],
    );
    says(&project.headwater(&["run"]), 4, &["completed", "404 Not Found", "no JSON"]);
    assert_eq!(project.column("select count(*) from api.items"), [3], "a failing sync does not stop the others");
    says(&project.headwater(&["status"]), 0, &["acme/gone", "failed", "404 Not Found"]);
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let api = Api::start(three);
    let project = Project::simple(&api.url(), SYNC, MODEL);
    let text = "a,b\n1,2\n".repeat(4_000);
    project.write("test.duckdb", &text);
    for command in [vec!["run"], vec!["status"], vec!["query", "select 1"]] {
        says(&project.headwater(&command), 5, &["is not a DuckDB database", "name another file under `database`"]);
    }
    assert_eq!(std::fs::read_to_string(project.database()).expect("a file"), text);
    assert!(api.requests().is_empty());
    project.write("headwater.yaml", "database: nowhere/test.duckdb\nconnections:\n  acme: { provider: api }\n");
    says(&project.headwater(&["run"]), 5, &["nowhere"]);
}

/// Two connections, one of whose syncs has two variants.
fn several(api: &Api) -> Project {
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.write(
        "integrations/api/syncs/others.yaml",
        "sync: others\nmodel: Other\nrequest: { get: /others }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }\n",
    );
    project.write("integrations/api/models/Other.yaml", &format!("model: Other\ntable: others\n{MODEL}\n"));
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api }\n  beta:\n    provider: api\n    syncs: { items: { variants: { red: {}, blue: {} } } }\n",
    );
    project
}

#[test]
fn selectors_name_providers_connections_syncs_and_variants() {
    let api = Api::start(three);
    let project = several(&api);
    for (selectors, expected) in [
        (vec![], vec!["acme/items", "acme/others", "beta/items@red", "beta/items@blue"]),
        (vec!["api"], vec!["acme/items", "acme/others", "beta/items@red", "beta/items@blue"]),
        (vec!["api/items"], vec!["acme/items", "beta/items@red", "beta/items@blue"]),
        (vec!["acme"], vec!["acme/items", "acme/others"]),
        (vec!["acme/others", "acme"], vec!["acme/items", "acme/others"]),
        (vec!["beta/items@blue", "acme/items"], vec!["acme/items", "beta/items@blue"]),
    ] {
        let output = project.headwater(&[&["explain", "--json"], selectors.as_slice()].concat());
        let mut named: Vec<Value> = output.json().iter().map(|sync| sync["sync"].clone()).collect();
        let mut expected = expected;
        named.sort_by_key(ToString::to_string);
        expected.sort_unstable();
        assert_eq!(named, expected, "{selectors:?}");
    }
    for command in ["run", "dry-run", "explain"] {
        says(
            &project.headwater(&[command, "acme/itms"]),
            2,
            &["`acme/itms` names no sync", "did you mean `acme/items`?"],
        );
    }
    says(&project.headwater(&["run", "acme", "gamma"]), 2, &["`gamma` names no sync"]);
    assert!(api.requests().is_empty() && !project.database().exists(), "nothing runs where one selector is wrong");
}

#[test]
fn run_json_is_one_object_a_line_and_the_report_last() {
    let (api, project) = loaded();
    api.becomes(|_| Reply::json(&json!({ "items": [{ "id": 1, "name": "one" }, { "id": 2, "name": "new" }, { "id": 4, "name": 4 }, { "id": "x" }] })));
    project.write(
        "integrations/api/syncs/items.yaml",
        &format!("sync: items\nmodel: Item\n{}\n", SYNC.replace("absence: {}", "flag: { when: \"$[?@.gone]\" }")),
    );
    let output = project.headwater(&["run", "--json"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let mut lines = output.json();
    let run_id = lines[4]["report"]["run_id"].take();
    assert!(run_id.as_str().is_some_and(|id| id.starts_with("20") && id.contains('Z')), "{run_id}");
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    {"event":"started","resumed":false,"restarted":"the request, its paging or its settings have changed","sync":"acme/items"}
    {"event":"page","records":4,"total":null,"sync":"acme/items"}
    {"event":"committed","rows":3,"sync":"acme/items"}
    {"event":"finished","state":"completed","sync":"acme/items"}
    {"event":"report","report":{"run_id":null,"syncs":[{"sync":"acme/items","state":"completed","resumed":false,"schema_changes":[],"requests":1,"pages":1,"records":4,"added":1,"updated":1,"deleted":0,"unchanged":1,"duplicates":0,"quarantined":1,"filtered":0,"nulled":0,"change_from":4,"change_to":5,"unreadable":0,"unreadable_reason":null,"paused_by":null,"paused_until":null,"paused_reason":null,"read_twice":false,"deletes_skipped":null,"skipped":0,"skipped_reason":null,"pages_skipped":0,"pages_skipped_reason":null,"error":null}],"publish_error":null}}
    "#);
    let rows = project.rows("select run_id, records, added, updated, quarantined, requests, error from headwater.runs order by started_at desc limit 1");
    assert_eq!(
        rows,
        [
            json!({ "run_id": run_id, "records": 4, "added": 1, "updated": 1, "quarantined": 1, "requests": 1, "error": null })
        ]
    );
}

#[test]
fn run_says_in_words_what_it_did() {
    let (api, project) = loaded();
    api.becomes(|_| {
        Reply::json(&json!({ "items": [{ "id": 1, "name": "uno" }, { "id": 1, "name": "one" }, { "name": "who?" }] }))
    });
    let output = project.headwater(&["run"]);
    says(
        &output,
        0,
        &[
            "1 record is in quarantine",
            "1 records had a key that came again",
            "nothing was deleted, because the scan proves nothing",
        ],
    );
    assert!(!output.stdout.contains('\u{1b}') && !output.stderr.contains('\u{1b}'), "no colours in a pipe");
}

#[test]
fn status_knows_syncs_before_and_after_their_runs() {
    let api = Api::start(three);
    let project = Project::simple(&api.url(), SYNC, MODEL);
    says(&project.headwater(&["status"]), 0, &["acme/items", "never"]);
    assert!(!project.database().exists());
    project.run();
    says(&project.headwater(&["status"]), 0, &["acme/items", "completed", "3"]);
    let mut status = project.headwater(&["status", "--json"]).json();
    let run = status[0]["last_run"].take();
    assert_eq!(
        (&run["state"], &run["records"], &run["added"], &run["error"]),
        (&json!("completed"), &json!(3), &json!(3), &Value::Null)
    );
    assert!(run["started_at"].as_str() <= run["ended_at"].as_str());
    assert_eq!(
        status,
        [
            json!({ "sync": "acme/items", "last_run": null, "next_run_at": null, "paused": false, "table": "api.items", "watermark": null, "rows_live": 3, "rows_deleted": 0, "quarantined": 0, "partitions": 0, "partitions_failed": 0 })
        ]
    );
}

#[test]
fn changes_are_printed_in_order_from_a_number_on() {
    let (api, project) = loaded();
    api.becomes(|_| Reply::json(&json!({ "items": [{ "id": 3, "name": "drei" }, { "id": 2, "name": "two" }] })));
    project.run();
    let printed = |arguments: &[&str]| -> Vec<(i64, i64, String)> {
        let output = project.headwater(&[&["changes"], arguments].concat());
        assert_eq!((output.code, output.stderr.as_str()), (0, ""));
        let row = |row: Value| {
            (
                row["_change"].as_i64().unwrap(),
                row["id"].as_i64().unwrap(),
                row["_last_action"].as_str().unwrap().to_owned(),
            )
        };
        output.json().into_iter().map(row).collect()
    };
    let all = [(2, 2, "ADDED".to_owned()), (4, 3, "UPDATED".to_owned()), (5, 1, "DELETED".to_owned())];
    assert_eq!(printed(&["api.items"]), all);
    assert_eq!(printed(&["items"]), all, "its name alone, where it is the only one");
    assert_eq!(printed(&["items", "--after", "2"]), all[1..]);
    assert_eq!(printed(&["items", "--after", "2", "--limit", "1"]), all[1..2]);
    assert_eq!(printed(&["items", "--after", "5"]), []);
    says(&project.headwater(&["changes", "itens"]), 2, &["there is no table `itens`", "did you mean `api.items`?"]);
}

#[test]
fn queries_answer_as_a_table_and_as_json() {
    let (_api, project) = loaded();
    let output =
        project.headwater(&["query", "select id, name, null as nothing, 1.5::double as d from api.items order by id"]);
    says(&output, 0, &["id", "nothing", "three", "1.5"]);
    let output = project.headwater(&["query", "from api.items order by id", "--limit", "2"]);
    says(&output, 0, &["one", "two", "the first 2 rows"]);
    assert!(!output.stdout.contains("three"));
    let output = project.headwater(&["query", "--json", "select id, [name] as names, {'a': true} as it, 10::hugeint as big, _first_seen_at > '2020-01-01' as late from api.items where id = 2"]);
    assert_eq!(output.json(), [json!({ "id": 2, "names": ["two"], "it": { "a": true }, "big": 10, "late": true })]);
    says(&project.headwater(&["query", "select * from api.itens"]), 2, &["itens", "Did you mean"]);
    says(&project.headwater(&["query", "selct 1"]), 2, &["syntax error"]);
}

#[test]
fn queries_read_this_database_and_nothing_else() {
    let (_api, project) = loaded();
    let copy = project.path().join("stolen.csv");
    let file = project.database();
    let lines = [
        "delete from api.items".to_owned(),
        "update api.items set name = 'x'".to_owned(),
        "insert into api.items (id) values (9)".to_owned(),
        "drop table api.items".to_owned(),
        "create table api.mine as select 1".to_owned(),
        "select 1; delete from api.items".to_owned(),
        format!("copy api.items to '{}'", copy.display()),
        format!("copy (select 1) to '{}'", copy.display()),
        format!("export database '{}'", project.path().join("out").display()),
        format!("attach '{}' as other", project.path().join("other.duckdb").display()),
        "attach ':memory:' as other".to_owned(),
        "detach warehouse".to_owned(),
        "from read_csv('/etc/passwd')".to_owned(),
        "select * from read_text('/etc/passwd')".to_owned(),
        "select * from '/etc/passwd'".to_owned(),
        "select * from read_blob('headwater.yaml')".to_owned(),
        "select * from glob('/etc/*')".to_owned(),
        "select (select content from read_text('/etc/passwd'))".to_owned(),
        "with it as (from read_csv('/etc/passwd')) from it".to_owned(),
        "select getenv('HOME')".to_owned(),
        "install httpfs".to_owned(),
        "load httpfs".to_owned(),
        "set enable_external_access = true".to_owned(),
        "pragma database_list".to_owned(),
        "call checkpoint()".to_owned(),
        "checkpoint".to_owned(),
        "vacuum".to_owned(),
        "begin".to_owned(),
        format!("select * from '{}'", file.display()),
        String::new(),
    ];
    for sql in &lines {
        let output = project.headwater(&["query", "--json", sql]);
        assert_eq!(output.code, 2, "{sql}: {}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout, "", "{sql}");
        assert!(output.stderr.starts_with("error: "), "{sql}: {}", output.stderr);
    }
    assert_eq!(project.column("select count(*) from api.items_live"), [3]);
    assert!(!copy.exists() && !project.path().join("other.duckdb").exists() && !project.path().join("out").exists());
}

#[test]
fn dry_run_asks_and_writes_nothing() {
    let api = Api::start(|request| {
        let page = request.number("page", 0);
        Reply::json(&json!({ "items": [{ "id": page, "name": "a\u{1b}[31mb" }, { "id": "no" }], "next": page + 1 }))
    });
    let sync = SYNC.replace("/items }", "/items, headers: { X-Plain: seen } }")
        + "\npagination: { cursor: { from: $.next, query: page } }";
    let project = Project::simple(&api.url(), &sync, MODEL);
    let output = project.headwater(&["dry-run"]);
    says(
        &output,
        0,
        &[
            "acme/items",
            &format!("GET {}/items", api.url()),
            "x-plain: seen",
            "→ 200",
            "2 records",
            "nothing was written",
            "there are more pages",
        ],
    );
    says(&output, 0, &["quarantine: [\"no\"]: id:"]);
    assert!(!output.stdout.contains('\u{1b}'), "what a terminal would obey is made visible: {}", output.stdout);
    assert_eq!(api.asked(), ["GET /items"]);

    let output = project.headwater(&["dry-run", "--pages", "3", "--rows", "2", "--json"]);
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=1", "GET /items?page=2"]);
    let sync = &output.json()[0];
    assert_eq!((sync["requests"].as_array().map(Vec::len), &sync["more"]), (Some(3), &json!(true)));
    assert_eq!(sync["rows"].as_array().map(Vec::len), Some(2));
    assert_eq!(sync["quarantined"].as_array().map(Vec::len), Some(3));
    assert_eq!(sync["requests"][2]["status"], 200);

    api.becomes(|_| Reply::status(403, r#"{"message":"not yours"}"#));
    says(
        &project.headwater(&["dry-run"]),
        3,
        &["acme/items: GET", "403 Forbidden", "not yours", "hint: check the credentials"],
    );
    api.becomes(|_| Reply::text("text/html", "<html>hello</html>"));
    says(&project.headwater(&["dry-run"]), 4, &["HTML"]);
    let mut left: Vec<String> = std::fs::read_dir(project.path())
        .expect("a folder")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left, ["headwater.yaml", "integrations", "providers"]);
}

/// The rows of a copy, read by whoever has the file.
fn names_in(path: &std::path::Path) -> Vec<String> {
    let settings = duckdb::Config::default().access_mode(duckdb::AccessMode::ReadOnly).expect("settings");
    let copy = duckdb::Connection::open_with_flags(path, settings).expect("the copy opens");
    let mut statement = copy.prepare("select name from api.items_live order by id").expect("a view");
    statement.query_map([], |row| row.get(0)).expect("rows").map(|name| name.expect("a name")).collect()
}

#[test]
fn publish_makes_a_copy_that_opens() {
    let api = Api::start(three);
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api }\npublish: { path: copy.duckdb }\n",
    );
    project.run();
    let copy = project.path().join("copy.duckdb");
    assert_eq!(names_in(&copy), ["one", "two", "three"]);
    api.becomes(|_| Reply::json(&json!({ "items": [{ "id": 1, "name": "uno" }, { "id": 3, "name": "three" }] })));
    project.run();
    assert_eq!(names_in(&copy), ["uno", "three"]);
    let mut left: Vec<String> = std::fs::read_dir(project.path())
        .expect("a folder")
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.retain(|name| name.starts_with("copy"));
    assert_eq!(left, ["copy.duckdb"], "nothing half is left beside it");

    for (path, code, words) in [
        ("nowhere/copy.duckdb", 5, ["the copy was not made", "completed"]),
        ("test.duckdb", 2, ["publish", "mistake in the YAML"]),
    ] {
        project.write(
            "headwater.yaml",
            &format!("database: test.duckdb\nconnections:\n  acme: {{ provider: api }}\npublish: {{ path: {path} }}\n"),
        );
        says(&project.headwater(&["run"]), code, &words);
        assert_eq!(project.column("select count(*) from api.items_live"), [2], "the database itself is whole");
    }
}

/// The next line of a running program that is an event of this name.
fn event(lines: &mut impl Iterator<Item = std::io::Result<String>>, name: &str) -> Value {
    let mut seen = Vec::new();
    for line in lines {
        let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        if line["event"] == name {
            return line;
        }
        seen.push(line);
    }
    panic!("no `{name}` among {seen:?}")
}

#[test]
fn a_file_that_another_program_has_open_is_waited_for() {
    let (api, project) = loaded();
    api.becomes(|_| Reply::json(&json!({ "items": [{ "id": 4, "name": "four" }, { "id": 1, "name": "one" }] })));
    let holder = duckdb::Connection::open(project.database()).expect("the file opens");
    let mut running = project.spawn_piped(&["run", "--json"]);
    let mut asking = project.spawn_piped(&["query", "--json", "select count(*) as n from api.items"]);
    let mut lines = BufReader::new(running.stdout.take().expect("piped")).lines();
    let locked = event(&mut lines, "locked");
    let who = locked["holder"].as_str().expect("a holder");
    assert!(who.contains("test.duckdb") && who.contains(&std::process::id().to_string()), "{who}");
    let mut told = String::new();
    let mut errors = BufReader::new(asking.stderr.take().expect("piped"));
    errors.read_line(&mut told).expect("a line");
    assert!(told.starts_with("waiting for `") && told.contains("it is open in"), "{told}");
    assert!(running.try_wait().expect("a child").is_none() && asking.try_wait().expect("a child").is_none());

    drop(holder);
    let report = event(&mut lines, "report");
    assert_eq!(
        (&report["report"]["syncs"][0]["added"], &report["report"]["syncs"][0]["deleted"]),
        (&json!(1), &json!(2))
    );
    assert!(running.wait().expect("it ends").success());
    let mut answer = String::new();
    asking.stdout.take().expect("piped").read_to_string(&mut answer).expect("text");
    assert!(asking.wait().expect("it ends").success());
    assert!(["{\"n\":3}\n", "{\"n\":4}\n"].contains(&answer.as_str()), "before or after the run: {answer}");
}

/// An API that lets the test decide when it answers: it says that it was asked, and waits for leave.
struct Held {
    api: Api,
    asked: Receiver<()>,
    go: SyncSender<()>,
}

/// Two pages; the second is held back.
fn held() -> Held {
    let (tell, asked) = sync_channel(8);
    let (go, leave) = sync_channel(8);
    let leave = Mutex::new(leave);
    let api = Api::start(move |request| {
        let page = request.number("page", 0);
        if page == 1 {
            tell.send(()).expect("somebody listens");
            leave.lock().expect("not poisoned").recv().expect("leave is given");
        }
        Reply::json(&json!({ "items": [{ "id": page }], "next": if page == 0 { json!(1) } else { Value::Null } }))
    });
    Held { api, asked, go }
}

#[test]
fn a_second_run_says_who_is_at_work_and_readers_read_on() {
    let Held { api, asked, go } = held();
    let project = Project::simple(
        &api.url(),
        &format!("{SYNC}\npagination: {{ cursor: {{ from: $.next, query: page }} }}"),
        MODEL,
    );
    let mut first = project.spawn_piped(&["run", "--json", "--commit-every", "1ms"]);
    let mut lines = BufReader::new(first.stdout.take().expect("piped")).lines();
    event(&mut lines, "committed");
    asked.recv().expect("the second page is asked for");

    let second = project.headwater(&["run"]);
    says(
        &second,
        5,
        &[&format!("another `headwater run` (process {}) is working on", first.id()), "hint: wait for it to end"],
    );
    // the file is free while the run waits for its API
    assert_eq!(project.query("select count(*) as n from api.items")[0]["n"], 1);
    says(&project.headwater(&["status"]), 0, &["running"]);
    assert_eq!(project.headwater(&["changes", "items"]).json().len(), 1);
    assert_eq!(project.column("select id from api.items"), [0], "other programs read too");

    go.send(()).expect("it waits");
    assert_eq!(event(&mut lines, "report")["report"]["syncs"][0]["added"], 2);
    assert!(first.wait().expect("it ends").success());
    go.send(()).expect("there is room");
    says(&project.headwater(&["run"]), 0, &["completed"]);
}
