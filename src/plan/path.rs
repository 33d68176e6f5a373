//! JSONPath (RFC 9535), parsed once.

use jsonpath_rust::parser::model::{JpQuery, Segment, Selector};
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
    /// Parses a path that starts with `$`.
    ///
    /// # Errors
    /// A sentence fragment that says what the parser did not understand.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if !text.starts_with('$') {
            return Err("a path starts with `$`".into());
        }
        if text.len() > limits::PATH_BYTES_MAX {
            return Err(format!("it is longer than {} bytes", limits::PATH_BYTES_MAX));
        }
        let query = parse_json_path(text).map_err(|error| reason(text, &error.to_string()))?;
        let form = plain(&query).unwrap_or(PathForm::Query(query));
        Ok(Self { text: text.to_owned(), form })
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

/// The crate prints the place as a picture of several lines (` --> 1:9`) and then names of its grammar.
fn reason(text: &str, error: &str) -> String {
    if error.contains("nesting depth") {
        return "it is nested too deeply".to_owned();
    }
    let column = error.lines().find_map(|line| line.split_once("--> 1:")?.1.trim().parse::<usize>().ok());
    let rest: String = column.map(|column| text.chars().skip(column - 1).take(20).collect()).unwrap_or_default();
    match (column, rest.trim()) {
        (Some(_), "") => "it ends too early".to_owned(),
        (Some(_), rest) => format!("`{rest}` is not understood"),
        (None, _) => error.lines().next().unwrap_or("it is no JSONPath").trim().to_owned(),
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
