"""Draws what goes wrong in a simulation, by the rates of the scenario or of a seed."""

from collections import deque
from collections.abc import Callable
from enum import Enum

import numpy as np

from cluster.inventory.faults import Faults
from cluster.simulation.clock import Clock


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


class Spoil(Enum):
    """What can become of a message; a late one is overtaken by those that follow it."""

    LOST = "lost"
    LATE = "late"
    TWICE = "twice"


class Channel:
    """Carries messages as the faults have it."""

    def __init__(self, clock: Clock, faults: Faults, rng: np.random.Generator) -> None:
        self._clock = clock
        self._faults = faults
        self._rng = rng
        self._spoils: deque[Spoil] = deque()

    def spoil_next(self, spoil: Spoil) -> None:
        """Let that become of the next message, whatever the rates say."""
        self._spoils.append(spoil)

    def happens(self, chance: float) -> bool:
        """Draw; a chance of 0 draws nothing, so that runs without faults share no randomness."""
        return chance > 0 and self._clock.now < self._faults.until_s and self._rng.random() < chance

    def deliver(self, act: Callable[[], None]) -> None:
        """Let `act` happen at once, late, twice or never."""
        faults = self._faults
        if self._spoils:
            self._deliver_spoilt(act, self._spoils.popleft())
            return
        if self.happens(faults.lose):
            return
        self._clock.after(self._late_s(), act)
        if self.happens(faults.duplicate):
            self._clock.after(self._rng.uniform(0, faults.delay_s_max), act)

    def _deliver_spoilt(self, act: Callable[[], None], spoil: Spoil) -> None:
        if spoil in (Spoil.LATE, Spoil.TWICE):
            self._clock.after(self._rng.uniform(0, self._faults.delay_s_max), act)
        if spoil is Spoil.TWICE:
            self._clock.after(0.0, act)

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
