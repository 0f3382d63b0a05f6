"""What one migration sends through its source's card: the bulk, and what goes ahead of it."""

import asyncio
import os
import time

import numpy as np

from cluster.memory.guest_memory import create_memory, map_memory
from cluster.memory.page_server import marks_bytes
from cluster.page import PAGE_BYTES
from cluster.policy.sharing import SerialLink


class Outgoing:
    """One migration's part of a card that others share; lives on its source's loop.

    Attributes:
        fetched: (pages,) uint8, shared with the page server: marks what the destination has
            fetched by itself.
        fetched_fd: Of the memory that holds the marks, and their count.
    """

    def __init__(self, vm: str, pages: int, card: SerialLink) -> None:
        self._card = card
        nbytes = marks_bytes(pages)
        self.fetched_fd = create_memory(f"{vm}-fetched", nbytes)
        marks = map_memory(self.fetched_fd, nbytes).flat
        self.fetched = marks[:pages]
        self._count = marks[-8:].view(np.uint64)
        self._fetched_seen = 0
        self._left_bytes = 0

    @property
    def rate_bytes_per_second(self) -> float | None:
        """The card's; None has no limit."""
        return self._card.rate_bytes_per_second

    @property
    def fetched_pages(self) -> int:
        """How many pages the destination has fetched by itself."""
        return int(self._count[0])

    @property
    def moved(self) -> tuple[int, int]:
        """Bytes of the bulk and pages fetched, which grow while anything leaves."""
        return self._left_bytes, self.fetched_pages

    async def leave(self, nbytes: int) -> None:
        """Return when the card would have sent so much; urgent pages had it before."""
        now, fetched = time.monotonic(), self.fetched_pages
        new, self._fetched_seen = fetched - self._fetched_seen, fetched
        self._card.accept(new * PAGE_BYTES, now=now)
        await self.sent(nbytes, now)
        self._left_bytes += nbytes

    async def go_first(self, nbytes: int) -> None:
        """Return when so much would have left ahead of the bulk, which has to wait for it."""
        self._card.accept(nbytes, now=time.monotonic())
        if self._card.rate_bytes_per_second is not None:
            await asyncio.sleep(nbytes / self._card.rate_bytes_per_second)

    async def sent(self, nbytes: int, began_s: float) -> None:
        """Return when the card has sent so much that was given to it at `began_s`."""
        wait_s = self._card.accept(nbytes, now=began_s) - time.monotonic()
        if wait_s > 0:
            await asyncio.sleep(wait_s)

    def close(self) -> None:
        """Free the marks; safe to call twice."""
        if self.fetched_fd >= 0:
            os.close(self.fetched_fd)
            self.fetched_fd = -1
