"""Starts, stops and watches over pager processes; the host's side of `cluster.memory.pager`."""

import json
import os
import secrets
import socket
import subprocess
import sys
from dataclasses import dataclass

from cluster.memory.page_server import KEY_BYTES
from cluster.memory.pager import Served
from cluster.memory.prepaging import step_pages_max
from cluster.page import PAGE_BYTES

_START_S_MAX = 20.0
_STOP_S_MAX = 5.0


class PagerFailed(Exception):
    """A pager did not start, or ended before it was told to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSource:
    """Where urgent pages can be had, and the one-time key that opens it."""

    host: str
    port: int
    key: str


class _Process:
    """A pager process and the socket that holds it: when that closes, it ends."""

    def __init__(self, module: str, config: dict[str, object], fds: list[int]) -> None:
        ours, theirs = socket.socketpair()
        ours.settimeout(_START_S_MAX)
        self._control = ours
        text = json.dumps({**config, "control": theirs.fileno()})
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, text],
            pass_fds=[*fds, theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._process.poll() is None

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
        try:
            self._process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


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
            "cluster.memory.pager",
            {
                "uffd": uffd,
                "memory": memory_fd,
                "ledger": ledger_fd,
                "pages": pages,
                "address": address,
                "source": urgent,
                "must_connect": must_connect,
                "step_pages_max": step_pages_max(rate_bytes_per_second, PAGE_BYTES),
            },
            [uffd, memory_fd, ledger_fd],
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
            "cluster.memory.page_server",
            {
                "memory": memory_fd,
                "marks": sent_fd,
                "pages": pages,
                "host": host,
                "key": self._key,
                "rate": rate_bytes_per_second,
            },
            [memory_fd, sent_fd],
        )

    def wait_listening(self) -> PageSource:
        """Return where it listens.

        Raises:
            PagerFailed: If it does not start.
        """
        return PageSource(host=self._host, port=int(self.line()), key=self._key)
