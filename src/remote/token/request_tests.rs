use chrono::TimeZone;
use minijinja::context;

use super::super::super::credentials::Credentials;
use super::*;
use crate::plan::Path;

/// A private key of P-256, made for this test with `openssl ecparam -name prime256v1 -genkey | openssl pkcs8 -topk8 -nocrypt`.
const KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTlXdn/pBjyUyBwy/\n\
XeyK9Fp6qfMPIQt7uHEX3+pcLZqhRANCAAQlONaDXeibO3G5afILSMNQ4i/tvIeK\n\
Gc5b0qTAAPskecZ9nh/tmoGhc1UIQHalM/ua79cabQYAt4Et73+sEWqb\n\
-----END PRIVATE KEY-----\n";

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

fn templates(pairs: &[(&str, &str)]) -> Vec<(String, Template)> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), template(text))).collect()
}

fn plan() -> TokenPlan {
    let path = |text: &str| Path::parse(text).unwrap();
    TokenPlan {
        url: template("https://{{ config.tenant }}.example/token"),
        refresh_url: template("https://{{ config.tenant }}.example/refresh"),
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

fn client() -> ClientParts {
    ClientParts { id: "my app".to_owned(), secret: "s3cr&t:~é".into() }
}

fn variables() -> Variables {
    let credentials = Credentials::from_pairs([
        ("private_key", KEY),
        ("client_id", "id-1"),
        ("client_secret", "pw"),
        ("audience", "aud-1"),
    ]);
    context! { config => context! { tenant => "acme", empty => (), seats => 7 }, credentials => credentials.variable() }
}

fn signing() -> Signing<'static> {
    Signing { now: Utc.timestamp_opt(1_600_000_000, 0).unwrap(), jti: "id-of-assertion" }
}

/// The request as text: URL, sorted headers, body.
fn asked(plan: &TokenPlan, client: Option<&ClientParts>, grant: &Grant) -> Result<String, String> {
    let request = token_request(plan, client, grant, &variables(), &signing())?;
    let mut lines = vec![format!("POST {}", request.url)];
    lines.extend(request.headers.iter().map(|(name, value)| format!("{name}: {}", value.expose_secret())));
    lines.extend(request.content_type.map(|kind| format!("Content-Type: {kind}")));
    lines.push(request.body.expose_secret().to_owned());
    Ok(lines.join("\n"))
}

fn refresh() -> Grant {
    Grant::RefreshToken { refresh_token: "r/1".into() }
}

const FORM: &str = "Accept: application/json\nContent-Type: application/x-www-form-urlencoded";
const CLIENT: &str = "client_id=my+app&client_secret=s3cr%26t%3A%7E%C3%A9";

#[test]
fn a_device_proves_who_it_is_as_at_the_token_endpoint() {
    let asked = |client_auth: ClientAuth, url: &str| {
        let plan = TokenPlan { client_auth, ..plan() };
        let request = device_request(&plan, &template(url), &client(), "read write", &variables(), &signing())?;
        let headers: Vec<_> = request.headers.iter().map(|(_, value)| value.expose_secret().to_owned()).collect();
        Ok::<_, String>((request.url.to_string(), headers, request.body.expose_secret().to_owned()))
    };
    let url = "https://{{ config.tenant }}.example/device";
    let accept = || "application/json".to_owned();
    let body = |client_auth| asked(client_auth, url).unwrap();
    let scope = "&scope=read+write";
    assert_eq!(
        body(ClientAuth::Body),
        ("https://acme.example/device".to_owned(), vec![accept()], format!("{CLIENT}{scope}"))
    );
    assert_eq!(body(ClientAuth::None).2, format!("client_id=my+app{scope}"));
    let (_, headers, form) = body(ClientAuth::Basic);
    assert_eq!(headers, [accept(), format!("Basic {}", STANDARD.encode("my%20app:s3cr%26t%3A~%C3%A9"))]);
    assert_eq!(form, format!("client_id=my+app{scope}"), "the secret stands in the header alone");
    let (_, headers, form) = body(ClientAuth::PrivateKeyJwt);
    let pairs: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let names: Vec<_> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        (headers, names),
        (vec![accept()], vec!["client_id", "client_assertion_type", "client_assertion", "scope"])
    );
    let claims = pairs[2].1.split('.').nth(1).expect("three parts");
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).expect("base64");
    let claims: Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(claims["aud"], "https://acme.example/token");
    let refused = asked(ClientAuth::None, "{{ config.tenant }}").expect_err("it is no URL");
    assert_eq!(refused, "`device_url`: `{{ config.tenant }}` gives no URL: relative URL without a base");
}

#[test]
fn each_grant_asks_as_its_standard_says() {
    let code = |verifier: Option<&str>| Grant::AuthorizationCode {
        code: "c+1".into(),
        redirect_uri: "http://127.0.0.1:80/cb".to_owned(),
        verifier: verifier.map(SecretString::from),
    };
    for (grant, path, expected) in [
        (Grant::ClientCredentials { scopes: "a b".to_owned() }, "token", "grant_type=client_credentials&scope=a+b"),
        (Grant::ClientCredentials { scopes: String::new() }, "token", "grant_type=client_credentials"),
        (refresh(), "refresh", "grant_type=refresh_token&refresh_token=r%2F1"),
        (
            code(Some("v-1")),
            "token",
            "grant_type=authorization_code&code=c%2B1&redirect_uri=http%3A%2F%2F127.0.0.1%3A80%2Fcb&code_verifier=v-1",
        ),
        (code(None), "token", "grant_type=authorization_code&code=c%2B1&redirect_uri=http%3A%2F%2F127.0.0.1%3A80%2Fcb"),
        (
            Grant::JwtBearer { assertion: "a.b.c".into() },
            "token",
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c",
        ),
        (
            Grant::DeviceCode { device_code: "d".into() },
            "token",
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d",
        ),
    ] {
        let with = asked(&plan(), Some(&client()), &grant).unwrap();
        assert_eq!(with, format!("POST https://acme.example/{path}\n{FORM}\n{expected}&{CLIENT}"));
        let without = asked(&plan(), None, &grant).unwrap();
        assert_eq!(without, format!("POST https://acme.example/{path}\n{FORM}\n{expected}"));
    }
}

#[test]
fn an_application_proves_who_it_is() {
    let with =
        |client_auth: ClientAuth| asked(&TokenPlan { client_auth, ..plan() }, Some(&client()), &refresh()).unwrap();
    // RFC 6749, 2.3.1: encoded, then joined; `~` is the same encoded or not
    let basic = STANDARD.encode("my%20app:s3cr%26t%3A~%C3%A9");
    assert_eq!(
        with(ClientAuth::Basic),
        format!(
            "POST https://acme.example/refresh\nAccept: application/json\nAuthorization: Basic {basic}\n\
             Content-Type: application/x-www-form-urlencoded\ngrant_type=refresh_token&refresh_token=r%2F1"
        )
    );
    let public = with(ClientAuth::None);
    assert!(public.ends_with("\ngrant_type=refresh_token&refresh_token=r%2F1&client_id=my+app"), "{public}");
    // an empty secret is left out
    let open = ClientParts { id: "i".to_owned(), secret: "".into() };
    let body = asked(&plan(), Some(&open), &refresh()).unwrap();
    assert!(body.ends_with("&client_id=i"), "{body}");
}

#[test]
fn an_application_signs_who_it_is() {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let plan = TokenPlan { client_auth: ClientAuth::PrivateKeyJwt, ..plan() };
    let request = asked(&plan, Some(&client()), &refresh()).unwrap();
    let body = request.lines().last().unwrap();
    let pairs: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["grant_type", "refresh_token", "client_id", "client_assertion_type", "client_assertion"]);
    assert_eq!(pairs[3].1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let parts: Vec<&str> = pairs[4].1.split('.').collect();
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    assert_eq!(json(parts[0]), json!({ "alg": "ES256", "typ": "JWT" }));
    assert_eq!(
        json(parts[1]),
        json!({ "iss": "my app", "sub": "my app", "aud": "https://acme.example/refresh",
            "iat": 1_599_999_970, "exp": 1_600_000_270, "jti": "id-of-assertion" })
    );
    assert_eq!(URL_SAFE_NO_PAD.decode(parts[2]).unwrap().len(), 64);
    for (key, expected) in [
        (None, "`client_auth: private_key_jwt` needs the credential `private_key`"),
        (Some("s3cr3t-no-key"), "what is given as private key is no PEM: it has no `-----BEGIN PRIVATE KEY-----`"),
    ] {
        let credentials = Credentials::from_pairs(key.map(|key| ("private_key", key)));
        let variables = context! { config => context! { tenant => "x" }, credentials => credentials.variable() };
        let error = token_request(&plan, Some(&client()), &refresh(), &variables, &signing()).err();
        assert_eq!(error.as_deref(), Some(expected));
    }
}

#[test]
fn parameters_go_where_the_plan_says() {
    let params = templates(&[
        ("audience", "{{ credentials.audience }}"),
        ("seats", "{{ config.seats }}"),
        ("no", "{{ config.empty }}"),
    ]);
    let grant = Grant::ClientCredentials { scopes: "a b".to_owned() };
    let with = |body: TokenBody, url: &str| {
        let plan =
            TokenPlan { body, params: params.clone(), client_auth: ClientAuth::None, url: template(url), ..plan() };
        asked(&plan, Some(&client()), &grant).unwrap()
    };
    assert_eq!(
        with(TokenBody::Form, "https://a.example/t"),
        format!(
            "POST https://a.example/t\n{FORM}\ngrant_type=client_credentials&scope=a+b&client_id=my+app&audience=aud-1&seats=7"
        )
    );
    assert_eq!(
        with(TokenBody::Json, "https://a.example/t#x"),
        "POST https://a.example/t\nAccept: application/json\nContent-Type: application/json\n\
         {\"grant_type\":\"client_credentials\",\"scope\":\"a b\",\"client_id\":\"my app\",\"audience\":\"aud-1\",\"seats\":7}"
    );
    assert_eq!(
        with(TokenBody::Query, "https://a.example/t?v=2"),
        "POST https://a.example/t?v=2&grant_type=client_credentials&scope=a+b&client_id=my+app&audience=aud-1&seats=7\n\
         Accept: application/json\n"
    );
}

#[test]
fn headers_come_along_and_only_accept_is_the_plans() {
    let with = |client_auth: ClientAuth, headers: &[(&str, &str)]| {
        let plan = TokenPlan { client_auth, headers: templates(headers), ..plan() };
        asked(&plan, Some(&client()), &refresh())
    };
    let request =
        with(ClientAuth::None, &[("X-Account", "{{ config.seats }}"), ("X-No", "{{ config.empty }}")]).unwrap();
    assert!(request.contains("\nAccept: application/json\nX-Account: 7\nContent-Type"), "{request}");
    let request = with(ClientAuth::None, &[("accept", "text/x"), ("Authorization", "Basic x")]).unwrap();
    assert!(request.contains("\nAccept: text/x\nAuthorization: Basic x\nContent-Type"), "{request}");
    let error = with(ClientAuth::Basic, &[("authorization", "Bearer x")]).expect_err("there is one");
    assert_eq!(error, "the header `authorization` is set by headwater itself (`client_auth: basic`)");
    let error = with(ClientAuth::Body, &[("Content-Type", "text/plain")]).expect_err("it is said by `body`");
    assert_eq!(error, "the header `Content-Type` is set by headwater itself (`body`)");
}

#[test]
fn a_parameter_is_never_sent_twice() {
    let with = |name: &str, value: &str| {
        let plan = TokenPlan { params: templates(&[(name, value)]), ..plan() };
        asked(&plan, Some(&client()), &refresh())
    };
    assert_eq!(with("client_id", "my app").unwrap(), asked(&plan(), Some(&client()), &refresh()).unwrap());
    for name in ["client_id", "client_secret", "grant_type", "refresh_token"] {
        let error = with(name, "other").expect_err(name);
        assert_eq!(error, format!("the parameter `{name}` is set by headwater itself, to something else"));
    }
    assert!(with("scope", "offline_access").unwrap().ends_with("&scope=offline_access"));
}

#[test]
fn a_url_that_cannot_be_asked_is_told() {
    for (url, expected) in [
        ("{{ config.empty }}", "`{{ config.empty }}` has no value"),
        ("acme.example/token", "`acme.example/token` gives no URL: relative URL without a base"),
        ("file:///etc/passwd", "`file:` is neither `http:` nor `https:`"),
        ("https://u:p@acme.example/", "a URL holds a user name or password"),
    ] {
        let plan = TokenPlan { refresh_url: template(url), ..plan() };
        assert_eq!(asked(&plan, None, &refresh()).expect_err(url), expected);
    }
}

#[test]
fn the_parts_of_a_client_are_rendered_as_far_as_they_are_sent() {
    let plan = |id: &str, secret: &str| ClientPlan {
        id: template(id),
        secret: template(secret),
        scopes: Vec::new(),
        scope_separator: " ".to_owned(),
    };
    let own = plan("{{ credentials.client_id }}", "{{ credentials.client_secret }}");
    for (client_auth, expected) in
        [(ClientAuth::Body, "pw"), (ClientAuth::Basic, "pw"), (ClientAuth::PrivateKeyJwt, ""), (ClientAuth::None, "")]
    {
        let parts = ClientParts::new(&own, client_auth, &variables()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((parts.id.as_str(), parts.secret.expose_secret()), ("id-1", expected));
    }
    let error = ClientParts::new(&plan("{{ config.empty }}", "x"), ClientAuth::Body, &variables()).err();
    assert_eq!(error.as_deref(), Some("`client_id`: `{{ config.empty }}` has no value"));
}
