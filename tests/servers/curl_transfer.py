"""One long transfer of `curl` over HTTP/2, watched while it runs."""

import subprocess

from processes import program


class Transfer:
    """Runs until the `with` block ends."""

    def __init__(self, gateway, path):
        self.body, self.head = gateway.folder / "transfer", gateway.folder / "transfer-head"
        url = f"https://localhost:{gateway.ports['secure']}{path}"
        trust = ["--http2", "--cacert", str(gateway.authority.ca)]
        key = ["-H", f"Authorization: Bearer {gateway.key}"]
        to = ["--no-buffer", "-D", str(self.head), "-o", str(self.body)]
        self.command = [program("curl", "curl"), "-sS", "--max-time", "30", *trust, *key, *to, url]
        self.child = None

    def __enter__(self):
        out = subprocess.DEVNULL
        self.child = subprocess.Popen(self.command, stdin=out, stdout=out, stderr=out)
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait(5)

    def size(self):
        return self.body.stat().st_size if self.body.exists() else 0

    def wait(self):
        return self.child.wait(20)

    def field(self, name):
        for line in self.head.read_text().splitlines():
            if line.lower().startswith(f"{name}: "):
                return line.split(": ", 1)[1].strip()
        raise AssertionError(f"no {name}")
