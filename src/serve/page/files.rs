//! The files of the project, and what their words mean.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::html::{Shown, page};
use super::routes::Page;
use super::session::Visitor;
use super::words::asking;
use crate::plan::{ApiScope, ShownFile};
use crate::serve::answer::Denied;
use crate::serve::records::Parameters;

/// `GET /files`, and with `name` one of them. The text has dots in the places of secrets since it was read.
pub(super) async fn files(State(state): State<Arc<Page>>, visitor: Visitor, Query(parameters): Parameters) -> Shown {
    visitor.must(ApiScope::Syncs)?;
    let files = &state.listening.files;
    let Some((_, name)) = parameters.iter().find(|(name, _)| name == "name") else {
        let rows: Vec<_> = files.iter().map(row).collect();
        return page("files.html", Some(&visitor), &json!({ "title": "Files", "nav": "files", "rows": rows }));
    };
    let unknown = || Denied::new(StatusCode::NOT_FOUND, "unknown_file", format!("the project has no file `{name}`"));
    let file = files.iter().find(|file| file.source.name == *name).ok_or_else(unknown)?;
    let lines: Vec<_> = file.source.text.lines().collect();
    let word = |(line, word, meaning): &(usize, String, String)| json!({ "line": line, "word": word, "meaning": pieces(meaning) });
    let told = json!({
        "title": name, "nav": "files", "kind": file.kind.name(), "lines": lines, "builtin": file.builtin,
        "words": file.words().iter().map(word).collect::<Vec<_>>(),
    });
    page("file.html", Some(&visitor), &told)
}

/// A text in pieces, every second of which stood in backticks.
fn pieces(text: &str) -> Vec<&str> {
    text.split('`').collect()
}

fn row(file: &ShownFile) -> Value {
    json!({
        "name": file.source.name, "at": asking("/files", &[("name", &file.source.name)]), "kind": file.kind.name(),
        "provider": file.provider, "builtin": file.builtin, "lines": file.source.text.lines().count(),
    })
}
