"""A socket between the two hosts of a migration, for what the blackout waits for.

A Ray call between idle actors takes about 0.7 ms and 4 ms at the 99th percentile; on a
busy machine it is the largest part of a blackout. A frame on a socket that stands already takes a
tenth of that. The destination listens at its VMotion address; who comes shows the one-time
key of a migration. What is said here is said by Ray calls as well, which take over when the
socket breaks: nothing depends on it but time.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cluster.actors.replies import Handle
from cluster.actors.vm_link import VmLink
from cluster.actors.wire import Decoder, Header, encode
from cluster.memory.guest_memory import Pages
from cluster.memory.transfer import Batch

_CONNECT_S_MAX = 5.0
_READ_BYTES = 1 << 20
# Keys that nobody has shown yet; a client may ask for one and go away.
_EXPECTED_MAX = 1024

Serve = Callable[[str, bytes], Awaitable[bytes]]
"""Does what a frame of that kind says and returns the answer; so is what it raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerAddress:
    """Where a destination, VirtualCenter or a VM listens, and the one-time key that opens it."""

    host: str
    port: int
    key: str


class PeerFailed(Exception):
    """The destination is there and could not do what it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a destination answers to a preparation.

    Attributes:
        there: The VM that waits for its memory; None if `refusal` says why not.
        peer: Where to reach this host without Ray; None if it cannot be.
    """

    there: Handle | None = None
    refusal: str = ""
    peer: PeerAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Switchover:
    """What the destination needs to run a VM that stands still.

    Attributes:
        state: CPU and device state.
        last: The last pages of a stop-and-copy; of a flip the VM's own page.
        missing: For a flip: pages that stay behind, beside those announced before.
    """

    state: bytes
    last: Batch | None = None
    missing: Pages | None = None


class PeerDoor:
    """The listening side: one socket a host, one key a migration.

    VirtualCenter's has one key a host, a VM's one a client.
    """

    def __init__(self, server: asyncio.Server, host: str) -> None:
        self._server = server
        self._host = host
        self._port = int(server.sockets[0].getsockname()[1])
        self._expected: dict[str, tuple[str, Serve]] = {}
        self._writers: set[asyncio.StreamWriter] = set()

    @classmethod
    async def open(cls, host: str) -> "PeerDoor":
        """Listen at `host`, on a port that the kernel chooses."""
        doors: list[PeerDoor] = []
        server = await asyncio.start_server(
            lambda reader, writer: doors[0].admit(reader, writer), host, 0
        )
        doors.append(cls(server, host))
        return doors[0]

    @property
    def guests(self) -> int:
        """How many connections there are."""
        return len(self._writers)

    def expect(self, whose: str, serve: Serve) -> PeerAddress:
        """Let a migration's source, or a host, in; hand what it says to `serve`, frame after frame.

        A key is good once, and only the latest for the same name is. Of very many that nobody has
        shown the oldest are good no more.
        """
        key = secrets.token_hex(16)
        self._expected.pop(whose, None)
        self._expected[whose] = (key, serve)
        while len(self._expected) > _EXPECTED_MAX:
            del self._expected[next(iter(self._expected))]
        return PeerAddress(host=self._host, port=self._port, key=key)

    def forget(self, whose: str) -> None:
        """Let nobody in for that migration, or host, any more."""
        self._expected.pop(whose, None)

    def close(self) -> None:
        """Stop listening, and hang up."""
        self._server.close()
        for writer in self._writers:
            writer.close()

    async def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it closes; hang up on who does not show a key first, and soon."""
        self._writers.add(writer)
        decoder, serve = Decoder(), None
        try:
            # Who breaks off, or talks nonsense, is hung up on: the migration notices by itself.
            with contextlib.suppress(ConnectionError, ValueError, TimeoutError):
                while data := await asyncio.wait_for(
                    reader.read(_READ_BYTES), _CONNECT_S_MAX if serve is None else None
                ):
                    for header, payload in decoder.feed(data):
                        if serve is None:
                            serve = self._take(str(header.get("key")))
                            if serve is None:
                                return
                        else:
                            writer.write(await _answer(serve, header, payload))
        finally:
            self._writers.discard(writer)
            writer.close()

    def _take(self, shown: str) -> Serve | None:
        """Return who serves what the key is shown for, once."""
        for whose, (key, serve) in self._expected.items():
            if hmac.compare_digest(key, shown):
                del self._expected[whose]
                return serve
        return None


async def connect(address: PeerAddress) -> VmLink:
    """Return a link to the destination; its frames are answered in order.

    Raises:
        OSError: If nobody listens there.
    """
    opening = asyncio.open_connection(address.host, address.port)
    reader, writer = await asyncio.wait_for(opening, _CONNECT_S_MAX)
    writer.write(encode({"kind": "hello", "key": address.key}))
    return VmLink(reader, writer, said=lambda _: None, lost=lambda: None)


async def _answer(serve: Serve, header: Header, payload: bytes) -> bytes:
    result: Header = {"re": header["id"]}
    body = b""
    try:
        body = await serve(str(header["kind"]), payload)
    except Exception as error:  # told to the other side, whose migration it is
        result["error"] = f"{type(error).__name__}: {error}"
    return encode(result, body)
