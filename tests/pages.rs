//! Every way of paging against a scripted API: what is asked, in which order, and where a failed run goes on.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

/// Seven records.
fn items() -> Vec<Value> {
    (1..=7).map(|id| json!({ "id": id, "name": format!("item {id}") })).collect()
}

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name }";

/// An API that pages in one way, and the words for it.
struct Case {
    /// the sync's words: request, response, pagination
    sync: &'static str,
    answer: fn(&Request) -> Reply,
}

/// What was asked, with the header that some cases page by.
fn asked(api: &Api) -> Vec<String> {
    let requests = api.requests();
    api.asked();
    let line = |request: &Request| match request.header("x-after") {
        Some(after) => format!("{} (x-after: {after})", request.line()),
        None => request.line(),
    };
    requests.iter().map(line).collect()
}

impl Case {
    fn project(&self, api: &Api) -> Project {
        Project::simple(&api.url(), &format!("deletes: {{ absence: {{}} }}\n{}", self.sync), MODEL)
    }

    /// One run without trouble: gives the requests as lines.
    fn walked(&self) -> String {
        let api = Api::start(self.answer);
        let project = self.project(&api);
        let report = project.run();
        assert_eq!((&report["added"], &report["duplicates"]), (&json!(7), &json!(0)), "{report}");
        assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6, 7]);
        asked(&api).join("\n")
    }

    /// The API breaks at the page with this index (from 0) and is mended: the second run goes on there. `walked` says what a run
    /// without trouble asks.
    fn goes_on_at(&self, page: usize, walked: &str) {
        let all: Vec<&str> = walked.lines().collect();
        assert!(page < all.len(), "page {page} of {all:#?}");
        let answer = self.answer;
        let requests = AtomicUsize::new(0);
        let api = Api::start(move |request| match requests.fetch_add(1, Ordering::SeqCst) {
            at if at >= page => Reply::status(503, "{}"),
            _ => answer(request),
        });
        let project = self.project(&api);
        let output = project.headwater(&["run", "--json", "--commit-every", "1ms"]);
        assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
        let first = output.report().remove(0);
        assert_eq!(asked(&api).len(), page + 3, "the failing page is asked three times");
        assert_eq!(first["pages"], page, "every page before it is committed: {first}");

        api.becomes(self.answer);
        let second = project.run();
        assert_eq!(asked(&api), all[page..], "the second run asks no committed page");
        assert_eq!(second["resumed"], page > 0);
        let added = |report: &Value| report["added"].as_u64().expect("a count");
        assert_eq!(added(&first) + added(&second), 7);
        assert_eq!(ids(&project), [1, 2, 3, 4, 5, 6, 7]);
    }
}

fn ids(project: &Project) -> Vec<i64> {
    let ids = project.column("select id from api.items order by id");
    ids.iter().map(|id| id.as_i64().expect("an id")).collect()
}

/// The page of `size` records that begins behind `skip` records.
fn slice(skip: usize, size: usize) -> Vec<Value> {
    items().into_iter().skip(skip).take(size).collect()
}

/// The records behind the one with this id.
fn behind(id: Option<&str>, size: usize) -> (Vec<Value>, bool) {
    let skip: usize = id.map_or(0, |id| id.parse().expect("a cursor"));
    (slice(skip, size), skip + size < 7)
}

fn last(page: &[Value]) -> Value {
    page.last().map_or(Value::Null, |record| record["id"].clone())
}

#[test]
fn one_request_where_there_are_no_pages() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { none: {} }",
        // what looks like a next page is none here
        answer: |_| Reply::json(&json!({ "items": items(), "next": "/items?page=2", "has_more": true })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @"GET /items");
    case.goes_on_at(0, &walked);
}

#[test]
fn a_bare_list_is_a_page() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$[*]\" }",
        answer: |_| Reply::json(&Value::Array(items())),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @"GET /items");
}

#[test]
fn a_cursor_that_stands_in_the_path() {
    let case = Case {
        sync: "request: { get: \"/items/{{ page.cursor | default('first') }}\" }\nresponse: { records: \"$.items[*]\" }\npagination: { cursor: { from: $.next } }",
        answer: |request| {
            let after = request.path.strip_prefix("/items/").map(|name| name.replace("%20", " "));
            let id = after.as_deref().and_then(|name| name.strip_prefix("nr "));
            let (page, more) = behind(id, 3);
            let next = if more { json!(format!("nr {}", last(&page))) } else { Value::Null };
            Reply::json(&json!({ "items": page, "next": next }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items/first
    GET /items/nr%203
    GET /items/nr%206
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn a_cursor_deep_inside_the_body() {
    let case = Case {
        sync: "request: { post: /items, body: { json: { page: { size: 3, after: [\"{{ page.cursor }}\"] } } } }\nresponse: { records: \"$.items[*]\" }\npagination: { cursor: { last_record: $.id, has_more: $.more } }",
        answer: |request| {
            let body: Value = serde_json::from_str(&request.body).expect("JSON");
            let after = body["page"]["after"][0].as_i64().map(|id| id.to_string());
            let (page, more) = behind(after.as_deref(), 3);
            Reply::json(&json!({ "items": page, "more": more }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r#"
    POST /items {"page":{"size":3,"after":[]}}
    POST /items {"page":{"size":3,"after":[3]}}
    POST /items {"page":{"size":3,"after":[6]}}
    "#);
    case.goes_on_at(1, &walked);
}

#[test]
fn link_headers_with_absolute_urls() {
    let case = Case {
        sync: "request: { get: /items, query: { per_page: 2 } }\nresponse: { records: \"$[*]\" }\npagination: { link: {} }",
        answer: |request| {
            let page = request.number("page", 1);
            let url = |page| format!("http://{}/items?per_page=2&page={page}", request.header("host").unwrap());
            let reply = Reply::json(&Value::Array(slice((page - 1) * 2, 2)));
            let first = format!("<{}>; rel=\"first\"", url(1));
            if page < 4 {
                reply.with("link", &format!("{first}, <{}>; rel=\"next\", <{}>; rel=\"last\"", url(page + 1), url(4)))
            } else {
                reply.with("link", &first)
            }
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?per_page=2
    GET /items?per_page=2&page=2
    GET /items?per_page=2&page=3
    GET /items?per_page=2&page=4
    ");
    case.goes_on_at(3, &walked);
}

#[test]
fn link_headers_with_relative_urls_in_several_headers() {
    let case = Case {
        sync: "request: { get: /v1/items }\nresponse: { records: \"$[*]\" }\npagination: { link: { rel: more } }",
        answer: |request| {
            let page = request.number("page", 1);
            let reply = Reply::json(&Value::Array(slice((page - 1) * 3, 3)));
            match page {
                // a path, a query alone: RFC 3986, 5.2
                1 => reply
                    .with("link", "</help>; rel=help")
                    .with("Link", "</v2/items?page=2>; title=\"a, <b>\"; rel=\"x more\""),
                2 => reply.with("link", "<?page=3>; rel=MORE"),
                _ => reply,
            }
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /v1/items
    GET /v2/items?page=2
    GET /v2/items?page=3
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn the_next_url_in_the_body() {
    let case = Case {
        sync: "request: { get: /items, query: { q: a b } }\nresponse: { records: \"$.items[*]\" }\npagination: { next_url: { from: $.paging.next } }",
        answer: |request| {
            let skip = request.number("skip", 0);
            let host = request.header("host").unwrap();
            let next = match skip {
                0 => json!(format!("http://{host}/items?q=a%20b&skip=3")),
                3 => json!("/items?q=a%20b&skip=6"),
                _ => Value::Null,
            };
            Reply::json(&json!({ "items": slice(skip, 3), "paging": { "next": next } }))
        },
    };
    // the API's own spelling is kept byte for byte
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?q=a+b
    GET /items?q=a%20b&skip=3
    GET /items?q=a%20b&skip=6
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn the_next_url_in_a_header_ends_with_empty_text() {
    let case = Case {
        sync: "request: { get: /a/items }\nresponse: { records: \"$.items[*]\" }\npagination: { next_url: { header: X-Next } }",
        answer: |request| {
            let skip = request.number("skip", 0);
            let next = if skip + 4 < 7 { format!("items?skip={}", skip + 4) } else { String::new() };
            Reply::json(&json!({ "items": slice(skip, 4) })).with("x-next", &next)
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /a/items
    GET /a/items?skip=4
    ");
    case.goes_on_at(1, &walked);
}

#[test]
fn a_cursor_in_the_body_goes_into_the_query() {
    let case = Case {
        sync: "request: { get: /items, query: { limit: 2 } }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { cursor: { from: $.paging.next.after, query: after } }",
        answer: |request| {
            let (page, more) = behind(request.param("after").map(|cursor| cursor.trim_start_matches("+/=&")), 2);
            let next = if more { json!({ "after": format!("+/=&{}", last(&page)) }) } else { Value::Null };
            Reply::json(&json!({ "items": page, "paging": { "next": next } }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?limit=2
    GET /items?limit=2&after=%2B%2F%3D%262
    GET /items?limit=2&after=%2B%2F%3D%264
    GET /items?limit=2&after=%2B%2F%3D%266
    ");
    case.goes_on_at(1, &walked);
    case.goes_on_at(3, &walked);
}

#[test]
fn a_cursor_in_a_header_goes_into_a_header() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { cursor: { from_header: X-Next, header: X-After } }",
        answer: |request| {
            let (page, more) = behind(request.header("x-after"), 3);
            let reply = Reply::json(&json!({ "items": page }));
            if more { reply.with("x-next", &last(&page).to_string()) } else { reply }
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items
    GET /items (x-after: 3)
    GET /items (x-after: 6)
    ");
    case.goes_on_at(1, &walked);
}

#[test]
fn the_last_record_is_the_cursor_while_there_is_more() {
    let case = Case {
        sync: "request: { get: /items, query: { limit: 3 } }\nresponse: { records: \"$.data[*]\" }\n\
               pagination: { cursor: { last_record: $.id, query: starting_after, has_more: $.has_more } }",
        answer: |request| {
            let (page, more) = behind(request.param("starting_after"), 3);
            Reply::json(&json!({ "data": page, "has_more": more }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?limit=3
    GET /items?limit=3&starting_after=3
    GET /items?limit=3&starting_after=6
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn a_page_can_say_that_it_is_the_last() {
    let case = Case {
        sync: "request: { get: /items, query: { limit: 3 } }\nresponse: { records: \"$.data[*]\" }\n\
               pagination: { cursor: { last_record: $.id, query: starting_after, last_page: $.end_of_stream } }",
        answer: |request| {
            let (page, more) = behind(request.param("starting_after"), 3);
            Reply::json(&json!({ "data": page, "end_of_stream": !more }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?limit=3
    GET /items?limit=3&starting_after=3
    GET /items?limit=3&starting_after=6
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn the_last_record_is_the_cursor_until_a_page_is_empty() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$[*]\" }\n\
               pagination: { cursor: { last_record: $.id, query: since_id } }",
        answer: |request| Reply::json(&Value::Array(behind(request.param("since_id"), 4).0)),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items
    GET /items?since_id=4
    GET /items?since_id=7
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn a_cursor_goes_into_a_json_body_with_its_type() {
    let case = Case {
        sync: "request: { post: /search, body: { json: { filter: { kind: all }, page: { size: 3 } } } }\n\
               response: { records: \"$.items[*]\" }\npagination: { cursor: { from: $.next, body: page.after } }",
        answer: |request| {
            let body: Value = serde_json::from_str(&request.body).expect("JSON");
            assert_eq!((&body["filter"]["kind"], &body["page"]["size"]), (&json!("all"), &json!(3)));
            let skip = body["page"]["after"].as_u64().unwrap_or(0) as usize;
            let next = if skip + 3 < 7 { json!(skip + 3) } else { Value::Null };
            Reply::json(&json!({ "items": slice(skip, 3), "next": next }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r#"
    POST /search {"filter":{"kind":"all"},"page":{"size":3}}
    POST /search {"filter":{"kind":"all"},"page":{"size":3,"after":3}}
    POST /search {"filter":{"kind":"all"},"page":{"size":3,"after":6}}
    "#);
    case.goes_on_at(1, &walked);
}

#[test]
fn a_cursor_goes_into_a_form() {
    let case = Case {
        sync: "request: { post: /search, body: { form: { kind: all } } }\n\
               response: { records: \"$.items[*]\" }\npagination: { cursor: { from: $.next, body: after } }",
        answer: |request| {
            let skip = request.body.split_once("after=").map_or(0, |(_, skip)| skip.parse().expect("a number"));
            let next = if skip + 4 < 7 { json!(skip + 4) } else { json!(false) };
            Reply::json(&json!({ "items": slice(skip, 4), "next": next }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    POST /search kind=all
    POST /search kind=all&after=4
    ");
    case.goes_on_at(1, &walked);
}

#[test]
fn a_cursor_that_must_stand_alone_replaces_the_parameters() {
    let case = Case {
        sync: "request: { get: /items, query: { limit: 3, order: id } }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { cursor: { from: $.next, query: token, replaces_params: true } }",
        answer: |request| {
            if request.param("token").is_some() && request.query.len() > 1 {
                return Reply::status(400, r#"{"error":"a token stands alone"}"#);
            }
            let (page, more) = behind(request.param("token"), 3);
            let next = if more { last(&page) } else { json!("") };
            Reply::json(&json!({ "items": page, "next": next }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?limit=3&order=id
    GET /items?token=3
    GET /items?token=6
    ");
    case.goes_on_at(1, &walked);
}

#[test]
fn has_more_false_ends_the_scan_although_there_is_a_cursor() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { cursor: { from: $.cursor, query: after, has_more: $.more } }",
        answer: |request| {
            let (page, more) = behind(request.param("after"), 4);
            Reply::json(&json!({ "cursor": last(&page), "items": page, "more": more }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items
    GET /items?after=4
    ");
}

#[test]
fn an_empty_page_with_a_cursor_goes_on() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { cursor: { from: $.next, query: p } }",
        answer: |request| {
            let page = request.number("p", 0);
            let records = if page % 2 == 0 { slice(page / 2 * 4, 4) } else { Vec::new() };
            let next = if page < 2 { json!(page + 1) } else { Value::Null };
            Reply::json(&json!({ "items": records, "next": next }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items
    GET /items?p=1
    GET /items?p=2
    ");
    case.goes_on_at(2, &walked);
}

fn by_offset(request: &Request, cap: usize) -> Vec<Value> {
    slice(request.number("skip", 0), request.number("take", 100).min(cap))
}

#[test]
fn an_offset_up_to_the_total() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { offset: { query: skip, limit: 3, limit_param: take, total: $.total } }",
        answer: |request| Reply::json(&json!({ "items": by_offset(request, 100), "total": 7 })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?skip=0&take=3
    GET /items?skip=3&take=3
    GET /items?skip=6&take=3
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn an_offset_while_there_is_more() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { offset: { query: skip, limit: 3, limit_param: take, has_more: $.more } }",
        answer: |request| {
            let page = by_offset(request, 100);
            let more = request.number("skip", 0) + page.len() < 7;
            Reply::json(&json!({ "items": page, "more": if more { "true" } else { "false" } }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?skip=0&take=3
    GET /items?skip=3&take=3
    GET /items?skip=6&take=3
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn an_offset_without_any_sign_ends_at_a_short_page() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { offset: { query: skip, limit: 3, limit_param: take } }",
        answer: |request| Reply::json(&json!({ "items": by_offset(request, 100) })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?skip=0&take=3
    GET /items?skip=3&take=3
    GET /items?skip=6&take=3
    ");
    // that the server honours the size is remembered over the runs
    case.goes_on_at(2, &walked);
}

#[test]
fn an_offset_whose_last_page_is_full_needs_an_empty_one() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { offset: { query: skip, limit: 7, limit_param: take } }",
        answer: |request| Reply::json(&json!({ "items": by_offset(request, 100) })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?skip=0&take=7
    GET /items?skip=7&take=7
    ");
}

#[test]
fn an_offset_under_a_silent_cap_skips_what_came() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { offset: { query: skip, limit: 100, limit_param: take } }",
        answer: |request| Reply::json(&json!({ "items": by_offset(request, 3) })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?skip=0&take=100
    GET /items?skip=3&take=100
    GET /items?skip=6&take=100
    GET /items?skip=7&take=100
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn an_offset_that_counts_from_one_in_a_body() {
    let case = Case {
        sync: "request: { post: /search, body: { json: { } } }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { offset: { body: page.start, limit: 4, limit_param: page.count, start: 1, total: $.found } }",
        answer: |request| {
            let body: Value = serde_json::from_str(&request.body).expect("JSON");
            let at = |name: &str| body["page"][name].as_u64().expect("a number") as usize;
            Reply::json(&json!({ "items": slice(at("start") - 1, at("count")), "found": "7" }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r#"
    POST /search {"page":{"start":1,"count":4}}
    POST /search {"page":{"start":5,"count":4}}
    "#);
    case.goes_on_at(1, &walked);
}

fn by_page(request: &Request, first: usize, cap: usize) -> Vec<Value> {
    let size = request.number("size", cap).min(cap);
    slice((request.number("page", first) - first) * size, size)
}

#[test]
fn pages_up_to_their_number() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { page: { query: page, size: 3, size_param: size, total_pages: $.pages } }",
        answer: |request| Reply::json(&json!({ "items": by_page(request, 1, 100), "pages": 3 })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?page=1&size=3
    GET /items?page=2&size=3
    GET /items?page=3&size=3
    ");
    case.goes_on_at(1, &walked);
}

#[test]
fn pages_from_zero_up_to_the_total() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { page: { query: page, start: 0, size: 3, size_param: size, total: $.total } }",
        answer: |request| Reply::json(&json!({ "items": by_page(request, 0, 100), "total": 7 })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?page=0&size=3
    GET /items?page=1&size=3
    GET /items?page=2&size=3
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn pages_without_any_sign_end_at_a_short_one() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { page: { query: page, size: 3, size_param: size } }",
        answer: |request| Reply::json(&json!({ "items": by_page(request, 1, 100) })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?page=1&size=3
    GET /items?page=2&size=3
    GET /items?page=3&size=3
    ");
    case.goes_on_at(2, &walked);
}

#[test]
fn pages_of_unknown_size_end_at_an_empty_one() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { page: { query: page } }",
        answer: |request| Reply::json(&json!({ "items": by_page(request, 1, 4) })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?page=1
    GET /items?page=2
    GET /items?page=3
    ");
}

#[test]
fn pages_under_a_silent_cap_go_on_until_one_is_empty() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\n\
               pagination: { page: { query: page, size: 100, size_param: size } }",
        answer: |request| Reply::json(&json!({ "items": by_page(request, 1, 3) })),
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?page=1&size=100
    GET /items?page=2&size=100
    GET /items?page=3&size=100
    GET /items?page=4&size=100
    ");
    case.goes_on_at(3, &walked);
}

#[test]
fn pages_end_at_a_404_behind_the_last() {
    let case = Case {
        sync: "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { page: { query: page } }",
        answer: |request| match by_page(request, 1, 4) {
            page if page.is_empty() => Reply::status(404, r#"{"detail":"Invalid page."}"#),
            page => Reply::json(&json!({ "items": page })),
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r"
    GET /items?page=1
    GET /items?page=2
    GET /items?page=3
    ");
    case.goes_on_at(1, &walked);
}

const GRAPHQL: &str = "request:\n  post: /graphql\n  body:\n    graphql:\n      query: \"query($after: String, $first: Int) { items }\"\n      \
                       variables: { kind: all }\nresponse: { records: \"$.data.items.edges[*].node\" }\n\
                       pagination: { relay: { page_info: $.data.items.pageInfo, first: first, size: 3 } }";

#[test]
fn relay_connections() {
    let case = Case {
        sync: GRAPHQL,
        answer: |request| {
            let body: Value = serde_json::from_str(&request.body).expect("JSON");
            assert!(body["query"].as_str().expect("a query").starts_with("query($after"));
            let variables = &body["variables"];
            let (page, more) =
                behind(variables["after"].as_str(), variables["first"].as_u64().expect("a size") as usize);
            let info = json!({ "hasNextPage": more, "endCursor": last(&page).to_string() });
            let edges: Vec<Value> = page.into_iter().map(|node| json!({ "node": node })).collect();
            Reply::json(&json!({ "data": { "items": { "edges": edges, "pageInfo": info } } }))
        },
    };
    let walked = case.walked();
    insta::assert_snapshot!(walked, @r#"
    POST /graphql {"query":"query($after: String, $first: Int) { items }","variables":{"kind":"all","first":3}}
    POST /graphql {"query":"query($after: String, $first: Int) { items }","variables":{"kind":"all","first":3,"after":"3"}}
    POST /graphql {"query":"query($after: String, $first: Int) { items }","variables":{"kind":"all","first":3,"after":"6"}}
    "#);
    case.goes_on_at(1, &walked);
}

/// A project whose provider pages by a cursor, and a sync that says nothing or something else.
fn with_provider_default(api: &Api, sync: &str) -> Project {
    let project = Project::simple(
        &api.url(),
        &format!(
            "deletes: {{ absence: {{}} }}\nrequest: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\n{sync}"
        ),
        MODEL,
    );
    project.write(
        "providers/api.yaml",
        &format!(
            "provider: api\nbase_url: {}\nretry: {{ attempts: 2, backoff: {{ base: 1ms, max: 1ms }} }}\n\
             pagination: {{ cursor: {{ from: $.next, query: after }} }}\n",
            api.url()
        ),
    );
    project
}

fn by_cursor(request: &Request) -> Reply {
    let (page, more) = behind(request.param("after"), 4);
    let next = if more { last(&page) } else { Value::Null };
    Reply::json(&json!({ "items": page, "next": next, "done": !more }))
}

#[test]
fn the_provider_says_how_its_syncs_page_unless_they_do() {
    let api = Api::start(by_cursor);
    let project = with_provider_default(&api, "");
    assert_eq!(project.run()["added"], 7);
    insta::assert_snapshot!(api.asked().join("\n"), @r"
    GET /items
    GET /items?after=4
    ");
    let project = with_provider_default(&api, "pagination: { none: {} }");
    assert_eq!(project.run()["added"], 4);
    insta::assert_snapshot!(api.asked().join("\n"), @"GET /items");
}

#[test]
fn stop_when_ends_the_scan_early_and_proves_nothing() {
    let api = Api::start(by_cursor);
    let stop = "pagination: { cursor: { from: $.next, query: after, stop: { when: \"{{ response.body.items[0].id >= 1 }}\" } } }";
    let project = with_provider_default(&api, "");
    project.run();
    project.write(
        "integrations/api/syncs/items.yaml",
        &format!("sync: items\nmodel: Item\ndeletes: {{ absence: {{}} }}\nrequest: {{ get: /items }}\nresponse: {{ records: \"$.items[*]\" }}\n{stop}\n"),
    );
    api.asked();
    let report = project.run();
    insta::assert_snapshot!(api.asked().join("\n"), @"GET /items");
    assert_eq!((&report["unchanged"], &report["deleted"]), (&json!(4), &json!(0)));
    assert_eq!(report["deletes_skipped"], "the scan was ended by `stop.when`");
    assert_eq!(ids(&project).len(), 7, "what the short scan did not see stays");
}

#[test]
fn stop_when_sees_headers_and_status() {
    let api = Api::start(|request| {
        by_cursor(request).with("x-end", if request.param("after").is_some() { "yes" } else { "no" })
    });
    let stop = "pagination: { cursor: { last_record: $.id, query: after, stop: { when: \"{{ response.headers['x-end'] == 'yes' and response.status == 200 }}\" } } }";
    let project = with_provider_default(&api, stop);
    assert_eq!(project.run()["added"], 7);
    insta::assert_snapshot!(api.asked().join("\n"), @r"
    GET /items
    GET /items?after=4
    ");
}

#[test]
fn a_promise_of_more_without_a_cursor_is_an_error() {
    let api = Api::start(|_| Reply::json(&json!({ "items": items(), "more": true })));
    let sync = "pagination: { cursor: { from: $.next, query: after, has_more: $.more } }";
    let report = with_provider_default(&api, sync).run_fails(4);
    assert_eq!(report["error"]["code"], "no_token");
    assert_eq!(report["added"], 0);
}

#[test]
fn a_place_that_the_api_no_longer_knows_begins_the_scan_again() {
    let api = Api::start(
        |request| if request.param("after").is_some() { Reply::status(500, "{}") } else { by_cursor(request) },
    );
    let project = with_provider_default(&api, "");
    project.run_fails(3);
    // the cursor that was saved has expired; 1 has gone meanwhile
    api.becomes(|request| match request.param("after") {
        Some("4") => Reply::status(410, r#"{"error":"cursor expired"}"#),
        after => {
            let page = if after.is_some() { slice(5, 4) } else { slice(1, 4) };
            let next = if after.is_some() { Value::Null } else { last(&page) };
            Reply::json(&json!({ "items": page, "next": next }))
        }
    });
    api.asked();
    let output = project.headwater(&["run", "--json"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(api.asked(), ["GET /items?after=4", "GET /items", "GET /items?after=5"]);
    let restarted: Vec<Value> = output
        .json()
        .iter()
        .filter(|event| event["event"] == "started")
        .map(|event| event["restarted"].clone())
        .collect();
    assert_eq!(restarted, [Value::Null, json!("the API no longer knows the page to go on from")]);
    let report = output.report().remove(0);
    assert_eq!((&report["added"], &report["unchanged"], &report["deleted"]), (&json!(3), &json!(3), &json!(1)));
    assert_eq!(project.column("select id from api.items_live order by id"), [2, 3, 4, 5, 6, 7]);
}
