"""The state of each page of a VM that runs before all of its memory has arrived.

Shared between the destination's host, which installs the bulk, and its pager, which
serves faults. A page is installed once, by whoever claims it: a late copy must never
overwrite what the guest has written since. Claims are made under a file lock, because
Python has no atomic operation that two processes share.

Uses the standard library alone: the pager starts in a fraction of the time without NumPy.
"""

import contextlib
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator

HERE, MISSING, CLAIMED, INSTALLED = 0, 1, 2, 3
HASH_BYTES = 8
_MISSING_BYTE = bytes([MISSING])


def create_ledger(name: str, pages: int) -> int:
    """Return the file descriptor of a ledger in which every page is here."""
    fd = os.memfd_create(f"vmotion-{name}-ledger", os.MFD_CLOEXEC)
    os.ftruncate(fd, ledger_bytes(pages))
    return fd


def ledger_bytes(pages: int) -> int:
    """Return a ledger's size: a byte a page, then a hash a page, aligned, then a count."""
    return hashes_offset(pages) + HASH_BYTES * pages + 8


def hashes_offset(pages: int) -> int:
    """Return where the hashes begin."""
    return -(-pages // 64) * 64


class Ledger:
    """One process's view of a ledger.

    Attributes:
        states: A byte a page: HERE, MISSING, CLAIMED or INSTALLED.
        hashes: 8 bytes a page, of its contents as they were installed.
    """

    def __init__(self, fd: int, pages: int) -> None:
        self.pages = pages
        self._fd = fd
        self._mapped = mmap.mmap(fd, ledger_bytes(pages))
        view = memoryview(self._mapped)
        at = hashes_offset(pages)
        self.states = view[:pages]
        self.hashes = view[at : at + HASH_BYTES * pages]
        self._fetched = view[at + HASH_BYTES * pages :].cast("Q")
        # A file lock is a process's: it keeps the pager out, and not our other threads.
        self._threads = threading.Lock()

    @property
    def fetched_pages(self) -> int:
        """How many pages came on the urgent socket; only the pager counts them."""
        return self._fetched[0]

    def count_fetched(self, pages: int) -> None:
        """Count pages that came on the urgent socket."""
        self._fetched[0] += pages

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; short, for a guest may be waiting for the other side."""
        with self._threads:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def claim(self, page: int) -> bool:
        """Take a missing page; False if it is not missing any more."""
        if self.states[page] != MISSING:
            return False
        with self.locked():
            if self.states[page] != MISSING:
                return False
            self.states[page] = CLAIMED
        return True

    def claim_runs(self, pages: range) -> list[tuple[int, int]]:
        """Take the missing ones among `pages`; return them as (first, count), ascending."""
        if self._mapped.find(_MISSING_BYTE, pages.start, pages.stop) < 0:
            return []  # the usual case late in a migration needs no lock
        runs: list[tuple[int, int]] = []
        with self.locked():
            at = self._mapped.find(_MISSING_BYTE, pages.start, pages.stop)
            while at >= 0:
                stop = at + 1
                while stop < pages.stop and self.states[stop] == MISSING:
                    stop += 1
                self.states[at:stop] = bytes([CLAIMED]) * (stop - at)
                runs.append((at, stop - at))
                at = self._mapped.find(_MISSING_BYTE, stop, pages.stop)
        return runs

    def give_back(self, runs: list[tuple[int, int]]) -> None:
        """Miss again what was claimed and did not come."""
        with self.locked():
            for first, count in runs:
                self.states[first : first + count] = _MISSING_BYTE * count
