"""The destination's end of a migration: pull pages, install them, note their hashes.

Pages are *pulled*: a ref that the destination's call returned is owned here and outlives
the source's process, where one made by `ray.put` over there would die with it.
"""

import asyncio
import time
from collections import deque

from cluster.actors.local_vm import LocalVm
from cluster.actors.replies import Handle
from cluster.memory.hashes import Hashes
from cluster.memory.transfer import Batch, Intake
from cluster.policy.sharing import SerialLink

# Batches under way: one travels while one is installed.
_DEPTH = 2
_BATCH_BYTES_MAX = 16 << 20
_BATCH_BYTES_MIN = 128 << 10
# A batch takes at most this long on a shaped link, so that an interrupt is answered soon.
_BATCH_S_MAX = 0.02


class DestinationEnd:
    """One migration as its destination sees it; lives on the host's control loop."""

    def __init__(self, migration: str, vm: LocalVm, source: Handle, receiving: SerialLink) -> None:
        """`receiving` is this host's card, shared with every other migration that comes in."""
        self.vm = vm
        self._migration = migration
        self._source = source
        self._receiving = receiving
        self._share = SerialLink(rate_bytes_per_second=receiving.rate_bytes_per_second)
        self._intake = Intake(vm.memory)
        self._late: list[Batch] = []

    def set_share(self, rate_bytes_per_second: float | None) -> None:
        """Let this migration use that much of the network from its next batch on."""
        self._share.rate_bytes_per_second = rate_bytes_per_second

    async def pull(self) -> None:
        """Fetch and install batches until the source has none left in this round.

        Raises:
            ray.exceptions.RayError: If the source, or a batch, is gone.
        """
        under_way: deque[asyncio.Task[Batch | None]] = deque()
        more = True
        try:
            while more or under_way:
                while more and len(under_way) < _DEPTH:
                    under_way.append(asyncio.create_task(self._fetch()))
                batch = await under_way.popleft()
                if batch is None:
                    more = False
                else:
                    await asyncio.get_running_loop().run_in_executor(None, self._install, batch)
        finally:
            for task in under_way:
                task.cancel()

    async def finish(self, state: bytes, last: Batch | None) -> None:
        """Take the stunned VM's state and its last pages; hash those when it runs again."""
        if last is not None:
            await self._until_received(last.wire_bytes, time.monotonic())
            self._intake.install(last)
            self._late.append(last)
        await self.vm.restore(state)

    async def noted(self) -> Hashes:
        """Return the hash of every page as it was installed, (pages,) uint64."""
        late, self._late = self._late, []
        for batch in late:
            await asyncio.get_running_loop().run_in_executor(
                None, self._intake.note_received, batch
            )
        return self._intake.hashes

    async def _fetch(self) -> Batch | None:
        asked = time.monotonic()
        batch: Batch | None = await self._source.read_batch.remote(
            self._migration, self._batch_bytes()
        )
        if batch is not None:
            await self._until_received(batch.wire_bytes, asked)
        return batch

    async def _until_received(self, nbytes: int, began: float) -> None:
        """Wait until the card, and this migration's share of it, would have taken the batch."""
        done = max(self._receiving.accept(nbytes, now=began), self._share.accept(nbytes, now=began))
        wait_s = done - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def _batch_bytes(self) -> int:
        rate = self._share.rate_bytes_per_second
        if rate is None:
            return _BATCH_BYTES_MAX
        return int(min(max(rate * _BATCH_S_MAX, _BATCH_BYTES_MIN), _BATCH_BYTES_MAX))

    def _install(self, batch: Batch) -> None:
        self._intake.install(batch)
        self._intake.note_installed(batch.pages)
