use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::new::{Writing, sync};
use super::output::{DIM, Failure, json_line, visible};
use super::questions::Questions;
use super::{Done, given, project};
use crate::diagnostic::Source;
use crate::draft::{ColumnDraft, DeletesDraft, DraftFile, Paging, Proposal, TokenFrom, file_name, propose};
use crate::engine;
use crate::files;
use crate::plan::{Input, limits};
use crate::remote::{Access, Client, CredentialStore};
use crate::spec::schema::Kind;
use crate::spec::{ProviderSpec, yaml};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// One answer of the API: a file, or `-` for standard input.
    #[arg(value_name = "FILE", required_unless_present = "connection", conflicts_with = "connection")]
    file: Option<PathBuf>,
    /// Ask the API itself, once, with the credentials of this connection; `--get` says for what.
    #[arg(long, value_name = "NAME", requires = "get")]
    connection: Option<String>,
    #[command(flatten)]
    words: sync::Words,
    /// Write the sync, its model and a test as `new sync` does, instead of printing them.
    #[arg(long, value_name = "PROVIDER/NAME")]
    write: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

pub(super) fn run(folder: &Path, arguments: &Arguments) -> Done {
    let Arguments { file, connection, words, write, writing } = arguments;
    let (body, has_link) = match (connection, file) {
        (Some(connection), _) => asked(folder, connection, words)?,
        (None, Some(file)) => (given::bytes(file)?, false),
        (None, None) => return Err(Failure::user("nothing is named to look at", None)),
    };
    let proposal = propose(&body, words.records.as_deref(), has_link)?;
    if let Some(name) = write {
        let (provider, name) = super::new::named(name, "contacts")?;
        let spec = super::new::files::provider(folder, provider)?;
        let wishes =
            words.asked(name, &Questions::here(writing.no_questions || writing.json), Some(&proposal), &spec)?;
        sync::write(folder, &wishes, Some(&proposal), &spec, writing)?;
        return Ok(0);
    }
    if writing.json {
        json_line(&wire(&proposal))?;
        return Ok(0);
    }
    let path = words.get.clone().unwrap_or_else(|| "/list".to_owned());
    let stem = file.as_ref().and_then(|file| file.file_stem()).map(|stem| stem.to_string_lossy().into_owned());
    let last = path.split('/').rev().find(|part| !part.is_empty() && !part.contains('{'));
    let name = file_name(match (&words.get, stem.as_deref()) {
        (None, Some(stem)) if stem != "-" => stem,
        _ => last.unwrap_or("list"),
    });
    let mut named = words.clone();
    named.get = Some(path);
    let spec = nobody()?;
    let wishes = named.asked(&name, &Questions::Nobody, Some(&proposal), &spec)?;
    print(&sync::drafted(&wishes, Some(&proposal), &spec)?, &proposal, &name);
    Ok(0)
}

/// A provider that says nothing.
fn nobody() -> Result<ProviderSpec, Failure> {
    let spec = json!({ "provider": "provider", "base_url": "https://api.example.com" });
    serde_json::from_value(spec).map_err(|error| Failure { code: 1, ..Failure::user(error.to_string(), None) })
}

fn print(files: &[DraftFile], proposal: &Proposal, name: &str) {
    for file in files.iter().filter(|file| !file.path.contains("/tests/")) {
        anstream::println!("{DIM}# --- {}{DIM:#}", visible(&file.path.replace("/provider/", "/<provider>/")));
        anstream::println!("{}", file.text);
    }
    let records = if proposal.count == 1 { "1 record".to_owned() } else { format!("{} records", proposal.count) };
    anstream::eprintln!("{DIM}from {records}; `--write <provider>/{name}` writes these files and a test{DIM:#}");
}

/// The proposal for machines.
fn wire(proposal: &Proposal) -> Value {
    let Proposal { records, count, key, columns, paging, watermark, incremental: _, deletes, notes } = proposal;
    let column = |column: &ColumnDraft| {
        json!({
            "name": column.name, "path": column.path(), "type": column.column_type.to_string().to_lowercase(),
            "format": column.format, "guess": column.why,
        })
    };
    let watermark = watermark.as_ref().and_then(|name| columns.iter().find(|column| column.name == *name));
    let deletes = match &deletes.value {
        DeletesDraft::Flag { path, .. } => json!({ "flag": path }),
        DeletesDraft::Absence => json!({ "absence": {} }),
        DeletesDraft::None(_) | DeletesDraft::Feed(_) | DeletesDraft::Sweep(_) => Value::Null,
    };
    json!({
        "records": records.value, "count": count, "key": key.value, "columns": columns.iter().map(column).collect::<Vec<_>>(),
        "watermark": watermark.and_then(ColumnDraft::path), "pagination": pages(&paging.value), "deletes": deletes, "notes": notes,
    })
}

fn pages(paging: &Paging) -> Value {
    match paging {
        Paging::OfProvider(_) | Paging::None => json!({ "none": {} }),
        Paging::Link => json!({ "link": {} }),
        Paging::NextUrl { from } => json!({ "next_url": { "from": from } }),
        Paging::Cursor { from: TokenFrom::Answer(path), query, has_more } => {
            json!({ "cursor": { "from": path, "query": query, "has_more": has_more } })
        }
        Paging::Cursor { from: TokenFrom::LastRecord(path), query, has_more } => {
            json!({ "cursor": { "last_record": path, "query": query, "has_more": has_more } })
        }
        Paging::Offset { query, limit, ends, .. } => {
            json!({ "offset": { "query": query, "limit": limit, "total": ends.total, "has_more": ends.has_more } })
        }
        Paging::Page { query, size, ends, .. } => json!({
            "page": { "query": query, "size": size, "total_pages": ends.total_pages, "total": ends.total, "has_more": ends.has_more },
        }),
    }
}

/// Makes one request as the connection would, and gives its answer, secrets masked, and whether a `Link` header leads on.
fn asked(folder: &Path, name: &str, words: &sync::Words) -> Result<(Vec<u8>, bool), Failure> {
    let inputs = with_request(folder, name, words)?;
    let plan = project::plan_of(folder, &inputs)?;
    let found = plan.connections.iter().find(|connection| connection.name == name);
    let connection = Arc::clone(found.ok_or_else(|| Failure::user(format!("there is no connection `{name}`"), None))?);
    let clock = engine::system_clock();
    let access = Access::of(&connection, &CredentialStore::of_project(folder), Arc::clone(&clock))?;
    let client = Client::new(connection, access)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let response = runtime.block_on(engine::sample(&client, clock()))?;
    anstream::eprintln!("{DIM}{} bytes from {}{DIM:#}", response.body.len(), client.redact(response.url.as_str()));
    let has_link = response.headers.iter().any(|(name, value)| name == "link" && value.contains("rel=\"next\""));
    let text = String::from_utf8_lossy(&response.body);
    Ok((client.redacted_data(&text).into_owned().into_bytes(), has_link))
}

/// The files of the project, in which the request of the sample stands for the one that verifies the connection.
fn with_request(folder: &Path, name: &str, words: &sync::Words) -> Result<Vec<Input>, Failure> {
    let mut inputs = files::read_project(folder)?;
    let text = files::project_text(folder)?;
    let project = yaml::parse(&text).ok();
    let provider = project.as_ref().and_then(|project| project["connections"][name]["provider"].as_str());
    let provider = provider.ok_or_else(|| {
        let hint = "`headwater connections` lists them".to_owned();
        Failure::user(format!("there is no connection `{name}` in the project"), Some(hint))
    })?;
    let mut request = json!({ "get": words.get });
    let size = words.size_param.clone().zip(words.page_size).map(|(name, size)| (name, size.to_string()));
    for (name, value) in words.pairs()?.into_iter().chain(size) {
        request["query"][name] = value.into();
    }
    let of_provider = inputs.iter_mut().find(|input| {
        input.kind == Kind::Provider
            && yaml::parse(&input.source.text).is_ok_and(|value| value["provider"].as_str() == Some(provider))
    });
    if let Some(input) = of_provider
        && let Ok(mut value) = yaml::parse(&input.source.text)
    {
        value["verify"] = request;
        let text = yaml::write(&value);
        if text.len() <= limits::DOCUMENT_BYTES_MAX {
            input.source = Arc::new(Source::new(input.source.name.clone(), text));
        }
    }
    Ok(inputs)
}
