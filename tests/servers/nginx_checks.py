"""nginx in front of Tollgate, and nginx as its upstream."""

import contextlib
import http.client
import json
import os
import signal

from gateway import Gateway
from nginx_peer import Nginx
from processes import program, run, until
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
def front(setting):
    with Gateway(setting, "behind_nginx", FRONT="127.0.0.1/32") as gateway:
        with Nginx(setting, "nginx_front", upstream=gateway.ports["plain"], certs=gateway.folder) as nginx:
            yield Front(nginx, gateway)


FRONT = Suite("nginx-front", front)


@FRONT.check("a call passes, and the record has the address that nginx appended")
def passes(s):
    record = s.good(Host(s.nginx.port, s.context, source="127.0.0.2"))
    equal(record["client"], "127.0.0.2", "client")
    equal((record["status"], record["model"], record["tenant"]), (200, "fraud", "acme"), "record")


@FRONT.check("a client cannot name another address than its own")
def spoofed(s):
    record = s.good(Host(s.nginx.port, s.context, source="127.0.0.2"), **{"X-Forwarded-For": SPOOFED})
    equal(record["client"], "127.0.0.2", "client")


@FRONT.check("a chain of trusted proxies is followed to the client")
def chain(s):
    equal(s.good(**{"X-Forwarded-For": f"198.51.100.1, {SPOOFED}"})["client"], SPOOFED, "client")


@FRONT.check("without the proxy in between, the field is not believed")
def direct(s):
    host = Host(s.gateway.ports["plain"], source="127.0.0.3")
    equal(s.good(host, **{"X-Forwarded-For": SPOOFED})["client"], "127.0.0.3", "client")


@FRONT.check("fifty calls on one HTTP/1.1 connection")
def fifty(s):
    connection = s.host.connect()
    try:
        for _ in range(50):
            equal(s.host.call("POST", "/predict/fraud", FEATURES, s.fields, on=connection).status, 200, "status")
    finally:
        connection.close()


@FRONT.check("fifty calls of HTTP/2 at nginx, many at once")
def fifty_at_once(s):
    fields = [word for name, value in s.fields.items() for word in ("-H", f"{name}: {value}")]
    form = ["--no-progress-meter", "-w", "%{http_code} %{http_version}\\n", "-o", str(s.gateway.folder / "h2-#1")]
    url = f"https://localhost:{s.nginx.port}/predict/fraud?n=[1-50]"
    trust = ["-sS", "--http2", "--max-time", "20", "--cacert", str(s.gateway.authority.ca)]
    said = run([program("curl", "curl"), "-Z", *trust, *form, *fields, "-d", FEATURES.decode(), url])
    equal(said.split("\n")[:-1], ["200 2"] * 50, "answers")


@FRONT.check("a body that nginx streams with chunked framing")
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
    ("a call inside of a chunk", b"Transfer-Encoding: chunked", b"%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n", [400]),
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
    FRONT.add(f"never two requests: {_what}", unambiguous(*_case, b"/predict/fraud"))
    FRONT.add(f"never two requests, streamed: {_what}", unambiguous(*_case, b"/stream/fraud"))


@FRONT.check("never two requests: a body on GET, which nginx passes on")
def get_with_body(s):
    before = len(s.gateway.records())
    raw = b"GET /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN
    equal(statuses(s.host.raw(raw))[0], 400, "status")
    mark = s.good()
    since = [line["method"] for line in s.gateway.records()[before:] if line["id"] != mark["id"]]
    within(since, [[], ["GET"]], "methods")


@FRONT.check("TE and length straight at the gateway: 400, closed, one record")
def straight(s):
    before = len(s.gateway.records())
    host = Host(s.gateway.ports["plain"])
    equal(statuses(host.raw(request(s, both(len(EARLY_END)), EARLY_END))), [400], "answers")
    mark = s.good(host)
    since = [line["status"] for line in s.gateway.records()[before:] if line["id"] != mark["id"]]
    equal(since, [400], "records")


SIZE = 16 << 20
CALL = json.dumps({"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}).encode()
INFER = "/v2/models/echo/infer"


class Back:
    """A client, Tollgate, nginx."""

    def __init__(self, nginx, gateway):
        self.nginx, self.gateway = nginx, gateway
        self.host = Host(gateway.ports["plain"])
        self.fields = {**JSON, **gateway.bearer}

    def infer(self, body=CALL, **more):
        return self.host.call("POST", INFER, body, {**self.fields, **more})

    def sockets(self):
        """What the gateway has open."""
        folder = f"/proc/{self.gateway.process.pid}/fd"
        return [name for name in os.listdir(folder) if _link(f"{folder}/{name}").startswith("socket:")]


def _link(path):
    try:
        return os.readlink(path)
    except FileNotFoundError:
        return ""


@contextlib.contextmanager
def back(setting):
    with Nginx(setting, "nginx_upstream") as nginx:
        (nginx.folder / "files").mkdir()
        (nginx.folder / "files" / "large").write_bytes(os.urandom(1 << 16) * (SIZE >> 16))
        with Gateway(setting, "before_nginx", NGINX_PORT=nginx.port) as gateway:
            yield Back(nginx, gateway)


BACK = Suite("nginx-back", back)


@BACK.check("connections are kept and used again, also when nginx closes them after ten calls")
def reuse(s):
    before = len(s.nginx.lines())
    for _ in range(40):
        equal(s.infer().status, 200, "status")
    lines = [line.split(" ") for line in s.nginx.lines_after(before, 40)]
    equal(len(lines), 40, "calls that nginx saw")
    used = {line[0] for line in lines}
    assert len(used) <= 6, f"{len(used)} connections for 40 calls"
    equal(max(int(line[1]) for line in lines), 10, "calls on one connection")


@BACK.check("what goes up: our own Content-Length, no coding, no key, whatever came in")
def upward(s):
    before = len(s.nginx.lines())
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (CALL[:20], CALL[20:])) + b"0\r\n\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in s.fields.items()).encode()
    head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n".encode() + fields
    equal(statuses(s.host.raw(head + b"\r\n" + chunks)), [200], "answers")
    line = s.nginx.lines_after(before, 1)[0]
    assert line.endswith(f" 200 POST {INFER} length={len(CALL)} coding=- key=--"), line


@BACK.check("a part of a file arrives as it is")
def part(s):
    # Below the size from which nginx limits the rate.
    reply = s.host.call("GET", "/files/large", headers={**s.gateway.bearer, "Range": "bytes=100-262143"})
    equal(reply.status, 206, "status")
    expected = (s.nginx.folder / "files" / "large").read_bytes()[100:262144]
    assert reply.body == expected, "the bytes differ"


def killed(version):
    def act(s):
        (worker,) = s.nginx.workers()
        equal(s.infer().status, 200, "a call before")
        before = len(s.sockets())
        got, verdict, request_id = version(s, lambda: os.kill(worker, signal.SIGKILL))
        assert 0 < got < SIZE, f"{got} bytes"
        assert verdict, "the client was not told that the answer is not whole"
        line = s.gateway.record(request_id)
        equal((line["outcome"], line["status"], line["upstream_status"]), ("cut", 200, 200), "record")
        until("nginx has a new worker", lambda: s.nginx.workers() not in ([], [worker]))
        equal(s.infer().status, 200, "the next call")
        until("the gateway has as many sockets as before", lambda: len(s.sockets()) <= before)

    return act


def http1(s, kill):
    connection = s.host.connect()
    try:
        connection.request("GET", "/files/large", headers=s.gateway.bearer)
        reply = connection.getresponse()
        got = len(reply.read(1 << 16))
        kill()
        try:
            got += len(reply.read())
            told = False
        except http.client.IncompleteRead as cut:
            got, told = got + len(cut.partial), True
        except ConnectionResetError:
            told = True
        return got, told, reply.headers["x-request-id"]
    finally:
        connection.close()


def http2(s, kill):
    from curl_transfer import Transfer

    with Transfer(s.gateway, "/files/large") as transfer:
        until("the first bytes", lambda: transfer.size() > 1 << 16)
        kill()
        code = transfer.wait()
        # 92: the stream was reset. 18: a part of the file.
        within(code, [18, 92], "exit code of curl")
        return transfer.size(), True, transfer.field("x-request-id")


BACK.add("kill -9 of its worker in mid-answer: a clean cut, a record, the next call works, http/1.1", killed(http1))
BACK.add("kill -9 of its worker in mid-answer: a clean cut, a record, the next call works, http/2", killed(http2))


@BACK.check("the client leaves in mid-answer: a record, and nginx is let go")
def leaves(s):
    before = len(s.nginx.lines())
    connection = s.host.connect()
    connection.request("GET", "/files/large", headers=s.gateway.bearer)
    reply = connection.getresponse()
    reply.read(1 << 16)
    reply.close()
    connection.close()
    line = s.gateway.record(reply.headers["x-request-id"])
    equal(line["outcome"], "client_left", "outcome")
    assert s.nginx.lines_after(before, 1)[0].split(" ")[2] in ("200", "499"), "nginx is still sending"


@BACK.check("nginx is gone: 502 with a record, and calls work again when it is back")
def gone(s):
    s.nginx.process.end()
    reply = s.infer()
    equal(reply.status, 502, f"status ({reply})")
    equal(s.gateway.record(reply.id)["outcome"], "denied", "outcome")
    s.nginx.__enter__()
    equal(s.infer().status, 200, "the next call")
