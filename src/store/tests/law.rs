//! Any sequence of groups and scans gives the table, and the change feed, that a plain map gives.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::support::{Bench, Record, at, batch, customers, ended, gone, live, sync_of};
use crate::plan::ModelPlan;
use crate::store::{Absence, Committed};

/// One step of a history: a group of two pages, perhaps of a scan that ends with it.
#[derive(Debug, Clone)]
struct Step {
    /// one of two connections
    who: usize,
    /// key and name; without a name the record says that it is deleted
    records: Vec<(i64, Option<u8>)>,
    /// where the second page begins
    cut: usize,
    /// the group is a whole scan
    scan: bool,
    /// somebody reads the changes afterwards
    read: bool,
    /// what stands in its records that no column takes
    unmapped: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0..6_i64, proptest::option::weighted(0.75, 0..3_u8));
    let step = (0..2_usize, prop::collection::vec(record, 0..8), 0..8_usize, any::<bool>(), any::<bool>(), 0..3_u8)
        .prop_map(|(who, records, cut, scan, read, unmapped)| {
            let cut = cut.min(records.len());
            Step { who, records, cut, scan, read, unmapped }
        });
    prop::collection::vec(step, 1..10)
}

/// A row, as the map has it.
#[derive(Debug, Clone, PartialEq)]
struct State {
    name: u8,
    action: &'static str,
    first_seen: i64,
    modified: i64,
    deleted: Option<i64>,
    change: i64,
    /// of the record of its values
    unmapped: u8,
}

#[derive(Default)]
struct Simple {
    rows: BTreeMap<(usize, i64), State>,
    counter: i64,
    /// the names of the rows that lived after each time
    lived: BTreeMap<i64, BTreeMap<(String, i64), String>>,
}

impl Simple {
    fn next(&mut self) -> i64 {
        self.counter += 1;
        self.counter
    }

    /// The last record of each key, in the order in which these stand.
    fn last_of_each(records: &[(i64, Option<u8>)]) -> Vec<(i64, Option<u8>)> {
        let mut seen = BTreeSet::new();
        let mut kept: Vec<_> = records.iter().rev().filter(|(key, _)| seen.insert(*key)).copied().collect();
        kept.reverse();
        kept
    }

    fn commit(&mut self, step: &Step, now: i64) -> Committed {
        let kept = Self::last_of_each(&step.records);
        let mut done = Committed { duplicates: (step.records.len() - kept.len()) as u64, ..Committed::default() };
        let before = self.counter;
        for (key, name) in kept {
            let place = (step.who, key);
            let fresh = |name, action, change| State {
                name,
                action,
                first_seen: now,
                modified: now,
                deleted: (action == "DELETED").then_some(now),
                change,
                unmapped: step.unmapped,
            };
            if let (Some(row @ State { deleted: None, .. }), Some(_)) = (self.rows.get_mut(&place), name) {
                row.unmapped = step.unmapped;
            }
            let old = self.rows.get(&place).cloned();
            let state = match (old, name) {
                (Some(State { deleted: Some(_), .. }), None) => None,
                (Some(State { deleted: None, name: same, .. }), Some(name)) if same == name => None,
                (None, None) => Some(fresh(9, "DELETED", self.next())),
                (None | Some(State { deleted: Some(_), .. }), Some(name)) => Some(fresh(name, "ADDED", self.next())),
                (Some(old), Some(name)) => {
                    Some(State { name, action: "UPDATED", modified: now, change: self.next(), ..old })
                }
                (Some(old), None) => {
                    Some(State { action: "DELETED", modified: now, deleted: Some(now), change: self.next(), ..old })
                }
            };
            match state {
                None => done.unchanged += 1,
                Some(state) => {
                    match state.action {
                        "ADDED" => done.added += 1,
                        "UPDATED" => done.updated += 1,
                        _ => done.deleted += 1,
                    }
                    self.rows.insert(place, state);
                }
            }
        }
        if self.counter > before {
            (done.change_from, done.change_to) = (Some(before + 1), Some(self.counter));
        }
        done
    }

    /// Which records of a step a commit leaves alone.
    fn as_stored(&self, step: &Step, raw: bool) -> Vec<bool> {
        let records = step.records.iter().enumerate();
        let is_stored = |(at, (key, name)): (usize, &(i64, Option<u8>))| {
            let is_last = step.records[at + 1..].iter().all(|(later, _)| later != key);
            let row = self.rows.get(&(step.who, *key)).filter(|_| is_last);
            row.is_some_and(|row| match name {
                None => row.deleted.is_some(),
                Some(name) => row.deleted.is_none() && row.name == *name && (!raw || row.unmapped == step.unmapped),
            })
        };
        records.map(is_stored).collect()
    }

    /// The keys that live and were not seen; the store may number them in any order.
    fn unseen(&self, step: &Step) -> Vec<(usize, i64)> {
        let seen: BTreeSet<i64> = step.records.iter().map(|(key, _)| *key).collect();
        let gone = |((who, key), state): (&(usize, i64), &State)| {
            (*who == step.who && state.deleted.is_none() && !seen.contains(key)).then_some((*who, *key))
        };
        self.rows.iter().filter_map(gone).collect()
    }
}

fn who(at: usize) -> String {
    ["a", "b"][at].to_owned()
}

fn page(bench: &Bench, records: &[(i64, Option<u8>)], unmapped: u8) -> crate::record::Batch {
    let record = |(key, name): &(i64, Option<u8>)| -> Record {
        let record = match name {
            Some(name) => live(json!([key, name.to_string()])),
            None => gone(json!([key, "9"])),
        };
        Record(record.0, record.1, unmapped)
    };
    batch(&bench.model, &records.iter().map(record).collect::<Vec<_>>())
}

/// Takes one step in the database and the map, and compares what they say of it.
fn step(bench: &mut Bench, simple: &mut Simple, number: i64, step: &Step) -> Result<(), TestCaseError> {
    bench.id = sync_of(&who(step.who), "");
    let (first, second) = step.records.split_at(step.cut);
    let pages = vec![page(bench, first, step.unmapped), page(bench, second, step.unmapped)];
    let as_stored = bench.store.as_stored(&bench.model, &bench.id, &pages).expect("compared");
    prop_assert_eq!(as_stored.concat(), simple.as_stored(step, bench.model.raw));
    let scan_id = u64::try_from(number).expect("positive");
    let done = if step.scan {
        bench.scan(number, scan_id, pages)
    } else {
        let group = bench.group(pages, number);
        bench.store.commit(group).expect("committed")
    };
    prop_assert_eq!(done, simple.commit(step, number));
    if step.scan {
        let end = ended(scan_id, step.records.len() as u64);
        let unseen = simple.unseen(step);
        let Absence::Deleted { rows, changes } = bench.finish(number, end) else { panic!("there is no guard") };
        prop_assert_eq!(rows, unseen.len() as u64);
        let expected = (rows > 0).then(|| (simple.counter + 1, simple.counter + i64::try_from(rows).expect("few")));
        prop_assert_eq!(changes, expected);
        let numbers: BTreeMap<i64, i64> =
            if rows == 0 { BTreeMap::new() } else { numbers_after(bench, simple.counter) };
        for place in unseen {
            let row = simple.rows.get_mut(&place).expect("it lives");
            (row.action, row.modified, row.deleted) = ("DELETED", number, Some(number));
            row.change = numbers[&place.1];
        }
        simple.counter += i64::try_from(rows).expect("few");
    }
    let living = simple.rows.iter().filter(|(_, row)| row.deleted.is_none());
    let names = living.map(|((at, key), row)| ((who(*at), *key), row.name.to_string())).collect();
    simple.lived.insert(number, names);
    Ok(())
}

/// The law of the history: at the time of any commit it gives the rows that lived behind it, and what is open is what lives now.
fn history_holds(bench: &mut Bench, simple: &Simple) -> Result<(), TestCaseError> {
    for (number, lived) in &simple.lived {
        let now = format!("CAST('{}' AS TIMESTAMPTZ)", at(*number).to_rfc3339());
        let select = format!(
            "SELECT _connection, id, name FROM shop.customers_history \
             WHERE valid_from <= {now} AND (valid_to IS NULL OR {now} < valid_to)"
        );
        let found = bench.rows(&select);
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let versions: BTreeMap<_, _> =
            found.iter().map(|row| ((text(&row[0]), row[1].as_i64().expect("a number")), text(&row[2]))).collect();
        prop_assert_eq!(found.len(), versions.len(), "two versions of a row at {}", number);
        prop_assert_eq!(&versions, lived, "at {}", number);
    }
    let open = bench.rows(
        "SELECT _connection, id, _change, _action FROM shop.customers_history WHERE valid_to IS NULL ORDER BY ALL",
    );
    let now = bench.rows(
        "SELECT _connection, id, _change, _last_action FROM shop.customers WHERE _deleted_at IS NULL ORDER BY ALL",
    );
    prop_assert_eq!(open, now);
    prop_assert_eq!(bench.value("SELECT count(*) FROM shop.customers_history WHERE valid_to < valid_from"), 0);
    Ok(())
}

/// The law of the records: a row has the record of its values, the latest that had these.
fn records_hold(bench: &mut Bench, simple: &Simple) -> Result<(), TestCaseError> {
    let found =
        bench.rows("SELECT _connection, id, CAST(_raw ->> '$.unmapped' AS BIGINT) FROM shop.customers ORDER BY ALL");
    let expected: Vec<Value> =
        simple.rows.iter().map(|((at, key), row)| json!([who(*at), key, row.unmapped])).collect();
    prop_assert_eq!(found, expected);
    Ok(())
}

fn numbers_after(bench: &mut Bench, counter: i64) -> BTreeMap<i64, i64> {
    let number = |value: &Value| value.as_i64().expect("a number");
    bench.changes(counter).iter().map(|row| (number(&row["id"]), number(&row["_change"]))).collect()
}

/// Whose row it is.
fn place(row: &Map<String, Value>) -> (String, i64) {
    (row["_connection"].as_str().expect("text").to_owned(), row["id"].as_i64().expect("a number"))
}

fn expected(simple: &Simple) -> BTreeMap<(String, i64), Value> {
    let minute = |minutes: i64| at(minutes).to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    let row = |(place, state): (&(usize, i64), &State)| {
        let value = json!([
            state.name.to_string(),
            state.action,
            minute(state.first_seen),
            minute(state.modified),
            state.deleted.map(minute),
            state.change
        ]);
        ((who(place.0), place.1), value)
    };
    simple.rows.iter().map(row).collect()
}

fn shown(row: &Map<String, Value>) -> Value {
    ["name", "_last_action", "_first_seen_at", "_last_modified_at", "_deleted_at", "_change"]
        .map(|name| row[name].clone())
        .into_iter()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_table_and_its_feed_are_those_of_a_map(history in steps(), raw: bool, versions: bool) {
        let mut bench = Bench::new(ModelPlan { raw, history: versions, ..(*customers()).clone() }.into());
        let mut simple = Simple::default();
        // what a consumer has that only ever asks for `_change > n`
        let (mut mirror, mut read_up_to) = (BTreeMap::new(), 0);
        for (number, taken) in (1..).zip(&history) {
            step(&mut bench, &mut simple, number, taken)?;
            if taken.read || usize::try_from(number) == Ok(history.len()) {
                for row in bench.changes(read_up_to) {
                    let change = row["_change"].as_i64().expect("a number");
                    prop_assert!(change > read_up_to, "the feed goes back from {} to {}", read_up_to, change);
                    read_up_to = change;
                    mirror.insert(place(&row), shown(&row));
                }
                prop_assert_eq!(&mirror, &expected(&simple));
            }
        }
        let all: BTreeMap<_, _> = bench.changes(0).iter().map(|row| (place(row), shown(row))).collect();
        prop_assert_eq!(bench.changes(0).len(), simple.rows.len(), "one row per key");
        prop_assert_eq!(all, expected(&simple));
        prop_assert_eq!(bench.value("SELECT change_counter FROM headwater.meta"), json!(simple.counter));
        if versions {
            history_holds(&mut bench, &simple)?;
        }
        if raw {
            records_hold(&mut bench, &simple)?;
        }
    }
}
