//! A sync from what a person wants of it and what an answer of the API tells.

use serde_json::Value;

use super::facts::SIZE;
use super::name::{column_name, member, model_name};
use super::parts::{
    ColumnDraft, DeletesDraft, Ends, FlagKind, Guess, IdList, IncrementalDraft, ModelDraft, Paging, Source, SyncDraft,
    TokenFrom,
};
use super::paths::with_inputs;
use super::runs::own;
use super::sample::Proposal;
use crate::plan::{ColumnType, Path};

/// What a person has said of a sync. What is missing is taken from the sample, or guessed.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// its name
    pub name: String,
    /// the path of its request
    pub get: String,
    /// the page of the documentation
    pub docs: Option<String>,
    /// query parameters that do not change
    pub query: Vec<(String, String)>,
    /// where the records stand
    pub records: Option<String>,
    /// a word of [`PAGINATIONS`]
    pub pagination: Option<String>,
    /// a path to the token or the URL of the next page
    pub next_from: Option<String>,
    /// the parameter that asks for the next page
    pub next_param: Option<String>,
    /// the signs of the end
    pub ends: Ends,
    /// records of a page
    pub page_size: Option<u64>,
    /// the parameter of that
    pub size_param: Option<String>,
    /// the member with the time of the last change
    pub incremental: Option<String>,
    /// the parameter that takes the watermark
    pub since: Option<String>,
    /// a word of [`DELETES`]
    pub deletes: Option<String>,
    /// the member that says that a record is gone, perhaps with `=` and a text
    pub deleted: Option<String>,
    /// the path of the list of ids
    pub deletes_get: Option<String>,
    /// where its entries stand
    pub deletes_records: Option<String>,
    /// the key columns
    pub key: Vec<String>,
    /// columns as `name[:type[:path]]`
    pub columns: Vec<String>,
    /// columns of the answer that are left out
    pub without_columns: Vec<String>,
    /// the model's name
    pub model: Option<String>,
}

/// The ways that a person can choose for the next page. `provider` is that of the provider.
pub const PAGINATIONS: [&str; 7] = ["provider", "none", "link", "next_url", "cursor", "page", "offset"];
/// The ways that a person can choose to learn of deletes.
pub const DELETES: [&str; 5] = ["none", "absence", "flag", "feed", "sweep"];

/// Why no sync comes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Wrong {
    /// a lowercase fragment
    pub message: String,
    /// what to do about it
    pub hint: String,
}

fn wrong(message: impl Into<String>, hint: impl Into<String>) -> Wrong {
    Wrong { message: message.into(), hint: hint.into() }
}

fn listed(columns: &[ColumnDraft]) -> String {
    columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

impl Wishes {
    /// The sync and its model. `provider` is the provider's pagination.
    ///
    /// # Errors
    /// Something essential is missing, or cannot be.
    pub fn draft(
        &self,
        proposal: Option<&Proposal>,
        provider: Option<&Paging>,
    ) -> Result<(SyncDraft, ModelDraft), Wrong> {
        let mut settings = Vec::new();
        let path = with_inputs(&self.get, &mut settings).ok_or_else(|| {
            let hint = "begin it with `/`, and write what changes in braces: `--get '/lists/{list}/contacts'`; parameters are `--query`";
            wrong(format!("`{}` is no path under the base URL", self.get), hint)
        })?;
        let records = match (&self.records, proposal) {
            (Some(path), _) => Guess::said(path.clone()),
            (None, Some(proposal)) => proposal.records.clone(),
            (None, None) => Guess::guessed("$.data[*]".to_owned(), "no answer was given to look at"),
        };
        let mut columns = self.columns(proposal)?;
        let key = self.key(&columns, proposal)?;
        let key_path = key
            .value
            .first()
            .and_then(|name| columns.iter().find(|column| column.name == *name)?.path())
            .map(str::to_owned);
        let paging = self.paging(proposal, provider, key_path.as_deref())?;
        let incremental = self.incremental(&mut columns)?;
        let deletes = self.deletes(&columns, (proposal, incremental.is_some()), &paging.value, &records.value)?;
        for path in [Some(&records.value), self.next_from.as_ref(), self.deletes_records.as_ref()].into_iter().flatten()
        {
            if let Err(reason) = Path::parse(path) {
                return Err(wrong(
                    format!("the path `{path}` does not parse: {reason}"),
                    "a path starts with `$`: `$.results[*]`",
                ));
            }
        }
        let mut notes: Vec<String> = proposal.map(|proposal| proposal.notes.clone()).unwrap_or_default();
        if self.incremental.is_some() {
            notes.retain(|note| !note.contains("incremental: {"));
        }
        let name = model_name(&self.name);
        let model = ModelDraft {
            name: self.model.clone().unwrap_or(name),
            table: column_name(&self.name),
            description: None,
            key,
            columns,
            notes: Vec::new(),
        };
        // what is a number is written as one, and sent as the same text
        let value = |text: &String| match text.parse::<u32>() {
            Ok(number) if number.to_string() == *text => number.into(),
            _ => Value::from(text.as_str()),
        };
        let mut query: Vec<(String, Guess<Value>)> =
            self.query.iter().map(|(name, text)| (name.clone(), Guess::said(value(text)))).collect();
        if let (Some(param), Paging::None | Paging::Link | Paging::NextUrl { .. } | Paging::Cursor { .. }) =
            (&self.size_param, own(&paging.value))
        {
            query.push((param.clone(), Guess::said(self.page_size.unwrap_or(SIZE).into())));
        }
        let sync = SyncDraft {
            name: self.name.clone(),
            description: None,
            docs: self.docs.clone(),
            scopes: Vec::new(),
            path,
            query,
            input: settings.into_iter().map(|(_, setting)| setting).collect(),
            records,
            paging,
            incremental,
            deletes,
            notes,
        };
        Ok((sync, model))
    }

    fn columns(&self, proposal: Option<&Proposal>) -> Result<Vec<ColumnDraft>, Wrong> {
        let mut columns = proposal.map(|proposal| proposal.columns.clone()).unwrap_or_default();
        for text in &self.columns {
            let mut parts = text.splitn(3, ':').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let kind = parts.next().filter(|kind| !kind.is_empty()).unwrap_or("varchar");
            // the types of JSON, which people know better
            let kind = match kind {
                "string" | "text" => "varchar",
                "number" => "double",
                "object" | "array" => "json",
                kind => kind,
            };
            let Some(column_type) = ColumnType::parse(kind) else {
                let hint = format!("types are {}, and lists of them: `varchar[]`", ColumnType::NAMES.join(", "));
                return Err(wrong(format!("`{kind}` is no type of a column"), hint));
            };
            let path = parts.next().map_or_else(|| member("$", name), str::to_owned);
            if let Err(reason) = Path::parse(&path) {
                return Err(wrong(
                    format!("the path `{path}` does not parse: {reason}"),
                    "a path starts with `$`: `$.address.city`",
                ));
            }
            let column = ColumnDraft {
                name: column_name(name),
                source: Source::Path(path),
                column_type,
                format: None,
                description: None,
                why: None,
            };
            match columns.iter_mut().find(|known| known.name == column.name) {
                Some(known) => *known = column,
                None => columns.push(column),
            }
        }
        for name in &self.without_columns {
            if !columns.iter().any(|column| column.name == *name) {
                return Err(wrong(
                    format!("there is no column `{name}` to leave out"),
                    format!("columns are {}", listed(&columns)),
                ));
            }
            columns.retain(|column| column.name != *name);
        }
        if columns.is_empty() {
            let hint =
                "give one answer of the API (`--sample answer.json`), or name them: `--column id:bigint --column name`";
            return Err(wrong("nothing tells the columns", hint));
        }
        Ok(columns)
    }

    fn key(&self, columns: &[ColumnDraft], proposal: Option<&Proposal>) -> Result<Guess<Vec<String>>, Wrong> {
        if let Some(missing) = self.key.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
            return Err(wrong(
                format!("there is no column `{missing}` for the key"),
                format!("columns are {}", listed(columns)),
            ));
        }
        match (self.key.as_slice(), proposal) {
            ([], Some(proposal)) => Ok(proposal.key.clone()),
            ([], None) => Ok(match columns.iter().find(|column| column.name == "id") {
                Some(column) => Guess::said(vec![column.name.clone()]),
                None => {
                    Guess::guessed(vec![columns[0].name.clone()], "it is the first column; `--key` names another one")
                }
            }),
            (given, _) => Ok(Guess::said(given.to_vec())),
        }
    }

    fn paging(
        &self,
        proposal: Option<&Proposal>,
        provider: Option<&Paging>,
        key: Option<&str>,
    ) -> Result<Guess<Paging>, Wrong> {
        let seen = proposal.map(|proposal| &proposal.paging);
        let Some(word) = &self.pagination else {
            return Ok(match (provider, seen) {
                (Some(provider), _) => Guess::said(Paging::OfProvider(Box::new(provider.clone()))),
                (None, Some(seen)) => seen.clone(),
                (None, None) => Guess::guessed(Paging::None, "no answer was given to look at"),
            });
        };
        let seen = seen.map(|seen| &seen.value);
        let needed = |value: Option<String>, flag: &str, what: &str| {
            value.ok_or_else(|| wrong(format!("`--pagination {word}` needs {what}"), format!("name it with `{flag}`")))
        };
        let mut why: Option<String> = None;
        let mut or_guess = |value: Option<String>, guess: &str, flag: &str| {
            value.unwrap_or_else(|| {
                why = Some(format!("the parameter is called `{guess}`; `{flag}` names another one"));
                guess.to_owned()
            })
        };
        let ends = |of: Option<&Ends>| Ends {
            has_more: self.ends.has_more.clone().or_else(|| of?.has_more.clone()),
            total: self.ends.total.clone().or_else(|| of?.total.clone()),
            total_pages: self.ends.total_pages.clone().or_else(|| of?.total_pages.clone()),
        };
        let paging = match word.as_str() {
            "provider" => match provider {
                Some(provider) => Paging::OfProvider(Box::new(provider.clone())),
                None => return Err(wrong("the provider has no `pagination`", "choose one with `--pagination`")),
            },
            "none" => Paging::None,
            "link" => Paging::Link,
            "next_url" => {
                let from = self.next_from.clone().or_else(|| match seen? {
                    Paging::NextUrl { from } => Some(from.clone()),
                    _ => None,
                });
                Paging::NextUrl { from: needed(from, "--next-from", "a path to the URL of the next page")? }
            }
            "cursor" => self.cursor(seen, key, &mut or_guess)?,
            "offset" => {
                let (known, known_size, known_ends) = match seen {
                    Some(Paging::Offset { query, limit, ends, .. }) => (Some(query.clone()), Some(*limit), Some(ends)),
                    _ => (None, None, None),
                };
                let query = or_guess(self.next_param.clone().or(known), "offset", "--next-param");
                let limit = self.page_size.or(known_size).unwrap_or(SIZE);
                Paging::Offset { query, limit, limit_param: self.size_param.clone(), ends: ends(known_ends) }
            }
            _ => {
                let (known, known_size, known_ends) = match seen {
                    Some(Paging::Page { query, size, ends, .. }) => (Some(query.clone()), *size, Some(ends)),
                    _ => (None, None, None),
                };
                let query = or_guess(self.next_param.clone().or(known), "page", "--next-param");
                let size = Some(self.page_size.or(known_size).unwrap_or(SIZE));
                Paging::Page { query, start: 1, size, size_param: self.size_param.clone(), ends: ends(known_ends) }
            }
        };
        Ok(Guess { value: paging, why })
    }

    fn cursor(
        &self,
        seen: Option<&Paging>,
        key: Option<&str>,
        or_guess: &mut impl FnMut(Option<String>, &str, &str) -> String,
    ) -> Result<Paging, Wrong> {
        let (token, query, more) = match seen {
            Some(Paging::Cursor { from, query, has_more }) => {
                (Some(from.clone()), Some(query.clone()), has_more.clone())
            }
            _ => (None, None, None),
        };
        let said = self.next_from.as_ref().map(|path| match path.strip_prefix("record:") {
            Some(path) => TokenFrom::LastRecord(path.to_owned()),
            None => TokenFrom::Answer(path.clone()),
        });
        let has_more = self.ends.has_more.clone().or(more);
        // without a token in the answer the last record is one
        let last = || key.filter(|_| has_more.is_some()).map(|key| TokenFrom::LastRecord(key.to_owned()));
        let Some(from) = said.or(token).or_else(last) else {
            let hint = "name a path in the answer with `--next-from '$.paging.next'`, or in the last record with `--next-from 'record:$.id'`";
            return Err(wrong("`--pagination cursor` needs to know where the token comes from", hint));
        };
        let query = or_guess(self.next_param.clone().or(query), "cursor", "--next-param");
        Ok(Paging::Cursor { from, query, has_more })
    }

    /// The column of a member that was named by its name or its path.
    fn column_of<'c>(columns: &'c [ColumnDraft], named: &str) -> Option<&'c ColumnDraft> {
        let is_it = |column: &&ColumnDraft| {
            column.name == named || column.path() == Some(named) || column.path() == Some(member("$", named).as_str())
        };
        columns.iter().find(is_it)
    }

    fn incremental(&self, columns: &mut Vec<ColumnDraft>) -> Result<Option<Guess<IncrementalDraft>>, Wrong> {
        let Some(named) = self.incremental.as_ref().filter(|named| *named != "none") else {
            return match &self.since {
                Some(_) => {
                    Err(wrong("`--since` without `--incremental`", "name the member with the time of the last change"))
                }
                None => Ok(None),
            };
        };
        if Self::column_of(columns, named).is_none() {
            let path = if named.starts_with('$') { named.clone() } else { member("$", named) };
            let name = column_name(
                path.rsplit(['.', '\'']).find(|part| !part.is_empty() && *part != "]").unwrap_or("updated_at"),
            );
            columns.push(ColumnDraft {
                name,
                source: Source::Path(path),
                column_type: ColumnType::Timestamptz,
                format: None,
                description: None,
                why: Some("the sample has no such member".to_owned()),
            });
        }
        let column = Self::column_of(columns, named).or(columns.last());
        let Some(column) = column else { return Ok(None) };
        let can_be = matches!(
            column.column_type,
            ColumnType::Timestamptz
                | ColumnType::Timestamp
                | ColumnType::Date
                | ColumnType::Integer
                | ColumnType::Bigint
                | ColumnType::Varchar
        );
        if !can_be {
            let kind = column.column_type.to_string().to_lowercase();
            let hint = "name the member with the time of the last change: `--incremental updated_at`";
            return Err(wrong(format!("`{named}` is a `{kind}`, which tells nothing of what is newer"), hint));
        }
        Ok(Some(Guess::said(IncrementalDraft { column: column.name.clone(), since: self.since.clone() })))
    }

    fn deletes(
        &self,
        columns: &[ColumnDraft],
        (proposal, is_incremental): (Option<&Proposal>, bool),
        paging: &Paging,
        records: &str,
    ) -> Result<Guess<DeletesDraft>, Wrong> {
        let seen = proposal.map(|proposal| proposal.deletes.clone());
        let Some(word) = &self.deletes else {
            return Ok(match seen {
                Some(seen) if !(is_incremental && seen.value == DeletesDraft::Absence) => seen,
                _ => Guess::said(DeletesDraft::None(None)),
            });
        };
        let list = |default: &str, of_default: Paging| {
            let path = self.deletes_get.clone();
            let is_own = path.as_ref().is_none_or(|path| *path == self.get);
            let mut settings = Vec::new();
            let path = with_inputs(path.as_deref().unwrap_or(default), &mut settings)
                .ok_or_else(|| wrong("`--deletes-get` is no path under the base URL", "begin it with `/`"))?;
            let records = self.deletes_records.clone().unwrap_or_else(|| records.to_owned());
            Ok(IdList { path, records, paging: if is_own { of_default } else { Paging::None } })
        };
        Ok(Guess::said(match word.as_str() {
            "absence" if is_incremental => {
                let hint = "choose `flag`, `feed` or `sweep`, or leave `--incremental` out";
                return Err(wrong(
                    "`absence` compares whole lists, and an incremental sync reads only what changed",
                    hint,
                ));
            }
            "absence" => DeletesDraft::Absence,
            "flag" => self.flag(columns, seen.as_ref())?,
            "feed" => {
                if self.deletes_get.is_none() {
                    let hint = "name its path: `--deletes-get /contacts/deleted`";
                    return Err(wrong("`--deletes feed` needs the list that tells what was deleted", hint));
                }
                DeletesDraft::Feed(list(&self.get, paging.clone())?)
            }
            "sweep" => DeletesDraft::Sweep(list(&self.get, paging.clone())?),
            _ => DeletesDraft::None(None),
        }))
    }

    fn flag(&self, columns: &[ColumnDraft], seen: Option<&Guess<DeletesDraft>>) -> Result<DeletesDraft, Wrong> {
        let Some(named) = &self.deleted else {
            return match seen.map(|seen| &seen.value) {
                Some(flag @ DeletesDraft::Flag { .. }) => Ok(flag.clone()),
                _ => {
                    let hint = "name it: `--deleted archived`, `--deleted deleted_at` or `--deleted status=gone`";
                    Err(wrong("`--deletes flag` needs the member that says that a record is gone", hint))
                }
            };
        };
        let (named, text) = match named.split_once('=') {
            Some((named, text)) => (named, Some(text)),
            None => (named.as_str(), None),
        };
        let column = Self::column_of(columns, named);
        let path = match column.and_then(ColumnDraft::path) {
            Some(path) => path.to_owned(),
            None if named.starts_with('$') => named.to_owned(),
            None => member("$", named),
        };
        let holds = match (text, column.map(|column| &column.column_type)) {
            (Some(text), _) => FlagKind::Text(text.to_owned()),
            (None, Some(ColumnType::Timestamptz | ColumnType::Timestamp | ColumnType::Date | ColumnType::Varchar)) => {
                FlagKind::Time
            }
            (None, _) => FlagKind::True,
        };
        Ok(DeletesDraft::Flag { path, holds })
    }
}
