//! The pages as Markdown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use super::choose::{Block, choose, shortest};
use super::corpus::{Corpus, Example, SHORT_FORM, Use};
use super::layout::{Layout, Placed, layout};
use super::outline::{Form, Outline, Section, Sort, Subject, Word, code, inline, is_root, outline, root_id, targets};

/// One file of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// its name in the folder
    pub file: String,
    /// Markdown
    pub text: String,
}

/// All pages, and what is still to be said.
#[derive(Debug, Clone, Default)]
pub struct Reference {
    /// the pages, the one that leads to the others first
    pub pages: Vec<Page>,
    /// words that no example uses, as `sync: pagination.cursor.query`; examples that are no YAML
    pub without_example: Vec<String>,
    /// words without a description
    pub without_meaning: Vec<String>,
    /// words whose description tells the default, which is the schema's to tell
    pub default_in_prose: Vec<String>,
}

/// Makes the reference of `subjects`. Links lead to the examples as if they stood in the folder `examples` beside the pages.
pub fn reference(subjects: &[Subject<'_>], examples: &[Example]) -> Reference {
    let outline = outline(subjects);
    let corpus = Corpus::new(&outline, examples);
    let layout = layout(subjects, &outline);
    let writer = Writer { subjects, outline: &outline, corpus: &corpus, layout: &layout };
    let mut reference = Reference { without_example: corpus.broken.clone(), ..Reference::default() };
    reference.pages.push(overview(subjects, &outline, &layout));
    for (subject, sections) in subjects.iter().zip(&layout.pages) {
        let mut text = String::new();
        for placed in sections {
            writer.section(&mut text, placed, &mut reference);
        }
        reference.pages.push(Page { file: format!("{}.md", subject.name), text });
    }
    reference
}

const MADE: &str = "<!-- Made from the schemas and the examples: `./dev schemas` writes it anew. -->";

/// Lines of the document that a page begins with.
const WHOLE_DOCUMENT_LINES_MAX: usize = 40;

struct Writer<'a, 's> {
    subjects: &'a [Subject<'s>],
    outline: &'a Outline<'s>,
    corpus: &'a Corpus<'a>,
    layout: &'a Layout,
}

impl Writer<'_, '_> {
    fn section(&self, out: &mut String, placed: &Placed, gaps: &mut Reference) {
        let Some(section) = self.outline.sections.get(&placed.id) else { return };
        let subject = &self.subjects[placed.subject];
        if placed.level == 0 {
            put(out, &format!("# {}", title(subject)));
            put(out, MADE);
        } else {
            put(out, &format!("{} {}", "#".repeat((placed.level + 1).min(4)), code(&placed.path)));
        }
        for about in &section.about {
            put(out, &prose(about));
        }
        let also = self.also(placed);
        if !also.is_empty() {
            put(out, &format!("Also at {also}."));
        }
        if !section.short.is_empty() {
            put(out, &format!("Short form: {}.", self.forms(&section.short, placed)));
        }
        let mut shown: &[String] = &[];
        if placed.level == 0 {
            put(out, &format!("It stands in {}.", subject.folder));
            if let Some(used) = self.whole(placed) {
                put_example(out, self.corpus, used.example, &self.corpus.texts[used.example].1.whole());
                shown = &used.words;
            }
            self.contents(out, placed.subject);
        }
        put(out, &self.table(section, placed));
        self.note_gaps(section, placed, gaps);
        if section.sort != Sort::Values {
            let missing = self.examples(out, section, placed, shown);
            gaps.without_example.extend(missing.iter().map(|word| self.name(placed, word)));
        }
    }

    /// Each word of a section but those that are shown above or in a section of their own. Gives back those without example.
    fn examples<'w>(
        &self,
        out: &mut String,
        section: &Section<'w>,
        placed: &Placed,
        shown: &[String],
    ) -> BTreeSet<&'w str> {
        let words = section.words.iter().filter(|word| !shown.iter().any(|shown| shown == word.name));
        let mut wanted: BTreeSet<&str> =
            words.filter(|word| !self.is_shown_below(word, placed)).map(|word| word.name).collect();
        if !section.short.is_empty() {
            wanted.insert(SHORT_FORM);
        }
        let uses = self.corpus.uses(&placed.id);
        if wanted.is_empty() && section.sort == Sort::Map && placed.level > 0 {
            let block = shortest(self.corpus, uses);
            block.iter().for_each(|Block { example, text }| put_example(out, self.corpus, *example, text));
        }
        let (blocks, missing) = choose(self.corpus, uses, &wanted);
        for Block { example, text } in &blocks {
            put_example(out, self.corpus, *example, text);
        }
        missing
    }

    /// Whether a word has a section on the same page that is about nothing else.
    fn is_shown_below(&self, word: &Word<'_>, placed: &Placed) -> bool {
        targets(&word.takes).iter().any(|(id, _)| {
            let target = self.layout.find(id);
            let has_words = self.outline.sections.get(*id).is_some_and(|section| section.sort != Sort::Values);
            has_words && target.subject == placed.subject && !target.shared
        })
    }

    /// The document that has the most words of its kind.
    fn whole(&self, placed: &Placed) -> Option<&'_ Use> {
        let lines = |used: &Use| self.corpus.texts[used.example].1.whole().lines().count();
        let whole = self.corpus.uses(&placed.id).iter().filter(|used| used.path.is_empty());
        let short = whole.filter(|used| lines(used) <= WHOLE_DOCUMENT_LINES_MAX);
        short.reduce(|best, next| if next.words.len() > best.words.len() { next } else { best })
    }

    fn contents(&self, out: &mut String, subject: usize) {
        let sections = self.layout.pages[subject].iter().filter(|placed| placed.level > 0);
        let lines: Vec<String> = sections
            .map(|placed| format!("{}- [{}](#{})", "  ".repeat(placed.level - 1), code(&placed.path), placed.slug))
            .collect();
        if lines.len() > 1 {
            put(out, &lines.join("\n"));
        }
    }

    fn table(&self, section: &Section<'_>, placed: &Placed) -> String {
        let mut out = String::new();
        let row = |out: &mut String, cells: &[&str]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            writeln!(out, "| {} |", cells.join(" | ")).expect("writing to a string");
        };
        let meaning =
            |word: &Word<'_>| prose(&word.meaning.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "));
        let headings: &[&str] = match section.sort {
            Sort::Map => &["word", "type", "meaning"],
            Sort::Choice => &["choice", "type", "meaning"],
            Sort::Values => &["value", "meaning"],
        };
        row(&mut out, headings);
        writeln!(out, "|{}", "---|".repeat(headings.len())).expect("writing to a string");
        for word in &section.words {
            let (name, meaning) = (code(word.name), meaning(word));
            let takes = self.forms(&word.takes, placed);
            match section.sort {
                // the default has no column of its own: on a phone that would leave none for the meaning
                Sort::Map => row(&mut out, &[&name, &(takes + &default(word)), &meaning]),
                Sort::Choice => row(&mut out, &[&name, &takes, &meaning]),
                Sort::Values => row(&mut out, &[&name, &meaning]),
            }
        }
        out.trim_end().to_owned()
    }

    fn forms(&self, forms: &[Form], here: &Placed) -> String {
        forms.iter().map(|form| self.form(form, here, false)).collect::<Vec<_>>().join(" or ")
    }

    fn form(&self, form: &Form, here: &Placed, many: bool) -> String {
        let inner =
            |forms: &[Form]| forms.iter().map(|form| self.form(form, here, true)).collect::<Vec<_>>().join(" or ");
        match form {
            Form::Plain { many: text, .. } if many => text.clone(),
            Form::Plain { one, .. } => one.clone(),
            Form::List(items) => format!("list{} of {}", if many { "s" } else { "" }, inner(items)),
            Form::Named(values) => format!("map{} of {}", if many { "s" } else { "" }, inner(values)),
            Form::Section(id) => {
                let Some(section) = self.outline.sections.get(id) else { return "map".to_owned() };
                if let Some(name) = is_root(id) {
                    return format!("[{name}{}]({name}.md)", if many { "s" } else { "" });
                }
                let link = |text: &str| format!("[{text}]({})", self.link(self.layout.find(id), here));
                match (section.sort, many) {
                    (Sort::Map, false) => link("map"),
                    (Sort::Map, true) => link("maps"),
                    (Sort::Choice, false) => link("choice"),
                    (Sort::Choice, true) => link("choices"),
                    (Sort::Values, _) => {
                        let values = section.words.iter().map(|word| code(word.name)).collect::<Vec<_>>().join(", ");
                        format!("{} {values}", link("one of"))
                    }
                }
            }
        }
    }

    fn link(&self, to: &Placed, here: &Placed) -> String {
        if to.subject == here.subject {
            format!("#{}", to.slug)
        } else {
            format!("{}.md#{}", self.subjects[to.subject].name, to.slug)
        }
    }

    /// The other words that take a section.
    fn also(&self, placed: &Placed) -> String {
        let mut places = Vec::new();
        for edge in &placed.also {
            let from = self.layout.find(&edge.from);
            let path = if from.level == 0 { edge.word.clone() } else { format!("{}.{}", from.path, edge.word) };
            let page = if from.subject == placed.subject {
                String::new()
            } else {
                format!("{}: ", self.subjects[from.subject].name)
            };
            let place = format!("[{page}{}]({})", code(&path), self.link(from, placed));
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places.join(", ")
    }

    fn note_gaps(&self, section: &Section<'_>, placed: &Placed, gaps: &mut Reference) {
        for word in &section.words {
            match word.meaning {
                None => gaps.without_meaning.push(self.name(placed, word.name)),
                Some(meaning) if meaning.contains("(default") || meaning.starts_with("Default ") => {
                    gaps.default_in_prose.push(format!("{}: {meaning}", self.name(placed, word.name)));
                }
                Some(_) => {}
            }
        }
    }

    fn name(&self, placed: &Placed, word: &str) -> String {
        let path = if placed.level == 0 { String::new() } else { format!("{}.", placed.path) };
        format!("{}: {path}{word}", self.subjects[placed.subject].name)
    }
}

fn title(subject: &Subject<'_>) -> String {
    let title = subject.schema.get("title").and_then(Value::as_str);
    title.unwrap_or(subject.name).to_owned()
}

fn default(word: &Word<'_>) -> String {
    let is_empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    match word.default {
        _ if word.required => ", **required**".to_owned(),
        // an empty one is the same as leaving it out
        Some(value) if !is_empty(value) => format!(", default {}", code(&inline(value))),
        _ => String::new(),
    }
}

/// Text in which `<` outside of code is no HTML.
fn prose(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let escaped = parts.map(|(at, part)| if at % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    escaped.collect::<Vec<_>>().join("`")
}

/// A paragraph.
fn put(out: &mut String, text: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(text);
    out.push('\n');
}

fn put_example(out: &mut String, corpus: &Corpus<'_>, example: usize, text: &str) {
    let name = &corpus.texts[example].0.name;
    let (project, file) = (name.split('/').next().unwrap_or(name), name.rsplit('/').next().unwrap_or(name));
    put(out, &format!("[{project}: {file}](examples/{name})"));
    put(out, &format!("```yaml\n{text}```"));
}

const HOW_TO_READ: &str = "\
## How to read it

- A **map** has the words of the section that it leads to. A **choice** is a map with exactly one of them.
- A **map of** something has names that you choose, each with a value of that kind.
- A word that is not **required** can be left out. Then its default counts, or there is nothing of it.
- What is not in a table is a mistake, and `headwater check` says so. It also tells (E090) what this version cannot run yet.
- Every example is cut out of a document in [examples](examples/). These are whole little projects, and all of them are checked.";

fn overview(subjects: &[Subject<'_>], outline: &Outline<'_>, layout: &Layout) -> Page {
    let mut out = String::new();
    put(&mut out, "# Reference");
    put(&mut out, MADE);
    put(&mut out, "Every word of the YAML files. [The language](../language.md) says how they work together.");
    let mut table = "| page | what it describes | where it stands |\n|---|---|---|\n".to_owned();
    for subject in subjects {
        let about = outline.sections.get(&root_id(subject.name)).and_then(|section| section.about.first().copied());
        let (title, name) = (title(subject), subject.name);
        writeln!(table, "| [{title}]({name}.md) | {} | {} |", prose(about.unwrap_or_default()), subject.folder)
            .expect("writing to a string");
    }
    put(&mut out, table.trim_end());
    put(&mut out, HOW_TO_READ);
    put(&mut out, "## All words");
    let mut words: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for placed in layout.pages.iter().flatten() {
        let Some(section) = outline.sections.get(&placed.id).filter(|section| section.sort != Sort::Values) else {
            continue;
        };
        let (name, slug) = (subjects[placed.subject].name, &placed.slug);
        for word in &section.words {
            let place = if placed.level == 0 { name.to_owned() } else { code(&placed.path) };
            words.entry(word.name).or_default().push(format!("[{place}]({name}.md#{slug})"));
        }
    }
    let mut table = "| word | stands in |\n|---|---|\n".to_owned();
    for (word, places) in words {
        writeln!(table, "| {} | {} |", code(word), places.join(", ")).expect("writing to a string");
    }
    put(&mut out, table.trim_end());
    Page { file: "README.md".to_owned(), text: out }
}
