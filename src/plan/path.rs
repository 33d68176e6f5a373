//! JSONPath (RFC 9535), parsed once.

use jsonpath_rust::parser::model::{
    Comparable, Comparison, Filter, FilterAtom, FnArg, JpQuery, Literal, Segment, Selector, Test, TestFunction,
};
use jsonpath_rust::parser::parse_json_path;

use super::limits;

/// A parsed path. Plain member paths such as `$.a.b[0]` become direct look-ups; all else is a query for the crate.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    text: String,
    form: PathForm,
}

/// How a path is looked up.
#[derive(Debug, Clone, PartialEq)]
pub enum PathForm {
    /// member names and indexes, with one trailing `[*]` perhaps
    Plain {
        /// from the root down
        steps: Vec<Step>,
        /// all the children of what the steps lead to
        each: bool,
    },
    /// anything RFC 9535 can say
    Query(JpQuery),
}

/// One step of a plain path.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// a member of an object
    Member(String),
    /// an item of an array; negative counts from the end
    Index(i64),
}

impl Path {
    /// Parses a path that starts with `$`. Numbers written in it are whole ones up to 2^53, as RFC 9535 (2.1) has it for indexes,
    /// or fractions of 17 digits; numbers of the document that they are compared with may be of any size.
    ///
    /// # Errors
    /// A sentence fragment that says what the parser did not understand, which function gets something it does not take
    /// (RFC 9535, 2.4.3), or which bound is exceeded.
    pub fn parse(text: &str) -> Result<Self, String> {
        let query = query(text)?;
        let form = plain(&query).unwrap_or(PathForm::Query(query));
        Ok(Self { text: text.to_owned(), form })
    }

    /// The same, never looked up directly: both ways must lead to the same.
    #[cfg(test)]
    pub(crate) fn parse_as_query(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), form: PathForm::Query(query(text)?) })
    }

    /// The path as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How it is looked up.
    pub fn form(&self) -> &PathForm {
        &self.form
    }

    /// Whether it can match at most one value (a "singular query" of RFC 9535, 2.3.5.1).
    pub fn is_singular(&self) -> bool {
        matches!(self.form, PathForm::Plain { each: false, .. })
    }

    /// Whether it has the form `$[?…]`: a test of a record rather than a way to one.
    pub fn is_filter(&self) -> bool {
        match &self.form {
            PathForm::Query(query) => {
                matches!(query.segments.as_slice(), [Segment::Selector(Selector::Filter(_))])
            }
            PathForm::Plain { .. } => false,
        }
    }
}

fn query(text: &str) -> Result<JpQuery, String> {
    if !text.starts_with('$') {
        return Err("a path starts with `$`".into());
    }
    if text.len() > limits::PATH_BYTES_MAX {
        return Err(format!("it is longer than {} bytes", limits::PATH_BYTES_MAX));
    }
    // the parser would drop them from a name
    if let Some(space) = outside_texts(text).find(|c| !c.is_ascii() && c.is_whitespace()) {
        return Err(format!("it has a space of another kind in it (U+{:04X})", u32::from(space)));
    }
    if text.ends_with(char::is_whitespace) {
        return Err("it ends in a space".to_owned());
    }
    // and keep these in a name
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || !c.is_ascii();
    let spaced: Vec<char> = outside_texts(text).collect();
    let mut words = spaced.split(|c| !is_word(*c) && !c.is_whitespace());
    if words.any(|run| run.split(|c| c.is_whitespace()).filter(|word| !word.is_empty()).count() > 1) {
        return Err("a name with a space in it stands in brackets and quotes: `$['two words']`".to_owned());
    }
    let query = parse_json_path(text).map_err(|error| reason(text, &error.to_string()))?;
    let mut descents = 0;
    check_segments(&query.segments, &mut descents)?;
    if descents > limits::PATH_DESCENTS_MAX {
        return Err(format!("it has more than {} times `..`", limits::PATH_DESCENTS_MAX));
    }
    Ok(query)
}

fn outside_texts(text: &str) -> impl Iterator<Item = char> {
    let (mut quote, mut escaped) = (None, false);
    text.chars().filter(move |&c| {
        let is_outside = quote.is_none();
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if matches!(c, '\'' | '"') => quote = Some(c),
            _ => {}
        }
        is_outside
    })
}

/// What the crate's parser lets pass: functions that are not of the standard, arguments and results of the wrong kind.
fn check_segments(segments: &[Segment], descents: &mut usize) -> Result<(), String> {
    for segment in segments {
        let mut segment = segment;
        while let Segment::Descendant(inner) = segment {
            *descents += 1;
            segment = inner;
        }
        let selectors = match segment {
            Segment::Selector(selector) => std::slice::from_ref(selector),
            Segment::Selectors(selectors) => selectors.as_slice(),
            Segment::Descendant(_) => &[],
        };
        for selector in selectors {
            if let Selector::Filter(filter) = selector {
                check_filter(filter, descents)?;
            }
        }
    }
    Ok(())
}

fn check_filter(filter: &Filter, descents: &mut usize) -> Result<(), String> {
    match filter {
        Filter::Or(filters) | Filter::And(filters) => {
            filters.iter().try_for_each(|filter| check_filter(filter, descents))
        }
        Filter::Atom(FilterAtom::Filter { expr, .. }) => check_filter(expr, descents),
        Filter::Atom(FilterAtom::Test { expr, .. }) => match &**expr {
            Test::Function(function) => match &**function {
                TestFunction::Match(..) | TestFunction::Search(..) => check_function(function, descents),
                TestFunction::Custom(name, _) => Err(no_function(name)),
                TestFunction::Length(_) | TestFunction::Count(_) | TestFunction::Value(_) => {
                    Err("what `length`, `count` and `value` give must be compared: `count(@.a[*]) > 1`".to_owned())
                }
            },
            query => check_query(query, descents),
        },
        Filter::Atom(FilterAtom::Comparison(comparison)) => check_comparison(comparison, descents),
    }
}

fn check_comparison(comparison: &Comparison, descents: &mut usize) -> Result<(), String> {
    let (left, right) = comparison.vals();
    [left, right].into_iter().try_for_each(|side| match side {
        Comparable::Literal(literal) => check_literal(literal),
        Comparable::Function(function) => check_function(function, descents),
        Comparable::SingularQuery(_) => Ok(()),
    })
}

fn check_literal(literal: &Literal) -> Result<(), String> {
    match literal {
        Literal::Float(number) if !number.is_finite() => Err("a number in it is too large".to_owned()),
        _ => Ok(()),
    }
}

fn check_query(test: &Test, descents: &mut usize) -> Result<(), String> {
    match test {
        Test::RelQuery(segments) => check_segments(segments, descents),
        Test::AbsQuery(query) => check_segments(&query.segments, descents),
        Test::Function(function) => check_function(function, descents),
    }
}

fn check_function(function: &TestFunction, descents: &mut usize) -> Result<(), String> {
    match function {
        TestFunction::Length(argument) => check_value(argument, "length", descents),
        TestFunction::Match(text, pattern) => {
            check_value(text, "match", descents)?;
            check_value(pattern, "match", descents)
        }
        TestFunction::Search(text, pattern) => {
            check_value(text, "search", descents)?;
            check_value(pattern, "search", descents)
        }
        TestFunction::Count(argument) | TestFunction::Value(argument) => match argument {
            FnArg::Test(test) if !matches!(**test, Test::Function(_)) => check_query(test, descents),
            _ => Err("`count` and `value` take a path: `count(@.a[*])`".to_owned()),
        },
        TestFunction::Custom(name, _) => Err(no_function(name)),
    }
}

/// An argument of the standard's `ValueType`: a literal, a path to one value, or a function that gives one.
fn check_value(argument: &FnArg, name: &str, descents: &mut usize) -> Result<(), String> {
    let wrong = || Err(format!("`{name}` takes a value, or a path that leads to one value at most: `{name}(@.a)`"));
    match argument {
        FnArg::Literal(literal) => check_literal(literal),
        FnArg::Filter(_) => wrong(),
        FnArg::Test(test) => match &**test {
            Test::RelQuery(segments) | Test::AbsQuery(JpQuery { segments }) => {
                let is_step =
                    |segment: &Segment| matches!(segment, Segment::Selector(Selector::Name(_) | Selector::Index(_)));
                if segments.iter().all(is_step) { Ok(()) } else { wrong() }
            }
            Test::Function(function) => match &**function {
                TestFunction::Match(..) | TestFunction::Search(..) => wrong(),
                function => check_function(function, descents),
            },
        },
    }
}

fn no_function(name: &str) -> String {
    format!("there is no function `{name}`; there are `length`, `count`, `value`, `match` and `search`")
}

/// The crate prints the place as a picture of several lines (` --> 1:9`) and then names of its grammar.
fn reason(text: &str, error: &str) -> String {
    if error.contains("nesting depth") {
        return "it is nested too deeply".to_owned();
    }
    if let Some(function) = error.strip_suffix(" is not comparable").and_then(|text| text.split("Function ").nth(1)) {
        return match function.split('(').next().unwrap_or_default() {
            name @ ("match" | "search") => format!("`{name}` is a condition by itself and is not compared"),
            name => no_function(name),
        };
    }
    let column = error.lines().find_map(|line| line.split_once("--> 1:")?.1.trim().parse::<usize>().ok());
    let rest: String = column.map(|column| text.chars().skip(column - 1).take(20).collect()).unwrap_or_default();
    let whole =
        text.split(|c: char| !c.is_ascii_digit()).find(|digits| digits.len() > 15 && rest.contains(&digits[..15]));
    match (column, rest.trim()) {
        (Some(_), "") => "it ends too early".to_owned(),
        (Some(_), _) if whole.is_some() => {
            format!(
                "`{}` is beyond 2^53; a template compares it: `{{{{ record.id == … }}}}`",
                whole.unwrap_or_default()
            )
        }
        (Some(_), rest) => format!("`{rest}` is not understood"),
        (None, _) => {
            let line = error.lines().next().unwrap_or_default().trim();
            let reason = line.strip_prefix("Invalid json path: ").unwrap_or(line);
            reason
                .chars()
                .next()
                .map(|first| first.to_ascii_lowercase())
                .into_iter()
                .chain(reason.chars().skip(1))
                .collect()
        }
    }
}

fn plain(query: &JpQuery) -> Option<PathForm> {
    let mut steps = Vec::with_capacity(query.segments.len());
    let mut each = false;
    for segment in &query.segments {
        if each {
            return None;
        }
        match segment {
            Segment::Selector(Selector::Name(name)) => steps.push(Step::Member(name.clone())),
            Segment::Selector(Selector::Index(index)) => steps.push(Step::Index(*index)),
            Segment::Selector(Selector::Wildcard) => each = true,
            _ => return None,
        }
    }
    Some(PathForm::Plain { steps, each })
}
