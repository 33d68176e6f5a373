//! The items that a sync goes over, level in level, and the places of a walk below them.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::Value;
use minijinja::value::Serde;
use serde_json::{Map, Value as Json};
use xxhash_rust::xxh3::xxh3_64;

use super::Error;
use super::answer::{Mapped, Reader, Rows, item_key};
use super::commit::Found;
use super::fetch::Fetcher;
use super::gate::Gate;
use super::lane::{Asked, Partition, unexplained};
use super::render::Variables;
use super::writer::Writer;
use crate::plan::{LevelPlan, LevelSource, ModelPlan, Predicate, SyncId, SyncPlan, limits};
use crate::record::{matches, parse};
use crate::remote::{self, Client, render};
use crate::scan::{Node, ScanState, Step, partition_key};
use crate::store::{self, NodesOf, ReadStore};

/// One item of the innermost level.
pub(super) struct Item {
    pub(super) partition: Partition,
    /// the highest change number of the rows that it was made of, of levels with `changed_only`
    pub(super) change: Option<i64>,
}

/// Where items come from.
pub(super) struct Origin {
    pub(super) plan: Arc<SyncPlan>,
    /// the way to the API, or why there is none
    pub(super) client: Result<Client, Arc<remote::Error>>,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) rows: RowsOf,
    /// when the run began
    pub(super) at: DateTime<Utc>,
    /// places of a walk that the database has; none = where it starts is enough
    pub(super) nodes: Option<NodesOf>,
    /// rows below which nothing need be asked for
    pub(super) gate: Option<Arc<Gate>>,
}

/// Where rows are read.
pub(super) enum RowsOf {
    /// in the database that the run writes
    Writer(Writer),
    /// in a database that is only looked at
    File(PathBuf),
}

/// The items of all levels, one after the other, each once.
pub(super) struct Items {
    origin: Origin,
    /// the open list of each level, from the outermost
    open: Vec<Source>,
    /// the item of each level that the next one belongs to
    path: Vec<Entry>,
    /// hashes of the keys of all items so far
    pub(super) listed: HashSet<u64>,
    /// of those that looks before this one have found: they are not given out again
    pub(super) before: HashSet<u64>,
    /// how many were given out
    pub(super) new: u64,
    /// and how many places of a walk may be
    places_max: usize,
    /// hashes of the keys of the items below which walks start, of all looks
    starts_below: HashSet<u64>,
    begun: bool,
    /// the places where the walk starts below the last item
    starts: VecDeque<Node>,
    /// what the last place is below
    last_parent: Option<SharedParent>,
    /// the number of the last place that was read from the database
    last_node: i64,
    /// there may be others behind it
    more_nodes: bool,
    /// every list was read to its end
    pub(super) is_whole: bool,
    /// why the end of one proves nothing
    pub(super) doubt: Option<String>,
    /// one was read by position, so that an item can have slipped past
    pub(super) by_position: bool,
    /// lists that could not be read, by the items they belong to
    pub(super) failures: Vec<(Partition, Error)>,
}

/// An item of one level.
struct Entry {
    key: Vec<String>,
    item: Json,
    change: Option<i64>,
}

/// A list of items, and how far it is read.
enum Source {
    Values(std::vec::IntoIter<Entry>),
    Rows(Box<RowSource>),
    List { reader: Arc<Reader>, scan: Box<ScanState>, ready: VecDeque<Entry>, ended: bool },
}

/// Rows of a table, and how far they are read.
struct RowSource {
    /// the sync that goes over them
    id: SyncId,
    /// the one that fills the table
    sync: String,
    model: Arc<ModelPlan>,
    filter: Option<Predicate>,
    changed_only: bool,
    /// what `filter` sees beside the row
    shared: Value,
    after: Option<Vec<String>>,
    ready: VecDeque<Entry>,
    ended: bool,
}

impl Items {
    /// Before the first of them.
    pub(super) fn new(origin: Origin) -> Self {
        Self {
            origin,
            open: Vec::new(),
            path: Vec::new(),
            listed: HashSet::new(),
            before: HashSet::new(),
            new: 0,
            places_max: limits::PLACES_MAX,
            starts_below: HashSet::new(),
            begun: false,
            starts: VecDeque::new(),
            last_parent: None,
            last_node: 0,
            more_nodes: true,
            is_whole: true,
            doubt: None,
            by_position: false,
            failures: Vec::new(),
        }
    }

    /// For one look more, behind this one.
    pub(super) fn behind(self, mut last: Self) -> Self {
        last.before.extend(last.listed);
        Self { before: last.before, starts_below: last.starts_below, ..self }
    }

    /// Whether the API is asked for a list of them.
    pub(super) fn are_asked(&self) -> bool {
        self.levels().iter().any(|level| matches!(level.from, LevelSource::List { .. }))
    }

    /// Takes places that were found meanwhile; says whether there are any.
    pub(super) fn take(&mut self, Found { nodes, more }: Found) -> bool {
        self.more_nodes |= more;
        let any = more || !nodes.is_empty();
        self.starts.extend(nodes);
        any
    }

    /// Whether a walk starts below the item with these keys.
    pub(super) fn starts_at(&self, of: &[String]) -> bool {
        self.starts_below.contains(&hash(&partition_key(of.to_vec())))
    }

    fn levels(&self) -> &[LevelPlan] {
        self.origin.plan.partitions.as_ref().map_or(&[], |partitions| &partitions.levels)
    }

    /// The next item that was not there before; none behind the last, and where more may be found by reading those.
    pub(super) async fn next(&mut self) -> Result<Option<Item>, Error> {
        loop {
            let item = match self.starts.pop_front() {
                Some(node) => Some(Item { partition: of_node(node, &mut self.last_parent), change: None }),
                None => match self.next_of_levels().await? {
                    Some(item) if self.origin.plan.walk.is_some() => {
                        if let Err(error) = self.start_walk() {
                            self.give_up(error)?;
                        }
                        self.path.pop();
                        drop(item);
                        continue;
                    }
                    Some(item) => {
                        self.path.pop();
                        Some(item)
                    }
                    None => self.next_node().await?,
                },
            };
            let Some(item) = item else { return Ok(None) };
            let key = hash(&item.partition.key);
            if self.listed.insert(key) && !self.before.contains(&key) {
                self.new += 1;
                // a walk ends, also where the API leads to new places for ever
                if self.origin.plan.walk.is_some() && self.listed.len() > self.places_max {
                    return Err(Error::TooWide { max: self.places_max });
                }
                return Ok(Some(item));
            }
        }
    }

    /// The next item of the innermost level, whose path stays open; none behind the last. Without levels there is one, which is all.
    async fn next_of_levels(&mut self) -> Result<Option<Item>, Error> {
        if !std::mem::replace(&mut self.begun, true) {
            if self.levels().is_empty() {
                return Ok(Some(Item { partition: self.partition(), change: None }));
            }
            let outermost = self.source()?;
            self.open.push(outermost);
        }
        loop {
            let Some(level) = self.open.len().checked_sub(1) else { return Ok(None) };
            let entry = match self.pull(level).await {
                Ok(entry) => entry,
                // the items of one parent: the others have theirs
                Err(error) if level > 0 => {
                    self.give_up(error)?;
                    None
                }
                Err(error) => return Err(error),
            };
            let Some(entry) = entry else {
                self.open.pop();
                self.path.pop();
                continue;
            };
            let gate = self.origin.gate.as_ref().filter(|_| level == 0);
            if gate.is_some_and(|gate| gate.passes(&entry.key, entry.change)) {
                continue;
            }
            self.path.push(entry);
            if level + 1 < self.levels().len() {
                match self.source() {
                    Ok(source) => self.open.push(source),
                    Err(error) => {
                        self.give_up(error)?;
                        self.path.pop();
                    }
                }
                continue;
            }
            let change = self.path.iter().filter_map(|entry| entry.change).max();
            return Ok(Some(Item { partition: self.partition(), change }));
        }
    }

    /// Leaves out what is below the path, unless nothing else could be read either.
    fn give_up(&mut self, error: Error) -> Result<(), Error> {
        if error.concerns_all_partitions() {
            return Err(error);
        }
        self.is_whole = false;
        self.note_unread();
        self.failures.push((self.partition(), error));
        Ok(())
    }

    /// What is below the outermost item of the path was not all read.
    fn note_unread(&self) {
        if let (Some(gate), Some(entry)) = (&self.origin.gate, self.path.first()) {
            gate.note_unread(&entry.key);
        }
    }

    /// The places where the walk starts below the path.
    fn start_walk(&mut self) -> Result<(), Error> {
        let Some(walk) = &self.origin.plan.walk else { return Ok(()) };
        self.starts_below.insert(hash(&partition_key(self.keys())));
        let parent = self.parent_json().map(Arc::new);
        let node = |bind| Node { of: self.keys(), parent: parent.clone(), bind, depth: 0 };
        let Some(start) = &walk.start else {
            let root = node(Map::new());
            self.starts.push_back(root);
            return Ok(());
        };
        let place = "walk.start";
        let wrong = |problem: &str| Error::Items { level: place.to_owned(), problem: problem.to_owned() };
        let items = match render(start, &self.variables().value(), place)? {
            Some(Json::Array(items)) => items,
            None | Some(Json::Null) => return Err(wrong("there is no list")),
            Some(_) => return Err(wrong("what it gives is no list")),
        };
        let bound = |item: Json| match (item, &walk.bind[..]) {
            (Json::Object(members), names) if names.iter().all(|(name, _)| members.contains_key(name)) => {
                let named = names.iter().filter_map(|(name, _)| Some((name.clone(), members.get(name)?.clone())));
                Ok(named.collect())
            }
            (item @ (Json::String(_) | Json::Number(_)), [(name, _)]) => Ok(Map::from_iter([(name.clone(), item)])),
            _ => Err(wrong("an item is a value where `bind` has one name, else a map with all of its names")),
        };
        let nodes: Vec<Node> = items.into_iter().map(|item| bound(item).map(node)).collect::<Result<_, _>>()?;
        self.starts.extend(nodes);
        Ok(())
    }

    /// The next place that was found and not read. One below an item that is not there any more is left alone.
    async fn next_node(&mut self) -> Result<Option<Item>, Error> {
        let (Some(of), RowsOf::Writer(writer)) = (self.origin.nodes, &self.origin.rows) else { return Ok(None) };
        let (id, writer) = (self.origin.plan.id.clone(), writer.clone());
        while self.starts.is_empty() && self.more_nodes {
            let (id, after) = (id.clone(), self.last_node);
            let found =
                writer.call(move |store| store.unread_nodes(&id, of, after, limits::PARTITIONS_AT_ONCE)).await?;
            self.more_nodes = found.len() == limits::PARTITIONS_AT_ONCE;
            self.last_node = found.last().map_or(after, |last| last.nth);
            let mut found: VecDeque<Node> = found.into_iter().map(|found| found.node).collect();
            found.retain(|node| !self.is_whole || self.starts_at(&node.of));
            self.starts = found;
        }
        let next = self.starts.pop_front();
        Ok(next.map(|node| Item { partition: of_node(node, &mut self.last_parent), change: None }))
    }

    /// What the items of the path make up.
    fn partition(&self) -> Partition {
        Partition { key: partition_key(self.keys()).into(), parent: self.parent(), node: None }
    }

    fn keys(&self) -> Vec<String> {
        self.path.iter().flat_map(|entry| &entry.key).cloned().collect()
    }

    fn parent_json(&self) -> Option<Json> {
        let named = self.levels().iter().zip(&self.path).map(|(level, entry)| (level.name.clone(), entry.item.clone()));
        let parent: Map<String, Json> = named.collect();
        (!parent.is_empty()).then_some(Json::Object(parent))
    }

    fn parent(&self) -> Option<Value> {
        self.parent_json().map(|parent| Value::from(Serde(parent)))
    }

    fn variables(&self) -> Variables {
        Variables::new(&self.origin.plan, self.origin.at).with_parent(self.parent().as_ref())
    }

    /// Opens the list of the level below the path.
    fn source(&self) -> Result<Source, Error> {
        let LevelPlan { name, from } = &self.levels()[self.path.len()];
        let variables = self.variables();
        match from {
            LevelSource::Values(given) => {
                let items = render(given, &variables.value(), "for_each")?;
                values(name, items).map(|entries| Source::Values(entries.into_iter()))
            }
            LevelSource::Rows { model, filter, changed_only, sync } => Ok(Source::Rows(Box::new(RowSource {
                id: self.origin.plan.id.clone(),
                sync: sync.clone(),
                model: Arc::clone(model),
                filter: filter.clone(),
                changed_only: *changed_only,
                shared: variables.value(),
                after: None,
                ready: VecDeque::new(),
                ended: false,
            }))),
            LevelSource::List { list, key } => {
                let (plan, client) = (Arc::clone(&self.origin.plan), self.origin.client.clone()?);
                let reader = Reader::of(plan, Arc::clone(list), Rows::Items(key.clone()), client, variables);
                let scan = Box::new(ScanState::begin(0, self.origin.at, None));
                Ok(Source::List { reader: Arc::new(reader), scan, ready: VecDeque::new(), ended: false })
            }
        }
    }

    /// The next item of a level; none behind the last.
    async fn pull(&mut self, level: usize) -> Result<Option<Entry>, Error> {
        match &mut self.open[level] {
            Source::Values(entries) => Ok(entries.next()),
            Source::Rows(rows) => {
                while rows.ready.is_empty() && !rows.ended {
                    rows.read(&self.origin.rows).await?;
                }
                Ok(rows.ready.pop_front())
            }
            Source::List { reader, scan, ready, ended } => {
                let mut left_out = Vec::new();
                while ready.is_empty() && !*ended {
                    let Some(asked) = Asked::ask(&self.origin.fetcher, reader, scan, None).await? else {
                        return Err(unexplained());
                    };
                    *ended = asked.step == Step::Done;
                    left_out.extend(asked.left_out);
                    let Mapped::Items(items) = asked.mapped.rows().await? else { return Err(unexplained()) };
                    ready.extend(items.into_iter().map(|(key, item)| Entry { key: vec![key], item, change: None }));
                }
                let next = ready.pop_front();
                if *ended {
                    self.by_position |= scan.by_position;
                    self.is_whole &= scan.unproven.is_none();
                    self.doubt = self.doubt.take().or(scan.unproven.take());
                }
                if !left_out.is_empty() {
                    self.is_whole = false;
                    self.note_unread();
                    let level = self.partition();
                    self.failures.extend(left_out.into_iter().map(|why| (level.clone(), why)));
                }
                Ok(next)
            }
        }
    }
}

impl RowSource {
    /// Reads some rows more.
    async fn read(&mut self, from: &RowsOf) -> Result<(), Error> {
        let (id, model, after) = (self.id.clone(), Arc::clone(&self.model), self.after.clone());
        let count = limits::PARTITIONS_AT_ONCE;
        let rows = match from {
            RowsOf::Writer(writer) => {
                writer.call(move |store| store.item_rows(&model, &id, after.as_deref(), count)).await?
            }
            RowsOf::File(path) => {
                let path = path.clone();
                let read = move || match ReadStore::open(&path, Box::new(|_| {})) {
                    Ok(store) => store.item_rows(&model, &id, after.as_deref(), count),
                    Err(store::Error::Missing { .. }) => Ok(None),
                    Err(error) => Err(error),
                };
                tokio::task::spawn_blocking(read).await.map_err(|error| Error::Bug(error.to_string()))??
            }
        };
        let Some(rows) = rows else {
            let table = format!("{}.{}", self.model.schema, self.model.table);
            return Err(Error::NoParents { table, sync: format!("{}/{}", self.id.connection, self.sync) });
        };
        self.ended = rows.len() < count;
        self.after = rows.last().map(|row| row.key.clone());
        for row in rows {
            let item = Json::Object(row.row);
            if self.filter.as_ref().map_or(Ok(true), |filter| holds(filter, &item, &self.shared))? {
                let change = self.changed_only.then_some(row.change);
                self.ready.push_back(Entry { key: row.key, item, change });
            }
        }
        Ok(())
    }
}

/// The items of a list that is written out, or that a template gave.
fn values(level: &str, given: Option<Json>) -> Result<Vec<Entry>, Error> {
    let wrong = |problem: String| Error::Items { level: level.to_owned(), problem };
    let items = match given {
        Some(Json::Array(items)) => items,
        None | Some(Json::Null) => return Err(wrong("there is no list".to_owned())),
        Some(_) => return Err(wrong("what `values` gives is no list".to_owned())),
    };
    let entry = |(at, item): (usize, Json)| {
        let key = item_key(&item).or_else(|| item_key(item.get("key")?));
        let key = key.ok_or_else(|| wrong(format!("nothing tells item {} from another", at + 1)))?;
        Ok(Entry { key: vec![key], item, change: None })
    };
    items.into_iter().enumerate().map(entry).collect()
}

/// Whether a row is an item.
fn holds(filter: &Predicate, item: &Json, shared: &Value) -> Result<bool, Error> {
    let text = item.to_string();
    let record = parse(text.as_bytes()).map_err(|error| Error::Bug(error.to_string()))?;
    matches(filter, &record, shared)
        .map_err(|error| Error::Template { place: "for_each where", error: crate::plan::TemplateError(error) })
}

/// The items that a place is below, as the node shares them and as templates take them.
type SharedParent = (Arc<Json>, Value);

/// The partition of a place; one below the same items as the place before shares them with it.
fn of_node(node: Node, last: &mut Option<SharedParent>) -> Partition {
    *last = match (&node.parent, last.take()) {
        (Some(parent), Some(last)) if Arc::ptr_eq(parent, &last.0) => Some(last),
        (Some(parent), _) => Some((Arc::clone(parent), Value::from(Serde(&**parent)))),
        (None, _) => None,
    };
    let parent = last.as_ref().map(|(_, parent)| parent.clone());
    Partition { key: node.partition().into(), parent, node: Some(Arc::new(node)) }
}

pub(super) fn hash(key: &str) -> u64 {
    xxh3_64(key.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::system_clock;
    use crate::scan::plan_of;

    #[tokio::test]
    async fn a_walk_that_leads_to_ever_new_places_ends() {
        let words = "request: { get: /items, query: { folder: \"{{ walk.folder }}\" } }\n\
            walk: { into: \"$[?@.kind == 'folder']\", bind: { folder: $.id }, start: \"{{ ['a', 'b', 'a', 'c'] }}\" }";
        let plan = Arc::new(plan_of(words));
        let origin = Origin {
            plan: Arc::clone(&plan),
            client: Err(Arc::new(remote::Error::Credentials { connection: "acme".to_owned(), missing: Vec::new() })),
            fetcher: Arc::new(Fetcher::new(
                plan,
                Arc::new(|_, _| {}),
                system_clock(),
                super::super::fetch::Noted::default(),
            )),
            rows: RowsOf::File(PathBuf::new()),
            at: DateTime::UNIX_EPOCH,
            gate: None,
            nodes: None,
        };
        let mut items = Items { places_max: 2, ..Items::new(origin) };
        for _ in 0..2 {
            assert!(items.next().await.expect("a place").is_some());
        }
        assert_eq!(items.next().await.err().map(|error| error.code()), Some("walk_too_wide"));
    }
}
