"""A source's memory after the switchover: frozen, compared, and given back as it is known to have arrived."""

import asyncio

import numpy as np
import numpy.typing as npt

from cluster.actors.local_vm import LocalVm
from cluster.actors.verifying import compare_memory
from cluster.memory.frozen import Frozen
from cluster.memory.guest_memory import Pages
from cluster.memory.hashes import Hashes
from cluster.memory.transfer import Outbox

# Pages sent before the stun that are given back with each batch that arrives after it: 4 MiB,
# whose hashes take a quarter of a millisecond.
_ACROSS_AT_ONCE = 1024


class GivingBack:
    """The frozen memory of one VM that runs elsewhere; lives on its source's loop."""

    def __init__(
        self, vm: LocalVm, outbox: Outbox, fetched: npt.NDArray[np.uint8], *, hashed: bool
    ) -> None:
        """`fetched` (pages,) marks what the destination has asked for by itself.

        With `hashed` each page's hash is noted before the page is given back.
        """
        self._vm = vm
        self._outbox = outbox
        self._fetched = fetched
        self._hashed = hashed
        self._frozen: Frozen | None = None
        # Precopied pages that can be given back with the next batch, and who does it now.
        self._across: Pages = np.empty(0, dtype=np.int64)
        self._turn = asyncio.Lock()
        self._closed = False

    async def still_missing(self, pages: Pages) -> None:
        """Owe these pages and no others, whatever was sent before: the remainder is repeated.

        What the pager has asked for is not among them, and may not have come either: what is
        across for sure is noted before.
        """
        async with self._turn:
            await asyncio.get_running_loop().run_in_executor(None, self._begun)
            self._fetched[pages] = 0
            self._outbox.owe_only(pages)

    async def arrived(self, pages: Pages) -> None:
        """Give back pages of the remainder that the destination has, and some sent before them."""
        async with self._turn:
            if not self._closed:
                await asyncio.get_running_loop().run_in_executor(None, self._give_back, pages)

    async def mismatched(self, noted: Hashes) -> int:
        """Return how many pages arrived otherwise than they were when the VM was stunned."""
        async with self._turn:
            return await asyncio.get_running_loop().run_in_executor(
                None, lambda: compare_memory(self._freeze(), self._vm.populated(), noted)
            )

    def close(self) -> None:
        """Give nothing back any more."""
        self._closed = True

    def _begun(self) -> Frozen:
        """Note once what was across at the flip: all that is not owed yet."""
        if self._frozen is None:
            self._across = self._outbox.across()
        return self._freeze()

    def _give_back(self, pages: Pages) -> None:
        frozen = self._begun()
        now, self._across = np.split(self._across, [min(_ACROSS_AT_ONCE, len(self._across))])
        frozen.give_back(pages)
        frozen.give_back(now)

    def _freeze(self) -> Frozen:
        if self._frozen is None:
            self._frozen = Frozen(self._vm.memory, hashed=self._hashed)
        return self._frozen
