"""A real Triton server."""

import os
import pathlib
import shutil
import signal

from processes import Process, children, free_port, run, until
from report import Missing
from wire import Host

HERE = pathlib.Path(__file__).parent


class Triton:
    """Serves `linear` and `echo` on free ports until the `with` block ends."""

    def __init__(self, setting):
        self.python = setting.python("triton")
        self.folder = setting.folder("triton")
        self.host = None
        self.grpc = None
        self.process = None

    def __enter__(self):
        self.host = Host(free_port())
        self.grpc = free_port()
        work = self.folder / "workspace"
        command = [self.python, "-B", HERE / "triton_server.py", self.host.port, self.grpc, free_port(), work]
        # Its stub wants the library of the interpreter, which the loader looks for only where it is told to.
        base = run([self.python, "-c", "import sys; print(sys.base_prefix)"]).strip()
        folder = pathlib.Path(self.python).parent
        env = {**os.environ, "LD_LIBRARY_PATH": f"{base}/lib", "PATH": f"{folder}:{os.environ.get('PATH', '')}"}
        self.process = Process(command, self.folder / "triton.log", env)
        try:
            self.process.ready("triton", self.ready, 60)
        except RuntimeError as error:
            self.__exit__()
            raise Missing(f"less {self.process.log}: {' '.join(str(error).split())[-300:]}") from error
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        """The server is a grandchild or further away, and one whose starter is gone would stay."""
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

    def ready(self):
        try:
            return all(self.host.call("GET", f"/v2/models/{name}/ready").status == 200 for name in ("linear", "echo"))
        except OSError:
            return False


def descendants(pid):
    """Ids of the children of a process, and of theirs."""
    found = children(pid)
    return found + [grandchild for child in found for grandchild in descendants(child)]
