"""A real llama.cpp server, from the wheel of xllamacpp, with a model of random weights. What it says is noise; how it
says it is not."""

import os
import pathlib

from processes import Process, Server, run

HERE = pathlib.Path(__file__).parent


class LlamaCpp(Server):
    """Serves `tiny`: one slot, so what a request finds in the cache is what the one before it left there."""

    NAME = "llamacpp"
    KEY = "nobody"

    @property
    def clients(self):
        """The Python with LiteLLM."""
        return self.python

    def start(self):
        model = self.folder / "tiny.gguf"
        run([self.python, "-B", HERE / "llamacpp_model.py", model])
        command = [self.python, "-B", HERE / "llamacpp_server.py", model, self.host.port]
        self.process = Process(command, self.log, {**os.environ, "OMP_NUM_THREADS": "1"})
