//! What the schemas say, in the order of a document: the sections (types that have words of their own), their words, what each takes.

use std::collections::HashMap;

use indexmap::IndexMap;
use serde_json::{Map, Value};

use crate::spec::schema::{Kind, is_choice};

/// A kind of document to describe.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// the page's name: `sync`
    pub name: &'s str,
    /// where such a document stands, for people
    pub folder: &'s str,
    /// the JSON Schema (draft 2020-12) of its documents
    pub schema: &'s Value,
}

impl Subject<'static> {
    /// Every kind of document that there is.
    pub fn all() -> Vec<Self> {
        Kind::ALL.map(|kind| Self { name: kind.name(), folder: kind.folder(), schema: kind.schema() }).into()
    }
}

/// Tells one section from another: a root is `#` and its subject, a type its name, what stands inside a type that and its JSON Pointer.
pub(super) type Id = String;

/// All that can be written.
#[derive(Debug, Default)]
pub(super) struct Outline<'s> {
    pub(super) sections: IndexMap<Id, Section<'s>>,
}

/// A type that has words.
#[derive(Debug)]
pub(super) struct Section<'s> {
    pub(super) sort: Sort,
    /// its descriptions, the widest first
    pub(super) about: Vec<&'s str>,
    /// what may stand in its place
    pub(super) short: Vec<Form>,
    pub(super) words: Vec<Word<'s>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// a map with some of the words
    Map,
    /// a map with exactly one of the words
    Choice,
    /// one of the words itself
    Values,
}

#[derive(Debug)]
pub(super) struct Word<'s> {
    pub(super) name: &'s str,
    pub(super) takes: Vec<Form>,
    pub(super) required: bool,
    pub(super) default: Option<&'s Value>,
    pub(super) meaning: Option<&'s str>,
}

/// One way to write a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// with the words of a section
    Section(Id),
    /// any names, each with one of these
    Named(Vec<Form>),
    /// a list of these
    List(Vec<Form>),
    /// all else, in words for one and for many
    Plain { one: String, many: String },
}

impl Form {
    fn plain(one: impl Into<String>) -> Self {
        let one = one.into();
        Self::Plain { many: one.clone(), one }
    }

    fn any() -> Self {
        Self::counted("any value", "")
    }

    fn map() -> Self {
        Self::counted("map", "")
    }

    fn text() -> Self {
        Self::plain("text")
    }

    fn counted(one: &str, behind: &str) -> Self {
        let many = match one.split_once(' ') {
            // "value with templates"
            Some((noun, rest)) if rest.starts_with("with ") => format!("{noun}s {rest}"),
            _ => format!("{one}s"),
        };
        Self::Plain { one: format!("{one}{behind}"), many: format!("{many}{behind}") }
    }
}

/// Where a form leads to: sections, each with the names to be written on the way.
pub(super) fn targets(forms: &[Form]) -> Vec<(&Id, Vec<&'static str>)> {
    let mut found = Vec::new();
    for form in forms {
        match form {
            Form::Section(id) => found.push((id, Vec::new())),
            Form::List(inner) => found.extend(targets(inner)),
            Form::Named(inner) => found.extend(targets(inner).into_iter().map(|(id, mut names)| {
                names.insert(0, "<name>");
                (id, names)
            })),
            Form::Plain { .. } => {}
        }
    }
    found
}

pub(super) fn root_id(subject: &str) -> Id {
    format!("#{subject}")
}

/// Whether a section is a kind of document: the subject's name.
pub(super) fn is_root(id: &str) -> Option<&str> {
    id.strip_prefix('#').filter(|name| !name.contains('/'))
}

/// Reads the schemas.
pub(super) fn outline<'s>(subjects: &[Subject<'s>]) -> Outline<'s> {
    let mut outline = Outline::default();
    let titles: HashMap<&str, Id> = subjects
        .iter()
        .filter_map(|subject| Some((subject.schema.get("title")?.as_str()?, root_id(subject.name))))
        .collect();
    for subject in subjects {
        let mut reader = Reader { root: subject.schema, name: subject.name, titles: &titles, outline: &mut outline };
        reader.forms(subject.schema, &root_id(subject.name), 0);
    }
    outline
}

struct Reader<'a, 's> {
    root: &'s Value,
    name: &'a str,
    titles: &'a HashMap<&'s str, Id>,
    outline: &'a mut Outline<'s>,
}

/// References and branches behind each other without a map between them.
const STEPS_MAX: usize = 16;

impl<'s> Reader<'_, 's> {
    /// What may stand at a schema node. `at` identifies the node.
    fn forms(&mut self, node: &'s Value, at: &str, steps: usize) -> Vec<Form> {
        let forms = self.plain_forms(node, at, steps);
        match annotation(node) {
            Some(names) => annotated(forms, &names),
            None => forms,
        }
    }

    /// As the words of JSON Schema say it.
    fn plain_forms(&mut self, node: &'s Value, at: &str, steps: usize) -> Vec<Form> {
        if steps > STEPS_MAX {
            return vec![Form::any()];
        }
        if let Some(reference) = node.get("$ref").and_then(Value::as_str) {
            return self.behind(reference, steps);
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) = node.get(key).and_then(Value::as_array) {
                return self.branches(node, branches, &format!("{at}/{key}"), at, steps);
            }
        }
        if let Some(values) = node.get("enum").and_then(Value::as_array) {
            return self.values(node, values, at);
        }
        if let Some(value) = node.get("const") {
            return vec![Form::plain(code(&inline(value)))];
        }
        match node.get("type").and_then(Value::as_str) {
            Some("object") => self.object(node, at, steps),
            Some("array") => {
                let items = node.get("items").map(|items| self.forms(items, &format!("{at}/items"), steps + 1));
                vec![items.map_or_else(|| Form::plain("list"), Form::List)]
            }
            Some("string") => vec![Form::text()],
            Some("boolean") => vec![Form::plain("true or false")],
            Some("integer") => vec![Form::counted("whole number", &bounds(node))],
            Some("number") => vec![Form::counted("number", &bounds(node))],
            _ if node.get("properties").is_some() => self.object(node, at, steps),
            _ => vec![Form::any()],
        }
    }

    fn behind(&mut self, reference: &str, steps: usize) -> Vec<Form> {
        let pointer = reference.trim_start_matches('#');
        let Some(target) = self.root.pointer(pointer) else { return vec![Form::any()] };
        if pointer.is_empty() {
            return vec![Form::Section(root_id(self.name))];
        }
        let title = target.get("title").and_then(Value::as_str);
        if let Some(root) = title.and_then(|title| self.titles.get(title)) {
            return vec![Form::Section(root.clone())];
        }
        self.forms(target, pointer.trim_start_matches("/$defs/"), steps + 1)
    }

    /// A type with a long form and short ones is one section.
    fn branches(&mut self, node: &'s Value, branches: &'s [Value], below: &str, at: &str, steps: usize) -> Vec<Form> {
        let mut forms = Vec::new();
        for (index, branch) in branches.iter().enumerate() {
            for form in self.forms(branch, &format!("{below}/{index}"), steps + 1) {
                if !forms.contains(&form) {
                    forms.push(form);
                }
            }
        }
        self.names_are_short_forms(&mut forms);
        let (sections, short): (Vec<Form>, Vec<Form>) =
            forms.iter().cloned().partition(|form| matches!(form, Form::Section(_)));
        if let [Form::Section(id)] = sections.as_slice()
            && !at.contains('/')
            && let Some(section) = self.outline.sections.get_mut(id)
            && section.short.is_empty()
        {
            section.short = short;
            section.about.splice(0..0, description(node));
        }
        forms
    }

    /// Where a choice may be written as the name of a kind alone, the names need no section beside that of the choice.
    fn names_are_short_forms(&mut self, forms: &mut [Form]) {
        let sort = |outline: &Outline<'_>, form: &Form| match form {
            Form::Section(id) => outline.sections.get(id).map(|section| section.sort),
            _ => None,
        };
        if !forms.iter().any(|form| sort(self.outline, form) == Some(Sort::Choice)) {
            return;
        }
        for form in forms {
            if let Form::Section(id) = &*form
                && sort(self.outline, form) == Some(Sort::Values)
                && let Some(section) = self.outline.sections.shift_remove(id)
            {
                let names: Vec<String> = section.words.iter().map(|word| code(word.name)).collect();
                *form = Form::plain(names.join(", "));
            }
        }
    }

    fn values(&mut self, node: &'s Value, values: &'s [Value], at: &str) -> Vec<Form> {
        let meanings = node.get("markdownEnumDescriptions").and_then(Value::as_array);
        if meanings.is_none() {
            return values.iter().map(|value| Form::plain(code(&inline(value)))).collect();
        }
        let words = values.iter().enumerate().map(|(index, value)| Word {
            name: value.as_str().unwrap_or_default(),
            takes: Vec::new(),
            required: false,
            default: None,
            meaning: meanings.and_then(|meanings| meanings.get(index)?.as_str()),
        });
        let section = Section {
            sort: Sort::Values,
            about: description(node).into_iter().collect(),
            short: Vec::new(),
            words: words.collect(),
        };
        self.outline.sections.entry(at.to_owned()).or_insert(section);
        vec![Form::Section(at.to_owned())]
    }

    fn object(&mut self, node: &'s Value, at: &str, steps: usize) -> Vec<Form> {
        let mut forms = Vec::new();
        let properties = node.get("properties").and_then(Value::as_object).filter(|properties| !properties.is_empty());
        if let Some(properties) = properties {
            self.section(node, properties, at);
            forms.push(Form::Section(at.to_owned()));
        }
        let patterns = node.get("patternProperties").and_then(Value::as_object);
        let others = patterns.and_then(|patterns| patterns.values().next()).or(node.get("additionalProperties"));
        match others {
            Some(others @ Value::Object(_)) => {
                forms.push(Form::Named(self.forms(others, &format!("{at}/additionalProperties"), steps + 1)));
            }
            Some(Value::Bool(false)) if forms.is_empty() => forms.push(Form::plain("`{}`")),
            _ if forms.is_empty() => forms.push(Form::map()),
            _ => {}
        }
        forms
    }

    fn section(&mut self, node: &'s Value, properties: &'s Map<String, Value>, at: &str) {
        if self.outline.sections.contains_key(at) {
            return;
        }
        let sort = if is_choice(Some(node)) { Sort::Choice } else { Sort::Map };
        let about = description(node).into_iter().collect();
        // it is there before its words are, so that a type that contains itself ends
        self.outline.sections.insert(at.to_owned(), Section { sort, about, short: Vec::new(), words: Vec::new() });
        let required = node.get("required").and_then(Value::as_array);
        let mut words = Vec::new();
        for (name, property) in properties {
            words.push(Word {
                name,
                takes: self.forms(property, &format!("{at}/properties/{name}"), 0),
                required: required.is_some_and(|names| names.iter().any(|required| required == name)),
                default: self.said(property, "default"),
                meaning: self.said(property, "description").and_then(Value::as_str),
            });
        }
        self.outline.sections[at].words = words;
    }

    /// What a property says itself, or its type for it.
    fn said(&self, property: &'s Value, key: &str) -> Option<&'s Value> {
        let mut node = property;
        for _ in 0..STEPS_MAX {
            if let Some(said) = node.get(key) {
                return Some(said);
            }
            let reference = node.get("$ref")?.as_str()?;
            node = self.root.pointer(reference.trim_start_matches('#'))?;
        }
        None
    }
}

fn description(node: &Value) -> Option<&str> {
    node.get("description").and_then(Value::as_str)
}

/// `x-headwater` says what a text or another open value is: `"path"`, or `["filter path", "template"]`.
fn annotation(node: &Value) -> Option<Vec<Form>> {
    let names = match node.get("x-headwater")? {
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        name => vec![name.as_str()?],
    };
    Some(names.into_iter().map(|name| Form::counted(name, "")).collect())
}

/// The forms with `names` for what is open in them, in lists and maps too.
fn annotated(forms: Vec<Form>, names: &[Form]) -> Vec<Form> {
    let open = [Form::text(), Form::any(), Form::map()];
    let mut out = Vec::new();
    for form in forms {
        match form {
            Form::List(items) => out.push(Form::List(annotated(items, names))),
            Form::Named(values) => out.push(Form::Named(annotated(values, names))),
            form if open.contains(&form) => out.extend_from_slice(names),
            form => out.push(form),
        }
    }
    out
}

fn bounds(node: &Value) -> String {
    let bound = |key: &str| node.get(key).map(inline);
    match (bound("minimum"), bound("maximum")) {
        (Some(min), Some(max)) => format!(", {min} to {max}"),
        (Some(min), None) if min != "0" => format!(", {min} or more"),
        (None, Some(max)) => format!(", at most {max}"),
        _ => String::new(),
    }
}

/// A value as YAML on one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{name}: {}", inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::String(text) if !text.trim().is_empty() => text.clone(),
        // a bound of a number type: 0.0 is 0
        Value::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
        other => other.to_string(),
    }
}

/// Text as it stands, in Markdown.
pub(super) fn code(text: &str) -> String {
    if text.contains('`') { format!("`` {text} ``") } else { format!("`{text}`") }
}
