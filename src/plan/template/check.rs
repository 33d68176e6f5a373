//! What can be known of an expression before it runs: the filters and tests it names, how many arguments they get, and whether the
//! arguments that are written out will do.

use minijinja::value::Value;

use super::environment::ENVIRONMENT;
use super::lower::lower;
use super::syntax::{Call, Expr, Link};
use super::table::{self, Filter, Kind};

/// Checks all filters and tests in an expression.
///
/// # Errors
/// The first mistake, as a fragment.
pub(super) fn check(expression: &Expr<'_>) -> Result<(), String> {
    if let Expr::Chain(_, links) = expression {
        for link in links {
            match link {
                Link::Filter(call) => check_filter(call)?,
                Link::Test(_, call) => check_test(call)?,
                Link::Member(_) | Link::Item(_) | Link::Slice(..) => {}
            }
        }
    }
    expression.children().into_iter().try_for_each(check)
}

/// Whether an expression names no variable, so that its value is known.
pub(super) fn is_constant(expression: &Expr<'_>) -> bool {
    !matches!(expression, Expr::Variable(_)) && expression.children().into_iter().all(is_constant)
}

fn check_filter(call: &Call<'_>) -> Result<(), String> {
    let Some(filter) = table::filter(call.name) else { return Err(format!("there is no filter `{}`", call.name)) };
    check_arguments(filter, &call.args, &call.named)?;
    if filter.name == "map" && call.args.is_empty() == call.named.is_empty() {
        return Err("`map` takes the name of a filter, or `attribute='…'`".to_owned());
    }
    // the filter or test that another applies to each item, with its own arguments
    let Some(at) = filter.params.iter().position(|param| matches!(param.kind, Kind::Filter | Kind::Test)) else {
        return Ok(());
    };
    let Some(name) = call.args.get(at).and_then(constant).transpose()? else { return Ok(()) };
    let (name, inner) = (name.as_str().unwrap_or_default(), &call.args[at + 1..]);
    match table::filter(name) {
        Some(applied) if filter.params[at].kind == Kind::Filter => check_arguments(applied, inner, &[]),
        _ => check_test_arguments(name, inner.len()),
    }
}

fn check_arguments(filter: &Filter, args: &[Expr<'_>], named: &[(&str, Expr<'_>)]) -> Result<(), String> {
    let name = filter.name;
    let places: Vec<_> = filter.params.iter().filter(|param| !param.by_name).collect();
    if args.len() > places.len() && filter.rest.is_none() {
        return Err(match places.len() {
            0 => format!("`{name}` takes no argument"),
            1 => format!("`{name}` takes one argument, not {}", args.len()),
            most => format!("`{name}` takes {most} arguments at most, not {}", args.len()),
        });
    }
    for (word, _) in named {
        match filter.params.iter().position(|param| param.name == *word) {
            None => return Err(format!("`{name}` has no argument `{word}`")),
            Some(at) if args.len() > at && !filter.params[at].by_name => {
                return Err(format!("`{name}` gets the argument `{word}` twice"));
            }
            Some(_) => {}
        }
    }
    let mut given = args.iter();
    for param in &filter.params {
        let by_place = if param.by_name { None } else { given.next() };
        let argument = by_place.or_else(|| named.iter().find(|(word, _)| *word == param.name).map(|(_, value)| value));
        match argument {
            Some(argument) => match constant(argument).transpose()? {
                Some(value) => param.kind.check(&value).map_err(|wrong| phrase(name, wrong))?,
                None if matches!(param.kind, Kind::Filter | Kind::Test) => {
                    return Err(format!("the name that `{name}` takes must be written out"));
                }
                None => {}
            },
            None if param.required => return Err(format!("`{name}` needs an argument: {}", example(filter))),
            None => {}
        }
    }
    Ok(())
}

fn phrase(name: &str, wrong: String) -> String {
    if wrong.starts_with("takes") { format!("`{name}` {wrong}") } else { wrong }
}

fn example(filter: &Filter) -> String {
    let required = filter.params.iter().filter(|param| param.required).map(|param| param.name);
    format!("`{}({})`", filter.name, required.collect::<Vec<_>>().join(", "))
}

fn check_test(call: &Call<'_>) -> Result<(), String> {
    if let Some((word, _)) = call.named.first() {
        return Err(format!("`{}` has no argument `{word}`", call.name));
    }
    check_test_arguments(call.name, call.args.len())
}

fn check_test_arguments(name: &str, given: usize) -> Result<(), String> {
    match table::test(name) {
        None => Err(format!("there is no test `{name}`")),
        Some(0) if given > 0 => Err(format!("the test `{name}` takes no argument")),
        Some(1) if given != 1 => Err(format!("the test `{name}` takes one argument, not {given}")),
        Some(_) => Ok(()),
    }
}

/// The value of an expression that names no variable.
fn constant(expression: &Expr<'_>) -> Option<Result<Value, String>> {
    is_constant(expression).then(|| {
        let compiled = ENVIRONMENT.compile_expression_owned(lower(expression));
        compiled.and_then(|compiled| compiled.eval(())).map_err(|error| super::parts::reason(&error))
    })
}
