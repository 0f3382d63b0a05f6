"""Which pages to fetch around a fault: a bubble that grows while nobody faults.

What is touched next mostly lies near what was touched last, so the block around a fault
comes with it, and then, step by step, what lies on either side (Hines and Gopalan, VEE'09,
call it bubbling). Steps grow from 64 KiB as CRIU's lazy pages do, and a fault sets them back.

Decides only; the pager fetches. Uses the standard library alone, as the pager does.
"""

BLOCK_PAGES = 16
STEP_PAGES_MAX = 1024
# Of a core. The pager goes before the guest, and without a limit it would keep the guest from its
# core; on a link as fast as memory the bulk brings the same pages with less work.
_CORE_SHARE_MAX = 0.1


class Bubble:
    """One bubble, around the latest fault.

    Known weakness: a guest that faults in turns in two places restarts the bubble each
    time, and gets a block a fault, which is a sixteenth of the faults it would have had.
    """

    def __init__(self, pages: int, *, step_pages_max: int = STEP_PAGES_MAX) -> None:
        """`step_pages_max` bounds what is fetched ahead at once, and so what a fault waits behind."""
        self._pages = pages
        self._step_max = max(step_pages_max, BLOCK_PAGES)
        self._low = self._high = 0
        self._step = BLOCK_PAGES

    def faulted(self, page: int) -> range:
        """Start anew around a fault; return the aligned block that holds it."""
        self._low = page - page % BLOCK_PAGES
        self._high = min(self._low + BLOCK_PAGES, self._pages)
        self._step = BLOCK_PAGES
        return range(self._low, self._high)

    def grown(self) -> tuple[range, range]:
        """Grow a step to either side and return what that adds; empty at the memory's ends."""
        behind = range(self._high, min(self._high + self._step, self._pages))
        before = range(max(self._low - self._step, 0), self._low)
        self._low, self._high = before.start, behind.stop
        self._step = min(self._step + BLOCK_PAGES, self._step_max)
        return behind, before

    @property
    def covers_all(self) -> bool:
        """Whether no page lies outside; before the first fault nothing is to be fetched."""
        return self._low == 0 and self._high in (0, self._pages)


def rest_s(since_step_s: float, used_s: float) -> float:
    """Return how long to rest before the next step, so that fetching ahead takes a tenth of a core.

    `used_s` is the processor time that went by in the `since_step_s` since the last one began.
    """
    return max(used_s / _CORE_SHARE_MAX - since_step_s, 0.0)


def step_pages_max(rate_bytes_per_second: float | None, page_bytes: int) -> int:
    """Return how many pages may be fetched ahead at once on a link: 1 ms of it, on either side.

    A fault waits behind what was asked before it, so a slow link gets small steps.
    """
    if rate_bytes_per_second is None:
        return STEP_PAGES_MAX
    return int(min(max(rate_bytes_per_second * 0.001 / page_bytes, BLOCK_PAGES), STEP_PAGES_MAX))
