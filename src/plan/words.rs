//! Small words that stand in many places: names, paths, durations, quotas, time formats, predicates.

use std::time::Duration;

use indexmap::IndexMap;

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{ColumnType, Path, Predicate, Quota, Span, Template, TimeFormat, limits};
use crate::diagnostic::{did_you_mean, suggest};
use crate::spec::AllowSpec;
use crate::spec::finding::check_schema;

fn is_name(text: &str, dash: bool) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || (dash && c == '-'))
}

/// A name that is a key: see [`name`].
pub(super) fn key_name(sink: &mut Sink, place: &Place<'_>, text: &str, dash: bool) {
    if !is_name(text, dash) {
        sink.key_error("E025", place, format!("`{}` cannot be a name here", shorten(text)), Some(name_hint(dash)));
    }
}

fn name_hint(dash: bool) -> String {
    let characters = if dash { "digits, `_` and `-`" } else { "digits and `_`" };
    format!("use lowercase letters, {characters}, beginning with a letter, at most 63 characters")
}

/// A name that becomes part of SQL, URLs and files: `[a-z][a-z0-9_-]*`, at most 63 characters.
pub(super) fn name(sink: &mut Sink, place: &Place<'_>, text: &str, dash: bool) {
    if !is_name(text, dash) {
        let hint = name_hint(dash);
        sink.error("E025", place, format!("`{}` cannot be a name here", shorten(text)), Some(hint));
    }
}

pub(super) fn path(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Path> {
    if !text.trim_start().starts_with('$') {
        let hint = match text.trim() {
            template if template.contains("{{") => "a path is no template; it starts with `$`: `$.items[*]`".to_owned(),
            "" => "a JSONPath starts with `$`: `$.items[*]`".to_owned(),
            rest => format!("a JSONPath starts with `$`: `$.{}`", rest.trim_start_matches(['.', '@', '/'])),
        };
        let message = match text.trim() {
            "" => "an empty text is not a path".to_owned(),
            _ => format!("`{}` is not a path", shorten(text)),
        };
        sink.error("E030", place, message, Some(hint));
        return None;
    }
    match Path::parse(text) {
        Ok(path) => Some(path),
        Err(reason) => {
            sink.error(
                "E030",
                place,
                format!("the path `{}` does not parse: {reason}", shorten(text)),
                Some(path_hint(text)),
            );
            None
        }
    }
}

/// What people write who know paths from other tools.
fn path_hint(text: &str) -> String {
    if text.matches('[').count() > text.matches(']').count() {
        return "close the `[` with `]`".to_owned();
    }
    let compares = |operator: &str| text.contains("[?") && text.contains(operator);
    if text.contains("[]") {
        return "every item of a list is `[*]`: `$.items[*]`".to_owned();
    }
    if compares(" and ") || compares(" or ") || compares(" not ") {
        return "conditions are joined with `&&` and `||`, and denied with `!`".to_owned();
    }
    let single =
        |(at, _): (usize, &str)| !text[..at].ends_with(['=', '!', '<', '>']) && !text[at + 1..].starts_with('=');
    if text.contains("[?") && text.match_indices('=').any(single) {
        return "two values are compared with `==`".to_owned();
    }
    if text.contains("[?") && !text.contains('@') {
        return "a condition names the record as `@`: `$[?@.type == 'person']`".to_owned();
    }
    let odd = |name: &&str| {
        !name.is_empty()
            && !name.contains(['[', '\'', '"', '*', '?'])
            && name.contains(|c: char| !c.is_alphanumeric() && c != '_')
    };
    match text.trim_start_matches('$').split('.').find(odd) {
        Some(name) => {
            format!("a name with other characters than letters, digits and `_` stands in brackets: `['{name}']`")
        }
        None => "paths follow RFC 9535: `$.items[*]`, `$['a key']`, `$[?@.type == 'person']`".to_owned(),
    }
}

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(limits::QUOTED_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A path that leads to one value at most.
pub(super) fn singular_path(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Path> {
    let path = path(sink, place, text)?;
    if path.is_singular() {
        return Some(path);
    }
    let hint = "a field of the record is named by members alone: `$.updated_at`".to_owned();
    sink.error("E030", place, format!("`{}` can lead to more than one value", shorten(text)), Some(hint));
    None
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
        sink.error(
            "E034",
            place,
            format!("`{}` leads to a value; a condition is needed here", shorten(text)),
            Some(hint),
        );
        return None;
    }
    Some(Predicate::Path(path))
}

pub(super) fn duration(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Duration> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if duration > limits::DURATION_MAX => {
            sink.error(
                "E041",
                place,
                format!("`{}` is too long", shorten(text)),
                Some("ten years are the most".to_owned()),
            );
            None
        }
        Ok(duration) => Some(duration),
        Err(_) => {
            let hint = iso_8601(text)
                .unwrap_or_else(|| "write a number and a unit: `500ms`, `10s`, `5m`, `1h30m`, `2days`".to_owned());
            sink.error("E041", place, format!("`{}` is not a duration", shorten(text)), Some(hint));
            None
        }
    }
}

/// What is meant by an ISO 8601 duration of one unit: `P30D`, `PT1S`.
fn iso_8601(text: &str) -> Option<String> {
    let text = text.trim().strip_prefix('P')?;
    let (time, text) = text.strip_prefix('T').map_or((false, text), |text| (true, text));
    let number: u32 = text.get(..text.len().checked_sub(1)?)?.parse().ok()?;
    let unit = match (text.chars().last()?, time) {
        ('Y', false) => "year",
        ('M', false) => "month",
        ('W', false) => "week",
        ('D', false) => "day",
        ('H', true) => "hour",
        ('M', true) => "minute",
        ('S', true) => "second",
        _ => return None,
    };
    Some(format!("write `{number} {unit}{}`", if number == 1 { "" } else { "s" }))
}

/// A duration of some length.
pub(super) fn some_duration(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Duration> {
    let duration = duration(sink, place, text)?;
    if duration.is_zero() {
        sink.error(
            "E041",
            place,
            format!("`{text}` is no time at all"),
            Some("leave the line out for the default".to_owned()),
        );
        return None;
    }
    Some(duration)
}

fn is_header_name(name: &str) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token)
}

const HEADER_HINT: &str = "a header's name has letters, digits and `-` (RFC 9110, 5.6.2)";

fn no_header(name: &str) -> String {
    match name {
        "" => "an empty text cannot be a header's name".to_owned(),
        name => format!("`{}` cannot be a header's name", shorten(name)),
    }
}

/// A header's name that is a value.
pub(super) fn header_name(sink: &mut Sink, place: &Place<'_>, name: &str) -> Option<String> {
    if is_header_name(name) {
        return Some(name.to_owned());
    }
    sink.error("E065", place, no_header(name), Some(HEADER_HINT.to_owned()));
    None
}

/// A header's name that is a key.
pub(super) fn header_key(sink: &mut Sink, place: &Place<'_>, name: &str) -> Option<()> {
    if is_header_name(name) {
        return Some(());
    }
    sink.key_error("E065", place, no_header(name), Some(HEADER_HINT.to_owned()));
    None
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
            other => {
                humantime::parse_duration(other).ok().filter(|per| !per.is_zero() && *per <= limits::DURATION_MAX)?
            }
        };
        Some(Quota { requests, per })
    })();
    if parsed.is_none() {
        let hint = "write `<requests> per <duration>`: `100 per 10s`, `25000 per day`".to_owned();
        sink.error("E042", place, format!("`{}` is not a quota", shorten(text)), Some(hint));
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
        sink.error("E043", place, format!("`{}` is not a column type", shorten(text)), Some(hint));
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
                let hint =
                    "use `rfc3339`, `epoch_s`, `epoch_ms`, `epoch_us`, or strftime directives such as `%d/%m/%Y %H:%M`";
                sink.error("E044", place, format!("`{}` is not a time format", shorten(custom)), Some(hint.to_owned()));
                return None;
            }
            TimeFormat::Custom(custom.to_owned())
        }
    })
}

/// A JSON Schema that a YAML file holds under `key`.
pub(super) fn json_schema(sink: &mut Sink, place: &Place<'_>, key: &str, schema: &serde_json::Value) -> bool {
    let Err((path, reason)) = check_schema(schema) else { return true };
    let hint = "write it as any JSON Schema: `type: object`, `properties: { region: { type: string } }`".to_owned();
    sink.error("E045", &place.below(path), format!("`{key}` is not a JSON Schema: {reason}"), Some(hint));
    false
}

/// The codes that `allow` can name.
pub(super) const WARNINGS: [&str; 18] = [
    "W080", "W081", "W082", "W083", "W084", "W085", "W091", "W092", "W093", "W094", "W095", "W096", "W097", "W098",
    "W099", "W100", "W101", "W102",
];

/// Warnings that no `allow` can take away, and what to do instead.
const NEVER_ALLOWED: [(&str, &str); 3] = [
    ("W086", "move the file into its folder, or away"),
    ("W087", "take out the line that allows what is not there"),
    ("W088", "take out of headwater.api.yaml what is set for nobody"),
];

/// The warning whose code was written in lower case. One digit off, a code means something else.
fn find_warning(code: &str) -> Option<&'static str> {
    WARNINGS.into_iter().find(|warning| warning.eq_ignore_ascii_case(code.trim()))
}

/// The `allow` of the map at `place`.
pub(super) fn allow(sink: &mut Sink, place: &Place<'_>, allow: &AllowSpec) {
    for (code, reason) in &allow.0 {
        let at = place.key("allow").key(code);
        if !WARNINGS.contains(&code.as_str()) {
            let (message, hint) = match code.strip_prefix('E') {
                Some(digits) if digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                    (format!("`{code}` is an error, and only warnings can be allowed"), None)
                }
                _ => (format!("there is no warning `{}`", shorten(code)), find_warning(code)),
            };
            let hint = hint.map_or_else(
                || "`headwater check` shows the code of each warning: `W080`".to_owned(),
                |code| format!("did you mean `{code}`?"),
            );
            let (message, hint) = match NEVER_ALLOWED.iter().find(|(never, _)| never == code) {
                Some((_, instead)) => (format!("`{code}` cannot be allowed"), (*instead).to_owned()),
                None => (message, hint),
            };
            sink.key_error("E102", &at, message, Some(hint));
        } else if reason.trim().len() < 3 {
            let hint = format!("write why: `{code}: the API never deletes`");
            sink.error("E102", &at, "what is allowed needs a reason", Some(hint));
        } else {
            sink.allow(place, code);
        }
    }
}

/// A value that should be a secret and stands in the file. Nothing that is told shows it.
pub(super) fn literal_secret(sink: &mut Sink, place: &Place<'_>, value: &Template) {
    if value.is_fixed() && !value.text().trim().is_empty() {
        sink.hide(place);
        let hint =
            "name it: `{{ credentials.api_key }}`, and give it to the connection from the environment".to_owned();
        sink.warning("W081", place, "a secret stands in the YAML file", Some(hint));
    }
}

/// Whether a header or parameter of this name usually carries a secret: what stands there is never shown.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase().replace(['-', '_'], "");
    let whole = ["authorization", "cookie", "xauth", "token", "apikey", "accesstoken", "secret", "password"];
    let ending = ["apikey", "accesstoken", "authtoken", "apitoken", "clientsecret", "password", "secretkey"];
    whole.contains(&name.as_str()) || ending.iter().any(|ending| name.ends_with(ending))
}

/// Paths by name.
pub(super) fn paths(
    sink: &mut Sink,
    place: &Place<'_>,
    texts: &IndexMap<String, String>,
) -> Option<Vec<(String, Path)>> {
    let parsed: Vec<_> =
        texts.iter().map(|(name, text)| Some((name.clone(), path(sink, &place.key(name), text)?))).collect();
    parsed.into_iter().collect()
}

/// Templates by name.
pub(super) fn templates(
    sink: &mut Sink,
    place: &Place<'_>,
    texts: &IndexMap<String, String>,
    variables: Variables<'_>,
) -> Option<Vec<(String, Template)>> {
    let parsed: Vec<_> = texts
        .iter()
        .map(|(name, text)| Some((name.clone(), template(sink, &place.key(name), text, variables)?)))
        .collect();
    parsed.into_iter().collect()
}

/// Headers by name.
pub(super) fn headers(
    sink: &mut Sink,
    place: &Place<'_>,
    texts: &IndexMap<String, String>,
    variables: Variables<'_>,
) -> Option<Vec<(String, Template)>> {
    let named: Vec<_> = texts.keys().map(|name| header_key(sink, &place.key(name), name)).collect();
    let parsed = templates(sink, place, texts, variables);
    named.into_iter().collect::<Option<Vec<()>>>()?;
    parsed
}

/// What may be left out: nothing where nothing is written, `None` where what is written has a mistake.
pub(super) fn optional<S: ?Sized, P>(spec: Option<&S>, compile: impl FnOnce(&S) -> Option<P>) -> Option<Option<P>> {
    spec.map_or(Some(None), |spec| compile(spec).map(Some))
}

/// A template that may be left out.
pub(super) fn optional_template(
    sink: &mut Sink,
    place: &Place<'_>,
    text: Option<&String>,
    variables: Variables<'_>,
) -> Option<Option<Template>> {
    optional(text, |text| template(sink, place, text, variables))
}

/// A predicate that may be left out.
pub(super) fn optional_predicate(
    sink: &mut Sink,
    place: &Place<'_>,
    text: Option<&String>,
    variables: Variables<'_>,
) -> Option<Option<Predicate>> {
    optional(text, |text| predicate(sink, place, text, variables))
}

/// A duration that may be left out.
pub(super) fn optional_duration(sink: &mut Sink, place: &Place<'_>, text: Option<&String>) -> Option<Option<Duration>> {
    optional(text, |text| some_duration(sink, place, text))
}

/// A duration with what is meant without it.
pub(super) fn duration_or(
    sink: &mut Sink,
    place: &Place<'_>,
    text: Option<&String>,
    default: Duration,
) -> Option<Duration> {
    text.map_or(Some(default), |text| some_duration(sink, place, text))
}

/// A span of the calendar, of some length.
pub(super) fn span(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<Span> {
    let parsed = Span::parse(text);
    match parsed {
        Some(span) if span.is_positive() => Some(span),
        _ => {
            let hint =
                iso_8601(text).unwrap_or_else(|| "write a number and a unit: `1 month`, `7 days`, `6h`".to_owned());
            let message = match parsed {
                Some(_) => format!("`{}` is no time at all", shorten(text)),
                None => format!("`{}` is not a span of time", shorten(text)),
            };
            sink.error("E103", place, message, Some(hint));
            None
        }
    }
}

/// An IANA time zone.
pub(super) fn timezone(sink: &mut Sink, place: &Place<'_>, text: &str) -> Option<String> {
    if text.parse::<chrono_tz::Tz>().is_ok() {
        return Some(text.to_owned());
    }
    let near = did_you_mean(text, chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()));
    // people write the city alone
    let city = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name()).find(|name| {
        name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(text.trim().replace(' ', "_").as_str()))
    });
    let hint = match city.or(near) {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write its IANA name: `Europe/Berlin`, `America/New_York`, `UTC`".to_owned(),
    };
    sink.error("E105", place, format!("there is no time zone `{}`", shorten(text)), Some(hint));
    None
}

/// A name that stands for something in templates: `[a-z][a-z0-9_]*`.
pub(super) fn variable_name(sink: &mut Sink, place: &Place<'_>, text: &str) {
    name(sink, place, text, false);
}

/// One of several names that this document has.
pub(super) fn one_of<'n>(
    sink: &mut Sink,
    place: &Place<'_>,
    (code, what): (&'static str, &str),
    wrong: &str,
    names: impl Iterator<Item = &'n str>,
) {
    let names: Vec<&str> = names.collect();
    let hint = suggest(wrong, names).unwrap_or_else(|| format!("there is no {what} at all"));
    sink.error(code, place, format!("there is no {what} `{}`", shorten(wrong)), Some(hint));
}
