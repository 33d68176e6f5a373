//! Servers that mean harm, and settings that others chose: where they lead the program, and what they put into its requests. (What they
//! send is in `bad_input` and beside the HTTP client; what they learn of secrets is in `security`.)

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }";

fn one_item(_: &Request) -> Reply {
    Reply::json(&json!({ "items": [{ "id": 1 }] }))
}

/// A project whose base URL is this template, with this connection and these words of the provider besides.
fn project(base_url: &str, connection: &str, provider: &str, sync: &str) -> Project {
    let project = Project::simple("https://api.example", sync, MODEL);
    project.write(
        "providers/api.yaml",
        format!(
            "provider: api\nbase_url: \"{base_url}\"\nretry: {{ attempts: 2, backoff: {{ base: 1ms }} }}\n{provider}\n"
        ),
    );
    project.write(
        "headwater.yaml",
        format!("database: test.duckdb\nconnections:\n  acme: {{ provider: api{connection} }}\n"),
    );
    project
}

/// The error of a run that is refused for where it would go.
fn refused(project: &Project, code: i32) -> (String, String) {
    let error = project.run_fails(code)["error"].clone();
    assert_eq!(error["code"], "network_refused", "{error}");
    let text = |key: &str| error[key].as_str().expect(key).to_owned();
    (text("message"), text("hint"))
}

#[test]
fn settings_reach_this_machine_only_where_a_person_wrote_it_out() {
    let api = Api::start(one_item);
    let port = api.url().rsplit(':').next().expect("a port").to_owned();
    let host = ", config: { host: 127.0.0.1 }";
    let whole = format!(", config: {{ url: \"{}\" }}", api.url());
    let setting = format!("http://{{{{ config.host }}}}:{port}");
    for (base_url, connection) in [
        (setting.as_str(), host),
        ("{{ config.url }}", whole.as_str()),
        (&format!("http://127.0.0.{{{{ config.last }}}}:{port}"), ", config: { last: \"1\" }"),
    ] {
        let (message, hint) = refused(&project(base_url, connection, "", SYNC), 2);
        assert!(message.contains("`127.0.0.1` would be asked without TLS"), "{base_url}: {message}");
        assert!(hint.contains("`base_url` of the connection") && hint.contains("allow_http"), "{base_url}: {hint}");
        let (message, hint) = refused(&project(base_url, connection, "network: { allow_http: true }", SYNC), 2);
        assert!(message.contains("`127.0.0.1` is an address of this machine"), "{base_url}: {message}");
        assert!(hint.contains("allow_private"), "{base_url}: {hint}");
    }
    assert!(api.requests().is_empty());

    let written = format!(", base_url: \"{}\"", api.url());
    let in_path = format!("{}/{{{{ config.host }}}}", api.url());
    let anywhere = "network: { allow_http: true, allow_private: true }";
    for (base_url, connection, provider) in [
        ("https://{{ config.host }}.example", written.as_str(), ""),
        (in_path.as_str(), host, ""),
        (setting.as_str(), host, anywhere),
        (setting.as_str(), host, &format!("trusted_origins: [\"{}\"]", api.url())),
    ] {
        assert_eq!(project(base_url, connection, provider, SYNC).run()["added"], 1, "{base_url}");
    }
    assert_eq!(api.requests().len(), 4);
}

#[test]
fn where_a_proxy_takes_the_request_it_is_the_proxy_that_looks_the_name_up() {
    let proxy = Api::start(|_| Reply::status(502, ""));
    // by its name: it is no host that the request would lead to
    let address = proxy.url().replace("127.0.0.1", "localhost");
    let environment = [("HTTPS_PROXY", address.as_str()), ("https_proxy", &address), ("NO_PROXY", "kept.example")];
    let run = |host: &str| {
        let connection = format!(", config: {{ host: {host} }}");
        let output = project("https://{{ config.host }}", &connection, "", SYNC)
            .headwater_with(&["run", "--json"], &environment);
        output.report()[0]["error"]["code"].as_str().expect("an error").to_owned()
    };
    assert_eq!(run("api.example"), "connect");
    assert_eq!(run("10.0.0.1"), "network_refused");
    assert_eq!(run("localhost"), "network_refused");
    let asked = proxy.requests();
    assert!(asked.len() == 2 && asked.iter().all(|one| one.line() == "CONNECT api.example:443"), "{asked:?}");
}

/// Where a server could lead a program that asks whatever it is told to.
fn inward(port: &str) -> Vec<(String, &'static str)> {
    let local = |url: &str| url.replace("PORT", port);
    vec![
        (local("http://127.0.0.1:PORT/x"), "would be asked without TLS"),
        ("http://api.example/x".to_owned(), "`api.example` would be asked without TLS"),
        (local("https://127.0.0.1:PORT/x"), "is an address of this machine"),
        (local("https://localhost:PORT/x"), "`localhost` leads to `127.0.0.1`, which is an address of this machine"),
        (local("https://2130706433:PORT/x"), "`127.0.0.1` is an address of this machine"),
        (local("https://0x7f.1:PORT/x"), "`127.0.0.1` is an address of this machine"),
        (local("https://[::ffff:127.0.0.1]:PORT/x"), "is an address of this machine"),
        (local("https://0.0.0.0:PORT/x"), "`0.0.0.0` is no address of a host"),
        ("https://169.254.169.254/latest/meta-data/".to_owned(), "is a link-local address"),
        ("https://10.0.0.1/x".to_owned(), "`10.0.0.1` is an address of a private network"),
        ("https://[fd00::1]/x".to_owned(), "`fd00::1` is an address of a private network"),
        ("https://[64:ff9b::a00:1]/x".to_owned(), "is an address of a private network"),
    ]
}

#[test]
fn a_next_link_does_not_lead_into_the_own_network() {
    let inner = Api::start(one_item);
    let port = inner.url().rsplit(':').next().expect("a port").to_owned();
    for (nth, (url, expected)) in inward(&port).into_iter().enumerate() {
        let (target, by_link) = (url.clone(), nth % 2 == 1);
        let api = Api::start(move |_| {
            let reply = Reply::json(&json!({ "items": [{ "id": 1 }], "next": target }));
            reply.with("link", &format!("<{target}>; rel=next"))
        });
        let way = if by_link { "link: {}" } else { "next_url: { from: $.next }" };
        let (message, hint) = refused(&project(&api.url(), "", "", &format!("{SYNC}\npagination: {{ {way} }}")), 3);
        assert!(message.contains(expected), "{url}: {message}");
        assert!(hint.contains("a template, a link or a redirect leads there"), "{url}: {hint}");
        assert_eq!(api.requests().len(), 1, "{url}");
    }
    assert!(inner.requests().is_empty());
}

#[test]
fn a_next_link_to_the_own_origin_follows_the_base_url() {
    let api = Api::start(|request| {
        let next = if request.param("page").is_none() { json!("/items?page=2") } else { Value::Null };
        Reply::json(&json!({ "items": [{ "id": request.number("page", 1) }], "next": next }))
    });
    let sync = format!("{SYNC}\npagination: {{ next_url: {{ from: $.next }} }}");
    assert_eq!(project(&api.url(), "", "", &sync).run()["added"], 2);
}

#[test]
fn a_path_that_a_setting_makes_a_whole_url_does_not_lead_into_the_own_network() {
    let (api, inner) = (Api::start(one_item), Api::start(one_item));
    let sync = SYNC.replace("/items", "\"{{ config.path }}\"");
    let connection = format!(", config: {{ path: \"{}/x\" }}", inner.url());
    let (message, _) = refused(&project(&api.url(), &connection, "", &sync), 3);
    assert!(message.contains("`127.0.0.1` would be asked without TLS"), "{message}");
    assert!(inner.requests().is_empty() && api.requests().is_empty());
}

#[test]
fn a_redirect_does_not_lead_into_the_own_network() {
    let inner = Api::start(one_item);
    let port = inner.url().rsplit(':').next().expect("a port").to_owned();
    for (url, _) in inward(&port) {
        let target = url.clone();
        let api = Api::start(move |_| Reply::status(302, "").with("location", &target));
        let error = project(&api.url(), "", "", SYNC).run_fails(3)["error"].clone();
        assert_eq!(error["code"], "redirected", "{url}: {error}");
        assert!(error["message"].as_str().expect("a message").contains("redirected to another origin"), "{error}");
    }
    assert!(inner.requests().is_empty());
}

#[test]
fn a_value_of_an_answer_starts_no_header_of_its_own() {
    for evil in ["a\r\nX-Evil: 1", "a\nX-Evil: 1", "a\rX-Evil: 1", "a\r\n\r\nGET /evil HTTP/1.1\r\n", "a\0b"] {
        let api = Api::start(move |_| Reply::json(&json!({ "items": [{ "id": 1 }], "next": evil })));
        let sync = "request: { get: /items, headers: { X-Page: \"{{ page.cursor | default('') }}\" } }\nresponse: { records: \"$.items[*]\" }\n\
                    deletes: { absence: {} }\npagination: { cursor: { from: $.next } }";
        let error = project(&api.url(), "", "", sync).run_fails(2)["error"].clone();
        assert_eq!(error["code"], "bad_request", "{evil:?}: {error}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("the value of header `X-Page`") && message.contains("cannot be sent"), "{message}");
        assert!(!message.contains("Evil"), "{message}");
        assert_eq!(api.requests().len(), 1, "{evil:?}");
    }
}

#[test]
fn a_value_of_an_answer_stays_in_its_place_of_the_url() {
    for evil in ["a&admin=1", "a HTTP/1.1\r\nX-Evil: 1", "a#b", "../../x", "a%0d%0aX-Evil:1", "//evil.example/"] {
        let api = Api::start(move |request| {
            let next = if request.param("after").is_none() { json!(evil) } else { Value::Null };
            Reply::json(&json!({ "items": [{ "id": request.number("n", 1) }], "next": next }))
        });
        let sync = format!("{SYNC}\npagination: {{ cursor: {{ from: $.next, query: after }} }}");
        assert_eq!(project(&api.url(), "", "", &sync).run()["state"], "completed");
        let second = api.requests().pop().expect("a second request");
        assert_eq!(
            (second.path.as_str(), second.query.as_slice()),
            ("/items", &[("after".to_owned(), evil.to_owned())][..])
        );
        assert!(second.header("x-evil").is_none());
    }
}
