use std::borrow::Cow;
use std::io::{Cursor, Write};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::record::{decode_with, select, unpack};

/// Gives so many bytes at a time, in turn, and breaks where it is told to.
struct Pieces<'b> {
    body: &'b [u8],
    sizes: Vec<usize>,
    turn: usize,
    breaks: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()].clamp(1, into.len()).min(self.body.len());
        self.turn += 1;
        if size == 0 && self.breaks {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let (now, rest) = self.body.split_at(size);
        into[..size].copy_from_slice(now);
        self.body = rest;
        Ok(size)
    }
}

fn scratch() -> io::Result<Box<dyn Scratch>> {
    Ok(Box::new(Cursor::new(Vec::new())))
}

fn csv() -> Format {
    Format::Csv { delimiter: b',', columns: None, skip: 0, encoding: "utf-8".to_owned() }
}

fn xml(lists: &[&str]) -> Format {
    Format::Xml { lists: lists.iter().map(|name| (*name).to_owned()).collect() }
}

fn path(format: &Format) -> Path {
    Path::parse(if matches!(format, Format::Xml { .. }) { "$.feed.entry[*]" } else { "$[*]" }).unwrap()
}

fn way(format: &Format) -> Way {
    Way::of(format, &[path(format)]).expect("a way")
}

/// All records, those that stand in what is left of a file last; and how many came at once at most.
fn read_with(format: &Format, mut body: Pieces<'_>) -> Result<(Vec<Value>, usize), StreamError> {
    let (mut all, mut most) = (Vec::new(), 0);
    let rests = stream((format, &way(format)), &mut body, &scratch, &mut |records, _| {
        most = most.max(records.len());
        all.extend(records.iter().map(Json::to_serde));
        true
    })?;
    for rest in &rests {
        all.extend(select(&path(format), rest).into_iter().map(Json::to_serde));
    }
    Ok((all, most))
}

fn read(format: &Format, body: &[u8]) -> Result<Vec<Value>, String> {
    let body = Pieces { body, sizes: vec![7, 1, 3], turn: 0, breaks: false };
    read_with(format, body).map(|(all, _)| all).map_err(|error| match error {
        StreamError::Decode { error, .. } => error.to_string(),
        other => format!("{other:?}"),
    })
}

/// The same of the body read whole.
fn whole(format: &Format, body: &[u8]) -> Result<Vec<Value>, String> {
    let files = unpack(body).map_err(|error| error.to_string())?;
    decode_with(format, &files, |json| {
        let json = json.map_err(|error| error.to_string())?;
        Ok(select(&path(format), &json).into_iter().map(Json::to_serde).collect())
    })
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new_stream(Vec::new());
    for (name, bytes) in files {
        packer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        packer.write_all(bytes).unwrap();
    }
    packer.finish().unwrap().into_inner()
}

#[test]
fn records_come_some_at_once_and_in_their_order() {
    let count = 3 * limits::STREAM_RECORDS_AT_ONCE + 5;
    let lines: String = (0..count).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    let rows: String = std::iter::once("id\n".to_owned()).chain((0..count).map(|id| format!("{id}\n"))).collect();
    let entries: String = (0..count).map(|id| format!("<entry>{id}</entry>")).collect();
    for (format, body) in
        [(Format::Ndjson, lines), (csv(), rows), (xml(&[]), format!("<feed><a/>{entries}<b/></feed>"))]
    {
        let body = Pieces { body: body.as_bytes(), sizes: vec![1 << 20], turn: 0, breaks: false };
        let (all, most) = read_with(&format, body).unwrap();
        assert_eq!(all.len(), count, "{format:?}");
        assert!(most <= limits::STREAM_RECORDS_AT_ONCE + 1, "{most}");
        let id = |value: &Value| value.get("id").unwrap_or(value).to_string().trim_matches('"').parse::<usize>().ok();
        assert!(all.iter().enumerate().all(|(nth, value)| id(value) == Some(nth)), "{format:?}");
    }
}

#[test]
fn what_is_packed_is_read_file_by_file() {
    let (one, other) = (b"id,name\n1,Ann\n".as_slice(), b"name,id\nBea,2\n".as_slice());
    let both = Ok(vec![json!({ "id": "1", "name": "Ann" }), json!({ "name": "Bea", "id": "2" })]);
    for body in [
        zip(&[("a.csv", one), ("folder/", b""), ("__MACOSX/._a", b"x"), ("b.csv", other)]),
        zip(&[("a", &gzip(one)), ("b", other)]),
        gzip(&zip(&[("a", one), ("b", &gzip(other))])),
        zip(&[("all.zip", &zip(&[("a", one), ("b", other)]))]),
    ] {
        assert_eq!(read(&csv(), &body), both);
        assert_eq!(whole(&csv(), &body), both);
    }
    assert_eq!(read(&Format::Ndjson, &[gzip(b"1\n"), gzip(b"2\n")].concat()), Ok(vec![json!(1), json!(2)]));
    assert_eq!(read(&Format::Ndjson, &zip(&[])), Ok(Vec::new()));
    assert_eq!(read(&Format::Ndjson, b""), Ok(Vec::new()));
    let mut deep = b"1".to_vec();
    for _ in 0..=limits::ARCHIVE_DEPTH_MAX {
        deep = gzip(&deep);
    }
    assert!(read(&Format::Ndjson, &deep).unwrap_err().contains("too often"));
}

#[test]
fn what_is_cut_says_so_wherever_it_is_cut() {
    let table = b"id,name\n1,\"Ann, A\"\n2,Bea\n".as_slice();
    for body in [gzip(table), zip(&[("a", table)]), zip(&[("a", &gzip(table))])] {
        assert_eq!(read(&csv(), &body).map(|all| all.len()), Ok(2));
        for end in 4..body.len() {
            let error = read(&csv(), &body[..end]).unwrap_err();
            assert!(error.contains("an archive that cannot be read"), "{end}: {error}");
        }
        let mut other = body.clone();
        let at = other.len() / 3;
        other[at] ^= 0x10;
        assert!(read(&csv(), &other).is_err(), "one bit is another");
    }
    for (body, reason) in [
        ("id,name\n1,\"Ann\n2,Bea\n", "ends in the middle of a value in quotes"),
        ("id,name\n1,Ann\n2", "the last row ends in the middle: it has 1 of 2 values (line 3)"),
    ] {
        let error = read(&csv(), body.as_bytes()).unwrap_err();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!(read(&csv(), b"id,name\n1,Ann\n2\n").map(|all| all.len()), Ok(2), "a short row that has its end");
    let error = read(&Format::Ndjson, b"{\"id\":1}\n{\"id\":").unwrap_err();
    assert!(error.starts_with("line 2: the body ends in the middle"), "{error}");
    let document = "<feed><entry>1</entry><entry>2</entry></feed>";
    for end in 0..document.len() {
        assert!(read(&xml(&[]), &document.as_bytes()[..end]).is_err(), "{end}");
    }
    for body in [gzip(table), zip(&[("a", table)]), table.to_vec(), b"{\"id\":1}".to_vec()] {
        let pieces = Pieces { body: &body, sizes: vec![5], turn: 0, breaks: true };
        assert!(matches!(read_with(&csv(), pieces), Err(StreamError::Broken)), "the wire is no fault of the body");
    }
}

#[test]
fn one_record_alone_is_what_it_is_when_the_body_is_read_whole() {
    for lists in [&[][..], &["entry"]] {
        for entries in ["", "<entry>1</entry>", "<entry a='1'><b/></entry>", "<entry/><entry>2</entry>", "<entry/>"] {
            let body = format!("<feed x='1'>text<other/>{entries}<entries/></feed>");
            assert_eq!(read(&xml(lists), body.as_bytes()), whole(&xml(lists), body.as_bytes()), "{lists:?} {entries}");
        }
    }
    let spaced = "<feed xmlns:n='u'><n:entry/><entry><n:id>1</n:id><entry>inner</entry></entry><entry>&amp;<![CDATA[<]]></entry></feed>";
    let records = Ok(vec![json!({ "n:id": "1", "entry": "inner" }), json!("&<")]);
    assert_eq!(read(&xml(&[]), spaced.as_bytes()), records);
    assert_eq!(whole(&xml(&[]), spaced.as_bytes()), records);
}

#[test]
fn a_way_is_there_only_where_records_are_known_one_by_one() {
    let ways = |format: &Format, path: &str| Way::of(format, &[Path::parse(path).unwrap()]).is_some();
    assert!(ways(&Format::Ndjson, "$[*]") && ways(&csv(), "$[*]") && ways(&xml(&["entry"]), "$.a.b.entry[*]"));
    for other in ["$", "$[0]", "$[*].items[*]", "$[1:]", "$..a"] {
        assert!(!ways(&Format::Ndjson, other), "{other}");
    }
    for other in ["$.feed[*]", "$[*]", "$.feed.entry", "$.feed[0].entry[*]", "$.feed['@x'][*]", "$.*.entry[*]"] {
        assert!(!ways(&xml(&[]), other), "{other}");
    }
    assert!(!ways(&xml(&["feed"]), "$.feed.entry[*]") && !ways(&Format::Json, "$[*]") && !ways(&Format::Text, "$[*]"));
    let twice = b"<feed><list><entry/><entry/></list><list><entry/></list></feed>";
    let way = Way::of(&xml(&[]), &[Path::parse("$.feed.list.entry[*]").unwrap()]).unwrap();
    let found = stream((&xml(&[]), &way), &mut twice.as_slice(), &scratch, &mut |_, _| true);
    assert!(
        matches!(&found, Err(StreamError::Decode { error, .. }) if error.to_string().contains("`list` stands twice"))
    );
}

#[test]
fn a_record_without_end_is_an_error_in_bounded_memory() {
    let endless = |head: &'static str, with: u8| {
        head.as_bytes().chain(io::repeat(with).take(4 * limits::RECORD_TEXT_BYTES_MAX as u64))
    };
    for (format, head) in [
        (Format::Ndjson, "{\"id\":\""),
        (csv(), "id\n\""),
        (csv(), "id\n"),
        (xml(&[]), "<feed><entry>"),
        (xml(&[]), "<feed><!--"),
        (xml(&[]), "<feed a='"),
    ] {
        let mut body = endless(head, b'x');
        let read = stream((&format, &way(&format)), &mut body, &scratch, &mut |_, _| true);
        let Err(StreamError::Decode { error, .. }) = read else { panic!("{head}: {read:?}") };
        assert!(error.to_string().contains("16 MiB"), "{head}: {error}");
        let left = body.into_inner().1.limit();
        assert!(left > 2 * limits::RECORD_TEXT_BYTES_MAX as u64, "{head}: it was not read to its end");
    }
}

#[test]
fn lines_and_places_of_faults_are_those_of_the_whole() {
    let mut body: String = (0..5_000).map(|id| format!("{{\"id\":{id}}}\r\n")).collect();
    body.push_str("{\"id\":}\n");
    let error = read(&Format::Ndjson, body.as_bytes()).unwrap_err();
    assert!(error.starts_with("line 5001: the body is no JSON"), "{error}");
    assert_eq!(Err(error), whole(&Format::Ndjson, body.as_bytes()));
    let mut body: String = (0..5_000).map(|id| format!("{id}\r\n")).collect();
    body.push_str("1,2\r\n");
    let error = read(&csv(), body.as_bytes()).unwrap_err();
    assert_eq!(error, "a row has 2 values, and there are 1 columns (line 5001)");
    let mut body = "<feed>\n".to_owned() + &"<entry/>\n".repeat(5_000);
    body.push_str("<entry></x></feed>");
    let error = read(&xml(&[]), body.as_bytes()).unwrap_err();
    assert!(error.contains("(line 5002)"), "{error}");
}

#[test]
fn whoever_takes_the_records_can_have_enough() {
    let body = "1\n".repeat(10 * limits::STREAM_RECORDS_AT_ONCE);
    let mut times = 0;
    let read = stream((&Format::Ndjson, &way(&Format::Ndjson)), &mut body.as_bytes(), &scratch, &mut |_, _| {
        times += 1;
        times < 2
    });
    assert!(matches!(read, Err(StreamError::Ended)) && times == 2);
    let full = || Err(io::Error::other("the disk is full"));
    let packed = zip(&[("a", b"1")]);
    let read = stream((&Format::Ndjson, &way(&Format::Ndjson)), &mut packed.as_slice(), &full, &mut |_, _| true);
    assert!(matches!(read, Err(StreamError::Scratch(reason)) if reason == "the disk is full"));
}

/// Values with all that stands between and in values, characters of up to four bytes, and both line ends.
fn value() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["a", "1", ",", "\"", "\n", "\r\n", " ", "é", "€", "😀", "\u{feff}", ""]),
        0..6,
    )
    .prop_map(|parts| parts.concat())
}

fn rows_of(values: &[[String; 2]], line_end: &str) -> String {
    let quoted = |value: &String| match value.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", value.replace('"', "\"\"")),
        false => value.clone(),
    };
    let rows = values.iter().map(|[a, b]| format!("{},{}{line_end}", quoted(a), quoted(b)));
    std::iter::once(format!("a,b{line_end}")).chain(rows).collect()
}

proptest! {
    #[test]
    fn any_pieces_give_the_records_of_the_whole(
        values in prop::collection::vec([value(), value()], 0..20),
        sizes in prop::collection::vec(1_usize..40, 1..8),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        packed in any::<bool>(),
    ) {
        let json = |[a, b]: &[String; 2]| format!("{}\n", json!({ "a": a, "b": b }));
        let lines: String = values.iter().map(json).collect();
        let escaped = |text: &str| quick_xml::escape::escape(text).into_owned();
        let entry = |[a, b]: &[String; 2]| format!("<entry a=\"{}\"><b>{}</b><!-- > --></entry>", escaped(a), escaped(b));
        let entries: String = values.iter().map(entry).collect();
        let utf16: Vec<u8> = rows_of(&values, line_end).encode_utf16().flat_map(u16::to_le_bytes).collect();
        let wide = Format::Csv { delimiter: b',', columns: None, skip: 0, encoding: "utf-16le".to_owned() };
        for (format, body) in [
            (Format::Ndjson, lines.into_bytes()),
            (csv(), rows_of(&values, line_end).into_bytes()),
            (wide, utf16),
            (xml(&[]), format!("<feed>\n{entries}</feed>").into_bytes()),
            (xml(&["entry", "b"]), format!("<?xml version='1.0'?><feed>{entries}</feed>").into_bytes()),
        ] {
            let body = if packed { gzip(&body) } else { body };
            let pieces = Pieces { body: &body, sizes: sizes.clone(), turn: 0, breaks: false };
            let streamed = read_with(&format, pieces).map(|(all, _)| all).map_err(|error| format!("{error:?}"));
            prop_assert_eq!(streamed, whole(&format, &body), "{:?}", format);
        }
    }

    #[test]
    fn rows_are_those_of_the_crate(text in "[a\",\r\n\u{e9}]{0,40}", sizes in prop::collection::vec(1_usize..5, 1..4)) {
        // a row as the crate for all of it sees it, whatever the pieces are
        let form = Format::Csv {
            delimiter: b',',
            columns: Some((0..50).map(|at| at.to_string()).collect()),
            skip: 0,
            encoding: "utf-8".to_owned(),
        };
        let body = format!("{text}\n");
        let mut reader =
            ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(body.as_bytes());
        let expected: Vec<Vec<String>> =
            reader.records().map(|row| row.unwrap().iter().map(ToOwned::to_owned).collect()).collect();
        let pieces = Pieces { body: body.as_bytes(), sizes, turn: 0, breaks: false };
        match read_with(&form, pieces) {
            Ok((all, _)) => {
                let found: Vec<Vec<String>> = all
                    .iter()
                    .map(|row| row.as_object().unwrap().values().map(|it| it.as_str().unwrap_or_default().to_owned()).collect())
                    .collect();
                prop_assert_eq!(found, expected);
            }
            // the crate takes the end of the file for that of the quotes
            Err(StreamError::Decode { error, .. }) => {
                prop_assert!(error.to_string().contains("in quotes"), "{}", error);
                let last = expected.last().and_then(|row| row.last()).unwrap();
                prop_assert!(last.ends_with('\n'), "{:?}", last);
            }
            Err(other) => prop_assert!(false, "{:?}", other),
        }
    }
}

#[test]
fn bodies_are_read_as_they_are_without_a_way() {
    let files = [Cow::Borrowed(&b"\xef\xbb\xbf1\n2"[..])];
    assert_eq!(decode_with(&Format::Ndjson, &files, |json| json.map(|json| json.to_serde())).ok(), Some(json!([1, 2])));
    assert_eq!(read(&Format::Ndjson, b"\xef\xbb\xbf1\n2"), Ok(vec![json!(1), json!(2)]));
    assert_eq!(read(&csv(), b"\xef\xbb\xbfid\n2\n"), Ok(vec![json!({ "id": "2" })]));
}

#[test]
fn records_of_several_lists_come_in_the_order_of_the_answer_however_it_is_cut() {
    let format = xml(&["firm"]);
    let paths =
        ["$.all.people.person[*]", "$.all.firms.firm[*]", "$.all.note[*]"].map(|text| Path::parse(text).unwrap());
    let way = Way::of(&format, &paths).expect("a way");
    for people in [0, 1, 2, 1_500] {
        let persons: String =
            (0..people).map(|id| format!("<person>{id}<note>inside</note></person><note>{id}</note>")).collect();
        // what is named like a record and stands elsewhere is none
        let body = format!(
            "<all><person>no</person><people>{persons}</people><note>a</note><firms><firm>f</firm></firms><note>b</note></all>"
        );
        let whole = decode_with(&format, &unpack(body.as_bytes()).unwrap(), |json| json.unwrap().to_serde());
        let whole = Json::from(whole);
        let mut first = None;
        for sizes in [vec![1], vec![7, 1, 3], vec![64 << 10]] {
            let mut body = Pieces { body: body.as_bytes(), sizes, turn: 0, breaks: false };
            let mut came = Vec::new();
            let rests = stream((&format, &way), &mut body, &scratch, &mut |records, places| {
                came.extend(records.iter().map(Json::to_serde).zip(places.iter().copied()));
                true
            });
            let rests: Vec<Value> = rests.unwrap().iter().map(Json::to_serde).collect();
            let (came, rests) = match &first {
                None => first.insert((came, rests)),
                Some(first) => {
                    assert_eq!(&(came, rests), first);
                    first
                }
            };
            for (place, path) in paths.iter().enumerate() {
                let of: Vec<Value> =
                    came.iter().filter(|(_, of)| *of == place).map(|(value, _)| value.clone()).collect();
                let rest = Json::from(rests[0].clone());
                let all: Vec<Value> =
                    of.into_iter().chain(select(path, &rest).into_iter().map(Json::to_serde)).collect();
                let expected: Vec<Value> = select(path, &whole).into_iter().map(Json::to_serde).collect();
                assert_eq!(all, expected, "{}, {people}", path.text());
            }
        }
    }
}

#[test]
fn what_can_be_told_while_an_answer_comes() {
    let of = |format: &Format, paths: &[&str]| {
        Way::of(format, &paths.iter().map(|text| Path::parse(text).unwrap()).collect::<Vec<_>>())
    };
    let elements = xml(&["list"]);
    for (format, paths, is_way) in [
        (&Format::Ndjson, vec!["$[*]"], true),
        (&Format::Ndjson, vec!["$[?@.kind == 'a']", "$[?@.kind == 'b']"], true),
        (&Format::Ndjson, vec!["$[?@.kind == $[0].kind]"], false),
        (&Format::Ndjson, vec!["$[*].items[*]"], false),
        (&Format::Ndjson, vec!["$[1:]"], false),
        (&Format::Json, vec!["$[*]"], false),
        (&elements, vec!["$.a.b[*]", "$.a.c.d[*]", "$.a.b[*]"], true),
        (&elements, vec!["$.a.b[*]", "$.a.b.c[*]"], false),
        (&elements, vec!["$.a.list.c[*]"], false),
        (&elements, vec!["$.a[*]"], false),
        (&elements, vec![], false),
    ] {
        assert_eq!(of(format, &paths).is_some(), is_way, "{paths:?}");
    }
    let (lines, entries) =
        (of(&Format::Ndjson, &["$[*]"]).unwrap(), of(&elements, &["$.a.b[*]", "$.a.c.d[*]"]).unwrap());
    for (way, path, is_told) in [
        (&lines, "$[-1].token", true),
        (&lines, "$[0].total", true),
        (&lines, "$[1].token", false),
        (&lines, "$[*].token", false),
        (&lines, "$.token", false),
        (&entries, "$.a.token", true),
        (&entries, "$.a['@next']", true),
        (&entries, "$.a.c.total", true),
        (&entries, "$.a.links[-1]['@href']", true),
        (&entries, "$.a.c", false),
        (&entries, "$.a.b[0].id", false),
        (&entries, "$..token", false),
    ] {
        assert_eq!(way.tells(&Path::parse(path).unwrap()), is_told, "{path}");
    }
}
