//! The partitions of a fan-out: its items, level in level, and the lists of each, several at once.

use std::collections::{HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use minijinja::Value;
use minijinja::value::Serde;
use serde_json::{Map, Value as Json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::{Mapped, Reader, Rows, item_key};
use super::commit::{Found, Message, PassEnd};
use super::fetch::Fetcher;
use super::gate::Gate;
use super::lane::{Asked, Ended, Lanes, Partition, unexplained};
use super::render::Variables;
use super::sync::{RESET, first_mark};
use super::writer::Writer;
use super::{Error, Event, RuleEnd};
use crate::plan::{LevelPlan, LevelSource, ModelPlan, Predicate, SyncId, SyncPlan, limits};
use crate::record::{matches, parse};
use crate::remote::{self, Client, render};
use crate::scan::{
    Begin, Checkpoint, Node, Pass, ScanState, Step, all_at_once, begin_partition, partition_key, seen_by,
};
use crate::store::{self, NodesOf, ReadStore};

/// One item of the innermost level.
pub(super) struct Item {
    pub(super) partition: Partition,
    /// the highest change number of the rows that it was made of, of levels with `changed_only`
    change: Option<i64>,
}

/// A partition that is to be read in this run.
struct Due {
    partition: Partition,
    begin: Begin,
    /// keys that it had seen were noted by this scan
    before: Option<u64>,
}

impl Lanes {
    /// Reads the partitions that have not had their turn in the pass, and closes it. One that fails does not keep the others from being read,
    /// unless the plan says so.
    pub(super) async fn read_partitions(&mut self, pass: &Pass) -> Result<Ended, Error> {
        self.gate = self.gate(pass).await?;
        let mut items = self.items(pass);
        let mut came = PassEnd::default();
        for look in 1.. {
            if self.read_items(&mut items, pass, (look, &mut came)).await? == Ended::Stopped {
                return Ok(Ended::Stopped);
            }
            came.doubt = came.doubt.or(items.doubt.take());
            let missing = if items.is_whole { self.missing(&items, pass).await? } else { Vec::new() };
            // a list can have moved while it was read, so that an item slipped past the reader: it is read once more before anything is gone
            let could_be_gone = !missing.is_empty() || items.by_position && all_at_once(&self.task.plan);
            let may_lack = items.is_whole && items.are_asked() && could_be_gone;
            if !may_lack || look > 1 && !(items.by_position && items.new > 0) {
                came.gone = missing;
                break;
            }
            if look >= limits::ROUNDS_MAX {
                came.doubt = Some("the list of partitions changed each time while it was read".to_owned());
                break;
            }
            items = self.items(pass).behind(items);
        }
        came.listed = items.listed.union(&items.before).count() as u64;
        came.listed += self.gate.as_ref().map_or(0, |gate| gate.passed());
        // where a look did not come to its end, an item may have slipped past the one before it
        let is_sure = came.doubt.is_none() && (items.before.is_empty() || items.is_whole);
        came.lists = if is_sure { self.lists_read(&came.gone).await? } else { None };
        let (reply, answer) = oneshot::channel();
        self.send(Message::EndPass { came, reply }).await?;
        answer.await.map_err(|_| unexplained())??;
        Ok(Ended::Complete)
    }

    /// Reads the items that no look before has found.
    async fn read_items(
        &mut self,
        items: &mut Items,
        pass: &Pass,
        (look, came): (u32, &mut PassEnd),
    ) -> Result<Ended, Error> {
        let Some(plan) = self.task.plan.partitions.clone() else {
            return Err(Error::Bug("a pass over a sync of one part".into()));
        };
        let (mut waiting, mut reading) = (VecDeque::new(), JoinSet::new());
        let (mut stopped, mut failed, mut ended, mut given_up) = (false, None, false, false);
        let walks = self.task.plan.walk.is_some();
        loop {
            while reading.len() < plan.concurrency && !stopped && failed.is_none() {
                if self.is_stopped() {
                    stopped = true;
                    break;
                }
                let Some(due) = waiting.pop_front() else {
                    if ended && walks && !given_up {
                        // what was read so far tells where to go on
                        ended = !items.take(self.found().await?);
                    }
                    if ended {
                        break;
                    }
                    let next = self.next_due(items, pass);
                    match self.unless_stopped(next).await {
                        None => stopped = true,
                        // all that the looks before have found is read
                        Some(Err(error)) if look > 1 => {
                            items.is_whole = false;
                            items.failures.push((Partition::whole(), error));
                            (ended, given_up) = (true, true);
                        }
                        Some(Err(error)) => failed = Some(error),
                        Some(Ok(None)) => ended = true,
                        Some(Ok(Some(due))) => waiting.extend(due),
                    }
                    continue;
                };
                reading.spawn(self.clone().read_partition(due, pass.clone()));
            }
            // lists of items of which one could not be read
            for (level, error) in items.failures.drain(..) {
                came.unread += 1;
                let level = self.of(level);
                level.skip_or_fail(error, plan.fail_on_error, Message::SkipItems, &mut failed).await?;
            }
            let Some(first) = reading.join_next().await else { break };
            // places that are read tell together where to go on
            for read in std::iter::once(first).chain(std::iter::from_fn(|| reading.try_join_next())) {
                let (partition, read) = read.map_err(|error| Error::Bug(error.to_string()))?;
                match read {
                    Ok(Ended::Complete | Ended::Split) => {}
                    Ok(Ended::Stopped) => stopped = true,
                    Err(error) => {
                        came.unread += 1;
                        let lanes = self.of(partition);
                        lanes.skip_or_fail(error, plan.fail_on_error, Message::Skip, &mut failed).await?;
                    }
                }
            }
        }
        match failed {
            Some(error) => Err(error),
            None if stopped => Ok(Ended::Stopped),
            None => Ok(Ended::Complete),
        }
    }

    /// Leaves a partition, or the items of a list, for the next run, or lets the run fail.
    async fn skip_or_fail(
        &self,
        error: Error,
        fails: bool,
        skip: fn(Box<Error>) -> Message,
        failed: &mut Option<Error>,
    ) -> Result<(), Error> {
        let by_rule = error.is_rule(RuleEnd::PartitionLeftOut);
        if !by_rule && (fails || error.concerns_all_partitions()) {
            failed.get_or_insert(error);
            return Ok(());
        }
        self.send(skip(Box::new(error))).await
    }

    /// Partitions that are known and for which no look has found an item.
    async fn missing(&self, items: &Items, pass: &Pass) -> Result<Vec<Arc<str>>, Error> {
        let (id, of) = (self.task.plan.id.clone(), nodes_of(&self.task.plan, pass));
        let walks = self.task.plan.walk.is_some();
        let (mut known, places) = self
            .task
            .writer
            .call(move |store| {
                let places = if walks { store.node_partitions(&id, of)? } else { Vec::new() };
                Ok((store.known_partitions(&id)?, places))
            })
            .await?;
        let found = places.into_iter().filter(|(_, of)| items.starts_at(of)).map(|(partition, _)| hash(&partition));
        let found: HashSet<u64> = found.collect();
        known.retain(|partition| {
            let partition = hash(partition);
            !(items.listed.contains(&partition) || items.before.contains(&partition) || found.contains(&partition))
        });
        known.retain(|partition| !self.gate.as_ref().is_some_and(|gate| gate.covers(partition)));
        Ok(known)
    }

    /// Commits what was sent so far.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Flush { reply }).await?;
        answer.await.map_err(|_| unexplained())
    }

    /// The places of a walk to which what was sent has led since this was asked last.
    async fn found(&self) -> Result<Found, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Found { reply }).await?;
        answer.await.map_err(|_| unexplained())
    }

    /// The items of this run, also the places of a walk that are found meanwhile.
    fn items(&self, pass: &Pass) -> Items {
        let task = &self.task;
        Items::new(Origin {
            gate: self.gate.clone(),
            nodes: task.plan.walk.is_some().then(|| nodes_of(&task.plan, pass)),
            plan: Arc::clone(&task.plan),
            client: task.client.clone(),
            fetcher: Arc::clone(&self.fetcher),
            rows: RowsOf::Writer(task.writer.clone()),
            at: task.started_at,
        })
    }

    /// The next items that are to be read in this pass; none behind the last.
    async fn next_due(&self, items: &mut Items, pass: &Pass) -> Result<Option<Vec<Due>>, Error> {
        let mut found = Vec::new();
        while found.len() < limits::PARTITIONS_AT_ONCE {
            match items.next().await? {
                Some(item) => found.push(item),
                None if found.is_empty() => return Ok(None),
                None => break,
            }
        }
        let (id, keys) =
            (self.task.plan.id.clone(), found.iter().map(|item| Arc::clone(&item.partition.key)).collect::<Vec<_>>());
        let mut known = self.task.writer.call(move |store| store.checkpoints(&id, &keys)).await?;
        let mut all = Vec::with_capacity(found.len());
        for Item { partition, change } in found {
            let task = &self.task;
            self.gate.iter().for_each(|gate| gate.note_listed(&partition.key));
            let at = (task.clock)();
            let known = known.remove(&partition.key);
            let before = known.as_ref().and_then(|known| seen_by(&task.plan, known));
            let start = first_mark(&task.plan, partition.parent.as_ref(), at)?;
            let scan = task.new_id(&partition.key, 0);
            if let Some(mut begin) =
                begin_partition(&task.plan, known, (pass, change), (task.wish, start.as_ref()), scan, at)
            {
                if task.meter.is_bounded() {
                    begin.spare();
                }
                all.push(Due { partition, begin, before });
            }
        }
        Ok(Some(all))
    }

    async fn read_partition(self, due: Due, pass: Pass) -> (Partition, Result<Ended, Error>) {
        let Due { partition, begin, before } = due;
        let lanes = self.of(partition.clone());
        let known = begin.checkpoint.clone();
        let mut read = lanes.read_from(begin, before).await;
        if read.as_ref().is_err_and(|error| error.is_rule(RuleEnd::Reset)) {
            read = match self.anew(&partition, known, &pass) {
                Ok((begin, before)) => {
                    let restarted = Some(RESET.to_owned());
                    (self.task.observer)(Some(&self.task.plan.id), Event::Started { resumed: false, restarted });
                    lanes.read_from(begin, before).await
                }
                Err(error) => Err(error),
            };
        }
        (partition, read)
    }

    async fn read_from(&self, begin: Begin, before: Option<u64>) -> Result<Ended, Error> {
        self.send(Message::Begin(Box::new(begin.checkpoint.clone()), before)).await?;
        let ended = self.task.read_lists(begin, self.clone()).await?;
        if ended == Ended::Complete {
            self.send(Message::End).await?;
        }
        Ok(ended)
    }

    /// Where a partition begins that a rule of `errors` forgets, and the scan that noted keys for it.
    fn anew(&self, partition: &Partition, known: Checkpoint, pass: &Pass) -> Result<(Begin, Option<u64>), Error> {
        let (task, at) = (&self.task, (self.task.clock)());
        let (before, turn) = (seen_by(&task.plan, &known), known.turn);
        let start = first_mark(&task.plan, partition.parent.as_ref(), at)?;
        // as by a pass that begins everything anew
        let (known, pass) = (Checkpoint { turn: None, ..known }, Pass { anew: true, ..pass.clone() });
        let change = turn.and_then(|turn| turn.change);
        let id = task.new_id(&partition.key, u64::MAX);
        begin_partition(&task.plan, Some(known), (&pass, change), (task.wish, start.as_ref()), id, at)
            .map(|begin| (begin, before))
            .ok_or_else(|| Error::Bug("a partition that nobody has read is read".into()))
    }
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
    listed: HashSet<u64>,
    /// of those that looks before this one have found: they are not given out again
    before: HashSet<u64>,
    /// how many were given out
    new: u64,
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
    is_whole: bool,
    /// why the end of one proves nothing
    doubt: Option<String>,
    /// one was read by position, so that an item can have slipped past
    by_position: bool,
    /// lists that could not be read, by the items they belong to
    failures: Vec<(Partition, Error)>,
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
    fn behind(self, mut last: Self) -> Self {
        last.before.extend(last.listed);
        Self { before: last.before, starts_below: last.starts_below, ..self }
    }

    /// Whether the API is asked for a list of them.
    fn are_asked(&self) -> bool {
        self.levels().iter().any(|level| matches!(level.from, LevelSource::List { .. }))
    }

    /// Takes places that were found meanwhile; says whether there are any.
    fn take(&mut self, Found { nodes, more }: Found) -> bool {
        self.more_nodes |= more;
        let any = more || !nodes.is_empty();
        self.starts.extend(nodes);
        any
    }

    /// Whether a walk starts below the item with these keys.
    fn starts_at(&self, of: &[String]) -> bool {
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
                let shared = variables.value();
                let reader = Reader {
                    plan: Arc::clone(&self.origin.plan),
                    list: Arc::clone(list),
                    rows: Rows::Items(key.clone()),
                    client: self.origin.client.clone()?,
                    variables,
                    shared,
                    stop_below: None,
                    in_window: false,
                    token: None,
                    node: None,
                };
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
                    match asked.mapped.await.map_err(|error| Error::Bug(error.to_string()))? {
                        Some(Ok(Mapped::Items(items))) => {
                            let entry = |(key, item)| Entry { key: vec![key], item, change: None };
                            ready.extend(items.into_iter().map(entry));
                        }
                        Some(Err(error)) => return Err(error),
                        Some(Ok(Mapped::Rows(_) | Mapped::Keys(_) | Mapped::Bare(_))) | None => {
                            return Err(unexplained());
                        }
                    }
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

/// The places of a walk that a pass goes to. A list of what has changed does not name those that are as they were.
fn nodes_of(plan: &SyncPlan, pass: &Pass) -> NodesOf {
    NodesOf { pass: pass.id, earlier: plan.reads_changes() && !pass.anew }
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
            fetcher: Arc::new(Fetcher::new(plan, Arc::new(|_, _| {}), system_clock(), false)),
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
