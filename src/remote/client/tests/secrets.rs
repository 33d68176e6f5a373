//! What is sent as proof, to whom, and that no secret is ever shown.

use std::sync::Arc;

use minijinja::Value;
use minijinja::context;
use url::Url;

use super::super::sample::{self, Reply, Server, get, ok, plain, redirect};
use crate::plan::{AuthPlan, ConnectionPlan, CredentialSource, KeyPlace, Method, NetworkPlan, Template};
use crate::remote::{Client, Credentials, Error, HeaderValue, Request, Response, Secret};

const KEY: &str = "k3y/with+odd chars&=é";
const PASSWORD: &str = "pässwörd:1";

fn template(text: &str) -> Template {
    Template::parse(text).expect("parses")
}

fn credentials() -> Credentials {
    Credentials::from_pairs([("key", KEY), ("token", "t0ken.abc-123~+/="), ("user", "usér"), ("password", PASSWORD)])
}

fn with_auth(base_url: &str, auth: AuthPlan) -> ConnectionPlan {
    ConnectionPlan { auth, ..sample::connection(base_url) }
}

fn client(plan: ConnectionPlan) -> Client {
    Client::new(Arc::new(plan), sample::access(credentials())).expect("a client")
}

fn api_key(place: KeyPlace) -> AuthPlan {
    AuthPlan::ApiKey { place, value: template("{{ credentials.key }}") }
}

fn basic() -> AuthPlan {
    AuthPlan::Basic { username: template("{{ credentials.user }}"), password: template("{{ credentials.password }}") }
}

fn bearer() -> AuthPlan {
    AuthPlan::Bearer { token: template("{{ credentials.token }}") }
}

fn secret(text: &str, variables: Value) -> Secret {
    Secret { template: Arc::new(template(text)), variables }
}

async fn sent(auth: AuthPlan, change: impl FnOnce(&mut Request)) -> sample::Received {
    let server = Server::fine().await;
    let client = client(with_auth(&server.url, auth));
    let mut request = get(&format!("{}/items?a=x%20y&b=1", server.url));
    change(&mut request);
    let answer = client.send(&request).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_ref()), (200, b"{}".as_slice()));
    assert!(!format!("{answer:?}").contains("k3y"));
    server.only()
}

#[tokio::test]
async fn each_kind_of_auth_arrives_as_its_standard_says() {
    let none = sent(AuthPlan::None, |_| {}).await;
    assert_eq!(none.line, "GET /items?a=x%20y&b=1 HTTP/1.1");
    assert_eq!(none.header("authorization"), None);
    assert_eq!(none.header("user-agent").as_deref(), Some(concat!("headwater/", env!("CARGO_PKG_VERSION"))));
    for coding in ["gzip", "br", "zstd"] {
        assert!(none.header("accept-encoding").expect("sent").contains(coding));
    }

    let header = sent(api_key(KeyPlace::Header("X-Api-Key".to_owned())), |_| {}).await;
    assert_eq!(header.header("x-api-key").as_deref(), Some(KEY));

    let prefixed = AuthPlan::ApiKey {
        place: KeyPlace::Header("Authorization".to_owned()),
        value: template("Token {{ credentials.token }}-{{ config.region }}-{{ connection.name }}"),
    };
    let prefixed = sent(prefixed, |_| {}).await;
    assert_eq!(prefixed.header("authorization").as_deref(), Some("Token t0ken.abc-123~+/=-eu-sample"));

    let query = sent(api_key(KeyPlace::Query("api key".to_owned())), |_| {}).await;
    assert_eq!(query.line, "GET /items?a=x%20y&b=1&api+key=k3y%2Fwith%2Bodd+chars%26%3D%C3%A9 HTTP/1.1");

    let cookie =
        AuthPlan::ApiKey { place: KeyPlace::Cookie("sid".to_owned()), value: template("{{ credentials.token }}") };
    let cookie = sent(cookie, |request| request.headers.push(plain("Cookie", "theme=dark"))).await;
    assert_eq!(cookie.header("cookie").as_deref(), Some("sid=t0ken.abc-123~+/=; theme=dark"));

    // RFC 7617, 2.1: UTF-8, and the password may hold `:`
    let basic = sent(basic(), |_| {}).await;
    assert_eq!(basic.header("authorization").as_deref(), Some("Basic dXPDqXI6cMOkc3N3w7ZyZDox"));
    let no_password = AuthPlan::Basic { username: template("Aladdin"), password: template("") };
    let no_password = sent(no_password, |_| {}).await;
    assert_eq!(no_password.header("authorization").as_deref(), Some("Basic QWxhZGRpbjo="));

    let bearer = sent(bearer(), |request| request.headers.push(plain("authorization", "mine"))).await;
    assert_eq!(bearer.header("authorization").as_deref(), Some("Bearer t0ken.abc-123~+/="), "auth wins");
}

#[tokio::test]
async fn headers_secrets_and_bodies_of_the_request_arrive() {
    let received = sent(AuthPlan::None, |request| {
        request.method = Method::Post;
        request.headers = vec![
            plain("Accept", "application/json"),
            plain("User-Agent", "mine/1"),
            (
                "X-Sign".to_owned(),
                HeaderValue::Secret(secret("{{ at }}.{{ credentials.token }}", context! { at => 7 })),
            ),
            ("X-None".to_owned(), HeaderValue::Secret(secret("{{ nothing }}", Value::UNDEFINED))),
        ];
        request.secret_query = vec![
            ("b".to_owned(), secret("{{ credentials.token }}", Value::UNDEFINED)),
            ("none".to_owned(), secret("{{ nothing }}", Value::UNDEFINED)),
        ];
        request.body = Some(("application/json".to_owned(), "{\"a\":1}".into()));
    });
    let received = received.await;
    assert_eq!(received.line, "POST /items?a=x%20y&b=t0ken.abc-123%7E%2B%2F%3D HTTP/1.1", "set, not doubled");
    assert_eq!(received.header("accept").as_deref(), Some("application/json"));
    assert_eq!(received.header("user-agent").as_deref(), Some("mine/1"));
    assert_eq!(received.header("x-sign").as_deref(), Some("7.t0ken.abc-123~+/="));
    assert_eq!(received.header("x-none"), None);
    assert_eq!(received.header("content-type").as_deref(), Some("application/json"));
    assert_eq!(received.body, b"{\"a\":1}");

    let own_type = sent(AuthPlan::None, |request| {
        request.method = Method::Put;
        request.headers = vec![plain("content-type", "text/csv")];
        request.body = Some(("text/plain".to_owned(), "a,b".into()));
    });
    assert_eq!(own_type.await.header("content-type").as_deref(), Some("text/csv"));
}

#[tokio::test]
async fn values_that_would_start_another_header_are_never_sent() {
    let server = Server::fine().await;
    for (bad, wording) in [
        ("abc\r\nX-Evil: 1", "line break in it"),
        ("abcdef\n", "ends with a line break"),
        ("ab\0cdef", "control character"),
    ] {
        for auth in [
            api_key(KeyPlace::Header("X-Api-Key".to_owned())),
            api_key(KeyPlace::Cookie("sid".to_owned())),
            AuthPlan::Basic { username: template("me"), password: template("{{ credentials.key }}") },
            AuthPlan::Bearer { token: template("{{ credentials.key }}") },
        ] {
            let bad_key = Credentials::from_pairs([("key", bad)]);
            let error = Client::new(Arc::new(with_auth(&server.url, auth)), sample::access(bad_key))
                .expect_err("must be refused");
            assert!(matches!(error, Error::Connection { .. }) && error.is_local() && !error.is_temporary());
            let text = format!("{error} {error:?}");
            assert!(text.contains(wording) && !text.contains("abc") && !text.contains("Evil"), "{text}");
        }
        let client = Client::new(
            Arc::new(sample::connection(&server.url)),
            sample::access(Credentials::from_pairs([("key", bad)])),
        );
        let client = client.expect("nothing is wrong yet");
        for value in
            [HeaderValue::Plain(bad.to_owned()), HeaderValue::Secret(secret("{{ credentials.key }}", Value::UNDEFINED))]
        {
            let request = Request { headers: vec![("X-A".to_owned(), value)], ..get(&server.url) };
            let error = client.send(&request).await.expect_err("must be refused");
            assert!(matches!(error, Error::Request { .. }), "{error}");
            assert!(error.to_string().contains("header `X-A`") && !format!("{error:?}").contains("Evil"), "{error}");
        }
    }
    let client = client(sample::connection(&server.url));
    for name in ["X-A: 1\r\nX-B", "", "a b", "Host", "content-length", "Transfer-Encoding"] {
        let request = Request { headers: vec![plain(name, "1")], ..get(&server.url) };
        assert!(matches!(client.send(&request).await, Err(Error::Request { .. })), "{name}");
    }
    for text in ["file:///etc/passwd", "ftp://127.0.0.1/"] {
        assert!(matches!(client.send(&get(text)).await, Err(Error::Request { .. })), "{text}");
    }
    assert!(server.received().is_empty(), "nothing was sent");
}

#[test]
fn auth_that_cannot_be_right_is_an_error_that_says_why_without_the_secret() {
    let table = [
        (AuthPlan::Bearer { token: template("Bearer {{ credentials.token }}") }, "without the word `Bearer`"),
        (AuthPlan::Bearer { token: template("{{ credentials.nothing }}") }, "`{{ credentials.nothing }}` has no value"),
        (AuthPlan::Bearer { token: template("") }, "the token is empty"),
        (AuthPlan::Basic { username: template("a:b"), password: template("x") }, "RFC 7617"),
        (api_key(KeyPlace::Cookie("sid".to_owned())), "has a space"),
        (api_key(KeyPlace::Cookie("a=b".to_owned())), "name of a cookie"),
        (api_key(KeyPlace::Header("a b".to_owned())), "name of a header"),
        (
            AuthPlan::Bearer { token: template("{{ credentials.password | rfc3339 }}") },
            "auth `bearer`: `credentials.password | rfc3339`",
        ),
    ];
    for (auth, wording) in table {
        let plan = Arc::new(with_auth("https://api.example.com", auth));
        let error = Client::new(plan, sample::access(credentials())).expect_err("must be refused");
        let text = format!("{error} {error:?}");
        assert!(text.contains(wording), "{text}");
        assert!(!text.contains("k3y") && !text.contains("ssw\u{f6}") && !text.contains("t0ken"), "{text}");
    }
}

#[tokio::test]
async fn credentials_never_go_to_a_foreign_origin() {
    let (home, foreign, trusted) = (Server::fine().await, Server::fine().await, Server::fine().await);
    for auth in [basic(), api_key(KeyPlace::Query("key".to_owned())), api_key(KeyPlace::Header("X-Key".to_owned()))] {
        let plan = ConnectionPlan {
            auth,
            trusted_origins: vec![trusted.url.clone()],
            network: sample::ANYWHERE,
            ..sample::connection(&format!("{}/v2", home.url))
        };
        let client = client(plan);
        for server in [&home, &foreign, &trusted] {
            let request = Request {
                headers: vec![
                    plain("X-Plain", "1"),
                    plain("Cookie", "a=b"),
                    ("X-Secret".to_owned(), HeaderValue::Secret(secret("{{ credentials.token }}", Value::UNDEFINED))),
                ],
                secret_query: vec![("q".to_owned(), secret("{{ credentials.token }}", Value::UNDEFINED))],
                ..get(&format!("{}/x", server.url.replace("http://", "http://me:pw@")))
            };
            client.send(&request).await.expect("an answer");
            let shown = format!("{} {:?}", client.masked(&request), client.masked_headers(&request));
            assert_eq!(shown.contains("***"), server.url != foreign.url, "{shown}");
            assert!(!shown.contains("me:pw"), "{shown}");
        }
    }
    for received in foreign.received() {
        assert_eq!(received.line, "GET /x HTTP/1.1");
        assert_eq!(received.header("x-plain").as_deref(), Some("1"));
        for name in ["authorization", "cookie", "x-key", "x-secret"] {
            assert_eq!(received.header(name), None, "{name}");
        }
    }
    for server in [&home, &trusted] {
        let all = server.received();
        assert_eq!(all[0].header("authorization").as_deref(), Some("Basic dXPDqXI6cMOkc3N3w7ZyZDox"));
        assert!(all[1].line.contains("&key=k3y") && all[1].line.contains("q=t0ken"), "{}", all[1].line);
        assert_eq!(all[2].header("x-key").as_deref(), Some(KEY));
        assert!(all.iter().all(|received| received.header("x-secret").is_some()));
    }
    assert_eq!(foreign.received().len(), 3);
}

#[test]
fn what_is_shown_of_a_request_has_no_secret() {
    let client = client(with_auth("https://api.example.com/v2", api_key(KeyPlace::Query("api_key".to_owned()))));
    let request = Request {
        headers: vec![
            plain("Accept", "application/json"),
            plain("X-Echo", &format!("was {KEY}")),
            ("X-Sign".to_owned(), HeaderValue::Secret(secret("{{ credentials.token }}", context! { key => KEY }))),
        ],
        secret_query: vec![("sig".to_owned(), secret("{{ credentials.token }}", Value::UNDEFINED))],
        body: Some(("application/json".to_owned(), "{}".into())),
        // a next link into which the server copied the key, twice
        ..get(
            "https://api.example.com/v2/items?a=x%20y&api_key=k3y%2Fwith%2Bodd+chars%26%3D%C3%A9&c=k3y%2fwith%2Bodd%20chars%26%3d%c3%a9",
        )
    };
    assert_eq!(client.masked(&request), "GET https://api.example.com/v2/items?a=x%20y&c=***&sig=***&api_key=***");
    let headers = client.masked_headers(&request);
    let shown = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(shown("accept"), Some("application/json"));
    assert_eq!(shown("x-echo"), Some("was ***"));
    assert_eq!(shown("x-sign"), Some("***"));
    assert_eq!(shown("content-type"), Some("application/json"));
    assert!(shown("user-agent").is_some_and(|agent| agent.starts_with("headwater/")));
    assert_eq!(
        client.without_secrets(&request, &request.url).as_str(),
        "https://api.example.com/v2/items?a=x%20y&c=***"
    );

    let request = Request { url: "https://api.example.com/items".parse().expect("a URL"), ..request };
    assert_eq!(request.to_string(), "GET https://api.example.com/items?sig=***");
    assert_eq!(client.masked(&request), "GET https://api.example.com/items?sig=***&api_key=***");
    let request = Request { headers: request.headers[2..].to_vec(), ..request };
    for text in [format!("{request:?}"), format!("{client:?}"), format!("{:?}", credentials())] {
        assert!(!text.contains("k3y") && !text.contains("t0ken"), "{text}");
    }
}

#[test]
fn masked_headers_show_that_there_is_auth() {
    let request = Request {
        headers: vec![plain("Authorization", "mine"), plain("Cookie", "a=b")],
        ..get("https://api.example.com/")
    };
    let shown = |auth| client(with_auth("https://api.example.com", auth)).masked_headers(&request);
    let has = |headers: &[(String, String)], name: &str, value: &str| {
        let values: Vec<_> = headers.iter().filter(|(known, _)| known == name).map(|(_, v)| v.as_str()).collect();
        assert_eq!(values, [value], "{headers:?}");
    };
    has(&shown(basic()), "authorization", "***");
    has(&shown(bearer()), "authorization", "***");
    has(&shown(api_key(KeyPlace::Header("X-Api-Key".to_owned()))), "x-api-key", "***");
    let cookie =
        AuthPlan::ApiKey { place: KeyPlace::Cookie("sid".to_owned()), value: template("{{ credentials.token }}") };
    has(&shown(cookie), "cookie", "sid=***");
    has(&shown(AuthPlan::None), "authorization", "***");
}

#[tokio::test]
async fn a_secret_that_the_server_sends_back_is_masked() {
    let echo = Server::start(|received| {
        let query = received.line.split(' ').nth(1).unwrap_or_default().split_once('?').map_or("", |(_, query)| query);
        let header = |name: &str| received.header(name).unwrap_or_default();
        let (key, sign) = (header("x-key"), header("x-sign"));
        if received.line.contains("/redirect") {
            let other = "k3y%2Fwith%2Bodd%20chars%26%3D%C3%A9";
            let location = format!("https://elsewhere.example.com/?{query}&other={other}&sign={sign}");
            return Reply::Bytes(redirect(302, &location));
        }
        if received.line.contains("/nonsense") {
            return Reply::Bytes(redirect(302, &format!("http://[{key}")));
        }
        Reply::Bytes(ok(&format!("{{\"error\":\"bad \u{1b}[31m\nkey {key} ({query})\"}}")))
    })
    .await;
    for place in [KeyPlace::Query("key".to_owned()), KeyPlace::Header("X-Key".to_owned())] {
        let client = client(with_auth(&echo.url, api_key(place)));
        let mut texts = Vec::new();
        for path in ["redirect", "nonsense"] {
            let sign = secret("{{ credentials.token | upper }}", Value::UNDEFINED);
            let request = Request {
                secret_query: vec![("sig".to_owned(), secret("{{ credentials.token | base64 }}", Value::UNDEFINED))],
                headers: vec![("X-Sign".to_owned(), HeaderValue::Secret(sign))],
                ..get(&format!("{}/{path}", echo.url))
            };
            let error = client.send(&request).await.expect_err("no such place");
            assert!(matches!(error, Error::Redirect { .. }), "{error}");
            texts.push(format!("{error} {error:?} {:?}", error.hint()));
        }
        let answer = client.send(&get(&format!("{}/error", echo.url))).await.expect("an answer");
        let excerpt = client.excerpt(&answer);
        assert!(
            excerpt.contains("bad [31m key") && excerpt.contains("***") && !excerpt.contains('\u{1b}'),
            "{excerpt}"
        );
        texts.push(excerpt);
        texts.push(answer.url.to_string());
        texts.push(client.redact(&String::from_utf8_lossy(&answer.body)));
        for text in texts {
            for secret in ["k3y", "odd", "dDBrZW4", "T0KEN"] {
                assert!(!text.contains(secret), "{text}");
            }
        }
    }
}

#[test]
fn an_excerpt_does_not_cut_a_secret_in_two() {
    let client = client(sample::connection("https://api.example.com"));
    let excerpt = |body: String| {
        let url = "https://api.example.com/".parse().expect("a URL");
        client.excerpt(&Response { status: 400, headers: Vec::new(), body: body.into(), url, token: 0 })
    };
    assert_eq!(excerpt(format!("short {KEY}")), "short ***");
    for before in 1_900..2_010 {
        let text = excerpt(format!("{}{}", "x".repeat(before), KEY.repeat(20)));
        assert!(!text.contains("k3") && text.ends_with('…') && text.len() < 2_100, "{before}: {text}");
    }
}

#[tokio::test]
async fn a_redirect_error_does_not_even_show_a_short_key() {
    let server = Server::start(|received| {
        let path = received.line.split(' ').nth(1).unwrap_or_default();
        Reply::Bytes(redirect(302, &format!("https://elsewhere.example.com{path}")))
    })
    .await;
    let plan = with_auth(&server.url, api_key(KeyPlace::Query("key".to_owned())));
    let client =
        Client::new(Arc::new(plan), sample::access(Credentials::from_pairs([("key", "q7")]))).expect("a client");
    let error = client.send(&get(&format!("{}/?a=1", server.url))).await.expect_err("must be refused");
    assert!(
        error.to_string().ends_with("redirected to another origin: `https://elsewhere.example.com/?a=1`"),
        "{error}"
    );
}

#[test]
fn redirects_to_storage_are_followed_without_credentials_where_it_is_said() {
    let plan = ConnectionPlan {
        network: NetworkPlan { follow_redirects: true, ..NetworkPlan::default() },
        ..with_auth("https://api.example.com", api_key(KeyPlace::Header("X-Key".to_owned())))
    };
    let client = Client::new(Arc::new(plan), sample::access(Credentials::from_pairs([("key", "k-0123456789")])))
        .expect("a client");
    let request = get("https://api.example.com/export");
    let fill_in = |url: &Url| client.0.identity.fill_in(&request, url, &client.0.identity.session().current());
    let outgoing = fill_in(&request.url).expect("filled in");
    let follow =
        |location: &str| client.follow(&request, &request.url, &outgoing, Ok(Url::parse(location).expect("a URL")));
    let target = follow("https://storage.example.net/file?signature=0123456789abcdef").expect("may be followed");
    let there = fill_in(&target).expect("filled in");
    assert!(outgoing.headers.contains_key("x-key") && !there.headers.contains_key("x-key"));
    assert_eq!(client.redact("see 0123456789abcdef"), "see ***", "a signed URL is a secret");
    assert!(follow("http://storage.example.net/file").is_err(), "never without TLS");
}

#[test]
fn secrets_in_clear_are_noticed() {
    let clear = |url: &str, trusted: &[&str], auth: AuthPlan, credentials: Credentials| {
        let plan = ConnectionPlan {
            trusted_origins: trusted.iter().map(|origin| (*origin).to_owned()).collect(),
            ..with_auth(url, auth)
        };
        Client::new(Arc::new(plan), sample::access(credentials)).expect("a client").sends_secrets_in_clear()
    };
    let none = Credentials::default;
    assert!(clear("http://api.example.com", &[], bearer(), credentials()));
    assert!(clear("http://api.example.com", &[], AuthPlan::None, credentials()));
    assert!(clear("https://api.example.com", &["http://files.example.com"], bearer(), credentials()));
    assert!(clear("http://127.0.0.1.example.com", &[], bearer(), credentials()));
    assert!(!clear("http://api.example.com", &[], AuthPlan::None, none()));
    for url in [
        "https://api.example.com",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://[::1]:1",
        "http://api.localhost",
    ] {
        assert!(!clear(url, &[], bearer(), credentials()), "{url}");
    }
}

#[test]
fn urls_that_no_connection_can_have_are_refused() {
    let table = [
        ("https://me:s3cr3t-pw@api.example.com", vec![], "user name or password"),
        ("https://api.example.com", vec!["files.example.com".to_owned()], "is no URL"),
        ("https://api.example.com", vec!["file:///x".to_owned()], "neither"),
        ("ftp://api.example.com", vec![], "neither"),
    ];
    for (base_url, trusted_origins, wording) in table {
        let plan = ConnectionPlan {
            trusted_origins,
            credentials: [("key".to_owned(), CredentialSource::Literal(KEY.into()))].into(),
            ..sample::connection(base_url)
        };
        let error = Client::new(Arc::new(plan), sample::access(Credentials::default())).expect_err("must be refused");
        assert!(error.to_string().contains(wording), "{error}");
        assert!(!format!("{error:?}").contains("s3cr3t"), "{error:?}");
    }
}
