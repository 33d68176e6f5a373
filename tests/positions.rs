//! Where the position of a page stands in its request.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply};

#[test]
fn a_position_can_stand_anywhere_in_the_request() {
    let api = Api::start(|request| {
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let query = body["query"].as_str().unwrap_or_default().to_owned();
        let from: u64 = query.rsplit(' ').nth(2).and_then(|word| word.parse().ok()).unwrap_or_default();
        let rows: Vec<_> = (from..(from + 2).min(6)).map(|id| json!({ "id": id })).collect();
        Reply::json(&json!({ "items": rows, "total": 5 }))
    });
    let words = "request: { post: /query, body: { json: { query: \"select * from items startposition {{ page.offset }} maxresults 2\" } } }\n\
                 response: { records: \"$.items[*]\" }\npagination: { offset: { start: 1, limit: 2, total: $.total } }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), words, "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }");
    assert_eq!(project.run()["added"], 5);
    let words = words
        .replace("page.offset", "page.number")
        .replace("offset: { start: 1, limit: 2, total: $.total }", "page: { start: 1, total: $.total }");
    let project = Project::simple(&api.url(), &words, "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }");
    assert_eq!(project.run()["error"], Value::Null);
    let project =
        Project::simple(&api.url(), &words.replace("{{ page.number }}", "1"), "key: [id]\ncolumns: { id: $.id }");
    let output = project.headwater(&["check"]);
    assert!(output.stderr.contains("page.number") && output.code == 2, "{output:?}");
}
