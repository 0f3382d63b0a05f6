"""A guest that uses the CPU it is granted, in proportion to the MHz.

A model, and said to be one: a VM that is granted 2,000 MHz does not burn a 2 GHz core, or
no laptop could run a cluster. It does `CELLS_PER_MEGACYCLE` real multiply-adds in guest
memory for each million cycles granted, which costs about 0.1 % of the CPU that the figure stands for
and makes work done, and pages dirtied, follow the demand.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from cluster.guests.base import Array, Budget, Guest
from cluster.page import MIB, PAGE_BYTES

CELLS_PER_MEGACYCLE = 1000
# About 0.1 ms of arithmetic; a first write to each of its 128 pages adds 0.3 ms.
CELLS_PER_STEP_MAX = 1 << 16
# Knuth's multiplier for a linear congruential generator modulo 2**64 (MMIX).
_MULTIPLIER = np.uint64(6364136223846793005)
_INCREMENT = np.uint64(1442695040888963407)


class Trace(Guest):
    """Steps a ring of linear congruential generators in guest memory, one cell after the other.

    The memory is known from `cells_done`. Cycles beyond `CELLS_PER_STEP_MAX` cells a step
    (13,107 MHz at the usual period) are used without work.
    """

    replayable: ClassVar[bool] = True
    cells: npt.NDArray[np.uint64]

    def __init__(self, *, memory_bytes: int, seed: int = 0, working_set_mib: float = 2.0) -> None:
        """Check the parameters; the ring is as large as the working set.

        Raises:
            ValueError: If the working set is empty or does not fit.
        """
        super().__init__(memory_bytes=memory_bytes, seed=seed)
        ring_bytes = int(working_set_mib * MIB) // PAGE_BYTES * PAGE_BYTES
        if not 0 < ring_bytes <= memory_bytes:
            raise ValueError(
                f"working_set_mib must be between 1 page and the VM's memory "
                f"({memory_bytes / MIB:.2f} MiB without its header), is {working_set_mib}"
            )
        self.ring_cells = ring_bytes // 8
        self.cells_done = 0
        self._fraction = 0.0

    def layout(self) -> Mapping[str, Array]:
        """One array: the ring."""
        return {"cells": Array(shape=(self.ring_cells,), dtype=np.uint64)}

    def start(self) -> None:
        """Give every cell a value of its own."""
        self.cells[...] = np.arange(
            self.seed & 0xFFFF_FFFF, (self.seed & 0xFFFF_FFFF) + self.ring_cells
        )

    def step(self, budget: Budget) -> None:
        """Work off the cycles granted."""
        self._fraction += budget.cycles * CELLS_PER_MEGACYCLE
        count = int(self._fraction)
        self._fraction -= count
        self._advance(min(count, CELLS_PER_STEP_MAX))

    def handle(self, request: object) -> object:
        """Answer any request with the number of cells done."""
        return self.cells_done

    def replay(self, log: Sequence[tuple[object, object]]) -> None:
        """Do the first `cells_done` cells again."""
        until, self.cells_done = self.cells_done, 0
        self._advance(until)

    def _advance(self, count: int) -> None:
        while count > 0:
            first = self.cells_done % self.ring_cells
            done = min(count, self.ring_cells - first)
            part = self.cells[first : first + done]
            np.multiply(part, _MULTIPLIER, out=part)
            np.add(part, _INCREMENT, out=part)
            self.cells_done += done
            count -= done
