"""A real KServe model server."""

import pathlib

from processes import Process, Server, free_port

HERE = pathlib.Path(__file__).parent


class KServe(Server):
    """Serves `doubler`."""

    NAME = "kserve"
    READY = ("/v2/models/doubler/ready",)

    def start(self):
        command = [self.python, "-B", HERE / "kserve_server.py", self.host.port, free_port()]
        self.process = Process(command, self.log)
