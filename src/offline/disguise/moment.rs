//! What is a time or a date, which stays: without it nothing that asks for what has changed can be shown.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Whether a text is a date or a time as APIs write them, and nothing else.
pub(super) fn is_moment(text: &str) -> bool {
    let head = text.as_bytes();
    if text.len() > 40 || !head.first().is_some_and(u8::is_ascii_alphanumeric) {
        return false;
    }
    DateTime::parse_from_rfc3339(text).is_ok()
        || DateTime::parse_from_rfc2822(text).is_ok()
        || ["%Y-%m-%dT%H:%M:%S%.f%z", "%Y-%m-%d %H:%M:%S%.f %z"]
            .iter()
            .any(|form| DateTime::parse_from_str(text, form).is_ok())
        || ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y/%m/%d %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%Y-%m-%dT%H:%M"]
            .iter()
            .any(|form| NaiveDateTime::parse_from_str(text, form).is_ok())
        || ["%Y-%m-%d", "%Y/%m/%d", "%m/%d/%Y", "%d.%m.%Y"]
            .iter()
            .any(|form| NaiveDate::parse_from_str(text, form).is_ok())
}

#[cfg(test)]
mod tests {
    use super::is_moment;

    #[test]
    fn times_are_known_in_many_forms() {
        for text in [
            "2024-01-31",
            "2024-01-31T10:00:00Z",
            "2024-01-31T10:00:00.123+0200",
            "2024-01-31 10:00:00",
            "Wed, 31 Jan 2024 10:00:00 GMT",
            "31.01.2024",
        ] {
            assert!(is_moment(text), "{text}");
        }
        for text in ["1706695200", "2024", "12", "2024-13-31", "a", "", "+1 555 0100", "192.0.2.1"] {
            assert!(!is_moment(text), "{text}");
        }
    }
}
