//! Where the position of a page stands in its request, and what is none at first sight.

use std::sync::atomic::{AtomicUsize, Ordering};

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

#[test]
fn a_cursor_or_a_link_can_be_a_position_in_disguise() {
    // between the first page and the second of a reading, record 1 goes away, and 3 slips to the page that was read
    let slips_at = |reading: usize| {
        let asked = AtomicUsize::new(0);
        move |request: &crate::support::Request| {
            let from: usize = request.param("cursor").and_then(|at| at.split(':').nth(1)?.parse().ok()).unwrap_or(0);
            let first = if asked.fetch_add(1, Ordering::SeqCst) < reading { 1 } else { 2 };
            let ids: Vec<u64> = (first..=4).skip(from).take(2).collect();
            let next = (first + (from as u64) + 2 <= 4).then(|| format!("0:{}:0", from + 2));
            let url = next.as_ref().map(|next| format!("/items?cursor={next}"));
            let items: Vec<_> = ids.iter().map(|id| json!({ "id": id })).collect();
            let reply = Reply::json(&json!({ "items": items, "next": next, "url": url }));
            match url {
                Some(url) => reply.with("link", &format!("<{url}>; rel=next")),
                None => reply,
            }
        }
    };
    for pages in [
        "cursor: { from: $.next, query: cursor, position: true }",
        "next_url: { from: $.url, position: true }",
        "link: { position: true }",
    ] {
        let api = Api::start(slips_at(usize::MAX));
        let words = format!(
            "request: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\npagination: {{ {pages} }}\ndeletes: {{ absence: {{}} }}"
        );
        let project = Project::simple(&api.url(), &words, "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }");
        assert_eq!(project.run()["added"], 4);
        api.becomes(slips_at(1));
        let report = project.run();
        assert_eq!((&report["deleted"], &report["requests"]), (&json!(0), &json!(4)), "{pages}: {report}");
        assert_eq!(project.column("select id from api.items_live order by id"), [1, 2, 3, 4], "{pages}: 3 is found");
        api.becomes(slips_at(0));
        assert_eq!(project.run()["deleted"], 1, "{pages}");
        assert_eq!(project.column("select id from api.items_live order by id"), [2, 3, 4], "{pages}");
    }
}

#[test]
fn a_link_can_say_of_itself_that_nothing_is_behind_it() {
    let api = Api::start(|request| {
        let from: u64 = request.param("cursor").and_then(|at| at.split(':').nth(1)?.parse().ok()).unwrap_or(0);
        let items: Vec<_> = (from..(from + 2).min(3)).map(|id| json!({ "id": id })).collect();
        let link = |at: u64, rel, more| format!("</items?cursor=0:{at}:0>; rel=\"{rel}\"; results=\"{more}\"");
        let links = format!("{}, {}", link(0, "previous", false), link(from + 2, "next", from + 2 < 3));
        Reply::json(&Value::from(items)).with("link", &links)
    });
    let words = "request: { get: /items }\nresponse: { records: \"$[*]\" }\n\
                 pagination: { link: { has_more_param: results, position: true } }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), words, "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }");
    let report = project.run();
    assert_eq!((&report["added"], &report["deletes_skipped"]), (&json!(3), &Value::Null), "{report}");
    assert_eq!(api.asked(), ["GET /items", "GET /items?cursor=0:2:0"]);
}
