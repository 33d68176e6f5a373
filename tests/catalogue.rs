//! All of the built-in catalogue: what `check` asks of it, its tests, and the lists that are made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use headwater::files;
use headwater::plan::{Input, Known, ProviderEntry, compile};

use crate::language::rendered;
use crate::support::Project;

/// The catalogue as if it were a project's own: without a connection all of it is compiled.
fn own() -> Vec<Input> {
    files::catalogue().into_iter().map(|input| Input { builtin: false, ..input }).collect()
}

fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What contributors are told (W100 to W102) holds for all: papers, descriptions, a test of each sync and action.
#[test]
fn check_has_nothing_to_say() {
    let compiled = compile(&own(), top(), &Known::default());
    assert!(compiled.diagnostics.is_empty(), "{}", rendered(&compiled.diagnostics));
    let without: Vec<&str> =
        compiled.providers.iter().filter(|one| one.category.is_none()).map(|one| one.name.as_str()).collect();
    assert!(without.is_empty(), "without `category`, so that nothing is asked of them: {without:?}");
}

#[test]
fn it_is_as_large_as_it_says() {
    let providers = compile(&own(), top(), &Known::default()).providers;
    let total = |of: fn(&ProviderEntry) -> usize| providers.iter().map(of).sum::<usize>();
    let (syncs, actions) = (total(|one| one.syncs.len()), total(|one| one.actions.len()));
    assert!(providers.len() >= 40 && syncs >= 120 && actions >= 40, "{} {syncs} {actions}", providers.len());
    let categories: BTreeSet<&str> = providers.iter().filter_map(|one| Some(one.category?.name())).collect();
    assert!(categories.len() >= 14, "{categories:?}");
    for provider in &providers {
        // who queries a table should not have to quote its schema
        assert!(!provider.name.contains('-'), "{}", provider.name);
        assert!(!provider.syncs.is_empty(), "{} syncs nothing", provider.name);
        let tables: Vec<&str> = provider.tables.iter().map(|table| table.name.as_str()).collect();
        assert_eq!(tables.iter().collect::<BTreeSet<_>>().len(), tables.len(), "{tables:?}");
        let links =
            [provider.docs.as_deref()].into_iter().chain(provider.syncs.iter().map(|sync| sync.docs.as_deref()));
        let links = links.chain(provider.actions.iter().map(|action| action.docs.as_deref()));
        for link in links {
            assert!(link.is_some_and(|link| link.starts_with("https://")), "{}: {link:?}", provider.name);
        }
    }
}

/// Every test of every provider, offline: nothing leads out.
#[test]
fn its_tests_pass() {
    let project = Project::empty();
    project.write("headwater.yaml", "database: w.duckdb\n");
    let output = project.headwater_with(&["test", "--catalogue", "--json"], &[("HTTPS_PROXY", "http://127.0.0.1:9")]);
    let reports = output.json();
    let failed: Vec<_> = reports.iter().filter(|report| report["state"] != "ok").collect();
    assert!(failed.is_empty() && output.code == 0, "{failed:#?}\n{}", output.stderr);
    let tested: BTreeSet<&str> =
        reports.iter().filter_map(|report| report["test"].as_str()?.split('/').next()).collect();
    let providers = compile(&own(), top(), &Known::default()).providers;
    let known: BTreeSet<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(tested, known);
}

#[test]
fn providers_lists_them_and_shows_one() {
    let nowhere = Project::empty();
    let all = nowhere.headwater(&["providers", "--json"]).json();
    let names: BTreeSet<&str> = all.iter().map(|one| one["name"].as_str().expect("a name")).collect();
    assert!(names.contains("github") && names.len() >= 40, "{names:?}");
    let listed = nowhere.headwater(&["providers", "crm"]);
    assert!(listed.code == 0 && listed.stdout.contains("hubspot") && !listed.stdout.contains("github"), "{listed:?}");
    let one = nowhere.headwater(&["providers", "github"]);
    for expected in ["GitHub · code", "provider: github", "github.issues", "issues", "create_issue", "TIMESTAMPTZ"] {
        assert!(one.stdout.contains(expected), "{expected} is not in\n{}", one.stdout);
    }
    let none = nowhere.headwater(&["providers", "githob"]);
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("did you mean `github`?"), "{}", none.stderr);
    // a project's own stands beside them, and before one of its name
    let project = Project::empty();
    project.write("headwater.yaml", "database: w.duckdb\n");
    project.write(
        "providers/github.yaml",
        "provider: github\ntitle: Ours\nbase_url: https://git.example\nauth: { none: { none: {} } }\n",
    );
    project.write(
        "providers/mine.yaml",
        "provider: mine\ntitle: Mine\nbase_url: https://mine.example\nauth: { none: { none: {} } }\n",
    );
    let all = project.headwater(&["providers", "--json"]).json();
    let titles: BTreeMap<&str, &str> =
        all.iter().filter_map(|one| Some((one["name"].as_str()?, one["title"].as_str()?))).collect();
    assert_eq!((titles["github"], titles["mine"]), ("Ours", "Mine"));
}

/// A project keeps working when the catalogue gets a provider that is called as one of its own.
#[test]
fn a_provider_of_the_same_name_is_another_one() {
    let own = "provider: github\nbase_url: https://git.example\nauth: { none: { none: {} } }\n";
    let sync = "sync: things\nmodel: { model: Thing, table: things, key: [id], columns: { id: $.id } }\nrequest: { get: /things }\n\
                response: { records: \"$[*]\" }\ndeletes: { absence: {} }\n";
    let project = Project::empty();
    project.write("headwater.yaml", "database: w.duckdb\nconnections: { ours: { provider: github } }\n");
    project.write("providers/github.yaml", own);
    project.write("integrations/github/syncs/things.yaml", sync);
    let syncs = |project: &Project| {
        let lines = project.headwater(&["explain", "--json"]).json();
        lines.iter().filter_map(|line| line["sync"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(syncs(&project), ["ours/things"]);
    // one that extends the catalogue's has all that is synced from it
    project.write("providers/github.yaml", "provider: github\nextends: github\nbase_url: https://git.example\n");
    project.write(
        "headwater.yaml",
        "database: w.duckdb\nconnections: { ours: { provider: github, auth: token, credentials: { token: \"${T}\" }, syncs: { things: {}, repositories: {} } } }\n",
    );
    assert_eq!(syncs(&project), ["ours/things", "ours/repositories"]);
}

#[test]
fn docs_writes_pages_whose_links_lead_somewhere() {
    let project = Project::empty();
    let written = project.headwater(&["docs", project.path().join("site").to_str().expect("a path")]);
    assert_eq!(written.code, 0, "{}", written.stderr);
    let pages: BTreeMap<String, String> = crate::language::files_below(&project.path().join("site"))
        .into_iter()
        .map(|path| {
            (
                path.file_name().expect("a name").to_str().expect("a name").to_owned(),
                std::fs::read_to_string(&path).expect("a page"),
            )
        })
        .collect();
    let (mut dead, mut followed) = (Vec::new(), 0);
    for (name, text) in pages.iter().filter(|(name, _)| name.ends_with(".html")) {
        let targets = text.split("href=\"").skip(1).chain(text.split("src=\"").skip(1));
        for target in targets.filter_map(|rest| rest.split('"').next()).filter(|target| !target.starts_with("http")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let page = if file.is_empty() { Some(text) } else { pages.get(file) };
            let is_there = page.is_some_and(|page| anchor.is_empty() || page.contains(&format!("id=\"{anchor}\"")));
            followed += 1;
            if !is_there {
                dead.push(format!("{name}: {target}"));
            }
        }
    }
    assert!(dead.is_empty() && followed > 300, "{followed} {dead:#?}");
    assert!(pages["index.html"].contains("GitHub") && pages["provider-github.html"].contains("github.issues"));
}
