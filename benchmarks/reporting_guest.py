"""A key-value guest that reports who runs it, and keeps a ramp over its pages. Not a benchmark."""

import contextlib
import os
import socket

import numpy as np

from cluster.guests.base import Array
from cluster.guests.keyvalue import KeyValue
from cluster.page import MIB, PAGE_BYTES

_SLOTS = 4096
_PAGES_A_STEP = 32
# Of this process, not of the guest: a socket is no state that travels.
_SOCKETS: dict[int, socket.socket] = {}


def edges(column: np.ndarray) -> int:
    """Return where a ramp changes: 0 or 1 in one that was written in order and moved whole."""
    return int(np.count_nonzero(np.diff(column.astype(np.int16))))


class Reporting(KeyValue):
    """Writes one byte of each page in order, round after round, and reports each step.

    At any moment the first pages are one ahead of the rest, with one edge between: QEMU's own
    oracle. A page that is lost or comes twice makes another.
    """

    period_s = 0.005
    replayable = True

    def __init__(
        self,
        *,
        memory_bytes,
        seed=0,
        register_port=0,
        name="vm",
        ramp_mib=8,
        pages_a_step=_PAGES_A_STEP,
    ):
        super().__init__(memory_bytes=memory_bytes, seed=seed, slots=_SLOTS)
        self.register_port = register_port
        self.name = name
        self.ramp_pages = ramp_mib * MIB // PAGE_BYTES
        self.pages_a_step = pages_a_step
        self.steps = 0

    def layout(self):
        return {**super().layout(), "ramp": Array(shape=(self.ramp_pages, PAGE_BYTES))}

    def start(self):
        """Fill every page, so that all of them have to travel."""
        self.ramp[:, 1:] = (np.arange(self.ramp_pages) % 251)[:, None] + 1

    def step(self, budget):
        first = self.steps * self.pages_a_step % self.ramp_pages
        self.ramp[first : first + self.pages_a_step, 0] += 1
        self.ramp[: max(0, first + self.pages_a_step - self.ramp_pages), 0] += 1
        self.steps += 1
        self._report()

    def replay(self, log):
        super().replay(log)
        rounds, rest = divmod(self.steps * self.pages_a_step, self.ramp_pages)
        self.ramp[:, 0] = rounds % 256
        self.ramp[:rest, 0] = (rounds + 1) % 256

    def _report(self):
        if not self.register_port:
            return
        line = _SOCKETS.get(self.register_port)
        if line is None:
            line = _SOCKETS[self.register_port] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            line.setblocking(False)
        # A report that cannot leave now is one less of thousands.
        with contextlib.suppress(BlockingIOError):
            line.sendto(f"{self.name} {os.getpid()}".encode(), ("127.0.0.1", self.register_port))
