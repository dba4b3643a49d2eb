"""OpenAI's own SDK, and LiteLLM's, through the gateway to a real server of texts: the same answers as without it, and usage
counted where nobody asked for it. Suites of such servers `join` them; their models write one sign for a token."""

import itertools
import json
import os
import pathlib
import re

from processes import run
from report import equal, within
from wire import Host

HERE = pathlib.Path(__file__).parent
HI = [{"role": "user", "content": "Say hi"}]
# What differs from one answer to the next of the same request.
FLEETING = re.compile(
    rb'"timings":\{[^}]*\}|"(id|item_id|response_id)":"[^"]*"|"(created|created_at|completed_at)":[0-9.]+'
)
USAGE = {"stream": True, "stream_options": {"include_usage": True}}


class Scene:
    """A server, a relay that counts, a gateway, and a client for each way."""

    def __init__(self, server, shim, gateway, brief):
        import openai

        self.openai, self.server, self.shim, self.gateway = openai, server, shim, gateway
        self.gate = Host(gateway.ports["plain"])
        self.direct = self.client(server.host.port, server.KEY)
        self.through = self.client(self.gate.port, gateway.key)
        self.brief = self.client(self.gate.port, brief)

    def client(self, port, key):
        return self.openai.OpenAI(base_url=base(port), api_key=key, max_retries=0, timeout=20)

    def close(self):
        for client in (self.direct, self.through, self.brief):
            client.close()

    def post(self, host, key, path, body):
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        whole = {"model": "tiny", "temperature": 0, **body}
        return host.call("POST", f"/v1/{path}", json.dumps(whole).encode(), headers)

    def same(self, path, body):
        """The same bytes both ways. The first call warms the cache that later answers tell of."""
        for _ in range(2):
            direct = self.post(self.server.host, self.server.KEY, path, body)
        through = self.post(self.gate, self.gateway.key, path, body)
        equal((direct.status, through.status), (200, 200), "status")
        equal(self.lasting(through.body), self.lasting(direct.body), "answer")
        return through

    def lasting(self, body):
        """An answer without what is never twice the same."""
        return FLEETING.sub(b'"":0', body)

    def counted(self, request_id, read, written):
        line = self.gateway.record(request_id)
        equal((line.get("tokens_in"), line.get("tokens_out")), (read, written), "tokens in the record")
        equal((line["outcome"], line["model"]), ("answered", "tiny"), "outcome and model in the record")


def base(port):
    return f"http://127.0.0.1:{port}/v1"


def steps(values):
    """Values, each as often as another came between: a server may send two tokens in one event."""
    return [value for value, _ in itertools.groupby(values)]


CHAT, TEXT, ANSWER = "chat/completions", "completions", "responses"
TURNS = [{"role": "system", "content": "Be brief"}, *HI, {"role": "assistant", "content": "hi"}, *HI]
PARTS = [{"role": "user", "content": [{"type": "text", "text": text} for text in ("Say", "hi")]}]
YES = {"type": "json_schema", "json_schema": {"name": "yes", "schema": {"type": "boolean"}}}
# Whole answers and streams, byte for byte.
SAME = {
    "a chat": (CHAT, {"messages": HI, "max_tokens": 8}),
    "a chat of system, user and assistant": (CHAT, {"messages": TURNS, "max_tokens": 8}),
    "a chat in parts of text": (CHAT, {"messages": PARTS, "max_tokens": 8}),
    "a chat with `max_completion_tokens`": (CHAT, {"messages": HI, "max_completion_tokens": 8}),
    "a chat that stops at a word": (CHAT, {"messages": HI, "max_tokens": 8, "stop": ["w"]}),
    "a chat with log probabilities": (CHAT, {"messages": HI, "max_tokens": 2, "logprobs": True, "top_logprobs": 3}),
    "a chat with an answer by schema": (CHAT, {"messages": HI, "max_tokens": 16, "response_format": YES}),
    "a chat that streams with usage": (CHAT, {"messages": HI, "max_tokens": 8, **USAGE}),
    "a completion": (TEXT, {"prompt": "Once", "max_tokens": 8}),
    "a completion that streams with usage": (TEXT, {"prompt": "Once", "max_tokens": 8, **USAGE}),
    "a response": (ANSWER, {"input": "Say hi", "max_output_tokens": 8}),
    "a response to items": (ANSWER, {"input": HI, "max_output_tokens": 8}),
    "a response that streams": (ANSWER, {"input": "Say hi", "max_output_tokens": 8, "stream": True}),
}
SHARED = []


def join(suite):
    """Adds what every server of texts is asked."""
    for what, (path, body) in SAME.items():
        suite.add(f"the same bytes as direct: {what}", same(path, body))
    for name, act in SHARED:
        suite.add(name, act)


def same(path, body):
    return lambda s: s.same(path, body)


def check(name):
    def register(act):
        SHARED.append((name, act))
        return act

    return register


@check("openai: the models are those of the key")
def models(s):
    within("tiny", [model.id for model in s.direct.models.list().data], "models, direct")
    equal([model.id for model in s.through.models.list().data], ["tiny"], "models")


@check("openai: a chat, and its tokens in the record")
def chat(s):
    raw = s.through.chat.completions.with_raw_response.create(model="tiny", messages=HI, max_tokens=8, temperature=0)
    answer = raw.parse()
    direct = s.direct.chat.completions.create(model="tiny", messages=HI, max_tokens=8, temperature=0)
    equal(answer.choices[0].message.content, direct.choices[0].message.content, "text")
    equal(len(answer.choices[0].message.content), 8, "signs")
    s.counted(raw.headers["x-request-id"], answer.usage.prompt_tokens, 8)


@check("openai: a completion, and its tokens in the record")
def completion(s):
    raw = s.through.completions.with_raw_response.create(model="tiny", prompt="abc", max_tokens=4, temperature=0)
    answer = raw.parse()
    equal(answer.usage.completion_tokens, 4, "tokens")
    s.counted(raw.headers["x-request-id"], answer.usage.prompt_tokens, 4)


@check("openai: who says nothing of length gets the default of the contract")
def default_length(s):
    answer = s.through.chat.completions.create(model="tiny", messages=HI, temperature=0)
    equal(answer.usage.completion_tokens, 8, "tokens")


def streamed(client, **more):
    raw = client.chat.completions.with_raw_response.create(
        model="tiny", messages=HI, max_tokens=6, temperature=0, stream=True, **more
    )
    return raw.headers.get("x-request-id"), list(raw.parse())


def text(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


@check("openai: a stream without a wish for usage has no chunk of it, and the record has the tokens")
def quiet_stream(s):
    _, direct = streamed(s.direct)
    request_id, through = streamed(s.through)
    equal((text(through), len(text(through))), (text(direct), 6), "text")
    equal([chunk.usage for chunk in through if chunk.usage], [], "usage")
    choices = [steps(len(chunk.choices) for chunk in chunks) for chunks in (through, direct)]
    equal(*choices, "choices of the chunks")
    equal(through[-1].choices[0].finish_reason, "length", "end")
    answer = s.through.chat.completions.create(model="tiny", messages=HI, max_tokens=6, temperature=0)
    s.counted(request_id, answer.usage.prompt_tokens, 6)


@check("openai: the server was asked for usage although the client was not interested")
def asked_for(s):
    s.shim.heads.clear()
    streamed(s.through)
    sent = b"".join(s.shim.heads)
    assert b'"stream_options":{"include_usage":true}' in sent, sent[-300:]


@check("openai: a stream with a wish for usage ends with its chunk")
def told_stream(s):
    asked = {"stream_options": {"include_usage": True}}
    _, direct = streamed(s.direct, **asked)
    request_id, through = streamed(s.through, **asked)
    equal(text(through), text(direct), "text")
    equal(through[-1].usage, direct[-1].usage, "usage")
    equal([steps(len(chunk.choices) for chunk in chunks) for chunks in (through, direct)], [[1, 0]] * 2, "chunks")
    s.counted(request_id, through[-1].usage.prompt_tokens, 6)


@check("openai: a response")
def response(s):
    ask = {"model": "tiny", "input": "Say hi", "max_output_tokens": 6, "temperature": 0}
    direct = s.direct.responses.create(**ask)
    raw = s.through.responses.with_raw_response.create(**ask)
    through = raw.parse()
    equal((through.output_text, len(through.output_text)), (direct.output_text, 6), "text")
    s.counted(raw.headers["x-request-id"], through.usage.input_tokens, 6)


@check("openai: a response that streams has all of its events, the last with the usage")
def response_stream(s):
    ask = {"model": "tiny", "input": "Say hi", "max_output_tokens": 6, "temperature": 0, "stream": True}
    direct = list(s.direct.responses.create(**ask))
    raw = s.through.responses.with_raw_response.create(**ask)
    through = list(raw.parse())
    equal(*(steps(event.type for event in events) for events in (through, direct)), "events")
    equal(through[-1].type, "response.completed", "the last event")
    equal(through[-1].response.output_text, direct[-1].response.output_text, "text")
    s.counted(raw.headers["x-request-id"], through[-1].response.usage.input_tokens, 6)


def litellm(s, port, key):
    # Without the variable it asks the network for a list of prices.
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    said = run([s.server.clients, "-B", HERE / "litellm_client.py", base(port), key], 150, env=env)
    return json.loads(said.strip().splitlines()[-1])


@check("litellm: a chat and its stream, with the same words and usage as direct")
def other_sdk(s):
    direct = litellm(s, s.server.host.port, s.server.KEY)
    through = litellm(s, s.gate.port, s.gateway.key)
    for what in ("text", "usage", "streamed", "usage_unasked", "usage_asked"):
        equal(through[what], direct[what], what)
    equal((through["streamed"], through["usage_unasked"]), (through["text"], []), "stream")
    equal(through["over"], ["BadRequestError", 422], "more tokens than allowed")
    equal(through["key"], ["AuthenticationError", 401], "a key that nobody has")
