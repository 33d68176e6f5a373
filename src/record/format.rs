//! An answer in its format, as one JSON value.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use encoding_rs::Encoding;
use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use super::decode::{BOM, DecodeError, DecodeErrorKind, LINEAR_MEMBERS_MAX, parse};
use super::json::Json;
use crate::plan::{Format, limits};

/// The value that a body is, whose files are `files` (see `record::unpack`).
///
/// - `json`: the value itself; of several files the list of theirs, where lists are joined.
/// - `ndjson`: the list of the lines that are not empty.
/// - `csv`: the list of the rows, each a map by the names of the columns; an empty field is null.
/// - `xml`: the map of the outermost element.
/// - `text`: a list of `{ "text": … }`, one for each file.
///
/// # Errors
/// What a file is instead, and where.
pub fn decode<'b>(format: &Format, files: &'b [Cow<'_, [u8]>]) -> Result<Json<'b>, DecodeError> {
    let each = |file: &'b Cow<'_, [u8]>| match format {
        Format::Json => parse(file),
        Format::Ndjson => lines(file).map(Json::Array),
        Format::Csv { delimiter, columns, skip, encoding } => {
            rows(file, *delimiter, columns.as_deref(), *skip, encoding).map(Json::Array)
        }
        Format::Xml { lists } => xml(file, lists),
        Format::Text => {
            let text = String::from_utf8_lossy(file.strip_prefix(BOM).unwrap_or(file));
            Ok(Json::Array(vec![Json::Object(vec![("text".into(), Json::String(text))])]))
        }
    };
    if let [file] = files {
        return each(file);
    }
    let mut all = Vec::new();
    for file in files {
        match each(file)? {
            Json::Array(items) => all.extend(items),
            other => all.push(other),
        }
    }
    Ok(Json::Array(all))
}

fn lines(file: &[u8]) -> Result<Vec<Json<'_>>, DecodeError> {
    let body = file.strip_prefix(BOM).unwrap_or(file);
    let mut records = Vec::new();
    let mut offset = file.len() - body.len();
    for (nth, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            records.push(parse(line).map_err(|error| error.in_line(nth + 1, offset))?);
        }
        offset += line.len() + 1;
    }
    Ok(records)
}

fn rows<'b>(
    file: &'b [u8],
    delimiter: u8,
    columns: Option<&[String]>,
    skip: u32,
    encoding: &str,
) -> Result<Vec<Json<'b>>, DecodeError> {
    let fault = |line: u64, text: String| {
        let line = usize::try_from(line).unwrap_or(usize::MAX);
        DecodeError::of(DecodeErrorKind::Rows, (line, 1, 0), format!("{text} (line {line})"))
    };
    let known = Encoding::for_label(encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8);
    let (text, _, is_wrong) = known.decode(file);
    if is_wrong {
        return Err(fault(1, format!("the rows are not in the encoding `{encoding}`")));
    }
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut names: Option<Vec<String>> = columns.map(<[String]>::to_vec);
    let (mut records, mut row) = (Vec::new(), csv::StringRecord::new());
    let mut passed = 0;
    while reader.read_record(&mut row).map_err(|error| fault(line_of(&error), error.to_string()))? {
        let line = row.position().map_or(0, csv::Position::line);
        if passed < skip {
            passed += 1;
            continue;
        }
        let Some(names) = &names else {
            names = Some(named(&row).map_err(|name| fault(line, format!("the column `{name}` stands twice")))?);
            continue;
        };
        if row.len() > names.len() {
            return Err(fault(line, format!("a row has {} values, and there are {} columns", row.len(), names.len())));
        }
        let value = |field: &str| match field {
            "" => Json::Null,
            field => Json::String(Cow::Owned(field.to_owned())),
        };
        let members = names.iter().zip(row.iter()).map(|(name, field)| (Cow::Owned(name.clone()), value(field)));
        records.push(Json::Object(members.collect()));
    }
    Ok(records)
}

fn line_of(error: &csv::Error) -> u64 {
    error.position().map_or(1, csv::Position::line)
}

/// The names that a row gives the columns; the one that stands twice.
fn named<'r>(row: &'r csv::StringRecord) -> Result<Vec<String>, String> {
    let mut seen = HashSet::with_capacity(row.len());
    let name = |name: &'r str| {
        let name = name.trim();
        if seen.insert(name) { Ok(name.to_owned()) } else { Err(name.to_owned()) }
    };
    row.iter().map(name).collect()
}

/// Elements as JSON: a map of attributes (`@name`), children and text (`#text`); one with text alone is that text, one without anything null.
#[derive(Default)]
struct Element {
    name: String,
    members: Vec<(Cow<'static, str>, Json<'static>)>,
    /// where the member of a name is, kept once they are too many to look for one by one
    places: HashMap<String, usize>,
    text: String,
}

impl Element {
    fn put(&mut self, name: String, value: Json<'static>, lists: &[String]) {
        match self.place(&name).and_then(|at| self.members.get_mut(at)) {
            Some((_, Json::Array(items))) => items.push(value),
            Some((_, first)) => *first = Json::Array(vec![std::mem::take(first), value]),
            None if lists.contains(&name) => self.add(name, Json::Array(vec![value])),
            None => self.add(name, value),
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        match self.places.is_empty() {
            true => self.members.iter().position(|(known, _)| known == name),
            false => self.places.get(name).copied(),
        }
    }

    /// Adds a member whose name none has yet.
    fn add(&mut self, name: String, value: Json<'static>) {
        self.members.push((Cow::Owned(name), value));
        if self.members.len() > LINEAR_MEMBERS_MAX {
            let known = self.places.len();
            let new = self.members.iter().enumerate().skip(known).map(|(at, (name, _))| (name.to_string(), at));
            self.places.extend(new);
        }
    }

    fn value(mut self) -> Json<'static> {
        let text = self.text.trim();
        match (self.members.is_empty(), text.is_empty()) {
            (true, true) => Json::Null,
            (true, false) => Json::String(Cow::Owned(text.to_owned())),
            (false, true) => Json::Object(self.members),
            (false, false) => {
                let text = Json::String(Cow::Owned(text.to_owned()));
                self.members.push(("#text".into(), text));
                Json::Object(self.members)
            }
        }
    }
}

fn xml(file: &[u8], lists: &[String]) -> Result<Json<'static>, DecodeError> {
    let mut reader = Reader::from_reader(file);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let fault = |text: &dyn std::fmt::Display| {
            let line = file.get(..at).unwrap_or(file).split(|byte| *byte == b'\n').count();
            let message = format!("the body is no XML: {text} (line {line})");
            DecodeError::of(DecodeErrorKind::Elements, (line, 1, at), message)
        };
        match reader.read_event().map_err(|error| fault(&error))? {
            Event::Start(start) => {
                if open.len() > limits::JSON_DEPTH_MAX {
                    return Err(fault(&format!("it nests more than {} elements", limits::JSON_DEPTH_MAX)));
                }
                open.push(element(&start).map_err(|error| fault(&error))?);
            }
            Event::Empty(start) => {
                let inner = element(&start).map_err(|error| fault(&error))?;
                if let Some(outer) = open.last_mut() {
                    outer.put(inner.name.clone(), inner.value(), lists);
                }
            }
            Event::End(_) => {
                if let (Some(inner), Some(outer)) = (open.pop(), open.last_mut()) {
                    outer.put(inner.name.clone(), inner.value(), lists);
                }
            }
            Event::Text(text) => {
                let text = text.decode().map_err(|error| fault(&error))?;
                open.last_mut().into_iter().for_each(|element| element.text.push_str(&text));
            }
            Event::CData(text) => {
                let text = text.decode().map_err(|error| fault(&error))?;
                open.last_mut().into_iter().for_each(|element| element.text.push_str(&text));
            }
            Event::GeneralRef(name) => {
                // only those that XML itself has: a document's own entities can grow without bound
                let resolved = match name.resolve_char_ref().map_err(|error| fault(&error))? {
                    Some(c) => c.to_string(),
                    None => {
                        let name = name.decode().map_err(|error| fault(&error))?;
                        let known = quick_xml::escape::resolve_predefined_entity(&name);
                        known.ok_or_else(|| fault(&format!("`&{name};` is no entity of XML")))?.to_owned()
                    }
                };
                open.last_mut().into_iter().for_each(|element| element.text.push_str(&resolved));
            }
            Event::Eof => break,
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
    match open.pop() {
        Some(top) if open.is_empty() && !top.members.is_empty() => Ok(Json::Object(top.members)),
        Some(top) if open.is_empty() => {
            let text = if top.text.trim().is_empty() { "it is empty" } else { "it has no element" };
            Err(DecodeError::of(DecodeErrorKind::Elements, (1, 1, 0), format!("the body is no XML: {text}")))
        }
        inner => {
            let name = inner.map(|element| element.name).unwrap_or_default();
            let message = format!("the body is no XML: it ends in the middle of `{name}`");
            Err(DecodeError::of(DecodeErrorKind::Elements, (1, 1, file.len()), message))
        }
    }
}

fn element(start: &BytesStart<'_>) -> Result<Element, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "a name is no UTF-8".to_owned());
    let mut element = Element { name: text(start.name().as_ref())?, ..Element::default() };
    // the reader's own check compares each name with all before it
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let name = format!("@{}", text(attribute.key.as_ref())?);
        if element.place(&name).is_some() {
            return Err(format!("the attribute `{}` stands twice", &name[1..]));
        }
        let value = attribute.unescape_value().map_err(|error| error.to_string())?;
        element.add(name, Json::String(Cow::Owned(value.into_owned())));
    }
    Ok(element)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decoded(format: &Format, body: &str) -> Result<Value, String> {
        let files = [Cow::Borrowed(body.as_bytes())];
        decode(format, &files).map(|json| json.to_serde()).map_err(|error| error.to_string())
    }

    fn csv() -> Format {
        Format::Csv { delimiter: b',', columns: None, skip: 0, encoding: "utf-8".to_owned() }
    }

    #[test]
    fn each_line_is_a_record() {
        let body = "\u{feff}{\"a\":1}\r\n\n [2]\n\"x\"";
        assert_eq!(decoded(&Format::Ndjson, body), Ok(json!([{ "a": 1 }, [2], "x"])));
        assert_eq!(decoded(&Format::Ndjson, ""), Ok(json!([])));
        let error = decoded(&Format::Ndjson, "1\n\n{\"a\":}\n").unwrap_err();
        assert!(error.starts_with("line 3: the body is no JSON"), "{error}");
    }

    #[test]
    fn rows_are_maps_by_the_names_of_the_columns() {
        let body = "id,name,note\r\n1,\"Ann, \"\"A\"\"\n2nd line\",\n2,Bea\n";
        let expected =
            json!([{ "id": "1", "name": "Ann, \"A\"\n2nd line", "note": null }, { "id": "2", "name": "Bea" }]);
        assert_eq!(decoded(&csv(), body), Ok(expected));
        let other = Format::Csv {
            delimiter: b';',
            columns: Some(vec!["a".to_owned(), "b".to_owned()]),
            skip: 2,
            encoding: "windows-1252".to_owned(),
        };
        let files = [Cow::Borrowed(&b"report of today\nA;B\n1;caf\xe9\n"[..])];
        let found = decode(&other, &files).map(|json| json.to_serde());
        assert_eq!(found.ok(), Some(json!([{ "a": "1", "b": "caf\u{e9}" }])));
        assert_eq!(decoded(&csv(), ""), Ok(json!([])));
        assert_eq!(decoded(&csv(), "id\n"), Ok(json!([])));
        for (body, reason) in [
            ("id,id\n1,2\n", "the column `id` stands twice (line 1)"),
            ("id\n1\n1,2\n", "a row has 2 values, and there are 1 columns (line 3)"),
        ] {
            assert_eq!(decoded(&csv(), body), Err(reason.to_owned()));
        }
        let wrong = [Cow::Borrowed(&b"id\n\xff\xfe\n"[..])];
        assert!(decode(&csv(), &wrong).unwrap_err().to_string().contains("not in the encoding `utf-8`"));
    }

    #[test]
    fn elements_are_maps_and_lists() {
        let body = "<?xml version=\"1.0\"?><!DOCTYPE x><ns:feed xmlns:ns=\"u\"><entry id=\"1\">A &amp; &#66;<b/></entry><entry>\
                    <![CDATA[<raw>]]></entry><tag>t</tag><none/></ns:feed>";
        let format = |lists: &[&str]| Format::Xml { lists: lists.iter().map(|name| (*name).to_owned()).collect() };
        let entries = json!([{ "@id": "1", "b": null, "#text": "A & B" }, "<raw>"]);
        let expected = json!({ "ns:feed": { "@xmlns:ns": "u", "entry": entries, "tag": ["t"], "none": null } });
        assert_eq!(decoded(&format(&["tag"]), body), Ok(expected));
        for body in ["", "text", "<a><b></a>", "<a>", "<a>&lol;</a>", "<a x=1/>", "<a x='1' x='2'/>", "{}"] {
            let error = decoded(&format(&[]), body).unwrap_err();
            assert!(error.starts_with("the body is no XML"), "{body}: {error}");
        }
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><x>&b;</x>";
        assert!(decoded(&format(&[]), bomb).unwrap_err().contains("is no entity of XML"));
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        assert!(decoded(&format(&[]), &deep).unwrap_err().contains("nests more than"));
    }

    #[test]
    fn many_names_do_not_take_the_square_of_their_number() {
        const NAMES: usize = 300_000;
        let names = || (0..NAMES).map(|at| format!("n{at}"));
        let header = names().collect::<Vec<_>>().join(",");
        assert_eq!(decoded(&csv(), &format!("{header}\n7\n")), Ok(json!([{ "n0": "7" }])));
        assert_eq!(decoded(&csv(), &format!("{header},n5\n")), Err("the column `n5` stands twice (line 1)".to_owned()));

        let format = Format::Xml { lists: vec!["n1".to_owned()] };
        let children: String = names().map(|name| format!("<{name}/>")).collect();
        let found = decoded(&format, &format!("<a x=''>{children}<n{}>last</n{0}><n0/></a>", NAMES - 1)).unwrap();
        let members = found["a"].as_object().unwrap();
        assert_eq!((members.len(), &members["@x"]), (NAMES + 1, &json!("")));
        let last = &members[&format!("n{}", NAMES - 1)];
        assert_eq!(
            (&members["n0"], &members["n1"], last),
            (&json!([null, null]), &json!([null]), &json!([null, "last"]))
        );
        assert!(members["n2"].is_null());

        let attributes: String = names().map(|name| format!(" {name}='{name}'")).collect();
        let found = decoded(&format, &format!("<a{attributes}><n0/></a>")).unwrap();
        assert_eq!((&found["a"]["@n299999"], &found["a"]["n0"]), (&json!("n299999"), &json!(null)));
        let error = decoded(&format, &format!("<a{attributes} n7=''/>")).unwrap_err();
        assert!(error.contains("the attribute `n7` stands twice"), "{error}");
    }

    #[test]
    fn several_files_are_one_list() {
        let files = [Cow::Borrowed(&b"[1,2]"[..]), Cow::Borrowed(&b"{\"a\":3}"[..])];
        assert_eq!(decode(&Format::Json, &files).map(|json| json.to_serde()).ok(), Some(json!([1, 2, { "a": 3 }])));
        let texts = [Cow::Borrowed(&b"a"[..]), Cow::Borrowed(&b"b"[..])];
        let found = decode(&Format::Text, &texts).map(|json| json.to_serde());
        assert_eq!(found.ok(), Some(json!([{ "text": "a" }, { "text": "b" }])));
        assert_eq!(decode(&Format::Json, &[]).map(|json| json.to_serde()).ok(), Some(json!([])), "an empty archive");
    }
}
