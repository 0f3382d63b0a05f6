"""First touches paid before they hurt: guest memory, its mapping, and Ray's object store.

A fresh page costs about 1.5 µs at its first write, as much as copying 16 KiB. Paid while
the destination is prepared, it is not paid while pages travel and a guest waits.
"""

import asyncio
import contextlib
import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import ray
from ray.exceptions import RayError

from cluster.memory.guest_memory import Mapping, Runs, allocate, map_allocated

# As much of the object store as one migration has under way.
_STORE_BYTES = 128 << 20
_STORE_PIECE_BYTES = 32 << 20

_store_touched = threading.Event()


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


async def touch_store() -> None:
    """Touch what a migration needs of the object store, once in a process's life."""
    if _store_touched.is_set():
        return
    _store_touched.set()
    await asyncio.get_running_loop().run_in_executor(_thread(), _touch_store)


def _touch_store() -> None:
    piece = np.zeros(_STORE_PIECE_BYTES, dtype=np.uint8)
    # Held together, or the store would hand out the same place again and again. One that is
    # too full now will be touched by whoever fills it.
    with contextlib.suppress(RayError):
        refs = [ray.put(piece) for _ in range(_STORE_BYTES // _STORE_PIECE_BYTES)]
        del refs
