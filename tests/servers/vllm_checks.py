"""A real vLLM behind its preset: what `openai_checks` asks of every server of texts, Anthropic's messages, what vLLM
answers without its own key, members that only it has, and clients that leave.

Optional: 6 GB, which nothing here installs. README.md has the two commands.
"""

import contextlib
import json

import facts
import openai_checks
from gateway import Gateway
from llamacpp_refusals import OTHER, UNFIT, refused
from openai_checks import CHAT, HI, TEXT, chat
from processes import until
from report import Suite, equal, within
from vllm_peer import Keyed, Vllm

JSON = {"Content-Type": "application/json"}
CHATS, MESSAGES = "/v1/chat/completions", "/v1/messages"


class Scene(openai_checks.Scene):
    """With a client that may ask for a thousand tokens."""

    def __init__(self, server, shim, gateway, brief, patient):
        super().__init__(server, shim, gateway, brief)
        self.patient = self.client(self.gate.port, patient)

    def close(self):
        super().close()
        self.patient.close()

    def lasting(self, body):
        """Byte for byte, but for streams: vLLM sends as many tokens in one event as there are when it comes to it."""
        body = super().lasting(body)
        return joined(body) if b"data: {" in body else body


def events(body):
    return [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]


def joined(stream):
    """What a stream says, however its text is cut: the text, whatever else stands anywhere, and the last line."""
    texts, told = [], set()

    def walk(value, path):
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, (*path, key))
        elif isinstance(value, list):
            for inner in value:
                walk(inner, path)
        elif path[-1] in ("content", "delta", "text") and isinstance(value, str):
            texts.append(value)
        elif value is not None and path[-1] != "sequence_number":
            told.add((path, value))

    for event in events(stream):
        walk(event, ())
    return "".join(texts), told, stream.strip().splitlines()[-1]


@contextlib.contextmanager
def scene(setting):
    with Vllm(setting) as server, Keyed(server.host.port, server.KEY) as shim:
        gateway = Gateway(setting, "before_vllm", VLLM_PORT=shim.port)
        brief, patient = gateway.key_of("brief"), gateway.key_of("patient")
        with gateway:
            made = Scene(server, shim, gateway, brief, patient)
            try:
                yield made
            finally:
                made.close()


SUITE = Suite("vllm", scene, optional=True)
openai_checks.join(SUITE)


@SUITE.check("the same as direct: a completion that streams without a wish for usage")
def quiet_completion(s):
    through = s.same(TEXT, {"prompt": "Once", "max_tokens": 4, "stream": True})
    assert b'"usage":{' not in through.body, through
    s.counted(through.id, 4, 4)


@SUITE.check("the same bytes as direct: messages in Anthropic's words, and their tokens in the record")
def messages(s):
    through = s.same("messages", {"messages": HI, "max_tokens": 8})
    told = through.json()
    equal((told["type"], told["stop_reason"]), ("message", "max_tokens"), "kind of answer and its end")
    s.counted(through.id, told["usage"]["input_tokens"], 8)


@SUITE.check("the same bytes as direct: messages in Anthropic's words that stream, and their tokens in the record")
def message_stream(s):
    through = s.same("messages", {"messages": HI, "system": "Be brief", "max_tokens": 8, "stream": True})
    assert through.body.rstrip().endswith(b'data: {"type":"message_stop"}'), through.body[-200:]
    [started] = [event["message"]["usage"] for event in events(through.body) if event["type"] == "message_start"]
    s.counted(through.id, started["input_tokens"], 8)


@SUITE.check("messages that Anthropic's words have no room for are refused in them")
def message_refused(s):
    before = s.shim.seen()
    reply = s.post(s.gate, s.gateway.key, "messages", {"messages": HI, "max_tokens": 33})
    equal((reply.status, reply.json()["type"], reply.json()["error"]["pointer"]), (422, "error", "/max_tokens"), "error")
    equal(s.shim.seen(), before, "connections and bytes towards the server")


@SUITE.check("openai: embeddings, which this model has not, are a failure without the server's words")
def not_offered(s):
    equal(s.post(s.server.host, s.server.KEY, "embeddings", {"input": "hi"}).status, 404, "status, direct")
    try:
        s.through.embeddings.create(model="tiny", input="hi")
    except s.openai.APIStatusError as error:
        within(error.status_code, [404, 502], "status")
        assert "detail" not in str(error.body), error.body
        return
    raise AssertionError("it was served")


# What a client gets to know of a refusal, and that the server sees not one byte: as in front of llama.cpp.
for _what, _param, _more in UNFIT:
    SUITE.add(f"openai: UnprocessableEntityError for {_what}", refused("UnprocessableEntityError", _param, _more))
for _what, _kind, _more in OTHER:
    SUITE.add(f"openai: {_kind} for {_what}", refused(_kind, ..., _more))


# Members that vLLM alone has: straight, it obeys; the gateway refuses them by their name.
def member(what, name, value, harm, endpoint=CHAT, **more):
    body = {"model": "tiny", "temperature": 0, **ASKS[endpoint], name: value, **more}
    facts.fact(SUITE, f"{what} (`{name}`)", 422, f"/v1/{endpoint}", json.dumps(body).encode(), harm)


ASKS = {
    CHAT: {"messages": HI, "max_tokens": 4},
    TEXT: {"prompt": "Say hi", "max_tokens": 4},
    "responses": {"input": "Say hi", "max_output_tokens": 4},
}


def reads(tokens):
    def harm(straight):
        facts.taken(straight)
        equal(straight.json()["usage"]["prompt_tokens"], tokens, "tokens that it read, direct")

    return harm


def tells(*path):
    """It answers with more than a chat has: what stands at `path` is not empty."""

    def harm(straight):
        facts.taken(straight)
        found = straight.json()
        for step in path:
            found = found[step]
        assert found, f"the server has learned better: nothing at {path}"

    return harm


def is_called(name):
    def harm(straight):
        facts.taken(straight)
        equal(straight.json()["id"], name, "name of the answer, direct")

    return harm


def starts(words):
    def harm(straight):
        facts.taken(straight)
        text = straight.json()["choices"][0]
        text = text.get("text") or text["message"]["content"]
        assert text.startswith(words), f"the server has learned better: {text!r}"

    return harm


PLACE = ("choices", 0, "logprobs", "content", 0, "top_logprobs", 8)
member("3 tokens are read of 23, after a chat was judged", "truncate_prompt_tokens", 3, reads(3))
member("the prompt comes back, whatever was put before it", "return_prompt_text", True, tells("prompt_text"))
member("the prompt comes back in front of a completion", "echo", True, starts("Say hi"), TEXT)
member("probabilities of each token of the prompt", "prompt_logprobs", 20, tells("prompt_logprobs", 5))
member("probabilities that `top_logprobs` does not count", "logprob_token_ids", list(range(5, 15)), tells(*PLACE), logprobs=True)
member("token ids", "return_token_ids", True, tells("prompt_token_ids"))
member("a name that the client gives its answer", "request_id", "mine", is_called("chatcmpl-mine"))
member("a search for the best answer", "use_beam_search", True, facts.taken)
member("a jump in the queue", "priority", -5, facts.taken)
member("arguments of a plugin", "vllm_xargs", {"a": 1}, facts.taken)
member("a pattern for the answer", "structured_outputs", {"regex": "(yes|no)"}, starts(("yes", "no")))
member("a least length", "min_tokens", 4, facts.taken)
member("an answer that does not end", "ignore_eos", True, facts.taken)
member("a salt of the cache", "cache_salt", "mine", facts.taken)
member("an own beginning of the answer", "add_generation_prompt", False, reads(12))
member("what the model read", "enable_response_messages", True, tells("input_messages"), "responses")
member("state that the server keeps", "store", True, facts.taken, "responses")
TWICE = b'{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":1,"max_tokens":9}'
NINE = b'{"model":"tiny","messages":[{"role":"user","content":"hi"}],"max_tokens":"9"}'
NOBODY = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":1}'
ROOT = b'{"model":"tiny","messages":[{"role":"root","content":"hi"}],"max_tokens":1}'
IDS = b'{"model":"tiny","prompt":[5,6,7],"max_tokens":2}'
facts.fact(SUITE, "`max_tokens` twice, of which the last is spent", 400, CHATS, TWICE, facts.spends(9))
facts.fact(SUITE, 'tokens as a string, "9"', 422, CHATS, NINE, facts.spends(9))
facts.fact(SUITE, "a chat with no model at all", 422, CHATS, NOBODY, facts.taken)
facts.fact(SUITE, "a role that nobody has", 422, CHATS, ROOT, facts.taken)
facts.fact(SUITE, "token ids instead of a prompt", 422, "/v1/completions", IDS, facts.taken)


# What answers without the server's own key, or with it and more than a chat.
SAID = json.dumps({"model": "tiny", "messages": HI, "prompt": "hi", "tokens": [5], "max_tokens": 2}).encode()
OPEN = [
    ("POST", "/invocations"),
    ("POST", "/tokenize"),
    ("POST", "/detokenize"),
    ("POST", "/is_scaling_elastic_ep"),
    ("GET", "/metrics"),
    ("GET", "/version"),
    ("GET", "/load"),
    ("GET", "/ping"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
]
# Their bodies are wrong on purpose: that they are read at all is what is shown.
READ = [("POST", "/scale_elastic_ep"), ("POST", "/generative_scoring"), ("POST", "/adapters")]
KEYED = [
    ("POST", "/v1/load_lora_adapter"),
    ("POST", "/v1/unload_lora_adapter"),
    ("POST", "/v1/messages/count_tokens"),
    ("POST", "/v1/chat/completions/batch"),
    ("POST", "/v1/chat/completions/render"),
    ("POST", "/v1/responses/resp_1/cancel"),
    ("GET", "/v1/responses/resp_1"),
]
NEVER = [
    ("POST", "/pooling"),
    ("POST", "/score"),
    ("POST", "/rerank"),
    ("POST", "/classify"),
    ("POST", "/sleep"),
    ("POST", "/reset_prefix_cache"),
    ("POST", "/collective_rpc"),
    ("POST", "/v1/chat/completions/"),
    ("POST", "//v1/chat/completions"),
    ("POST", "/V1/chat/completions"),
    ("POST", "/v1/%63hat/completions/x"),
]


def closed(s, method, path):
    before = s.shim.seen()
    body = SAID if method == "POST" else None
    for headers in ({**JSON, **s.gateway.bearer}, JSON):
        reply = s.gate.call(method, path, body, headers)
        within(reply.status, [400, 404], f"{method} {path}, through")
    equal(s.shim.seen(), before, f"bytes towards the server for {path}")


def straight(s, method, path, headers):
    return s.server.host.call(method, path, SAID if method == "POST" else None, {**JSON, **headers})


for _method, _path in OPEN:

    def open_to_all(s, method=_method, path=_path):
        equal(straight(s, method, path, {}).status, 200, f"{method} {path}, direct and without a key")
        closed(s, method, path)

    SUITE.add(f"closed, while vLLM answers without a key: {_method} {_path}", open_to_all)


@SUITE.check("closed, while vLLM reads it without a key: " + ", ".join(path for _, path in READ))
def read_from_all(s):
    for method, path in READ:
        reply = straight(s, method, path, {})
        assert reply.status not in (401, 403, 404), f"{path}, direct and without a key: {reply}"
        closed(s, method, path)


@SUITE.check("closed, also with a key: adapters, counts, batches, prompts, answers of others")
def keyed(s):
    for method, path in KEYED:
        equal(straight(s, method, path, {}).status, 401, f"{method} {path}, direct and without a key")
        assert b"Not Found" not in straight(s, method, path, s.server.bearer).body, f"{path} does not exist"
        closed(s, method, path)


@SUITE.check("closed: what other models and builds have, and other spellings of paths")
def never(s):
    for method, path in NEVER:
        closed(s, method, path)


@SUITE.check("the key of the server is not the clients', nor theirs the server's")
def keys(s):
    body = json.dumps({"model": "tiny", "messages": HI, "max_tokens": 1}).encode()
    equal(s.gate.call("POST", CHATS, body, {**JSON, **s.server.bearer}).status, 401, "the server's key at the gateway")
    equal(s.server.host.call("POST", CHATS, body, {**JSON, **s.gateway.bearer}).status, 401, "a client's at the server")


RUNNING, WRITTEN = "vllm:num_requests_running", "vllm:generation_tokens_total"
LONG = {"model": "long", "temperature": 0, "messages": HI}


def idle(s):
    return s.server.metric(RUNNING) == 0


@SUITE.check("a long answer is written whole while nobody leaves")
def stays(s):
    answer = s.patient.chat.completions.create(**LONG, max_tokens=300)
    equal(answer.usage.completion_tokens, 300, "tokens")


@SUITE.check("a client that leaves in mid-stream frees vLLM")
def leaves(s):
    until("vLLM is idle", lambda: idle(s))
    before = s.server.metric(WRITTEN)
    raw = s.patient.chat.completions.with_raw_response.create(**LONG, max_tokens=900, stream=True)
    stream = raw.parse()
    assert next(iter(stream)), "no chunk"
    equal(s.server.metric(RUNNING), 1, "requests that run")
    stream.close()
    freed(s, before, raw.headers["x-request-id"])


@SUITE.check("a client that leaves before the first byte of a whole answer frees vLLM")
def leaves_early(s):
    until("vLLM is idle", lambda: idle(s))
    before = s.server.metric(WRITTEN)
    body = json.dumps({**LONG, "max_tokens": 900}).encode()
    plain = s.gate.connect()
    plain.request("POST", CHATS, body, {**JSON, "Authorization": f"Bearer {s.patient.api_key}"})
    until("vLLM works at it", lambda: s.server.metric(RUNNING) == 1)
    plain.close()
    freed(s, before)


def freed(s, before, request_id=None):
    """Within two seconds, and long before all is written."""
    until("vLLM is idle", lambda: idle(s), 2)
    written = s.server.metric(WRITTEN) - before
    assert written < 800, f"{written} tokens were written for a client that had left"
    if request_id:
        equal(s.gateway.record(request_id)["outcome"], "client_left", "outcome in the record")


@SUITE.check("afterwards: the server is the same process and answers")
def alive(s):
    assert s.server.process.alive(), "the server ended"
    chat(s)


