use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, NaiveDate};

use super::fixture::{column, json, path, sync, template};
use crate::plan::limits::{QUARANTINE_BYTES_MAX, RECORD_BYTES_MAX};
use crate::plan::{
    DeletePlan, Guard, IncrementalPlan, MarkKind, ModelPlan, OnInvalid, Order, Predicate, RowSchema, SyncPlan,
    TimeFormat, Zone,
};
use crate::record::map::read_start;
use crate::record::{Batch, Fate, Json, KeyReader, MapError, Mapper};
use crate::scan::Mark;

fn people() -> SyncPlan {
    let mut name = column("name", "varchar", "$.name");
    name.required = true;
    sync(vec![
        column("id", "bigint", "$.id"),
        name,
        column("age", "integer", "$.details.age"),
        column("tags", "varchar[]", "$.tags[*].name"),
    ])
}

fn change(plan: &mut SyncPlan, change: impl FnOnce(&mut ModelPlan)) {
    change(Arc::get_mut(&mut plan.model).expect("nobody else holds the model"));
}

fn try_map(plan: &SyncPlan, records: &str) -> Result<Batch, MapError> {
    let records = json(records);
    let Json::Array(records) = &records else { panic!("a list of records") };
    let context = minijinja::context! { config => minijinja::context! { region => "eu" } };
    Mapper::new(plan).map(&records.iter().collect::<Vec<_>>(), &context)
}

fn map(plan: &SyncPlan, records: &str) -> Batch {
    let batch = try_map(plan, records).expect("maps");
    let rows = batch.rows.num_rows();
    assert_eq!((batch.key_hashes.len(), batch.row_hashes.len(), batch.fates.len()), (rows, rows, rows));
    assert_eq!(
        batch.quarantined_keys.num_rows() + usize::try_from(batch.keyless).expect("few"),
        batch.quarantined.len()
    );
    batch
}

/// The rows as text, a list of values each, null as `-`.
fn rows(batch: &RecordBatch) -> Vec<Vec<String>> {
    let value = |column: usize, row: usize| {
        let array = batch.column(column);
        if array.is_null(row) { "-".to_owned() } else { array_value_to_string(array, row).expect("prints") }
    };
    (0..batch.num_rows()).map(|row| (0..batch.num_columns()).map(|column| value(column, row)).collect()).collect()
}

#[test]
fn records_become_rows_in_their_order() {
    let batch = map(
        &people(),
        r#"[{"id":2,"name":"Bo","details":{"age":41.0},"tags":[{"name":"x"},{"name":"y"},{}]},
            {"name":"Al","id":"1","tags":[]},{"id":3,"name":"Cy","details":null,"tags":null,"more":1}]"#,
    );
    assert_eq!(rows(&batch.rows), [["2", "Bo", "41", "[x, y]"], ["1", "Al", "-", "-"], ["3", "Cy", "-", "-"]]);
    let names: Vec<_> = batch.rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["id", "name", "age", "tags"]);
    assert_eq!(batch.fates, [Fate::Live; 3]);
    assert!(batch.quarantined.is_empty() && batch.bytes > 0);
    assert_eq!((batch.keyless, batch.filtered, batch.nulled, batch.high), (0, 0, 0, None));
}

#[test]
fn an_empty_page_is_a_batch_of_no_rows() {
    let batch = map(&people(), "[]");
    assert_eq!((batch.rows.num_rows(), batch.rows.num_columns(), batch.quarantined_keys.num_columns()), (0, 4, 1));
}

#[test]
fn the_first_rows_are_taken_and_what_is_said_of_the_page_stays() {
    let text = r#"[{"id":1,"name":"A"},{"id":2,"name":null},{"id":3,"name":"C"},{"id":4,"name":"D"}]"#;
    let whole = map(&people(), text);
    let mut rest = map(&people(), text);
    for count in [0, 3, 4] {
        assert!(rest.first(count).is_none(), "{count} of three rows");
    }
    let first = rest.first(2).expect("three rows");
    assert_eq!(rows(&first.rows), rows(&whole.rows)[..2]);
    assert_eq!(rows(&rest.rows), rows(&whole.rows)[2..]);
    assert_eq!([first.key_hashes, rest.key_hashes].concat(), whole.key_hashes);
    assert_eq!([first.row_hashes, rest.row_hashes].concat(), whole.row_hashes);
    assert_eq!((first.fates.len(), rest.fates.len(), first.bytes + rest.bytes), (2, 1, whole.bytes));
    assert_eq!(
        (first.quarantined.len(), rest.quarantined, rest.quarantined_keys.num_rows()),
        (0, whole.quarantined, 1)
    );
}

#[test]
fn small_batches_that_follow_each_other_become_one() {
    let page = |ids: Range<u32>| {
        let records: Vec<String> =
            ids.map(|id| format!(r#"{{"id":{id},"name":"N{id}","tags":[{{"name":"x"}}]}}"#)).collect();
        map(&people(), &format!("[{}]", records.join(",")))
    };
    let of = |partition: &str, batch: Batch| Batch { partition: Some(partition.into()), ..batch };
    let pages = |count: u32| (0..count).map(|at| page(100 * at..100 * at + 100));
    let lengths = |batches: &[Batch]| batches.iter().map(|batch| batch.rows.num_rows()).collect::<Vec<_>>();

    let bytes: usize = pages(30).map(|batch| batch.bytes).sum();
    let (joined, whole) = (Batch::join_small(pages(30).collect()), page(0..3_000));
    assert_eq!(lengths(&joined), [1_100, 1_100, 800]);
    assert_eq!(joined.iter().flat_map(|batch| rows(&batch.rows)).collect::<Vec<_>>(), rows(&whole.rows));
    assert_eq!(joined.iter().flat_map(|batch| batch.key_hashes.clone()).collect::<Vec<_>>(), whole.key_hashes);
    assert_eq!(joined.iter().flat_map(|batch| batch.row_hashes.clone()).collect::<Vec<_>>(), whole.row_hashes);
    assert_eq!((joined[0].fates.len(), joined.iter().map(|batch| batch.bytes).sum::<usize>()), (1_100, bytes));

    // what is known of their pages is known of all
    let said = Batch { filtered: 2, nulled: 1, seen_by: Some(7), ..page(0..1) };
    let more = Batch { filtered: 3, nulled: 4, seen_by: Some(7), ..page(1..3) };
    let [both] = Batch::join_small(vec![said, more]).try_into().expect("one batch");
    assert_eq!((both.rows.num_rows(), both.filtered, both.nulled, both.seen_by), (3, 5, 5, Some(7)));

    // large ones, those of other partitions, and those with a record beside them stay what they are
    let rejected = || map(&people(), r#"[{"id":9},{"id":10,"name":"A"}]"#);
    assert_eq!(rejected().quarantined.len(), 1);
    let apart = vec![
        page(0..1),
        page(0..600),
        page(1..2),
        of("a", page(2..3)),
        of("b", page(3..4)),
        of("b", page(4..5)),
        rejected(),
        page(6..7),
    ];
    assert_eq!(lengths(&Batch::join_small(apart)), [1, 600, 1, 1, 2, 1, 1]);
}

#[test]
fn spelling_changes_no_hash_and_a_value_does() {
    let records = |text: &str| map(&people(), text);
    let first = records(r#"[{"id":1,"name":"A","details":{"age":5}}]"#);
    let again = records(r#"[{"more":true,"details":{"x":1,"age":"5.0"},"name":"A","id":1e0,"tags":null}]"#);
    assert_eq!((&again.key_hashes, &again.row_hashes), (&first.key_hashes, &first.row_hashes));
    let other = records(r#"[{"id":1,"name":"A","details":{"age":6}}]"#);
    assert_eq!(other.key_hashes, first.key_hashes);
    assert_ne!(other.row_hashes, first.row_hashes);
}

#[test]
fn what_does_not_fit_is_kept_with_a_reason() {
    let batch = map(
        &people(),
        r#"[{"id":1,"name":"A","details":{"age":"old"}},{"id":2,"name":null},{"id":3,"name":"C","details":{"age":3000000000}},
            {"id":4,"name":"D","tags":[{"name":"x"},{"name":{}}]},{"id":5,"name":"E"}]"#,
    );
    assert_eq!(rows(&batch.rows), [["5", "E", "-", "-"]]);
    let kept: Vec<_> = batch
        .quarantined
        .iter()
        .map(|record| (record.key.as_deref().unwrap_or("-"), record.column.as_deref().unwrap_or("-"), record.code))
        .collect();
    assert_eq!(
        kept,
        [
            ("[1]", "age", "type_mismatch"),
            ("[2]", "name", "missing_required"),
            ("[3]", "age", "out_of_range"),
            ("[4]", "tags", "type_mismatch"),
        ]
    );
    assert_eq!(batch.quarantined[0].reason, "`\"old\"` does not fit `INTEGER`: it is text that is not a number");
    assert_eq!(batch.quarantined[0].record, r#"{"id":1,"name":"A","details":{"age":"old"}}"#);
    assert_eq!(rows(&batch.quarantined_keys), [["1"], ["2"], ["3"], ["4"]]);
    assert_eq!(batch.keyless, 0);
}

#[test]
fn a_record_without_a_readable_key_proves_nothing_about_absence() {
    let batch = map(
        &people(),
        r#"[{"name":"A"},{"id":null,"name":"B"},{"id":"x","name":"C"},{"id":{},"name":"D"},{"id":1,"name":"E"}]"#,
    );
    assert_eq!(rows(&batch.rows), [["1", "E", "-", "-"]]);
    assert!(
        batch.quarantined.iter().all(|record| record.code == "missing_key" && record.column.as_deref() == Some("id"))
    );
    let keys: Vec<_> = batch.quarantined.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [None, None, Some("[\"x\"]"), Some("[{}]")]);
    assert_eq!((batch.keyless, batch.quarantined_keys.num_rows()), (4, 0));
    assert!(batch.quarantined[2].reason.contains("`\"x\"` does not fit `BIGINT`"), "{}", batch.quarantined[2].reason);
}

#[test]
fn what_is_no_object_is_kept_too() {
    let batch = map(&people(), r#"[null,1,"x",[{"id":1}],{"id":1,"name":"A"}]"#);
    assert_eq!((batch.rows.num_rows(), batch.keyless), (1, 4));
    let kept: Vec<_> = batch.quarantined.iter().map(|record| (record.code, record.record.as_str())).collect();
    assert_eq!(
        kept,
        [
            ("not_an_object", "null"),
            ("not_an_object", "1"),
            ("not_an_object", "\"x\""),
            ("missing_key", "[{\"id\":1}]")
        ]
    );
}

#[test]
fn a_key_of_several_columns_keeps_its_order() {
    let mut plan = sync(vec![
        column("note", "varchar", "$.note"),
        column("number", "bigint", "$.number"),
        column("repo", "varchar", "$.repo"),
    ]);
    change(&mut plan, |model| {
        model.columns[0].required = false;
        model.key = vec![2, 1];
        model.on_invalid = OnInvalid::Quarantine;
    });
    let batch = map(
        &plan,
        r#"[{"repo":"a","number":1,"note":{}},{"repo":"a","number":2},{"repo":"b"},{"repo":"a","number":2.0,"note":"x"}]"#,
    );
    let names: Vec<_> = batch.quarantined_keys.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["repo", "number"]);
    assert_eq!(rows(&batch.quarantined_keys), [["a", "1"]]);
    let keys: Vec<_> = batch.quarantined.iter().map(|record| record.key.as_deref()).collect();
    assert_eq!(keys, [Some("[\"a\",1]"), Some("[\"b\",null]")]);
    assert_eq!(batch.keyless, 1);
    assert_eq!(batch.key_hashes[0], batch.key_hashes[1], "the same key in two spellings");
}

#[test]
fn on_invalid_null_nulls_the_value_alone() {
    let mut plan = people();
    change(&mut plan, |model| model.on_invalid = OnInvalid::SetNull);
    let batch = map(
        &plan,
        r#"[{"id":1,"name":"A","details":{"age":"old"},"tags":[{"name":[]}]},{"id":2,"name":[]},{"id":"x","name":"C"},{"id":4,"name":"D"}]"#,
    );
    assert_eq!(rows(&batch.rows), [["1", "A", "-", "-"], ["4", "D", "-", "-"]]);
    assert_eq!(batch.nulled, 2);
    let kept: Vec<_> = batch.quarantined.iter().map(|record| record.code).collect();
    assert_eq!(kept, ["type_mismatch", "missing_key"], "required columns and keys are not nulled");
}

#[test]
fn on_invalid_fail_names_the_record() {
    let mut plan = people();
    change(&mut plan, |model| model.on_invalid = OnInvalid::Fail);
    let error =
        try_map(&plan, r#"[{"id":1,"name":"A"},{"id":2,"name":"B","details":{"age":1.5}}]"#).expect_err("fails");
    assert_eq!(
        error.to_string(),
        "the record with the key `[2]` does not fit its model, column `age`: `1.5` does not fit `INTEGER`: it is not a whole number"
    );
    assert!(error.hint().contains("on_invalid: quarantine"));
    let error = try_map(&plan, "[7]").expect_err("fails");
    assert_eq!(
        error.to_string(),
        "a record without a key does not fit its model: a record is an object or a list, this is a number"
    );
}

#[test]
fn a_filter_turns_records_away_before_they_are_judged() {
    let mut plan = people();
    Arc::make_mut(&mut plan.list).response.filter = Some(Predicate::Path(path("$[?@.type == 'person']")));
    let records = r#"[{"type":"person","id":1,"name":"A"},{"type":"dog"},{"id":"x"},7,{"type":"person","id":"x"}]"#;
    let batch = map(&plan, records);
    assert_eq!((batch.rows.num_rows(), batch.filtered, batch.quarantined.len()), (1, 3, 1));
    Arc::make_mut(&mut plan.list).response.filter =
        Some(Predicate::Template(template("{{ record.type == 'person' and config.region == 'eu' }}")));
    let batch = map(&plan, records);
    assert_eq!((batch.rows.num_rows(), batch.filtered, batch.quarantined.len()), (1, 3, 1));
    Arc::make_mut(&mut plan.list).response.filter = Some(Predicate::Template(template("{{ record.id + 1 }}")));
    let batch = map(&plan, r#"[{"id":1,"name":"A"},{"id":[],"name":"B"}]"#);
    let kept: Vec<_> = batch.quarantined.iter().map(|record| (record.code, record.column.as_deref())).collect();
    assert_eq!(kept, [("missing_key", Some("id"))]);
    Arc::make_mut(&mut plan.list).response.filter = Some(Predicate::Template(template("{{ record.name / 2 }}")));
    let batch = map(&plan, r#"[{"id":1,"name":"A"}]"#);
    assert_eq!(
        (batch.quarantined[0].code, rows(&batch.quarantined_keys)),
        ("bad_template", vec![vec!["1".to_owned()]])
    );
}

#[test]
fn templates_make_columns_of_the_record_and_the_context() {
    let plan = sync(vec![
        column("id", "varchar", "{{ config.region }}-{{ record.id }}"),
        column("full", "varchar", "{{ record.first }} {{ record.last }}"),
        column("total", "decimal(18,2)", "{{ record.cents / 100 }}"),
        column("tags", "varchar[]", "{{ record.tags | map('upper') | list }}"),
        column("raw", "json", "{{ record.more }}"),
    ]);
    let batch = map(
        &plan,
        r#"[{"id":7,"first":"A","last":"B","cents":1250,"tags":["x","y"],"more":{"k":[1]}},{"id":8,"first":"A","cents":"x"},{"first":"A","last":"B"}]"#,
    );
    assert_eq!(rows(&batch.rows), [["eu-7", "A B", "12.50", "[X, Y]", "{\"k\":[1]}"]]);
    let kept: Vec<_> = batch.quarantined.iter().map(|record| (record.code, record.column.as_deref())).collect();
    assert_eq!(kept, [("bad_template", Some("full")), ("missing_key", Some("id"))]);
    assert_eq!(rows(&batch.quarantined_keys), [["eu-8"]]);
}

#[test]
fn a_tombstone_needs_its_key_alone() {
    let mut plan = people();
    plan.deletes = DeletePlan::Flag {
        when: Predicate::Path(path("$[?@.deleted == true]")),
        at: Some(path("$.deleted_at")),
        gone_partitions: false,
        guard: Guard::DEFAULT,
    };
    let batch = map(
        &plan,
        r#"[{"id":1,"deleted":true},{"id":2,"name":"B","deleted":true,"deleted_at":"1970-01-01T00:00:01Z","details":{"age":"old"}},
            {"id":3,"name":"C","deleted":true,"deleted_at":1},{"id":4,"name":"D","deleted":true,"deleted_at":"lately"},
            {"id":5,"name":"E","deleted":false,"deleted_at":1},{"id":6,"deleted":false},{"name":"G","deleted":true},
            {"id":8,"name":"H","deleted":true,"deleted_at":1700000000000}]"#,
    );
    assert_eq!(
        rows(&batch.rows),
        [
            ["1", "-", "-", "-"],
            ["2", "B", "-", "-"],
            ["3", "C", "-", "-"],
            ["4", "D", "-", "-"],
            ["5", "E", "-", "-"],
            ["8", "H", "-", "-"]
        ]
    );
    let gone = Fate::Deleted(None);
    let at = Fate::Deleted(Some(1_000_000));
    assert_eq!(batch.fates, [gone, at, at, gone, Fate::Live, gone]);
    let kept: Vec<_> = batch.quarantined.iter().map(|record| record.code).collect();
    assert_eq!(kept, ["missing_required", "missing_key"]);
    assert_eq!(batch.nulled, 0);
}

fn incremental(kind: MarkKind, format: TimeFormat) -> SyncPlan {
    let mut plan = people();
    plan.incremental = Some(IncrementalPlan {
        field: path("$.at"),
        kind,
        format,
        zone: None,
        order: Order::Ascending,
        start: None,
        lookback: Duration::ZERO,
        window: None,
        stop_at_watermark: false,
        client_filter: false,
        max_age: None,
    });
    plan
}

#[test]
fn the_highest_mark_of_a_page_is_known() {
    let moment = |us| Some(Mark::Timestamp(DateTime::from_timestamp_micros(us).expect("in range")));
    let plan = incremental(MarkKind::Timestamp, TimeFormat::Rfc3339);
    let batch = map(
        &plan,
        r#"[{"id":1,"name":"A","at":"1970-01-01T02:00:00+02:00"},{"id":2,"name":"B","at":"1970-01-01T00:00:05Z"},
            {"id":3,"name":"C"},{"id":4,"name":"D","at":null},{"id":5,"name":"E","at":"1970-01-01T00:00:01Z"}]"#,
    );
    assert_eq!((batch.high, batch.rows.num_rows()), (moment(5_000_000), 5));
    let kept = map(&plan, r#"[{"id":1,"name":null,"at":"1970-01-01T00:00:09Z"}]"#);
    assert_eq!((kept.high, kept.rows.num_rows()), (moment(9_000_000), 0), "a record in quarantine is covered");
    let batch = map(&incremental(MarkKind::Timestamp, TimeFormat::EpochMs), r#"[{"id":1,"name":"A","at":5}]"#);
    assert_eq!(batch.high, moment(5_000));
    let batch = map(&incremental(MarkKind::Date, TimeFormat::Rfc3339), r#"[{"id":1,"name":"A","at":"2024-02-29"}]"#);
    assert_eq!(batch.high, NaiveDate::from_ymd_opt(2024, 2, 29).map(Mark::Date));
    let numbers = incremental(MarkKind::Integer, TimeFormat::Rfc3339);
    assert_eq!(
        map(&numbers, r#"[{"id":1,"name":"A","at":10},{"id":2,"name":"B","at":"9"}]"#).high,
        Some(Mark::Integer(10))
    );
    let texts = incremental(MarkKind::Text, TimeFormat::Rfc3339);
    assert_eq!(
        map(&texts, r#"[{"id":1,"name":"A","at":"10"},{"id":2,"name":"B","at":"9"}]"#).high,
        Some(Mark::Text("9".into()))
    );
}

#[test]
fn an_unreadable_mark_sends_the_record_to_quarantine() {
    let mut plan = incremental(MarkKind::Timestamp, TimeFormat::Rfc3339);
    let records = r#"[{"id":1,"name":"A","at":"soon"},{"id":2,"name":"B","at":"1970-01-01T00:00:05Z"}]"#;
    let batch = map(&plan, records);
    assert_eq!((batch.rows.num_rows(), batch.quarantined[0].code), (1, "type_mismatch"));
    assert!(batch.quarantined[0].reason.contains("incremental field `$.at`"), "{}", batch.quarantined[0].reason);
    plan.deletes = DeletePlan::Flag {
        when: Predicate::Path(path("$[?@.at == 'soon']")),
        at: None,
        gone_partitions: false,
        guard: Guard::DEFAULT,
    };
    assert_eq!(map(&plan, records).fates, [Fate::Deleted(None), Fate::Live], "a tombstone needs no mark");
}

#[test]
fn a_reason_is_one_line_whatever_it_quotes() {
    let mut day = column("day", "date", "$.day");
    day.format = TimeFormat::Custom("%d\u{1b}[31m".to_owned());
    let long = format!("{{{{ record['a\u{1b}[31m{}'] - 1 }}}}", "é".repeat(900));
    let columns = [day, column("text", "varchar", &long)];
    for odd in columns {
        let plan = sync(vec![column("id", "bigint", "$.id"), odd]);
        let batch = map(&plan, r#"[{"id":1,"day":"x\u001b[31m"}]"#);
        let reason = &batch.quarantined[0].reason;
        assert!(!reason.contains(char::is_control) && reason.chars().count() < 700, "{reason:?}");
    }
    let mut plan = incremental(MarkKind::Date, TimeFormat::Rfc3339);
    plan.incremental.as_mut().expect("it is").field = path("$['a\u{2028}']");
    let reason = &map(&plan, "[{\"id\":1,\"name\":\"A\",\"a\u{2028}\":1}]").quarantined[0].reason;
    assert!(reason.contains("`$['a\\u{2028}']`"), "{reason:?}");
}

/// The incremental field is read in its zone wherever it stands: in the mark, in its column, in a key. Other columns are not.
#[test]
fn the_column_of_the_incremental_field_says_the_same_as_the_mark() {
    let mut at = column("at", "timestamptz", "$.at");
    at.required = true;
    let mut plan = sync(vec![at, column("made", "timestamptz", "$.made"), column("local", "timestamp", "$.at")]);
    plan.incremental = incremental(MarkKind::Timestamp, TimeFormat::Rfc3339).incremental;
    plan.incremental.as_mut().expect("it is").zone = Zone::parse("Asia/Kathmandu");
    let batch =
        map(&plan, r#"[{"at":"2026-01-01 05:45:00"},{"at":"2026-01-01T00:30:00Z","made":"2026-01-01 00:00:00"}]"#);
    assert_eq!(batch.low.map(|mark| mark.to_string()).as_deref(), Some("2026-01-01T00:00:00Z"));
    let first = |rows: &RecordBatch, at: usize| {
        let column = arrow::compute::cast(rows.column(at), &arrow::datatypes::DataType::Int64).expect("a time");
        arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&column).value(0) / 1_000_000
    };
    let midnight = 1_767_225_600;
    assert_eq!((first(&batch.rows, 0), first(&batch.rows, 2)), (midnight, midnight + 5 * 3_600 + 45 * 60));
    assert_eq!(batch.quarantined[0].column.as_deref(), Some("made"));
    let reader = KeyReader::new(&plan, &[(0, path("$.when"))], None);
    let keys = reader.read(&[&json(r#"{"when":"2026-01-01 05:45:00"}"#)]);
    assert_eq!(first(&keys.keys, 0), midnight);
}

#[test]
fn a_start_may_be_written_for_people() {
    let start = |kind, format, value: &str| {
        let plan = incremental(kind, format).incremental.expect("is incremental");
        read_start(&plan, &json(value)).map(|mark| mark.map_or_else(String::new, |mark| mark.to_string()))
    };
    let timestamp = |format, value| start(MarkKind::Timestamp, format, value);
    let day = Ok("2015-01-01T00:00:00Z".to_owned());
    assert_eq!(timestamp(TimeFormat::Rfc3339, "\"2015-01-01\""), day);
    assert_eq!(timestamp(TimeFormat::Rfc3339, "\"2015-01-01T02:00:00+02:00\""), day);
    assert_eq!(timestamp(TimeFormat::EpochMs, "\"2015-01-01\""), day);
    assert_eq!(timestamp(TimeFormat::EpochMs, "1420070400000"), day);
    assert_eq!(timestamp(TimeFormat::Custom("%d.%m.%Y".into()), "\"01.01.2015\""), day);
    assert_eq!(
        start(MarkKind::Date, TimeFormat::Custom("%d.%m.%Y".into()), "\"2015-01-01\""),
        Ok("2015-01-01".to_owned())
    );
    let in_zone = |kind, value: &str| {
        let mut plan = incremental(kind, TimeFormat::Rfc3339).incremental.expect("is incremental");
        plan.zone = Zone::parse("America/New_York");
        read_start(&plan, &json(value)).map(|mark| mark.map_or_else(String::new, |mark| mark.to_string()))
    };
    assert_eq!(in_zone(MarkKind::Timestamp, "\"2015-01-01\""), Ok("2015-01-01T05:00:00Z".to_owned()));
    assert_eq!(in_zone(MarkKind::Timestamp, "\"2015-07-01T12:00:00\""), Ok("2015-07-01T16:00:00Z".to_owned()));
    assert_eq!(in_zone(MarkKind::Timestamp, "\"2015-07-01T12:00:00Z\""), Ok("2015-07-01T12:00:00Z".to_owned()));
    assert_eq!(in_zone(MarkKind::Date, "\"2015-01-01\""), Ok("2015-01-01".to_owned()));
    assert_eq!(start(MarkKind::Integer, TimeFormat::Rfc3339, "7"), Ok("7".to_owned()));
    assert_eq!(start(MarkKind::Text, TimeFormat::Rfc3339, "\"a\""), Ok("a".to_owned()));
    assert_eq!(timestamp(TimeFormat::Rfc3339, "null"), Ok(String::new()));
    assert!(timestamp(TimeFormat::Rfc3339, "\"last week\"").is_err_and(|error| error.contains("last week")));
    assert!(start(MarkKind::Integer, TimeFormat::Rfc3339, "\"2015-01-01\"").is_err());
}

#[test]
fn a_record_that_is_too_large_is_kept_in_part() {
    let large = "x".repeat(RECORD_BYTES_MAX);
    let batch = map(&people(), &format!(r#"[{{"id":1,"name":"{large}"}},{{"name":"{large}"}},{{"id":3,"name":"C"}}]"#));
    assert_eq!(rows(&batch.rows), [["3", "C", "-", "-"]]);
    let codes: Vec<_> = batch.quarantined.iter().map(|record| record.code).collect();
    assert_eq!(codes, ["record_too_large", "missing_key"]);
    assert_eq!((rows(&batch.quarantined_keys), batch.keyless), (vec![vec!["1".to_owned()]], 1));
    for record in &batch.quarantined {
        assert_eq!(record.record.len(), QUARANTINE_BYTES_MAX);
        assert!(record.reason.contains("only the first 65536 bytes"), "{}", record.reason);
    }
    let batch = map(&people(), &format!(r#"[{{"id":"{large}"}}]"#));
    assert_eq!((batch.quarantined[0].code, &batch.quarantined[0].key), ("missing_key", &None));
}

#[test]
fn a_page_cannot_multiply_in_memory() {
    let mut columns: Vec<_> = (0..100).map(|at| column(&format!("c{at:02}"), "json", "$")).collect();
    columns.insert(0, column("id", "bigint", "$.id"));
    let plan = sync(columns);
    let record = |id: usize, bytes: usize| format!(r#"{{"id":{id},"x":"{}"}}"#, "x".repeat(bytes));
    let batch = map(&plan, &format!("[{}]", record(1, RECORD_BYTES_MAX / 50)));
    assert_eq!(batch.quarantined[0].code, "record_too_large", "a row larger than a record may be");
    let records: Vec<_> = (0..100).map(|id| record(id, RECORD_BYTES_MAX / 200)).collect();
    let error = try_map(&plan, &format!("[{}]", records.join(","))).expect_err("too large");
    assert_eq!(error, MapError::TooLarge);
}

#[test]
fn a_page_of_every_mistake_loses_no_record() {
    let mut plan = incremental(MarkKind::Timestamp, TimeFormat::Rfc3339);
    Arc::make_mut(&mut plan.list).response.filter = Some(Predicate::Path(path("$[?!@.hidden]")));
    let records = r#"[{"id":1,"name":"A"},{"hidden":1},null,{"id":2},{"name":"B"},{"id":3,"name":"C","at":7},{"id":4,"name":"D","details":{"age":[]}}]"#;
    let batch = map(&plan, records);
    let ended = batch.rows.num_rows() + batch.quarantined.len() + usize::try_from(batch.filtered).expect("few");
    assert_eq!(ended, 7);
    let codes = batch.quarantined.iter().fold(BTreeMap::new(), |mut counts, record| {
        *counts.entry(record.code).or_insert(0) += 1;
        counts
    });
    let expected = [("missing_key", 1), ("missing_required", 1), ("not_an_object", 1), ("type_mismatch", 2)];
    assert_eq!(codes, BTreeMap::from(expected));
}

/// The plan of a sync whose rows must fit this schema.
fn validated(schema: &serde_json::Value, on_invalid: OnInvalid) -> SyncPlan {
    let mut plan = sync(vec![
        column("id", "bigint", "$.id"),
        column("name", "varchar", "$.name"),
        column("price", "decimal(10,2)", "$.price"),
        column("big", "hugeint", "$.big"),
        column("day", "date", "$.day"),
        column("clock", "time", "$.clock"),
        column("at", "timestamptz", "$.at"),
        column("local", "timestamp", "$.local"),
        column("uid", "uuid", "$.uid"),
        column("tags", "varchar[]", "$.tags[*]"),
        column("sizes", "decimal(4,1)[]", "$.sizes"),
        column("address", "json", "$.address"),
        column("file", "blob", "$.file"),
        column("open", "boolean", "$.open"),
    ]);
    let mut model = (*plan.model).clone();
    model.validate = Some(RowSchema::parse(schema).expect("a schema"));
    model.on_invalid = on_invalid;
    plan.model = model.into();
    plan
}

#[test]
fn a_schema_sees_the_row_as_json() {
    let row = serde_json::json!({
        "id": 7, "name": "a", "price": 12.5, "big": 1e30, "day": "2024-02-29", "clock": "18:30:00.500", "at": "2024-01-02T03:04:05.600Z",
        "local": "2024-01-02T03:04:05", "uid": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "tags": ["x", "y"], "sizes": [1.5, null],
        "address": { "zip": "1" }, "file": "AQI=", "open": true,
    });
    let record = r#"[{"id":"7","name":"a","price":"12.50","big":1e30,"day":"2024-02-29","clock":"18:30:00.5","at":"2024-01-02T04:04:05.6+01:00",
        "local":"2024-01-02 03:04:05","uid":"6BA7B8109DAD11D180B400C04FD430C8","tags":["x","y"],"sizes":[1.5,null],"address":{"zip":"1"},
        "file":"AQI","open":1,"unmapped":1}, {"id":7}]"#;
    let batch = map(&validated(&serde_json::json!({ "const": row }), OnInvalid::Quarantine), record);
    let reasons: Vec<_> = batch.quarantined.iter().map(|record| (record.code, record.reason.as_str())).collect();
    assert_eq!(batch.rows.num_rows(), 1, "{reasons:?}");
    assert_eq!(reasons.len(), 1);
    // what has no value is not there
    let only_id = map(
        &validated(&serde_json::json!({ "const": { "id": 7 } }), OnInvalid::Quarantine),
        r#"[{"id":7,"name":null}]"#,
    );
    assert_eq!(only_id.rows.num_rows(), 1);
}

#[test]
fn a_row_that_breaks_its_schema_is_quarantined_with_the_column() {
    let schema = serde_json::json!({
        "required": ["name"],
        "properties": {
            "price": { "minimum": 0 },
            "address": { "properties": { "zip": { "type": "string", "maxLength": 5 } } },
        },
    });
    let long = "x".repeat(5_000);
    let records = format!(
        r#"[{{"id":1,"name":"a","price":-1.5}},{{"id":2}},{{"id":3,"name":"c","address":{{"zip":"{long}"}}}},{{"id":4,"name":"d","price":0}}]"#
    );
    for on_invalid in [OnInvalid::Quarantine, OnInvalid::SetNull] {
        let batch = map(&validated(&schema, on_invalid), &records);
        assert_eq!((batch.rows.num_rows(), batch.nulled, batch.keyless), (1, 0, 0));
        let told: Vec<_> = batch
            .quarantined
            .iter()
            .map(|record| (record.code, record.column.as_deref(), record.reason.as_str()))
            .collect();
        assert_eq!(
            told[0],
            ("schema", Some("price"), "`-1.5` does not fit `validate`: it is less than the minimum of 0")
        );
        assert_eq!(told[1], ("schema", None, "its row does not fit `validate`: `name` is a required property"));
        let (code, column, reason) = told[2];
        assert_eq!((code, column), ("schema", Some("address")));
        assert!(
            reason.ends_with("does not fit `validate` (`zip`): it is longer than 5 characters") && reason.len() < 300,
            "{reason}"
        );
    }
    let error = try_map(&validated(&schema, OnInvalid::Fail), &records).expect_err("it fails");
    assert_eq!(
        error.to_string(),
        "the record with the key `[1]` does not fit its model, column `price`: `-1.5` does not fit `validate`: it is less than the minimum of 0"
    );
}

#[test]
fn a_tombstone_breaks_no_schema() {
    let mut plan = validated(&serde_json::json!({ "required": ["name"] }), OnInvalid::Quarantine);
    plan.deletes = DeletePlan::Flag {
        when: Predicate::Path(path("$[?@.gone]")),
        at: None,
        gone_partitions: false,
        guard: Guard::DEFAULT,
    };
    let batch = map(&plan, r#"[{"id":1,"gone":true},{"id":2}]"#);
    assert_eq!((batch.rows.num_rows(), batch.quarantined.len()), (1, 1));
}
