//! Records as they came, kept beside their rows (`raw: true`).

use std::borrow::Cow;

use arrow::array::StringArray;
use xxhash_rust::xxh3::xxh3_64;

use super::{Json, parse};

/// The records of a page's rows as they came: compact JSON with their own order of members and spelling of numbers.
#[derive(Debug, Clone, Default)]
pub struct Raw {
    /// one after the other
    texts: String,
    /// where each begins and ends; none for one that is not kept
    places: Vec<Option<(usize, usize)>>,
    hashes: Vec<u64>,
}

impl Raw {
    /// Adds the record of the next row; gives the bytes it takes.
    pub fn push(&mut self, record: &Json<'_>) -> usize {
        let start = self.texts.len();
        record.write_text(&mut self.texts, usize::MAX);
        self.hashes.push(xxh3_64(&self.texts.as_bytes()[start..]));
        self.places.push(Some((start, self.texts.len())));
        self.texts.len() - start
    }

    /// xxh3-64 of each record's text as it came, also of one that holds what [`Raw::hide_secrets`] has taken out: what is kept of that
    /// one has another hash.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// The kept text of each row's record.
    pub fn texts(&self) -> StringArray {
        self.places.iter().map(|place| place.and_then(|(start, end)| self.texts.get(start..end))).collect()
    }

    /// Takes out what `redact` masks: in texts, names and numbers. A record that shows a secret even then is not kept.
    pub fn hide_secrets(&mut self, redact: &dyn for<'t> Fn(&'t str) -> Cow<'t, str>) {
        // all at once: nearly always there is nothing, and then this is all it costs
        if !changes(redact, &self.texts) {
            return;
        }
        let mut texts = String::with_capacity(self.texts.len());
        for place in &mut self.places {
            let Some((from, to)) = *place else { continue };
            let text = &self.texts[from..to];
            let start = texts.len();
            if changes(redact, text) {
                let masked = parse(text.as_bytes()).map(|record| masked(&record, redact).to_text()).unwrap_or_default();
                if masked.is_empty() || changes(redact, &masked) {
                    *place = None;
                    continue;
                }
                texts.push_str(&masked);
            } else {
                texts.push_str(text);
            }
            *place = Some((start, texts.len()));
        }
        self.texts = texts;
    }
}

fn changes(redact: &dyn for<'t> Fn(&'t str) -> Cow<'t, str>, text: &str) -> bool {
    matches!(redact(text), Cow::Owned(clean) if clean != text)
}

fn masked(value: &Json<'_>, redact: &dyn for<'t> Fn(&'t str) -> Cow<'t, str>) -> Json<'static> {
    let clean = |text: &str| -> Cow<'static, str> { redact(text).into_owned().into() };
    match value {
        Json::Null => Json::Null,
        Json::Bool(value) => Json::Bool(*value),
        Json::Number(text) if changes(redact, text) => Json::String(clean(text)),
        Json::Number(text) => Json::Number(text.clone().into_owned().into()),
        Json::String(text) => Json::String(clean(text)),
        Json::Array(items) => Json::Array(items.iter().map(|item| masked(item, redact)).collect()),
        Json::Object(members) => {
            Json::Object(members.iter().map(|(name, value)| (clean(name), masked(value, redact))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn raw(texts: &[&str]) -> Raw {
        let mut raw = Raw::default();
        for text in texts {
            let json = parse(text.as_bytes()).expect("JSON");
            assert_eq!(raw.push(&json), json.to_text().len());
        }
        raw
    }

    fn kept(raw: &Raw) -> Vec<Option<String>> {
        raw.texts().iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn order_and_spelling_are_kept_and_white_space_is_not() {
        let raw = raw(&[r#" {"b" : 1.50, "a":[1E2, "\u00e9\n"]} "#, "{}"]);
        assert_eq!(kept(&raw), [Some("{\"b\":1.50,\"a\":[1E2,\"é\\n\"]}".to_owned()), Some("{}".to_owned())]);
        assert_eq!(raw.hashes()[1], xxh3_64(b"{}"));
    }

    #[test]
    fn secrets_are_taken_out_and_the_hash_is_of_what_came() {
        let texts =
            [r#"{"a":"x sesame y","n":7}"#, r#"{"b":1}"#, r#"{"pin":12345,"sesame":[true,null]}"#, r#"{"a":1}"#];
        let mut raw = raw(&texts);
        let before = raw.hashes().to_vec();
        // the last is one that only the whole text shows
        raw.hide_secrets(&|text| {
            text.replace("sesame", "***").replace("12345", "***").replace("{\"a\":1}", "***").into()
        });
        let expected =
            [Some(r#"{"a":"x *** y","n":7}"#), Some(r#"{"b":1}"#), Some(r#"{"pin":"***","***":[true,null]}"#), None];
        assert_eq!(kept(&raw), expected.map(|text| text.map(str::to_owned)));
        assert_eq!(raw.hashes(), before);
        assert!(raw.texts().is_null(3));
    }
}
