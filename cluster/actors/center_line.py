"""A host's line to VirtualCenter, for migrations: what they tell it, and the commit.

The commit is the one question that a VM stands still for. A Ray call takes 5 ms there and back,
a third of a blackout; a frame on a socket that stands already takes 2. The commit may be asked
twice, so whatever happens to the socket, the same is asked by a Ray call then: nothing depends on
the socket but time.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable

import ray
from ray.exceptions import ActorUnavailableError, RayError

from cluster.actors.peer import PeerAddress, PeerDoor, connect
from cluster.actors.replies import Handle
from cluster.actors.reports import MigrationProgress
from cluster.actors.vm_link import VmGone, VmLink, VmRefused

# A line that is silent for so long is given up; the machine asks again after a second.
_SILENCE_S_MAX = 0.3
# Below any `stall_s_max`: silence for longer is the machine's to judge.
_CENTER_AWAY_S_MAX = 5.0
_AGAIN_S = 0.02


class CenterLine:
    """Asks VirtualCenter for commits, on a socket while there is one."""

    def __init__(self) -> None:
        """Leads nowhere until `begin`."""
        self._host = ""
        self._center: Handle = None
        self._link: VmLink | None = None

    def begin(self, host: str, center: Handle) -> None:
        """Lead this host to `center`, by Ray calls until `reach` has found a socket."""
        self._host = host
        self._center = center

    async def reach(self, address: PeerAddress) -> None:
        """Connect, in place of what was there before; where that fails all stays as it is."""
        with contextlib.suppress(OSError, TimeoutError):
            link = await connect(address)
            self.close()
            self._link = link

    async def prepared(self, migration: str, there: Handle) -> None:
        """Tell of a VM that waits at its destination; VirtualCenter asks when it was away.

        A commit follows soon: a socket that was given up is replaced now, while the VM still runs.
        """
        with contextlib.suppress(RayError):
            await self._center.prepared.remote(migration, there)
            if self._link is None:
                await self.reach(await self._center.door.remote(self._host))

    def progressed(self, progress: MigrationProgress) -> None:
        """Tell of a migration's turn; nobody waits for the answer, and the next one is newer."""
        self._center.migration_progressed.remote(progress)

    async def commit(self, migration: str, epoch: int) -> str:
        """Return "" when the destination owns the VM now, or why not.

        Raises:
            ray.exceptions.RayError: If VirtualCenter is away for long; the machine asks again then.
        """
        if self._link is not None:
            asking = self._link.ask("commit", json.dumps([migration, epoch]).encode())
            try:
                return (await asyncio.wait_for(asking, _SILENCE_S_MAX)).decode()
            except (VmGone, VmRefused, TimeoutError):
                self.close()  # whether it was heard is not known: ask again
        return await self._ask_by_ray(migration, epoch)

    def close(self) -> None:
        """Hang up; safe to call twice."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def _ask_by_ray(self, migration: str, epoch: int) -> str:
        """Ask at once again while VirtualCenter is starting anew: the VM stands still meanwhile."""
        end_s = time.monotonic() + _CENTER_AWAY_S_MAX
        while True:
            try:
                refusal: str = await self._center.commit.remote(migration, epoch)
            except ActorUnavailableError:
                if time.monotonic() > end_s:
                    raise
                await asyncio.sleep(_AGAIN_S)
            else:
                return refusal


class CenterDoor:
    """VirtualCenter's end: a socket for each host, open as long as this life of it."""

    def __init__(self, commit: Callable[[str, int], str]) -> None:
        """`commit` decides about a migration at an epoch: "" or why not."""
        self._commit = commit
        self._door: PeerDoor | None = None

    async def expect(self, host: str) -> PeerAddress:
        """Let a host in, once; return where to."""
        if self._door is None:
            self._door = await PeerDoor.open(ray.util.get_node_ip_address())
        return self._door.expect(host, self._serve)

    async def _serve(self, kind: str, payload: bytes) -> bytes:
        if kind != "commit":
            raise ValueError(f"a host does not ask {kind}")
        migration, epoch = json.loads(payload)
        return self._commit(migration, epoch).encode()
