"""Malformed calls against a real MLServer: refused with the promised status, while the server sees nothing.

A relay between the gateway and the server counts what passes. Several of these calls are accepted by the server itself,
with another meaning than that of its neighbours; one, the last, is obeyed from anybody.
"""

import contextlib
import gzip
import json
import struct
import zlib

from gateway import Gateway
from mlserver_peer import MLServer
from report import Suite, equal, within
from shim import Shim
from wire import Host

INFER = "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]
OTHER = [6.7, 3.0, 5.2, 2.3]
JSON = {"Content-Type": "application/json"}


def tensor(**over):
    """One input; `...` leaves a member out."""
    whole = {"name": "predict", "shape": [1, 4], "datatype": "FP32", "data": ROW, **over}
    return {name: value for name, value in whole.items() if value is not ...}


def call(**over):
    return json.dumps({"inputs": [tensor(**over)]}).encode()


GOOD = call()
TEXT = GOOD.decode()


def data(text):
    """A good call with other text for its first element."""
    return TEXT.replace("[5.1,", f"[{text},").encode()


def member(text):
    """A good call with one more member at the front."""
    return f"{{{text}, {TEXT[1:]}".encode()


class Scene:
    """A server, a relay that counts, a gateway."""

    def __init__(self, server, shim, gateway):
        self.server, self.shim, self.gateway = server, shim, gateway
        self.gate = Host(gateway.ports["plain"])
        self.pid = server.process.pid

    def send(self, body, headers=None, path=INFER, method="POST"):
        return self.gate.call(method, path, body, {**JSON, **self.gateway.bearer, **(headers or {})})

    def refused(self, statuses, *call, **more):
        """Refused, with a record that says so, while nothing went up."""
        before = self.shim.seen()
        reply = self.send(*call, **more)
        within(reply.status, statuses, "status")
        equal(reply.headers.get("content-type"), "application/problem+json", "type of the answer")
        line = self.gateway.record(reply.id)
        equal(line["outcome"], "denied", "outcome in the record")
        equal(line.get("upstream_status"), None, "status of the server in the record")
        equal(self.shim.seen(), before, "connections and bytes towards the server")
        return reply


@contextlib.contextmanager
def scene(setting):
    with (
        MLServer(setting) as server,
        Shim(server.host.port) as shim,
        Gateway(setting, "before_mlserver", IRIS_PORT=shim.port) as gateway,
    ):
        yield Scene(server, shim, gateway)


SUITE = Suite("malformed", scene)


def passes(body, headers=None):
    def act(s):
        before = s.shim.seen()
        reply = s.send(body, headers)
        equal(reply.status, 200, f"status ({reply})")
        equal(reply.json()["outputs"][0]["data"], [0], "the flower")
        assert s.shim.seen() > before, "the answer did not come from the server"

    return act


GZIP = {"Content-Encoding": "gzip"}
GOOD_CALLS = {
    "a plain call": (GOOD, None),
    "nested data": (call(data=[ROW]), None),
    "an unknown member": (member('"extra": 1'), None),
    "a charset": (GOOD, {"Content-Type": "application/json; charset=utf-8"}),
    "a gzip body": (gzip.compress(GOOD), GZIP),
    "a deflate body": (zlib.compress(GOOD), {"Content-Encoding": "deflate"}),
}
for _what, (_body, _headers) in GOOD_CALLS.items():
    SUITE.add(f"passes: {_what}", passes(_body, _headers))

LENGTH = "Inference-Header-Content-Length"
HEAD = call(data=..., parameters={"binary_data_size": 16})
BINARY = {"Content-Type": "application/octet-stream", LENGTH: str(len(HEAD))}
SHARED = {"shared_memory_region": "r", "shared_memory_byte_size": 16}

# What, the promised status, the body, fields.
BAD_CALLS = [
    ("`inputs` twice", 400, f'{{"inputs": {json.dumps([tensor(data=OTHER)])}, {TEXT[1:]}'.encode()),
    ("`data` twice", 400, TEXT.replace('"data"', f'"data": {OTHER}, "data"').encode()),
    ("`data` twice, once with an escape", 400, TEXT.replace('"data"', f'"d\\u0061ta": {OTHER}, "data"').encode()),
    ("NaN", 400, data("NaN")),
    ("Infinity", 400, data("Infinity")),
    ("1e400", 400, data("1e400")),
    ("1e39 as FP32", 422, data("1e39")),
    ("a value out of range", 422, data("11")),
    ("numbers as strings", 422, call(data=[str(value) for value in ROW])),
    ("`nan` as a string", 422, call(data=["nan", *ROW[1:]])),
    ("booleans as numbers", 422, call(data=[True, False, True, False])),
    ("a null element", 422, call(data=[None, *ROW[1:]])),
    ("one element too few", 422, call(data=ROW[1:])),
    ("one element too many", 422, call(data=[*ROW, 1])),
    ("ragged nesting", 422, call(data=[ROW[:1], ROW[1:]])),
    ("no data", 422, call(data=...)),
    ("no name", 422, call(name=...)),
    ("an unknown input", 422, call(name="nobody")),
    ("INT32 for FP32", 422, call(datatype="INT32", data=[5, 3, 1, 0])),
    ("FP64 for FP32", 422, call(datatype="FP64")),
    ("datatype in lower case", 422, call(datatype="fp32")),
    ("a datatype that does not exist", 422, call(datatype="FP31")),
    ("shape of -1", 422, call(shape=[-1, 4])),
    ("shape of 0 rows", 422, call(shape=[0, 4], data=[])),
    ("shape as floats", 422, call(shape=[1.0, 4.0])),
    ("shape as strings", 422, call(shape=["1", "4"])),
    ("shape of 10^9 rows", 422, call(shape=[10**9, 4])),
    ("shape of 10^12 rows", 422, call(shape=[10**12, 4])),
    ("shape of 2^62 + 1 rows, whose product wraps to 4", 422, call(shape=[2**62 + 1, 4])),
    ("shape of 2^64 rows", 422, call(shape=[2**64, 4])),
    ("a third dimension", 422, call(shape=[1, 1, 4])),
    ("17 rows", 422, call(shape=[17, 4], data=ROW * 17)),
    ("10,000 rows", 422, call(shape=[10_000, 4], data=ROW * 10_000)),
    ("the same input twice", 422, json.dumps({"inputs": [tensor(), tensor(data=OTHER)]}).encode()),
    ("no inputs", 422, b'{"inputs": []}'),
    ("inputs as an object", 422, json.dumps({"inputs": tensor()}).encode()),
    ("an unknown output", 422, member('"outputs": [{"name": "nobody"}]')),
    ("a shared memory region", 422, call(data=..., parameters=SHARED)),
    ("parameters of a sequence", 422, member('"parameters": {"sequence_id": 7}')),
    ("text after the end", 400, GOOD + b" more"),
    ("two documents", 400, GOOD + GOOD),
    ("a comment", 400, b"/* c */" + GOOD),
    ("a trailing comma", 400, TEXT.replace("]}]}", "]}],}").encode()),
    ("a byte order mark", 400, b"\xef\xbb\xbf" + GOOD),
    ("UTF-16", 400, TEXT.encode("utf-16")),
    ("UTF-16 without a mark", 400, TEXT.encode("utf-16-le")),
    ("UTF-32", 400, TEXT.encode("utf-32")),
    ("invalid UTF-8", 400, b'{"id": "\xff\xfe", ' + GOOD[1:]),
    ("overlong UTF-8", 400, b'{"id": "\xc0\xaf", ' + GOOD[1:]),
    ("a NUL in the id", 400, member('"id": "a\\u0000b"')),
    ("half a surrogate pair", 400, member('"id": "\\ud800"')),
    ("20,000 levels", 400, member('"parameters": {"a": ' + "[" * 20_000 + "]" * 20_000 + "}")),
    ("a number of 40 digits", 400, data("5." + "1" * 40)),
    ("no body", 400, b""),
    ("not JSON", 400, b"predict=1&shape=4"),
    ("another content type", 415, GOOD, {"Content-Type": "text/plain"}),
    ("UTF-16 as the charset", 415, TEXT.encode("utf-16"), {"Content-Type": "application/json; charset=utf-16"}),
    ("binary tensors that end too early", 422, HEAD + struct.pack("<3f", *ROW[:3]), BINARY),
    ("binary tensors with a NaN", 422, HEAD + struct.pack("<4f", *ROW[:3], float("nan")), BINARY),
    ("binary tensors with a length of `12abc`", 400, HEAD + struct.pack("<4f", *ROW), {**BINARY, LENGTH: "12abc"}),
    ("binary raw mode", 415, struct.pack("<4f", *ROW), {**BINARY, LENGTH: "0"}),
    ("an unknown content coding", 415, GOOD, {"Content-Encoding": "frob"}),
    ("two content codings", 415, gzip.compress(gzip.compress(GOOD)), {"Content-Encoding": "gzip, gzip"}),
    ("text that claims to be gzip", 400, GOOD, GZIP),
    ("gzip cut short", 400, gzip.compress(GOOD)[:-9], GZIP),
    ("bytes after the gzip", 400, gzip.compress(GOOD) + b"more", GZIP),
    ("a gzip bomb of 50 MB", 413, gzip.compress(GOOD + b" " * 50_000_000), GZIP),
    ("17 MB", 413, GOOD + b" " * 17_000_000),
]


def refused(status, body, headers=None):
    return lambda s: s.refused([status], body, headers)


for _what, _status, *_call in BAD_CALLS:
    SUITE.add(f"refused with {_status}: {_what}", refused(_status, *_call))

# Paths that lead somewhere on the server, or would if they were read carelessly.
BAD_PATHS = [
    ("POST", "/v2/repository/models/iris/unload", 404),
    ("POST", "/v2/repository/models/iris/load", 404),
    ("POST", "/v2/repository/index", 404),
    ("POST", "/v2/models/iris/unload", 404),
    ("POST", "/v2/models/iris/infer_stream", 404),
    ("POST", "/v2/models/nobody/infer", 404),
    ("POST", "/v2/models/IRIS/infer", 404),
    ("POST", "/v2/models/iris/infer/", 404),
    ("POST", "/v2/models/iris%2finfer", 400),
    ("POST", "//v2/models/iris/infer", 400),
    ("POST", "/v2/models/x/../iris/infer", 400),
    ("POST", "/v2/repository/models/x/..%2firis/unload", 400),
    ("GET", "/v2/models/iris/infer", 405),
    ("GET", "/metrics", 404),
    ("GET", "/docs", 404),
    ("GET", "/v2/docs", 404),
    ("GET", "/v2/docs/dataplane.json", 404),
]


def absent(method, path, status):
    def act(s):
        s.refused([status], b"{}" if method == "POST" else None, path=path, method=method)

    return act


for _method, _path, _status in BAD_PATHS:
    SUITE.add(f"refused with {_status}: {_method} {_path}", absent(_method, _path, _status))


@SUITE.check("refused with 401: a good call without a key")
def no_key(s):
    s.refused([401], GOOD, {"Authorization": ""})


@SUITE.check("afterwards: the server is the same process and answers")
def alive(s):
    assert s.server.process.alive(), "the server ended"
    equal(s.server.process.pid, s.pid, "process")
    passes(GOOD)(s)


@SUITE.check("afterwards: the server alone obeys an unload from anybody")
def obeys(s):
    path = "/v2/repository/models/iris"
    equal(s.server.host.call("POST", f"{path}/unload", b"{}", JSON).status, 200, "unload, direct")
    assert not s.server.ready(), "the model is still ready"
    reply = s.send(GOOD)
    equal((reply.status, reply.json()["code"]), (404, "not_found"), "a call while the model is gone")
    equal(s.gateway.record(reply.id)["upstream_status"], 404, "status of the server in the record")
    equal(s.server.host.call("POST", f"{path}/load", b"{}", JSON).status, 200, "load, direct")
    passes(GOOD)(s)
