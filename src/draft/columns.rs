//! The type of a column, from the values that it has: the first type that takes them all.

use super::name::bare;
use crate::plan::{ColumnType, TimeFormat};
use crate::record::Json;
use crate::record::coerce::Coercion;

/// A type, how its times are written, and why it is a guess.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Kind {
    pub column_type: ColumnType,
    pub format: Option<&'static str>,
    pub why: Option<String>,
}

impl Kind {
    fn of(column_type: ColumnType) -> Self {
        Self { column_type, format: None, why: None }
    }

    fn because(self, why: &str) -> Self {
        Self { why: Some(why.to_owned()), ..self }
    }
}

/// Digits of an amount of money before and behind the point.
const MONEY: (u8, u8) = (18, 2);
/// Whole numbers below this are taken for counts, which 32 bits hold.
const COUNT_MAX: i64 = 1_000_000;

/// The type for a member of this name with these values, of which none is missing.
pub(super) fn kind_of(name: &str, values: &[&Json<'_>]) -> Kind {
    let given: Vec<&Json<'_>> = values.iter().copied().filter(|value| !value.is_null()).collect();
    if given.is_empty() {
        let why =
            if is_time(name) { "no value was seen; by its name perhaps a `timestamptz`" } else { "no value was seen" };
        return Kind::of(ColumnType::Varchar).because(why);
    }
    let lists = given.iter().filter(|value| matches!(value, Json::Array(_))).count();
    if lists == given.len() {
        return list(name, &given);
    }
    if lists > 0 || given.iter().any(|value| matches!(value, Json::Object(_))) {
        return Kind::of(ColumnType::Json);
    }
    scalar(name, &given)
}

fn list(name: &str, lists: &[&Json<'_>]) -> Kind {
    let items: Vec<&Json<'_>> = lists
        .iter()
        .flat_map(|list| match list {
            Json::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        })
        .filter(|item| !item.is_null())
        .collect();
    if items.is_empty() {
        return Kind::of(ColumnType::Json).because("only empty lists were seen");
    }
    if items.iter().any(|item| matches!(item, Json::Array(_) | Json::Object(_))) {
        return Kind::of(ColumnType::Json);
    }
    let Kind { column_type, format, why } = scalar(name, &items);
    let whole = Kind { column_type: ColumnType::List(Box::new(column_type)), format, why };
    if takes(&whole, lists) { whole } else { Kind::of(ColumnType::Json) }
}

fn scalar(name: &str, values: &[&Json<'_>]) -> Kind {
    candidates(name, values)
        .into_iter()
        .find(|kind| takes(kind, values))
        .unwrap_or_else(|| Kind::of(ColumnType::Varchar))
}

/// Whether a column of this kind takes all values.
pub(super) fn takes(kind: &Kind, values: &[&Json<'_>]) -> bool {
    let coercion = Coercion::new(&kind.column_type, &time_format(kind.format));
    values.iter().all(|value| coercion.cell(value).is_ok())
}

/// What the language calls so.
pub(super) fn time_format(name: Option<&str>) -> TimeFormat {
    match name {
        None | Some("rfc3339") => TimeFormat::Rfc3339,
        Some("epoch_s") => TimeFormat::EpochS,
        Some("epoch_ms") => TimeFormat::EpochMs,
        Some("epoch_us") => TimeFormat::EpochUs,
        Some(other) => TimeFormat::Custom(other.to_owned()),
    }
}

/// What the values could be, the narrowest first. All that is here is still held against them.
fn candidates(name: &str, values: &[&Json<'_>]) -> Vec<Kind> {
    let numbers: Vec<&str> = values
        .iter()
        .filter_map(|value| match value {
            Json::Number(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    let texts: Vec<&str> = values
        .iter()
        .filter_map(|value| match value {
            Json::String(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect();
    if numbers.len() == values.len() {
        of_numbers(name, &numbers)
    } else if texts.len() == values.len() {
        of_texts(name, &texts)
    } else if values.iter().all(|value| matches!(value, Json::Bool(_))) {
        vec![Kind::of(ColumnType::Boolean)]
    } else {
        Vec::new()
    }
}

fn of_numbers(name: &str, numbers: &[&str]) -> Vec<Kind> {
    let whole: Option<Vec<i64>> = numbers.iter().map(|text| text.parse().ok()).collect();
    let mut kinds = Vec::new();
    if let Some(whole) = whole {
        kinds.extend(epoch(name, &whole));
        let is_count = !is_identifier(name) && whole.iter().all(|number| number.abs() < COUNT_MAX);
        kinds.extend(is_count.then(|| Kind::of(ColumnType::Integer)));
        kinds.push(Kind::of(ColumnType::Bigint));
    } else if numbers.iter().all(|text| text.trim_start_matches('-').bytes().all(|digit| digit.is_ascii_digit())) {
        kinds.push(Kind::of(ColumnType::Hugeint));
    }
    if is_money(name) {
        kinds.extend(decimal(numbers));
    }
    kinds.push(Kind::of(ColumnType::Double));
    kinds
}

fn of_texts(name: &str, texts: &[&str]) -> Vec<Kind> {
    let mut kinds = Vec::new();
    if texts.iter().all(|text| text.len() == 36) {
        kinds.push(Kind::of(ColumnType::Uuid));
    }
    if texts.iter().all(|text| text.len() == 10) {
        kinds.push(Kind::of(ColumnType::Date));
    }
    // `2024-05-31` is enough for a date and `18:30` for a time, so a moment has more
    if texts.iter().all(|text| text.len() > 10) {
        kinds.push(Kind::of(ColumnType::Timestamptz));
        kinds.push(Kind::of(ColumnType::Timestamp));
    }
    if texts.iter().all(|text| text.contains(':')) {
        kinds.push(Kind::of(ColumnType::Time));
    }
    let is_number = |text: &&str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        digits.bytes().all(|c| c.is_ascii_digit() || c == b'.') && digits.starts_with(|c: char| c.is_ascii_digit())
    };
    if texts.iter().all(is_number) {
        let whole: Option<Vec<i64>> = texts.iter().map(|text| text.parse().ok()).collect();
        kinds.extend(whole.and_then(|whole| epoch(name, &whole)));
        if texts.iter().any(|text| text.contains('.')) || is_money(name) {
            kinds.extend(decimal(texts));
        }
    }
    kinds
}

fn decimal(numbers: &[&str]) -> Option<Kind> {
    let behind = numbers.iter().map(|text| text.split_once('.').map_or(0, |(_, behind)| behind.len())).max()?;
    let scale = u8::try_from(behind).ok().filter(|scale| *scale <= 12)?.max(MONEY.1);
    let column_type = ColumnType::Decimal { precision: MONEY.0 + scale - MONEY.1, scale };
    Some(Kind::of(column_type).because("as many digits behind the point as were seen"))
}

/// 2001-09-09 and 2096-10-02 in seconds since 1970: numbers between them have ten digits.
const SECONDS: std::ops::Range<i64> = 1_000_000_000..4_000_000_000;

/// A moment, if the name and the range say so.
fn epoch(name: &str, numbers: &[i64]) -> Option<Kind> {
    if !is_time(name) {
        return None;
    }
    let units = [("epoch_s", 1), ("epoch_ms", 1_000), ("epoch_us", 1_000_000)];
    let within = |unit: i64| numbers.iter().all(|number| SECONDS.contains(&number.div_euclid(unit)));
    let (format, _) = units.into_iter().find(|(_, unit)| within(*unit))?;
    let why = format!("by the name and the size of the numbers these are times ({format})");
    Some(Kind { column_type: ColumnType::Timestamptz, format: Some(format), why: Some(why) })
}

/// Whether a name is that of a moment.
pub(super) fn is_time(name: &str) -> bool {
    let bare = bare(name);
    let ends =
        ["at", "on", "time", "date", "timestamp", "created", "updated", "modified", "changed", "ts", "since", "until"];
    let snake = super::name::column_name(name);
    let last = snake.rsplit('_').next().unwrap_or_default();
    ends.contains(&last) || ["timestamp", "datetime"].iter().any(|end| bare.ends_with(end))
}

/// Whether a name is that of what tells things apart.
pub(super) fn is_identifier(name: &str) -> bool {
    let snake = super::name::column_name(name);
    matches!(snake.rsplit('_').next(), Some("id" | "key" | "number" | "no" | "code" | "uid" | "ref"))
}

fn is_money(name: &str) -> bool {
    let bare = bare(name);
    ["amount", "price", "total", "cost", "balance", "fee", "tax", "revenue", "subtotal", "paid", "due", "discount"]
        .iter()
        .any(|word| bare.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::kind_of;
    use crate::record::parse;

    /// The type of the members `name` of a list, with its format.
    fn kind(name: &str, values: &str) -> String {
        let text = format!("[{values}]");
        let json = parse(text.as_bytes()).expect("JSON");
        let crate::record::Json::Array(values) = &json else { panic!("a list") };
        let kind = kind_of(name, &values.iter().collect::<Vec<_>>());
        let format = kind.format.map(|format| format!(" {format}")).unwrap_or_default();
        format!("{}{format}", kind.column_type.to_string().to_lowercase())
    }

    #[test]
    fn values_say_what_they_are() {
        let cases = [
            ("id", "1, 2", "bigint"),
            ("count", "1, null, 2", "integer"),
            ("count", "1, 20000000", "bigint"),
            ("big", "12345678901234567890123", "hugeint"),
            ("score", "1, 2.5", "double"),
            ("total", "1.5, 20.125", "decimal(19,3)"),
            ("total", "\"1.50\", \"20\"", "decimal(18,2)"),
            ("zip", "\"01234\", \"99\"", "varchar"),
            ("version", "\"1.2.3\"", "varchar"),
            ("uuid", "\"6f1b8a52-1f0c-4ad8-9f07-54a5a3f5d1aa\"", "uuid"),
            ("created_at", "\"2024-05-31T18:30:00Z\", \"2024-05-31T18:30:00.123+02:00\"", "timestamptz"),
            ("created_at", "\"2024-05-31T18:30:00\"", "timestamp"),
            ("created_at", "\"2024-05-31T18:30:00\", \"2024-05-31T18:30:00Z\"", "varchar"),
            ("created_at", "\"\", \"2024-05-31T18:30:00Z\"", "varchar"),
            ("born", "\"2024-05-31\"", "date"),
            ("opens", "\"18:30\"", "time"),
            ("ratio", "\"16:9\"", "varchar"),
            ("created", "1717180200", "timestamptz epoch_s"),
            ("createdAt", "1717180200123", "timestamptz epoch_ms"),
            ("timestamp", "\"1717180200123456\"", "timestamptz epoch_us"),
            ("phone", "1717180200", "bigint"),
            ("on", "true, false", "boolean"),
            ("mixed", "1, \"a\", true", "varchar"),
            ("mixed", "1, {}", "json"),
            ("tags", "[\"a\"], [\"b\", null]", "varchar[]"),
            ("sizes", "[1], []", "integer[]"),
            ("tags", "[], null", "json"),
            ("items", "[{}]", "json"),
            ("nothing", "null", "varchar"),
        ];
        for (name, values, expected) in cases {
            assert_eq!(kind(name, values), expected, "{name}: {values}");
        }
    }
}
