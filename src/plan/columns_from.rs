//! Columns that are known only with what a connection gives: `columns_from` of a model.
//!
//! A table has the rows of all connections, so it has the columns of all of them: each sync that fills it maps the same ones, and a value that
//! an account does not have is null.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use minijinja::context;
use minijinja::value::Serde;
use serde_json::Value;

use super::place::{Place, Sink};
use super::table::{BadName, COLUMN_NAME_FORM, HISTORY_COLUMNS, bad_name};
use super::{
    ColumnPlan, ColumnSource, ColumnType, ColumnsFrom, ConnectionPlan, ModelPlan, Path, SourceFrom, SyncId, SyncPlan,
    TimeFormat, limits, words,
};

/// The columns that the input of each sync makes.
pub(super) type Made = BTreeMap<SyncId, Vec<ColumnPlan>>;

/// The columns that a connection's input makes, of which `place` tells; `None` where one has a mistake.
pub(super) fn columns(
    sink: &mut Sink,
    place: &Place<'_>,
    model: &ModelPlan,
    (id, connection, input): (&SyncId, &ConnectionPlan, &Value),
) -> Option<Vec<ColumnPlan>> {
    let Some(from) = &model.columns_from else { return Some(Vec::new()) };
    let config = minijinja::Value::from(Serde(&connection.config));
    let outside = context! {
        config, input => minijinja::Value::from(Serde(input)), variant => id.variant.as_str(),
        connection => context! { name => connection.name.as_str() },
    };
    let mut fail = |reason: String, hint: &str| {
        let message = format!("`columns_from` of the model `{}`: {reason}", model.name);
        sink.key_error("E054", place, message, Some(hint.to_owned()));
    };
    let items = match from.each.value(&outside) {
        Ok(None) => return Some(Vec::new()),
        Ok(Some(Value::Array(items))) if items.len() <= limits::COLUMNS_MAX => items,
        Ok(Some(Value::Array(items))) => {
            fail(format!("{} columns", items.len()), &format!("a table has at most {}", limits::COLUMNS_MAX));
            return None;
        }
        Ok(Some(_)) => {
            fail(format!("`{}` is no list", from.each.text()), "give a list in `input`");
            return None;
        }
        Err(error) => {
            fail(error.to_string(), "give the list in `input`");
            return None;
        }
    };
    let mut columns: Vec<ColumnPlan> = Vec::with_capacity(items.len());
    let mut whole = true;
    for item in &items {
        let inside = context! { item => minijinja::Value::from(Serde(item)), ..outside.clone() };
        let made = column(from, item, &inside).and_then(|column| match clash(model, &columns, &column) {
            None => Ok(column),
            Some(reason) => Err(reason),
        });
        match made {
            Ok(column) => columns.push(column),
            Err(reason) => {
                whole = false;
                fail(format!("for `{}`: {reason}", words::shorten(&item.to_string())), "change the item in `input`");
            }
        }
    }
    whole.then_some(columns)
}

/// The column of an item, which the variables `inside` have.
fn column(from: &ColumnsFrom, item: &Value, inside: &minijinja::Value) -> Result<ColumnPlan, String> {
    let text = |template: &super::Template| match template.render(inside) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => Err(format!("`{}` has no value", template.text())),
        Err(error) => Err(error.to_string()),
    };
    let name = text(&from.name)?;
    match bad_name(&name) {
        Some(BadName::Own) => return Err(format!("`{name}` begins with `_`, as headwater's own columns do")),
        Some(BadName::Form) => return Err(COLUMN_NAME_FORM.to_owned()),
        None => {}
    }
    let source = match &from.source {
        SourceFrom::Path(path) => {
            let path = path.render_member_path(inside).map_err(|error| error.to_string())?;
            ColumnSource::Path(Path::parse(&path).map_err(|reason| format!("`{path}` is no path: {reason}"))?)
        }
        SourceFrom::Value(value) => ColumnSource::OfItem(value.clone(), item.clone()),
    };
    let column_type = text(&from.column_type)?;
    let column_type = ColumnType::parse(&column_type).ok_or_else(|| format!("`{column_type}` is not a column type"))?;
    Ok(ColumnPlan {
        name,
        column_type,
        source,
        format: TimeFormat::Rfc3339,
        required: false,
        volatile: false,
        description: None,
    })
}

/// Why a column cannot stand beside the others.
fn clash(model: &ModelPlan, made: &[ColumnPlan], column: &ColumnPlan) -> Option<String> {
    let is_same = |other: &&ColumnPlan| other.name.eq_ignore_ascii_case(&column.name);
    if model.columns.iter().any(|other| is_same(&other)) {
        return Some(format!("the model has a column `{}` already", column.name));
    }
    if model.history && HISTORY_COLUMNS.iter().any(|taken| taken.eq_ignore_ascii_case(&column.name)) {
        return Some(format!("`{}` is a column of the table that `history` makes", column.name));
    }
    made.iter().find(is_same).map(|_| format!("the column `{}` stands twice", column.name))
}

/// Gives each sync the columns of all syncs that fill its table. `made` has them by sync; `place` is that of the connections.
pub(super) fn share(sink: &mut Sink, place: &Place<'_>, plans: &mut [Arc<SyncPlan>], made: &Made) {
    let table = |plan: &SyncPlan| (plan.model.schema.clone(), plan.model.table.clone());
    let mut tables: BTreeMap<_, IndexMap<String, (ColumnPlan, SyncId)>> = BTreeMap::new();
    for plan in plans.iter() {
        for column in made.get(&plan.id).into_iter().flatten() {
            let all = tables.entry(table(plan)).or_default();
            let name = column.name.to_lowercase();
            match all.get(&name) {
                None => drop(all.insert(name, (column.clone(), plan.id.clone()))),
                Some((known, _)) if known == column => {}
                Some((known, first)) => {
                    let message = format!(
                        "the column `{}` of the table `{}` is `{}` for `{first}` and another one for `{}`",
                        known.name, plan.model.table, known.column_type, plan.id
                    );
                    let hint = "one table has one column of a name: give them the same item, or other names".to_owned();
                    sink.key_error("E054", place, message, Some(hint));
                }
            }
        }
    }
    for plan in plans {
        let Some(columns) = tables.get(&table(plan)) else { continue };
        let plan = Arc::make_mut(plan);
        let model = Arc::make_mut(&mut plan.model);
        // the order must not depend on which connection comes first
        let mut names: Vec<_> = columns.keys().collect();
        names.sort();
        model.columns.extend(names.into_iter().map(|name| columns[name].0.clone()));
    }
}
