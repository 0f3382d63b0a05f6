"""What goes wrong in a simulation: rates as data, drawn with a generator of their own.

A message is a command on its way or an answer on its way back. The first five are chances of
each message, the others of a run.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cluster.simulation.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """All zero is a network and hosts without faults.

    Attributes:
        lose: A message never arrives.
        duplicate: It arrives twice, the second time as late as a delayed one may be.
        delay: It is late by up to `delay_s_max`.
        fail: A command is answered `Failed`; whether it took effect is open.
        refuse: A command that can be refused is.
        host_crash: A host dies once, at a time drawn with mean `crash_s_mean`.
        link_cut: A host's links carry nothing, once, for up to `link_cut_s_max`.
        link_slow: They carry a tenth for the same time.
        cancel: A user cancels, at a time drawn with mean `crash_s_mean`.
        until_s: Faults end then, so that what must end can.
    """

    lose: float = 0.0
    duplicate: float = 0.0
    delay: float = 0.0
    fail: float = 0.0
    refuse: float = 0.0
    host_crash: float = 0.0
    link_cut: float = 0.0
    link_slow: float = 0.0
    cancel: float = 0.0
    delay_s_max: float = 3.0
    crash_s_mean: float = 2.0
    link_cut_s_max: float = 20.0
    until_s: float = math.inf

    def problems(self) -> tuple[str, ...]:
        """Return everything wrong with these rates, all at once."""
        found = [
            f"{name} must be a chance from 0 to 1, is {getattr(self, name)}"
            for name in _CHANCES
            if not 0 <= getattr(self, name) <= 1
        ]
        found += [
            f"{name} must be positive, is {getattr(self, name)}"
            for name in ("delay_s_max", "crash_s_mean", "link_cut_s_max", "until_s")
            if not getattr(self, name) > 0
        ]
        return tuple(found)


_CHANCES = (
    "lose",
    "duplicate",
    "delay",
    "fail",
    "refuse",
    "host_crash",
    "link_cut",
    "link_slow",
    "cancel",
)
NO_FAULTS = Faults()


def drawn_faults(rng: np.random.Generator, *, until_s: float) -> Faults:
    """Return rates for one run, about half of them zero, so that some runs see one kind alone."""

    def rate(often: float) -> float:
        return float(rng.choice((0.0, 0.0, often / 4, often)))

    return Faults(
        lose=rate(0.4),
        duplicate=rate(0.4),
        delay=rate(0.4),
        fail=rate(0.4),
        refuse=rate(0.1),
        host_crash=rate(0.8),
        link_cut=rate(0.8),
        link_slow=rate(0.8),
        cancel=rate(0.8),
        until_s=until_s,
    )


class Channel:
    """Carries messages as the faults have it."""

    def __init__(self, clock: Clock, faults: Faults, rng: np.random.Generator) -> None:
        self._clock = clock
        self._faults = faults
        self._rng = rng

    def happens(self, chance: float) -> bool:
        """Draw; a chance of 0 draws nothing, so that runs without faults share no randomness."""
        return chance > 0 and self._clock.now < self._faults.until_s and self._rng.random() < chance

    def deliver(self, act: Callable[[], None]) -> None:
        """Let `act` happen at once, late, twice or never."""
        faults = self._faults
        if self.happens(faults.lose):
            return
        self._clock.after(self._late_s(), act)
        if self.happens(faults.duplicate):
            self._clock.after(self._rng.uniform(0, faults.delay_s_max), act)

    def fails(self) -> bool:
        """Whether a command is answered `Failed` now."""
        return self.happens(self._faults.fail)

    def refuses(self) -> bool:
        """Whether a command that can be refused is."""
        return self.happens(self._faults.refuse)

    def _late_s(self) -> float:
        if self.happens(self._faults.delay):
            return float(self._rng.uniform(0, self._faults.delay_s_max))
        return 0.0
