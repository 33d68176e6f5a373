//! TLS: what is wrong is told so that one knows what to do, and the client certificate goes where credentials go.

use std::io::Write;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{Asks, Authority, Certified, Output, Project, TlsApi};

const SYNC: &str = "request: { get: /items }\nresponse: { records: \"$.items[*]\" }\ndeletes: { absence: {} }";
const MODEL: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint } }";

fn one_item() -> String {
    json!({ "items": [{ "id": 1 }] }).to_string()
}

/// A run in which this authority is trusted by the machine.
fn run(project: &Project, authority: &Authority, environment: &[(&str, &str)]) -> Output {
    project.write("trusted.pem", authority.pem());
    let trusted = project.path().join("trusted.pem");
    let mut environment = environment.to_vec();
    environment.push(("SSL_CERT_FILE", trusted.to_str().expect("UTF-8")));
    project.headwater_with(&["run", "--json"], &environment)
}

/// The error of a run that this authority is trusted in: its message and its hint.
fn refused(base_url: &str, authority: &Authority) -> (String, String) {
    let output = run(&Project::simple(base_url, SYNC, MODEL), authority, &[]);
    assert_eq!(output.code, 3, "{}{}", output.stdout, output.stderr);
    let error = &output.report()[0]["error"];
    assert_eq!(error["code"], "tls", "{error}");
    let text = |key: &str| error[key].as_str().expect(key).to_owned();
    (text("message"), text("hint"))
}

#[test]
fn a_certificate_that_is_as_it_must_be_is_taken() {
    let authority = Authority::new();
    let api = TlsApi::start(&authority.certify("localhost"), &Asks::Nobody, &one_item());
    let output = run(&Project::simple(&api.url(), SYNC, MODEL), &authority, &[]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(output.report()[0]["added"], 1);
}

#[test]
fn an_expired_certificate_is_told_with_its_day() {
    let authority = Authority::new();
    let old = authority.certify_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 3);
    });
    let api = TlsApi::start(&old, &Asks::Nobody, &one_item());
    let (message, hint) = refused(&api.url(), &authority);
    let port = api.port();
    assert!(
        message.ends_with(&format!(
            "no TLS with `localhost`, port {port}: its certificate expired on 2020-02-03 00:00 UTC"
        )),
        "{message}"
    );
    assert!(hint.contains("renew"), "{hint}");
    assert!(api.asked().is_empty());
}

#[test]
fn a_certificate_of_the_future_is_told_with_its_day() {
    let authority = Authority::new();
    let early = authority.certify_with("localhost", |params| {
        params.not_before = rcgen::date_time_ymd(4000, 1, 1);
        params.not_after = rcgen::date_time_ymd(4001, 1, 1);
    });
    let api = TlsApi::start(&early, &Asks::Nobody, &one_item());
    let (message, hint) = refused(&api.url(), &authority);
    assert!(message.ends_with("its certificate is not valid before 4000-01-01 00:00 UTC"), "{message}");
    assert!(hint.contains("clock"), "{hint}");
}

#[test]
fn a_certificate_for_another_name_is_told_with_both_names() {
    let authority = Authority::new();
    let api = TlsApi::start(&authority.certify("api.other.example"), &Asks::Nobody, &one_item());
    let (message, hint) = refused(&api.url(), &authority);
    assert!(
        message.contains("`localhost`") && message.ends_with("its certificate is for `api.other.example`"),
        "{message}"
    );
    assert!(hint.contains("base_url"), "{hint}");
}

#[test]
fn a_certificate_that_nobody_trusted_vouches_for_is_told() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for certified in [false, true]
        .map(|as_authority| Certified::self_signed("localhost", as_authority))
        .into_iter()
        .chain([stranger.certify("localhost")])
    {
        let api = TlsApi::start(&certified, &Asks::Nobody, &one_item());
        let (message, hint) = refused(&api.url(), &authority);
        assert!(message.contains("self-signed, or of an unknown authority"), "{message}");
        assert!(hint.contains("SSL_CERT_FILE"), "{hint}");
        assert!(api.asked().is_empty());
    }
}

/// A port where these bytes are the answer to whatever is said.
fn says(bytes: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            stream.write_all(bytes).ok();
            stream.shutdown(std::net::Shutdown::Write).ok();
            std::io::copy(&mut stream, &mut std::io::sink()).ok();
        }
    });
    port
}

#[test]
fn a_port_without_tls_is_told() {
    for bytes in [b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(), b"SSH-2.0-OpenSSH_9.6\r\n", b"220 mail ready\r\n"] {
        let (message, hint) = refused(&format!("https://localhost:{}", says(bytes)), &Authority::new());
        assert!(message.ends_with("what answers there does not speak TLS"), "{message}");
        assert!(hint.contains("is the port right?") && hint.contains("http://"), "{hint}");
    }
}

#[test]
fn a_server_that_speaks_only_old_tls_is_told() {
    // a fatal alert (RFC 8446, 6): `protocol_version`
    let (message, hint) = refused(&format!("https://localhost:{}", says(&[21, 3, 1, 0, 2, 2, 70])), &Authority::new());
    assert!(message.contains("no version or cipher of TLS that both sides speak"), "{message}");
    assert!(hint.contains("TLS 1.2 and 1.3"), "{hint}");
}

#[test]
fn a_server_that_wants_a_client_certificate_is_told() {
    let authority = Authority::new();
    let api = TlsApi::start(&authority.certify("localhost"), &Asks::Everybody(&authority), &one_item());
    let (message, hint) = refused(&api.url(), &authority);
    assert!(message.contains("the server did not accept who asks by certificate"), "{message}");
    assert!(hint.contains("`tls` of the provider"), "{hint}");
    assert!(api.asked().is_empty());
}

/// An answer over HTTP/2 (RFC 9113) whose one header line has so many bytes: settings, then headers in as many frames as it takes.
fn http2_answer(value: usize) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    // HPACK (RFC 7541): `:status: 200` by its index, then a literal with a new name; a number above 127 goes on in groups of seven bits
    let mut block = [&[0x88, 0x00, 6][..], b"x-long", &[0x7f]].concat();
    let mut rest = value - 127;
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).expect("seven bits"));
    block.resize(block.len() + value, b'a');
    let chunks: Vec<&[u8]> = block.chunks(16_384).collect();
    let mut bytes = frame(4, 0, 0, &[]);
    for (nth, chunk) in chunks.iter().enumerate() {
        let ends = if nth + 1 == chunks.len() { 4 } else { 0 };
        bytes.extend(if nth == 0 { frame(1, ends, 1, chunk) } else { frame(9, ends, 1, chunk) });
    }
    bytes.extend(frame(0, 1, 1, one_item().as_bytes()));
    bytes
}

#[test]
fn headers_over_http2_have_a_bound_too() {
    let authority = Authority::new();
    for (value, fits) in [(60 << 10, true), (66 << 10, false), (4 << 20, false)] {
        let api = TlsApi::says(&authority.certify("localhost"), &Asks::Nobody, b"h2", http2_answer(value));
        let project = Project::simple(&api.url(), SYNC, MODEL);
        // the server answers once
        let provider = format!("provider: api\nbase_url: {}\nretry: {{ attempts: 1 }}\n", api.url());
        project.write("providers/api.yaml", provider);
        let output = run(&project, &authority, &[]);
        let report = output.report().remove(0);
        assert_eq!(output.code, if fits { 0 } else { 3 }, "{value}: {report}");
        // the layer below tells no more than that the server broke the protocol
        assert!(fits || report["error"]["code"] == "broken_connection", "{value}: {report}");
    }
}

/// A project that shows a certificate; `tls` and `provider` are further words of `tls` and of the provider.
fn mutual(base_url: &str, tls: &str, provider: &str) -> Project {
    let project = Project::simple(base_url, SYNC, MODEL);
    project.write(
        "providers/api.yaml",
        format!(
            "provider: api\nbase_url: {base_url}\nretry: {{ attempts: 1 }}\n\
             tls: {{ client_certificate: \"{{{{ credentials.certificate }}}}\", client_key: \"{{{{ credentials.key }}}}\"{tls} }}\n{provider}\n"
        ),
    );
    let credentials = "credentials: { certificate: \"${TEST_CERTIFICATE}\", key: \"${TEST_KEY}\" }";
    project.write(
        "headwater.yaml",
        format!("database: test.duckdb\nconnections:\n  acme: {{ provider: api, {credentials} }}\n"),
    );
    project
}

fn environment(client: &Certified) -> [(&'static str, &str); 2] {
    [("TEST_CERTIFICATE", &client.certificate), ("TEST_KEY", &client.key)]
}

#[test]
fn a_client_certificate_proves_who_asks() {
    let authority = Authority::new();
    let api = TlsApi::start(&authority.certify("localhost"), &Asks::Everybody(&authority), &one_item());
    let project = mutual(&api.url(), "", "");
    let client = authority.certify("client.example");
    let output = run(&project, &authority, &environment(&client));
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(api.asked(), [("GET /items HTTP/1.1".to_owned(), true)]);

    // on one line, as environment variables often have it
    let [certificate, key] = [&client.certificate, &client.key].map(|pem| pem.trim_end().replace('\n', "\\n"));
    let output = run(&project, &authority, &[("TEST_CERTIFICATE", &certificate), ("TEST_KEY", &key)]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);

    let stranger = Authority::new().certify("client.example");
    let output = run(&project, &authority, &environment(&stranger));
    let error = &output.report()[0]["error"];
    assert_eq!(error["code"], "tls", "{error}");
    assert!(
        error["message"].as_str().expect("a message").contains("did not accept who asks by certificate"),
        "{error}"
    );
}

#[test]
fn another_origin_does_not_see_the_client_certificate() {
    let authority = Authority::new();
    let certified = authority.certify("localhost");
    let last = json!({ "items": [{ "id": 2 }] }).to_string();
    let other = TlsApi::start(&certified, &Asks::Whoever(&authority), &last);
    for trusted in [false, true] {
        let first = json!({ "items": [{ "id": 1 }], "next": format!("{}/files", other.url()) }).to_string();
        let api = TlsApi::start(&certified, &Asks::Everybody(&authority), &first);
        let words = if trusted {
            format!("trusted_origins: [\"{}\"]", other.url())
        } else {
            "network: { allow_private: true }".to_owned()
        };
        let project = mutual(&api.url(), "", &format!("{words}\npagination: {{ next_url: {{ from: $.next }} }}"));
        let output = run(&project, &authority, &environment(&authority.certify("client.example")));
        assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
        assert_eq!(other.asked().pop(), Some(("GET /files HTTP/1.1".to_owned(), trusted)));
    }
}

#[test]
fn an_authority_of_ones_own_is_trusted_where_credentials_go() {
    let (machine, own) = (Authority::new(), Authority::new());
    let api = TlsApi::start(&own.certify("localhost"), &Asks::Everybody(&own), &one_item());
    let project = mutual(&api.url(), ", authority: \"{{ config.authority }}\"", "");
    let credentials = "credentials: { certificate: \"${TEST_CERTIFICATE}\", key: \"${TEST_KEY}\" }";
    let settings = json!({ "authority": own.pem() });
    project.write(
        "headwater.yaml",
        format!(
            "database: test.duckdb\nconnections:\n  acme: {{ provider: api, {credentials}, config: {settings} }}\n"
        ),
    );
    let output = run(&project, &machine, &environment(&own.certify("client.example")));
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert_eq!(api.asked().len(), 1);
}

#[test]
fn certificates_that_cannot_be_right_are_told_before_anything_is_sent_and_without_the_key() {
    let authority = Authority::new();
    let api = TlsApi::start(&authority.certify("localhost"), &Asks::Nobody, &one_item());
    let project = mutual(&api.url(), "", "");
    let (client, other) = (authority.certify("client.example"), authority.certify("client.example"));
    let broken = client.certificate.replacen("MII", "AAA", 1);
    let encrypted = client.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let no_key =
        client.key.lines().map(|line| if line.contains('-') { line } else { "AAAA" }).collect::<Vec<_>>().join("\n");
    let table: [(&str, &str, &str); 8] = [
        ("secret-text", &client.key, "tls `client_certificate`: this is not PEM"),
        (&client.key, &client.key, "tls `client_certificate`: there is no certificate in it"),
        (&broken, &client.key, "tls `client_certificate`: "),
        (&client.certificate, "secret-text", "tls `client_key`: this is not PEM"),
        (&client.certificate, &client.certificate, "tls `client_key`: there is no private key in it"),
        (&client.certificate, &encrypted, "tls `client_key`: the private key is encrypted"),
        (&client.certificate, &no_key, "tls `client_key`: the private key is broken"),
        (&client.certificate, &other.key, "tls `client_key`: the private key does not belong to the first certificate"),
    ];
    for (certificate, key, expected) in table {
        let output = run(&project, &authority, &[("TEST_CERTIFICATE", certificate), ("TEST_KEY", key)]);
        assert_eq!(output.code, 2, "{expected}: {}{}", output.stdout, output.stderr);
        let told = format!("{}{}", output.stdout, output.stderr);
        assert!(told.contains(expected), "{expected}: {told}");
        let lines = client.key.lines().filter(|line| line.len() > 20 && !line.contains("---"));
        assert!(!lines.chain(["secret-text"]).any(|line| told.contains(line)), "{told}");
    }
    let errors: Value =
        project.headwater(&["check", "--json"]).json().into_iter().filter(|one| one["severity"] == "error").collect();
    assert_eq!(errors, json!([]), "a check needs no secrets");
    assert!(api.asked().is_empty());
}
