//! `headwater new` and `headwater infer` as a person runs them.

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply};

const ANSWER: &str = r#"{
  "results": [
    { "id": 7, "email": "ada@example.com", "balance": "12.50", "tags": ["new"], "archived": false, "updated_at": "2024-05-31T18:30:00Z" },
    { "id": 8, "email": null, "balance": "3", "tags": [], "archived": false, "updated_at": "2024-06-01T00:00:00+02:00" }
  ],
  "paging": { "next": { "after": "c2" } }
}"#;

/// Runs the program; it must succeed.
fn good(project: &Project, arguments: &[&str]) -> String {
    let output = project.headwater(arguments);
    assert_eq!(output.code, 0, "{arguments:?}: {}{}", output.stdout, output.stderr);
    output.stdout
}

/// A project that `new` has made, with a provider.
fn project() -> Project {
    let project = Project::empty();
    good(
        &project,
        &[
            "new",
            "provider",
            "acme",
            "--base-url",
            "https://{region}.acme.example/v2",
            "--auth",
            "bearer",
            "--docs",
            "https://acme.example/docs",
        ],
    );
    project
}

#[test]
fn from_nothing_to_a_sync_whose_test_passes() {
    let project = project();
    project.write("answer.json", ANSWER);
    let sample = project.path().join("answer.json");
    let said = good(
        &project,
        &[
            "new",
            "sync",
            "acme/contacts",
            "--get",
            "/lists/{list}/contacts",
            "--sample",
            sample.to_str().expect("a path"),
            "--incremental",
            "updated_at",
            "--since",
            "updated_since",
            "--deletes",
            "flag",
        ],
    );
    assert!(
        said.contains("`headwater check` finds nothing wrong in them") && said.contains("headwater test acme/contacts"),
        "{said}"
    );
    let tested = good(&project, &["test"]);
    assert!(tested.contains("1 test: 1 ok, 0 failed"), "{tested}");
    let sync = std::fs::read_to_string(project.path().join("integrations/acme/syncs/contacts.yaml")).expect("the sync");
    for line in [
        "# yaml-language-server: $schema=../../../schemas/sync.json",
        "  get: \"/lists/{{ input.list }}/contacts\"",
        "    updated_since: \"{{ watermark }}\"   # left out on the first run",
        "incremental: { field: $.updated_at }",
    ] {
        assert!(sync.lines().any(|known| known == line), "{line}\n{sync}");
    }
    assert!(
        sync.contains("cursor: { from: $.paging.next.after, query: after }") && sync.contains("$[?@.archived == true]"),
        "{sync}"
    );
    let test = std::fs::read_to_string(project.path().join("integrations/acme/tests/contacts.yaml")).expect("the test");
    assert!(!test.contains("ada@example.com"), "a test holds nobody's data: {test}");
    // the editor finds what the first lines name
    assert!(project.path().join("schemas/sync.json").is_file() && project.path().join("headwater.yaml").is_file());
}

#[test]
fn nothing_is_written_over() {
    let project = project();
    let again = ["new", "provider", "acme", "--base-url", "https://other.example", "--auth", "none"];
    let output = project.headwater(&again);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    assert!(
        output.stderr.contains("`providers/acme.yaml` is there already, and nothing was written"),
        "{}",
        output.stderr
    );
    let provider = || std::fs::read_to_string(project.path().join("providers/acme.yaml")).expect("the provider");
    assert!(provider().contains("bearer"));
    good(&project, &[&again[..], &["--force"]].concat());
    assert!(provider().contains("https://other.example"));
}

#[test]
fn what_is_missing_is_named_where_nobody_can_be_asked() {
    let project = project();
    let fails = |arguments: &[&str], expected: &str| {
        let output = project.headwater(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""), "{arguments:?}");
        assert!(output.stderr.contains(expected), "{arguments:?}: {}", output.stderr);
    };
    fails(&["new", "provider", "other"], "`--base-url` is missing");
    fails(&["new", "provider", "other", "--base-url", "https://a.example"], "`--auth` is missing");
    fails(
        &["new", "provider", "other", "--base-url", "a.example", "--auth", "none"],
        "`a.example` cannot be a base URL",
    );
    fails(&["new", "provider", "Other", "--base-url", "https://a.example"], "is no name of something of a provider");
    fails(
        &["new", "provider", "other", "--base-url", "https://a.example", "--auth", "oauth"],
        "`--authorize-url` is missing",
    );
    fails(&["new", "sync", "acme/contacts"], "`--get` is missing");
    fails(&["new", "sync", "acme/contacts", "--get", "/contacts"], "nothing tells the columns");
    fails(
        &["new", "sync", "acme/contacts", "--get", "contacts", "--column", "id"],
        "`contacts` is no path under the base URL",
    );
    fails(
        &["new", "sync", "acme/contacts", "--get", "/contacts", "--column", "id", "--pagination", "next_url"],
        "needs a path to the URL",
    );
    fails(
        &["new", "sync", "acme/contacts", "--get", "/contacts", "--column", "id", "--deletes", "flag"],
        "the member that says that a record is gone",
    );
    fails(
        &["new", "sync", "acme/contacts", "--get", "/contacts", "--column", "id", "--deletes", "absense"],
        "did you mean `absence`",
    );
    fails(
        &[
            "new",
            "sync",
            "acme/contacts",
            "--get",
            "/contacts",
            "--column",
            "id",
            "--incremental",
            "updated_at",
            "--deletes",
            "absence",
        ],
        "`absence` compares whole lists",
    );
    fails(&["new", "sync", "other/contacts", "--get", "/contacts", "--column", "id"], "there is no provider `other`");
    fails(&["new", "action", "acme/create-contact"], "`--post` is missing");
    fails(&["new"], "nothing is named that is to be written");
    let names: Vec<_> = std::fs::read_dir(project.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert!(!names.iter().any(|name| name == "integrations"), "{names:?}");
}

#[test]
fn a_sync_without_a_sample_takes_its_columns_from_flags() {
    let project = project();
    let pages =
        ["--pagination", "page", "--size-param", "per_page", "--total", "$.meta.total", "--records", "$.items[*]"];
    let columns = [
        "--column",
        "order_id:bigint",
        "--column",
        "city:varchar:$.address['the city']",
        "--key",
        "order_id",
        "--deletes",
        "absence",
    ];
    good(&project, &[&["new", "sync", "acme/orders", "--get", "/orders"][..], &pages, &columns].concat());
    // one that follows another sync of the provider's own pages, and a list of ids beside it
    let provider = project.path().join("providers/acme.yaml");
    let text = std::fs::read_to_string(&provider).expect("the provider")
        + "pagination: { cursor: { last_record: $.id, query: after, has_more: $.more } }\n";
    project.write("providers/acme.yaml", text);
    good(
        &project,
        &[
            "new",
            "sync",
            "acme/lines",
            "--get",
            "/lines",
            "--column",
            "id:uuid",
            "--column",
            "at:timestamptz",
            "--incremental",
            "at",
            "--since",
            "from",
            "--deletes",
            "sweep",
        ],
    );
    let tested = good(&project, &["test"]);
    assert!(tested.contains("2 tests: 2 ok"), "{tested}");
    good(&project, &["check", "--strict"]);
}

#[test]
fn an_action_has_a_test_that_passes() {
    let project = project();
    let said = good(
        &project,
        &[
            "new",
            "action",
            "acme/update-contact",
            "--patch",
            "/contacts/{id}",
            "--input",
            "email:string!",
            "--input",
            "tags:array",
            "--docs",
            "https://acme.example/docs/contacts",
            "--json",
        ],
    );
    let told: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(
        told["written"],
        json!(["integrations/acme/actions/update-contact.yaml", "integrations/acme/tests/update-contact.yaml"])
    );
    assert_eq!((&told["errors"], &told["warnings"]), (&json!(0), &json!(0)));
    good(&project, &["new", "action", "acme/find-contact", "--get", "/contacts/search", "--input", "email"]);
    good(&project, &["new", "action", "acme/delete-contact", "--delete", "/contacts/{id}"]);
    good(
        &project,
        &[
            "new",
            "action",
            "acme/post-form",
            "--post",
            "/forms",
            "--form",
            "--input",
            "list:array",
            "--input",
            "n:integer",
        ],
    );
    let people = ["new", "action", "acme/create-person", "--post", "/people"];
    let members = ["--input", "profile.login:string!", "--input", "profile.address.city", "--input", "active:boolean"];
    good(&project, &[&people[..], &members].concat());
    let written = std::fs::read_to_string(project.path().join("integrations/acme/actions/create-person.yaml"));
    let written = written.expect("the action");
    assert!(
        written.contains(
            "profile: { login: \"{{ input.profile_login }}\", address: { city: \"{{ input.profile_address_city }}\" } }"
        ),
        "{written}"
    );
    let tested = good(&project, &["test"]);
    assert!(tested.contains("5 tests: 5 ok"), "{tested}");
    for wrong in [["profile", "profile.login"], ["profile.login", "profile"], ["a..b", "c"], ["a.b", "a_b"]] {
        let given: Vec<&str> = wrong.iter().flat_map(|input| ["--input", *input]).collect();
        let output = project.headwater(&[&["new", "action", "acme/other", "--post", "/other"][..], &given].concat());
        assert_eq!(output.code, 2, "{wrong:?}: {}{}", output.stdout, output.stderr);
        assert!(!project.path().join("integrations/acme/actions/other.yaml").exists());
    }
}

/// A key behind a word, a second provider in a project, and an answer of which some columns are not wanted.
#[test]
fn a_second_provider_is_connected_by_hand_and_its_columns_are_chosen() {
    let project = project();
    let said = good(
        &project,
        &[
            "new",
            "provider",
            "people",
            "--base-url",
            "https://people.example",
            "--auth-header",
            "Authorization",
            "--auth-prefix",
            "SSWS",
        ],
    );
    assert!(said.contains("headwater providers people"), "{said}");
    let provider = std::fs::read_to_string(project.path().join("providers/people.yaml")).expect("the provider");
    assert!(provider.contains("value: \"SSWS {{ credentials.api_key }}\""), "{provider}");
    assert!(good(&project, &["providers", "people"]).contains("api_key: \"${PEOPLE_API_KEY}\""));
    project.write(
        "answer.json",
        r#"[{ "id": "a1", "status": "ACTIVE", "created": "2024-05-01T08:00:00Z", "profile": { "login": "ada", "city": null }, "links": {} }]"#,
    );
    let sample = project.path().join("answer.json");
    let sample = sample.to_str().expect("a path");
    let sync = ["new", "sync", "people/users", "--get", "/users", "--sample", sample, "--without-column", "links"];
    good(&project, &[&sync[..], &["--column", "status:string", "--deletes", "none"]].concat());
    let model = std::fs::read_to_string(project.path().join("integrations/people/models/User.yaml")).expect("a model");
    assert!(model.contains("login: $.profile.login") && !model.contains("links"), "{model}");
    let test = std::fs::read_to_string(project.path().join("integrations/people/tests/users.yaml")).expect("a test");
    assert!(test.contains("SSWS test-api_key"), "{test}");
    assert!(good(&project, &["test"]).contains("1 test: 1 ok"));
    let output = project.headwater(&[&sync[..], &["--without-column", "nothing", "--force"]].concat());
    assert!(output.code == 2 && output.stderr.contains("columns are id, status"), "{}", output.stderr);
}

#[test]
fn an_answer_is_looked_at_and_nothing_is_written() {
    let project = Project::empty();
    project.write("contacts.json", ANSWER);
    let file = project.path().join("contacts.json");
    let file = file.to_str().expect("a path");
    let shown = good(&project, &["infer", file]);
    insta::assert_snapshot!("infer", shown);
    let told: Value = serde_json::from_str(&good(&project, &["infer", file, "--json"])).expect("JSON");
    assert_eq!((&told["records"], &told["count"], &told["key"]), (&json!("$.results[*]"), &json!(2), &json!(["id"])));
    assert_eq!(told["watermark"], json!("$.updated_at"));
    assert_eq!(told["pagination"]["cursor"]["from"], json!("$.paging.next.after"));
    let balance = &told["columns"].as_array().expect("columns")[2];
    assert_eq!((&balance["name"], &balance["type"]), (&json!("balance"), &json!("decimal(18,2)")));
    let entries = std::fs::read_dir(project.path()).expect("a folder").count();
    assert_eq!(entries, 1);
    project.write("empty.json", "{\"results\": []}");
    let output = project.headwater(&[
        "infer",
        project.path().join("empty.json").to_str().expect("a path"),
        "--records",
        "$.results[*]",
    ]);
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("there are no records at `$.results[*]`"), "{}", output.stderr);
}

#[test]
fn an_api_is_asked_once_as_the_connection_would_and_its_secrets_stay_hidden() {
    let api = Api::start(|request| match request.header("authorization") {
        Some("Bearer s3cret-token") => {
            Reply::json(&json!([{ "id": 1, "seen": request.header("authorization"), "created_at": 1_717_180_200 }]))
                .with("Link", "</things?page=2>; rel=\"next\"")
        }
        _ => Reply::status(401, "no"),
    });
    let project = Project::empty();
    good(&project, &["new", "provider", "acme", "--base-url", &api.url(), "--auth", "bearer"]);
    let token = [("ACME_TOKEN", "s3cret-token")];
    let asked = ["infer", "--connection", "acme", "--get", "/things", "--size-param", "per_page", "--page-size", "2"];
    let output = project.headwater_with(&asked, &token);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(output.stdout.contains("link: {}") && output.stdout.contains("format: epoch_s"), "{}", output.stdout);
    assert!(!output.stdout.contains("s3cret") && !output.stderr.contains("s3cret"), "{output:?}");
    assert_eq!(api.asked(), ["GET /things?per_page=2"]);
    let written = project.headwater_with(&[&asked[..], &["--write", "acme/things"]].concat(), &token);
    assert_eq!(written.code, 0, "{}", written.stderr);
    let tested = good(&project, &["test"]);
    assert!(tested.contains("1 test: 1 ok"), "{tested}");
    let run = project.headwater_with(&["dry-run"], &token);
    assert!(run.code == 0 && run.stdout.contains("1 of 1 rows"), "{run:?}");
    let refused = project.headwater_with(&asked, &[("ACME_TOKEN", "another-one")]);
    assert_eq!(refused.code, 3, "{refused:?}");
}

#[test]
fn an_openapi_document_becomes_a_project() {
    let project = Project::empty();
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/draft/bookshop.yaml");
    good(&project, &["new", "--openapi", document]);
    let tested = good(&project, &["test"]);
    assert!(tested.contains("6 tests: 6 ok"), "{tested}");
    let output = project.headwater(&["check"]);
    assert!(output.code == 0 && output.stdout.starts_with("ok:"), "{output:?}");
    let some = Project::empty();
    let told: Value = serde_json::from_str(&good(
        &some,
        &["new", "--openapi", document, "--name", "shop", "--only", "order", "--no-actions", "--json"],
    ))
    .expect("JSON");
    let syncs: Vec<&str> = told["written"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(Value::as_str)
        .filter(|path| path.contains("/syncs/"))
        .collect();
    assert_eq!(syncs, ["integrations/shop/syncs/orders.yaml"]);
    for (text, expected) in [
        ("swagger: '2.0'", "Swagger 2.0"),
        ("a: [", "neither JSON nor YAML"),
        ("[]", "does not say `openapi"),
        ("{\"openapi\": \"4.0\"}", "of version `4.0`"),
    ] {
        some.write("wrong.yaml", text);
        let output = some.headwater(&["new", "--openapi", some.path().join("wrong.yaml").to_str().expect("a path")]);
        assert_eq!(output.code, 2, "{text}");
        assert!(output.stderr.contains(expected), "{text}: {}", output.stderr);
    }
}
