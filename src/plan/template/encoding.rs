//! Texts made of bytes, as APIs and their signatures spell them.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// All that stays as it is: `unreserved` of RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// All but letters, digits, `-`, `.`, `_` and `~` as `%XX` in capitals (RFC 3986, 2.1; RFC 5849, 3.6): the slash too, so that it is one
/// segment of a path. Text counts as its UTF-8.
pub fn percent_encoded(text: impl AsRef<[u8]>) -> String {
    percent_encode(text.as_ref(), UNRESERVED).to_string()
}

/// Two lowercase hexadecimal digits for each byte.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
