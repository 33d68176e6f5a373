//! Rules of `errors` that speak of the token.

use std::sync::Mutex;

use serde_json::json;

use super::{CLIENT, KEY, Service, bearer, fails, headwater, next, page, project, runs};
use crate::support::{Api, Reply};

/// A service that says with `status` and a body that a token has ended: each after two uses, or all at once.
fn saying(status: u16, always: bool) -> Service {
    let uses = Mutex::new(0);
    let good = Mutex::new(String::new());
    let service = Service::start(1, |_| None, |_, _| Reply::status(404, "{}"));
    service.api.becomes(move |request| {
        if request.path == "/token" {
            *uses.lock().expect("not poisoned") = 0;
            return Reply::json(&json!({ "access_token": next(&good) }));
        }
        let mut uses = uses.lock().expect("not poisoned");
        *uses += 1;
        if always || *uses > 2 || bearer(request).as_deref() != Some(&*good.lock().expect("not poisoned")) {
            return Reply::status(status, "{\"ok\":false,\"error\":\"token_expired\"}");
        }
        page(request, 5)
    });
    service
}

#[test]
fn a_token_is_renewed_where_an_error_of_its_own_says_so() {
    for (status, rule) in [
        (
            200,
            "{ when: \"{{ response.body.ok is false and response.body.error == 'token_expired' }}\", then: refresh_auth }",
        ),
        (403, "{ status: 403, when: \"{{ response.body.error == 'token_expired' }}\", then: refresh_auth }"),
    ] {
        let service = saying(status, false);
        let auth = format!("client_credentials: {{ token: {{ url: {}/token }} }}", service.url());
        let with = |service: &Service, auth: &str| {
            project(&service.url(), auth, &format!("errors: [{rule}]\n"), &["client_id", "client_secret"])
        };
        runs(&with(&service, &auth), &CLIENT, 5);
        let (lists, tokens) = service.asked();
        assert_eq!((lists.len(), tokens.len()), (7, 3), "{status}: two pages for a token");

        // an error that a new token does not change, however often it is asked
        let service = saying(status, true);
        let auth = format!("client_credentials: {{ token: {{ url: {}/token }} }}", service.url());
        let error = fails(&with(&service, &auth), &CLIENT, 3);
        let (lists, tokens) = service.asked();
        assert_eq!((lists.len(), tokens.len()), (2, 2), "{status}: renewed once for a request: {error}");
        assert!(
            error["message"].as_str().is_some_and(|text| text.contains("it is so with a new token too")),
            "{error}"
        );
    }
}

#[test]
fn a_connection_that_a_rule_gives_up_waits_for_a_person_if_it_is_kept() {
    let api = Api::start(|request| {
        if request.path == "/me" {
            Reply::json(&json!({}))
        } else {
            Reply::json(&json!({ "ok": false, "error": "account_inactive" }))
        }
    });
    let more = "verify: { get: /me }\nerrors: [{ when: \"{{ response.body.error == 'account_inactive' }}\", then: reconnect, message: the account was closed }]\n";
    // kept by the store: marked there, and nobody is asked before somebody has been there
    let kept = project(&api.url(), "api_key: { header: X-Key }", more, &[]);
    let connect = || {
        let environment = [("HEADWATER_KEY", KEY), ("HEADWATER_CREDENTIAL_API_KEY", "k3y-of-the-account")];
        kept.headwater_with(&["connect", "crm"], &environment)
    };
    assert_eq!(connect().code, 0);
    api.asked();
    for round in 1..=2 {
        let error = fails(&kept, &[], 2);
        assert_eq!((&error["code"], api.requests().len()), (&json!("needs_reconnect"), 1), "{round}: {error}");
        assert!(error["message"].as_str().is_some_and(|text| text.contains("the account was closed")), "{error}");
    }
    let state = || headwater(&kept, &["connections", "--json"], &[]).json().remove(0)["state"].clone();
    assert_eq!(state(), "needs reconnect");
    // a person has seen to it: the API accepts it again
    assert_eq!(headwater(&kept, &["connections", "verify"], &[]).code, 0);
    assert_eq!(state(), "ok");
    fails(&kept, &[], 2);
    assert_eq!(state(), "needs reconnect");
    assert_eq!(connect().code, 0);
    assert_eq!(state(), "ok");

    // not kept: there is no place for a mark, so each run asks
    let given = project(&api.url(), "api_key: { header: X-Key }", more, &["api_key"]);
    api.asked();
    for _ in 0..2 {
        let error = fails(&given, &[("api_key", "k3y-of-the-account")], 2);
        assert_eq!(error["code"], "needs_reconnect", "{error}");
    }
    assert_eq!(api.requests().len(), 2);
    assert!(!given.path().join(".headwater").exists());
}
