"""The built-in catalogue at servers of others that speak several of its APIs: what its actions do there is there, what its syncs
read is what the servers say, and a second run changes nothing.

Run by run.sh, which installs and starts the server.

    catalogue.py FOLDER FIRST_PORT

emulate has a part of each API only: what it lacks (Slack's reading methods as GET, Gmail's profile, Drive's changes, Calendar's sync
tokens, most of Linear's fields) cannot be tried here; docs/real-servers.md lists it.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import urllib.parse
import urllib.request

from apis import Failed

SERVICES = ["github", "google", "slack", "stripe", "linear", "twilio"]
SID = "AC00000000000000000000000000000000"
SECRETS = {"GITHUB": "ghp_catalogue", "GOOGLE": "ya29_catalogue", "SLACK": "xoxb-catalogue", "STRIPE": "sk_test_catalogue",
           "LINEAR": "lin_catalogue", "TWILIO": "twilio_catalogue"}
REPOSITORY = "{ input: { owner: octocat, repo: hello-world } }"
PROJECT = """database: warehouse.duckdb
connections:
  github:
    provider: github
    auth: token
    base_url: {github}
    credentials: {{ token: "${{GITHUB}}" }}
    syncs: {{ issues: {repository}, labels: {repository}, repositories: {{}} }}
  stripe: {{ provider: stripe, base_url: "{stripe}", credentials: {{ secret_key: "${{STRIPE}}" }}, syncs: {{ customers: {{}}, products: {{}} }} }}
  slack: {{ provider: slack, auth: bot, base_url: "{slack}/api", credentials: {{ token: "${{SLACK}}" }}, syncs: {{}} }}
  linear: {{ provider: linear, auth: key, base_url: "{linear}", credentials: {{ api_key: "${{LINEAR}}" }}, syncs: {{ teams: {{}} }} }}
  twilio:
    provider: twilio
    auth: account
    base_url: "{twilio}/2010-04-01/Accounts/{sid}"
    credentials: {{ auth_token: "${{TWILIO}}" }}
    config: {{ account_sid: {sid} }}
    syncs: {{ messages: {{}}, phone_numbers: {{}} }}
  gmail: {{ provider: gmail, auth: local, credentials: {{ token: "${{GOOGLE}}" }}, syncs: {{ labels: {{}}, drafts: {{}} }} }}
  google_calendar: {{ provider: google_calendar, auth: local, credentials: {{ token: "${{GOOGLE}}" }}, syncs: {{ calendars: {{}} }} }}
  google_drive: {{ provider: google_drive, auth: local, credentials: {{ token: "${{GOOGLE}}" }}, syncs: {{}} }}
"""
# A provider of the project's own that is the catalogue's but for its address and a way in that takes a token as it is.
OWN = """provider: {name}
extends: {name}
base_url: {url}
network: {{ allow_http: true, allow_private: true }}
auth: {{ local: {{ bearer: {{}} }} }}
"""


class Project:
    def __init__(self, folder, port):
        self.folder = pathlib.Path(folder)
        (self.folder / "providers").mkdir(parents=True)
        self.urls = {name: f"http://127.0.0.1:{port + index}" for index, name in enumerate(SERVICES)}
        text = PROJECT.format(sid=SID, repository=REPOSITORY, **self.urls)
        (self.folder / "headwater.yaml").write_text(text)
        for name, path in {"gmail": "gmail/v1", "google_calendar": "calendar/v3", "google_drive": "drive/v3"}.items():
            own = OWN.format(name=name, url=f"{self.urls['google']}/{path}")
            (self.folder / "providers" / f"{name}.yaml").write_text(own)

    def headwater(self, *arguments):
        command = [os.environ["HEADWATER"], "--project", str(self.folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **SECRETS}, timeout=300)
        if done.returncode != 0:
            raise Failed(f"headwater {' '.join(arguments)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def call(self, action, **given):
        return json.loads(self.headwater("call", action, "--input", json.dumps(given), "--json"))["records"][0]

    def run(self):
        report = json.loads(self.headwater("run", "--json").splitlines()[-1])["report"]
        return {sync["sync"]: sync for sync in report["syncs"]}

    def rows(self, query):
        return [tuple(json.loads(line).values()) for line in self.headwater("query", query, "--json").splitlines()]

    def ask(self, service, path, scheme="Bearer ", body=None):
        """What the server itself says, as any HTTP client sees it."""
        token = SECRETS[service.upper()]
        if service == "twilio":
            scheme, token = "Basic ", base64.b64encode(f"{SID}:{token}".encode()).decode()
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": scheme + token, "Content-Type": "application/json"}
        request = urllib.request.Request(self.urls[service] + path, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def same(what, found, expected):
    if sorted(found) != sorted(expected):
        raise Failed(f"{what}: the tables hold\n  {sorted(found)}\nand the server says\n  {sorted(expected)}")
    print(f"catalogue: {what}: {len(expected)} as the server says")


def there(what, condition):
    if not condition:
        raise Failed(f"{what} is not there")
    print(f"catalogue: {what} is there")


def act(project):
    """Each action does at the server what it says."""
    hello = {"owner": "octocat", "repo": "hello-world"}
    for number in range(3):
        project.call("github/create_issue", title=f"Issue {number}", **hello)
    project.call("github/create_issue_comment", issue_number=1, body="Seen", **hello)
    comments = project.ask("github", "/repos/octocat/hello-world/issues/1/comments")
    there("the comment on GitHub", [one["body"] for one in comments] == ["Seen"])
    for number in range(3):
        project.call("stripe/create_customer", request_id=f"r{number}", email=f"c{number}@example.com", name=f"Customer {number}")
    for number in range(3):
        project.call("twilio/send_message", to="+15557654321", **{"from": "+15551234567"}, body=f"SMS {number}")
    said = project.call("slack/post_message", channel="C000000001", text="hello")
    history = project.ask("slack", "/api/conversations.history", body={"channel": "C000000001"})["messages"]
    there("the message in Slack", (said["ts"], "hello") in [(one["ts"], one["text"]) for one in history])
    sent = project.call("gmail/send_message", to="a@example.com", subject="Hi", text="x")
    there("the mail", project.ask("google", f"/gmail/v1/users/me/messages/{sent['id']}")["id"] == sent["id"])
    event = project.call("google_calendar/create_event", calendar_id="primary", summary="Lunch",
                         start="2026-05-01T09:00:00Z", end="2026-05-01T10:00:00Z")
    kept = project.ask("google", "/calendar/v3/calendars/primary/events")["items"]
    there("the event in the calendar", (event["id"], "Lunch") in [(one["id"], one["summary"]) for one in kept])
    made = project.call("google_drive/create_folder", name="Reports")
    there("the folder in Drive", project.ask("google", f"/drive/v3/files/{made['id']}")["name"] == "Reports")


def compare(project):
    """The tables hold what the servers say."""
    rows = project.rows
    issues = project.ask("github", "/repos/octocat/hello-world/issues?state=all")
    same("github.issues", rows("select id, title, state from github.issues_live"),
         [(one["id"], one["title"], one["state"]) for one in issues])
    customers = project.ask("stripe", "/v1/customers?limit=100")["data"]
    same("stripe.customers", rows("select id, email from stripe.customers_live"), [(one["id"], one["email"]) for one in customers])
    messages = project.ask("twilio", f"/2010-04-01/Accounts/{SID}/Messages.json?PageSize=100")["messages"]
    same("twilio.messages", rows("select sid, body from twilio.messages_live"), [(one["sid"], one["body"]) for one in messages])
    labels = project.ask("google", "/gmail/v1/users/me/labels")["labels"]
    same("gmail.labels", rows("select id, name from gmail.labels_live"), [(one["id"], one["name"]) for one in labels])
    calendars = project.ask("google", "/calendar/v3/users/me/calendarList")["items"]
    same("google_calendar.calendars", rows("select id, summary from google_calendar.calendars_live"),
         [(one["id"], one["summary"]) for one in calendars])
    asked = project.ask("linear", "/graphql", scheme="", body={"query": "{ teams { nodes { id key } } }"})
    same("linear.teams", rows("select id, key from linear.teams_live"), [(one["id"], one["key"]) for one in asked["data"]["teams"]["nodes"]])


def main(folder, port):
    project = Project(folder, int(port))
    act(project)
    first = project.run()
    wrong = {name: report for name, report in first.items() if report["state"] != "completed"}
    if wrong or len(first) != 11:
        raise Failed(f"the first run: {json.dumps(wrong or list(first), indent=1)}")
    compare(project)
    # one issue gets another title, by an action that leaves the table to the next run; one customer is gone
    project.call("github/update_issue", owner="octocat", repo="hello-world", issue_number=2, title="Issue 1, changed")
    victim = project.rows("select id from stripe.customers_live order by id limit 1")[0][0]
    request = urllib.request.Request(f"{project.urls['stripe']}/v1/customers/{victim}", method="DELETE",
                                     headers={"Authorization": "Bearer " + SECRETS["STRIPE"]})
    urllib.request.urlopen(request, timeout=30).close()
    second = project.run()
    compare(project)
    changed = {name: [report[count] for count in ("added", "updated", "deleted")] for name, report in second.items()}
    expected = {name: [0, 0, 0] for name in changed} | {"github/issues": [0, 1, 0], "stripe/customers": [0, 0, 1]}
    if changed != expected:
        raise Failed(f"the second run added, updated and deleted {changed}, and should have {expected}")
    print("catalogue: a second run finds the one change and the one deletion, and nothing else")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Failed as failed:
        sys.exit(f"catalogue: {failed}")
