//! Looking into the database.

use std::ops::ControlFlow;

use serde_json::json;

use super::support::{Bench, bad_batch, customers, gone, live, model, query, reader, sync_of};
use crate::store::Error;

fn filled() -> Bench {
    let mut bench = Bench::new(customers());
    bench.begin("r1", 0);
    bench.commit(1, &(0..5_000).map(|id| live(json!([id, format!("n{id}")]))).collect::<Vec<_>>());
    bench.commit(2, &[gone(json!([3, ""])), live(json!([4, "z"]))]);
    bench.store.release().expect("released");
    bench
}

#[test]
fn status_tells_how_each_sync_is() {
    let mut bench = filled();
    let bad = bad_batch(&bench.model, &[(None, "x")]);
    let group = bench.group(vec![bad], 3);
    bench.store.commit(group).expect("committed");
    bench.id = sync_of("second", "v");
    bench.begin("r2", 5);
    bench.store.release().expect("released");
    let all = reader(&bench.path()).status().expect("status");
    assert_eq!(all.iter().map(|s| s.id.to_string()).collect::<Vec<_>>(), ["main/customers", "second/customers@v"]);
    let first = &all[0];
    assert_eq!((first.rows_live, first.rows_deleted, first.quarantined), (4_999, 1, 1));
    assert_eq!((first.table.as_deref(), first.state.as_deref()), (Some("shop.customers"), Some("complete")));
    assert_eq!((first.watermark.as_deref(), first.last_completed_at), (Some("3"), Some(super::support::at(3))));
    let run = first.last_run.as_ref().expect("a run");
    assert_eq!(
        (run.run_id.as_str(), run.state.as_str(), run.added, run.updated, run.deleted),
        ("r1", "running", 5_000, 1, 1)
    );
    assert_eq!((run.pages, run.records, run.started_at, run.ended_at), (3, 5_003, super::support::at(0), None));
    assert_eq!((all[1].table.as_deref(), all[1].rows_live), (None, 0));
}

#[test]
fn changes_come_in_order_once_and_from_anywhere() {
    let bench = filled();
    let store = reader(&bench.path());
    let ids = |after, limit| {
        let mut ids = Vec::new();
        let each = |row: serde_json::Map<String, serde_json::Value>| {
            ids.push((row["_change"].as_i64().expect("a number"), row["id"].as_i64().expect("a number")));
            ControlFlow::Continue(())
        };
        store.changes("customers", after, limit, each).expect("changes");
        ids
    };
    let all = ids(0, None);
    assert_eq!(all.len(), 5_000);
    assert!(all.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(all[4_998..], [(5_001, 3), (5_002, 4)]);
    assert_eq!(ids(5_001, None), [(5_002, 4)]);
    assert_eq!(ids(2, Some(2)), [(3, 2), (6, 5)]);
    assert_eq!(ids(5_002, None), []);
    let mut taken = 0;
    let stop = |_| {
        taken += 1;
        ControlFlow::Break(())
    };
    store.changes("SHOP.customers", 0, None, stop).expect("changes");
    assert_eq!(taken, 1);
}

#[test]
fn a_table_is_found_by_its_name_or_the_nearest_is_named() {
    let mut bench = filled();
    let mut other = model(&[("id", "bigint")], &["id"]);
    other.schema = "market".into();
    bench.store.prepare(&[other.into()], false, "r2", super::support::at(5)).expect("prepared");
    bench.store.release().expect("released");
    let store = reader(&bench.path());
    let error = |name: &str| store.changes(name, 0, None, |_| ControlFlow::Continue(())).expect_err("no such table");
    assert_eq!(error("customers").to_string(), "there are several tables `customers`");
    assert_eq!(error("customers").hint().as_deref(), Some("say which: `market.customers`, `shop.customers`"));
    assert_eq!(error("shop.custmers").hint().as_deref(), Some("did you mean `shop.customers`?"));
    assert_eq!(error("x").hint().as_deref(), Some("the tables are `market.customers`, `shop.customers`"));
}

#[test]
fn a_question_is_answered_with_columns_and_rows() {
    let bench = filled();
    let mut rows = Vec::new();
    let sql = "-- with a comment\n SELECT count(*) AS n, sum(id)::HUGEINT AS s, max(name) AS m, [1.5::DECIMAL(5,2)] AS l, \
               {'a': TIME '10:00', 'b': '{\"x\":[1]}'::JSON} AS o, MAP {'k': 1::HUGEINT} AS d, INTERVAL 2 DAY AS i, \
               'a'::ENUM('a', 'b') AS e, '2024-01-01T02:00:00+02:00'::TIMESTAMPTZ AS t, 'NaN'::DOUBLE AS f, NULL AS z \
               FROM shop.customers_live;";
    let columns = reader(&bench.path())
        .query(sql, |_, values| {
            rows.push(json!(values));
            ControlFlow::Continue(())
        })
        .expect("rows");
    assert_eq!(
        rows,
        [
            json!([4_999, 12_497_497, "z", ["1.50"], {"a": "10:00:00", "b": {"x": [1]}}, [{"key": "k", "value": 1}], "2 days", "a",
            "2024-01-01T00:00:00Z", "NaN", null])
        ]
    );
    let types: Vec<String> = columns.iter().map(|column| format!("{} {}", column.name, column.type_name)).collect();
    assert_eq!(
        types,
        [
            "n BIGINT",
            "s HUGEINT",
            "m VARCHAR",
            "l DECIMAL(5,2)[]",
            "o STRUCT(a TIME, b JSON)",
            "d MAP(VARCHAR, HUGEINT)",
            "i INTERVAL",
            "e ENUM",
            "t TIMESTAMPTZ",
            "f DOUBLE",
            "z INTEGER"
        ]
    );
}

#[test]
fn statements_that_only_read_are_run() {
    let bench = filled();
    let store = reader(&bench.path());
    for sql in [
        "SELECT 1",
        "FROM shop.customers LIMIT 1",
        "VALUES (1), (2)",
        "SHOW TABLES",
        "SHOW ALL TABLES",
        "DESCRIBE shop.customers",
        "SUMMARIZE shop.customers",
        "TABLE shop.customers",
        "WITH x AS (SELECT 1 AS a) SELECT * FROM x",
        "(SELECT 1) UNION SELECT 2",
        "SELECT * FROM range(3)",
        "SELECT * FROM duckdb_tables()",
        "SELECT * FROM information_schema.tables",
        "SELECT unnest([1, 2])",
        "SELECT lower(name), count(*) FROM shop.customers GROUP BY ALL ORDER BY 2 LIMIT 3",
    ] {
        store.query(sql, |_, _| ControlFlow::Continue(())).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn everything_else_is_refused() {
    let bench = filled();
    let before = std::fs::read(bench.path()).expect("read");
    let store = reader(&bench.path());
    for sql in [
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
        "SELECT 1; DROP TABLE shop.customers",
        "INSERT INTO shop.customers SELECT * FROM shop.customers",
        "DROP TABLE shop.customers",
        "CREATE TABLE memory.main.x AS SELECT 1",
        "ATTACH 'x.duckdb'",
        "DETACH memory",
        "COPY shop.customers TO 'x.csv'",
        "SET threads = 1",
        "PRAGMA database_list",
        "CALL duckdb_settings()",
        "EXPLAIN ANALYZE SELECT 1",
        "INSTALL httpfs",
        "LOAD httpfs",
        "EXPORT DATABASE 'x'",
        "CHECKPOINT",
        "BEGIN",
        "PREPARE p AS SELECT 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('w.duckdb')",
        "SELECT * FROM glob('/*')",
        "FROM 'w.duckdb'",
        "FROM '/etc/passwd'",
        "FROM \"x.parquet\"",
        "SELECT * FROM enable_logging(storage = 'stdout')",
        "SELECT * FROM enable_profiling()",
        "SELECT * FROM query('SELECT 1')",
        "WITH x AS (SELECT * FROM read_blob('/etc/passwd')) SELECT * FROM x",
        "SELECT (SELECT count(*) FROM read_json('a.json'))",
        "SELECT * FROM json_execute_serialized_sql('{}')",
        "SELECT * FROM force_checkpoint()",
        "SELECT * FROM query_table('w.duckdb')",
    ] {
        let refused = store.query(sql, |_, _| ControlFlow::Continue(()));
        assert!(matches!(refused, Err(Error::NotARead { .. })), "{sql}: {refused:?}");
    }
    drop(store);
    assert!(std::fs::read(bench.path()).expect("read") == before);
}

#[test]
fn mistakes_in_a_question_are_told_in_duckdbs_words() {
    let bench = filled();
    for (sql, words) in [
        ("SELEC 1", "syntax error at or near"),
        ("SELECT nme FROM shop.customers", "\"nme\" not found"),
        ("SELECT name::INTEGER FROM shop.customers", "Could not convert string 'n0'"),
        ("FROM shop.customer", "does not exist"),
    ] {
        match query(&bench.path(), sql) {
            Err(Error::Query { message }) => assert!(message.contains(words), "{message}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
}

#[test]
fn a_database_headwater_has_not_been_in_can_be_asked_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("theirs.duckdb");
    duckdb::Connection::open(&path).expect("opened").execute_batch("CREATE TABLE t AS SELECT 42 AS a").expect("made");
    let store = reader(&path);
    assert_eq!(store.status().expect("status"), []);
    let unknown = store.changes("t", 0, None, |_| ControlFlow::Continue(())).expect_err("not ours");
    assert_eq!(unknown.hint().as_deref(), Some("no sync has run yet: `headwater run`"));
    drop(store);
    assert_eq!(query(&path, "FROM t").expect("rows"), [json!([42])]);
}

#[test]
fn a_question_beside_the_writer_changes_nothing_and_ends_in_time() {
    let mut bench = filled();
    let wait = std::time::Duration::from_millis(300);
    let mut ask = |sql: &str| {
        let mut rows = Vec::new();
        let asked = bench.store.query(sql, wait, |_, row| {
            rows.push(row);
            ControlFlow::Continue(())
        });
        // the file can be let go of, whatever came of it
        bench.store.release().expect("released");
        asked.map(|_| rows)
    };
    assert_eq!(ask("select count(*) from shop.customers").expect("rows"), [[json!(5_000)]]);
    let began = std::time::Instant::now();
    let late = ask("select count(*) from range(100000000000) a, range(100) b").expect_err("too long");
    assert!(late.to_string().contains("it was stopped after"), "{late}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20));
    for wrong in ["select nextval('shop.numbers')", "insert into shop.customers select 1", "select * from missing"] {
        ask(wrong).expect_err(wrong);
    }
    assert_eq!(ask("select count(*) from shop.customers").expect("rows"), [[json!(5_000)]]);
    bench.commit(3, &[live(json!([4, "after"]))]);
}
