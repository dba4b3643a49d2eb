"""A real MLServer with a real scikit-learn model."""

import json
import os
import pathlib
import sys

from processes import Process, free_port
from report import Missing
from wire import Host

SETTINGS = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False}
MODEL = {
    "name": "iris",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "version": "v1"},
}


class MLServer:
    """Serves `iris` on free ports until the `with` block ends."""

    def __init__(self, setting):
        setting.packages()
        self.folder = setting.folder("mlserver")
        self.host = None
        self.grpc = None
        self.process = None

    def __enter__(self):
        train(self.folder / "iris")
        port, self.grpc, metrics = free_port(), free_port(), free_port()
        ports = {"http_port": port, "grpc_port": self.grpc, "metrics_port": metrics}
        (self.folder / "settings.json").write_text(json.dumps({**SETTINGS, **ports}))
        command = pathlib.Path(sys.executable).parent / "mlserver"
        env = {**os.environ, "MPLCONFIGDIR": str(self.folder), "OMP_NUM_THREADS": "1"}
        self.process = Process([command, "start", self.folder], self.folder / "mlserver.log", env)
        self.host = Host(port)
        try:
            self.process.ready("mlserver", self.ready, 90)
        except RuntimeError as error:
            self.process.end()
            raise Missing(f"less {self.process.log}: {' '.join(str(error).split())[-300:]}") from error
        except BaseException:
            self.process.end()
            raise
        return self

    def __exit__(self, *_):
        self.process.end()

    def ready(self):
        try:
            return self.host.call("GET", "/v2/models/iris/ready").status == 200
        except OSError:
            return False


def train(folder):
    """Fits the model and writes it beside its settings."""
    import joblib
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    folder.mkdir()
    features, species = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=500).fit(features, species), folder / "model.joblib")
    (folder / "model-settings.json").write_text(json.dumps(MODEL))


def flowers():
    """The 150 measurements that the model was fitted to."""
    import numpy
    from sklearn.datasets import load_iris

    return load_iris().data.astype(numpy.float32)
