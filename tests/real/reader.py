"""Somebody reads the database with the Python client of DuckDB while a daemon writes it without a pause.

DuckDB lets one process write a file and no other open it meanwhile; headwater leaves it free now and then. What is read must be whole: all
rows of a connection come from one answer of the API, and change numbers only rise.

Run by run.sh, with the Python that has duckdb.

    reader.py FOLDER
"""

import collections
import http.server
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import duckdb

ROWS, CONNECTIONS, READS, WAIT_MAX = 40, 12, 40, 20.0


class Failed(Exception):
    """Something is not as it must be."""


class Answers(http.server.BaseHTTPRequestHandler):
    """A list whose records all change together, each time it is asked for."""

    numbers = collections.Counter()

    def do_GET(self):
        self.numbers[self.path] += 1
        items = [{"id": id, "batch": self.numbers[self.path]} for id in range(ROWS)]
        body = json.dumps({"items": items}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def project(folder, port):
    names = [f"c{n}" for n in range(CONNECTIONS)]
    connections = "".join(f"  {name}: {{ provider: api, config: {{ name: {name} }} }}\n" for name in names)
    files = {
        "headwater.yaml": f"database: warehouse.duckdb\nconnections:\n{connections}",
        "providers/api.yaml": f'provider: api\nbase_url: "http://127.0.0.1:{port}/{{{{ config.name }}}}"\n'
                              "config: { type: object, properties: { name: { type: string } } }\n",
        "integrations/api/syncs/items.yaml": "sync: items\nrequest: { get: /items }\nresponse: { records: '$.items[*]' }\n"
                                             "schedule: every 1s\nmodel:\n  model: Item\n  table: items\n  key: [id]\n  columns:\n"
                                             "    id: { path: $.id, type: bigint }\n    batch: { path: $.batch, type: bigint }\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def read(database):
    """One look, as soon as the file is to be had; gives how long that took, and what is there."""
    began = time.monotonic()
    while True:
        try:
            with duckdb.connect(str(database), read_only=True) as client:
                rows = client.execute("select _connection, min(batch), max(batch), count(*), max(_change) from api.items group by all").fetchall()
            return time.monotonic() - began, rows
        except duckdb.IOException as error:
            # another process has it just now
            if "lock" not in str(error).lower() or time.monotonic() - began > WAIT_MAX:
                raise Failed(f"it could not be read within {WAIT_MAX} s: {error}") from error
            time.sleep(0.05)


def main(folder):
    folder = pathlib.Path(folder)
    print("=== DuckDB's Python client reads while a daemon writes ===")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    project(folder, server.server_address[1])
    log = folder / "serve.log"
    arguments = [os.environ["HEADWATER"], "--project", str(folder), "serve"]
    with log.open("w") as errors:
        daemon = subprocess.Popen(arguments, env={**os.environ, "NO_COLOR": "1"}, stderr=errors)
    try:
        began = time.monotonic()
        while sum(Answers.numbers.values()) < 3 * CONNECTIONS:
            if time.monotonic() - began > 60 or daemon.poll() is not None:
                raise Failed(f"it does not run:\n{log.read_text()}")
            time.sleep(0.1)
        asked, waits, last = sum(Answers.numbers.values()), [], 0
        for _ in range(READS):
            waited, rows = read(folder / "warehouse.duckdb")
            waits.append(waited)
            torn = [row for row in rows if row[1] != row[2] or row[3] != ROWS]
            changes = max(row[4] for row in rows)
            if torn or changes < last or len(rows) != CONNECTIONS:
                raise Failed(f"what was read is not whole: {torn}, change {changes} after {last}")
            last = changes
        answered = sum(Answers.numbers.values()) - asked
        if answered < CONNECTIONS:
            raise Failed(f"it has run {answered} syncs only while it was read")
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
    waits.sort()
    print(f"{READS} reads, each whole; they waited {waits[len(waits) // 2]:.1f} s, the longest {waits[-1]:.1f} s; {answered} runs meanwhile")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        sys.exit(f"real: {failed}")
