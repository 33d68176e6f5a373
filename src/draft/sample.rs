//! The answer of an API, looked at: where its records are, what tells them apart, the types of their members, and how the list goes on.

use std::collections::HashSet;

use super::columns::{Kind, kind_of};
use super::facts::{self, Fact, Holds, LISTS, List, key_rank};
use super::name::{bare, column_name, member, unique};
use super::parts::{ColumnDraft, DeletesDraft, Guess, IncrementalDraft, Paging, Source};
use crate::plan::{ColumnType, Path, limits};
use crate::record::{Json, parse, select};

/// What a sample says.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// where the records stand
    pub records: Guess<String>,
    /// how many there are
    pub count: usize,
    /// the columns that tell them apart
    pub key: Guess<Vec<String>>,
    /// their members
    pub columns: Vec<ColumnDraft>,
    /// how the next page is asked for
    pub paging: Guess<Paging>,
    /// the column with the time of the last change
    pub watermark: Option<String>,
    /// only what changed; none here, because an answer does not tell how it is asked for
    pub incremental: Option<Guess<IncrementalDraft>>,
    /// what tells of deletes
    pub deletes: Guess<DeletesDraft>,
    /// members that make no column, and why
    pub notes: Vec<String>,
}

/// Why a sample says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// it is no JSON
    #[error("the sample is no JSON: {0}")]
    NoJson(String),
    /// there is no list of objects in it
    #[error("the sample has no records: no list of objects was found in it")]
    NoRecords,
    /// there is none at this path
    #[error("there are no records at `{0}` in the sample")]
    NoneAt(String),
    /// something else than objects
    #[error("what stands at `{0}` in the sample are no objects")]
    NoObjects(String),
}

impl SampleError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoJson(_) => "give the body of one answer as the API sends it",
            Self::NoRecords | Self::NoneAt(_) | Self::NoObjects(_) => {
                "name where they stand: `--records '$.results[*]'`; a list without items tells nothing"
            }
        }
    }
}

/// Looks at the answer `text`. `records` is where its records stand, if somebody knows it; `has_link` whether the answer came with a `Link`
/// header that leads on.
///
/// # Errors
/// It is no JSON, or has no records.
pub fn propose(text: &[u8], records: Option<&str>, has_link: bool) -> Result<Proposal, SampleError> {
    let root = parse(text).map_err(|error| SampleError::NoJson(error.to_string()))?;
    let records = match records {
        Some(path) => Guess::said(path.to_owned()),
        None => found(&root).ok_or(SampleError::NoRecords)?,
    };
    let path = Path::parse(&records.value).map_err(|_| SampleError::NoneAt(records.value.clone()))?;
    let items: Vec<&Json<'_>> = select(&path, &root);
    if items.is_empty() {
        return Err(SampleError::NoneAt(records.value));
    }
    let objects: Vec<&Json<'_>> = items.iter().copied().filter(|item| matches!(item, Json::Object(_))).collect();
    if objects.is_empty() {
        return Err(SampleError::NoObjects(records.value));
    }
    let mut notes = Vec::new();
    if objects.len() < items.len() {
        notes.push(format!(
            "{} of {} records are no objects, and will not fit",
            items.len() - objects.len(),
            items.len()
        ));
    }
    let mut columns = columns(&objects, &mut notes);
    let key = key(&mut columns, &objects);
    let key_path = key
        .value
        .first()
        .and_then(|name| columns.iter().find(|column| column.name == *name))
        .and_then(ColumnDraft::path);
    let mut facts = Vec::new();
    collect_facts(&root, "$", &mut Vec::new(), &items, &mut facts);
    let list = List { facts: &facts, params: None, has_link, key: key_path };
    let paging = if records.value == "$" { Guess::said(Paging::None) } else { list.paging() };
    let (incremental, mut deletes) = changes(&columns, None, &mut notes);
    if let (Guess { value: Paging::None, why: Some(_) }, DeletesDraft::Absence) = (&paging, &deletes.value) {
        let records = objects.len();
        deletes.why = Some(format!(
            "if these {records} records are all that there are: where there is a next page, name it first, or what stands there would never be read"
        ));
    }
    let watermark = facts::changed_at(&columns).map(|column| column.name.clone());
    Ok(Proposal { records, count: objects.len(), key, columns, paging, watermark, incremental, deletes, notes })
}

/// `incremental` and `deletes` as the columns suggest them. `since` is the parameter that asks for changes; without one everything is read.
pub(super) fn changes(
    columns: &[ColumnDraft],
    since: Option<&str>,
    notes: &mut Vec<String>,
) -> (Option<Guess<IncrementalDraft>>, Guess<DeletesDraft>) {
    let changed = facts::changed_at(columns);
    let incremental = changed.zip(since).map(|(column, since)| {
        let draft = IncrementalDraft { column: column.name.clone(), since: Some(since.to_owned()) };
        Guess::guessed(draft, format!("`{since}` asks for what changed since, by its name"))
    });
    if let (Some(path), None) = (changed.and_then(ColumnDraft::path), since) {
        notes.push(format!(
            "`{path}` is when a record changed. If the API can ask for what changed since, add `incremental: {{ field: {path} }}`, name the \
             parameter under `query` (`updated_since: \"{{{{ watermark }}}}\"`), and choose a way of `deletes` that is not `absence`"
        ));
    }
    let deletes = match (facts::flag(columns), &incremental) {
        (Some((column, holds)), _) => {
            let path = column.path().unwrap_or_default().to_owned();
            let why = "by its name; see whether the list returns such records at all";
            Guess::guessed(DeletesDraft::Flag { path, holds }, why)
        }
        (None, None) => {
            let why = "if the list is complete; where it shows only a part, rows out of sight would be deleted";
            Guess::guessed(DeletesDraft::Absence, why)
        }
        (None, Some(_)) => {
            let ways = "nothing tells of deletes; `flag`, `feed` and `sweep` are ways to learn of them";
            notes.push(ways.to_owned());
            Guess::said(DeletesDraft::None(None))
        }
    };
    (incremental, deletes)
}

/// Where records probably stand: the list of objects that is nearest to the root, of several the one whose name is usual, or the longest.
fn found(root: &Json<'_>) -> Option<Guess<String>> {
    let mut level = vec![("$".to_owned(), String::new(), root)];
    for _ in 0..=limits::DRAFT_LIST_DEPTH_MAX {
        let lists = level.iter().filter_map(|(path, name, value)| match value {
            Json::Array(items) if items.iter().any(|item| matches!(item, Json::Object(_))) => Some((path, name, items)),
            _ => None,
        });
        let rank = |name: &str| LISTS.iter().position(|known| *known == name).unwrap_or(LISTS.len());
        let best = lists.min_by_key(|(_, name, items)| (rank(name), std::cmp::Reverse(items.len())));
        if let Some((path, _, items)) = best {
            let why = "it is the list of objects nearest to the root of the answer";
            // `edges[*].node`: the record is the one object in each item
            if let Some(inner) = wrapped(items) {
                return Some(Guess::guessed(member(&format!("{path}[*]"), &inner), why));
            }
            return Some(Guess::guessed(format!("{path}[*]"), why));
        }
        level = level
            .iter()
            .flat_map(|(path, _, value)| match value {
                Json::Object(members) => members
                    .iter()
                    .map(|(name, value)| (member(path, name), bare(name), value))
                    .filter(|(path, _, _)| Path::parse(path).is_ok())
                    .collect::<Vec<_>>(),
                _ => Vec::new(),
            })
            .collect();
    }
    // a map of records by their ids
    if let Json::Object(members) = root {
        let is_object = |value: &Json<'_>| matches!(value, Json::Object(_));
        let is_map = members.len() > 1 && members.iter().all(|(_, value)| is_object(value));
        if is_map {
            return Some(Guess::guessed("$.*".to_owned(), "all members of the answer are objects"));
        }
        if !members.is_empty() {
            return Some(Guess::guessed(
                "$".to_owned(),
                "there is no list of objects, so the answer is the one record",
            ));
        }
    }
    None
}

/// The name of the one object that each item of a list wraps: `node`.
fn wrapped(items: &[Json<'_>]) -> Option<String> {
    let one = |item: &Json<'_>| match item {
        Json::Object(members) => {
            let mut objects = members.iter().filter(|(_, value)| matches!(value, Json::Object(_)));
            let first = objects.next().filter(|_| members.len() <= 2)?;
            (objects.next().is_none() && matches!(bare(&first.0).as_str(), "node" | "item" | "record" | "resource"))
                .then(|| first.0.to_string())
        }
        _ => None,
    };
    let name = one(items.first()?)?;
    items.iter().all(|item| one(item).as_ref() == Some(&name)).then_some(name)
}

/// Members that only hold a record's own: their members become columns too.
const WRAPPERS: [&str; 4] = ["properties", "attributes", "fields", "profile"];

/// The columns of records, in the order in which their members are seen first.
fn columns(records: &[&Json<'_>], notes: &mut Vec<String>) -> Vec<ColumnDraft> {
    let mut columns: Vec<ColumnDraft> = Vec::new();
    let mut seen: HashSet<String> = HashSet::new();
    let mut add = |name: &str, path: String, values: &[&Json<'_>], notes: &mut Vec<String>| {
        if columns.len() >= limits::DRAFT_COLUMNS_MAX {
            return;
        }
        if Path::parse(&path).is_err() {
            notes.push("a member has a name that no path can say, and makes no column".to_owned());
            return;
        }
        let Kind { column_type, format, why } = kind_of(name, values);
        let name = unique(&column_name(name), |name| seen.contains(name));
        seen.insert(name.clone());
        let format = format.map(str::to_owned);
        columns.push(ColumnDraft { name, source: Source::Path(path), column_type, format, description: None, why });
    };
    let mut left = 0_usize;
    for (name, values) in members_of(records) {
        let path = member("$", &name);
        let is_wrapper = WRAPPERS.contains(&bare(&name).as_str())
            && values.iter().all(|value| matches!(value, Json::Object(_) | Json::Null));
        if is_wrapper {
            for (inner, values) in members_of(&values) {
                add(&inner, member(&path, &inner), &values, notes);
            }
        } else {
            add(&name, path, &values, notes);
        }
        left += 1;
    }
    if columns.len() >= limits::DRAFT_COLUMNS_MAX {
        notes.push(format!(
            "only the first {} columns are here, of a record with {left} members",
            limits::DRAFT_COLUMNS_MAX
        ));
    }
    columns
}

/// The members of all objects by name, with their values.
fn members_of<'j>(objects: &[&'j Json<'j>]) -> Vec<(String, Vec<&'j Json<'j>>)> {
    let mut all: indexmap::IndexMap<&str, Vec<&Json<'_>>> = indexmap::IndexMap::new();
    for object in objects {
        let Json::Object(members) = object else { continue };
        for (name, value) in members {
            all.entry(name.as_ref()).or_default().push(value);
        }
    }
    all.into_iter().take(limits::DRAFT_COLUMNS_MAX).map(|(name, values)| (name.to_owned(), values)).collect()
}

/// What tells records apart: the likeliest column that each of them has, each another one. A column that is made for it, if there is none.
fn key(columns: &mut Vec<ColumnDraft>, records: &[&Json<'_>]) -> Guess<Vec<String>> {
    let can_be = |column: &&ColumnDraft| {
        let is_type = matches!(
            column.column_type,
            ColumnType::Integer | ColumnType::Bigint | ColumnType::Hugeint | ColumnType::Varchar | ColumnType::Uuid
        );
        is_type && column.why.is_none()
    };
    let tells = |column: &&ColumnDraft| {
        let Some(path) = column.path().and_then(|path| Path::parse(path).ok()) else { return false };
        let mut seen = HashSet::new();
        records.iter().all(|record| match select(&path, record).as_slice() {
            [value] if !value.is_null() => seen.insert(value.to_text()),
            _ => false,
        })
    };
    let best = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| can_be(column) && tells(column))
        .min_by_key(|(at, column)| (key_rank(&column.name), *at));
    if let Some((_, column)) = best {
        let name = column.name.clone();
        let why = match (key_rank(&name), records.len()) {
            (0, _) => return Guess::said(vec![name]),
            (_, 1) => "one record tells little: is it another one in each record?",
            _ => "it is another one in each record of the sample",
        };
        return Guess::guessed(vec![name], why);
    }
    let taken: HashSet<String> = columns.iter().map(|column| column.name.clone()).collect();
    let name = unique("record_hash", |name| taken.contains(name));
    let source = Source::Template("{{ record | json | sha256 }}".to_owned());
    let description = Some("Tells records apart that have nothing of their own to do so".to_owned());
    columns.insert(
        0,
        ColumnDraft {
            name: name.clone(),
            source,
            column_type: ColumnType::Varchar,
            format: None,
            description,
            why: None,
        },
    );
    Guess::guessed(vec![name], "no member tells all records of the sample apart, so a changed record is a new row")
}

/// The scalars of an answer outside of its records.
fn collect_facts(value: &Json<'_>, path: &str, names: &mut Vec<String>, records: &[&Json<'_>], out: &mut Vec<Fact>) {
    if records.iter().any(|record| std::ptr::eq(*record, value)) {
        return;
    }
    let holds = match value {
        Json::Object(members) => {
            if names.len() < limits::DRAFT_FACT_DEPTH_MAX {
                for (name, value) in members.iter().take(limits::DRAFT_COLUMNS_MAX) {
                    names.push(bare(name));
                    collect_facts(value, &member(path, name), names, records, out);
                    names.pop();
                }
            }
            return;
        }
        Json::Array(_) => return,
        Json::String(text) if is_url(text) => Holds::Url,
        Json::String(_) => Holds::Text,
        Json::Number(text) => Holds::Number(text.parse().ok()),
        Json::Bool(_) => Holds::Bool,
        Json::Null => Holds::Unknown,
    };
    if Path::parse(path).is_ok() {
        out.push(Fact { path: path.to_owned(), names: names.clone(), holds });
    }
}

fn is_url(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://") || (text.starts_with('/') && text.len() > 1)
}
