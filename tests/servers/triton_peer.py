"""A real Triton server."""

import os
import pathlib
import shutil
import signal

from processes import Process, Server, children, free_port, run, until

HERE = pathlib.Path(__file__).parent


class Triton(Server):
    """Serves `linear` and `echo`."""

    NAME = "triton"
    READY = ("/v2/models/linear/ready", "/v2/models/echo/ready")

    def start(self):
        work = self.folder / "workspace"
        command = [self.python, "-B", HERE / "triton_server.py", self.host.port, free_port(), free_port(), work]
        # Its stub wants the library of the interpreter, which the loader looks for only where it is told to.
        base = run([self.python, "-c", "import sys; print(sys.base_prefix)"]).strip()
        folder = pathlib.Path(self.python).parent
        env = {**os.environ, "LD_LIBRARY_PATH": f"{base}/lib", "PATH": f"{folder}:{os.environ.get('PATH', '')}"}
        self.process = Process(command, self.log, env)

    def end(self):
        """The server is a grandchild or further away, and one whose starter is gone would stay."""
        if not self.process:
            return
        family = descendants(self.process.pid)
        self.process.end()
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        until("triton is gone", lambda: not any(pathlib.Path(f"/proc/{pid}/exe").exists() for pid in family), 8)
        # It unpacks a server of 200 MB for each run.
        shutil.rmtree(self.folder / "workspace", ignore_errors=True)


def descendants(pid):
    """Ids of the children of a process, and of theirs."""
    found = children(pid)
    return found + [grandchild for child in found for grandchild in descendants(child)]
