"""The destination's end of the urgent socket: asks for runs of pages, receives them in place.

Pages are received into guest memory itself: whoever asks has claimed them, and the guest
cannot see a page before it is mapped. Standard library alone, as the pager.
"""

import contextlib
import socket
import threading
import time
from collections import deque

from cluster.memory.page_server import REQUEST
from cluster.page import PAGE_BYTES

_CONNECT_S_MAX = 5.0
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.02, 1.0
# Something was asked for and nothing has come for so long: the network is gone.
_SILENCE_S_MAX = 3.0
# Installed at once at most, so that a long run does not keep its first pages waiting.
_INSTALL_PAGES = 64


class UrgentPages:
    """One connection to the page server of the source.

    Attributes:
        broken: Nothing will come any more.
    """

    def __init__(self, sock: socket.socket, memory: memoryview) -> None:
        """`memory` is the guest's, as the pager maps it."""
        sock.setblocking(False)
        self.socket = sock
        self.broken = False
        self._memory = memory
        self._asked: deque[tuple[int, int]] = deque()
        self._header = bytearray()
        self._got_bytes = 0
        self._heard_s = time.monotonic()

    @property
    def under_way(self) -> bool:
        """Whether something was asked for that has not come."""
        return bool(self._asked)

    def ask(self, first: int, count: int, *, urgent: bool) -> None:
        """Ask for a run of pages that the caller has claimed; answers come in order."""
        if not self._asked:
            self._heard_s = time.monotonic()
        self._asked.append((first, count))
        try:
            if self.socket.send(REQUEST.pack(first, count, urgent)) < REQUEST.size:
                self.broken = True
        except OSError:
            self.broken = True  # noticed by whoever reads next

    def silent(self, now: float) -> bool:
        """Whether an answer is overdue."""
        return self.broken or (bool(self._asked) and now - self._heard_s > _SILENCE_S_MAX)

    def arrived(self) -> list[tuple[int, int]]:
        """Receive what has come; return the runs of pages that are whole now."""
        whole: list[tuple[int, int]] = []
        with contextlib.suppress(BlockingIOError):
            while not whole:
                if not self._receive(whole):
                    self.broken = True
                    break
        self._heard_s = time.monotonic()
        return whole

    def close(self) -> list[tuple[int, int]]:
        """Hang up; return the runs that were asked for and have not been told as whole."""
        self.socket.close()
        asked, self._asked = list(self._asked), deque()
        return asked

    def _receive(self, whole: list[tuple[int, int]]) -> bool:
        """Receive once; False if the source has hung up, or answers what was not asked."""
        if len(self._header) < REQUEST.size:
            part = self._take(REQUEST.size - len(self._header))
            self._header += part
            if len(self._header) == REQUEST.size:
                first, count, _ = REQUEST.unpack(self._header)
                return bool(self._asked) and self._asked[0] == (first, count)
            return bool(part)
        first, count = self._asked[0]
        at = first * PAGE_BYTES
        try:
            got = self.socket.recv_into(
                self._memory[at + self._got_bytes : at + count * PAGE_BYTES]
            )
        except BlockingIOError:
            raise
        except OSError:
            return False
        self._got_bytes += got
        pages = self._got_bytes // PAGE_BYTES
        if pages == count:
            self._asked.popleft()
            self._header.clear()
            self._got_bytes = 0
            whole.append((first, count))
        elif pages >= _INSTALL_PAGES:
            self._asked[0] = (first + pages, count - pages)
            self._got_bytes -= pages * PAGE_BYTES
            whole.append((first, pages))
        return got > 0

    def _take(self, nbytes: int) -> bytes:
        try:
            return self.socket.recv(nbytes)
        except BlockingIOError:
            raise
        except OSError:
            return b""


class Dialer:
    """Opens the connection, and opens it again in the background when it has broken.

    Attributes:
        done: Readable when a connection stands, for `take`.
    """

    def __init__(self, host: str, port: int, key: bytes) -> None:
        self._address, self._key = (host, port), key
        self.done, self._bell = socket.socketpair()
        self._made: deque[socket.socket] = deque()
        self._dialing = False

    def dial(self) -> socket.socket:
        """Connect and show the key; blocks.

        Raises:
            OSError: If nobody listens.
        """
        made = socket.create_connection(self._address, timeout=_CONNECT_S_MAX)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.sendall(self._key)
        return made

    def start(self) -> None:
        """Dial until somebody answers, in a thread, unless one does or somebody has."""
        if not self._dialing and not self._made:
            self._dialing = True
            threading.Thread(target=self._keep_dialing, daemon=True).start()

    def take(self) -> socket.socket:
        """Return the connection that stands."""
        self.done.recv(1)
        return self._made.popleft()

    def close(self) -> None:
        """Let go of the bell; what stands is the taker's."""
        self.done.close()
        self._bell.close()

    def _keep_dialing(self) -> None:
        pause_s = _PAUSE_S_MIN
        while True:  # as long as the pager lives: its host ends it when no page is missing
            time.sleep(pause_s)
            try:
                made = self.dial()
            except OSError:
                pause_s = min(2 * pause_s, _PAUSE_S_MAX)
                continue
            self._made.append(made)
            self._dialing = False
            self._bell.send(b"!")
            return
