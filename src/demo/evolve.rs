//! One generation to the next: what happens in the shop in an hour.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::data::{Customer, CustomerStatus, OrderStatus, Shop, address, credit_limit, moment_in};
use super::random::Random;
use super::words::{PLACES, PLANS};

/// How many records of each kind one generation touches, fixed by the size of the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turnover {
    pub(super) customers_added: usize,
    pub(super) customers_updated: usize,
    pub(super) customers_closed: usize,
    pub(super) orders_added: usize,
    pub(super) orders_updated: usize,
    pub(super) orders_cancelled: usize,
    pub(super) orders_viewed: usize,
}

impl Turnover {
    /// Whole percents, and at least one of what there is any of.
    pub(super) fn of(customers: u32, orders: u32) -> Self {
        let share = |of: u32, percent: usize| {
            let of = usize::try_from(of).unwrap_or(usize::MAX);
            (of.saturating_mul(percent) / 100).max(of.min(1))
        };
        Self {
            customers_added: share(customers, 2),
            customers_updated: share(customers, 5),
            customers_closed: share(customers, 1),
            orders_added: share(orders, 3),
            orders_updated: share(orders, 4),
            orders_cancelled: share(orders, 1),
            orders_viewed: share(orders, 10),
        }
    }
}

impl Shop {
    /// Moves the shop one generation on.
    pub(super) fn advance(&mut self) {
        self.generation += 1;
        let mut random = Random::new(self.seed, self.generation);
        let turnover = Turnover::of(self.size.customers, self.size.orders);
        self.advance_customers(&mut random, turnover);
        self.advance_orders(&mut random, turnover);
    }

    fn advance_customers(&mut self, random: &mut Random, turnover: Turnover) {
        let generation = self.generation;
        let is_open = |customer: &Customer| !customer.is_closed() && !customer.is_malformed();
        let mut open: Vec<usize> = (0..self.customers.len()).filter(|index| is_open(&self.customers[*index])).collect();
        for customer in self.customers.iter_mut().filter(|customer| customer.is_malformed()) {
            customer.credit_limit = Some(credit_limit(random));
            customer.updated_at = moment_in(random, generation);
        }
        for index in random.take(&mut open, turnover.customers_closed) {
            let at = moment_in(random, generation);
            self.customers[index].close(at);
        }
        for index in random.take(&mut open, turnover.customers_updated) {
            let at = moment_in(random, generation);
            self.customers[index].change(random, at);
        }
        for _ in 0..turnover.customers_added {
            let at = moment_in(random, generation);
            let customer = self.new_customer(random, at);
            self.customers.push(customer);
        }
        self.sort_customers();
    }

    fn advance_orders(&mut self, random: &mut Random, turnover: Turnover) {
        let generation = self.generation;
        let mut cancellable: Vec<u64> =
            self.orders.iter().filter(|order| !order.status.has_left()).map(|order| order.id).collect();
        let cancelled: HashSet<u64> = random.take(&mut cancellable, turnover.orders_cancelled).into_iter().collect();
        self.orders.retain(|order| !cancelled.contains(&order.id));
        self.lines.retain(|line| !cancelled.contains(&line.order_id));

        let mut moving: Vec<usize> =
            (0..self.orders.len()).filter(|index| self.orders[*index].status.next().is_some()).collect();
        for index in random.take(&mut moving, turnover.orders_updated) {
            let at = moment_in(random, generation);
            self.move_order(index, at);
        }
        let mut seen: Vec<usize> = (0..self.orders.len()).collect();
        for index in random.take(&mut seen, turnover.orders_viewed) {
            self.orders[index].last_viewed_at = Some(moment_in(random, generation));
        }
        for _ in 0..turnover.orders_added {
            let at = moment_in(random, generation);
            self.place_order(random, at, OrderStatus::Pending);
        }
    }

    /// One step towards the customer; when the goods leave, the lines say so too.
    fn move_order(&mut self, index: usize, at: DateTime<Utc>) {
        let order = &mut self.orders[index];
        let Some(status) = order.status.next() else {
            return;
        };
        order.status = status;
        order.updated_at = at;
        if status == OrderStatus::Shipped {
            order.shipping.leave(order.id, at);
            let first = self.lines.partition_point(|line| line.order_id < order.id);
            for line in self.lines[first..].iter_mut().take_while(|line| line.order_id == order.id) {
                line.shipped_quantity = line.quantity;
            }
        }
    }
}

impl Customer {
    fn close(&mut self, at: DateTime<Utc>) {
        self.status = CustomerStatus::Closed;
        self.closed_at = Some(at);
        self.updated_at = at;
    }

    /// Always another plan, and sometimes another address where the same money is used.
    fn change(&mut self, random: &mut Random, at: DateTime<Utc>) {
        let others: Vec<&'static str> = PLANS.into_iter().filter(|plan| *plan != self.plan).collect();
        self.plan = random.pick(&others);
        let places: Vec<_> = PLACES.into_iter().filter(|place| place.currency == self.currency).collect();
        if random.chance(30) {
            let place = random.pick(&places);
            self.address = address(random, &place);
        }
        self.updated_at = at;
    }
}
