//! What of a project file may be shown: all but the secrets that stand in it.

/// The text with every value under `credentials:` made unreadable, `${NAME}` excepted. No character moves, and it is the same YAML.
///
/// It works on text and not on the parsed document, so that it holds for a file that does not parse too.
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    // the column of the key `credentials` while its block lasts, and how many brackets of its flow map are open
    let mut block: Option<usize> = None;
    let mut brackets = 0_usize;
    for line in text.split_inclusive('\n') {
        let indentation = line.len() - line.trim_start().len();
        if brackets == 0 && block.is_some_and(|column| !line.trim().is_empty() && indentation <= column) {
            block = None;
        }
        if brackets > 0 || block.is_some() {
            brackets = (brackets + line.matches(['{', '[']).count()).saturating_sub(line.matches(['}', ']']).count());
            mask(line, true, &mut out);
            continue;
        }
        let Some(at) = line.find("credentials").filter(|_| !line.trim_start().starts_with('#')) else {
            out.push_str(line);
            continue;
        };
        let rest = at + "credentials".len();
        out.push_str(&line[..rest]);
        mask(&line[rest..], false, &mut out);
        brackets = line[rest..].matches(['{', '[']).count().saturating_sub(line[rest..].matches(['}', ']']).count());
        block = Some(indentation);
    }
    out
}

/// Keeps keys, references to the environment, quotes and brackets; all else becomes dots.
fn mask(region: &str, mut expects_key: bool, out: &mut String) {
    let mut rest = region;
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
            '{' | ',' => expects_key = true,
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
    let length = inside.find('}')?;
    inside[..length].chars().all(is_word).then_some("${}".len() + length)
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
    use super::masked;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let text = "database: a.duckdb # credentials are below\nconnections:\n  one:\n    provider: p\n    credentials:\n      \
                    token: sk_live-1 # old: sk_0\n      \"user\": \"${USER_1}\"\n      pass: \"p@ss: w'ord\n\n    config: { region: eu }\n  \
                    two: { credentials: { api_key: k1, other: !x }, provider: p2 }\n  three:\n    credentials: { a: b,\n c: d }\n    provider: q\n";
        let shown = masked(text);
        for secret in ["sk_live", "sk_0", "p@ss", "w'ord", "k1", "!x", " b,", " d "] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        for kept in ["a.duckdb", "token: •", "\"user\": \"${USER_1}\"", "config: { region: eu }", "api_key: ••", "provider: q\n"] {
            assert!(shown.contains(kept), "{kept} not in {shown}");
        }
        assert_eq!(shown.chars().count(), text.chars().count());
    }
}
