"""KServe's own model server with a model that doubles what it is given: `kserve_server.py PORT GRPC_PORT`.

It runs in the environment of `requirements/kserve.txt`.
"""

import sys

import kserve
import numpy


class Doubler(kserve.Model):
    """Takes rows in the words of v1 and tensors in those of v2."""

    def __init__(self):
        super().__init__("doubler")
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        if isinstance(payload, dict):
            return {"predictions": (numpy.asarray(payload["instances"]) * 2).tolist()}
        found = payload.inputs[0].as_numpy()
        output = kserve.InferOutput("y", list(found.shape), "FP32")
        output.set_data_from_numpy((found * 2).astype(numpy.float32), binary_data=False)
        return kserve.InferResponse(payload.id or "none", self.name, [output])


if __name__ == "__main__":
    port, grpc_port = (int(word) for word in sys.argv[1:])
    kserve.ModelServer(http_port=port, grpc_port=grpc_port, workers=1).start([Doubler()])
