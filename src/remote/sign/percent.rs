//! Percent-encoding as signatures need it.

use percent_encoding::utf8_percent_encode;

use super::super::redact::UNRESERVED;

/// The text with everything but letters, digits, `-`, `.`, `_` and `~` as `%XX` in capitals (RFC 5849, 3.6).
pub(crate) fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}
