//! The key that seals: 32 random bytes, known by an id that tells nothing of them.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::error::StoreError;
use crate::plan::hex;

/// Bytes of a key.
pub(super) const LENGTH: usize = 32;

/// Hex digits of an id behind its `k`.
const ID_DIGITS: usize = 12;

/// A key for the credential store. `Debug` shows its id only.
pub struct Key {
    bytes: Zeroizing<[u8; LENGTH]>,
    id: String,
}

impl Key {
    /// A new key from the operating system's random numbers.
    ///
    /// # Errors
    /// [`StoreError::Random`].
    pub fn generate() -> Result<Self, StoreError> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        SystemRandom::new().fill(bytes.as_mut_slice()).map_err(|_| StoreError::Random)?;
        Ok(Self::from_bytes(bytes))
    }

    /// A key from its text: base64 (RFC 4648, standard or URL-safe), with or without `=` at the end.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
        let alphabet = if text.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
        let mut bytes = Zeroizing::new([0; LENGTH]);
        // the length is looked at first: decoding a longer text would not fit
        let fits = text.trim_end_matches('=').len() == (LENGTH * 4).div_ceil(3);
        let length = GeneralPurpose::new(alphabet, lenient).decode_slice(text, bytes.as_mut_slice());
        (fits && length == Ok(LENGTH)).then(|| Self::from_bytes(bytes))
    }

    fn from_bytes(bytes: Zeroizing<[u8; LENGTH]>) -> Self {
        let hash = hex(digest(&SHA256, bytes.as_slice()));
        let id = format!("k{}", hash.get(..ID_DIGITS).unwrap_or_default());
        Self { bytes, id }
    }

    /// `k` and the first 12 hex digits of the key's SHA-256. Files and messages tell it; it opens nothing.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key as it is handed over: base64 with padding, 44 characters.
    pub fn text(&self) -> SecretString {
        SecretString::from(STANDARD.encode(self.bytes.as_slice()))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Whether a text has the form of an id. One that is read from a file becomes the name of a file.
pub(super) fn is_id(text: &str) -> bool {
    text.strip_prefix('k').is_some_and(|digits| {
        digits.len() == ID_DIGITS && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_text_of_a_key_is_read_again() {
        let key = Key::generate().expect("random numbers");
        let text = key.text();
        let text = text.expose_secret();
        assert_eq!((text.len(), text.ends_with('=')), (44, true));
        let forms = [text.to_owned(), text.trim_end_matches('=').to_owned(), text.replace('+', "-").replace('/', "_")];
        for form in forms {
            let read = Key::parse(&form).expect("a key");
            assert_eq!((read.bytes(), read.id()), (key.bytes(), key.id()));
        }
        assert!(is_id(key.id()));
        assert_ne!(Key::generate().expect("random numbers").id(), key.id());
    }

    /// SHA-256 of 32 zero bytes begins with 66687aadf862.
    #[test]
    fn the_id_is_that_of_the_bytes() {
        let key = Key::parse(&"A".repeat(43)).expect("a key");
        assert_eq!((key.id(), key.bytes()), ("k66687aadf862", [0; 32].as_slice()));
        assert_eq!(format!("{key:?}"), "Key(k66687aadf862)");
    }

    #[test]
    fn what_is_no_key_is_none() {
        let short = STANDARD.encode([7; 31]);
        let long = STANDARD.encode([7; 33]);
        let hex = "0".repeat(64);
        let bits = format!("{}B=", "A".repeat(42));
        for text in ["", "=", "key", &short, &long, &hex, &bits, &"=".repeat(44), &" ".repeat(44), &"A".repeat(10_000)]
        {
            assert!(Key::parse(text).is_none(), "{text}");
        }
        for text in ["", "k", "66687aadf862", "k66687aadf86", "k66687aadf8621", "k66687AADF862", "k../../../../"] {
            assert!(!is_id(text), "{text}");
        }
    }
}
