"""Serves metrics over HTTP, and says where hosts serve theirs (Prometheus' HTTP service discovery)."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from socketserver import ThreadingMixIn
from threading import Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import choose_encoder, gzip_accepted

from cluster.observe.instruments import Instruments

ADDRESS = "127.0.0.1"
PORT = 9400
DISCOVERY_PATH = "/sd"
# How soon a server that is closed notices.
_POLL_S = 0.1
# The text repeats itself so much that more effort saves little: 2.2 MB become 0.25 or 0.23 MB.
_GZIP_LEVEL = 1
_OPENMETRICS = "application/openmetrics-text"


class PortTakenError(Exception):
    """The port that the user named cannot be had; the message says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a host serves metrics of its own: HOST:PORT, and the labels that they get."""

    address: str
    labels: tuple[tuple[str, str], ...] = ()


class MetricsServer:
    """Serves metrics until it is closed; a context manager.

    `/sd` lists the endpoints where hosts serve theirs, as http_sd_config reads it; every other
    path gets the metrics.
    """

    def __init__(
        self,
        metrics: Instruments,
        *,
        port: int | None = None,
        address: str = ADDRESS,
    ) -> None:
        """Serve on `port`; without one on 9400, or on a free one if that is taken.

        Raises:
            PortTakenError: If the port that was named cannot be had.
        """
        self._targets: tuple[Target, ...] = ()
        self._address = address
        scraped = _Scraped(metrics)

        def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            if environ["PATH_INFO"] != DISCOVERY_PATH:
                return scraped(environ, start)
            start("200 OK", [("Content-Type", "application/json")])
            return [discovery(self._targets).encode()]

        try:
            self._server = self._serve(answer, PORT if port is None else port)
        except (OSError, OverflowError) as error:
            if port is not None:
                raise PortTakenError(
                    f"metrics cannot be served on port {port} of {address}: {error}"
                ) from error
            self._server = self._serve(answer, 0)
        self.port: int = self._server.server_port
        self._thread = Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="metrics", daemon=True
        )
        self._thread.start()

    def _serve(self, answer: Any, port: int) -> WSGIServer:
        return make_server(self._address, port, answer, _Server, _Quiet)

    @property
    def url(self) -> str:
        """Where Prometheus finds the metrics."""
        return f"http://{self._address}:{self.port}/metrics"

    @property
    def discovery_url(self) -> str:
        """Where Prometheus finds the hosts' endpoints."""
        return f"http://{self._address}:{self.port}{DISCOVERY_PATH}"

    def discovered(self, targets: Iterable[Target]) -> None:
        """From now on list these endpoints."""
        self._targets = tuple(targets)

    def close(self) -> None:
        """Stop serving and free the port; again it does nothing."""
        if not self._thread.is_alive():
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "MetricsServer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Scraped:
    """Answers scrapes as prometheus-client's own WSGI app does, from text that is kept rendered."""

    def __init__(self, metrics: Instruments) -> None:
        self._metrics = metrics
        self._rest: Callable[..., Iterable[bytes]] = make_wsgi_app(metrics.registry)
        self._zipping = Lock()
        # By format: a text and what became of it.
        self._zipped: dict[bool, tuple[bytes, bytes]] = {}

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        _, content_type = choose_encoder(environ.get("HTTP_ACCEPT", ""))
        plain = environ["REQUEST_METHOD"] == "GET" and environ["PATH_INFO"] != "/favicon.ico"
        # A choice of metrics, and names in which "_" is written otherwise, nobody asks for often.
        if not plain or environ.get("QUERY_STRING") or content_type.endswith("escaping=dots"):
            return self._rest(environ, start)
        openmetrics = content_type.startswith(_OPENMETRICS)
        text = self._metrics.exposition(openmetrics=openmetrics)
        headers = [("Content-Type", content_type)]
        if gzip_accepted(environ.get("HTTP_ACCEPT_ENCODING", "")):
            text = self._compressed(text, openmetrics)
            headers.append(("Content-Encoding", "gzip"))
        start("200 OK", headers)
        return [text]

    def _compressed(self, text: bytes, openmetrics: bool) -> bytes:
        with self._zipping:
            last = self._zipped.get(openmetrics)
            if last is None or last[0] is not text:
                last = text, gzip.compress(text, _GZIP_LEVEL)
                self._zipped[openmetrics] = last
            return last[1]


def host_targets(where: Mapping[str, str]) -> tuple[Target, ...]:
    """Return hosts' endpoints, given HOST:PORT by host.

    The name is a meta label: a plain `host` would clash with the one that the metrics have.
    """
    return tuple(
        Target(address=address, labels=(("__meta_vmotion_host", host),))
        for host, address in where.items()
    )


def discovery(targets: Iterable[Target]) -> str:
    """Return the endpoints as JSON, a group each, as Prometheus' http_sd_config reads them."""
    return json.dumps([{"targets": [one.address], "labels": dict(one.labels)} for one in targets])


class _Server(ThreadingMixIn, WSGIServer):
    """A thread a scrape, so that one that hangs does not keep the others out."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    """Writes no line a scrape to stderr."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""
