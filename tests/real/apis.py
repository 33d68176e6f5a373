"""The servers as any HTTP client sees them: what stands where in their answers, how they are filled, changed and read.

The tables of columns are the second opinion: they say, independently of the shipped models, where the value of each
column stands in the API's answer.
"""

import datetime
import decimal
import json
import pathlib
import urllib.error
import urllib.parse
import urllib.request

SHIPPED = pathlib.Path(__file__).resolve().parent.parent.parent / "integrations"
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
ODD_TEXT = "Zoë \"Q\" O'Neil\\ 東京 🚀\n\tsecond line"


class Failed(Exception):
    """Something is not as it must be."""


# ---- values ---------------------------------------------------------------------------------------------------------


def moment(value):
    """Microseconds since 1970 of an RFC 3339 text or of epoch seconds."""
    if value is None:
        return None
    if isinstance(value, int):
        return value * 1_000_000
    text = value.replace("Z", "+00:00")
    if "." in text:  # before Python 3.11, fromisoformat takes exactly six digits
        whole, rest = text.split(".", 1)
        digits = rest[: len(rest) - 6]
        text = f"{whole}.{digits[:6]:0<6}{rest[-6:]}"
    return (datetime.datetime.fromisoformat(text) - EPOCH) // datetime.timedelta(microseconds=1)


def number(value):
    return None if value is None else decimal.Decimal(str(value))


def same(value):
    return value


# How to read a value so that the API's spelling and DuckDB's compare equal.
READ = {"text": same, "integer": same, "boolean": same, "json": same, "list": same,
        "double": lambda value: None if value is None else float(value), "decimal": number, "time": moment}


def at(record, path):
    """The value at a dotted path; `a[].b` gives the `b` of all `a`, and nothing where there is no `a`."""
    if callable(path):
        return path(record)
    if "[]." in path:
        first, rest = path.split("[].", 1)
        values = [at(item, rest) for item in at(record, first) or []]
        return [value for value in values if value is not None] or None
    for name in path.split("."):
        if record is None:
            return None
        if isinstance(record, list):
            record = record[int(name)] if int(name) < len(record) else None
        else:
            record = record.get(name)
    return record


def columns(kind, names="", **renamed):
    """Columns of one kind: names that stand in the record as they are, and `column="path"`."""
    return {name: (kind, path) for name, path in {**{name: name for name in names.split()}, **renamed}.items()}


# ---- what each table should hold ------------------------------------------------------------------------------------

META = columns("json", "metadata")
OBJECT = {**META, **columns("boolean", "livemode"), **columns("time", "created")}

STRIPE = {
    "customers": {
        **columns("text", "id email name description phone currency default_source invoice_prefix tax_exempt",
                  default_payment_method="invoice_settings.default_payment_method", country="address.country"),
        **columns("integer", "balance"), **columns("boolean", "delinquent"), **columns("list", "preferred_locales"),
        **columns("json", "address shipping"), **OBJECT},
    "products": {
        **columns("text", "id name description type default_price statement_descriptor tax_code unit_label url"),
        **columns("boolean", "active shippable"), **columns("list", "images"), **columns("time", "updated"), **OBJECT},
    "prices": {
        **columns("text", "id product nickname lookup_key type currency billing_scheme tax_behavior tiers_mode",
                  recurring_interval="recurring.interval", recurring_usage_type="recurring.usage_type"),
        **columns("integer", "unit_amount", recurring_interval_count="recurring.interval_count"),
        **columns("decimal", "unit_amount_decimal"), **columns("boolean", "active"), **OBJECT},
    "plans": {
        **columns("text", "id product nickname currency billing_scheme interval usage_type tiers_mode"),
        **columns("integer", "amount interval_count trial_period_days"),
        **columns("decimal", "amount_decimal"), **columns("boolean", "active"), **OBJECT},
    "charges": {
        **columns("text", "id customer payment_intent payment_method balance_transaction status currency description "
                  "failure_code failure_message receipt_email statement_descriptor", outcome_type="outcome.type",
                  outcome_reason="outcome.reason", card_brand="payment_method_details.card.brand",
                  card_last4="payment_method_details.card.last4", card_country="payment_method_details.card.country"),
        **columns("integer", "amount amount_captured amount_refunded"),
        **columns("boolean", "paid captured refunded disputed"), **columns("json", "billing_details"), **OBJECT},
    "refunds": {
        **columns("text", "id charge payment_intent balance_transaction status currency reason failure_reason "
                  "receipt_number"),
        **columns("integer", "amount"), **META, **columns("time", "created")},
    "subscriptions": {
        **columns("text", "id customer status currency description collection_method default_payment_method "
                  "latest_invoice"),
        **columns("list", price_ids="items.data[].price.id"), **columns("json", items="items.data"),
        **columns("time", "start_date billing_cycle_anchor trial_start trial_end cancel_at canceled_at ended_at",
                  current_period_start="items.data.0.current_period_start",
                  current_period_end="items.data.0.current_period_end"),
        **columns("boolean", "cancel_at_period_end"), **OBJECT},
    "invoices": {
        **columns("text", "id number customer customer_email status billing_reason collection_method currency "
                  "description", subscription="parent.subscription_details.subscription"),
        **columns("integer", "subtotal total amount_due amount_paid amount_remaining starting_balance ending_balance "
                  "attempt_count"),
        **columns("time", "next_payment_attempt period_start period_end due_date",
                  finalized_at="status_transitions.finalized_at", paid_at="status_transitions.paid_at",
                  voided_at="status_transitions.voided_at"),
        **columns("boolean", "attempted"), **OBJECT},
    "coupons": {
        **columns("text", "id name currency duration"), **columns("double", "percent_off"),
        **columns("integer", "amount_off duration_in_months max_redemptions times_redeemed"),
        **columns("boolean", "valid"), **columns("time", "redeem_by"), **OBJECT},
    "balance_transactions": {
        **columns("text", "id type reporting_category source status currency description"),
        **columns("integer", "amount fee net"), **columns("double", "exchange_rate"), **columns("json", "fee_details"),
        **columns("time", "available_on created")},
}

# `_repository` is not GitHub's: the reader below adds it.
NUMBERED = {**columns("integer", "id number"), **columns("text", "title html_url", repository="_repository")}
DATED = columns("time", "created_at updated_at closed_at")
BY_USER = {**columns("integer", user_id="user.id"), **columns("text", "author_association", user_login="user.login")}

GITHUB = {
    "issues": {
        **NUMBERED, **DATED, **BY_USER,
        **columns("text", "body state state_reason active_lock_reason", milestone_title="milestone.title",
                  closed_by_login="closed_by.login"),
        **columns("integer", "comments", reactions="reactions.total_count", milestone_number="milestone.number"),
        **columns("boolean", "locked"), **columns("list", labels="labels[].name", assignees="assignees[].login")},
    "issue_comments": {
        **columns("integer", "id", reactions="reactions.total_count",
                  issue_number=lambda record: int(record["issue_url"].rsplit("/", 1)[1])),
        **columns("text", "body html_url", repository="_repository"), **columns("time", "created_at updated_at"),
        **BY_USER},
    "pull_requests": {
        **NUMBERED, **DATED, **BY_USER,
        **columns("text", "body state merge_commit_sha", head_ref="head.ref", head_sha="head.sha", base_ref="base.ref",
                  base_sha="base.sha"),
        **columns("integer", milestone_number="milestone.number"), **columns("boolean", "draft locked"),
        **columns("time", "merged_at"),
        **columns("list", labels="labels[].name", assignees="assignees[].login",
                  requested_reviewers="requested_reviewers[].login")},
    "labels": {
        **columns("integer", "id"), **columns("text", "name description color", repository="_repository"),
        **columns("boolean", is_default="default")},
    "milestones": {
        **NUMBERED, **DATED, **columns("text", "description state", creator_login="creator.login"),
        **columns("integer", "open_issues closed_issues"), **columns("time", "due_on")},
    "releases": {
        **columns("integer", "id"), **columns("boolean", "draft prerelease"), **columns("list", assets="assets[].name"),
        **columns("text", "tag_name target_commitish name body html_url", repository="_repository",
                  author_login="author.login"),
        **columns("time", "created_at published_at")},
}


# ---- an API, read and changed without headwater ---------------------------------------------------------------------


class Api:
    """A server as any HTTP client sees it."""

    def __init__(self, base, token, form):
        self.base, self.token, self.form = base, token, form

    def ask(self, method, path, data=None):
        """Gives the status and the body."""
        headers = {"Authorization": f"Bearer {self.token}"}
        body = None
        if data is not None and self.form:
            body = urllib.parse.urlencode(data).encode()
        elif data is not None:
            body, headers["Content-Type"] = json.dumps(data).encode(), "application/json"
        request = urllib.request.Request(self.base + path, method=method, data=body, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        return status, text

    def call(self, method, path, data=None):
        """Gives the answer of a call that must succeed."""
        status, text = self.ask(method, path, data)
        if status >= 300:
            raise Failed(f"{method} {path} answered {status}: {text[:300]!r}")
        return json.loads(text) if text.strip() else None

    def get(self, path):
        return self.call("GET", path)

    def post(self, path, **data):
        # the members of a form can have names that Python's arguments cannot: `items__0__plan` is `items[0][plan]`
        names = {name: name.split("__") for name in data}
        flat = {first + "".join(f"[{part}]" for part in rest): data[name] for name, (first, *rest) in names.items()}
        return self.call("POST", path, flat)

    def remove(self, path):
        """Deletes something. The API must say then that it is not there."""
        self.call("DELETE", path)
        status, _ = self.ask("GET", path)
        if status != 404:
            raise Failed(f"{path} was deleted, and the server answers {status}")


def edited(name, old, new):
    """A shipped file with one place changed."""
    text = (SHIPPED / name).read_text()
    if text.count(old) != 1:
        raise Failed(f"{name} has `{old.strip()}` {text.count(old)} times")
    return text.replace(old, new)


class Stripe:
    """One connection to a server that speaks as Stripe does."""

    schema, columns, volatile = "stripe", STRIPE, {}
    token = "sk_test_51Real7c0ffee"

    def __init__(self, connection, port, tables):
        self.connection, self.tables = connection, tables
        self.base = f"http://127.0.0.1:{port}"
        self.api = Api(self.base, self.token, form=True)

    def records(self, table):
        """All records of a table by identity, read in pages of another size than headwater's."""
        query = {"limit": 37, **({"status": "all"} if table == "subscriptions" else {})}
        found = {}
        while True:
            page = self.api.get(f"/v1/{table}?{urllib.parse.urlencode(query)}")
            for record in page["data"]:
                if record["id"] in found:
                    raise Failed(f"the reader met {record['id']} twice")
                found[record["id"]] = record
            if not page["has_more"]:
                break
            query["starting_after"] = page["data"][-1]["id"]
        if page.get("total_count", len(found)) != len(found):
            raise Failed(f"{table}: the server counts {page['total_count']} and listed {len(found)}")
        return {(self.connection, "", key): record for key, record in found.items()}

    def yaml(self):
        syncs = "\n".join(f"      {table}: {{}}" for table in self.tables)
        return (f"  {self.connection}:\n    provider: stripe\n    base_url: {self.base}\n"
                f"    credentials: {{ secret_key: \"${{REAL_STRIPE_KEY}}\" }}\n    syncs:\n{syncs}\n")


class LocalStripe(Stripe):
    """https://pypi.org/project/localstripe: oldest first, deletes for good."""

    def __init__(self, port):
        super().__init__("localstripe", port, [table for table in STRIPE if table != "prices"])

    def customer(self, number, **more):
        data = {"name": f"Customer {number:05d}", "email": f"c{number:05d}@example.test", "metadata__n": number, **more}
        return self.api.post("/v1/customers", **data)["id"]

    def charge(self, customer, amount):
        token = self.api.post("/v1/tokens", card__number="4242424242424242", card__exp_month=12, card__exp_year=2035,
                              card__cvc="123")
        self.api.post(f"/v1/customers/{customer}/sources", source=token["id"])
        data = {"amount": amount, "currency": "eur", "customer": customer, "metadata__order": amount}
        return self.api.post("/v1/charges", **data)["id"]

    def seed(self):
        post = self.api.post
        for number in range(12):
            post("/v1/products", id=f"prod_{number}", name=f"Product {number}", type="service", metadata__tier=number)
            post("/v1/plans", id=f"plan_{number}", amount=900 + number, currency="eur", interval="month",
                 product=f"prod_{number}", nickname=f"Plan {number}")
        post("/v1/products", id="prod_spare", name="Nobody sells it", type="service")
        for number in range(130):
            post("/v1/coupons", id=f"coupon_{number:03d}", percent_off=5 + number / 4, duration="once")
        post("/v1/coupons", id="coupon_amount", amount_off=500, currency="eur", duration="repeating",
             duration_in_months=3)
        self.customers = [self.customer(number, **({"description": ODD_TEXT} if number % 50 == 0 else {}))
                          for number in range(430)]
        self.charges = [self.charge(customer, 1000 + number) for number, customer in enumerate(self.customers[:110])]
        for charge in self.charges[:20]:
            post("/v1/refunds", charge=charge, amount=300)
        self.subscriptions = [post("/v1/subscriptions", customer=customer, items__0__plan=f"plan_{number % 10}")["id"]
                              for number, customer in enumerate(self.customers[:45])]

    def change(self):
        post = self.api.post
        for number, customer in enumerate(self.customers[::5]):
            post(f"/v1/customers/{customer}", name=f"{ODD_TEXT} {number}", metadata__round=2)
        for customer in self.customers[9::10]:
            self.api.remove(f"/v1/customers/{customer}")
        new = [self.customer(number) for number in range(1000, 1012)]
        self.charge(new[0], 99_999_999)
        for charge in self.charges[15:40]:
            post("/v1/refunds", charge=charge, amount=250)
        post("/v1/subscriptions", customer=self.customers[100], items__0__plan="plan_0", items__0__quantity=3)
        for subscription in self.subscriptions[3:9]:
            self.api.call("DELETE", f"/v1/subscriptions/{subscription}")  # canceled, and still there
        post("/v1/products/prod_1", name="Product 1, second edition", metadata__tier="gold")
        self.api.remove("/v1/products/prod_spare")
        post("/v1/plans/plan_2", nickname="Plan 2, renamed")
        self.api.remove("/v1/plans/plan_11")
        for number in range(0, 130, 13):
            self.api.remove(f"/v1/coupons/coupon_{number:03d}")
        post("/v1/coupons", id="coupon_new", percent_off=33.3, duration="forever")

    def bring_back(self):
        """A deleted record comes back under the same key."""
        self.api.post("/v1/coupons", id="coupon_013", percent_off=13, duration="forever")


class EmulateStripe(Stripe):
    """https://www.npmjs.com/package/emulate: newest first, as the real one."""

    def __init__(self, port):
        super().__init__("emulate", port, ["customers", "products", "prices", "charges"])

    def charge(self, number):
        data = {"amount": 2000 + number, "currency": "usd", "customer": self.customers[number]}
        intent = self.api.post("/v1/payment_intents", **data)
        self.api.post(f"/v1/payment_intents/{intent['id']}/confirm", payment_method="pm_card_visa")

    def seed(self):
        post = self.api.post
        self.customers = [post("/v1/customers", name=f"Kunde {number}", metadata__n=number)["id"]
                          for number in range(230)]
        self.products = [post("/v1/products", name=f"Ware {number}", description=ODD_TEXT)["id"] for number in range(5)]
        for number in range(120):
            recurring = {"recurring__interval": "month"} if number % 2 else {}
            post("/v1/prices", product=self.products[number % 5], currency="usd", unit_amount=100 * number, **recurring)
        for number in range(15):
            self.charge(number)

    def change(self):
        for number, customer in enumerate(self.customers[::7]):
            self.api.post(f"/v1/customers/{customer}", name=f"Kunde {number} heißt jetzt anders")
        for customer in self.customers[3::11]:
            self.api.remove(f"/v1/customers/{customer}")
        self.api.post("/v1/customers", name="Neu", email="neu@example.test")
        self.api.post("/v1/prices", product=self.products[0], currency="usd", unit_amount=1)
        self.charge(20)

    def bring_back(self):
        pass


class GitHub:
    """https://www.npmjs.com/package/emulate: two repositories, as variants of the same syncs."""

    schema, columns, connection = "github", GITHUB, "emulate"
    tables = list(GITHUB)
    volatile = {"milestones": {"updated_at"}}
    token = "ghp_headwater_7a3b"
    repositories = {"hello": "octocat/hello-world", "spoon": "octocat/spoon-knife"}
    # the issue whose comments are read: emulate answers 404 to the list of all comments of a repository
    discussed = 1

    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"
        self.api = Api(self.base, "ghp_writer_4f1d", form=False)
        self.reader = Api(self.base, "ghp_reader_9c2e", form=False)

    def variants(self, table):
        return self.repositories if table in ("issues", "labels") else {"": self.repositories["hello"]}

    def records(self, table):
        """All records of a table by identity, read by page number and not by the Link header."""
        paths = {"issue_comments": f"issues/{self.discussed}/comments", "pull_requests": "pulls"}
        found = {}
        for variant, repository in self.variants(table).items():
            number = 1
            while True:
                query = urllib.parse.urlencode({"state": "all", "per_page": 31, "page": number})
                page = self.reader.get(f"/repos/{repository}/{paths.get(table, table)}?{query}")
                for record in page:
                    if table == "issues" and "pull_request" in record:
                        continue
                    found[(self.connection, variant, record["id"])] = {**record, "_repository": repository}
                if not page:
                    break
                number += 1
        return found

    def yaml(self):
        lines = [f"  {self.connection}:", "    provider: github", "    auth: token", f"    base_url: {self.base}",
                 "    credentials: { token: \"${REAL_GITHUB_TOKEN}\" }", "    syncs:"]
        for table in self.tables:
            inputs = {}
            for variant, repository in self.variants(table).items():
                owner, repo = repository.split("/")
                inputs[variant] = f"input: {{ owner: {owner}, repo: {repo} }}"
            if list(inputs) == [""]:
                lines.append(f"      {table}: {{ {inputs['']} }}")
            else:
                lines.append(f"      {table}:\n        variants:")
                lines += [f"          {variant}: {{ {words} }}" for variant, words in inputs.items()]
        return "\n".join(lines) + "\n"

    def local_files(self):
        """Files of the project that take the place of shipped ones, which they differ from in one line each.

        emulate has the route of one issue in the way of the one for all comments of a repository. And it writes a new
        `updated_at` into every milestone that it is asked for, which the real one does not.
        """
        comments, milestone = "github/syncs/issue_comments.yaml", "github/models/Milestone.yaml"
        return {
            f"integrations/{comments}": edited(comments, "/issues/comments\"", f"/issues/{self.discussed}/comments\""),
            f"integrations/{milestone}": edited(milestone, "key: [id]\n", "key: [id]\nvolatile: [updated_at]\n"),
        }

    def repo(self, variant="hello"):
        return f"/repos/{self.repositories[variant]}"

    def create(self, path, **data):
        return self.api.call("POST", path, data)

    def patch(self, path, **data):
        return self.api.call("PATCH", path, data)

    def pull_request(self, number):
        repo = self.repo()
        head = self.api.get(f"{repo}/git/ref/heads/main")["object"]["sha"]
        self.create(f"{repo}/git/refs", ref=f"refs/heads/topic-{number}", sha=head)
        self.api.call("PUT", f"{repo}/contents/file-{number}.txt",
                      {"message": f"Add file {number}", "content": "aGVsbG8=", "branch": f"topic-{number}"})
        return self.create(f"{repo}/pulls", title=f"Pull request {number}", body=ODD_TEXT, head=f"topic-{number}",
                           base="main", draft=number % 3 == 0)["number"]

    def seed(self):
        repo = self.repo()
        for number in range(125):
            self.create(f"{repo}/labels", name=f"label-{number:03d}", color=f"{number:06x}", description=ODD_TEXT)
        for number in range(7):
            self.create(f"{repo}/milestones", title=f"Milestone {number}", description=ODD_TEXT,
                        due_on=f"2030-01-{number + 1:02d}T00:00:00Z")
        self.issues = [self.create(f"{repo}/issues", title=f"Issue {number:04d}", body=f"{ODD_TEXT} {number}",
                                   labels=[f"label-{number % 5:03d}", "label-007"][: number % 3],
                                   assignees=["hubot"] if number % 4 == 0 else [],
                                   **({"milestone": number % 7 + 1} if number % 9 == 0 else {}))["number"]
                       for number in range(1600)]
        self.comments = [self.create(f"{repo}/issues/{self.discussed}/comments", body=f"Comment {number}")["id"]
                         for number in range(900)]
        self.releases = [self.create(f"{repo}/releases", tag_name=f"v{number}", name=f"Release {number}", body=ODD_TEXT,
                                     draft=number % 10 == 0, prerelease=number % 4 == 0)["id"] for number in range(105)]
        self.pulls = [self.pull_request(number) for number in range(8)]
        for number in range(40):
            self.create(f"{self.repo('spoon')}/issues", title=f"Spoon {number}")
        self.create(f"{self.repo('spoon')}/labels", name="only here", color="ffffff")

    def change(self):
        repo = self.repo()
        for number, issue in enumerate(self.issues[::6]):
            self.patch(f"{repo}/issues/{issue}", title=f"Issue {issue}, again", body=None)
            if number % 2:
                self.patch(f"{repo}/issues/{issue}", state="closed", state_reason="not_planned", assignees=[])
        for number in range(5):
            self.create(f"{repo}/issues", title=f"Late issue {number}")
        self.patch(f"{self.repo('spoon')}/issues/3", body="changed in the other repository")
        for comment in self.comments[::20]:
            self.patch(f"{repo}/issues/comments/{comment}", body=f"{ODD_TEXT} {comment}")
        for comment in self.comments[5::25]:
            self.api.remove(f"{repo}/issues/comments/{comment}")
        self.create(f"{repo}/issues/{self.discussed}/comments", body="the last word")
        # labels that no issue has: GitHub does not count a renamed or deleted label as a change of the issues with it
        for number in range(50, 60):
            self.patch(f"{repo}/labels/label-{number:03d}", new_name=f"renamed-{number}", color="0000ff")
        for number in range(100, 120):
            self.api.remove(f"{repo}/labels/label-{number:03d}")
        self.create(f"{repo}/labels", name="new", color="123456")
        self.patch(f"{repo}/milestones/7", state="closed", description=None)
        for release in self.releases[::9]:
            self.api.remove(f"{repo}/releases/{release}")
        self.patch(f"{repo}/releases/{self.releases[1]}", name="Release 1, repaired", prerelease=True)
        self.api.call("PUT", f"{repo}/pulls/{self.pulls[1]}/merge", {})
        self.patch(f"{repo}/pulls/{self.pulls[2]}", state="closed", title="Not today")
        self.pull_request(99)

    def bring_back(self):
        pass
