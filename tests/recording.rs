//! `headwater record`: what a real run asked and was answered becomes a test that passes, and tells of nobody.

use std::io::{BufRead, BufReader};

use headwater::demo::{Options, Server};
use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const MODEL: &str = "key: [id]\ncolumns:\n  id: { path: $.id, type: bigint }\n  email: $.email\n  name: $.name\n  status: $.status\n  \
                     owner_id: { path: $.owner.id, type: bigint }\n  updated_at: { path: $.updated_at, type: timestamptz }";
const SYNC: &str = "request: { get: /items, query: { since: \"{{ watermark }}\" } }\nresponse: { records: \"$.items[*]\" }\n\
                    pagination: { cursor: { from: $.next, query: after } }\nincremental: { field: $.updated_at }";

/// What must not be in any recording of it.
const PERSONAL: [&str; 9] =
    ["ada.byron", "Ada", "Byron", "analytical.org", "10.1.2.3", "7946", "live-key-0123456789", "sid=", "Marylebone"];

fn item(nth: u64) -> Value {
    json!({
        "id": 4_500_000 + nth, "email": format!("ada.byron+{nth}@analytical.org"), "name": "Ada Byron", "status": "active",
        "owner": { "id": 880_000 + nth % 2, "phone": "+44 20 7946 0018", "ip": "10.1.2.3", "address": "12 Marylebone Road" },
        "url": format!("https://app.analytical.org/people/{}", 4_500_000 + nth),
        "note": format!("Ada Byron asked for {} twice this week already", nth),
        "updated_at": format!("2024-05-01T08:00:{:02}Z", nth % 60),
    })
}

/// Pages of 20, each with a token that holds the id of the last one.
fn page(request: &Request) -> Reply {
    assert_eq!(request.header("authorization"), Some("Bearer live-key-0123456789"));
    let first = request.param("after").map_or(0, |after| {
        after.rsplit('_').next().and_then(|id| id.parse::<u64>().ok()).expect("an id") - 4_500_000 + 1
    });
    let items: Vec<Value> = (first..first + 20).map(item).collect();
    let next = format!("page_{}", 4_500_000 + first + 19);
    Reply::json(&json!({ "items": items, "next": next, "you": "live-key-0123456789" }))
        .with("set-cookie", "sid=abc123def456")
        .with("x-request-id", "req-1")
}

fn project(api: &Api) -> Project {
    let project = Project::simple(&api.url(), SYNC, MODEL);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { token: \"${API_KEY}\" } }\n",
    );
    project.write(
        "providers/api.yaml",
        &format!("provider: api\nbase_url: {}\nauth: {{ key: {{ bearer: {{}} }} }}\nretry: {{ attempts: 3, backoff: {{ base: 1ms, max: 5ms }} }}\n", api.url()),
    );
    project
}

const KEY: [(&str, &str); 1] = [("API_KEY", "live-key-0123456789")];

fn recorded(project: &Project) -> String {
    std::fs::read_to_string(project.path().join("integrations/api/tests/items_recorded.yaml")).expect("a recording")
}

#[test]
fn a_recording_passes_and_tells_of_nobody() {
    let api = Api::start(page);
    let project = project(&api);
    let output = project.headwater_with(&["record", "acme/items"], &KEY);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let text = recorded(&project);
    for personal in PERSONAL {
        assert!(!text.contains(personal), "{personal}: {text}");
    }
    assert!(text.contains("max_requests: 2") && text.contains("status: active"), "{text}");
    assert_eq!(
        text.matches("- { id: ").count() + text.matches("- id: ").count(),
        12,
        "three of each page, and their rows: {text}"
    );
    assert!(
        output.stdout.contains("read the file before you share it") && output.stdout.contains("e-mail address"),
        "{}",
        output.stdout
    );
    assert_eq!(api.asked().len(), 2);
    // the project is as it was but for the file
    assert!(!project.database().exists());
    let tested = project.headwater(&["test"]);
    assert_eq!(tested.code, 0, "{}{}", tested.stdout, tested.stderr);
    assert!(tested.stdout.contains("1 test: 1 ok, 0 failed"), "{}", tested.stdout);
    assert_eq!(api.asked().len(), 0, "a test sends nothing");
    let again = project.headwater_with(&["record", "acme/items"], &KEY);
    assert_eq!(again.code, 2);
    assert!(again.stderr.contains("already") && again.stderr.contains("--force"), "{}", again.stderr);
    let forced = project.headwater_with(&["record", "acme/items", "--force", "--records", "0", "--json"], &KEY);
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    let whole = recorded(&project);
    assert!(whole.len() > text.len() * 2, "all records are kept");
    let said = forced.json().remove(0);
    assert_eq!((&said["test"], &said["answers"]), (&json!("api/items_recorded"), &json!(2)));
    assert!(
        said["replaced"].as_array().expect("a list").iter().any(|one| one["key"] == "email" && one["times"] == 40),
        "{said}"
    );
}

#[test]
fn two_runs_show_that_only_what_changed_is_asked_for() {
    let api = Api::start(|request: &Request| {
        let items: Vec<Value> = if request.param("since").is_some() { vec![item(2)] } else { vec![item(1), item(2)] };
        Reply::json(&json!({ "items": items, "next": null }))
    });
    let project = project(&api);
    let output =
        project.headwater_with(&["record", "acme/items", "--runs", "2", "--keep", "name", "--replace", "status"], &KEY);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let text = recorded(&project);
    assert!(text.contains("query: { since: \"2024-05-01T08:00:02Z\" }"), "{text}");
    assert!(!text.contains("max_requests") && text.contains("Ada Byron") && !text.contains("status: active"), "{text}");
    assert!(text.contains("unchanged: 1"), "{text}");
    assert_eq!(project.headwater(&["test"]).code, 0);
}

/// As a directory of people gives them: long URLs in `Link`, a name that is a word of the integration's files, and a token so short that it
/// stands in other words.
#[test]
fn long_links_are_recorded_and_a_short_token_garbles_nothing() {
    let api = Api::start(|request: &Request| {
        let people: Vec<Value> = match request.param("after") {
            None => (1..=3).collect::<Vec<u64>>(),
            Some(_) => vec![4],
        }
        .into_iter()
        .map(|nth| {
            json!({ "id": nth, "email": format!("ada{nth}@okta.local"), "name": "Item", "status": "active", "locale": "localised",
                "updated_at": "2024-05-01T08:00:00Z" })
        })
        .collect();
        let rest =
            "limit=200&filter=status+eq+%22ACTIVE%22+or+status+eq+%22LOCKED_OUT%22&sortBy=lastUpdated&sortOrder=asc";
        let host = format!("http://{}", request.header("host").expect("a host"));
        let own = format!("<{host}/items?{rest}>; rel=\"self\"");
        let reply = Reply::json(&json!({ "items": people }));
        match request.param("after") {
            None => {
                reply.with("link", &format!("{own}, <{host}/items?after=00u1b2c3d4e5f6g7h8i9&{rest}>; rel=\"next\""))
            }
            Some(_) => reply.with("link", &own),
        }
    });
    let project = project(&api);
    let sync = SYNC.replace("pagination: { cursor: { from: $.next, query: after } }", "pagination: { link: {} }");
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{sync}\n"));
    let output = project.headwater_with(&["record", "acme/items"], &[("API_KEY", "local")]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let text = recorded(&project);
    assert!(
        text.contains("rel=\\\"next\\\"") && text.contains("locale: localised") && !text.contains("test-token"),
        "{text}"
    );
    assert!(!text.contains("ada1@") && text.contains("name: Item"), "{text}");
    assert!(output.stdout.contains("left as it is: `name` (4)"), "{}", output.stdout);
    let replaced =
        project.headwater_with(&["record", "acme/items", "--force", "--replace", "name"], &[("API_KEY", "local")]);
    assert_eq!(replaced.code, 0, "{}", replaced.stderr);
    assert!(!recorded(&project).contains("name: Item"));
}

/// What cannot be replayed is not written, not even a half of it.
#[test]
fn what_does_not_pass_is_not_written() {
    let api = Api::start(page);
    let project = project(&api);
    // it looks at a value that is replaced
    let chosen = "response: { records: \"$.items[*]\", where: \"{{ 'analytical' in record.email }}\" }";
    let sync = SYNC.replace("response: { records: \"$.items[*]\" }", chosen);
    project.write("integrations/api/syncs/items.yaml", format!("sync: items\nmodel: Item\n{sync}\n"));
    let nothing_is_left = || !project.path().join("integrations/api/tests").exists();
    let output = project.headwater_with(&["record", "acme/items"], &KEY);
    assert_eq!((output.code, output.stdout.as_str()), (4, ""), "{}", output.stderr);
    for part in ["nothing was written", "{\"added\":40}", "{\"filtered\":40}", "--keep KEY"] {
        assert!(output.stderr.contains(part), "{part}: {}", output.stderr);
    }
    assert!(nothing_is_left());
    let unknown = project.headwater_with(&["record", "acme/nothing"], &KEY);
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
    api.becomes(|_| Reply::bytes("application/octet-stream", &[0xff, 0xfe, 0, 1, 2]));
    let output = project.headwater_with(&["record", "acme/items"], &KEY);
    assert!(output.code != 0 && nothing_is_left(), "{}", output.stderr);
    api.becomes(|_| Reply::status(403, "{\"message\": \"not you, live-key-0123456789\"}"));
    let output = project.headwater_with(&["record", "acme/items"], &KEY);
    assert_eq!(output.code, 3, "{}", output.stderr);
    assert!(nothing_is_left() && !output.stderr.contains("live-key"), "{}", output.stderr);
    api.becomes(page);
    let kept = project.headwater_with(&["record", "acme/items", "--keep", "email"], &KEY);
    assert_eq!(kept.code, 0, "{}", kept.stderr);
    assert_eq!(project.headwater(&["test"]).code, 0);
}

#[test]
fn every_list_of_the_sample_shop_can_be_recorded() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let server = runtime
        .block_on(Server::start(Options { throttle_every: None, ..Options::default() }))
        .expect("a loopback port");
    let project = crate::shop::project(&server);
    for sync in ["customers", "orders", "order_lines"] {
        let output =
            project.headwater_with(&["record", &format!("demo/{sync}")], &[("SHOP_API_KEY", server.api_key())]);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{sync}: {}", output.stdout);
    }
    let tested = project.headwater(&["test"]);
    assert_eq!(tested.code, 0, "{}", tested.stdout);
    assert!(tested.stdout.contains("3 tests: 3 ok, 0 failed"), "{}", tested.stdout);
}

/// Over rows of another sync, with a `Link` header, and after a refusal.
#[test]
fn joins_over_requests_are_kept() {
    let api = Api::start(|request: &Request| match request.path.as_str() {
        "/owners" => Reply::json(&json!([{ "id": 7_700_001, "name": "Ada" }, { "id": 7_700_002, "name": "Grace" }])),
        path => {
            let owner: u64 = path.trim_start_matches("/owners/").trim_end_matches("/items").parse().expect("an id");
            let mut item = item(owner % 10);
            item["owner"]["id"] = owner.into();
            let reply = Reply::json(&json!({ "items": [item] }));
            let next = format!(
                "<http://{}/owners/{owner}/items?page=2&for=ada.byron%40analytical.org>; rel=\"next\"",
                request.header("host").expect("a host")
            );
            if request.param("page").is_none() { reply.with("link", &next) } else { reply }
        }
    });
    let project = project(&api);
    project.write(
        "integrations/api/syncs/owners.yaml",
        "sync: owners\nmodel: Owner\nrequest: { get: /owners }\nresponse: { records: \"$[*]\" }\n",
    );
    project.write(
        "integrations/api/models/Owner.yaml",
        "model: Owner\ntable: owners\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }\n",
    );
    project.write(
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: Item\nfor_each: [{ as: owner, from: { rows: { sync: owners } } }]\nrequest: { get: \"/owners/{{ parent.owner.id }}/items\" }\n\
         response: { records: \"$.items[*]\" }\npagination: { link: {} }\n",
    );
    let output = project.headwater_with(&["record", "acme/items", "--pages", "10"], &KEY);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{}", output.stdout);
    let text = recorded(&project);
    for personal in ["7700001", "7700002", "ada.byron", "analytical"] {
        assert!(!text.contains(personal), "{personal}: {text}");
    }
    assert_eq!(project.headwater(&["test"]).code, 0);
}

#[test]
fn a_save_is_checked_and_tested() {
    let api = Api::start(|_| Reply::status(500, ""));
    let project = project(&api);
    let body = |id: u32| {
        format!(
            "test: items\nsync: items\nruns: [{{ exchange: [{{ request: {{ get: /items }}, response: {{ body: {{ items: [{{ id: {id} }}] }} }} }}], expect: {{ rows: {{ items: [{{ id: 1 }}] }} }} }}]\n"
        )
    };
    project.write("integrations/api/tests/items.yaml", body(1));
    let mut watching = project.spawn_piped(&["watch"]);
    let mut lines = BufReader::new(watching.stdout.take().expect("piped")).lines();
    let mut until = |word: &str| {
        lines
            .by_ref()
            .map(|line| line.expect("a line"))
            .find(|line| line.contains(word))
            .unwrap_or_else(|| panic!("no line with {word}"))
    };
    let first = until("sync");
    assert!(first.starts_with("ok: 1 sync of 1 connection") && first.ends_with("1 test: 1 ok, 0 failed"), "{first}");
    project.write("integrations/api/tests/items.yaml", body(2));
    until("the rows of `items` are other ones");
    until("1 test: 0 ok, 1 failed");
    // as editors do: another file, and then its name
    project.write("integrations/api/tests/.items.tmp", body(1));
    let folder = project.path().join("integrations/api/tests");
    std::fs::rename(folder.join(".items.tmp"), folder.join("items.yaml")).expect("renamed");
    until("1 test: 1 ok, 0 failed");
    project.write("integrations/api/syncs/items.yaml", "sync: items\nmodel: Item\nrequets: { get: /items }\n");
    until("requets");
    let verdict = until("error");
    assert!(verdict.contains("warning"), "{verdict}");
    assert!(api.asked().is_empty(), "nothing is sent");
    watching.kill().expect("it runs");
    watching.wait().expect("it has ended");
}
