"""First touches paid before they hurt: guest memory, its mapping, and Ray's object store.

A fresh page costs about 1.5 µs at its first write, as much as copying 16 KiB. Paid while
the destination is prepared, it is not paid while pages travel and a guest waits.
"""

import asyncio
import contextlib
import functools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ray
from ray.exceptions import RayError

from cluster.memory.guest_memory import Mapping, Runs, allocate, map_allocated

_STORE_PIECE_BYTES = 32 << 20


@functools.cache
def _thread() -> ThreadPoolExecutor:
    """One thread a process: two that allocate at once only wait for each other.

    Not a nicer one: on a busy machine it would hold the interpreter's lock and not run.
    """
    return ThreadPoolExecutor(1, "allocating")


def allocate_early(memory: Mapping, runs: Runs) -> "asyncio.Future[None]":
    """Allocate the runs of pages, in the background."""
    return asyncio.get_running_loop().run_in_executor(_thread(), allocate, memory, runs)


def map_early(memory: Mapping, runs: Runs) -> "asyncio.Future[None]":
    """Map runs of pages that exist, in the background, so that reading them does not fault."""
    return asyncio.get_running_loop().run_in_executor(_thread(), map_allocated, memory, runs)


class StoreToucher:
    """Touches of the object store what a host's migrations have under way, once in its life."""

    def __init__(self, bytes_max: int) -> None:
        """A migration has at most `bytes_max` under way at once."""
        self._bytes_max = bytes_max
        self._pieces = 0

    async def touch_for(self, nbytes: int) -> None:
        """Touch what a migration of so much memory needs, unless one before needed as much."""
        pieces = -(-min(nbytes, self._bytes_max) // _STORE_PIECE_BYTES)
        if pieces <= self._pieces:
            return
        self._pieces = pieces
        await asyncio.get_running_loop().run_in_executor(_thread(), _touch_store, pieces)


def _touch_store(pieces: int) -> None:
    piece = np.zeros(_STORE_PIECE_BYTES, dtype=np.uint8)
    # Held together, or the store would hand out the same place again and again. One that is
    # too full now will be touched by whoever fills it.
    with contextlib.suppress(RayError):
        refs = [ray.put(piece) for _ in range(pieces)]
        del refs
