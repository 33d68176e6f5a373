//! A connection more in `headwater.yaml`, with everything else in it as it was.

use serde_json::{Map, Value, json};

use crate::cli::output::Failure;
use crate::spec::yaml;

/// A connection as it is to be written.
pub(super) struct Entry<'a> {
    pub(super) name: &'a str,
    pub(super) provider: &'a str,
    pub(super) auth: Option<&'a str>,
    pub(super) config: &'a Map<String, Value>,
}

impl Entry<'_> {
    fn value(&self) -> Value {
        let mut value = json!({ "provider": self.provider });
        if let Some(auth) = self.auth {
            value["auth"] = auth.into();
        }
        if !self.config.is_empty() {
            value["config"] = self.config.clone().into();
        }
        value
    }

    /// Its lines; a value is written as JSON, which is YAML.
    fn lines(&self, indent: &str) -> Vec<String> {
        let mut lines = vec![format!("{indent}{}:", self.name), format!("{indent}  provider: {}", self.provider)];
        lines.extend(self.auth.map(|auth| format!("{indent}  auth: {auth}")));
        if !self.config.is_empty() {
            lines.push(format!("{indent}  config:"));
            lines.extend(self.config.iter().map(|(name, value)| format!("{indent}    {name}: {value}")));
        }
        lines
    }
}

/// Whether the project file has a connection of this name.
pub(super) fn has_connection(text: &str, name: &str) -> bool {
    yaml::parse(text).is_ok_and(|document| document.get("connections").and_then(|all| all.get(name)).is_some())
}

/// The text of the project file with `entry` behind its connections.
///
/// # Errors
/// The file is written in a way in which that cannot be done line by line: the person is shown what to add.
pub(super) fn with_connection(text: &str, entry: &Entry<'_>) -> Result<String, Failure> {
    let refuse = || {
        let lines = entry.lines("  ").join("\n");
        let hint = format!("add it yourself and run this again:\n\nconnections:\n{lines}\n");
        Failure::user("`headwater.yaml` is written in a way in which no connection can be added by line", Some(hint))
    };
    let Ok(mut expected) = yaml::parse(text) else { return Err(refuse()) };
    let added = inserted(text, entry);
    let Value::Object(document) = &mut expected else { return Err(refuse()) };
    let connections = document.entry("connections").or_insert_with(|| json!({}));
    if connections.is_null() {
        *connections = json!({});
    }
    let Value::Object(connections) = connections else { return Err(refuse()) };
    connections.insert(entry.name.to_owned(), entry.value());
    // what was meant is compared with what came out
    if yaml::parse(&added).is_ok_and(|value| value == expected) { Ok(added) } else { Err(refuse()) }
}

fn inserted(text: &str, entry: &Entry<'_>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let is_key = |line: &String| {
        line.strip_prefix("connections:").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '#']))
    };
    let Some(at) = lines.iter().position(is_key) else {
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        lines.extend([String::new(), "connections:".to_owned()]);
        lines.extend(entry.lines("  "));
        return lines.join("\n") + "\n";
    };
    let value = lines[at]["connections:".len()..].split('#').next().unwrap_or_default().trim();
    if value == "{}" || value == "null" || value == "~" {
        lines[at] = "connections:".to_owned();
    }
    let is_inside = |line: &String| line.starts_with([' ', '\t', '#']) || line.trim().is_empty();
    let mut end = at + 1 + lines[at + 1..].iter().take_while(|line| is_inside(line)).count();
    // comments and empty lines before the next key belong to that
    while end > at + 1 && (lines[end - 1].trim().is_empty() || lines[end - 1].starts_with('#')) {
        end -= 1;
    }
    let first = lines[at + 1..end].iter().find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    let indent = first.map_or_else(|| "  ".to_owned(), |line| " ".repeat(line.len() - line.trim_start().len()));
    let new = entry.lines(&indent);
    lines.splice(end..end, new);
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(text: &str) -> Result<String, String> {
        let config = Map::from_iter([("region".to_owned(), json!("eu: #1"))]);
        let entry = Entry { name: "acme-eu", provider: "acme", auth: Some("key"), config: &config };
        with_connection(text, &entry).map_err(|failure| failure.hint.unwrap_or_default())
    }

    #[test]
    fn a_connection_comes_behind_the_others_and_all_else_stays() {
        let block = |indent: &str| {
            ["acme-eu:", "  provider: acme", "  auth: key", "  config:", "    region: \"eu: #1\""]
                .map(|line| format!("{indent}{line}\n"))
                .concat()
        };
        let table = [
            ("database: a.duckdb\n", "database: a.duckdb\n\nconnections:\n", "  ", ""),
            ("database: a.duckdb\nconnections: {}  # none yet\n", "database: a.duckdb\nconnections:\n", "  ", ""),
            ("connections:\ndatabase: a.duckdb\n", "connections:\n", "  ", "database: a.duckdb\n"),
            (
                "connections:\n    b: # one\n        provider: p\n\n# who is told\nnotify: []\ndatabase: d\n",
                "connections:\n    b: # one\n        provider: p\n",
                "    ",
                "\n# who is told\nnotify: []\ndatabase: d\n",
            ),
            (
                "database: d\nconnections:\n  b: { provider: p }",
                "database: d\nconnections:\n  b: { provider: p }\n",
                "  ",
                "",
            ),
        ];
        for (text, before, indent, after) in table {
            assert_eq!(added(text).expect(text), format!("{before}{}{after}", block(indent)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_done_by_line_is_left_to_the_person() {
        for text in ["connections: { b: { provider: p } }\ndatabase: d\n", "{ database: d }\n", "connections: [\n"] {
            let hint = added(text).expect_err(text);
            assert!(hint.contains("connections:\n  acme-eu:\n    provider: acme\n"), "{hint}");
        }
    }
}
