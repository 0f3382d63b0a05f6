"""A host's end of the socket to one of its VMs: commands out, answers back, in order."""

import asyncio
import contextlib
import itertools
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.actors.wire import Decoder, Header, WireClosed, encode, receive_with_fds, send_with_fds

_HANDSHAKE_S_MAX = 30.0


class VmGone(Exception):
    """The VM's process has ended, or its socket closed, before it answered."""


class VmRefused(Exception):
    """The VM is there and said no; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a VM brought to the handshake.

    Attributes:
        uffd: Its userfaultfd, ours to close; None when memory is tracked by a shadow.
    """

    pid: int
    address: int
    uffd: int | None


class VmLink:
    """Commands to one VM; each is answered, or raises `VmGone`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        said: Callable[[Header], None],
        lost: Callable[[], None],
    ) -> None:
        """`said` gets what the VM says unasked, `lost` is called once when it is gone."""
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}
        self._numbers = itertools.count()
        self._said = said
        self._lost = lost
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._read(reader))

    async def ask(self, kind: str, payload: bytes = b"", **fields: object) -> bytes:
        """Send a command and return the answer's payload.

        Raises:
            VmGone: If the VM ends before it answers.
            VmRefused: If it answers with an error.
        """
        if self._closed:
            raise VmGone(f"{kind}: the VM's process is gone")
        number = next(self._numbers)
        future: asyncio.Future[tuple[Header, bytes]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        self._writer.write(encode({"id": number, "kind": kind, **fields}, payload))
        header, body = await future
        if "error" in header:
            raise VmRefused(str(header["error"]))
        return body

    def close(self) -> None:
        """Close the socket: the VM stops at once."""
        self._closed = True
        self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                for header, payload in decoder.feed(data):
                    self._dispatch(header, payload)
        self._closed = True
        self._writer.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(VmGone("the VM's process ended"))
                future.exception()  # a waiter that was cancelled leaves nobody to look
        self._waiting.clear()
        self._lost()

    def _dispatch(self, header: Header, payload: bytes) -> None:
        number = header.get("re")
        if number is None:
            self._said(header)
        elif (future := self._waiting.pop(int(str(number)), None)) and not future.done():
            future.set_result((header, payload))


class Doorstep:
    """Where new VM processes knock: one listening socket a host.

    On Linux its address is abstract: no file can stay behind when a host is killed. Others
    on the machine can reach it, so nothing is said or given to who shows no token.
    """

    def __init__(self) -> None:
        self._directory: Path | None = None
        if sys.platform == "linux":
            self.path = f"\0vmotion-{secrets.token_hex(16)}"
        else:
            self._directory = Path(tempfile.mkdtemp(prefix="vmotion-host-"))
            self.path = str(self._directory / "door")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(128)
        self._listener.setblocking(False)
        self._expected: dict[str, asyncio.Future[tuple[socket.socket, int]]] = {}
        self._task = asyncio.get_running_loop().create_task(self._admit())

    def expect(self) -> tuple[str, "asyncio.Future[tuple[socket.socket, int]]"]:
        """Return a one-time token, and the socket and pid of the process that shows it."""
        token = secrets.token_hex(16)
        future = asyncio.get_running_loop().create_future()
        self._expected[token] = future
        return token, future

    def close(self) -> None:
        """Stop listening, and remove what stands for the socket if anything does."""
        self._task.cancel()
        self._listener.close()
        if self._directory is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
                self._directory.rmdir()

    async def _admit(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._listener)
            await loop.run_in_executor(None, self._greet, sock, loop)

    def _greet(self, sock: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        sock.settimeout(_HANDSHAKE_S_MAX)
        try:
            header, _ = receive_with_fds(sock)
        except (OSError, ValueError, WireClosed):
            sock.close()  # not one of ours, or one that died at the door
            return
        future = self._expected.pop(str(header.get("token")), None)
        if future is None:
            sock.close()
            return
        loop.call_soon_threadsafe(_hand_over, future, sock, int(str(header["pid"])))


def _hand_over(
    future: "asyncio.Future[tuple[socket.socket, int]]", sock: socket.socket, pid: int
) -> None:
    if future.done():
        sock.close()
    else:
        future.set_result((sock, pid))


def shake_hands(sock: socket.socket, pid: int, fds: list[int]) -> Hello:
    """Give the VM its memory and hear where it mapped it; blocks, so call it in a thread.

    Raises:
        VmRefused: If the guest does not start; the message says why.
        WireClosed: If the process ended meanwhile.
    """
    send_with_fds(sock, {"kind": "memory"}, fds)
    header, received = receive_with_fds(sock)
    if header["kind"] != "ready":
        raise VmRefused(str(header.get("error", header)))
    return Hello(
        pid=pid, address=int(str(header["address"])), uffd=received[0] if received else None
    )
