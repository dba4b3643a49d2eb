"""nginx in front of Tollgate: who the client is, and requests that two servers could read as two."""

import contextlib
import json

from gateway import Gateway
from nginx_peer import Nginx
from processes import program, run
from report import Suite, equal, within
from wire import Host, statuses, tls

JSON = {"Content-Type": "application/json"}
FEATURES = json.dumps({"features": [0, 0, 1, 0, 0, 0.5, 0.5, 1, 0]}).encode()
SPOOFED = "203.0.113.9"


class Front:
    """A client, nginx with TLS, Tollgate."""

    def __init__(self, nginx, gateway):
        self.nginx, self.gateway = nginx, gateway
        self.context = tls(gateway.authority)
        self.host = Host(nginx.port, self.context)
        self.fields = {**JSON, **gateway.bearer}

    def good(self, host=None, **more):
        reply = (host or self.host).call("POST", "/predict/fraud", FEATURES, {**self.fields, **more})
        equal(reply.status, 200, f"status ({reply})")
        equal(reply.json()["label"], "legitimate", "label")
        return self.gateway.record(reply.id)


@contextlib.contextmanager
def scene(setting):
    with Gateway(setting, "behind_nginx", FRONT="127.0.0.1/32") as gateway:
        with Nginx(setting, "nginx_front", upstream=gateway.ports["plain"], certs=gateway.folder) as nginx:
            yield Front(nginx, gateway)


SUITE = Suite("nginx-front", scene)


@SUITE.check("a call passes, and the record has the address that nginx appended")
def passes(s):
    record = s.good(Host(s.nginx.port, s.context, source="127.0.0.2"))
    equal(record["client"], "127.0.0.2", "client")
    equal((record["status"], record["model"], record["tenant"]), (200, "fraud", "acme"), "record")


@SUITE.check("a client cannot name another address than its own")
def spoofed(s):
    record = s.good(Host(s.nginx.port, s.context, source="127.0.0.2"), **{"X-Forwarded-For": SPOOFED})
    equal(record["client"], "127.0.0.2", "client")


@SUITE.check("a chain of trusted proxies is followed to the client")
def chain(s):
    equal(s.good(**{"X-Forwarded-For": f"198.51.100.1, {SPOOFED}"})["client"], SPOOFED, "client")


@SUITE.check("without the proxy in between, the field is not believed")
def direct(s):
    host = Host(s.gateway.ports["plain"], source="127.0.0.3")
    equal(s.good(host, **{"X-Forwarded-For": SPOOFED})["client"], "127.0.0.3", "client")


@SUITE.check("fifty calls on one HTTP/1.1 connection")
def fifty(s):
    connection = s.host.connect()
    try:
        for _ in range(50):
            equal(s.host.call("POST", "/predict/fraud", FEATURES, s.fields, on=connection).status, 200, "status")
    finally:
        connection.close()


@SUITE.check("fifty calls of HTTP/2 at nginx, many at once")
def fifty_at_once(s):
    fields = [word for name, value in s.fields.items() for word in ("-H", f"{name}: {value}")]
    form = ["--no-progress-meter", "-w", "%{http_code} %{http_version}\\n", "-o", str(s.gateway.folder / "h2-#1")]
    url = f"https://localhost:{s.nginx.port}/predict/fraud?n=[1-50]"
    trust = ["-sS", "--http2", "--max-time", "20", "--cacert", str(s.gateway.authority.ca)]
    said = run([program("curl", "curl"), "-Z", *trust, *form, *fields, "-d", FEATURES.decode(), url])
    equal(said.split("\n")[:-1], ["200 2"] * 50, "answers")


@SUITE.check("a body that nginx streams with chunked framing")
def streamed(s):
    chunks = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in FEATURES) + b"0\r\n\r\n"
    raw = request(s, b"Transfer-Encoding: chunked", chunks, path=b"/stream/fraud")
    equal(statuses(s.host.raw(raw)), [200], "answers")


def request(s, framing, body, path=b"/predict/fraud", version=b"1.1"):
    """A call with framing fields of our choice, on a connection that is kept."""
    lines = [
        b"POST %s HTTP/%s" % (path, version),
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Authorization: Bearer " + s.gateway.key.encode(),
        framing,
        b"",
        body,
    ]
    return b"\r\n".join(lines)


HIDDEN = b"PUT /predict/fraud HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(FEATURES), FEATURES)
LENGTH = b"Content-Length: %d" % len(FEATURES)
EARLY_END = b"0\r\n\r\n" + HIDDEN


def both(length):
    return b"Content-Length: %d\r\nTransfer-Encoding: chunked" % length


# What, framing fields, body, the first status that may come.
AMBIGUOUS = [
    ("length and chunked, length first", both(len(EARLY_END)), EARLY_END, [400]),
    ("chunked and length", b"Transfer-Encoding: chunked\r\nContent-Length: %d" % len(EARLY_END), EARLY_END, [400]),
    ("length and chunked, the length ends early", both(4), b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n", [400]),
    ("two lengths", LENGTH + b"\r\nContent-Length: 0", FEATURES + HIDDEN, [400]),
    ("`xchunked`", LENGTH + b"\r\nTransfer-Encoding: xchunked", FEATURES + HIDDEN, [400, 501]),
    ("`chunked` twice", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", EARLY_END, [400, 501]),
    ("`chunked, identity`", b"Transfer-Encoding: chunked, identity", EARLY_END, [400, 501]),
    ("a tab before `chunked`", LENGTH + b"\r\nTransfer-Encoding:\tchunked", EARLY_END, [400, 501]),
    ("a space before the colon", LENGTH + b"\r\nTransfer-Encoding : chunked", FEATURES, [200, 400]),
    ("an underscore in the name", LENGTH + b"\r\nTransfer_Encoding: chunked", FEATURES, [200, 400]),
    ("a folded line", LENGTH + b"\r\nX: a\r\n Transfer-Encoding: chunked", FEATURES, [200, 400]),
    ("a bare LF before the coding", LENGTH + b"\nTransfer-Encoding: chunked", EARLY_END, [400]),
    ("a length of `+N`", b"Content-Length: +%d" % len(FEATURES), FEATURES + HIDDEN, [400]),
    ("`Connection: content-length`", LENGTH + b"\r\nConnection: keep-alive, content-length", FEATURES, [200, 400]),
    ("a chunk extension with a line end", b"Transfer-Encoding: chunked",
     b"%x;a=b\n\r\n" % len(FEATURES) + FEATURES + b"\r\n0\r\n\r\n", [200, 400]),
    ("a call inside of the body", b"Content-Length: %d" % len(HIDDEN), HIDDEN, [400]),
    ("a call inside of a chunk", b"Transfer-Encoding: chunked",
     b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n", [400]),
]


def unambiguous(framing, body, first, path):
    def act(s):
        before = len(s.gateway.records())
        answers = statuses(s.host.raw(request(s, framing, body, path=path)))
        assert answers, "no answer"
        within(answers[0], first, "status of the first answer")
        mark = s.good()  # on the same connection between nginx and us, if that is still open
        since = [line for line in s.gateway.records()[before:] if line["id"] != mark["id"]]
        assert len(since) <= 1, f"one request became {len(since)}: {since}"
        equal([line["method"] for line in since if line["method"] != "POST"], [], "methods that were hidden in a body")

    return act


for _what, *_case in AMBIGUOUS:
    SUITE.add(f"never two requests: {_what}", unambiguous(*_case, b"/predict/fraud"))
    SUITE.add(f"never two requests, streamed: {_what}", unambiguous(*_case, b"/stream/fraud"))


@SUITE.check("never two requests: a body on GET, which nginx passes on")
def get_with_body(s):
    before = len(s.gateway.records())
    raw = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    equal(statuses(s.host.raw(raw))[0], 400, "status")
    mark = s.good()
    since = [line["method"] for line in s.gateway.records()[before:] if line["id"] != mark["id"]]
    within(since, [[], ["GET"]], "methods")


@SUITE.check("TE and length straight at the gateway: 400, closed, one record")
def straight(s):
    before = len(s.gateway.records())
    host = Host(s.gateway.ports["plain"])
    equal(statuses(host.raw(request(s, both(len(EARLY_END)), EARLY_END))), [400], "answers")
    mark = s.good(host)
    since = [line["status"] for line in s.gateway.records()[before:] if line["id"] != mark["id"]]
    equal(since, [400], "records")
