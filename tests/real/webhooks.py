"""The webhooks that API servers of others send, into a daemon: what the tables hold without a run is what the servers say.

Run by run.sh, which installs and starts the servers.

    webhooks.py FOLDER EMULATE_GITHUB_PORT LOCALSTRIPE_PORT
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from apis import Api, Failed, GitHub, Stripe
from real import free_port

SECRETS = {"GITHUB_SECRET": "It's a secret of the hook", "STRIPE_SECRET": "whsec_of_the_test", "REAL_KEY": "key-0123456789abcdef0123456789"}
PROJECT = """database: warehouse.duckdb
api: {{ keys: {{ test: {{ key: "${{REAL_KEY}}", scopes: [query] }} }} }}
connections:
  hub: {{ provider: hub, base_url: "{github}", credentials: {{ webhook_secret: "${{GITHUB_SECRET}}" }} }}
  till: {{ provider: till, base_url: "{stripe}", credentials: {{ webhook_secret: "${{STRIPE_SECRET}}" }} }}
"""
HUB = """provider: hub
base_url: https://hub.example.com
webhooks:
  verify: { hmac: { header: X-Hub-Signature-256, prefix: "sha256=" } }
  type: "{{ request.headers['x-github-event'] }}"
  id: "{{ request.headers['x-github-delivery'] }}"
"""
TILL = """provider: till
base_url: https://till.example.com
webhooks:
  verify:
    hmac:
      header: Stripe-Signature
      prefix: v1=
      signed: "{{ request.timestamp }}.{{ request.body }}"
      timestamp: { header: Stripe-Signature, prefix: t= }
  type: "{{ body.type }}"
  id: "{{ body.id }}"
"""
ISSUES = """sync: issues
model:
  model: Issue
  table: issues
  key: [id]
  columns:
    id: { path: $.id, type: bigint }
    title: $.title
    state: $.state
    updated_at: { path: $.updated_at, type: timestamptz }
request: { get: /repos/octocat/hello-world/issues, query: { state: all } }
response: { records: "$[*]" }
incremental: { field: $.updated_at }
on_webhook:
  - { type: issues, upsert: $.issue }
"""
CUSTOMERS = """sync: customers
model:
  model: Customer
  table: customers
  key: [id]
  columns: { id: $.id, email: $.email, name: $.name }
request: { get: /v1/customers }
response: { records: "$.data[*]" }
on_webhook:
  - { type: customer.created, upsert: $.data.object }
  - { type: customer.updated, upsert: $.data.object }
  - { type: customer.deleted, delete: $.data.object }
"""


class Daemon:
    """`headwater serve`, and what its tables hold."""

    def __init__(self, folder, github, stripe):
        files = {
            "headwater.yaml": PROJECT.format(github=github, stripe=stripe),
            "providers/hub.yaml": HUB, "integrations/hub/syncs/issues.yaml": ISSUES,
            "providers/till.yaml": TILL, "integrations/till/syncs/customers.yaml": CUSTOMERS,
        }
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.port = free_port()
        self.log = folder / "serve.log"
        arguments = [os.environ["HEADWATER"], "--project", str(folder), "serve", "--listen", f"127.0.0.1:{self.port}"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(arguments, env={**os.environ, **SECRETS, "NO_COLOR": "1"}, stderr=log)
        self.api = Api(f"http://127.0.0.1:{self.port}", SECRETS["REAL_KEY"], form=False)
        self.until("it answers", lambda: "answers at" in self.log.read_text())

    def hook(self, connection):
        return f"http://127.0.0.1:{self.port}/webhooks/{connection}"

    def rows(self, sql):
        status, text = self.api.ask("POST", "/v1/query", {"sql": sql, "limit": 1000})
        # before the first event there is no table
        return json.loads(text)["rows"] if status == 200 else []

    def until(self, what, holds):
        began = time.monotonic()
        while not holds():
            if self.process.poll() is not None or time.monotonic() - began > 60:
                raise Failed(f"never: {what}\n{self.log.read_text()}")
            time.sleep(0.1)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        said = self.log.read_text()
        if code != 0 or any(secret in said for secret in SECRETS.values()):
            raise Failed(f"the daemon ended with {code}, or has told a secret:\n{said}")


def github(daemon, port):
    """Issues of a repository: made, edited, closed; and a hook with another secret, of which nothing may be believed."""
    api = Api(f"http://127.0.0.1:{port}", GitHub.token, form=False)
    repo = "/repos/octocat/hello-world"
    hook = {"url": daemon.hook("hub/hub"), "content_type": "json", "secret": SECRETS["GITHUB_SECRET"]}
    api.call("POST", f"{repo}/hooks", {"name": "web", "active": True, "events": ["issues"], "config": hook})
    numbers = [api.call("POST", f"{repo}/issues", {"title": f"webhook {n} Zoë 🚀"})["number"] for n in range(5)]
    api.call("PATCH", f"{repo}/issues/{numbers[0]}", {"title": "edited"})
    api.call("PATCH", f"{repo}/issues/{numbers[1]}", {"state": "closed"})

    def truth():
        listed = [issue for issue in api.get(f"{repo}/issues?state=all&per_page=100") if issue["number"] in numbers]
        return {(issue["id"], issue["title"], issue["state"]) for issue in listed}

    def held():
        return {tuple(row) for row in daemon.rows("select id, title, state from hub.issues where _deleted_at is null")}

    def inbox():
        return len(daemon.rows("select id from headwater.inbox where provider = 'hub'"))

    daemon.until("all issues are there", lambda: held() == truth())
    liar = {**hook, "secret": "another"}
    before = inbox()
    api.call("POST", f"{repo}/hooks", {"name": "web", "active": True, "events": ["issues"], "config": liar})
    api.call("POST", f"{repo}/issues", {"title": "told twice, believed once"})
    daemon.until("what is proven is there", lambda: inbox() > before)
    time.sleep(1)
    refused = [line for line in daemon.log.read_text().splitlines() if "hub" in line and "refused" in line]
    if inbox() != before + 1 or not refused:
        raise Failed(f"{inbox() - before} events were believed; refused: {refused}\n{daemon.log.read_text()}")
    print(f"GitHub: {len(held())} issues came by {inbox()} events; what was signed with another secret did not")


def stripe(daemon, port):
    """Customers: made, changed, deleted."""
    api = Api(f"http://127.0.0.1:{port}", Stripe.token, form=True)
    events = ["customer.created", "customer.updated", "customer.deleted"]
    hook = {"url": daemon.hook("till/till"), "secret": SECRETS["STRIPE_SECRET"], "events": events}
    # its own door takes JSON
    Api(f"http://127.0.0.1:{port}", Stripe.token, form=False).call("POST", "/_config/webhooks/headwater", hook)
    ids = [api.post("/v1/customers", email=f"w{n}@example.com", name=f"Webhook {n}")["id"] for n in range(6)]
    api.post(f"/v1/customers/{ids[0]}", name="Another name")
    api.remove(f"/v1/customers/{ids[1]}")
    truth = {(id, api.get(f"/v1/customers/{id}")["name"]) for id in ids if id != ids[1]}

    def held():
        return {tuple(row) for row in daemon.rows("select id, name from till.customers where _deleted_at is null")}

    daemon.until("all customers are there", lambda: held() == truth)
    gone = daemon.rows("select id from till.customers where _last_action = 'DELETED'")
    if gone != [[ids[1]]]:
        raise Failed(f"deleted: {gone}, not {ids[1]}")
    print(f"Stripe: {len(truth)} customers came by events, one has gone by one")


def main(folder, github_port, stripe_port):
    folder = pathlib.Path(folder)
    print("=== Webhooks: emulate's GitHub and localstripe, into a daemon ===")
    daemon = Daemon(folder, f"http://127.0.0.1:{github_port}", f"http://127.0.0.1:{stripe_port}")
    try:
        github(daemon, github_port)
        stripe(daemon, stripe_port)
    finally:
        if daemon.process.poll() is None:
            daemon.end()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        sys.exit(f"real: {failed}")
