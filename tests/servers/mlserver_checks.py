"""`tritonclient` with JSON tensors through the gateway to a real MLServer: the same answers as without it."""

import contextlib

from gateway import Gateway
from mlserver_peer import MLServer, flowers
from report import Suite, equal


class Scene:
    """A server, a gateway in front, and a client for each."""

    def __init__(self, server, gateway):
        import tritonclient.http as triton

        self.server, self.gateway, self.triton = server, gateway, triton
        self.direct = triton.InferenceServerClient(f"127.0.0.1:{server.host.port}")
        self.through = triton.InferenceServerClient(f"127.0.0.1:{gateway.ports['plain']}")
        self.flowers = flowers()

    def infer(self, client, rows, **more):
        tensor = self.triton.InferInput("predict", list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows, binary_data=False)
        more.setdefault("outputs", [self.triton.InferRequestedOutput("predict", binary_data=False)])
        headers = self.gateway.bearer if client is self.through else None
        return client.infer("iris", [tensor], headers=headers, **more)


@contextlib.contextmanager
def scene(setting):
    with MLServer(setting) as server, Gateway(setting, "before_mlserver", IRIS_PORT=server.host.port) as gateway:
        made = Scene(server, gateway)
        try:
            yield made
        finally:
            made.direct.close()
            made.through.close()


SUITE = Suite("mlserver", scene)


@SUITE.check("tritonclient: live, ready and model ready, direct and through")
def health(s):
    for client, headers in ((s.direct, None), (s.through, s.gateway.bearer)):
        equal(client.is_server_live(headers=headers), True, "live")
        equal(client.is_server_ready(headers=headers), True, "ready")
        equal(client.is_model_ready("iris", headers=headers), True, "iris ready")


@SUITE.check("tritonclient: the contract is the metadata")
def metadata(s):
    equal(s.direct.get_model_metadata("iris")["name"], "iris", "name, direct")
    found = s.through.get_model_metadata("iris", headers=s.gateway.bearer)
    equal(found["name"], "iris", "name")
    equal(found["inputs"], [{"name": "predict", "datatype": "FP32", "shape": [-1, 4]}], "inputs")
    equal(found["outputs"], [{"name": "predict", "datatype": "INT64", "shape": [-1, 1]}], "outputs")


@SUITE.check("tritonclient: 150 flowers in batches of 1 to 16 get the same answers as direct")
def same_answers(s):
    start, size = 0, 1
    while start < len(s.flowers):
        rows = s.flowers[start : start + size]
        direct, through = s.infer(s.direct, rows), s.infer(s.through, rows)
        equal(through.as_numpy("predict").tolist(), direct.as_numpy("predict").tolist(), f"flowers from {start}")
        start, size = start + size, size % 16 + 1


@SUITE.check("tritonclient: the id and everything else that is said of an answer is that of the server")
def same_words(s):
    rows = s.flowers[:2]
    direct = s.infer(s.direct, rows, request_id="iris-7").get_response()
    through = s.infer(s.through, rows, request_id="iris-7").get_response()
    equal(through, direct, "answer")
    equal(through["id"], "iris-7", "id")


@SUITE.check("tritonclient: default outputs")
def default_outputs(s):
    rows = s.flowers[:3]
    direct, through = (s.infer(client, rows, outputs=None) for client in (s.direct, s.through))
    equal(through.as_numpy("predict").tolist(), direct.as_numpy("predict").tolist(), "answer")


def compressed(coding):
    def act(s):
        rows = s.flowers[40:56]
        plain, packed = s.infer(s.direct, rows), s.infer(s.through, rows, request_compression_algorithm=coding)
        equal(packed.as_numpy("predict").tolist(), plain.as_numpy("predict").tolist(), "answer")

    return act


SUITE.add("tritonclient: a gzip body works through the gateway", compressed("gzip"))
SUITE.add("tritonclient: a deflate body, which the server alone refuses, works through it", compressed("deflate"))


@SUITE.check("tritonclient: the server alone refuses a deflate body")
def deflate_direct(s):
    from tritonclient.utils import InferenceServerException

    try:
        s.infer(s.direct, s.flowers[:1], request_compression_algorithm="deflate")
    except InferenceServerException:
        return
    raise AssertionError("the row above proves nothing any more: say so there")


@SUITE.check("nothing of the server's own head passes")
def own_head(s):
    import json

    from wire import Host

    body = json.dumps(
        {"inputs": [{"name": "predict", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}
    ).encode()
    path, kind = "/v2/models/iris/infer", {"Content-Type": "application/json"}
    direct = s.server.host.call("POST", path, body, kind)
    through = Host(s.gateway.ports["plain"]).call("POST", path, body, {**kind, **s.gateway.bearer})
    equal(direct.headers.get("server"), "uvicorn", "server, direct")
    assert any(name.lower().startswith("ce-") for name in direct.headers), "the server sends no `ce-` fields any more"
    told = [name for name in through.headers if name.lower() == "server" or name.lower().startswith("ce-")]
    equal(told, [], "fields of the server")
    equal(through.json()["outputs"], direct.json()["outputs"], "outputs")
    equal(s.gateway.record(through.id)["upstream_status"], 200, "status in the record")
