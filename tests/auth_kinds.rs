//! Every way in, end to end: what is asked for, what is sent, what is renewed, and how it ends where it cannot be.

mod consent;
mod made;
mod rules;
mod signed;

use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::connect::KEY;
use crate::support::{Api, Output, Project, Reply, Request};

const ID: &str = "app-1";
const SECRET: &str = "cl1ent-s3cret/of+the=app";

/// An API: lists of `pages` pages for who is let in, and whatever else a test says.
struct Service {
    api: Api,
}

impl Service {
    fn start(
        pages: usize,
        proof: impl Fn(&Request) -> Option<String> + Send + Sync + 'static,
        endpoint: impl Fn(&Request, &Mutex<String>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        // the proof that is good now, whatever it is
        let good = Mutex::new(String::new());
        let api = Api::start(move |request| {
            if !request.path.ends_with("/items") {
                return endpoint(request, &good);
            }
            if proof(request).as_ref() != Some(&*good.lock().expect("not poisoned")) {
                return Reply::status(401, "{\"error\":\"who are you\"}");
            }
            page(request, pages)
        });
        Self { api }
    }

    fn url(&self) -> String {
        self.api.url()
    }

    /// The requests for lists and those for anything else, since this was asked last.
    fn asked(&self) -> (Vec<Request>, Vec<Request>) {
        let requests = self.api.requests();
        self.api.asked();
        requests.into_iter().partition(|request| request.path.ends_with("/items"))
    }
}

fn page(request: &Request, pages: usize) -> Reply {
    Reply::json(&json!({ "records": [{ "id": request.number("page", 1) }], "pages": pages }))
}

fn bearer(request: &Request) -> Option<String> {
    request.header("authorization").and_then(|header| header.strip_prefix("Bearer ")).map(str::to_owned)
}

/// Gives `t0ken-1`, `t0ken-2`, … and makes them good.
fn next(good: &Mutex<String>) -> String {
    let mut good = good.lock().expect("not poisoned");
    let nth: usize = good.strip_prefix("t0ken-").map_or(0, |nth| nth.parse().expect("a number"));
    *good = format!("t0ken-{}", nth + 1);
    good.clone()
}

/// A project with the connection `crm` whose one way in is `auth`; `more` are more lines of the provider. The credentials `named` are read
/// from variables that [`run`] sets; others are left to the credential store.
fn project(url: &str, auth: &str, more: &str, named: &[&str]) -> Project {
    let project = Project::empty();
    let given: Vec<_> = named.iter().map(|name| format!("{name}: \"${{HW_{}}}\"", name.to_uppercase())).collect();
    project.write(
        "headwater.yaml",
        format!(
            "database: test.duckdb\nconnections:\n  crm: {{ provider: api, credentials: {{ {} }} }}\n",
            given.join(", ")
        ),
    );
    project.write(
        "providers/api.yaml",
        format!(
            "provider: api\nretry: {{ attempts: 4, backoff: {{ base: 1ms, max: 5ms }} }}\nauth: {{ main: {{ {auth} }} }}\n{}{more}",
            if more.contains("base_url:") { String::new() } else { format!("base_url: {url}\n") }
        ),
    );
    project.write(
        "integrations/api/syncs/items.yaml",
        "sync: items\nmodel: item\nrequest: { get: /items }\nresponse: { records: \"$.records[*]\" }\n\
         pagination: { page: { query: page, total_pages: $.pages } }\ndeletes: { absence: {} }\n",
    );
    project.write(
        "integrations/api/models/item.yaml",
        "model: item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint } }\n",
    );
    project
}

/// The credentials of most tests.
const CLIENT: [(&str, &str); 2] = [("client_id", ID), ("client_secret", SECRET)];

fn headwater(project: &Project, arguments: &[&str], credentials: &[(&str, &str)]) -> Output {
    let names: Vec<_> =
        credentials.iter().map(|(name, value)| (format!("HW_{}", name.to_uppercase()), *value)).collect();
    let mut environment = vec![("HEADWATER_KEY", KEY)];
    environment.extend(names.iter().map(|(name, value)| (name.as_str(), *value)));
    let output = project.headwater_with(arguments, &environment);
    assert!(!output.stderr.contains("panicked"), "{}", output.stderr);
    for (name, secret) in credentials.iter().filter(|(name, secret)| *name != "client_id" && secret.len() > 3) {
        assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{name} is shown: {output:?}");
    }
    output
}

/// A run that must bring so many records.
fn runs(project: &Project, credentials: &[(&str, &str)], records: usize) {
    let output = headwater(project, &["run", "--full", "--json"], credentials);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(output.report()[0]["records"], json!(records), "{}", output.stdout);
}

/// The error of a run that must fail.
fn fails(project: &Project, credentials: &[(&str, &str)], code: i32) -> Value {
    let output = headwater(project, &["run", "--json"], credentials);
    assert_eq!(output.code, code, "{}{}", output.stdout, output.stderr);
    output.report()[0]["error"].clone()
}

/// The members of a form.
fn form(text: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

fn member<'f>(form: &'f [(String, String)], name: &str) -> Option<&'f str> {
    let mut found = form.iter().filter(|(known, _)| known == name);
    let value = found.next().map(|(_, value)| value.as_str());
    assert!(found.next().is_none(), "`{name}` stands twice");
    value
}

/// Header and claims of a token, and what its signature is of, with the signature.
fn opened(token: &str) -> (Value, Value, String, Vec<u8>) {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { panic!("a token has three parts: {token}") };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let json = |part| serde_json::from_slice(&decode(part)).expect("JSON");
    (json(header), json(claims), format!("{header}.{claims}"), decode(signature))
}

/// A key for ES256: the private one in PEM, and the public one as `ring` takes it.
fn es256() -> (String, Vec<u8>) {
    let key = rcgen::KeyPair::generate().expect("a key");
    (key.serialize_pem(), key.public_key_raw().to_vec())
}

/// Opens a token that must be signed with this key.
fn verified(token: &str, public: &[u8]) -> (Value, Value) {
    let (header, claims, text, signature) = opened(token);
    assert_eq!(header["alg"], "ES256");
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, public);
    key.verify(text.as_bytes(), &signature).expect("it is signed with the key");
    (header, claims)
}
