"""OpenAI's own SDK, and LiteLLM's, through the gateway to a real llama.cpp: what `openai_checks` asks of every server of
texts, and what is this server's alone. What is refused stands in `llamacpp_refusals`."""

import contextlib

import openai_checks
from gateway import Gateway
from llamacpp_peer import LlamaCpp
from openai_checks import HI, Scene
from report import Suite, equal
from shim import Shim


@contextlib.contextmanager
def scene(setting):
    with LlamaCpp(setting) as server, Shim(server.host.port) as shim:
        gateway = Gateway(setting, "before_llamacpp", LLAMA_PORT=shim.port)
        brief = gateway.key_of("brief")
        with gateway:
            made = Scene(server, shim, gateway, brief)
            try:
                yield made
            finally:
                made.close()


SUITE = Suite("llamacpp", scene)
openai_checks.join(SUITE)


@SUITE.check("openai: a completion that streams without a wish for usage keeps what the server says unasked")
def quiet_completion(s):
    ask = {"model": "tiny", "prompt": "abc", "max_tokens": 4, "temperature": 0, "stream": True}
    direct = list(s.direct.completions.create(**ask))
    raw = s.through.completions.with_raw_response.create(**ask)
    chunks = list(raw.parse())
    for chunk in (direct[-1], chunks[-1]):
        equal((len(chunk.choices), chunk.usage.completion_tokens), (1, 4), "the last chunk: choices, and tokens beside")
    equal(len(chunks), len(direct), "chunks")
    equal(len("".join(chunk.choices[0].text for chunk in chunks)), 4, "signs")
    s.counted(raw.headers["x-request-id"], 5, 4)


@SUITE.check("openai: a client that leaves in mid-stream leaves the slot to the next")
def leaves(s):
    stream = s.through.chat.completions.create(model="tiny", messages=HI, max_tokens=32, temperature=0, stream=True)
    next(iter(stream))
    stream.close()
    answer = s.through.chat.completions.create(model="tiny", messages=HI, max_tokens=1)
    equal(answer.usage.completion_tokens, 1, "tokens")
