"""The measured facts: what a real server alone makes of a malformed request, and that none of it comes through the gateway.

Every row sends the same request twice. Straight, the server takes it, and often reads something else than its neighbours
would: the row says what. Through the gateway it is refused, and the server sees not one byte. A row whose server has
learned better fails: then the fact is history. The rows belong to the suites of their servers.
"""

import contextlib
import gzip
import http.client
import json
import struct

import kserve_checks
import llamacpp_refusals
import malformed_checks
import triton_checks
from gateway import Gateway
from processes import until
from report import Suite, equal
from shim import Shim
from triton_peer import Triton
from wire import Host

JSON = {"Content-Type": "application/json"}
LENGTH = "Inference-Header-Content-Length"


def fact(suite, what, status, path, body, harm, headers=None):
    """Adds a row. `harm` looks at the server's own answer."""

    def act(s):
        sent = {**JSON, **(headers or {})}
        straight = s.server.host.call("POST", path, body, {**sent, **s.server.bearer})
        harm(straight)
        before = s.shim.seen()
        through = s.gate.call("POST", path, body, {**sent, **s.gateway.bearer})
        equal(through.status, status, f"status ({through})")
        equal(s.shim.seen(), before, "connections and bytes towards the server")

    suite.add(f"fact, refused with {status}: {what}", act)


def taken(straight):
    equal(straight.status, 200, f"the server has learned better: status, direct ({straight})")


def reads(*values):
    """It answers for these values."""

    def harm(straight):
        taken(straight)
        equal(straight.json()["outputs"][0]["data"], list(values), "answer, direct")

    return harm


def tensor(data, name="x", shape="[1,4]", more=""):
    return f'{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"FP32","data":{data}}}]{more}}}'


def twice(name="x", first="[1,1,1,1]", last="[2,2,2,2]"):
    return tensor(first, name).replace('"data"', f'"data":{first},"data"').replace(first + "}", last + "}").encode()


BLANKS = gzip.compress(tensor("[1,1,1,1]").encode() + b" " * 50_000_000)
ROW = struct.pack("<4f", 1, 1, 1, 1)
HEAD = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}'
BINARY = {"Content-Type": "application/octet-stream"}

# Triton: linear is 2x + 1.
SUITE, PATH = triton_checks.SUITE, triton_checks.INFER
fact(SUITE, "`data` twice, of which Triton reads the first", 400, PATH, twice(), reads(3, 3, 3, 3))
fact(SUITE, "a literal NaN", 400, PATH, tensor("[NaN,1,1,1]").encode(), taken)
fact(SUITE, "1e39 as FP32, which becomes infinite", 422, PATH, tensor("[1e39,1,1,1]").encode(), taken)
fact(SUITE, "ragged rows, which Triton lays flat", 422, PATH, tensor("[[1],[1,1,1]]").encode(), reads(3, 3, 3, 3))
fact(SUITE, "50 MB of blanks in 48 KB of gzip", 413, PATH, BLANKS, taken, {"Content-Encoding": "gzip"})
fact(
    SUITE,
    "a header length of `94abc`, which Triton reads as 94",
    400,
    PATH,
    HEAD + ROW,
    taken,
    {**BINARY, LENGTH: f"{len(HEAD)}abc"},
)
fact(SUITE, "a header length of `+94`", 400, PATH, HEAD + ROW, taken, {**BINARY, LENGTH: f"+{len(HEAD)}"})
fact(SUITE, "the raw mode, where the whole body is one tensor", 415, PATH, ROW, taken, {**BINARY, LENGTH: "0"})
fact(
    SUITE,
    "2^62 + 1 rows, whose product wraps to 4 and passes the largest batch",
    422,
    PATH,
    tensor("[1,1,1,1]", shape=f"[{2**62 + 1},4]").encode(),
    taken,
)
fact(SUITE, "a byte order mark", 400, PATH, b"\xef\xbb\xbf" + tensor("[1,1,1,1]").encode(), taken)

# MLServer: a flower each.
SUITE, PATH = malformed_checks.SUITE, malformed_checks.INFER
ROWS = [json.dumps(row) for row in (malformed_checks.ROW, malformed_checks.OTHER)]
fact(SUITE, "`data` twice, of which MLServer reads the last", 400, PATH, twice("predict", *ROWS), reads(2))
fact(SUITE, "numbers as strings", 422, PATH, malformed_checks.call(data=["5.1", "3.5", "1.4", "0.2"]), taken)
fact(SUITE, "a shape of -1", 422, PATH, malformed_checks.call(shape=[-1, 4]), taken)
fact(SUITE, "10,000 rows", 422, PATH, malformed_checks.call(shape=[10_000, 4], data=malformed_checks.ROW * 10_000), taken)
fact(
    SUITE,
    "50 MB of blanks in 48 KB of gzip",
    413,
    PATH,
    gzip.compress(malformed_checks.GOOD + b" " * 50_000_000),
    taken,
    {"Content-Encoding": "gzip"},
)

# KServe: doubler is 2x; its second protocol has a parser of its own.
SUITE, PATH = kserve_checks.SUITE, "/v2/models/doubler/infer"
GOOD = tensor("[1,1,1,1]").encode()
KSERVE = PATH
fact(SUITE, "v2: `data` twice, of which KServe reads the last", 400, PATH, twice(), reads(4, 4, 4, 4))
fact(SUITE, "v2: a literal NaN, which its first protocol refuses", 400, PATH, tensor("[NaN,1,1,1]").encode(), taken)
fact(SUITE, "v2: UTF-16, which a filter of UTF-8 takes for noise", 400, PATH, GOOD.decode().encode("utf-16"), taken)
fact(SUITE, "v2: `nan` as a string", 422, PATH, tensor('["nan",1,1,1]').encode(), taken)
fact(SUITE, "v2: bytes behind the last tensor", 422, PATH, HEAD + ROW + b"more", taken, {**BINARY, LENGTH: str(len(HEAD))})


@SUITE.check("fact, handled: JSON without a content type, which KServe alone reads as binary")
def untyped(s):
    equal(s.server.host.call("POST", KSERVE, GOOD).status, 400, "status, direct")
    through = s.gate.call("POST", KSERVE, GOOD, s.gateway.bearer)
    equal((through.status, through.json()["outputs"][0]["data"]), (200, [2, 2, 2, 2]), "answer")


# llama.cpp, with random weights.
SUITE, PATH = llamacpp_refusals.SUITE, "/v1/chat/completions"


def chat(more, model="tiny", role="user"):
    return f'{{"model":"{model}","messages":[{{"role":"{role}","content":"hi"}}],{more}}}'.encode()


def spends(tokens):
    def harm(straight):
        taken(straight)
        equal(straight.json()["usage"]["completion_tokens"], tokens, "tokens, direct")

    return harm


fact(SUITE, "`max_tokens` twice, of which the last is spent", 400, PATH, chat('"max_tokens":1,"max_tokens":9'), spends(9))
fact(SUITE, "2.9 tokens", 422, PATH, chat('"max_tokens":2.9'), spends(2))
fact(SUITE, "`true` tokens", 422, PATH, chat('"max_tokens":true'), spends(1))
fact(SUITE, "a role that nobody has", 422, PATH, chat('"max_tokens":1', role="root"), taken)
fact(SUITE, "a model that nobody has", 404, PATH, chat('"max_tokens":1', model="nobody"), taken)
fact(
    SUITE,
    "50,000 arrays in a member that nobody knows",
    400,
    PATH,
    chat(f'"max_tokens":1,"wonder":{"[" * 50_000}{"]" * 50_000}'),
    taken,
)


# A server that dies of a request has a suite of its own.
class Scene:
    def __init__(self, server, shim, gateway):
        self.server, self.shim, self.gateway = server, shim, gateway
        self.gate = Host(gateway.ports["plain"])


@contextlib.contextmanager
def mortal(setting):
    with (
        Triton(setting) as server,
        Shim(server.host.port) as shim,
        Gateway(setting, "before_triton", TRITON_PORT=shim.port) as gateway,
    ):
        yield Scene(server, shim, gateway)


BOMB = Suite("triton-bomb", mortal)
ROWS = tensor("[1,1,1,1]", shape="[1000000000000,4]").encode()


@BOMB.check("10^12 rows in 98 bytes are refused, and Triton lives")
def lives(s):
    reply = s.gate.call("POST", triton_checks.INFER, ROWS, {**JSON, **s.gateway.bearer})
    equal((reply.status, reply.json()["pointer"]), (422, "/inputs/0/data"), "verdict")
    equal(s.shim.seen(), (0, 0), "connections and bytes towards the server")
    assert s.server.ready(), "the server is gone"


@BOMB.check("straight, the same 98 bytes end Triton")
def dies(s):
    try:
        reply = s.server.host.call("POST", triton_checks.INFER, ROWS, JSON)
        raise AssertionError(f"the server has learned better ({reply})")
    except (OSError, http.client.HTTPException):
        pass
    until("triton is gone", lambda: not s.server.ready(), 20)
