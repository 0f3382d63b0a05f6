"""Starts, stops and watches over pager processes; the host's side of `cluster.memory.pager`."""

import atexit
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass

from cluster.memory.page_server import KEY_BYTES
from cluster.memory.pager import Served
from cluster.memory.prepaging import step_pages_max
from cluster.page import PAGE_BYTES

_START_S_MAX = 20.0
_STOP_S_MAX = 5.0
# One that has died is replaced; two in a row say that none can start.
_NURSERIES_MAX = 2


class PagerFailed(Exception):
    """A pager did not start, or ended before it was told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSource:
    """Where urgent pages can be had, and the one-time key that opens it."""

    host: str
    port: int
    key: str


class _Nursery:
    """The process that forks this one's pagers; one, started when it is needed first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, role: str, config: dict[str, object], fds: dict[str, int]) -> tuple[int, int]:
        """Return the id and a pidfd of a new process that has these descriptors.

        Raises:
            PagerFailed: If there is none.
        """
        text = json.dumps({"role": role, "config": config, "fds": list(fds)}).encode()
        with self._lock:
            for _ in range(_NURSERIES_MAX):
                try:
                    return self._ask(text, list(fds.values()))
                except (OSError, ValueError):  # it was ended by somebody: another one is soon there
                    self._close()
        raise PagerFailed(f"no {role}: its nursery does not start")

    def begin(self) -> None:
        """Start it, so that the first request does not wait for that."""
        with self._lock:
            self._begun()

    def end(self) -> None:
        """End it; what it has forked lives on."""
        with self._lock:
            self._close()

    def _ask(self, text: bytes, fds: list[int]) -> tuple[int, int]:
        line = self._begun()
        socket.send_fds(line, [text], fds)
        answer, pidfds, _, _ = socket.recv_fds(line, 64, 1)
        return int(answer), pidfds[0]

    def _begun(self) -> socket.socket:
        if self._line is None:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.settimeout(_START_S_MAX)
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cluster.memory.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            theirs.close()
            self._line = ours
            atexit.register(self.end)
        return self._line

    def _close(self) -> None:
        if self._line is None or self._process is None:
            return
        self._line.close()
        self._line = None
        try:
            self._process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


_NURSERY = _Nursery()


def start_nursery() -> None:
    """Start what forks this process's pagers, so that the first migration does not wait for it."""
    _NURSERY.begin()


def end_nursery() -> None:
    """End it; pagers that it has forked live on. Safe to call twice."""
    _NURSERY.end()


class _Process:
    """A pager process and the socket that holds it: when that closes, it ends."""

    def __init__(self, role: str, config: dict[str, object], fds: dict[str, int]) -> None:
        """`config` gets the descriptors under these names."""
        ours, theirs = socket.socketpair()
        ours.settimeout(_START_S_MAX)
        self._control = ours
        try:
            self.pid, self._pidfd = _NURSERY.fork(role, config, {**fds, "control": theirs.fileno()})
        except PagerFailed:
            ours.close()
            raise
        finally:
            theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._pidfd >= 0 and not self._ends_within(0.0)

    def _ends_within(self, seconds: float) -> bool:
        # A pidfd is readable when its process has ended.
        ended = select.poll()
        ended.register(self._pidfd, select.POLLIN)
        return bool(ended.poll(seconds * 1000.0))

    def line(self) -> str:
        """Return the next line that it says.

        Raises:
            PagerFailed: If it ends or says nothing for long.
        """
        said = b""
        try:
            while not said.endswith(b"\n"):
                part = self._control.recv(1 << 16)
                if not part:
                    raise PagerFailed(f"pager {self.pid} has ended")
                said += part
        except OSError as error:
            raise PagerFailed(f"pager {self.pid}: {error}") from error
        return said.decode()

    def tell(self, word: bytes) -> None:
        """Send a command."""
        try:
            self._control.sendall(word)
        except OSError as error:
            raise PagerFailed(f"pager {self.pid}: {error}") from error

    def end(self) -> None:
        """Let it go, and make sure that it has; safe to call twice."""
        self._control.close()
        if self._pidfd < 0:
            return
        if not self._ends_within(_STOP_S_MAX):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            self._ends_within(_STOP_S_MAX)
        os.close(self._pidfd)
        self._pidfd = -1


class FaultPager(_Process):
    """Serves a guest's faults at the destination."""

    def __init__(
        self,
        *,
        uffd: int,
        memory_fd: int,
        ledger_fd: int,
        pages: int,
        address: int,
        source: PageSource | None,
        must_connect: bool = True,
        rate_bytes_per_second: float | None = None,
    ) -> None:
        """Start it; `wait_ready` says when it serves.

        Without `must_connect` it serves what is here while it dials. `rate_bytes_per_second`
        is the card's, which bounds what it fetches ahead.
        """
        urgent = None if source is None else json.dumps([source.host, source.port, source.key])
        super().__init__(
            "pager",
            {
                "pages": pages,
                "address": address,
                "source": urgent,
                "must_connect": must_connect,
                "step_pages_max": step_pages_max(rate_bytes_per_second, PAGE_BYTES),
            },
            {"uffd": uffd, "memory": memory_fd, "ledger": ledger_fd},
        )

    def wait_ready(self) -> None:
        """Return when it serves.

        Raises:
            PagerFailed: If it cannot.
        """
        if self.line() != "ready\n":
            raise PagerFailed(f"pager {self.pid} is not ready")

    def stop(self) -> Served:
        """Stop it and return what it did; only when no page is missing any more.

        Raises:
            PagerFailed: If it has ended before.
        """
        self.tell(b"stop\n")
        served = Served(**json.loads(self.line()))
        self.end()
        return served


class PageServer(_Process):
    """Serves single pages of frozen memory at the source."""

    def __init__(
        self,
        *,
        memory_fd: int,
        sent_fd: int,
        pages: int,
        host: str,
        rate_bytes_per_second: float | None = None,
    ) -> None:
        """Start it; `wait_listening` says where it is.

        `sent_fd` has `marks_bytes(pages)`. `rate_bytes_per_second` is the card's.
        """
        self._host = host
        self._key = secrets.token_hex(KEY_BYTES)
        super().__init__(
            "page_server",
            {
                "pages": pages,
                "host": host,
                "key": self._key,
                "rate": rate_bytes_per_second,
            },
            {"memory": memory_fd, "marks": sent_fd},
        )

    def wait_listening(self) -> PageSource:
        """Return where it listens.

        Raises:
            PagerFailed: If it does not start.
        """
        return PageSource(host=self._host, port=int(self.line()), key=self._key)
