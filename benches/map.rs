//! Decoding, mapping and hashing a page: 1,000 records of about 500 bytes and 14 fields.
//!
//! `cargo bench --bench map` prints records per second of one core.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use headwater::plan::{
    AuthPlan, BodyPlan, ColumnPlan, ColumnSource, ColumnType, ConnectionPlan, Format, IncrementalPlan, ListPlan,
    MarkKind, Method, ModelPlan, NetworkPlan, Order, PagePlan, Path, RatePlan, RequestPlan, ResponsePlan, RetryPlan,
    SyncId, SyncPlan, Template, TimeFormat,
};
use headwater::record::{Json, Mapper, parse, select};

const RECORDS: usize = 1_000;

fn main() {
    divan::main();
}

/// The body alone: bytes to JSON values.
#[divan::bench]
fn decode(bencher: Bencher<'_, '_>) {
    let body = page();
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(body.len()))
        .bench_local(|| black_box(parse(body.as_bytes()).expect("is JSON")));
}

/// JSON values to typed columns with both hashes.
#[divan::bench]
fn map_and_hash(bencher: Bencher<'_, '_>) {
    let body = page();
    let (mapper, context) = (Mapper::new(&plan(false)), minijinja::context! {});
    let json = parse(body.as_bytes()).expect("is JSON");
    let records = records(&json);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| black_box(mapper.map(&records, &context).expect("maps")));
}

/// The same with one column that is a template.
#[divan::bench]
fn map_and_hash_with_a_template(bencher: Bencher<'_, '_>) {
    let body = page();
    let (mapper, context) = (Mapper::new(&plan(true)), minijinja::context! {});
    let json = parse(body.as_bytes()).expect("is JSON");
    let records = records(&json);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| black_box(mapper.map(&records, &context).expect("maps")));
}

/// Records of 300 members, each a column.
#[divan::bench]
fn map_and_hash_wide(bencher: Bencher<'_, '_>) {
    let members: Vec<String> = (0..300).map(|at| format!("\"member_{at}\":\"value {at}\"")).collect();
    let record = format!("{{\"id\":1,{}}}", members.join(","));
    let body = format!("{{\"data\":[{}]}}", vec![record; RECORDS].join(","));
    let mut columns = vec![column("id", "bigint", ColumnSource::Path(path("$.id")))];
    columns.extend((0..300).map(|at| {
        let name = format!("member_{at}");
        column(&name, "varchar", ColumnSource::Path(path(&format!("$.{name}"))))
    }));
    let (mapper, context) = (Mapper::new(&sync(columns)), minijinja::context! {});
    let json = parse(body.as_bytes()).expect("is JSON");
    let records = records(&json);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| black_box(mapper.map(&records, &context).expect("maps")));
}

/// All that happens to a page between the network and the store.
#[divan::bench]
fn decode_map_and_hash(bencher: Bencher<'_, '_>) {
    let body = page();
    let (mapper, context) = (Mapper::new(&plan(false)), minijinja::context! {});
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let json = parse(body.as_bytes()).expect("is JSON");
        black_box(mapper.map(&records(&json), &context).expect("maps"))
    });
}

fn records<'j, 'a>(json: &'j Json<'a>) -> Vec<&'j Json<'a>> {
    let records = select(&path("$.data[*]"), json);
    assert_eq!(records.len(), RECORDS);
    records
}

/// A page of customers, the same on every machine.
fn page() -> String {
    let mut out = String::from("{\"data\":[");
    for id in 1..=RECORDS as u64 {
        let noise = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let tags = ["", "\"vip\"", "\"eu\",\"trial\"", "\"alpha\",\"churn-risk\",\"us\""][(noise % 4) as usize];
        let manager = if noise.is_multiple_of(5) { "null".to_owned() } else { (noise % 5_000).to_string() };
        let _ = write!(
            out,
            "{}{{\"id\":{id},\"name\":\"Customer {id:06} original\",\"email\":\"user{id}@example{}.com\",\"status\":\"active\",\
             \"is_vip\":{},\"manager_id\":{manager},\"amount\":{}.{:02},\"balance\":-{}.{:02},\"quantity\":{},\"tags\":[{tags}],\
             \"address\":{{\"street\":\"{} Main Street\",\"city\":\"Zürich\",\"zip\":\"{:05}\",\"geo\":{{\"lat\":{}.123456,\"lng\":-{}.654321}}}},\
             \"created_at\":\"2025-01-{:02}T10:{:02}:00Z\",\"updated_at\":\"2025-03-{:02}T11:{:02}:59Z\",\
             \"notes\":\"lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod\"}}",
            if id > 1 { "," } else { "" },
            noise % 50,
            noise.is_multiple_of(7),
            noise % 100_000,
            noise % 100,
            noise % 10_000,
            noise % 99,
            noise % 1_000,
            noise % 999 + 1,
            noise % 100_000,
            noise % 90,
            noise % 180,
            noise % 28 + 1,
            noise % 60,
            noise % 28 + 1,
            noise % 60,
        );
    }
    out.push_str("],\"next_cursor\":\"abc\"}");
    out
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("is a path")
}

fn template(text: &str) -> Template {
    Template::parse(text).expect("is a template")
}

fn column(name: &str, column_type: &str, source: ColumnSource) -> ColumnPlan {
    ColumnPlan {
        name: name.to_owned(),
        column_type: ColumnType::parse(column_type).expect("is a type"),
        source,
        format: TimeFormat::Rfc3339,
        required: name == "id",
        volatile: false,
        description: None,
    }
}

fn plan(with_template: bool) -> SyncPlan {
    let typed = [
        ("id", "bigint"),
        ("name", "varchar"),
        ("email", "varchar"),
        ("status", "varchar"),
        ("is_vip", "boolean"),
        ("manager_id", "bigint"),
        ("amount", "decimal(18,2)"),
        ("balance", "double"),
        ("quantity", "integer"),
        ("tags", "varchar[]"),
        ("address", "json"),
        ("created_at", "timestamptz"),
        ("updated_at", "timestamptz"),
        ("notes", "varchar"),
    ];
    let mut columns: Vec<ColumnPlan> = typed
        .into_iter()
        .map(|(name, column_type)| column(name, column_type, ColumnSource::Path(path(&format!("$.{name}")))))
        .collect();
    if with_template {
        columns.push(column(
            "label",
            "varchar",
            ColumnSource::Template(template("{{ record.name }} <{{ record.email }}>")),
        ));
    }
    SyncPlan {
        incremental: Some(IncrementalPlan {
            field: path("$.updated_at"),
            kind: MarkKind::Timestamp,
            format: TimeFormat::Rfc3339,
            zone: None,
            order: Order::Ascending,
            start: None,
            lookback: Duration::ZERO,
            window: None,
            stop_at_watermark: false,
            client_filter: false,
            max_age: None,
        }),
        ..sync(columns)
    }
}

fn sync(columns: Vec<ColumnPlan>) -> SyncPlan {
    let id =
        SyncId { connection: "mock".into(), provider: "mock".into(), sync: "customers".into(), variant: String::new() };
    let model = ModelPlan { key: vec![0], ..ModelPlan::of_columns("Customer", ("mock", "customers"), columns) };
    let request = RequestPlan {
        method: Method::Get,
        path: template("/customers"),
        query: Vec::new(),
        headers: Vec::new(),
        body: BodyPlan::None,
    };
    let response =
        ResponsePlan { format: Format::Json, records: vec![path("$.data[*]")], optional: false, filter: None };
    let list = ListPlan { request, response, pagination: PagePlan::one() };
    SyncPlan::of_list(id, Arc::new(connection()), Arc::new(model), list)
}

fn connection() -> ConnectionPlan {
    let second = Duration::from_secs(1);
    ConnectionPlan {
        name: "mock".into(),
        provider: "mock".into(),
        base_url: "http://127.0.0.1".parse().expect("is a URL"),
        trusted_origins: Vec::new(),
        base_url_is_literal: true,
        network: NetworkPlan::default(),
        auth_name: None,
        auth: AuthPlan::None,
        scopes: Vec::new(),
        unknown: Vec::new(),
        credentials: BTreeMap::new(),
        config: serde_json::Value::Null,
        rate_limit: RatePlan { concurrency: 1, ..RatePlan::DEFAULT },
        retry: RetryPlan { attempts: 1, statuses: Vec::new(), backoff_base: second, backoff_max: second },
        timeout_connect: second,
        timeout_request: second,
        errors: Vec::new(),
        verify: None,
        on_connect: Vec::new(),
        webhooks: None,
        tls: None,
    }
}
