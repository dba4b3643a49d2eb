"""A real FastAPI service, and contracts made of the schemas that it publishes itself."""

import json
import pathlib
import sys

from processes import Process, free_port
from report import Missing
from wire import Host

HERE = pathlib.Path(__file__).parent


class FastApi:
    """Serves on a free port until the `with` block ends."""

    def __init__(self, setting):
        setting.packages()
        self.folder = setting.folder("fastapi")
        self.host = None
        self.process = None

    def __enter__(self):
        self.host = Host(free_port())
        command = [sys.executable, "-B", HERE / "fastapi_app.py", self.host.port]
        self.process = Process(command, self.folder / "fastapi.log")
        try:
            self.process.ready("fastapi", self.ready, 30)
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
            return self.host.call("GET", "/health").status == 200
        except OSError:
            return False

    def arrived(self):
        """The requests that the service saw, in its own words."""
        return [line for line in self.process.said().splitlines() if line.startswith("ARRIVED ")]

    def openapi(self):
        return self.host.call("GET", "/openapi.json").json()


def body_schema(document, path):
    """The JSON Schema of what `POST path` takes: that of OpenAPI 3.1 with what it refers to brought along."""
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    known, needed, waiting = document["components"]["schemas"], {}, [body]
    while waiting:
        for name in references(waiting.pop()):
            if name not in needed:
                needed[name] = known[name]
                waiting.append(known[name])
    # In the text: a reference may stand anywhere in a schema.
    whole = json.dumps({**body, "$defs": needed})
    return json.loads(whole.replace('"#/components/schemas/', '"#/$defs/'))


def references(schema):
    """Names of the components that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.removeprefix("#/components/schemas/")
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from references(part)
