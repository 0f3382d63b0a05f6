"""The pager: a process that serves a guest's faults at the destination of a post-copy.

A process of its own, because a thread of the guest's process would wait for the lock
that the faulting thread holds, and the host's interpreter is busy at times. Forked by the nursery;
standard library and xxhash alone, so that this is small.

It speaks with its host on the `control` socket: says "ready", then obeys "stop" and answers
with what it did.
"""

import json
import mmap
import select
import socket
import sys
import time
from dataclasses import asdict, dataclass, field

import xxhash

from cluster.memory import userfaultfd
from cluster.memory.ledger import CLAIMED, HERE, INSTALLED, MISSING, Ledger
from cluster.memory.prepaging import Bubble, rest_s
from cluster.memory.urgent import Dialer, UrgentPages
from cluster.page import PAGE_BYTES

# Pages mapped at once around a touch of a page that is here already.
_AROUND_PAGES = 16
# Power-of-two microseconds, as QEMU's postcopy-latency-dist has them.
LATENCY_BUCKETS = 24
# Growing a bubble over memory that is here costs little each time; then look at faults again.
_GROWTHS_MAX = 32
_LOOK_S = 0.5


@dataclass(slots=True)
class Served:
    """What a pager has done, for the migration's row and metrics.

    Attributes:
        demand_faults: Touches of pages that were still on the source.
        waited_faults: Touches of pages that were on their way already.
        minor_faults: Touches of pages that were here and only had to be mapped.
        fetched_pages: Pages that came on the urgent socket.
        reconnects: Times that the urgent socket broke and was opened again.
        latency_us: Demand faults by power of two of microseconds, from read to mapped.
        survives_process_s: From the resume until the VM would have survived the loss of the
            source's process; None if none of its memory came late.
        survives_node_s: The same for the source's whole node.
    """

    demand_faults: int = 0
    waited_faults: int = 0
    minor_faults: int = 0
    fetched_pages: int = 0
    reconnects: int = 0
    latency_us: list[int] = field(default_factory=lambda: [0] * LATENCY_BUCKETS)
    survives_process_s: float | None = None
    survives_node_s: float | None = None


class Pager:
    """Serves the faults of one VM until it is told to stop."""

    def __init__(
        self,
        *,
        uffd: int,
        memory_fd: int,
        ledger: Ledger,
        address: int,
        step_pages_max: int,
        source: socket.socket | None,
    ) -> None:
        """`source` carries urgent pages; None until there is a connection."""
        self._uffd = uffd
        self._mapped = mmap.mmap(memory_fd, ledger.pages * PAGE_BYTES)
        self._memory = memoryview(self._mapped)
        self._ledger = ledger
        self._address = address
        self._bubble = Bubble(ledger.pages, step_pages_max=step_pages_max)
        self._urgent: UrgentPages | None = None
        self._asked_s: dict[int, float] = {}
        # When the last step was fetched ahead, and the processor time used until then.
        self._stepped_s, self._stepped_cpu_s = 0.0, 0.0
        # To be asked for when there is a connection again: (first, count).
        self._lost: list[tuple[int, int]] = []
        self._broke = False
        self.served = Served()
        if source is not None:
            self.connected(source)

    @property
    def source(self) -> socket.socket | None:
        """The connection, if there is one."""
        return None if self._urgent is None else self._urgent.socket

    def connected(self, source: socket.socket) -> None:
        """Ask there from now on, first for what was lost when the last connection broke."""
        self.served.reconnects += self._broke
        self._broke = False
        self._urgent = UrgentPages(source, self._memory)
        lost, self._lost = self._lost, []
        for first, count in lost:
            for run in self._ledger.claim_runs(range(first, first + count)):
                self._urgent.ask(*run, urgent=True)

    def serve_faults(self) -> None:
        """Serve everything that waits now."""
        for address, here in userfaultfd.read_faults(self._uffd):
            page = (address - self._address) // PAGE_BYTES
            state = self._ledger.states[page]
            if state in (HERE, INSTALLED):
                self.served.minor_faults += 1
                self._map_around(page, here=here)
            elif state == CLAIMED:
                # Whoever installs it maps it, and that wakes the guest.
                self.served.waited_faults += 1
            elif state == MISSING:
                self.served.demand_faults += 1
                self._asked_s[page] = time.perf_counter()
                self._fetch(page)

    def take_pages(self) -> None:
        """Install what has come from the source."""
        if self._urgent is None:
            return
        for first, count in self._urgent.arrived():
            self._install(first, count)
        if self._urgent.broken:
            self._break()

    def look(self) -> None:
        """Give a connection up that has been silent for too long while something was asked."""
        if self._urgent is not None and self._urgent.silent(time.monotonic()):
            self._break()

    def prepage(self, now: float, cpu_s: float) -> float | None:
        """Fetch a step more around the last fault if nothing is under way.

        Returns in how many seconds to come back; None if something has to arrive first.
        `cpu_s` is the processor time that this process has used.
        """
        urgent = self._urgent
        if urgent is None or urgent.under_way or self._bubble.covers_all:
            return None
        rest = rest_s(now - self._stepped_s, cpu_s - self._stepped_cpu_s)
        if rest > 0.0:
            return rest
        self._stepped_s, self._stepped_cpu_s = now, cpu_s
        for _ in range(_GROWTHS_MAX):
            if self._bubble.covers_all:
                return None
            runs = [run for side in self._bubble.grown() for run in self._ledger.claim_runs(side)]
            for run in runs:
                urgent.ask(*run, urgent=False)
            if runs:
                return None
        return 0.0

    def _fetch(self, page: int) -> None:
        """Ask for a touched page, and then for what is missing of the block around it."""
        if self._urgent is None:
            self._lost.append((page, 1))
            return
        if self._ledger.claim(page):
            self._urgent.ask(page, 1, urgent=True)
        for run in self._ledger.claim_runs(self._bubble.faulted(page)):
            self._urgent.ask(*run, urgent=False)

    def _break(self) -> None:
        """What was asked for and has not come is missing again, for the bulk or another try."""
        assert self._urgent is not None
        lost = self._urgent.close()
        self._urgent = None
        self._ledger.give_back(lost)
        self._lost += lost
        self._broke = True

    def _install(self, first: int, count: int) -> None:
        """Note and map pages whose contents have come."""
        at = first * PAGE_BYTES
        digests = b"".join(
            xxhash.xxh3_64_intdigest(self._memory[byte : byte + PAGE_BYTES]).to_bytes(
                8, sys.byteorder
            )
            for byte in range(at, at + count * PAGE_BYTES, PAGE_BYTES)
        )
        self._ledger.hashes[first * 8 : (first + count) * 8] = digests
        self._ledger.states[first : first + count] = bytes([INSTALLED]) * count
        userfaultfd.map_present(self._uffd, self._address + at, count * PAGE_BYTES, PAGE_BYTES)
        self._ledger.count_fetched(count)
        self.served.fetched_pages += count
        if self._asked_s:
            self._note_latencies(first, count)

    def _note_latencies(self, first: int, count: int) -> None:
        now_s = time.perf_counter()
        for page in [page for page in self._asked_s if first <= page < first + count]:
            waited_us = int((now_s - self._asked_s.pop(page)) * 1e6)
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
    """Serve until the host says stop or hangs up; in `config` are fds and addresses."""
    control = socket.socket(fileno=int(str(config["control"])))
    dialer, source = None, None
    if config.get("source"):
        host, port, key = json.loads(str(config["source"]))
        dialer = Dialer(host, port, bytes.fromhex(key))
        source = dialer.dial() if config.get("must_connect") else None
    uffd = int(str(config["uffd"]))
    pager = Pager(
        uffd=uffd,
        memory_fd=int(str(config["memory"])),
        ledger=Ledger(int(str(config["ledger"])), int(str(config["pages"]))),
        address=int(str(config["address"])),
        step_pages_max=int(str(config["step_pages_max"])),
        source=source,
    )
    control.sendall(b"ready\n")
    again_s: float | None = None
    while True:
        watched: list[int | socket.socket] = [uffd, control]
        watched += [] if pager.source is None else [pager.source]
        watched += [] if dialer is None else [dialer.done]
        readable, _, _ = select.select(
            watched, [], [], _LOOK_S if again_s is None else min(again_s, _LOOK_S)
        )
        if uffd in readable:
            pager.serve_faults()
        if pager.source in readable:
            pager.take_pages()
        elif dialer is not None and dialer.done in readable:
            pager.connected(dialer.take())
        if control in readable:
            if control.recv(64):
                control.sendall(json.dumps(asdict(pager.served)).encode() + b"\n")
            return
        pager.look()
        if pager.source is None and dialer is not None:
            dialer.start()
        again_s = pager.prepage(time.monotonic(), time.process_time())
