//! Filters that make lists, or text of lists.

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, State, filters as builtin};

use super::budget::{Budget, ITEM_BYTES};
use super::text::{bad, is_nothing, text_of};
use super::times::argument_text;

type Made = Result<Value, Error>;

pub(super) fn split(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let whole = value.as_str().unwrap_or_default();
    let separator = arguments.first().and_then(Option::as_ref).map(|_| argument_text(arguments, 0));
    let times = arguments.get(1).and_then(Option::as_ref).and_then(Value::as_usize);
    let most = times.map_or(usize::MAX, |times| times.saturating_add(1));
    match separator {
        Some(separator) => list(state, whole.splitn(most, separator.as_str())),
        None if times.is_none() => list(state, whole.split_whitespace()),
        None => Err(bad("`split` with a number of times needs a separator")),
    }
}

pub(super) fn lines(state: &mut State<'_, '_>, value: &Value, _: &[Option<Value>]) -> Made {
    list(state, value.as_str().unwrap_or_default().lines())
}

fn list<'t>(state: &mut State<'_, '_>, pieces: impl Iterator<Item = &'t str>) -> Made {
    let budget = Budget::of(state);
    let mut list = Vec::new();
    for piece in pieces {
        budget.take(ITEM_BYTES + piece.len())?;
        list.push(Value::from(piece));
    }
    Ok(list.into())
}

/// The items as one text; those that are nothing are left out.
pub(super) fn join(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let separator = argument_text(arguments, 0);
    let mut out = String::new();
    let items = match arguments.get(1).and_then(Option::as_ref) {
        Some(attribute) => map_attribute(state, value, attribute, None)?,
        None => value.clone(),
    };
    let items = items.try_iter().map_err(|_| bad("`join` takes a list"))?;
    let mut first = true;
    for item in items.filter(|item| !is_nothing(item)) {
        let text = text_of(&item).map_err(|_| bad("an item of `join` is a list or a map"))?;
        let separator = if first { "" } else { separator.as_str() };
        Budget::of(state).take(separator.len() + text.len())?;
        out.push_str(separator);
        out.push_str(&text);
        first = false;
    }
    Ok(out.into())
}

/// A filter applied to each item, or a member of each. What the items become is on the account of the filter that makes them.
pub(super) fn map(state: &mut State<'_, '_>, value: &Value, arguments: &[Option<Value>]) -> Made {
    let argument = |at: usize| arguments.get(at).and_then(Option::as_ref);
    if let Some(attribute) = argument(1) {
        return map_attribute(state, value, attribute, argument(2));
    }
    let Some(name) = argument(0).and_then(Value::as_str) else {
        return Err(bad("`map` needs the name of a filter or `attribute='…'`"));
    };
    let mut values = vec![Value::UNDEFINED];
    values.extend(arguments.iter().skip(3).flatten().cloned());
    let mut list = Vec::new();
    for item in value.try_iter()? {
        values[0] = item;
        list.push(state.apply_filter(name, &values)?);
    }
    Ok(list.into())
}

fn map_attribute(state: &mut State<'_, '_>, value: &Value, attribute: &Value, default: Option<&Value>) -> Made {
    let named = [("attribute", attribute.clone())].into_iter();
    let named: Kwargs = named.chain(default.map(|default| ("default", default.clone()))).collect();
    Value::from_function(builtin::map).call(state, &[value.clone(), Value::from(named)])
}
