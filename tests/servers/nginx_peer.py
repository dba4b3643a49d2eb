"""A real nginx with one of our configurations."""

import os
import pathlib
import socket
import string

from processes import Process, children, free_port, program, until

CONFIGS = pathlib.Path(__file__).parent / "configs"


class Nginx:
    """Serves `configs/NAME.conf` on a free port until the `with` block ends."""

    def __init__(self, setting, name, **values):
        self.binary = program("nginx", "nginx")
        self.folder = setting.folder(name)
        self.port = free_port()
        self.config = self.folder / "nginx.conf"
        self.process = None
        # A master that is root gives its workers to somebody who may not read our folder.
        user = "user root;" if os.geteuid() == 0 else ""
        values = {"folder": self.folder, "port": self.port, "user": user, **values}
        self.config.write_text(string.Template((CONFIGS / f"{name}.conf").read_text()).substitute(values))

    def __enter__(self):
        command = [self.binary, "-c", self.config, "-p", self.folder, "-e", self.folder / "error.log"]
        self.process = Process(command, self.folder / "nginx.log")
        try:
            self.process.ready("nginx", self.answers)
        except BaseException:
            self.process.end()
            raise
        return self

    def __exit__(self, *_):
        self.process.end()

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return bool(self.workers())

    def workers(self):
        return children(self.process.pid)

    def lines(self):
        """The access log so far."""
        path = self.folder / "access.log"
        return path.read_text().splitlines() if path.exists() else []

    def lines_after(self, count, more):
        """Lines of the access log after the first `count`, once there are `more` of them."""
        def find():
            lines = self.lines()[count:]
            return lines if len(lines) >= more else None

        return until(f"{more} more lines in the log of nginx", find, 5)
