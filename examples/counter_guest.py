"""A guest program: rolls dice and counts what came up, in the memory of its VM.

`counts` lives in guest memory and is moved page by page. The dice are an ordinary
attribute: they stand for the CPU's registers and travel at the switchover, so that
the sequence goes on where it stopped. custom_guest.toml runs this.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from cluster.guests.base import Array, Budget, Guest

ROLLS_PER_STEP_MAX = 10_000  # some 0.2 ms; a step must end within 1 ms


class DiceCounter(Guest):
    """Counts the rolls of a die with `sides` sides."""

    counts: npt.NDArray[np.uint64]

    def __init__(
        self,
        *,
        memory_bytes: int,
        seed: int = 0,
        sides: int = 6,
        rolls_per_second: float = 1000.0,
    ) -> None:
        """Check the parameters, which come from the scenario's [vm.params]."""
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        if not 2 <= sides <= memory_bytes // 8:
            raise ValueError(f"sides must be 2 to {memory_bytes // 8}, is {sides}")
        self.sides = sides
        self.rolls_per_second = rolls_per_second
        self.owed = 0.0
        self.dice = np.random.default_rng(seed)

    def layout(self) -> Mapping[str, Array]:
        """One counter for each side."""
        return {"counts": Array(shape=(self.sides,), dtype=np.uint64)}

    def step(self, budget: Budget) -> None:
        """Roll as often as the guest's time allows, and no longer than a quantum."""
        self.owed += self.rolls_per_second * budget.seconds
        rolls = min(int(self.owed), ROLLS_PER_STEP_MAX)
        self.owed = min(self.owed - rolls, ROLLS_PER_STEP_MAX)
        self.counts += np.bincount(
            self.dice.integers(self.sides, size=rolls), minlength=self.sides
        ).astype(np.uint64)

    def handle(self, request: object) -> object:
        """Answer any request with the rolls so far."""
        return int(self.counts.sum())
