"""A real FastAPI service, and what it publishes of itself."""

import pathlib
import sys

from processes import Process, Server

HERE = pathlib.Path(__file__).parent


class FastApi(Server):
    """Serves on paths of its own."""

    NAME = "fastapi"
    SECONDS = 30

    def interpreter(self, setting):
        setting.packages()
        return sys.executable

    def start(self):
        self.process = Process([self.python, "-B", HERE / "fastapi_app.py", self.host.port], self.log)

    def arrived(self):
        """The requests that the service saw, in its own words."""
        return [line for line in self.process.said().splitlines() if line.startswith("ARRIVED ")]
