//! Rows of a table as the items of a fan-out, and what is known of its partitions.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use duckdb::{Connection, params, params_from_iter};
use serde_json::{Map, Value};

use super::catalog;
use super::error::Error;
use super::layout::own;
use super::ledger::{OF_SYNC, stamp};
use super::sql::{ident, joined, list, literal};
use super::stage;
use super::tables::{key_names, table_of};
use crate::plan::{ModelPlan, SyncId, limits};
use crate::scan::Node;

/// A living row.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemRow {
    /// its key, in key order, as text
    pub key: Vec<String>,
    /// its change number
    pub change: i64,
    /// its columns
    pub row: Map<String, Value>,
}

/// The living rows of the connection behind the key `after`, in key order, at most `count`; none when there is no such table. A sync with
/// variants gets the rows of its own variant, and those of a parent that has none.
///
/// # Errors
/// DuckDB refuses.
pub fn rows(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    after: Option<&[String]>,
    count: usize,
) -> Result<Option<Vec<ItemRow>>, Error> {
    let failed = || Error::database("read the rows to fan out over");
    let table = table_of(model);
    if !catalog::has(db, &table).map_err(failed())? {
        return Ok(None);
    }
    let keys = key_names(model);
    let texts = keys.iter().map(|name| format!("CAST({} AS VARCHAR)", ident(name)));
    let columns = model.columns.iter().map(|column| format!("{0} := {0}", ident(&column.name)));
    let typed = model.key.iter().map(|&at| format!("CAST(? AS {})", model.columns[at].column_type));
    let behind = match after {
        Some(_) => format!("AND ROW({}) > ROW({})", list(keys.iter().map(|name| ident(name))), list(typed)),
        None => String::new(),
    };
    let select = format!(
        "SELECT _change, CAST(to_json(struct_pack({})) AS VARCHAR), {} FROM {table} \
         WHERE _connection = ? AND (? = '' OR _variant IN (?, '')) AND _deleted_at IS NULL {behind} ORDER BY {}, _variant LIMIT {count}",
        list(columns),
        list(texts),
        list(keys.iter().map(|name| ident(name))),
    );
    let whose = [&id.connection, &id.variant, &id.variant].map(String::as_str);
    let values = whose.into_iter().chain(after.into_iter().flatten().map(String::as_str));
    let read = || -> duckdb::Result<Vec<(i64, String, Vec<String>)>> {
        let mut statement = db.prepare(&select)?;
        let rows = statement.query_map(params_from_iter(values), |row| {
            let key = (0..keys.len()).map(|at| row.get(2 + at)).collect::<duckdb::Result<_>>()?;
            Ok((row.get(0)?, row.get(1)?, key))
        })?;
        rows.collect()
    };
    let found = read().map_err(failed())?;
    let rows = found.into_iter().map(|(change, row, key)| {
        let row = serde_json::from_str(&row).unwrap_or_default();
        ItemRow { key, change, row }
    });
    Ok(Some(rows.collect()))
}

/// Which of these rows live and have come from records that their list had with these hashes.
///
/// # Errors
/// [`Error::Rows`] when the columns are not the model's key; DuckDB refuses.
pub fn are_listed(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    keys: &RecordBatch,
    hashes: &[u64],
) -> Result<Vec<bool>, Error> {
    let failed = || Error::database("look for rows that are as they were");
    let mut are = vec![false; hashes.len()];
    if hashes.is_empty() || !catalog::has(db, &table_of(model)).map_err(failed())? {
        return Ok(are);
    }
    let key = stage::stage_listed(db, model, keys, hashes)?;
    let same = key_names(model).into_iter().zip(&key).map(|(name, value)| format!("t.{} = {value}", ident(&name)));
    let select = format!(
        "SELECT s._ord FROM {} s JOIN {} t ON {} AND t._listed = s._listed \
         WHERE t._connection = ? AND t._variant = ? AND t._deleted_at IS NULL",
        stage::OTHER_KEYS,
        table_of(model),
        joined(same, " AND "),
    );
    let mut statement = db.prepare(&select).map_err(failed())?;
    let found: Vec<usize> = statement
        .query_map(params![id.connection, id.variant], |row| row.get(0))
        .and_then(Iterator::collect)
        .map_err(failed())?;
    stage::drop(db, stage::OTHER_KEYS)?;
    for at in found {
        are[at] = true;
    }
    Ok(are)
}

/// Notes that the list of this partition was the last to have these rows. Nothing else of them moves.
///
/// # Errors
/// [`Error::Rows`] when the columns are not the model's key; DuckDB refuses.
pub fn note_partition(
    db: &Connection,
    model: &ModelPlan,
    id: &SyncId,
    partition: &str,
    keys: &RecordBatch,
) -> Result<(), Error> {
    let key = stage::stage_other_keys(db, model, &[keys])?;
    let same = key_names(model).into_iter().zip(&key).map(|(name, value)| format!("t.{} = {value}", ident(&name)));
    let update = format!(
        "UPDATE {} AS t SET _partition = ? FROM {} s WHERE {} AND t._connection = ? AND t._variant = ? \
         AND t._partition IS DISTINCT FROM ?",
        table_of(model),
        stage::OTHER_KEYS,
        joined(same, " AND "),
    );
    db.execute(&update, params![partition, id.connection, id.variant, partition])
        .map_err(Error::database("note the partition of rows"))?;
    stage::drop(db, stage::OTHER_KEYS)
}

/// The partitions of a sync that it remembers, in no order.
///
/// # Errors
/// DuckDB refuses.
pub fn known_partitions(db: &Connection, id: &SyncId) -> Result<Vec<Arc<str>>, Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let select = format!("SELECT partition FROM {} WHERE {OF_SYNC} AND partition <> ''", own("checkpoints"));
    let read = || -> duckdb::Result<Vec<Arc<str>>> {
        let mut statement = db.prepare(&select)?;
        let text = |row: &duckdb::Row<'_>| row.get::<_, String>(0).map(Arc::from);
        statement.query_map(params![connection, provider, sync, variant], text)?.collect()
    };
    read().map_err(Error::database("read the partitions"))
}

/// The partitions of a sync that were not read to their end when they were read last, or of which nothing is remembered, in no order.
///
/// # Errors
/// DuckDB refuses.
pub fn unread_partitions(db: &Connection, id: &SyncId) -> Result<Vec<Arc<str>>, Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let select = format!(
        "SELECT partition FROM {} p WHERE {OF_SYNC} AND partition <> '' AND (state <> 'complete' OR NOT EXISTS \
         (FROM {} c WHERE c.connection = p.connection AND c.provider = p.provider AND c.sync = p.sync AND c.variant = p.variant \
         AND c.partition = p.partition AND json_extract_string(c.state, '$.turn.complete') = 'true'))",
        own("partitions"),
        own("checkpoints")
    );
    let read = || -> duckdb::Result<Vec<Arc<str>>> {
        let mut statement = db.prepare(&select)?;
        let text = |row: &duckdb::Row<'_>| row.get::<_, String>(0).map(Arc::from);
        statement.query_map(params![connection, provider, sync, variant], text)?.collect()
    };
    read().map_err(Error::database("read the partitions that are unread"))
}

/// Forgets partitions of a sync. Their rows stay.
///
/// # Errors
/// DuckDB refuses.
pub fn forget_partitions(db: &Connection, id: &SyncId, partitions: &[Arc<str>]) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = id;
    for table in ["checkpoints", "partitions", "nodes"] {
        let delete = format!("DELETE FROM {} WHERE {OF_SYNC} AND partition IN {}", own(table), texts(partitions));
        db.execute(&delete, params![connection, provider, sync, variant])
            .map_err(Error::database("forget the partitions that are gone"))?;
    }
    Ok(())
}

/// A place of a walk that is to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundNode {
    /// its number: those that are found later have higher ones
    pub nth: i64,
    /// what asking for it needs
    pub node: Node,
}

/// Which places of a walk are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodesOf {
    /// the pass
    pub pass: u64,
    /// also those that only earlier passes found: a list of changes does not name them again
    pub earlier: bool,
}

impl NodesOf {
    fn condition(self) -> String {
        if self.earlier { "true".to_owned() } else { format!("pass = CAST({} AS UBIGINT)", self.pass) }
    }
}

/// Notes places that were found in a pass, in their order. One that was found in it before stays as it is.
///
/// # Errors
/// DuckDB refuses.
pub fn note_nodes(db: &Connection, id: &SyncId, pass: u64, nodes: &[Node]) -> Result<(), Error> {
    let (mut seen, mut found) = (HashSet::new(), String::new());
    for (at, node) in nodes.iter().enumerate() {
        let partition = node.partition();
        if seen.contains(&partition) {
            continue;
        }
        let (text, item) = (serde_json::to_string(node).expect("a place is plain data with text keys"), node.item());
        found.push(if found.is_empty() { '[' } else { ',' });
        found += &serde_json::json!({ "at": at, "partition": &partition, "node": text, "item": item }).to_string();
        seen.insert(partition);
        // a page of many places makes much text
        if found.len() >= limits::NODES_BYTES_MAX {
            note_some_nodes(db, id, pass, &format!("{found}]"))?;
            found.clear();
        }
    }
    if !found.is_empty() {
        note_some_nodes(db, id, pass, &format!("{found}]"))?;
    }
    let mut last = None;
    for node in nodes {
        let Some(parent) = &node.parent else { continue };
        // places of one page share them
        if last.replace(parent).is_none_or(|last| !Arc::ptr_eq(last, parent)) {
            note_item(db, id, &node.item(), parent)?;
        }
    }
    Ok(())
}

/// Notes the items that places are below, under their name.
fn note_item(db: &Connection, id: &SyncId, item: &str, parent: &Value) -> Result<(), Error> {
    let failed = || Error::database("note the items that the walk is below");
    let SyncId { connection, provider, sync, variant } = id;
    let (table, parent) = (own("node_items"), parent.to_string());
    let values = params![connection, provider, sync, variant, item, parent];
    let same = "connection = $1 AND provider = $2 AND sync = $3 AND variant = $4 AND item = $5";
    let delete = format!("DELETE FROM {table} WHERE {same} AND CAST(parent AS VARCHAR) <> $6");
    db.execute(&delete, values).map_err(failed())?;
    let insert = format!(
        "INSERT INTO {table} SELECT $1, $2, $3, $4, $5, CAST($6 AS JSON) WHERE NOT EXISTS (FROM {table} WHERE {same})"
    );
    db.execute(&insert, values).map_err(failed())?;
    Ok(())
}

/// Notes these places, a JSON list.
fn note_some_nodes(db: &Connection, id: &SyncId, pass: u64, found: &str) -> Result<(), Error> {
    let failed = || Error::database("note the places of the walk");
    let SyncId { connection, provider, sync, variant } = id;
    let (table, pass) = (own("nodes"), format!("CAST({pass} AS UBIGINT)"));
    let fresh = "(SELECT unnest(from_json($5, '[{\"at\": \"BIGINT\", \"partition\": \"VARCHAR\", \"node\": \"VARCHAR\", \"item\": \"VARCHAR\"}]'), \
                 recursive := true)) fresh";
    let same =
        "n.connection = $1 AND n.provider = $2 AND n.sync = $3 AND n.variant = $4 AND n.partition = fresh.partition";
    let values = [connection.as_str(), provider, sync, variant, found];
    // a reader goes on behind the highest number that it has met, which may be one of those that are found again
    let highest: i64 =
        db.query_row(&format!("SELECT coalesce(max(nth), 0) FROM {table}"), [], |row| row.get(0)).map_err(failed())?;
    let delete = format!("DELETE FROM {table} n USING {fresh} WHERE {same} AND n.pass <> {pass}");
    db.execute(&delete, params_from_iter(values)).map_err(failed())?;
    let insert = format!(
        "INSERT INTO {table} SELECT $1, $2, $3, $4, fresh.partition, \
         row_number() OVER (ORDER BY fresh.at) + {highest}, {pass}, NULL, CAST(fresh.node AS JSON), fresh.item \
         FROM {fresh} WHERE NOT EXISTS (FROM {table} n WHERE {same})"
    );
    db.execute(&insert, params_from_iter(values)).map_err(failed())?;
    Ok(())
}

/// Notes that these places were read to their end in a pass.
///
/// # Errors
/// DuckDB refuses.
pub fn note_read(db: &Connection, id: &SyncId, pass: u64, partitions: &[Arc<str>]) -> Result<(), Error> {
    if partitions.is_empty() {
        return Ok(());
    }
    let SyncId { connection, provider, sync, variant } = id;
    let update = format!(
        "UPDATE {} SET read_in = CAST({pass} AS UBIGINT) WHERE {OF_SYNC} AND partition IN {}",
        own("nodes"),
        texts(partitions)
    );
    db.execute(&update, params![connection, provider, sync, variant])
        .map_err(Error::database("note the places that are read"))?;
    Ok(())
}

/// Places that were not read to their end in the pass, in the order in which they were found, behind the number `after`, at most `count`.
///
/// # Errors
/// DuckDB refuses; somebody has written there what is no place.
pub fn unread_nodes(
    db: &Connection,
    id: &SyncId,
    of: NodesOf,
    after: i64,
    count: usize,
) -> Result<Vec<FoundNode>, Error> {
    let failed = || Error::database("read the places of the walk");
    let SyncId { connection, provider, sync, variant } = id;
    let select = format!(
        "SELECT nth, CAST(node AS VARCHAR) FROM {} WHERE {OF_SYNC} AND {} AND nth > ? \
         AND read_in IS DISTINCT FROM CAST({} AS UBIGINT) ORDER BY nth LIMIT {count}",
        own("nodes"),
        of.condition(),
        of.pass
    );
    let mut statement = db.prepare(&select).map_err(failed())?;
    let rows: Vec<(i64, String)> = statement
        .query_map(params![connection, provider, sync, variant, after], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .map_err(failed())?;
    let unreadable = |error: serde_json::Error| Error::Checkpoint {
        sync: id.to_string(),
        detail: format!("a place of its walk is not readable: {error}"),
    };
    let node =
        |(nth, text): (i64, String)| Ok(FoundNode { nth, node: serde_json::from_str(&text).map_err(unreadable)? });
    let mut found = rows.into_iter().map(node).collect::<Result<Vec<_>, Error>>()?;
    let names: HashSet<Arc<str>> = found.iter().map(|found| found.node.item().into()).collect();
    let select = format!(
        "SELECT item, CAST(parent AS VARCHAR) FROM {} WHERE {OF_SYNC} AND item IN {}",
        own("node_items"),
        texts(&Vec::from_iter(names))
    );
    let mut statement = db.prepare(&select).map_err(failed())?;
    let mut parents: HashMap<String, Arc<Value>> = HashMap::new();
    let rows = statement
        .query_map(params![connection, provider, sync, variant], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)))
        .map_err(failed())?;
    for row in rows {
        let (item, text) = row.map_err(failed())?;
        parents.insert(item, Arc::new(serde_json::from_str(&text).map_err(unreadable)?));
    }
    for FoundNode { node, .. } in &mut found {
        node.parent = parents.get(&node.item()).cloned().or_else(|| node.parent.take());
    }
    Ok(found)
}

/// The partition of a place, and the keys of the items of `for_each` that it is below.
pub type NodePartition = (Arc<str>, Vec<String>);

/// The partitions of all places that were found.
///
/// # Errors
/// DuckDB refuses.
pub fn node_partitions(db: &Connection, id: &SyncId, of: NodesOf) -> Result<Vec<NodePartition>, Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let select = format!(
        "SELECT partition, CAST(node->'of' AS VARCHAR) FROM {} WHERE {OF_SYNC} AND {}",
        own("nodes"),
        of.condition()
    );
    let place = |row: &duckdb::Row<'_>| {
        let of: Option<String> = row.get(1)?;
        let of = of.and_then(|of| serde_json::from_str(&of).ok()).unwrap_or_default();
        Ok((row.get::<_, String>(0)?.into(), of))
    };
    let read = || -> duckdb::Result<Vec<NodePartition>> {
        let mut statement = db.prepare(&select)?;
        statement.query_map(params![connection, provider, sync, variant], place)?.collect()
    };
    read().map_err(Error::database("read the places of the walk"))
}

/// Forgets places that were not found.
///
/// # Errors
/// DuckDB refuses.
pub fn forget_nodes(db: &Connection, id: &SyncId, of: NodesOf) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let delete = format!("DELETE FROM {} WHERE {OF_SYNC} AND NOT ({})", own("nodes"), of.condition());
    let failed = || Error::database("forget places of the walk");
    db.execute(&delete, params![connection, provider, sync, variant]).map_err(failed())?;
    let items = format!(
        "DELETE FROM {} AS i WHERE {OF_SYNC} AND NOT EXISTS (FROM {} n WHERE n.connection = i.connection AND n.provider = i.provider \
         AND n.sync = i.sync AND n.variant = i.variant AND n.item = i.item)",
        own("node_items"),
        own("nodes"),
    );
    db.execute(&items, params![connection, provider, sync, variant]).map_err(failed())?;
    Ok(())
}

/// Notes that a partition could not be read to its end.
///
/// # Errors
/// DuckDB refuses.
pub fn note_failed(
    db: &Connection,
    id: &SyncId,
    partition: &str,
    model: &ModelPlan,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let SyncId { connection, provider, sync, variant } = id;
    let (table, failed) = (own("partitions"), || Error::database("note the partition that failed"));
    let update = format!(
        "UPDATE {table} SET state = 'failed', error = ?, updated_at = CAST(? AS TIMESTAMPTZ) WHERE {OF_SYNC} AND partition = ?"
    );
    let values = params![error, stamp(now), connection, provider, sync, variant, partition];
    if db.execute(&update, values).map_err(failed())? == 0 {
        let insert = format!(
            "INSERT INTO {table} (connection, provider, sync, variant, partition, table_schema, table_name, state, updated_at, error) \
             VALUES (?, ?, ?, ?, ?, ?, ?, 'failed', CAST(? AS TIMESTAMPTZ), ?)"
        );
        let values =
            params![connection, provider, sync, variant, partition, model.schema, model.table, stamp(now), error];
        db.execute(&insert, values).map_err(failed())?;
    }
    Ok(())
}

/// These texts, as what stands behind `IN`.
pub fn texts(texts: &[Arc<str>]) -> String {
    let texts = Value::from_iter(texts.iter().map(|text| &**text)).to_string();
    format!("(SELECT unnest(from_json({}, '[\"VARCHAR\"]')))", literal(&texts))
}
