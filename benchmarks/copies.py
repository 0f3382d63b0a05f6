"""Where each copy and each microsecond of a migrated page goes, step by step and without a cluster.

Each step of a batch's way is timed alone, warm, in one process: what the source does, Ray's
object store, what the destination does, and the first touches that are paid before. Times are
for MiB, so that steps can be added up; the ratio to memcpy says what a step costs at best.

    python benchmarks/copies.py
    python benchmarks/copies.py --quick --json
"""

import os
import time
from collections.abc import Callable

import numpy as np
import ray
from claims import Claim, arguments, finish

from cluster.actors.session import ray_session
from cluster.memory import userfaultfd
from cluster.memory.guest_memory import (
    PAGE_BYTES,
    allocate,
    create_memory,
    map_allocated,
    map_memory,
    populated_runs,
    resident_pages,
    write_pages,
    zero_pages,
)
from cluster.memory.hashes import hash_pages
from cluster.memory.tracker import WriteProtectTracker, serves_faults
from cluster.memory.transfer import Batch, Intake

MIB = 1 << 20
BATCH_BYTES = 16 * MIB
PAGES = BATCH_BYTES // PAGE_BYTES
_LOOKED_BYTES = 1 << 30


def timed(step: Callable[[], object], times: int, before: Callable[[], object] = lambda: None):
    """Return the least seconds of a step, after one that warms up: others only ever add."""
    spans = []
    for _ in range(times + 1):
        before()
        began = time.perf_counter()
        step()
        spans.append(time.perf_counter() - began)
    return min(spans[1:])


def fresh():
    """Memory that nobody has touched; its file is closed, so it goes with the mapping."""
    fd = create_memory("fresh", BATCH_BYTES)
    try:
        return map_memory(fd, BATCH_BYTES)
    finally:
        os.close(fd)


def measure(times: int) -> dict[str, float]:
    """Return seconds a batch by step, in the order of a page's way."""
    source, here = fresh(), fresh()
    rng = np.random.default_rng(1)
    source.flat[:] = rng.integers(0, 256, BATCH_BYTES, dtype=np.uint8)
    here.flat[:] = 1
    pages = np.arange(PAGES, dtype=np.int64)
    zero = np.zeros(PAGES, dtype=np.bool_)
    batch = Batch(pages=pages, zero=zero, data=source.pages)
    intake = Intake(here)
    steps = {"memcpy": timed(lambda: np.copyto(here.flat, source.flat), times)}
    steps["source: look for zero pages"] = timed(lambda: zero_pages(source.pages), times)
    refs = [ray.put(batch) for _ in range(4)]  # touches what the store gives out below
    refs.clear()
    steps["source: copy into the object store"] = timed(
        lambda: refs.append(ray.put(batch)), times, refs.clear
    )
    steps["destination: map the object"] = timed(lambda: ray.get(refs[-1]), times)
    arrived = ray.get(refs[-1])
    steps["destination: copy into guest memory"] = timed(
        lambda: write_pages(here, pages, arrived.data), times
    )
    steps["destination: hash afterwards"] = timed(lambda: hash_pages(here.pages), times)
    steps["destination: copy and hash in pieces that stay in the cache"] = timed(
        lambda: intake.install_hashed(arrived), times
    )
    steps |= first_touches(source, times) | looks(times) | late(times)
    return steps


def looks(times: int) -> dict[str, float]:
    """Return what it costs to learn which pages were ever touched; of 1 GiB, too much for a cache."""
    fd = create_memory("looked-at", _LOOKED_BYTES)
    try:
        memory = map_memory(fd, _LOOKED_BYTES)
        memory.flat[::PAGE_BYTES] = 1
        of_a_batch = BATCH_BYTES / _LOOKED_BYTES
        return {
            "look: which pages of 1 GiB were ever touched": of_a_batch
            * timed(lambda: populated_runs(fd, _LOOKED_BYTES), times),
            "look: which pages of 1 GiB are resident": of_a_batch
            * timed(lambda: resident_pages(memory, 0, _LOOKED_BYTES // PAGE_BYTES), times),
        }
    finally:
        os.close(fd)


def first_touches(source, times: int) -> dict[str, float]:
    """Return what fresh memory costs: when it is written, and when it is allocated early."""
    made = [fresh()]

    def renew() -> None:
        made[0] = fresh()

    def renew_allocated() -> None:
        renew()
        allocate(made[0], ((0, PAGES),))

    return {
        "first touch: copy into fresh memory": timed(
            lambda: np.copyto(made[0].flat, source.flat), times, renew
        ),
        "first touch: allocate early": timed(
            lambda: allocate(made[0], ((0, PAGES),)), times, renew
        ),
        "first touch: copy into what was allocated": timed(
            lambda: np.copyto(made[0].flat, source.flat), times, renew_allocated
        ),
        "first touch: map what is allocated": timed(
            lambda: map_allocated(source, ((0, PAGES),)), times
        ),
    }


def late(times: int) -> dict[str, float]:
    """Return what the kernel's part of post-copy and tracking costs, if this one can."""
    if serves_faults():
        return {}
    memory = fresh()
    memory.flat[:] = 1
    uffd = userfaultfd.open_userfaultfd()
    tracker = WriteProtectTracker(
        uffd=uffd, pid=os.getpid(), address=memory.address, nbytes=BATCH_BYTES, memory=memory
    )
    tracker.arm()
    words = memory.flat[::PAGE_BYTES]
    try:
        return {
            "tracking: first write to a page after a harvest": timed(
                lambda: words.__setitem__(slice(None), 2), times, tracker.harvest
            ),
            "tracking: harvest, all dirty": timed(
                tracker.harvest, times, lambda: words.__setitem__(slice(None), 3)
            ),
            "tracking: harvest, nothing dirty": timed(tracker.harvest, times),
        }
    finally:
        tracker.close()
        os.close(uffd)


def main() -> int:
    parser = arguments(__doc__ or "")
    options = parser.parse_args()
    times = 5 if options.quick else 40
    with ray_session(None, namespace="copies"):
        steps = measure(times)
    memcpy_s = steps["memcpy"]
    mib = BATCH_BYTES / MIB
    claims = [
        Claim(
            claim=step,
            value=round(seconds * 1e6 / mib, 2),
            unit="µs a MiB",
            n=times,
            conditions=f"{memcpy_s / seconds:.2f} of memcpy's speed, batches of 16 MiB",
        )
        for step, seconds in steps.items()
    ]
    apart = steps["destination: copy into guest memory"] + steps["destination: hash afterwards"]
    together = steps["destination: copy and hash in pieces that stay in the cache"]
    claims.append(
        Claim(
            claim="copying and hashing in the cache, over one after the other",
            value=round(together / apart, 3),
            unit="of the time",
            bar="below 1",
            holds=together < apart,
            n=times,
        )
    )
    return finish(claims, as_json=options.json)


if __name__ == "__main__":
    raise SystemExit(main())
