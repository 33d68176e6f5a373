//! The partitions of a fan-out: the lists of each of its items, several at once.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::commit::{Found, Message, PassEnd};
use super::items::{Item, Items, Origin, RowsOf, hash};
use super::lane::{Ended, Lanes, Partition, unexplained};
use super::sync::{RESET, first_mark};
use super::{Error, Event, RuleEnd};
use crate::plan::{SyncPlan, limits};
use crate::scan::{Begin, Checkpoint, Pass, all_at_once, begin_partition, seen_by};
use crate::store::NodesOf;

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

/// The places of a walk that a pass goes to. A list of what has changed does not name those that are as they were.
fn nodes_of(plan: &SyncPlan, pass: &Pass) -> NodesOf {
    NodesOf { pass: pass.id, earlier: plan.reads_changes() && !pass.anew }
}
