//! The example project against the sample shop: what the tables say is what the shop says.

use std::collections::BTreeMap;

use headwater::demo::{Options, Server};
use serde_json::Value;

use crate::support::Project;

pub fn project(server: &Server) -> Project {
    let project = Project::empty();
    let shop = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    for name in [
        "headwater.yaml",
        "providers/shop.yaml",
        "integrations/shop/syncs/customers.yaml",
        "integrations/shop/syncs/orders.yaml",
        "integrations/shop/syncs/order_lines.yaml",
        "integrations/shop/models/Customer.yaml",
        "integrations/shop/models/Order.yaml",
        "integrations/shop/models/OrderLine.yaml",
    ] {
        let text = std::fs::read_to_string(shop.join(name)).expect("an example file");
        project.write(name, &text.replace("http://127.0.0.1:8765", &server.base_url()));
    }
    project
}

fn run(project: &Project, server: &Server) -> BTreeMap<String, Value> {
    let output = project.headwater_with(&["run", "--json"], &[("SHOP_API_KEY", server.api_key())]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    output.report().into_iter().map(|sync| (sync["sync"].as_str().expect("a name").to_owned(), sync)).collect()
}

fn ids(values: &[Value]) -> Vec<String> {
    let mut ids: Vec<String> = values.iter().map(|value| value["id"].to_string()).collect();
    ids.sort();
    ids
}

fn live(project: &Project, table: &str) -> Vec<String> {
    let rows = project.query(&format!("select id from shop.{table}_live"));
    let mut ids: Vec<String> = rows.iter().map(|row| row["id"].to_string()).collect();
    ids.sort();
    ids
}

#[test]
fn three_syncs_of_a_changing_shop_end_as_the_shop_says() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let options = Options { throttle_every: Some(40), ..Options::default() };
    let server = runtime.block_on(Server::start(options)).expect("a loopback port");
    let project = project(&server);
    let mut before = None;
    for round in 0..3 {
        let report = run(&project, &server);
        let truth = server.changes_since(before);
        for (name, counts) in
            [("customers", &truth.customers), ("orders", &truth.orders), ("order_lines", &truth.order_lines)]
        {
            let sync = &report[&format!("demo/{name}")];
            let did = ["added", "updated", "deleted"].map(|what| sync[what].as_u64().expect("a count"));
            assert_eq!(did, [counts.added, counts.updated, counts.deleted], "{name} in round {round}");
        }
        assert_eq!(live(&project, "orders"), ids(&server.orders()));
        assert_eq!(live(&project, "order_lines"), ids(&server.order_lines()));
        before = Some(server.generation());
        server.advance();
    }
    assert!(server.throttled() > 0, "the shop turned a request away, and it was tried again");
}
