//! What a table that follows the shop should have seen.

use std::collections::BTreeMap;

use super::data::{Customer, Order, OrderLine, Shop};

/// Counts of one table between two generations. They look at rows, not at requests: a row that an incremental sync
/// never asks for again is still one of the unchanged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// rows that are new, or were not readable before
    pub added: u64,
    /// rows whose values are others now; an order's `last_viewed_at` does not count
    pub updated: u64,
    /// rows that went: orders cancelled, their lines, accounts closed. What came and went unseen counts nowhere
    pub deleted: u64,
    /// rows that are as they were
    pub unchanged: u64,
    /// records that do not fit the types of their fields and did not stand there before
    pub quarantined: u64,
}

/// Counts of the three tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// `/v1/customers`
    pub customers: Counts,
    /// `/v1/orders`
    pub orders: Counts,
    /// `/v1/order-lines`
    pub order_lines: Counts,
}

/// One record as a table sees it.
enum Row<T> {
    Live(T),
    Closed,
    Malformed,
}

impl Changes {
    /// From `before` to `after`; from an empty table when there is no `before`.
    pub(super) fn between(before: Option<&Shop>, after: &Shop) -> Self {
        Self {
            customers: count(before.map(customers).unwrap_or_default(), customers(after)),
            orders: count(before.map(orders).unwrap_or_default(), orders(after)),
            order_lines: count(before.map(lines).unwrap_or_default(), lines(after)),
        }
    }
}

fn customers(shop: &Shop) -> BTreeMap<&str, Row<&Customer>> {
    let rows = shop.customers.iter().map(|customer| {
        let row = if customer.is_malformed() {
            Row::Malformed
        } else if customer.is_closed() {
            Row::Closed
        } else {
            Row::Live(customer)
        };
        (customer.id.as_str(), row)
    });
    rows.collect()
}

fn orders(shop: &Shop) -> BTreeMap<u64, Row<Order>> {
    let unviewed = |order: &Order| Order { last_viewed_at: None, ..order.clone() };
    shop.orders.iter().map(|order| (order.id, Row::Live(unviewed(order)))).collect()
}

fn lines(shop: &Shop) -> BTreeMap<u64, Row<&OrderLine>> {
    shop.lines.iter().map(|line| (line.id, Row::Live(line))).collect()
}

fn count<K: Ord, T: PartialEq>(mut before: BTreeMap<K, Row<T>>, after: BTreeMap<K, Row<T>>) -> Counts {
    let mut counts = Counts::default();
    for (key, now) in after {
        match (before.remove(&key), now) {
            (Some(Row::Live(was)), Row::Live(is)) if was == is => counts.unchanged += 1,
            (Some(Row::Live(_)), Row::Live(_)) => counts.updated += 1,
            (_, Row::Live(_)) => counts.added += 1,
            (Some(Row::Live(_)), Row::Closed) => counts.deleted += 1,
            (_, Row::Closed) | (Some(Row::Malformed), Row::Malformed) => {}
            (_, Row::Malformed) => counts.quarantined += 1,
        }
    }
    let gone = before.into_values().filter(|row| matches!(row, Row::Live(_))).count();
    counts.deleted += u64::try_from(gone).unwrap_or(u64::MAX);
    counts
}
