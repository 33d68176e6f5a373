//! The ways in which servers write a text down, undone, with the place of each byte: so that a secret is found however it is written.

use std::ops::Range;

/// A text with one way of writing undone.
pub(super) struct Undone {
    /// as it reads then
    pub bytes: Vec<u8>,
    /// for each byte the place it was made from
    pub places: Vec<Range<usize>>,
    /// line breaks and spaces are gone, so that short words can come together by chance
    pub is_folded: bool,
}

/// A way of writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `%41` (RFC 3986, 2.1)
    Percent,
    /// `%41`, and `+` for a space
    Form,
    /// `\/`, `\u0041` (RFC 8259, 7)
    Json,
    /// `&amp;`, `&#65;`, `&#x41;`
    Html,
    /// broken into lines, as base64 in mails and keys in PEM
    Folded,
}

impl Spelling {
    pub(super) const ALL: [Self; 5] = [Self::Percent, Self::Form, Self::Json, Self::Html, Self::Folded];

    /// Whether there can be anything to undo.
    fn may_be_in(self, text: &[u8]) -> bool {
        match self {
            Self::Percent => text.contains(&b'%'),
            Self::Form => text.contains(&b'+'),
            Self::Json => text.contains(&b'\\'),
            Self::Html => text.contains(&b'&') && text.contains(&b';'),
            Self::Folded => text.iter().any(u8::is_ascii_whitespace),
        }
    }

    /// What begins here, and how many bytes it takes; none where it stands for itself.
    fn read(self, text: &[u8]) -> Option<(Character, usize)> {
        match (self, *text.first()?) {
            (Self::Percent | Self::Form, b'%') => {
                let (high, low) = (digit(text, 1, 16)?, digit(text, 2, 16)?);
                Some((Character::Byte(u8::try_from(high * 16 + low).ok()?), 3))
            }
            (Self::Form, b'+') => Some((Character::Byte(b' '), 1)),
            (Self::Json, b'\\') => json(text),
            (Self::Html, b'&') => html(text),
            (Self::Folded, byte) if byte.is_ascii_whitespace() => Some((Character::Nothing, 1)),
            _ => None,
        }
    }
}

enum Character {
    Byte(u8),
    Char(char),
    Nothing,
}

impl Undone {
    /// The text read this way; none where it would read the same.
    pub(super) fn of(text: &[u8], spelling: Spelling) -> Option<Self> {
        if !spelling.may_be_in(text) {
            return None;
        }
        let mut undone = Self {
            bytes: Vec::with_capacity(text.len()),
            places: Vec::with_capacity(text.len()),
            is_folded: spelling == Spelling::Folded,
        };
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            let rest = text.get(at..).unwrap_or_default();
            let (character, width) = spelling.read(rest).unwrap_or((Character::Byte(*byte), 1));
            let mut buffer = [0; 4];
            let bytes: &[u8] = match character {
                Character::Byte(byte) => &[byte],
                Character::Char(c) => c.encode_utf8(&mut buffer).as_bytes(),
                Character::Nothing => &[],
            };
            undone.bytes.extend_from_slice(bytes);
            undone.places.extend(bytes.iter().map(|_| at..at + width));
            at += width;
        }
        Some(undone)
    }

    /// The same read once more another way, with the places of the first text.
    pub(super) fn again(&self, spelling: Spelling) -> Option<Self> {
        let mut undone = Self::of(&self.bytes, spelling)?;
        for place in &mut undone.places {
            *place = self.place(place.clone())?;
        }
        undone.is_folded |= self.is_folded;
        Some(undone)
    }

    /// Where these bytes stand in the text.
    pub(super) fn place(&self, bytes: Range<usize>) -> Option<Range<usize>> {
        let places = self.places.get(bytes)?;
        Some(places.first()?.start..places.last()?.end)
    }
}

fn digit(text: &[u8], at: usize, radix: u32) -> Option<u32> {
    (*text.get(at)? as char).to_digit(radix)
}

fn json(text: &[u8]) -> Option<(Character, usize)> {
    let unit = |at: usize| {
        let is_escape = text.get(at..at + 2)? == b"\\u";
        is_escape.then_some(())?;
        (2..6).try_fold(0, |unit, nth| Some(unit * 16 + digit(text, at + nth, 16)?))
    };
    let byte = match text.get(1)? {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        byte @ (b'"' | b'\\' | b'/') => *byte,
        b'u' => {
            let first = unit(0)?;
            if let Some(c) = char::from_u32(first) {
                return Some((Character::Char(c), 6));
            }
            let second = unit(6)?;
            let c = char::decode_utf16([u16::try_from(first).ok()?, u16::try_from(second).ok()?]).next()?.ok()?;
            return Some((Character::Char(c), 12));
        }
        _ => return None,
    };
    Some((Character::Byte(byte), 2))
}

fn html(text: &[u8]) -> Option<(Character, usize)> {
    /// The longest reference that is read: `&#x0010FFFF;`.
    const WIDTH_MAX: usize = 12;
    let end = text.iter().take(WIDTH_MAX).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(text.get(1..end)?).ok()?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    };
    Some((Character::Char(c), end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_in_another_way_is_read() {
        for (spelling, text, expected) in [
            (Spelling::Percent, "a%2Fb%2fc%2", "a/b/c%2"),
            (Spelling::Form, "a+b%2B", "a b+"),
            (Spelling::Json, r#"a\/b\u0026\"\\n\ud83d\ude00\x\u12"#, r#"a/b&"\n😀\x\u12"#),
            (Spelling::Html, "&lt;a&#39;&#x2F;&amp;amp; &nope; &", "<a'/&amp; &nope; &"),
            (Spelling::Folded, "ab\r\n cd\te", "abcde"),
        ] {
            let undone = Undone::of(text.as_bytes(), spelling).expect(text);
            assert_eq!(String::from_utf8(undone.bytes).expect("text"), expected, "{text}");
        }
        assert!(Undone::of(b"plain", Spelling::Percent).is_none());
    }

    #[test]
    fn places_are_those_of_the_first_text() {
        let undone = Undone::of(b"x%255Cny", Spelling::Percent).expect("it has an escape");
        let again = undone.again(Spelling::Percent).expect("and one in it");
        assert_eq!((again.bytes.as_slice(), again.place(1..3)), (b"x\\ny".as_slice(), Some(1..7)));
    }
}
