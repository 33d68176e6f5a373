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
    let column_type = match column_type {
        Some(text) => words::column_type(sink, &place.key("type"), text)?,
        None => ColumnType::Varchar,
    };
    if is_key && matches!(column_type, ColumnType::List(_) | ColumnType::Json | ColumnType::Double | ColumnType::Blob) {
        let hint = "keys are whole numbers, text, uuids, dates or times".to_owned();
        sink.error("E053", &place.key("type"), format!("a key column cannot be `{column_type}`"), Some(hint));
        return None;
    }
    let is_time = |column_type: &ColumnType| {
        matches!(column_type, ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::Timestamptz)
    };
    let takes_format = match &column_type {
        ColumnType::List(inner) => is_time(inner),
        scalar => is_time(scalar),
    };
    let format = match format {
        Some(_) if !takes_format => {
            let message = format!("`format` says how a time is written; the column is `{column_type}`");
            let hint = "take `format` out, or make the column a date or time: `type: timestamptz`".to_owned();
            sink.key_error("E044", &place.key("format"), message, Some(hint));
            return None;
        }
        Some(text) => {
            let format = words::time_format(sink, &place.key("format"), text)?;
            let is_epoch = matches!(format, TimeFormat::EpochS | TimeFormat::EpochMs | TimeFormat::EpochUs);
            if is_epoch && column_type == ColumnType::Time {
                let hint = "make the column a `timestamptz`, or write the format of the clock: `%H:%M`".to_owned();
                sink.error("E044", &place.key("format"), "a time of day cannot have an epoch format", Some(hint));
                return None;
            }
            format
        }
        None => TimeFormat::Rfc3339,
    };
    let source = match (path, value) {
        (Some(path), None) => {
            let place = if place.node().is_some_and(Value::is_string) { place.clone() } else { place.key("path") };
            ColumnSource::Path(words::path(sink, &place, path)?)
        }
        (None, Some(value)) => {
            let variables = Variables { names: &RECORD_VARIABLES, config, input: None };
            ColumnSource::Template(template(sink, &place.key("value"), value, variables)?)
        }
        (None, None) | (Some(_), Some(_)) => {
            let hint = "a column has one of them: `path: $.field` or `value: \"{{ … }}\"`".to_owned();
            let what = if path.is_some() { "both a `path` and a `value`" } else { "neither a `path` nor a `value`" };
            sink.key_error("E052", place, format!("the column `{name}` has {what}"), Some(hint));
            return None;
        }
    };
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
