//! The test of a sync that nobody has run yet: two pages, then a change and a delete as the sync is told of it, then an API that refuses.

use serde_json::{Map, Value, json};

use super::aside::put;
use super::example::{Examples, moment, time};
use super::parts::{ColumnDraft, DeletesDraft, FlagKind, IdList, ModelDraft, Setting, Surroundings, SyncDraft};
use super::runs::{Exchange, ListOf, Numbered, has_pages, lags};
use super::texts::Block;
use super::write::is_time;
use crate::plan::ColumnType;

/// What the API says when it refuses.
const REFUSAL: &str = "no such list";

/// The test of a sync; none where its words name something that nobody can make up.
pub(super) fn of_sync(sync: &SyncDraft, model: &ModelDraft, around: &Surroundings) -> Option<Block> {
    let flag = match &sync.deletes.value {
        DeletesDraft::Flag { path, .. } => Some(path.as_str()),
        DeletesDraft::None(_) | DeletesDraft::Absence | DeletesDraft::Feed(_) | DeletesDraft::Sweep(_) => None,
    };
    let mark = sync.incremental.as_ref().map(|incremental| incremental.value.column.as_str());
    let examples = Examples::of(model, mark, flag);
    // records that nothing tells apart are one
    if examples.record(1, false)? == examples.record(2, false)? {
        return None;
    }
    let stage = Stage { sync, model, around, examples: &examples };
    let mut test = Block::default();
    test.value("test", sync.name.as_str());
    test.value("description", "Two pages, then a change, then an API that refuses.");
    test.value("sync", sync.name.as_str());
    let connection = connection(around, &sync.input);
    if !connection.is_empty() {
        test.value("connection", connection);
    }
    let first = stage.first()?;
    let second = stage.second()?;
    test.list("runs", vec![first, second, stage.third()?]);
    Some(test)
}

/// What a test says of its connection.
pub(super) fn connection(around: &Surroundings, input: &[Setting]) -> Map<String, Value> {
    let mut connection = Map::new();
    connection.extend(around.auth.as_ref().map(|auth| ("auth".to_owned(), auth.as_str().into())));
    if !around.config.is_empty() {
        connection.insert("config".to_owned(), around.config.clone().into());
    }
    if !input.is_empty() {
        connection.insert("input".to_owned(), examples(input));
    }
    connection
}

/// Made-up values of settings.
pub(super) fn examples(input: &[Setting]) -> Value {
    Value::Object(input.iter().map(|setting| (setting.name.clone(), setting.example.clone())).collect())
}

/// A path as it is asked for, with made-up values for what it names of `input`.
pub(super) fn filled(path: &str, input: &[Setting]) -> String {
    input.iter().fold(path.to_owned(), |path, setting| {
        let text = setting.example.as_str().map_or_else(|| setting.example.to_string(), str::to_owned);
        path.replace(&format!("{{{{ input.{} }}}}", setting.name), &text)
    })
}

/// A value as a parameter or a form has it: a list repeats its parameter, so that one of one item is that item.
pub(super) fn in_query(value: Value) -> Value {
    match value {
        Value::Array(items) if items.len() == 1 => items.into_iter().next().unwrap_or_default(),
        other => other,
    }
}

struct Stage<'d> {
    sync: &'d SyncDraft,
    model: &'d ModelDraft,
    around: &'d Surroundings,
    examples: &'d Examples<'d>,
}

impl Stage<'_> {
    /// Everything, on two pages where there are any.
    fn first(&self) -> Option<Block> {
        let pages: &[&[u32]] = if has_pages(&self.sync.paging.value) { &[&[1, 2], &[3]] } else { &[&[1, 2, 3]] };
        let of =
            |numbers: &&[u32]| numbers.iter().map(|number| self.numbered(*number, false)).collect::<Option<Vec<_>>>();
        // a record that is an answer of its own has no neighbours
        let pages: Option<Vec<Vec<Numbered>>> = if self.sync.records.value == "$" {
            Some(vec![vec![self.numbered(1, false)?]])
        } else {
            pages.iter().map(of).collect()
        };
        let pages = pages?;
        let numbers: Vec<u32> = pages.iter().flatten().map(|(number, _)| *number).collect();
        let main = self.list(self.query(None)).scan(&pages)?;
        let mut exchanges = self.around_of(main, &[], &numbers)?;
        if let Some(first) = exchanges.first_mut() {
            first.1 = first.1.clone().proving(self.around.proof.as_ref());
        }
        let mut expect = Map::new();
        if let Some(rows) = self.rows(numbers.iter().map(|number| (*number, false))) {
            expect.insert("rows".to_owned(), json!({ self.model.table.as_str(): rows }));
        }
        expect.insert("counts".to_owned(), json!({ "added": numbers.len(), "quarantined": 0 }));
        if let Some((told, _)) = self.mark(&numbers).filter(|_| !self.lags()) {
            expect.insert("watermark".to_owned(), told);
        }
        Some(self.run("everything", &exchanges, expect))
    }

    /// One record is another one, and one is gone.
    fn second(&self) -> Option<Block> {
        let is_incremental = self.sync.incremental.is_some();
        let is_one = self.sync.records.value == "$";
        let changed = if is_one { 1 } else { 2 };
        let mut records = Vec::new();
        if !is_incremental && !is_one {
            records.push(self.numbered(1, false)?);
        }
        records.push(self.numbered(changed, true)?);
        let mut deleted = Vec::new();
        match &self.sync.deletes.value {
            _ if is_one => {}
            DeletesDraft::None(_) => records.extend((!is_incremental).then(|| self.numbered(3, false)).flatten()),
            DeletesDraft::Absence | DeletesDraft::Feed(_) | DeletesDraft::Sweep(_) => deleted.push(3),
            DeletesDraft::Flag { path, holds } => {
                let (number, mut record) = self.numbered(3, true)?;
                let says: Value = match holds {
                    FlagKind::True => true.into(),
                    FlagKind::Text(text) => text.as_str().into(),
                    FlagKind::Time => self.time_at(path, 3),
                };
                replace(&mut record, path, says)?;
                records.push((number, record));
                deleted.push(3);
            }
        }
        let live: Vec<u32> =
            if is_one { vec![1] } else { [1, 2, 3].into_iter().filter(|number| !deleted.contains(number)).collect() };
        let since = if self.lags() { None } else { self.mark(&[1, 2, 3]).map(|(_, sent)| sent) };
        let main = self.list(self.query(since)).scan(&[records])?;
        let exchanges = self.around_of(main, &deleted, &live)?;
        let is_changed = self.examples.can_change();
        let mut expect = Map::new();
        match self.rows(live.iter().map(|number| (*number, *number == changed))) {
            Some(rows) => {
                expect.insert("rows".to_owned(), json!({ self.model.table.as_str(): rows }));
                expect
                    .insert("counts".to_owned(), json!({ "updated": u8::from(is_changed), "deleted": deleted.len() }));
            }
            // a record whose key is made of all of it is another one when it changes
            None => drop(expect.insert("counts".to_owned(), json!({ "quarantined": 0 }))),
        }
        let what = match (is_incremental, deleted.is_empty()) {
            (true, true) => "what changed since",
            (true, false) => "what changed since, and what is gone",
            (false, true) => "everything again: one record changed",
            (false, false) => "everything again: one record changed, and one is gone",
        };
        Some(self.run(what, &exchanges, expect))
    }

    /// The API refuses.
    fn third(&self) -> Option<Block> {
        let mut exchanges = vec![(self.path(), Exchange::refused(400, REFUSAL))];
        if let DeletesDraft::Feed(feed) = &self.sync.deletes.value {
            exchanges.splice(0..0, self.ids(feed, &[])?);
        }
        let expect = Map::from_iter([("error".to_owned(), REFUSAL.into())]);
        Some(self.run("an answer that is an error ends the run, and deletes nothing", &exchanges, expect))
    }

    fn run(&self, what: &str, exchanges: &[(String, Exchange)], expect: Map<String, Value>) -> Block {
        let mut run = Block::default();
        let exchanges: Vec<Value> = exchanges.iter().map(|(path, exchange)| exchange.written("get", path)).collect();
        run.noted("exchange", exchanges, Some(what));
        run.value("expect", expect);
        run
    }

    /// The requests of the list with those before and behind it that tell of deletes.
    fn around_of(&self, main: Vec<Exchange>, deleted: &[u32], live: &[u32]) -> Option<Vec<(String, Exchange)>> {
        let mut exchanges: Vec<(String, Exchange)> = main.into_iter().map(|exchange| (self.path(), exchange)).collect();
        match &self.sync.deletes.value {
            DeletesDraft::Feed(feed) => drop(exchanges.splice(0..0, self.ids(feed, deleted)?)),
            DeletesDraft::Sweep(sweep) => exchanges.extend(self.ids(sweep, live)?),
            DeletesDraft::None(_) | DeletesDraft::Absence | DeletesDraft::Flag { .. } => {}
        }
        Some(exchanges)
    }

    /// The pages of a list of ids.
    fn ids(&self, list: &IdList, numbers: &[u32]) -> Option<Vec<(String, Exchange)>> {
        let keys: Vec<&str> = self.model.key.value.iter().filter_map(|name| self.model.column(name)?.path()).collect();
        let entry = |number: &u32| {
            let mut entry = json!({});
            keys.iter()
                .all(|path| self.examples.at(path, *number).is_some_and(|id| put(&mut entry, path, id)))
                .then_some((*number, entry))
        };
        let entries: Option<Vec<Numbered>> = numbers.iter().map(entry).collect();
        let path = filled(&list.path, &self.sync.input);
        let list = ListOf { paging: &list.paging, records: &list.records, query: None, examples: self.examples };
        Some(list.scan(&[entries?])?.into_iter().map(|exchange| (path.clone(), exchange)).collect())
    }

    fn list(&self, query: Option<Map<String, Value>>) -> ListOf<'_> {
        ListOf { paging: &self.sync.paging.value, records: &self.sync.records.value, query, examples: self.examples }
    }

    /// The parameters of a request, but those of the page.
    fn query(&self, since: Option<Value>) -> Option<Map<String, Value>> {
        if self.around.adds_query {
            return None;
        }
        let of_input = |value: &Value| match value.as_str() {
            Some(text) if text.contains("{{") => {
                let whole = self.sync.input.iter().find(|setting| text == format!("{{{{ input.{} }}}}", setting.name));
                whole.map_or_else(|| filled(text, &self.sync.input).into(), |setting| in_query(setting.example.clone()))
            }
            _ => value.clone(),
        };
        let mut query: Map<String, Value> =
            self.sync.query.iter().map(|(name, value)| (name.clone(), of_input(&value.value))).collect();
        let param = self.sync.incremental.as_ref().and_then(|incremental| incremental.value.since.clone());
        query.extend(param.zip(since));
        Some(query)
    }

    fn path(&self) -> String {
        filled(&self.sync.path, &self.sync.input)
    }

    fn numbered(&self, number: u32, is_changed: bool) -> Option<Numbered> {
        let mut record = self.examples.record(number, is_changed)?;
        // none is gone before it is
        if let DeletesDraft::Flag { path, holds } = &self.sync.deletes.value {
            let says: Value = match holds {
                FlagKind::True => false.into(),
                FlagKind::Time => Value::Null,
                FlagKind::Text(_) => "active".into(),
            };
            replace(&mut record, path, says)?;
        }
        Some((number, record))
    }

    fn rows(&self, numbers: impl Iterator<Item = (u32, bool)>) -> Option<Vec<Value>> {
        let is_told = self
            .model
            .key
            .value
            .iter()
            .all(|name| self.model.column(name).is_some_and(|column| column.path().is_some()));
        is_told.then(|| numbers.map(|(number, is_changed)| self.examples.row(number, is_changed)).collect())
    }

    /// The column that says what is newer.
    fn marks(&self) -> Option<&ColumnDraft> {
        self.model.column(&self.sync.incremental.as_ref()?.value.column)
    }

    /// See [`lags`].
    fn lags(&self) -> bool {
        lags(&self.sync.paging.value, self.marks().is_some_and(|column| is_time(&column.column_type)))
    }

    /// The latest mark among these records: as it is told, and as it is sent.
    fn mark(&self, numbers: &[u32]) -> Option<(Value, Value)> {
        let column = self.marks()?;
        let latest = numbers.iter().map(|number| moment(*number, false)).max()?;
        if !is_time(&column.column_type) {
            let mark = self.examples.at(column.path()?, *numbers.iter().max()?)?;
            return Some((mark.clone(), mark));
        }
        let sent = time(&column.column_type, column.format.as_deref(), latest);
        if column.column_type == ColumnType::Date {
            return Some((sent.clone(), sent));
        }
        let told = Value::from(latest.format("%Y-%m-%dT%H:%M:%SZ").to_string());
        // a time without an offset is one of UTC, and is sent with its offset
        Some((told.clone(), if column.format.is_none() { told } else { sent }))
    }

    /// When a record was deleted, as its member says it.
    fn time_at(&self, path: &str, number: u32) -> Value {
        let column = self.model.columns.iter().find(|column| column.path() == Some(path));
        let at = moment(number, true);
        match column {
            Some(column) => time(&column.column_type, column.format.as_deref(), at),
            None => at.format("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
        }
    }
}

/// Puts another value where one is, or a first one.
fn replace(record: &mut Value, path: &str, value: Value) -> Option<()> {
    put(record, path, Value::Null);
    let mut fresh = Value::Null;
    put(&mut fresh, path, value).then(|| merge(record, fresh))
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(members), Value::Object(more)) => {
            for (name, value) in more {
                merge(members.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
