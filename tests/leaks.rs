//! No leak: marked secrets stand in every place where they can, a server repeats them wherever it can, and none of them is in anything
//! that headwater writes or sends elsewhere.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{Api, LISTS, MOODS, Mood, Output, Parrot, Project, Reply, Written, mark};

/// A key for the store: 32 bytes in base64, of characters that nothing else has.
const KEY: &str = "TTRSSy1rZXktb2YtdGhlLXN0b3JlLTAxMjM0NTY3ODk=";
const OTHER_KEY: &str = "TTRSSy1hbm90aGVyLWtleS0wMTIzNDU2Nzg5YWJjZGU=";

/// Where a secret stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// an environment variable that the project file names
    Variable,
    /// the project file itself
    Literal,
    /// the credential store
    Kept,
    /// the provider file, which has it in place of `{{ credentials.<name> }}`
    Provider,
}
use Source::{Kept, Literal, Provider, Variable};

/// A connection: its name and provider, the provider's words, its secrets by name. Names that begin with `private_key` are keys in PEM.
type Kind = (&'static str, &'static str, &'static [(&'static str, Source)]);

const KINDS: [Kind; 22] = [
    (
        "header",
        "auth: { a: { api_key: { header: X-Key, value: \"Key {{ credentials.api_key }};v=1\" } } }",
        &[("api_key", Variable)],
    ),
    ("query", "auth: { a: { api_key: { query: key } } }", &[("api_key", Kept)]),
    ("cookie", "auth: { a: { api_key: { cookie: sid } } }", &[("api_key", Literal)]),
    ("basic", "auth: { a: { basic: {} } }", &[("username", Variable), ("password", Kept)]),
    ("bearer", "auth: { a: { bearer: {} } }", &[("token", Kept)]),
    (
        "words",
        "headers: { X-Signed: \"v1 {{ credentials.signature }}\" }\nquery: { signature: \"{{ credentials.other }}\" }",
        &[("signature", Variable), ("other", Kept)],
    ),
    (
        "files",
        "auth: { a: { basic: { username: me, password: \"{{ credentials.one }}\" } } }\n\
         headers: { X-Api-Key: \"{{ credentials.two }}\", Cookie: \"{{ credentials.three }}\" }",
        &[("one", Provider), ("two", Provider), ("three", Provider)],
    ),
    ("form", "auth: { a: { client_credentials: { token: { url: URL } } } }", &[("client_secret", Variable)]),
    (
        "json",
        "auth: { a: { client_credentials: { token: { url: URL, body: json, save: { team: $.team } } } } }",
        &[("client_secret", Kept)],
    ),
    (
        "params",
        "auth: { a: { client_credentials: { token: { url: URL, body: query } } } }",
        &[("client_secret", Literal)],
    ),
    (
        "pair",
        "auth: { a: { client_credentials: { token: { url: URL, client_auth: basic, headers: { X-More: \"{{ credentials.more }}\" }, \
         params: { password: \"{{ credentials.extra }}\" } } } } }",
        &[("client_secret", Variable), ("more", Kept), ("extra", Provider)],
    ),
    (
        "assertion",
        "auth: { a: { client_credentials: { token: { url: URL, client_auth: private_key_jwt } } } }",
        &[("private_key", Variable)],
    ),
    (
        "service",
        "auth: { a: { jwt_bearer: { algorithm: RS256, claims: { iss: me }, token: { url: URL } } } }",
        &[("private_key_rsa", Kept)],
    ),
    ("signed", "auth: { a: { jwt: { algorithm: ES256, claims: { iss: me } } } }", &[("private_key", Kept)]),
    (
        "shared",
        "auth: { a: { jwt: { algorithm: HS256, key: \"{{ credentials.shared_key }}\", claims: { iss: me }, send: { query: jwt } } } }",
        &[("shared_key", Variable)],
    ),
    ("app", "auth: { a: { github_app: { app_id: \"7\", installation_id: \"8\" } } }", &[("private_key_rsa", Variable)]),
    (
        "login",
        "auth: { a: { token_request: { requests: [\
         { request: { post: /login, body: { form: { user: me, password: \"{{ credentials.password }}\" } } }, save: { ticket: $.ticket } },\
         { request: { post: /session, headers: { X-Ticket: \"{{ credentials.ticket }}\" }, body: { json: { pin: \"{{ credentials.pin }}\" } } }, \
         save: { session: $.session.id } }], send: { cookie: sid, value: \"{{ credentials.session }}\" } } } }",
        &[("password", Kept), ("pin", Literal)],
    ),
    (
        "oauth1",
        "auth: { a: { oauth1: { consumer_key: me } } }",
        &[("consumer_secret", Variable), ("token", Variable), ("token_secret", Literal)],
    ),
    (
        "plaintext",
        "auth: { a: { oauth1: { consumer_key: me, signature: plaintext, token: t, token_secret: \"{{ credentials.token_secret }}\" } } }",
        &[("consumer_secret", Kept), ("token_secret", Provider)],
    ),
    (
        "aws",
        "auth: { a: { sigv4: { access_key_id: AKID, region: eu-1, service: execute-api, session_token: \"{{ credentials.session_token }}\" } } }",
        &[("secret_access_key", Kept), ("session_token", Variable)],
    ),
    (
        "tls",
        "auth: { a: { bearer: {} } }\ntls: { client_certificate: \"{{ credentials.certificate }}\", client_key: \"{{ credentials.key }}\" }",
        &[("token", Variable), ("certificate", Literal), ("key", Kept)],
    ),
    (
        "consent",
        "auth: { a: { authorization_code: { authorize_url: AUTHORIZE, device_url: DEVICE, scopes: [base], token: { url: URL, \
         save: { team: $.team } } } } }\non_connect: [{ request: { get: /me }, save: { account: $.id } }]",
        &[("client_secret", Kept)],
    ),
];

/// A project of all kinds, with what the program is started with.
struct Place {
    project: Project,
    parrot: Parrot,
    elsewhere: Api,
    environment: Vec<(String, String)>,
    written: Written,
}

impl Place {
    /// Each connection has so many lists.
    fn new(lists: usize) -> Self {
        let elsewhere = Api::start(|_| Reply::json(&json!({ "items": [{ "id": 9 }] })));
        let parrot = Parrot::start(&elsewhere.url());
        let project = Project::empty();
        let ec = rcgen::KeyPair::generate().expect("a key").serialize_pem();
        let rsa = include_str!("support/rsa.pem");
        let mut environment: Vec<(String, String)> =
            [("HEADWATER_KEY", KEY), ("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec();
        let mut connections = String::new();
        for (kind, words, secrets) in KINDS {
            let mut credentials = Vec::new();
            if words.contains("client_credentials") || words.contains("authorization_code") {
                credentials.push("client_id: app-1".to_owned());
            }
            let url = format!("{}/{kind}", parrot.api.url());
            let mut words =
                words.replace("URL", &format!("{url}/token")).replace("AUTHORIZE", &format!("{url}/authorize"));
            words = words.replace("DEVICE", &format!("{url}/device"));
            for (name, source) in secrets {
                let secret = match *name {
                    "private_key" => ec.clone(),
                    "private_key_rsa" => rsa.to_owned(),
                    name => mark(&format!("{kind}-{name}")),
                };
                let name = name.trim_end_matches("_rsa");
                parrot.said().knows(kind, &secret);
                let text = Value::from(secret.as_str()).to_string();
                match source {
                    Variable => {
                        let variable = format!("M_{kind}_{name}").to_uppercase();
                        credentials.push(format!("{name}: \"${{{variable}}}\""));
                        environment.push((variable, secret));
                    }
                    Literal => credentials.push(format!("{name}: {text}")),
                    Kept => {}
                    Provider => words = words.replace(&format!("\"{{{{ credentials.{name} }}}}\""), &text),
                }
            }
            let trust = "network: { allow_http: true, allow_private: true }\nverify: { get: /me }";
            project.write(
                &format!("providers/{kind}.yaml"),
                format!("provider: {kind}\nbase_url: {url}\nretry: {{ attempts: 1 }}\n{trust}\n{words}\n"),
            );
            connections +=
                &format!("  {kind}: {{ provider: {kind}, credentials: {{ {} }} }}\n", credentials.join(", "));
        }
        project.write(
            "headwater.yaml",
            format!("database: test.duckdb\npublish: {{ path: copy.duckdb, every: 1s }}\nconnections:\n{connections}"),
        );
        let mut place = Self { project, parrot, elsewhere, environment, written: Written::default() };
        place.with_lists(lists);
        place
    }

    /// Each connection has some of the lists, and all have the one that refuses tokens.
    fn with_lists(&mut self, lists: usize) {
        for (nth, (kind, _, _)) in KINDS.into_iter().enumerate() {
            for (list, words) in (1..lists).map(|more| LISTS[(nth * 3 + more) % LISTS.len()]).chain([LISTS[0]]) {
                self.project.write(
                    &format!("integrations/{kind}/syncs/{list}.yaml"),
                    format!(
                        "sync: {list}\nmodel: Item\nrequest: {{ get: /{list} }}\nresponse: {{ records: \"$.items[*]\" }}\n{words}\n"
                    ),
                );
            }
            self.project.write(
                &format!("integrations/{kind}/models/Item.yaml"),
                "model: Item\ntable: items\nkey: [id]\ncolumns: { id: { path: $.id, type: bigint }, size: { path: $.size, type: integer } }\n",
            );
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.project.command(arguments);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The secrets of a connection that the store is to keep.
    fn kept(&self, kind: &str) -> Vec<(&'static str, String)> {
        let (_, _, secrets) = KINDS.into_iter().find(|(name, _, _)| *name == kind).expect("a kind");
        let mut all: Vec<_> = Vec::new();
        for (name, source) in secrets {
            if *source == Kept {
                let secret = match *name {
                    "private_key" | "private_key_rsa" => self.pem(kind),
                    name => mark(&format!("{kind}-{name}")),
                };
                all.push((name.trim_end_matches("_rsa"), secret));
            }
        }
        all
    }

    fn pem(&self, kind: &str) -> String {
        let said = self.parrot.said();
        said.known(kind).iter().find(|secret| secret.contains("BEGIN")).expect("a key").clone()
    }

    /// Runs a command, and keeps what it says to be looked through.
    fn say(&mut self, arguments: &[&str], more: &[(&str, &str)], input: Option<&str>) -> Output {
        let mut command = self.command(arguments);
        command.envs(more.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let mut stdin = child.stdin.take().expect("piped");
        // one that does not listen is fine
        let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        let output = Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("UTF-8"),
        };
        self.keep(arguments, &output);
        output
    }

    fn keep(&mut self, arguments: &[&str], output: &Output) {
        assert!(!output.stderr.contains("panicked"), "{arguments:?}: {}", output.stderr);
        self.written.add(format!("stdout of {arguments:?}"), output.stdout.as_bytes());
        self.written.add(format!("stderr of {arguments:?}"), output.stderr.as_bytes());
    }

    /// Connects as a person does whose browser ends at `back`, made of where it was sent.
    fn consent(&mut self, back: &dyn Fn(&str) -> String) -> Output {
        let arguments = ["connect", "consent", "--no-browser"];
        let mut command = self.command(&arguments);
        command.env("HEADWATER_CREDENTIAL_CLIENT_SECRET", mark("consent-client_secret"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut said = String::new();
        let url = loop {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended: {said}");
            said += &line;
            if line.starts_with("http://") {
                break line.trim().to_owned();
            }
        };
        let page = browse(&back(&url));
        self.written.add("the page in the browser", page);
        stderr.read_to_string(&mut said).expect("text");
        let output = child.wait_with_output().expect("it ends");
        let stdout = String::from_utf8(output.stdout).expect("UTF-8");
        let output = Output { code: output.status.code().unwrap_or(-1), stdout, stderr: said };
        self.keep(&arguments, &output);
        output
    }

    /// Connects these as their secrets come: from variables, a file, standard input.
    fn connect_those(&mut self, are_meant: &dyn Fn(&str) -> bool) {
        let meant = |kind: &Kind| kind.0 != "consent" && are_meant(kind.0);
        for (nth, (kind, _, _)) in KINDS.into_iter().filter(meant).enumerate() {
            let kept = self.kept(kind);
            if kept.is_empty() {
                continue;
            }
            let file = serde_json::to_string(&kept.iter().cloned().collect::<std::collections::BTreeMap<_, _>>());
            let file = file.expect("JSON");
            match nth % 3 {
                0 => {
                    let variables: Vec<(String, &str)> = kept
                        .iter()
                        .map(|(name, secret)| {
                            (format!("HEADWATER_CREDENTIAL_{}", name.to_uppercase()), secret.as_str())
                        })
                        .collect();
                    let variables: Vec<_> = variables.iter().map(|(name, secret)| (name.as_str(), *secret)).collect();
                    self.say(&["connect", kind], &variables, None);
                }
                1 => {
                    self.project.write("own/given.json", &file);
                    let path = self.project.path().join("own/given.json").display().to_string();
                    self.say(&["connect", kind, "--credentials", &path], &[], None);
                }
                _ => drop(self.say(&["connect", kind, "--credentials", "-", "--json"], &[], Some(&file))),
            }
        }
    }

    /// Looks through everything.
    fn ends(mut self, masks: usize) {
        let is_own = |name: &str| name.ends_with(".yaml") || name.contains("/own/");
        self.written.add_files(self.project.path(), &is_own);
        for request in self.elsewhere.requests() {
            self.written.add("a request to another origin", format!("{request:?}"));
        }
        let mut secrets: BTreeSet<String> = self.parrot.said().secrets.clone();
        secrets.extend([KEY, OTHER_KEY].map(str::to_owned));
        assert!(
            self.written.masks() >= masks,
            "only {} masks: what should show secrets does not",
            self.written.masks()
        );
        self.written.shows_none_of(&secrets);
    }
}

/// Opens an address and follows where it leads; gives the last page.
fn browse(url: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        client.get(url).send().await.expect("an answer").text().await.expect("text")
    })
}

#[test]
fn a_server_that_repeats_every_secret_has_none_shown_kept_or_sent_elsewhere() {
    let mut place = Place::new(4);
    place.connect_those(&|_| true);
    assert_eq!(place.consent(&str::to_owned).code, 0);
    for arguments in [
        ["check", "--json"].as_slice(),
        &["explain"],
        &["explain", "--json"],
        &["dry-run"],
        &["dry-run", "--json"],
        &["run", "--json", "--log-requests"],
        &["run", "--full"],
        &["plan", "--json"],
        &["status"],
        &["status", "--json"],
        &["connections"],
        &["connections", "--json"],
        &["connections", "verify", "--json"],
        &["query", "--json", "from headwater.runs"],
        &["query", "--json", "from headwater.requests"],
        &["query", "--json", "from headwater.checkpoints"],
        &["query", "--json", "from headwater.quarantine"],
        &["query", "--json", "from headwater.schema_changes"],
        &["key", "status"],
    ] {
        place.say(arguments, &[], None);
    }
    assert!(place.elsewhere.requests().len() > 2, "it was asked");
    // the log has the headers of every kind, and what proves who asks is a mask in it
    let logged =
        place.project.rows("select distinct connection, request_headers, response_headers from headwater.requests");
    let of = |connection: &str, part: &str| {
        logged.iter().any(|row| row["connection"] == connection && row.to_string().contains(part))
    };
    for (connection, part) in [
        ("header", r#""x-key":"***""#),
        ("cookie", r#""cookie":"***""#),
        ("bearer", r#""authorization":"***""#),
        ("words", r#""x-signed":"***""#),
        ("files", r#""x-api-key":"***""#),
        ("aws", r#""authorization":"***""#),
        ("consent", r#""authorization":"***""#),
        ("basic", r#""x-request-id":"***""#),
    ] {
        assert!(of(connection, part), "{connection} {part}: {logged:#?}");
    }
    // a certificate that is none asks nobody
    let unlogged: Vec<_> = KINDS.iter().map(|(kind, ..)| *kind).filter(|kind| !of(kind, "user-agent")).collect();
    assert_eq!(unlogged, ["tls"]);
    assert!(!logged.iter().any(|row| row.to_string().contains("set-cookie")), "{logged:#?}");
    place.ends(500);
}

#[test]
fn a_call_of_an_action_answers_no_secret() {
    let mut place = Place::new(1);
    place.connect_those(&|_| true);
    assert_eq!(place.consent(&str::to_owned).code, 0);
    for (nth, (kind, _, _)) in KINDS.into_iter().enumerate() {
        let action = |name: &str, words: &str| {
            let input = "input: { type: object, properties: { list: { type: string } } }";
            place.project.write(
                &format!("integrations/{kind}/actions/{name}.yaml"),
                format!("action: {name}\n{input}\n{words}\n"),
            );
        };
        action("whole", "request: { get: \"/{{ input.list }}\" }");
        action(
            "steps",
            "steps:\n  - { as: first, request: { get: /me } }\n  \
             - { as: then, request: { post: \"/{{ input.list }}\", headers: { X-Id: \"{{ steps.first.body.id }}\" }, body: { json: { was: \"{{ steps.first.body }}\" } } } }\n\
             response: { records: \"$.items[*]\" }\noutput: { columns: { id: $.id, size: $.size, said: { path: $, type: json } } }\nidempotency_key: {}",
        );
        for (list, arguments) in [
            (LISTS[nth % LISTS.len()].0, ["steps", "--json"].as_slice()),
            (LISTS[(nth + 7) % LISTS.len()].0, &["whole"]),
            ("me", &["steps"]),
        ] {
            let (input, action) = (json!({ "list": list }).to_string(), format!("{kind}/{}", arguments[0]));
            place.say(&[&["call", &action, "--input", &input], &arguments[1..]].concat(), &[], None);
        }
    }
    place.ends(100);
}

/// The connections that a token is made for by asking.
const MADE: [&str; 9] = ["form", "json", "params", "pair", "assertion", "service", "app", "login", "consent"];

#[test]
fn a_token_endpoint_that_quotes_what_it_was_sent_is_not_quoted() {
    let mut place = Place::new(1);
    place.connect_those(&|kind| MADE.contains(&kind));
    assert_eq!(place.consent(&str::to_owned).code, 0);
    let made = ["form", "json", "params", "pair", "assertion", "service", "app", "login", "consent"]
        .map(|kind| format!("{kind}/refused"));
    let run: Vec<&str> = ["run", "--json"].into_iter().chain(made.iter().map(String::as_str)).collect();
    for mood in MOODS {
        place.parrot.said().mood = mood;
        let output = place.say(&run, &[], None);
        assert!(output.report().iter().all(|sync| sync["state"] == "failed"), "{mood:?}: {}", output.stdout);
        if mood == Mood::Quotes {
            // what it said is kept for a person
            let kept =
                std::fs::read_to_string(place.project.path().join(".headwater/credentials.json")).expect("the store");
            let kept: Value = serde_json::from_str(&kept).expect("JSON");
            let reason = kept["entries"]["consent"]["needs_reconnect"].as_str().expect("a reason");
            assert!(reason.contains("`invalid_grant`: you said ***"), "{reason}");
            place.say(&["connections", "--json"], &[], None);
            place.say(&["run", "consent"], &[], None);
        }
        place.say(&["connections", "verify"], &[], None);
    }
    place.say(&["query", "--json", "from headwater.runs"], &[], None);
    place.ends(100);
}

#[test]
fn connecting_shows_no_secret_whatever_goes_wrong() {
    let mut place = Place::new(1);
    for mood in MOODS {
        place.parrot.said().mood = mood;
        assert_ne!(place.consent(&str::to_owned).code, 0, "{mood:?}");
    }
    let secret = mark("consent-client_secret");
    let variable = [("HEADWATER_CREDENTIAL_CLIENT_SECRET", secret.as_str())];
    let device = place.say(&["connect", "consent", "--device"], &variable, None);
    assert!(device.stderr.contains("ABCD-EFGH") && !device.stderr.contains('\u{1b}'), "{}", device.stderr);
    place.parrot.said().mood = Mood::Good;
    place.parrot.said().refuses = true;
    assert!(place.consent(&str::to_owned).stderr.contains("the code ***"), "the API refuses");
    let elsewhere = place.consent(&|url| {
        let url = url::Url::parse(url).expect("a URL");
        let back = url.query_pairs().find(|(name, _)| name == "redirect_uri").expect("it").1.into_owned();
        let code = mark("a code of somebody else");
        format!(
            "{back}?state=other&{}",
            url::form_urlencoded::Serializer::new(String::new()).append_pair("code", &code).finish()
        )
    });
    assert!(elsewhere.stderr.contains("`state` differs"), "{}", elsewhere.stderr);
    place.parrot.said().secrets.insert(mark("a code of somebody else"));
    // a key that the API refuses, in all the ways in which one is given
    place.connect_those(&|_| true);
    assert!(place.written.masks() > 10);

    let given = mark("query-api_key");
    for text in [
        format!("[{}]", Value::from(given.as_str())),
        format!("{{\"api_key\":\"{given}"),
        format!("{{\"api_key\":[{}]}}", Value::from(given.as_str())),
        given.clone(),
    ] {
        let output = place.say(&["connect", "query", "--credentials", "-"], &[], Some(&text));
        assert_eq!(output.code, 2, "{text}: {}", output.stderr);
    }

    place.parrot.said().refuses = false;
    place.connect_those(&|kind| kind == "query");
    let told = mark("in place of a key");
    place.parrot.said().secrets.insert(told.clone());
    place.project.write("own/key", &told);
    let file = place.project.path().join("own/key").display().to_string();
    let command = format!("echo {OTHER_KEY} >&2; exit 3");
    for more in [
        [("HEADWATER_KEY", OTHER_KEY)],
        [("HEADWATER_KEY", told.as_str())],
        [("HEADWATER_KEY_FILE", file.as_str())],
        [("HEADWATER_KEY_COMMAND", command.as_str())],
    ] {
        if more[0].0 != "HEADWATER_KEY" {
            place.environment.retain(|(name, _)| name != "HEADWATER_KEY");
        }
        for arguments in
            [["key", "status"].as_slice(), &["run", "query/refused"], &["connections"], &["connect", "query"]]
        {
            let output = place.say(arguments, &more, None);
            assert!(output.code != 0 || arguments == ["connections"], "{arguments:?}: {}", output.stderr);
        }
    }
    place.environment.push(("HEADWATER_KEY".to_owned(), KEY.to_owned()));
    assert_eq!(place.say(&["disconnect", "query"], &[], None).code, 0);
    place.ends(20);
}

#[test]
#[cfg(target_os = "linux")]
fn connecting_listens_on_this_machine_alone() {
    let mut place = Place::new(1);
    let output = place.consent(&|url| {
        let asked = url::Url::parse(url).expect("a URL");
        let back = asked.query_pairs().find(|(name, _)| name == "redirect_uri").expect("it").1.into_owned();
        let back = url::Url::parse(&back).expect("a URL");
        assert_eq!(back.host_str(), Some("127.0.0.1"));
        let port = back.port().expect("a port");
        // what listens on all addresses listens on this one too
        let other = std::net::TcpStream::connect(("127.0.0.2", port));
        assert!(other.is_err(), "it listens on other addresses");
        url.to_owned()
    });
    assert_eq!(output.code, 0, "{}", output.stderr);
}
