//! Forgetting what syncs remember and, on request, removing their rows.
//!
//! Which tables a sync fills stands in `headwater.partitions`. So that row is kept when the rows are: without it nobody could tell whose
//! they are, neither a later purge nor one of another sync that fills the same table.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use duckdb::{Connection, OptionalExt, params};

use super::error::Error;
use super::layout::{self, own};
use super::ledger::{stamp, sync_of};
use super::sql::{CATALOG, Table, ident, joined, literal};
use super::stage;
use crate::plan::SyncId;

/// The temporary table of the chosen syncs.
const CHOSEN: &str = "temp.main.headwater_chosen";
/// The temporary table of the tables that the chosen syncs fill.
const FILLED: &str = "temp.main.headwater_filled";

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// of these syncs; one that the database does not know has nothing to forget
    pub syncs: Vec<SyncId>,
    /// only this part of them; all parts where it is none
    pub partition: Option<String>,
    /// their rows too: of a partition those that it gave last; and their quarantined records, which are of no partition
    pub purge: bool,
}

/// What a reset takes away, or would.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// the syncs that remember something, by connection and name
    pub syncs: Vec<Remembered>,
    /// rows and quarantined records by table, as `schema.table`, without tables that lose none
    pub removed: Vec<(String, u64)>,
}

/// What one sync remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// which sync
    pub id: SyncId,
    /// parts with a checkpoint of their own
    pub parts: u64,
    /// how far it is, of a sync of one part
    pub watermark: Option<String>,
    /// a scan is under way
    pub scanning: bool,
}

/// Says what `reset` would take away, and leaves it.
///
/// # Errors
/// As [`forget`].
pub fn preview(db: &Connection, reset: &Reset) -> Result<Forgotten, Error> {
    let cuts = prepare(db, reset)?;
    let count = |cut: &Cut| {
        let count = format!("SELECT count(*) FROM {} t WHERE {}", cut.table, cut.place);
        db.query_row(&count, [], |row| row.get(0)).map_err(Error::database("count what is to be forgotten"))
    };
    let forgotten = Forgotten { syncs: remembered(db, reset)?, removed: by_table(&cuts, count)? };
    tidy(db)?;
    Ok(forgotten)
}

/// Takes away what `reset` says. Runs inside the caller's transaction.
///
/// # Errors
/// [`Error::UnknownPartition`], [`Error::SharedTable`] when a purge would take rows of a sync that was not chosen. Nothing is written
/// then.
pub fn forget(db: &Connection, reset: &Reset, now: DateTime<Utc>) -> Result<Forgotten, Error> {
    let cuts = prepare(db, reset)?;
    let syncs = remembered(db, reset)?;
    let delete = |cut: &Cut| {
        let rows = db.execute(&format!("DELETE FROM {} t WHERE {}", cut.table, cut.place), []);
        rows.map(|rows| rows as u64).map_err(Error::database("forget"))
    };
    let removed = by_table(&cuts, delete)?;
    if let Some(partition) = &reset.partition {
        ask_again(db, partition)?;
    }
    if reset.purge {
        note_purge(db, &removed, now)?;
    } else {
        keep_tables(db, now)?;
    }
    tidy(db)?;
    Ok(Forgotten { syncs, removed })
}

/// Every sync that ever ran here or has something here, by connection and name.
pub fn known_syncs(db: &Connection) -> Result<Vec<SyncId>, Error> {
    let who = "SELECT connection, provider, sync, variant FROM";
    let tables = ["runs", "checkpoints", "partitions", "quarantine"].map(|name| format!("{who} {}", own(name)));
    let select = format!("SELECT * FROM ({}) ORDER BY connection, sync, variant, provider", tables.join(" UNION "));
    let read = || -> duckdb::Result<Vec<SyncId>> {
        let mut statement = db.prepare(&select)?;
        let row = |row: &duckdb::Row<'_>| sync_of(row, [0, 1, 2, 3]);
        statement.query_map([], row)?.collect()
    };
    read().map_err(Error::database("read the syncs"))
}

/// Rows `t` of one table that go.
struct Cut {
    table: Table,
    place: String,
    /// it is told; what only says where a sync is does not count as rows
    told: bool,
}

/// Notes the chosen syncs and gives what goes: rows of models first, because `partitions` says where they are.
fn prepare(db: &Connection, reset: &Reset) -> Result<Vec<Cut>, Error> {
    let failed = || Error::database("note the chosen syncs");
    db.execute_batch(&format!(
        "CREATE OR REPLACE TEMP TABLE {CHOSEN} (connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR)"
    ))
    .map_err(failed())?;
    let mut insert = db.prepare(&format!("INSERT INTO {CHOSEN} VALUES (?, ?, ?, ?)")).map_err(failed())?;
    for SyncId { connection, provider, sync, variant } in &reset.syncs {
        insert.execute(params![connection, provider, sync, variant]).map_err(failed())?;
    }
    db.execute_batch(&format!(
        "CREATE OR REPLACE TEMP TABLE {FILLED} AS SELECT DISTINCT connection, provider, sync, variant, table_schema, table_name \
         FROM {} t WHERE {}",
        layout::filled(),
        of_chosen(true)
    ))
    .map_err(failed())?;
    let part = match &reset.partition {
        None => String::new(),
        Some(name) => {
            check_partition(db, name)?;
            format!(" AND t.partition = {}", literal(name))
        }
    };
    let own_cut = |name: &str, place: String, told: bool| Cut { table: own(name), place, told };
    let mut cuts = Vec::new();
    if reset.purge {
        check_shared(db)?;
        cuts.extend(row_cuts(db, reset.partition.as_deref())?);
        if reset.partition.is_none() {
            cuts.push(own_cut("quarantine", of_chosen(true), true));
        }
    }
    // of one partition, what its own scan has seen: what all of them have seen in a pass still counts
    let seen = match &reset.partition {
        None => of_chosen(false),
        Some(_) => format!(
            "EXISTS (SELECT 1 FROM {checkpoints} p JOIN {CHOSEN} c USING (connection, provider, sync, variant) \
             WHERE p.connection = t.connection AND p.sync = t.sync AND p.variant = t.variant {} \
             AND t.scan_id = CAST(p.state->>'$.scan.id' AS UBIGINT))",
            part.replace("t.partition", "p.partition"),
            checkpoints = own("checkpoints")
        ),
    };
    cuts.extend(seen_tables(db)?.into_iter().map(|table| Cut { table, place: seen.clone(), told: false }));
    cuts.push(own_cut("checkpoints", of_chosen(true) + &part, false));
    cuts.push(own_cut("partitions", of_chosen(true) + &part, false));
    cuts.push(own_cut("nodes", of_chosen(true) + &part, false));
    if reset.partition.is_none() {
        cuts.push(own_cut("node_items", of_chosen(true), false));
    }
    if reset.purge && reset.partition.is_none() {
        cuts.push(own_cut("tables", of_chosen(true), false));
    }
    Ok(cuts)
}

/// The where clause over a row `t` of a table of headwater's own that names the chosen syncs.
fn of_chosen(with_provider: bool) -> String {
    let provider = if with_provider { " AND c.provider = t.provider" } else { "" };
    format!(
        "EXISTS (SELECT 1 FROM {CHOSEN} c WHERE c.connection = t.connection AND c.sync = t.sync AND c.variant = t.variant{provider})"
    )
}

/// # Errors
/// No chosen sync has a part of that name.
fn check_partition(db: &Connection, name: &str) -> Result<(), Error> {
    let select = format!(
        "SELECT DISTINCT partition FROM {} t WHERE {chosen} UNION SELECT partition FROM {} t WHERE {chosen} ORDER BY 1",
        own("checkpoints"),
        own("partitions"),
        chosen = of_chosen(true),
    );
    let read = || -> duckdb::Result<Vec<String>> { db.prepare(&select)?.query_map([], |row| row.get(0))?.collect() };
    let known = read().map_err(Error::database("read the partitions"))?;
    if known.iter().any(|known| known == name) {
        return Ok(());
    }
    let known = known.into_iter().filter(|known| !known.is_empty()).collect();
    Err(Error::UnknownPartition { name: name.into(), known })
}

/// # Errors
/// A sync that is not chosen fills one of the tables for the same connection and variant: nothing tells its rows apart.
fn check_shared(db: &Connection) -> Result<(), Error> {
    let failed = || Error::database("look for syncs that share a table");
    let shared = format!(
        "FROM {} t JOIN {FILLED} f ON lower(f.table_schema) = lower(t.table_schema) AND lower(f.table_name) = lower(t.table_name) \
         AND f.connection = t.connection AND f.variant = t.variant WHERE NOT {}",
        layout::filled(),
        of_chosen(true)
    );
    let first = format!("SELECT t.table_schema, t.table_name {shared} ORDER BY 1, 2 LIMIT 1");
    let table: Option<Table> = db
        .query_row(&first, [], |row| Ok(Table { schema: row.get(0)?, name: row.get(1)? }))
        .optional()
        .map_err(failed())?;
    let Some(table) = table else { return Ok(()) };
    let select = format!(
        "SELECT DISTINCT t.connection, t.provider, t.sync, t.variant {shared} AND t.table_schema = ? AND t.table_name = ? ORDER BY ALL"
    );
    let read = || -> duckdb::Result<Vec<String>> {
        let mut statement = db.prepare(&select)?;
        let row = |row: &duckdb::Row<'_>| {
            let id = sync_of(row, [0, 1, 2, 3])?;
            Ok(id.to_string())
        };
        statement.query_map([&table.schema, &table.name], row)?.collect()
    };
    Err(Error::SharedTable { table: table.plain(), others: read().map_err(failed())? })
}

/// The rows of the chosen syncs in the tables they fill, or of one partition of theirs, and in the history tables beside these.
fn row_cuts(db: &Connection, partition: Option<&str>) -> Result<Vec<Cut>, Error> {
    let failed = || Error::database("read the tables of the syncs");
    let filled = || -> duckdb::Result<Vec<Table>> {
        let select = format!("SELECT DISTINCT table_schema, table_name FROM {FILLED} ORDER BY ALL");
        let row = |row: &duckdb::Row<'_>| Ok(Table { schema: row.get(0)?, name: row.get(1)? });
        db.prepare(&select)?.query_map([], row)?.collect()
    };
    let models = || -> duckdb::Result<Vec<(String, String)>> {
        let select = format!("SELECT table_schema, table_name, CAST(\"key\" AS VARCHAR) FROM {}", own("models"));
        let row = |row: &duckdb::Row<'_>| {
            let table = Table { schema: row.get(0)?, name: row.get(1)? };
            Ok((table.plain().to_lowercase(), row.get(2)?))
        };
        db.prepare(&select)?.query_map([], row)?.collect()
    };
    let models: BTreeMap<String, String> = models().map_err(failed())?.into_iter().collect();
    let plain = |table: &Table| table.plain().to_lowercase();
    let mut cuts = Vec::new();
    for table in filled().map_err(failed())? {
        let of_sync = format!(
            "EXISTS (SELECT 1 FROM {FILLED} f WHERE lower(f.table_schema) = lower({}) AND lower(f.table_name) = lower({}) \
             AND f.connection = t._connection AND f.variant = t._variant)",
            literal(&table.schema),
            literal(&table.name)
        );
        let history = Table::new(&table.schema, &format!("{}_history", table.name));
        let mut columns = vec!["_connection", "_variant"];
        let (mut place, mut versions) = (of_sync.clone(), of_sync.clone());
        if let Some(partition) = partition {
            columns.push("_partition");
            let key = models.get(&plain(&table)).and_then(|key| serde_json::from_str::<Vec<String>>(key).ok());
            let same = key.unwrap_or_default().into_iter().map(|name| format!("r.{0} = t.{0}", ident(&name)));
            let own = ["r._connection = t._connection".to_owned(), "r._variant = t._variant".to_owned()];
            let row = joined(own.into_iter().chain(same), " AND ");
            place += &format!(" AND t._partition = {}", literal(partition));
            versions +=
                &format!(" AND EXISTS (SELECT 1 FROM {table} r WHERE {row} AND r._partition = {})", literal(partition));
        }
        if !has_columns(db, &table, &columns)? {
            continue;
        }
        let rows = Cut { table, place, told: true };
        // a model may have a table of that name
        let has_history =
            !models.contains_key(&plain(&history)) && has_columns(db, &history, &["_connection", "_variant"])?;
        let versions = has_history.then_some(Cut { table: history, place: versions, told: true });
        // the rows say which versions are of the partition
        cuts.extend(
            if partition.is_some() { [versions, Some(rows)] } else { [Some(rows), versions] }.into_iter().flatten(),
        );
    }
    Ok(cuts)
}

/// The tables of seen keys.
fn seen_tables(db: &Connection) -> Result<Vec<Table>, Error> {
    let select = "SELECT table_name FROM duckdb_tables() WHERE database_name = ? AND schema_name = ? \
                  AND starts_with(table_name, 'seen_') ORDER BY table_name";
    let read = || -> duckdb::Result<Vec<Table>> {
        let mut statement = db.prepare(select)?;
        let row = |row: &duckdb::Row<'_>| Ok(own(&row.get::<_, String>(0)?));
        statement.query_map([CATALOG, layout::SCHEMA], row)?.collect()
    };
    read().map_err(Error::database("look for the tables of seen keys"))
}

fn has_columns(db: &Connection, table: &Table, columns: &[&str]) -> Result<bool, Error> {
    let count = "SELECT count(*) FROM duckdb_columns() JOIN duckdb_tables() USING (database_name, schema_name, table_name) \
                 WHERE database_name = ? AND lower(schema_name) = lower(?) AND lower(table_name) = lower(?) AND column_name = ?";
    for column in columns {
        let found: i64 = db
            .query_row(count, [CATALOG, &table.schema, &table.name, column], |row| row.get(0))
            .map_err(Error::database("read the columns of the tables"))?;
        if found == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remembered(db: &Connection, reset: &Reset) -> Result<Vec<Remembered>, Error> {
    let part = reset.partition.as_ref().map_or(String::new(), |name| format!(" AND t.partition = {}", literal(name)));
    let select = format!(
        "SELECT connection, provider, sync, variant, count(DISTINCT partition), \
                CASE WHEN count(DISTINCT partition) = 1 THEN max(p.watermark) END, coalesce(bool_or(p.state = 'scanning'), false) \
         FROM {} t LEFT JOIN {} p USING (connection, provider, sync, variant, partition) WHERE {}{part} \
         GROUP BY connection, provider, sync, variant ORDER BY connection, sync, variant, provider",
        own("checkpoints"),
        own("partitions"),
        of_chosen(true)
    );
    let read = || -> duckdb::Result<Vec<Remembered>> {
        let mut statement = db.prepare(&select)?;
        let row = |row: &duckdb::Row<'_>| {
            Ok(Remembered {
                id: sync_of(row, [0, 1, 2, 3])?,
                parts: row.get(4)?,
                watermark: row.get(5)?,
                scanning: row.get(6)?,
            })
        };
        statement.query_map([], row)?.collect()
    };
    read().map_err(Error::database("read what the syncs remember"))
}

/// Notes which tables the chosen syncs fill, of those that have no part left which says so.
fn keep_tables(db: &Connection, now: DateTime<Utc>) -> Result<(), Error> {
    let insert = format!(
        "INSERT INTO {partitions} (connection, provider, sync, variant, partition, table_schema, table_name, state, updated_at) \
         SELECT t.connection, t.provider, t.sync, t.variant, '', t.table_schema, t.table_name, 'reset', CAST(? AS TIMESTAMPTZ) \
         FROM {FILLED} t WHERE NOT EXISTS (SELECT 1 FROM {partitions} p WHERE p.connection = t.connection \
         AND p.provider = t.provider AND p.sync = t.sync AND p.variant = t.variant) \
         AND NOT EXISTS (SELECT 1 FROM {tables} o WHERE o.connection = t.connection AND o.provider = t.provider AND o.sync = t.sync \
         AND o.variant = t.variant AND o.table_schema = t.table_schema AND o.table_name = t.table_name)",
        partitions = own("partitions"),
        tables = own("tables"),
    );
    db.execute(&insert, [stamp(now)]).map_err(Error::database("note which tables the syncs fill"))?;
    Ok(())
}

/// Notes that rows have gone from tables without a deletion: what readers have of them is no copy any more.
fn note_purge(db: &Connection, removed: &[(String, u64)], now: DateTime<Utc>) -> Result<(), Error> {
    let insert = format!(
        "INSERT INTO {} SELECT DISTINCT CAST(? AS TIMESTAMPTZ), NULL, table_schema, table_name, 'rows_purged', ? FROM {FILLED} \
         WHERE concat(table_schema, '.', table_name) = ?",
        own("schema_changes")
    );
    for (table, rows) in removed {
        let detail = if *rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        db.execute(&insert, params![stamp(now), detail, table]).map_err(Error::database("note the purge"))?;
    }
    Ok(())
}

/// Forgets what else the chosen syncs know of a partition: which lists of items need not be asked for, of which one names it, and how the
/// list had its rows, so that their details are asked for.
fn ask_again(db: &Connection, partition: &str) -> Result<(), Error> {
    let failed = || Error::database("forget what need not be asked for");
    let update = format!(
        "UPDATE {} AS t SET state = json_merge_patch(t.state, '{{\"lists\": null}}') WHERE t.partition = '' AND {}",
        own("checkpoints"),
        of_chosen(true)
    );
    db.execute(&update, []).map_err(failed())?;
    for Cut { table, place, .. } in row_cuts(db, Some(partition))? {
        if has_columns(db, &table, &["_listed"])? {
            db.execute(&format!("UPDATE {table} AS t SET _listed = NULL WHERE {place}"), []).map_err(failed())?;
        }
    }
    Ok(())
}

/// Rows by table of all cuts that are told.
fn by_table(cuts: &[Cut], mut rows: impl FnMut(&Cut) -> Result<u64, Error>) -> Result<Vec<(String, u64)>, Error> {
    let mut all = Vec::new();
    for cut in cuts {
        let rows = rows(cut)?;
        if cut.told && rows > 0 {
            all.push((cut.table.plain(), rows));
        }
    }
    Ok(all)
}

fn tidy(db: &Connection) -> Result<(), Error> {
    stage::drop(db, CHOSEN)?;
    stage::drop(db, FILLED)
}
