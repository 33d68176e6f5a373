//! Templates, as tables of what goes in and what comes out: `tests/templates/*.yaml`.

use headwater::plan::{Moment, Template, TimeFormat};
use minijinja::value::{Serde, Value};
use serde::Deserialize;
use serde_json::Value as Json;

/// One file: the variables of all its cases, and the cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[serde(default)]
    with: serde_json::Map<String, Json>,
    /// variables that are times, by name: RFC 3339
    #[serde(default)]
    times: std::collections::BTreeMap<String, String>,
    cases: Vec<Case>,
}

/// A template and what becomes of it: exactly one of the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    of: String,
    /// the typed value
    gives: Option<Json>,
    /// no value at all
    #[serde(default)]
    nothing: bool,
    /// the path
    path: Option<String>,
    /// whether it is true
    holds: Option<bool>,
    /// a part of why it does not parse, and of the hint
    refused: Option<String>,
    hint: Option<String>,
    /// a part of why it cannot be evaluated
    fails: Option<String>,
    /// a part of why it is no path
    no_path: Option<String>,
}

fn variables(table: &Table) -> Value {
    let times = table.times.iter().map(|(name, at)| {
        let at = chrono::DateTime::parse_from_rfc3339(at).expect("a time").to_utc();
        (name.clone(), Value::from_object(Moment { at, format: TimeFormat::Rfc3339, day: false }))
    });
    Value::from_pairs(table.with.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))).chain(times))
}

/// What is wrong with a case, if anything.
fn failure(case: &Case, variables: &Value) -> Option<String> {
    let said = |wanted: &str, said: String| (!said.contains(wanted)).then_some(said);
    let template = match (Template::parse(&case.of), &case.refused) {
        (Err(error), Some(refused)) => {
            return said(refused, error.to_string())
                .or_else(|| said(case.hint.as_deref().unwrap_or_default(), error.hint().unwrap_or_default()));
        }
        (Err(error), None) => return Some(format!("does not parse: {error}")),
        (Ok(_), Some(_)) => return Some("parses".to_owned()),
        (Ok(template), None) => template,
    };
    if let Some(wanted) = &case.path {
        let path = template.render_path(variables);
        return (path.as_ref().ok() != Some(wanted)).then(|| format!("{path:?}"));
    }
    if let Some(wanted) = &case.no_path {
        return template.render_path(variables).map_or_else(|error| said(wanted, error.to_string()), Some);
    }
    if let Some(wanted) = case.holds {
        let holds = template.is_true(variables);
        return (holds != Ok(wanted)).then(|| format!("{holds:?}"));
    }
    match (template.value(variables), &case.fails) {
        (Err(error), Some(fails)) => said(fails, error.to_string()),
        (Err(error), None) => Some(error.to_string()),
        (Ok(value), None) if value == case.gives && (case.nothing || value.is_some()) => None,
        (Ok(value), _) => Some(format!("{value:?}")),
    }
}

#[test]
fn templates_give_what_the_tables_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/templates");
    let (mut cases, mut failures) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("a file");
        let table: Table = serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let variables = variables(&table);
        for case in &table.cases {
            cases += 1;
            if let Some(failure) = failure(case, &variables) {
                failures.push(format!("{}: {}\n    {failure}", path.file_name().expect("a name").display(), case.of));
            }
        }
    }
    assert!(cases > 300, "{cases} cases");
    assert!(failures.is_empty(), "{} of {cases} cases:\n{}", failures.len(), failures.join("\n"));
}
