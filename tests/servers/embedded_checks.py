"""`tritonclient` with JSON tensors against the models inside the gateway, over plain HTTP and TLS."""

import contextlib
import json

from gateway import Gateway
from report import Suite, equal

MODELS = {
    "digits": ("digits_cnn", "image", "FP32", (1, 8, 8)),
    "fraud": ("fraud_mlp", "features", "FP32", (9,)),
    "sentiment": ("sentiment", "token_ids", "INT64", (128,)),
}
BATCH = 10


class Scene:
    """A gateway, and a client for each of its sockets."""

    def __init__(self, gateway, models):
        import tritonclient.http as triton

        self.gateway, self.models, self.triton = gateway, models, triton
        secure = {"ssl": True, "ssl_options": {"ca_certs": str(gateway.authority.ca)}}
        self.clients = {
            "plain": triton.InferenceServerClient(f"127.0.0.1:{gateway.ports['plain']}"),
            "secure": triton.InferenceServerClient(f"localhost:{gateway.ports['secure']}", **secure),
        }

    def cases(self, model):
        return json.loads((self.models / f"{MODELS[model][0]}.case.json").read_text())

    def tensor(self, model, rows):
        import numpy

        _, name, datatype, shape = MODELS[model]
        kind = {"FP32": numpy.float32, "INT64": numpy.int64}[datatype]
        values = numpy.array(rows, dtype=kind).reshape((len(rows), *shape))
        tensor = self.triton.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=False)
        return tensor

    def infer(self, client, model, rows, **more):
        more.setdefault("headers", self.gateway.bearer)
        more.setdefault("outputs", [self.triton.InferRequestedOutput("probabilities", binary_data=False)])
        return client.infer(model, [self.tensor(model, rows)], **more)

    def refused(self, status, call):
        """The call fails with the client's own exception, and it carries our status."""
        from tritonclient.utils import InferenceServerException

        try:
            call()
        except InferenceServerException as error:
            equal(error.status(), str(status), "status of the exception")
            return error
        raise AssertionError(f"not refused, expected {status}")


@contextlib.contextmanager
def scene(setting):
    setting.packages()
    with Gateway(setting, "embedded") as gateway:
        made = Scene(gateway, setting.models)
        try:
            yield made
        finally:
            for client in made.clients.values():
                client.close()


SUITE = Suite("embedded", scene)


def health(socket):
    def act(s):
        client = s.clients[socket]
        equal(client.is_server_live(headers=s.gateway.bearer), True, "live")
        equal(client.is_server_ready(headers=s.gateway.bearer), True, "ready")
        for model in MODELS:
            equal(client.is_model_ready(model, headers=s.gateway.bearer), True, f"{model} ready")
        equal(client.is_model_ready("nobody", headers=s.gateway.bearer), False, "an unknown model is ready")
        equal(client.is_server_live(), False, "live without a key")

    return act


def samples(socket, model):
    def act(s):
        import numpy

        case = s.cases(model)
        found, expected = [], []
        for start in range(0, len(case["samples"]), BATCH):
            part = case["samples"][start : start + BATCH]
            result = s.infer(s.clients[socket], model, [sample["input"] for sample in part])
            found.append(result.as_numpy("probabilities"))
            expected.extend(sample["output"] for sample in part)
        found, expected = numpy.concatenate(found), numpy.array(expected, dtype=numpy.float32)
        equal(found.shape, expected.shape, "shape")
        worst = float(numpy.abs(found - expected).max())
        assert worst <= 1e-5, f"differs from the recorded outputs by {worst}"
        right = int((found.argmax(1) == [sample["label"] for sample in case["samples"]]).sum())
        assert model != "digits" or right >= 95, f"{right} of 100 digits right"

    return act


for _socket in ("plain", "secure"):
    SUITE.add(f"tritonclient {_socket}: live, ready and model ready, with the key only", health(_socket))
    for _model in MODELS:
        SUITE.add(f"tritonclient {_socket}: 100 recorded samples of {_model}", samples(_socket, _model))


@SUITE.check("tritonclient: server metadata")
def server_metadata(s):
    metadata = s.clients["plain"].get_server_metadata(headers=s.gateway.bearer)
    equal(metadata["name"], "tollgate", "name")
    equal(sorted(metadata), ["extensions", "name", "version"], "members")


@SUITE.check("tritonclient: metadata of each model")
def model_metadata(s):
    for model, (_, name, datatype, shape) in MODELS.items():
        metadata = s.clients["secure"].get_model_metadata(model, headers=s.gateway.bearer)
        equal(metadata["name"], model, "name")
        tensor = {"name": name, "datatype": datatype, "shape": [-1, *shape]}
        equal(metadata["inputs"], [tensor], "inputs")
        equal([output["name"] for output in metadata["outputs"]], ["probabilities"], "outputs")


@SUITE.check("tritonclient: an answer is JSON where the client asks for binary tensors by default")
def default_outputs(s):
    row = s.cases("fraud")["samples"][0]
    result = s.infer(s.clients["plain"], "fraud", [row["input"]], outputs=None, request_id="a-1")
    equal(result.get_response()["id"], "a-1", "id")
    equal(result.get_response()["model_name"], "fraud", "model_name")
    equal(result.as_numpy("probabilities").shape, (1, 2), "shape")


@SUITE.check("tritonclient: the key as X-API-Key")
def api_key(s):
    row = s.cases("fraud")["samples"][0]["input"]
    s.infer(s.clients["plain"], "fraud", [row], headers={"X-API-Key": s.gateway.key})


@SUITE.check("tritonclient: gzip and deflate bodies")
def compressed(s):
    row = s.cases("digits")["samples"][0]
    for coding in ("gzip", "deflate"):
        s.infer(s.clients["plain"], "digits", [row["input"]], request_compression_algorithm=coding)


@SUITE.check("tritonclient: refusals are its own exception with our status")
def refusals(s):
    client, row = s.clients["plain"], s.cases("digits")["samples"][0]["input"]
    s.refused(401, lambda: s.infer(client, "digits", [row], headers={}))
    s.refused(404, lambda: client.get_model_metadata("nobody", headers=s.gateway.bearer))
    s.refused(422, lambda: s.infer(client, "digits", [row] * 17))
    s.refused(422, lambda: s.infer(client, "digits", [[17] + row[1:]]))
    tensor = s.tensor("digits", [row])
    numpy = __import__("numpy")
    tensor.set_data_from_numpy(numpy.full((1, 1, 8, 8), numpy.nan, "float32"), binary_data=True)
    s.refused(422, lambda: client.infer("digits", [tensor], headers=s.gateway.bearer))


@SUITE.check("tritonclient: a binary tensor is read as the same numbers in JSON")
def binary(s):
    client, row = s.clients["plain"], s.cases("digits")["samples"][0]["input"]
    tensor = s.tensor("digits", [row])
    numpy = __import__("numpy")
    tensor.set_data_from_numpy(numpy.array(row, "float32").reshape((1, 1, 8, 8)), binary_data=True)
    found = client.infer("digits", [tensor], headers=s.gateway.bearer).get_response()["outputs"][0]["data"]
    wanted = s.infer(client, "digits", [row]).get_response()["outputs"][0]["data"]
    assert found == wanted, (found, wanted)


@SUITE.check("tritonclient: the model repository is absent")
def repository(s):
    client = s.clients["plain"]
    for call in (client.load_model, client.unload_model):
        s.refused(404, lambda call=call: call("digits", headers=s.gateway.bearer))
    s.refused(404, lambda: client.get_model_repository_index(headers=s.gateway.bearer))
    s.refused(404, lambda: client.get_system_shared_memory_status(headers=s.gateway.bearer))
