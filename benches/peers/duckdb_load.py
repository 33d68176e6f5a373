"""What DuckDB alone needs for the records of benches/load: its own JSON reader over the same bytes on disk, and one MERGE.

usage: duckdb_load.py FOLDER

FOLDER has `records.ndjson`. The records are read into a temporary table and merged on the key into the file's table, which the first
call makes.
"""

import os
import sys

import duckdb

folder = sys.argv[1]
columns = {
    "id": "BIGINT",
    "name": "VARCHAR",
    "email": "VARCHAR",
    "status": "VARCHAR",
    "is_vip": "BOOLEAN",
    "manager_id": "BIGINT",
    "amount": "DECIMAL(18,2)",
    "balance": "DOUBLE",
    "quantity": "INTEGER",
    "tags": "VARCHAR[]",
    "address": "JSON",
    "created_at": "TIMESTAMPTZ",
    "updated_at": "TIMESTAMPTZ",
    "notes": "VARCHAR",
}
db = duckdb.connect(os.path.join(folder, "limit.duckdb"))
names = list(columns)
types = ", ".join(f"{name}: '{kind}'" for name, kind in columns.items())
file = os.path.join(folder, "records.ndjson")
read = f"SELECT * FROM read_json('{file}', format = 'newline_delimited', columns = {{{types}}})"
db.execute(f"CREATE TABLE IF NOT EXISTS customers ({', '.join(f'{name} {kind}' for name, kind in columns.items())})")
db.execute(f"CREATE TEMP TABLE staged AS {read}")
differs = " OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in names if name != "id")
db.execute(
    f"MERGE INTO customers t USING staged s ON t.id = s.id WHEN MATCHED AND ({differs}) THEN UPDATE WHEN NOT MATCHED THEN INSERT"
)
print(db.execute("SELECT count(*) FROM customers").fetchone()[0])
db.close()
