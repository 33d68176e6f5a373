//! Tokens that are made without a person: client credentials, signed assertions, GitHub Apps, log-ins.

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};

use super::{
    CLIENT, ID, SECRET, Service, bearer, es256, fails, form, headwater, member, next, opened, project, runs, verified,
};
use crate::support::{OAuth, Project, Reply, Request};

/// A service whose token endpoint gives a token to whoever asks, with more members in the answer.
fn giving(pages: usize, more: Value) -> Service {
    Service::start(pages, bearer, move |_, good| {
        let mut answer = more.clone();
        answer["access_token"] = next(good).into();
        Reply::json(&answer)
    })
}

#[test]
fn a_client_asks_in_every_way_that_servers_want() {
    let (pem, public) = es256();
    let service = giving(2, json!({ "token_type": "Bearer" }));
    let url = format!("{}/token", service.url());
    let ask = |words: &str, token: &str| -> Request {
        let auth = format!("client_credentials: {{ {words} token: {{ url: {url}, {token} }} }}");
        let key = [("private_key", pem.as_str())];
        let credentials: Vec<_> = if token.contains("private_key_jwt") {
            CLIENT[..1].iter().chain(&key).copied().collect()
        } else if token.contains("client_auth: none") {
            CLIENT[..1].to_vec()
        } else {
            CLIENT.to_vec()
        };
        let named: Vec<_> = credentials.iter().map(|(name, _)| *name).collect();
        runs(&project(&service.url(), &auth, "", &named), &credentials, 2);
        let (lists, mut others) = service.asked();
        assert_eq!((lists.len(), others.len()), (2, 1), "one token for all pages");
        others.remove(0)
    };

    let asked = ask("", "");
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("POST", "/token"));
    assert_eq!(asked.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(asked.header("accept"), Some("application/json"));
    let expected = [("grant_type", "client_credentials"), ("client_id", ID), ("client_secret", SECRET)];
    assert_eq!(form(&asked.body), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let asked = ask(
        "scopes: [a:read, b], scope_separator: \",\",",
        "body: json, headers: { X-Version: \"2\" }, params: { audience: \"https://{{ connection.name }}.example\", deep: \"{{ 7 }}\" }",
    );
    assert_eq!((asked.header("content-type"), asked.header("x-version")), (Some("application/json"), Some("2")));
    let body: Value = serde_json::from_str(&asked.body).expect("JSON");
    let expected = json!({
        "grant_type": "client_credentials", "scope": "a:read,b", "client_id": ID, "client_secret": SECRET,
        "audience": "https://crm.example", "deep": 7,
    });
    assert_eq!(body, expected);

    let asked = ask("scopes: [a, b],", "body: query, client_auth: basic");
    assert_eq!((asked.body.as_str(), asked.header("content-type")), ("", None));
    assert_eq!(
        (asked.param("scope"), asked.param("client_secret"), asked.param("client_id")),
        (Some("a b"), None, None)
    );
    let pair = STANDARD.encode(format!("{ID}:cl1ent-s3cret%2Fof%2Bthe%3Dapp"));
    assert_eq!(asked.header("authorization"), Some(format!("Basic {pair}").as_str()), "RFC 6749, 2.3.1");

    let asked = form(&ask("", "client_auth: none").body);
    assert_eq!((member(&asked, "client_id"), member(&asked, "client_secret")), (Some(ID), None));

    let asked = form(&ask("", "client_auth: private_key_jwt").body);
    assert_eq!(member(&asked, "client_assertion_type"), Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
    let (_, claims) = verified(member(&asked, "client_assertion").expect("an assertion"), &public);
    assert_eq!((&claims["iss"], &claims["sub"], &claims["aud"]), (&json!(ID), &json!(ID), &json!(url)));
    assert!(claims["jti"].as_str().is_some_and(|id| id.len() > 16), "{claims}");
    let seconds = claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time");
    assert_eq!(seconds, 300);
}

#[test]
fn the_answer_may_have_its_token_anywhere_and_the_request_too() {
    let proof = |request: &Request| request.param("key").map(str::to_owned);
    let service = Service::start(2, proof, |_, good| {
        Reply::json(
            &json!({ "access_token": "t0ken-of-another", "data": [{ "value": next(good), "ends": "2999-01-01T00:00:00Z" }] }),
        )
    });
    let auth = format!(
        "client_credentials: {{ token: {{ url: {}/token, paths: {{ access_token: \"$.data[0].value\", expires_at: \"$.data[0].ends\" }} }}, \
         send: {{ query: key }} }}",
        service.url()
    );
    let project = project(&service.url(), &auth, "", &["client_id", "client_secret"]);
    runs(&project, &CLIENT, 2);
    assert_eq!(service.asked().1.len(), 1);
    let log = headwater(&project, &["run", "--full", "--log-requests", "--json"], &CLIENT);
    assert!(log.code == 0 && !log.stdout.contains("t0ken-2"), "{log:?}");
    let kept = project.rows("SELECT url FROM headwater.requests");
    assert!(!kept.is_empty() && kept.iter().all(|row| !row.to_string().contains("t0ken")), "{kept:?}");
}

#[test]
fn a_length_that_says_nothing_makes_no_token_for_each_request() {
    // how each is read is in the tests of the reader
    for (more, lasts) in [
        (json!({}), ""),
        (json!({ "expires_in": "3600" }), ""),
        (json!({ "expires_in": 0 }), ""),
        (json!({ "expires_in": -5 }), "expires_in: 1h,"),
        (json!({ "ends": 1_000_000_000, "expires_in": null }), ""),
    ] {
        let service = giving(5, more.clone());
        let auth = format!(
            "client_credentials: {{ token: {{ url: {}/token, {lasts} paths: {{ expires_at: $.ends }} }} }}",
            service.url()
        );
        runs(&project(&service.url(), &auth, "", &["client_id", "client_secret"]), &CLIENT, 5);
        assert_eq!(service.asked().1.len(), 1, "{more} {lasts}");
    }
}

#[test]
fn a_token_that_ends_in_the_middle_is_followed_by_one_other() {
    let server = OAuth::start(3, 7);
    let url = server.api.url();
    let auth = format!("client_credentials: {{ token: {{ url: {url}/token }} }}");
    let project = project(&url, &auth, "", &["client_id", "client_secret"]);
    let sync = "sync: items\nmodel: item\nrequest: { get: /lists/items }\nresponse: { records: \"$.records[*]\" }\n\
                pagination: { page: { query: page, total_pages: $.pages } }\ndeletes: { absence: {} }\n";
    project.write("integrations/api/syncs/items.yaml", sync);
    runs(&project, &[("client_id", ID), ("client_secret", crate::support::CLIENT_SECRET)], 14);
    let seen = server.seen();
    assert_eq!((seen.given, seen.pages["items"].len()), (3, 7), "3 pages for a token");
}

#[test]
fn a_client_that_is_refused_is_told_once_and_one_that_waits_gets_in() {
    let echo = |request: &Request, _: &Mutex<String>| {
        let body = json!({ "error": "invalid_client", "error_description": format!("bad: {}", request.body) });
        Reply::status(400, &body.to_string())
    };
    let service = Service::start(1, bearer, echo);
    let auth = format!("client_credentials: {{ token: {{ url: {}/token }} }}", service.url());
    let project = project(&service.url(), &auth, "", &["client_id", "client_secret"]);
    let error = fails(&project, &CLIENT, 3);
    assert_eq!(error["code"], "no_token", "{error}");
    let message = error["message"].as_str().expect("a text");
    assert!(message.contains("`invalid_client`") && message.contains("client_secret=***"), "{message}");
    let (lists, others) = service.asked();
    assert_eq!((lists.len(), others.len()), (0, 1), "asked once, and the API not at all");

    // a grant that is refused is no matter of a person's agreement
    service.api.becomes(|_| Reply::status(400, "{\"error\":\"invalid_grant\"}"));
    assert_eq!(fails(&project, &CLIENT, 3)["code"], "no_token");
    service.asked();

    // the tries of `retry` are enough for three answers that pass
    let left = Mutex::new(3);
    let busy = giving(1, json!({}));
    let url = busy.url();
    let gate = Service::start(1, bearer, move |_, _| {
        let mut left = left.lock().expect("not poisoned");
        *left -= 1;
        if *left >= 0 { Reply::status(503, "<html>busy</html>") } else { Reply::status(307, "").with("location", &url) }
    });
    // a redirect of a token endpoint is not followed: it would take the secret elsewhere
    let auth = format!("client_credentials: {{ token: {{ url: {}/token }} }}", gate.url());
    let elsewhere = super::project(&busy.url(), &auth, "", &["client_id", "client_secret"]);
    let error = fails(&elsewhere, &CLIENT, 3);
    assert!(error["message"].as_str().is_some_and(|text| text.contains("answered 307")), "{error}");
    assert_eq!((gate.asked().1.len(), busy.asked().1.len()), (4, 0));
}

#[test]
fn an_endpoint_that_is_away_for_three_answers_is_asked_a_fourth_time() {
    let left = Mutex::new(3);
    let service = Service::start(2, bearer, move |_, good| {
        let mut left = left.lock().expect("not poisoned");
        *left -= 1;
        if *left >= 0 { Reply::status(502, "") } else { Reply::json(&json!({ "access_token": next(good) })) }
    });
    let auth = format!("client_credentials: {{ token: {{ url: {}/token }} }}", service.url());
    let project = project(&service.url(), &auth, "", &["client_id", "client_secret"]);
    runs(&project, &CLIENT, 2);
    assert_eq!(service.asked().1.len(), 4);
    service.api.becomes(|_| Reply::status(502, ""));
    let error = fails(&project, &CLIENT, 3);
    assert_eq!((&error["code"], service.asked().1.len()), (&json!("no_token"), 4), "{error}");
}

#[test]
fn an_address_that_comes_with_the_token_must_be_public_unless_it_is_allowed() {
    // what is at another origin than the endpoint is not written out anywhere
    let api = Service::start(2, |_| Some(String::new()), |_, _| Reply::json(&json!({})));
    let instance = api.url();
    let service = giving(1, json!({ "instance_url": instance }));
    let url = service.url();
    let auth =
        format!("client_credentials: {{ token: {{ url: {url}/token, save: {{ instance_url: $.instance_url }} }} }}");
    let more = "base_url: \"{{ config.instance_url }}\"\n";
    let with = |more: &str| project(&url, &auth, more, &["client_id", "client_secret"]);
    let state =
        |project: &Project| headwater(project, &["connections", "--json"], &CLIENT).json().remove(0)["state"].clone();

    let plain = with(more);
    let check = headwater(&plain, &["check"], &CLIENT);
    assert!(check.stderr.contains("warning[W099]: the connection cannot run"), "{}", check.stderr);
    let error = fails(&plain, &CLIENT, 2);
    assert_eq!(error["code"], "not_connected", "{error}");
    assert_eq!(error["hint"], "run `headwater connect crm`");
    assert_eq!(state(&plain), "not connected");
    assert!(service.api.requests().is_empty(), "nothing is asked before");

    let connected = headwater(&plain, &["connect", "crm"], &CLIENT);
    assert_eq!(connected.code, 0, "{connected:?}");
    assert!(connected.stdout.contains(&format!("instance_url = {instance}")), "{}", connected.stdout);
    service.asked();
    let error = fails(&plain, &CLIENT, 2);
    assert_eq!(error["code"], "network_refused", "{error}");
    assert_eq!(service.asked().1.len(), 1, "the endpoint is written out");

    let verified = with(&format!("{more}verify: {{ get: /me }}\n"));
    let refused = headwater(&verified, &["connect", "crm"], &CLIENT);
    assert!(refused.code == 2 && refused.stderr.contains("nothing new was kept"), "{refused:?}");
    assert_eq!(state(&verified), "not connected");

    for network in ["{ allow_http: true }", "{ allow_private: true }"] {
        let half = with(&format!("{more}network: {network}\n"));
        assert_eq!(headwater(&half, &["connect", "crm"], &CLIENT).code, 0);
        assert_eq!(fails(&half, &CLIENT, 2)["code"], "network_refused", "{network}");
    }
    assert!(api.api.requests().is_empty(), "the address it told is not");
    let open = with(&format!("{more}network: {{ allow_http: true, allow_private: true }}\nverify: {{ get: /me }}\n"));
    assert_eq!(headwater(&open, &["connect", "crm"], &CLIENT).code, 0);
    runs(&open, &CLIENT, 2);
}

#[test]
fn syncs_of_one_connection_share_a_token_and_connections_do_not() {
    let service = Service::start(
        3,
        |_| Some(String::new()),
        |request, _| {
            let form = form(&request.body);
            Reply::json(&json!({ "access_token": format!("t0ken-of-{}", member(&form, "client_id").expect("an id")) }))
        },
    );
    let auth = format!("client_credentials: {{ token: {{ url: {}/token }} }}", service.url());
    let project = project(&service.url(), &auth, "", &["client_id", "client_secret"]);
    project.write(
        "headwater.yaml",
        "database: test.duckdb\nconnections:\n\
         \x20 one: { provider: api, credentials: { client_id: id-one, client_secret: \"${HW_CLIENT_SECRET}\" }, allow: { W081: no secret } }\n\
         \x20 two: { provider: api, credentials: { client_id: id-two, client_secret: \"${HW_CLIENT_SECRET}\" }, allow: { W081: no secret } }\n",
    );
    for name in ["more", "other"] {
        let sync = "model: item2\nrequest: { get: /x/items, query: { list: NAME } }\nresponse: { records: \"$.records[*]\" }\n\
                    pagination: { page: { query: page, total_pages: $.pages } }\ndeletes: { absence: {} }\n";
        let sync = sync.replace("NAME", name).replace("item2", name);
        project.write(&format!("integrations/api/syncs/{name}.yaml"), format!("sync: {name}\n{sync}"));
        let model =
            format!("model: {name}\ntable: {name}\nkey: [id]\ncolumns: {{ id: {{ path: $.id, type: bigint }} }}\n");
        project.write(&format!("integrations/api/models/{name}.yaml"), model);
    }
    let run = headwater(&project, &["run", "--json"], &CLIENT[1..]);
    assert_eq!(run.code, 0, "{run:?}");
    let (lists, tokens) = service.asked();
    assert_eq!((lists.len(), tokens.len()), (18, 2), "three syncs of three pages for each of two connections");
    let with = |token: &str| lists.iter().filter(|list| bearer(list).as_deref() == Some(token)).count();
    assert_eq!((with("t0ken-of-id-one"), with("t0ken-of-id-two")), (9, 9));
}

#[test]
fn an_assertion_is_exchanged_and_another_one_when_the_token_has_ended() {
    let (pem, public) = es256();
    let uses = Mutex::new(0);
    let proof = move |request: &Request| {
        let mut uses = uses.lock().expect("not poisoned");
        *uses += 1;
        // the third use of the first token comes too late
        if *uses == 3 { None } else { bearer(request) }
    };
    let service =
        Service::start(4, proof, |_, good| Reply::json(&json!({ "access_token": next(good), "expires_in": 3600 })));
    let url = service.url();
    let auth = format!(
        "jwt_bearer: {{ algorithm: ES256, lifetime: 1h, header: {{ kid: \"{{{{ credentials.key_id }}}}\" }}, claims: {{ iss: svc@example, \
         scope: \"a b\", aud: \"{url}/token\", sub: \"{{{{ connection.name }}}}\" }}, token: {{ url: {url}/token, params: {{ x: \"1\" }} }} }}"
    );
    let credentials = [("private_key", pem.as_str()), ("key_id", "k-1")];
    let project = project(&url, &auth, "", &["private_key", "key_id"]);
    runs(&project, &credentials, 4);
    let (lists, tokens) = service.asked();
    assert_eq!((lists.len(), tokens.len()), (5, 2));
    let mut ids = Vec::new();
    for asked in &tokens {
        let form = form(&asked.body);
        assert_eq!(member(&form, "grant_type"), Some("urn:ietf:params:oauth:grant-type:jwt-bearer"));
        assert_eq!((member(&form, "x"), member(&form, "client_id")), (Some("1"), None));
        let (header, claims) = verified(member(&form, "assertion").expect("an assertion"), &public);
        assert_eq!((&header["kid"], &claims["sub"], &claims["scope"]), (&json!("k-1"), &json!("crm"), &json!("a b")));
        assert_eq!(claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time"), 3_600);
        ids.push(claims["jti"].clone());
    }
    assert_ne!(ids[0], ids[1], "no assertion is used twice");

    // what Google says when a clock is wrong; an assertion that is quoted is masked
    service.api.becomes(|request| {
        let form = form(&request.body);
        let text = format!("Invalid JWT {}: check your iat", member(&form, "assertion").unwrap_or_default());
        Reply::status(400, &json!({ "error": "invalid_grant", "error_description": text }).to_string())
    });
    let error = fails(&project, &credentials, 3);
    assert_eq!(error["code"], "no_token", "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("Invalid JWT ***: check")), "{error}");
    assert_eq!(service.asked().1.len(), 1);
    // a key that is none is told before anything is asked
    let error = fails(&project, &[("private_key", "none-at-all"), ("key_id", "k-1")], 3);
    assert!(error["code"] == "no_token" && service.asked().1.is_empty(), "{error}");
}

#[test]
fn a_token_that_is_signed_here_is_signed_once_for_its_life() {
    let (pem, public) = es256();
    let refused = Mutex::new(None);
    // the first token is good for two requests
    let service = Service::start(
        5,
        move |request| {
            let token = bearer(request)?;
            let mut refused = refused.lock().expect("not poisoned");
            let (first, uses) = refused.get_or_insert_with(|| (token.clone(), 0));
            *uses += usize::from(*first == token);
            (*first != token || *uses <= 2).then(String::new)
        },
        |_, _| Reply::status(404, "{}"),
    );
    let auth = "jwt: { algorithm: ES256, lifetime: 2m, header: { kid: \"{{ credentials.key_id }}\" }, claims: { iss: \"{{ credentials.key_id }}\", \
                count: 7, flag: true, list: [a, \"{{ connection.name }}\"], deep: { n: \"{{ 1 + 1 }}\" }, gone: \"{{ config.nothing }}\" } }";
    let more = "config: { type: object, properties: { nothing: { type: string } } }\n";
    let project = project(&service.url(), auth, more, &["private_key", "key_id"]);
    runs(&project, &[("private_key", &pem), ("key_id", "k-1")], 5);
    let (lists, others) = service.asked();
    assert_eq!((lists.len(), others.len()), (6, 0), "one page twice, and no token endpoint");
    let tokens: Vec<String> = lists.iter().map(|list| bearer(list).expect("a token")).collect();
    assert!(tokens[..3].iter().all(|token| *token == tokens[0]) && tokens[3..].iter().all(|token| *token == tokens[3]));
    assert_ne!(tokens[0], tokens[3]);
    let (header, claims) = verified(&tokens[3], &public);
    assert_eq!((&header["kid"], &header["typ"]), (&json!("k-1"), &json!("JWT")));
    let seconds = claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time");
    let expected = json!({
        "iss": "k-1", "count": 7, "flag": true, "list": ["a", "crm"], "deep": { "n": 2 }, "iat": claims["iat"], "exp": claims["exp"],
    });
    assert_eq!((claims, seconds), (expected, 120));
    // HS256 takes the secret itself, and a server that takes no token ends it
    let auth = "jwt: { algorithm: HS256, key: \"{{ credentials.secret }}\", claims: {}, send: { header: X-Token } }";
    let project = super::project(&service.url(), auth, "", &["secret"]);
    let error = fails(&project, &[("secret", "sh4red-secret-of-both")], 3);
    let (lists, _) = service.asked();
    assert_eq!(lists.len(), 2, "once more with another token, and no more: {error}");
    let (_, _, text, signature) = opened(lists[0].header("x-token").expect("a token"));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"sh4red-secret-of-both");
    ring::hmac::verify(&key, text.as_bytes(), &signature).expect("it is signed");
}

/// A key as GitHub gives it, `RSAPrivateKey` of PKCS #1 (RFC 8017, A.1.2) in PEM, and its public half as `ring` takes it.
fn rsa() -> (String, Vec<u8>) {
    let base64: String = include_str!("../support/rsa.pem").lines().filter(|line| !line.starts_with('-')).collect();
    let pkcs8 = STANDARD.decode(base64).expect("base64");
    let key = ring::rsa::KeyPair::from_pkcs8(&pkcs8).expect("a key");
    // the frame of PKCS #8 names the kind of the key in 26 bytes
    let text = STANDARD.encode(&pkcs8[26..]);
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    let pem = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", lines.join("\n"));
    (pem, key.public_key().as_ref().to_vec())
}

#[test]
fn an_installation_of_an_app_gets_its_token_from_under_the_base_url() {
    let (pem, public) = rsa();
    // by the clock of this machine each token is over when it is given
    let service = Service::start(4, bearer, |_, good| {
        let answer = json!({ "token": next(good), "expires_at": "2016-07-11T22:14:10Z", "permissions": {} });
        Reply { status: 201, ..Reply::json(&answer) }
    });
    let more = format!("base_url: {}/api/v3\n", service.url());
    let project = project("", "github_app: {}", &more, &["app_id", "installation_id", "private_key"]);
    let credentials = [("app_id", "12345"), ("installation_id", "4/2"), ("private_key", pem.as_str())];
    runs(&project, &credentials, 4);
    let (lists, tokens) = service.asked();
    assert_eq!((lists.len(), tokens.len()), (4, 1), "a clock that is wrong makes no token for each request");
    let asked = &tokens[0];
    assert_eq!(
        (asked.method.as_str(), asked.target.as_str()),
        ("POST", "/api/v3/app/installations/4%2F2/access_tokens")
    );
    let (header, claims, text, signature) = opened(&bearer(asked).expect("the app's own token"));
    assert_eq!((&header["alg"], &claims["iss"]), (&json!("RS256"), &json!("12345")));
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public);
    key.verify(text.as_bytes(), &signature).expect("it is signed with the key");
    let lasts = claims["exp"].as_i64().expect("a time") - claims["iat"].as_i64().expect("a time");
    assert!((1..=600).contains(&lasts), "GitHub takes ten minutes at most: {lasts}");

    service.api.becomes(|request| {
        let text = format!("Integration not found for {}", bearer(request).unwrap_or_default());
        Reply::status(404, &json!({ "message": text }).to_string())
    });
    let error = fails(&project, &credentials, 3);
    assert_eq!(error["code"], "no_token", "{error}");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("not found for ***")), "{error}");
    assert_eq!(service.asked().1.len(), 1);
}

const LOGIN: [(&str, &str); 2] = [("username", "ann@example.com"), ("password", "p4ssword with spaces")];

/// A log-in of two steps, and where its session goes.
fn login(url: &str, send: &str) -> Project {
    let auth = format!(
        "token_request: {{ requests: [\
         {{ request: {{ post: /login, body: {{ json: {{ user: \"{{{{ credentials.username }}}}\", password: \"{{{{ credentials.password }}}}\" }} }} }}, \
         save: {{ ticket: $.ticket.value }} }}, \
         {{ request: {{ get: /session, headers: {{ X-Ticket: \"{{{{ credentials.ticket }}}}\" }}, query: {{ for: \"{{{{ credentials.ticket }}}}\" }} }}, \
         save: {{ session: $.id }} }}], send: {{ {send}, value: \"S-{{{{ credentials.session }}}}\" }} }}"
    );
    project(url, &auth, "", &["username", "password"])
}

fn sessions(request: &Request, good: &Mutex<String>) -> Reply {
    match (request.path.as_str(), request.header("x-ticket")) {
        ("/login", _) => Reply::json(&json!({ "ticket": { "value": 77_001 } })),
        ("/session", Some("77001")) if request.param("for") == Some("77001") => {
            let session = next(good);
            *good.lock().expect("not poisoned") = session.clone();
            Reply::json(&json!({ "id": session }))
        }
        _ => Reply::status(403, "{}"),
    }
}

#[test]
fn a_log_in_of_two_steps_is_done_again_when_its_session_has_ended() {
    type Found = fn(&Request) -> Option<String>;
    let places: [(&str, Found); 3] = [
        ("header: X-Session", |request| Some(request.header("x-session")?.to_owned())),
        ("query: sid", |request| Some(request.param("sid")?.to_owned())),
        ("cookie: SID", |request| Some(request.header("cookie")?.strip_prefix("SID=")?.to_owned())),
    ];
    for (send, found) in places {
        let uses = Mutex::new(0);
        let proof = move |request: &Request| {
            let mut uses = uses.lock().expect("not poisoned");
            *uses += 1;
            // each session is good for two requests, and the third tells that it has ended
            if *uses % 3 == 0 { None } else { found(request)?.strip_prefix("S-").map(str::to_owned) }
        };
        let service = Service::start(5, proof, sessions);
        runs(&login(&service.url(), send), &LOGIN, 5);
        let (lists, others) = service.asked();
        assert_eq!((lists.len(), others.len()), (7, 6), "{send}: two ends in five pages, so three log-ins");
        let body: Value = serde_json::from_str(&others[0].body).expect("JSON");
        assert_eq!(body, json!({ "user": LOGIN[0].1, "password": LOGIN[1].1 }));
    }
}

#[test]
fn a_log_in_that_is_refused_ends_the_run() {
    let service = Service::start(1, |_| None, sessions);
    let project = login(&service.url(), "header: X-Session");
    // a session that nobody takes
    let error = fails(&project, &LOGIN, 3);
    let (lists, others) = service.asked();
    assert_eq!((lists.len(), others.len()), (2, 4), "once more, and no more: {error}");
    // words that the next step quotes, a token as plain text, an answer without one
    let quoting = |request: &Request| match request.path.as_str() {
        "/login" => Reply::json(&json!({ "ticket": { "value": "t1cket-of-step-one" } })),
        _ => Reply::status(401, &format!("no session for {}", request.header("x-ticket").unwrap_or_default())),
    };
    let plain = |_: &Request| Reply::text("text/plain", "t1cket-as-plain-text");
    let other = |_: &Request| Reply::json(&json!({ "ticket": { "nested": "t1cket-of-another-place" } }));
    let wrong = |_: &Request| Reply::status(401, "{\"error\":\"wrong password p4ssword with spaces\"}");
    let cases: [(Box<dyn Fn(&Request) -> Reply + Send + Sync>, usize, &str); 4] = [
        (Box::new(quoting), 2, "answered 401: no session for ***"),
        (Box::new(plain), 1, "the answer is no JSON"),
        (Box::new(other), 1, "has no text at `$.ticket.value`"),
        (Box::new(wrong), 1, "answered 401: {\"error\":\"wrong password ***\"}"),
    ];
    for (answer, requests, expected) in cases {
        service.api.becomes(answer);
        let error = fails(&project, &LOGIN, 3);
        let message = error["message"].as_str().expect("a text");
        assert_eq!((&error["code"], service.asked().1.len()), (&json!("no_token"), requests), "{error}");
        assert!(message.contains(expected) && !message.contains("t1cket"), "{message}");
    }
}
