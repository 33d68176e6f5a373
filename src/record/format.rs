//! An answer in its format, as one JSON value.

use std::borrow::Cow;

use ::csv::StringRecord;
use bumpalo::Bump;

use super::decode::{BOM, DecodeError, DecodeErrorKind, parse_into};
use super::elements::Elements;
use super::json::Json;
use super::separated::{Form, Separated, row};
use super::stream::StreamError;
use crate::plan::{Format, limits};

/// Hands out the value that a body is, whose files are `files` (see `record::unpack`), or what a file is instead, and where.
///
/// - `json`: the value itself; of several files the list of theirs, where lists are joined.
/// - `ndjson`: the list of the lines that are not empty.
/// - `csv`: the list of the rows, each a map by the names of the columns; an empty field is null.
/// - `xml`: the map of the outermost element.
/// - `text`: a list of `{ "text": … }`, one for each file.
pub fn decode_with<T>(
    format: &Format,
    files: &[Cow<'_, [u8]>],
    then: impl FnOnce(Result<Json<'_>, DecodeError>) -> T,
) -> T {
    let Format::Csv { delimiter, columns, skip, encoding } = format else {
        return with_arena(|arena| then(decode(format, files, arena)));
    };
    let form = Form { delimiter: *delimiter, columns: columns.as_deref(), skip: *skip, encoding };
    let tables: Result<Vec<Table>, _> = files.iter().map(|file| table(file, form)).collect();
    // the rows borrow the names: a copy in each of them would be many times the body
    match &tables {
        Ok(tables) => {
            let rows = tables.iter().flat_map(|(names, rows)| rows.iter().map(|one| row(names, one)));
            then(Ok(Json::Array(rows.collect())))
        }
        Err(error) => then(Err(wrong(error.clone()))),
    }
}

thread_local! {
    /// What the last body of this thread was read into, for the next one.
    static ARENA: std::cell::Cell<Option<Bump>> = const { std::cell::Cell::new(None) };
}

/// Hands out an empty arena, which is kept for the next time unless it has become large.
fn with_arena<T>(work: impl FnOnce(&Bump) -> T) -> T {
    let mut arena = ARENA.take().unwrap_or_default();
    let done = work(&arena);
    if arena.allocated_bytes() <= limits::ARENA_BYTES_MAX {
        arena.reset();
        ARENA.set(Some(arena));
    }
    done
}

fn decode<'b>(format: &Format, files: &'b [Cow<'_, [u8]>], arena: &'b Bump) -> Result<Json<'b>, DecodeError> {
    let each = |file: &'b Cow<'_, [u8]>| match format {
        Format::Json => parse_into(arena, file),
        Format::Ndjson | Format::Csv { .. } => lines(file, arena).map(|records| Json::Array(records.into())),
        Format::Xml { lists } => xml(file, lists).map_err(wrong),
        Format::Text => {
            let text = String::from_utf8_lossy(file.strip_prefix(BOM).unwrap_or(file));
            let file = Json::Object(vec![("text".into(), Json::String(text))].into());
            Ok(Json::Array(vec![file].into()))
        }
    };
    if let [file] = files {
        return each(file);
    }
    let mut all = Vec::new();
    for file in files {
        match each(file)? {
            Json::Array(mut items) => all.append(items.own()),
            other => all.push(other),
        }
    }
    Ok(Json::Array(all.into()))
}

fn lines<'b>(file: &'b [u8], arena: &'b Bump) -> Result<Vec<Json<'b>>, DecodeError> {
    let body = file.strip_prefix(BOM).unwrap_or(file);
    let mut records = Vec::new();
    let mut offset = file.len() - body.len();
    for (nth, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if !line.trim_ascii().is_empty() {
            records.push(parse_into(arena, line).map_err(|error| error.in_line(nth + 1, offset))?);
        }
        offset += line.len() + 1;
    }
    Ok(records)
}

/// The rows of a file, with the names of their columns.
type Table = (Vec<String>, Vec<StringRecord>);

fn table(file: &[u8], form: Form<'_>) -> Result<Table, StreamError> {
    let (mut rows, mut all, mut some) = (Separated::new(file, form), Vec::new(), Vec::new());
    while rows.next(&mut some)? {
        all.append(&mut some);
    }
    Ok((rows.names().to_vec(), all))
}

fn xml(file: &[u8], lists: &[String]) -> Result<Json<'static>, StreamError> {
    let mut elements = Elements::new(file, lists, &[]);
    while elements.next()?.is_some() {}
    elements.rest()
}

/// What was wrong, of a body that is there whole.
fn wrong(error: StreamError) -> DecodeError {
    match error {
        StreamError::Decode { error, .. } => error,
        StreamError::Broken | StreamError::Ended | StreamError::Scratch(_) | StreamError::Encoding => {
            DecodeError::of(DecodeErrorKind::Archive, (1, 1, 0), "the body cannot be read".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn decoded(format: &Format, body: &str) -> Result<Value, String> {
        of(format, &[body.as_bytes()])
    }

    fn of(format: &Format, files: &[&[u8]]) -> Result<Value, String> {
        let files: Vec<_> = files.iter().map(|file| Cow::Borrowed(*file)).collect();
        decode_with(format, &files, |json| json.map(|json| json.to_serde()).map_err(|error| error.to_string()))
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
        let found = of(&other, &[b"report of today\nA;B\n1;caf\xe9\n"]);
        assert_eq!(found, Ok(json!([{ "a": "1", "b": "caf\u{e9}" }])));
        assert_eq!(decoded(&csv(), ""), Ok(json!([])));
        assert_eq!(decoded(&csv(), "id\n"), Ok(json!([])));
        for (body, reason) in [
            ("id,id\n1,2\n", "the column `id` stands twice (line 1)"),
            ("id\n1\n1,2\n", "a row has 2 values, and there are 1 columns (line 3)"),
        ] {
            assert_eq!(decoded(&csv(), body), Err(reason.to_owned()));
        }
        assert!(of(&csv(), &[b"id\n\xff\xfe\n"]).unwrap_err().contains("not in the encoding `utf-8`"));
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
        assert_eq!(of(&Format::Json, &[b"[1,2]", b"{\"a\":3}"]), Ok(json!([1, 2, { "a": 3 }])));
        assert_eq!(of(&Format::Text, &[b"a", b"b"]), Ok(json!([{ "text": "a" }, { "text": "b" }])));
        assert_eq!(of(&Format::Json, &[]), Ok(json!([])), "an empty archive");
        assert_eq!(of(&csv(), &[b"a\n1\n", b"b\n2\n"]), Ok(json!([{ "a": "1" }, { "b": "2" }])), "each has its names");
    }
}
