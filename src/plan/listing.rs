//! What there is: the providers with their ways in, syncs, actions and tables, for people who choose among them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::compile::{Documents, Drafts, Typed, of_provider};
use super::{ModelPlan, auth};
use crate::spec::{CategorySpec, TestSpec};

/// A provider, as a list of providers shows it. Serialises to an object of these members.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderEntry {
    /// its name
    pub name: String,
    /// what people call it
    pub title: Option<String>,
    /// where its API is documented
    pub docs: Option<String>,
    /// where the catalogue lists it
    pub category: Option<CategorySpec>,
    /// the ways to prove who asks
    pub auth: Vec<WayEntry>,
    /// JSON Schema of the settings that a connection gives
    pub config: Option<Value>,
    /// by name
    pub syncs: Vec<SyncEntry>,
    /// by name
    pub actions: Vec<ActionEntry>,
    /// by name
    pub tables: Vec<TableEntry>,
}

impl ProviderEntry {
    /// What `headwater.yaml` says of a connection that goes the first way in: YAML.
    pub fn connection(&self) -> String {
        let shouted = |text: &str| text.to_ascii_uppercase().replace('-', "_");
        let mut text = format!("connections:\n  my-{}:\n    provider: {}\n", self.name, self.name);
        if let Some(WayEntry { name, kind: _, credentials }) = self.auth.first() {
            if self.auth.len() > 1 {
                let others: Vec<&str> = self.auth.iter().skip(1).map(|way| way.name.as_str()).collect();
                text += &format!("    auth: {name}   # or {}\n", others.join(", "));
            }
            let own = |secret: &String| format!("{secret}: \"${{{}_{}}}\"", shouted(&self.name), shouted(secret));
            let credentials: Vec<String> = credentials.iter().map(own).collect();
            if !credentials.is_empty() {
                text += &format!("    credentials: {{ {} }}\n", credentials.join(", "));
            }
        }
        let required = self.config.as_ref().and_then(|schema| schema.get("required")).and_then(Value::as_array);
        let required: Vec<String> =
            required.into_iter().flatten().filter_map(Value::as_str).map(|name| format!("{name}: …")).collect();
        if !required.is_empty() {
            text += &format!("    config: {{ {} }}\n", required.join(", "));
        }
        text
    }
}

/// A way to prove who asks.
#[derive(Debug, Clone, Serialize)]
pub struct WayEntry {
    /// its name, as a connection picks it
    pub name: String,
    /// the word of the language: `api_key`, `authorization_code`
    pub kind: String,
    /// the names of the secrets that a connection gives
    pub credentials: Vec<String>,
}

/// A sync.
#[derive(Debug, Clone, Serialize)]
pub struct SyncEntry {
    /// its name
    pub name: String,
    /// one sentence
    pub description: Option<String>,
    /// where the endpoint is documented
    pub docs: Option<String>,
    /// what the credentials must be allowed to do
    pub scopes: Vec<String>,
    /// JSON Schema of its parameters
    pub input: Option<Value>,
    /// the tables that it fills, as `<schema>.<table>`
    pub tables: Vec<String>,
    /// whether a run asks only for what changed since the one before
    pub incremental: bool,
    /// what tells that a record is gone, as the language calls it: `absence`, `flag`
    pub deletes: Option<String>,
    /// whether events of the provider change its rows
    pub webhooks: bool,
    /// how many tests run it
    pub tests: usize,
}

/// An action.
#[derive(Debug, Clone, Serialize)]
pub struct ActionEntry {
    /// its name
    pub name: String,
    /// one sentence
    pub description: Option<String>,
    /// where the endpoint is documented
    pub docs: Option<String>,
    /// what the credentials must be allowed to do
    pub scopes: Vec<String>,
    /// JSON Schema of what a caller gives
    pub input: Option<Value>,
    /// how many tests call it
    pub tests: usize,
}

/// A table.
#[derive(Debug, Clone, Serialize)]
pub struct TableEntry {
    /// `<schema>.<table>`
    pub name: String,
    /// one sentence
    pub description: Option<String>,
    /// the columns that tell one record from another
    pub key: Vec<String>,
    /// in the order of the table
    pub columns: Vec<ColumnEntry>,
}

/// A column.
#[derive(Debug, Clone, Serialize)]
pub struct ColumnEntry {
    /// its name
    pub name: String,
    /// its DuckDB type
    #[serde(rename = "type")]
    pub column_type: String,
    /// one sentence
    pub description: Option<String>,
}

/// The providers that were compiled, by name.
pub(super) fn entries(documents: &Documents, drafts: &Drafts<'_>) -> Vec<ProviderEntry> {
    let compiled = documents.providers.iter().filter(|(name, _)| drafts.providers.contains_key(name.as_str()));
    let entries = compiled.map(|(name, typed)| {
        let spec = &typed.spec;
        let ways = drafts.providers[name.as_str()].auth.iter();
        ProviderEntry {
            name: name.clone(),
            title: spec.title.clone(),
            docs: spec.docs.clone(),
            category: spec.category,
            auth: ways
                .map(|(way, plan)| WayEntry {
                    name: way.clone(),
                    kind: choice(typed, &["auth", way]).unwrap_or_default(),
                    credentials: auth::credentials(plan).into_iter().collect(),
                })
                .collect(),
            config: spec.config.clone(),
            syncs: syncs(documents, drafts, name),
            actions: actions(documents, name),
            tables: tables(drafts, name),
        }
    });
    entries.collect()
}

/// The one key of a choice in a document.
fn choice<T>(typed: &Typed<T>, path: &[&str]) -> Option<String> {
    let node = path.iter().try_fold(&typed.document.value, |node, key| node.get(key))?;
    node.as_object()?.keys().next().cloned()
}

fn syncs(documents: &Documents, drafts: &Drafts<'_>, provider: &str) -> Vec<SyncEntry> {
    let known = of_provider(&documents.syncs, provider).filter_map(|(name, typed)| {
        let draft = drafts.syncs.get(&(provider, name))?;
        let filled = std::iter::once(&draft.model).chain(draft.outputs.iter().map(|output| &output.model));
        let mut tables: Vec<String> = filled.flat_map(|model| with_children(model)).map(table_name).collect();
        let mut seen = std::collections::BTreeSet::new();
        tables.retain(|table| seen.insert(table.clone()));
        Some(SyncEntry {
            name: name.to_owned(),
            description: typed.spec.description.clone(),
            docs: typed.spec.docs.clone(),
            scopes: typed.spec.scopes.clone(),
            input: typed.spec.input.clone(),
            tables,
            incremental: draft.incremental.is_some() || draft.token.is_some(),
            deletes: choice(typed, &["deletes"]),
            webhooks: !draft.on_webhook.is_empty(),
            tests: count(documents, provider, |test| test.sync.as_deref() == Some(name)),
        })
    });
    known.collect()
}

fn actions(documents: &Documents, provider: &str) -> Vec<ActionEntry> {
    let known = of_provider(&documents.actions, provider).map(|(name, typed)| ActionEntry {
        name: name.to_owned(),
        description: typed.spec.description.clone(),
        docs: typed.spec.docs.clone(),
        scopes: typed.spec.scopes.clone(),
        input: typed.spec.input.clone(),
        tests: count(documents, provider, |test| test.action.as_deref() == Some(name)),
    });
    known.collect()
}

fn count(documents: &Documents, provider: &str, is_meant: impl Fn(&TestSpec) -> bool) -> usize {
    of_provider(&documents.tests, provider).filter(|(_, typed)| is_meant(&typed.spec)).count()
}

/// The tables that the syncs of a provider fill, by name.
fn tables(drafts: &Drafts<'_>, provider: &str) -> Vec<TableEntry> {
    let filling = drafts.syncs.iter().filter(|((of, _), _)| *of == provider).map(|(_, draft)| draft);
    let models =
        filling.flat_map(|draft| std::iter::once(&draft.model).chain(draft.outputs.iter().map(|one| &one.model)));
    let tables: BTreeMap<String, TableEntry> = models.flat_map(|model| with_children(model)).map(table).collect();
    tables.into_values().collect()
}

/// A model and those of its nested lists.
fn with_children(model: &ModelPlan) -> impl Iterator<Item = &ModelPlan> {
    std::iter::once(model).chain(model.children.iter().map(|child| child.model.as_ref()))
}

fn table_name(model: &ModelPlan) -> String {
    format!("{}.{}", model.schema, model.table)
}

fn table(model: &ModelPlan) -> (String, TableEntry) {
    let columns = model.columns.iter().map(|column| ColumnEntry {
        name: column.name.clone(),
        column_type: column.column_type.to_string(),
        description: column.description.clone(),
    });
    let entry = TableEntry {
        name: table_name(model),
        description: model.description.clone(),
        key: model.key.iter().map(|at| model.columns[*at].name.clone()).collect(),
        columns: columns.collect(),
    };
    (table_name(model), entry)
}
