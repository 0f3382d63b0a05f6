"""A VM's RAM: anonymous shared memory that host and VM both map.

The host owns it. It is a memfd on Linux and an unlinked temporary file elsewhere, so it
has no name that could stay behind: it is gone when the last process that maps it ends.
"""

import ctypes
import errno
import mmap
import os
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cluster.page import PAGE_BYTES as PAGE_BYTES

# From <linux/mman.h>, Linux 5.14 and later.
_MADV_POPULATE_READ = 22
_MADV_POPULATE_WRITE = 23
_MADV_REMOVE = 9  # frees what backs the pages, for everybody who maps them
# A call on so many pages holds the memory map for a few milliseconds.
_POPULATE_PAGES_AT_ONCE = 4096

Runs = tuple[tuple[int, int], ...]
"""Runs of pages: (first, one behind the last), ascending."""

Bytes = npt.NDArray[np.uint8]
Pages = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Mapping:
    """A shared mapping of a VM's memory in this process.

    Attributes:
        flat: (nbytes,) uint8, the live memory; not a copy.
        address: Where it is mapped.
    """

    flat: Bytes
    address: int

    @property
    def pages(self) -> Bytes:
        """The same memory as (pages, 4096) uint8."""
        return self.flat.reshape(-1, PAGE_BYTES)


NO_MEMORY = Mapping(flat=np.empty(0, dtype=np.uint8), address=0)
"""What is left of a mapping that was let go: nothing."""


def create_memory(name: str, nbytes: int) -> int:
    """Return a file descriptor of `nbytes` of zeros that only its holders can reach.

    Raises:
        ValueError: If `nbytes` is not a positive multiple of the page size.
    """
    if nbytes <= 0 or nbytes % PAGE_BYTES:
        raise ValueError(f"memory of {nbytes} bytes is not a positive number of whole pages")
    if sys.platform == "linux":
        fd = os.memfd_create(f"vmotion-{name}", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="vmotion-")
        os.unlink(path)
    try:
        os.ftruncate(fd, nbytes)
    except OSError:
        os.close(fd)
        raise
    return fd


def map_memory(fd: int, nbytes: int) -> Mapping:
    """Map all of `fd`, shared and writable; unmapped when the arrays over it are gone.

    A child made by fork does not inherit the mapping: a guest's memory belongs to one VM.
    """
    mapped = mmap.mmap(fd, nbytes, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    if hasattr(mmap, "MADV_DONTFORK"):
        mapped.madvise(mmap.MADV_DONTFORK)
    flat = np.frombuffer(mapped, dtype=np.uint8)
    return Mapping(flat=flat, address=flat.ctypes.data)


def populated_runs(fd: int, nbytes: int) -> Runs:
    """Return the runs of pages that were ever touched; every other page is zero.

    Reads the holes of the file, so untouched memory is neither read nor allocated.

    Raises:
        OSError: If the file cannot be looked at.
    """
    found: list[tuple[int, int]] = []
    position = 0
    while position < nbytes:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only holes from here on
        position = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start // PAGE_BYTES, -(-position // PAGE_BYTES)))
    return tuple(found)


def populated_pages(fd: int, nbytes: int) -> Pages:
    """Return the pages that were ever touched, ascending."""
    return pages_of(populated_runs(fd, nbytes))


def pages_of(runs: Runs) -> Pages:
    """Return the pages of runs, ascending."""
    pages = [np.arange(first, stop, dtype=np.int64) for first, stop in runs]
    return np.concatenate(pages) if pages else np.empty(0, dtype=np.int64)


def resident_pages(memory: Mapping, first: int, stop: int) -> npt.NDArray[np.bool_]:
    """Return which pages of a range have memory behind them now, (stop - first,) bool.

    A page that is swapped out has none, though it was touched. Linux only.

    Raises:
        OSError: If the range is not mapped.
    """
    found = np.empty(stop - first, dtype=np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    address = ctypes.c_void_p(memory.address + first * PAGE_BYTES)
    nbytes = ctypes.c_size_t((stop - first) * PAGE_BYTES)
    if libc.mincore(address, nbytes, ctypes.c_void_p(found.ctypes.data)) != 0:
        raise OSError(ctypes.get_errno(), "mincore")
    return (found & 1).astype(np.bool_)


def allocate(memory: Mapping, runs: Runs) -> None:
    """Allocate and map runs of pages without changing them, where the kernel can."""
    _advise(memory, runs, _MADV_POPULATE_WRITE)


def map_allocated(memory: Mapping, runs: Runs) -> None:
    """Map runs of pages that the file holds, so that reading them here faults no more."""
    _advise(memory, runs, _MADV_POPULATE_READ)


def free_pages(memory: Mapping, pages: Pages) -> None:
    """Make holes of `pages` (ascending), for everybody who maps the memory, where the kernel can."""
    if len(pages):
        breaks = np.flatnonzero(np.diff(pages) != 1) + 1
        runs = tuple((int(run[0]), int(run[-1]) + 1) for run in np.split(pages, breaks))
        _advise(memory, runs, _MADV_REMOVE)


def _advise(memory: Mapping, runs: Runs, advice: int) -> None:
    """Give an advice about runs of pages; it only saves time or memory, so a refusal ends it."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)  # CDLL lets go of the GIL
    for first, stop in runs:
        for at in range(first, stop, _POPULATE_PAGES_AT_ONCE):
            pages = min(_POPULATE_PAGES_AT_ONCE, stop - at)
            address = ctypes.c_void_p(memory.address + at * PAGE_BYTES)
            if libc.madvise(address, ctypes.c_size_t(pages * PAGE_BYTES), advice) != 0:
                return


def write_pages(memory: Mapping, pages: Pages, data: Bytes) -> None:
    """Store `data` (len(pages), 4096) at `pages` (ascending); a run of pages is one copy."""
    if len(pages) == 0:
        return
    first, last = int(pages[0]), int(pages[-1])
    if last - first + 1 == len(pages):
        memory.pages[first : last + 1] = data
    else:
        memory.pages[pages] = data


def read_pages(memory: Mapping, pages: Pages) -> Bytes:
    """Return `pages` (ascending) as (len, 4096) uint8: a view for a run, else a copy."""
    if len(pages) == 0:
        return np.empty((0, PAGE_BYTES), dtype=np.uint8)
    first, last = int(pages[0]), int(pages[-1])
    if last - first + 1 == len(pages):
        return memory.pages[first : last + 1]
    return memory.pages[pages]


def zero_pages(data: Bytes) -> npt.NDArray[np.bool_]:
    """Return (n,) bool: which rows of (n, 4096) uint8 hold only zeros.

    Looks at one word of each page first: most pages that are not zero show it there, so
    that memory full of data costs one strided read and not a whole pass.
    """
    words = data.view(np.uint64)
    zero: npt.NDArray[np.bool_] = words[:, 0] == 0
    zero &= words[:, words.shape[1] // 2] == 0
    candidates = np.flatnonzero(zero)
    if len(candidates):
        zero[candidates] = ~words[candidates].any(axis=1)
    return zero
