"""A real KServe model server."""

import pathlib

from processes import Process, free_port
from report import Missing
from wire import Host

HERE = pathlib.Path(__file__).parent


class KServe:
    """Serves `doubler` on free ports until the `with` block ends."""

    def __init__(self, setting):
        self.python = setting.python("kserve")
        self.folder = setting.folder("kserve")
        self.host = None
        self.grpc = None
        self.process = None

    def __enter__(self):
        self.host = Host(free_port())
        self.grpc = free_port()
        command = [self.python, "-B", HERE / "kserve_server.py", self.host.port, self.grpc]
        self.process = Process(command, self.folder / "kserve.log")
        try:
            self.process.ready("kserve", self.ready, 60)
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
            return self.host.call("GET", "/v2/models/doubler/ready").status == 200
        except OSError:
            return False
