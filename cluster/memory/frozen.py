"""Memory of a VM that has left, which its source gives back while the rest still follows."""

import numpy as np
import numpy.typing as npt

from cluster.memory.guest_memory import Mapping, Pages, free_pages
from cluster.memory.hashes import ZERO_PAGE_HASH, Hashes, hash_pages

# Hashed at once: 4 MiB keep the temporary of scattered pages small.
_PAGES_AT_ONCE = 1024


class Frozen:
    """Frozen pages, and the hashes of those that are given back.

    Nobody writes here any more, so a hash is the same whenever it is made. Not for two
    threads at once. It does not ask which pages were ever touched: nothing else runs on a core
    while the kernel looks for that (`benchmarks/copies.py` tells how long), and giving back begins
    when the VM has just resumed.
    """

    def __init__(self, memory: Mapping, *, hashed: bool) -> None:
        """Without `hashed` no hash is made."""
        self._memory = memory
        self._hashed = hashed
        self._here: npt.NDArray[np.bool_] = np.ones(len(memory.pages), dtype=np.bool_)
        self._hashes: Hashes = np.full(len(memory.pages), ZERO_PAGE_HASH, dtype=np.uint64)

    def give_back(self, pages: Pages) -> None:
        """Free pages, ascending, that the destination has for sure; blocks."""
        pages = pages[self._here[pages]]
        self._note(pages)
        self._here[pages] = False
        free_pages(self._memory, pages)

    def hashes(self, populated: Pages) -> Hashes:
        """Return the hash of every page as it was when the VM was stunned, (pages,) uint64.

        `populated` are the pages that the memory holds now; another that was not given back
        was never touched.
        """
        self._note(populated[self._here[populated]])
        return self._hashes

    def _note(self, pages: Pages) -> None:
        if not self._hashed:
            return
        for start in range(0, len(pages), _PAGES_AT_ONCE):
            part = pages[start : start + _PAGES_AT_ONCE]
            self._hashes[part] = hash_pages(self._memory.pages[part])
