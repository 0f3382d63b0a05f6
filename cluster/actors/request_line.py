"""A client's requests to a VM: on a socket of its own while that stands, and by Ray's calls.

A call of Ray's takes about 0.7 ms between idle actors and several on a busy machine, and clients of a
VM that has just moved make two: to the source, which says where the VM is now, and to the
destination. Whatever happens to the socket, the same request is made by a Ray call then, with its
number, so that it is done once: nothing depends on the socket but time.
"""

import asyncio
import contextlib
import os
import pickle
from collections.abc import Awaitable, Callable
from dataclasses import replace

import ray
from ray.exceptions import RayError

from cluster.actors.peer import PeerAddress, PeerDoor, connect
from cluster.actors.replies import Answered, Handle, Moved, Reply
from cluster.actors.vm_link import VmGone, VmLink, VmRefused
from cluster.actors.wire import PAYLOAD_BYTES_MAX

# A socket that is silent for so long is given up: its VM may stand still, or its node be cut off,
# which Ray finds out.
_SILENCE_S_MAX = 1.0
# Sockets of one process, and of one VM; who comes later makes Ray's calls.
_LINES_MAX = 256

_open_lines = 0


class RequestLine:
    """One client's line to one VM at one epoch; not for two requests at once."""

    def __init__(self, vm: Handle, client: str) -> None:
        """Makes Ray's calls until `open` has found a socket."""
        self.vm = vm
        self._client = client
        self._link: VmLink | None = None
        self._opening: asyncio.Task[None] | None = None
        self._useless = False
        # The place that the VM has told: once on a socket, for a handle must be taken over each time.
        self._told: Handle = None

    def open(self) -> None:
        """Begin to look for a socket if there is none; this also warms the handle for a first call."""
        if self._opening is None and not self._useless:
            self._opening = asyncio.get_running_loop().create_task(self._reach())

    async def ask(self, number: int, payload: object) -> Reply:
        """Have the guest do a request, or hear where to ask.

        Raises:
            ray.exceptions.RayError: If its process is gone.
        """
        if self._link is not None and (asked := _packed(number, payload)) is not None:
            reply = await self._ask_there(self._link, asked)
            if reply is not None:
                return reply
            self.close()  # whether it was heard is not known: ask again
        by_call: Reply = await self.vm.request.remote(self._client, number, payload)
        return by_call

    def close(self) -> None:
        """Hang up, until it is opened again; safe to call twice."""
        global _open_lines
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        link, self._link = self._link, None
        if link is not None:
            link.close()
            _open_lines -= 1

    async def _ask_there(self, link: VmLink, asked: bytes) -> Reply | None:
        """Ask on the socket; None if that has failed."""
        try:
            answer = await asyncio.wait_for(link.ask("request", asked), _SILENCE_S_MAX)
        except (VmGone, TimeoutError):
            return None
        except VmRefused:
            self._useless = True  # it cannot read such requests, or we its answers
            return None
        return self._whole(pickle.loads(answer))

    def _whole(self, reply: Reply) -> Reply:
        """Put the place back that the VM has told before."""
        match reply:
            case Answered(then=then) if then is not None:
                self._told = then
            case Moved(to=None):
                return Moved(to=self._told)
        return reply

    async def _reach(self) -> None:
        global _open_lines
        if _open_lines >= _LINES_MAX:
            return
        with contextlib.suppress(RayError, OSError, TimeoutError):
            address: PeerAddress | None = await self.vm.door.remote(self._client)
            if address is not None:
                self._link = await connect(address)
                _open_lines += 1


class RequestDoor:
    """The VM's end: a socket for each client."""

    def __init__(self, request: Callable[[str, int, object], Awaitable[Reply]]) -> None:
        """`request` has the guest do a client's request of that number."""
        self._request = request
        self._door: PeerDoor | None = None

    async def expect(self, client: str) -> PeerAddress | None:
        """Let a client in, once; return where to, or None if there are too many.

        None as well where Ray encrypts what it carries: this does not.
        """
        if self._door is None:
            self._door = await PeerDoor.open(ray.util.get_node_ip_address())
        if self._door.guests >= _LINES_MAX or os.environ.get("RAY_USE_TLS", "0") != "0":
            return None
        told: Handle = None

        async def serve(kind: str, payload: bytes) -> bytes:
            nonlocal told
            if kind != "request":
                raise ValueError(f"a client does not ask {kind}")
            number, what = pickle.loads(payload)
            reply = await self._request(client, number, what)
            reply, told = _shortened(reply, told)
            return pickle.dumps(reply, protocol=pickle.HIGHEST_PROTOCOL)

        return self._door.expect(client, serve)


def _packed(number: int, payload: object) -> bytes | None:
    """Return a request's bytes; None for one that only Ray can send."""
    try:
        asked = pickle.dumps((number, payload), protocol=pickle.HIGHEST_PROTOCOL)
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    return asked if len(asked) <= PAYLOAD_BYTES_MAX else None


def _shortened(reply: Reply, told: Handle) -> tuple[Reply, Handle]:
    """Return the reply without a place that was told before, and which one has been told now."""
    match reply:
        case Answered(then=then) if then is not None:
            return (replace(reply, then=None) if then == told else reply), then
        case Moved(to=to) if to == told:
            return Moved(to=None), told
    return reply, told
