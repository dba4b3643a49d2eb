"""A real MLServer with a real scikit-learn model."""

import json
import os
import pathlib
import sys

from processes import Process, Server, free_port

SETTINGS = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False}
MODEL = {
    "name": "iris",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": "./model.joblib", "version": "v1"},
}


class MLServer(Server):
    """Serves `iris`."""

    NAME = "mlserver"
    READY = ("/v2/models/iris/ready",)
    SECONDS = 90

    def interpreter(self, setting):
        setting.packages()
        return sys.executable

    def start(self):
        train(self.folder / "iris")
        ports = {"http_port": self.host.port, "grpc_port": free_port(), "metrics_port": free_port()}
        (self.folder / "settings.json").write_text(json.dumps({**SETTINGS, **ports}))
        command = pathlib.Path(self.python).parent / "mlserver"
        env = {**os.environ, "MPLCONFIGDIR": str(self.folder), "OMP_NUM_THREADS": "1"}
        self.process = Process([command, "start", self.folder], self.log, env)


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
