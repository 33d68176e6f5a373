//! The filters and tests of the language: what they take, and how they are run.

use std::sync::LazyLock;

use minijinja::value::{Kwargs, Value, ValueKind, ValueOrKwargs};
use minijinja::{Error, ErrorKind, State, filters as builtin};

use super::budget::{Budget, weight};
use super::text::{bad, is_nothing, text_of};
use super::{filters, lists, queries, times};
use crate::plan::{Span, limits};

/// A filter: its name, what it works on, what it takes besides, and its code.
pub(super) struct Filter {
    pub(super) name: &'static str,
    input: Input,
    pub(super) params: Vec<Param>,
    /// what further arguments are, if it takes any number of them
    pub(super) rest: Option<Kind>,
    run: Run,
}

/// An argument of a filter.
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    /// it is given as `name=value` only
    pub(super) by_name: bool,
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    /// text, or what has a text
    Text,
    /// a whole number
    Whole,
    Flag,
    Span,
    DateFormat,
    Encoding,
    RoundMethod,
    /// the name of a filter; it is written out, so that it can be checked
    Filter,
    /// the same of a test
    Test,
}

/// What a filter works on. Given nothing, all but `Any` give nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    /// anything, none too
    Any,
    /// anything that is something
    Some,
    /// what has a text; the filter gets the text
    Text,
    /// a list, a map or the characters of a text; each is gone through, and may be kept
    Items,
}

/// The code of a filter: headwater's own takes its arguments by their place in `params`, those of minijinja as they were written.
enum Run {
    Own(Own),
    Minijinja(Value),
}

pub(super) type Own = fn(&mut State<'_, '_>, &Value, &[Option<Value>]) -> Result<Value, Error>;

fn need(name: &'static str, kind: Kind) -> Param {
    Param { name, kind, required: true, by_name: false }
}

fn may(name: &'static str, kind: Kind) -> Param {
    Param { required: false, ..need(name, kind) }
}

fn named(name: &'static str, kind: Kind) -> Param {
    Param { by_name: true, ..may(name, kind) }
}

fn own<const N: usize>(name: &'static str, input: Input, params: [Param; N], code: Own) -> Filter {
    Filter { name, input, params: params.into(), rest: None, run: Run::Own(code) }
}

fn theirs<const N: usize>(name: &'static str, input: Input, params: [Param; N], code: Value) -> Filter {
    Filter { name, input, params: params.into(), rest: None, run: Run::Minijinja(code) }
}

static FILTERS: LazyLock<Vec<Filter>> = LazyLock::new(|| {
    let mut filters = vec![
        own("rfc3339", Input::Some, [], times::rfc3339),
        own("epoch", Input::Some, [], times::epoch),
        own("epoch_ms", Input::Some, [], times::epoch_ms),
        own("date", Input::Some, [need("format", Kind::DateFormat)], times::date),
        own("add", Input::Some, [need("span", Kind::Span)], times::add),
        own("base64", Input::Text, [], filters::base64),
        own("sha256", Input::Text, [may("encoding", Kind::Encoding)], filters::sha256),
        own(
            "hmac_sha256",
            Input::Text,
            [need("key", Kind::Text), may("encoding", Kind::Encoding)],
            filters::hmac_sha256,
        ),
        own("json", Input::Any, [], filters::json),
        own("tojson", Input::Any, [], filters::json),
        own("slug", Input::Text, [], filters::slug),
        own("soql", Input::Any, [], queries::soql),
        own("sql", Input::Any, [], queries::sql),
        own("identifiers", Input::Some, [], queries::identifiers),
        own("urlencode", Input::Some, [], filters::urlencode),
        own("string", Input::Text, [], filters::string),
        own("default", Input::Any, [may("default_value", Kind::Any), may("boolean", Kind::Flag)], filters::default),
        own("d", Input::Any, [may("default_value", Kind::Any), may("boolean", Kind::Flag)], filters::default),
        own("replace", Input::Text, [need("old", Kind::Text), need("new", Kind::Text)], filters::replace),
        own("split", Input::Text, [may("separator", Kind::Text), may("times", Kind::Whole)], lists::split),
        own("lines", Input::Text, [], lists::lines),
        own("join", Input::Items, [may("d", Kind::Text), may("attribute", Kind::Text)], lists::join),
    ];
    filters.extend(text_filters());
    filters.extend(list_filters());
    filters.sort_by_key(|filter| filter.name);
    filters
});

fn text_filters() -> Vec<Filter> {
    let escape = || Value::from_function(builtin::escape);
    vec![
        theirs("lower", Input::Text, [], Value::from_function(builtin::lower)),
        theirs("upper", Input::Text, [], Value::from_function(builtin::upper)),
        theirs("title", Input::Text, [], Value::from_function(builtin::title)),
        theirs("capitalize", Input::Text, [], Value::from_function(builtin::capitalize)),
        theirs("trim", Input::Text, [may("chars", Kind::Text)], Value::from_function(builtin::trim)),
        theirs("escape", Input::Text, [], escape()),
        theirs("e", Input::Text, [], escape()),
        theirs("abs", Input::Some, [], Value::from_function(builtin::abs)),
        own("int", Input::Any, [may("default", Kind::Any), may("base", Kind::Whole)], filters::int),
        own("float", Input::Any, [may("default", Kind::Any)], filters::float),
        theirs(
            "round",
            Input::Some,
            [may("precision", Kind::Whole), may("method", Kind::RoundMethod)],
            Value::from_function(builtin::round),
        ),
        theirs("bool", Input::Any, [], Value::from_function(builtin::bool)),
    ]
}

fn list_filters() -> Vec<Filter> {
    let length = || Value::from_function(builtin::length);
    let attribute = || named("attribute", Kind::Text);
    let case_sensitive = || named("case_sensitive", Kind::Flag);
    let reverse = || named("reverse", Kind::Flag);
    let rest = |filter: Filter| Filter { rest: Some(Kind::Any), ..filter };
    let tested = [("select", Value::from_function(builtin::select)), ("reject", Value::from_function(builtin::reject))];
    let tested_by = [
        ("selectattr", Value::from_function(builtin::selectattr)),
        ("rejectattr", Value::from_function(builtin::rejectattr)),
    ];
    let mut filters = vec![
        theirs("length", Input::Any, [], length()),
        theirs("count", Input::Any, [], length()),
        theirs("first", Input::Some, [], Value::from_function(builtin::first)),
        theirs("last", Input::Some, [], Value::from_function(builtin::last)),
        theirs("attr", Input::Some, [need("name", Kind::Any)], Value::from_function(builtin::attr)),
        theirs("list", Input::Items, [], Value::from_function(builtin::list)),
        theirs("items", Input::Items, [], Value::from_function(builtin::items)),
        theirs("reverse", Input::Items, [], Value::from_function(builtin::reverse)),
        theirs("min", Input::Items, [attribute(), case_sensitive()], Value::from_function(builtin::min)),
        theirs("max", Input::Items, [attribute(), case_sensitive()], Value::from_function(builtin::max)),
        theirs("sort", Input::Items, [attribute(), case_sensitive(), reverse()], Value::from_function(builtin::sort)),
        theirs("unique", Input::Items, [attribute(), case_sensitive()], Value::from_function(builtin::unique)),
        theirs(
            "sum",
            Input::Items,
            [may("attribute", Kind::Text), may("start", Kind::Any)],
            Value::from_function(builtin::sum),
        ),
        theirs("batch", Input::Items, [need("count", Kind::Whole)], Value::from_function(builtin::batch)),
        theirs(
            "groupby",
            Input::Items,
            [need("attribute", Kind::Text), named("default", Kind::Any), case_sensitive()],
            Value::from_function(builtin::groupby),
        ),
        theirs(
            "dictsort",
            Input::Items,
            [named("by", Kind::Text), case_sensitive(), reverse()],
            Value::from_function(builtin::dictsort),
        ),
        rest(theirs("chain", Input::Items, [], Value::from_function(builtin::chain))),
        rest(theirs("zip", Input::Items, [], Value::from_function(builtin::zip))),
        rest(own(
            "map",
            Input::Items,
            [may("filter", Kind::Filter), attribute(), named("default", Kind::Any)],
            lists::map,
        )),
    ];
    filters.extend(tested.map(|(name, code)| rest(theirs(name, Input::Items, [may("test", Kind::Test)], code))));
    filters.extend(tested_by.map(|(name, code)| {
        rest(theirs(name, Input::Items, [need("attribute", Kind::Text), may("test", Kind::Test)], code))
    }));
    filters
}

/// Tests and how many arguments they take. Those that are signs can only be named in `select` and the like.
const TESTS: [(&str, usize); 34] = [
    ("!=", 1),
    ("<", 1),
    ("<=", 1),
    ("==", 1),
    (">", 1),
    (">=", 1),
    ("boolean", 0),
    ("defined", 0),
    ("divisibleby", 1),
    ("endingwith", 1),
    ("eq", 1),
    ("equalto", 1),
    ("even", 0),
    ("false", 0),
    ("float", 0),
    ("ge", 1),
    ("gt", 1),
    ("in", 1),
    ("integer", 0),
    ("iterable", 0),
    ("le", 1),
    ("lower", 0),
    ("lt", 1),
    ("mapping", 0),
    ("ne", 1),
    ("none", 0),
    ("number", 0),
    ("odd", 0),
    ("sequence", 0),
    ("startingwith", 1),
    ("string", 0),
    ("true", 0),
    ("undefined", 0),
    ("upper", 0),
];

/// The filter of that name.
pub(super) fn filter(name: &str) -> Option<&'static Filter> {
    FILTERS.iter().find(|filter| filter.name == name)
}

/// All filters.
pub(super) fn filters() -> impl Iterator<Item = &'static Filter> {
    FILTERS.iter()
}

/// The names of all filters, without the short forms of other tools.
pub(super) fn filter_names() -> impl Iterator<Item = &'static str> {
    FILTERS.iter().map(|filter| filter.name).filter(|name| !matches!(*name, "d" | "e" | "count" | "tojson"))
}

/// How many arguments the test of that name takes.
pub(super) fn test(name: &str) -> Option<usize> {
    TESTS.iter().find(|(known, _)| *known == name).map(|(_, arguments)| *arguments)
}

/// The names of all tests that are words.
pub(super) fn test_names() -> impl Iterator<Item = &'static str> {
    TESTS.iter().map(|(name, _)| *name).filter(|name| name.starts_with(char::is_alphabetic))
}

impl Kind {
    /// Whether a value will do.
    ///
    /// # Errors
    /// What is wanted instead.
    pub(super) fn check(self, value: &Value) -> Result<(), String> {
        let text = value.as_str();
        let (good, wanted) = match self {
            Self::Any => return Ok(()),
            Self::Text => (text_of(value).is_ok(), "text"),
            Self::Whole => (value.is_integer(), "a whole number"),
            Self::Flag => (value.kind() == ValueKind::Bool, "`true` or `false`"),
            Self::Span => (text.is_some_and(|text| Span::parse(text).is_some()), "a span such as `-5m` or `1 month`"),
            Self::DateFormat => (text.is_some_and(times::is_format), "a date format (strftime) such as `%Y-%m-%d`"),
            Self::Encoding => (text.is_some_and(|text| matches!(text, "hex" | "base64")), "`hex` or `base64`"),
            Self::RoundMethod => {
                (text.is_some_and(|text| matches!(text, "common" | "ceil" | "floor")), "`common`, `ceil` or `floor`")
            }
            Self::Filter => match text.map(|name| (name, filter(name))) {
                Some((name, None)) => return Err(format!("there is no filter `{name}`")),
                found => (found.is_some(), "the name of a filter"),
            },
            Self::Test => match text.map(|name| (name, test(name))) {
                Some((name, None)) => return Err(format!("there is no test `{name}`")),
                found => (found.is_some(), "the name of a test"),
            },
        };
        if good { Ok(()) } else { Err(format!("takes {wanted}, not {}", shown(value))) }
    }
}

/// A value for a message: whole or not at all. A piece of a secret would not be known for one when messages are masked.
pub(super) fn shown(value: &Value) -> String {
    match text_of(value) {
        Ok(text) if text.chars().count() > limits::QUOTED_CHARS_MAX => format!("a text of {} bytes", text.len()),
        Ok(text) => format!("`{text}`"),
        Err(_) if is_nothing(value) => "none".to_owned(),
        Err(_) => "a list or a map".to_owned(),
    }
}

/// Runs a filter on the values minijinja hands over: what it works on, its arguments, those with names last.
pub(super) fn run(filter: &Filter, state: &mut State<'_, '_>, values: Vec<ValueOrKwargs>) -> Result<Value, Error> {
    let mut values: Vec<Value> = values.into_iter().map(Value::from).collect();
    if values.is_empty() {
        return Err(Error::from(ErrorKind::MissingArgument));
    }
    if filter.input != Input::Any && is_nothing(&values[0]) {
        return Ok(values.swap_remove(0));
    }
    if filter.input == Input::Text && values[0].as_str().is_none() {
        values[0] = Value::from(text_of(&values[0])?);
    }
    let named = values.pop_if(|value| value.is_kwargs());
    let slots = arguments(filter, &mut values, named)?;
    if filter.input == Input::Items {
        let count = Budget::of(state).take_items(&values[0])?;
        if filter.params.iter().any(|param| matches!(param.kind, Kind::Test | Kind::Filter)) {
            // the arguments are gone through for each item, and can be long texts and lists
            let each: usize = values.iter().skip(1).map(weight).sum();
            Budget::of(state).take(count.saturating_mul(each))?;
        }
    }
    match &filter.run {
        Run::Own(code) => code(state, &values[0], &slots),
        Run::Minijinja(code) => {
            let made = code.call(state, &as_minijinja_takes(filter, &values[0], slots))?;
            Budget::of(state).take(weight(&made))?;
            Ok(made)
        }
    }
}

/// The arguments by their place in `params`, then the rest. Those that are to be text are made text.
fn arguments(filter: &Filter, values: &mut [Value], named: Option<Value>) -> Result<Vec<Option<Value>>, Error> {
    let named: Option<Kwargs> = named.map(Kwargs::try_from).transpose()?;
    let mut given = values.iter_mut().skip(1);
    let mut slots = Vec::with_capacity(filter.params.len());
    for param in &filter.params {
        let mut argument = if param.by_name { None } else { given.next() };
        if let Some(value) = argument.as_deref_mut()
            && param.kind == Kind::Text
            && value.as_str().is_none()
            && let Ok(text) = text_of(value)
        {
            *value = Value::from(text);
        }
        let by_name = || named.as_ref().and_then(|named| named.get::<Option<Value>>(param.name).ok().flatten());
        let value = argument.map(|value| value.clone()).or_else(by_name);
        if let Some(value) = &value {
            param.kind.check(value).map_err(|wrong| bad(format!("`{}` {wrong}", filter.name)))?;
        } else if param.required {
            return Err(Error::new(ErrorKind::MissingArgument, format!("`{}` needs `{}`", filter.name, param.name)));
        }
        slots.push(value);
    }
    slots.extend(given.map(|value| Some(value.clone())));
    Ok(slots)
}

/// Arguments that were given by name go to their place, as long as those before them are given too.
fn as_minijinja_takes(filter: &Filter, input: &Value, slots: Vec<Option<Value>>) -> Vec<Value> {
    let (mut values, mut named, mut gap) = (vec![input.clone()], Vec::new(), false);
    let rest = slots.len().min(filter.params.len());
    for (param, slot) in filter.params.iter().zip(&slots) {
        match slot {
            None => gap |= !param.by_name,
            Some(value) if gap || param.by_name => named.push((param.name, value.clone())),
            Some(value) => values.push(value.clone()),
        }
    }
    values.extend(slots.into_iter().skip(rest).flatten());
    if !named.is_empty() {
        values.push(named.into_iter().collect::<Kwargs>().into());
    }
    values
}
