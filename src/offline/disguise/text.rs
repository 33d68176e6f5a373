//! A body as what it is: JSON, lines of JSON, rows, elements, or text.

use quick_xml::events::{BytesText, Event};
use quick_xml::{Reader, Writer};
use serde_json::{Map, Value};

/// The body of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::offline) enum Content {
    /// none
    Empty,
    /// one value
    Json(Value),
    /// a value in each line
    Lines(Vec<Value>),
    /// rows, the first with the names; and what stands between their cells
    Rows(u8, Vec<Vec<String>>),
    /// elements
    Xml(String),
    /// anything else
    Plain(String),
}

/// Reads a body.
///
/// # Errors
/// It is no text.
pub(in crate::offline) fn read(body: &[u8]) -> Result<Content, String> {
    if body.is_empty() {
        return Ok(Content::Empty);
    }
    let files = crate::record::unpack(body).map_err(|error| format!("it cannot be unpacked: {error}"))?;
    let [file] = files.as_slice() else {
        return Err("it is an archive of several files, which cannot be recorded".to_owned());
    };
    let text =
        std::str::from_utf8(file).map_err(|_| "it is no text, so nobody can tell what in it is personal".to_owned())?;
    let text = text.trim_start_matches('\u{feff}');
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(Content::Json(value));
    }
    let lines: Result<Vec<Value>, _> =
        text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str).collect();
    match lines {
        Ok(lines) if !lines.is_empty() => return Ok(Content::Lines(lines)),
        _ => {}
    }
    if text.trim_start().starts_with('<') {
        return Ok(Content::Xml(text.to_owned()));
    }
    Ok(rows(text).unwrap_or_else(|| Content::Plain(text.to_owned())))
}

/// A table, if each of its lines has as many cells as the first, and more than one.
fn rows(text: &str) -> Option<Content> {
    let head = text.lines().next()?;
    let mut marks: Vec<(usize, u8)> = [b',', b';', b'\t', b'|']
        .iter()
        .map(|mark| (head.bytes().filter(|byte| byte == mark).count(), *mark))
        .collect();
    marks.sort_unstable();
    let (_, mark) = marks.pop().filter(|(count, _)| *count > 0)?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).delimiter(mark).from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for row in reader.records() {
        rows.push(row.ok()?.iter().map(str::to_owned).collect());
    }
    Some(Content::Rows(mark, rows))
}

/// What looks at the texts of a body, each under its key, and may give another.
pub(super) type Each<'e> = dyn FnMut(Option<&str>, &str) -> String + 'e;

impl Content {
    /// The same with each text as `each` gives it; `values` does so with JSON.
    pub(super) fn mapped(&self, values: &mut dyn FnMut(&Value) -> Value, each: &mut Each<'_>) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Json(value) => Self::Json(values(value)),
            Self::Lines(lines) => Self::Lines(lines.iter().map(values).collect()),
            Self::Rows(mark, rows) => Self::Rows(*mark, mapped_rows(rows, each)),
            Self::Xml(text) => mapped_xml(text, each).map_or_else(|| Self::Plain(each(None, text)), Self::Xml),
            Self::Plain(text) => Self::Plain(each(None, text)),
        }
    }

    /// Its words in a test.
    pub(in crate::offline) fn written(&self) -> Option<(&'static str, Value)> {
        match self {
            Self::Empty => None,
            // null would be no body
            Self::Json(Value::Null) => Some(("text", "null".into())),
            Self::Json(value) => Some(("body", value.clone())),
            Self::Lines(lines) => {
                Some(("text", lines.iter().map(|line| format!("{line}\n")).collect::<String>().into()))
            }
            Self::Rows(mark, rows) => Some(("text", separated(*mark, rows).into())),
            Self::Xml(text) | Self::Plain(text) => Some(("text", text.clone().into())),
        }
    }

    /// The same with at most `most` items in each list of objects: the first, and the last, from which an API may go on.
    pub(in crate::offline) fn shortened(&self, most: usize) -> Self {
        match self {
            Self::Json(value) => Self::Json(shortened(value, most)),
            Self::Lines(lines) => Self::Lines(kept(lines, most)),
            Self::Rows(mark, rows) => {
                let mut all = rows.iter().take(1).cloned().collect::<Vec<_>>();
                all.extend(kept(rows.get(1..).unwrap_or_default(), most));
                Self::Rows(*mark, all)
            }
            Self::Empty | Self::Xml(_) | Self::Plain(_) => self.clone(),
        }
    }
}

fn kept<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    if items.len() <= most {
        return items.to_vec();
    }
    items.iter().take(most.saturating_sub(1)).chain(items.last()).cloned().collect()
}

fn shortened(value: &Value, most: usize) -> Value {
    match value {
        Value::Array(items) if items.iter().all(Value::is_object) => {
            kept(items, most).iter().map(|item| shortened(item, most)).collect()
        }
        Value::Array(items) => items.iter().map(|item| shortened(item, most)).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), shortened(value, most))).collect::<Map<_, _>>().into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn mapped_rows(rows: &[Vec<String>], each: &mut Each<'_>) -> Vec<Vec<String>> {
    let Some((names, rows)) = rows.split_first() else { return Vec::new() };
    let mut all = vec![names.clone()];
    for row in rows {
        all.push(row.iter().enumerate().map(|(at, cell)| each(names.get(at).map(String::as_str), cell)).collect());
    }
    all
}

fn separated(mark: u8, rows: &[Vec<String>]) -> String {
    let mut writer = csv::WriterBuilder::new().delimiter(mark).flexible(true).from_writer(Vec::new());
    for row in rows {
        // memory takes all
        let _ = writer.write_record(row);
    }
    writer.into_inner().ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Elements and attributes go by their names.
fn mapped_xml(text: &str, each: &mut Each<'_>) -> Option<String> {
    let mut reader = Reader::from_str(text);
    let mut writer = Writer::new(Vec::new());
    let mut open: Vec<String> = Vec::new();
    let name =
        |bytes: &[u8]| String::from_utf8_lossy(bytes.rsplit(|byte| *byte == b':').next().unwrap_or(bytes)).into_owned();
    loop {
        let event = match reader.read_event().ok()? {
            Event::Eof => break,
            Event::Start(tag) => {
                open.push(name(tag.name().as_ref()));
                Event::Start(with_attributes(&tag, each)?)
            }
            Event::Empty(tag) => Event::Empty(with_attributes(&tag, each)?),
            Event::End(tag) => {
                open.pop();
                Event::End(tag)
            }
            Event::Text(inner) => {
                let inner = inner.decode().ok()?;
                Event::Text(BytesText::new(&each(open.last().map(String::as_str), &inner)).into_owned())
            }
            Event::CData(inner) => {
                let inner = inner.decode().ok()?;
                Event::Text(BytesText::new(&each(open.last().map(String::as_str), &inner)).into_owned())
            }
            // what nobody reads may tell of somebody
            Event::Comment(_) => continue,
            other => other,
        };
        writer.write_event(event).ok()?;
    }
    String::from_utf8(writer.into_inner()).ok()
}

fn with_attributes(
    tag: &quick_xml::events::BytesStart<'_>,
    each: &mut Each<'_>,
) -> Option<quick_xml::events::BytesStart<'static>> {
    let mut new = quick_xml::events::BytesStart::new(String::from_utf8(tag.name().as_ref().to_vec()).ok()?);
    for attribute in tag.attributes() {
        let attribute = attribute.ok()?;
        let key = String::from_utf8(attribute.key.as_ref().to_vec()).ok()?;
        let value = attribute.unescape_value().ok()?;
        let is_space = key.starts_with("xmlns");
        let value = if is_space { value.into_owned() } else { each(Some(key.as_str()), &value) };
        new.push_attribute((key.as_str(), value.as_str()));
    }
    Some(new)
}
