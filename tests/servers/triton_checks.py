"""`tritonclient` through the gateway to Triton itself: tensors as JSON and binary, packed and not."""

import itertools

from oip_scene import OipScene, before
from report import Suite, equal
from triton_peer import Triton

INFER = "/v2/models/linear/infer"
LENGTH = "Inference-Header-Content-Length"
RANGE = (-100, 100)


class Scene(OipScene):
    """The same, and tensors of both models."""

    def infer(self, client, values, binary=True, model="linear", out_binary=True, **more):
        name, answer, kind = {"linear": ("x", "y", "FP32"), "echo": ("text", "out", "BYTES")}[model]
        tensor = self.triton.InferInput(name, list(values.shape), kind)
        tensor.set_data_from_numpy(values, binary_data=binary)
        outputs = [self.triton.InferRequestedOutput(answer, binary_data=out_binary)]
        headers = self.headers_for(client)
        return client.infer(model, [tensor], outputs=outputs, headers=headers, **more).as_numpy(answer).tolist()

    def rows(self, count=4):
        return self.numpy.linspace(*RANGE, count * 4, dtype=self.numpy.float32).reshape(count, 4)

    def texts(self, *texts):
        return self.numpy.array([[text.encode()] for text in texts], dtype=object)

    def refused(self, act):
        """What the client is told, while nothing goes up."""
        before = self.shim.seen()
        try:
            act()
        except self.triton.InferenceServerException as error:
            equal(self.shim.seen(), before, "connections and bytes towards the server")
            return error.status()
        raise AssertionError("it was served")


SUITE = Suite("triton", before(Triton, "before_triton", "TRITON_PORT", Scene))


@SUITE.check("live, ready and model ready")
def health(s):
    headers = s.gateway.bearer
    equal(s.through.is_server_live(headers=headers), True, "live")
    equal(s.through.is_server_ready(headers=headers), True, "ready")
    for model in ("linear", "echo"):
        equal(s.through.is_model_ready(model, headers=headers), True, f"{model} ready")


@SUITE.check("the contract agrees with the server's own metadata")
def metadata(s):
    for model in ("linear", "echo"):
        direct = s.direct.get_model_metadata(model)
        through = s.through.get_model_metadata(model, headers=s.gateway.bearer)
        for part in ("name", "inputs", "outputs"):
            equal(through[part], direct[part], f"{part} of {model}")


def alike(binary, out_binary, coding, back):
    def act(s):
        for count in (1, 3, 16):
            rows = s.rows(count)
            ask = {"binary": binary, "out_binary": out_binary, "request_compression_algorithm": coding}
            ask["response_compression_algorithm"] = back
            equal(s.infer(s.through, rows, **ask), s.infer(s.direct, rows, **ask), f"answer to {count} rows")
            equal(s.infer(s.through, rows, **ask), (2 * rows + 1).tolist(), f"answer to {count} rows")

    return act


CODINGS = (None, "gzip", "deflate")
for _binary, _out, _coding, _back in itertools.product((False, True), (False, True), CODINGS, (None, "gzip")):
    _name = f"{'binary' if _binary else 'JSON'} in, {'binary' if _out else 'JSON'} out"
    _name += f", sent in {_coding}" if _coding else ""
    _name += f", wanted in {_back}" if _back else ""
    SUITE.add(f"as direct: {_name}", alike(_binary, _out, _coding, _back))


def spoken(binary):
    def act(s):
        texts = s.texts("caf\u00e9", "", "x" * 64, "\U0001f600")
        through, direct = s.infer(s.through, texts, binary, "echo"), s.infer(s.direct, texts, binary, "echo")
        equal(through, direct, "answer")
        equal(through[2][0], b"X" * 64, "a text")

    return act


SUITE.add("as direct: texts in binary", spoken(True))
SUITE.add("as direct: texts in JSON", spoken(False))


def number(value, alone=True):
    def act(s):
        rows = s.rows(2)
        rows[1, 2] = value
        if alone:
            s.infer(s.direct, rows)
        equal(s.refused(lambda: s.infer(s.through, rows)), "422", "status")

    return act


for _what, _value in {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "101": "101"}.items():
    SUITE.add(f"refused with 422: {_what} in a binary tensor, which the server alone takes", number(float(_value)))


@SUITE.check("refused with 422: NaN in a binary tensor in gzip")
def packed_nan(s):
    rows = s.rows(1)
    rows[0, 0] = float("nan")
    equal(s.refused(lambda: s.infer(s.through, rows, request_compression_algorithm="gzip")), "422", "status")


@SUITE.check("refused with 422: 17 rows")
def many(s):
    equal(s.refused(lambda: s.infer(s.through, s.rows(17))), "422", "status")


def too_long(binary):
    def act(s):
        equal(s.refused(lambda: s.infer(s.through, s.texts("x" * 65), binary, "echo")), "422", "status")

    return act


SUITE.add("refused with 422: a text of 65 bytes in binary", too_long(True))
SUITE.add("refused with 422: a text of 65 bytes in JSON", too_long(False))


ROW = b"\0\0\x80\x3f" * 4


def head(size=16, shape="[1,4]", more=""):
    parameters = f'"parameters":{{"binary_data_size":{size}}}'
    return f'{{"inputs":[{{"name":"x","shape":{shape},"datatype":"FP32",{parameters}{more}}}]}}'.encode()


# What, status, what the field says (`...`: the truth), the head, what follows it.
BROKEN = [
    ("no field", 415, None, head(), ROW),
    ("a length of `12abc`", 400, "12abc", head(), ROW),
    ("a length with a sign", 400, "+81", head(), ROW),
    ("a length beyond the body", 400, "9999", head(), ROW),
    ("a byte too few", 422, ..., head(), ROW[:-1]),
    ("a byte too many", 422, ..., head(), ROW + b"\0"),
    ("a size that is not that of the shape", 422, ..., head(size=12), ROW[:12]),
    ("data beside a size", 422, ..., head(more=',"data":[1,2,3,4]'), ROW),
    ("a shape of 10^12 rows", 422, ..., head(shape="[1000000000000,4]"), ROW),
    ("a shape whose product wraps to 4", 422, ..., head(shape="[4611686018427387905,4]"), ROW),
    ("a size of 2^64", 422, ..., head(size=2**64), ROW),
    ("a negative size", 422, ..., head(size=-16), ROW),
    ("the raw mode", 415, "0", b"", ROW),
]


def broken(status, said, start, rest):
    def act(s):
        headers = {"Content-Type": "application/octet-stream", **s.gateway.bearer}
        if said is not None:
            headers[LENGTH] = str(len(start)) if said is ... else said
        before = s.shim.seen()
        reply = s.gate.call("POST", INFER, start + rest, headers)
        equal(reply.status, status, f"status ({reply})")
        equal(s.shim.seen(), before, "connections and bytes towards the server")

    return act


for _what, _status, *_parts in BROKEN:
    SUITE.add(f"binary refused with {_status}: {_what}", broken(_status, *_parts))


@SUITE.check("binary: a good call by hand, so that the rows above refuse what they say")
def by_hand(s):
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(head())), **s.gateway.bearer}
    reply = s.gate.call("POST", INFER, head() + ROW, headers)
    equal(reply.status, 200, f"status ({reply})")


COMMANDS = [
    "/v2/repository/index",
    "/v2/repository/models/linear/unload",
    "/v2/models/linear/generate",
    "/v2/systemsharedmemory/status",
    "/v2/cudasharedmemory/status",
    "/v2/logging",
    "/v2/trace/setting",
]


@SUITE.check("paths that command the server do not exist")
def commands(s):
    for path in COMMANDS:
        before = s.shim.seen()
        reply = s.gate.call("POST", path, b"{}", {"Content-Type": "application/json", **s.gateway.bearer})
        equal(reply.status, 404, path)
        equal(s.shim.seen(), before, f"bytes towards the server for {path}")


@SUITE.check("afterwards: the server is the same process and answers")
def alive(s):
    assert s.server.process.alive(), "the server ended"
    by_hand(s)
