"""Contracts that write themselves, from a real Triton: learned from its metadata, narrowed by watched calls, enforced; and a
contract that no longer fits is told."""

import contextlib
import json
import re
import secrets

from gateway import Gateway
from processes import run, until
from report import Suite, equal
from triton_peer import Triton
from wire import Host

JSON = {"Content-Type": "application/json"}


class Scene:
    """A server, and gateways that come and go in front of it."""

    def __init__(self, setting, server):
        self.setting, self.server = setting, server
        self.learned = self.learn("linear")
        self.echo = self.learn("echo")

    def learn(self, model, *more):
        """What the verb prints about a model of the server."""
        url = f"http://127.0.0.1:{self.server.host.port}"
        verb = [self.setting.tollgate, "contract", "learn", "--from", url, "--model", model, "--upstream", "triton"]
        return run([*verb, *more])

    def gateway(self, contracts, mode):
        both = contracts + self.echo.split("models:\n", 1)[1]
        admin = secrets.token_hex(16)
        gate = Gateway(
            self.setting, "learning", {"contracts.yaml": both}, TRITON_PORT=self.server.host.port, MODE=mode, ADMIN_KEY=admin
        )
        gate.admin = {"Authorization": f"Bearer {admin}"}
        return gate


@contextlib.contextmanager
def scene(setting):
    with Triton(setting) as server:
        yield Scene(setting, server)


SUITE = Suite("learn", scene)


def infer(gate, rows, shape=None):
    shape = shape or [len(rows), 4]
    data = [number for row in rows for number in row]
    body = {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}]}
    host = Host(gate.ports["plain"])
    return host.call("POST", "/v2/models/linear/infer", json.dumps(body).encode(), {**JSON, **gate.bearer})


def admin(gate, path):
    return Host(gate.ports["admin"]).call("GET", path, None, gate.admin)


@SUITE.check("what the server tells is what is printed")
def printed(s):
    assert '{ name: "x", dtype: FP32, shape: [batch, 4] }' in s.learned.replace("name: x", 'name: "x"'), s.learned
    assert "batch: { max: 16 } # the server takes no more" in s.learned, s.learned
    assert "dtype: BYTES" in s.echo, s.echo
    assert "      reply: {}" in s.learned and "      reply: {}" in s.echo, "replies are held to outputs"


@SUITE.check("watched calls propose ranges, and what is proposed holds")
def narrowed(s):
    with s.gateway(s.learned, "observe") as gate:
        for turn in range(10):
            equal(infer(gate, [[turn, -1.5, 0.25, 3]] * (turn % 3 + 1)).status, 200, "status while watched")
        figures = gate.folder / "observed.json"
        figures.write_bytes(admin(gate, "/observed").body)
    narrow = s.learn("linear", "--observed", figures)
    assert "range: [-2, 10] } # -1.5 to 9 in 10 requests" in narrow, narrow
    with s.gateway(narrow, "enforce") as gate:
        equal(infer(gate, [[9, -1.5, 0, 10]]).status, 200, "status of what was like it")
        refused = infer(gate, [[9, -1.5, 0, 10.5]])
        equal((refused.status, refused.json()["index"]), (422, 3), "status of what was not")


@SUITE.check("a contract that fits the server has no drift, and one that does not is told and refuses nothing")
def drift(s):
    row = 'tollgate_contract_drift{model="linear",upstream="triton"} '

    def drift_of(gate):
        told = until("the drift is known", lambda: re.search(re.escape(row) + r"(\d+)", admin(gate, "/metrics").body.decode()))
        return int(told[1])

    with s.gateway(s.learned, "enforce") as gate:
        equal(drift_of(gate), 0, "differences")
    with s.gateway(s.learned.replace("dtype: FP32", "dtype: FP64", 1), "enforce") as gate:
        equal(drift_of(gate), 1, "differences")
        words = admin(gate, "/drift").json()["models"]
        words = next(found["differences"] for found in words if found["model"] == "linear")
        equal(words, ["input `x` is FP32 at the server, FP64 in the contract"], "words")


@SUITE.check("afterwards: the server is the same process and its repository is as it was")
def alive(s):
    assert s.server.process.alive(), "the server ended"
    equal(s.server.host.call("GET", "/v2/models/linear/ready").status, 200, "ready")
