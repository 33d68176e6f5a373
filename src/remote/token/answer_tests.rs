use chrono::TimeZone;
use secrecy::ExposeSecret;
use serde_json::json;

use super::RefusedKind::{Misconfigured, Pending, Revoked, Transient, Unreadable};
use super::*;
use crate::plan::{ClientAuth, Path, Template, TokenBody};

fn plan() -> TokenPlan {
    let path = |text: &str| Path::parse(text).unwrap();
    let url = Template::parse("https://a.example/token").unwrap();
    TokenPlan {
        url: url.clone(),
        refresh_url: url,
        params: Vec::new(),
        headers: Vec::new(),
        body: TokenBody::Form,
        client_auth: ClientAuth::Body,
        access_token: path("$.access_token"),
        refresh_token: path("$.refresh_token"),
        expires_in: path("$.expires_in"),
        expires_at: None,
        lasts: None,
        save: Vec::new(),
    }
}

fn paths(pairs: &[(&str, &str)]) -> Vec<(String, Path)> {
    pairs.iter().map(|(name, path)| ((*name).to_owned(), Path::parse(path).unwrap())).collect()
}

const NOW: i64 = 1_600_000_000;

fn now() -> DateTime<Utc> {
    Utc.timestamp_opt(NOW, 0).unwrap()
}

/// The token, the refresh token, the seconds that it lasts, the scope.
type Parts = (String, Option<String>, Option<i64>, Option<String>);

fn parts(granted: &Granted) -> Parts {
    (
        granted.access_token.expose_secret().to_owned(),
        granted.refresh_token.as_ref().map(|token| token.expose_secret().to_owned()),
        granted.expires_at.map(|at| (at - now()).num_seconds()),
        granted.scope.clone(),
    )
}

fn given(token: &str, refresh: Option<&str>, lasts: Option<i64>, scope: Option<&str>) -> Parts {
    (token.to_owned(), refresh.map(str::to_owned), lasts, scope.map(str::to_owned))
}

/// An API, its answer, and the parts of it: the token, the refresh token, the seconds that it lasts, the scope.
type Success = (&'static str, &'static str, (&'static str, Option<&'static str>, Option<i64>, Option<&'static str>));

/// Answers as the documentation of each API has them, with other tokens.
const SUCCESSES: &[Success] = &[
    (
        "RFC 6749, 5.1",
        r#"{"access_token":"2YotnFZFEjr1zCsicMWpAA","token_type":"example","expires_in":3600,"refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA","example_parameter":"x"}"#,
        ("2YotnFZFEjr1zCsicMWpAA", Some("tGzv3JOkF0XG5Qx2TlKWIA"), Some(3600), None),
    ),
    (
        "GitHub, form",
        "access_token=gho_16C7e42F&scope=repo%2Cgist&token_type=bearer",
        ("gho_16C7e42F", None, None, Some("repo,gist")),
    ),
    (
        "GitHub, form, a token that expires",
        "access_token=ghu_x&expires_in=28800&refresh_token=ghr_y&refresh_token_expires_in=15811200&scope=&token_type=bearer\n",
        ("ghu_x", Some("ghr_y"), Some(28_800), None),
    ),
    (
        "GitHub, JSON",
        r#"{"access_token":"gho_16C7e42F","scope":"repo,gist","token_type":"bearer"}"#,
        ("gho_16C7e42F", None, None, Some("repo,gist")),
    ),
    (
        "Google, refresh: no new refresh token",
        "{\n  \"access_token\": \"1/fFAGRNJru1FTz70BzhT3Zg\",\n  \"expires_in\": 3920,\n  \"scope\": \"https://www.googleapis.com/auth/drive.metadata.readonly\",\n  \"token_type\": \"Bearer\"\n}",
        ("1/fFAGRNJru1FTz70BzhT3Zg", None, Some(3920), Some("https://www.googleapis.com/auth/drive.metadata.readonly")),
    ),
    (
        "Microsoft: a rotated refresh token, a second length",
        r#"{"token_type":"Bearer","scope":"Mail.Read User.Read","expires_in":3736,"ext_expires_in":3736,"access_token":"eyJ0eXAi","refresh_token":"AwABAAAA"}"#,
        ("eyJ0eXAi", Some("AwABAAAA"), Some(3736), Some("Mail.Read User.Read")),
    ),
    (
        "Salesforce: no length",
        r#"{"access_token":"00DB0!AQ","signature":"CMJ4l","scope":"refresh_token","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer","issued_at":"1513887500425"}"#,
        ("00DB0!AQ", None, None, Some("refresh_token")),
    ),
    (
        "Mailchimp: 0 is never",
        r#"{"access_token":"5c6ccc561059aa386da9d112215bae55","expires_in":0,"scope":null}"#,
        ("5c6ccc561059aa386da9d112215bae55", None, None, None),
    ),
    (
        "Twitch: a list of scopes",
        r#"{"access_token":"rfx2u","expires_in":14124,"refresh_token":"5b93c","scope":["channel:moderate","chat:edit"],"token_type":"bearer"}"#,
        ("rfx2u", Some("5b93c"), Some(14_124), Some("channel:moderate chat:edit")),
    ),
    ("a length in text", r#"{"access_token":"a","expires_in":" 3599 "}"#, ("a", None, Some(3599), None)),
    ("a length with a fraction", r#"{"access_token":"a","expires_in":59.9}"#, ("a", None, Some(59), None)),
    ("a length in the past", r#"{"access_token":"a","expires_in":-1}"#, ("a", None, None, None)),
    ("a length that is none", r#"{"access_token":"a","expires_in":"an hour"}"#, ("a", None, None, None)),
    (
        "a length of ages",
        r#"{"access_token":"a","expires_in":99999999999999999999}"#,
        ("a", None, Some(3660 * 86_400), None),
    ),
    (
        "a number as token",
        r#"{"access_token":1234567890123456789,"refresh_token":""}"#,
        ("1234567890123456789", None, None, None),
    ),
    ("a byte order mark", "\u{feff}{\"access_token\":\"a\"}", ("a", None, None, None)),
];

#[test]
fn answers_of_success_are_read_as_apis_give_them() {
    for &(name, body, (token, refresh, lasts, scope)) in SUCCESSES {
        let granted = read(&plan(), 200, body.as_bytes(), now(), &Redactor::default())
            .unwrap_or_else(|refused| panic!("{name}: {refused:?}"));
        assert_eq!(parts(&granted), given(token, refresh, lasts, scope), "{name}");
    }
}

#[test]
fn the_end_of_a_token_is_found_in_all_its_forms() {
    let hour = Some(Duration::from_secs(3600));
    let at = Some(Path::parse("$.expires_at").unwrap());
    for (members, lasts, expected) in [
        (json!({ "expires_at": NOW + 60, "expires_in": 7 }), None, Some(60)),
        (json!({ "expires_at": (NOW + 60) * 1000 }), None, Some(60)),
        (json!({ "expires_at": (NOW + 60).to_string() }), None, Some(60)),
        (json!({ "expires_at": "2020-09-13T12:27:40Z" }), None, Some(60)),
        (json!({ "expires_at": "2020-09-13T14:27:40.5+02:00" }), None, Some(60)),
        // over already: the clock of one of the two is wrong
        (json!({ "expires_at": NOW, "expires_in": 7 }), hour, Some(7)),
        (json!({ "expires_at": NOW - 60 }), hour, Some(3600)),
        (json!({ "expires_at": 0 }), None, None),
        (json!({ "expires_at": "tomorrow", "expires_in": null }), hour, Some(3600)),
        (json!({ "expires_at": "9223372036854775807" }), None, Some(3660 * 86_400)),
        (json!({ "expires_at": "99999999999999999999999" }), None, Some(3660 * 86_400)),
        (json!({ "expires_at": true, "expires_in": [] }), None, None),
        (json!({}), hour, Some(3600)),
        (json!({ "expires_in": 0 }), hour, Some(3600)),
        (json!({ "expires_in": 60 }), hour, Some(60)),
        (json!({}), None, None),
    ] {
        let plan = TokenPlan { expires_at: at.clone(), lasts, ..plan() };
        let mut body = members.clone();
        body["access_token"] = "a".into();
        let granted = read(&plan, 200, body.to_string().as_bytes(), now(), &Redactor::default()).unwrap();
        assert_eq!(granted.expires_at.map(|at| (at - now()).num_seconds()), expected, "{members}");
    }
}

#[test]
fn tokens_are_found_where_the_plan_says_and_values_are_kept() {
    let plan = TokenPlan {
        access_token: Path::parse("$.authed_user.access_token").unwrap(),
        refresh_token: Path::parse("$.authed_user.refresh_token").unwrap(),
        save: paths(&[
            ("instance_url", "$.instance_url"),
            ("site", "$.sites[?@.main == true].id"),
            ("no", "$.no"),
            ("nil", "$.nil"),
        ]),
        ..plan()
    };
    let body = json!({ "ok": true, "access_token": "xoxb-other", "authed_user": { "access_token": "xoxp-1", "refresh_token": "xoxe-1" },
        "instance_url": "https://acme.my.example", "sites": [{ "id": 1 }, { "id": 2, "main": true }], "nil": null });
    let granted = read(&plan, 201, body.to_string().as_bytes(), now(), &Redactor::default()).unwrap();
    assert_eq!(parts(&granted), given("xoxp-1", Some("xoxe-1"), None, None));
    let expected = vec![("instance_url".to_owned(), json!("https://acme.my.example")), ("site".to_owned(), json!(2))];
    assert_eq!(granted.save, expected);
    assert!(!format!("{granted:?}").contains("xoxp"), "{granted:?}");
}

fn not_given(status: u16, body: &str) -> Refused {
    read(&plan(), status, body.as_bytes(), now(), &Redactor::default()).expect_err(body)
}

/// Status, body, and what is made of them: the kind, the code of the error, the text.
const ERRORS: &[(u16, &str, RefusedKind, &str, &str)] = &[
    // RFC 6749, 5.2 and Google
    (
        400,
        r#"{"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
        Revoked,
        "invalid_grant",
        "`invalid_grant`: Token has been expired or revoked.",
    ),
    (400, r#"{"error":"invalid_grant"}"#, Revoked, "invalid_grant", "`invalid_grant`"),
    (401, r#"{"error":"invalid_grant"}"#, Revoked, "invalid_grant", "`invalid_grant`"),
    (400, "error=invalid_grant&error_description=no+more", Revoked, "invalid_grant", "`invalid_grant`: no more"),
    (
        401,
        r#"{"error":"invalid_client","error_description":"The OAuth client was not found."}"#,
        Misconfigured,
        "invalid_client",
        "`invalid_client`: The OAuth client was not found.",
    ),
    (400, r#"{"error":"invalid_scope"}"#, Misconfigured, "invalid_scope", "`invalid_scope`"),
    (400, r#"{"error":"unsupported_grant_type"}"#, Misconfigured, "unsupported_grant_type", "`unsupported_grant_type`"),
    (400, r#"{"error":"unauthorized_client"}"#, Misconfigured, "unauthorized_client", "`unauthorized_client`"),
    (
        403,
        r#"{"error":"unauthorized_client","error_description":"refresh_token is invalid"}"#,
        Revoked,
        "unauthorized_client",
        "`unauthorized_client`: refresh_token is invalid",
    ),
    // Microsoft
    (
        400,
        "{\"error\":\"interaction_required\",\"error_description\":\"AADSTS50076: multi-factor\\r\\nTrace ID: 1\",\"error_codes\":[50076]}",
        Revoked,
        "interaction_required",
        "`interaction_required`: AADSTS50076: multi-factor Trace ID: 1",
    ),
    (400, r#"{"error":"temporarily_unavailable"}"#, Transient, "temporarily_unavailable", "`temporarily_unavailable`"),
    // GitHub
    (
        200,
        r#"{"error":"bad_refresh_token","error_description":"The refresh token passed is incorrect or expired.","error_uri":"https://docs.github.com"}"#,
        Revoked,
        "bad_refresh_token",
        "`bad_refresh_token`: The refresh token passed is incorrect or expired.",
    ),
    (
        200,
        "error=incorrect_client_credentials&error_description=The+client_id+is+incorrect.",
        Misconfigured,
        "incorrect_client_credentials",
        "`incorrect_client_credentials`: The client_id is incorrect.",
    ),
    (200, r#"{"error":"authorization_pending"}"#, Pending, "authorization_pending", "`authorization_pending`"),
    // RFC 8628, 3.5
    (400, r#"{"error":"authorization_pending"}"#, Pending, "authorization_pending", "`authorization_pending`"),
    (400, r#"{"error":"slow_down"}"#, Transient, "slow_down", "`slow_down`"),
    (400, r#"{"error":"expired_token"}"#, Revoked, "expired_token", "`expired_token`"),
    (400, r#"{"error":"access_denied"}"#, Revoked, "access_denied", "`access_denied`"),
    // Slack
    (
        200,
        r#"{"ok":false,"error":"invalid_refresh_token"}"#,
        Revoked,
        "invalid_refresh_token",
        "`invalid_refresh_token`",
    ),
    (200, r#"{"ok":false,"error":"ratelimited"}"#, Transient, "ratelimited", "`ratelimited`"),
    (200, r#"{"ok":false,"error":"something_new"}"#, Unreadable, "something_new", "`something_new`"),
    // HubSpot, Okta, Facebook, Google
    (
        400,
        r#"{"status":"BAD_REFRESH_TOKEN","message":"missing or unknown refresh token","correlationId":"1"}"#,
        Revoked,
        "BAD_REFRESH_TOKEN",
        "`BAD_REFRESH_TOKEN`: missing or unknown refresh token",
    ),
    (
        401,
        r#"{"errorCode":"invalid_client","errorSummary":"Invalid value for client_id","errorLink":"x"}"#,
        Misconfigured,
        "invalid_client",
        "`invalid_client`: Invalid value for client_id",
    ),
    (
        400,
        r#"{"error":{"message":"Error validating","type":"OAuthException","code":101}}"#,
        Misconfigured,
        "OAuthException",
        "`OAuthException`: Error validating",
    ),
    (400, r#"{"error":{"code":"invalid_grant","status":400}}"#, Revoked, "invalid_grant", "`invalid_grant`"),
    (
        403,
        r#"{"error":{"code":403,"message":"disabled","status":"PERMISSION_DENIED"}}"#,
        Misconfigured,
        "PERMISSION_DENIED",
        "`PERMISSION_DENIED`: disabled",
    ),
    (401, r#"{"errors":[{"code":"x1","detail":"who?"}],"status":401}"#, Misconfigured, "x1", "`x1`: who?"),
    // the status alone
    (404, r#"{"message":"no such tenant"}"#, Misconfigured, "", "no such tenant"),
    (
        404,
        "<html><head><title>Not \n Found</title></head></html>",
        Misconfigured,
        "",
        "the answer is a page and not JSON: Not Found",
    ),
    (302, "", Misconfigured, "", "the answer is empty"),
    (401, "who are you?\u{7}", Misconfigured, "", "who are you?"),
    (
        502,
        "<!DOCTYPE html><html><title>Bad Gateway</title>",
        Transient,
        "",
        "the answer is a page and not JSON: Bad Gateway",
    ),
    (503, r#"{"error":"invalid_grant"}"#, Transient, "invalid_grant", "`invalid_grant`"),
    (500, r#"{"error":"authorization_pending"}"#, Pending, "authorization_pending", "`authorization_pending`"),
    (429, "{}", Transient, "", "no reason is given"),
    (408, "", Transient, "", "the answer is empty"),
    (400, r#"{"error":"server_error"}"#, Transient, "server_error", "`server_error`"),
    // answers of success without a token
    (200, "<html>Sign in</html>", Unreadable, "", "the answer is a page and not JSON"),
    (200, "", Unreadable, "", "the answer is empty"),
    (200, "s3cr3t-in-base64==", Unreadable, "", "the answer is no JSON"),
    (200, "eyJhbGciOi.s3cr3t", Unreadable, "", "the answer is no JSON"),
    (200, r#"{"access_token":"s3cr3t"#, Unreadable, "", "the answer is no JSON"),
    (
        200,
        r#"{"token":"s3cr3t","expires":1}"#,
        Unreadable,
        "",
        "the answer has no `$.access_token`; there is `expires`, `token`",
    ),
    (200, r#"{"access_token":""}"#, Unreadable, "", "the answer has no `$.access_token`; there is `access_token`"),
    (
        200,
        r#"{"access_token":{"a":"s3cr3t"}}"#,
        Unreadable,
        "",
        "the answer has no `$.access_token`; there is `access_token`",
    ),
    (200, r#"["s3cr3t"]"#, Unreadable, "", "the answer has no `$.access_token`"),
    (204, "", Unreadable, "", "the answer is empty"),
    // a token in an answer that is no success
    (400, r#"{"access_token":"s3cr3t"}"#, Misconfigured, "", "no reason is given; there is `access_token`"),
];

#[test]
fn errors_tell_what_can_be_done() {
    for &(status, body, kind, error, text) in ERRORS {
        let refused = not_given(status, body);
        assert_eq!(refused.kind, kind, "{status} {body}");
        assert_eq!(refused.error.as_deref().unwrap_or_default(), error, "{status} {body}");
        assert_eq!(refused.text, format!("the token endpoint answered {status}: {text}"), "{body}");
        assert!(!refused.text.contains("s3cr3t"), "{body}");
    }
}

#[test]
fn answers_are_bounded() {
    let long = "x".repeat(limits::TOKEN_BYTES_MAX + 1);
    let fitting = &long[1..];
    let granted =
        read(&plan(), 200, json!({ "access_token": fitting }).to_string().as_bytes(), now(), &Redactor::default());
    assert!(granted.is_ok_and(|granted| granted.access_token.expose_secret() == fitting));
    let saving = TokenPlan { save: paths(&[("big", "$.big")]), ..plan() };
    for (body, expected) in [
        (json!({ "access_token": long }), "the access token has more than 65536 bytes"),
        (json!({ "access_token": "a", "refresh_token": long }), "the refresh token has more than 65536 bytes"),
        (
            json!({ "access_token": "a\r\nX-Evil: 1" }),
            "the access token has a control character in it, which cannot be sent",
        ),
        (
            json!({ "access_token": "a", "refresh_token": "b\u{0}" }),
            "the refresh token has a control character in it, which cannot be sent",
        ),
        (json!({ "access_token": "a", "big": [long] }), "the value to save as `big` has more than 65536 bytes"),
    ] {
        let refused = read(&saving, 200, body.to_string().as_bytes(), now(), &Redactor::default()).expect_err(expected);
        assert_eq!((refused.kind, refused.text), (Unreadable, format!("the token endpoint answered 200: {expected}")));
    }
    let scope = json!({ "access_token": "a", "scope": long });
    assert_eq!(read(&plan(), 200, scope.to_string().as_bytes(), now(), &Redactor::default()).unwrap().scope, None);
    let flood = vec![b' '; limits::TOKEN_ANSWER_BYTES_MAX + 1];
    for (status, kind) in [(200, Unreadable), (502, Transient)] {
        let refused = read(&plan(), status, &flood, now(), &Redactor::default()).expect_err("too long");
        assert_eq!(refused.kind, kind);
    }
    let deep = format!("{{\"access_token\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(not_given(200, &deep).kind, Unreadable);
    let talk = json!({ "error": "e".repeat(9999), "error_description": "d".repeat(9999) }).to_string();
    let refused = not_given(400, &talk);
    assert!(refused.text.chars().count() < 1100 && refused.error.is_some_and(|error| error.chars().count() == 501));
}

proptest::proptest! {
    /// Whatever comes, it is read or refused, and what is given fits into a header.
    #[test]
    fn no_answer_breaks_the_reading(status in 100u16..600, body in "[ -~\\r\\n\u{0}ä{}\":=&]{0,60}", token in "\\PC{0,9}[\u{0}-\u{1f}]?") {
        let whole = json!({ "access_token": token, "expires_in": body, "expires_at": body }).to_string();
        for body in [&body, &whole] {
            if let Ok(granted) = read(&plan(), status, body.as_bytes(), now(), &Redactor::default()) {
                let token = granted.access_token.expose_secret();
                assert!(!token.is_empty() && !token.chars().any(char::is_control));
                assert!((200..300).contains(&status));
                assert!(granted.expires_at.is_none_or(|at| at > now()));
            }
        }
    }
}
