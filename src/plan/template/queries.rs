//! Filters that write values into the text of a query (SOQL, SQL): whatever a value is, it stays a value.

use chrono::{DateTime, NaiveDate, SubsecRound};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, State};

use super::budget::Budget;
use super::table::shown;
use super::text::{bad, is_nothing, text_of};
use crate::plan::{Moment, TimeFormat};

type Made = Result<Value, Error>;

/// A value as SOQL writes it (Salesforce's "Quoted String Escape Sequences"): a text in single quotes, where a backslash escapes; a time
/// without quotes; the items of a list with commas between. A line break is escaped too, so that the Google Ads Query Language reads the
/// text alike.
pub(super) fn soql(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    each(state, value, |value| match value.downcast_object_ref::<Moment>() {
        Some(moment) => Ok(soql_time(moment)),
        None => literal(value, soql_text),
    })
}

/// A value as SQL writes it (ISO/IEC 9075): a text in single quotes, those in it doubled; a time is such a text; the items of a list with
/// commas between.
pub(super) fn sql(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    each(state, value, |value| literal(value, sql_text))
}

/// A name, or the names of a list with commas between, if each is one: letters, digits and `_`, parts of it with dots between.
pub(super) fn identifiers(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    each(state, value, |value| match value.as_str() {
        Some(name) if name.split('.').all(is_name) => Ok(name.to_owned()),
        _ if is_nothing(value) => Err(bad("a name has no value")),
        _ => Err(bad(format!("{} is no plain name (letters, digits and `_`, with dots between)", shown(value)))),
    })
}

fn is_name(part: &str) -> bool {
    let mut bytes = part.bytes();
    bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
        && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
}

fn each(state: &mut State<'_, '_>, value: &Value, written: impl Fn(&Value) -> Result<String, Error>) -> Made {
    if !matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
        let text = written(value)?;
        Budget::of(state).take(text.len())?;
        return Ok(text.into());
    }
    Budget::of(state).take_items(value)?;
    let mut out = String::new();
    for item in value.try_iter()? {
        let separator = if out.is_empty() { "" } else { ", " };
        let text = written(&item)?;
        Budget::of(state).take(separator.len() + text.len())?;
        out.push_str(separator);
        out.push_str(&text);
    }
    if out.is_empty() {
        return Err(bad("the list is empty, and no query can say so"));
    }
    Ok(out.into())
}

fn literal(value: &Value, quoted: fn(&str) -> String) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Ok("null".to_owned()),
        ValueKind::Bool | ValueKind::Number => text_of(value),
        ValueKind::Plain if value.downcast_object_ref::<Moment>().is_some_and(|at| at.json().is_number()) => {
            text_of(value)
        }
        _ => text_of(value).map(|text| quoted(&text)),
    }
}

fn soql_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A date or a time, to the millisecond, as Salesforce has them. What a format of its own makes something else of is a number or a text, with
/// all that the format says.
fn soql_time(moment: &Moment) -> String {
    if moment.json().is_number() {
        return moment.to_string();
    }
    let text = moment.to_string();
    // chrono reads some spellings more
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:.+TZ".contains(&byte));
    let is_day = text.len() == "2024-05-31".len() && NaiveDate::parse_from_str(&text, "%Y-%m-%d").is_ok();
    let is_time = text.as_bytes().get(10) == Some(&b'T')
        && (DateTime::parse_from_rfc3339(&text).is_ok()
            || DateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f%z").is_ok());
    match is_plain && is_time {
        // an API may write the offset without a colon, which SOQL does not read
        true => Moment { at: moment.at.trunc_subsecs(3), format: TimeFormat::Rfc3339, day: false, ..moment.clone() }
            .to_string(),
        false if is_plain && is_day => text,
        false => soql_text(&text),
    }
}

#[cfg(test)]
mod tests {
    use minijinja::context;
    use minijinja::value::Serde;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use crate::plan::Template;

    fn made(filter: &str, value: &Json) -> Result<String, String> {
        let template = Template::parse(&format!("{{{{ v | {filter} }}}}")).map_err(|error| error.0)?;
        let variables = context! { v => minijinja::Value::from(Serde(value)) };
        template.render(&variables).map(Option::unwrap_or_default).map_err(|error| error.0)
    }

    /// The text of the literal that a query begins with, as Salesforce and Google read it, and what stands behind it.
    fn read_soql(query: &str) -> Option<(String, &str)> {
        let (mut text, mut chars) = (String::new(), query.strip_prefix('\'')?.chars());
        loop {
            match chars.next()? {
                '\'' => return Some((text, chars.as_str())),
                '\\' => text.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    escaped @ ('\\' | '\'') => escaped,
                    _ => return None,
                }),
                '\n' | '\r' => return None,
                c => text.push(c),
            }
        }
    }

    fn read_sql(query: &str) -> Option<(String, &str)> {
        let (mut text, mut rest) = (String::new(), query.strip_prefix('\'')?);
        loop {
            let quote = rest.find('\'')?;
            text.push_str(&rest[..quote]);
            rest = &rest[quote + 1..];
            match rest.strip_prefix('\'') {
                Some(more) => (text, rest) = (text + "'", more),
                None => return Some((text, rest)),
            }
        }
    }

    /// Takes the literal that a query begins with.
    type Reader = fn(&str) -> Option<(String, &str)>;
    const READERS: [(&str, Reader); 2] = [("soql", read_soql), ("sql", read_sql)];

    fn read_all(mut query: &str, read: Reader) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        loop {
            let (text, rest) = read(query)?;
            texts.push(text);
            match rest.strip_prefix(", ") {
                Some(more) => query = more,
                None => return rest.is_empty().then_some(texts),
            }
        }
    }

    fn text() -> impl Strategy<Value = String> {
        let pieces = [
            "'",
            "''",
            "\\",
            "\\'",
            "\n",
            "\r",
            "\t",
            "\0",
            "\"",
            ", ",
            ") OR (",
            "--",
            "a",
            "é",
            "\u{2028}",
            "'; DROP TABLE x",
        ];
        let nasty =
            prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|pieces| pieces.concat());
        prop_oneof![nasty, any::<String>()]
    }

    proptest! {
        #[test]
        fn a_text_stays_within_its_quotes(text in text()) {
            for (filter, read) in READERS {
                let made = made(filter, &json!(text)).unwrap();
                prop_assert_eq!(read(&made), Some((text.clone(), "")), "{}", made);
            }
        }

        #[test]
        fn a_list_is_as_many_texts_as_it_has(texts in prop::collection::vec(text(), 1..6)) {
            for (filter, read) in READERS {
                let made = made(filter, &json!(texts)).unwrap();
                prop_assert_eq!(read_all(&made, read), Some(texts.clone()), "{}", made);
            }
        }

        #[test]
        fn what_is_no_text_has_no_room_for_one(value in prop_oneof![
            any::<i64>().prop_map(|n| json!(n)), any::<f64>().prop_map(|n| json!(n)), any::<bool>().prop_map(|b| json!(b)), Just(Json::Null),
        ]) {
            for filter in ["soql", "sql"] {
                let made = made(filter, &value).unwrap();
                prop_assert!(made == "null" || serde_json::from_str::<Json>(&made).is_ok_and(|read| read == value), "{}", made);
            }
        }

        #[test]
        fn names_are_names_or_nothing(names in prop::collection::vec(prop_oneof![text(), "[A-Za-z_.0-9 ]{0,6}"], 1..4)) {
            let good = |name: &String| {
                let part = |part: &str| part.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
                    && part.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
                name.split('.').all(part)
            };
            let made = made("identifiers", &json!(names));
            match made {
                Ok(made) => prop_assert!(names.iter().all(good) && made == names.join(", "), "{}", made),
                Err(_) => prop_assert!(!names.iter().all(good), "{:?}", names),
            }
        }
    }
}
