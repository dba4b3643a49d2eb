"""The scene of every server of the Open Inference Protocol: the server, a relay that counts, a gateway, and `tritonclient` for
each way."""

import contextlib

from gateway import Gateway
from shim import Shim
from wire import Host


class OipScene:
    """What the checks of a suite talk to."""

    def __init__(self, server, shim, gateway):
        import numpy
        import tritonclient.http as triton

        self.server, self.shim, self.gateway, self.triton, self.numpy = server, shim, gateway, triton, numpy
        self.gate = Host(gateway.ports["plain"])
        self.direct = triton.InferenceServerClient(f"127.0.0.1:{server.host.port}")
        self.through = triton.InferenceServerClient(f"127.0.0.1:{self.gate.port}")

    def headers_for(self, client):
        """A fresh one each time: the client writes its own fields into it."""
        return self.gateway.bearer if client is self.through else None


def before(server, config, port, made=OipScene):
    """A scene for a suite: `server` behind a gateway of `configs/CONFIG.yaml`, whose variable `port` leads to it."""

    @contextlib.contextmanager
    def scene(setting):
        with (
            server(setting) as running,
            Shim(running.host.port) as shim,
            Gateway(setting, config, **{port: shim.port}) as gateway,
        ):
            stands = made(running, shim, gateway)
            try:
                yield stands
            finally:
                stands.direct.close()
                stands.through.close()

    return scene
