//! What must hold of the table of a case, whatever befell its API and its runs.

use std::collections::{BTreeMap, BTreeSet};

use super::api::Sim;
use super::shape::{Deletes, Incremental};

/// A row, as far as the laws speak of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub value: Option<i64>,
    /// microseconds since 1970
    pub first_seen_at: i64,
    pub last_modified_at: i64,
    pub action: String,
    pub is_live: bool,
    pub change: i64,
}

/// The rows of a case by id.
pub type Table = BTreeMap<i64, Row>;

fn last_change(table: &Table) -> i64 {
    table.values().map(|row| row.change).max().unwrap_or(0)
}

fn live(table: &Table) -> BTreeMap<i64, Option<i64>> {
    table.iter().filter(|(_, row)| row.is_live).map(|(id, row)| (*id, row.value)).collect()
}

/// What one run, which began after change `began_at` of the API, may make of a table.
pub fn of_a_run(before: &Table, after: &Table, api: &Sim, began_at: i64) -> Result<(), String> {
    let numbers: BTreeSet<_> = after.values().map(|row| row.change).collect();
    if numbers.len() < after.len() {
        return Err("two rows have the same change number".to_owned());
    }
    if let Some(id) = before.keys().find(|id| !after.contains_key(id)) {
        return Err(format!("the row {id} is no longer there"));
    }
    for (id, row) in after {
        let old = before.get(id);
        let lived_since = |seq: i64| api.alive_since.get(id).is_some_and(|since| *since <= seq);
        let wrong = |law: &str| Err(format!("{law}: {id} was {old:?} and is {row:?}"));
        if row.is_live == (row.action == "DELETED") || !["ADDED", "UPDATED", "DELETED"].contains(&row.action.as_str()) {
            return wrong("the last action does not say whether the row lives");
        }
        let Some(old) = old else {
            if !row.is_live && lived_since(api.scan_since) {
                return wrong("deleted, though it lived in the API all the time of the scan");
            }
            continue;
        };
        if old.change == row.change {
            if old != row {
                return wrong("changed without a new change number");
            }
            continue;
        }
        if row.change <= last_change(before) {
            return wrong("the change number is not above those that were there");
        }
        // made anew, a record can be in a later window than the one that tells that it was gone
        let is_another = api.shape.deletes == Deletes::AbsenceWindow && api.came_back.contains(id);
        if old.is_live && !row.is_live {
            if api.shape.deletes == Deletes::None {
                return wrong("deleted without `deletes`");
            }
            if lived_since(api.scan_since) && !is_another {
                return wrong("deleted, though it lived in the API all the time of the scan");
            }
        }
        if old.is_live && row.is_live && lived_since(began_at) && !is_another {
            if row.action == "ADDED" {
                return wrong("a second ADDED");
            }
            if old.first_seen_at != row.first_seen_at {
                return wrong("seen for the first time again");
            }
        }
        if !old.is_live && row.is_live && (row.action != "ADDED" || row.first_seen_at <= old.first_seen_at) {
            // it may have come back and changed in one run
            if row.action == "ADDED" || row.first_seen_at <= old.last_modified_at {
                return wrong("back, and not seen for the first time again");
            }
        }
    }
    Ok(())
}

/// The live rows are the API's records.
pub fn at_rest(table: &Table, api: &Sim) -> Result<(), String> {
    let wanted: BTreeMap<i64, Option<i64>> =
        api.records.iter().filter(|record| !record.deleted).map(|record| (record.id, Some(record.value))).collect();
    let mut rows = live(table);
    if api.shape.deletes == Deletes::None {
        rows.retain(|id, _| wanted.contains_key(id));
    }
    if rows == wanted {
        return Ok(());
    }
    let wrong: Vec<_> = wanted
        .keys()
        .chain(rows.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .filter(|id| wanted.get(id) != rows.get(id))
        .map(|id| format!("{id}: {:?} in the API, {:?} in the table", wanted.get(id), table.get(id)))
        .collect();
    Err(format!("the table is not what the API is:\n{}", wrong.join("\n")))
}

/// Whoever read the changes, and nothing else, from any moment on has the table.
pub fn of_readers(moments: &[Table]) -> Result<(), String> {
    let Some(last) = moments.last() else { return Ok(()) };
    for (nth, moment) in moments.iter().enumerate() {
        let mut own = live(moment);
        let mut number = last_change(moment);
        for later in &moments[nth..] {
            let mut changes: Vec<_> = later.iter().filter(|(_, row)| row.change > number).collect();
            changes.sort_by_key(|(_, row)| row.change);
            for (id, row) in changes {
                number = row.change;
                match row.is_live {
                    true => own.insert(*id, row.value),
                    false => own.remove(id),
                };
            }
        }
        if own != live(last) {
            return Err(format!("a reader of the changes since run {nth} has {own:?}, the table {:?}", live(last)));
        }
    }
    Ok(())
}

/// A run over an API that is as it was changes nothing, and reads no more than it must.
pub fn of_a_run_for_nothing(before: &Table, after: &Table, api: &Sim, clock_was_late: bool) -> Result<(), String> {
    if before != after {
        return Err("a run over an API that is as it was changed the table".to_owned());
    }
    if !api.shape.incremental.asks() {
        return Ok(());
    }
    let latest = api.records.iter().map(|record| record.at).max();
    let wanted = api.records.iter().filter(|record| Some(record.at) == latest).count();
    let late = api.shape.paging.by_position() || api.shape.incremental == Incremental::Unordered;
    if !late && clock_was_late && api.returned > wanted {
        return Err(format!(
            "{} records were read since {:?}, where {wanted} are as new as the newest",
            api.returned, api.asked_since
        ));
    }
    Ok(())
}
