//! The tokens of a JSON text, one after the other. What most of them look like is told here; what is rare in them or wrong is left to jiter.

use bumpalo::Bump;
use jiter::{Jiter, JiterError, JiterErrorType, JsonErrorType};

/// Bytes up to which a number is looked at here.
const NUMBER_BYTES_MAX: usize = 64;

/// What is wrong with a text, and the byte at which that was seen.
pub(super) type Fault = (JsonErrorType, usize);

/// A text, and how far it is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tokens<'a> {
    text: &'a str,
    at: usize,
    /// times that something was read which is not written so: white space, an escape, a name for the second time
    loose: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, loose: 0 }
    }

    /// Bytes that are read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Goes on at a byte that another reading of the same text has come to.
    pub(super) fn go_to(&mut self, at: usize) {
        self.at = at;
    }

    /// The text that was read from there on.
    pub(super) fn since(&self, from: &Self) -> &'a str {
        &self.text[from.at..self.at]
    }

    /// What was just read is not written so.
    pub(super) fn loosen(&mut self) {
        self.loose += 1;
    }

    /// Whether nothing of that text is loose: it is what the values in it are written as.
    pub(super) fn is_compact_since(&self, from: &Self) -> bool {
        self.loose == from.loose
    }

    /// About which part of the text is read, of 1.
    #[expect(clippy::cast_precision_loss, reason = "about how much is read")]
    pub(super) fn part(&self) -> f64 {
        self.at as f64 / self.text.len() as f64
    }

    /// The byte with which the next value begins.
    ///
    /// # Errors
    /// The text ends.
    #[inline]
    pub(super) fn value(&mut self) -> Result<u8, Fault> {
        self.next().ok_or((JsonErrorType::EofWhileParsingValue, self.at))
    }

    /// Whether a list has a first item, from its bracket on.
    ///
    /// # Errors
    /// The text ends.
    pub(super) fn first_item(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        match self.next() {
            Some(b']') => Ok(self.end()),
            Some(_) => Ok(true),
            None => Err((JsonErrorType::EofWhileParsingList, self.at)),
        }
    }

    /// Whether a list has another item, from behind one on.
    ///
    /// # Errors
    /// Anything but a comma with an item behind it, or the end of the list.
    #[inline]
    pub(super) fn next_item(&mut self) -> Result<bool, Fault> {
        match self.next() {
            Some(b']') => Ok(self.end()),
            Some(b',') => {
                self.at += 1;
                match self.next() {
                    Some(b']') => Err((JsonErrorType::TrailingComma, self.at)),
                    Some(_) => Ok(true),
                    None => Err((JsonErrorType::EofWhileParsingValue, self.at)),
                }
            }
            Some(_) => Err((JsonErrorType::ExpectedListCommaOrEnd, self.at)),
            None => Err((JsonErrorType::EofWhileParsingList, self.at)),
        }
    }

    /// Whether an object has a first member, from its brace on.
    ///
    /// # Errors
    /// Anything but a name, or the end of the object.
    pub(super) fn first_member(&mut self) -> Result<bool, Fault> {
        self.at += 1;
        match self.next() {
            Some(b'"') => Ok(true),
            Some(b'}') => Ok(self.end()),
            Some(_) => Err((JsonErrorType::KeyMustBeAString, self.at)),
            None => Err((JsonErrorType::EofWhileParsingObject, self.at)),
        }
    }

    /// Whether an object has another member, from behind one on.
    ///
    /// # Errors
    /// Anything but a comma with a name behind it, or the end of the object.
    #[inline]
    pub(super) fn next_member(&mut self) -> Result<bool, Fault> {
        match self.next() {
            Some(b',') => {
                self.at += 1;
                match self.next() {
                    Some(b'"') => Ok(true),
                    Some(b'}') => Err((JsonErrorType::TrailingComma, self.at)),
                    Some(_) => Err((JsonErrorType::KeyMustBeAString, self.at)),
                    None => Err((JsonErrorType::EofWhileParsingValue, self.at)),
                }
            }
            Some(b'}') => Ok(self.end()),
            Some(_) => Err((JsonErrorType::ExpectedObjectCommaOrEnd, self.at)),
            None => Err((JsonErrorType::EofWhileParsingObject, self.at)),
        }
    }

    /// Whether this is a part of the text, and no text with escapes that was read from it.
    #[inline]
    pub(super) fn holds(&self, part: &str) -> bool {
        (part.as_ptr() as usize).wrapping_sub(self.text.as_ptr() as usize) < self.text.len()
    }

    /// Takes the name that stands here with its colon if it is this part of the text, which is a name too.
    #[inline]
    pub(super) fn takes_name(&mut self, known: &str) -> bool {
        let (from, to) = (self.at + 1, self.at + 1 + known.len());
        let bytes = self.text.as_bytes();
        let is_it = bytes.get(to..to + 2) == Some(b"\":") && bytes[from..to] == *known.as_bytes();
        if is_it {
            self.at = to + 2;
        }
        is_it
    }

    /// The name that stands here, and its colon. One with escapes is put into the arena.
    ///
    /// # Errors
    /// It is no name, or has no colon.
    pub(super) fn name(&mut self, arena: &'a Bump) -> Result<&'a str, Fault> {
        let name = self.string(arena)?;
        match self.next() {
            Some(b':') => self.at += 1,
            Some(_) => return Err((JsonErrorType::ExpectedColon, self.at)),
            None => return Err((JsonErrorType::EofWhileParsingObject, self.at)),
        }
        Ok(name)
    }

    /// The text that begins with the quote here. One with escapes is put into the arena.
    ///
    /// # Errors
    /// It has no end, a control character, or an escape that is none.
    #[inline]
    pub(super) fn string(&mut self, arena: &'a Bump) -> Result<&'a str, Fault> {
        let from = self.at + 1;
        let to = from + plain(&self.text.as_bytes()[from..]);
        if self.text.as_bytes().get(to) == Some(&b'"') {
            self.at = to + 1;
            return Ok(&self.text[from..to]);
        }
        self.otherwise(|jiter| jiter.next_str().map(|decoded| &*arena.alloc_str(decoded)))
    }

    /// The number that begins here, as it is spelled.
    ///
    /// # Errors
    /// It is none.
    #[inline]
    pub(super) fn number(&mut self) -> Result<&'a str, Fault> {
        let bytes = self.text.as_bytes();
        let behind_digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let from = self.at;
        let first = from + usize::from(bytes.get(from) == Some(&b'-'));
        let mut to = behind_digits(first);
        let mut is_plain = to == first + 1 || (to > first && bytes[first] != b'0');
        if bytes.get(to) == Some(&b'.') {
            let fraction = to + 1;
            to = behind_digits(fraction);
            is_plain &= to > fraction;
        }
        is_plain &= to - from <= NUMBER_BYTES_MAX && !matches!(bytes.get(to), Some(b'.' | b'e' | b'E'));
        if is_plain {
            self.at = to;
        } else {
            self.otherwise(|jiter| {
                let peek = jiter.peek()?;
                jiter.known_number_bytes(peek).map(drop)
            })?;
        }
        Ok(&self.text[from..self.at])
    }

    /// Takes `true`, `false` or `null`.
    ///
    /// # Errors
    /// Something else stands here.
    pub(super) fn word(&mut self, word: &str) -> Result<(), Fault> {
        if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        self.otherwise(Jiter::next_skip)
    }

    /// Nothing but white space is left.
    ///
    /// # Errors
    /// Something is.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        self.next().map_or(Ok(()), |_| Err((JsonErrorType::TrailingCharacters, self.at)))
    }

    /// The first byte behind white space.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => {
                    self.at += 1;
                    self.loose += 1;
                }
                other => return other.copied(),
            }
        }
    }

    fn end(&mut self) -> bool {
        self.at += 1;
        false
    }

    #[cold]
    fn otherwise<T>(&mut self, read: impl FnOnce(&mut Jiter<'a>) -> Result<T, JiterError>) -> Result<T, Fault> {
        let mut jiter = Jiter::new(&self.text.as_bytes()[self.at..]);
        let read = read(&mut jiter);
        let from = self.at;
        self.at += jiter.current_index();
        self.loose += 1;
        read.map_err(|JiterError { error_type, index }| match error_type {
            JiterErrorType::JsonError(kind) => (kind, from + index),
            JiterErrorType::WrongType { .. } => (JsonErrorType::ExpectedSomeValue, from + index),
        })
    }
}

/// Bytes before the first one that JSON escapes in a text: a quote, a backslash, a control character. Looks at eight at once.
pub(super) fn plain(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // the lowest high bit that is set tells of the first byte below `least`, which is at most 0x80
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word & HIGH;
    let escaped = |word: u64| {
        let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        below(word, b' ') | is(b'"') | is(b'\\')
    };
    let first = |from: usize, word: &[u8; 8]| {
        let found = escaped(u64::from_le_bytes(*word));
        (found != 0).then(|| from + found.trailing_zeros() as usize / 8)
    };
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().position(|byte| *byte < b' ' || *byte == b'"' || *byte == b'\\').unwrap_or(text.len());
    };
    for (at, word) in text.as_chunks::<8>().0.iter().enumerate() {
        if let Some(found) = first(at * 8, word) {
            return found;
        }
    }
    // some of these were looked at before
    first(text.len() - 8, last).unwrap_or(text.len())
}
