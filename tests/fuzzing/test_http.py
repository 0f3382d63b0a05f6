"""The metrics endpoint answers whatever is sent to it, and goes on after it."""

import socket
import urllib.request

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.observe.exporter import Exporter
from cluster.observe.serving import MetricsServer
from tests.fuzzing.damage import damaged
from tests.fuzzing.test_files import EXAMPLES

FEW = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
REQUEST = b"GET /metrics?name[]=x HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\n\r\n"
REQUESTS = st.sampled_from(
    [
        *(b"\r\n\r\n", b"GET", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 70_000),
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /" + b"x: y\r\n" * 300 + b"\r\n",
        b"POST /sd HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.0\r\n\r\n",
        b"GET /metrics?%ff=%zz HTTP/1.0\r\n\r\n",
    ]
)


def served():
    return MetricsServer(Exporter().metrics)


def test_it_goes_on_answering():
    with served() as server:

        @FEW
        @given(REQUESTS | damaged(REQUEST) | st.binary(max_size=200))
        def send(request):
            with socket.create_connection(("127.0.0.1", server.port), 10) as line:
                line.settimeout(10)
                line.sendall(request)
                line.shutdown(socket.SHUT_WR)
                try:
                    while line.recv(65536):
                        pass
                except ConnectionError:
                    pass  # hung up on: an answer too
            with urllib.request.urlopen(server.url, timeout=10) as answer:
                assert b"vmotion_run_time_seconds 0.0" in answer.read()

        send()


def test_who_says_nothing_keeps_nobody_waiting():
    with served() as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(20)]
        with urllib.request.urlopen(server.url, timeout=10) as answer:
            assert 200 == answer.status
        for line in idle:
            line.close()
