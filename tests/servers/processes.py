"""Processes that end with the scene that started them, and polling with a deadline instead of sleeping."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

from report import Missing
from wire import Host

_pause = threading.Event()


def until(what, condition, seconds=20):
    """The first true answer of `condition`, asked again and again."""
    end = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        _pause.wait(0.01)


def free_port():
    """A port that was free a moment ago, for servers that cannot take port 0.

    Not one of those that the system gives to outgoing connections: to poll such a port on loopback may connect to
    itself.
    """
    ephemeral = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    low = 10_000 if ephemeral > 12_000 else 61_001
    high = ephemeral if ephemeral > 12_000 else 65_536
    while True:
        port = random.randrange(low, high)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def program(name, package):
    """Where a program is; it is missing with the Debian package that has it."""
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise Missing(f"apt-get install {package}")
    return path


def children(pid):
    """Ids of the direct children of a process."""
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(child) for child in text.split()]


class Process:
    """A child, its output in a file, ended by its id on every path. It also ends when we die (`setpriv`)."""

    def __init__(self, command, log, env=None):
        guard = shutil.which("setpriv")
        if guard:
            command = [guard, "--pdeathsig", "TERM", *command]
        self.log = pathlib.Path(log)
        with open(self.log, "wb") as out:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
            )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    @property
    def pid(self):
        return self.child.pid

    def alive(self):
        return self.child.poll() is None

    def said(self):
        return self.log.read_text(errors="replace")

    def ready(self, what, condition, seconds=20):
        """Waits for a condition, and not longer than the process lives."""

        def ask():
            if not self.alive():
                raise RuntimeError(f"{what} ended with {self.child.returncode}: {self.said()[-600:]}")
            return condition()

        try:
            return until(f"{what} is ready", ask, seconds)
        except TimeoutError as late:
            raise RuntimeError(f"{late}: {self.said()[-600:]}") from late

    def end(self, seconds=8):
        """Asks, then kills, its children too: a killed master of nginx would leave its workers."""
        kin = children(self.pid)
        if self.alive():
            self.child.terminate()
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            kin = children(self.pid)
            self.child.kill()
            self.child.wait(seconds)
            for pid in kin:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass


class Server:
    """A real server on a free port until the `with` block ends. What starts it is the subclass's business.

    `NAME` names its folder, its log and, unless it says another, its environment; `READY` are the paths that answer 200
    once it can work; a server that does not come is missing, with its log. `KEY` is what it asks callers for, if anything.
    """

    NAME = ""
    READY = ("/health",)
    SECONDS = 60
    KEY = None

    def __init__(self, setting):
        self.python = self.interpreter(setting)
        self.folder = setting.folder(self.NAME)
        self.log = self.folder / f"{self.NAME}.log"
        self.host = None
        self.grpc = None
        self.process = None

    def interpreter(self, setting):
        """The Python that has its packages."""
        return setting.python(self.NAME)

    @property
    def bearer(self):
        return {"Authorization": f"Bearer {self.KEY}"} if self.KEY else {}

    def start(self):
        """Starts it as `self.process`, at `self.host`."""
        raise NotImplementedError

    def __enter__(self):
        self.host = Host(free_port())
        self.grpc = free_port()
        try:
            self.start()
            self.process.ready(self.NAME, self.ready, self.SECONDS)
        except RuntimeError as error:
            self.end()
            raise Missing(f"less {self.log}: {' '.join(str(error).split())[-300:]}") from error
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()

    def end(self):
        if self.process:
            self.process.end()

    def ready(self):
        try:
            return all(self.host.call("GET", path).status == 200 for path in self.READY)
        except OSError:
            return False


def run(command, seconds=60, **more):
    """A short program's output; an error with what it said where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
        **more,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode(errors='replace')[-600:]}")
    return done.stdout.decode()
