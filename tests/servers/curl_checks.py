"""`curl` against the models inside the gateway: HTTP/1.1 and HTTP/2, plain and TLS, both ways to send a key."""

import contextlib
import gzip
import json
import re
import subprocess

from gateway import Gateway
from processes import program
from report import Suite, equal

# The first two recorded samples of the model.
SAFE = [0, 0, 1, 0, 0, 0.5, 0.5, 1, 0]
PHISHING = [1, 0, 1, 1, 1, 0.5, 1, 1, 0]
FEATURES = json.dumps({"features": SAFE})


class Scene:
    """A gateway and `curl`."""

    def __init__(self, curl, gateway, models):
        self.curl, self.gateway, self.models = curl, gateway, models
        self.files = gateway.folder

    def at(self, listener, path):
        start = {"plain": "http://127.0.0.1", "secure": "https://localhost"}[listener]
        return f"{start}:{self.gateway.ports[listener]}{path}"

    def trust(self):
        return ["--cacert", str(self.gateway.authority.ca)]

    def key(self):
        return ["-H", f"Authorization: Bearer {self.gateway.key}"]

    def ask(self, *words):
        """One transfer: exit code, status, version, bytes sent, body, and every line of the heads."""
        head, body = self.files / "head", self.files / "body"
        body.write_bytes(b"")
        form = "%{http_code} %{http_version} %{size_upload}"
        command = [self.curl, "-sS", "--max-time", "15", "-D", head, "-o", body, "-w", form, *words]
        done = subprocess.run(list(map(str, command)), capture_output=True, timeout=20, check=False)
        status, version, sent = done.stdout.decode().split(" ")
        return Answer(done.returncode, int(status), version, int(sent), body.read_bytes(), head.read_text())


class Answer:
    """What `curl` made of it."""

    def __init__(self, *parts):
        self.exit, self.status, self.version, self.sent, self.body, self.head = parts

    def statuses(self):
        return [int(code) for code in re.findall(r"(?m)^HTTP/[\d.]+ (\d+)", self.head)]

    def good(self, version=None):
        equal((self.exit, self.status), (0, 200), f"exit code and status ({self.body[:200]!r})")
        if version:
            equal(self.version, version, "version of HTTP")
        return json.loads(self.body)

    def refused(self, status):
        equal((self.exit, self.status), (0, status), f"exit code and status ({self.body[:200]!r})")
        return json.loads(self.body)


@contextlib.contextmanager
def scene(setting):
    curl = program("curl", "curl")
    with Gateway(setting, "embedded") as gateway:
        yield Scene(curl, gateway, setting.models)


SUITE = Suite("curl", scene)


# Every way to the gateway: the listener, the words, and the version that must come of them.
WAYS = {
    "http/1.1, plain": ("plain", ["--http1.1"], "1.1"),
    "http/2, plain, prior knowledge": ("plain", ["--http2-prior-knowledge"], "2"),
    "http/1.1, TLS": ("secure", ["--http1.1"], "1.1"),
    "http/2, TLS": ("secure", ["--http2"], "2"),
    "http/2, TLS 1.2": ("secure", ["--http2", "--tls-max", "1.2"], "2"),
    "http/1.1, TLS 1.3": ("secure", ["--http1.1", "--tlsv1.3"], "1.1"),
}


def health(listener, words, version):
    def act(s):
        equal(s.ask(*words, *s.trust(), s.at(listener, "/health")).good(version), {"status": "ok"}, "health")

    return act


def predict(listener, words, version):
    def act(s):
        for key in (s.key(), ["-H", f"X-API-Key: {s.gateway.key}"]):
            sent = [*words, *s.trust(), *key, "--json", FEATURES]
            found = s.ask(*sent, s.at(listener, "/predict/fraud")).good(version)
            equal(found["label"], "legitimate", "label")

    return act


for _way, _how in WAYS.items():
    SUITE.add(f"GET /health without a key, {_way}", health(*_how))
    SUITE.add(f"POST /predict/fraud with Bearer and with X-API-Key, {_way}", predict(*_how))


@SUITE.check("POST /predict where the route has one model; the request id comes back")
def only_model(s):
    body = json.dumps({"features": PHISHING, "request_id": "curl-1"})
    found = s.ask(*s.key(), "--json", body, s.at("plain", "/predict")).good()
    equal(found["label"], "phishing", "label")
    equal(found["request_id"], "curl-1", "request_id")
    assert abs(found["confidence"] - 0.9853652) <= 1e-5, f"confidence {found['confidence']}"


@SUITE.check("POST /predict/digits: a real digit")
def digit(s):
    sample = json.loads((s.models / "digits_cnn.case.json").read_text())["samples"][0]
    body = json.dumps({"features": sample["input"]})
    equal(s.ask(*s.key(), "--json", body, s.at("plain", "/predict/digits")).good()["label"], "8", "label")


@SUITE.check("POST /predict/sentiment: a text")
def text(s):
    body = json.dumps({"text": "What a wonderful, moving film. I loved it."})
    found = s.ask(*s.key(), "--json", body, s.at("plain", "/predict/sentiment")).good()
    equal(found["label"], "positive", "label")


@SUITE.check("Expect: 100-continue: told to go on, then answered")
def expected(s):
    sent = ["--http1.1", "-H", "Expect: 100-continue", *s.key(), "--json", FEATURES]
    answer = s.ask(*sent, s.at("plain", "/predict/fraud"))
    answer.good("1.1")
    equal(answer.statuses(), [100, 200], "statuses")


@SUITE.check("Expect: 100-continue: a body over the cap is refused before it is sent")
def expected_too_large(s):
    large = s.files / "large.json"
    large.write_bytes(FEATURES.encode() + b" " * (2 << 20))
    sent = ["--http1.1", "-H", "Expect: 100-continue", *s.key(), "--json", f"@{large}"]
    answer = s.ask(*sent, s.at("plain", "/predict/fraud"))
    equal(answer.refused(413)["code"], "too_large", "code")
    equal(answer.statuses(), [413], "statuses")
    equal(answer.sent, 0, "bytes sent")


@SUITE.check("Expect: 100-continue: a call without a key is refused before it is sent")
def expected_no_key(s):
    sent = ["--http1.1", "-H", "Expect: 100-continue", "--json", FEATURES]
    answer = s.ask(*sent, s.at("plain", "/predict/fraud"))
    answer.refused(401)
    equal((answer.statuses(), answer.sent), ([401], 0), "statuses and bytes sent")


@SUITE.check("a chunked body and a gzip body")
def encoded(s):
    url = s.at("plain", "/predict/fraud")
    s.ask("--http1.1", *s.key(), "-H", "Transfer-Encoding: chunked", "--json", FEATURES, url).good("1.1")
    packed = s.files / "packed"
    packed.write_bytes(gzip.compress(FEATURES.encode()))
    s.ask(*s.key(), "-H", "Content-Encoding: gzip", "--json", f"@{packed}", url).good()


@SUITE.check("no key, a wrong key and a broken key get the same 401")
def same_401(s):
    url, seen = s.at("plain", "/predict/fraud"), set()
    wrong = s.gateway.key[:-8] + ("A" * 8 if not s.gateway.key.endswith("A" * 8) else "B" * 8)
    for key in ([], ["-H", f"X-API-Key: {wrong}"], ["-H", "Authorization: Bearer x"], ["-u", "user:password"]):
        answer = s.ask(*key, "--json", FEATURES, url)
        told = answer.refused(401)
        del told["instance"]
        fields = re.sub(r"(?im)^(x-request-id|date|content-length):.*\n", "", answer.head)
        seen.add((json.dumps(told), fields))
        assert "www-authenticate:" in answer.head.lower(), "no WWW-Authenticate"
    equal(len(seen), 1, f"different answers {seen}")


@SUITE.check("a key in two headers is refused")
def two_keys(s):
    both = [*s.key(), "-H", f"X-API-Key: {s.gateway.key}"]
    equal(s.ask(*both, "--json", FEATURES, s.at("plain", "/predict/fraud")).refused(400)["code"], "bad_request", "code")


@SUITE.check("a hundred calls on HTTP/2 connections, many at once")
def many(s):
    url = s.at("secure", "/predict/fraud?n=[1-100]")
    form = ["--no-progress-meter", "-w", "%{http_code} %{http_version}\\n"]
    common = ["-sS", "--http2", "--max-time", "20", *s.trust(), *s.key(), "--json", FEATURES]
    command = [s.curl, "-Z", "--parallel-max", "50", *form, *common, "-o", str(s.files / "many-#1"), url]
    done = subprocess.run(command, capture_output=True, timeout=30, check=False)
    equal(done.returncode, 0, f"exit code ({done.stderr[-300:]!r})")
    equal(done.stdout.decode().split("\n")[:-1], ["200 2"] * 100, "answers")


@SUITE.check("ten calls on one HTTP/1.1 connection")
def kept(s):
    url = s.at("secure", "/predict/fraud?n=[1-10]")
    form = ["-w", "%{http_code} %{num_connects}\\n", "-o", str(s.files / "kept-#1")]
    words = [s.curl, "-sS", "--http1.1", "--max-time", "20", *form, *s.trust(), *s.key(), "--json", FEATURES, url]
    done = subprocess.run(words, capture_output=True, timeout=30, check=False)
    equal(done.stdout.decode().split("\n")[:-1], ["200 1"] + ["200 0"] * 9, "answers and new connections")


@SUITE.check("TLS: an authority that curl does not know, and TLS 1.1, do not connect")
def untrusted(s):
    equal(s.ask(s.at("secure", "/health")).exit, 60, "exit code without --cacert")
    old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", *s.trust()]
    equal(s.ask(*old, s.at("secure", "/health")).exit, 35, "exit code of TLS 1.1")


@SUITE.check("plain HTTP on the TLS socket and TLS on the plain one end without an answer")
def crossed(s):
    port = s.gateway.ports["secure"]
    assert s.ask(f"http://127.0.0.1:{port}/health").exit != 0, "plain HTTP was answered"
    port = s.gateway.ports["plain"]
    assert s.ask(*s.trust(), f"https://localhost:{port}/health").exit != 0, "TLS was answered"
    s.ask(*s.trust(), s.at("secure", "/health")).good()


@SUITE.check("the head of an answer: security fields, no server name, an id that the record has")
def head(s):
    answer = s.ask("--http1.1", *s.trust(), *s.key(), "--json", FEATURES, s.at("secure", "/predict/fraud"))
    answer.good()
    fields = dict(line.lower().split(": ", 1) for line in answer.head.splitlines() if ": " in line)
    equal(fields.get("x-content-type-options"), "nosniff", "x-content-type-options")
    assert "max-age" in fields.get("strict-transport-security", ""), "no strict-transport-security"
    equal("server" in fields, False, "a server field")
    line = s.gateway.record(fields["x-request-id"])
    equal((line["status"], line["model"], line["tenant"], line["tls"]), (200, "fraud", "acme", True), "record")
