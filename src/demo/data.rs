//! The shop's records and how the first generation of them is made.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};

use super::random::Random;
use super::words::{
    CARRIERS, CHANNELS, COMPANIES, FAMILY_NAMES, GIVEN_NAMES, NOTES, PLACES, PLANS, PRODUCTS, Place, TAGS,
};

/// The end of generation 0: 2026-01-01T09:00:00Z. Everything in the shop happens around this moment.
const FIRST_GENERATION_ENDS_S: i64 = 1_767_258_000;
/// The first customers came in the year after this, 2024-01-02T09:00:00Z.
const HISTORY_BEGINS_S: i64 = 1_704_186_000;
const YEAR_S: u32 = 31_536_000;
/// An order leaves at most this long after it was placed.
const PACKING_S: u32 = 3_600;
/// What lies between two generations.
const GENERATION_S: u32 = 3_600;
/// Every fifth customer was last touched by one import, in the same second, as happens in real systems: pages of a
/// list sorted by time must not lose any of them.
const IMPORT_S: i64 = 1_741_000_500;
const IMPORT_EVERY: u32 = 5;
/// What stands in the credit limit of the one broken record.
const MALFORMED_LIMIT: &str = "n/a";

/// How many records the first generation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) customers: u32,
    pub(super) orders: u32,
}

/// The whole shop at one generation. It is the same for the same seed, size and generation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shop {
    pub(super) seed: u64,
    pub(super) size: Size,
    pub(super) generation: u64,
    /// by `updated_at`, then `id`
    pub(super) customers: Vec<Customer>,
    /// by `id`
    pub(super) orders: Vec<Order>,
    /// by `id`
    pub(super) lines: Vec<OrderLine>,
    pub(super) next_customer: u32,
    pub(super) next_order: u64,
    pub(super) next_line: u64,
}

/// An amount of money in hundredths, written as a decimal string (`"12.50"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Money(pub(super) i64);

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_string())
    }
}

impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Customer {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
    pub(super) phone: Option<String>,
    pub(super) company: Option<String>,
    pub(super) plan: &'static str,
    pub(super) status: CustomerStatus,
    /// a decimal string, but for the one malformed record
    pub(super) credit_limit: Option<String>,
    pub(super) currency: &'static str,
    pub(super) address: Address,
    pub(super) tags: Vec<&'static str>,
    pub(super) accepts_marketing: bool,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) closed_at: Option<DateTime<Utc>>,
}

impl Customer {
    /// Whether the record says something that does not fit the type of its field.
    pub(super) fn is_malformed(&self) -> bool {
        self.credit_limit.as_deref() == Some(MALFORMED_LIMIT)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.status == CustomerStatus::Closed
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CustomerStatus {
    Active,
    PastDue,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Address {
    pub(super) street: String,
    pub(super) city: &'static str,
    pub(super) postcode: &'static str,
    pub(super) country: &'static str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Order {
    pub(super) id: u64,
    pub(super) number: String,
    pub(super) customer_id: String,
    pub(super) status: OrderStatus,
    pub(super) channel: &'static str,
    pub(super) currency: &'static str,
    pub(super) subtotal: Money,
    pub(super) total: Money,
    pub(super) shipping: Shipping,
    pub(super) note: Option<&'static str>,
    pub(super) placed_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    /// when somebody last looked at the order; looking is not a change of it
    pub(super) last_viewed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum OrderStatus {
    Pending,
    Paid,
    Shipped,
    Delivered,
}

impl OrderStatus {
    pub(super) fn next(self) -> Option<Self> {
        match self {
            Self::Pending => Some(Self::Paid),
            Self::Paid => Some(Self::Shipped),
            Self::Shipped => Some(Self::Delivered),
            Self::Delivered => None,
        }
    }

    pub(super) fn has_left(self) -> bool {
        matches!(self, Self::Shipped | Self::Delivered)
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Shipping {
    pub(super) method: &'static str,
    pub(super) cost: Money,
    pub(super) tracking: Option<String>,
    pub(super) shipped_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct OrderLine {
    pub(super) id: u64,
    pub(super) order_id: u64,
    pub(super) position: u32,
    pub(super) sku: &'static str,
    pub(super) description: &'static str,
    pub(super) quantity: u32,
    pub(super) shipped_quantity: u32,
    pub(super) unit_price: Money,
    pub(super) discount_percent: Option<u32>,
    pub(super) total: Money,
}

impl Shop {
    /// Generation 0. `size.orders` above 0 needs a customer to place them.
    pub(super) fn first(seed: u64, size: Size) -> Self {
        let mut random = Random::new(seed, 0);
        let mut shop = Self {
            seed,
            size,
            generation: 0,
            customers: Vec::new(),
            orders: Vec::new(),
            lines: Vec::new(),
            next_customer: 1,
            next_order: 1_001,
            next_line: 1,
        };
        for number in 0..size.customers {
            let created_at = moment(HISTORY_BEGINS_S + i64::from(random.below(YEAR_S)));
            let mut customer = shop.new_customer(&mut random, created_at);
            customer.updated_at = if number % IMPORT_EVERY == 0 {
                moment(IMPORT_S)
            } else {
                moment(FIRST_GENERATION_ENDS_S - i64::from(random.below(YEAR_S)))
            };
            if number == size.customers / 2 {
                customer.credit_limit = Some(MALFORMED_LIMIT.to_owned());
            }
            shop.customers.push(customer);
        }
        for _ in 0..size.orders {
            let age_s = i64::from(random.between(PACKING_S, YEAR_S));
            let status = match random.below(100) {
                0..15 => OrderStatus::Pending,
                15..30 => OrderStatus::Paid,
                30..50 => OrderStatus::Shipped,
                _ => OrderStatus::Delivered,
            };
            shop.place_order(&mut random, moment(FIRST_GENERATION_ENDS_S - age_s), status);
        }
        shop.sort_customers();
        shop
    }

    /// The shop after `generation` steps.
    pub(super) fn at(seed: u64, size: Size, generation: u64) -> Self {
        let mut shop = Self::first(seed, size);
        for _ in 0..generation {
            shop.advance();
        }
        shop
    }

    pub(super) fn sort_customers(&mut self) {
        self.customers.sort_by(|a, b| (a.updated_at, &a.id).cmp(&(b.updated_at, &b.id)));
    }

    pub(super) fn new_customer(&mut self, random: &mut Random, at: DateTime<Utc>) -> Customer {
        let number = self.next_customer;
        self.next_customer += 1;
        let place = random.pick(&PLACES);
        let (given, given_ascii) = random.pick(&GIVEN_NAMES);
        let (family, family_ascii) = random.pick(&FAMILY_NAMES);
        Customer {
            id: format!("cus_{number:06}"),
            name: format!("{given} {family}"),
            email: format!("{given_ascii}.{family_ascii}{number}@example.com"),
            phone: random.chance(60).then(|| phone_number(random, &place)),
            company: random.chance(25).then(|| random.pick(&COMPANIES).to_owned()),
            plan: random.pick(&PLANS),
            status: if random.chance(6) { CustomerStatus::PastDue } else { CustomerStatus::Active },
            credit_limit: random.chance(70).then(|| credit_limit(random)),
            currency: place.currency,
            address: address(random, &place),
            tags: TAGS.into_iter().filter(|_| random.chance(20)).collect(),
            accepts_marketing: random.chance(45),
            created_at: at,
            updated_at: at,
            closed_at: None,
        }
    }

    /// Adds an order with its lines, placed by a customer whose account is open.
    pub(super) fn place_order(&mut self, random: &mut Random, at: DateTime<Utc>, status: OrderStatus) {
        let start = random.index(self.customers.len());
        let (after, before) = (&self.customers[start..], &self.customers[..start]);
        let Some(customer) = after.iter().chain(before).find(|customer| !customer.is_closed()) else {
            return;
        };
        let id = self.next_order;
        self.next_order += 1;
        let mut subtotal = 0;
        for position in 1..=random.between(1, 5) {
            let line = order_line(random, self.next_line, id, position, status);
            self.next_line += 1;
            subtotal += line.total.0;
            self.lines.push(line);
        }
        let cost = Money(if subtotal > 10_000 { 0 } else { 490 });
        let mut shipping = Shipping { method: random.pick(&CARRIERS), cost, tracking: None, shipped_at: None };
        if status.has_left() {
            shipping.leave(id, at + TimeDelta::seconds(i64::from(random.between(60, PACKING_S))));
        }
        self.orders.push(Order {
            id,
            number: format!("S-{id}"),
            customer_id: customer.id.clone(),
            status,
            channel: random.pick(&CHANNELS),
            currency: customer.currency,
            subtotal: Money(subtotal),
            total: Money(subtotal + cost.0),
            updated_at: shipping.shipped_at.unwrap_or(at),
            shipping,
            note: random.chance(15).then(|| random.pick(&NOTES)),
            placed_at: at,
            last_viewed_at: None,
        });
    }
}

impl Shipping {
    pub(super) fn leave(&mut self, order: u64, at: DateTime<Utc>) {
        self.tracking = Some(format!("TRK{order:09}"));
        self.shipped_at = Some(at);
    }
}

/// A moment in the hour before the end of `generation`, later than all of the generations before it.
pub(super) fn moment_in(random: &mut Random, generation: u64) -> DateTime<Utc> {
    let ends_s = i64::try_from(generation.saturating_mul(u64::from(GENERATION_S))).unwrap_or(i64::MAX);
    moment(FIRST_GENERATION_ENDS_S.saturating_add(ends_s) - i64::from(random.below(GENERATION_S)))
}

pub(super) fn address(random: &mut Random, place: &Place) -> Address {
    Address {
        street: format!("{} {}", place.street, random.between(1, 180)),
        city: place.city,
        postcode: place.postcode,
        country: place.country,
    }
}

pub(super) fn credit_limit(random: &mut Random) -> String {
    Money(i64::from(random.between(2, 80)) * 25_000).to_string()
}

fn phone_number(random: &mut Random, place: &Place) -> String {
    format!("+{} 555 {:04}", place.calling_code, random.below(10_000))
}

fn order_line(random: &mut Random, id: u64, order_id: u64, position: u32, status: OrderStatus) -> OrderLine {
    let (sku, description, price) = random.pick(&PRODUCTS);
    let quantity = random.between(1, 6);
    let discount_percent = random.chance(20).then(|| 5 * random.between(1, 5));
    let full = price * i64::from(quantity);
    OrderLine {
        id,
        order_id,
        position,
        sku,
        description,
        quantity,
        shipped_quantity: if status.has_left() { quantity } else { 0 },
        unit_price: Money(price),
        discount_percent,
        total: Money(full - full * i64::from(discount_percent.unwrap_or(0)) / 100),
    }
}

fn moment(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
