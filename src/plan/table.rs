//! Model files to tables: columns, types, keys.

use std::collections::HashSet;

use serde_json::Value;

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{ColumnPlan, ColumnSource, ColumnType, ModelPlan, OnInvalid, TimeFormat, words};
use crate::diagnostic::suggest;
use crate::spec::{ColumnSpec, ModelSpec, OnInvalidSpec};

/// What a column's template may name.
pub(super) const RECORD_VARIABLES: [&str; 6] = ["record", "config", "input", "variant", "connection", "run"];

/// Compiles a model of `provider`, whose `config` schema is given; `None` where a mistake was found.
pub(super) fn model(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ModelSpec,
    provider: &str,
    config: Option<&Value>,
) -> Option<ModelPlan> {
    let ModelSpec { model: name, table, description, key, columns, volatile, on_invalid } = spec;
    words::name(sink, &place.key("table"), table, false);
    let columns_place = place.key("columns");
    let column_names: Vec<&str> = columns.keys().map(String::as_str).collect();
    let mut plans = Vec::with_capacity(columns.len());
    let mut seen = HashSet::new();
    for (column_name, column_spec) in columns {
        let place = columns_place.key(column_name);
        if !seen.insert(column_name.to_lowercase()) {
            let message =
                format!("the column `{column_name}` stands twice; DuckDB does not tell upper from lower case");
            sink.key_error("E052", &place, message, Some("give one of the two another name".to_owned()));
        }
        let is_key = key.contains(column_name);
        let is_volatile = volatile.contains(column_name);
        plans.extend(column(sink, &place, column_name, column_spec, config, is_key, is_volatile));
    }
    let mut key_positions = Vec::with_capacity(key.len());
    for (index, column_name) in key.iter().enumerate() {
        let place = place.key("key").index(index);
        match columns.get_index_of(column_name.as_str()) {
            None if columns_place.key(column_name).is_hole() => {}
            None => {
                let hint = suggest(column_name, column_names.iter().copied());
                sink.error("E050", &place, format!("there is no column `{column_name}`"), hint);
            }
            Some(position) if key_positions.contains(&position) => {
                sink.error(
                    "E050",
                    &place,
                    format!("`{column_name}` stands twice in the key"),
                    Some("keep one of the two".to_owned()),
                );
            }
            Some(position) => key_positions.push(position),
        }
    }
    for (index, column_name) in volatile.iter().enumerate() {
        let place = place.key("volatile").index(index);
        if columns_place.key(column_name).is_hole() {
            continue;
        }
        if !columns.contains_key(column_name.as_str()) {
            let hint = suggest(column_name, column_names.iter().copied());
            sink.error("E051", &place, format!("there is no column `{column_name}`"), hint);
        } else if key.contains(column_name) {
            sink.error(
                "E051",
                &place,
                format!("the key column `{column_name}` cannot be volatile"),
                Some("take it out of `volatile`".to_owned()),
            );
        }
    }
    if plans.len() != columns.len() || key_positions.len() != key.len() {
        return None;
    }
    Some(ModelPlan {
        name: name.clone(),
        schema: provider.to_owned(),
        table: table.clone(),
        description: description.clone(),
        columns: plans,
        key: key_positions,
        on_invalid: match on_invalid {
            OnInvalidSpec::Quarantine => OnInvalid::Quarantine,
            OnInvalidSpec::Fail => OnInvalid::Fail,
            OnInvalidSpec::SetNull => OnInvalid::SetNull,
        },
    })
}

fn column(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    spec: &ColumnSpec,
    config: Option<&Value>,
    is_key: bool,
    volatile: bool,
) -> Option<ColumnPlan> {
    let ColumnSpec { path, value, column_type, format, required, description } = spec;
    if name.starts_with('_') {
        let hint = "names that begin with `_` are kept for headwater's own columns".to_owned();
        sink.key_error("E054", place, format!("`{name}` cannot be a column's name"), Some(hint));
    } else if name.is_empty() || name.len() > 63 || name.chars().any(char::is_control) {
        let hint = "give it another name".to_owned();
        sink.key_error("E054", place, "a column's name has 1 to 63 bytes and no control characters", Some(hint));
    }
    // each is judged, whatever is wrong with the others
    let column_type = match column_type {
        Some(text) => words::column_type(sink, &place.key("type"), text),
        None => Some(ColumnType::Varchar),
    };
    if let Some(column_type @ (ColumnType::List(_) | ColumnType::Json | ColumnType::Double | ColumnType::Blob)) =
        &column_type
        && is_key
    {
        let hint = "keys are whole numbers, text, uuids, dates or times".to_owned();
        sink.error("E053", &place.key("type"), format!("a key column cannot be `{column_type}`"), Some(hint));
    }
    let format = match format {
        Some(text) => time_format(sink, &place.key("format"), text, column_type.as_ref()),
        None => Some(TimeFormat::Rfc3339),
    };
    let source = match (path, value) {
        (Some(path), None) => {
            let place = if place.node().is_some_and(Value::is_string) { place.clone() } else { place.key("path") };
            words::path(sink, &place, path).map(ColumnSource::Path)
        }
        (None, Some(value)) => {
            let variables = Variables { names: &RECORD_VARIABLES, config, input: None };
            template(sink, &place.key("value"), value, variables).map(ColumnSource::Template)
        }
        (None, None) | (Some(_), Some(_)) => {
            let hint = "a column has one of them: `path: $.field` or `value: \"{{ … }}\"`".to_owned();
            let what = if path.is_some() { "both a `path` and a `value`" } else { "neither a `path` nor a `value`" };
            sink.key_error("E052", place, format!("the column `{name}` has {what}"), Some(hint));
            None
        }
    };
    let (column_type, format, source) = (column_type?, format?, source?);
    Some(ColumnPlan {
        name: name.to_owned(),
        column_type,
        source,
        format,
        required: *required || is_key,
        volatile,
        description: description.clone(),
    })
}

/// The format of a column's times; `column_type` is none where that has a mistake of its own.
fn time_format(sink: &mut Sink, place: &Place<'_>, text: &str, column_type: Option<&ColumnType>) -> Option<TimeFormat> {
    let inner = match column_type {
        Some(ColumnType::List(inner)) => Some(inner.as_ref()),
        other => other,
    };
    let is_time = |of: &ColumnType| {
        matches!(of, ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz)
    };
    if let Some(column_type) = inner.filter(|inner| !is_time(inner)) {
        let message = format!("`format` says how a time is written; the column is `{column_type}`");
        let hint = "take `format` out, or make the column a date or time: `type: timestamptz`".to_owned();
        sink.key_error("E044", place, message, Some(hint));
        return None;
    }
    let format = words::time_format(sink, place, text)?;
    let is_epoch = matches!(format, TimeFormat::EpochS | TimeFormat::EpochMs | TimeFormat::EpochUs);
    if is_epoch && inner == Some(&ColumnType::Time) {
        let hint = "make the column a `timestamptz`, or write the format of the clock: `%H:%M`".to_owned();
        sink.error("E044", place, "a time of day cannot have an epoch format", Some(hint));
        return None;
    }
    Some(format)
}
