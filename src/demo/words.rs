//! What the made-up data is made of.

/// Where people live: country (ISO 3166-1 alpha-2), currency (ISO 4217), calling code, city, postcode, street.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) country: &'static str,
    pub(super) currency: &'static str,
    pub(super) calling_code: &'static str,
    pub(super) city: &'static str,
    pub(super) postcode: &'static str,
    pub(super) street: &'static str,
}

const fn place(
    country: &'static str,
    currency: &'static str,
    calling_code: &'static str,
    city: &'static str,
    postcode: &'static str,
    street: &'static str,
) -> Place {
    Place { country, currency, calling_code, city, postcode, street }
}

pub(super) const PLACES: [Place; 12] = [
    place("DE", "EUR", "49", "Köln", "50667", "Hohe Straße"),
    place("DE", "EUR", "49", "Leipzig", "04109", "Nikolaistraße"),
    place("FR", "EUR", "33", "Lyon", "69002", "Rue de la République"),
    place("NL", "EUR", "31", "Utrecht", "3511 LX", "Oudegracht"),
    place("ES", "EUR", "34", "A Coruña", "15001", "Calle Real"),
    place("PL", "PLN", "48", "Łódź", "90-001", "Piotrkowska"),
    place("DK", "DKK", "45", "Aarhus", "8000", "Sønder Allé"),
    place("GB", "GBP", "44", "Leeds", "LS1 5DL", "Park Row"),
    place("US", "USD", "1", "Portland", "97205", "SW Morrison Street"),
    place("US", "USD", "1", "Madison", "53703", "State Street"),
    place("CA", "CAD", "1", "Montréal", "H2Y 1C6", "Rue Saint-Paul"),
    place("JP", "JPY", "81", "京都市", "604-8006", "河原町通"),
];

/// Given names, as people write them and as their mail addresses do.
pub(super) const GIVEN_NAMES: [(&str, &str); 24] = [
    ("Ada", "ada"),
    ("Amélie", "amelie"),
    ("Anders", "anders"),
    ("Bao", "bao"),
    ("Chidi", "chidi"),
    ("Daria", "daria"),
    ("Eleni", "eleni"),
    ("Farid", "farid"),
    ("Grace", "grace"),
    ("Hiroko", "hiroko"),
    ("Ines", "ines"),
    ("João", "joao"),
    ("Katarzyna", "katarzyna"),
    ("Liam", "liam"),
    ("Łukasz", "lukasz"),
    ("Maja", "maja"),
    ("Noor", "noor"),
    ("Olivia", "olivia"),
    ("Priya", "priya"),
    ("Rafael", "rafael"),
    ("Søren", "soren"),
    ("Tomás", "tomas"),
    ("Yuki", "yuki"),
    ("Zoë", "zoe"),
];

/// Family names, as people write them and as their mail addresses do.
pub(super) const FAMILY_NAMES: [(&str, &str); 24] = [
    ("Abdi", "abdi"),
    ("Bauer", "bauer"),
    ("Castillo", "castillo"),
    ("Dubois", "dubois"),
    ("Eriksen", "eriksen"),
    ("Fischer", "fischer"),
    ("García", "garcia"),
    ("Hughes", "hughes"),
    ("Ivanova", "ivanova"),
    ("Jansen", "jansen"),
    ("Kowalczyk", "kowalczyk"),
    ("Lefèvre", "lefevre"),
    ("Müller", "mueller"),
    ("Nguyễn", "nguyen"),
    ("O'Brien", "obrien"),
    ("Okafor", "okafor"),
    ("Papadakis", "papadakis"),
    ("Quinn", "quinn"),
    ("Rossi", "rossi"),
    ("Sato", "sato"),
    ("Tremblay", "tremblay"),
    ("Vermeulen", "vermeulen"),
    ("Williams", "williams"),
    ("Żak", "zak"),
];

pub(super) const COMPANIES: [&str; 8] = [
    "Brücke & Söhne GmbH",
    "Café Lumière",
    "Harbour Supplies Ltd",
    "Kestrel Cycling",
    "Nordlys ApS",
    "Polder Paper BV",
    "Redwood Dental, Inc.",
    "Студія Сад",
];

pub(super) const TAGS: [&str; 7] = ["newsletter", "wholesale", "vip", "school", "press", "beta", "late-payer"];

/// What the shop sells: stock-keeping unit, description, price in hundredths.
pub(super) const PRODUCTS: [(&str, &str, i64); 14] = [
    ("BAG-012", "Canvas bag, 12 l", 3_490),
    ("BOT-075", "Steel bottle, 0.75 l", 2_250),
    ("CUP-001", "Enamel cup", 990),
    ("LMP-210", "Desk lamp, 2700 K", 8_900),
    ("MAT-060", "Cork mat, 60 × 180 cm", 5_950),
    ("NTB-A5D", "Notebook A5, dotted", 1_240),
    ("NTB-A5L", "Notebook A5, lined", 1_240),
    ("PEN-038", "Gel pen 0.38 mm", 285),
    ("PEN-SET", "Pen set \"Atlas\", 6 pieces", 4_600),
    ("RUL-030", "Brass ruler, 30 cm", 1_875),
    ("SCR-004", "Screwdriver, 4 mm", 1_120),
    ("TAP-005", "Masking tape, 5 rolls", 799),
    ("TBL-180", "Trestle table, 180 cm", 24_900),
    ("WAL-002", "Wall hook, pair", 1_550),
];

/// What customers write under an order. Quotes, line breaks and signs beyond the first plane stand here on purpose.
pub(super) const NOTES: [&str; 5] = [
    "Please leave it with the neighbours.",
    "Ring twice.\nThe bell is the \"blue\" one 🔔",
    "Rechnung bitte an die Buchhaltung, nicht ins Paket!",
    "gift; 100% recycled paper, no plastic",
    "C:\\deliveries\\backdoor — Tür hinten",
];

pub(super) const CARRIERS: [&str; 3] = ["standard", "express", "pickup"];
pub(super) const CHANNELS: [&str; 3] = ["web", "app", "phone"];
pub(super) const PLANS: [&str; 4] = ["free", "starter", "team", "business"];
