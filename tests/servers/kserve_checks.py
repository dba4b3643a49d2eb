"""Rows and tensors through the gateway to a real KServe model server, whose two protocols have a parser each."""

import json

from kserve_peer import KServe
from oip_scene import OipScene, before
from report import Suite, equal

PREDICT = "/v1/models/doubler:predict"
JSON = {"Content-Type": "application/json"}


class Scene(OipScene):
    """The same, and rows by hand."""

    def rows(self, body, path=PREDICT, method="POST"):
        return self.gate.call(method, path, body, {**JSON, **self.gateway.bearer})

    def infer(self, client, rows, binary, **more):
        tensor = self.triton.InferInput("x", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows, binary_data=binary)
        outputs = [self.triton.InferRequestedOutput("y", binary_data=binary)]
        headers = self.headers_for(client)
        return client.infer("doubler", [tensor], outputs=outputs, headers=headers, **more).as_numpy("y").tolist()


SUITE = Suite("kserve", before(KServe, "before_kserve", "DOUBLER_PORT", Scene))

GOOD = {
    "a row": b'{"instances": [[1, 2, 3, 4]]}',
    "16 rows": json.dumps({"instances": [[row, 0.5, -1.25, 1e-3] for row in range(16)]}).encode(),
    "numbers at the bounds": b'{"instances": [[100, -100, 0, -0.0]]}',
    "a member that nobody knows": b'{"note": {"a": [1]}, "instances": [[1, 2, 3, 4]]}',
}


def unchanged(body):
    def act(s):
        direct, through = s.server.host.call("POST", PREDICT, body, JSON), s.rows(body)
        equal(direct.status, 200, f"status, direct ({direct})")
        equal((through.status, through.body), (200, direct.body), "answer")
        equal(s.gateway.record(through.id)["upstream_status"], 200, "status in the record")

    return act


for _what, _body in GOOD.items():
    SUITE.add(f"v1 passes unchanged: {_what}", unchanged(_body))

# What, status, body, and what the server alone answers.
BAD = [
    ("a row of three", 422, b'{"instances": [[1, 2, 3]]}', 200),
    ("a row of five", 422, b'{"instances": [[1, 2, 3, 4, 5]]}', 200),
    ("no rows", 422, b'{"instances": []}', 200),
    ("one row too deep", 422, b'{"instances": [[[1, 2, 3, 4]]]}', 200),
    ("a flat list", 422, b'{"instances": [1, 2, 3, 4]}', 200),
    ("17 rows", 422, json.dumps({"instances": [[1, 2, 3, 4]] * 17}).encode(), 200),
    ("a number out of range", 422, b'{"instances": [[1, 2, 3, 101]]}', 200),
    ("1e39, which is no FP32", 422, b'{"instances": [[1, 2, 3, 1e39]]}', 200),
    ("booleans", 422, b'{"instances": [[true, 2, 3, 4]]}', 200),
    ("`instances` twice", 400, b'{"instances": [[1, 2, 3, 4]], "instances": [[5, 6, 7, 8]]}', 200),
    ("`instances` and `inputs`", 422, b'{"instances": [[1, 2, 3, 4]], "inputs": [[5, 6, 7, 8]]}', 200),
    ("ragged rows", 422, b'{"instances": [[1, 2, 3, 4], [1, 2, 3]]}', 500),
    ("numbers as strings", 422, b'{"instances": [["1", 2, 3, 4]]}', 500),
    ("no instances", 422, b"{}", 500),
    ("a null element", 422, b'{"instances": [[null, 2, 3, 4]]}', 500),
    ("a list for a body", 422, b"[[1, 2, 3, 4]]", None),
    ("NaN", 400, b'{"instances": [[NaN, 2, 3, 4]]}', 400),
    ("not JSON", 400, b"instances=1", 400),
    ("text after the end", 400, b'{"instances": [[1, 2, 3, 4]]} x', 400),
]


def refused(status, body, alone):
    def act(s):
        if alone is not None:
            equal(s.server.host.call("POST", PREDICT, body, JSON).status, alone, "status, direct")
        before = s.shim.seen()
        reply = s.rows(body)
        equal(reply.status, status, f"status ({reply})")
        equal(s.gateway.record(reply.id)["outcome"], "denied", "outcome in the record")
        equal(s.shim.seen(), before, "connections and bytes towards the server")

    return act


for _what, _status, _body, _alone in BAD:
    SUITE.add(f"v1 refused with {_status}: {_what}", refused(_status, _body, _alone))


@SUITE.check("v1: the list of models and a model's state")
def listed(s):
    equal(s.rows(None, "/v1/models", "GET").json(), {"models": ["doubler"]}, "models")
    equal(s.rows(None, "/v1/models/doubler", "GET").json()["ready"], True, "ready")


def tensors(binary, **more):
    def act(s):
        import numpy

        rows = numpy.linspace(-100, 100, 16, dtype=numpy.float32).reshape(4, 4)
        equal(s.infer(s.through, rows, binary, **more), (rows * 2).tolist(), "answer")
        if binary and not more:
            equal(s.infer(s.direct, rows, binary), (rows * 2).tolist(), "answer, direct")
            return
        try:
            s.infer(s.direct, rows, binary, **more)
        except s.triton.InferenceServerException:
            return
        raise AssertionError("the server takes it by now: say so here")

    return act


SUITE.add("v2 tritonclient: binary tensors", tensors(True))
SUITE.add("v2 tritonclient: JSON tensors, which the server alone refuses for want of a type", tensors(False))
for _coding in ("gzip", "deflate"):
    for _binary in (True, False):
        _form = "binary" if _binary else "JSON"
        SUITE.add(
            f"v2 tritonclient: {_form} tensors in {_coding}, which the server alone cannot read",
            tensors(_binary, request_compression_algorithm=_coding),
        )


@SUITE.check("what commands the server does not exist")
def commands(s):
    repository = "/v2/repository/models/doubler"
    for path in ("/v1/models/doubler:explain", f"{repository}/load", f"{repository}/unload"):
        before = s.shim.seen()
        equal(s.rows(b"{}", path).status, 404, path)
        equal(s.shim.seen(), before, f"bytes towards the server for {path}")


@SUITE.check("an exception of the server is not told")
def hidden(s):
    body = b'{"inputs": [[1, 2, 3, 4]]}'
    direct = s.server.host.call("POST", PREDICT, body, JSON)
    equal((direct.status, b"KeyError" in direct.body), (500, True), "status, direct, and its text")
    through = s.rows(body)
    equal((through.status, b"KeyError" in through.body), (502, False), "status and its text")


@SUITE.check("afterwards: the server is the same process and answers")
def alive(s):
    assert s.server.process.alive(), "the server ended"
    unchanged(GOOD["a row"])(s)
