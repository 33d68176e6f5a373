//! The requests of a run against those that are expected.

use std::collections::BTreeSet;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map, Value};
use url::{Url, form_urlencoded};

use super::diff::{Line, Sign, shortened, shortened_both};
use super::run::Failure;
use super::value::{is_same, plain};
use crate::plan::{AnswerPlan, ExchangePlan, GivenBody, limits};
use crate::remote::Asked;

/// The exchange of one run, while it goes on.
pub(super) struct Exchange {
    ordered: bool,
    /// with the bodies of their answers, and whether they came
    expected: Vec<(Arc<ExchangePlan>, Vec<u8>, bool)>,
    /// the made-up secrets: parameters that hold one need not be written
    secrets: BTreeSet<String>,
    unexpected: Vec<Failure>,
}

impl Exchange {
    pub fn new(ordered: bool, expected: Vec<(Arc<ExchangePlan>, Vec<u8>)>, secrets: BTreeSet<String>) -> Self {
        let expected = expected.into_iter().map(|(plan, body)| (plan, body, false)).collect();
        Self { ordered, expected, secrets, unexpected: Vec::new() }
    }

    /// The answer to a request; `None` for one that is not expected, which is noted.
    pub fn answer(&mut self, asked: &Asked<'_>) -> Option<http::Response<Vec<u8>>> {
        let fits = |(plan, _, came): &(Arc<ExchangePlan>, Vec<u8>, bool)| {
            !came && differences(plan, asked, &self.secrets).is_empty()
        };
        let at = if self.ordered {
            self.expected.iter().position(|(_, _, came)| !came).filter(|at| fits(&self.expected[*at]))
        } else {
            self.expected.iter().position(fits)
        };
        // behind the first request that nobody expected the order says nothing
        if let Some(at) = at.filter(|_| !self.ordered || self.unexpected.is_empty()) {
            let (plan, body, came) = &mut self.expected[at];
            *came = true;
            return Some(response(&plan.answer, body.clone()));
        }
        if self.unexpected.len() < limits::TEST_REQUESTS_SHOWN && (!self.ordered || self.unexpected.is_empty()) {
            let failure = self.unexpected(asked);
            self.unexpected.push(failure);
        }
        None
    }

    /// Whether a request came that nobody expected.
    pub fn is_disturbed(&self) -> bool {
        !self.unexpected.is_empty()
    }

    /// What is not as expected, when the run is over.
    pub fn end(self) -> Vec<Failure> {
        let is_disturbed = self.is_disturbed();
        let mut failures = self.unexpected;
        let left: Vec<_> = self.expected.iter().enumerate().filter(|(_, (_, _, came))| !came).collect();
        if !left.is_empty() {
            let what = match left.len() {
                1 => "a request was expected and not sent".to_owned(),
                number => format!("{number} requests were expected and not sent"),
            };
            let shown = if is_disturbed { 0 } else { left.len().min(limits::TEST_LINES_MAX) };
            let line = |(at, (plan, _, _)): &(usize, &(Arc<ExchangePlan>, Vec<u8>, bool))| {
                Line::new(Sign::Missing, format!("{}: {}", ordinal(at + 1), written(plan)))
            };
            failures.push(Failure::new(what, left[..shown].iter().map(line).collect()));
        }
        failures
    }

    /// A request that nobody expected, with the nearest that is expected.
    fn unexpected(&self, asked: &Asked<'_>) -> Failure {
        let mut lines = vec![Line::new(Sign::Same, format!("{} {}", asked.method.as_str(), asked.url))];
        if let Some(body) = asked.body.filter(|body| !body.is_empty()) {
            lines.push(Line::new(Sign::Same, shortened(&String::from_utf8_lossy(body))));
        }
        let waiting = || self.expected.iter().enumerate().filter(|(_, (_, _, came))| !came);
        let nearest = if self.ordered {
            waiting().next()
        } else {
            waiting().min_by_key(|(_, (plan, _, _))| differences(plan, asked, &self.secrets).len())
        };
        let Some((at, (plan, _, _))) = nearest else {
            let is_again = self.expected.iter().any(|(plan, _, _)| differences(plan, asked, &self.secrets).is_empty());
            let what = match (self.expected.len(), is_again) {
                (0, _) => "no request is expected in this run, and one was sent:",
                (_, true) => "a request was sent more often than it is expected:",
                (_, false) => "a request was sent after all that are expected:",
            };
            return Failure::new(what.to_owned(), lines);
        };
        let which = if self.ordered { "expected here is" } else { "the nearest expected one is" };
        lines.push(Line::new(Sign::Same, format!("{which} the {}: {}", ordinal(at + 1), written(plan))));
        lines.extend(differences(plan, asked, &self.secrets));
        Failure::new("a request was sent that is not expected:".to_owned(), lines)
    }
}

fn response(answer: &AnswerPlan, body: Vec<u8>) -> http::Response<Vec<u8>> {
    let mut builder = http::Response::builder().status(answer.status);
    let has = |name: &str| answer.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if matches!(answer.body, GivenBody::Json(_)) && !has("content-type") {
        builder = builder.header("content-type", "application/json");
    }
    // the body is given unpacked, and as long as it is
    let told = |name: &str| !["content-encoding", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own));
    for (name, value) in answer.headers.iter().filter(|(name, _)| told(name)) {
        builder = builder.header(name, value);
    }
    builder.body(body).unwrap_or_else(|error| {
        let mut broken = http::Response::new(format!("the answer of the test cannot be given: {error}").into_bytes());
        *broken.status_mut() = http::StatusCode::NOT_IMPLEMENTED;
        broken
    })
}

/// What of a request is not as it is expected.
fn differences(plan: &ExchangePlan, asked: &Asked<'_>, secrets: &BTreeSet<String>) -> Vec<Line> {
    let ExchangePlan { method, url, query, headers, body, answer: _ } = plan;
    let mut lines = Vec::new();
    let mut differ = |expected: Option<String>, sent: Option<String>| {
        lines.extend(expected.map(|text| Line::new(Sign::Missing, text)));
        lines.extend(sent.map(|text| Line::new(Sign::Extra, text)));
    };
    let sent_to = without_query(asked.url);
    if *method != asked.method || without_query(url) != sent_to {
        differ(
            Some(format!("{} {}", method.as_str(), without_query(url))),
            Some(format!("{} {sent_to}", asked.method.as_str())),
        );
    }
    if let Some(expected) = query {
        let sent = grouped(asked.url.query_pairs());
        for (name, values) in expected {
            let found = sent.get(name).cloned().unwrap_or_default();
            if found != *values {
                differ(pairs(name, values), pairs(name, &found));
            }
        }
        let is_proof = |values: &[String]| values.iter().all(|value| secrets.contains(value));
        let is_named = |name: &String| expected.iter().any(|(known, _)| known == name);
        for (name, values) in sent.iter().filter(|(name, values)| !is_named(name) && !is_proof(values)) {
            differ(None, pairs(name, values));
        }
    }
    for (name, value) in headers {
        let sent: Vec<_> =
            asked.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        if !sent.iter().any(|sent| sent == value) {
            let sent = (!sent.is_empty()).then(|| format!("{name}: {}", sent.join(", ")));
            differ(Some(format!("{name}: {value}")), sent);
        }
    }
    if let Some(expected) = body {
        lines.extend(body_differences(expected, asked));
    }
    lines
}

fn pairs(name: &str, values: &[String]) -> Option<String> {
    let pairs: Vec<_> = values.iter().map(|value| format!("{name}={value}")).collect();
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

fn grouped<N: Into<String>, V: Into<String>>(pairs: impl Iterator<Item = (N, V)>) -> IndexMap<String, Vec<String>> {
    let mut all: IndexMap<String, Vec<String>> = IndexMap::new();
    for (name, value) in pairs {
        all.entry(name.into()).or_default().push(value.into());
    }
    all
}

fn body_differences(expected: &Value, asked: &Asked<'_>) -> Vec<Line> {
    let body = asked.body.unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    if expected.as_str().is_some_and(|expected| expected.trim_end() == text.trim_end()) {
        return Vec::new();
    }
    let kind = asked.headers.get("content-type").map(|value| String::from_utf8_lossy(value.as_bytes()));
    let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
    let sent = if is_form {
        let fields = grouped(form_urlencoded::parse(body)).into_iter();
        let value = |values: Vec<String>| match <[String; 1]>::try_from(values) {
            Ok([value]) => Value::String(value),
            Err(values) => Value::from(values),
        };
        Some(Value::Object(fields.map(|(name, values)| (name, value(values))).collect()))
    } else {
        serde_json::from_slice(body).ok()
    };
    let same =
        |expected: &Value, sent: &Value| is_same(None, expected, sent) || (is_form && plain(expected) == plain(sent));
    match (expected, &sent) {
        (Value::Object(expected), Some(Value::Object(sent))) => {
            let mut lines = Vec::new();
            let text = |name: &str, of: &Map<String, Value>| of.get(name).map(ToString::to_string);
            let names: BTreeSet<&String> = expected.keys().chain(sent.keys()).collect();
            for name in names {
                let is_same =
                    matches!((expected.get(name), sent.get(name)), (Some(one), Some(other)) if same(one, other));
                if !is_same {
                    let (one, other) = (text(name, expected), text(name, sent));
                    let shown =
                        shortened_both(one.as_deref().unwrap_or_default(), other.as_deref().unwrap_or_default());
                    let line = |sign, text| Line::new(sign, format!("body: {name}: {text}"));
                    lines.extend(one.map(|_| line(Sign::Missing, shown.0)));
                    lines.extend(other.map(|_| line(Sign::Extra, shown.1)));
                }
            }
            lines
        }
        (expected, Some(sent)) if same(expected, sent) => Vec::new(),
        (expected, _) => {
            let (one, other) = shortened_both(&plain(expected), &text);
            let line = |sign, text| Line::new(sign, format!("body: {text}"));
            vec![line(Sign::Missing, one), line(Sign::Extra, other)]
        }
    }
}

/// A request as a test writes it.
fn written(plan: &ExchangePlan) -> String {
    let mut text = format!("{} {}", plan.method.as_str(), plan.url);
    let query = plan.query.iter().flatten().filter_map(|(name, values)| pairs(name, values));
    let query: Vec<_> = query.collect();
    if !query.is_empty() {
        text += &format!("?{}", query.join("&"));
    }
    text
}

fn without_query(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url
}

fn ordinal(number: usize) -> String {
    let end = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}
