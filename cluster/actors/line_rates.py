"""Measures what the network carries between each two nodes, before anything else uses it."""

import logging
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError

from cluster.actors.nodes import on_node

_MEASURE_S = 0.4
_WAIT_S_MAX = 30.0
# A node's first worker unpacks the code that was shipped to it.
_START_S_MAX = 120.0
_LOG = logging.getLogger("vmotion.network")
_CHUNK_BYTES = 1 << 20
_KEY_BYTES = 16


class Meter:
    """One end of a measurement, on one node; serves one peer at a time."""

    def __init__(self) -> None:
        self._received: tuple[int, float] = (0, 0.0)
        self._done = threading.Event()

    def listen(self) -> tuple[str, int, bytes]:
        """Open a port on this node's address for who shows the key; return all three."""
        listener = socket.create_server((ray.util.get_node_ip_address(), 0))
        key = secrets.token_bytes(_KEY_BYTES)
        self._done = (
            threading.Event()
        )  # of this measurement: an earlier one may still be waited for
        threading.Thread(
            target=self._receive, args=(listener, key, self._done), daemon=True
        ).start()
        address, port = listener.getsockname()[:2]
        return address, port, key

    def send(self, address: str, port: int, key: bytes) -> None:
        """Send as fast as it goes for a while."""
        chunk = memoryview(bytes(_CHUNK_BYTES))
        with socket.create_connection((address, port), timeout=_WAIT_S_MAX) as line:
            line.sendall(key)
            end = time.monotonic() + _MEASURE_S
            while time.monotonic() < end:
                line.sendall(chunk)

    def received(self) -> float:
        """Return the payload bytes a second that came in; 0 if nobody came."""
        self._done.wait(_WAIT_S_MAX)
        nbytes, lasted_s = self._received
        return nbytes / lasted_s if lasted_s > 0 else 0.0

    def _receive(self, listener: socket.socket, key: bytes, done: threading.Event) -> None:
        """Count what comes after the first bytes: what was queued before a clock ran is not counted."""
        self._received = (0, 0.0)
        try:
            listener.settimeout(_WAIT_S_MAX)
            with listener:
                line, _ = listener.accept()
            with line:
                line.settimeout(_WAIT_S_MAX)
                if line.recv(_KEY_BYTES, socket.MSG_WAITALL) != key:
                    return
                buffer = bytearray(_CHUNK_BYTES)
                line.recv_into(buffer)
                began, nbytes = time.monotonic(), 0
                while got := line.recv_into(buffer):
                    nbytes += got
                self._received = (nbytes, time.monotonic() - began)
        except OSError:
            return  # nobody came, or it hung up: nothing was measured
        finally:
            done.set()


def measure_lines(nodes: Sequence[str]) -> tuple[tuple[str, str, float], ...]:
    """Return (from, to, payload bytes a second) for each two nodes, both ways.

    Pairs that share no node are measured at once, so it takes twice as many rounds as
    there are nodes. What does not answer in time is left out: nothing waits for a figure.
    """
    if len(nodes) < 2:
        return ()
    actor: Any = ray.remote(num_cpus=0, max_restarts=0)(Meter)
    meters = {
        node: actor.options(scheduling_strategy=on_node(node), max_concurrency=4).remote()
        for node in nodes
    }
    found: list[tuple[str, str, float]] = []
    try:
        ray.get([m.__ray_ready__.remote() for m in meters.values()], timeout=_START_S_MAX)
        for pairs in rounds(list(nodes)):
            found += _measure(meters, pairs)
    except RayError as error:
        _LOG.warning("the network between the nodes was not measured: %s", error)
    finally:
        for meter in meters.values():
            ray.kill(meter)
    return tuple(one for one in found if one[2] > 0)


def _measure(meters: dict[str, Any], pairs: list[tuple[str, str]]) -> list[tuple[str, str, float]]:
    doors = ray.get([meters[there].listen.remote() for _, there in pairs], timeout=_WAIT_S_MAX)
    sends = [meters[here].send.remote(*door) for (here, _), door in zip(pairs, doors, strict=True)]
    ray.wait(sends, num_returns=len(sends), timeout=_WAIT_S_MAX)
    rates = ray.get(
        [meters[there].received.remote() for _, there in pairs], timeout=_WAIT_S_MAX * 2
    )
    return [(*pair, rate) for pair, rate in zip(pairs, rates, strict=True)]


def rounds(nodes: list[str]) -> list[list[tuple[str, str]]]:
    """Return every ordered pair once, in rounds in which no node appears twice (a tournament)."""
    seats: list[str | None] = [*nodes, *([None] if len(nodes) % 2 else [])]
    half = len(seats) // 2
    found: list[list[tuple[str, str]]] = []
    for _ in range(len(seats) - 1):
        facing = zip(seats[:half], reversed(seats[half:]), strict=True)
        pairs = [(a, b) for a, b in facing if a is not None and b is not None]
        found += [pairs, [(b, a) for a, b in pairs]]
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return found
