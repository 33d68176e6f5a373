//! What `headwater new` writes: `check` finds nothing in it, and its tests pass, for every combination of what a person can choose.

use std::path::Path;
use std::sync::Arc;

use headwater::diagnostic::Source;
use headwater::draft::{
    ColumnDraft, DeletesDraft, DraftFile, Ends, FlagKind, Guess, IdList, IncrementalDraft, ModelDraft, Paging,
    ProviderDraft, Surroundings, SyncDraft, TokenFrom, Way, files_of_provider, files_of_sync,
};
use headwater::plan::{ColumnType, Compiled, Input, Known, compile};
use headwater::spec::schema::Kind;
use headwater::{engine, offline};

/// The project that drafts stand in, compiled.
fn compiled(files: &[DraftFile]) -> Compiled {
    let input = |file: &DraftFile| {
        let parts: Vec<&str> = file.path.split('/').collect();
        let (kind, integration) = match parts.as_slice() {
            ["providers", _] => (Kind::Provider, None),
            ["integrations", of, "syncs", _] => (Kind::Sync, Some((*of).to_owned())),
            ["integrations", of, "models", _] => (Kind::Model, Some((*of).to_owned())),
            ["integrations", of, "actions", _] => (Kind::Action, Some((*of).to_owned())),
            ["integrations", of, "tests", _] => (Kind::Test, Some((*of).to_owned())),
            other => panic!("{other:?}"),
        };
        let source = Arc::new(Source::new(file.path.clone(), file.text.clone()));
        Input { source, kind, integration, builtin: false, stray: false }
    };
    let inputs: Vec<Input> = files.iter().map(input).collect();
    compile(&inputs, Path::new("."), &Known::default())
}

/// Asserts that nothing is wrong with drafts and that those of their tests pass whose number is wanted; gives how many these are.
pub fn assert_good(files: &[DraftFile], is_wanted: impl Fn(usize) -> bool) -> usize {
    let mut compiled = compiled(files);
    let text = |path: &str| files.iter().find(|file| file.path == path).map_or("", |file| file.text.as_str());
    if let Some(first) = compiled.diagnostics.first() {
        panic!(
            "{} mistakes, the first:\n{}\n{}",
            compiled.diagnostics.len(),
            first.render(false),
            text(&first.source.name)
        );
    }
    let mut number = 0..;
    compiled.tests.retain(|_| number.next().is_some_and(&is_wanted));
    let count = compiled.tests.len();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let mut failed = Vec::new();
    runtime.block_on(offline::run(compiled.tests, Path::new("."), engine::system_clock(), |report| {
        failed.extend(report.failed.map(|failed| (report.id, report.file, failed)));
    }));
    if let Some((id, file, (run, failures))) = failed.first() {
        let sync = file.replace("/tests/", "/syncs/");
        let ids: Vec<&String> = failed.iter().map(|(id, _, _)| id).collect();
        panic!(
            "{} of {count} fail: {ids:?}\n{id}, run {run}: {failures:#?}\n{}\n{}",
            failed.len(),
            text(&sync),
            text(file)
        );
    }
    count
}

fn column(name: &str, kind: &str, format: Option<&str>) -> ColumnDraft {
    ColumnDraft {
        name: name.to_owned(),
        source: headwater::draft::Source::Path(format!("$.{name}")),
        column_type: ColumnType::parse(kind).expect("a type"),
        format: format.map(str::to_owned),
        description: None,
        why: None,
    }
}

fn provider(name: &str, way: Option<Way>) -> ProviderDraft {
    ProviderDraft {
        name: name.to_owned(),
        title: None,
        docs: None,
        base_url: Guess::said("https://api.acme.example/v2".to_owned()),
        config: Vec::new(),
        auth: way.map(|way| ("main".to_owned(), Guess::said(way))).into_iter().collect(),
        quotas: Vec::new(),
        verify: None,
        notes: Vec::new(),
    }
}

fn ways() -> Vec<Option<Way>> {
    let token_url = || "https://auth.acme.example/token".to_owned();
    vec![
        None,
        Some(Way::None),
        Some(Way::Header { name: "X-Api-Key".to_owned(), prefix: None }),
        Some(Way::Query("key".to_owned())),
        Some(Way::Cookie("session".to_owned())),
        Some(Way::Basic),
        Some(Way::Bearer),
        Some(Way::AuthorizationCode {
            authorize_url: "https://auth.acme.example/agree".to_owned(),
            token_url: token_url(),
            scopes: vec!["read".to_owned()],
        }),
        Some(Way::ClientCredentials { token_url: token_url(), scopes: Vec::new() }),
    ]
}

fn pagings() -> Vec<Paging> {
    let path = |name: &str| Some(format!("$.{name}"));
    let ends = [
        Ends::default(),
        Ends { has_more: path("has_more"), ..Ends::default() },
        Ends { total: path("total"), ..Ends::default() },
        Ends { total_pages: path("meta.pages"), ..Ends::default() },
        Ends { has_more: path("has_more"), total: path("total"), total_pages: path("meta.pages") },
    ];
    let query = || "next".to_owned();
    let mut pagings = vec![Paging::None, Paging::Link, Paging::NextUrl { from: "$.links.next".to_owned() }];
    for has_more in [None, path("has_more")] {
        for from in [TokenFrom::Answer("$.paging.next".to_owned()), TokenFrom::LastRecord("$.id".to_owned())] {
            pagings.push(Paging::Cursor { from, query: query(), has_more: has_more.clone() });
        }
    }
    for ends in ends {
        if ends.total_pages.is_none() {
            let (limit_param, ends) = (Some("limit".to_owned()), ends.clone());
            pagings.push(Paging::Offset { query: query(), limit: 50, limit_param, ends });
        }
        let size_param = Some("per_page".to_owned());
        pagings.push(Paging::Page { query: query(), start: 1, size: Some(50), size_param, ends });
    }
    pagings.push(Paging::Page { query: query(), start: 0, size: Some(50), size_param: None, ends: Ends::default() });
    pagings
}

/// The columns that a list can be asked by, each with whether the API can filter.
fn marks() -> Vec<Option<(ColumnDraft, bool)>> {
    vec![
        None,
        Some((column("updated_at", "timestamptz", None), true)),
        Some((column("updated_at", "timestamptz", None), false)),
        Some((column("updated_at", "timestamptz", Some("epoch_s")), true)),
        Some((column("updated_at", "timestamptz", Some("epoch_ms")), true)),
        Some((column("updated_at", "timestamptz", Some("%d.%m.%Y %H:%M")), true)),
        Some((column("updated_at", "timestamp", None), true)),
        Some((column("updated_at", "date", None), true)),
        Some((column("version", "bigint", None), true)),
        Some((column("version", "varchar", None), true)),
    ]
}

fn all_deletes(paging: &Paging) -> Vec<DeletesDraft> {
    let list =
        |path: &str, paging: Paging| IdList { path: path.to_owned(), records: "$.results[*]".to_owned(), paging };
    vec![
        DeletesDraft::None(None),
        DeletesDraft::None(Some("they are never deleted".to_owned())),
        DeletesDraft::Absence,
        DeletesDraft::Flag { path: "$.archived".to_owned(), holds: FlagKind::True },
        DeletesDraft::Flag { path: "$.deleted_at".to_owned(), holds: FlagKind::Time },
        DeletesDraft::Flag { path: "$.meta['the state']".to_owned(), holds: FlagKind::Text("it's gone".to_owned()) },
        DeletesDraft::Feed(list("/contacts/deleted", Paging::None)),
        DeletesDraft::Sweep(list("/contacts", paging.clone())),
    ]
}

fn sync(
    name: String,
    paging: &Paging,
    mark: Option<&(ColumnDraft, bool)>,
    deletes: &DeletesDraft,
) -> (SyncDraft, ModelDraft) {
    let mut columns =
        vec![column("id", "bigint", None), column("name", "varchar", None), column("total", "decimal(18,2)", None)];
    columns.extend(mark.map(|(column, _)| column.clone()));
    match deletes {
        DeletesDraft::Flag { path, holds: FlagKind::True } if path == "$.archived" => {
            columns.push(column("archived", "boolean", None));
        }
        DeletesDraft::Flag { holds: FlagKind::Time, .. } => columns.push(column("deleted_at", "timestamptz", None)),
        _ => {}
    }
    let model = ModelDraft {
        name: headwater::draft::model_name(&name),
        table: name.clone(),
        description: None,
        key: Guess::said(vec!["id".to_owned()]),
        columns,
        notes: Vec::new(),
    };
    let incremental = mark.map(|(column, filters)| {
        let since = filters.then(|| "since".to_owned());
        Guess::guessed(IncrementalDraft { column: column.name.clone(), since }, "why not")
    });
    let sync = SyncDraft {
        name,
        description: None,
        docs: None,
        scopes: Vec::new(),
        path: "/contacts".to_owned(),
        query: vec![("view".to_owned(), Guess::said("all".into()))],
        input: Vec::new(),
        records: Guess::said("$.results[*]".to_owned()),
        paging: Guess::said(paging.clone()),
        incremental,
        deletes: Guess::said(deletes.clone()),
        notes: Vec::new(),
    };
    (sync, model)
}

/// The syncs of one provider, for all of these choices.
fn combinations(
    around: &Surroundings,
    pagings: &[Paging],
    marks: &[Option<(ColumnDraft, bool)>],
    deletes: Option<&[usize]>,
) -> Vec<DraftFile> {
    let mut files = Vec::new();
    for (p, paging) in pagings.iter().enumerate() {
        for (m, mark) in marks.iter().enumerate() {
            for (d, way) in all_deletes(paging).iter().enumerate() {
                let is_wanted = deletes.is_none_or(|wanted| wanted.contains(&d));
                // what is not read cannot be missed
                if !is_wanted || (mark.is_some() && *way == DeletesDraft::Absence) {
                    continue;
                }
                let (sync, model) = sync(format!("p{p}m{m}d{d}"), paging, mark.as_ref(), way);
                let own = files_of_sync(&sync, &model, around);
                assert_eq!(own.len(), 3, "a test for {sync:?}");
                files.extend(own);
            }
        }
    }
    files
}

#[test]
fn every_paging_with_every_way_to_learn_of_changes_and_deletes() {
    let mut files = files_of_provider(&provider("acme", Some(Way::Bearer)));
    let around = Surroundings { provider: "acme".to_owned(), ..Surroundings::default() };
    files.extend(combinations(&around, &pagings(), &marks(), None));
    // all are checked; those that run meet each paging, each mark and each way of deletes
    let every = if std::env::var_os("HEADWATER_DRAFTS_ALL").is_some() { 1 } else { 7 };
    assert!(assert_good(&files, |number| number % every == 0) > 120);
}

#[test]
fn every_way_in() {
    let mut files = Vec::new();
    let paging =
        Paging::Cursor { from: TokenFrom::Answer("$.next".to_owned()), query: "cursor".to_owned(), has_more: None };
    let mark = Some((column("updated_at", "timestamptz", None), true));
    for (at, way) in ways().into_iter().enumerate() {
        let provider = provider(&format!("acme{at}"), way);
        let around = headwater::draft::surroundings_of_draft(&provider);
        // a provider that is read from its file is the same to a test
        let own = files_of_provider(&provider);
        let spec = headwater::spec::yaml::parse(&own[0].text).expect("YAML");
        let read = headwater::draft::surroundings(&serde_json::from_value(spec).expect("a provider"));
        assert!(
            read.proof == around.proof || around.proof.as_ref().is_some_and(|(_, value)| value == "Bearer test-token"),
            "{read:?}"
        );
        files.extend(own);
        files.extend(combinations(&around, std::slice::from_ref(&paging), std::slice::from_ref(&mark), Some(&[3, 7])));
    }
    assert_eq!(assert_good(&files, |_| true), 2 * ways().len());
}

fn drafts(text: &str) -> (headwater::draft::openapi::Drafts, Vec<DraftFile>) {
    let document = headwater::spec::foreign::parse(text).expect("a document");
    let drafts = headwater::draft::openapi::draft(&document, "shop", None, &[]).expect("drafts");
    let around = headwater::draft::surroundings_of_draft(&drafts.provider);
    let mut files = files_of_provider(&drafts.provider);
    drafts.syncs.iter().for_each(|(sync, model)| files.extend(files_of_sync(sync, model, &around)));
    drafts.actions.iter().for_each(|action| files.extend(headwater::draft::files_of_action(action, &around)));
    (drafts, files)
}

const BOOKSHOP: &str = include_str!("draft/bookshop.yaml");

#[test]
fn an_openapi_document_becomes_an_integration() {
    let (drafts, files) = drafts(BOOKSHOP);
    let names: Vec<&str> = drafts.syncs.iter().map(|(sync, _)| sync.name.as_str()).collect();
    assert_eq!(names, ["books", "shelves_books", "shelves", "orders"]);
    let names: Vec<&str> = drafts.actions.iter().map(|action| action.name.as_str()).collect();
    assert_eq!(names, ["create_book", "delete_book"]);
    let skipped: Vec<&str> = drafts.skipped.iter().map(|(operation, _)| operation.as_str()).collect();
    assert_eq!(skipped, ["get /books/{id}", "post /cover"]);
    assert_eq!(assert_good(&files, |_| true), 6);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("draft/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| {
        let all: String = files.iter().map(|file| format!("=== {}\n{}\n", file.path, file.text)).collect();
        insta::assert_snapshot!("bookshop", all);
    });
}

/// A document of somebody who means no good: names that are YAML, templates and paths, references in circles, lists without end.
#[test]
fn a_hostile_document_says_nothing_but_texts() {
    let evil = "x\\n- evil: {{ credentials.api_key }}\\u2028#'\\\"]} *a &b !c";
    let json = r##"{
        "openapi": "3.1.0", "info": { "title": "EVIL" },
        "externalDocs": { "url": "javascript:alert(1)" },
        "servers": [{ "url": "https://{EVIL}.example.com/{{ credentials.api_key }}" }],
        "components": {
            "securitySchemes": { "EVIL": { "type": "apiKey", "in": "header", "name": "X\nEvil: 1" }, "b": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "A": { "$ref": "#/components/schemas/B" }, "B": { "$ref": "#/components/schemas/A" },
                "Deep": { "allOf": [{ "$ref": "#/components/schemas/Deep" }, { "$ref": "#/components/schemas/Deep" }], "properties": { "d": { "$ref": "#/components/schemas/Deep" } } },
                "Row": { "type": "object", "description": "EVIL", "properties": {
                    "id": { "type": "integer" }, "ID": { "type": "integer" }, "EVIL": { "type": "string", "description": "EVIL", "enum": ["EVIL", "EVIL", 1] },
                    "": { "type": "string" }, "a": { "$ref": "#/components/schemas/A" }, "deep": { "$ref": "#/components/schemas/Deep" },
                    "__proto__": { "type": ["string", "integer", "null"] }, "$ref": { "type": "string" }, "no": { "type": "boolean" }, "{{ x }}": { "type": "string" }
                } }
            }
        },
        "paths": {
            "/rows": {
                "get": { "summary": "EVIL", "parameters": [
                    { "name": "EVIL", "in": "query", "required": true, "schema": { "type": "string", "enum": ["EVIL"] } },
                    { "name": "page_token", "in": "query", "schema": { "type": "string" } }
                ], "responses": { "200": { "content": { "application/json": { "schema": { "properties": {
                    "data": { "type": "array", "items": { "$ref": "#/components/schemas/Row" } }, "next_page_token": { "type": "string" } } } } } } } },
                "post": { "operationId": "EVIL", "requestBody": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Row" } } } }, "responses": { "200": { "description": "" } } }
            },
            "/deep": { "get": { "responses": { "200": { "content": { "application/json": { "schema": { "type": "array", "items": { "$ref": "#/components/schemas/Deep" } } } } } } } },
            "/circle": { "get": { "responses": { "200": { "content": { "application/json": { "schema": { "$ref": "#/components/schemas/A" } } } } } } },
            "/{{ credentials.api_key }}/x": { "get": { "responses": { "200": { "content": { "application/json": { "schema": { "type": "array", "items": { "$ref": "#/components/schemas/Row" } } } } } } } },
            "/a{EVIL}b": { "delete": { "parameters": [{ "name": "EVIL", "in": "path", "required": true }], "responses": {} } },
            "rows": { "$ref": "#/paths/rows" }
        }
    }"##;
    let (drafts, files) = drafts(&json.replace("EVIL", evil));
    assert_eq!(drafts.syncs.len(), 1, "{:?}", drafts.skipped);
    assert!(assert_good(&files, |_| true) >= 2);
    for file in &files {
        let named = file
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'))
            .any(|line| line.contains("{{ credentials"));
        // as data it may stand in an answer or a schema, which are no templates
        let is_template = file.path.starts_with("providers/");
        assert!(!named || !is_template, "{}", file.text);
    }
}

mod samples {
    use headwater::draft::{Wishes, propose, surroundings_of_draft};
    use headwater::plan::TestWork;
    use headwater::record::{Json, Mapper, parse, select};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{DraftFile, Way, compiled, files_of_provider, files_of_sync, provider};

    /// The draft of a sync from an answer.
    fn drafted(text: &str) -> Vec<DraftFile> {
        let proposal = propose(text.as_bytes(), None, false).unwrap_or_else(|error| panic!("{error}: {text}"));
        let provider = provider("acme", Some(Way::Bearer));
        let wishes = Wishes { name: "things".to_owned(), get: "/things".to_owned(), ..Wishes::default() };
        let (sync, model) = wishes.draft(Some(&proposal), None).expect("a draft");
        let mut files = files_of_provider(&provider);
        files.extend(files_of_sync(&sync, &model, &surroundings_of_draft(&provider)));
        files
    }

    /// The records of the answer that do not fit the draft that was made from them.
    fn quarantined(text: &str) -> Vec<String> {
        let mut files = drafted(text);
        if !files.iter().any(|file| file.path.contains("/tests/")) {
            let text = "test: things\nsync: things\nruns: [{}]\n".to_owned();
            files.push(DraftFile { path: "integrations/acme/tests/things.yaml".to_owned(), text });
        }
        let compiled = compiled(&files);
        assert!(compiled.diagnostics.is_empty(), "{}", compiled.diagnostics[0].render(false));
        let Some(test) = compiled.tests.first() else { panic!("a test for {text}") };
        let TestWork::Run(plans) = &test.runs[0].work else { panic!("a run") };
        let root = parse(text.as_bytes()).expect("JSON");
        let records: Vec<&Json<'_>> =
            plans[0].list.response.records.iter().flat_map(|path| select(path, &root)).collect();
        assert!(!records.is_empty());
        let batch = Mapper::new(&plans[0]).map(&records, &minijinja::Value::from(())).expect("rows");
        batch.quarantined.iter().map(|bad| format!("{:?}: {}", bad.column, bad.reason)).collect()
    }

    fn any_member() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            prop::sample::select(vec![
                "",
                "2024-05-31T18:30:00Z",
                "2024-05-31T18:30:00",
                "2024-05-31 18:30:00+02:00",
                "2024-05-31",
                "18:30",
                "2024-02-30",
                "12.50",
                "-0.1",
                "1e5",
                "007",
                "1717180200",
                "true",
                "6f1b8a52-1f0c-4ad8-9f07-54a5a3f5d1aa",
                "6F1B8A521F0C4AD89F0754A5A3F5D1AA",
                "99999999999999999999",
                "24:00",
                "2016-12-31T23:59:60Z",
            ])
            .prop_map(str::to_owned),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            prop::sample::select(vec![0_u64, 1, 1_717_180_200, 1_717_180_200_123, u64::MAX]).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            text.prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
                prop::collection::btree_map("[a-z]{1,3}", inner, 0..3).prop_map(|members| json!(members)),
            ]
        })
    }

    fn any_record() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            prop::sample::select(vec![
                "id",
                "Id",
                "uuid",
                "name",
                "created_at",
                "updatedAt",
                "total",
                "amount",
                "deleted",
                "archived_at",
                "tags",
                "properties",
                "attributes",
                "@type",
                "a.b",
                "a b",
                "it's",
                "node",
                "date",
                "time",
                "no",
                "id_2",
            ])
            .prop_map(str::to_owned),
            any::<String>(),
        ];
        prop::collection::btree_map(name, any_member(), 0..7).prop_map(|members| json!(members))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

        #[test]
        fn what_was_seen_fits(records in prop::collection::vec(any_record(), 1..6), next in any_member(), wrap in any::<bool>()) {
            let answer = if wrap { json!({ "results": records, "next": next, "paging": { "total": next } }) } else { json!(records) };
            prop_assert_eq!(quarantined(&answer.to_string()), Vec::<String>::new(), "{}", answer);
        }
    }

    #[test]
    fn the_tests_of_drafts_from_answers_pass() {
        let answers = [
            json!({ "results": [{ "id": 1, "email": "a@b.c", "updated_at": "2024-05-31T18:30:00Z", "archived": false }], "paging": { "next": { "after": "x" } } }),
            json!([{ "gid": "1", "total": "1.50", "born": "2024-05-31" }, { "gid": "2", "total": "2.5", "born": null }]),
            json!({ "data": { "things": { "edges": [{ "cursor": "a", "node": { "id": "1", "tags": ["x"] } }] } } }),
            json!({ "items": [{ "x": 1.5 }, { "x": 1.5 }], "total": 2, "page": 1, "total_pages": 1 }),
            json!({ "a": { "name": "x" }, "b": { "name": "y" } }),
            json!({ "balance": 1.5, "currency": "EUR" }),
            json!({ "value": [{ "properties": { "id": 7, "deleted_at": null } }], "@odata.nextLink": "https://api.acme.example/v2/things?$skiptoken=1" }),
        ];
        for answer in answers {
            assert_eq!(super::assert_good(&drafted(&answer.to_string()), |_| true), 1, "{answer}");
            assert_eq!(quarantined(&answer.to_string()), Vec::<String>::new(), "{answer}");
        }
    }
}
