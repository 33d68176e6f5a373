//! Delta feeds: the token that the last page gives is what the next run asks with.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, at: $.at }";
const FLAG: &str = "deletes: { flag: { when: \"$[?@.gone == true]\" } }";

/// A delta feed with more about the token, and more about the sync.
fn feed(token: &str, more: &str) -> String {
    format!(
        "request: {{ get: /items, query: {{ since: \"{{{{ watermark }}}}\" }} }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         pagination: {{ cursor: {{ from: $.next, query: page }} }}\n\
         incremental: {{ token: {{ from: $.token{token} }} }}\n{more}"
    )
}

fn records(ids: impl IntoIterator<Item = u64>) -> Vec<Value> {
    ids.into_iter().map(|id| json!({ "id": id, "at": format!("2024-05-01T10:{id:02}:00Z") })).collect()
}

/// Pages of two; the last one has this token.
fn page_of(records: &[Value], token: &str, request: &Request) -> Reply {
    let page = request.number("page", 0);
    let items: Vec<&Value> = records.iter().skip(page * 2).take(2).collect();
    if (page + 1) * 2 < records.len() {
        return Reply::json(&json!({ "items": items, "next": page + 1, "token": "" }));
    }
    Reply::json(&json!({ "items": items, "token": token }))
}

/// Everything without a token; what changed with `t1`; `t2` is up to date; all others have expired.
fn changing(all: Vec<Value>, changed: Vec<Value>) -> impl Fn(&Request) -> Reply {
    move |request| match request.param("since") {
        None => page_of(&all, "t1", request),
        Some("t1") => page_of(&changed, "t2", request),
        Some("t2") => page_of(&[], "t2", request),
        Some(_) => Reply::status(410, "{}"),
    }
}

/// All of these tokens have expired.
fn expired(all: Vec<Value>) -> impl Fn(&Request) -> Reply {
    move |request| match request.param("since") {
        None => page_of(&all, "t9", request),
        Some("t9") => page_of(&[], "t9", request),
        Some(_) => Reply::status(410, "{}"),
    }
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by id")
}

/// A feed whose first run has brought 1, 2 and 3.
fn loaded(token: &str, more: &str) -> (Api, Project) {
    let api = Api::start(changing(records(1..=3), vec![]));
    let project = Project::simple(&api.url(), &feed(token, more), MODEL);
    project.done_at("2024-06-01");
    assert_eq!(api.asked(), ["GET /items", "GET /items?page=1"]);
    (api, project)
}

#[test]
fn the_token_of_the_last_page_is_what_the_next_run_asks_with() {
    let (api, project) = loaded("", FLAG);
    let changed = [records([2, 4]), vec![json!({ "id": 1, "gone": true })]].concat();
    api.becomes(changing(vec![], changed));
    let report = project.run();
    assert_eq!(api.asked(), ["GET /items?since=t1", "GET /items?since=t1&page=1"]);
    assert_eq!((&report["added"], &report["deleted"], &report["unchanged"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(live(&project), [2, 3, 4], "3 was not told of, and stays");
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=t2"]);
    assert!(project.headwater(&["explain"]).stdout.contains("has a token"));
    project.run_at("2024-06-02", Run::full());
    assert_eq!(api.asked()[0], "GET /items");
}

#[test]
fn a_run_that_failed_in_the_middle_asks_with_the_same_token_again() {
    let (api, project) = loaded("", FLAG);
    let works = changing(vec![], records(4..=8));
    api.becomes(move |request| if request.number("page", 0) == 1 { Reply::status(500, "") } else { works(request) });
    project.fails_at("2024-06-02", "http_status");
    api.asked();
    api.becomes(changing(vec![], records(4..=8)));
    assert_eq!(project.run_at("2024-06-03", Run::requests(1))["state"], "paused");
    assert_eq!(project.done_at("2024-06-03")["resumed"], true);
    assert_eq!(api.asked(), ["GET /items?since=t1&page=1", "GET /items?since=t1&page=2"]);
    assert_eq!(live(&project), [1, 2, 3, 4, 5, 6, 7, 8]);
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=t2"]);
}

#[test]
fn an_expired_token_reads_everything_and_finds_what_was_missed() {
    for (deletes, left) in [(FLAG, vec![1, 3, 4]), ("", vec![1, 2, 3, 4])] {
        let (api, project) = loaded(", expired: { status: 410 }", deletes);
        api.becomes(expired(records([1, 3, 4])));
        let output = project.headwater(&["run", "--json"]);
        assert_eq!(output.code, 0, "{}", output.stdout);
        let restarted: Vec<Value> = output.json().iter().map(|line| line["restarted"].clone()).collect();
        assert!(restarted.contains(&json!("the API does not know the token any more")), "{}", output.stdout);
        assert_eq!(api.asked(), ["GET /items?since=t1", "GET /items", "GET /items?page=1"]);
        assert_eq!(output.report()[0]["deleted"], u64::from(!deletes.is_empty()));
        assert_eq!(live(&project), left);
        project.run();
        assert_eq!(api.asked(), ["GET /items?since=t9"]);
        assert_eq!(live(&project), left);
    }
}

#[test]
fn an_answer_that_is_a_success_can_say_that_the_token_has_expired() {
    let words = ", expired: { status: 200, when: \"{{ response.body.error == 'stale' }}\" }";
    let (api, project) = loaded(words, FLAG);
    let all = expired(records([3]));
    api.becomes(move |request| match request.param("since") {
        None => all(request),
        Some(_) => Reply::json(&json!({ "error": "stale" })),
    });
    assert_eq!(project.run()["deleted"], 2);
    assert_eq!(live(&project), [3]);
}

#[test]
fn a_refresh_that_is_stopped_goes_on_and_is_guarded() {
    let (api, project) = loaded(", expired: { status: 410 }", FLAG);
    api.becomes(expired(records([1, 2, 4])));
    // the expired token, the first page of everything, and no more
    assert_eq!(project.run_at("2024-06-02", Run::requests(2))["state"], "paused");
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["deleted"], &report["resumed"]), (&json!(1), &json!(true)));
    assert_eq!(api.asked(), ["GET /items?since=t1", "GET /items", "GET /items?page=1"]);
    assert_eq!(live(&project), [1, 2, 4], "3 is gone");

    api.becomes(|request| match request.param("since") {
        None => page_of(&[], "t10", request),
        Some(_) => Reply::status(410, "{}"),
    });
    let report = project.fails_at("2024-06-03", "deletes_guarded");
    assert_eq!(
        report["error"]["hint"],
        "if they really are gone: `headwater run acme/items --accept-deletes`; the bound is `deletes.flag.guard`"
    );
    assert_eq!(live(&project), [1, 2, 4]);
    api.asked();
    assert_eq!(project.run_at("2024-06-04", Run::accepting())["deleted"], 3);
    assert_eq!(api.asked(), Vec::<String>::new());
    api.becomes(|request| page_of(&[], "t10", request));
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=t10"]);
}

#[test]
fn the_guard_of_what_starting_over_deletes_can_be_set() {
    let flag = |guard: &str| FLAG.replace(" } }", &format!(", guard: {guard} }} }}"));
    let listed = |guard: &str| {
        format!(
            "deletes: {{ feed: {{ request: {{ get: /gone }}, response: {{ records: \"$.items[*]\" }}, key: {{ id: $.id }}, guard: {guard} }} }}"
        )
    };
    for words in [&flag as &dyn Fn(&str) -> String, &listed] {
        for (guard, left) in
            [("{ allow_empty: true }", 0), ("{ allow_empty: true, min_rows: 3, max_fraction: 0.9 }", 3)]
        {
            let api = Api::start(changing(records(1..=3), vec![]));
            let project = Project::simple(&api.url(), &feed(", expired: { status: 410 }", &words(guard)), MODEL);
            let quiet = |works: fn(&Request) -> Reply| {
                move |request: &Request| {
                    if request.path == "/gone" { page_of(&[], "", request) } else { works(request) }
                }
            };
            api.becomes(quiet(|request| changing(records(1..=3), vec![])(request)));
            project.done_at("2024-06-01");
            api.becomes(quiet(|request| expired(vec![])(request)));
            if left == 0 {
                assert_eq!(project.done_at("2024-06-02")["deleted"], 3, "{guard}");
            } else {
                project.fails_at("2024-06-02", "deletes_guarded");
            }
            assert_eq!(live(&project).len(), left, "{guard}");
        }
    }
}

#[test]
fn a_token_that_expires_together_with_its_page_starts_over() {
    let (api, project) = loaded(", expired: { status: 410 }", FLAG);
    api.becomes(changing(vec![], records(4..=8)));
    assert_eq!(project.run_at("2024-06-02", Run::requests(1))["state"], "paused");
    let all = expired(records(1..=8));
    api.becomes(move |request| {
        let stale = request.param("since").is_some() && request.param("page").is_some();
        if stale { Reply::status(404, "{}") } else { all(request) }
    });
    api.asked();
    project.done_at("2024-06-03");
    let asked = api.asked();
    assert_eq!(asked[..3], ["GET /items?since=t1&page=1", "GET /items?since=t1", "GET /items"]);
    assert_eq!(live(&project).len(), 8);
}

#[test]
fn a_refusal_without_a_token_is_an_error() {
    let api = Api::start(|_| Reply::status(410, "{}"));
    let project = Project::simple(&api.url(), &feed(", expired: { status: 410 }", FLAG), MODEL);
    let report = project.run_fails(3);
    assert_eq!(report["error"]["code"], "http_status");
    assert!(report["error"]["message"].as_str().expect("a message").contains("410"), "{report}");
    assert_eq!(api.asked().len(), 1);
}

#[test]
fn a_last_page_without_a_token_fails_and_loses_nothing() {
    for token in [json!(null), json!(""), json!(false)] {
        let (api, project) = loaded("", FLAG);
        let sent = token.clone();
        api.becomes(move |request| match request.param("page") {
            None => Reply::json(&json!({ "items": records([4, 5]), "next": 1 })),
            Some(_) => Reply::json(&json!({ "items": records([6]), "token": sent })),
        });
        let report = project.run_fails(4);
        assert_eq!(report["error"]["code"], "token_missing", "{token}");
        assert_eq!(live(&project), [1, 2, 3, 4, 5]);
        api.becomes(changing(vec![], records(4..=6)));
        api.asked();
        project.run();
        assert_eq!(api.asked(), ["GET /items?since=t1&page=1"]);
        assert_eq!(live(&project), [1, 2, 3, 4, 5, 6]);
    }
}

#[test]
fn a_last_page_may_leave_the_token_out_where_nothing_is_new() {
    let (api, project) = loaded(", optional: true", FLAG);
    let nothing = |_: &Request| Reply::json(&json!({ "items": [], "token": null }));
    api.becomes(nothing);
    assert_eq!(project.run()["deleted"], 0);
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=t1", "GET /items?since=t1"], "the one that was asked with stays");
    api.becomes(changing(vec![], records([4])));
    project.run();
    project.run();
    assert_eq!(api.asked(), ["GET /items?since=t1", "GET /items?since=t2"]);
    assert_eq!(live(&project), [1, 2, 3, 4]);

    // without any, everything is read again
    let api = Api::start(nothing);
    let project = Project::simple(&api.url(), &feed(", optional: true", FLAG), MODEL);
    project.run();
    api.becomes(changing(records(1..=3), vec![]));
    project.run();
    assert_eq!(api.asked(), ["GET /items", "GET /items", "GET /items?page=1"]);
    assert_eq!(live(&project), [1, 2, 3]);
}

#[test]
fn a_token_can_be_a_whole_url() {
    let api = Api::start(|_| Reply::status(500, ""));
    let url = api.url();
    let answer = move |request: &Request| match request.target.as_str() {
        "/delta" => page_of(&records([1]), &format!("{url}/delta?from=7"), request),
        "/delta?from=7" => page_of(&records([2]), &format!("{url}/delta?from=8&x=%20y"), request),
        _ => page_of(&[], &format!("{url}/delta?from=8&x=%20y"), request),
    };
    api.becomes(answer);
    let words = feed("", FLAG)
        .replace("get: /items, query: { since: \"{{ watermark }}\" }", "get: \"{{ watermark | default('/delta') }}\"");
    let project = Project::simple(&api.url(), &words, MODEL);
    (0..3).for_each(|_| drop(project.run()));
    assert_eq!(api.asked(), ["GET /delta", "GET /delta?from=7", "GET /delta?from=8&x=%20y"]);
    assert_eq!(live(&project), [1, 2]);
}

#[test]
fn a_secret_in_a_token_is_not_written_down() {
    let api = Api::start(|_| Reply::status(500, ""));
    let url = api.url();
    let with_key = |project: &Project| {
        project.write(
            "headwater.yaml",
            "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { api_key: \"${KEY}\" } }\n",
        );
        project.write(
            "providers/api.yaml",
            format!("provider: api\nbase_url: {}\nauth: {{ key: {{ api_key: {{ query: key }} }} }}\n", api.url()),
        );
    };
    let run = |project: &Project| {
        let output = project.headwater_with(&["run", "--json"], &[("KEY", "s3cr3t-value")]);
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        let kept = project.column("select c::varchar from headwater.checkpoints c");
        assert!(!kept[0].to_string().contains("s3cr3t"), "{kept:?}");
        output.report().remove(0)
    };
    // a URL with the key in it loses the key, which is sent again
    api.becomes(move |request| page_of(&records([1]), &format!("{url}/delta?from=7&key=s3cr3t-value"), request));
    let words = feed("", FLAG)
        .replace("get: /items, query: { since: \"{{ watermark }}\" }", "get: \"{{ watermark | default('/delta') }}\"");
    let project = Project::simple(&api.url(), &words, MODEL);
    with_key(&project);
    run(&project);
    run(&project);
    assert_eq!(api.asked(), ["GET /delta?key=s3cr3t-value", "GET /delta?from=7&key=s3cr3t-value"]);
    // any other is forgotten: everything is read, and what is missing is found
    let project = Project::simple(&api.url(), &feed("", FLAG), MODEL);
    with_key(&project);
    api.becomes(|request| page_of(&records(1..=3), "s3cr3t-value.7", request));
    run(&project);
    api.becomes(|request| page_of(&records(2..=4), "s3cr3t-value.8", request));
    api.asked();
    assert_eq!(run(&project)["deleted"], 1);
    assert_eq!(api.asked(), ["GET /items?key=s3cr3t-value", "GET /items?page=1&key=s3cr3t-value"]);
    assert_eq!(live(&project), [2, 3, 4]);
}

#[test]
fn an_expired_token_beside_a_sweep_that_is_not_due_deletes_only_what_is_gone() {
    let sweep =
        "deletes: { sweep: { request: { get: /ids }, response: { records: \"$.items[*]\" }, key: { id: $.id } } }";
    let ids = |all: Vec<Value>| {
        let inner = expired(all.clone());
        move |request: &Request| match request.path.as_str() {
            "/ids" => Reply::json(&json!({ "items": all })),
            _ => inner(request),
        }
    };
    let api = Api::start(ids(records(1..=3)));
    let project = Project::simple(&api.url(), &feed(", expired: { status: 410 }", sweep), MODEL);
    project.done_at("2024-06-01");
    let all = ids(records([1, 2, 4]));
    api.becomes(
        move |request| if request.param("since") == Some("t9") { Reply::status(410, "") } else { all(request) },
    );
    api.asked();
    let report = project.done_at("2024-06-01T10:00:00Z");
    assert_eq!((&report["deleted"], live(&project)), (&json!(1), vec![json!(1), json!(2), json!(4)]));
    assert!(!api.asked().contains(&"GET /ids".to_owned()));
}

#[test]
fn changes_that_the_api_no_longer_keeps_start_over() {
    let words = feed("", FLAG).replace("incremental: {", "incremental: { max_age: 30d,");
    let api = Api::start(changing(records(1..=3), vec![]));
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-06-01");
    project.done_at("2024-06-30");
    api.asked();
    project.done_at("2024-07-30");
    assert_eq!(api.asked(), ["GET /items?since=t2"], "just within");
    api.becomes(changing(records(2..=3), vec![]));
    assert_eq!(project.done_at("2024-08-29T00:00:01Z")["deleted"], 1);
    assert_eq!(api.asked(), ["GET /items"]);
}
