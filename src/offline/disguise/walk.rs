//! Goes through bodies and URLs twice: to learn what in them is personal, and to replace it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use indexmap::IndexMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Number, Value};
use url::Url;

use super::kind::{self, Kind, by_key, by_shape, is_id_key, plain_key};
use super::moment::is_moment;
use super::stand_in::Maker;
use super::swaps::{Replaced, Rules, Swaps};
use super::text::Content;

/// Texts inside of texts that are looked at: JSON in a text, a URL in a URL.
const DEPTH_MAX: usize = 4;

/// Learns what in the answers of an API is personal.
pub struct Learner {
    rules: Rules,
    found: IndexMap<String, Kind>,
    numbers: BTreeSet<u64>,
    kept: HashSet<String>,
    tally: BTreeMap<(String, Kind), u64>,
    left: BTreeMap<String, u64>,
}

impl Learner {
    /// Nothing is known yet.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            found: IndexMap::new(),
            numbers: BTreeSet::new(),
            kept: HashSet::new(),
            tally: BTreeMap::new(),
            left: BTreeMap::new(),
        }
    }

    /// Looks at the body of an answer.
    pub(in crate::offline) fn body(&mut self, content: &Content) {
        match content {
            Content::Json(value) => self.value(None, value, 0),
            Content::Lines(lines) => lines.iter().for_each(|line| self.value(None, line, 0)),
            Content::Empty | Content::Rows(..) | Content::Xml(_) | Content::Plain(_) => {
                let _ = content.mapped(&mut Value::clone, &mut |key, text| {
                    self.text(key, text, 0);
                    text.to_owned()
                });
            }
        }
    }

    /// Looks at a value of the connection's settings or of the input.
    pub fn setting(&mut self, value: &Value) {
        self.value(None, value, 0);
    }

    /// Looks at a header of an answer.
    pub fn header(&mut self, value: &str) {
        for piece in value.split(['<', '>', ',', ' ', '"']).filter(|piece| kind::url(piece).is_some()) {
            self.text(None, piece, 0);
        }
    }

    fn value(&mut self, key: Option<&str>, value: &Value, depth: usize) {
        match value {
            Value::Null | Value::Bool(_) => {}
            Value::Number(number) => self.number(key, number),
            Value::String(text) => self.text(key, text, depth),
            Value::Array(items) => items.iter().for_each(|item| self.value(key, item, depth)),
            Value::Object(members) => {
                for (name, value) in members {
                    // a map may have people for keys
                    if matches!(by_shape(name), Some(Kind::Email | Kind::Id | Kind::Phone)) {
                        self.text(None, name, depth);
                    }
                    self.value(Some(name), value, depth);
                }
            }
        }
    }

    fn number(&mut self, key: Option<&str>, number: &Number) {
        let Some(key) = key else { return };
        let text = number.to_string();
        if self.rules.keeps(Some(key)) || self.rules.says(&text) {
            self.kept.insert(text);
            return;
        }
        let by_key = by_key(key);
        if by_key == Some(Kind::Position) {
            self.count(Some(key), Kind::Position);
        } else if matches!(by_key, Some(Kind::Phone | Kind::Code | Kind::Secret)) || self.rules.replaces(Some(key)) {
            if number.is_u64() && text.len() > 1 {
                self.note(Some(key), &text, Kind::Code);
            }
        } else if is_id_key(key) && kind::is_long_number(&text) {
            self.id_number(Some(key), &text);
        }
    }

    fn text(&mut self, key: Option<&str>, text: &str, depth: usize) {
        if text.trim().is_empty() || depth > DEPTH_MAX {
            return;
        }
        if self.rules.keeps(key) {
            self.kept.insert(text.to_owned());
            return;
        }
        if let Some(inner) = nested(text) {
            return self.value(key, &inner, depth + 1);
        }
        if let Some(url) = kind::url(text) {
            return self.url(key, text, &url, depth);
        }
        match self.kind(key, text) {
            Some(Kind::Id) if kind::is_long_number(text) => self.id_number(key, text),
            Some(kind) => self.note(key, text, kind),
            None => self.leave(key),
        }
        for piece in text.split(|c: char| !c.is_alphanumeric() && !"._%+-@".contains(c)) {
            let piece = piece.trim_matches(['.', '-']);
            let is_known = piece == text || self.rules.says(piece);
            match by_shape(piece) {
                Some(kind @ (Kind::Email | Kind::Id)) if !is_known => self.note(key, piece, kind),
                // the number at the end of `gid://shop/Order/450789469`
                _ if text.contains("://") && kind::is_long_number(piece) && !is_known => self.id_number(key, piece),
                _ => {}
            }
        }
    }

    fn kind(&self, key: Option<&str>, text: &str) -> Option<Kind> {
        let named = key.and_then(by_key);
        let shape = by_shape(text);
        let kind = match (named, shape) {
            (Some(Kind::Secret), _) if text.len() > 3 => return Some(Kind::Secret),
            (Some(Kind::Birth), _) => Some(Kind::Birth),
            _ if is_moment(text) => None,
            (_, Some(Kind::Email | Kind::Ip)) => shape,
            _ if self.rules.replaces(key) => shape.or(Some(Kind::Code)),
            _ if text.contains("://") => None,
            // a number is no name, and a word no number to call
            (Some(Kind::Name), _) if kind::is_id(text) => Some(Kind::Id),
            (Some(Kind::Name), _) if !text.contains(char::is_alphabetic) => shape,
            (Some(Kind::Phone), _) if !text.contains(|c: char| c.is_ascii_digit()) => shape,
            (Some(Kind::Position | Kind::Secret), _) => shape,
            (Some(kind), _) if text.chars().count() > 1 => Some(kind),
            _ if key.is_some_and(is_id_key) && kind::is_id(text) => Some(Kind::Id),
            _ => shape,
        };
        kind.filter(|_| self.rules.replaces(key) || !self.rules.says(text))
    }

    fn url(&mut self, key: Option<&str>, text: &str, url: &Url, depth: usize) {
        if self.rules.says(text) {
            return;
        }
        if !self.rules.origins.contains(&url.origin().ascii_serialization()) {
            return self.note(key, text, Kind::Url);
        }
        for segment in url.path_segments().into_iter().flatten() {
            let segment = percent_decode_str(segment).decode_utf8_lossy().into_owned();
            self.text(None, &segment, depth + 1);
        }
        for (name, value) in url.query_pairs() {
            self.text(Some(&name), &value, depth + 1);
        }
    }

    fn id_number(&mut self, key: Option<&str>, text: &str) {
        if let Ok(number) = text.parse()
            && !self.rules.says(text)
        {
            self.numbers.insert(number);
            self.count(key, Kind::Id);
        }
    }

    fn note(&mut self, key: Option<&str>, text: &str, kind: Kind) {
        // what stands for it is known: a test asks with that
        if self.rules.secrets.iter().any(|(secret, _)| secret == text) {
            return self.count(key, Kind::Secret);
        }
        self.found.entry(text.to_owned()).or_insert(kind);
        self.count(key, kind);
    }

    /// A text stays: worth a word where its key says that it could tell of somebody.
    fn leave(&mut self, key: Option<&str>) {
        if let Some(key) = key
            && matches!(by_key(key), Some(Kind::Name | Kind::Email | Kind::Phone | Kind::Address))
        {
            *self.left.entry(key.to_owned()).or_default() += 1;
        }
    }

    fn count(&mut self, key: Option<&str>, kind: Kind) {
        let key = key.map_or_else(|| "(elsewhere)".to_owned(), str::to_owned);
        *self.tally.entry((key, kind)).or_default() += 1;
    }

    /// All is known: what replaces it, made with a key that is thrown away.
    pub fn disguise(self, key: &[u8]) -> Disguise {
        let Self { rules, mut found, numbers, kept, tally, left } = self;
        found.retain(|text, kind| *kind == Kind::Secret || !kept.contains(text));
        let maker = Maker::new(key);
        let swaps = Swaps::new(&maker, &found, &numbers, &kept, &rules);
        let replaced = tally.into_iter().map(|((key, kind), count)| Replaced { key, kind, count }).collect();
        Disguise { rules, swaps, maker, replaced, left: left.into_iter().collect() }
    }
}

/// Replaces what was learned.
pub struct Disguise {
    rules: Rules,
    swaps: Swaps,
    maker: Maker,
    replaced: Vec<Replaced>,
    left: Vec<(String, u64)>,
}

impl Disguise {
    /// From now on what stands under the first address stands under the second.
    pub fn moves(&mut self, base: (String, String)) {
        self.rules.base = Some(base);
    }

    /// What was replaced, by key.
    pub fn replaced(&self) -> &[Replaced] {
        &self.replaced
    }

    /// Keys that could tell of somebody, with how often what stands under them stays: the integration's files say the same words, or
    /// it does not look like what the key means.
    pub fn left(&self) -> &[(String, u64)] {
        &self.left
    }

    /// The body of an answer.
    pub(in crate::offline) fn body(&self, content: &Content) -> Content {
        content.mapped(&mut |value| self.value(None, value), &mut |key, text| self.keyed(key, text, 0))
    }

    /// A value under a key.
    pub fn value(&self, key: Option<&str>, value: &Value) -> Value {
        self.inner(key, value, 0)
    }

    /// A text that stands under no key: a piece of a request.
    pub fn text(&self, text: &str) -> String {
        self.keyed(None, text, 0)
    }

    /// A header: the URLs in it, and all that is known.
    pub fn header(&self, value: &str) -> String {
        if kind::url(value).is_some() {
            return self.text(value);
        }
        let mut out = String::new();
        let mut rest = value;
        while let Some((before, behind)) = rest.split_once('<') {
            let (url, after) = behind.split_once('>').unwrap_or((behind, ""));
            out += &format!("{}<{}>", self.swaps.inside(before), self.text(url));
            rest = after;
        }
        out + &self.swaps.inside(rest)
    }

    fn inner(&self, key: Option<&str>, value: &Value, depth: usize) -> Value {
        match value {
            Value::Null | Value::Bool(_) => value.clone(),
            Value::Number(number) => self.number(key, number),
            Value::String(text) => self.keyed(key, text, depth).into(),
            Value::Array(items) => items.iter().map(|item| self.inner(key, item, depth)).collect(),
            Value::Object(members) => {
                let member = |(name, value): (&String, &Value)| (self.name(name), self.inner(Some(name), value, depth));
                Value::Object(members.iter().map(member).collect())
            }
        }
    }

    /// The name of a member: those of the API stay.
    fn name(&self, name: &str) -> String {
        let is_person =
            matches!(by_shape(name), Some(Kind::Email | Kind::Id | Kind::Phone)) || kind::is_long_number(name);
        if is_person { self.keyed(None, name, DEPTH_MAX) } else { self.swaps.without_secrets(name) }
    }

    fn number(&self, key: Option<&str>, number: &Number) -> Value {
        let text = number.to_string();
        if self.rules.keeps(key) {
            return Value::Number(number.clone());
        }
        if key.and_then(by_key) == Some(Kind::Position) && number.is_f64() {
            let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len()).min(6);
            let made = (self.maker.fraction(&text) - 0.5) * 120.0;
            return format!("{made:.decimals$}")
                .parse::<f64>()
                .ok()
                .and_then(Number::from_f64)
                .map_or(Value::Null, Value::Number);
        }
        let made = self.swaps.exact(&text).and_then(|made| made.parse::<u64>().ok());
        made.map_or_else(|| Value::Number(number.clone()), Value::from)
    }

    fn keyed(&self, key: Option<&str>, text: &str, depth: usize) -> String {
        if self.rules.keeps(key) || depth > DEPTH_MAX {
            return self.swaps.without_secrets(text);
        }
        if let Some(known) = self.swaps.exact(text) {
            return known.to_owned();
        }
        if is_moment(text) {
            return text.to_owned();
        }
        if let Some(inner) = nested(text) {
            let made = self.inner(key, &inner, depth + 1);
            return if made == inner { text.to_owned() } else { made.to_string() };
        }
        if kind::url(text).is_some() || (text.starts_with('/') && text.contains('?')) {
            return self.url(text, depth);
        }
        let made = self.swaps.inside(text);
        if made != text {
            return made;
        }
        self.decoded(text, depth).unwrap_or(made)
    }

    /// A text that is written in another way, with what is in it replaced.
    fn decoded(&self, text: &str, depth: usize) -> Option<String> {
        if text.contains('%') {
            let plain = percent_decode_str(text).decode_utf8().ok()?;
            let made = self.keyed(None, &plain, depth + 1);
            return (plain != text && made != plain).then(|| encoded(&made));
        }
        if text.len() < 8 || !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=_-".contains(&byte)) {
            return None;
        }
        for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD] {
            let Some(plain) = engine.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
                continue;
            };
            if plain.chars().any(char::is_control) {
                return None;
            }
            let made = self.keyed(None, &plain, depth + 1);
            return (made != plain).then(|| engine.encode(made));
        }
        None
    }

    /// A URL, piece by piece; what does not change stays as it is written.
    fn url(&self, text: &str, depth: usize) -> String {
        let mut head = String::new();
        let mut rest = text;
        if let Some((live, test)) = &self.rules.base
            && let Some(behind) = text.strip_prefix(live.as_str())
            && (behind.is_empty() || behind.starts_with(['/', '?', '#']))
        {
            head.push_str(test);
            rest = behind;
        } else if let Some((scheme, behind)) = text.split_once("://") {
            let end = behind.find(['/', '?', '#']).unwrap_or(behind.len());
            head = format!("{scheme}://{}", self.swaps.without_secrets(&behind[..end]));
            rest = &behind[end..];
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let segments = path.split('/').map(|segment| self.piece(segment, false, depth));
        let mut out = head + &segments.collect::<Vec<_>>().join("/");
        if let Some(query) = query {
            let pairs = query.split('&').map(|pair| match pair.split_once('=') {
                Some((name, value)) => format!("{}={}", self.piece(name, true, depth), self.piece(value, true, depth)),
                None => self.piece(pair, true, depth),
            });
            out += &format!("?{}", pairs.collect::<Vec<_>>().join("&"));
        }
        out
    }

    fn piece(&self, piece: &str, is_form: bool, depth: usize) -> String {
        let spaced = if is_form { piece.replace('+', " ") } else { piece.to_owned() };
        let plain = percent_decode_str(&spaced).decode_utf8_lossy().into_owned();
        let made = self.keyed(None, &plain, depth + 1);
        if made == plain { piece.to_owned() } else { encoded(&made) }
    }
}

/// All but what never needs it (RFC 3986, 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// A map or list of JSON inside of a text.
fn nested(text: &str) -> Option<Value> {
    let is_nested = text.trim_start().starts_with(['{', '[']);
    serde_json::from_str::<Value>(text).ok().filter(|value| is_nested && (value.is_object() || value.is_array()))
}

/// Keys as they are compared: `First-Name` is `firstname`.
pub fn keys<'k>(keys: impl IntoIterator<Item = &'k String>) -> BTreeSet<String> {
    keys.into_iter().map(|key| plain_key(key)).collect()
}
