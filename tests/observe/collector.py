"""An OpenTelemetry collector that keeps what it is sent."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer


class _Collector(BaseHTTPRequestHandler):
    """Keeps what is posted to it."""

    received: list  # of the subclass that is made for each

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.received.append((self.path, self.headers.get("Content-Encoding"), body))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@contextmanager
def collecting():
    """Yield its address, and the list of (path, encoding, body) that it has received."""
    handler = type("OneCollector", (_Collector,), {"received": []})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", handler.received
        finally:
            server.shutdown()
            thread.join()
