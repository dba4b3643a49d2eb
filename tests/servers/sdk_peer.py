"""A stub that speaks as much of OpenAI's chat as its SDK reads, and that can be told to think for a while."""

import http.server
import json
import threading

CHOICE = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "tiny",
    "choices": [CHOICE],
    "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
}
CHUNK = {**ANSWER, "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "hi"}}]}


class Stub:
    """Serves on a port of its own until the `with` block ends."""

    def __init__(self):
        stub = self
        self.arrived = 0
        self.go = threading.Event()
        self.go.set()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.arrived += 1
                stub.go.wait(20)
                streams = body.get("stream")
                text = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n" if streams else json.dumps(ANSWER)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream" if streams else "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()
