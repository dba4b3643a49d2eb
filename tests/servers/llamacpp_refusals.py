"""What a program of OpenAI's SDK catches where the gateway before a real llama.cpp refuses, while the server sees not
one byte. It shares its scene with `llamacpp_checks`."""

from llamacpp_checks import SUITE
from openai_checks import HI, chat
from report import equal, within

# A picture that the server would fetch.
LINK = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/pixel.png"}}]}]
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
BIASES = {str(token): 1 for token in range(301)}


def user(content, role="user"):
    return {"messages": [{"role": role, "content": content}]}


def member(name, value):
    """A member that the SDK does not know."""
    return {"extra_body": {name: value}}


# What, `param` (`...`: whatever it is), what differs from a chat that is served.
UNFIT = [
    ("more tokens than allowed", "max_tokens", {"max_tokens": 33}),
    ("more tokens than allowed, by the newer name", "max_completion_tokens", {"max_completion_tokens": 10**9}),
    ("tokens as a string", "max_tokens", {"max_tokens": "9"}),
    ("2.9 tokens", "max_tokens", {"max_tokens": 2.9}),
    ("`true` tokens", "max_tokens", {"max_tokens": True}),
    ("-1 tokens", "max_tokens", {"max_tokens": -1}),
    ("2^64 tokens", "max_tokens", {"max_tokens": 2**64}),
    ("51 messages", "messages", {"messages": HI * 51}),
    ("no messages", "messages", {"messages": []}),
    ("a role that does not exist", "messages.0.role", user("hi", "root")),
    ("a number for content", "messages.0.content", user(5)),
    ("201 characters", ..., user("x" * 201)),
    ("a link to an image", ..., {"messages": LINK}),
    ("two answers", "n", {"n": 2}),
    ("five stops", "stop", {"stop": list("abcde")}),
    ("three tools", "tools", {"tools": [TOOL] * 3}),
    ("301 biases", "logit_bias", {"logit_bias": BIASES}),
    ("a template of the client's", "chat_template", member("chat_template", "{{ 7 * 7 }}")),
    ("an answer without end", "ignore_eos", member("ignore_eos", True)),
    ("a grammar", "grammar", member("grammar", "root ::= [a]")),
]
# What, the SDK's error, what differs.
OTHER = [
    ("a model that does not exist", "NotFoundError", {"model": "nobody"}),
    ("a model of somebody else", "PermissionDeniedError", {"model": "other"}),
    ("a NUL in the model", "BadRequestError", {"model": "ti\0ny"}),
]


def refused(kind, param, more):
    def act(s):
        before = s.shim.seen()
        ask = {"model": "tiny", "messages": HI, **more}
        try:
            s.through.chat.completions.create(**ask)
        except s.openai.APIStatusError as error:
            equal(type(error).__name__, kind, f"error ({error})")
            if param is not ...:
                equal(error.param, param, "param")
            line = s.gateway.record(error.response.headers["x-request-id"])
            equal((line["outcome"], line["code"]), ("denied", error.code), "outcome and code in the record")
        else:
            raise AssertionError("it was served")
        equal(s.shim.seen(), before, "connections and bytes towards the server")

    return act


for _what, _param, _more in UNFIT:
    SUITE.add(f"openai: UnprocessableEntityError for {_what}", refused("UnprocessableEntityError", _param, _more))
for _what, _kind, _more in OTHER:
    SUITE.add(f"openai: {_kind} for {_what}", refused(_kind, ..., _more))


def raised(s, kind, act):
    before = s.shim.seen()
    try:
        act()
    except s.openai.APIStatusError as error:
        equal(type(error).__name__, kind, f"error ({error})")
        equal(s.shim.seen(), before, "connections and bytes towards the server")
        return error
    raise AssertionError("it was served")


@SUITE.check("openai: BadRequestError for `max_tokens` twice")
def twice(s):
    body = b'{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":1,"max_tokens":9}'
    ask = {"content": body, "options": {"headers": {"Content-Type": "application/json"}}, "cast_to": object}
    raised(s, "BadRequestError", lambda: s.through.post("/chat/completions", **ask))


@SUITE.check("openai: UnprocessableEntityError for token ids as a prompt")
def token_ids(s):
    ask = {"model": "tiny", "prompt": [1, 2, 3], "max_tokens": 2}
    error = raised(s, "UnprocessableEntityError", lambda: s.through.completions.create(**ask))
    equal(error.param, "prompt", "param")


@SUITE.check("openai: UnprocessableEntityError for somebody's earlier response")
def earlier(s):
    ask = {"model": "tiny", "input": "hi", "previous_response_id": "resp_1"}
    error = raised(s, "UnprocessableEntityError", lambda: s.through.responses.create(**ask))
    equal(error.param, "previous_response_id", "param")


@SUITE.check("openai: AuthenticationError for a key that nobody has")
def no_key(s):
    raised(s, "AuthenticationError", lambda: s.through.with_options(api_key="nobody").models.list())


@SUITE.check("openai: RateLimitError, with the true wait, once the quota is spent")
def spent(s):
    found = []
    for _ in range(6):
        try:
            s.brief.chat.completions.create(model="tiny", messages=HI, max_tokens=1)
        except s.openai.RateLimitError as error:
            found.append(error)
            equal((error.code, error.type), ("rate_limit_exceeded", "rate_limit_error"), "code and type")
            within(error.response.headers["retry-after"], ["1", "2"], "wait")
    assert found, "six calls were served at once with a quota of two"


@SUITE.check("openai: what the server does not do is not told in its own words")
def not_offered(s):
    try:
        s.direct.embeddings.create(model="tiny", input="hi")
    except s.openai.InternalServerError as error:
        equal(error.status_code, 501, "status, direct")
    try:
        s.through.embeddings.create(model="tiny", input="hi")
    except s.openai.InternalServerError as error:
        equal((error.status_code, error.code), (502, "upstream_failed"), "status and code")
        assert "--embeddings" not in str(error), error
        return
    raise AssertionError("it was served")


PATHS = [
    ("GET", "/props"),
    ("GET", "/slots"),
    ("GET", "/metrics"),
    ("POST", "/completion"),
    ("POST", "/tokenize"),
    ("POST", "/apply-template"),
    ("POST", "/v1/chat/completions/"),
]


@SUITE.check("paths of the server that are not OpenAI's do not exist")
def paths(s):
    for method, path in PATHS:
        before = s.shim.seen()
        body = b"{}" if method == "POST" else None
        reply = s.gate.call(method, path, body, {"Content-Type": "application/json", **s.gateway.bearer})
        equal(reply.status, 404, f"{method} {path}")
        equal(s.shim.seen(), before, f"bytes towards the server for {path}")


@SUITE.check("afterwards: the server is the same process and answers")
def alive(s):
    assert s.server.process.alive(), "the server ended"
    chat(s)
