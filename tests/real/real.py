"""Compares what headwater brings into DuckDB with what the API servers themselves say.

Run by run.sh, which installs and starts the servers. The projects made here use the shipped providers, syncs and
models; apis.py knows the servers.

    real.py stripe FOLDER LOCALSTRIPE_PORT EMULATE_PORT
    real.py github FOLDER EMULATE_PORT
    real.py port                      prints a free port of 127.0.0.1
    real.py wait PORT PID             until the port answers, as long as the process lives
    real.py localstripe PORT          serves localstripe (with the Python that has it)
"""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from apis import READ, EmulateStripe, Failed, GitHub, LocalStripe, Stripe, at

DIFFERENCES_SHOWN = 20
# What `headwater query --json` gives for each kind of column, where it is one Python type.
PYTHON_TYPE = {"text": str, "integer": int, "boolean": bool, "double": float, "time": str, "decimal": str, "list": list}


# ---- headwater ------------------------------------------------------------------------------------------------------


class Headwater:
    """The program, run in a project as a person would."""

    def __init__(self, folder, sources):
        self.folder, self.program = folder, os.environ["HEADWATER"]
        self.secrets = {"REAL_STRIPE_KEY": Stripe.token, "REAL_GITHUB_TOKEN": GitHub.token}
        self.environment = {**os.environ, **self.secrets, "NO_COLOR": "1"}
        folder.mkdir(parents=True)
        connections = "".join(source.yaml() for source in sources)
        files = {"headwater.yaml": f"database: warehouse.duckdb\nconnections:\n{connections}"}
        for source in sources:
            files.update(getattr(source, "local_files", dict)())
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)

    def command(self, *arguments):
        return [self.program, "--project", str(self.folder), *arguments]

    def call(self, *arguments):
        """The JSON lines that a command prints. It must succeed, and must not print a secret."""
        done = subprocess.run(self.command(*arguments), env=self.environment, capture_output=True, text=True)
        if any(secret in done.stdout + done.stderr for secret in self.secrets.values()):
            raise Failed(f"`headwater {' '.join(arguments)}` prints a secret")
        if done.returncode != 0:
            raise Failed(f"`headwater {' '.join(arguments)}` ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        # floats as they are written: what they mean is said by the kind of the column
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def run(self):
        """Runs all syncs to the end; gives what each did."""
        return {sync["sync"]: sync for sync in self.call("run", "--json")[-1]["report"]["syncs"]}

    def run_and_kill(self, sync, commits):
        """Runs until the sync has committed so often, then ends the process as `kill -9` does."""
        process = subprocess.Popen(self.command("run", "--json", "--commit-every", "1ms"), env=self.environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        seen = 0
        try:
            for line in process.stdout:
                event = json.loads(line)
                seen += event["event"] == "committed" and event["sync"] == sync
                if seen == commits:
                    break
            else:
                process.wait()
        finally:
            process.kill()
            process.stdout.close()
        if process.wait() != -9:
            raise Failed(f"the run ended with {process.returncode} before {sync} had committed {commits} times")

    def query(self, sql):
        return self.call("query", "--json", sql)


class Table:
    """One table of DuckDB, and the connections that fill it. The values of volatile columns are not compared."""

    def __init__(self, schema, name, sources):
        self.schema, self.short, self.name = schema, name, f"{schema}.{name}"
        self.sources = [source for source in sources if name in source.tables]
        self.columns = self.sources[0].columns[name]
        self.volatile = self.sources[0].volatile.get(name, set())

    def expected(self):
        """What the API says: rows by identity."""
        rows = {}
        for source in self.sources:
            for identity, record in source.records(self.short).items():
                rows[identity] = {name: READ[kind](at(record, path)) for name, (kind, path) in self.columns.items()
                                  if name not in self.volatile}
        return rows

    def held(self, headwater):
        """What DuckDB holds: rows by identity, metadata included."""
        rows = {}
        for row in headwater.query(f"select * from {self.name}"):
            own = {name for name in row if not name.startswith("_")}
            if own != set(self.columns):
                raise Failed(f"{self.name}: the columns differ: {sorted(own ^ set(self.columns))}")
            identity = (row["_connection"], row["_variant"], row["id"])
            if identity in rows:
                raise Failed(f"{self.name}: two rows of {identity}")
            for name, (kind, _) in self.columns.items():
                wanted = PYTHON_TYPE.get(kind)
                if wanted and row[name] is not None and type(row[name]) is not wanted:
                    raise Failed(f"{self.name}: {name} of {identity} is no {kind}: {row[name]!r}")
                row[name] = READ[kind](row[name])
            rows[identity] = row
        return rows

    def values(self, row):
        return {name: row[name] for name in self.columns}


# ---- the comparison -------------------------------------------------------------------------------------------------


class Comparison:
    """A project, its tables, and what they were after the last step."""

    def __init__(self, folder, sources, killed):
        self.sources, self.killed = sources, killed
        self.headwater = Headwater(folder, sources)
        names = [name for name in sources[0].columns if any(name in source.tables for source in sources)]
        self.tables = [Table(sources[0].schema, name, sources) for name in names]
        # what the API said and what DuckDB held after the last step, and the highest change number in it
        (self.api, self.database), self.high = ({table.name: {} for table in self.tables} for _ in range(2)), 0
        self.runs = set()
        self.differences, self.compared = [], 0

    def differ(self, text):
        self.differences.append(text)

    def expect(self, holds, text):
        if not holds:
            self.differ(text)

    def step(self, title, kill=None, interfaces=False):
        """Runs headwater, compares everything, and prints what was compared; the `_live` views and `headwater changes`
        only if `interfaces` says so."""
        started = time.time()
        if kill:
            self.kill_run(*kill)
        reports = self.headwater.run()
        took = time.time() - started
        if kill:
            self.expect(reports[kill[0]]["resumed"], f"{kill[0]} did not go on where it was killed")
        print(f"\n{title}  ({took:.1f} s)")
        counts = self.counts()
        lines = [("table", "in the API", "live rows", "values equal", "added", "updated", "deleted", "left alone",
                  "records read", "")]
        lines += [self.compare(table, counts.get(table.name, (0, 0, 0, 0))) for table in self.tables]
        show(lines)
        if interfaces:
            self.compare_views()
            self.compare_changes()
        numbers = [row["_change"] for rows in self.database.values() for row in rows.values()]
        self.expect(len(numbers) == len(set(numbers)), "a change number was given out twice")
        self.high = max(numbers, default=0)
        self.expect(self.headwater.query("select 1 from headwater.quarantine") == [], "there are records in quarantine")
        for sync, report in reports.items():
            self.expect(report["state"] == "completed", f"{sync}: {report['state']}")
            self.expect(report["deletes_skipped"] is None, f"{sync}: {report['deletes_skipped']}")
        if self.differences:
            raise Failed(differences_text(self.differences))
        return reports

    def kill_run(self, sync, commits):
        self.headwater.run_and_kill(sync, commits)
        connection, _, rest = sync.partition("/")
        name, _, variant = rest.partition("@")
        state = self.headwater.query(
            "select state from headwater.partitions where "
            f"connection = '{connection}' and sync = '{name}' and variant = '{variant}'")
        self.expect([row["state"] for row in state] == ["scanning"], f"{sync} was not killed in the middle: {state}")
        pages = self.headwater.query(
            "select arg_max(pages, started_at) as n from headwater.runs where "
            f"connection = '{connection}' and sync = '{name}' and variant = '{variant}'")[0]["n"]
        print(f"\nkill -9 in the middle of {sync}, pages committed: {pages}; the next run goes on there")

    def counts(self):
        """Added, updated, deleted and read, as headwater recorded them since the last step, killed runs included."""
        counted = {}
        wanted = "run_id, provider, sync, added, updated, deleted, records"
        rows = self.headwater.query(f"select {wanted} from headwater.runs")
        for row in rows:
            if row["run_id"] not in self.runs:
                name = f"{row['provider']}.{row['sync']}"
                did = (row["added"], row["updated"], row["deleted"], row["records"])
                counted[name] = tuple(a + b for a, b in zip(counted.get(name, (0, 0, 0, 0)), did))
        self.runs |= {row["run_id"] for row in rows}
        return counted

    def compare(self, table, counted):
        """Compares a table with the API, and with itself after the last step; gives the line to print."""
        known = len(self.differences)
        before, api_before = self.database[table.name], self.api[table.name]
        now, api = table.held(self.headwater), table.expected()
        live = {identity: row for identity, row in now.items() if row["_deleted_at"] is None}
        for identity in api.keys() - live.keys():
            self.differ(f"{table.name}: {identity} is in the API and not in DuckDB")
        for identity in live.keys() - api.keys():
            self.differ(f"{table.name}: {identity} is in DuckDB and not in the API")
        equal = 0
        for identity in api.keys() & live.keys():
            for name, value in api[identity].items():
                held = live[identity][name]
                equal += held == value
                self.expect(held == value, f"{table.name}: {name} of {identity}: API {value!r}, DuckDB {held!r}")
        was_live = {identity for identity, row in before.items() if row["_deleted_at"] is None}
        added = api.keys() - was_live
        deleted = was_live - api.keys()
        updated = {identity for identity in api.keys() & was_live if api[identity] != api_before[identity]}
        alone = now.keys() - added - deleted - updated
        for kind, identities in (("ADDED", added), ("UPDATED", updated), ("DELETED", deleted), (None, alone)):
            for identity in identities & now.keys():
                self.compare_metadata(table, identity, kind, before.get(identity), now[identity])
        did = (len(added), len(updated), len(deleted))
        self.expect(did == counted[:3],
                    f"{table.name}: added, updated, deleted: API {did}, headwater.runs {counted[:3]}")
        self.database[table.name], self.api[table.name] = now, api
        self.compared += equal
        numbers = (len(api), len(live), equal, *did, len(alone), counted[3])
        return (table.name, *(f"{n:,}" for n in numbers), "ok" if len(self.differences) == known else "differs")

    def compare_metadata(self, table, identity, kind, before, row):
        """Whether a row's metadata tell what happened to it since the last step."""
        if kind is None:
            self.expect(row == before, f"{table.name}: {identity} is as it was, its row is not: {changed(before, row)}")
            return
        place = f"{table.name}: {identity} was {kind.lower()}, and"
        self.expect(row["_last_action"] == kind, f"{place} its _last_action is {row['_last_action']}")
        self.expect(row["_change"] > self.high, f"{place} its _change {row['_change']} is not above {self.high}")
        is_deleted = row["_deleted_at"] is not None
        self.expect(is_deleted == (kind == "DELETED"), f"{place} its _deleted_at is {row['_deleted_at']}")
        if kind == "ADDED":
            came, changed_at = row["_first_seen_at"], row["_last_modified_at"]
            self.expect(came == changed_at, f"{place} was first seen at {came} and last modified at {changed_at}")
            self.expect(before is None or came > before["_deleted_at"], f"{place} was first seen before it came back")
            return
        self.expect(row["_first_seen_at"] == before["_first_seen_at"], f"{place} its _first_seen_at moved")
        moved = row["_last_modified_at"] > before["_last_modified_at"]
        self.expect(moved, f"{place} its _last_modified_at did not move")
        if kind == "DELETED":
            self.expect(table.values(row) == table.values(before), f"{place} it lost its last values")

    def compare_views(self):
        """The view of each table holds its live rows, without metadata."""
        for table in self.tables:
            view = sorted((row["id"], sorted(row)) for row in self.headwater.query(f"select * from {table.name}_live"))
            live = sorted((identity[2], sorted(table.columns)) for identity in self.api[table.name])
            self.expect(view == live, f"{table.name}_live does not hold the live rows without metadata")

    def compare_changes(self):
        """`headwater changes` prints what has changed since the last step, in the order of the change numbers."""
        for table in self.tables:
            wanted = sorted(row["_change"] for row in self.database[table.name].values() if row["_change"] > self.high)
            printed = [row["_change"] for row in self.headwater.call("changes", table.name, "--after", str(self.high))]
            self.expect(printed == wanted, f"`headwater changes {table.name} --after {self.high}` prints other rows")

    def all(self):
        seeded = time.time()
        for source in self.sources:
            source.seed()
        print(f"seeded in {time.time() - seeded:.1f} s")
        self.step("run 1: everything is new", kill=self.killed[0])
        for source in self.sources:
            source.change()
        self.step("run 2: after records were created, changed and deleted", kill=self.killed[1], interfaces=True)
        reports = self.step("run 3: nothing has changed")
        quiet = all(not report[name] for report in reports.values() for name in ("added", "updated", "deleted"))
        self.expect(quiet, "run 3 changed something")
        for source in self.sources:
            source.bring_back()
        if self.api.get("stripe.coupons"):
            self.step("run 4: a deleted coupon is back under its old id")
        files = [file.read_bytes() for file in self.headwater.folder.rglob("*") if file.is_file()]
        leaked = any(secret.encode() in file for file in files for secret in self.headwater.secrets.values())
        self.expect(not leaked, "a file of the project holds a secret")
        if self.differences:
            raise Failed(differences_text(self.differences))
        rows = sum(len(rows) for rows in self.database.values())
        print(f"\n{self.compared:,} values compared, {rows:,} rows in {len(self.tables)} tables, no difference")


def changed(before, row):
    """The columns that differ, each with both values."""
    return {name: (before[name], row[name]) for name in row if row[name] != before[name]} if before else "it is new"


def differences_text(differences):
    shown = "\n".join(f"  {text}" for text in differences[:DIFFERENCES_SHOWN])
    more = len(differences) - DIFFERENCES_SHOWN
    return f"{len(differences)} differences:\n{shown}" + (f"\n  … and {more} more" if more > 0 else "")


def show(lines):
    widths = [max(len(line[at]) for line in lines) for at in range(len(lines[0]))]
    for line in lines:
        name, *numbers, verdict = (cell.rjust(width) for cell, width in zip(line, widths))
        print("  " + "  ".join([line[0].ljust(len(name)), *numbers, verdict.strip()]).rstrip())
    sys.stdout.flush()


# ---- servers --------------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def free_ports(count):
    """The first of so many free ports in a row."""
    for _ in range(100):
        first = free_port()
        listeners = [socket.socket() for _ in range(count)]
        try:
            for index, listener in enumerate(listeners):
                listener.bind(("127.0.0.1", first + index))
            return first
        except (OSError, OverflowError):
            continue
        finally:
            for listener in listeners:
                listener.close()
    raise Failed(f"there are no {count} free ports in a row")


def wait(port, pid):
    """Until the port takes connections. The process that should listen must live."""
    for _ in range(1200):
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        os.kill(pid, 0)
        time.sleep(0.05)
    raise Failed(f"nothing answers on port {port}")


def serve_localstripe(port):
    """The stock command listens on all addresses and writes its store to a file after every call."""
    from aiohttp import web
    from localstripe import resources, server

    resources.Store.dump_to_disk = lambda store: None
    web.run_app(server.app, host="127.0.0.1", port=port, print=None)


def main(command, *arguments):
    if command == "port":
        print(free_port())
    elif command == "ports":
        print(free_ports(int(arguments[0])))
    elif command == "wait":
        wait(int(arguments[0]), int(arguments[1]))
    elif command == "localstripe":
        serve_localstripe(int(arguments[0]))
    elif command == "stripe":
        folder, localstripe, emulate = arguments
        sources = [LocalStripe(int(localstripe)), EmulateStripe(int(emulate))]
        print("=== Stripe: localstripe and emulate, two connections into the same tables ===")
        Comparison(pathlib.Path(folder), sources, [("localstripe/customers", 2), ("localstripe/customers", 2)]).all()
    elif command == "github":
        folder, emulate = arguments
        print("=== GitHub: emulate, two repositories as variants ===")
        Comparison(pathlib.Path(folder), [GitHub(int(emulate))],
                   [("emulate/issues@hello", 2), ("emulate/issue_comments", 1)]).all()
    else:
        raise Failed(__doc__)


if __name__ == "__main__":
    # run.sh ends this with SIGTERM; as an exception, it also ends the headwater that runs at the moment
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        sys.exit(f"real: {failed}")
