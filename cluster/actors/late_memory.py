"""Memory of a VM that runs before all of it has arrived: ledger, pager, and the bulk's installs."""

import asyncio
import os
import time

import numpy as np
import numpy.typing as npt

from cluster.actors.local_vm import LocalVm
from cluster.memory import userfaultfd
from cluster.memory.guest_memory import Pages, resident_pages, write_pages
from cluster.memory.hashes import ZERO_PAGE_HASH, Hashes, hash_pages
from cluster.memory.ledger import CLAIMED, HERE, INSTALLED, MISSING, Ledger, create_ledger
from cluster.memory.pager import Served
from cluster.memory.pagers import FaultPager, PagerFailed, PageSource
from cluster.memory.tracker import WriteProtectTracker
from cluster.memory.transfer import Batch
from cluster.page import PAGE_BYTES

# Pages mapped by one call: short, because the call holds the guest's memory map.
_MAP_PAGES_AT_ONCE = 2048
_LOOK_S = 0.001
# Without an installed page for so long the remainder has failed, to be asked for again.
_SILENCE_S_MAX = 5.0


class LateMemory:
    """Serves the faults of one VM, and installs the bulk, until every page is here.

    Invariant: a page is written here only by who has claimed it, and mapped only after.
    """

    def __init__(
        self, vm: LocalVm, source: PageSource, rate_bytes_per_second: float | None
    ) -> None:
        """Register the VM's memory for faults and start its pager; the rate is the card's."""
        if vm.uffd is None:
            raise PagerFailed(f"{vm.spec.name} sent no userfaultfd")
        self._vm = vm
        self._uffd = vm.uffd
        self._pages = vm.spec.memory_bytes // PAGE_BYTES
        self._ledger_fd = create_ledger(vm.spec.name, self._pages)
        self._ledger = Ledger(self._ledger_fd, self._pages)
        self._states: npt.NDArray[np.uint8] = np.frombuffer(self._ledger.states, dtype=np.uint8)
        self.hashes: Hashes = np.frombuffer(self._ledger.hashes, dtype=np.uint64)
        self.hashes[:] = ZERO_PAGE_HASH
        self.served = Served()
        self._kept: list[Batch] = []
        self._announced: Pages = np.empty(0, dtype=np.int64)
        userfaultfd.register_faults(self._uffd, vm.address, vm.spec.memory_bytes)
        self._source = source
        self._rate = rate_bytes_per_second
        self._pager = self._start_pager(must_connect=True)

    def wait_ready(self) -> None:
        """Return when faults are served; blocks.

        Raises:
            PagerFailed: If the pager does not start or does not reach the source.
        """
        self._pager.wait_ready()

    def expect(self, missing: Pages) -> None:
        """Note which pages are still on the source, and that others no longer are.

        Only before the VM runs.
        """
        self._states[self._announced] = HERE
        self._states[missing] = MISSING
        self._announced = missing

    def expect_more(self, missing: Pages) -> None:
        """Note further pages that are still on the source; as quick as they are few."""
        self._states[missing] = MISSING

    def sweep(self) -> None:
        """Map all that is here, so that touching it faults no more; blocks for a while.

        A hole, or a page that is missing, ends a run; the pager serves those. Goes piece by
        piece: the VM has just resumed, and a core must not be held for its whole memory.
        """
        for first in range(0, self._pages, _MAP_PAGES_AT_ONCE):
            stop = min(first + _MAP_PAGES_AT_ONCE, self._pages)
            states = self._states[first:stop]
            resident = resident_pages(self._vm.memory, first, stop)
            self._map(first + np.flatnonzero(resident & (states != MISSING) & (states != CLAIMED)))

    def install(self, batch: Batch) -> Pages:
        """Store and map those pages of a batch that nobody else has brought; return them."""
        with self._ledger.locked():
            states = self._states[batch.pages]
            mine = states == MISSING
            pages: Pages = batch.pages[mine]
            self._states[pages] = CLAIMED
        if CLAIMED in states:
            self._kept.append(batch)  # the pager may lose what it has claimed
        zeros = batch.pages[batch.zero & mine]
        full = batch.full_pages
        wanted = mine[~batch.zero]
        write_pages(self._vm.memory, full[wanted], batch.data[wanted])
        self.hashes[full[wanted]] = hash_pages(batch.data[wanted])
        self._vm.memory.pages[zeros] = 0
        self.hashes[zeros] = ZERO_PAGE_HASH
        self._states[pages] = INSTALLED
        self._map(pages)
        return pages

    async def wait_complete(self) -> None:
        """Return when no page is missing.

        Raises:
            PagerFailed: If nothing has arrived for `_SILENCE_S_MAX`.
        """
        left, changed_s = self.left(), time.monotonic()
        while left:
            await asyncio.sleep(_LOOK_S)
            self._install_kept()
            if (now := self.left()) != left:
                left, changed_s = now, time.monotonic()
            elif time.monotonic() - changed_s > _SILENCE_S_MAX:
                raise PagerFailed(f"{left} pages of {self._vm.spec.name} do not come")

    @property
    def fetched_pages(self) -> int:
        """How many pages have come on the urgent socket so far."""
        return self._ledger.fetched_pages

    @property
    def served_by_somebody(self) -> bool:
        """Whether the pager lives."""
        return self._pager.alive

    def missing(self) -> Pages:
        """Return the pages that nobody has brought or is bringing."""
        return np.flatnonzero(self._states == MISSING)

    def _install_kept(self) -> None:
        """Install what the pager had claimed, and has lost, from the batches that brought it too."""
        if self._kept and MISSING in self._states:
            kept, self._kept = self._kept, []
            for batch in kept:
                self.install(batch)

    def left(self) -> int:
        """Return how many pages are not here yet."""
        return int(np.count_nonzero((self._states == MISSING) | (self._states == CLAIMED)))

    def mend(self) -> None:
        """Replace a pager that has died, so that no touch waits for it for ever.

        Only between two installs: what is claimed then was claimed by the dead one.
        """
        if self._pager.alive:
            return
        with self._ledger.locked():
            self._states[self._states == CLAIMED] = MISSING
        self._pager.end()
        self._pager = self._start_pager(must_connect=False)
        self._pager.wait_ready()
        userfaultfd.wake(self._uffd, self._vm.address, self._vm.spec.memory_bytes)

    def settle(self) -> Served:
        """All is here: track writes alone from now on, and let the pager go; blocks."""
        self._kept = []
        tracker = self._vm.tracker
        assert isinstance(tracker, WriteProtectTracker)
        tracker.arm()
        try:
            self.served = self._pager.stop()
        except PagerFailed:
            self._pager.end()  # it died after its work was done; its counts died with it
        return self.served

    def close(self) -> None:
        """End the pager and free the ledger; safe to call twice."""
        self._pager.end()
        if self._ledger_fd >= 0:
            os.close(self._ledger_fd)
            self._ledger_fd = -1

    def _start_pager(self, *, must_connect: bool) -> FaultPager:
        return FaultPager(
            uffd=self._uffd,
            memory_fd=self._vm.memory_fd,
            ledger_fd=self._ledger_fd,
            pages=self._pages,
            address=self._vm.address,
            source=self._source,
            must_connect=must_connect,
            rate_bytes_per_second=self._rate,
        )

    def _map(self, pages: Pages) -> None:
        """Map ascending pages that the file holds, run by run."""
        if len(pages) == 0:
            return
        breaks = np.flatnonzero(np.diff(pages) != 1) + 1
        for run in np.split(pages, breaks):
            for at in range(0, len(run), _MAP_PAGES_AT_ONCE):
                part = run[at : at + _MAP_PAGES_AT_ONCE]
                userfaultfd.map_present(
                    self._uffd,
                    self._vm.address + int(part[0]) * PAGE_BYTES,
                    len(part) * PAGE_BYTES,
                    PAGE_BYTES,
                )
