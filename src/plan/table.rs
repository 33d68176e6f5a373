//! Model files to tables: columns, types, keys.

use std::collections::HashSet;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::place::{Place, Sink};
use super::variables::{Variables, template};
use super::{
    ChildPlan, ColumnPlan, ColumnSource, ColumnType, ColumnsFrom, ModelPlan, OnInvalid, Path, RowSchema, SourceFrom,
    TimeFormat, words,
};
use crate::diagnostic::suggest;
use crate::spec::{ChildSpec, ColumnSpec, ColumnsFromSpec, ModelSpec, OnInvalidSpec};

/// What a column's template may name.
pub(super) const RECORD_VARIABLES: [&str; 6] = ["record", "config", "input", "variant", "connection", "run"];

/// Columns of `<table>_history` whose names a model could take; all others begin with `_`.
pub(super) const HISTORY_COLUMNS: [&str; 2] = ["valid_from", "valid_to"];

/// What the syncs that fill a model are to its columns.
#[derive(Debug, Default)]
pub(super) struct Filled<'a> {
    /// one of them has `for_each` or `walk`
    pub(super) partitioned: bool,
    /// one of them asks for details of changed records only
    pub(super) listed: bool,
    /// the levels that all of them have, so that a column can name them
    pub(super) levels: Vec<&'a str>,
}

/// Compiles a model of `provider`, whose `config` schema is given; `None` where a mistake was found.
pub(super) fn model(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ModelSpec,
    provider: &str,
    config: Option<&Value>,
    filled: &Filled<'_>,
) -> Option<ModelPlan> {
    let ModelSpec {
        model: name,
        table,
        description,
        key,
        columns,
        volatile,
        validate,
        on_invalid,
        raw,
        history,
        columns_from,
        children,
        allow,
    } = spec;
    words::name(sink, &place.key("table"), table, false);
    words::allow(sink, place, allow);
    let columns_place = place.key("columns");
    let mut names = RECORD_VARIABLES.to_vec();
    names.extend((!filled.levels.is_empty()).then_some("parent"));
    let members = [("parent", filled.levels.clone())];
    let open = Variables { members: &members, ..Variables::new(&names, config) };
    let plans = table_columns(sink, place, (columns, volatile), key, open);
    let mut key_positions = Vec::with_capacity(key.len());
    for (index, column_name) in key.iter().enumerate() {
        let place = place.key("key").index(index);
        match columns.get_index_of(column_name.as_str()) {
            None if columns_place.key(column_name).is_hole() => {}
            None => {
                let hint = suggest(column_name, columns.keys().map(String::as_str));
                sink.error("E050", &place, format!("there is no column `{column_name}`"), hint);
            }
            Some(position) if key_positions.contains(&position) => stands_twice(sink, &place, column_name),
            Some(position) => key_positions.push(position),
        }
    }
    let validate = words::optional(validate.as_ref(), |schema| row_schema(sink, &place.key("validate"), schema));
    if *history {
        history_columns_are_free(sink, &columns_place, columns);
    }
    let columns_from = words::optional(columns_from.as_ref(), |spec| {
        columns_from_plan(sink, &place.key("columns_from"), spec, config)
    });
    let whole = plans.len() == columns.len() && key_positions.len() == key.len();
    let half = ModelPlan {
        name: name.clone(),
        schema: provider.to_owned(),
        table: table.clone(),
        description: description.clone(),
        columns: plans,
        // of columns with mistakes it is not known where they stand
        key: if whole { key_positions } else { Vec::new() },
        on_invalid: match on_invalid {
            OnInvalidSpec::Quarantine => OnInvalid::Quarantine,
            OnInvalidSpec::Fail => OnInvalid::Fail,
            OnInvalidSpec::SetNull => OnInvalid::SetNull,
        },
        validate: None,
        raw: *raw,
        history: *history,
        partitioned: filled.partitioned,
        listed: filled.listed,
        columns_from: None,
        children: Vec::new(),
    };
    let child_plans = children_plans(sink, place, spec, &half, open);
    if !whole || child_plans.len() != children.len() {
        return None;
    }
    Some(ModelPlan { validate: validate?, columns_from: columns_from?, children: child_plans, ..half })
}

fn row_schema(sink: &mut Sink, place: &Place<'_>, schema: &Value) -> Option<RowSchema> {
    if !words::json_schema(sink, place, "validate", schema) {
        return None;
    }
    RowSchema::parse(schema)
        .map_err(|(path, reason)| {
            let hint = "every row is checked, so a pattern must take a bounded time: write it with plain repetition"
                .to_owned();
            let message = format!("`validate` cannot check rows: {}", words::shorten(&reason));
            sink.error("E045", &place.below(path), message, Some(hint));
        })
        .ok()
}

fn stands_twice(sink: &mut Sink, place: &Place<'_>, column_name: &str) {
    let hint = "keep one of the two".to_owned();
    sink.error("E050", place, format!("`{column_name}` stands twice in the key"), Some(hint));
}

/// The columns of a table or child table at `place`, those in `key` being required; as many as have no mistake.
fn table_columns(
    sink: &mut Sink,
    place: &Place<'_>,
    (columns, volatile): (&IndexMap<String, ColumnSpec>, &[String]),
    key: &[String],
    open: Variables<'_>,
) -> Vec<ColumnPlan> {
    let columns_place = place.key("columns");
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
        plans.extend(column(sink, &place, column_name, column_spec, open, is_key, is_volatile));
    }
    for (index, column_name) in volatile.iter().enumerate() {
        let place = place.key("volatile").index(index);
        if columns_place.key(column_name).is_hole() {
            continue;
        }
        if !columns.contains_key(column_name.as_str()) {
            let hint = suggest(column_name, columns.keys().map(String::as_str));
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
    plans
}

fn columns_from_plan(
    sink: &mut Sink,
    place: &Place<'_>,
    spec: &ColumnsFromSpec,
    config: Option<&Value>,
) -> Option<ColumnsFrom> {
    let ColumnsFromSpec { each, name, path, value, column_type } = spec;
    let outside = Variables::new(&["config", "input", "variant", "connection"], config);
    let each = template(sink, &place.key("each"), each, outside);
    let inside = outside.with(&["item", "config", "input", "variant", "connection"]);
    let mut text = |key: &str, given: Option<&String>, default: &str| {
        template(sink, &place.key(key), given.map_or(default, String::as_str), inside)
    };
    let name = text("name", name.as_ref(), "{{ item }}");
    let path_template = text("path", path.as_ref(), "$['{{ item }}']");
    let column_type = text("type", column_type.as_ref(), "varchar");
    // a value is a name, or the number of a place in a list
    if let Some(path) = path_template.as_ref().filter(|path| Path::parse(&path.sample("0")).is_err()) {
        words::path(sink, &place.key("path"), &path.sample("x"))?;
    }
    if path.is_some() && value.is_some() {
        let hint = "keep one of them: `path: \"$['{{ item }}']\"` or `value: \"{{ record[item] }}\"`".to_owned();
        sink.key_error("E052", &place.key("value"), "the columns have both a `path` and a `value`", Some(hint));
        return None;
    }
    let source = match value {
        None => path_template.map(SourceFrom::Path),
        Some(value) => {
            let names: Vec<&str> = RECORD_VARIABLES.into_iter().chain(["item"]).collect();
            template(sink, &place.key("value"), value, outside.with(&names)).map(SourceFrom::Value)
        }
    };
    if let Some(fixed) = column_type.as_ref().filter(|template| template.is_fixed()) {
        words::column_type(sink, &place.key("type"), fixed.text())?;
    }
    Some(ColumnsFrom { each: each?, name: name?, source: source?, column_type: column_type? })
}

/// The nested lists of a model that is `half` compiled: without them. As many as have no mistake.
fn children_plans(
    sink: &mut Sink,
    place: &Place<'_>,
    parent: &ModelSpec,
    half: &ModelPlan,
    open: Variables<'_>,
) -> Vec<ChildPlan> {
    let place = place.key("children");
    // each is judged, whatever is wrong with the others
    let plans = parent.children.iter().enumerate().map(|(index, spec)| {
        let ChildSpec { table, description, each, key, columns, volatile } = spec;
        let place = place.index(index);
        words::name(sink, &place.key("table"), table, false);
        let each = words::path(sink, &place.key("each"), each);
        let mut plans: Vec<ColumnPlan> = half.key.iter().map(|&at| of_parent(&half.columns[at], at)).collect();
        for name in plans.iter().map(|column| &column.name).filter(|name| columns.contains_key(name.as_str())) {
            let message = format!("`{name}` is the column with the key of the row that an item stands in");
            let at = place.key("columns").key(name);
            sink.key_error("E054", &at, message, Some("give the column another name".to_owned()));
        }
        if half.history {
            history_columns_are_free(sink, &place.key("columns"), columns);
        }
        plans.extend(table_columns(sink, &place, (columns, volatile), key, open));
        let mut parts = Vec::with_capacity(key.len());
        for (index, part) in key.iter().enumerate() {
            let place = place.key("key").index(index);
            let name = part.strip_prefix("parent.").map_or_else(|| part.clone(), parent_column);
            let is_of_parent = |column: &ColumnPlan| matches!(column.source, ColumnSource::Parent(_));
            let found = plans
                .iter()
                .position(|column| column.name == name && is_of_parent(column) == part.starts_with("parent."));
            match found {
                Some(at) if parts.contains(&at) => stands_twice(sink, &place, part),
                Some(at) => parts.push(at),
                // it has a mistake of its own
                None if columns.contains_key(part) => {}
                None if half.key.is_empty() && parent.key.iter().any(|key| parent_column(key) == name) => {}
                None => {
                    let parents: Vec<String> = parent.key.iter().map(|name| format!("parent.{name}")).collect();
                    let names = columns.keys().chain(&parents).map(String::as_str);
                    let what = if part.starts_with("parent.") { "key column of the parent" } else { "column" };
                    sink.error(
                        "E050",
                        &place,
                        format!("there is no {what} `{}`", words::shorten(part)),
                        suggest(part, names),
                    );
                }
            }
        }
        let whole = plans.len() == half.key.len() + columns.len() && parts.len() == key.len();
        let model = ModelPlan {
            description: description.clone(),
            key: parts,
            on_invalid: half.on_invalid,
            history: half.history,
            ..ModelPlan::of_columns(&format!("{}.{table}", half.name), (&half.schema, table), plans)
        };
        each.filter(|_| whole).map(|each| ChildPlan { model: Arc::new(model), each })
    });
    let plans: Vec<_> = plans.collect();
    plans.into_iter().flatten().collect()
}

/// The column of a nested list's table that has the value of this key column of the row that an item stands in.
fn of_parent(column: &ColumnPlan, at: usize) -> ColumnPlan {
    ColumnPlan { name: parent_column(&column.name), source: ColumnSource::Parent(at), ..column.clone() }
}

fn parent_column(name: &str) -> String {
    format!("parent_{name}")
}

/// A table with history has no column with a name of those that the history adds.
fn history_columns_are_free(sink: &mut Sink, place: &Place<'_>, columns: &IndexMap<String, ColumnSpec>) {
    for name in columns.keys().filter(|name| HISTORY_COLUMNS.iter().any(|taken| name.eq_ignore_ascii_case(taken))) {
        let message = format!("`{name}` is a column of the table that `history` makes");
        sink.key_error("E054", &place.key(name), message, Some("give the column another name".to_owned()));
    }
}

/// What a column's name is like.
pub(super) const COLUMN_NAME_FORM: &str = "a column's name has 1 to 63 bytes and no control characters";

/// Why a text cannot be a column's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadName {
    /// it begins with `_`, as headwater's own columns do
    Own,
    /// it is not as [`COLUMN_NAME_FORM`] says
    Form,
}

pub(super) fn bad_name(name: &str) -> Option<BadName> {
    if name.starts_with('_') {
        return Some(BadName::Own);
    }
    let fits = (1..=63).contains(&name.len()) && !name.chars().any(char::is_control);
    (!fits).then_some(BadName::Form)
}

pub(super) fn column(
    sink: &mut Sink,
    place: &Place<'_>,
    name: &str,
    spec: &ColumnSpec,
    open: Variables<'_>,
    is_key: bool,
    volatile: bool,
) -> Option<ColumnPlan> {
    let ColumnSpec { path, value, column_type, format, required, description } = spec;
    match bad_name(name) {
        Some(BadName::Own) => {
            let hint = "names that begin with `_` are kept for headwater's own columns".to_owned();
            sink.key_error("E054", place, format!("`{name}` cannot be a column's name"), Some(hint));
        }
        Some(BadName::Form) => {
            sink.key_error("E054", place, COLUMN_NAME_FORM, Some("give it another name".to_owned()));
        }
        None => {}
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
        (None, Some(value)) => template(sink, &place.key("value"), value, open).map(ColumnSource::Template),
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
