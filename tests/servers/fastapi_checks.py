"""A FastAPI service behind contracts that `tollgate contract learn` made of its own OpenAPI document: what it takes passes
unchanged, what it should not take never reaches it, also where pydantic alone is content with it."""

import contextlib
import gzip
import json

from fastapi_peer import FastApi
from gateway import Gateway
from processes import run
from report import Suite, equal, within
from shim import Shim
from wire import Host

JSON = {"Content-Type": "application/json"}
PREDICT = {"request_id": "r-1", "features": [0.5] * 10}
EMBED = {"batch_id": "b-1", "text": "a text"}
VECTOR = {"tensor": [0.25] * 768}
GENERATE = {"prompt": "once", "max_tokens": 9}
CHAT = {"model": "talker", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}
SAY = CHAT["messages"]
TALK = "v1/chat/completions"


class Scene:
    """A service, a relay that counts, a gateway."""

    def __init__(self, app, shim, gateway):
        self.app, self.shim, self.gateway = app, shim, gateway
        self.gate = Host(gateway.ports["plain"])
        self.passed = 0

    def send(self, path, body, headers=None):
        return self.gate.call("POST", f"/{path}", body, {**JSON, **self.gateway.bearer, **(headers or {})})

    def alone(self, path, body, headers=None):
        return self.app.host.call("POST", f"/{path}", body, {**JSON, **(headers or {})})


@contextlib.contextmanager
def scene(setting):
    with FastApi(setting) as app, Shim(app.host.port) as shim:
        # The service, asked by the verb as an operator would.
        learn = [setting.tollgate, "contract", "learn", "--upstream", "app", "--from", f"http://127.0.0.1:{app.host.port}"]
        files = {"contracts.yaml": run(learn)}
        with Gateway(setting, "before_fastapi", files, APP_PORT=shim.port) as gateway:
            yield Scene(app, shim, gateway)


SUITE = Suite("fastapi", scene)


def body(whole, **over):
    """A body with some members other; `...` leaves one out."""
    members = {name: value for name, value in {**whole, **over}.items() if value is not ...}
    return json.dumps(members).encode()


def put(whole, old, new):
    """A body in which other text stands in one place."""
    text = json.dumps(whole)
    assert old in text, f"`{old}` does not stand in {text[:80]}"
    return text.replace(old, new, 1).encode()


def first(text):
    """A call of `predict` with this text for its first feature."""
    return put(PREDICT, "[0.5,", f"[{text},")


def talk(count, length, role="user"):
    return [{"role": role, "content": "x" * length}] * count


GOOD = [
    ("ten features", "predict", body(PREDICT)),
    ("whole numbers as features", "predict", body(PREDICT, features=list(range(10)))),
    ("large and small features", "predict", body(PREDICT, features=[-1e300, 1e-300, 0, -0.0] + [1] * 6)),
    ("an id of 36 signs", "predict", body(PREDICT, request_id="A-_9" * 9)),
    ("a member that nobody knows", "predict", body(PREDICT, note="x")),
    ("one character", "embed", body(EMBED, text="x")),
    ("10,000 characters", "embed", body(EMBED, text="x" * 10_000)),
    ("10,000 characters of four bytes", "embed", put(EMBED, "a text", "\U0001f600" * 10_000)),
    ("10,000 characters as escapes", "embed", body(EMBED, text="\U0001f600" * 10_000)),
    ("a text with a NUL", "embed", body(EMBED, text="a\0b")),
    ("768 floats", "vector", body(VECTOR)),
    ("768 floats at the bounds", "vector", body(VECTOR, tensor=[100, -100] * 384)),
    ("a prompt", "generate", body(GENERATE)),
    ("a prompt of 10,000 characters and 4,096 tokens", "generate", body(GENERATE, prompt="x" * 10_000, max_tokens=4096)),
    ("no stops", "generate", body(GENERATE, stop=None)),
    ("four stops", "generate", body(GENERATE, stop=["a", "b", "c", "d"])),
    ("one message", "chat", body(CHAT)),
    ("50 messages", "chat", body(CHAT, messages=talk(50, 10))),
    ("10 messages of 10,000 characters", "chat", body(CHAT, messages=talk(10, 10_000))),
    ("4,096 tokens", "chat", body(CHAT, max_tokens=4096)),
    ("no word of tokens", "chat", body(CHAT, max_tokens=...)),
    ("a chat of OpenAI's", TALK, body(CHAT)),
    ("a chat of OpenAI's without a word of tokens", TALK, body(CHAT, max_tokens=...)),
    ("a chat of OpenAI's of 50 messages", TALK, body(CHAT, messages=talk(50, 10))),
    ("a chat of OpenAI's of 100,000 characters", TALK, body(CHAT, messages=talk(10, 10_000))),
]


def unchanged(path, sent):
    def act(s):
        direct, through = s.alone(path, sent), s.send(path, sent)
        equal(direct.status, 200, f"status, direct ({direct})")
        equal((through.status, through.body), (direct.status, direct.body), "answer")
        equal(s.gateway.record(through.id)["upstream_status"], 200, "status in the record")
        s.passed += 1

    return act


for _what, _path, _body in GOOD:
    SUITE.add(f"passes unchanged: {_what}", unchanged(_path, _body))


@SUITE.check("answers are held to what the document says of them")
def replies(s):
    fits = body(PREDICT, features=[0.05] * 10)
    equal(s.send("score", fits).json(), s.alone("score", fits).json(), "an answer within its schema")
    large = body(PREDICT, features=[0.5] * 10)
    equal((s.alone("score", large).status, s.alone("score", large).json()), (200, {"score": 5.0}), "answer, direct")
    reply = s.send("score", large)
    equal((reply.status, reply.json()["code"]), (502, "upstream_failed"), f"an answer beyond its schema ({reply})")
    line = s.gateway.record(reply.id)
    equal((line["outcome"], line["upstream_status"]), ("denied", 200), "outcome in the record")
    assert b"5.0" not in reply.body, reply
    s.passed += 2


@SUITE.check("passes unchanged: health, without a key")
def health(s):
    reply = s.gate.call("GET", "/health")
    equal((reply.status, reply.json()), (200, {"status": "up"}), "answer")


GZIP = {"Content-Encoding": "gzip"}
# What, statuses, route, body, fields.
BAD = [
    ("nine features", 422, "predict", body(PREDICT, features=[0.5] * 9)),
    ("eleven features", 422, "predict", body(PREDICT, features=[0.5] * 11)),
    ("10,000 features", 422, "predict", body(PREDICT, features=[0.5] * 10_000)),
    ("features in rows", 422, "predict", body(PREDICT, features=[[0.5] * 10])),
    ("a null feature", 422, "predict", first("null")),
    ("an object for features", 422, "predict", body(PREDICT, features={"0": 1})),
    ("no features", 422, "predict", body(PREDICT, features=...)),
    ("no id", 422, "predict", body(PREDICT, request_id=...)),
    ("an empty id", 422, "predict", body(PREDICT, request_id="")),
    ("an id of 37 signs", 422, "predict", body(PREDICT, request_id="x" * 37)),
    ("an id that climbs", 422, "predict", body(PREDICT, request_id="../../etc")),
    ("an id with a line end", 422, "predict", body(PREDICT, request_id="r\r\nx: y")),
    ("an id with a line end as its last sign", 422, "predict", body(PREDICT, request_id="r\n")),
    ("a number for an id", 422, "predict", body(PREDICT, request_id=7)),
    ("a list for a body", 422, "predict", b"[1, 2]"),
    ("null for a body", 422, "predict", b"null"),
    ("no body", 400, "predict", b""),
    ("not JSON", 400, "predict", b"features=1"),
    ("half a body", 400, "predict", body(PREDICT)[:-3]),
    ("text after the end", 400, "predict", body(PREDICT) + b" x"),
    ("two documents", 400, "predict", body(PREDICT) * 2),
    ("a trailing comma", 400, "predict", put(PREDICT, "0.5]", "0.5,]")),
    ("a comment", 400, "predict", b"/* c */" + body(PREDICT)),
    ("20,000 levels", 400, "predict", put(PREDICT, "{", '{"x": ' + "[" * 20_000 + "]" * 20_000 + ", ")),
    ("a number of 40 digits", 400, "predict", first("5." + "1" * 40)),
    ("a feature in hexadecimal", 400, "predict", first("0x10")),
    ("an empty text", 422, "embed", body(EMBED, text="")),
    ("10,001 characters", 422, "embed", body(EMBED, text="x" * 10_001)),
    ("a list of texts", 422, "embed", body(EMBED, text=["a", "b"])),
    ("half a surrogate pair", 400, "embed", body(EMBED, text="\ud800")),
    ("invalid UTF-8", 400, "embed", body(EMBED).replace(b"a text", b"\xff\xfe")),
    ("overlong UTF-8", 400, "embed", body(EMBED).replace(b"a text", b"\xc0\xaf")),
    ("767 floats", 422, "vector", body(VECTOR, tensor=[0.25] * 767)),
    ("769 floats", 422, "vector", body(VECTOR, tensor=[0.25] * 769)),
    ("a float above 100", 422, "vector", body(VECTOR, tensor=[0.25] * 767 + [100.000001])),
    ("a float below -100", 422, "vector", body(VECTOR, tensor=[-101] + [0.25] * 767)),
    ("a tensor of texts", 422, "vector", body(VECTOR, tensor=["a"] * 768)),
    ("no prompt", 422, "generate", body(GENERATE, prompt=...)),
    ("an empty prompt", 422, "generate", body(GENERATE, prompt="")),
    ("a prompt of 10,001 characters", 422, "generate", body(GENERATE, prompt="x" * 10_001)),
    ("a prompt for 4,097 tokens", 422, "generate", body(GENERATE, max_tokens=4097)),
    ("five stops", 422, "generate", body(GENERATE, stop=["a"] * 5)),
    ("a number for a stop", 422, "generate", body(GENERATE, stop=[1])),
    ("no messages", 422, "chat", body(CHAT, messages=[])),
    ("51 messages", 422, "chat", body(CHAT, messages=talk(51, 1))),
    ("a message of 10,001 characters", 422, "chat", body(CHAT, messages=talk(1, 10_001))),
    ("an empty message", 422, "chat", body(CHAT, messages=talk(1, 0))),
    ("a role that does not exist", 422, "chat", body(CHAT, messages=talk(1, 1, "root"))),
    ("4,097 tokens", 422, "chat", body(CHAT, max_tokens=4097)),
    ("0 tokens", 422, "chat", body(CHAT, max_tokens=0)),
    ("2.5 tokens", 422, "chat", body(CHAT, max_tokens=2.5)),
    ("null tokens", 422, "chat", body(CHAT, max_tokens=None)),
    ("another model", 422, "chat", body(CHAT, model="nobody")),
    ("OpenAI's chat of 110,000 characters in all", 422, TALK, body(CHAT, messages=talk(11, 10_000))),
    ("OpenAI's chat of 51 messages", 422, TALK, body(CHAT, messages=talk(51, 1))),
    ("OpenAI's chat with 4,097 tokens", 422, TALK, body(CHAT, max_tokens=4097)),
    ("another content type", 415, "predict", body(PREDICT), {"Content-Type": "text/plain"}),
    ("a form", 415, "predict", body(PREDICT), {"Content-Type": "application/x-www-form-urlencoded"}),
    ("an unknown content coding", 415, "predict", body(PREDICT), {"Content-Encoding": "frob"}),
    ("gzip cut short", 400, "predict", gzip.compress(body(PREDICT))[:-9], GZIP),
    ("a gzip bomb of 50 MB", 413, "predict", gzip.compress(body(PREDICT) + b" " * 50_000_000), GZIP),
    ("2 MB", 413, "predict", body(PREDICT) + b" " * 2_000_000),
]
# What pydantic alone takes for a call.
CONTENT = [
    ("`features` twice", 400, "predict", put(PREDICT, '"features"', '"features": [1], "features"')),
    ("`max_tokens` twice", 400, "chat", put(CHAT, '"max_tokens"', '"max_tokens": 1, "max_tokens"')),
    ("a key twice, once with an escape", 400, "chat", put(CHAT, '"max_tokens"', '"max_tok\\u0065ns": 1, "max_tokens"')),
    ("NaN", 400, "predict", first("NaN")),
    ("Infinity", 400, "predict", first("Infinity")),
    ("1e400, which is Infinity", 400, "predict", first("1e400")),
    ('"9" for a number', 422, "predict", first('"9"')),
    ('" 9 " for a number', 422, "predict", first('" 9 "')),
    ('"nan" for a number', 422, "predict", first('"nan"')),
    ("`true` for a number", 422, "predict", first("true")),
    ('"9" for 9 tokens', 422, "chat", body(CHAT, max_tokens="9")),
    ("`true` for one token", 422, "chat", body(CHAT, max_tokens=True)),
    ("9.0 for 9 tokens", 422, TALK, body(CHAT, max_tokens=9.0)),
    ('"9_0" for 90 tokens', 422, "chat", body(CHAT, max_tokens="9_0")),
    ("UTF-16", 400, "predict", body(PREDICT).decode().encode("utf-16")),
    ("UTF-32", 400, "predict", body(PREDICT).decode().encode("utf-32")),
    ("a byte order mark", 400, "predict", b"\xef\xbb\xbf" + body(PREDICT)),
]


def refused(statuses, path, sent, headers=None):
    def act(s):
        before, arrived = s.shim.seen(), s.app.arrived()
        reply = s.send(path, sent, headers)
        within(reply.status, statuses, f"status ({reply})")
        line = s.gateway.record(reply.id)
        equal((line["outcome"], line.get("upstream_status")), ("denied", None), "outcome in the record")
        equal(s.shim.seen(), before, "connections and bytes towards the service")
        equal(s.app.arrived(), arrived, "what the service says that it saw")

    return act


for _what, _status, _path, *_sent in BAD + CONTENT:
    SUITE.add(f"refused with {_status}: {_what}", refused([_status], _path, *_sent))


def taken(path, sent):
    def act(s):
        reply = s.alone(path, sent)
        equal(reply.status, 200, f"the row above says more than is true: status, direct ({reply})")

    return act


for _what, _, _path, _body in CONTENT:
    SUITE.add(f"the service alone takes it: {_what}", taken(_path, _body))


@SUITE.check("the service alone breaks at half a surrogate pair")
def breaks(s):
    equal(s.alone("embed", body(EMBED, text="\ud800")).status, 500, "status, direct")


@SUITE.check("the schema says where the mistake is, and nothing of what was sent")
def spot(s):
    reply = s.send("predict", body(PREDICT, features=[0.5] * 9 + ["MARKER"]))
    equal((reply.json()["pointer"], reply.json()["found"]), ("/features/9", "a string of 6 characters"), "spot")
    assert b"MARKER" not in reply.body, reply
    alone = s.alone("predict", body(PREDICT, features=[0.5] * 9 + ["MARKER"]))
    assert b"MARKER" in alone.body, "pydantic does not send it back any more"


@SUITE.check("paths of the framework do not exist")
def paths(s):
    for path in ("/openapi.json", "/docs", "/redoc", "/docs/oauth2-redirect"):
        equal(s.app.host.call("GET", path).status, 200, f"{path}, direct")
        before = s.shim.seen()
        equal(s.gate.call("GET", path, None, s.gateway.bearer).status, 404, path)
        equal(s.shim.seen(), before, "connections and bytes towards the service")


@SUITE.check("afterwards: every call that arrived through the gateway was a good one")
def only_good(s):
    statuses = [line.get("upstream_status") for line in s.gateway.records() if line["method"] == "POST"]
    equal(statuses.count(200), s.passed, "calls that the service answered")
    equal(len([status for status in statuses if status not in (200, None)]), 0, "calls that the service refused")
    assert s.app.process.alive(), "the service ended"
