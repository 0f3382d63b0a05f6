"""Virtual time: a heap of things to do, done in the order of their times."""

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """Something to be done; `cancel` takes it back."""

    __slots__ = ("act", "at_s")

    def __init__(self, at_s: float, act: Callable[[], None]) -> None:
        self.at_s = at_s
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        """Do nothing when the time comes; cancelling twice is cancelling once."""
        self.act = None


class Clock:
    """Virtual seconds since the beginning. What is due at one time is done in the order it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, int, Timer]] = []
        self._order = itertools.count()

    def at(self, at_s: float, act: Callable[[], None], *, first: bool = False) -> Timer:
        """Do `act` at `at_s`; with `first` before all that is due then without it.

        Raises:
            ValueError: If that is in the past, or is no number.
        """
        if not at_s >= self.now:
            raise ValueError(f"{at_s} is before {self.now}")
        timer = Timer(at_s, act)
        heapq.heappush(self._heap, (at_s, not first, next(self._order), timer))
        return timer

    def after(self, delay_s: float, act: Callable[[], None]) -> Timer:
        """Do `act` in `delay_s`."""
        return self.at(self.now + delay_s, act)

    @property
    def next_s(self) -> float | None:
        """When something is due next; None if nothing is."""
        while self._heap and self._heap[0][3].act is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def step(self) -> bool:
        """Do the next thing; return whether there was one."""
        if self.next_s is None:
            return False
        at_s, _, _, timer = heapq.heappop(self._heap)
        self.now, act = at_s, timer.act
        timer.act = None
        assert act is not None
        act()
        return True

    def run_until(self, end_s: float) -> None:
        """Do everything that is due until then, and let the time be `end_s`."""
        while (due := self.next_s) is not None and due <= end_s:
            self.step()
        self.now = max(self.now, end_s)
