"""The two ends of a transfer: what the source still owes, and what the destination has.

No I/O: the hosts' movers call these from wherever batches travel.
"""

import threading
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cluster.memory.guest_memory import (
    PAGE_BYTES,
    Bytes,
    Mapping,
    Pages,
    read_pages,
    write_pages,
    zero_pages,
)
from cluster.memory.hashes import ZERO_PAGE_HASH, Hashes, checksum_of, hash_pages
from cluster.memory.packing import pack, unpack
from cluster.memory.tracker import Tracker

# 256 KiB read and as much written stay in a core's second-level cache.
_PAGES_IN_CACHE = 64


class DamagedBatch(Exception):
    """A batch's contents are not what the source sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Pages on their way.

    Attributes:
        pages: (n,) int64 ascending, all of them.
        zero: (n,) bool; these rows are all zeros and not in `data`.
        data: (n - zeros, 4096) uint8; empty while `packed`.
        packed: The same as `pack` made it smaller, (bytes,) uint8.
        checksum: XXH3 of what travels, `data` or `packed`; None is not checked.
    """

    pages: Pages
    zero: npt.NDArray[np.bool_]
    data: Bytes
    packed: Bytes | None = None
    checksum: int | None = None

    @property
    def full_pages(self) -> Pages:
        """The pages that `data` holds, row for row."""
        return self.pages[~self.zero] if len(self.data) < len(self.pages) else self.pages

    @property
    def wire_bytes(self) -> int:
        """What the network carries: contents, 8 bytes a page number, a bit a page."""
        contents = self.data.nbytes if self.packed is None else self.packed.nbytes
        return contents + self.pages.nbytes + len(self.zero) // 8

    def unpacked(self) -> "Batch":
        """Return the batch with its contents as they are in memory.

        Raises:
            DamagedBatch: If they are not what the source sent.
        """
        travelled = self.data if self.packed is None else self.packed
        if self.checksum is not None and self.checksum != checksum_of(travelled):
            raise DamagedBatch(f"{len(self.pages)} pages from {self.pages[0]} on are damaged")
        if self.packed is None:
            return self
        return replace(self, data=unpack(self.packed, PAGE_BYTES), packed=None)


class Outbox:
    """The pages that a source owes its destination, handed out batch by batch.

    Invariant: a page is owed from the moment it is seen dirty until a round that sent
    it is confirmed; an interrupted or failed round forgets nothing.
    """

    def __init__(
        self,
        tracker: Tracker,
        first: Pages,
        pages: int,
        fetched: npt.NDArray[np.uint8] | None = None,
        *,
        checksummed: bool = False,
    ) -> None:
        """`first` is what round 0 sends besides what gets dirty: every page ever touched.

        `pages` is how many the VM has; `fetched` marks, a byte a page, what the destination
        has fetched by itself. `checksummed` gives each batch a checksum.
        """
        self._tracker = tracker
        self._checksummed = checksummed
        # A flag a page, not a sorted list: to add what got dirty must not cost more, the
        # more is dirty already.
        self._owed = np.zeros(pages, dtype=np.bool_)
        self._owed[first] = True
        self._ever_owed = self._owed.copy()
        self._fetched = fetched
        self._round: Pages = np.empty(0, dtype=np.int64)
        self._position = 0
        self._lock = threading.Lock()
        self.interrupted = False
        self.sent_bytes = 0
        self.sent_pages = 0
        self.zero_pages = 0

    def begin_round(self) -> int:
        """Harvest the tracker and start handing out all that is owed; return the page count."""
        self.harvest()
        return self.begin_remainder()

    def begin_remainder(self) -> int:
        """Hand out all that is owed, again if need be, with no look at what is written now."""
        with self._lock:
            self._round = np.flatnonzero(self._owed)
            self._position = 0
            self.interrupted = False
            self.sent_bytes = self.sent_pages = self.zero_pages = 0
            return len(self._round)

    def harvest(self) -> Pages:
        """Owe what was written since the last harvest, and return it."""
        written = self._tracker.harvest()
        with self._lock:
            self._owed[written] = True
            self._ever_owed[written] = True
        return written

    def owe_only(self, pages: Pages) -> None:
        """Owe these and no others, and hand them out anew."""
        with self._lock:
            self._owed[:] = False
            self._owed[pages] = True
        self.begin_remainder()

    def owed(self) -> Pages:
        """Return all pages that are owed, ascending."""
        with self._lock:
            return np.flatnonzero(self._owed)

    def next_batch(
        self, bytes_max: int, packed_for_bytes_per_second: float | None = None
    ) -> Batch | None:
        """Return the next pages of this round, or None when it is over or interrupted.

        With the rate of a link they are packed if that makes them arrive sooner there.
        """
        with self._lock:
            if self.interrupted or self._position >= len(self._round):
                return None
            stop = self._position + max(1, bytes_max // PAGE_BYTES)
            pages = self._round[self._position : stop]
            self._position += len(pages)
        if self._fetched is not None:
            pages = pages[self._fetched[pages] == 0]
        batch = self._batch_of(pages, packed_for_bytes_per_second)
        with self._lock:
            self.sent_bytes += batch.wire_bytes
            self.sent_pages += len(pages)
            self.zero_pages += int(batch.zero.sum())
        return batch

    def ahead(self, pages: Pages) -> Batch:
        """Return those of `pages` that are owed, as if the destination had fetched them itself."""
        with self._lock:
            pages = pages[self._owed[pages]]
        if self._fetched is not None:
            self._fetched[pages] = 1
        return self._batch_of(pages, None)

    def _batch_of(self, pages: Pages, packed_for_bytes_per_second: float | None) -> Batch:
        data = self._tracker.read(pages)
        zero = zero_pages(data)
        if zero.any():
            data = data[~zero]
        rate = packed_for_bytes_per_second
        packed = None if rate is None else pack(data, rate)
        if self._checksummed and packed is None:
            data = data.copy()  # the guest may write between the sum and Ray's own copy
        travels = data if packed is None else packed
        return Batch(
            pages=pages,
            zero=zero,
            data=data if packed is None else data[:0],
            packed=packed,
            checksum=checksum_of(travels) if self._checksummed else None,
        )

    def confirm(self) -> None:
        """The destination has installed everything handed out in this round."""
        with self._lock:
            self._owed[self._round[: self._position]] = False
            self._round = self._round[self._position :]
            self._position = 0

    def interrupt(self) -> None:
        """Hand out nothing more in this round."""
        with self._lock:
            self.interrupted = True

    def written_count(self) -> int:
        """Return how many pages were written since the round began."""
        return self._tracker.count()

    def across(self) -> Pages:
        """Return the pages that were owed once, and are owed no more."""
        with self._lock:
            return np.flatnonzero(self._ever_owed & ~self._owed)

    def owed_count(self) -> int:
        """Return how many pages are owed, as far as they have been harvested."""
        with self._lock:
            return int(np.count_nonzero(self._owed))


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
        write_pages(self._memory, batch.full_pages, batch.data)
        self._clear(batch.pages[batch.zero])

    def install_hashed(self, batch: Batch) -> None:
        """Store the batch's pages and note their hashes; only while no guest can write there.

        Goes in pieces that stay in the processor's cache between the copy and the hash, which
        reads what is *in memory*: hashing 16 MiB after copying it took twice as long.
        """
        pages = batch.full_pages
        for at in range(0, len(pages), _PAGES_IN_CACHE):
            piece = pages[at : at + _PAGES_IN_CACHE]
            write_pages(self._memory, piece, batch.data[at : at + _PAGES_IN_CACHE])
            self.hashes[piece] = hash_pages(read_pages(self._memory, piece))
        zeros = batch.pages[batch.zero]
        self._clear(zeros)
        if len(zeros):
            self.hashes[zeros] = hash_pages(read_pages(self._memory, zeros))

    def note_received(self, batch: Batch) -> None:
        """Hash the batch as it came, for pages that a running guest may have written since."""
        self.hashes[batch.full_pages] = hash_pages(batch.data)
        self.hashes[batch.pages[batch.zero]] = ZERO_PAGE_HASH

    def _clear(self, zeros: Pages) -> None:
        stale = zeros[self._memory.pages[zeros].any(axis=1)] if len(zeros) else zeros
        self._memory.pages[stale] = 0
