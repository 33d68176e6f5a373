//! Half characters: servers that cut text by UTF-16 units send `"\ud83d"` without its other half. RFC 8259 (8.2) leaves the meaning open;
//! here each becomes U+FFFD, as browsers do, so that one cut emoji does not stop a sync for ever.

/// The text with each unpaired surrogate escape replaced by `\ufffd`; `None` when there is none.
pub fn mend(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        let start = at + found;
        at = start + 2;
        let Some(unit) = unit(bytes, start) else { continue };
        at = start + 6;
        match unit {
            0xD800..=0xDBFF if unit_is_low(bytes, at) => at += 6,
            0xD800..=0xDFFF => {
                mended.get_or_insert_with(|| bytes.to_vec())[start + 2..start + 6].copy_from_slice(b"fffd");
            }
            _ => {}
        }
    }
    mended
}

/// The UTF-16 unit of a `\uXXXX` that stands here.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn unit_is_low(bytes: &[u8], at: usize) -> bool {
    unit(bytes, at).is_some_and(|unit| (0xDC00..=0xDFFF).contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::mend;

    #[test]
    fn only_half_characters_are_replaced() {
        let mended = |text: &str| mend(text.as_bytes()).map(|bytes| String::from_utf8(bytes).expect("UTF-8"));
        assert_eq!(mended(r#"["\ud83d\ude00", "\\ud83d", "\n"]"#), None);
        assert_eq!(mended(r#"["a\ud83d"]"#).as_deref(), Some(r#"["a\ufffd"]"#));
        assert_eq!(mended(r#"["\ude00\ud83d\ud83d\ude00"]"#).as_deref(), Some(r#"["\ufffd\ufffd\ud83d\ude00"]"#));
        assert_eq!(mended(r#""\\\ud83d"#).as_deref(), Some(r#""\\\ufffd"#));
        assert_eq!(mended("\\"), None);
        assert_eq!(mended(r"\ud8"), None);
    }
}
