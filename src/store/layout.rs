//! headwater's own tables: schema `headwater` of the warehouse file.
//!
//! No table has a primary key or an index: they cost far more than they give here (`merge` says how much), and the writer lock makes
//! sure that there is one writer.

use duckdb::Connection;

use super::catalog;
use super::error::{Error, first_line};
use super::sql::{CATALOG, Table, ident, literal};

/// The layout written today. A file with a higher one is left as it is.
///
/// 2: `quarantine` has `row_key` and `record_hash`. 3: `partitions` has `error`. 4: `tables`, `nodes`. 5: `node_items`. 6: `paused`.
pub const VERSION: i64 = 6;

/// The schema of headwater's own tables.
pub const SCHEMA: &str = "headwater";

struct OwnTable {
    name: &'static str,
    comment: &'static str,
    columns: &'static str,
}

const TABLES: [OwnTable; 17] = [
    OwnTable {
        name: "meta",
        comment: "One row: the version of this layout, and the last change number given out.",
        columns: "version INTEGER, change_counter BIGINT",
    },
    OwnTable {
        name: "runs",
        comment: "One row per run of a sync. state: running, completed, paused, partial, failed, or interrupted (the process was killed; \
                  ended_at stays null). change_from and change_to: the first and last change number it gave out.",
        columns: "run_id VARCHAR, connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, state VARCHAR, \
                  started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, pages BIGINT, records BIGINT, added BIGINT, updated BIGINT, \
                  deleted BIGINT, unchanged BIGINT, duplicates BIGINT, quarantined BIGINT, filtered BIGINT, nulled BIGINT, \
                  requests BIGINT, change_from BIGINT, change_to BIGINT, error_code VARCHAR, error VARCHAR",
    },
    OwnTable {
        name: "checkpoints",
        comment: "What each sync remembers: the next run begins with it. Deleting a row makes that sync start over.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, partition VARCHAR, state JSON, \
                  updated_at TIMESTAMPTZ",
    },
    OwnTable {
        name: "partitions",
        comment: "How far each part of a sync is. state: scanning, complete, failed (error says why; the next run goes on), or \
                  reset (forgotten: the next run reads everything again); partition is the key of an item of for_each, and empty for a \
                  sync of one part and for what its partitions share.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, partition VARCHAR, \
                  table_schema VARCHAR, table_name VARCHAR, state VARCHAR, watermark VARCHAR, last_completed_at TIMESTAMPTZ, updated_at TIMESTAMPTZ, error VARCHAR",
    },
    OwnTable {
        name: "tables",
        comment: "Tables that a sync fills besides the one that partitions names: of further outputs, and of children.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, table_schema VARCHAR, table_name VARCHAR",
    },
    OwnTable {
        name: "nodes",
        comment: "Places that a walk has found, in the order in which it did. pass: in which pass over all of them it was found last; \
                  read_in: in which it was read to its end; node: what asking for it needs, besides the items of for_each that it is \
                  below, which node_items has by the name item.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, partition VARCHAR, nth BIGINT, pass UBIGINT, \
                  read_in UBIGINT, node JSON, item VARCHAR",
    },
    OwnTable {
        name: "node_items",
        comment: "Items of for_each below which nodes has places, once for all of them.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, item VARCHAR, parent JSON",
    },
    OwnTable {
        name: "requests",
        comment: "Optional log of the requests made, kept for some days. Secrets are masked. waited_ms: what it waited for before \
                  it was sent: the budget of the connection, a token, the time after a failed attempt.",
        columns: "run_id VARCHAR, requested_at TIMESTAMPTZ, method VARCHAR, url VARCHAR, status INTEGER, duration_ms BIGINT, bytes BIGINT, \
                  attempt INTEGER, error VARCHAR, connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, \
                  waited_ms BIGINT, request_headers JSON, response_headers JSON",
    },
    OwnTable {
        name: "quarantine",
        comment: "Records that are no rows, with the reason. A record leaves when it arrives again and fits. key: the key values as \
                  they came, as a JSON array; null when it has none. row_key: hash of the typed key; null when it cannot be read. record_hash: \
                  hash of the record as it came, which is not that of record where a part was cut or masked.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, model VARCHAR, key VARCHAR, \
                  column_name VARCHAR, code VARCHAR, reason VARCHAR, record VARCHAR, run_id VARCHAR, first_seen_at TIMESTAMPTZ, \
                  last_seen_at TIMESTAMPTZ, row_key HUGEINT, record_hash UBIGINT",
    },
    OwnTable {
        name: "inbox",
        comment: "Webhook events received from providers, written before they are answered, and kept for some days when they are done. \
                  state: waiting, started (a sync runs because of it), done, ignored (no sync has words for it) or failed (error says why). delivery: the id of the first event \
                  that came with it, which has request (headers and parameters) and body; event: its part of the body, null where it is \
                  the whole. due_at: when it is tried again; null = now.",
        columns: "id BIGINT, received_at TIMESTAMPTZ, provider VARCHAR, connection VARCHAR, event_type VARCHAR, event_id VARCHAR, \
                  delivery BIGINT, request VARCHAR, body VARCHAR, event VARCHAR, state VARCHAR, attempts INTEGER, due_at TIMESTAMPTZ, \
                  done_at TIMESTAMPTZ, error VARCHAR",
    },
    OwnTable {
        name: "outbox",
        comment: "What applications are told (notify). kind: changed, failed or needs_reconnect; id counts in the order in which they are \
                  told, and is null while the run goes on whose changes are counted here; event_id: the webhook-id; payload: what is sent.",
        columns: "id BIGINT, created_at TIMESTAMPTZ, kind VARCHAR, connection VARCHAR, provider VARCHAR, sync VARCHAR, \
                  variant VARCHAR, model VARCHAR, change_from BIGINT, change_to BIGINT, payload JSON, run_id VARCHAR, \
                  event_id VARCHAR, added BIGINT, updated BIGINT, deleted BIGINT",
    },
    OwnTable {
        name: "deliveries",
        comment: "Which endpoint is told what of outbox. state: pending, delivered or failed (given up). endpoint: its host, and a hash of its URL.",
        columns: "id BIGINT, endpoint VARCHAR, state VARCHAR, attempts INTEGER, next_at TIMESTAMPTZ, last_at TIMESTAMPTZ, \
                  last_status INTEGER, last_error VARCHAR",
    },
    OwnTable {
        name: "endpoints",
        comment: "How the endpoints of notify are that have failed. paused: why nothing is sent there until somebody resumes it; \
                  failing_since: since when nothing arrived; wait_until: they asked for it.",
        columns: "endpoint VARCHAR, paused VARCHAR, failing_since TIMESTAMPTZ, wait_until TIMESTAMPTZ, updated_at TIMESTAMPTZ",
    },
    OwnTable {
        name: "schema_changes",
        comment: "Every change headwater made to a table. change: table_created, column_added, column_widened, column_dropped (from \
                  the YAML: it stays in the table and is null in rows written since), column_restored, history_ended (all versions \
                  end then), history_resumed, rows_purged (by a reset, without deletions in the feed); and, with --allow-destructive, column_removed (from the table too), column_retyped \
                  (all is read again) or key_changed (the table began anew without rows, and all is read again).",
        columns: "changed_at TIMESTAMPTZ, run_id VARCHAR, table_schema VARCHAR, table_name VARCHAR, change VARCHAR, detail VARCHAR",
    },
    OwnTable {
        name: "paused",
        comment: "Syncs that do not run by themselves until somebody resumes them.",
        columns: "connection VARCHAR, provider VARCHAR, sync VARCHAR, variant VARCHAR, paused_at TIMESTAMPTZ",
    },
    OwnTable {
        name: "pruned",
        comment: "From which tables deleted rows were pruned, of which connections and variants, and the highest change number of these.",
        columns: "table_schema VARCHAR, table_name VARCHAR, connection VARCHAR, variant VARCHAR, up_to BIGINT",
    },
    OwnTable {
        name: "models",
        comment: "Which model made which table, with its key and columns as they were at the last run.",
        columns: "provider VARCHAR, model VARCHAR, table_schema VARCHAR, table_name VARCHAR, \"key\" JSON, \"columns\" JSON, \
                  description VARCHAR",
    },
];

/// A table of headwater's own, by its name.
pub fn own(name: &str) -> Table {
    Table::new(SCHEMA, name)
}

/// Which sync fills which table, as a source of rows: `connection`, `provider`, `sync`, `variant`, `table_schema`, `table_name`.
pub fn filled() -> String {
    let columns = "connection, provider, sync, variant, table_schema, table_name";
    format!("(SELECT {columns} FROM {} UNION SELECT {columns} FROM {})", own("partitions"), own("tables"))
}

/// Makes headwater's tables in the attached file, in one transaction.
///
/// # Errors
/// DuckDB refuses, for example because the file is read-only.
pub fn create(connection: &Connection) -> Result<(), Error> {
    let mut statements = format!("BEGIN; CREATE SCHEMA IF NOT EXISTS {CATALOG}.{SCHEMA};");
    for OwnTable { name, comment, columns } in TABLES {
        let table = own(name);
        statements += &format!("CREATE TABLE {table} ({columns}); COMMENT ON TABLE {table} IS {};", literal(comment));
    }
    statements += &format!("INSERT INTO {} VALUES ({VERSION}, 0); COMMIT;", own("meta"));
    connection.execute_batch(&statements).map_err(|error| {
        // the batch stopped in the middle of its transaction; if rolling back fails too, the first error is the one to tell
        drop(connection.execute_batch("ROLLBACK"));
        Error::Database { doing: "create headwater's tables", source: error }
    })
}

/// Brings the tables of an older layout up to this one: adds the tables and columns that it did not have.
///
/// # Errors
/// DuckDB refuses; then nothing is changed.
pub fn upgrade(connection: &Connection) -> Result<(), Error> {
    let failed = || Error::database("bring headwater's tables up to date");
    let transaction = connection.unchecked_transaction().map_err(failed())?;
    for OwnTable { name, comment, columns } in TABLES {
        let table = own(name);
        let select =
            "SELECT column_name FROM duckdb_columns() WHERE database_name = ? AND schema_name = ? AND table_name = ?";
        let mut statement = transaction.prepare(select).map_err(failed())?;
        let found: Vec<String> = statement
            .query_map([CATALOG, SCHEMA, name], |row| row.get(0))
            .and_then(Iterator::collect)
            .map_err(failed())?;
        let mut statements = String::new();
        if found.is_empty() {
            statements += &format!("CREATE TABLE {table} ({columns});");
        }
        for column in columns.split(", ").filter(|_| !found.is_empty()) {
            let is = |found: &String| {
                column.split(' ').next() == Some(&ident(found)) || column.split(' ').next() == Some(found)
            };
            if !found.iter().any(is) {
                statements += &format!("ALTER TABLE {table} ADD COLUMN {column};");
            }
        }
        statements += &format!("COMMENT ON TABLE {table} IS {};", literal(comment));
        transaction.execute_batch(&statements).map_err(failed())?;
    }
    transaction.execute(&format!("UPDATE {} SET version = ?", own("meta")), [VERSION]).map_err(failed())?;
    transaction.commit().map_err(failed())
}

/// The layout version of the attached file; `None` when headwater has not been here.
///
/// # Errors
/// [`Error::NewerLayout`], [`Error::Damaged`].
pub fn version(connection: &Connection, path: &std::path::Path) -> Result<Option<i64>, Error> {
    if !catalog::has(connection, &own("meta")).map_err(Error::database("look for headwater's tables"))? {
        return Ok(None);
    }
    let found: i64 = connection
        .query_row(&format!("SELECT max(version)::BIGINT FROM {}", own("meta")), [], |row| row.get(0))
        .map_err(|error| Error::Damaged {
            path: path.into(),
            detail: format!("`headwater.meta` does not hold its one row: {}", first_line(&error)),
        })?;
    if found > VERSION {
        return Err(Error::NewerLayout { path: path.into(), found, known: VERSION });
    }
    Ok(Some(found))
}
