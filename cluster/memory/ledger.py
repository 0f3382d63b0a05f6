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
from collections.abc import Iterator

HERE, MISSING, CLAIMED, INSTALLED = 0, 1, 2, 3
HASH_BYTES = 8


def create_ledger(name: str, pages: int) -> int:
    """Return the file descriptor of a ledger in which every page is here."""
    fd = os.memfd_create(f"vmotion-{name}-ledger", os.MFD_CLOEXEC)
    os.ftruncate(fd, ledger_bytes(pages))
    return fd


def ledger_bytes(pages: int) -> int:
    """Return a ledger's size: a byte a page, then a hash a page, aligned."""
    return hashes_offset(pages) + HASH_BYTES * pages


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

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock; short, for a guest may be waiting for the other side."""
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
