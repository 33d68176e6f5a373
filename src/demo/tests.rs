mod example;
mod http;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use self::http::{Reply, ask};
use super::data::{Shop, Size};
use super::evolve::Turnover;
use super::{API_KEY, Changes, Counts, Options, Server};

const SMALL: Options = Options { seed: 7, customers: 40, orders: 60, page_max: 100, throttle_every: None, port: 0 };

/// More than any list of a small shop has.
const RECORDS_MAX: usize = 1_000;

async fn start(options: Options) -> Server {
    Server::start(options).await.expect("a loopback port is free")
}

/// One GET with the key, asked again as often as a real client would when it is told to come back.
async fn get(server: &Server, target: &str) -> Reply {
    for _ in 0..3 {
        let reply = ask(server, "GET", target, Some(API_KEY)).await;
        if reply.status != 429 {
            return reply;
        }
    }
    panic!("`{target}` was throttled three times in a row");
}

async fn page(server: &Server, target: &str) -> Value {
    let reply = get(server, target).await;
    assert_eq!(reply.status, 200, "{target}: {}", reply.body);
    reply.body
}

fn list<'a>(body: &'a Value, member: &str) -> &'a [Value] {
    body[member].as_array().expect("the records are a list")
}

async fn all_customers(server: &Server, limit: usize, filter: &str) -> Vec<Value> {
    let mut records = Vec::new();
    let mut cursor = String::new();
    loop {
        let body = page(server, &format!("/v1/customers?limit={limit}{filter}{cursor}")).await;
        let got = list(&body, "data");
        assert!(got.len() <= limit.min(100));
        records.extend_from_slice(got);
        assert!(records.len() <= RECORDS_MAX, "the pages never end");
        assert_eq!(body["paging"]["has_more"], !body["paging"]["next"].is_null());
        let Some(next) = body["paging"]["next"].as_str() else {
            return records;
        };
        cursor = format!("&cursor={next}");
    }
}

async fn all_orders(server: &Server, per_page: usize) -> Vec<Value> {
    let mut records = Vec::new();
    for number in 1.. {
        let body = page(server, &format!("/v1/orders?per_page={per_page}&page={number}")).await;
        assert_eq!(body["page"], number);
        assert_eq!(body["total"], server.orders().len());
        records.extend_from_slice(list(&body, "orders"));
        if number >= body["total_pages"].as_u64().expect("a count") {
            break;
        }
    }
    records
}

async fn all_lines(server: &Server, limit: usize) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    let mut after = String::new();
    loop {
        let body = page(server, &format!("/v1/order-lines?limit={limit}{after}")).await;
        records.extend_from_slice(list(&body, "lines"));
        assert!(records.len() <= RECORDS_MAX, "the pages never end");
        if body["has_more"] == false {
            return records;
        }
        after = format!("&after={}", records.last().expect("a page with more behind it has a record")["id"]);
    }
}

#[tokio::test]
async fn every_list_yields_each_record_once_whatever_the_page_size() {
    let server = start(Options { throttle_every: Some(9), ..SMALL }).await;
    for generation in 0..3 {
        assert_eq!(server.generation(), generation);
        for size in [1, 7, 40, 1_000] {
            assert_eq!(all_customers(&server, size, "").await, server.customers(), "{size} a page");
            assert_eq!(all_orders(&server, size).await, server.orders(), "{size} a page");
            assert_eq!(all_lines(&server, size).await, server.order_lines(), "{size} a page");
        }
        server.advance();
    }
    assert!(server.throttled() > 10);
}

#[tokio::test]
async fn pages_are_cut_to_the_cap_without_a_word() {
    let server = start(Options { throttle_every: None, ..Options::default() }).await;
    assert_eq!(list(&page(&server, "/v1/customers?limit=1000").await, "data").len(), 100);
    assert_eq!(list(&page(&server, "/v1/order-lines?limit=1000").await, "lines").len(), 100);
    let orders = page(&server, "/v1/orders?per_page=1000").await;
    assert_eq!(list(&orders, "orders").len(), 100);
    assert_eq!((&orders["total_pages"], &orders["total"]), (&12.into(), &1_200.into()));
    assert_eq!(list(&page(&server, "/v1/customers").await, "data").len(), 50);
}

#[tokio::test]
async fn a_page_behind_the_last_is_empty() {
    let server = start(SMALL).await;
    let body = page(&server, "/v1/orders?page=99&per_page=50").await;
    assert_eq!((list(&body, "orders").len(), &body["total_pages"]), (0, &2.into()));
    let body = page(&server, "/v1/order-lines?after=18446744073709551615").await;
    assert_eq!((list(&body, "lines").len(), &body["has_more"]), (0, &false.into()));
}

#[tokio::test]
async fn a_scan_that_runs_while_the_data_changes_misses_no_record_that_stays() {
    let server = start(SMALL).await;
    let first_customers = page(&server, "/v1/customers?limit=20").await;
    let first_lines = page(&server, "/v1/order-lines?limit=50").await;
    server.advance();
    let next = first_customers["paging"]["next"].as_str().expect("there is more");
    let rest = page(&server, &format!("/v1/customers?limit=100&cursor={next}")).await;
    let seen: BTreeSet<&str> = list(&first_customers, "data").iter().chain(list(&rest, "data")).map(id).collect();
    let customers = server.customers();
    assert_eq!(seen, customers.iter().map(id).collect());

    let last = list(&first_lines, "lines").last().expect("a line")["id"].as_u64().expect("a number");
    let rest = page(&server, &format!("/v1/order-lines?limit=100&after={last}")).await;
    let truth = server.order_lines();
    let behind: Vec<&Value> = truth.iter().filter(|line| line["id"].as_u64() > Some(last)).take(100).collect();
    assert_eq!(list(&rest, "lines").iter().collect::<Vec<_>>(), behind);
}

fn id(record: &Value) -> &str {
    record["id"].as_str().expect("a customer's id is text")
}

#[tokio::test]
async fn customers_come_oldest_change_first_with_ties_among_them() {
    let server = start(Options::default()).await;
    let customers = server.customers();
    let places: Vec<(&str, &str)> =
        customers.iter().map(|customer| (customer["updated_at"].as_str().expect("text"), id(customer))).collect();
    assert!(places.is_sorted());
    let ties = places.windows(2).filter(|pair| pair[0].0 == pair[1].0).count();
    assert!(ties >= 40, "{ties} ties");
}

#[tokio::test]
async fn updated_since_is_inclusive_and_finds_all_that_changed() {
    let server = start(SMALL).await;
    let before = server.customers();
    let watermark = before.last().expect("a customer")["updated_at"].as_str().expect("text").to_owned();
    let filter = format!("&updated_since={watermark}");
    assert_eq!(all_customers(&server, 3, &filter).await, &before[before.len() - 1..]);

    server.advance();
    let found = all_customers(&server, 3, &filter).await;
    let now = server.customers();
    let changed: Vec<Value> = now.into_iter().filter(|customer| !before.contains(customer)).collect();
    let fresh: Vec<Value> = found.into_iter().filter(|customer| !before.contains(customer)).collect();
    assert!(!changed.is_empty());
    assert_eq!(fresh, changed);

    let offset = page(&server, "/v1/customers?updated_since=2026-01-01T11:00:00.5%2B02:00&limit=100").await;
    assert_eq!(list(&offset, "data").len(), changed.len());
}

#[tokio::test]
async fn a_parameter_that_makes_no_sense_is_refused_in_json() {
    let server = start(SMALL).await;
    for target in [
        "/v1/customers?updated_since=yesterday",
        "/v1/customers?updated_since=2026-01-01",
        "/v1/customers?updated_since=",
        "/v1/customers?sort=name",
        "/v1/customers?cursor=AAAA",
        "/v1/customers?cursor=%F0%9F",
        "/v1/customers?limit=0",
        "/v1/customers?limit=many",
        "/v1/orders?page=0",
        "/v1/orders?page=-1",
        "/v1/orders?per_page=0",
        "/v1/order-lines?after=x",
        "/v1/order-lines?limit=99999999999999999999999",
    ] {
        let reply = get(&server, target).await;
        assert_eq!(reply.status, 400, "{target}");
        assert_eq!(reply.body["error"]["code"], "invalid_parameter", "{target}");
        assert!(reply.body["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{target}");
    }
}

#[tokio::test]
async fn every_path_asks_for_the_key() {
    let server = start(SMALL).await;
    for (method, target) in [
        ("GET", "/v1/customers"),
        ("GET", "/v1/orders"),
        ("GET", "/v1/order-lines"),
        ("GET", "/"),
        ("POST", "/demo/advance"),
    ] {
        for key in [None, Some("wrong"), Some(""), Some("shop-demo-key-and-more")] {
            let reply = ask(&server, method, target, key).await;
            assert_eq!(reply.status, 401, "{method} {target} with {key:?}");
            assert_eq!(reply.body["error"]["code"], "unauthorized");
        }
    }
    assert_eq!(server.generation(), 0);
    assert_eq!((server.requests(), server.throttled()), (20, 0));
    assert_eq!(server.api_key(), API_KEY);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_answered_in_json() {
    let server = start(SMALL).await;
    let reply = get(&server, "/v1/nothing").await;
    assert_eq!((reply.status, &reply.body["error"]["code"]), (404, &"not_found".into()));
    let reply = ask(&server, "POST", "/v1/orders", Some(API_KEY)).await;
    assert_eq!((reply.status, &reply.body["error"]["code"]), (405, &"method_not_allowed".into()));
}

#[tokio::test]
async fn every_ninth_request_must_come_back() {
    let server = start(Options { throttle_every: Options::default().throttle_every, ..SMALL }).await;
    let mut statuses = Vec::new();
    for number in 0..20 {
        // the ninth and tenth are the same request, as are the eighteenth and its repetition
        let target = format!("/v1/orders?per_page=1&page={}", if number >= 9 { number - 1 } else { number } + 1);
        let reply = ask(&server, "GET", &target, Some(API_KEY)).await;
        if reply.status == 429 {
            assert!(reply.head.to_ascii_lowercase().contains("\r\nretry-after: 1\r\n"), "{}", reply.head);
            assert_eq!(reply.body["error"]["code"], "rate_limited");
        }
        statuses.push(reply.status);
    }
    let throttled: Vec<usize> = (0..20).filter(|index| statuses[*index] == 429).collect();
    assert_eq!(throttled, [8, 18]);
    assert!(statuses.iter().all(|status| [200, 429].contains(status)));
    assert_eq!((server.requests(), server.throttled()), (20, 2));
}

#[tokio::test]
async fn time_can_be_moved_on_over_http_too() {
    let server = start(SMALL).await;
    let reply = ask(&server, "POST", "/demo/advance", Some(API_KEY)).await;
    assert_eq!((reply.status, &reply.body["generation"]), (200, &1.into()));
    assert_eq!(server.advance(), 2);
    assert_eq!(server.generation(), 2);
}

#[tokio::test]
async fn options_that_cannot_be_met_are_refused() {
    for options in [
        Options { customers: 0, ..SMALL },
        Options { page_max: 0, ..SMALL },
        Options { orders: 1_000_001, ..SMALL },
        Options { customers: u32::MAX, ..SMALL },
    ] {
        let error = Server::start(options).await.expect_err("the options make no sense");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    let first = start(SMALL).await;
    let port = first.base_url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let error = Server::start(Options { port, ..SMALL }).await.expect_err("the port is taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn dropping_the_server_closes_its_port() {
    let server = start(SMALL).await;
    assert_eq!(get(&server, "/v1/orders").await.status, 200);
    let address = server.base_url().trim_start_matches("http://").to_owned();
    drop(server);
    let mut refused = false;
    for _ in 0..1_000 {
        refused = tokio::net::TcpStream::connect(&address).await.is_err();
        if refused {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(refused);
}

#[tokio::test]
async fn the_same_seed_and_generation_give_the_same_shop() {
    let (one, two) = (start(SMALL).await, start(SMALL).await);
    let other = start(Options { seed: 8, ..SMALL }).await;
    for _ in 0..3 {
        assert_eq!(one.customers(), two.customers());
        assert_eq!(one.orders(), two.orders());
        assert_eq!(one.order_lines(), two.order_lines());
        assert_ne!(one.customers(), other.customers());
        assert_ne!(one.orders(), other.orders());
        let size = Size { customers: SMALL.customers, orders: SMALL.orders };
        assert_eq!(*one.shared().shop(), Shop::at(SMALL.seed, size, one.generation()));
        one.advance();
        two.advance();
        other.advance();
    }
}

#[tokio::test]
async fn the_default_seed_gives_known_data() {
    let server = start(Options::default()).await;
    let expected = serde_json::json!({
        "id": "cus_000212",
        "name": "Ines García",
        "email": "ines.garcia212@example.com",
        "phone": null,
        "company": null,
        "plan": "team",
        "status": "active",
        "credit_limit": "4500.00",
        "currency": "GBP",
        "address": { "street": "Park Row 140", "city": "Leeds", "postcode": "LS1 5DL", "country": "GB" },
        "tags": ["beta"],
        "accepts_marketing": true,
        "created_at": "2024-07-01T08:54:46Z",
        "updated_at": "2025-01-02T21:18:09Z",
        "closed_at": null,
    });
    assert_eq!(server.customers()[0], expected);
}

/// Key to record, but for what looking at an order changes.
fn rows(records: Vec<Value>) -> BTreeMap<String, Value> {
    let rows = records.into_iter().map(|mut record| {
        if let Some(members) = record.as_object_mut() {
            members.remove("last_viewed_at");
        }
        (record["id"].to_string(), record)
    });
    rows.collect()
}

fn is_live(record: &Value) -> bool {
    record["status"] != "closed" && record["credit_limit"] != "n/a"
}

/// Counted from what the lists say, with nothing of what the shop knows of itself.
fn counted(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Counts {
    let count = |test: &dyn Fn(&Value, Option<&Value>) -> bool| {
        let hits = after.iter().filter(|(key, now)| test(now, before.get(*key).filter(|was| is_live(was))));
        u64::try_from(hits.count()).expect("a small number")
    };
    let vanished = before.keys().filter(|key| !after.contains_key(*key)).count();
    Counts {
        added: count(&|now, was| is_live(now) && was.is_none()),
        updated: count(&|now, was| is_live(now) && was.is_some_and(|was| was != now)),
        deleted: count(&|now, was| !is_live(now) && was.is_some()) + u64::try_from(vanished).expect("a small number"),
        unchanged: count(&|now, was| is_live(now) && was == Some(now)),
        quarantined: count(&|now, was| now["credit_limit"] == "n/a" && was.is_none()),
    }
}

#[tokio::test]
async fn what_changed_is_what_the_lists_show() {
    let server = start(SMALL).await;
    let lists = |server: &Server| [server.customers(), server.orders(), server.order_lines()].map(rows);
    let mut history = vec![[const { BTreeMap::new() }; 3]];
    for _ in 0..6 {
        history.push(lists(&server));
        let (now, earlier) = history.split_last().expect("just pushed");
        let spans = std::iter::once(None).chain((0..server.generation()).map(Some));
        for (since, before) in spans.zip(earlier) {
            let [customers, orders, order_lines] = std::array::from_fn(|list| counted(&before[list], &now[list]));
            assert_eq!(server.changes_since(since), Changes { customers, orders, order_lines }, "since {since:?}");
        }
        server.advance();
    }
}

#[test]
fn each_generation_adds_changes_and_removes_a_known_number() {
    let Options { seed, customers, orders, .. } = Options::default();
    let mut shop = Shop::first(seed, Size { customers, orders });
    let first = Changes::between(None, &shop);
    assert_eq!(first.customers, Counts { added: 249, quarantined: 1, ..Counts::default() });
    assert_eq!(first.orders, Counts { added: 1_200, ..Counts::default() });
    assert_eq!(Changes::between(Some(&shop), &shop).orders, Counts { unchanged: 1_200, ..Counts::default() });

    let expected = Turnover {
        customers_added: 5,
        customers_updated: 12,
        customers_closed: 2,
        orders_added: 36,
        orders_updated: 48,
        orders_cancelled: 12,
        orders_viewed: 120,
    };
    assert_eq!(Turnover::of(customers, orders), expected);
    for generation in 1..=40 {
        let before = shop.clone();
        shop.advance();
        let Changes { customers, orders, order_lines } = Changes::between(Some(&before), &shop);
        let added = if generation == 1 { 6 } else { 5 };
        assert_eq!((customers.added, customers.updated, customers.deleted), (added, 12, 2), "{generation}");
        assert_eq!((orders.added, orders.updated, orders.deleted), (36, 48, 12), "{generation}");
        assert!(order_lines.added > 0 && order_lines.updated > 0 && order_lines.deleted > 0, "{order_lines:?}");
    }
}

#[tokio::test]
async fn looking_at_an_order_moves_nothing_else_of_it() {
    let server = start(Options::default()).await;
    let before = server.orders();
    server.advance();
    let after = server.orders();
    let looked: Vec<&Value> = after.iter().filter(|order| !order["last_viewed_at"].is_null()).collect();
    assert_eq!(looked.len(), 120);
    let only_looked = looked.iter().filter(|order| {
        let was = before.iter().find(|was| was["id"] == order["id"]).expect("only known orders are looked at");
        was["updated_at"] == order["updated_at"] && was["status"] == order["status"]
    });
    assert!(only_looked.count() > 50);
}

#[tokio::test]
async fn one_customer_is_malformed_until_generation_1() {
    let server = start(SMALL).await;
    let malformed = |server: &Server| -> Vec<Value> {
        let broken =
            |customer: &Value| customer["credit_limit"].as_str().is_some_and(|text| text.parse::<f64>().is_err());
        server.customers().into_iter().filter(broken).collect()
    };
    let [broken] = malformed(&server).try_into().expect("one record");
    server.advance();
    assert!(malformed(&server).is_empty());
    let repaired = server.customers().into_iter().find(|customer| customer["id"] == broken["id"]).expect("still there");
    assert!(repaired["updated_at"].as_str() > broken["updated_at"].as_str());
}

#[tokio::test]
async fn records_fit_together_in_every_generation() {
    let server = start(Options::default()).await;
    for _ in 0..5 {
        let orders = server.orders();
        let customers: BTreeSet<String> = server.customers().iter().map(|customer| id(customer).to_owned()).collect();
        let mut lines: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
        let mut line_ids = BTreeSet::new();
        for line in server.order_lines() {
            assert!(line_ids.insert(line["id"].as_u64()));
            lines.entry(line["order_id"].as_u64().expect("a number")).or_default().push(line);
        }
        assert_eq!(orders.len(), lines.len());
        for order in &orders {
            let lines = &lines[&order["id"].as_u64().expect("a number")];
            let subtotal: i64 = lines.iter().map(|line| hundredths(&line["total"])).sum();
            assert_eq!(hundredths(&order["subtotal"]), subtotal, "{order}");
            assert_eq!(hundredths(&order["total"]), subtotal + hundredths(&order["shipping"]["cost"]), "{order}");
            assert!(customers.contains(order["customer_id"].as_str().expect("text")));
            let left = order["status"] == "shipped" || order["status"] == "delivered";
            assert_eq!(order["shipping"]["shipped_at"].is_null(), !left);
            for line in lines {
                assert_eq!(line["shipped_quantity"], if left { line["quantity"].clone() } else { 0.into() });
            }
        }
        server.advance();
    }
}

fn hundredths(amount: &Value) -> i64 {
    let (whole, rest) = amount.as_str().and_then(|text| text.split_once('.')).expect("a decimal string");
    assert_eq!(rest.len(), 2);
    whole.parse::<i64>().expect("digits") * 100 + rest.parse::<i64>().expect("digits")
}

#[test]
fn the_data_has_what_makes_real_data_hard() {
    let shop = Shop::first(1, Size { customers: 250, orders: 1_200 });
    let customers = serde_json::to_string(&shop.customers).expect("text keys");
    let orders = serde_json::to_string(&shop.orders).expect("text keys");
    assert!(customers.contains("\"phone\":null") && customers.contains("\"tags\":[]"));
    assert!(customers.contains("京都市") && customers.contains("O'Brien") && customers.contains("Ż"));
    assert!(orders.contains("🔔") && orders.contains("\\n") && orders.contains("\\\"blue\\\""));
}

#[test]
fn a_shop_of_any_size_lives_on() {
    for (customers, orders) in [(0, 0), (1, 0), (1, 1), (2, 3), (1, 50), (50, 1)] {
        let mut shop = Shop::first(3, Size { customers, orders });
        for _ in 0..50 {
            shop.advance();
        }
        assert_eq!(shop.generation, 50);
        assert!(shop.lines.is_sorted_by_key(|line| line.id));
        assert!(shop.orders.is_sorted_by_key(|order| order.id));
    }
}
