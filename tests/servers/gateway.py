"""Tollgate itself: a configuration of `configs/`, a fresh key, and the access lines that it wrote."""

import json
import os
import pathlib
import re
import secrets
import shutil

from certificates import Authority
from processes import Process, run, until

CONFIGS = pathlib.Path(__file__).parent / "configs"


class Gateway:
    """The built binary, serving one configuration until the `with` block ends."""

    def __init__(self, setting, config, files=None, **values):
        self.folder = setting.folder(config)
        for name, text in (files or {}).items():
            (self.folder / name).write_text(text)
        self.config = shutil.copy(CONFIGS / f"{config}.yaml", self.folder / "tollgate.yaml")
        self.authority = Authority(self.folder)
        pepper = self.folder / "pepper"
        pepper.write_text(secrets.token_hex(32))
        pepper.chmod(0o600)
        self.env = {**os.environ, **{name: str(value) for name, value in values.items()}}
        self.binary = setting.tollgate
        self.key = self.key_of("acme")
        self.process = None

    def __enter__(self):
        log = self.folder / "tollgate.log"
        self.process = Process([self.binary, "serve", "--config", self.config], log, self.env)
        try:
            names = re.findall(r"^  (\w+): *\{ *bind:", pathlib.Path(self.config).read_text(), re.MULTILINE)
            self.ports = self.process.ready("tollgate", lambda: self._ports(names))
        except BaseException:
            self.process.end()
            raise
        return self

    def __exit__(self, *_):
        self.process.end()

    def key_of(self, tenant):
        """A fresh key. A gateway that serves already does not know it."""
        new = [self.binary, "keys", "new", "--config", self.config, "--tenant", tenant, "--env", "test"]
        return run(new, env=self.env).strip()

    def _ports(self, names):
        found = re.findall(r"`(\w+)` listens on 127\.0\.0\.1:(\d+)", self.process.said())
        return {name: int(port) for name, port in found} if len(found) == len(names) else None

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.key}"}

    def records(self):
        """Every access line so far."""
        path = self.folder / "access.log"
        lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def record(self, request_id):
        """The access line of one exchange: lines are written in batches, so it may take a moment."""

        def find():
            return next((line for line in self.records() if line["id"] == request_id), None)

        return until(f"the record of {request_id}", find, 5)
