"""The destination's loop that brings pages: read off the source, let arrive, install.

A batch is *read* when the source's process has handed it to Ray: the ref is owned here, so it
survives that process (one made by `ray.put` over there would not). It *arrives* when both cards
have had the time for it. Reading runs ahead of arriving by as much as the caller allows; the
cards are taken only when a batch arrives, so that what waits keeps nobody else waiting.
"""

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from cluster.actors.replies import Handle
from cluster.memory.transfer import Batch
from cluster.policy.sharing import SerialLink

# Batches under way: while one is installed others are read and travel.
DEPTH = 3
# Of all migrations into a host whose network sets no limit.
TURNS = 4
# Ray takes 3 to 5 ms of both cores for each batch, whatever is in it: 1 GiB in
# batches of 128 MiB takes about half as long as in batches of 32 MiB (2 cores, nothing hashed).
ROUND_BATCH_BYTES_MAX = 128 << 20
# Of the remainder: a guest's fault may have to wait until a batch with its page is stored.
_BATCH_BYTES_MAX = 32 << 20
_BATCH_BYTES_MIN = 128 << 10
# Of a host's part of the object store: `TURNS` batches fill half of it, and those whose
# place has not been given back yet have the rest.
_BATCH_RATIO = 1 / 8
# A batch takes so long on a shaped card, so that an interrupt is answered soon and urgent pages
# do not wait. Where many share the card each batch is as large as if one had it alone: cut by their
# shares, eight need 400 a second to fill 1 GbE, more than two cores can do, and got half of what one
# got (benchmarks/line_rate.py). Only where a share is a small part of the card do its batches shrink.
_BATCH_S = 0.02
_BATCH_S_MAX = 0.2

Install = Callable[[Batch], object]


def round_batch_bytes(store_bytes: float) -> int:
    """Return how large a round's batches may be where a host has so much of the object store."""
    fits = int(store_bytes * _BATCH_RATIO)
    return min(max(fits, _BATCH_BYTES_MAX // 2), ROUND_BATCH_BYTES_MAX)


def shaped_batch_bytes(share: float, card: float, bytes_max: int) -> int:
    """Return how large a batch may be that has this share, in bytes a second, of a shaped card."""
    fits = min(card * _BATCH_S, share * _BATCH_S_MAX)
    return int(min(max(fits, _BATCH_BYTES_MIN), bytes_max))


@dataclass(frozen=True, slots=True, kw_only=True)
class Waybill:
    """What the source says of a batch, ahead of it.

    Attributes:
        wire_bytes: What the network carries for it.
        paced: The source's card is slower than the machine, and has to be asked.
    """

    wire_bytes: int
    paced: bool


@dataclass(frozen=True, slots=True)
class _Read:
    """A batch that is ours, wherever it lies."""

    waybill: Waybill
    batch: Any


class Puller:
    """Brings one migration's batches through this host's card."""

    def __init__(
        self,
        migration: str,
        source: Handle,
        receiving: SerialLink,
        turns: asyncio.Semaphore,
        *,
        round_batch_bytes: int,
    ) -> None:
        """`receiving` is this host's card, shared with every other migration that comes in.

        So are `turns`, where nothing but the machine itself limits how fast batches come: more
        of them under way at once than it has cores for only push each other out of its caches.
        A batch has at most `round_batch_bytes` in a round before the VM runs here.
        """
        self._migration = migration
        self._source = source
        self._receiving = receiving
        self._turns = turns
        self._round_batch_bytes = round_batch_bytes
        self.share = SerialLink(rate_bytes_per_second=receiving.rate_bytes_per_second)

    async def bring_round(self, install: Install) -> None:
        """Read, receive and install batches until the source has none left in this round.

        `install` is called in a thread with each batch; several may run at once.

        Raises:
            ExceptionGroup: With what failed, a `RayError` if the source or a batch is gone.
        """
        sizes = _growing(self._round_batch_bytes)
        async with asyncio.TaskGroup() as work:
            for _ in range(DEPTH):
                work.create_task(self._one_by_one(install, sizes))

    async def bring_ahead(
        self, install: Install, *, ahead_bytes: int, all_read: Callable[[], None]
    ) -> None:
        """The same, but take up to `ahead_bytes` off the source before they can arrive.

        `all_read` is called once, when the last batch has been read.

        Raises:
            ExceptionGroup: With what failed, a `RayError` if the source or a batch is gone.
        """
        room = asyncio.Semaphore(max(DEPTH, ahead_bytes // self._batch_bytes(_BATCH_BYTES_MAX)))
        held: asyncio.Queue[_Read | None] = asyncio.Queue()

        async def read_all() -> None:
            async with asyncio.TaskGroup() as readers:
                for _ in range(DEPTH):
                    readers.create_task(self._read_on(room, held))
            all_read()
            for _ in range(DEPTH):
                held.put_nowait(None)

        async with asyncio.TaskGroup() as work:
            work.create_task(read_all())
            for _ in range(DEPTH):
                work.create_task(self._take_in(room, held, install))

    async def until_received(self, nbytes: int, began: float) -> None:
        """Wait until the card, and this migration's share of it, would have taken that much."""
        wait_s = self._receive(nbytes, began) - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def count(self, nbytes: int) -> None:
        """Take note of bytes that came beside the batches: they had the card, the bulk waits."""
        self._receive(nbytes, time.monotonic())

    async def _one_by_one(self, install: Install, sizes: Iterator[int]) -> None:
        """Bring a batch after the other, each in its turn."""
        while True:
            async with self._turns if self._unlimited else contextlib.nullcontext():
                one = await self._read(self._batch_bytes(next(sizes)))
                if one is None:
                    return
                await _in_thread(install, await self._arrive(one))

    async def _read_on(self, room: asyncio.Semaphore, held: "asyncio.Queue[_Read | None]") -> None:
        while True:
            await room.acquire()
            if (one := await self._read(self._batch_bytes(_BATCH_BYTES_MAX))) is None:
                room.release()
                return
            held.put_nowait(one)

    async def _take_in(
        self, room: asyncio.Semaphore, held: "asyncio.Queue[_Read | None]", install: Install
    ) -> None:
        while (one := await held.get()) is not None:
            await _in_thread(install, await self._arrive(one))
            del one  # its place in the object store is the next batch's
            room.release()

    async def _read(self, bytes_max: int) -> _Read | None:
        """Take the next batch off the source; None when the round is over."""
        said, batch = self._source.read_batch.options(num_returns=2).remote(
            self._migration, bytes_max, self.share.rate_bytes_per_second
        )
        waybill: Waybill | None = await said
        return None if waybill is None else _Read(waybill, batch)

    async def _arrive(self, one: _Read) -> Batch:
        """Return a batch when both cards have had the time for it."""
        began, nbytes = time.monotonic(), one.waybill.wire_bytes
        sending = self._source.leave.remote(self._migration, nbytes) if one.waybill.paced else None
        received = self.until_received(nbytes, began)
        batch: Batch = (await asyncio.gather(one.batch, received))[0]
        if sending is not None:
            # A batch that was read outlives its source, and then has this card alone to wait for.
            with contextlib.suppress(RayError):
                await sending
        return batch

    def _receive(self, nbytes: int, began: float) -> float:
        return max(self._receiving.accept(nbytes, now=began), self.share.accept(nbytes, now=began))

    @property
    def _unlimited(self) -> bool:
        return self.share.rate_bytes_per_second is None

    def _batch_bytes(self, bytes_max: int) -> int:
        share, card = self.share.rate_bytes_per_second, self._receiving.rate_bytes_per_second
        return bytes_max if share is None else shaped_batch_bytes(share, card or share, bytes_max)


@functools.cache
def _installers() -> ThreadPoolExecutor:
    """Half of the cores, the source may have the others.

    More threads would only take the interpreter's lock from each other, once per 64 pages, and
    with it what the other had in its cache: three on two cores took a third longer than one.
    """
    return ThreadPoolExecutor(max(1, (os.cpu_count() or 1) // 2), "installing")


def _growing(bytes_max: int) -> Iterator[int]:
    """Yield the sizes of a round's batches: small ones first, so that the installing begins soon."""
    size = min(_BATCH_BYTES_MAX, bytes_max)
    while True:
        yield size
        size = min(2 * size, bytes_max)


async def _in_thread(install: Install, batch: Batch) -> None:
    await asyncio.get_running_loop().run_in_executor(
        _installers(), _unpack_and_install, batch, install
    )


def _unpack_and_install(batch: Batch, install: Install) -> None:
    install(batch.unpacked())
