//! `walk`: lists in lists, each place once, over all the runs that it takes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Api, Project, Reply, Request, Run};

const MODEL: &str = "key: [id]\ncolumns: { id: $.id, name: $.name }";

/// A sync over folders with these words beside it.
fn sync(words: &str) -> String {
    format!(
        "request: {{ get: /children, query: {{ folder: \"{{{{ walk.folder }}}}\" }} }}\n\
         response: {{ records: \"$.items[*]\", where: \"$[?@.kind == 'file']\" }}\n\
         pagination: {{ cursor: {{ from: $.next, query: page }} }}\n{words}"
    )
}

const WALK: &str = "walk: { into: \"$[?@.kind == 'folder']\", bind: { folder: $.id } }";

type Tree = BTreeMap<String, Vec<String>>;

/// Names that end in `/` are folders.
fn tree(of: &[(&str, &[&str])]) -> Tree {
    of.iter()
        .map(|(folder, names)| ((*folder).to_owned(), names.iter().map(|name| (*name).to_owned()).collect()))
        .collect()
}

/// Answers for a tree that can be changed, in pages of two. Folders called `broken/` are answered 500.
fn serves(tree: Arc<Mutex<Tree>>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let folder = request.param("folder").unwrap_or("root/");
        if folder.starts_with("broken") {
            return Reply::status(418, "{}");
        }
        let tree = tree.lock().expect("a tree");
        let Some(names) = tree.get(folder) else { return Reply::status(404, "{}") };
        let item = |name: &String| json!({ "id": name, "name": "x", "kind": if name.ends_with('/') { "folder" } else { "file" } });
        let page = request.number("page", 0);
        let next = if (page + 1) * 2 < names.len() { json!(page + 1) } else { Value::Null };
        Reply::json(
            &json!({ "items": names.iter().skip(page * 2).take(2).map(item).collect::<Vec<_>>(), "next": next }),
        )
    }
}

fn start(of: &[(&str, &[&str])], words: &str) -> (Api, Project, Arc<Mutex<Tree>>) {
    let tree = Arc::new(Mutex::new(tree(of)));
    let api = Api::start(serves(Arc::clone(&tree)));
    let project = Project::simple(&api.url(), &sync(words), MODEL);
    (api, project, tree)
}

fn live(project: &Project) -> Vec<Value> {
    project.column("select id from api.items_live order by all")
}

const FOLDERS: [(&str, &[&str]); 5] = [
    ("root/", &["a", "one/", "b", "two/"]),
    ("one/", &["c", "deep/", "root/"]),
    ("two/", &["d"]),
    ("deep/", &["e", "f", "g", "one/"]),
    ("elsewhere/", &["h"]),
];

#[test]
fn each_place_is_read_once_and_circles_end() {
    let (api, project, tree) = start(
        &FOLDERS,
        &format!(
            "{WALK}\nconcurrency: 3\ndeletes: {{ absence: {{ gone_partitions: delete, guard: {{ min_rows: 1000 }} }} }}"
        ),
    );
    let report = project.done_at("2024-06-01");
    assert_eq!((&report["added"], &report["filtered"]), (&json!(7), &json!(7)), "{report}");
    assert_eq!(live(&project), ["a", "b", "c", "d", "e", "f", "g"]);
    let asked = api.asked();
    // the root is asked for without a name, and as the folder that it is
    assert_eq!(asked.len(), 2 + 2 + 2 + 1 + 2, "{asked:?}");
    assert_eq!(project.column("select distinct _partition from api.items where id in ('e', 'f')"), ["deep/"]);

    // a file moves, a folder goes, a file goes
    *tree.lock().expect("a tree") =
        self::tree(&[("root/", &["a", "one/"]), ("one/", &["c", "deep/", "d"]), ("deep/", &["e", "f"])]);
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["deleted"], &report["unchanged"]), (&json!(2), &json!(5)), "{report}");
    assert_eq!(live(&project), ["a", "c", "d", "e", "f"]);
    assert_eq!(project.number("select count(*) from headwater.nodes"), 2, "places that are not there are forgotten");
}

#[test]
fn a_run_that_stops_goes_on_at_the_places_that_are_left() {
    for most in 1..9 {
        let words = format!("{WALK}\ndeletes: {{ absence: {{}} }}");
        let (api, project, _tree) = start(&FOLDERS, &words);
        let mut runs = 0;
        loop {
            runs += 1;
            let report = project.run_at("2024-06-01", Run::requests(most));
            if report["state"] == "completed" {
                break;
            }
            assert_eq!(report["state"], "paused", "{report}");
            assert!(runs < 12, "it comes to its end");
        }
        let mut asked = api.asked();
        let all = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!((asked.len(), all), (9, 9), "with {most} requests a run, nothing is asked for twice");
        assert_eq!(live(&project).len(), 7);
        let again = project.done_at("2024-06-02");
        // the root is read as itself and as the folder that it is
        let returned = again["unchanged"].as_u64().zip(again["duplicates"].as_u64()).map(|(one, other)| one + other);
        assert_eq!((returned, &again["deleted"]), (Some(9), &json!(0)), "{again}");
    }
}

#[test]
fn a_place_that_cannot_be_read_is_left_for_the_next_run_and_nothing_is_gone_by_it() {
    let all: [(&str, &[&str]); 3] =
        [("root/", &["a", "broken/", "two/"]), ("two/", &["d", "under/"]), ("under/", &["u"])];
    let words = format!("{WALK}\ndeletes: {{ absence: {{ gone_partitions: delete }} }}");
    let (api, project, tree) = start(&all, &words);
    let report = project.run_at("2024-06-01", Run::default());
    assert_eq!((&report["state"], &report["skipped"]), (&json!("partial"), &json!(1)), "{report}");
    assert_eq!(live(&project), ["a", "d", "u"]);
    // the folder above another one cannot be read any more: what is below it is not gone
    *tree.lock().expect("a tree") = self::tree(&[("root/", &["broken/", "two/"]), ("two/", &["d", "broken2/"])]);
    let report = project.run_at("2024-06-02", Run::default());
    assert_eq!(report["state"], "partial");
    assert_eq!(live(&project), ["a", "d", "u"], "nothing is deleted while a place is not read");
    // and once all can be read
    *tree.lock().expect("a tree") = self::tree(&[("root/", &["two/"]), ("two/", &["d"])]);
    api.asked();
    let report = project.run_at("2024-06-03", Run::accepting());
    // the pass that could not end is over: this one begins with what it left
    assert_eq!(report["state"], "completed", "{report}");
    assert_eq!(live(&project), ["d"]);
}

#[test]
fn it_starts_where_the_input_says_and_goes_no_deeper_than_it_may() {
    let words = "input: { type: object, properties: { folders: { type: array } } }\n\
                 walk: { into: \"$[?@.kind == 'folder']\", bind: { folder: $.id }, start: \"{{ input.folders }}\", max_depth: 1 }\n\
                 deletes: { absence: { gone_partitions: delete } }";
    let chain: [(&str, &[&str]); 4] = [("x/", &["1", "y/"]), ("y/", &["2", "z/"]), ("z/", &["3"]), ("other/", &["4"])];
    let (_api, project, _tree) = start(&chain, words);
    let folders = |names: &[&str]| {
        let connection = json!({ "provider": "api", "syncs": { "items": { "input": { "folders": names } } } });
        json!({ "database": "test.duckdb", "connections": { "acme": connection } }).to_string()
    };
    project.write("headwater.yaml", folders(&["x/"]));
    let report = project.run_at("2024-06-01", Run::default());
    assert_eq!(report["state"], "partial", "{report}");
    assert!(report["skipped_reason"].to_string().contains("max_depth"), "{report}");
    assert_eq!(live(&project), ["1", "2"]);
    // one folder more begins none of the others anew
    project.write("headwater.yaml", folders(&["y/", "other/"]));
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!(report["state"], "completed", "{report}");
    assert_eq!(live(&project), ["2", "3", "4"]);
}

#[test]
fn it_goes_below_each_item_of_a_fan_out() {
    let drive = |request: &Request| {
        let (drive, folder) =
            (request.path.split('/').nth(2).unwrap_or_default().to_owned(), request.param("folder").unwrap_or("top"));
        let items = match (drive.as_str(), folder) {
            (_, "top") => json!([{ "id": format!("{drive}-1"), "kind": "file" }, { "id": "sub", "kind": "folder" }]),
            (_, "sub") => json!([{ "id": format!("{drive}-2"), "kind": "file" }]),
            _ => json!([]),
        };
        Reply::json(&json!({ "items": items }))
    };
    let api = Api::start(drive);
    let words = sync(&format!("{WALK}\nfor_each: [{{ as: drive, from: {{ values: [l, r] }} }}]\ndeletes: {{ absence: {{ scope: partition }} }}"))
        .replace("get: /children", "get: \"/drives/{{ parent.drive }}\"");
    let project = Project::simple(&api.url(), &words, MODEL);
    let report = project.done_at("2024-06-01");
    assert_eq!(report["added"], 4, "{report}");
    assert_eq!(
        project.column("select partition from headwater.partitions order by all"),
        ["", "[\"l\",\"sub\"]", "[\"r\",\"sub\"]", "l", "r"]
    );
    assert_eq!(project.done_at("2024-06-02")["unchanged"], 4);
}

#[test]
fn a_walk_over_changes_goes_to_the_places_that_it_knows() {
    let feed = |request: &Request| {
        let since = request.param("since").is_some();
        let items = match (request.param("folder"), since) {
            (None, false) => json!([{ "id": "sub", "kind": "folder", "at": "2024-05-01T00:00:00Z" }]),
            (Some("sub"), false) => json!([{ "id": "1", "name": "a", "kind": "file", "at": "2024-05-01T00:00:00Z" }]),
            (Some("sub"), true) => json!([{ "id": "1", "name": "b", "kind": "file", "at": "2024-05-02T00:00:00Z" }]),
            _ => json!([]),
        };
        Reply::json(&json!({ "items": items }))
    };
    let api = Api::start(feed);
    let words = sync(&format!("{WALK}\nincremental: {{ field: $.at }}"))
        .replace("query: {", "query: { since: \"{{ watermark }}\",");
    let project = Project::simple(&api.url(), &words, MODEL);
    project.done_at("2024-06-01");
    let report = project.done_at("2024-06-02");
    assert_eq!((&report["updated"], &report["added"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(project.column("select name from api.items_live"), ["b"]);
}

#[test]
fn a_place_with_an_empty_name_is_one_like_any_other() {
    let api = Api::start(|request: &Request| {
        let items = match request.param("folder") {
            Some("") => json!([{ "id": "2", "kind": "file" }]),
            _ => json!([{ "id": "1", "kind": "file" }, { "id": "", "kind": "folder" }]),
        };
        Reply::json(&json!({ "items": items }))
    });
    let project = Project::simple(&api.url(), &sync(&format!("{WALK}\ndeletes: {{ absence: {{}} }}")), MODEL);
    assert_eq!(project.done_at("2024-06-01")["added"], 2);
    assert_eq!(live(&project), ["1", "2"]);
    let again = project.done_at("2024-06-02");
    assert_eq!((&again["unchanged"], &again["deleted"]), (&json!(2), &json!(0)), "{again}");
}

/// A walk that asks for changes. `/` of a drive leads to `<drive>-sub`, which has one file; what is not among `there` is answered 404.
fn changes(there: &'static [&'static str]) -> impl Fn(&Request) -> Reply {
    move |request| {
        let drive = request.path.trim_start_matches('/').to_owned();
        let folder = request.param("folder").map_or_else(|| drive.clone(), ToOwned::to_owned);
        if !there.contains(&folder.as_str()) {
            return Reply::status(404, "{}");
        }
        let sub = format!("{drive}-sub");
        let item = |id: &str, kind: &str| json!({ "id": id, "kind": kind, "at": "2024-05-01T00:00:00Z" });
        let items = match folder == sub {
            true => vec![item(&format!("{drive}-file"), "file")],
            false => [item(&sub, "folder")].into_iter().filter(|_| there.contains(&sub.as_str())).collect(),
        };
        Reply::json(&json!({ "items": items }))
    }
}

fn of_changes(api: &Api, more: &str) -> Project {
    let words = sync(&format!(
        "{WALK}\nincremental: {{ field: $.at }}\nfor_each: [{{ as: drive, from: {{ values: \"{{{{ input.drives }}}}\" }} }}]\n\
         input: {{ type: object, properties: {{ drives: {{ type: array }} }} }}{more}"
    ))
    .replace("query: {", "query: { since: \"{{ watermark }}\",")
    .replace("get: /children", "get: \"/{{ parent.drive }}\"");
    Project::simple(&api.url(), &words, MODEL)
}

fn drives(project: &Project, names: &[&str]) {
    let connection = json!({ "provider": "api", "syncs": { "items": { "input": { "drives": names } } } });
    let yaml = json!({ "database": "test.duckdb", "connections": { "acme": connection } });
    project.write("headwater.yaml", yaml.to_string());
}

#[test]
fn a_full_run_over_changes_forgets_the_places_that_are_not_there() {
    let api = Api::start(changes(&["l", "l-sub", "r", "r-sub"]));
    let project = of_changes(&api, "");
    drives(&project, &["l", "r"]);
    assert_eq!(project.done_at("2024-06-01")["added"], 2);
    // a list of changes does not say that a place is gone: it is asked for, until a run reads everything
    api.becomes(changes(&["l", "l-sub", "r"]));
    assert_eq!(project.run_at("2024-06-02", Run::default())["state"], "partial");
    assert_eq!(project.run_at("2024-06-03", Run::full())["state"], "completed");
    api.asked();
    assert_eq!(project.done_at("2024-06-04")["state"], "completed");
    assert_eq!(api.asked().len(), 3, "`r-sub` is not asked for any more");
    // one that comes back is read from its beginning
    api.becomes(changes(&["l", "l-sub", "r", "r-sub"]));
    project.done_at("2024-06-05");
    assert!(api.asked().contains(&"GET /r?folder=r-sub".to_owned()));
}

#[test]
fn places_below_an_item_that_is_gone_are_not_asked_for() {
    for more in ["", "\ndeletes: { flag: { when: \"$[?@.gone == true]\", gone_partitions: delete } }"] {
        let api = Api::start(changes(&["l", "l-sub", "r", "r-sub"]));
        let project = of_changes(&api, more);
        drives(&project, &["l", "r"]);
        project.done_at("2024-06-01");
        api.becomes(changes(&["l", "l-sub"]));
        drives(&project, &["l"]);
        api.asked();
        let report = project.run_at("2024-06-02", Run::accepting());
        assert_eq!(report["state"], "completed", "{report}");
        assert_eq!(api.asked().len(), 2, "`l` and what is below it");
        let left: &[&str] = if more.is_empty() { &["l-file", "r-file"] } else { &["l-file"] };
        assert_eq!(live(&project), left);
        // it comes back, and so do its places
        api.becomes(changes(&["l", "l-sub", "r", "r-sub"]));
        drives(&project, &["l", "r"]);
        project.done_at("2024-06-03");
        assert_eq!(live(&project), ["l-file", "r-file"]);
    }
}

/// Places below an item of 256 KiB each share it: what a page leads to takes about that and what the database may have.
#[cfg(target_os = "linux")]
#[test]
fn places_do_not_have_the_item_each_that_they_are_below() {
    let serves = |folders: usize| {
        let about = "x".repeat(256 << 10);
        move |request: &Request| match (request.path.as_str(), request.param("folder")) {
            ("/drives", _) => Reply::json(&json!({ "items": [{ "id": "d", "about": about }] })),
            (_, Some(_)) => Reply::json(&json!({ "items": [] })),
            (_, None) => {
                let folder = |id| json!({ "id": format!("f{id}"), "kind": "folder" });
                Reply::json(&json!({ "items": (0..folders).map(folder).collect::<Vec<_>>() }))
            }
        }
    };
    let words = format!(
        "{WALK}\nfor_each: [{{ as: drive, from: {{ list: {{ request: {{ get: /drives }}, response: {{ records: \"$.items[*]\" }}, key: $.id }} }} }}]"
    );
    let peak_of = |folders: usize| {
        let api = Api::start(serves(folders));
        let project = Project::simple(
            &api.url(),
            &sync(&words).replace("get: /children", "get: \"/{{ parent.drive.id }}\""),
            MODEL,
        );
        let (peak, report) = crate::streams::peak(&project);
        assert_eq!(report["requests"], folders + 2, "{report}");
        peak
    };
    let (few, many) = (peak_of(16), peak_of(400));
    eprintln!("peak: {few} MiB with 16 places, {many} MiB with 400");
    assert!(many < few + 60, "400 places took {many} MiB, and 16 {few} MiB");
}

/// A chain of folders is read one after the other, and not committed so.
#[test]
fn places_that_are_found_one_after_the_other_share_a_commit() {
    let api = Api::start(|request: &Request| {
        let at: u64 = request.param("folder").map_or(0, |at| at.parse().expect("a number"));
        let file = json!({ "id": format!("file{at}"), "kind": "file" });
        let folder = json!({ "id": (at + 1).to_string(), "kind": "folder" });
        Reply::json(&json!({ "items": if at < 30 { vec![file, folder] } else { vec![file] } }))
    });
    let project = Project::simple(&api.url(), &sync(WALK), MODEL);
    let events = project.headwater(&["run", "--json"]).json();
    let commits = events.iter().filter(|event| event["event"] == "committed").count();
    assert!(commits < 15, "{commits} commits for 31 places");
    assert_eq!(live(&project).len(), 31);
}

#[test]
fn the_items_that_places_are_below_stand_once_and_a_later_run_has_them() {
    let api = Api::start(changes(&["l", "l-sub", "r", "r-sub"]));
    let words = sync(&format!(
        "{WALK}\nfor_each: [{{ as: drive, from: {{ values: \"{{{{ input.drives }}}}\" }} }}]\nconcurrency: 1\n\
         input: {{ type: object, properties: {{ drives: {{ type: array }} }} }}\ndeletes: {{ absence: {{ gone_partitions: delete }} }}"
    ))
    .replace("get: /children", "get: \"/{{ parent.drive }}\"");
    let project = Project::simple(&api.url(), &words, MODEL);
    drives(&project, &["l", "r"]);
    assert_eq!(project.run_at("2024-06-01", Run::requests(2))["state"], "paused");
    let items = "select distinct n.node->>'bind' as place, parent->>'drive' as drive from headwater.nodes n join headwater.node_items using (item)";
    let known = project.number(&format!("select count(*) from ({items})"));
    assert_eq!(
        (known, project.number("select count(*) from headwater.nodes where node::varchar like '%parent%'")),
        (2, 0)
    );
    assert_eq!(project.done_at("2024-06-01")["state"], "completed");
    assert_eq!(live(&project), ["l-file", "r-file"]);
    drives(&project, &["l"]);
    let report = project.run_at("2024-06-02", Run::accepting());
    assert_eq!((&report["state"], &report["deleted"]), (&json!("completed"), &json!(1)), "{report}");
    assert_eq!(project.column("select parent->>'drive' from headwater.node_items"), ["l"]);
}
