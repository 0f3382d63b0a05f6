"""The pager: a process that serves a guest's faults at the destination of a post-copy.

A process of its own, because a thread of the guest's process would wait for the lock
that the faulting thread holds, and the host's interpreter is busy at times. Standard
library and xxhash alone, so that it starts in milliseconds.

    python -m cluster.memory.pager CONFIG

CONFIG is JSON: the numbers of inherited fds and the addresses. It speaks with its host
on the `control` socket: says "ready", then obeys "stop" and answers with what it did.
"""

import contextlib
import json
import mmap
import os
import select
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field

import xxhash

from cluster.memory import userfaultfd
from cluster.memory.ledger import HERE, INSTALLED, MISSING, Ledger
from cluster.page import PAGE_BYTES

REQUEST = struct.Struct("!Q")
# Pages fetched beside a fault's: what is touched next is often what lies next.
_AHEAD_PAGES = 3
# Pages mapped at once around a touch of a page that is here already.
_AROUND_PAGES = 16
# Power-of-two microseconds, as QEMU's postcopy-latency-dist has them.
LATENCY_BUCKETS = 24


@dataclass(slots=True)
class Served:
    """What a pager has done, for the migration's row and metrics.

    Attributes:
        demand_faults: Touches of pages that were still on the source.
        minor_faults: Touches of pages that were here and only had to be mapped.
        fetched_pages: Pages that came on the urgent socket.
        latency_us: Demand faults by power of two of microseconds, from read to mapped.
    """

    demand_faults: int = 0
    minor_faults: int = 0
    fetched_pages: int = 0
    latency_us: list[int] = field(default_factory=lambda: [0] * LATENCY_BUCKETS)


class Pager:
    """Serves the faults of one VM until it is told to stop."""

    def __init__(
        self,
        *,
        uffd: int,
        memory_fd: int,
        ledger: Ledger,
        address: int,
        source: socket.socket | None,
    ) -> None:
        """`source` carries urgent pages, and may be None where none can be missing."""
        self._uffd = uffd
        self._nbytes = ledger.pages * PAGE_BYTES
        self._mapped = mmap.mmap(memory_fd, self._nbytes)
        self._memory = memoryview(self._mapped)
        self._ledger = ledger
        self._address = address
        self._source = source
        self._buffer = bytearray()
        self._asked_s: dict[int, float] = {}
        self._claimed: set[int] = set()
        self.served = Served()

    def serve_faults(self) -> None:
        """Serve everything that waits now."""
        for address, here in userfaultfd.read_faults(self._uffd):
            page = (address - self._address) // PAGE_BYTES
            if self._ledger.states[page] in (HERE, INSTALLED):
                self.served.minor_faults += 1
                self._map_around(page, here=here)
            elif self._ledger.states[page] == MISSING:
                self.served.demand_faults += 1
                if self._source is not None and self._ledger.claim(page):
                    self._asked_s[page] = time.perf_counter()
                    self._ask(page)
            # CLAIMED, or nobody to ask: whoever installs it maps it, and that wakes the guest.

    def take_pages(self) -> bool:
        """Install what has come from the source.

        False if it has hung up: what was asked for and has not come is missing again,
        for the bulk to bring.
        """
        assert self._source is not None
        try:
            data = self._source.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self._source = None
            with self._ledger.locked():
                for page in self._claimed:
                    self._ledger.states[page] = MISSING
            return False
        self._buffer += data
        size = REQUEST.size + PAGE_BYTES
        while len(self._buffer) >= size:
            (page,) = REQUEST.unpack_from(self._buffer)
            self._install(page, bytes(self._buffer[REQUEST.size : size]))
            del self._buffer[:size]
        return True

    def _ask(self, page: int) -> None:
        """Ask for a page, and for those behind it that are missing as well."""
        assert self._source is not None
        ahead = range(page + 1, min(page + 1 + _AHEAD_PAGES, self._ledger.pages))
        wanted = [page, *(one for one in ahead if self._ledger.claim(one))]
        self._claimed.update(wanted)
        # A source that has hung up is noticed when its answers are read.
        with contextlib.suppress(OSError):
            self._source.sendall(b"".join(REQUEST.pack(one) for one in wanted))

    def _install(self, page: int, data: bytes) -> None:
        at = page * PAGE_BYTES
        self._memory[at : at + PAGE_BYTES] = data
        digest = xxhash.xxh3_64_intdigest(data)
        self._ledger.hashes[page * 8 : page * 8 + 8] = digest.to_bytes(8, sys.byteorder)
        self._ledger.states[page] = INSTALLED
        self._claimed.discard(page)
        userfaultfd.map_present(self._uffd, self._address + at, PAGE_BYTES, PAGE_BYTES)
        self.served.fetched_pages += 1
        asked_s = self._asked_s.pop(page, None)
        if asked_s is not None:
            waited_us = int((time.perf_counter() - asked_s) * 1e6)
            self.served.latency_us[min(waited_us.bit_length(), LATENCY_BUCKETS - 1)] += 1

    def _map_around(self, page: int, *, here: bool) -> None:
        """Map the touched page, and its neighbours where that is sure to be right."""
        at = page * PAGE_BYTES
        if not here:
            self._memory[at] = self._memory[at]  # fills the hole: a page of zeros
        userfaultfd.map_present(self._uffd, self._address + at, PAGE_BYTES, PAGE_BYTES)
        states, first = self._ledger.states, page + 1
        last = first
        stop = min(page + _AROUND_PAGES, self._ledger.pages)
        while last < stop and states[last] in (HERE, INSTALLED):
            last += 1
        if here and last > first:
            try:
                userfaultfd.map_present(
                    self._uffd,
                    self._address + first * PAGE_BYTES,
                    (last - first) * PAGE_BYTES,
                    PAGE_BYTES,
                )
            except OSError:
                return  # a hole among them: it is served when it is touched


def run(config: dict[str, object]) -> None:
    """Serve until the host says stop or hangs up."""
    control = socket.socket(fileno=int(str(config["control"])))
    source = None
    if config.get("source"):
        host, port, key = json.loads(str(config["source"]))
        source = socket.create_connection((host, port), timeout=10.0)
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        source.sendall(bytes.fromhex(key))
        source.settimeout(None)
    pager = Pager(
        uffd=int(str(config["uffd"])),
        memory_fd=int(str(config["memory"])),
        ledger=Ledger(int(str(config["ledger"])), int(str(config["pages"]))),
        address=int(str(config["address"])),
        source=source,
    )
    control.sendall(b"ready\n")
    uffd = int(str(config["uffd"]))
    watched: list[int | socket.socket] = [uffd, control]
    if source is not None:
        watched.append(source)
    while True:
        readable, _, _ = select.select(watched, [], [])
        if uffd in readable:
            pager.serve_faults()
        if source is not None and source in readable and not pager.take_pages():
            watched.remove(source)
        if control in readable:
            if control.recv(64):
                control.sendall(json.dumps(asdict(pager.served)).encode() + b"\n")
            return


def serve_pages(config: dict[str, object]) -> None:
    """The source's end: answer requests for single pages from frozen memory.

    Listens at the VMotion address; the first connection that knows the one-time key is
    served. Each page served is marked, so that the bulk need not send it again.
    """
    control = socket.socket(fileno=int(str(config["control"])))
    pages = int(str(config["pages"]))
    mapped = mmap.mmap(int(str(config["memory"])), pages * PAGE_BYTES, prot=mmap.PROT_READ)
    memory = memoryview(mapped)
    sent = memoryview(mmap.mmap(int(str(config["ledger"])), pages))
    listener = socket.create_server((str(config["host"]), 0))
    port = listener.getsockname()[1]
    control.sendall(json.dumps(port).encode() + b"\n")
    key = bytes.fromhex(str(config["key"]))
    peer = _admit(listener, control, key)
    if peer is None:
        return
    buffer = bytearray()
    while True:
        readable, _, _ = select.select([peer, control], [], [])
        if control in readable:
            return
        data = peer.recv(1 << 16)
        if not data:
            return
        buffer += data
        whole = len(buffer) - len(buffer) % REQUEST.size
        for (page,) in REQUEST.iter_unpack(bytes(buffer[:whole])):
            if page >= pages:
                return  # not one of ours
            at = page * PAGE_BYTES
            peer.sendmsg([REQUEST.pack(page), memory[at : at + PAGE_BYTES]])
            sent[page] = 1
        del buffer[:whole]


def _admit(listener: socket.socket, control: socket.socket, key: bytes) -> socket.socket | None:
    """Wait for the peer that knows the key; None if the host hangs up first."""
    while True:
        readable, _, _ = select.select([listener, control], [], [])
        if control in readable:
            return None
        peer, _ = listener.accept()
        peer.settimeout(5.0)
        said = b""
        try:
            while len(said) < len(key):
                part = peer.recv(len(key) - len(said))
                if not part:
                    break
                said += part
        except OSError:
            said = b""
        if said == key:
            peer.settimeout(None)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.close()
            return peer
        peer.close()


def main() -> None:
    """Run the role that the configuration names."""
    config = json.loads(sys.argv[1])
    if config["role"] == "serve":
        serve_pages(config)
    else:
        run(config)
    os._exit(0)  # nothing to unwind; views of memory would complain


if __name__ == "__main__":
    main()
