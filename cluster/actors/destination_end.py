"""The destination's end of a migration: pull pages, install them, note their hashes.

Pages are *pulled*: a ref that the destination's call returned is owned here and outlives
the source's process, where one made by `ray.put` over there would die with it.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from cluster.actors.late_memory import LateMemory
from cluster.actors.local_vm import LocalVm
from cluster.actors.replies import Handle
from cluster.memory.guest_memory import Pages
from cluster.memory.hashes import Hashes
from cluster.memory.pager import Served
from cluster.memory.pagers import PagerFailed
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

    def __init__(
        self,
        migration: str,
        vm: LocalVm,
        source: Handle,
        receiving: SerialLink,
        late: LateMemory | None,
    ) -> None:
        """`receiving` is this host's card, shared with every other migration that comes in.

        `late` serves faults where the VM may run before all of its memory is here.
        """
        self.vm = vm
        self._migration = migration
        self._source = source
        self._receiving = receiving
        self._share = SerialLink(rate_bytes_per_second=receiving.rate_bytes_per_second)
        self._late = late
        self._flipped = False
        self._settling: asyncio.Task[Served] | None = None
        self._intake = Intake(vm.memory, None if late is None else late.hashes)
        self._unhashed: list[Batch] = []

    def set_share(self, rate_bytes_per_second: float | None) -> None:
        """Let this migration use that much of the network from its next batch on."""
        self._share.rate_bytes_per_second = rate_bytes_per_second

    async def pull(self) -> None:
        """Fetch and install batches until the source has none left in this round.

        Raises:
            ray.exceptions.RayError: If the source, or a batch, is gone.
        """
        await self._pull(self._install)

    async def pull_remainder(self) -> Served:
        """Bring every page that the running VM still lacks; return what its pager did.

        Raises:
            ray.exceptions.RayError: If the source, or a batch, is gone.
            PagerFailed: If pages do not come.
        """
        late = self._late
        if late is None:
            raise PagerFailed(f"{self._migration} serves no faults")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, late.mend)
        sweep = loop.run_in_executor(None, late.sweep)
        await self._pull(late.install)
        await sweep
        await late.wait_complete()
        return await loop.run_in_executor(None, late.settle)

    async def resume(self) -> None:
        """Run the VM; one that came with all of its memory stops to need a pager soon."""
        await self.vm.resume()
        if self._late is not None and not self._flipped:
            self._settling = asyncio.create_task(self._settle(self._late))

    async def _settle(self, late: LateMemory) -> Served:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, late.sweep)
        return await loop.run_in_executor(None, late.settle)

    async def _pull(self, install: Callable[[Batch], object]) -> None:
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
                    await asyncio.get_running_loop().run_in_executor(None, install, batch)
        finally:
            for task in under_way:
                task.cancel()

    async def finish(self, state: bytes, last: Batch | None, missing: Pages | None) -> None:
        """Take the stunned VM's state, and its last pages or which ones it will miss.

        Last pages are hashed when it runs again.
        """
        if missing is not None:
            assert self._late is not None
            self._late.expect(missing)
            self._flipped = True
        if last is not None:
            await self._until_received(last.wire_bytes, time.monotonic())
            self._intake.install(last)
            self._unhashed.append(last)
        await self.vm.restore(state)

    async def noted(self) -> Hashes:
        """Return the hash of every page as it was installed, (pages,) uint64."""
        if self._settling is not None:
            await self._settling
        unhashed, self._unhashed = self._unhashed, []
        for batch in unhashed:
            await asyncio.get_running_loop().run_in_executor(
                None, self._intake.note_received, batch
            )
        return self._intake.hashes.copy()

    def missing_pages(self) -> int:
        """Return how many pages the VM would lack if the source were gone."""
        return 0 if self._late is None else self._late.left()

    @property
    def served(self) -> Served | None:
        """What the pager did; None where there was none."""
        return None if self._late is None else self._late.served

    def close(self) -> None:
        """Free what only the migration needed; safe to call twice."""
        if self._late is not None:
            self._late.close()

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
