//! An expression cut into tokens.

use std::fmt;

/// The smallest piece of an expression, as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'s> {
    /// a name or a word such as `and`
    Name(&'s str),
    /// a number without a sign
    Number(&'s str),
    /// a text with its quotes
    Text(&'s str),
    /// an operator, a bracket or a comma
    Sign(&'s str),
    /// behind the last one
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(text) | Self::Number(text) | Self::Text(text) | Self::Sign(text) => write!(f, "`{text}`"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// Longer ones first.
const SIGNS: [&str; 24] = [
    "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "|", ".", ",", ":", "(", ")", "[", "]", "{", "}",
    "<", ">",
];

/// Cuts an expression into tokens.
///
/// # Errors
/// A character that begins no token, or a text without its closing quote.
pub(super) fn tokens(source: &str) -> Result<Vec<Token<'_>>, String> {
    let mut tokens = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let after_dot = tokens.last() == Some(&Token::Sign("."));
        let length = match first {
            '"' | '\'' => text(rest).ok_or("a text has no closing quote")?,
            '0'..='9' if after_dot => run(rest, |c| c.is_ascii_digit()),
            '0'..='9' => number(rest),
            c if is_word(c) => run(rest, is_word),
            '=' if !rest.starts_with("==") => 1,
            _ => match SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
                Some(sign) => sign.len(),
                None => return Err(format!("`{first}` is not understood")),
            },
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(match first {
            '"' | '\'' => Token::Text(token),
            '0'..='9' => Token::Number(token),
            c if is_word(c) => Token::Name(token),
            _ => Token::Sign(token),
        });
        rest = behind.trim_start();
    }
    tokens.push(Token::End);
    Ok(tokens)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// The length of the text literal at the start, both quotes included.
fn text(rest: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        match quote {
            None => quote = Some(c),
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => return Some(at + 1),
            Some(_) => {}
        }
    }
    None
}

/// The length of the number at the start: `1`, `1_000`, `0xff`, `1.5`, `2e-3`. A dot belongs to it if a digit follows.
fn number(rest: &str) -> usize {
    let digits = |from: usize| from + run(&rest[from..], |c| c.is_ascii_digit() || c == '_');
    let bytes = rest.as_bytes();
    let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    if bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'X' | b'o' | b'O' | b'b' | b'B')) {
        return run(rest, is_word);
    }
    let mut end = digits(0);
    if bytes.get(end) == Some(&b'.') && is_digit(end + 1) {
        end = digits(end + 1);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if is_digit(end + 1 + sign) {
            end = digits(end + 1 + sign);
        }
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(source: &str) -> String {
        let tokens = tokens(source).expect("tokens");
        tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn expressions_fall_into_tokens() {
        assert_eq!(cut("a.b|c('x, y')"), "`a` `.` `b` `|` `c` `(` `'x, y'` `)` the end");
        assert_eq!(cut(r#" "a\"b" ~'it\'s' "#), r#"`"a\"b"` `~` `'it\'s'` the end"#);
        assert_eq!(
            cut("1 1.5 1e3 2E-3 1_000 0xFF 1.a a.0.1"),
            "`1` `1.5` `1e3` `2E-3` `1_000` `0xFF` `1` `.` `a` `a` `.` `0` `.` `1` the end"
        );
        assert_eq!(
            cut("a**b//c==d!=e<=f>=g=h"),
            "`a` `**` `b` `//` `c` `==` `d` `!=` `e` `<=` `f` `>=` `g` `=` `h` the end"
        );
        assert_eq!(cut(""), "the end");
        assert_eq!(tokens("a ? b"), Err("`?` is not understood".to_owned()));
        assert_eq!(tokens("größe"), Err("`ö` is not understood".to_owned()));
        assert_eq!(tokens("'a\\'"), Err("a text has no closing quote".to_owned()));
    }
}
