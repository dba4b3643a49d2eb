"""OpenAI's own SDK, with the retries that it makes by itself, against a gateway that refuses: it sleeps as it is told and
does not hammer. What came is counted at the gateway, from its records."""

import contextlib
import threading
import time

from gateway import Gateway
from processes import until
from report import Suite, equal
from sdk_peer import Stub

SAY = [{"role": "user", "content": "Say hi"}]
TENANTS = ("brisk", "crowd", "month", "poor", "rich")


class Told:
    """A client as a program would make it, and every answer that its library saw."""

    def __init__(self, scene, tenant, retries=2):
        openai = scene.openai
        self.answers = []
        inner = openai.DefaultHttpxClient(event_hooks={"response": [self._note]})
        base = f"http://127.0.0.1:{scene.gateway.ports['plain']}/v1"
        key = scene.keys[tenant]
        self.client = openai.OpenAI(base_url=base, api_key=key, http_client=inner, timeout=30, max_retries=retries)

    def _note(self, response):
        self.answers.append((time.monotonic(), response.status_code, dict(response.headers)))

    def chat(self, **more):
        return self.client.chat.completions.create(**{"model": "tiny", "messages": SAY, **more})

    @property
    def statuses(self):
        return [status for _, status, _ in self.answers]

    def obeyed(self):
        """After each refusal the next request came no sooner than it was told to."""
        for (then, status, headers), (now, _, _) in zip(self.answers, self.answers[1:]):
            told = float(headers["retry-after-ms"]) / 1000
            assert status in (429, 503), f"{status} was tried again"
            assert now - then >= told, f"told to wait {told} s, came after {now - then:.3f} s"
            assert now - then < told + 2, f"told to wait {told} s, came after {now - then:.3f} s"


class Scene:
    def __init__(self, stub, gateway, keys):
        import openai

        self.openai, self.stub, self.gateway, self.keys = openai, stub, gateway, keys

    def counted(self, tenant, count):
        """What the gateway itself saw of a tenant; lines come in batches."""

        def lines():
            return [line for line in self.gateway.records() if line["tenant"] == tenant]

        until(f"{count} records of {tenant}", lambda: len(lines()) >= count, 5)
        equal(len(lines()), count, f"requests of {tenant} at the gateway")


@contextlib.contextmanager
def scene(setting):
    setting.packages()
    with Stub() as stub:
        gateway = Gateway(setting, "before_sdk", STUB_PORT=stub.port)
        keys = {tenant: gateway.key_of(tenant) for tenant in TENANTS}
        with gateway:
            yield Scene(stub, gateway, keys)


SUITE = Suite("sdk", scene)


def refusal(scene, kind, act):
    try:
        act()
    except scene.openai.APIStatusError as error:
        equal(type(error).__name__, kind, f"error ({error})")
        return error
    raise AssertionError("it was served")


@SUITE.check("it sleeps as long as it is told, and is then served")
def sleeps(s):
    told = Told(s, "brisk")
    told.chat()
    told.chat()
    equal(told.statuses, [200, 429, 200], "what the library saw")
    told.answers.pop(0)
    told.obeyed()
    headers = told.answers[0][2]
    equal(headers["x-ratelimit-limit-requests"], "1", "limit")
    equal(headers["x-ratelimit-remaining-requests"], "0", "remaining")
    assert headers["x-ratelimit-reset-requests"].endswith("s"), headers
    s.counted("brisk", 3)


@SUITE.check("a stream that is refused is slept for as well")
def streams(s):
    told = Told(s, "brisk")
    for _ in range(2):
        equal([chunk.choices[0].delta.content for chunk in told.chat(stream=True) if chunk.choices], ["hi"], "text")
    told.answers = [answer for answer in told.answers if answer[1] == 429] + told.answers[-1:]
    told.obeyed()


@SUITE.check("a quota that is used up for the month is asked for once, not three times")
def month(s):
    told = Told(s, "month")
    told.chat()
    began = time.monotonic()
    error = refusal(s, "RateLimitError", told.chat)
    equal((error.code, error.type), ("insufficient_quota", "insufficient_quota"), "code and type")
    equal(error.response.headers["x-should-retry"], "false", "x-should-retry")
    assert int(error.response.headers["retry-after"]) > 0
    equal(told.statuses, [200, 429], "what the library saw")
    assert time.monotonic() - began < 5, "it slept for nothing"
    s.counted("month", 2)


@SUITE.check("what can never fit is asked for once, and told what would fit")
def never_fits(s):
    told = Told(s, "poor")
    ask = {"model": "tiny", "prompt": "hi", "max_tokens": 2}
    error = refusal(s, "APIStatusError", lambda: told.client.completions.create(**ask))
    equal((error.status_code, error.code, error.type), (413, "cost_exceeds_capacity", "invalid_request_error"), "error")
    members = {name: error.body[name] for name in ("violated-policies", "unit", "cost", "limit")}
    expected = {"violated-policies": ["coins"], "unit": "compute", "cost": 5_000_000, "limit": 1_000_000}
    equal(members, expected, "figures")
    s.counted("poor", 1)


@SUITE.check("a crowd that is refused comes back as it is told, and not at once")
def crowd(s):
    everybody = [Told(s, "crowd") for _ in range(12)]

    def ask(told):
        with contextlib.suppress(s.openai.RateLimitError):
            told.chat()

    threads = [threading.Thread(target=ask, args=(told,)) for told in everybody]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for told in everybody:
        told.obeyed()
    seen = [answer for told in everybody for answer in told.answers]
    waits = {headers["retry-after-ms"] for _, status, headers in seen if status == 429}
    assert len(seen) <= 3 * len(everybody), f"{len(seen)} requests of {len(everybody)} callers"
    assert len(waits) > 4, f"everybody was told the same: {waits}"
    s.counted("crowd", len(seen))


@SUITE.check("a queue that is full is capacity, not quota: 503, and the wait is obeyed")
def overloaded(s):
    s.stub.go.clear()
    before = s.stub.arrived
    held = [threading.Thread(target=lambda: Told(s, "rich").chat(model="slow")) for _ in range(2)]
    for thread in held:
        thread.start()
    until("one at the server", lambda: s.stub.arrived == before + 1, 10)
    told = Told(s, "rich", retries=0)

    def full():
        try:
            # A short patience: until both others are there this one takes the place in the queue.
            told.client.with_options(timeout=0.2).chat.completions.create(model="slow", messages=SAY)
        except s.openai.APITimeoutError:
            return None
        except s.openai.InternalServerError as error:
            return error

    error = until("a full queue", full, 10)
    equal((error.status_code, error.code, error.type), (503, "server_is_overloaded", "service_unavailable_error"), "error")
    assert float(error.response.headers["retry-after-ms"]) > 0
    patient = Told(s, "rich", retries=4)
    released = threading.Timer(0.3, s.stub.go.set)
    released.start()
    patient.chat(model="slow")
    released.join()
    for thread in held:
        thread.join(20)
    assert len(patient.answers) <= 5, patient.statuses
    patient.obeyed()
