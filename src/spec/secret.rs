//! What of a project file may be shown: all but the secrets that stand in it.

use crate::diagnostic::{Position, span_of};

/// Everything below it is secret.
const CREDENTIALS: &str = "credentials";
/// The one text behind each is secret: of `notify`, and of the keys of `api`.
const SECRET: &str = "secret";
const KEY: &str = "key";

/// The text with every value under `credentials:` and behind `secret:` and `key:` made unreadable, `${NAME}` excepted. No character moves, and it
/// is the same YAML.
///
/// It works on text and not on the parsed document, so that it holds for a file that does not parse too.
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    let mut line = Line::default();
    let mut words = Words { text, found: [None; 3] };
    while let Some((at, word)) = words.next(from) {
        line.go_to(text, at);
        let value = at + word.len();
        out.push_str(&text[from..value]);
        from = value;
        if line.is_comment {
            continue;
        }
        let rest = &text[value..];
        // the colon may stand on the next line, behind `? credentials`
        let colon = rest.trim_start_matches(['"', '\'']).trim_start().strip_prefix(':');
        let behind = colon.unwrap_or(rest);
        let flow = behind.trim_start();
        let length = if word != CREDENTIALS {
            // what stands in the column of the key is its neighbour: `- secret: …`, and `url: …` below
            let column = text[line.start..at].trim_end_matches(['"', '\'']).len();
            rest.len() - behind.len() + end_of_block(behind, column)
        } else if flow.starts_with('{') {
            rest.len() - flow.len() + end_of_flow(flow)
        } else {
            rest.len() - behind.len() + end_of_block(behind, line.indentation)
        };
        mask(&rest[..length], &mut out);
        from = value + length;
    }
    out.push_str(&text[from..]);
    out
}

/// The text with nothing but its lines and spaces.
pub fn without_anything(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() { c } else { '•' }).collect()
}

/// The text with the value that begins at `at` made unreadable. No character moves.
pub fn without_value(text: &str, at: Position) -> String {
    let mut out = String::with_capacity(text.len());
    let mut block = None;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let indentation = line.len() - line.trim_start().len();
        if index + 1 == at.line {
            let start = line.char_indices().nth(at.column.saturating_sub(1)).map_or(line.len(), |(byte, _)| byte);
            let (before, value) = line.split_at(start);
            out.push_str(before);
            // the lines of a block or of folded text stand below, indented more than the key
            block = Some(indentation);
            let word = &line[span_of(line.trim_end(), at.column)];
            out.extend(word.chars().map(|c| if "\"'|>".contains(c) { c } else { '•' }));
            out.push_str(&value[word.len()..]);
        } else if block.is_some_and(|key| indentation > key || line.trim().is_empty()) && index + 1 > at.line {
            out.extend(line.chars().map(|c| if c.is_whitespace() { c } else { '•' }));
        } else {
            block = None;
            out.push_str(line);
        }
    }
    out
}

/// The words behind which something is secret, in the order in which they stand. The text is searched once.
struct Words<'t> {
    text: &'t str,
    /// where the next of each was seen; none = not looked for yet
    found: [Option<usize>; 3],
}

impl Words<'_> {
    fn next(&mut self, from: usize) -> Option<(usize, &'static str)> {
        for (found, word) in self.found.iter_mut().zip([CREDENTIALS, SECRET, KEY]) {
            if found.is_none_or(|at| at < from) {
                let mut all = self.text[from..].match_indices(word).map(|(at, _)| from + at);
                // `secret` and `key` are no rare words: only as a key
                let is_key = |at: &usize| {
                    let behind = self.text[at + word.len()..].trim_start_matches(['"', '\'']).strip_prefix(':');
                    word == CREDENTIALS
                        || (!self.text[..*at].ends_with(is_word)
                            && behind.is_some_and(|value| value.is_empty() || value.starts_with([' ', '\n', '\r'])))
                };
                *found = Some(all.find(is_key).unwrap_or(self.text.len()));
            }
        }
        let [credentials, secret, key] = self.found.map(Option::unwrap_or_default);
        let first = [(credentials, CREDENTIALS), (secret, SECRET), (key, KEY)].into_iter().min()?;
        (first.0 < self.text.len()).then_some(first)
    }
}

/// The line that a place stands in, as far as that place. No character is looked at twice, however long the line is.
#[derive(Default)]
struct Line {
    start: usize,
    seen: usize,
    indentation: usize,
    is_comment: bool,
    has_begun: bool,
    quote: Option<char>,
    before: Option<char>,
}

impl Line {
    fn go_to(&mut self, text: &str, at: usize) {
        if let Some(end) = text[self.seen..at].rfind('\n') {
            *self = Self { start: self.seen + end + 1, seen: self.seen + end + 1, ..Self::default() };
        }
        for c in text[self.seen..at].chars() {
            self.pass(c);
        }
        self.seen = at;
    }

    fn pass(&mut self, c: char) {
        // what YAML takes for a line end too
        if matches!(c, '\r' | '\u{85}' | '\u{2028}' | '\u{2029}') {
            *self = Self { start: self.start, seen: self.seen, ..Self::default() };
            return;
        }
        let at_begin = self.before.is_none_or(char::is_whitespace);
        match (self.quote, c) {
            (Some(open), c) if c == open => self.quote = None,
            // in quotes it is no comment
            (Some(_), _) => {}
            (None, '#') if at_begin => self.is_comment = true,
            (None, '"' | '\'') if begins_a_quote(self.before) => self.quote = Some(c),
            _ => {}
        }
        self.has_begun |= !c.is_whitespace();
        if !self.has_begun {
            self.indentation += c.len_utf8();
        }
        self.before = Some(c);
    }
}

/// Whether a quote behind `before` begins a text; within a word it is an apostrophe.
fn begins_a_quote(before: Option<char>) -> bool {
    before.is_none_or(|c| c.is_whitespace() || "{[,:".contains(c))
}

/// Behind the bracket that closes the first one; quoted text is passed over.
fn end_of_flow(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut quote = None;
    let mut before = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if begins_a_quote(before) => quote = Some(c),
            (None, '{' | '[') => depth += 1,
            (None, '}' | ']') if depth <= 1 => return at + 1,
            (None, '}' | ']') => depth -= 1,
            _ => {}
        }
        before = Some(c);
    }
    text.len()
}

/// Before the first line below that is indented no more than the line of the key.
fn end_of_block(text: &str, indentation: usize) -> usize {
    let mut end = 0;
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let less = line.len() - line.trim_start().len() <= indentation;
        if index > 0 && less && !line.trim().is_empty() {
            break;
        }
        end += line.len();
    }
    end
}

/// Keeps keys, references to the environment, quotes and brackets; all else becomes dots.
fn mask(region: &str, out: &mut String) {
    let mut rest = region;
    let mut expects_key = false;
    while let Some(c) = rest.chars().next() {
        let kept = reference(rest).or_else(|| key(rest).filter(|_| expects_key));
        // the rest of a word that is no key is masked as a whole
        let length = kept.unwrap_or_else(|| rest.find(|c: char| !is_word(c)).unwrap_or(rest.len()).max(c.len_utf8()));
        let (piece, behind) = rest.split_at(length);
        let structure = |c: char| c.is_whitespace() || "{}[],:\"'$#".contains(c);
        match kept {
            Some(_) => out.push_str(piece),
            None => out.extend(piece.chars().map(|c| if structure(c) { c } else { '•' })),
        }
        match c {
            '{' | ',' | '\n' | '\r' => expects_key = true,
            '"' | '\'' => {}
            c if c.is_whitespace() => {}
            _ => expects_key = false,
        }
        rest = behind;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}

/// `${NAME}` at the beginning.
fn reference(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("${")?;
    let length = inside.find(|c: char| !is_word(c))?;
    inside[length..].starts_with('}').then_some("${}".len() + length)
}

/// `name:` at the beginning, with what ends a key behind it.
fn key(text: &str) -> Option<usize> {
    let length = text.find(|c: char| !is_word(c)).filter(|length| *length > 0)?;
    let behind = text[length..].trim_start_matches(['"', '\'']);
    let value = behind.strip_prefix(':')?;
    (value.is_empty() || value.starts_with([' ', '\n', '\r'])).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::{masked, without_value};
    use crate::diagnostic::Position;

    #[test]
    fn a_value_is_masked_to_its_end() {
        let text =
            "auth:\n  a: { api_key: { header: X, value: \"sk-1 2\" } }\n  key: |\n    BEGIN\n    abc\n  other: kept\n";
        let at = |line, column| Position { line, column };
        let shown = without_value(text, at(2, 38));
        assert_eq!(shown, text.replace("sk-1 2", "••••••"));
        let shown = without_value(text, at(3, 8));
        assert!(!shown.contains("BEGIN") && !shown.contains("abc") && shown.contains("other: kept"), "{shown}");
        assert_eq!(shown.chars().count(), text.chars().count());
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let text = "database: a.duckdb # credentials are below\nconnections:\n  one:\n    provider: p\n    credentials:\n      \
                    token: sk_live-1 # old: sk_0\n      \"user\": \"${USER_1}\"\n      pass: \"p@ss: w'ord\n\n    config: { region: eu }\n  \
                    two: { credentials: { api_key: k1, other: !x, odd: \"a}b\" }, provider: p2 }\n  three:\n    credentials: { a: b,\n c: d }\n    provider: q\n";
        let shown = masked(text);
        for secret in ["sk_live", "sk_0", "p@ss", "b\"", "w'ord", "k1", "!x", " b,", " d "] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in [
            "a.duckdb",
            "token: •",
            "\"user\": \"${USER_1}\"",
            "config: { region: eu }",
            "api_key: ••",
            "provider: q\n",
        ] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
        assert_eq!(shown.chars().count(), text.chars().count());
    }

    #[test]
    fn the_secret_of_a_message_is_masked() {
        let text = "database: a\nnotify:\n  - secret: hunter2\n    url: https://a\n  - { url: https://b, secret: hunter3, on: [failed] }\n  \
                    - url: https://c\n    \"secret\": \"hunt er4\"\n    on: [failed]\n  - secret: |\n      hunter5\n    url: https://d\n  \
                    - { url: https://e, secret: \"${KEY}\" }\n# the secret: of it\nsecrets: { secret_word: x }\n";
        let shown = masked(text);
        for secret in ["hunter2", "hunter3", "hunt", "er4", "hunter5"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in [
            "https://a",
            "https://b",
            "on: [",
            "https://c",
            "on: [failed]",
            "https://d",
            "${KEY}",
            "the secret: of it",
            "x }",
        ] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
        assert_eq!(shown.chars().count(), text.chars().count());
    }

    #[test]
    fn keys_of_the_api_are_masked() {
        let text = "api:\n  keys:\n    key: { key: k3y-1, scopes: [a] }\n    two:\n      \"key\": \"${KEY}\"\n      scopes: [b]\n    three:\n      key: k3y-3\n      scopes: [c]\n";
        let shown = masked(text);
        assert!(!shown.contains("k3y") && shown.contains("${KEY}"), "{shown}");
        assert_eq!(shown.chars().count(), text.chars().count());
        assert_eq!(shown.matches("scopes").count(), 3, "{shown}");
    }

    #[test]
    fn one_line_may_hold_everything() {
        let shown = masked("a: { note: \"ticket #7\", credentials: { token: sk_1 } } # credentials: sk_2\n");
        assert_eq!(shown, "a: { note: \"ticket #7\", credentials: { token: •••• } } # credentials: sk_2\n");
        let shown = masked("a: { it's: 1, \"credentials\": { \"token\": \"sk 1\" }, provider: p }\n");
        assert_eq!(shown, "a: { it's: 1, \"credentials\": { \"token\": \"•• •\" }, provider: p }\n");
        let shown = masked("# yaml\rconnections:\r  a:\r    credentials:\r      token: sk_1\r");
        assert_eq!(shown, "# yaml\rconnections:\r  a:\r    credentials:\r      token: ••••\r");
        let shown =
            masked("a:\n  ? credentials\n  : { token: sk_1 }\n  ? credentials\n  : token: sk_2\n    b: 1\n  x: 1\n");
        assert_eq!(
            shown,
            "a:\n  ? credentials\n  : { token: •••• }\n  ? credentials\n  : •••••: ••••\n    b: •\n  x: 1\n"
        );
        // as long as a file may be
        for piece in [
            "x: { credentials: { a: b } }, ",
            "credentials",
            "credentials: ${",
            "# credentials ",
            "credentials: '",
            "secret",
            "x: { secret: a }, ",
            "- secret: '",
        ] {
            let text = piece.repeat((1 << 20) / piece.len());
            assert_eq!(masked(&text).chars().count(), text.chars().count());
        }
    }
}
