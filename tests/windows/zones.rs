//! APIs that write and take the times of a clock on the wall, while it is put forward and back.

use super::*;

const BERLIN: &str = "format: \"%Y-%m-%d %H:%M:%S\", timezone: Europe/Berlin";
const COLUMNS: &str = "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, at: { path: $.at, type: timestamptz } }";

/// A record that was written at a time, which it tells as the clock showed it.
fn written(id: u64, local: &str) -> Value {
    json!({ "id": id, "at": local })
}

/// What the API returns: everything from `from` or `since` on, up to `to`, compared as the text that it is.
fn returns(records: Vec<Value>) -> impl Fn(&Request) -> Reply {
    move |request| {
        let from = request.param("from").or_else(|| request.param("since")).unwrap_or_default();
        let to = request.param("to").unwrap_or("9999");
        let fits = |record: &&Value| record["at"].as_str().is_some_and(|at| from <= at && at <= to);
        Reply::json(&json!({ "items": records.iter().filter(fits).collect::<Vec<_>>() }))
    }
}

/// Windows of this size with these words.
fn windows(size: &str, words: &str, more: &str) -> String {
    sync("", more).replace("start: \"2023-01-01\"", words).replace("1 year", size)
}

/// A sync that asks since its watermark.
fn since(words: &str, more: &str) -> String {
    format!(
        "request: {{ get: /items, query: {{ since: \"{{{{ watermark }}}}\" }} }}\nresponse: {{ records: \"$.items[*]\" }}\n\
         incremental: {{ field: $.at, {words} }}\n{more}"
    )
}

/// What was asked for as `since`, since this was asked last.
fn asked_since(api: &Api) -> Vec<String> {
    let requests = api.requests();
    api.asked();
    let line = |request: &Request| request.param("since").unwrap_or("everything").to_owned();
    requests.iter().filter(|request| request.path == "/items").map(line).collect()
}

/// The moments that were stored, in UTC.
fn moments(project: &Project) -> Vec<Value> {
    project.column("select strftime(\"at\" at time zone 'UTC', '%d %H:%M') from api.items order by id")
}

#[test]
fn months_are_those_of_the_clock_whenever_it_is_put_forward_or_back() {
    // each at the very edge of its month, whatever UTC says
    let records = vec![
        written(1, "2026-02-28 23:59:59"),
        written(2, "2026-03-01 00:00:00"),
        written(3, "2026-03-31 23:30:00"),
        written(4, "2026-04-01 00:30:00"),
        written(5, "2026-04-02 11:59:00"),
    ];
    let api = Api::start(returns(records.clone()));
    let words = format!("{BERLIN}, start: \"2026-02-10\"");
    let deletes = "deletes: { absence: { scope: window, guard: { allow_empty: true } } }";
    let project = Project::simple(&api.url(), &windows("1 month", &words, deletes), COLUMNS);
    let report = project.done_at("2026-04-02T10:00:00Z");
    assert_eq!(report["added"], 5, "{report}");
    assert_eq!(
        asked(&api),
        [
            "2026-02-10 00:00:00..2026-02-28 23:59:59",
            "2026-03-01 00:00:00..2026-03-31 23:59:59",
            "2026-04-01 00:00:00..2026-04-02 12:00:00"
        ]
    );
    assert_eq!(watermark(&project), "2026-04-02T09:55:00Z");
    assert_eq!(moments(&project), ["28 22:59", "28 23:00", "31 21:30", "31 22:30", "02 09:59"]);

    // what a window no longer returns is gone from that window, to the second
    api.becomes(returns(records.into_iter().filter(|record| record["id"] != 2 && record["id"] != 3).collect()));
    let report = project.run_at("2026-04-02T11:00:00Z", Run::full());
    assert_eq!((&report["deleted"], live(&project)), (&json!(2), vec![json!(1), json!(4), json!(5)]), "{report}");
    asked(&api);

    // over the other turn: October has 25 days of 24 hours and one of 25
    project.done_at("2026-11-01T12:00:00Z");
    assert_eq!(asked(&api).last().map(String::as_str), Some("2026-11-01 00:00:00..2026-11-01 13:00:00"),);
}

#[test]
fn an_api_that_tells_offsets_gets_those_of_the_zone() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    let words = "timezone: Europe/Berlin, start: \"2026-03-01\"";
    let project = Project::simple(&api.url(), &windows("1 month", words, ""), COLUMNS);
    project.done_at("2026-04-01T10:00:00Z");
    assert_eq!(
        asked(&api),
        [
            "2026-03-01T00:00:00+01:00..2026-03-31T23:59:59+02:00",
            "2026-04-01T00:00:00+02:00..2026-04-01T12:00:00+02:00"
        ]
    );
    // other words, other windows: what was covered by another clock is read again
    project.write(
        "integrations/api/syncs/items.yaml",
        format!(
            "sync: items\nmodel: Item\n{}\n",
            windows("1 month", &words.replace("Europe/Berlin", "Asia/Kathmandu"), "")
        ),
    );
    project.done_at("2026-04-01T10:00:00Z");
    assert_eq!(
        asked(&api),
        [
            "2026-03-01T00:00:00+05:45..2026-03-31T23:59:59+05:45",
            "2026-04-01T00:00:00+05:45..2026-04-01T15:45:00+05:45"
        ]
    );
}

#[test]
fn a_window_of_a_day_ends_at_midnight_of_the_zone() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    // the clock goes from 00:00 to 01:00 on 4 November 2018
    let words = "format: \"%d %H:%M:%S\", timezone: America/Sao_Paulo, start: \"2018-11-03T10:00:00\"";
    let project = Project::simple(&api.url(), &windows("1 day", words, ""), COLUMNS);
    project.done_at("2018-11-05T12:00:00Z");
    assert_eq!(asked(&api), ["03 10:00:00..03 23:59:59", "04 01:00:00..04 23:59:59", "05 00:00:00..05 10:00:00"]);
    // and this one has its days in UTC, as nothing is said
    let words = "format: \"%d %H:%M:%S\", start: \"2018-11-03T10:00:00Z\"";
    let project = Project::simple(&api.url(), &windows("1 day", words, ""), COLUMNS);
    project.done_at("2018-11-05T12:00:00Z");
    assert_eq!(asked(&api), ["03 10:00:00..03 23:59:59", "04 00:00:00..04 23:59:59", "05 00:00:00..05 12:00:00"]);
}

#[test]
fn today_is_what_the_calendar_of_the_zone_says() {
    let model = COLUMNS.replace("timestamptz", "date");
    let at = |day: &str, ids: std::ops::RangeInclusive<u64>| ids.map(|id| written(id, day)).collect::<Vec<_>>();
    // in New York it is 23:30 on the 9th, in London and in UTC the 10th
    let (late, next) = ("2026-03-10T03:30:00Z", "2026-03-10T13:00:00Z");
    let words = "type: date, timezone: America/New_York, start: \"2026-03-08\"";
    let api = Api::start(returns(at("2026-03-09", 1..=2)));
    let project = Project::simple(&api.url(), &windows("1 day", words, ""), &model);
    project.done_at(late);
    assert_eq!(asked(&api), ["2026-03-08..2026-03-08", "2026-03-09..2026-03-09"]);
    assert_eq!(watermark(&project), "2026-03-09", "the 9th is not over");
    api.becomes(returns(at("2026-03-09", 1..=3)));
    assert_eq!(project.done_at(next)["added"], 1, "3 was written at 23:45");
    assert_eq!(asked(&api), ["2026-03-09..2026-03-09", "2026-03-10..2026-03-10"]);

    // a day in the future counts as today, and that is the 9th
    for order in ["", ", order: descending, stop_at_watermark: true"] {
        let api = Api::start(returns([at("2026-03-10", 9..=9), at("2026-03-09", 1..=2)].concat()));
        let project =
            Project::simple(&api.url(), &since(&format!("type: date, timezone: America/New_York{order}"), ""), &model);
        project.done_at(late);
        assert_eq!(watermark(&project), "2026-03-09");
        api.becomes(returns([at("2026-03-10", 9..=9), at("2026-03-09", 1..=3)].concat()));
        assert_eq!(project.done_at(late)["added"], 1, "{order}");
    }
    // further east the day has begun
    let api = Api::start(returns(at("2026-03-10", 1..=1)));
    let project = Project::simple(&api.url(), &since("type: date, timezone: Asia/Tokyo", ""), &model);
    project.done_at("2026-03-09T16:00:00Z");
    assert_eq!(watermark(&project), "2026-03-10");
}

#[test]
fn a_list_of_days_that_is_read_over_midnight_keeps_the_day_it_began() {
    // several pages, while in New York the 10th begins; what changed on the 9th behind the reader is still to come
    let model = COLUMNS.replace("timestamptz", "date");
    let api = Api::start(|request| {
        let items = if request.number("page", 0) == 0 { "2026-03-09" } else { "2026-03-10" };
        let next = if request.number("page", 0) == 0 { json!(1) } else { Value::Null };
        Reply::json(&json!({ "items": [written(request.number("page", 0) as u64, items)], "next": next }))
    });
    let words = since("type: date, timezone: America/New_York", &format!("pagination: {PAGING}"));
    let project = Project::simple(&api.url(), &words, &model);
    let report = project.run_at("2026-03-10T03:30:00Z", Run::requests(1));
    assert_eq!(report["state"], "paused");
    project.done_at("2026-03-10T04:30:00Z");
    assert_eq!(watermark(&project), "2026-03-09");
}

/// The hour that comes twice in Berlin: 02:00 to 03:00 summer time is 00:00Z to 01:00Z, and then it is 02:00 again.
const FIRST: &str = "2026-10-25T00:55:00Z";
const SECOND: &str = "2026-10-25T01:20:00Z";
const AFTER: &str = "2026-10-25T02:30:00Z";
const LATE: &str = "2026-10-25T04:00:00Z";

/// What is there at each of these times: 1 and 2 from the first hour, 3 from the second, 4 from after it.
fn until(time: &str) -> Vec<Value> {
    let all = [
        (FIRST, written(1, "2026-10-25 02:10:00")),
        (FIRST, written(2, "2026-10-25 02:50:00")),
        (SECOND, written(3, "2026-10-25 02:15:00")),
        (AFTER, written(4, "2026-10-25 03:20:00")),
    ];
    all.into_iter().filter(|(at, _)| *at <= time).map(|(_, record)| record).collect()
}

#[test]
fn what_is_written_in_an_hour_that_comes_twice_is_not_lost() {
    for more in ["", ", order: ascending", ", client_filter: true", ", lookback: 20m"] {
        let api = Api::start(returns(until(FIRST)));
        let words = since(&format!("{BERLIN}{more}"), "allow: { W092: the list is sorted }");
        let words =
            if more.contains("ascending") { words } else { words.replace("allow: { W092: the list is sorted }", "") };
        let words =
            if more.contains("client") { words.replace(", query: { since: \"{{ watermark }}\" }", "") } else { words };
        let project = Project::simple(&api.url(), &words, COLUMNS);
        project.done_at(FIRST);
        assert_eq!(watermark(&project), "2026-10-25T00:50:00Z", "{more}");
        for (time, added) in [(SECOND, 1), (AFTER, 1), (LATE, 0)] {
            api.becomes(returns(until(time)));
            assert_eq!(project.done_at(time)["added"], added, "{more} {time}");
        }
        assert_eq!(live(&project), [1, 2, 3, 4]);
        assert_eq!(watermark(&project), "2026-10-25T02:20:00Z");
        assert_eq!(moments(&project), ["25 00:10", "25 00:50", "25 00:15", "25 02:20"]);
        let hour = "2026-10-25 02:00:00";
        let asked = asked_since(&api);
        match more {
            ", client_filter: true" => assert_eq!(asked, ["everything"; 4]),
            // 20 minutes before 03:20 is 03:00
            ", lookback: 20m" => assert_eq!(asked, ["everything", hour, hour, "2026-10-25 03:00:00"]),
            _ => assert_eq!(asked, ["everything", hour, hour, "2026-10-25 03:20:00"]),
        }
    }
}

#[test]
fn a_list_that_is_newest_first_is_read_down_to_the_hour_that_comes_twice() {
    // a record a page
    let newest_first = |times: &[&str]| {
        let ids = (1..=times.len() as u64).rev();
        let records: Vec<Value> = ids.zip(times).map(|(id, time)| written(id, time)).collect();
        move |request: &Request| {
            let page = request.number("page", 0);
            let next = if page + 1 < records.len() { json!(page + 1) } else { Value::Null };
            Reply::json(&json!({ "items": [records[page]], "next": next }))
        }
    };
    // the third and the fourth are of the second hour: they bear times before the watermark, and it is behind them
    let times = [
        "2026-10-25 03:20:00",
        "2026-10-25 02:15:00",
        "2026-10-25 02:12:00",
        "2026-10-25 02:50:00",
        "2026-10-25 01:00:00",
    ];
    let api = Api::start(newest_first(&times[3..]));
    let words =
        since(&format!("{BERLIN}, order: descending, stop_at_watermark: true"), &format!("pagination: {PAGING}"));
    let project = Project::simple(&api.url(), &words.replace(", query: { since: \"{{ watermark }}\" }", ""), COLUMNS);
    project.done_at(FIRST);
    api.becomes(newest_first(&times));
    assert_eq!(project.done_at(AFTER)["added"], 3);
    assert_eq!(live(&project), [1, 2, 3, 4, 5]);
}

#[test]
fn windows_are_not_cut_within_an_hour_that_comes_twice() {
    for size in ["30m", "1 day"] {
        let api = Api::start(returns(until(FIRST)));
        let words = format!("{BERLIN}, start: \"2026-10-25 01:30:00\"");
        let project = Project::simple(&api.url(), &windows(size, &words, ""), COLUMNS);
        project.done_at(FIRST);
        assert_eq!(
            watermark(&project),
            "2026-10-25T00:00:00Z",
            "nothing of that hour is covered before it has come twice"
        );
        asked(&api);
        for (time, added, range) in [
            (SECOND, 1, "2026-10-25 02:00:00..2026-10-25 02:59:59"),
            (AFTER, 1, "2026-10-25 02:00:00..2026-10-25 03:30:00"),
            (LATE, 0, "2026-10-25 03:25:00..2026-10-25 05:00:00"),
        ] {
            api.becomes(returns(until(time)));
            assert_eq!(project.done_at(time)["added"], added, "{time}");
            let asked = asked(&api);
            let ends = [asked[0].split("..").next(), asked[asked.len() - 1].split("..").last()]
                .map(|end| end.expect("an end"));
            assert_eq!(ends.join(".."), range, "{size}: {asked:?}");
        }
        assert_eq!((live(&project).len(), watermark(&project)), (4, json!("2026-10-25T03:55:00Z")));
    }
}

#[test]
fn deletions_of_an_hour_that_comes_twice_are_not_lost_and_not_applied_again() {
    let lists = |gone: &[(u64, &str)], more: &[(u64, &str)]| {
        let of = |list: &[(u64, &str)]| list.iter().map(|(id, at)| written(*id, at)).collect::<Vec<_>>();
        let four: Vec<Value> = (1..=4).map(|id| written(id, &format!("2026-10-24 12:0{id}:00"))).collect();
        let (gone, items) = (returns(of(gone)), returns([four, of(more)].concat()));
        move |request: &Request| if request.path == "/gone" { gone(request) } else { items(request) }
    };
    let feed = "deletes: { feed: { request: { get: /gone, query: { since: \"{{ watermark }}\" } }, response: { records: \"$.items[*]\" }, \
                key: { id: $.id }, field: $.at, format: \"%Y-%m-%d %H:%M:%S\" } }";
    let api = Api::start(lists(&[], &[]));
    let project = Project::simple(&api.url(), &since(BERLIN, feed), &COLUMNS.replace("timestamptz", "varchar"));
    project.done_at("2026-10-24T12:00:00Z");
    api.becomes(lists(&[(1, "2026-10-25 02:50:00")], &[]));
    assert_eq!(project.done_at(FIRST)["deleted"], 1);
    let back = [(1, "2026-10-25 01:59:00"), (5, "2026-10-25 02:30:00")];
    api.becomes(lists(&[(1, "2026-10-25 02:50:00")], &back));
    assert_eq!(project.done_at(FIRST)["added"], 2, "1 is back");
    api.becomes(lists(&[(1, "2026-10-25 02:50:00"), (2, "2026-10-25 02:15:00")], &back));
    api.asked();
    assert_eq!(project.done_at(SECOND)["deleted"], 1, "2, which went when it was 02:15 for the second time");
    assert_eq!(api.asked()[0], "GET /gone?since=2026-10-25+02%3A00%3A00");
    assert_eq!(live(&project), [1, 3, 4, 5]);
}

#[test]
fn the_times_of_a_skipped_hour_are_read_and_asked_for_again() {
    // 02:00 to 03:00 does not come on 29 March; an API that forgot to put its clock forward writes it all the same
    let (before, odd) = (written(1, "2026-03-29 01:59:00"), written(2, "2026-03-29 02:30:00"));
    let api = Api::start(returns(vec![before.clone(), odd.clone()]));
    let project = Project::simple(&api.url(), &since(BERLIN, ""), COLUMNS);
    project.done_at("2026-03-29T02:00:00Z");
    api.becomes(returns(vec![before, odd, written(3, "2026-03-29 02:30:00")]));
    assert_eq!(project.done_at("2026-03-29T02:00:00Z")["added"], 1, "the mark is told as a time before it");
    // 01:59 before the turn is 00:59Z and the highest; 02:30 is read as 00:30Z
    assert_eq!(moments(&project), ["29 00:59", "29 00:30", "29 00:30"]);
}

#[test]
fn a_connection_tells_its_zone() {
    let api = Api::start(|_| Reply::json(&json!({ "items": [] })));
    let words = windows("1 month", "timezone: \"{{ config.zone }}\", type: date, start: \"2026-03-01\"", "");
    let project = Project::simple(&api.url(), &words, &COLUMNS.replace("timestamptz", "date"));
    let provider = std::fs::read_to_string(project.path().join("providers/api.yaml")).expect("a file");
    project.write(
        "providers/api.yaml",
        format!("{provider}config: {{ type: object, required: [zone], properties: {{ zone: {{ type: string }} }} }}\n"),
    );
    let connection = |zone: &str| {
        format!("database: test.duckdb\nconnections: {{ acme: {{ provider: api, config: {{ zone: {zone} }} }} }}\n")
    };
    for (zone, last) in [("America/Los_Angeles", "2026-03-09"), ("Pacific/Auckland", "2026-03-10")] {
        project.write("headwater.yaml", connection(zone));
        project.run_at("2026-03-10T00:00:00Z", Run::default());
        assert_eq!(asked(&api), [format!("2026-03-01..{last}")], "{zone}");
        let explained = project.headwater(&["explain"]).stdout;
        assert!(explained.contains(&format!("times of {zone}")), "{explained}");
    }
}
