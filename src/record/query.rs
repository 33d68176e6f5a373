//! Queries of RFC 9535 over JSON. `jsonpath_rust` parses them (`plan::Path`); this finds the nodes.
//!
//! The crate's own search compares numbers as doubles, so that ids beyond 2^53 pass for each other, and loses nodes where filters are
//! nested. Here numbers are compared by value, digit by digit.

use std::borrow::Cow;
use std::cmp::Ordering;

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector, SingularQuery,
    SingularQuerySegment, Test, TestFunction,
};
use jsonpath_rust::query::Query;
use jsonpath_rust::query::state::State;

use super::Json;
use super::number::{Number, same};

/// All the nodes that the query leads to from the root, in the order of RFC 9535 (2.1.2, 2.5.2): level by level, each node's own in a
/// row; a node that is reached in two ways stands twice.
pub(super) fn nodes<'j, 'a>(query: &JpQuery, root: &'j Json<'a>) -> Vec<&'j Json<'a>> {
    Search { root }.follow(&query.segments, root)
}

/// Whether the filter selects `node`, an item of `root` or of something in it.
pub(super) fn holds(filter: &Filter, node: &Json<'_>, root: &Json<'_>) -> bool {
    Search { root }.holds(filter, node)
}

/// The item at an index; a negative one counts from the end.
pub(super) fn item<T>(items: &[T], index: i64) -> Option<&T> {
    let distance = usize::try_from(index.unsigned_abs()).ok()?;
    if index < 0 { items.get(items.len().checked_sub(distance)?) } else { items.get(distance) }
}

/// A value in a comparison: of the document, or made. `None` is "Nothing" (RFC 9535, 2.4.1).
type Operand<'x> = Option<Cow<'x, Json<'x>>>;

#[derive(Clone, Copy)]
struct Search<'j, 'a> {
    root: &'j Json<'a>,
}

impl<'j, 'a> Search<'j, 'a> {
    fn follow(self, segments: &[Segment], from: &'j Json<'a>) -> Vec<&'j Json<'a>> {
        let mut nodes = vec![from];
        for segment in segments {
            let mut next = Vec::new();
            for node in nodes {
                self.segment(segment, node, &mut next);
            }
            nodes = next;
        }
        nodes
    }

    fn segment(self, segment: &Segment, node: &'j Json<'a>, found: &mut Vec<&'j Json<'a>>) {
        match segment {
            Segment::Selector(selector) => self.select(selector, node, found),
            Segment::Selectors(selectors) => selectors.iter().for_each(|selector| self.select(selector, node, found)),
            Segment::Descendant(inner) => {
                self.segment(inner, node, found);
                children(node).for_each(|child| self.segment(segment, child, found));
            }
        }
    }

    fn select(self, selector: &Selector, node: &'j Json<'a>, found: &mut Vec<&'j Json<'a>>) {
        match (selector, node) {
            (Selector::Name(name), _) => found.extend(node.member(name)),
            (Selector::Index(index), Json::Array(items)) => found.extend(item(items, *index)),
            (Selector::Slice(start, end, step), Json::Array(items)) => {
                found.extend(slice(items.len(), *start, *end, step.unwrap_or(1)).map(|at| &items[at]));
            }
            (Selector::Index(_) | Selector::Slice(..), _) => {}
            (Selector::Wildcard, _) => found.extend(children(node)),
            (Selector::Filter(filter), _) => found.extend(children(node).filter(|child| self.holds(filter, child))),
        }
    }

    fn holds(self, filter: &Filter, node: &'j Json<'a>) -> bool {
        match filter {
            Filter::Or(any) => any.iter().any(|filter| self.holds(filter, node)),
            Filter::And(all) => all.iter().all(|filter| self.holds(filter, node)),
            Filter::Atom(FilterAtom::Filter { expr, not }) => self.holds(expr, node) != *not,
            Filter::Atom(FilterAtom::Test { expr, not }) => self.test(expr, node) != *not,
            Filter::Atom(FilterAtom::Comparison(comparison)) => self.compare(comparison, node),
        }
    }

    fn test(self, test: &Test, node: &'j Json<'a>) -> bool {
        match test {
            Test::Function(function) => match &**function {
                TestFunction::Match(text, pattern) => self.matches(text, pattern, node, true),
                TestFunction::Search(text, pattern) => self.matches(text, pattern, node, false),
                // `plan::Path` takes no others where a truth is needed
                _ => false,
            },
            Test::RelQuery(_) | Test::AbsQuery(_) => !self.nodes(test, node).is_empty(),
        }
    }

    fn nodes(self, test: &Test, node: &'j Json<'a>) -> Vec<&'j Json<'a>> {
        match test {
            Test::RelQuery(segments) => self.follow(segments, node),
            Test::AbsQuery(query) => self.follow(&query.segments, self.root),
            Test::Function(_) => Vec::new(),
        }
    }

    fn compare(self, comparison: &Comparison, node: &'j Json<'a>) -> bool {
        let (left, right) = comparison.vals();
        let (left, right) = (self.operand(left, node), self.operand(right, node));
        match comparison {
            Comparison::Eq(..) => left == right,
            Comparison::Ne(..) => left != right,
            Comparison::Lt(..) => order(&left, &right) == Some(Ordering::Less),
            Comparison::Gt(..) => order(&left, &right) == Some(Ordering::Greater),
            Comparison::Lte(..) => left == right || order(&left, &right) == Some(Ordering::Less),
            Comparison::Gte(..) => left == right || order(&left, &right) == Some(Ordering::Greater),
        }
    }

    fn operand<'x>(self, operand: &'x Comparable, node: &'j Json<'a>) -> Operand<'x>
    where
        'j: 'x,
    {
        match operand {
            Comparable::Literal(literal) => Some(Cow::Owned(value_of(literal))),
            Comparable::Function(function) => self.function(function, node),
            Comparable::SingularQuery(SingularQuery::Current(steps)) => walk(steps, node).map(Cow::Borrowed),
            Comparable::SingularQuery(SingularQuery::Root(steps)) => walk(steps, self.root).map(Cow::Borrowed),
        }
    }

    fn function<'x>(self, function: &'x TestFunction, node: &'j Json<'a>) -> Operand<'x>
    where
        'j: 'x,
    {
        let number = |count: usize| Some(Cow::Owned(Json::Number(count.to_string().into())));
        match function {
            TestFunction::Length(argument) => match self.value(argument, node)?.as_ref() {
                Json::String(text) => number(text.chars().count()),
                Json::Array(items) => number(items.len()),
                Json::Object(members) => number(members.len()),
                Json::Null | Json::Bool(_) | Json::Number(_) => None,
            },
            TestFunction::Count(FnArg::Test(query)) => number(self.nodes(query, node).len()),
            TestFunction::Value(FnArg::Test(query)) => match self.nodes(query, node).as_slice() {
                [only] => Some(Cow::Borrowed(only)),
                _ => None,
            },
            // `plan::Path` takes no others where a value is needed
            _ => None,
        }
    }

    /// An argument that is to be a value: a literal, a singular query, or a function.
    fn value<'x>(self, argument: &'x FnArg, node: &'j Json<'a>) -> Operand<'x>
    where
        'j: 'x,
    {
        match argument {
            FnArg::Literal(literal) => Some(Cow::Owned(value_of(literal))),
            FnArg::Test(test) => match &**test {
                Test::Function(function) => self.function(function, node),
                query => self.nodes(query, node).first().map(|node| Cow::Borrowed(*node)),
            },
            FnArg::Filter(_) => None,
        }
    }

    /// `match` and `search` (RFC 9535, 2.4.6 and 2.4.7), left to the crate: the pattern is an I-Regexp (RFC 9485).
    fn matches(self, text: &FnArg, pattern: &FnArg, node: &'j Json<'a>, whole: bool) -> bool {
        let literal = |argument: &FnArg| match self.value(argument, node)?.as_ref() {
            Json::String(text) => Some(FnArg::Literal(Literal::String(text.clone().into_owned()))),
            _ => None,
        };
        let (Some(text), Some(pattern)) = (literal(text), literal(pattern)) else { return false };
        let function = if whole { TestFunction::Match(text, pattern) } else { TestFunction::Search(text, pattern) };
        function.process(State::root(&serde_json::Value::Null)).ok_val() == Some(serde_json::Value::Bool(true))
    }
}

fn children<'j, 'a>(node: &'j Json<'a>) -> impl Iterator<Item = &'j Json<'a>> {
    let (items, members) = match node {
        Json::Array(items) => (&items[..], [].as_slice()),
        Json::Object(members) => ([].as_slice(), &members[..]),
        _ => ([].as_slice(), [].as_slice()),
    };
    items.iter().chain(members.iter().map(|(_, value)| value))
}

fn walk<'j, 'a>(steps: &[SingularQuerySegment], from: &'j Json<'a>) -> Option<&'j Json<'a>> {
    steps.iter().try_fold(from, |node, step| match (step, node) {
        (SingularQuerySegment::Name(name), node) => node.member(name),
        (SingularQuerySegment::Index(index), Json::Array(items)) => item(items, *index),
        (SingularQuerySegment::Index(_), _) => None,
    })
}

fn value_of(literal: &Literal) -> Json<'_> {
    match literal {
        Literal::Int(number) => Json::Number(number.to_string().into()),
        Literal::Float(number) => Json::Number(format!("{number:e}").into()),
        Literal::String(text) => Json::String(text.as_str().into()),
        Literal::Bool(value) => Json::Bool(*value),
        Literal::Null => Json::Null,
    }
}

/// The places that a slice takes from a list (RFC 9535, 2.3.4.2.2).
fn slice(length: usize, start: Option<i64>, end: Option<i64>, step: i64) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let normal = |edge: i64| if edge < 0 { edge.saturating_add(length) } else { edge };
    let (first, last) = if step >= 0 {
        (normal(start.unwrap_or(0)).clamp(0, length), normal(end.unwrap_or(length)).clamp(0, length))
    } else {
        let lowest = -length - 1;
        (normal(start.unwrap_or(length - 1)).clamp(-1, length - 1), normal(end.unwrap_or(lowest)).clamp(-1, length - 1))
    };
    let inside = move |at: &i64| if step > 0 { *at < last } else { step < 0 && *at > last };
    let places = std::iter::successors(Some(first), move |at| at.checked_add(step)).take_while(inside);
    places.filter_map(|at| usize::try_from(at).ok())
}

/// Numbers by value, texts by code point; nothing else has an order (RFC 9535, 2.3.5.2.2).
fn order(left: &Operand<'_>, right: &Operand<'_>) -> Option<Ordering> {
    match (left.as_deref()?, right.as_deref()?) {
        (Json::Number(left), Json::Number(right)) => Some(order_of_numbers(left, right)),
        (Json::String(left), Json::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn order_of_numbers(left: &str, right: &str) -> Ordering {
    if let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) {
        return left.cmp(&right);
    }
    if same(left, right) {
        return Ordering::Equal;
    }
    let (Some((less, high, digits)), Some((other_less, other_high, other_digits))) = (decimal(left), decimal(right))
    else {
        // an exponent of 19 digits: beyond anything that doubles tell apart
        let double = |text: &str| text.parse::<f64>().unwrap_or(f64::NAN);
        return double(left).partial_cmp(&double(right)).unwrap_or(Ordering::Equal);
    };
    match (less, other_less) {
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => (high, digits).cmp(&(other_high, other_digits)),
        (true, true) => (other_high, other_digits).cmp(&(high, digits)),
    }
}

/// A number as its sign, the place of its first digit, and its digits: what compares by value. Zero is below all others without a sign.
fn decimal(text: &str) -> Option<(bool, i64, String)> {
    let mut spelled = String::with_capacity(text.len());
    Number::parse(text)?.write_canonical(&mut spelled);
    let (negative, rest) = spelled.strip_prefix('-').map_or((false, spelled.as_str()), |rest| (true, rest));
    let (digits, exponent) = rest.split_once('e').unwrap_or((rest, "0"));
    let high = match digits {
        "0" => i64::MIN,
        digits => exponent.parse::<i64>().ok()?.saturating_add(i64::try_from(digits.len()).ok()?),
    };
    Some((negative, high, digits.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_ordered_by_value(left in -99_999_i64..99_999, right in -99_999_i64..99_999, shift in 0_usize..6, power in -30..30) {
            // the same numbers, spelled as fractions and with exponents
            let spelled = |number: i64, zeros: usize| {
                let exponent = power - i32::try_from(zeros).expect("small");
                format!("{number}{}e{exponent}", if number == 0 { String::new() } else { "0".repeat(zeros) })
            };
            prop_assert_eq!(order_of_numbers(&spelled(left, shift), &spelled(right, 0)), left.cmp(&right));
            prop_assert_eq!(order_of_numbers(&format!("{left}.{}", "0".repeat(shift + 1)), &right.to_string()), left.cmp(&right));
        }

        #[test]
        fn a_slice_takes_what_the_standard_says(length in 0_i64..8, start in prop::option::of(-9_i64..9), end in prop::option::of(-9_i64..9), step in -4_i64..4) {
            // the loop of RFC 9535, 2.3.4.2.2, word for word
            let normal = |at: i64| if at >= 0 { at } else { length + at };
            let mut expected = Vec::new();
            if step > 0 {
                let (lower, upper) = (normal(start.unwrap_or(0)).max(0).min(length), normal(end.unwrap_or(length)).max(0).min(length));
                let mut at = lower;
                while at < upper { expected.push(at); at += step; }
            } else if step < 0 {
                let upper = normal(start.unwrap_or(length - 1)).max(-1).min(length - 1);
                let lower = normal(end.unwrap_or(-length - 1)).max(-1).min(length - 1);
                let mut at = upper;
                while lower < at { expected.push(at); at += step; }
            }
            let taken: Vec<i64> = slice(length as usize, start, end, step).filter_map(|at| i64::try_from(at).ok()).collect();
            prop_assert_eq!(taken, expected);
        }
    }

    #[test]
    fn slices_of_any_size_end() {
        let huge = 9_007_199_254_740_991;
        assert_eq!(slice(3, Some(-huge), Some(huge), huge).collect::<Vec<_>>(), [0]);
        assert_eq!(slice(3, Some(huge), Some(-huge), -huge).collect::<Vec<_>>(), [2]);
        assert_eq!(slice(3, None, None, -1).collect::<Vec<_>>(), [2, 1, 0]);
        assert_eq!(slice(0, None, None, 1).count(), 0);
    }
}
