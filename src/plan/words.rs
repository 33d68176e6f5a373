//! Small words that stand in many places: names, paths, durations, quotas, time formats, predicates.

use std::time::Duration;

use super::place::{Place, Sink, Variables, template};
use super::{ColumnType, Path, Predicate, Quota, TimeFormat};
use crate::diagnostic::did_you_mean;

/// A name that becomes part of SQL, URLs and files: `[a-z][a-z0-9_-]*`, at most 63 characters.
pub(super) fn name(sink: &mut Sink, place: &Place<'_>, text: &str, dash: bool) {
    let good = text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || (dash && c == '-'));
    if !good {
        let characters = if dash { "digits, `_` and `-`" } else { "digits and `_`" };
        let hint = format!("use lowercase letters, {characters}, beginning with a letter, at most 63 characters");
        sink.error("E025", place, format!("`{text}` cannot be a name here"), Some(hint));
    }
}

pub(super) fn path(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Path> {
    if !text.trim_start().starts_with('$') {
        let hint = format!("a JSONPath starts with `$`: `$.{}`", text.trim_start_matches('.'));
        sink.error("E030", place, format!("`{text}` is not a path"), Some(hint));
        return None;
    }
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(reason) => {
            let hint = "paths follow RFC 9535: `$.items[*]`, `$['a key']`, `$[?@.type == 'person']`".to_owned();
            sink.error("E030", place, format!("the path `{text}` does not parse: {reason}"), Some(hint));
            None
        }
    }
}

pub(super) fn optional_path(sink: &mut Sink, place: &Place<'_>, key: &str, text: Option<&String>) -> Option<Path> {
    path(sink, &place.key(key), text?)
}

/// A filter path (`$[?…]`) or a template over `record`.
pub(super) fn predicate(sink: &mut Sink, place: &Place<'_>, text: &str, variables: Variables<'_>) -> Option<Predicate> {
    if !text.trim_start().starts_with('$') {
        return template(sink, place, text, variables).map(Predicate::Template);
    }
    let path = path(sink, place, text)?;
    if !path.is_filter() {
        let hint = "a condition on the record has the form `$[?@.field == 'value']`".to_owned();
        sink.error("E034", place, format!("`{text}` leads to a value; a filter is needed here"), Some(hint));
        return None;
    }
    Some(Predicate::Path(path))
}

pub(super) fn duration(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Duration> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) => Some(duration),
        Err(_) => {
            let hint = "write a number and a unit: `500ms`, `10s`, `5m`, `1h30m`, `2days`".to_owned();
            sink.error("E041", place, format!("`{text}` is not a duration"), Some(hint));
            None
        }
    }
}

/// `100 per 10s`, `25000 per day`.
pub(super) fn quota(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Quota> {
    let parsed = (|| {
        let (requests, per) = text.split_once(" per ")?;
        let requests: u32 = requests.trim().parse().ok().filter(|requests| *requests > 0)?;
        let per = match per.trim() {
            "second" => Duration::from_secs(1),
            "minute" => Duration::from_secs(60),
            "hour" => Duration::from_secs(3_600),
            "day" => Duration::from_secs(86_400),
            other => humantime::parse_duration(other).ok().filter(|per| !per.is_zero())?,
        };
        Some(Quota { requests, per })
    })();
    if parsed.is_none() {
        let hint = "write `<requests> per <duration>`: `100 per 10s`, `25000 per day`".to_owned();
        sink.error("E042", place, format!("`{text}` is not a quota"), Some(hint));
    }
    parsed
}

pub(super) fn column_type(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<ColumnType> {
    let parsed = ColumnType::parse(text);
    if parsed.is_none() {
        let word = text.trim_end_matches("[]").split('(').next().unwrap_or(text).trim();
        let alias = match word.to_ascii_lowercase().as_str() {
            "string" | "text" | "str" => Some("varchar"),
            "int" | "int4" => Some("integer"),
            "int8" | "long" | "number" => Some("bigint"),
            "float" | "real" => Some("double"),
            "bool" => Some("boolean"),
            "datetime" => Some("timestamptz"),
            "object" | "map" | "array" | "struct" => Some("json"),
            "numeric" => Some("decimal(18,2)"),
            other => did_you_mean(other, ColumnType::NAMES),
        };
        let hint = match alias {
            Some("decimal") => "a decimal has digits and scale: `decimal(18,2)`, at most 38 digits".to_owned(),
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("the types are {}, and lists of them: `varchar[]`", ColumnType::NAMES.join(", ")),
        };
        sink.error("E043", place, format!("`{text}` is not a column type"), Some(hint));
    }
    parsed
}

pub(super) fn time_format(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<TimeFormat> {
    Some(match text {
        "rfc3339" => TimeFormat::Rfc3339,
        "epoch_s" => TimeFormat::EpochS,
        "epoch_ms" => TimeFormat::EpochMs,
        "epoch_us" => TimeFormat::EpochUs,
        custom => {
            let known = custom.contains('%')
                && !chrono::format::StrftimeItems::new(custom).any(|item| item == chrono::format::Item::Error);
            if !known {
                let hint = "use `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, or strftime directives such as `%d/%m/%Y %H:%M`";
                sink.error("E044", place, format!("`{custom}` is not a time format"), Some(hint.to_owned()));
                return None;
            }
            TimeFormat::Custom(custom.to_owned())
        }
    })
}
