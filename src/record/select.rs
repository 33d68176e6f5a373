//! Paths and predicates applied to JSON.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use jsonpath_rust::parser::model::{Filter, JpQuery, Segment, Selector};
use minijinja::Value;
use minijinja::value::{Enumerator, Object};

use super::Json;
use super::query::{holds, item, nodes};
use crate::plan::{Path, PathForm, Predicate, Step};

/// All the values that the path leads to, in the order of RFC 9535; a path that leads nowhere gives none.
///
/// Plain paths are looked up directly. Numbers in a filter are compared by value, whatever their size.
pub fn select<'j, 'a>(path: &Path, root: &'j Json<'a>) -> Vec<&'j Json<'a>> {
    match path.form() {
        PathForm::Plain { steps, each } => match (walk(steps, root), *each) {
            (Some(value), false) => vec![value],
            (Some(Json::Array(items)), true) => items.iter().collect(),
            (Some(Json::Object(members)), true) => members.iter().map(|(_, value)| value).collect(),
            (Some(_), true) | (None, _) => Vec::new(),
        },
        PathForm::Query(query) => nodes(query, root),
    }
}

/// The first value that the path leads to.
pub fn first<'j, 'a>(path: &Path, root: &'j Json<'a>) -> Option<&'j Json<'a>> {
    match path.form() {
        PathForm::Plain { steps, each: false } => walk(steps, root),
        _ => select(path, root).first().copied(),
    }
}

/// Whether the predicate holds for the record. A template sees the variables of `context`, and the record as `record`.
///
/// # Errors
/// What a template or query failed on, as a fragment for people.
pub fn matches(predicate: &Predicate, record: &Json<'_>, context: &Value) -> Result<bool, String> {
    Scope::new(record, context).matches(predicate)
}

/// Whether it can be told of each item of a list alone that the path leads to it: `$[*]`, and a filter that does not name the list.
pub fn picks_items(path: &Path) -> bool {
    filter(path).is_some() || matches!(path.form(), PathForm::Plain { steps, each: true } if steps.is_empty())
}

/// Whether such a path leads to this item of a list.
pub fn picks(path: &Path, item: &Json<'_>) -> bool {
    filter(path).is_none_or(|filter| holds(filter, item, item))
}

/// A record with the variables that templates over it see. The record is made a template value once, when the first template asks.
pub(super) struct Scope<'j> {
    record: &'j Json<'j>,
    context: &'j Value,
    variables: OnceCell<Value>,
}

impl<'j> Scope<'j> {
    pub(super) fn new(record: &'j Json<'j>, context: &'j Value) -> Self {
        Self { record, context, variables: OnceCell::new() }
    }

    pub(super) fn variables(&self) -> &Value {
        self.variables.get_or_init(|| {
            Value::from_object(Variables { record: self.record.to_value(), context: self.context.clone() })
        })
    }

    pub(super) fn matches(&self, predicate: &Predicate) -> Result<bool, String> {
        match predicate {
            Predicate::Template(template) => template.is_true(self.variables()).map_err(|error| error.to_string()),
            Predicate::Path(path) => Ok(match filter(path) {
                Some(filter) => holds(filter, self.record, self.record),
                None => !select(path, &Json::Array(vec![self.record.clone()].into())).is_empty(),
            }),
        }
    }
}

/// The context with one more variable, `record`.
#[derive(Debug)]
struct Variables {
    record: Value,
    context: Value,
}

impl Object for Variables {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "record" => Some(self.record.clone()),
            _ => self.context.get_attr(key).ok().filter(|value| !value.is_undefined()),
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let names = self.context.try_iter().into_iter().flatten();
        Enumerator::Values(
            names.filter(|name| name.as_str() != Some("record")).chain([Value::from("record")]).collect(),
        )
    }
}

/// Where the members of a plain path stood in the record before: records of one page mostly have the same members in the same order,
/// and then a look-up does not search. One place a step.
pub(super) type Places = [Cell<usize>];

/// The value at the end of the steps, like [`first`], with the help of where it was found last.
pub(super) fn first_near<'j, 'a>(steps: &[Step], root: &'j Json<'a>, places: &Places) -> Option<&'j Json<'a>> {
    steps.iter().zip(places).try_fold(root, |value, (step, place)| match (step, value) {
        (Step::Member(name), Json::Object(members)) => {
            if let Some((member, value)) = members.get(place.get())
                && member == name
            {
                return Some(value);
            }
            let found = members.iter().position(|(member, _)| member == name)?;
            place.set(found);
            Some(&members[found].1)
        }
        (step, value) => take(step, value),
    })
}

fn walk<'j, 'a>(steps: &[Step], root: &'j Json<'a>) -> Option<&'j Json<'a>> {
    steps.iter().try_fold(root, |value, step| take(step, value))
}

fn take<'j, 'a>(step: &Step, value: &'j Json<'a>) -> Option<&'j Json<'a>> {
    match (step, value) {
        (Step::Member(name), value) => value.member(name),
        (Step::Index(index), Json::Array(items)) => item(items, *index),
        (Step::Index(_), _) => None,
    }
}

/// The filter of `$[?…]`, if it can be put to a record alone: one that names `$` means the list that the record stands in.
fn filter(path: &Path) -> Option<&Filter> {
    match path.form() {
        PathForm::Query(JpQuery { segments }) if !path.text()[1..].contains('$') => match segments.as_slice() {
            [Segment::Selector(Selector::Filter(filter))] => Some(filter),
            _ => None,
        },
        _ => None,
    }
}
