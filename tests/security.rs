//! Secrets stay where they belong, and values stay where they were put.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

/// Longer than any excerpt, and with characters that URLs, JSON and base64 write in another way.
const SECRET: &str =
    "sk/live+0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ\"0123456789abcdefghijklmnopqrstuvwxyz&=end";

/// The ways to hand it over.
const AUTH: [(&str, &str); 7] = [
    ("header", "auth: { key: { api_key: { header: X-Key, value: \"{{ credentials.api_key }}\" } } }"),
    ("query", "auth: { key: { api_key: { query: key } } }"),
    ("basic", "auth: { key: { basic: { username: me, password: \"{{ credentials.api_key }}\" } } }"),
    ("bearer", "auth: { key: { bearer: { token: \"{{ credentials.api_key }}\" } } }"),
    ("cookie", "auth: { key: { api_key: { cookie: sid, value: \"{{ credentials.api_key }}\" } } }"),
    ("own header", "headers: { X-Signed: \"v1 {{ credentials.api_key }}\" }"),
    ("own query", "query: { signature: \"{{ credentials.api_key }}\" }"),
];

/// A server that shows the secret wherever it can: the path says where.
fn echo(request: &Request) -> Reply {
    let ok = |body: Value| Reply::json(&body);
    let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
    match request.path.as_str() {
        "/unauthorized" => Reply::status(401, &json!({ "message": format!("bad key {SECRET}") }).to_string()),
        "/text" => Reply::text("text/plain", &format!("bad key {SECRET}")),
        "/html" => Reply::text("text/html", &format!("<html><title>{SECRET}</title></html>")),
        "/cut" => Reply::text("application/json", &format!("{{\"items\": [], \"key\": \"{SECRET}")),
        "/bytes" => Reply::bytes("text/plain", &[b"\xff ", SECRET.as_bytes()].concat()),
        "/error" => ok(json!({ "error": format!("bad key {SECRET}") })),
        "/missing" => ok(json!({ "you": SECRET })),
        "/redirect" => Reply::status(302, "").with("location", &format!("http://elsewhere.invalid/?given={encoded}")),
        "/odd_redirect" => Reply::status(302, "").with("location", &format!("http://[{SECRET}")),
        "/next" if request.param("page").is_none() => ok(
            json!({ "items": [{ "id": 1 }], "next": format!("/next?page=2&key={encoded}&signature={encoded}&seen={encoded}") }),
        ),
        "/link" if request.param("page").is_none() => ok(json!({ "items": [{ "id": 2 }] }))
            .with("link", &format!("</link?page=2&key={encoded}&seen={encoded}>; rel=next")),
        "/next" | "/link" => Reply::status(500, "{}"),
        "/circle" => ok(json!({ "items": [{ "id": 3 }], "next": SECRET })),
        "/invalid" | "/strict" => ok(
            json!({ "items": [{ "id": 4, "size": SECRET, "beside": SECRET }, { "id": 5, "beside": SECRET }, { "id": SECRET }] }),
        ),
        "/mark" => ok(json!({ "items": [{ "id": 6, "at": SECRET }] })),
        "/stop" => ok(json!({ "items": [], "next": "x", "key": SECRET })),
        other => panic!("{other}"),
    }
}

const MODES: [(&str, &str); 16] = [
    ("unauthorized", ""),
    ("text", ""),
    ("html", ""),
    ("cut", ""),
    ("bytes", ""),
    ("error", ""),
    ("missing", ""),
    ("redirect", ""),
    ("odd_redirect", ""),
    ("next", "pagination: { next_url: { from: $.next } }"),
    ("link", "pagination: { link: {} }"),
    ("circle", "pagination: { cursor: { from: $.next, query: after, stop: { when: \"{{ 1 == 2 }}\" } } }"),
    ("invalid", ""),
    ("strict", ""),
    ("mark", "incremental: { field: $.at }"),
    (
        "stop",
        "pagination: { cursor: { from: $.next, query: after, stop: { when: \"{{ response.body.key | date('%Y') }}\" } } }",
    ),
];

fn project(api: &Api, auth: &str) -> Project {
    let project = Project::empty();
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { api_key: \"${HEADWATER_TEST_KEY}\" } }\n",
    );
    project.write(
        "providers/api.yaml",
        &format!(
            "provider: api\nbase_url: {}\nretry: {{ attempts: 2, backoff: {{ base: 1ms }} }}\n{auth}\n",
            api.url()
        ),
    );
    for (name, words) in MODES {
        let model = if name == "strict" { "Strict" } else { "Item" };
        project.write(
            &format!("integrations/api/syncs/{name}.yaml"),
            &format!("sync: {name}\nmodel: {model}\nrequest: {{ get: /{name} }}\nresponse: {{ records: \"$.items[*]\" }}\n{words}\n"),
        );
    }
    let columns = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, size: { path: $.size, type: integer } }";
    project.write("integrations/api/models/Item.yaml", &format!("model: Item\ntable: items\n{columns}\n"));
    project.write(
        "integrations/api/models/Strict.yaml",
        &format!("model: Strict\ntable: strict\n{columns}\non_invalid: fail\n"),
    );
    project
}

/// Pieces of the secret in all spellings: not even a part of it may be seen.
fn pieces() -> Vec<Vec<u8>> {
    use base64::Engine;
    let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let spellings = [
        SECRET.to_owned(),
        url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect(),
        Value::from(SECRET).to_string(),
        base64(SECRET),
        base64(&format!("me:{SECRET}")),
    ];
    let cut = |text: &String| text.as_bytes().windows(12).map(<[u8]>::to_vec).collect::<Vec<_>>();
    spellings.iter().flat_map(cut).collect()
}

fn shows_no_secret(place: &str, bytes: &[u8], pieces: &[Vec<u8>]) {
    let known: HashSet<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
    let mut begins = vec![false; 1 << 16];
    let pair = |window: &[u8]| usize::from(window[0]) << 8 | usize::from(window[1]);
    pieces.iter().for_each(|piece| begins[pair(piece)] = true);
    if let Some(at) = bytes.windows(12).position(|window| begins[pair(window)] && known.contains(window)) {
        let around = &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())];
        panic!("a piece of the secret in {place}: …{}…", String::from_utf8_lossy(around));
    }
}

fn no_secret_is_shown_or_kept(which: usize) {
    let api = Api::start(echo);
    let (name, auth) = AUTH[which];
    let project = project(&api, auth);
    let pieces = pieces();
    for arguments in [
        vec!["run", "--json", "--log-requests"],
        vec!["run", "--full"],
        vec!["dry-run"],
        vec!["dry-run", "--json"],
        vec!["explain"],
        vec!["explain", "--json"],
        vec!["status"],
        vec!["query", "--json", "from headwater.runs"],
    ] {
        let output = project.headwater_with(&arguments, &[("HEADWATER_TEST_KEY", SECRET)]);
        shows_no_secret(&format!("stdout of {arguments:?}, {name}"), output.stdout.as_bytes(), &pieces);
        shows_no_secret(&format!("stderr of {arguments:?}, {name}"), output.stderr.as_bytes(), &pieces);
        if arguments.contains(&"--log-requests") {
            assert_eq!(
                output.report().iter().filter(|sync| sync["state"] == "failed").count(),
                14,
                "{:#?}",
                output.report()
            );
        }
    }
    // it was sent, so that the server could echo it
    let sent = |request: &Request| format!("{:?} {:?}", request.query, request.headers);
    assert!(api.requests().iter().all(|request| {
        let sent = sent(request);
        pieces.iter().any(|piece| sent.contains(std::str::from_utf8(piece).expect("ASCII")))
    }));
    assert!(project.column("select count(*) from api.items")[0].as_i64() > Some(0));
    assert!(project.column("select count(*) from headwater.requests")[0].as_i64() > Some(0));
    for entry in std::fs::read_dir(project.path()).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_file() {
            shows_no_secret(&entry.display().to_string(), &std::fs::read(&entry).expect("a file"), &pieces);
        }
    }
}

#[test]
fn a_key_in_a_header_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(0);
}

#[test]
fn a_key_in_the_query_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(1);
}

#[test]
fn a_password_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(2);
}

#[test]
fn a_token_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(3);
}

#[test]
fn a_secret_in_a_header_of_ones_own_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(5);
}

#[test]
fn a_key_in_a_cookie_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(4);
}

#[test]
fn a_secret_in_a_parameter_of_ones_own_is_shown_and_kept_nowhere() {
    no_secret_is_shown_or_kept(6);
}

/// One sync with credentials `id` (not much of a secret, but nobody can tell) and `api_key`.
fn account(api: &Api, provider: &str, sync: &str) -> Project {
    let project = Project::simple(&api.url(), sync, "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }");
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n  acme: { provider: api, credentials: { api_key: \"${HEADWATER_TEST_KEY}\", id: AC12345678 } }\n",
    );
    project.write(
        "providers/api.yaml",
        &format!(
            "provider: api\nbase_url: {}\nretry: {{ attempts: 2, backoff: {{ base: 1ms }} }}\n{provider}\n",
            api.url()
        ),
    );
    project
}

fn run(project: &Project, code: i32) -> Value {
    let output = project.headwater_with(&["run", "--json"], &[("HEADWATER_TEST_KEY", SECRET)]);
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    output.report().remove(0)
}

const NEXT: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\npagination: { next_url: { from: $.next } }\ndeletes: { absence: {} }";

#[test]
fn next_links_with_the_account_in_them_work_and_are_not_kept() {
    let page = |request: &Request| {
        let page = request.number("page", 1);
        let next = if page < 3 { json!(format!("/accounts/AC12345678/items?page={}", page + 1)) } else { Value::Null };
        Reply::json(&json!({ "items": [{ "id": page }], "next": next }))
    };
    let api = Api::start(
        move |request| if request.param("page") == Some("3") { Reply::status(500, "{}") } else { page(request) },
    );
    let auth =
        "auth: { key: { basic: { username: \"{{ credentials.id }}\", password: \"{{ credentials.api_key }}\" } } }";
    let project = account(&api, auth, NEXT);
    let report = run(&project, 3);
    assert!(!report.to_string().contains("AC12345678"), "{report}");
    assert_eq!(report["pages"], 2);
    let bytes = std::fs::read(project.database()).expect("a file");
    assert!(!bytes.windows(10).any(|window| window == b"AC12345678"), "it is in the database");
    api.becomes(page);
    api.asked();
    run(&project, 0);
    let account = "/accounts/AC12345678/items?page=";
    assert_eq!(
        api.asked(),
        ["GET /items".to_owned(), format!("GET {account}2"), format!("GET {account}3")],
        "from the first page again"
    );
    assert_eq!(project.column("select id from api.items order by id"), [1, 2, 3]);
}

/// An API whose first page leads to another origin in this way; the other origin has the second page.
fn leads_elsewhere(lead: impl Fn(&str) -> Reply + Send + Sync + 'static) -> (Api, Api) {
    let other = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 2 }] })));
    let url = format!("{}/files?page=2", other.url());
    (Api::start(move |_| lead(&url)), other)
}

#[test]
fn another_origin_gets_no_credentials_unless_it_is_trusted() {
    let ways = ["next_url: { from: $.next }", "link: {}"];
    for ((name, auth), way) in AUTH.into_iter().zip([0, 1].into_iter().cycle()) {
        for (words, trusted) in [(ways[way], false), (ways[1 - way], true)] {
            let by_link = words.starts_with("link");
            let (api, other) = leads_elsewhere(move |url| {
                let encoded: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
                // with the key copied into it, as some servers do
                let url = format!("{url}&key={encoded}&signature={encoded}");
                let reply = Reply::json(
                    &json!({ "items": [{ "id": 1 }], "next": if by_link { Value::Null } else { json!(url) } }),
                );
                if by_link { reply.with("link", &format!("<{url}>; rel=next")) } else { reply }
            });
            let anywhere = "network: { allow_http: true, allow_private: true }";
            let trust = if trusted { format!("trusted_origins: [\"{}\"]", other.url()) } else { anywhere.to_owned() };
            let project =
                account(&api, &format!("{auth}\n{trust}"), &NEXT.replace("next_url: { from: $.next }", words));
            assert_eq!(run(&project, 0)["added"], 2);
            let asked = other.requests();
            assert_eq!(asked.len(), 1);
            let sent = format!("{} {:?}", asked[0].target, asked[0].headers);
            let has = pieces().iter().any(|piece| sent.contains(std::str::from_utf8(piece).expect("ASCII")));
            assert_eq!(has, trusted, "{name} by {words}: {sent}");
        }
    }
}

#[test]
fn a_redirect_to_another_origin_is_not_followed() {
    let (api, other) = leads_elsewhere(|url| Reply::status(307, "").with("location", url));
    let project = account(&api, AUTH[0].1, NEXT);
    let report = run(&project, 3);
    let error = &report["error"];
    assert_eq!(error["code"], "redirected");
    assert!(error["message"].as_str().expect("a message").contains(&other.url()), "{error}");
    assert!(error["hint"].as_str().expect("a hint").contains("trusted_origins"), "{error}");
    assert!(other.requests().is_empty());
}

#[test]
fn a_missing_environment_variable_is_named() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    let project = account(&api, AUTH[0].1, NEXT);
    for value in [None, Some("")] {
        for arguments in [["run", "--json"], ["dry-run", "--json"]] {
            let environment: Vec<(&str, &str)> = value.map(|value| ("HEADWATER_TEST_KEY", value)).into_iter().collect();
            let output = project.headwater_with(&arguments, &environment);
            assert_eq!(output.code, 2, "{}{}", output.stdout, output.stderr);
            let said = format!("{}{}", output.stdout, output.stderr);
            assert!(
                said.contains("credential `api_key` needs the environment variable `HEADWATER_TEST_KEY`"),
                "{said}"
            );
            assert!(said.contains("export HEADWATER_TEST_KEY="), "{said}");
        }
    }
    assert!(api.requests().is_empty());
    assert_eq!(project.headwater(&["check"]).code, 0, "a check needs no secrets");
    assert_eq!(project.headwater(&["explain"]).code, 0);
}

/// Values that try to be more than one segment of a path, more than one parameter, or another host.
const ODD: [&str; 9] =
    ["a/b", "a?x=1", "a#b", "a@evil.example", "a\\r\\nHost: evil", "%2e%2e%2f", "..a", "é ü/☃", "a&b=c;d"];

#[test]
fn config_values_stay_in_their_segment_and_their_parameter() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    let sync = "request:\n  get: \"/orgs/{{ config.org }}/items\"\n  query: { q: \"{{ config.org }}\" }\n  headers: { X-Plain: one }\n\
                response: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
    for odd in ODD {
        let project = Project::simple(
            &format!("{}/v1/{{{{ config.org }}}}", api.url()),
            sync,
            "key: [id]\ncolumns: { id: $.id }",
        );
        let provider = std::fs::read_to_string(project.path().join("providers/api.yaml")).expect("a file");
        project.write("providers/api.yaml", &provider.replace("base_url: ", "base_url: \"").replace("}}\n", "}}\"\n"));
        project.write(
            "headwater.yaml",
            &format!(
                "database: test.duckdb\nconnections:\n  acme: {{ provider: api, config: {{ org: \"{odd}\" }} }}\n"
            ),
        );
        project.run();
        let request = api.requests().pop().expect("a request");
        api.asked();
        let value = odd.replace("\\r", "\r").replace("\\n", "\n");
        let segments: Vec<String> = request.path.split('/').skip(1).map(decoded).collect();
        assert_eq!(segments, ["v1", &value, "orgs", &value, "items"], "{}", request.target);
        assert_eq!(request.query, [("q".to_owned(), value)], "{}", request.target);
        assert_eq!(request.header("host"), Some(api.url().trim_start_matches("http://")));
    }
}

fn decoded(segment: &str) -> String {
    url::form_urlencoded::parse(format!("x={}", segment.replace('+', "%2B")).as_bytes())
        .next()
        .expect("a pair")
        .1
        .into_owned()
}

#[test]
fn config_values_that_would_move_the_path_or_the_host_are_refused() {
    for (base_url, org) in [
        ("http://127.0.0.1:9/{{ config.org }}", ".."),
        ("http://127.0.0.1:9/{{ config.org }}", "."),
        ("http://127.0.0.1:9/{{ config.org }}", ""),
        ("http://{{ config.org }}.localhost:9", "evil.example/"),
        ("http://{{ config.org }}.localhost:9", "evil.example#"),
        ("http://{{ config.org }}.localhost:9", "evil.example?"),
        ("http://{{ config.org }}.localhost:9", "me:pw@evil.example"),
        ("http://{{ config.org }}.localhost:9", "a b"),
        ("http://127.0.0.1:9{{ config.org }}", "@evil.example"),
    ] {
        let sync = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }";
        let project = Project::simple("http://127.0.0.1:9", sync, "key: [id]\ncolumns: { id: $.id }");
        project.write("providers/api.yaml", &format!("provider: api\nbase_url: \"{base_url}\"\n"));
        project.write(
            "headwater.yaml",
            &format!(
                "database: test.duckdb\nconnections:\n  acme: {{ provider: api, config: {{ org: \"{org}\" }} }}\n"
            ),
        );
        let output = project.headwater(&["check", "--json"]);
        let errors: Vec<Value> = output.json().into_iter().filter(|mistake| mistake["severity"] == "error").collect();
        assert_eq!((output.code, errors.len()), (2, 1), "{base_url} with {org}: {}", output.stdout);
        assert_eq!(errors[0]["code"], "E040");
    }
}

#[test]
fn a_segment_that_would_leave_its_path_is_refused_before_anything_is_sent() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    let sync = "request: { get: \"/orgs/{{ config.org }}/items\" }\nresponse: { records: \"$.items[*]\" }";
    let project = Project::simple(&api.url(), sync, "key: [id]\ncolumns: { id: $.id }");
    for org in ["..", ".", ""] {
        project.write(
            "headwater.yaml",
            &format!(
                "database: test.duckdb\nconnections:\n  acme: {{ provider: api, config: {{ org: \"{org}\" }} }}\n"
            ),
        );
        let report = project.run_fails(2);
        assert!(
            report["error"]["message"].as_str().expect("a message").contains("cannot be a part of a path"),
            "{report}"
        );
    }
    assert!(api.requests().is_empty());
}

#[test]
fn a_secret_in_a_provider_file_is_told_of_and_never_shown() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 1 }] })));
    let sync = "request: { get: /items, headers: { X-Api-Key: leaked-1 }, query: { access_token: leaked-2, page_token: shown } }\n\
                response: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
    let project = Project::simple(&api.url(), sync, "key: [id]\ncolumns: { id: $.id }");
    let provider = format!(
        "provider: api\nbase_url: {}\nauth:\n  main: {{ basic: {{ username: me, password: leaked-3 }} }}\nheaders: {{ Authorization: \"Token leaked-4\" }}\n",
        api.url()
    );
    project.write("providers/api.yaml", provider);
    let check = project.headwater(&["check"]);
    assert_eq!(check.stderr.matches("warning[W081]").count(), 4, "{}", check.stderr);
    for command in [
        &["check"][..],
        &["check", "--json"],
        &["check", "--sarif"],
        &["explain"],
        &["dry-run"],
        &["run", "--log-requests"],
    ] {
        let output = project.headwater(command);
        let told = format!("{}{}", output.stdout, output.stderr);
        assert!(!told.contains("leaked"), "{command:?}: {told}");
    }
    let log = project.rows("select * from headwater.requests");
    assert!(!log.is_empty() && !format!("{log:?}").contains("leaked"), "{log:?}");
    let request = api.requests().pop().expect("a request");
    assert_eq!(request.header("x-api-key"), Some("leaked-1"), "it is sent all the same");
    assert_eq!((request.param("access_token"), request.param("page_token")), (Some("leaked-2"), Some("shown")));
}
