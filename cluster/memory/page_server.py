"""The source's end of post-copy: a process that serves single pages of frozen memory.

Listens at the VMotion address; who shows the migration's key is served, one at a time. The key
stays good until the end, so that a pager whose connection broke can come back; the latest that
comes replaces the one before, which may be a connection that only one side knows is dead.

A process of its own, forked by the nursery; standard library alone, so that this is small.
"""

import contextlib
import hmac
import json
import mmap
import os
import select
import socket
import struct
import time

from cluster.page import PAGE_BYTES

REQUEST = struct.Struct("!QII")
"""First page, how many, and whether a guest waits for it. Answered with the same, and the pages."""

KEY_BYTES = 16
# Connections that have not shown a key yet.
_STRANGERS_MAX = 8
# A peer that takes nothing for so long is gone, or its network is.
_SEND_S_MAX = 5.0
# Pages fetched ahead take at most this share of the card: the bulk moves too.
_AHEAD_SHARE = 0.5
# Shorter waits than this are made up for by the next one.
_WAIT_S_MIN = 0.0005
# On two cores that the bulk kept busy a fault took 3 to 6 ms at the hosts' niceness, 0.
_NICENESS = -10


def marks_bytes(pages: int) -> int:
    """Return the size of the file of marks: a byte a page, then a count, in whole pages."""
    return -(-(pages + 8) // PAGE_BYTES) * PAGE_BYTES


class Pace:
    """Holds back what is fetched ahead; what a guest waits for is never held back."""

    def __init__(self, rate_bytes_per_second: float | None) -> None:
        self._rate = rate_bytes_per_second
        self._free_s = 0.0

    def sent(self, nbytes: int, *, urgent: bool, now: float) -> float:
        """Take note of what was sent; return how long to wait before the next thing."""
        if self._rate is None:
            return 0.0
        rate = self._rate if urgent else self._rate * _AHEAD_SHARE
        self._free_s = max(self._free_s, now) + nbytes / rate
        wait_s = self._free_s - now
        return 0.0 if urgent or wait_s < _WAIT_S_MIN else wait_s


class PageService:
    """Answers one pager after another until the host hangs up."""

    def __init__(self, config: dict[str, object]) -> None:
        self._control = socket.socket(fileno=int(str(config["control"])))
        self._pages = int(str(config["pages"]))
        mapped = mmap.mmap(
            int(str(config["memory"])), self._pages * PAGE_BYTES, prot=mmap.PROT_READ
        )
        self._memory = memoryview(mapped)
        marks = memoryview(mmap.mmap(int(str(config["marks"])), marks_bytes(self._pages)))
        self._sent = marks[: self._pages]
        self._count = marks[-8:].cast("Q")
        self._key = bytes.fromhex(str(config["key"]))
        rate = config.get("rate")
        self._pace = Pace(None if rate is None else float(str(rate)))
        self._listener = socket.create_server((str(config["host"]), 0))
        self._strangers: dict[socket.socket, bytes] = {}
        self._peer: socket.socket | None = None
        self._buffer = bytearray()

    def close(self) -> None:
        """Hang up on everybody."""
        for sock in (self._control, self._listener, *self._strangers):
            sock.close()
        self._hang_up()

    def run(self) -> None:
        """Say where it listens, and serve until the host hangs up."""
        port = self._listener.getsockname()[1]
        self._control.sendall(json.dumps(port).encode() + b"\n")
        while True:
            watched = [self._control, self._listener, *self._strangers]
            readable, _, _ = select.select(
                watched if self._peer is None else [*watched, self._peer], [], []
            )
            if self._control in readable:
                return
            if self._peer in readable:
                self._serve()
            if self._listener in readable:
                self._open()
            for stranger in [one for one in self._strangers if one in readable]:
                self._hear(stranger)

    def _open(self) -> None:
        stranger, _ = self._listener.accept()
        if len(self._strangers) >= _STRANGERS_MAX:
            self._drop(next(iter(self._strangers)))
        stranger.setblocking(False)
        self._strangers[stranger] = b""

    def _drop(self, stranger: socket.socket) -> None:
        del self._strangers[stranger]
        stranger.close()

    def _hear(self, stranger: socket.socket) -> None:
        """Read more of the key that a stranger shows; the right one makes it the peer."""
        try:
            part = stranger.recv(KEY_BYTES - len(self._strangers[stranger]))
        except OSError:
            part = b""
        said = self._strangers[stranger] + part
        if not part or (len(said) == KEY_BYTES and not hmac.compare_digest(said, self._key)):
            self._drop(stranger)
        elif len(said) < KEY_BYTES:
            self._strangers[stranger] = said
        else:
            del self._strangers[stranger]
            self._hang_up()
            stranger.settimeout(_SEND_S_MAX)
            stranger.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peer = stranger

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        self._buffer.clear()

    def _serve(self) -> None:
        assert self._peer is not None
        try:
            data = self._peer.recv(1 << 16)
            self._buffer += data
            whole = len(self._buffer) - len(self._buffer) % REQUEST.size
            asked = bytes(self._buffer[:whole])
            del self._buffer[:whole]
            for first, count, urgent in REQUEST.iter_unpack(asked):
                if count == 0 or first + count > self._pages:
                    data = b""  # not one of ours
                    break
                self._send(first, count, urgent=bool(urgent))
        except OSError:
            data = b""
        if not data:
            self._hang_up()

    def _send(self, first: int, count: int, *, urgent: bool) -> None:
        assert self._peer is not None
        at, nbytes = first * PAGE_BYTES, count * PAGE_BYTES
        self._peer.send(REQUEST.pack(first, count, urgent), socket.MSG_MORE)
        self._peer.sendall(self._memory[at : at + nbytes])
        # Marked, so that the bulk need not send it again; if it is lost on the way the
        # destination says so.
        self._sent[first : first + count] = b"\1" * count
        self._count[0] += count
        wait_s = self._pace.sent(nbytes, urgent=urgent, now=time.monotonic())
        if wait_s > 0:
            time.sleep(wait_s)


def goes_before_the_bulk() -> None:
    """Put this process before the hosts', where that is allowed: a guest stands still for it."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)


def run(config: dict[str, object]) -> None:
    """Serve as the configuration says."""
    PageService(config).run()
