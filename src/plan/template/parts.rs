//! A template: text with expressions in it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use minijinja::value::Value;
use minijinja::{ErrorKind, Expression};
use url::Url;

use super::TemplateError;
use super::budget::Budget;
use super::check::{check, is_constant};
use super::encoding::percent_encoded;
use super::environment::ENVIRONMENT;
use super::lower::lower;
use super::syntax;
use super::table::shown;
use super::text::{json_of, text_of};
use crate::plan::limits;

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
    Expression(Compiled),
}

/// An expression, checked, in minijinja's hands.
struct Compiled {
    source: String,
    expression: Expression<'static, 'static>,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// A syntax error, an unclosed `{{`, a `{% … %}` block, a filter or test that does not exist or gets wrong arguments, or an
    /// expression without variables that fails.
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
            let compiled = Compiled::new(inside[..close].starts_with('-'), source)?;
            variables.extend(compiled.expression.undeclared_variables(true));
            parts.push(Part::Expression(compiled));
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
            Part::Expression(_) => stand_in.to_owned(),
        };
        self.0.parts.iter().map(part).collect()
    }

    /// Whether it is plain text without any expression.
    pub fn is_fixed(&self) -> bool {
        self.0.parts.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The origin of a URL whose scheme, host and port stand in the text, whatever the expressions bring.
    pub fn written_origin(&self) -> Option<Url> {
        // two digits fit into a host, a port and a path alike: what they change is not written out
        let [one, other] = ["1", "2"].map(|stand_in| Url::parse(&self.sample(stand_in)).ok());
        one.filter(|one| other.is_some_and(|other| other.origin() == one.origin() && one.origin().is_tuple()))
    }

    /// Evaluates to a typed value; `None` when a template of one expression yields none or undefined.
    ///
    /// # Errors
    /// A failing filter, no fuel left, too much made on the way, a value that JSON does not have, too long a text, or a hole in
    /// text (`a-{{ none }}-b`).
    pub fn value(&self, variables: &Value) -> Result<Option<serde_json::Value>, TemplateError> {
        if let [Part::Expression(expression)] = self.0.parts.as_slice() {
            let value = expression.evaluate(variables)?;
            if value.is_none() || value.is_undefined() {
                return Ok(None);
            }
            return json_of(&value, &mut Budget::default()).map(Some).map_err(|error| expression.error(&error));
        }
        self.text_with(variables, |_, text| Ok(text)).map(|text| Some(text.into()))
    }

    /// Evaluates to text; `None` when a template of one expression yields none or undefined. Numbers, `true` and `false` print as
    /// in JSON.
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

    /// Evaluates to a URL path (or whole URL): the text parts stay, each value is percent-encoded as one segment. A value at the
    /// very start, alone or before a `/`, is a URL itself and stays.
    ///
    /// # Errors
    /// As [`Template::render`]; also a value that is empty, `.` or `..`, or makes a segment such as `%2e.` with what stands
    /// beside it: a URL parser (WHATWG) would go up a level there.
    pub fn render_path(&self, variables: &Value) -> Result<String, TemplateError> {
        let parts = self.0.parts.as_slice();
        if let [Part::Expression(_)] = parts {
            let whole =
                self.render(variables)?.ok_or_else(|| TemplateError(format!("`{}` has no value", self.text())))?;
            // a URL, or a path that was put together: what would lead elsewhere in it must be encoded
            let path = whole.split(['?', '#']).next().unwrap_or_default();
            let is_url = path.starts_with("http://") || path.starts_with("https://");
            return match dot_segment(path).filter(|_| !is_url) {
                Some(segment) => {
                    Err(TemplateError(format!("`{}`: `{segment}` cannot be a segment of a path", self.text())))
                }
                None if !is_url && whole.contains(['#', '\\']) => {
                    let hint = "encode what it is put together of: `| urlencode`";
                    Err(TemplateError(format!("`{}`: a path has no `#` and no backslash; {hint}", self.text())))
                }
                None => Ok(whole),
            };
        }
        let starts_with_url = matches!(parts, [Part::Expression(_), Part::Text(text), ..] if text.starts_with('/'));
        let path = self.text_with(variables, |at, value| match value.as_str() {
            "" | "." | ".." => Err(format!("`{value}` cannot be a part of a path")),
            _ if at == 0 && starts_with_url => start_of_url(&value),
            value => Ok(percent_encoded(value)),
        })?;
        match dot_segment(&path) {
            Some(segment) if !self.is_fixed() => {
                Err(TemplateError(format!("`{}`: `{segment}` cannot be a segment of a path", self.text())))
            }
            _ => Ok(path),
        }
    }

    /// Evaluates to a path into a record (RFC 9535): each value is the name of one member, whatever stands in it. Within quotes it is
    /// escaped; outside it must be a plain name.
    ///
    /// # Errors
    /// As [`Template::render`]; also a value outside quotes that is no plain name.
    pub fn render_member_path(&self, variables: &Value) -> Result<String, TemplateError> {
        let parts = self.0.parts.as_slice();
        if let [Part::Expression(_)] = parts {
            return self.render(variables)?.ok_or_else(|| TemplateError(format!("`{}` has no value", self.text())));
        }
        let quote_at = |at: usize| {
            let texts = parts.iter().take(at).filter_map(|part| match part {
                Part::Text(text) => Some(text.chars()),
                Part::Expression(_) => None,
            });
            texts.flatten().fold(None, |open, c| match open {
                None if c == '\'' || c == '"' => Some(c),
                Some(quote) if c == quote => None,
                open => open,
            })
        };
        self.text_with(variables, |at, value| match quote_at(at) {
            Some(quote) => Ok(value.replace('\\', "\\\\").replace(quote, &format!("\\{quote}"))),
            None if !value.is_empty() && value.chars().all(|c| c == '_' || c.is_alphanumeric()) => Ok(value),
            None => Err(format!("`{value}` is no plain name: put the template in quotes, `['{{{{ … }}}}']`")),
        })
    }

    /// Evaluates to yes or no: none, false, 0 and empty mean no.
    ///
    /// # Errors
    /// As [`Template::value`].
    pub fn is_true(&self, variables: &Value) -> Result<bool, TemplateError> {
        match self.0.parts.as_slice() {
            [Part::Expression(expression)] => Ok(expression.evaluate(variables)?.is_true()),
            _ => Ok(self.render(variables)?.is_some_and(|text| !text.is_empty())),
        }
    }

    /// The text parts, and between them what `each` makes of the values; it is told which part a value is.
    fn text_with(
        &self,
        variables: &Value,
        each: impl Fn(usize, String) -> Result<String, String>,
    ) -> Result<String, TemplateError> {
        let mut out = String::new();
        for (at, part) in self.0.parts.iter().enumerate() {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Expression(expression) => {
                    let value = expression.evaluate(variables)?;
                    let text = text_of(&value).map_err(|error| expression.error(&error))?;
                    let text = each(at, text).map_err(|wrong| TemplateError(format!("`{}`: {wrong}", self.text())))?;
                    out.push_str(&text);
                }
            }
            if out.len() > limits::TEMPLATE_BYTES_MAX {
                let most = limits::TEMPLATE_BYTES_MAX;
                return Err(TemplateError(format!("`{}` yields more than {most} bytes", self.text())));
            }
        }
        Ok(out)
    }
}

impl Compiled {
    fn new(is_dashed: bool, source: &str) -> Result<Self, TemplateError> {
        let wrong = |reason: String| TemplateError(format!("`{}`: {reason}", shorten(source)));
        if is_dashed {
            return Err(wrong("`{{-` is not part of the language; a negative number is `{{ -1 }}`".to_owned()));
        }
        let parsed = syntax::parse(source).map_err(wrong)?;
        check(&parsed).map_err(TemplateError)?;
        let expression = ENVIRONMENT.compile_expression_owned(lower(&parsed)).map_err(|error| wrong(reason(&error)))?;
        let compiled = Self { source: source.to_owned(), expression };
        if is_constant(&parsed) {
            compiled.evaluate(&Value::UNDEFINED)?;
        }
        Ok(compiled)
    }

    fn evaluate(&self, variables: &Value) -> Result<Value, TemplateError> {
        self.expression.eval(variables.clone()).map_err(|error| self.error(&error))
    }

    fn error(&self, error: &minijinja::Error) -> TemplateError {
        let source = shorten(&self.source);
        match error.kind() {
            ErrorKind::OutOfFuel => TemplateError(format!("`{source}` runs too long")),
            _ => match reason(error) {
                // the words of `text_of`, which knows no source
                reason if reason.starts_with("it ") => TemplateError(format!("`{source}`{}", &reason[2..])),
                reason => TemplateError(format!("`{source}`: {reason}")),
            },
        }
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

/// A value that begins a URL, without what would move the text behind it to another place.
fn start_of_url(value: &str) -> Result<String, String> {
    let is_url = ["http://", "https://"].iter().any(|scheme| value.starts_with(scheme));
    if !is_url || value.contains(|c: char| matches!(c, '?' | '#' | '\\') || c.is_whitespace() || c.is_control()) {
        return Err(format!("{} is not a URL that a path can follow", shown(&Value::from(value))));
    }
    Ok(value.trim_end_matches('/').to_owned())
}

/// The first segment of the path that a URL parser takes for `.` or `..` (WHATWG URL, "single-dot" and "double-dot URL path segment").
fn dot_segment(url: &str) -> Option<&str> {
    let path = url.split(['?', '#']).next()?;
    path.split(['/', '\\']).find(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        matches!(plain.as_str(), "." | "..")
    })
}

/// The beginning of a text, for a message.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(limits::QUOTED_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// What minijinja or a filter says, as a fragment.
pub(super) fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) if detail.contains("recursion limit") => "it is nested too deeply".to_owned(),
        Some(detail) => detail.to_owned(),
        None => error.kind().to_string(),
    }
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
    fn variables_are_known() {
        let template = Template::parse("{{ config.region }}-{{ watermark | epoch }}").expect("parses");
        assert_eq!(template.variables().iter().map(String::as_str).collect::<Vec<_>>(), ["config.region", "watermark"]);
        assert!(template.names("config") && !template.names("record"));
    }
}
