//! Answers that are not JSON, and packed ones, from the server to the table.

use std::io::{Cursor, Write};

use serde_json::json;

use crate::support::{Api, Project, Reply};

fn project(api: &Api, response: &str) -> Project {
    Project::simple(
        &api.url(),
        &format!("request: {{ get: /export }}\nresponse: {{ {response} }}\ndeletes: {{ absence: {{}} }}"),
        "key: [id]\ncolumns: { id: { path: $.id, type: bigint }, name: $.name, paid: { path: $.paid, type: boolean } }",
    )
}

fn rows(project: &Project) -> Vec<serde_json::Value> {
    project.rows("SELECT id, name, paid FROM api.items ORDER BY id")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packer.write_all(bytes).expect("in memory");
    packer.finish().expect("in memory")
}

fn zip(files: &[&[u8]]) -> Vec<u8> {
    let mut packer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (nth, bytes) in files.iter().enumerate() {
        packer.start_file(format!("part-{nth}"), zip::write::SimpleFileOptions::default()).expect("in memory");
        packer.write_all(bytes).expect("in memory");
    }
    packer.finish().expect("in memory").into_inner()
}

#[test]
fn each_format_fills_the_same_table() {
    let ndjson = b"{\"id\":1,\"name\":\"Ann\",\"paid\":true}\n{\"id\":2,\"name\":null}\n";
    let first_line = ndjson.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    let (first, second) = ndjson.split_at(first_line);
    let table: [(&str, &str, Vec<u8>); 6] = [
        ("format: ndjson", "application/x-ndjson", ndjson.to_vec()),
        ("format: ndjson", "application/octet-stream", gzip(ndjson)),
        ("format: ndjson", "application/zip", zip(&[&gzip(first), second])),
        ("format: csv", "text/csv", b"id,name,paid\n1,Ann,true\n2,,\n".to_vec()),
        (
            "format: { csv: { delimiter: \";\", columns: [id, name, paid], encoding: utf-16le } }",
            "text/csv",
            "1;Ann;true\n2;;\n".encode_utf16().flat_map(u16::to_le_bytes).collect(),
        ),
        (
            "format: { xml: { lists: [item] } }, records: \"$.items.item[*]\"",
            "application/xml",
            b"<items><item><id>1</id><name>Ann</name><paid>true</paid></item><item><id>2</id></item></items>".to_vec(),
        ),
    ];
    for (response, kind, body) in table {
        let api = Api::start(move |_| Reply::bytes(kind, &body));
        let project = project(&api, response);
        assert_eq!(project.run()["added"], 2, "{response} as {kind}");
        let expected =
            [json!({ "id": 1, "name": "Ann", "paid": true }), json!({ "id": 2, "name": null, "paid": null })];
        assert_eq!(rows(&project), expected, "{response} as {kind}");
        assert_eq!(project.run()["unchanged"], 2, "{response} as {kind}");
    }
}

#[test]
fn what_cannot_be_read_fails_and_deletes_nothing() {
    let api = Api::start(|_| Reply::text("text/csv", "id,name\n1,Ann\n2,Bea\n"));
    let project = project(&api, "format: csv");
    assert_eq!(project.run()["added"], 2);
    for (body, reason) in [
        (b"id,name\n1,Ann,and more\n".to_vec(), "a row has 3 values, and there are 2 columns"),
        (gzip(b"id,name\n1,Ann\n")[..12].to_vec(), "an archive that cannot be read"),
        (gzip(&vec![b'x'; 65 << 20]), "a record takes more than 16 MiB of the body"),
    ] {
        api.becomes(move |_| Reply::bytes("text/csv", &body));
        let report = project.run_fails(4);
        let message = report["error"]["message"].as_str().expect("a message");
        assert!(message.contains(reason), "{message}");
    }
    assert_eq!(rows(&project).len(), 2);
}

#[test]
fn a_text_is_one_record() {
    let api = Api::start(|_| Reply::text("text/plain", "all of it\nand more"));
    let project = Project::simple(
        &api.url(),
        "request: { get: /robots.txt }\nresponse: { format: text }\ndeletes: { absence: {} }",
        "key: [of]\ncolumns: { of: { value: \"robots\" }, text: $.text }",
    );
    assert_eq!(project.run()["added"], 1);
    assert_eq!(project.column("SELECT text FROM api.items"), [json!("all of it\nand more")]);
}
