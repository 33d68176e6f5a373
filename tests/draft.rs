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
        panic!("{} mistakes, the first:\n{}\n{}", compiled.diagnostics.len(), first.render(false), text(&first.source.name));
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
        panic!("{} of {count} fail: {ids:?}\n{id}, run {run}: {failures:#?}\n{}\n{}", failed.len(), text(&sync), text(file));
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
        Some(Way::Header("X-Api-Key".to_owned())),
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
    let list = |path: &str, paging: Paging| IdList { path: path.to_owned(), records: "$.results[*]".to_owned(), paging };
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

fn sync(name: String, paging: &Paging, mark: Option<&(ColumnDraft, bool)>, deletes: &DeletesDraft) -> (SyncDraft, ModelDraft) {
    let mut columns = vec![column("id", "bigint", None), column("name", "varchar", None), column("total", "decimal(18,2)", None)];
    columns.extend(mark.map(|(column, _)| column.clone()));
    match deletes {
        DeletesDraft::Flag { path, holds: FlagKind::True } if path == "$.archived" => columns.push(column("archived", "boolean", None)),
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
fn combinations(around: &Surroundings, pagings: &[Paging], marks: &[Option<(ColumnDraft, bool)>], deletes: Option<&[usize]>) -> Vec<DraftFile> {
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
