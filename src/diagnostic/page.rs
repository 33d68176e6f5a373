//! The page of each code: what the mistake is, why it is one, and what to do. They are `docs/errors/`, put into the binary.

use std::path::Path;

use include_dir::{Dir, include_dir};

static PAGES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/docs/errors");

/// What is said of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// the code, such as `E010`
    pub code: &'static str,
    /// what is wrong, in a few words
    pub title: &'static str,
    /// all of it, as Markdown; where it leads to other pages, only the words of the link are left
    pub text: String,
}

impl Page {
    /// What stands below the title, up to the first empty line, as one line.
    pub fn first_paragraph(&self) -> String {
        let lines = self.text.lines().skip(1).skip_while(|line| line.is_empty());
        lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// Every page, in the order of the codes.
pub fn pages() -> Vec<Page> {
    let mut pages: Vec<Page> = PAGES.files().filter_map(|file| parse(file.path(), file.contents_utf8()?)).collect();
    pages.sort_by_key(|page| page.code);
    pages
}

/// The page of a code, in upper or lower case.
pub fn page(code: &str) -> Option<Page> {
    pages().into_iter().find(|page| page.code.eq_ignore_ascii_case(code))
}

/// Whether a text has the form of a code: `E` or `W` and digits. In lower case it takes three of them: `w3` may be a provider.
pub fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix(['E', 'W', 'e', 'w']).unwrap_or_default();
    let least = if text.starts_with(char::is_lowercase) { 3 } else { 1 };
    digits.len() >= least && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse(path: &'static Path, text: &'static str) -> Option<Page> {
    let code = path.file_stem()?.to_str().filter(|code| is_code(code))?;
    let title = text.lines().next()?.strip_prefix("# ")?.strip_prefix(code)?.strip_prefix(": ")?;
    Some(Page { code, title, text: without_links(text) })
}

/// The text with links to other pages of the documentation replaced by their words: they lead nowhere outside of it.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("](") {
        match (before.rfind('['), behind.find(')')) {
            (Some(open), Some(close)) if behind[..close].contains(".md") => {
                out.push_str(&before[..open]);
                out.push_str(&before[open + 1..]);
                rest = &behind[close + 1..];
            }
            _ => {
                out.push_str(before);
                out.push_str("](");
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::{is_code, page, pages, without_links};

    #[test]
    fn codes_are_known_by_their_form() {
        for code in ["E010", "e010", "W080", "E1", "w1234"] {
            assert!(is_code(code), "{code}");
        }
        for text in ["", "E", "acme", "w3", "E01a", "X010", "E010/contacts", "é100"] {
            assert!(!is_code(text), "{text}");
        }
    }

    #[test]
    fn pages_are_found_by_their_code() {
        let all = pages();
        assert!(all.len() > 40 && all.is_sorted_by(|a, b| a.code < b.code));
        assert_eq!(page("e010"), page("E010"));
        assert_eq!(page("E010").map(|page| page.code), Some("E010"));
        assert_eq!(page("README"), None);
    }

    #[test]
    fn only_links_to_pages_are_taken_out() {
        assert_eq!(
            without_links("a [b](E011.md), [c d](../language.md#x) and [e](https://f) `[g](h)` ]( i"),
            "a b, c d and [e](https://f) `[g](h)` ]( i"
        );
    }
}
