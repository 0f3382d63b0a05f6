"""The destination's end of a migration: pull pages, install them, note their hashes."""

import asyncio
import contextlib
import threading
import time

import numpy as np

from cluster.actors.late_memory import LateMemory
from cluster.actors.local_vm import LocalVm, Power
from cluster.actors.peer import Switchover
from cluster.actors.pulling import Puller
from cluster.actors.replies import Handle
from cluster.memory.guest_memory import Pages
from cluster.memory.hashes import Hashes
from cluster.memory.pager import Served
from cluster.memory.pagers import PagerFailed
from cluster.memory.transfer import Batch, Intake
from cluster.page import PAGE_BYTES
from cluster.policy.sharing import SerialLink

# A guest that runs again answers those who have waited before the bulk takes the cores.
# Its faults are served meanwhile.
_ANSWERS_FIRST_S = 0.01
# How often urgent pages are counted by the card.
_COUNT_S = 0.01
# A batch is stored in milliseconds.
_INSTALL_S_MAX = 10.0
_NOTHING: Pages = np.empty(0, dtype=np.int64)


class DestinationEnd:
    """One migration as its destination sees it; lives on the host's control loop."""

    def __init__(
        self,
        migration: str,
        vm: LocalVm,
        source: Handle,
        receiving: SerialLink,
        turns: asyncio.Semaphore,
        late: LateMemory | None,
        *,
        round_batch_bytes: int,
        ahead_bytes: int,
        hashed: bool,
    ) -> None:
        """`receiving` and `turns` are shared with every other migration that comes in.

        `late` serves faults where the VM may run before all of its memory is here. A batch has
        at most `round_batch_bytes` while the VM runs at the source; of the
        remainder `ahead_bytes` may leave the source before they arrive here. `hashed` notes
        each page's hash as it is installed.
        """
        self.vm = vm
        self._migration = migration
        self._source = source
        self._puller = Puller(
            migration, source, receiving, turns, round_batch_bytes=round_batch_bytes
        )
        self._late = late
        self._ahead_bytes = ahead_bytes
        self._hashed = hashed
        self._flipped = False
        self._tried = False
        self._all_read = False
        self._resumed_s = 0.0
        self._read_s = 0.0
        self._fetched_seen = 0
        self._here_s = 0.0
        self._settling: asyncio.Task[None] | None = None
        # All pages are here, or nobody brings them any more.
        self._come = asyncio.Event()
        self._pulling: asyncio.Task[None] | None = None
        # Threads that are storing a batch; cancelling an attempt does not end them.
        self._installing = 0
        self._installed = threading.Condition()
        self._intake = Intake(vm.memory, None if late is None else late.hashes)
        self._unhashed: list[Batch] = []

    def set_share(self, rate_bytes_per_second: float | None) -> None:
        """Let this migration use that much of the network from its next batch on."""
        self._puller.share.rate_bytes_per_second = rate_bytes_per_second

    async def pull(self) -> None:
        """Fetch and install batches until the source has none left in this round.

        Raises:
            ExceptionGroup: With a `RayError` if the source, or a batch, is gone.
        """
        intake = self._intake
        await self._puller.bring_round(intake.install_hashed if self._hashed else intake.install)

    async def pull_remainder(self) -> None:
        """Bring every page that the running VM still lacks; what is left to do needs no source.

        Raises:
            ExceptionGroup: With a `RayError` if the source, or a batch, is gone.
            PagerFailed: If pages do not come.
        """
        late = self._late
        if late is None:
            raise PagerFailed(f"{self._migration} serves no faults")
        before = self._pulling
        if before is not None and not before.done():
            before.cancel()  # given up by its source: the latest attempt is the one that counts
            await asyncio.wait([before])
        if self._settling is not None:
            return  # asked again: the answer was lost, and all is here
        self._pulling = asyncio.create_task(self._pull_remainder(late))
        await asyncio.wait([self._pulling])
        if self._pulling.cancelled():
            raise PagerFailed("asked for again meanwhile")
        await self._pulling

    async def _pull_remainder(self, late: LateMemory) -> None:
        loop = asyncio.get_running_loop()
        # What a thread of an earlier attempt has claimed it may still be storing.
        await loop.run_in_executor(None, self._until_installed)
        await loop.run_in_executor(None, late.mend)
        if self._tried:  # what was sent last time may have been lost on the way
            await self._source.still_missing.remote(self._migration, late.missing())
        self._tried = True
        if not late.left():
            self._note_all_read()
            self._all_here()
            self._settle_soon()
            return
        await self._answers_first()
        sweep = loop.run_in_executor(None, late.sweep)
        watching = asyncio.create_task(self._count_urgent(late))
        bringing = asyncio.create_task(self._bring(late))
        try:
            await asyncio.wait({watching, bringing}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
            await bringing
        finally:
            watching.cancel()
            bringing.cancel()
        self._all_here()
        self._settle_soon(sweep)

    async def resume(self) -> None:
        """Run the VM; one that came with all of its memory stops to need a pager soon."""
        await self.vm.resume()
        self._resumed_s = time.monotonic()
        if not self._flipped:
            self._settle_soon()

    @property
    def settles(self) -> bool:
        """Whether the VM runs with every page here."""
        return self._settling is not None

    async def settled(self) -> None:
        """Return when the VM runs without a pager, its writes tracked: it may leave again then.

        Of a VM whose memory still follows not before that has come, or is given up: its tracker is
        armed after that, which forgets what was written before.

        Raises:
            OSError: If the writes of a VM that has not ended cannot be tracked.
        """
        if self._flipped and self.vm.power is Power.RUNNING:
            await self._come.wait()
        failed = self._settling
        if failed is not None and failed.done() and failed.exception() is not None:
            self._settling = None
            if self.vm.power is not Power.OFF:
                self._settle_soon()
        if self._settling is not None:
            try:
                await asyncio.shield(self._settling)
            except OSError:
                if self.vm.power is not Power.OFF:
                    raise

    async def rescue(self) -> int:
        """With the source dead: let arrive what had left it; return how many pages are lost."""
        late = self._late
        if late is None:
            return 0
        if self._all_read:
            with contextlib.suppress(PagerFailed):
                await late.wait_complete()
        missing = late.left()
        if not missing:
            self._all_here()
            self._settle_soon()
        return missing

    def _all_here(self) -> None:
        self._here_s = time.monotonic()
        self.vm.control.put("arriving", 0.0)

    def _until_installed(self) -> None:
        """Return when no thread installs; blocks.

        Raises:
            PagerFailed: If one does not come to an end.
        """
        with self._installed:
            if not self._installed.wait_for(lambda: self._installing == 0, _INSTALL_S_MAX):
                raise PagerFailed(f"{self._installing} batches are still being stored")

    def _install_late(self, batch: Batch) -> None:
        assert self._late is not None
        with self._installed:
            self._installing += 1
        try:
            pages = self._late.install(batch)
        finally:
            with self._installed:
                self._installing -= 1
                self._installed.notify_all()
        # Not waited for: what the source does with it is its own affair.
        self._source.arrived.remote(self._migration, pages)

    def _note_all_read(self) -> None:
        self._all_read, self._read_s = True, time.monotonic()

    async def _bring(self, late: LateMemory) -> None:
        await self._puller.bring_ahead(
            self._install_late, ahead_bytes=self._ahead_bytes, all_read=self._note_all_read
        )
        await late.wait_complete()

    async def _count_urgent(self, late: LateMemory) -> None:
        """Let the bulk wait for what the urgent pages took of this host's card.

        Raises:
            PagerFailed: If the pager has died. Its guest waits until the next attempt, which
                comes at once, has another one.
        """
        while True:
            await asyncio.sleep(_COUNT_S)
            if not late.served_by_somebody:
                raise PagerFailed("the pager died")
            new, self._fetched_seen = late.fetched_pages - self._fetched_seen, late.fetched_pages
            if new:
                self._puller.count(new * PAGE_BYTES)

    def _settle_soon(self, sweep: "asyncio.Future[None] | None" = None) -> None:
        """All is here: stop to need a pager, once; a sweep may be under way already."""
        late = self._late
        if late is not None and self._settling is None:
            self._settling = asyncio.create_task(self._settle(late, sweep))
            self._come.set()

    async def _settle(self, late: LateMemory, sweep: "asyncio.Future[None] | None") -> None:
        if sweep is None:
            await self._answers_first()
            sweep = asyncio.get_running_loop().run_in_executor(None, late.sweep)
        await sweep
        served = await asyncio.get_running_loop().run_in_executor(None, late.settle)
        if self._flipped:
            served.survives_process_s = max(self._read_s - self._resumed_s, 0.0)
            served.survives_node_s = self._here_s - self._resumed_s

    async def _answers_first(self) -> None:
        await asyncio.sleep(max(0.0, self._resumed_s + _ANSWERS_FIRST_S - time.monotonic()))

    def announce(self, missing: Pages) -> None:
        """Learn which pages would stay behind if the VM flipped now; replaces what was said."""
        if self._late is not None:
            self._late.expect(missing)

    async def finish(self, what: Switchover) -> None:
        """Take the stunned VM's state, and its last pages or which ones it will miss."""
        if what.missing is not None:
            self._flip(what.missing, what.last)
            # It goes ahead of the bulk, which waits for it.
            self._puller.count(what.missing.nbytes + len(what.state))
        else:
            await self._take_last(what.last)
        await self.vm.restore(what.state)

    def _flip(self, missing: Pages, header: Batch | None) -> None:
        late = self._late
        assert late is not None
        late.expect_more(missing)
        if header is not None:
            late.install(header.unpacked())
        self._flipped = True
        self.vm.control.put("arriving", 1.0)

    async def _take_last(self, last: Batch | None) -> None:
        """Store the last pages; they are hashed when the VM runs again."""
        if self._late is not None:
            self._late.expect(_NOTHING)
        if last is not None:
            await self._puller.until_received(last.wire_bytes, time.monotonic())
            last = last.unpacked()
            self._intake.install(last)
            if self._hashed:
                self._unhashed.append(last)

    async def noted(self) -> Hashes:
        """Return the hash of every page as it was installed, (pages,) uint64."""
        await self.settled()
        unhashed, self._unhashed = self._unhashed, []
        for batch in unhashed:
            await asyncio.get_running_loop().run_in_executor(
                None, self._intake.note_received, batch
            )
        return self._intake.hashes.copy()

    @property
    def served(self) -> Served | None:
        """What the pager did; None where there was none."""
        return None if self._late is None else self._late.served

    def close(self) -> None:
        """Free what only the migration needed; safe to call twice."""
        self._come.set()
        if self._late is not None:
            self._late.close()
