"""Every way in of headwater, with servers that others wrote: oidc-provider for OAuth 2.0, the libraries of verifier.py for
signatures, emulate's GitHub for its apps. Run by run.sh, which starts the servers.

    auth.py oidc FOLDER PORT REDIRECT_PORT LOG KEYS SECONDS
    auth.py signatures FOLDER PORT LOG KEYS
    auth.py github-app FOLDER PORT KEYS
"""

import concurrent.futures
import html.parser
import http.cookiejar
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

from apis import Failed

STORE_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
# what verifier.py and launch.mjs give: pages, and rows in each
PAGES, ROWS = 12, 10


def expect(holds, text):
    if not holds:
        raise Failed(text)


# ---- headwater ------------------------------------------------------------------------------------------------------


class Done:
    """How a command ended."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr
        self.lines = [json.loads(line) for line in stdout.splitlines() if line.startswith("{")]

    def succeeded(self):
        report = self.lines[-1].get("report") if self.lines else None
        failed = [f"{sync['sync']}: {sync['error']}" for sync in report["syncs"] if sync["error"]] if report else []
        expect(self.code == 0, f"exit code {self.code}:\n{self.stderr}" + ("\n".join(failed) or self.stdout))
        return self

    def syncs(self):
        return {sync["sync"]: sync for sync in self.lines[-1]["report"]["syncs"]}

    def errors(self):
        """The error of each sync that failed, by connection."""
        return {name.split("/")[0]: sync["error"] for name, sync in self.syncs().items() if sync["error"]}


class Project:
    """A project in a folder of its own. YAML takes JSON."""

    def __init__(self, folder, providers, connections, syncs, environment=None):
        self.folder, self.secrets = folder, dict(environment or {})
        self.write("headwater.yaml", {"database": "warehouse.duckdb", "connections": connections})
        for name, provider in providers.items():
            self.write(f"providers/{name}.yaml", {"provider": name, **provider})
            for sync, spec in syncs.items():
                model = {"model": sync, "table": sync, "key": spec["key"],
                         "columns": spec["columns"]}
                rest = {word: value for word, value in spec.items() if word not in ("key", "columns")}
                self.write(f"integrations/{name}/models/{sync}.yaml", model)
                self.write(f"integrations/{name}/syncs/{sync}.yaml", {"sync": sync, "model": sync, **rest})

    def write(self, name, value):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, ensure_ascii=False))

    def start(self, *arguments, secrets=None):
        environment = {**os.environ, **self.secrets, **(secrets or {}), "HEADWATER_KEY": STORE_KEY, "NO_COLOR": "1"}
        command = [os.environ["HEADWATER"], "--project", str(self.folder), *arguments]
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def ended(self, process, said="", secrets=None):
        stdout, stderr = process.communicate(timeout=120)
        for secret in {**self.secrets, **(secrets or {})}.values():
            expect(secret not in stdout + stderr + said, "a command prints a secret")
        return Done(process.returncode, stdout, said + stderr)

    def call(self, *arguments, secrets=None):
        return self.ended(self.start(*arguments, secrets=secrets), secrets=secrets)

    def run(self, secrets=None):
        return self.call("run", "--full", "--json", secrets=secrets)

    def query(self, sql):
        return self.call("query", "--json", sql).succeeded().lines

    def states(self):
        return {line["connection"]: line["state"] for line in self.call("connections", "--json").succeeded().lines}

    def connect(self, connection, *arguments, secret=None, how="agree"):
        """Runs `headwater connect` as a person does: what it says to open is opened, and everything agreed to. With a device,
        the code is entered where it says."""
        secrets = {"HEADWATER_CREDENTIAL_CLIENT_SECRET": secret} if secret else {}
        if secret and secret.startswith("-----BEGIN"):
            secrets = {"HEADWATER_CREDENTIAL_PRIVATE_KEY": secret}
        process, said = self.start("connect", connection, "--no-browser", *arguments, secrets=secrets), ""
        for line in process.stderr:
            said += line
            words = line.split()
            if line.startswith("http://"):
                Person().walk(words[0], how=how)
                break
            if line.startswith("open http"):
                Person().walk(words[1], code=words[-1])
                break
        return self.ended(process, said, secrets)


def rows_of(way, query=None, post=None, path=None):
    """A list of pages of rows; what was asked for comes back in each row, as far as the server tells it."""
    request = {"post" if post else "get": path or way, **({"query": query} if query else {}), **({"body": post} if post else {})}
    return {"request": request, "response": {"records": "$.rows[*]"}, "key": ["id"],
            "pagination": {"page": {"query": "page", "total_pages": "$.pages"}}, "deletes": {"absence": {}},
            "columns": {"id": {"path": "$.id", "type": "bigint"}, "name": "$.name", "asked": {"path": "$.asked", "type": "json"}}}


def expect_rows(project, table, connections, wanted, asked=None):
    """Whether each connection has each row once, as the server has it."""
    held = project.query(f"select _connection, id, name, cast(asked as varchar) as asked from {table} where _deleted_at is null")
    for connection in connections:
        rows = {row["id"]: row for row in held if row["_connection"] == connection}
        fits = len(rows) == wanted and all(row["name"] == f"row {id}" for id, row in rows.items())
        expect(fits, f"{table}: {connection} has {len(rows)} rows of {wanted}")
        told = {row["asked"] for row in rows.values()}
        expect(asked is None or [json.loads(text) for text in told] == [asked], f"{table}: {connection} asked for {told}")
    expect(len(held) == wanted * len(connections), f"{table}: {len(held)} rows")
    return len(held)


# ---- a person, and what the servers tell ----------------------------------------------------------------------------


class Form(html.parser.HTMLParser):
    """The first form of a page, and where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.action, self.fields, self.links = None, {}, {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if tag == "form" and self.action is None:
            self.action = named["action"]
        elif tag == "input" and named.get("name"):
            self.fields[named["name"]] = named.get("value") or ""
        elif tag == "a":
            self.links[named["href"].rsplit("/", 1)[-1]] = named["href"]


class Person:
    """A browser with cookies, and somebody before it who logs in and agrees, or leaves at the first question."""

    def __init__(self):
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)

    def walk(self, url, code=None, how="agree"):
        data = None
        for _ in range(10):
            with self.browser.open(url, data=data, timeout=30) as answer:
                url, form = answer.url, Form(answer.read().decode())
            if how == "refuse" and "abort" in form.links:
                url, data = urllib.parse.urljoin(url, form.links["abort"]), None
                continue
            if form.action is None:
                return
            known = {"login": "alice", "password": "x", "user_code": code}
            fields = {name: known.get(name) or value for name, value in form.fields.items()}
            url, data = urllib.parse.urljoin(url, form.action), urllib.parse.urlencode(fields).encode()
        raise Failed("the log-in pages do not end")


class Log:
    """The lines of JSON that a server writes."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def all(self):
        text = self.path.read_text()
        # the last line may be half there
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines() if line.startswith("{")]

    def since(self, mark, **facts):
        return [line for line in self.all()[mark:] if all(line.get(name) == value for name, value in facts.items())]

    def mark(self):
        return len(self.all())


def show(kind, how, rows, what):
    cells = [kind.ljust(18), how.ljust(32), f"{rows:,}".rjust(6) if rows is not None else "".rjust(6), what]
    print("  " + "  ".join(cells).rstrip(), flush=True)


def show_error(how, error):
    """What a person reads, without the address of the request."""
    message = error["message"]
    answered = message.find(" answered ")
    if error["code"] == "http_status" and answered > 0:
        message = "…" + message[answered:].replace("; not tried again, it would fail the same way", "")
    show("", how, None, f"{error['code']}: {message}")


# ---- OAuth 2.0 ------------------------------------------------------------------------------------------------------


class OpenId:
    SCOPES = ["openid", "offline_access", "api:read"]
    # by client of launch.mjs: how it proves who it is
    PERSONS = {"web": "basic", "webpost": "body", "webjwt": "private_key_jwt", "native": "none"}
    DEVICES = {"tv": "none", "tvbasic": "basic", "tvjwt": "private_key_jwt"}
    MACHINES = {"machine": "basic", "machinepost": "body", "machinejwt": "private_key_jwt"}

    def __init__(self, folder, port, redirect_port, log, keys, lasts):
        self.folder, self.log, self.keys = pathlib.Path(folder), Log(log), pathlib.Path(keys)
        self.url, self.redirect_port, self.lasts = f"http://127.0.0.1:{port}", redirect_port, float(lasts)

    def secret(self, client):
        auth = {**self.PERSONS, **self.DEVICES, **self.MACHINES}[client]
        key = self.keys / "rsa.pem"
        return {"none": None, "private_key_jwt": key.read_text()}.get(auth, f"{client}-s3cret with: + % & / 0123456789abcdef")

    def project(self, name, clients, pause=0):
        way = lambda client_auth: {"authorization_code": {
            "authorize_url": f"{self.url}/auth", "authorize_params": {"prompt": "consent"}, "scopes": self.SCOPES,
            "device_url": f"{self.url}/device/auth", "token": {"url": f"{self.url}/token", "client_auth": client_auth}}}
        machine = lambda client_auth: {"client_credentials": {
            "scopes": ["api:read"], "token": {"url": f"{self.url}/token", "client_auth": client_auth}}}
        auth = {client: way(kind) for client, kind in {**self.PERSONS, **self.DEVICES}.items()}
        auth |= {client: machine(kind) for client, kind in self.MACHINES.items()}
        provider = {"base_url": self.url, "auth": auth, "verify": {"get": "/rows", "query": {"page": 1, "pages": 1}}}
        rows = rows_of("/rows", {"pages": PAGES, "pause": pause})
        me = {"request": {"get": "/me"}, "response": {"records": "$"}, "key": ["sub"], "columns": {"sub": "$.sub"}}
        connections, environment = {}, {}
        for client in clients:
            credentials = {"client_id": client}
            if client in self.MACHINES:
                word = "private_key" if client == "machinejwt" else "client_secret"
                variable = f"SECRET_{client.upper()}"
                environment[variable], credentials[word] = self.secret(client), "${" + variable + "}"
            # the application itself is nobody that `/me` could tell of
            syncs = {"rows": {}} if client in self.MACHINES else {"rows": {}, "me": {}}
            connections[client] = {"provider": "oidc", "auth": client, "credentials": credentials, "syncs": syncs,
                                   "allow": {"W081": "an id is no secret"}}
        return Project(self.folder / name, {"oidc": provider}, connections, {"rows": rows, "me": me}, environment)

    def connect(self, project, client, **more):
        # `native` may come back at any port; the others only where they are registered
        where = [] if client == "native" else ["--port", self.redirect_port]
        where = ["--device"] if client in self.DEVICES else where
        return project.connect(client, *where, secret=more.pop("secret", self.secret(client)), **more)

    def all(self):
        self.persons()
        self.devices()
        self.machines()
        self.refresh()
        self.revocation()

    def read(self, project, clients, is_person=True):
        """Runs all syncs, looks at what came, and verifies the connections."""
        mark = self.log.mark()
        project.run().succeeded()
        rows = expect_rows(project, "oidc.rows", clients, PAGES * ROWS)
        if is_person:
            people = project.query("select _connection, sub from oidc.me order by 1")
            expect([row["_connection"] for row in people] == sorted(clients), f"/me: {people}")
            expect({row["sub"] for row in people} == {"alice"}, f"/me: {people}")
        project.call("connections", "verify").succeeded()
        expect(set(project.states().values()) == {"ok"}, f"{project.states()}")
        return rows

    def persons(self):
        project = self.project("persons", self.PERSONS)
        for client, client_auth in self.PERSONS.items():
            mark = self.log.mark()
            refused = self.connect(project, client, how="refuse")
            expect(refused.code == 3 and "access was denied in the browser: `access_denied`" in refused.stderr, refused.stderr)
            self.connect(project, client).succeeded()
            granted = self.log.since(mark, event="granted", grant="authorization_code", client=client)
            expect(len(granted) == 1, f"{client}: {len(granted)} codes were exchanged")
        rows = self.read(project, self.PERSONS)
        for client, client_auth in self.PERSONS.items():
            show("authorization_code", f"PKCE, {client_auth}", rows // len(self.PERSONS), "a person refuses, then agrees; `/me` and rows")
        wrong = self.connect(project, "web", secret="not-the-secret")
        expect(wrong.code != 0 and "invalid_client" in wrong.stderr, wrong.stderr)
        show("", "a wrong secret", None, last_line(wrong.stderr))

    def devices(self):
        project = self.project("devices", self.DEVICES)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            for done in pool.map(lambda client: self.connect(project, client), self.DEVICES):
                done.succeeded()
        rows = self.read(project, self.DEVICES)
        for client_auth in self.DEVICES.values():
            show("device code", client_auth, rows // len(self.DEVICES), "the code is entered in a browser, and agreed to; `/me` and rows")

    def machines(self):
        project = self.project("machines", self.MACHINES, pause=500)
        mark = self.log.mark()
        rows = self.read(project, self.MACHINES, is_person=False)
        for client, client_auth in self.MACHINES.items():
            tokens = {line["token"] for line in self.log.since(mark, event="used", client=client)}
            expect(len(tokens) >= 3, f"{client}: {len(tokens)} tokens")
            show("client_credentials", client_auth, rows // len(self.MACHINES), f"{len(tokens)} tokens, one after the other")
        wrong = project.run(secrets={"SECRET_MACHINE": "not-the-secret"})
        error = wrong.errors().get("machine", {})
        expect(wrong.code != 0 and list(wrong.errors()) == ["machine"], f"{wrong.errors()}")
        show_error("a wrong secret", error)


    def refresh(self):
        """One connection over many ends of its token, with others that verify it at the same time, and kills."""
        project = self.project("refresh", ["web"], pause=150)
        self.connect(project, "web").succeeded()
        mark, started, kills, verified, rounds = self.log.mark(), time.time(), 0, 0, 0
        refreshed = lambda: self.log.since(mark, event="granted", grant="refresh_token")
        while kills < 5 or len(refreshed()) < 6:
            rounds += 1
            expect(rounds <= 40, f"{len(refreshed())} refreshes, {kills} kills")
            main, others, used_before = project.start("run", "--full", "--json"), [], len(self.tokens(mark))
            for _ in range(3):
                others.append(project.start("connections", "verify"))
                time.sleep(0.2)
            if rounds % 2 == 0:
                # as soon as the server has seen a new token: what is not kept by now is lost
                while main.poll() is None and len(self.tokens(mark)) == used_before:
                    time.sleep(0.002)
                if main.poll() is None:
                    main.kill()
            done = project.ended(main)
            kills += done.code == -signal.SIGKILL
            expect(done.code in (0, -signal.SIGKILL), f"exit code {done.code}: {done.stderr}")
            for other in others:
                project.ended(other).succeeded()
                verified += 1
        took = time.time() - started
        project.run().succeeded()
        rows = expect_rows(project, "oidc.rows", ["web"], PAGES * ROWS)
        refreshes = refreshed()
        gaps = [later["at"] - earlier["at"] for earlier, later in zip(refreshes, refreshes[1:])]
        expect(not self.log.since(mark, event="refused") and not self.log.since(mark, event="revoked"), "a refresh was refused")
        # a tenth before the end, the token is followed by another; never by two
        expect(min(gaps) >= 0.85 * self.lasts, f"two refreshes within {min(gaps):.1f} s")
        expect(len(self.tokens(mark)) <= len(refreshes) + 1, "more tokens were used than given")
        show("refresh", f"rotated, {self.lasts:.0f} s a token", rows,
             f"{len(refreshes)} refreshes in {took:.0f} s, {min(gaps):.1f} s apart or more; {kills} kills at a token's first use, "
             f"{verified} verified beside; none refused")

    def tokens(self, mark):
        return {line["token"] for line in self.log.since(mark, event="used")}

    def ask(self, path, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(self.url + path, data=data) as answer:
            return answer.read()

    def revocation(self):
        client = "webpost"
        project = self.project("revocation", [client])
        self.connect(project, client).succeeded()
        mark = self.log.mark()
        self.ask(f"/end?client={client}")
        project.run().succeeded()
        rows = expect_rows(project, "oidc.rows", [client], PAGES * ROWS)
        refreshes = len(self.log.since(mark, event="granted", grant="refresh_token"))
        expect(refreshes == 1, f"{refreshes} refreshes")
        show("revocation", "of an access token", rows, "before its end: one refresh, and the run goes on")
        token = json.loads(self.ask(f"/last?client={client}"))["refresh"]
        self.ask("/token/revocation", token=token, client_id=client, client_secret=self.secret(client))
        done = project.run()
        error = done.errors().get(client, {})
        expect(done.code == 2 and error.get("code") == "needs_reconnect", f"{done.code}: {error}")
        expect(project.states() == {client: "needs reconnect"}, f"{project.states()}")
        mark = self.log.mark()
        again = project.run()
        expect(again.code == 2 and again.errors()[client]["code"] == "needs_reconnect", f"{again.errors()}")
        expect(self.log.mark() == mark, f"the server was asked: {self.log.all()[mark:]}")
        show_error("of a refresh token", error)
        self.connect(project, client).succeeded()
        rows = self.read(project, [client])
        show("", "connected again", rows, "the run between asked nobody; `/me` and rows")


def last_line(text):
    lines = [line for line in text.splitlines() if line.startswith("error")]
    return lines[-1] if lines else text.strip().splitlines()[-1]


# ---- signatures -----------------------------------------------------------------------------------------------------


class Signatures:
    """Ways in that sign, each with the library that checks it on the other side."""

    ASKED = {"q": "Zoë's läden & co. = 50% + 東京 🚀", "empty": "", "path": "/a/b?c#d", "tilde": "~-._*!'()", "brackets[x]": "[1]"}
    FORM = {"note": "a b+c&d=e é", "empty": ""}
    PATH = "lé gümes/a+b=c~d,e(f)!$&'*;:@/%25"

    def __init__(self, folder, port, log, keys):
        self.folder, self.log, self.keys = pathlib.Path(folder), Log(log), pathlib.Path(keys)
        self.url, self.known = f"http://127.0.0.1:{port}", json.loads((self.keys / "secrets.json").read_text())

    def text(self, name):
        return self.known[name] if name in self.known else (self.keys / name).read_text()

    def ways(self):
        """By connection: kind, how, the way in, where its rows are, the credentials and where their values are, and the one
        that is wrong in the second run."""
        consumer = {name: name for name in ("consumer_key", "consumer_secret", "token", "token_secret")}
        for signature, method in (("hmac_sha1", "HMAC-SHA1"), ("hmac_sha256", "HMAC-SHA256"), ("plaintext", "PLAINTEXT")):
            way = {"oauth1": {"signature": signature, "realm": "my shop"}}
            yield "oauth1", f"{method}, oauthlib", way, f"oauth1/{method}", consumer, "token_secret"
        aws = {name: name for name in ("access_key_id", "secret_access_key")}
        session, more = {"session_token": "{{ credentials.session_token }}"}, {"session_token": "session_token"}
        for service, extra, has in (("execute-api", {}, {}), ("execute-api", session, more), ("s3", {}, {}), ("s3", session, more)):
            way = {"sigv4": {"region": "eu-central-1", "service": service, **extra}}
            how = f"{service}{', session' if extra else ''}, botocore"
            yield "sigv4", how, way, f"sigv4/{service}", {**aws, **has}, "secret_access_key"
        claims = {"iss": "headwater-test", "sub": "zoë"}
        keys = (("RS256", "rsa.pem"), ("RS256", "rsa-older.pem"), ("ES256", "ec.pem"), ("ES256", "ec-older.pem"), ("HS256", "shared_secret"))
        form = {"rsa.pem": " PKCS#8", "rsa-older.pem": " PKCS#1", "ec.pem": " PKCS#8", "ec-older.pem": " SEC 1", "shared_secret": ""}
        for algorithm, key in keys:
            way = {"jwt": {"algorithm": algorithm, "header": {"kid": "k-1"}, "claims": {**claims, "aud": "urn:rows"}, "lifetime": "2s"}}
            yield "jwt", f"{algorithm}{form[key]}, PyJWT", way, f"jwt/{algorithm}", {"private_key": key}, "private_key"
        for algorithm, key in keys:
            endpoint = f"{self.url}/exchange/{algorithm}"
            way = {"jwt_bearer": {"algorithm": algorithm, "claims": {**claims, "aud": endpoint}, "token": {"url": endpoint}}}
            yield "jwt_bearer", f"{algorithm}{form[key]}, PyJWT", way, f"bearer/{algorithm}", {"private_key": key}, "private_key"
        way = {"token_request": {
            "requests": [
                {"request": {"post": "/login/", "body": {"form": {"user": "{{ credentials.username }}", "password": "{{ credentials.password }}"}}},
                 "save": {"ticket": "$.ticket"}},
                {"request": {"post": "/session/", "body": {"json": {"ticket": "{{ credentials.ticket }}"}}}, "save": {"sid": "$.session.id"}}],
            "send": {"cookie": "SID", "value": "{{ credentials.sid }}"}}}
        yield "token_request", "two steps, a cookie", way, "cookie/x", {"username": "username", "password": "password"}, "password"

    def project(self):
        auth, connections, environment, wrong = {}, {}, {}, {}
        for at, (kind, how, way, path, credentials, weak) in enumerate(self.ways()):
            name = f"w{at:02}"
            auth[name], named = way, {}
            for word, source in credentials.items():
                variable = f"{name.upper()}_{word.upper()}"
                environment[variable], named[word] = self.text(source), "${" + variable + "}"
            other = {"rsa.pem": "rsa-other.pem", "rsa-older.pem": "rsa-other.pem", "ec.pem": "ec-other.pem", "ec-older.pem": "ec-other.pem"}
            source = credentials[weak]
            wrong[f"{name.upper()}_{weak.upper()}"] = self.text(other[source]) if source in other else self.text(source)[::-1]
            connections[name] = {"provider": "signed", "auth": name, "credentials": named, "config": {**dict(zip(("way", "kind"), path.split("/"))), "name": name,
                                            "pause": "0.25" if kind in ("jwt", "jwt_bearer") else "0"},
                                 "allow": {"W081": "an id is no secret"}}
        word, settings = {"type": "string"}, ["way", "kind", "name", "pause"]
        provider = {"base_url": self.url, "auth": auth, "rate_limit": {"concurrency": 3},
                    "config": {"type": "object", "required": settings, "properties": {setting: word for setting in settings}}}
        path = "/{{ config.way }}/{{ config.kind }}/{{ config.name }}/"
        query = self.ASKED
        odd = "".join("{{ '" + part.replace("'", "\\'") + "' }}/" for part in self.PATH.split("/"))
        syncs = {"rows": rows_of(path + "rows", {**query, "pause": "{{ config.pause }}"}), "odd": rows_of(path + odd, query),
                 "by_form": rows_of(path + "form", query, {"form": self.FORM}), "by_json": rows_of(path + "json", query, {"json": self.FORM})}
        return Project(self.folder / "signed", {"signed": provider}, connections, syncs, environment), wrong

    def all(self):
        project, wrong = self.project()
        names = [(f"w{at:02}", kind, how) for at, (kind, how, *_) in enumerate(self.ways())]
        connections = [name for name, _, _ in names]
        project.run().succeeded()
        rows = expect_rows(project, "signed.rows", connections, PAGES * ROWS, self.ASKED)
        rows += expect_rows(project, "signed.odd", connections, PAGES * ROWS, self.ASKED)
        for table in ("by_form", "by_json"):
            rows += expect_rows(project, f"signed.{table}", connections, PAGES * ROWS, {**self.ASKED, **self.FORM})
        seen = self.log.all()
        others = [line for line in seen if line["status"] != 200 and line["way"] != "cookie"]
        expect(not others, f"requests were refused: {others[:3]}")
        done = project.run(secrets=wrong)
        errors, shown = done.errors(), None
        tokens = lambda name: len({line["token"] for line in seen if line["connection"] == name and "token" in line})
        codes = {"oauth1": "http_status", "sigv4": "http_status", "jwt": "http_status"}
        for at, (name, kind, how) in enumerate(names):
            error, made = errors.get(name), tokens(name)
            expect(error, f"{name} ({kind} {how}): a wrong key is taken")
            expect(error["code"] == codes.get(kind, "no_token"), f"{name} ({kind} {how}): {error}")
            expect(kind in ("oauth1", "sigv4") or made >= 2, f"{name} ({kind} {how}): {made} tokens")
            show(kind, how, rows // len(names), f"{made} tokens, one after the other" if made else "each request has its own")
            if at + 1 == len(names) or names[at + 1][1] != kind:
                show_error("a wrong key", error)


# ---- GitHub ---------------------------------------------------------------------------------------------------------


class GitHubApp:
    """An installation of a GitHub App. emulate checks the app's token, and gives one of an hour for the installation."""

    ISSUES, REPOSITORY = 120, "/repos/octocat/hello-world"

    def __init__(self, folder, port, keys):
        self.folder, self.url, self.keys = pathlib.Path(folder), f"http://127.0.0.1:{port}", pathlib.Path(keys)

    def ask(self, path, body=None):
        headers = {"Authorization": "Bearer ghp_writer_4f1d", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode() if body else None, headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def tokens(self):
        return self.ask("/_emulate/installation-tokens")["installation_tokens"]

    def all(self):
        for number in range(self.ISSUES):
            self.ask(f"{self.REPOSITORY}/issues", {"title": f"issue {number + 1}"})
        environment = {"APP_KEY": (self.keys / "rsa-older.pem").read_text()}
        credentials = {"app_id": "4711", "installation_id": "815", "private_key": "${APP_KEY}"}
        connections = {"app": {"provider": "hub", "auth": "app", "credentials": credentials, "allow": {"W081": "an id is no secret"}}}
        pages = {"response": {"records": "$[*]"}, "pagination": {"link": {}}, "deletes": {"absence": {}}, "key": ["number"],
                 "columns": {"number": {"path": "$.number", "type": "bigint"}, "title": "$.title"}}
        query = {"state": "all", "per_page": 30}
        syncs = {name: {"request": {"get": f"{self.REPOSITORY}/issues", "query": query}, **pages} for name in ("issues", "again")}
        provider = {"base_url": self.url, "auth": {"app": {"github_app": {}}}}
        project = Project(self.folder, {"hub": provider}, connections, syncs, environment)
        project.run().succeeded()
        for table in syncs:
            titles = [row["title"] for row in project.query(f"select title from hub.{table} order by number")]
            expect(titles == [f"issue {number + 1}" for number in range(self.ISSUES)], f"hub.{table}: {len(titles)} issues")
        given = self.tokens()
        expect(len(given) == 1, f"{len(given)} tokens were given for one run")
        facts = (given[0]["app"]["id"], given[0]["installation"]["id"], given[0]["permissions"])
        expect(facts == (4711, 815, {"issues": "read", "metadata": "read"}), f"the token is of {facts}")
        show("github_app", "RS256 PKCS#1, emulate", 2 * self.ISSUES, "two syncs, one token of an hour for installation 815")
        wrong = project.run(secrets={"APP_KEY": (self.keys / "rsa-other.pem").read_text()})
        error = wrong.errors().get("app", {})
        expect(wrong.code != 0 and error.get("code") == "no_token", f"{wrong.errors()}")
        expect(len(self.tokens()) == 1, "a token was given for a wrong key")
        show_error("a wrong key", error)


def main(command, *arguments):
    if command == "oidc":
        print("=== OAuth 2.0: oidc-provider ===")
        OpenId(*arguments).all()
    elif command == "signatures":
        print("=== signatures: oauthlib, botocore and PyJWT ===")
        Signatures(*arguments).all()
    elif command == "github-app":
        print("=== GitHub App: emulate ===")
        GitHubApp(*arguments).all()
    else:
        raise Failed(__doc__)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        sys.exit(f"real: {failed}")
