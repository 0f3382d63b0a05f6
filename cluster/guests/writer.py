"""A guest that writes: write rate and working set are what migrations are measured against."""

import math
import time
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from cluster.guests import chance
from cluster.guests.base import Array, Budget, Guest
from cluster.page import MIB, PAGE_BYTES

PAGE_WORDS = PAGE_BYTES // 8
# Writes done between two looks at the clock: few enough to stop in time when each first
# write to a page faults (about 2 µs), many enough that NumPy's cost a call does not count.
CHUNK_WRITES = 64
WORK_S_MAX = 0.0007
# What is owed is caught up with at this many times the rate: a step that is given little time
# does few writes, also after a flip, when each may wait for its page.
CATCH_UP_RATIO = 2.0
# A guest that cannot keep its rate falls behind for ever; what it owes beyond this is not written.
DEBT_S_MAX = 0.1
REPLAY_WRITES = 1 << 16
FILL_PAGES = 1 << 10


class Pattern(Enum):
    """How the pages to write are chosen."""

    UNIFORM = "uniform"
    ZIPF = "zipf"
    SWEEP = "sweep"


class Writer(Guest):
    """Writes R / 4096 pages a second, with replacement, in its working set.

    Each write puts `words_per_page` words in a row (wrapping) at a random place of its page. Page,
    place and values are a pure function of (seed, number of the write), so the memory is
    known from `writes_done` alone. Zipf means exponent 1, the ranks scattered over the
    working set; sweep goes through it in order, again and again. With `filled` all memory holds
    distinct, incompressible pages from the start, so that nothing of it travels for free.

    Known weakness: what a step cannot write within the quantum is owed, and what is owed for
    more than `DEBT_S_MAX` is given up and counted in `writes_skipped`.
    """

    replayable: ClassVar[bool] = True
    words: npt.NDArray[np.uint64]
    rest: npt.NDArray[np.uint64]

    def __init__(
        self,
        *,
        memory_bytes: int,
        seed: int = 0,
        rate_mb_s: float = 10.0,
        working_set_mib: float | None = None,
        pattern: str = "uniform",
        words_per_page: int = 8,
        filled: bool = False,
    ) -> None:
        """Check the parameters.

        `rate_mb_s` is R in 10**6 bytes a second of guest time. A working set as large as
        the VM, which is the default, is all of it but the VM's header page.

        Raises:
            ValueError: With every problem at once.
        """
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        available = memory_bytes // PAGE_BYTES
        pages = available if working_set_mib is None else int(working_set_mib * MIB) // PAGE_BYTES
        problems = []
        if not (rate_mb_s >= 0 and math.isfinite(rate_mb_s)):
            problems.append(f"rate_mb_s must be 0 or more, is {rate_mb_s}")
        if not 1 <= pages <= available + 1:
            problems.append(
                f"working_set_mib must be between 1 page and the VM's memory "
                f"({available * PAGE_BYTES / MIB:.2f} MiB without its header), is {working_set_mib}"
            )
        if pattern not in {known.value for known in Pattern}:
            problems.append(f"pattern must be uniform, zipf or sweep, is {pattern!r}")
        if not 1 <= words_per_page <= PAGE_WORDS:
            problems.append(f"words_per_page must be 1 to {PAGE_WORDS}, is {words_per_page}")
        if problems:
            raise ValueError("; ".join(problems))
        self.pages = min(pages, available)
        self.rest_pages = available - self.pages if filled else 0
        self.filled = filled
        self.pattern = Pattern(pattern)
        self.words_per_page = words_per_page
        self.writes_per_second = rate_mb_s * 1e6 / PAGE_BYTES
        self.period_s = min(max(244 / max(self.writes_per_second, 1.0), 0.001), 0.005)
        self.writes_done = 0
        self.writes_skipped = 0
        self._debt = 0.0
        self._page_key = chance.stream_key(seed, 1)
        self._word_key = chance.stream_key(seed, 2)
        self._fill_key = chance.stream_key(seed, 3)
        if self.pattern is Pattern.ZIPF:
            _zipf_table(self.pages)  # made before the VM runs, not in a quantum

    def layout(self) -> Mapping[str, Array]:
        """The working set, as words; behind it, where all is filled, what is never written."""
        arrays = {"words": Array(shape=(self.pages * PAGE_WORDS,), dtype=np.uint64)}
        if self.rest_pages:
            arrays["rest"] = Array(shape=(self.rest_pages * PAGE_WORDS,), dtype=np.uint64)
        return arrays

    def start(self) -> None:
        """Fill the memory, where that is wanted."""
        if self.filled:
            self._fill(self.words, 0)
        if self.rest_pages:
            self._fill(self.rest, self.pages)

    def step(self, budget: Budget) -> None:
        """Write what is due, within the quantum; what is left is owed to the next step."""
        due = budget.seconds * self.writes_per_second
        self._debt += due
        left = max(1, math.ceil(CATCH_UP_RATIO * due))
        stop_at = time.perf_counter() + WORK_S_MAX
        # The clock decides only how many writes a step does, never what a write is.
        while self._debt >= 1.0 and left and time.perf_counter() < stop_at:
            count = min(int(self._debt), left, CHUNK_WRITES)
            self._write(count)
            self._debt -= count
            left -= count
        self._give_up_old_debt()

    def handle(self, request: object) -> object:
        """Answer any request with the number of writes done."""
        return self.writes_done

    def replay(self, log: Sequence[tuple[object, object]]) -> None:
        """Do the first `writes_done` writes again."""
        until, self.writes_done = self.writes_done, 0
        while self.writes_done < until:
            self._write(min(REPLAY_WRITES, until - self.writes_done))

    def _give_up_old_debt(self) -> None:
        most = max(DEBT_S_MAX * self.writes_per_second, 1.0)
        if self._debt > most:
            skipped = int(self._debt - most)
            self.writes_skipped += skipped
            self._debt -= skipped

    def _fill(self, words: npt.NDArray[np.uint64], first_page: int) -> None:
        """Put one block of random words into every page, scrambled by the page's number."""
        block = chance.stretch(self._fill_key, 0, PAGE_WORDS)
        rows = words.reshape(-1, PAGE_WORDS)
        for at in range(0, len(rows), FILL_PAGES):
            part = rows[at : at + FILL_PAGES]
            own = chance.stretch(self._fill_key, PAGE_WORDS + first_page + at, len(part))
            np.bitwise_xor(block, own[:, None], out=part)

    def _write(self, count: int) -> None:
        """Do the next `count` writes, in order: a later one wins where two meet."""
        first = self.writes_done
        drawn = chance.stretch(self._word_key, first, count)
        start = (drawn & np.uint64(PAGE_WORDS - 1)).astype(np.int64)
        run = np.arange(self.words_per_page)
        places = (start[:, None] + run) & (PAGE_WORDS - 1)
        places += self.pages_of(first, count)[:, None] * PAGE_WORDS
        values = drawn[:, None] + run.astype(np.uint64) * np.uint64(chance.GOLDEN)
        # One-dimensional on purpose: NumPy assigns repeated indices in order only then.
        self.words[places.ravel()] = values.ravel()
        self.writes_done += count

    def pages_of(self, first: int, count: int) -> npt.NDArray[np.int64]:
        """Return the pages of the working set that `count` writes from number `first` on go to."""
        if self.pattern is Pattern.SWEEP:
            return np.arange(first, first + count, dtype=np.int64) % self.pages
        drawn = chance.stretch(self._page_key, first, count)
        if self.pattern is Pattern.UNIFORM:
            return chance.below(drawn, self.pages)
        ranks = np.searchsorted(_zipf_table(self.pages), chance.unit(drawn), side="right")
        return ranks * _scatter(self.pages) % self.pages


@lru_cache(maxsize=4)
def _zipf_table(pages: int) -> npt.NDArray[np.float64]:
    """Cumulative probability below each rank's end, exponent 1; float64, ends at 1.

    Divisions and one running sum only, which IEEE 754 fixes to the bit; a power or a
    logarithm would let two machines disagree about a page.
    """
    sums = np.cumsum(1.0 / np.arange(1, pages + 1, dtype=np.float64))
    table: npt.NDArray[np.float64] = sums / sums[-1]
    table.flags.writeable = False
    return table


@lru_cache(maxsize=4)
def _scatter(pages: int) -> int:
    """A multiplier near the golden section of `pages` and coprime to it."""
    step = max(1, int(pages * 0.6180339887))
    while math.gcd(step, pages) != 1:
        step += 1
    return step
