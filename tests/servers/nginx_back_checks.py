"""nginx as the upstream of Tollgate: connections used again, answers cut short, a server that is gone."""

import contextlib
import http.client
import json
import os
import signal

from curl_transfer import Transfer
from gateway import Gateway
from nginx_peer import Nginx
from processes import until
from report import Suite, equal, within
from wire import Host, statuses

JSON = {"Content-Type": "application/json"}
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
def scene(setting):
    with Nginx(setting, "nginx_upstream") as nginx:
        (nginx.folder / "files").mkdir()
        (nginx.folder / "files" / "large").write_bytes(os.urandom(1 << 16) * (SIZE >> 16))
        with Gateway(setting, "before_nginx", NGINX_PORT=nginx.port) as gateway:
            yield Back(nginx, gateway)


SUITE = Suite("nginx-back", scene)


@SUITE.check("connections are kept and used again, also when nginx closes them after ten calls")
def reuse(s):
    before = len(s.nginx.lines())
    for _ in range(40):
        equal(s.infer().status, 200, "status")
    lines = [line.split(" ") for line in s.nginx.lines_after(before, 40)]
    equal(len(lines), 40, "calls that nginx saw")
    used = {line[0] for line in lines}
    assert len(used) <= 6, f"{len(used)} connections for 40 calls"
    equal(max(int(line[1]) for line in lines), 10, "calls on one connection")


@SUITE.check("what goes up: our own Content-Length, no coding, no key, whatever came in")
def upward(s):
    before = len(s.nginx.lines())
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (CALL[:20], CALL[20:])) + b"0\r\n\r\n"
    fields = "".join(f"{name}: {value}\r\n" for name, value in s.fields.items()).encode()
    head = f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n".encode() + fields
    equal(statuses(s.host.raw(head + b"\r\n" + chunks)), [200], "answers")
    line = s.nginx.lines_after(before, 1)[0]
    assert line.endswith(f" 200 POST {INFER} length={len(CALL)} coding=- key=--"), line


@SUITE.check("a part of a file arrives as it is")
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
    with Transfer(s.gateway, "/files/large") as transfer:
        until("the first bytes", lambda: transfer.size() > 1 << 16)
        kill()
        code = transfer.wait()
        # 92: the stream was reset. 18: a part of the file.
        within(code, [18, 92], "exit code of curl")
        return transfer.size(), True, transfer.field("x-request-id")


SUITE.add("kill -9 of its worker in mid-answer: a clean cut, a record, the next call works, http/1.1", killed(http1))
SUITE.add("kill -9 of its worker in mid-answer: a clean cut, a record, the next call works, http/2", killed(http2))


@SUITE.check("the client leaves in mid-answer: a record, and nginx is let go")
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


@SUITE.check("nginx is gone: 502 with a record, and calls work again when it is back")
def gone(s):
    s.nginx.process.end()
    reply = s.infer()
    equal(reply.status, 502, f"status ({reply})")
    equal(s.gateway.record(reply.id)["outcome"], "denied", "outcome")
    s.nginx.__enter__()
    equal(s.infer().status, 200, "the next call")
