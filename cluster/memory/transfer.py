"""The two ends of a transfer: what the source still owes, and what the destination has.

No I/O: the hosts' movers call these from wherever batches travel.
"""

import threading
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.memory.guest_memory import PAGE_BYTES, Bytes, Mapping, Pages, write_pages, zero_pages
from cluster.memory.hashes import ZERO_PAGE_HASH, Hashes, hash_pages
from cluster.memory.tracker import Tracker


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pages on their way.

    Attributes:
        pages: (n,) int64 ascending, all of them.
        zero: (n,) bool; these rows are all zeros and not in `data`.
        data: (n - zeros, 4096) uint8.
    """

    pages: Pages
    zero: npt.NDArray[np.bool_]
    data: Bytes

    @property
    def wire_bytes(self) -> int:
        """What the network carries: contents, 8 bytes a page number, a bit a page."""
        return self.data.nbytes + self.pages.nbytes + len(self.zero) // 8


class Outbox:
    """The pages that a source owes its destination, handed out batch by batch.

    Invariant: a page is owed from the moment it is seen dirty until a round that sent
    it is confirmed; an interrupted or failed round forgets nothing.
    """

    def __init__(
        self, tracker: Tracker, first: Pages, fetched: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """`first` is what round 0 sends besides what gets dirty: every page ever touched.

        `fetched` marks, a byte a page, what the destination has fetched by itself.
        """
        self._tracker = tracker
        self._owed = np.unique(first)
        self._fetched = fetched
        self._position = 0
        self._lock = threading.Lock()
        self.interrupted = False
        self.sent_bytes = 0
        self.sent_pages = 0
        self.zero_pages = 0

    def begin_round(self) -> int:
        """Harvest the tracker and start handing out all that is owed; return the page count."""
        harvested = self._tracker.harvest()
        with self._lock:
            self._owed = np.union1d(self._owed, harvested)
            self._position = 0
            self.interrupted = False
            self.sent_bytes = self.sent_pages = self.zero_pages = 0
            return len(self._owed)

    def flip(self) -> Pages:
        """Harvest a last time and return all that is owed: the VM runs elsewhere from now on."""
        self.begin_round()
        with self._lock:
            return self._owed

    def begin_remainder(self) -> None:
        """Hand out all that is owed, again if need be; nothing gets dirty here any more."""
        with self._lock:
            self._position = 0
            self.interrupted = False
            self.sent_bytes = self.sent_pages = self.zero_pages = 0

    def next_batch(self, bytes_max: int) -> Batch | None:
        """Return the next pages of this round, or None when it is over or interrupted."""
        with self._lock:
            if self.interrupted or self._position >= len(self._owed):
                return None
            stop = self._position + max(1, bytes_max // PAGE_BYTES)
            pages = self._owed[self._position : stop]
            self._position += len(pages)
        if self._fetched is not None:
            pages = pages[self._fetched[pages] == 0]
        data = self._tracker.read(pages)
        zero = zero_pages(data)
        if zero.any():
            data = data[~zero]
        batch = Batch(pages=pages, zero=zero, data=data)
        with self._lock:
            self.sent_bytes += batch.wire_bytes
            self.sent_pages += len(pages)
            self.zero_pages += int(zero.sum())
        return batch

    def confirm(self) -> None:
        """The destination has installed everything handed out in this round."""
        with self._lock:
            self._owed = self._owed[self._position :]
            self._position = 0

    def interrupt(self) -> None:
        """Hand out nothing more in this round."""
        with self._lock:
            self.interrupted = True

    def written_count(self) -> int:
        """Return how many pages were written since the round began."""
        return self._tracker.count()

    def owed_count(self) -> int:
        """Return about how many pages the next round would send.

        Pages that are owed and written again count twice; after a whole round none is.
        """
        with self._lock:
            left = len(self._owed) - self._position
        return left + self._tracker.count()


class Intake:
    """A destination's memory as it fills, and the hash noted for each page installed."""

    def __init__(self, memory: Mapping, hashes: Hashes | None = None) -> None:
        """`hashes` is where to note them, if others note there too: all `ZERO_PAGE_HASH`."""
        self._memory = memory
        self.hashes: Hashes = (
            np.full(len(memory.pages), ZERO_PAGE_HASH, dtype=np.uint64)
            if hashes is None
            else hashes
        )

    def install(self, batch: Batch) -> None:
        """Store the batch's pages; a zero page is written only where data has been before."""
        write_pages(self._memory, batch.pages[~batch.zero], batch.data)
        zeros = batch.pages[batch.zero]
        stale = zeros[self._memory.pages[zeros].any(axis=1)] if len(zeros) else zeros
        self._memory.pages[stale] = 0

    def note_installed(self, pages: Pages) -> None:
        """Hash `pages` as they now are in memory; only while no guest can write there."""
        self.hashes[pages] = hash_pages(self._memory.pages[pages])

    def note_received(self, batch: Batch) -> None:
        """Hash the batch as it came, for pages that a running guest may have written since."""
        self.hashes[batch.pages[~batch.zero]] = hash_pages(batch.data)
        self.hashes[batch.pages[batch.zero]] = ZERO_PAGE_HASH


def frozen_hashes(memory: Mapping, populated: Pages) -> Hashes:
    """Return the hash of every page of memory that nobody writes; holes are not read."""
    hashes: Hashes = np.full(len(memory.pages), ZERO_PAGE_HASH, dtype=np.uint64)
    for start in range(0, len(populated), 4096):
        pages = populated[start : start + 4096]
        hashes[pages] = hash_pages(memory.pages[pages])
    return hashes
