//! `examples/shop` fits the API that this room serves.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::demo::data::{Shop, Size};

macro_rules! example {
    ($path:literal) => {
        ($path, include_str!(concat!("../../../examples/shop/", $path)))
    };
}

const CUSTOMERS: (&str, &str) = example!("integrations/shop/syncs/customers.yaml");
const ORDERS: (&str, &str) = example!("integrations/shop/syncs/orders.yaml");
const ORDER_LINES: (&str, &str) = example!("integrations/shop/syncs/order_lines.yaml");
const CUSTOMER: (&str, &str) = example!("integrations/shop/models/Customer.yaml");
const ORDER: (&str, &str) = example!("integrations/shop/models/Order.yaml");
const ORDER_LINE: (&str, &str) = example!("integrations/shop/models/OrderLine.yaml");
const PROJECT: (&str, &str) = example!("headwater.yaml");
const PROVIDER: (&str, &str) = example!("providers/shop.yaml");

fn read(file: (&str, &str)) -> Value {
    serde_yaml::from_str(file.1).unwrap_or_else(|error| panic!("{}: {error}", file.0))
}

#[test]
fn every_file_begins_with_the_way_to_its_schema() {
    let kinds = [
        ("project", vec![PROJECT]),
        ("provider", vec![PROVIDER]),
        ("sync", vec![CUSTOMERS, ORDERS, ORDER_LINES]),
        ("model", vec![CUSTOMER, ORDER, ORDER_LINE]),
    ];
    for (kind, files) in kinds {
        for (path, text) in files {
            let depth = Path::new("examples/shop").join(path).components().count() - 1;
            let line = format!("# yaml-language-server: $schema={}schemas/{kind}.json\n", "../".repeat(depth));
            assert!(text.starts_with(&line), "{path} does not begin with {line}");
        }
    }
}

/// Every member name on the way to a leaf, as `$.a.b`.
fn paths(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    if let Some(members) = value.as_object() {
        for (name, member) in members {
            let path = format!("{prefix}.{name}");
            paths(&path, member, found);
            found.insert(path);
        }
    }
}

#[test]
fn every_path_leads_into_the_records_of_its_list() {
    let shop = Shop::first(1, Size { customers: 20, orders: 20 });
    let lists = [
        (CUSTOMERS, CUSTOMER, "Customer", serde_json::to_value(&shop.customers)),
        (ORDERS, ORDER, "Order", serde_json::to_value(&shop.orders)),
        (ORDER_LINES, ORDER_LINE, "OrderLine", serde_json::to_value(&shop.lines)),
    ];
    for (sync, model, name, records) in lists {
        let (sync, model) = (read(sync), read(model));
        assert_eq!((&sync["model"], &model["model"]), (&name.into(), &name.into()));
        let records = records.expect("text keys");
        let mut known = BTreeSet::new();
        records.as_array().expect("a list").iter().for_each(|record| paths("$", record, &mut known));
        let columns = model["columns"].as_object().expect("a map");
        for (column, source) in columns {
            let path = if source.is_string() { source } else { &source["path"] };
            let Some(path) = path.as_str() else {
                assert!(source["value"].is_string(), "{name}.{column} comes from nowhere");
                continue;
            };
            assert!(known.contains(path.trim_end_matches("[*]")), "{name}.{column}: `{path}` is not in the record");
        }
        for key in model["key"].as_array().expect("a list") {
            assert!(columns.contains_key(key.as_str().expect("a column's name")));
        }
        for field in [&sync["incremental"]["field"], &sync["deletes"]["flag"]["at"]] {
            assert!(field.as_str().is_none_or(|path| known.contains(path)), "{name}: {field}");
        }
    }
}

/// Each record's member is in a column: a newcomer should not wonder what is missing.
#[test]
fn every_member_of_a_record_has_its_column() {
    let shop = Shop::first(1, Size { customers: 1, orders: 1 });
    for (model, record) in [
        (CUSTOMER, serde_json::to_value(&shop.customers[0])),
        (ORDER, serde_json::to_value(&shop.orders[0])),
        (ORDER_LINE, serde_json::to_value(&shop.lines[0])),
    ] {
        let columns = read(model)["columns"].to_string();
        for member in record.expect("text keys").as_object().expect("a record").keys() {
            assert!(columns.contains(&format!("\"$.{member}")), "{}: `{member}` is in no column", model.0);
        }
    }
}

#[tokio::test]
async fn every_request_of_the_syncs_is_answered_where_they_look() {
    let server = super::start(super::SMALL).await;
    for (sync, records) in [(CUSTOMERS, "$.data[*]"), (ORDERS, "$.orders[*]"), (ORDER_LINES, "$.lines[*]")] {
        let sync = read(sync);
        assert_eq!(sync["response"]["records"], records);
        let body = super::page(&server, sync["request"]["get"].as_str().expect("a path")).await;
        let member = records.trim_start_matches("$.").trim_end_matches("[*]");
        assert!(!super::list(&body, member).is_empty());
        let mut known = BTreeSet::new();
        paths("$", &body, &mut known);
        let paging = sync["pagination"].as_object().expect("a map").values().next().expect("one kind");
        for name in ["from", "has_more", "total_pages", "total"] {
            assert!(paging[name].as_str().is_none_or(|path| known.contains(path)), "{name}: {}", paging[name]);
        }
    }
}
