//! Pages out of templates, which escape whatever is put into them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};

use crate::plan::ProviderEntry;

/// A file of the site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// its name in the one folder of the site: `index.html`
    pub file: String,
    /// its text
    pub text: String,
}

/// What the site calls a provider that says nothing of its category.
const OTHERS: &str = "others";

/// No template says `safe`: what is HTML stands in the templates.
const TEMPLATES: [(&str, &str); 3] = [
    ("frame.html", include_str!("templates/frame.html")),
    ("index.html", include_str!("templates/index.html")),
    ("provider.html", include_str!("templates/provider.html")),
];

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text).expect("the templates of the binary are whole");
    }
    environment
});

/// All files of the site: a page that lists the providers by category, a page of each provider, the style sheet and the icon.
///
/// # Errors
/// A template that fails, which is a fault of headwater.
pub fn pages(providers: &[ProviderEntry]) -> Result<Vec<Page>, minijinja::Error> {
    let fixed = [
        ("style.css", include_str!("../serve/page/templates/style.css")),
        ("icon.svg", include_str!("../serve/page/templates/icon.svg")),
    ];
    let mut pages: Vec<Page> = fixed.map(|(file, text)| Page { file: file.to_owned(), text: text.to_owned() }).into();
    pages.push(Page { file: "index.html".to_owned(), text: page("index.html", &index(providers))? });
    for provider in providers {
        let shown = json!({ "title": title(provider), "provider": of(provider) });
        pages.push(Page { file: file(&provider.name), text: page("provider.html", &shown)? });
    }
    Ok(pages)
}

fn page(template: &str, shown: &Value) -> Result<String, minijinja::Error> {
    ENVIRONMENT.get_template(template)?.render(Serde(json!({ "page": shown })))
}

fn title(provider: &ProviderEntry) -> &str {
    provider.title.as_deref().unwrap_or(&provider.name)
}

/// The name of a provider is a plain word; one called `index` does not take the first page away.
fn file(provider: &str) -> String {
    format!("provider-{provider}.html")
}

fn index(providers: &[ProviderEntry]) -> Value {
    let mut categories: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for provider in providers {
        let syncs: Vec<&str> = provider.syncs.iter().map(|sync| sync.name.as_str()).collect();
        let actions: Vec<&str> = provider.actions.iter().map(|action| action.name.as_str()).collect();
        let row = json!({
            "name": provider.name, "title": title(provider), "at": file(&provider.name),
            "syncs": syncs.join(", "), "actions": actions.join(", "),
        });
        let category = provider.category.map_or(OTHERS, |category| category.name());
        categories.entry(category.to_owned()).or_default().push(row);
    }
    let total = |of: fn(&ProviderEntry) -> usize| providers.iter().map(of).sum::<usize>();
    json!({
        "title": "Providers", "provider": Value::Null,
        "categories": categories.into_iter().map(|(name, rows)| json!({ "name": name, "rows": rows })).collect::<Vec<_>>(),
        "providers": providers.len(),
        "syncs": total(|provider| provider.syncs.len()),
        "actions": total(|provider| provider.actions.len()),
    })
}

fn of(provider: &ProviderEntry) -> Value {
    let mut shown = json!(provider);
    shown["docs"] = json!(link(provider.docs.as_deref()));
    shown["settings"] = parameters(provider.config.as_ref());
    shown["connection"] = json!(provider.connection());
    let syncs = provider.syncs.iter().map(|sync| (sync.docs.as_deref(), sync.input.as_ref()));
    told(&mut shown["syncs"], syncs);
    let actions = provider.actions.iter().map(|action| (action.docs.as_deref(), action.input.as_ref()));
    told(&mut shown["actions"], actions);
    shown
}

/// Puts what is made of `docs` and `input` beside the rest.
fn told<'e>(entries: &mut Value, of: impl Iterator<Item = (Option<&'e str>, Option<&'e Value>)>) {
    for (entry, (docs, input)) in entries.as_array_mut().into_iter().flatten().zip(of) {
        entry["docs"] = json!(link(docs));
        entry["parameters"] = parameters(input);
    }
}

/// An address that a browser may follow: a file can say `javascript:` as well.
fn link(docs: Option<&str>) -> Option<&str> {
    docs.filter(|docs| docs.starts_with("https://") || docs.starts_with("http://"))
}

/// The properties of a JSON Schema as rows of a table.
fn parameters(schema: Option<&Value>) -> Value {
    let required = |name: &str| {
        let names = schema.and_then(|schema| schema.get("required")).and_then(Value::as_array);
        names.is_some_and(|names| names.iter().any(|required| required == name))
    };
    let properties = schema.and_then(|schema| schema.get("properties")).and_then(Value::as_object);
    let rows = properties.into_iter().flatten().map(|(name, property)| {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        json!({
            "name": name,
            "type": property.get("type").map(text),
            "required": required(name),
            "default": property.get("default").map(text),
            "choices": property.get("enum").and_then(Value::as_array)
                .map(|values| values.iter().map(text).collect::<Vec<_>>().join(", ")),
            "description": property.get("description").map(text),
        })
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{ColumnEntry, SyncEntry, TableEntry, WayEntry};

    fn provider(name: &str, title: &str) -> ProviderEntry {
        let sync = SyncEntry {
            name: "people".to_owned(),
            description: Some("All <people>.".to_owned()),
            docs: Some("javascript:alert(1)".to_owned()),
            scopes: vec!["people.read".to_owned()],
            input: Some(
                json!({ "required": ["list"], "properties": { "list": { "type": "string", "description": "Which \"list\"" } } }),
            ),
            tables: vec![format!("{name}.people")],
            incremental: true,
            deletes: Some("flag".to_owned()),
            webhooks: false,
            tests: 1,
        };
        let column = ColumnEntry { name: "id".to_owned(), column_type: "BIGINT".to_owned(), description: None };
        ProviderEntry {
            name: name.to_owned(),
            title: Some(title.to_owned()),
            docs: Some("https://example.com/docs?a=1&b=2".to_owned()),
            category: None,
            auth: vec![WayEntry {
                name: "key".to_owned(),
                kind: "api_key".to_owned(),
                credentials: vec!["api_key".to_owned()],
            }],
            config: None,
            syncs: vec![sync],
            actions: Vec::new(),
            tables: vec![TableEntry {
                name: format!("{name}.people"),
                description: None,
                key: vec!["id".to_owned()],
                columns: vec![column],
            }],
        }
    }

    #[test]
    fn what_files_say_is_text_and_no_html() {
        let pages = pages(&[provider("index", "<script>x</script>"), provider("b", "B & C")]).expect("pages");
        let names: Vec<&str> = pages.iter().map(|page| page.file.as_str()).collect();
        assert_eq!(names, ["style.css", "icon.svg", "index.html", "provider-index.html", "provider-b.html"]);
        let html: String = pages.iter().skip(2).map(|page| page.text.as_str()).collect();
        assert!(!html.contains("<script") && !html.contains("javascript:") && !html.contains("<people>"));
        assert!(html.contains("All &lt;people&gt;.") && html.contains("B &amp; C"));
        assert!(html.contains("2 providers, 2 syncs and 0 actions"));
    }
}
