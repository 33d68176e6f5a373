"""An API that checks every request with the libraries that others use for it: oauthlib for OAuth 1.0a, botocore for AWS
Signature Version 4, PyJWT for tokens that the client signs. It knows the rows of auth.py, and gives them to whoever proves who
they are.

    verifier.py keys FOLDER           makes the private keys of the client, and public ones to check them
    verifier.py serve PORT FOLDER     each request is a line of JSON on standard output
"""

import datetime
import hashlib
import hmac
import http.server
import json
import pathlib
import secrets
import sys
import threading
import time
import urllib.parse

import jwt
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from oauthlib.oauth1 import RequestValidator, ResourceEndpoint

SECRETS = "secrets.json"
PAGES, ROWS = 12, 10
BEARER_LASTS = 2
SESSION_REQUESTS = 7


class Refused(Exception):
    """Why somebody does not get in."""


# ---- keys -----------------------------------------------------------------------------------------------------------


def make_keys(folder):
    """In both forms of PEM that there are for each; GitHub gives its apps the older one (PKCS#1)."""
    folder.mkdir(parents=True)
    pkcs8, older = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
    made = {"rsa": lambda: rsa.generate_private_key(65537, 2048), "ec": lambda: ec.generate_private_key(ec.SECP256R1())}
    for name, make in made.items():
        other = make().private_bytes(serialization.Encoding.PEM, pkcs8, serialization.NoEncryption())
        (folder / f"{name}-other.pem").write_bytes(other)
        key = make()
        for suffix, form in (("", pkcs8), ("-older", older)):
            pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
            (folder / f"{name}{suffix}.pem").write_bytes(pem)
        public = key.public_key()
        pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        (folder / f"{name}.pub").write_bytes(pem)
    seed_github(folder)
    # oauthlib takes keys of 20 to 30 letters and digits; secrets have what signatures must encode
    word = lambda: secrets.token_hex(12)
    odd = lambda: f"{secrets.token_hex(8)} &%+/=~é{secrets.token_hex(8)}"
    text = {"consumer_key": word(), "consumer_secret": odd(), "token": word(), "token_secret": odd(),
            "access_key_id": "AKIA" + word().upper()[:16], "secret_access_key": secrets.token_urlsafe(30) + "/+",
            "session_token": secrets.token_urlsafe(90) + "==", "shared_secret": odd() + odd(),
            "username": "zoë", "password": odd()}
    (folder / SECRETS).write_text(json.dumps(text))


def seed_github(folder):
    """What emulate's GitHub knows when it starts: an app that is installed on one repository."""
    app = {"app_id": 4711, "slug": "headwater-test", "name": "Headwater test", "private_key": (folder / "rsa-older.pem").read_text(),
           "permissions": {"issues": "read", "metadata": "read"},
           "installations": [{"installation_id": 815, "account": "octocat", "repository_selection": "selected",
                              "repositories": ["octocat/hello-world"]}]}
    seed = {"tokens": {"ghp_writer_4f1d": {"login": "octocat", "scopes": ["repo", "user"]}},
            "github": {"users": [{"login": "octocat"}], "repos": [{"owner": "octocat", "name": "hello-world", "auto_init": True}],
                       "apps": [app]}}
    # JSON is YAML, and emulate reads that
    (folder / "github-app.yaml").write_text(json.dumps(seed))


# ---- what is checked ------------------------------------------------------------------------------------------------


class OAuth1(RequestValidator):
    """oauthlib's own idea of what keys, nonces and timestamps look like is left as it is."""

    enforce_ssl = False
    dummy_client = dummy_access_token = "nobody"
    allowed_signature_methods = ("HMAC-SHA1", "HMAC-SHA256", "PLAINTEXT")

    def __init__(self, known):
        super().__init__()
        self.known, self.seen = known, set()

    def validate_client_key(self, client_key, request):
        return client_key == self.known["consumer_key"]

    def validate_access_token(self, client_key, token, request):
        return token == self.known["token"]

    def get_client_secret(self, client_key, request):
        return self.known["consumer_secret"]

    def get_access_token_secret(self, client_key, token, request):
        return self.known["token_secret"]

    def validate_timestamp_and_nonce(self, client_key, timestamp, nonce, request, request_token=None, access_token=None):
        once = (timestamp, nonce)
        return once not in self.seen and not self.seen.add(once)

    def validate_realms(self, client_key, token, request, uri=None, realms=None):
        return request.realm == realms[0]


class Api:
    """What the server knows, and its ways in."""

    def __init__(self, folder):
        self.known = json.loads((folder / SECRETS).read_text())
        self.keys = {"RS256": (folder / "rsa.pub").read_text(), "ES256": (folder / "ec.pub").read_text(),
                     "HS256": self.known["shared_secret"]}
        self.validator = OAuth1(self.known)
        self.oauth1_endpoint = ResourceEndpoint(self.validator)
        self.assertions, self.tokens, self.tickets, self.sessions = set(), {}, set(), {}
        self.lock = threading.Lock()

    def oauth1(self, request, method):
        ok, parsed = self.oauth1_endpoint.validate_protected_resource_request(
            request.url, request.method, request.body.decode(), request.headers, ["my shop"])
        if parsed is not None and parsed.signature_method != method:
            raise Refused(f"signed with {parsed.signature_method}")
        if not ok:
            wrong = [name for name, fits in (parsed.validator_log if parsed else {}).items() if fits is False]
            raise Refused(f"oauthlib refuses it: {', '.join(wrong) or 'its parameters'}")

    def sigv4(self, request, service):
        scheme, _, rest = request.headers.get("authorization", "").partition(" ")
        if scheme != "AWS4-HMAC-SHA256":
            raise Refused("no AWS4-HMAC-SHA256")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        at, signed = request.headers.get("x-amz-date", ""), parts["SignedHeaders"].split(";")
        sent = datetime.datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc)
        if abs((datetime.datetime.now(datetime.timezone.utc) - sent).total_seconds()) > 300:
            raise Refused("RequestTimeTooSkewed")
        must = {"host", "x-amz-date"} | {name for name in request.headers if name.startswith("x-amz-")}
        if must - set(signed):
            raise Refused(f"not signed: {sorted(must - set(signed))}")
        session = request.headers.get("x-amz-security-token")
        if session is not None and session != self.known["session_token"]:
            raise Refused("InvalidToken")
        body_hash = request.headers.get("x-amz-content-sha256")
        if service == "s3" and body_hash != hashlib.sha256(request.body).hexdigest():
            raise Refused("XAmzContentSHA256Mismatch")
        region = "eu-central-1"
        if parts["Credential"] != f"{self.known['access_key_id']}/{at[:8]}/{region}/{service}/aws4_request":
            raise Refused("InvalidClientTokenId")
        keys = Credentials(self.known["access_key_id"], self.known["secret_access_key"], session)
        again = AWSRequest(request.method, request.url, {name: request.headers[name] for name in signed}, request.body)
        again.context["timestamp"] = at
        auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, region)
        text = auth.string_to_sign(again, auth.canonical_request(again))
        if not hmac.compare_digest(auth.signature(text, again), parts["Signature"]):
            raise Refused("SignatureDoesNotMatch")

    def claims(self, token, algorithm, audience):
        """PyJWT checks signature, `exp`, `iat`, `aud` and `iss`."""
        try:
            return jwt.decode(token, self.keys[algorithm], algorithms=[algorithm], audience=audience,
                              issuer="headwater-test", options={"require": ["exp", "iat", "aud", "iss", "sub"]})
        except jwt.InvalidTokenError as error:
            raise Refused(f"{type(error).__name__}: {error}") from error

    def jwt(self, request, algorithm):
        token = bearer(request)
        header = jwt.get_unverified_header(token) if token.count(".") == 2 else {}
        if header.get("kid") != "k-1":
            raise Refused("no `kid`")
        claims = self.claims(token, algorithm, "urn:rows")
        if claims["exp"] - claims["iat"] > 60 or claims["sub"] != "zoë":
            raise Refused("it lasts too long, or is of somebody else")
        return shown(token)

    def exchange(self, request, algorithm):
        """RFC 7523, 2.1 and 3: the audience is this endpoint, and no assertion is taken twice."""
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return 400, {"error": "unsupported_grant_type"}
        try:
            claims = self.claims(form.get("assertion", ""), algorithm, request.url)
            with self.lock:
                if not claims.get("jti") or claims["jti"] in self.assertions:
                    raise Refused("the assertion was there before")
                self.assertions.add(claims["jti"])
        except Refused as refused:
            return 400, {"error": "invalid_grant", "error_description": str(refused)}
        token = secrets.token_urlsafe(24)
        self.tokens[token] = (algorithm, time.time() + BEARER_LASTS)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": BEARER_LASTS}

    def bearer(self, request, algorithm):
        kind, ends = self.tokens.get(bearer(request), (None, 0))
        if kind != algorithm or time.time() >= ends:
            raise Refused("invalid_token")
        return shown(bearer(request))

    def log_in(self, request):
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if form != {"user": self.known["username"], "password": self.known["password"]}:
            return 401, {"message": "wrong user name or password"}
        ticket = secrets.token_urlsafe(12)
        self.tickets.add(ticket)
        return 200, {"ticket": ticket}

    def session(self, request):
        ticket = json.loads(request.body).get("ticket")
        if ticket not in self.tickets:
            return 401, {"message": "no such ticket"}
        self.tickets.remove(ticket)
        session = secrets.token_urlsafe(12)
        self.sessions[session] = SESSION_REQUESTS
        return 200, {"session": {"id": session}}

    def cookie(self, request, _):
        """A session that ends without a word after some requests."""
        name, _, session = request.headers.get("cookie", "").partition("=")
        with self.lock:
            left = self.sessions.get(session, 0)
            if name != "SID" or left == 0:
                raise Refused("no session")
            self.sessions[session] = left - 1
        return shown(session)


def shown(token):
    """No token gets into a log."""
    return {"token": hashlib.sha256(token.encode()).hexdigest()[:12]}


def bearer(request):
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme == "Bearer" else ""


# ---- the server -----------------------------------------------------------------------------------------------------


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def handle_method(self):
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        # names in lower case; what stands twice would be lost, so it is refused
        names = [name.lower() for name in self.headers]
        self.method, self.headers = self.command, {name.lower(): value for name, value in self.headers.items()}
        # as it came in: nothing is decoded and encoded again
        self.url = f"http://{self.headers['host']}{self.path}"
        way, kind, connection = (self.path.partition("?")[0].lstrip("/").split("/") + ["", ""])[:3]
        facts, status, answer = {}, 200, None
        try:
            if len(names) != len(set(names)):
                raise Refused("a header twice")
            if way in ("exchange", "login", "session"):
                made = {"exchange": lambda: self.api.exchange(self, kind),
                        "login": lambda: self.api.log_in(self), "session": lambda: self.api.session(self)}
                status, answer = made[way]()
            elif way in ("oauth1", "sigv4", "jwt", "bearer", "cookie"):
                facts = getattr(self.api, way)(self, kind) or {}
                answer = self.rows()
            else:
                status, answer = 404, {"message": "no such way in"}
        except Refused as refused:
            status, answer = 401, {"message": str(refused)}
        except Exception as error:  # what cannot be read is refused, and seen in the log
            status, answer = 400, {"message": f"{type(error).__name__}: {error}"}
        told = {"way": way, "kind": kind, "connection": connection, "method": self.command, "status": status, **facts}
        with self.api.lock:
            print(json.dumps(told if status == 200 else {**told, "why": answer}), flush=True)
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = handle_method

    def rows(self):
        wanted = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query, keep_blank_values=True))
        if self.headers.get("content-type", "").startswith("application/json"):
            wanted |= json.loads(self.body)
        else:
            wanted |= dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))
        page = int(wanted.pop("page"))
        time.sleep(float(wanted.pop("pause", 0)))
        # what was asked comes back: it must be what was signed, and what was meant
        first = (page - 1) * ROWS + 1
        rows = [{"id": first + at, "name": f"row {first + at}", "asked": wanted} for at in range(ROWS)]
        return {"pages": PAGES, "rows": rows}

    def log_message(self, *_):
        pass


def main(command, *arguments):
    if command == "keys":
        make_keys(pathlib.Path(arguments[0]))
    elif command == "serve":
        Request.api = Api(pathlib.Path(arguments[1]))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", int(arguments[0])), Request)
        server.daemon_threads = True
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
