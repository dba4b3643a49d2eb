"""A relay in front of a server that counts what passes towards it: the proof that nothing did."""

import selectors
import socket
import threading


class Shim:
    """Relays from a port of its own to `port`."""

    def __init__(self, port):
        self.target = port
        self.connections = 0
        self.received = 0
        self.heads = []
        self._selector = selectors.DefaultSelector()
        self._door = socket.create_server(("127.0.0.1", 0))
        self._wake, self._alarm = socket.socketpair()
        self.port = self._door.getsockname()[1]
        self._thread = threading.Thread(target=self._relay, daemon=True)

    def __enter__(self):
        self._selector.register(self._door, selectors.EVENT_READ, self._accept)
        self._selector.register(self._alarm, selectors.EVENT_READ, None)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._wake.send(b"x")
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()
        self._wake.close()

    def seen(self):
        """Connections and bytes that came from the gateway so far."""
        return self.connections, self.received

    def upward(self, _source, data):
        """What becomes of bytes towards the server: nothing."""
        return data

    def _relay(self):
        while True:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def _accept(self, door):
        near, _ = door.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self.target), timeout=5)
        except OSError:
            near.close()
            return
        self.connections += 1
        self._selector.register(near, selectors.EVENT_READ, lambda _: self._move(near, far, True))
        self._selector.register(far, selectors.EVENT_READ, lambda _: self._move(far, near, False))

    def _move(self, source, sink, upward):
        try:
            data = source.recv(1 << 16)
            if upward and data:
                self.received += len(data)
                self.heads.append(data[:4096])
                data = self.upward(source, data)
            if data:
                sink.sendall(data)
                return
        except OSError:
            pass
        for end in (source, sink):
            try:
                self._selector.unregister(end)
            except (KeyError, ValueError):
                continue
            end.close()
