//! The ends of partitions and of a pass over all of them: what is gone by them.

use std::sync::Arc;

use super::Error;
use super::commit::{Commits, PassEnd, unwanted};
use super::lane::unexplained;
use super::report::SyncReport;
use crate::plan::{DeletePlan, Order, Scope, limits};
use crate::scan::{Checkpoint, Lane, Pass, ScanState, all_at_once, seen_by};
use crate::store::{Absence, NodesOf, PartitionEnd, Partitions, ScanEnd, Seen};

impl Commits<'_> {
    /// Whether the end of a partition's scan is told with those of its neighbours: many small ones would take a transaction each.
    pub(super) fn gathers(&self, partition: &str, lane: Lane, scan: &ScanState) -> bool {
        let fails = self.task.plan.partitions.as_ref().is_some_and(|plan| plan.fail_on_error);
        let needs_another_look = scan.by_position && !scan.agrees();
        !partition.is_empty()
            && lane == Lane::Main
            && !fails
            && !needs_another_look
            && scan.records <= limits::PARTITION_RECORDS_GATHERED
    }

    /// Closes a partition's scan with the next commit, which deletes what it did not return.
    pub(super) fn gather(&mut self, partition: &Arc<str>, scan: &ScanState, after: Checkpoint) -> Result<(), Error> {
        let plan = Arc::clone(&self.task.plan);
        let before = self.part(partition)?.clone();
        let scan_id = seen_by(&plan, &before).unwrap_or(scan.id);
        let forget = unwanted(&plan, Some(scan_id), seen_by(&plan, &after)).is_some();
        let mut held = before;
        held.after_page(Lane::Main, ScanState { guarded: true, ..scan.clone() }, Order::None, plan.zone());
        self.ends.push(PartitionEnd {
            partition: Arc::clone(partition),
            scan_id,
            began: scan.started_at,
            forget,
            records_seen: scan.records,
            of_models: scan.of_models.clone(),
            held: self.kept(&held),
        });
        *self.part(partition)? = after;
        self.touch(partition);
        Ok(())
    }

    /// Closes the pass over all partitions: what is gone is deleted as far as `deletes` says so and the pass proves it.
    pub(super) async fn end_pass(&mut self, came: PassEnd, report: &mut SyncReport) -> Result<(), Error> {
        self.commit(report).await?;
        let plan = Arc::clone(&self.task.plan);
        let mut after = self.part("")?.clone();
        let Some(pass) = after.pass.take() else {
            return Err(Error::Bug("the end of a pass that nobody began".into()));
        };
        let PassEnd { listed, unread, gone, doubt, lists } = came;
        after.lists = lists;
        let scope = match &plan.deletes {
            DeletePlan::Absence { scope, .. } => Some(*scope),
            _ => None,
        };
        let goes = plan.deletes.gone_partitions();
        // what lies below a place that was not read is not known
        let unfound = plan.walk.is_some() && (unread > 0 || pass.unproven.is_some() || doubt.is_some());
        let gone = if unfound { Vec::new() } else { gone };
        // rows of partitions that nobody has seen are told of where they would have gone
        let is_told = scope == Some(Scope::All) || goes && doubt.is_some();
        let unproven = match unread {
            0 => doubt.or_else(|| pass.unproven.clone()),
            1 => Some("a partition could not be read to its end".to_owned()),
            _ => Some(format!("{unread} partitions could not be read to their end")),
        };
        let about = match scope {
            Some(Scope::All) if unproven.is_none() => {
                let partitions = if goes { Partitions::All } else { Partitions::AllBut(gone.clone()) };
                Some((partitions, (pass.records, pass.of_models.clone())))
            }
            Some(Scope::Window | Scope::Partition) | None if goes && !gone.is_empty() => {
                Some((Partitions::Gone(gone.clone()), (listed, Vec::new())))
            }
            _ => None,
        };
        report.deletes_skipped = unproven.filter(|_| is_told).or(report.deletes_skipped.take());
        if let Some((partitions, returned)) = about {
            // that writes the checkpoint and forgets the seen keys
            self.delete_in_pass(&pass, (partitions, returned), &after, report).await?;
            *self.part("")? = after;
        } else {
            *self.part("")? = after;
            self.touch(&"".into());
            self.commit(report).await?;
            let noted = all_at_once(&plan).then_some(pass.id);
            self.forget_seen(&"".into(), noted).await?;
        }
        let of = NodesOf { pass: pass.id, earlier: false };
        // a list of changes does not name all places, unless it was read from its beginning
        let found_all = plan.walk.is_some() && !unfound && (!plan.reads_changes() || pass.anew);
        // a place that comes back is read from its beginning: only so it leads to those below it
        if goes || found_all && plan.reads_changes() {
            let id = plan.id.clone();
            self.task.writer.call(move |store| store.forget_partitions(&id, &gone)).await?;
        }
        if found_all {
            self.task.writer.call(move |store| store.forget_nodes(&plan.id, of)).await?;
        }
        Ok(())
    }

    /// Deletes rows of these partitions that no partition has returned in the pass; `returned` is what tells an empty answer from a full one.
    async fn delete_in_pass(
        &mut self,
        pass: &Pass,
        (partitions, (returned, of_models)): (Partitions, (u64, Vec<u64>)),
        after: &Checkpoint,
        report: &mut SyncReport,
    ) -> Result<(), Error> {
        // a partition that is gone may have been read in the pass before it went: nobody else brings its rows
        let began = match partitions {
            Partitions::Gone(_) => (self.task.clock)(),
            Partitions::All | Partitions::AllBut(_) | Partitions::Of(_) => pass.started_at,
        };
        let end = ScanEnd {
            scan_id: pass.id,
            began,
            records_seen: returned,
            of_models,
            of_ids: false,
            stretch: None,
            partitions,
            guard: self.task.plan.deletes.guard(),
            accept: self.task.wish.accept_deletes,
            // each list was read again where it may have moved
            confirm: false,
            forget: Some(Seen::Of(pass.id)),
        };
        match self.end_absence(("".into(), self.kept(after)), end).await? {
            Absence::Deleted { rows, changes } => {
                report.deleted += rows;
                report.changed(changes.map(|(from, _)| from), changes.map(|(_, to)| to));
                Ok(())
            }
            Absence::Unconfirmed { .. } => Err(unexplained()),
            Absence::Guarded { would_delete, live, returned, .. } => {
                self.part("")?.pass = Some(Pass { guarded: true, ..pass.clone() });
                self.touch(&"".into());
                self.commit(report).await?;
                Err(self.guarded(would_delete, live, returned))
            }
        }
    }
}
