"""A source's line to the destination of one migration: a socket while it stands, and Ray's calls."""

import contextlib
import pickle

from cluster.actors.peer import PeerAddress, PeerFailed, Switchover, connect
from cluster.actors.replies import Handle
from cluster.actors.vm_link import VmGone, VmLink, VmRefused
from cluster.actors.wire import PAYLOAD_BYTES_MAX
from cluster.memory.guest_memory import Pages


class DestinationLine:
    """Tells the destination what it must know of one migration."""

    def __init__(self, migration: str, destination: Handle) -> None:
        self._migration = migration
        self._destination = destination
        self._peer: VmLink | None = None

    async def reach(self, peer: PeerAddress | None) -> None:
        """Connect; without a socket the switchover takes Ray calls."""
        if peer is not None and self._peer is None:
            with contextlib.suppress(OSError, TimeoutError):
                self._peer = await connect(peer)

    async def say(self, kind: str, what: Switchover | Pages | None = None) -> None:
        """Tell it, on the socket if that stands; safe to repeat.

        Raises:
            PeerFailed: If it could not do that.
            ray.exceptions.RayError: If it is gone.
        """
        if self._peer is not None:
            payload = pickle.dumps(what, protocol=pickle.HIGHEST_PROTOCOL)
            if len(payload) <= PAYLOAD_BYTES_MAX:
                try:
                    await self._peer.ask(kind, payload)
                    return
                except VmRefused as error:
                    raise PeerFailed(f"{kind}: {error}") from error
                except VmGone:
                    self._peer = None  # whether it was heard is not known: say it again
        await self._destination.said.remote(self._migration, kind, what)

    def close(self) -> None:
        """Hang up; safe to call twice."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None
