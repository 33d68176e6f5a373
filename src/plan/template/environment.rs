//! minijinja, with what the language has and nothing else.

use std::sync::LazyLock;

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, UndefinedBehavior, tests};

use super::budget::{Budget, weight};
use super::text::bad;
use super::{filters, table, tests_of_values};
use crate::plan::limits;

/// The filters that `lower` writes for operators. No template can name them: the check knows the others only.
pub(super) mod hidden {
    /// the operands of `~`
    pub(in crate::plan::template) const CONCAT: &str = "_concat";
    /// an operand of `+`, which adds numbers and joins texts and lists
    pub(in crate::plan::template) const TERM: &str = "_term";
    /// an operand of what only numbers have
    pub(in crate::plan::template) const NUMBER: &str = "_number";
    /// a slice
    pub(in crate::plan::template) const SLICE: &str = "_slice";
}

/// What compiles and runs all expressions.
pub(super) static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_debug(false);
    for filter in table::filters() {
        environment.add_filter(filter.name, move |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
            table::run(filter, state, values.0)
        });
    }
    environment
        .add_filter(hidden::CONCAT, |state: &mut State<'_, '_>, values: Rest<Value>| filters::concat(state, &values));
    environment.add_filter(hidden::TERM, paid);
    environment.add_filter(hidden::SLICE, paid);
    environment.add_filter(hidden::NUMBER, number);
    add_tests(&mut environment);
    environment
});

/// The value, on the account of the evaluation: it is a copy, or about to be copied.
fn paid(state: &mut State<'_, '_>, value: Value) -> Result<Value, Error> {
    Budget::of(state).take(weight(&value))?;
    Ok(value)
}

/// The value if it is a number. minijinja would repeat a text or a list as often as it is multiplied.
fn number(value: Value, operator: &str) -> Result<Value, Error> {
    if matches!(value.kind(), ValueKind::Number | ValueKind::Bool) {
        return Ok(value);
    }
    Err(bad(format!("`{operator}` takes numbers, not {}", table::shown(&value))))
}

fn add_tests(environment: &mut Environment<'static>) {
    environment.add_test("boolean", tests::is_boolean);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("divisibleby", tests_of_values::is_divisible_by);
    environment.add_test("endingwith", tests_of_values::ends_with);
    environment.add_test("even", tests::is_even);
    environment.add_test("false", tests::is_false);
    environment.add_test("float", tests::is_float);
    environment.add_test("in", tests_of_values::is_in);
    environment.add_test("integer", tests::is_integer);
    environment.add_test("iterable", tests::is_iterable);
    environment.add_test("lower", tests::is_lower);
    environment.add_test("mapping", tests::is_mapping);
    environment.add_test("none", tests_of_values::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("odd", tests::is_odd);
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("startingwith", tests_of_values::starts_with);
    environment.add_test("string", tests::is_string);
    environment.add_test("true", tests::is_true);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("upper", tests::is_upper);
    for name in ["eq", "equalto", "=="] {
        environment.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        environment.add_test(name, tests::is_ne);
    }
    for name in ["lt", "<"] {
        environment.add_test(name, tests::is_lt);
    }
    for name in ["le", "<="] {
        environment.add_test(name, tests::is_le);
    }
    for name in ["gt", ">"] {
        environment.add_test(name, tests::is_gt);
    }
    for name in ["ge", ">="] {
        environment.add_test(name, tests::is_ge);
    }
}
