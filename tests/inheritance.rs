//! What is inherited reaches the wire: `extends`, the provider's words under those of a sync, a model inside a sync.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

/// Six records, five a page.
fn items(request: &Request) -> Reply {
    let page = request.number("page", 1);
    let ids: Vec<usize> = if page == 1 { (1..=5).collect() } else { vec![6] };
    let items: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "name": "one" })).collect();
    Reply::json(&json!({ "items": items, "total": 6 }))
}

/// What was asked by a project whose provider `api` extends `base`, with the headers in `shown`.
fn asked(base: &str, own: &str, sync: &str, shown: &[&str]) -> String {
    let api = Api::start(items);
    let project = Project::simple(&api.url(), &format!("deletes: {{ absence: {{}} }}\n{sync}"), MODEL);
    project.write("providers/base.yaml", format!("provider: base\n{base}\n"));
    project.write("providers/api.yaml", format!("provider: api\nextends: base\nbase_url: {}\n{own}\n", api.url()));
    project.run();
    let requests = api.requests();
    let line = |request: &Request| {
        let header = |name: &&str| request.header(name).map(|value| format!("\n  {name}: {value}"));
        request.line() + &shown.iter().filter_map(header).collect::<String>()
    };
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn headers_and_parameters_come_from_three_files() {
    let asked = asked(
        "headers: { X-Base: base, X-Own: base, X-Sync: base }\nquery: { base: 1, own: 1, sync: 1 }",
        "headers: { X-Own: own }\nquery: { own: 2 }",
        "request: { get: /items, headers: { x-sync: sync }, query: { sync: 3 } }\nresponse: { records: \"$.items[*]\" }",
        &["x-base", "x-own", "x-sync"],
    );
    insta::assert_snapshot!(asked, @r"
    GET /items?base=1&own=2&sync=3
      x-base: base
      x-own: own
      x-sync: sync
    ");
}

#[test]
fn maps_are_merged_at_every_depth() {
    let asked = asked(
        "query: { filter: { state: open, by: { team: 1, user: 1 } } }",
        "query: { filter: { by: { user: 2 } } }",
        "request: { get: /items, query: { filter: { by: { role: 3 } } } }\nresponse: { records: \"$.items[*]\" }",
        &[],
    );
    let query = url::form_urlencoded::parse(asked.split_once('?').expect("a query").1.as_bytes());
    let values: Vec<Value> = query.map(|(_, value)| serde_json::from_str(&value).expect("JSON")).collect();
    assert_eq!(values, [json!({ "state": "open", "by": { "team": 1, "user": 2, "role": 3 } })]);
}

#[test]
fn pagination_is_put_together_of_both() {
    let asked = asked(
        "pagination: { page: { query: p, size: 50, size_param: per } }",
        "pagination: { page: { query: page } }",
        "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { page: { size: 5, total: $.total } }",
        &[],
    );
    insta::assert_snapshot!(asked, @r"
    GET /items?page=1&per=5
    GET /items?page=2&per=5
    ");
}

#[test]
fn another_kind_of_pagination_replaces_the_inherited_one() {
    let asked = asked(
        "pagination: { page: { query: p, size: 50, size_param: per } }",
        "",
        "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { none: {} }",
        &[],
    );
    insta::assert_snapshot!(asked, @"GET /items");
}

#[test]
fn a_model_inside_a_sync_and_fields_of_a_form() {
    let api = Api::start(items);
    let project = Project::simple(&api.url(), "", MODEL);
    project.write(
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: { model: Thing, table: things, key: [id], columns: { id: { path: $.id, type: bigint } } }\n\
         request: { post: /items, body: { multipart: { kind: \"a\\r\\nb\", \"na\\\"me\": \"{{ input.none }}\", who: \"{{ connection.name }}\" } } }\n\
         response: { records: \"$.items[*]\" }\ndeletes: { absence: {} }\n",
    );
    project.run();
    assert_eq!(project.number("select count(*) from api.things"), 5);
    let request = api.requests().remove(0);
    let kind = request.header("content-type").expect("a type").to_owned();
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a form of parts");
    let parts: Vec<&str> = request.body.split(&format!("--{boundary}")).collect();
    let field =
        |name: &str, text: &str| format!("\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    assert_eq!(parts, ["", &field("kind", "a\r\nb"), &field("who", "acme"), "--\r\n"]);
}

#[test]
fn a_sync_that_does_not_start_by_itself_is_named() {
    let api = Api::start(items);
    let sync = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), &format!("auto_start: false\n{sync}"), MODEL);
    let check = project.headwater(&["check"]);
    assert!(
        check.stderr.contains("W082") && check.stdout.starts_with("ok: 0 syncs"),
        "{}{}",
        check.stdout,
        check.stderr
    );
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, syncs: { items: {} } }\n",
    );
    project.run();
    assert_eq!(api.asked(), ["GET /items"]);
}
