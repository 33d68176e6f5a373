//! The example documents: which word of the language each of their keys is.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::excerpt::Excerpts;
use super::outline::{Form, Id, Outline, Section, Sort, root_id};
use crate::diagnostic::Segment;
use crate::spec::yaml;

/// A document whose parts are shown.
#[derive(Debug, Clone)]
pub struct Example {
    /// its path below the folder of examples, with `/`
    pub name: String,
    /// the page its kind is described on
    pub subject: String,
    /// the YAML text
    pub text: String,
}

/// Stands among the words of a use for a short form, which has none.
pub(super) const SHORT_FORM: &str = "(short form)";

/// A place in an example where the words of a section are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    /// of the examples
    pub(super) example: usize,
    pub(super) path: Vec<Segment>,
    pub(super) words: Vec<String>,
}

/// The examples, read.
#[derive(Debug)]
pub(super) struct Corpus<'e> {
    pub(super) texts: Vec<(&'e Example, Excerpts<'e>)>,
    uses: HashMap<Id, Vec<Use>>,
    /// what is no YAML, by name
    pub(super) broken: Vec<String>,
}

impl<'e> Corpus<'e> {
    pub(super) fn new(outline: &Outline<'_>, examples: &'e [Example]) -> Self {
        let mut corpus = Self { texts: Vec::new(), uses: HashMap::new(), broken: Vec::new() };
        for example in examples {
            match yaml::parse(&example.text) {
                Ok(value) => {
                    let mut walk =
                        Walk { outline, example: corpus.texts.len(), uses: &mut corpus.uses, path: Vec::new() };
                    walk.value(&value, &[Form::Section(root_id(&example.subject))]);
                    corpus.texts.push((example, Excerpts::new(&example.text)));
                }
                Err(error) => corpus.broken.push(format!("{}: {}", example.name, error.message)),
            }
        }
        corpus
    }

    pub(super) fn uses(&self, id: &str) -> &[Use] {
        self.uses.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

struct Walk<'a, 's> {
    outline: &'a Outline<'s>,
    example: usize,
    uses: &'a mut HashMap<Id, Vec<Use>>,
    path: Vec<Segment>,
}

impl Walk<'_, '_> {
    fn value(&mut self, value: &Value, forms: &[Form]) {
        match value {
            Value::Object(members) => self.map(members, forms),
            Value::Array(items) => {
                self.short_form(value, forms);
                let inner = forms.iter().find_map(|form| match form {
                    Form::List(inner) => Some(inner),
                    _ => None,
                });
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Segment::Index(index));
                    self.value(item, inner.map(Vec::as_slice).unwrap_or_default());
                    self.path.pop();
                }
            }
            _ => self.short_form(value, forms),
        }
    }

    /// The name of a kind alone is a use of that kind too.
    fn short_form(&mut self, value: &Value, forms: &[Form]) {
        for form in forms {
            if let Form::Section(id) = form
                && let Some(section) = self.outline.sections.get(id).filter(|section| !section.short.is_empty())
            {
                let named = section.words.iter().find(|word| section.sort == Sort::Choice && value == word.name);
                let words = [SHORT_FORM].into_iter().chain(named.map(|word| word.name)).map(str::to_owned).collect();
                let used = Use { example: self.example, path: self.path.clone(), words };
                self.uses.entry(id.clone()).or_default().push(used);
            }
        }
    }

    /// Of several sections the one that has all the keys.
    fn map(&mut self, members: &Map<String, Value>, forms: &[Form]) {
        let outline = self.outline;
        let sections: Vec<(&Id, &Section<'_>)> = forms
            .iter()
            .filter_map(|form| match form {
                Form::Section(id) => Some((id, outline.sections.get(id)?)),
                _ => None,
            })
            .filter(|(_, section)| section.sort != Sort::Values)
            .collect();
        let has_all =
            |section: &Section<'_>| members.keys().all(|key| section.words.iter().any(|word| word.name == key));
        let named = forms.iter().find_map(|form| match form {
            Form::Named(inner) => Some(inner),
            _ => None,
        });
        let fitting = sections.iter().find(|(_, section)| has_all(section));
        if let Some((id, section)) = fitting.or(sections.first().filter(|_| named.is_none())) {
            let words = members.keys().cloned().collect();
            let used = Use { example: self.example, path: self.path.clone(), words };
            self.uses.entry((*id).clone()).or_default().push(used);
            for word in &section.words {
                if let Some(value) = members.get(word.name) {
                    self.member(word.name, value, &word.takes);
                }
            }
        } else if let Some(inner) = named {
            for (name, value) in members {
                self.member(name, value, inner);
            }
        }
    }

    fn member(&mut self, name: &str, value: &Value, forms: &[Form]) {
        self.path.push(Segment::Key(name.to_owned()));
        self.value(value, forms);
        self.path.pop();
    }
}
