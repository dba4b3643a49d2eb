"""A real llama.cpp server, from the wheel of xllamacpp, with a model of random weights. What it says is noise; how it
says it is not."""

import os
import pathlib

from processes import Process, free_port, run
from report import Missing
from wire import Host

HERE = pathlib.Path(__file__).parent


class LlamaCpp:
    """Serves `tiny` on a free port until the `with` block ends: one slot, so what a request finds in the cache is what
    the one before it left there."""

    def __init__(self, setting):
        self.python = setting.python("llamacpp")
        self.folder = setting.folder("llamacpp")
        self.host = None
        self.process = None

    def __enter__(self):
        model = self.folder / "tiny.gguf"
        port = free_port()
        env = {**os.environ, "OMP_NUM_THREADS": "1"}
        try:
            run([self.python, "-B", HERE / "llamacpp_model.py", model])
            command = [self.python, "-B", HERE / "llamacpp_server.py", model, port]
            self.process = Process(command, self.folder / "llamacpp.log", env)
            self.host = Host(port)
            self.process.ready("llama.cpp", self.ready, 60)
        except RuntimeError as error:
            self.__exit__()
            raise Missing(f"less {self.folder}/llamacpp.log: {' '.join(str(error).split())[-300:]}") from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.end()

    def ready(self):
        try:
            return self.host.call("GET", "/health").status == 200
        except OSError:
            return False
