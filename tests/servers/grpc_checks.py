"""`tritonclient` over gRPC through the gateway to Triton, MLServer and KServe themselves.

Calls that a server alone takes, although nobody can say what they mean, come first, while nothing has gone up yet: a
relay in front of the server has then seen neither a connection nor a byte.
"""

import contextlib
import queue
import struct

from gateway import Gateway
from kserve_peer import KServe
from mlserver_peer import MLServer
from report import Suite, equal
from shim import Shim
from triton_peer import Triton


class Peer:
    """A server, its model, and what it alone is content with."""

    def __init__(self, name, server, config, model, ports, harm):
        self.name, self.server, self.config, self.model, self.ports, self.harm = name, server, config, model, ports, harm
        self.input, self.output, self.kind, self.good = ports


TRITON = Peer(
    "triton",
    Triton,
    "before_triton",
    "linear",
    ("x", "y", "FP32", 1.0),
    {"two raw contents for one input", "NaN", "a shape of 2^62 rows"},
)
MLSERVER = Peer(
    "mlserver", MLServer, "before_mlserver", "iris", ("predict", "predict", "INT64", 1.0), {"raw beside typed contents"}
)
KSERVE = Peer(
    "kserve", KServe, "before_kserve", "doubler", ("x", "y", "FP32", 1.0), {"two typed lists", "NaN", "a shape of -1"}
)


class Scene:
    """A server, a relay that counts, a gateway, and a client for each way."""

    def __init__(self, peer, server, shim, gateway):
        import grpc
        import numpy
        import tritonclient.grpc as triton
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self.peer, self.server, self.shim, self.gateway = peer, server, shim, gateway
        self.grpc, self.triton, self.numpy, self.pb = grpc, triton, numpy, service_pb2
        here = "127.0.0.1"
        self.direct = triton.InferenceServerClient(f"{here}:{server.grpc}")
        self.through = triton.InferenceServerClient(f"{here}:{gateway.ports['plain']}")
        most = [("grpc.max_send_message_length", 64 << 20)]
        self.channels = [grpc.insecure_channel(f"{here}:{port}", options=most) for port in (server.grpc, gateway.ports["plain"])]
        self.stubs = [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in self.channels]
        self.key = {name.lower(): value for name, value in gateway.bearer.items()}

    def close(self):
        for end in (self.direct, self.through, *self.channels):
            end.close()

    def headers(self, client):
        return dict(self.key) if client is self.through else None

    def rows(self, count):
        return self.numpy.linspace(0, 9, count * 4, dtype=self.numpy.float32).reshape(count, 4)

    def inputs(self, rows):
        tensor = self.triton.InferInput(self.peer.input, list(rows.shape), "FP32")
        tensor.set_data_from_numpy(rows)
        return [tensor]

    def infer(self, client, rows, **more):
        asked = [self.triton.InferRequestedOutput(self.peer.output)]
        headers = self.headers(client)
        answer = client.infer(self.peer.model, self.inputs(rows), outputs=asked, headers=headers, request_id="7", **more)
        return answer.get_response()

    def request(self, shape=None, datatype="FP32", raw=(None,), **contents):
        made = self.pb.ModelInferRequest(model_name=self.peer.model)
        tensor = made.inputs.add(name=self.peer.input, datatype=datatype, shape=shape or [1, 4])
        for field, values in contents.items():
            getattr(tensor.contents, field).extend(values)
        made.raw_input_contents.extend(ones() if one is None else one for one in raw)
        return made

    def send(self, way, request, method="ModelInfer"):
        """The answer, or the status and what we call it."""
        metadata = list(self.key.items()) if way else None
        try:
            return getattr(self.stubs[way], method)(request, timeout=20, metadata=metadata)
        except self.grpc.RpcError as error:
            said = {**dict(error.initial_metadata() or ()), **dict(error.trailing_metadata() or ())}
            return error.code().name, said.get("tollgate-problem")


def ones(first=1.0):
    return struct.pack("<4f", first, 1, 1, 1)


def scene_of(peer):
    @contextlib.contextmanager
    def scene(setting):
        with peer.server(setting) as server, Shim(server.grpc) as shim:
            ports = {"TRITON_PORT": server.host.port, "IRIS_PORT": server.host.port, "DOUBLER_PORT": server.host.port}
            with Gateway(setting, peer.config, GRPC_PORT=shim.port, **ports) as gateway:
                made = Scene(peer, server, shim, gateway)
                try:
                    yield made
                finally:
                    made.close()

    return scene


def twice(s):
    made = s.request(raw=(None, None))
    made.inputs.add(name=s.peer.input, datatype="FP32", shape=[1, 4])
    return made


def shared(s):
    made = s.request(raw=())
    made.inputs[0].parameters["shared_memory_region"].string_param = "r"
    made.inputs[0].parameters["shared_memory_byte_size"].int64_param = 16
    return made


def named(s):
    made = s.request()
    made.model_name = "nobody"
    return made


def sequence(s):
    made = s.request()
    made.parameters["sequence_id"].int64_param = 7
    return made


BAD = "INVALID_ARGUMENT"
# What, what is sent, the status, what we call it.
MALFORMED = [
    ("raw beside typed contents", lambda s: s.request(fp32_contents=[1] * 4), BAD, "invalid_call"),
    ("no contents", lambda s: s.request(raw=()), BAD, "invalid_call"),
    ("two raw contents for one input", lambda s: s.request(raw=(None, None)), BAD, "invalid_call"),
    ("raw contents one element short", lambda s: s.request(raw=(ones()[:-4],)), BAD, "invalid_call"),
    ("raw contents one byte longer", lambda s: s.request(raw=(ones() + b"A",)), BAD, "invalid_call"),
    ("NaN", lambda s: s.request(raw=(ones(float("nan")),)), BAD, "invalid_call"),
    ("typed contents one element short", lambda s: s.request(raw=(), fp32_contents=[1] * 3), BAD, "invalid_call"),
    ("a typed list of another type", lambda s: s.request(raw=(), int_contents=[1] * 4), BAD, "invalid_call"),
    (
        "two typed lists",
        lambda s: s.request(raw=(), fp32_contents=[1] * 4, int_contents=[9] * 4),
        BAD,
        "invalid_call",
    ),
    ("a shape of -1", lambda s: s.request(shape=[-1, 4]), BAD, "invalid_call"),
    ("a shape of 2^62 rows", lambda s: s.request(shape=[2**62, 4]), BAD, "invalid_call"),
    ("INT32 over the bytes of floats", lambda s: s.request(datatype="INT32"), BAD, "invalid_call"),
    ("a datatype FP31", lambda s: s.request(datatype="FP31"), BAD, "invalid_call"),
    ("the same input twice", twice, BAD, "invalid_call"),
    ("shared memory", shared, BAD, "invalid_call"),
    ("a sequence", sequence, BAD, "invalid_call"),
    ("a message of 5 MiB", lambda s: s.request(raw=(ones() * (5 << 16),)), "RESOURCE_EXHAUSTED", "too_large"),
    ("another model", named, "UNIMPLEMENTED", "not_found"),
]


def malformed(what, make, status, code):
    def act(s):
        equal(s.send(1, make(s)), (status, code), "through the gateway")
        equal(s.shim.seen(), (0, 0), "connections and bytes towards the server")
        if what in s.peer.harm:
            direct = s.send(0, make(s))
            assert not isinstance(direct, tuple), f"the server alone refuses it: {direct}"

    return act


COMMANDS = [
    ("ModelConfig", "ModelConfigRequest"),
    ("RepositoryIndex", "RepositoryIndexRequest"),
    ("RepositoryModelUnload", "RepositoryModelUnloadRequest"),
    ("SystemSharedMemoryStatus", "SystemSharedMemoryStatusRequest"),
    ("TraceSetting", "TraceSettingRequest"),
]


def commands(s):
    for method, request in COMMANDS:
        answer = s.send(1, getattr(s.pb, request)(), method)
        equal(answer, ("UNIMPLEMENTED", "not_found"), method)
    equal(s.shim.seen(), (0, 0), "connections and bytes towards the server")


def stranger(s):
    s.key, kept = {}, s.key
    try:
        equal(s.send(1, s.request()), ("UNAUTHENTICATED", "unauthenticated"), "without a key")
    finally:
        s.key = kept
    equal(s.shim.seen(), (0, 0), "connections and bytes towards the server")


def health(s):
    for client in (s.direct, s.through):
        headers = s.headers(client)
        equal(client.is_server_live(headers=headers), True, "live")
        equal(client.is_server_ready(headers=headers), True, "ready")
        equal(client.is_model_ready(s.peer.model, headers=headers), True, "model ready")


def metadata(s):
    direct, through = (client.get_model_metadata(s.peer.model, headers=s.headers(client)) for client in (s.direct, s.through))
    for part in ("name", "inputs", "outputs"):
        equal(str(getattr(through, part)), str(getattr(direct, part)), part)


def alike(coding):
    def act(s):
        for count in (1, 3, 16):
            rows = s.rows(count)
            direct, through = (s.infer(client, rows, compression_algorithm=coding) for client in (s.direct, s.through))
            equal(through, direct, f"answer to {count} rows")
            assert through.raw_output_contents or through.outputs[0].contents, "an answer holds values"

    return act


def typed(s):
    request = s.request(raw=(), fp32_contents=[1, 2, 3, 4])
    request.id = "9"
    equal(s.send(1, request), s.send(0, request), "answer")


def at_once(s):
    rows = s.rows(2)
    expected = s.infer(s.direct, rows)
    answers = queue.Queue()
    for _ in range(32):
        headers = s.headers(s.through)
        outputs = [s.triton.InferRequestedOutput(s.peer.output)]
        s.through.async_infer(
            s.peer.model, s.inputs(rows), lambda result, error: answers.put((result, error)),
            outputs=outputs, headers=headers, request_id="7",
        )
    for _ in range(32):
        result, error = answers.get(timeout=20)
        equal(error, None, "error")
        equal(result.get_response(), expected, "answer")


def streamed(s):
    told = []
    for client in (s.direct, s.through):
        answers = queue.Queue()
        client.start_stream(lambda result, error, answers=answers: answers.put((result, error)), headers=s.headers(client))
        for number in range(1, 9):
            client.async_stream_infer(s.peer.model, s.inputs(s.rows(number)), request_id=str(number))
        heard = {}
        for _ in range(8):
            result, error = answers.get(timeout=20)
            equal(error, None, "error")
            response = result.get_response()
            heard[response.id] = response
        client.stop_stream()
        told.append(heard)
    equal(told[1], told[0], "answers by id")
    equal(sorted(told[1]), [str(number) for number in range(1, 9)], "ids")


def refused_in_stream(s):
    answers = queue.Queue()
    s.through.start_stream(lambda result, error: answers.put((result, error)), headers=s.headers(s.through))
    s.through.async_stream_infer(s.peer.model, s.inputs(s.rows(1)), request_id="1")
    result, error = answers.get(timeout=20)
    equal((error, result.get_response().id), (None, "1"), "the good one")
    rows = s.rows(1)
    rows[0, 0] = float("nan")
    s.through.async_stream_infer(s.peer.model, s.inputs(rows), request_id="2")
    result, error = answers.get(timeout=20)
    equal(result, None, "the bad one")
    equal(error.status(), "StatusCode.INVALID_ARGUMENT", "status")
    s.through.stop_stream(cancel_requests=True)


def alive(s):
    assert s.server.process.alive(), "the server ended"
    alike(None)(s)


def suite_of(peer, streams):
    suite = Suite(f"{peer.name}-grpc", scene_of(peer))
    for what, *rest in MALFORMED:
        suite.add(f"refused before the server sees a byte: {what}", malformed(what, *rest))
    suite.add("methods that command the server do not exist", commands)
    suite.add("no key", stranger)
    suite.add("live, ready and model ready", health)
    if peer is TRITON:
        suite.add("the contract agrees with the server's own metadata", metadata)
    for coding in (None, "gzip", "deflate"):
        suite.add(f"as direct: raw tensors{f', sent in {coding}' if coding else ''}", alike(coding))
    suite.add("as direct: typed contents", typed)
    suite.add("32 calls at once", at_once)
    if streams:
        suite.add("as direct: a stream of eight", streamed)
        suite.add("a refused message ends its stream", refused_in_stream)
    suite.add("afterwards: the server is the same process and answers", alive)
    return suite


SUITES = [suite_of(TRITON, True), suite_of(MLSERVER, False), suite_of(KSERVE, False)]
