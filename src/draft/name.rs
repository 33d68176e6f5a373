//! Names and sentences out of foreign documents, made fit for YAML, paths and tables.

/// Characters of a name that becomes part of SQL, URLs and files.
const NAME_CHARS_MAX: usize = 63;
/// Characters of a sentence that is taken over from a document.
const SENTENCE_CHARS_MAX: usize = 140;

/// The words of a name in whatever style: `createdAt`, `Created-At`, `HTTPServer`.
fn words(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().take(4 * NAME_CHARS_MAX).collect();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for (at, c) in chars.iter().enumerate() {
        if !c.is_ascii_alphanumeric() {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            continue;
        }
        let before = at.checked_sub(1).map(|at| chars[at]);
        let begins = c.is_ascii_uppercase()
            && (before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit())
                || (before.is_some_and(|before| before.is_ascii_uppercase())
                    && chars.get(at + 1).is_some_and(char::is_ascii_lowercase)
                    // the plural of an abbreviation is one word: `userIDs`
                    && !(chars[at + 1] == 's' && chars.get(at + 2).is_none_or(|c| !c.is_ascii_lowercase()))));
        if begins {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        word.push(c.to_ascii_lowercase());
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

fn joined(text: &str, with: &str, instead: &str) -> String {
    let mut name = words(text).join(with);
    if name.is_empty() {
        instead.clone_into(&mut name);
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert(0, 'n');
    }
    name.truncate(NAME_CHARS_MAX);
    name.trim_end_matches(['_', '-']).to_owned()
}

/// The name of a column, a table or a setting for what a document calls `text`: `createdAt` is `created_at`.
pub fn column_name(text: &str) -> String {
    joined(text, "_", "field")
}

/// The name of a provider, sync or action, which is one of a file too.
pub fn file_name(text: &str) -> String {
    joined(text, "_", "list")
}

/// The name of a model for what a document calls `text`: `order_lines` is `OrderLine`.
pub fn model_name(text: &str) -> String {
    let mut words = words(text);
    if let Some(last) = words.last_mut() {
        *last = singular(last);
    }
    let capital = |word: &String| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect::<String>()
    };
    let mut name: String = words.iter().map(capital).collect();
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        name.insert_str(0, "Record");
    }
    name.truncate(NAME_CHARS_MAX);
    name
}

/// A word for one of several, as English mostly has it.
fn singular(word: &str) -> String {
    if ["ss", "us", "is", "news", "series"].iter().any(|end| word.ends_with(end)) || word.len() < 4 {
        return word.to_owned();
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return format!("{stem}y");
    }
    let without = ["sses", "xes", "ches", "shes"].iter().any(|end| word.ends_with(end));
    word.strip_suffix(if without { "es" } else { "s" }).unwrap_or(word).to_owned()
}

/// A name that no other one of `taken` is.
pub(super) fn unique(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut tries = (2..).map(|number: u32| {
        let end = format!("_{number}");
        format!("{}{end}", name.get(..NAME_CHARS_MAX - end.len()).unwrap_or(name))
    });
    if taken(name) { tries.find(|name| !taken(name)).unwrap_or_default() } else { name.to_owned() }
}

/// A name as it is compared: without case and all that is neither letter nor digit.
pub(super) fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// The path of a member below another path: `$.a` and `b` are `$.a.b`.
pub(super) fn member(path: &str, name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_plain {
        return format!("{path}.{name}");
    }
    let mut text = format!("{path}['");
    for c in name.chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push_str("']");
    text
}

/// The first sentence of a description, on one line, without what only marks it up; none if nothing is left.
pub(super) fn sentence(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut in_tag = false;
    for c in text.chars().take(8 * SENTENCE_CHARS_MAX) {
        match c {
            '<' => in_tag = true,
            '>' if in_tag => in_tag = false,
            _ if in_tag => {}
            '`' | '*' | '{' | '}' => {}
            c if c.is_whitespace() || c.is_control() || is_unseen(c) => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    let text = out.trim();
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    let text = text[..end].trim_end_matches(['.', ' ']);
    let cut = text.char_indices().nth(SENTENCE_CHARS_MAX).map(|(at, _)| text[..at].rfind(' ').unwrap_or(at));
    let text = cut.map_or_else(|| text.to_owned(), |at| format!("{} …", &text[..at]));
    (!text.is_empty()).then_some(text)
}

/// Characters that nobody sees or that turn the direction of a line, and those that YAML does not take.
pub(super) fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{fff9}'..='\u{ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{bare, column_name, file_name, member, model_name, sentence, unique};
    use crate::plan::{Path, PathForm, Step};

    #[test]
    fn names_of_any_style_become_ours() {
        let cases = [
            ("createdAt", "created_at"),
            ("HTTPServer", "http_server"),
            ("userIDs", "user_ids"),
            ("Created-At", "created_at"),
            ("odata.nextLink", "odata_next_link"),
            ("2fa enabled", "n2fa_enabled"),
            ("Größe", "gr_e"),
            ("日本", "field"),
            ("", "field"),
            ("a__b", "a_b"),
        ];
        for (text, name) in cases {
            assert_eq!(column_name(text), name);
        }
        assert_eq!((model_name("order_lines"), model_name("companies")), ("OrderLine".into(), "Company".into()));
        assert_eq!((model_name("addresses"), model_name("status")), ("Address".into(), "Status".into()));
        assert_eq!((model_name("2fa"), model_name("boxes")), ("Record2fa".into(), "Box".into()));
        assert_eq!(bare("Updated_At"), "updatedat");
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let taken = ["id", "id_2"];
        assert_eq!(unique("id", |name| taken.contains(&name)), "id_3");
        assert_eq!(unique("other", |name| taken.contains(&name)), "other");
    }

    #[test]
    fn of_a_description_the_first_sentence_is_kept() {
        let text = "The **time** of\nthe <b>last</b> `change`. More\u{202e} follows.";
        assert_eq!(sentence(text).as_deref(), Some("The time of the last change"));
        assert_eq!(sentence(" \n "), None);
        assert!(sentence(&"word ".repeat(100)).expect("a text").len() < 150);
    }

    proptest! {
        #[test]
        fn every_name_is_one(text in any::<String>()) {
            for name in [column_name(&text), file_name(&text)] {
                prop_assert!(!name.is_empty() && name.len() <= 63);
                prop_assert!(name.starts_with(|c: char| c.is_ascii_lowercase()));
                prop_assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            }
            prop_assert!(model_name(&text).starts_with(|c: char| c.is_ascii_uppercase()));
        }

        #[test]
        fn a_member_of_any_name_is_found_again(text in any::<String>()) {
            if let Ok(path) = Path::parse(&member("$", &text)) {
                let PathForm::Plain { steps, each: false } = path.form() else { panic!("{path:?}") };
                prop_assert_eq!(steps, &[Step::Member(text)]);
            }
        }
    }
}
