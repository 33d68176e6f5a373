//! Templates: minijinja expressions in text, parsed once, evaluated with fuel, typed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::value::{Value, ValueKind};
use minijinja::{Environment, ErrorKind, Expression, UndefinedBehavior};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::limits;
use super::moment::{Moment, Span, moment};
use crate::diagnostic::suggest;
use crate::plan::TimeFormat;

/// A parsed template. A template that is one single `{{ … }}` keeps the expression's type; anything else yields text.
#[derive(Clone)]
pub struct Template(Arc<Inner>);

struct Inner {
    text: String,
    parts: Vec<Part>,
    variables: BTreeSet<String>,
}

enum Part {
    Text(String),
    Expression { source: String, compiled: Expression<'static, 'static> },
}

/// Why a template could not be parsed or evaluated: a lowercase fragment for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(pub String);

impl TemplateError {
    /// The likely fix, where there is one.
    pub fn hint(&self) -> Option<String> {
        let between = |before: &str| self.0.split_once(before)?.1.split('`').next();
        if let Some(wrong) = between("there is no filter `") {
            return suggest(wrong, FILTERS);
        }
        if let Some(wrong) = between("there is no test `") {
            return suggest(wrong, TESTS);
        }
        let hint = match self.0.as_str() {
            text if text.contains("blocks (") => "write `{{ a if condition else b }}`",
            text if text.contains("never closed") => "close it with `}}`",
            text if text.contains("without `{{`") => "open it with `{{`",
            text if text.contains("too long") => "shorten it",
            _ => "an expression looks like `{{ config.region | lower }}`",
        };
        Some(hint.to_owned())
    }
}

/// Filters of the language and the best known of minijinja's, for "did you mean".
const FILTERS: [&str; 24] = [
    "rfc3339",
    "epoch",
    "epoch_ms",
    "date",
    "add",
    "base64",
    "json",
    "slug",
    "urlencode",
    "default",
    "lower",
    "upper",
    "trim",
    "replace",
    "join",
    "first",
    "last",
    "length",
    "int",
    "string",
    "float",
    "round",
    "split",
    "sort",
];
const TESTS: [&str; 12] = [
    "defined",
    "undefined",
    "none",
    "string",
    "number",
    "mapping",
    "sequence",
    "true",
    "false",
    "in",
    "startingwith",
    "endingwith",
];

/// All that may stay as it is in one path segment (RFC 3986: unreserved).
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_fuel(Some(limits::TEMPLATE_FUEL));
    environment.set_undefined_behavior(UndefinedBehavior::Chainable);
    environment.set_recursion_limit(64);
    environment.add_filter("rfc3339", |value: Value| with_format(&value, TimeFormat::Rfc3339));
    environment.add_filter("epoch", |value: Value| if_present(&value, |v| Ok(moment(v)?.at.timestamp().into())));
    environment
        .add_filter("epoch_ms", |value: Value| if_present(&value, |v| Ok(moment(v)?.at.timestamp_millis().into())));
    environment.add_filter("date", |value: Value, format: String| with_format(&value, TimeFormat::Custom(format)));
    environment.add_filter("add", |value: Value, span: String| {
        if_present(&value, |value| {
            let bad = |text: String| minijinja::Error::new(ErrorKind::InvalidOperation, text);
            let from = moment(value)?;
            let by =
                Span::parse(&span).ok_or_else(|| bad(format!("`{span}` is not a span such as `-5m` or `1 month`")))?;
            let at = by.after(from.at).ok_or_else(|| bad(format!("`{from}` plus `{span}` is out of range")))?;
            Ok(Value::from_object(Moment { at, day: from.day && matches!(by, Span::Months(_)), ..from }))
        })
    });
    environment.add_filter("base64", |value: String| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(value)
    });
    environment.add_filter("json", |value: Value| {
        serde_json::to_string(&value)
            .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
    });
    environment.add_filter("slug", |value: String| slug(&value));
    environment
});

fn if_present(
    value: &Value,
    then: impl FnOnce(&Value) -> Result<Value, minijinja::Error>,
) -> Result<Value, minijinja::Error> {
    if value.is_none() || value.is_undefined() { Ok(value.clone()) } else { then(value) }
}

fn with_format(value: &Value, format: TimeFormat) -> Result<Value, minijinja::Error> {
    if let TimeFormat::Custom(text) = &format
        && chrono::format::StrftimeItems::new(text).any(|item| item == chrono::format::Item::Error)
    {
        return Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            format!("`{text}` is not a date format (strftime)"),
        ));
    }
    if_present(value, |value| Ok(Value::from_object(Moment { format, day: false, ..moment(value)? })))
}

fn slug(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() {
            out.extend(c.to_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// A syntax error, an unclosed `{{`, a `{% … %}` block, or a filter that does not exist.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut variables = BTreeSet::new();
        let mut rest = text;
        while let Some(open) = rest.find("{{") {
            push_text(&mut parts, &rest[..open])?;
            let inside = &rest[open + 2..];
            let close =
                end_of_expression(inside).ok_or_else(|| TemplateError("`{{` is never closed with `}}`".to_owned()))?;
            let source = inside[..close].trim();
            if source.len() > limits::EXPRESSION_BYTES_MAX || parts.len() >= 2 * limits::EXPRESSIONS_MAX {
                let (bytes, many) = (limits::EXPRESSION_BYTES_MAX, limits::EXPRESSIONS_MAX);
                let message = format!("it is too long (at most {many} times `{{{{ … }}}}` of at most {bytes} bytes)");
                return Err(TemplateError(message));
            }
            check_filters(source)?;
            check_tests(source)?;
            let compiled = ENVIRONMENT
                .compile_expression_owned(source.to_owned())
                .map_err(|error| TemplateError(format!("`{}`: {}", shorten(source), reason(&error))))?;
            variables.extend(compiled.undeclared_variables(true));
            parts.push(Part::Expression { source: source.to_owned(), compiled });
            rest = &inside[close + 2..];
        }
        push_text(&mut parts, rest)?;
        Ok(Self(Arc::new(Inner { text: text.to_owned(), parts, variables })))
    }

    /// The template as it was written.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The variables it names, dotted as far as they are written (`config.region`, `watermark`).
    pub fn variables(&self) -> &BTreeSet<String> {
        &self.0.variables
    }

    /// Whether it names this variable or a member of it.
    pub fn names(&self, variable: &str) -> bool {
        self.0.variables.iter().any(|name| name.split('.').next() == Some(variable))
    }

    /// The text with `stand_in` for each expression.
    pub fn sample(&self, stand_in: &str) -> String {
        let part = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Expression { .. } => stand_in.to_owned(),
        };
        self.0.parts.iter().map(part).collect()
    }

    /// Whether it is plain text without any expression.
    pub fn is_fixed(&self) -> bool {
        self.0.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Evaluates to a typed value; `None` when a template of one expression yields none or undefined.
    ///
    /// # Errors
    /// A failing filter, no fuel left, too long a text, or a hole in text (`a-{{ none }}-b`).
    pub fn value(&self, variables: &Value) -> Result<Option<serde_json::Value>, TemplateError> {
        if let [Part::Expression { source, compiled }] = self.0.parts.as_slice() {
            let value = evaluate(source, compiled, variables)?;
            return if value.is_none() || value.is_undefined() { Ok(None) } else { to_json(source, &value).map(Some) };
        }
        self.text_with(variables, |text| text).map(|text| Some(text.into()))
    }

    /// Evaluates to text; `None` when a template of one expression yields none or undefined.
    ///
    /// # Errors
    /// As [`Template::value`]; also a list or map.
    pub fn render(&self, variables: &Value) -> Result<Option<String>, TemplateError> {
        match self.value(variables)? {
            None => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text)),
            Some(value @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_))) => Ok(Some(value.to_string())),
            Some(_) => Err(TemplateError(format!("`{}` yields a list or a map where text is needed", self.text()))),
        }
    }

    /// Evaluates to a URL path (or whole URL): the text parts stay, each value is percent-encoded as one segment. A value
    /// at the very start is a whole URL and stays too.
    ///
    /// # Errors
    /// As [`Template::render`]; also a value that is empty, `.` or `..`, which would change the path.
    pub fn render_path(&self, variables: &Value) -> Result<String, TemplateError> {
        if let [Part::Expression { .. }] = self.0.parts.as_slice() {
            return self.render(variables)?.ok_or_else(|| TemplateError(format!("`{}` has no value", self.text())));
        }
        let mut bad = None;
        let path = self.text_with(variables, |value| {
            if matches!(value.as_str(), "" | "." | "..") {
                bad = Some(value.clone());
            }
            utf8_percent_encode(&value, SEGMENT).to_string()
        })?;
        match bad {
            Some(value) => Err(TemplateError(format!("`{}`: `{value}` cannot be a part of a path", self.text()))),
            None => Ok(path),
        }
    }

    /// Evaluates to yes or no: none, false, 0 and empty mean no.
    ///
    /// # Errors
    /// As [`Template::value`].
    pub fn is_true(&self, variables: &Value) -> Result<bool, TemplateError> {
        match self.0.parts.as_slice() {
            [Part::Expression { source, compiled }] => Ok(evaluate(source, compiled, variables)?.is_true()),
            _ => Ok(self.render(variables)?.is_some_and(|text| !text.is_empty())),
        }
    }

    fn text_with(&self, variables: &Value, mut each: impl FnMut(String) -> String) -> Result<String, TemplateError> {
        let mut out = String::new();
        for part in &self.0.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression { source, compiled } => {
                    let value = evaluate(source, compiled, variables)?;
                    if value.is_none() || value.is_undefined() {
                        return Err(TemplateError(format!("`{source}` has no value")));
                    }
                    if matches!(value.kind(), ValueKind::Map | ValueKind::Seq | ValueKind::Iterable) {
                        return Err(TemplateError(format!(
                            "`{source}` is a list or a map; use `| json` or `| join(',')`"
                        )));
                    }
                    out.push_str(&each(value.to_string()));
                }
            }
            if out.len() > limits::TEMPLATE_BYTES_MAX {
                return Err(TemplateError(format!(
                    "`{}` yields more than {} bytes",
                    self.text(),
                    limits::TEMPLATE_BYTES_MAX
                )));
            }
        }
        Ok(out)
    }
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:?})", self.0.text)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) -> Result<(), TemplateError> {
    if text.contains("{%") || text.contains("{#") {
        return Err(TemplateError("blocks (`{% … %}`) are not part of the language".to_owned()));
    }
    if text.contains("}}") {
        return Err(TemplateError("`}}` without `{{` before it".to_owned()));
    }
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
    Ok(())
}

/// The place of the `}}` that ends an expression, text literals and nested braces passed over.
fn end_of_expression(source: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in outside_literals(source) {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' if source[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

fn outside_literals(source: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quote = None;
    let mut escaped = false;
    source.char_indices().filter(move |&(_, c)| match quote {
        Some(open) => {
            if escaped {
                escaped = false;
            } else if c == '\\' {
                escaped = true;
            } else if c == open {
                quote = None;
            }
            false
        }
        None => {
            if c == '"' || c == '\'' {
                quote = Some(c);
            }
            quote.is_none()
        }
    })
}

/// minijinja looks filters up when it runs; the language promises to say so before.
fn check_filters(source: &str) -> Result<(), TemplateError> {
    for (at, _) in outside_literals(source).filter(|&(_, c)| c == '|') {
        let name: String =
            source[at + 1..].trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue; // the expression parser says what is wrong here
        }
        let known = match ENVIRONMENT.empty_state().apply_filter(&name, &[]) {
            Err(error) => error.kind() != ErrorKind::UnknownFilter,
            Ok(_) => true,
        };
        if !known {
            return Err(TemplateError(format!("there is no filter `{name}`")));
        }
    }
    Ok(())
}

/// The same for tests (`x is defined`).
fn check_tests(source: &str) -> Result<(), TemplateError> {
    let code: Vec<(usize, char)> = outside_literals(source).collect();
    let words = code.chunk_by(|a, b| is_word(a.1) && is_word(b.1) && a.0 + a.1.len_utf8() == b.0);
    let words: Vec<String> = words.map(|word| word.iter().map(|(_, c)| *c).collect()).collect();
    let mut words = words.iter().map(String::as_str).filter(|word| !word.trim().is_empty()).peekable();
    while let Some(word) = words.next() {
        if word != "is" {
            continue;
        }
        words.next_if_eq(&"not");
        if let Some(name) = words.peek().filter(|name| name.starts_with(|c: char| c.is_alphabetic() || c == '_'))
            && let Err(error) = ENVIRONMENT.empty_state().perform_test(name, &[])
            && error.kind() == ErrorKind::UnknownTest
        {
            return Err(TemplateError(format!("there is no test `{name}`")));
        }
    }
    Ok(())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn shorten(source: &str) -> String {
    match source.char_indices().nth(limits::QUOTED_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &source[..at]),
        None => source.to_owned(),
    }
}

fn evaluate(source: &str, compiled: &Expression<'static, 'static>, variables: &Value) -> Result<Value, TemplateError> {
    compiled.eval(variables.clone()).map_err(|error| match error.kind() {
        ErrorKind::OutOfFuel => TemplateError(format!("`{source}` runs too long")),
        _ => TemplateError(format!("`{source}`: {}", reason(&error))),
    })
}

fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    }
}

fn to_json(source: &str, value: &Value) -> Result<serde_json::Value, TemplateError> {
    if let Some(moment) = value.downcast_object_ref::<Moment>() {
        return Ok(moment.json());
    }
    serde_json::to_value(value).map_err(|error| TemplateError(format!("`{source}`: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;
    use serde_json::json;

    fn value(text: &str) -> Option<serde_json::Value> {
        let variables = context! {
            config => context! { region => "eu", n => 3 }, tags => vec!["a", "b"], odd => "a/b ?#é..", up => "..", none => Value::from(()),
        };
        Template::parse(text).expect("parses").value(&variables).expect("evaluates")
    }

    #[test]
    fn one_expression_keeps_its_type_and_anything_else_is_text() {
        assert_eq!(value("{{ config.n }}"), Some(json!(3)));
        assert_eq!(value(" {{ config.n }}"), Some(json!(" 3")));
        assert_eq!(value("{{ tags }}"), Some(json!(["a", "b"])));
        assert_eq!(value("{{ '123' }}"), Some(json!("123")));
        assert_eq!(value("{{ missing }}"), None);
        assert_eq!(value("{{ missing | rfc3339 }}"), None);
        assert_eq!(value("{{ none }}"), None);
        assert_eq!(value("{{ '}}' ~ {'a': 1}.a }}"), Some(json!("}}1")));
        assert_eq!(value("{{ '2024-02-29' | add('1y') | date('%d.%m.%Y') }}"), Some(json!("28.02.2025")));
        assert_eq!(value("{{ '2024-02-29T00:00:00Z' | epoch }}"), Some(json!(1_709_164_800)));
    }

    #[test]
    fn a_path_value_is_one_segment() {
        let variables = context! { odd => "a/b ?#é..", up => ".." };
        let path = |text: &str| Template::parse(text).expect("parses").render_path(&variables);
        assert_eq!(path("/x/{{ odd }}/y").as_deref(), Ok("/x/a%2Fb%20%3F%23%C3%A9../y"));
        assert!(path("/x/{{ up }}/y").is_err());
        assert!(path("/x/{{ missing }}/y").is_err());
    }

    #[test]
    fn mistakes_are_found_when_it_is_parsed() {
        let message = |text: &str| Template::parse(text).expect_err("does not parse").0;
        assert!(message("{{ a | frob }}").contains("`frob`"));
        assert!(message("{{ a").contains("never closed"));
        assert!(message("{% if a %}").contains("blocks"));
        assert!(message("{{ a b }}").contains("`a b`"));
        assert!(message("{{ a is not definde }}").contains("no test `definde`"));
        assert!(Template::parse("{{ a is defined and this.is == 'is it' and b is not none }}").is_ok());
        let deep = ["not ", "-", "a.", "a|", "a if b else ", "a ~ ", "a ** ", "(", "[", "{1:"];
        for piece in deep {
            for times in [100, 100_000] {
                drop(Template::parse(&format!("{{{{ {}a }}}}", piece.repeat(times))));
            }
        }
        assert!(message(&"{{ a }}".repeat(10_000)).contains("too long"));
    }

    #[test]
    fn a_template_cannot_hang() {
        let template = Template::parse("{{ range(9999) | map('upper') | list | length }}").expect("parses");
        let nested = Template::parse("{{ range(99999999) | list }}").expect("parses");
        assert!(template.value(&context! {}).is_ok() || template.value(&context! {}).is_err());
        assert!(nested.value(&context! {}).is_err());
    }

    #[test]
    fn variables_are_known() {
        let template = Template::parse("{{ config.region }}-{{ watermark | epoch }}").expect("parses");
        assert_eq!(template.variables().iter().map(String::as_str).collect::<Vec<_>>(), ["config.region", "watermark"]);
        assert!(template.names("config") && !template.names("record"));
    }
}
