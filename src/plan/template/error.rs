//! What is wrong with a template.

use super::table;
use crate::diagnostic::suggest;

/// Why a template could not be parsed or evaluated: a lowercase fragment for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

/// What other tools have as functions and methods, and what does it here.
const CALLS: [(&str, &str); 8] = [
    ("now", "when the scan began is `run.started_at`"),
    ("utcnow", "when the scan began is `run.started_at`"),
    ("now_utc", "when the scan began is `run.started_at`"),
    ("today_utc", "the day the scan began is `run.started_at | date('%Y-%m-%d')`"),
    ("today", "the day the scan began is `run.started_at | date('%Y-%m-%d')`"),
    ("get", "write `map.member | default('…')`"),
    ("strftime", "write `| date('%Y-%m-%d')`"),
    ("format_datetime", "write `value | date('%Y-%m-%d')`"),
];

impl TemplateError {
    /// The likely fix, where there is one.
    pub fn hint(&self) -> Option<String> {
        let between = |before: &str| self.0.split_once(before)?.1.split(['`', '(']).next();
        if let Some(wrong) = between("there is no filter `") {
            return suggest(wrong, table::filter_names())
                .or_else(|| Some("docs/language.md lists the filters under \"Filters\"".to_owned()));
        }
        if let Some(wrong) = between("there is no test `") {
            return suggest(wrong, table::test_names())
                .or_else(|| Some("docs/language.md lists the tests under \"Filters\"".to_owned()));
        }
        if let Some(name) = between("there are no functions, and so no `").or_else(|| between("and so no `.")) {
            return Some(match CALLS.iter().find(|(known, _)| *known == name) {
                Some((_, instead)) => (*instead).to_owned(),
                None if table::filter(name).is_some() => format!("write it as a filter: `value | {name}`"),
                None => "what changes a value is a filter: `value | upper`".to_owned(),
            });
        }
        let hint = match self.0.as_str() {
            text if text.contains("blocks (") => "write `{{ a if condition else b }}`",
            text if text.contains("never closed") => "close it with `}}`",
            text if text.contains("without `{{`") => "open it with `{{`",
            text if text.contains("too long") => "shorten it",
            text if text.contains("no value") => "give a default: `value | default('none')`",
            text if text.contains("needs an argument") => {
                "an argument stands in parentheses: `value | date('%Y-%m-%d')`"
            }
            text if text.contains("a span") => "a span is a number and `s`, `m`, `h`, `d`, `w`, `month` or `y`: `-5m`",
            text if text.contains("a date format") => "a date format has strftime directives: `%Y-%m-%d`",
            text if text.contains("`hex`") => "write `'hex'` or `'base64'`",
            _ => "an expression looks like `{{ config.region | lower }}`",
        };
        Some(hint.to_owned())
    }
}
