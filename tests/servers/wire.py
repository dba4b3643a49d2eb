"""HTTP by hand: requests that no library would send, and replies as they are."""

import http.client
import json
import socket
import ssl


def tls(authority, alpn=("http/1.1",)):
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.set_alpn_protocols(list(alpn))
    return context


class Reply:
    """A whole answer."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def id(self):
        return self.headers.get("x-request-id")

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.body[:160]!r}"


class Host:
    """A server at a port; every call has a connection of its own unless it is given one."""

    def __init__(self, port, context=None, source="127.0.0.1"):
        self.port, self.context, self.source = port, context, source

    def connect(self):
        common = {"timeout": 20, "source_address": (self.source, 0)}
        if self.context:
            return http.client.HTTPSConnection("localhost", self.port, context=self.context, **common)
        return http.client.HTTPConnection("127.0.0.1", self.port, **common)

    def call(self, method, path, body=None, headers=None, on=None):
        connection = on or self.connect()
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            headers = dict(headers or {})
            if body is not None:
                headers.setdefault("Content-Length", str(len(body)))
            for name, value in headers.items():
                connection.putheader(name, value)
            try:
                connection.endheaders(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused while the body was still on its way: the answer is there
            reply = connection.getresponse()
            return Reply(reply.status, reply.headers, reply.read())
        finally:
            if on is None:
                connection.close()

    def raw(self, data):
        """Bytes as they are; the answer until the server closes or is quiet for a moment."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as plain:
            stream = self.context.wrap_socket(plain, server_hostname="localhost") if self.context else plain
            stream.sendall(data)
            stream.settimeout(0.25)
            got = b""
            try:
                while chunk := stream.recv(65536):
                    got += chunk
            except (TimeoutError, ConnectionResetError, ssl.SSLError):
                pass
            return got


def statuses(raw):
    """The status of each answer in a run of raw answers."""
    found = []
    for line in raw.split(b"\r\n"):
        if line.startswith(b"HTTP/1."):
            found.append(int(line.split(b" ")[1]))
    return found
